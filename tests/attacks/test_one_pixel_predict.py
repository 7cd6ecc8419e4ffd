"""One Pixel counts a success only where `predict` errs, and leaves X as it was."""

import warnings

import numpy as np
import pytest
import torch
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.compose import ColumnTransformer
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import FixedThresholdClassifier, GridSearchCV
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline, make_union
from sklearn.preprocessing import FunctionTransformer, StandardScaler
from sklearn.svm import SVC
from skorch import NeuralNetBinaryClassifier
from torch import nn

from robustkit._randomness import seeded_torch
from robustkit.attacks import OnePixelAttack
from robustkit.bridge import as_module
from robustkit.classifiers import (
    MLPNetClassifier,
    PrunedNetClassifier,
    TorchClassifier,
)
from robustkit.exceptions import UndecidedSamplesWarning

LEVELS, N_FEATURES = 5, 6
METHODS = ["differential_evolution", "exhaustive", "certified"]


def table(n_samples=60, n_classes=2, seed=0):
    """Some samples near a boundary, others far from any."""
    rng = np.random.default_rng(seed)
    y = np.arange(n_samples) % n_classes
    X = 0.3 * rng.random((n_samples, N_FEATURES))
    for i, label in enumerate(y):
        X[i, label::n_classes] += rng.uniform(0.1, 0.7)
    return X.astype(np.float32), y


def attack_on(model, method, X, y, **params):
    params = {"levels": LEVELS, "clip": (0, 1), "device": "cpu", **params}
    attack = OnePixelAttack(
        FrozenEstimator(model),
        method=method,
        pop_size=20,
        max_iter=10,
        random_state=0,
        **params,
    )
    return attack.fit(X, y)


def brute_force(model, X, y, values):
    """Whether one of the values fools, put in any place."""
    n, d = X.shape
    tried = np.broadcast_to(X[:, None, None, :], (n, d, len(values), d)).copy()
    for pixel in range(d):
        tried[:, pixel, :, pixel] = values
    said = model.predict(tried.reshape(-1, d)).reshape(n, -1)
    return (said != y[:, None]).any(axis=1)


class HasAThreshold(LogisticRegression):
    def predict(self, X):
        return self.classes_[(self.predict_proba(X)[:, 1] > 0.8).astype(int)]


class HasAnotherScore(LogisticRegression):
    def decision_function(self, X):
        return super().decision_function(np.asarray(X)[:, ::-1])


class Backwards(StandardScaler):
    def transform(self, X, copy=None):
        return super().transform(X)[:, ::-1]


class Overwriting(LogisticRegression):
    """Its own X is the caller's."""

    def predict(self, X):
        X -= 0.2
        return super().predict(X)

    def predict_proba(self, X):
        X *= 0.5
        return super().predict_proba(X)


class Binned(ClassifierMixin, BaseEstimator):
    """Another answer than its module's, from `predict_proba` as well as `predict`."""

    def fit(self, X, y):
        self.classes_ = np.array([0, 1])
        self.weight_ = np.array([-2.0, 2.5, -1.5, 1.5, -2.0, 2.0])
        return self

    def predict_proba(self, X):
        p = np.clip(0.5 + np.round(X, 1) @ self.weight_ / 3, 0, 1)
        return np.column_stack([1 - p, p])

    def predict(self, X):
        return (self.predict_proba(X)[:, 1] > 0.75).astype(int)


@as_module.register(Binned)
def _binned(model):
    module = nn.utils.skip_init(nn.Linear, N_FEATURES, 2, bias=False)
    with torch.no_grad():
        module.weight[0] = 0
        module.weight[1] = torch.from_numpy(model.weight_)
    return module


def binary_net(threshold):
    with seeded_torch(0):
        net = NeuralNetBinaryClassifier(
            nn.Sequential(nn.Linear(N_FEATURES, 6), nn.ReLU(), nn.Linear(6, 1)),
            threshold=threshold,
            lr=1.0,
            max_epochs=20,
            train_split=None,
            verbose=0,
        )
        X, y = table()
        return net.fit(X, y.astype(np.float32))


