"""Any torch module."""

import copy
import pickle

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.frozen import FrozenEstimator
from sklearn.model_selection import GridSearchCV
from torch import nn

from robustkit._randomness import seeded_torch
from robustkit.bridge import as_module
from robustkit.classifiers import TorchClassifier
from tests.classifiers.conftest import QUICK, anything


class Wide(nn.Module):
    """Takes images of one channel, and has a part of its own mode."""

    def __init__(self, n_features, n_classes, width=4):
        super().__init__()
        self.conv = nn.Conv2d(1, width, 3)
        self.norm = nn.BatchNorm2d(width)
        self.readout = nn.Linear(width, n_classes)

    def forward(self, images):
        assert images.ndim == 4
        return self.readout(self.norm(self.conv(images)).amax(dim=(2, 3)))


def trained_module(digits):
    with seeded_torch(0):
        module = nn.Linear(64, 10)
    X, y = map(torch.from_numpy, digits)
    optimizer = torch.optim.Adam(module.parameters(), lr=0.01)
    for _ in range(60):
        optimizer.zero_grad()
        nn.functional.cross_entropy(module(X), y).backward()
        optimizer.step()
    return module


@pytest.mark.parametrize(
    ("module", "params"),
    [
        ("mlp", {"module_params": {"hidden_layer_sizes": (30,)}}),
        ("mlp", {"image_shape": (8, 8)}),
        ("cnn6", {"image_shape": (1, 8, 8), "lr": 0.003, "max_epochs": 15}),
        ("resnet18", {"image_shape": (8, 8), "module_params": {"width": 4}}),
        (Wide, {"image_shape": (8, 8), "module_params": {"width": 16}, "lr": 0.05}),
    ],
)
def test_torch_classifier_learns(module, params, digits):
    X, y = digits
    classifier = TorchClassifier(module, **QUICK | {"max_epochs": 6} | params).fit(X, y)
    assert classifier.score(X, y) > 0.5
    loaded = pickle.loads(pickle.dumps(classifier))
    assert np.array_equal(loaded.predict_proba(X), classifier.predict_proba(X))
    flat = as_module(classifier)(torch.from_numpy(X)).detach()
    np.testing.assert_allclose(
        flat, classifier.decision_function(X), rtol=1e-4, atol=1e-4
    )


def test_as_module_of_an_image_module_shares_its_weights(digits):
    classifier = TorchClassifier(Wide, image_shape=(8, 8), **QUICK).fit(*digits)
    module = as_module(classifier)
    assert next(module.parameters()) is next(classifier.module_.parameters())
    classifier.module_.norm.train()
    assert not any(part.training for part in as_module(classifier).modules())
    assert classifier.module_.norm.training
    assert not classifier.module_.training


def test_grid_search_over_module_params(digits):
    grid = {"module_params": [{"hidden_layer_sizes": (n,)} for n in (3, 30)]}
    search = GridSearchCV(anything(), grid, cv=2).fit(*digits)
    assert search.best_params_ == {"module_params": {"hidden_layer_sizes": (30,)}}


@pytest.mark.parametrize("optimizer", ["adam", "sgd", torch.optim.AdamW])
def test_torch_classifier_optimizers(optimizer, digits):
    X, y = digits
    classifier = anything(optimizer=optimizer, max_epochs=10, lr=0.02).fit(X, y)
    assert classifier.score(X, y) > 0.9
    plain = anything(max_epochs=10, lr=0.02).fit(X, y)
    assert (classifier.loss_curve_ == plain.loss_curve_) == (optimizer == "adam")


def test_seed_draws_weights_and_leaves_the_global_stream_alone(digits):
    before = torch.get_rng_state()
    first, again = (anything().fit(*digits).loss_curve_ for _ in range(2))
    assert first == again
    assert torch.equal(torch.get_rng_state(), before)


def test_module_instance_raises(digits):
    module = trained_module(digits)
    with pytest.raises(
        TypeError, match=r"not a module, .*TorchClassifier\.from_module"
    ):
        TorchClassifier(module, **QUICK).fit(*digits)


def test_callable_that_builds_no_module_raises(digits):
    with pytest.raises(TypeError, match=r"must build a torch.nn.Module. It built 10"):
        TorchClassifier(lambda n_features, n_classes: n_classes, **QUICK).fit(*digits)


def test_module_with_wrong_number_of_outputs_raises(digits):
    def careless(n_features, n_classes):
        return nn.Linear(n_features, n_classes + 1)

    with pytest.raises(ValueError, match=r"one logit for each of the 10 .*\(2, 11\)"):
        TorchClassifier(careless, **QUICK).fit(*digits)


def test_lazy_layers_are_initialized(digits):
    def lazy(n_features, n_classes):
        return nn.Sequential(nn.LazyLinear(20), nn.ReLU(), nn.LazyLinear(n_classes))

    X, y = digits
    classifier = TorchClassifier(lazy, **QUICK | {"max_epochs": 10}).fit(X, y)
    assert classifier.n_parameters_ == 64 * 20 + 20 + 20 * 10 + 10
    assert classifier.score(X, y) > 0.8


