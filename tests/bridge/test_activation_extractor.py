"""Activations of a layer, as a transformer."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.base import BaseEstimator, ClassifierMixin, clone
from sklearn.datasets import load_iris
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import nn

from robustkit._randomness import seeded_torch
from robustkit.attacks import PGDAttack
from robustkit.bridge import ActivationExtractor, as_module
from robustkit.bridge._given_model import input_shape
from robustkit.classifiers import TorchClassifier


class ConvClassifier(ClassifierMixin, BaseEstimator):
    """An untrained convolution over images of 4 x 4 pixels."""

    def fit(self, X, y):
        self.classes_ = np.unique(y)
        with seeded_torch(0):
            self.module_ = nn.Sequential(
                nn.Unflatten(1, (1, 4, 4)),
                nn.Conv2d(1, 3, 1),
                nn.ReLU(),
                nn.Flatten(),
                nn.Linear(48, len(self.classes_)),
            ).eval()
        return self

    def predict(self, X):
        logits = self.module_(torch.as_tensor(X, dtype=torch.float32))
        return self.classes_[logits.argmax(dim=1).numpy()]


@as_module.register(ConvClassifier)
def _conv_module(classifier):
    return classifier.module_


@pytest.fixture(scope="module")
def iris():
    return load_iris(return_X_y=True)


@pytest.fixture(scope="module")
def pipeline(iris):
    mlp = MLPClassifier((6, 5), solver="lbfgs", max_iter=2000, random_state=0)
    return make_pipeline(StandardScaler(), mlp).fit(*iris)


@pytest.fixture(scope="module")
def images():
    rng = np.random.RandomState(0)
    X = rng.rand(40, 16).astype(np.float32)
    return X, rng.randint(2, size=40)


def relu(z):
    return np.maximum(z, 0)


def test_layers_of_a_pipeline_equal_a_pass_by_hand(pipeline, iris):
    X, y = iris
    scaler, mlp = pipeline[0], pipeline[1]
    first = relu(scaler.transform(X) @ mlp.coefs_[0] + mlp.intercepts_[0])
    second = relu(first @ mlp.coefs_[1] + mlp.intercepts_[1])
    logits = second @ mlp.coefs_[2] + mlp.intercepts_[2]
    for layer, expected in {
        0: first,
        -1: second,
        "penultimate": second,
        "logits": logits,
    }.items():
        extractor = ActivationExtractor(FrozenEstimator(pipeline), layer=layer)
        found = extractor.fit(X, y).transform(X)
        assert found.dtype == np.float32
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)


def test_frozen_model_is_not_trained_again(pipeline, iris):
    X, _ = iris
    before = pipeline[1].coefs_[0].copy()
    extractor = ActivationExtractor(FrozenEstimator(pipeline)).fit(X[:20])
    assert extractor.estimator_.estimator is pipeline
    np.testing.assert_array_equal(pipeline[1].coefs_[0], before)


def test_another_model_is_cloned_and_trained(iris):
    X, y = iris
    model = LogisticRegression(max_iter=500)
    extractor = ActivationExtractor(model).fit(X, y)
    assert not hasattr(model, "coef_")
    expected = extractor.estimator_.decision_function(X)
    np.testing.assert_allclose(extractor.transform(X), expected, rtol=1e-4, atol=1e-4)


def test_works_between_two_steps_of_a_pipeline(pipeline, iris):
    extractor = ActivationExtractor(FrozenEstimator(pipeline), layer="penultimate")
    chain = make_pipeline(extractor, LogisticRegression(max_iter=500)).fit(*iris)
    assert chain.score(*iris) > 0.9
    assert chain[0].get_feature_names_out()[0] == "activationextractor0"


def test_follows_an_attack_in_a_pipeline(pipeline, iris):
    X, y = iris
    frozen = FrozenEstimator(pipeline)
    attack = PGDAttack(frozen, eps=0.3, max_iter=3, random_state=0)
    chain = make_pipeline(attack, ActivationExtractor(frozen)).fit(X, y)
    expected = ActivationExtractor(frozen).fit(X).transform(attack.transform(X))
    np.testing.assert_allclose(chain.transform(X), expected, rtol=1e-5, atol=1e-5)


def test_random_position_is_one_of_the_image_s_own(images):
    X, y = images
    model = FrozenEstimator(ConvClassifier().fit(X, y))
    whole = ActivationExtractor(model, layer=0, spatial="flatten").fit_transform(X, y)
    maps = whole.reshape(len(X), 3, 16)
    extractor = ActivationExtractor(model, layer=0, random_state=0)
    found = extractor.fit_transform(X, y)
    where = (found[:, :, None] == maps).all(axis=1)
    assert where.any(axis=1).all()
    # Positions are drawn, image by image: many different ones among 40 images.
    assert len(set(where.argmax(axis=1))) > 8


def test_spatial_mean_and_flatten(images):
    X, y = images
    model = FrozenEstimator(ConvClassifier().fit(X, y))
    convolution = model.estimator.module_[1]
    weight = convolution.weight.detach().numpy().reshape(3, 1)
    bias = convolution.bias.detach().numpy().reshape(3, 1)
    maps = relu(weight * X.reshape(len(X), 1, 16) + bias)
    flat = ActivationExtractor(model, layer=0, spatial="flatten").fit_transform(X, y)
    mean = ActivationExtractor(model, layer=0, spatial="mean").fit_transform(X, y)
    np.testing.assert_allclose(flat, maps.reshape(len(X), -1), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(mean, maps.mean(axis=2), rtol=1e-5, atol=1e-6)


def test_spatial_mean_and_random_of_a_sequence():
    """One channel axis and one other: a layer over time, say."""
    X = np.random.RandomState(0).uniform(size=(12, 16)).astype(np.float32)
    with seeded_torch(0):
        module = nn.Sequential(
            nn.Unflatten(1, (2, 8)), nn.Conv1d(2, 3, 1), nn.Flatten(), nn.Linear(24, 2)
        ).eval()
    model = FrozenEstimator(TorchClassifier.from_module(module, [0, 1]))
    with torch.no_grad():
        values = module[:2](torch.from_numpy(X)).numpy()
    for spatial in ("mean", "random"):
        extractor = ActivationExtractor(
            model, layer="1", spatial=spatial, random_state=0
        )
        found = extractor.fit_transform(X, np.zeros(12))
        assert found.shape == (12, 3)
        if spatial == "mean":
            np.testing.assert_allclose(found, values.mean(axis=2), rtol=1e-5, atol=1e-6)
        else:
            near = np.isclose(found[:, :, None], values, rtol=1e-5, atol=1e-6)
            assert near.all(axis=1).any(axis=1).all()


def test_parameters_of_the_classifier_are_checked_when_it_is_fitted(iris):
    extractor = ActivationExtractor(LogisticRegression(C=-1))
    with pytest.raises(ValueError, match="'C' parameter of LogisticRegression"):
        extractor.fit(*iris)


@given(order=st.permutations(range(40)), size=st.integers(1, 50))
def test_positions_do_not_depend_on_order_or_batch_size(images, order, size):
    X, y = images
    model = FrozenEstimator(ConvClassifier().fit(X, y))
    extractor = ActivationExtractor(model, layer=0, random_state=3).fit(X, y)
    expected = extractor.transform(X)
    found = clone(extractor).set_params(batch_size=size).fit(X, y).transform(X[order])
    np.testing.assert_allclose(found, expected[order], rtol=1e-5, atol=1e-6)


def test_seed_decides_the_positions(images):
    X, y = images
    model = FrozenEstimator(ConvClassifier().fit(X, y))
    found = [
        ActivationExtractor(model, layer=0, random_state=seed).fit_transform(X, y)
        for seed in (0, 0, 1)
    ]
    np.testing.assert_array_equal(found[0], found[1])
    assert (found[0] != found[2]).any()


def test_unknown_layer_raises_and_lists_the_layers(pipeline, iris):
    extractor = ActivationExtractor(FrozenEstimator(pipeline), layer="penultimat")
    with pytest.raises(ValueError, match="did you mean 'penultimate'"):
        extractor.fit(*iris)
    with pytest.raises(ValueError, match="layer='all' is unknown"):
        extractor.set_params(layer="all").fit(*iris)


def test_model_with_other_number_of_features_raises(pipeline, iris):
    X, y = iris
    with pytest.raises(ValueError, match=r"X has 3 features, but .* expecting 4"):
        ActivationExtractor(FrozenEstimator(pipeline)).fit(X[:, :3], y)


def test_activations_of_a_pipeline_keep_the_digits_of_float64(iris):
    X, y = iris
    X = X + 1e7
    model = make_pipeline(StandardScaler(), LogisticRegression()).fit(X, y)
    extractor = ActivationExtractor(FrozenEstimator(model)).fit(X)
    expected = model.decision_function(X)
    np.testing.assert_allclose(extractor.transform(X), expected, rtol=1e-5, atol=1e-5)


def positions_of(images, seed, layer=0):
    model = FrozenEstimator(ConvClassifier().fit(*images))
    X, y = images
    whole = ActivationExtractor(model, layer=layer, spatial="flatten").fit(X, y)
    maps = whole.transform(X).reshape(len(X), 3, 16)
    found = ActivationExtractor(model, layer=layer, random_state=seed).fit(X, y)
    return (found.transform(X)[:, :, None] == maps).all(axis=1)


def test_every_position_is_drawn_equally_often():
    rng = np.random.RandomState(1)
    X = rng.normal(size=(4000, 16)).astype(np.float32)
    match = positions_of((X, np.arange(4000) % 2), seed=7)
    # Where a ReLU silenced several positions alike, it cannot be told which was drawn.
    counts = match[match.sum(axis=1) == 1].sum(axis=0)
    expected = counts.sum() / 16
    assert counts.sum() > 2000
    # Six standard deviations of a multinomial count.
    assert (np.abs(counts - expected) < 6 * np.sqrt(expected)).all()


def test_position_depends_on_every_feature_and_not_on_the_sign_of_zero():
    X = np.zeros((18, 16), dtype=np.float32)
    X[0] = -0.0
    X[2:] = np.eye(16) * 0.25
    classifier = ConvClassifier().fit(X, np.arange(18) % 2)
    extractor = ActivationExtractor(FrozenEstimator(classifier), layer=0)
    drawn = [
        extractor.set_params(random_state=seed).fit(X).transform(X)
        for seed in range(20)
    ]
    for found in drawn:
        np.testing.assert_array_equal(found[0], found[1])
    # Each feature alone moves the position for some seed.
    maps = (
        extractor.set_params(spatial="flatten").fit(X).transform(X).reshape(18, 3, 16)
    )
    for row in range(2, 18):
        own = maps[row, :, row - 2]
        hits = [np.array_equal(found[row], own) for found in drawn]
        assert not all(hits)


def test_invalid_extractor_parameters_raise(pipeline, iris):
    for name, value in {
        "spatial": "median",
        "batch_size": 0,
        "layer": 1.5,
        "device": 3,
    }.items():
        extractor = ActivationExtractor(FrozenEstimator(pipeline), **{name: value})
        with pytest.raises(ValueError, match=f"The '{name}' parameter"):
            extractor.fit(*iris)
    assert ActivationExtractor(FrozenEstimator(pipeline), batch_size=1).fit(*iris)


def test_defaults_are_those_documented(pipeline):
    extractor = ActivationExtractor(pipeline)
    parameters = extractor.get_params(deep=False)
    parameters.pop("estimator")
    assert parameters == {
        "layer": "logits",
        "spatial": "random",
        "batch_size": 4096,
        "device": "auto",
        "random_state": None,
    }


@pytest.mark.parametrize("with_channel", [True, False])
def test_network_that_is_told_nothing_learns_the_shape_of_images(with_channel):
    rng = np.random.RandomState(0)
    X = rng.rand(40, 1, 8, 8).astype(np.float32)
    y = rng.randint(2, size=40)
    net = TorchClassifier("cnn6", max_epochs=1, device="cpu", random_state=0)
    told = clone(net).set_params(image_shape=(1, 8, 8)).fit(X.reshape(40, -1), y)
    shown = X if with_channel else X[:, 0]
    extractor = ActivationExtractor(net, layer="penultimate", device="cpu")
    found = extractor.fit(shown, y).transform(shown)
    expected = ActivationExtractor(
        FrozenEstimator(told), layer="penultimate", device="cpu"
    ).fit(X)
    np.testing.assert_allclose(found, expected.transform(X), atol=1e-6)


@pytest.mark.parametrize("layers", ["all", [0, "logits"], 0, ["logits", 0]])
def test_several_layers_are_those_of_one_at_a_time(images, layers):
    X, y = images
    model = FrozenEstimator(ConvClassifier().fit(X, y))
    # The logits have no positions: the seed of those of the other layer is the same.
    extractor = ActivationExtractor(model, layer="logits", random_state=3).fit(X, y)
    found = extractor.transform_layers(X, layers)
    names = ["logits", "2"] if layers == ["logits", 0] else ["2", "logits"]
    assert list(found) == names[: 1 if layers == 0 else 2]
    for name, values in found.items():
        one = ActivationExtractor(model, layer=name, random_state=3).fit(X, y)
        np.testing.assert_array_equal(values, one.transform(X))


def test_several_layers_take_one_pass(images):
    X, y = images
    classifier = ConvClassifier().fit(X, y)
    model = FrozenEstimator(classifier)
    extractor = ActivationExtractor(model, random_state=0).fit(X, y)
    calls = []
    classifier.module_.register_forward_hook(lambda *_: calls.append(1))
    extractor.transform_layers(X)
    assert len(calls) == 1


def test_a_module_takes_images_in_the_shape_that_it_was_made_for():
    rows = np.zeros((2, 36))
    with seeded_torch(0):
        convolution, flat = nn.Conv2d(1, 2, 3), nn.Linear(36, 3)
        lines = nn.Sequential(nn.Flatten(), nn.Linear(36, 3))
    for module, shape, wants_images, expected in (
        (convolution, (6, 6), True, (1, 6, 6)),
        (convolution, (1, 6, 6), False, (1, 6, 6)),
        (flat, (6, 6), False, None),
        (lines, (6, 6), True, (6, 6)),
        (flat, None, False, None),
    ):
        found = input_shape(module, rows, shape, wants_images=wants_images)
        assert found == expected