TWO_MINDS = {
    "threshold of a subclass": lambda X, y: HasAThreshold(C=10).fit(X, y),
    "another score": lambda X, y: HasAnotherScore(C=10).fit(X, y),
    "fixed threshold": lambda X, y: FixedThresholdClassifier(
        LogisticRegression(C=10), threshold=0.8
    ).fit(X, y),
    "another transform": lambda X, y: make_pipeline(
        Backwards(), LogisticRegression(C=10)
    ).fit(X, y),
    "another transform in a step": lambda X, y: make_pipeline(
        make_pipeline(Backwards()), LogisticRegression(C=10)
    ).fit(X, y),
    "another transform in a union": lambda X, y: make_pipeline(
        make_union(Backwards()), LogisticRegression(C=10)
    ).fit(X, y),
    "another transform of columns": lambda X, y: make_pipeline(
        ColumnTransformer([("all", Backwards(), slice(N_FEATURES))]),
        LogisticRegression(C=10),
    ).fit(X, y),
    "function": lambda X, y: make_pipeline(
        FunctionTransformer(lambda X: X - 0.3 * (X > 0.5)), LogisticRegression(C=10)
    ).fit(X, y),
    "binned": lambda X, y: Binned().fit(X, y),
    "skorch": lambda X, y: binary_net(0.9),
    "inside a search": lambda X, y: GridSearchCV(HasAThreshold(), {"C": [10]}).fit(
        X, y
    ),
}


@pytest.mark.parametrize("name", TWO_MINDS)
def test_one_pixel_follows_predict_and_not_the_largest_logit(name):
    X, y = table()
    with seeded_torch(0):
        model = TWO_MINDS[name](X, y)
        says = model.predict(X).astype(int)
        result = attack_on(model, "exhaustive", X, says).perturb(X, says)
        expected = brute_force(model, X, says, np.linspace(0, 1, LEVELS))
        np.testing.assert_array_equal(result.success, expected)
        assert 0.05 < expected.mean() < 1
        search = attack_on(model, "differential_evolution", X, says).perturb(X, says)
        assert not (search.success & ~expected).any()
        assert search.success.sum() >= 0.8 * expected.sum()
        np.testing.assert_array_equal(search.prediction, model.predict(search.X_adv))
        with pytest.raises(TypeError, match=r"method='certified'|as_module"):
            attack_on(model, "certified", X, says)


def test_one_pixel_follows_a_predict_replaced_on_the_instance():
    X, y = table()
    model = LogisticRegression(C=10).fit(X, y)
    plain = attack_on(model, "certified", X, y).perturb(X, y)
    assert plain.success.any()
    model.predict = lambda X: model.classes_[(X[:, 3] > 0.5).astype(int)]
    says = model.predict(X)
    result = attack_on(model, "exhaustive", X, says).perturb(X, says)
    assert result.success.all()
    with pytest.raises(TypeError, match="LogisticRegression may answer otherwise"):
        attack_on(model, "certified", X, says)


@pytest.mark.parametrize(
    "name", ["mlp", "search", "pruned", "function None", "two-class SVC"]
)
def test_certificate_of_estimators_that_predict_the_largest_logit(name):
    X, y = table()
    models = {
        "mlp": lambda: MLPClassifier((6,), solver="lbfgs", max_iter=50, random_state=0),
        "search": lambda: GridSearchCV(
            make_pipeline(StandardScaler(), LogisticRegression()),
            {"logisticregression__C": [10]},
        ),
        "pruned": lambda: PrunedNetClassifier(
            MLPNetClassifier((8, 8, 8), max_epochs=20, lr=0.01, batch_size=10),
            amount=0.3,
            n_steps=2,
            random_state=0,
        ),
        "function None": lambda: make_pipeline(
            FunctionTransformer(), LogisticRegression(C=10)
        ),
        "two-class SVC": lambda: SVC(kernel="linear", C=10, random_state=0),
    }
    model = models[name]().fit(X, y)
    says = model.predict(X)
    proof = attack_on(model, "certified", X, says).perturb(X, says)
    grid = brute_force(model, X, says, np.linspace(0, 1, LEVELS))
    fine = brute_force(model, X, says, np.linspace(0, 1, 101))
    assert not (grid & ~proof.success).any()
    assert not (proof.certified & fine).any()
    assert (proof.certified | proof.success).all()
    assert proof.certified.any()