@pytest.mark.parametrize("name", ["cnn6", "resnet18"])
def test_image_modules_need_image_shape(name, digits):
    with pytest.raises(ValueError, match=f"module='{name}' takes images: pass image_s"):
        TorchClassifier(name, **QUICK).fit(*digits)


@pytest.mark.parametrize("name", ["mlp", "cnn6", Wide])
def test_image_shape_of_wrong_size_raises(name, digits):
    with pytest.raises(ValueError, match="holds 63 values, but X has 64 features"):
        TorchClassifier(name, image_shape=(7, 9), **QUICK).fit(*digits)


@pytest.mark.parametrize(
    ("parameter", "value"),
    [
        ("module", "vgg"),
        ("module_params", 3),
        ("optimizer", "lion"),
        ("image_shape", 8),
    ],
)
def test_invalid_torch_classifier_parameter_raises(parameter, value, digits):
    with pytest.raises(ValueError, match=f"The '{parameter}' parameter of Torch"):
        TorchClassifier(**{parameter: value}).fit(*digits)


def test_unknown_module_param_raises(digits):
    with pytest.raises(TypeError, match="unexpected keyword argument 'depth'"):
        anything(module_params={"depth": 3}).fit(*digits)


def test_from_module_is_ready_to_predict(digits):
    X, y = digits
    module = trained_module(digits)
    names = np.array([f"digit {d}" for d in range(10)])
    classifier = TorchClassifier.from_module(module, names)
    logits = module(torch.from_numpy(X)).detach().numpy()
    assert np.array_equal(classifier.predict(X), names[logits.argmax(axis=1)])
    assert classifier.score(X, names[y]) > 0.9
    assert classifier.module_ is module
    assert as_module(classifier)(torch.from_numpy(X[:3])).shape == (3, 10)
    assert classifier.n_parameters_ == 650
    assert module.training


def test_from_module_of_image_module_takes_flat_samples(digits):
    X, _ = digits
    with seeded_torch(0):
        module = Wide(64, 10)
    classifier = TorchClassifier.from_module(module, range(10), image_shape=(8, 8))
    module.eval()
    expected = module(torch.from_numpy(X).reshape(-1, 1, 8, 8)).detach()
    np.testing.assert_allclose(classifier.decision_function(X), expected, rtol=1e-5)
    with pytest.raises(
        ValueError, match="X has 63 features, but TorchClassifier is exp"
    ):
        classifier.predict(X[:, 1:])


def test_from_module_is_frozen(digits):
    X, y = digits
    module = trained_module(digits)
    weight = module.weight.detach().clone()
    classifier = TorchClassifier.from_module(module, range(10))
    assert clone(classifier) is classifier
    assert clone(FrozenEstimator(classifier)).predict(X).shape == y.shape
    assert classifier.fit(X, y) is classifier
    assert torch.equal(module.weight, weight)
    with pytest.raises(ValueError, match="would change a module that was passed to"):
        classifier.partial_fit(X, y)
    assert copy.deepcopy(classifier).module_ is not module
    assert pickle.loads(pickle.dumps(classifier)).score(X, y) == classifier.score(X, y)


@pytest.mark.parametrize(
    ("classes", "message"),
    [
        ([0, 1, 1], r"name each output of the module once. Got \[0, 1, 1\]"),
        ([3], r"needs at least 2 classes. Got 1 class: \[3\]"),
        ([[0, 1], [2, 3]], "name each output of the module once"),
    ],
)
def test_from_module_with_invalid_classes_raises(classes, message, digits):
    with pytest.raises(ValueError, match=message):
        TorchClassifier.from_module(trained_module(digits), classes)


def test_from_module_with_wrong_number_of_classes_raises(digits):
    classifier = TorchClassifier.from_module(trained_module(digits), range(9))
    with pytest.raises(ValueError, match=r"one logit for each of the 9 .*\(500, 10\)"):
        classifier.predict(digits[0])


def test_from_module_of_no_module_raises():
    with pytest.raises(
        TypeError, match=r"module must be a torch\.nn\.Module\. Got 'mlp'"
    ):
        TorchClassifier.from_module("mlp", range(10))


def returning_pairs(n_features, n_classes):
    return nn.LSTM(n_features, n_classes)


def frozen_whole(n_features, n_classes):
    return nn.Linear(n_features, n_classes).requires_grad_(False)


@pytest.mark.parametrize(
    ("module", "message"),
    [
        (returning_pairs, r"must return a tensor .* 10 classes. It returned a tuple"),
        (frozen_whole, r"Linear must have weights that can be trained. Got none"),
    ],
)
def test_module_that_cannot_be_trained_says_why(module, message, digits):
    with pytest.raises(ValueError, match=message):
        TorchClassifier(module, **QUICK).fit(*digits)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_training_where_gradients_are_disabled_is_the_same(smoothing, digits):
    classifier = TorchClassifier(label_smoothing=smoothing, **QUICK | {"max_epochs": 1})
    expected = clone(classifier).fit(*digits).loss_curve_
    with torch.no_grad():
        assert classifier.fit(*digits).loss_curve_ == expected