def test_certificate_refuses_votes_between_more_than_two_classes():
    X, y = table(n_classes=3)
    model = SVC(kernel="linear", C=10, random_state=0).fit(X, y)
    says = model.predict(X)
    result = attack_on(model, "exhaustive", X, says).perturb(X, says)
    expected = brute_force(model, X, says, np.linspace(0, 1, LEVELS))
    np.testing.assert_array_equal(result.success, expected)
    with pytest.raises(TypeError, match="SVC may answer otherwise"):
        attack_on(model, "certified", X, says)


@pytest.mark.parametrize("method", METHODS[:2])
def test_one_pixel_leaves_samples_alone_when_the_model_writes_to_it(method):
    X, y = table()
    before = X.copy()
    model = Overwriting(C=10).fit(X, y)
    says = LogisticRegression.predict(model, X - np.float32(0.2))
    result = attack_on(model, method, X, says).perturb(X, says)
    np.testing.assert_array_equal(X, before)
    np.testing.assert_array_equal(result.clean_prediction, says)
    clean = LogisticRegression(C=10).fit(X, y)
    shifted = clean.predict(result.X_adv - np.float32(0.2))
    np.testing.assert_array_equal(result.prediction, shifted)
    assert result.success.any()


def test_one_pixel_leaves_samples_alone_when_a_scaler_works_in_place():
    X, y = table()
    before = X.copy()
    model = make_pipeline(StandardScaler(copy=False), LogisticRegression(C=10))
    model.fit(X.copy(), y)
    says = model.predict(X.copy())
    for method in METHODS:
        result = attack_on(model, method, X, says).perturb(X, says)
        np.testing.assert_array_equal(X, before)
        said = model.predict(result.X_adv.copy())
        np.testing.assert_array_equal(result.prediction, said)


@pytest.mark.parametrize(
    "ends", [(-3.0, 7.0), (0.0, 2.0), (-(2.0**-10), 2.0**-10), (5.0, 9.0)]
)
@pytest.mark.parametrize("method", METHODS)
def test_one_pixel_values_come_from_the_whole_clip_range(method, ends):
    low, high = ends
    X, y = table()
    X = (low + (high - low) * X).clip(low, high)
    model = make_pipeline(StandardScaler(), LogisticRegression(C=10)).fit(X, y)
    says = model.predict(X)
    attack = attack_on(model, method, X, says, clip=ends)
    result = attack.perturb(X, says)
    expected = brute_force(model, X, says, np.linspace(low, high, LEVELS))
    # A linear model is fooled at an end if it is at all.
    if method == "differential_evolution":
        assert not (result.success & ~expected).any()
        assert result.success.sum() >= 0.8 * expected.sum()
    else:
        np.testing.assert_array_equal(result.success, expected)
    assert 0.1 < expected.mean() < 0.9
    moved = result.X_adv != X
    new = result.X_adv[moved].astype(np.float64)
    assert new.min() >= low
    assert new.max() <= high
    # To both ends, and to what is on the grid.
    assert {low, high} <= set(new)
    np.testing.assert_allclose(
        (new - low) / (high - low) * (LEVELS - 1) % 1, 0, atol=1e-5
    )
    np.testing.assert_array_equal(
        attack.value_range_, np.repeat([[low], [high]], X.shape[1], axis=1)
    )
    report = attack.report(X, says)
    assert report["n_success"] == result.success.sum()


@pytest.mark.parametrize("method", METHODS)
def test_one_pixel_refuses_numbers_too_large_for_the_model(method):
    X, y = table()
    model = TorchClassifier(
        lambda n, k: nn.Sequential(nn.Linear(n, 4), nn.ReLU(), nn.Linear(4, k)),
        max_epochs=1,
        random_state=0,
        device="cpu",
    ).fit(X, y)
    huge = (X * np.float64(1e38)).astype(np.float32)
    attack = attack_on(model, method, huge, y, clip=None)
    with torch.no_grad():
        model.module_[0].weight.mul_(1e3)
    with pytest.raises(ValueError, match="must be finite"):
        attack.perturb(huge, y)


@pytest.mark.parametrize("method", METHODS)
def test_one_pixel_does_not_depend_on_the_scale_of_the_data(method):
    """A power of two changes no rounding."""
    X, y = table()
    factor = 2.0**90
    model = LogisticRegression(C=10).fit(X, y)
    large = LogisticRegression().fit(X, y)
    large.coef_, large.intercept_ = model.coef_ / factor, model.intercept_
    small = attack_on(model, method, X, y, clip=None).perturb(X, y)
    big = X.astype(np.float64) * factor
    found = attack_on(large, method, big, y, clip=None).perturb(big, y)
    np.testing.assert_array_equal(found.clean_prediction, small.clean_prediction)
    if method == "differential_evolution":
        # Its numbers are drawn from the content of a sample.
        assert found.success.sum() >= 0.8 * small.success.sum() > 0
        return
    np.testing.assert_array_equal(found.success, small.success)
    np.testing.assert_allclose(found.X_adv, small.X_adv * factor, rtol=1e-6)
    if method == "certified":
        np.testing.assert_array_equal(found.certified, small.certified)


@pytest.mark.parametrize("method", METHODS)
def test_one_pixel_refuses_zero_samples(method):
    X, y = table()
    attack = attack_on(LogisticRegression().fit(X, y), method, X, y)
    with pytest.raises(ValueError, match="0 sample") as error:
        attack.perturb(X[:0], y[:0])
    assert "\n" not in str(error.value)


def nearly_equal_logits(gap):
    """The first class leads by the same small gap everywhere."""
    with seeded_torch(0):
        module = nn.Sequential(nn.Linear(12, 6), nn.ReLU(), nn.Linear(6, 3)).eval()
    with torch.no_grad():
        module[2].weight.copy_(module[2].weight[0].expand(3, 6))
        module[2].bias.copy_(torch.tensor([0.0, -gap, -gap]))
    return TorchClassifier.from_module(module, classes=np.arange(3))


def test_certificate_that_takes_too_long_is_undecided():
    """Three channels, whose boxes are halved without end, and nothing is proved."""
    model = nearly_equal_logits(2e-7)
    X = np.random.default_rng(0).random((4, 12)).astype(np.float32)
    y = np.zeros(4, dtype=int)
    attack = attack_on(model, "certified", X, y, image_shape=(3, 2, 2), levels=256)
    with pytest.warns(UndecidedSamplesWarning, match="of 4 samples are undecided"):
        report = attack.report(X, y)
    with pytest.warns(UndecidedSamplesWarning, match="of 4 samples") as seen:
        result = attack.perturb(X, y)
    # It points at whoever called.
    assert seen[0].filename == __file__
    undecided = ~result.success & ~result.certified
    assert undecided.any()
    assert report["n_undecided"] == undecided.sum()
    assert not result.certified.any()
    wide = nearly_equal_logits(0.1)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        attack = attack_on(wide, "certified", X, y, image_shape=(3, 2, 2))
        report = attack.report(X, y)
    assert report["n_undecided"] == 0
    assert report["certified_accuracy"] == 1
