"""The estimator: what it takes, what it refuses, and what it says."""

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.base import clone
from sklearn.decomposition import PCA
from sklearn.ensemble import RandomForestClassifier
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import FixedThresholdClassifier, GridSearchCV
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler, StandardScaler
from sklearn.svm import SVC
from torch import nn

from robustkit._randomness import seeded_torch
from robustkit.bounds import CertifiedRadius
from robustkit.classifiers import (
    MLPNetClassifier,
    SparseNetClassifier,
    TorchClassifier,
)
from robustkit.exceptions import UndecidedSamplesWarning
from robustkit.graphs import GraphPrior
from tests.attacks.odd_modules import N_CLASSES, ODD, PLAIN, WIDTH, odd_network
from tests.attacks.victims import digits


def certified(model, X, y, **params):
    return CertifiedRadius(FrozenEstimator(model), **params).fit(X, y)


def wrapped(module, n_classes=N_CLASSES, **params):
    return TorchClassifier.from_module(module, classes=np.arange(n_classes), **params)


def no_error_within(model, X, y, radii, clip=(0, 1)):
    """Ask the model about corners of every ball, and points in it."""
    rng = np.random.default_rng(0)
    for _ in range(30):
        move = rng.choice([-1.0, 0.0, 1.0], size=X.shape)
        eps = np.where(np.isinf(radii), 1.0, radii)[:, None]
        moved = X + (eps * move * rng.choice([1.0, 0.5])).astype(X.dtype)
        moved = moved if clip is None else moved.clip(*clip)
        sure = radii > 0
        if not (model.predict(moved)[sure] == y[sure]).all():
            return False
    return True


MODELS = {
    "logistic": lambda: LogisticRegression(),
    "perceptron": lambda: MLPClassifier((12,), tol=0.1, random_state=0),
    "scaled": lambda: make_pipeline(
        StandardScaler(), MLPClassifier((12,), tol=0.1, random_state=0)
    ),
    "principal components": lambda: make_pipeline(
        MinMaxScaler(), PCA(10, whiten=True, random_state=0), LogisticRegression()
    ),
    "our perceptron": lambda: MLPNetClassifier(
        (12, 8), max_epochs=5, batch_size=16, lr=0.01, device="cpu", random_state=0
    ),
    "scaled sparse net": lambda: make_pipeline(
        StandardScaler(),
        SparseNetClassifier(
            GraphPrior(n_nodes=30, random_state=0),
            max_epochs=5,
            batch_size=16,
            lr=0.01,
            device="cpu",
            random_state=0,
        ),
    ),
}


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", MODELS)
def test_models_make_no_error_within_their_radii(name, dtype):
    X, y = digits(200)
    X = X.astype(dtype)
    model = MODELS[name]().fit(X, y)
    radii = certified(model, X, y).radii(X[:40], y[:40])
    right = model.predict(X[:40]) == y[:40]
    assert (radii[~right] == 0).all()
    assert (radii[right] > 0).mean() > 0.9
    assert no_error_within(model, X[:40], y[:40], radii)


def test_radius_of_binary_model_in_its_own_space_is_exact():
    """A pipeline with scaling: the plane, in the space of the input."""
    X, y = digits(200)
    X, y = X[y < 2].astype(np.float64), y[y < 2]
    model = make_pipeline(StandardScaler(), LogisticRegression()).fit(X, y)
    weight = model[-1].coef_[0] / model[0].scale_
    exact = np.abs(model.decision_function(X))
    for norm, dual in (("linf", 1), ("l2", 2)):
        radii = certified(model, X, y, norm=norm, clip=None).radii(X, y)
        expected = exact / np.linalg.norm(weight, dual)
        expected[model.predict(X) != y] = 0
        np.testing.assert_allclose(radii, expected, rtol=1e-7)
        assert (radii <= expected).all()


def test_labels_are_those_of_the_model():
    X, y = digits(200)
    names = np.array([f"digit {label}" for label in y])
    model = LogisticRegression().fit(X, names)
    radii = certified(model, X, names).radii(X, names)
    numbers = LogisticRegression().fit(X, y)
    np.testing.assert_allclose(radii, certified(numbers, X, y).radii(X, y), rtol=1e-4)


def test_without_labels_what_model_predicts_is_proved():
    X, y = digits(200)
    model = certified(LogisticRegression(C=1e-3).fit(X[:80], y[:80]), X, y)
    predicted = model.predict(X)
    assert (predicted != y).any()
    np.testing.assert_array_equal(model.radii(X), model.radii(X, predicted))
    assert (model.radii(X, y)[predicted != y] == 0).all()


def test_certified_accuracy_is_share_of_radii():
    X, y = digits(200)
    model = certified(LogisticRegression().fit(X[:50], y[:50]), X, y)
    radii = model.radii(X, y)
    eps = [0.0, 0.01, 0.05, 0.2]
    found = model.certified_accuracy(X, y, eps)
    right = model.predict(X) == y
    np.testing.assert_array_equal(found, [(right & (radii >= e)).mean() for e in eps])
    assert found[0] == right.mean()
    one = model.certified_accuracy(X, y, 0.05)
    assert isinstance(one, float)
    assert one == found[2]


def test_report_and_score_sum_up_radii():
    X, y = digits(100)
    model = certified(LogisticRegression().fit(X[:50], y[:50]), X, y, norm="l2")
    radii, report = model.radii(X, y), model.report(X, y)
    assert isinstance(report, pd.Series)
    right = model.predict(X) == y
    assert report["n_samples"] == 100
    assert report["n_correct"] == right.sum()
    assert report["n_proved"] == (radii > 0).sum()
    assert report["n_settled"] == 100
    assert report["clean_accuracy"] == right.mean()
    assert report["median_radius"] == np.median(radii) == model.score(X, y)
    assert report["mean_radius"] == radii.mean()
    assert report["radius_q90"] == np.sort(radii)[89]


def test_grid_search_chooses_by_radius():
    X, y = digits(150)
    model = CertifiedRadius(LogisticRegression())
    search = GridSearchCV(model, {"estimator__C": [1e-4, 1.0]}, cv=2).fit(X, y)
    scores = search.cv_results_["mean_test_score"]
    assert search.best_score_ == scores.max()
    assert scores[0] != scores[1]


def test_stronger_methods_prove_larger_radii():
    X, y = digits(200)
    model = MODELS["our perceptron"]().fit(X, y)
    median = {
        method: certified(model, X, y, method=method).score(X[:60], y[:60])
        for method in ("interval", "crown", "split")
    }
    assert median["interval"] < median["crown"] < median["split"]


@pytest.mark.parametrize("name", sorted(set(PLAIN) - {"clamp"}))
def test_plain_parts_are_taken_apart_right(name):
    module = odd_network([name, "relu", "linear", name])
    X = np.random.default_rng(0).random((30, WIDTH)).astype(np.float32)
    model = wrapped(module)
    y = model.predict(X)
    for method in ("interval", "crown"):
        proof = certified(model, X, y, method=method)
        radii = proof.radii(X, y)
        assert no_error_within(model, X, y, radii)
        assert (radii > 0).mean() > 0.5


@pytest.mark.parametrize("name", [*ODD, "clamp"])
def test_odd_parts_are_refused_by_name(name):
    module = odd_network(["linear", "relu", name])
    X = np.random.default_rng(0).random((9, WIDTH)).astype(np.float32)
    with pytest.raises(TypeError, match=r"^Bounds are known for .* This one has a \w+"):
        certified(wrapped(module), X, np.arange(9) % N_CLASSES)


def test_refused_layer_is_named_with_what_is_odd():
    X, y = np.zeros((4, WIDTH), np.float32), np.arange(4) % N_CLASSES
    with pytest.raises(TypeError, match=r"This one has a Tanh \(layer '\d+'\)$"):
        certified(wrapped(odd_network(["tanh"])), X, y)
    with pytest.raises(TypeError, match="has a ReLU with a forward hook"):
        certified(wrapped(odd_network(["hook of a relu"])), X, y)


def test_layers_that_do_not_fit_are_refused():
    X, y = np.zeros((4, 64), np.float32), np.arange(4) % 3
    with seeded_torch(0):
        modules = {
            r"Conv2d \(layer '0'\) on flat": nn.Sequential(nn.Conv2d(1, 1, 3)),
            r"Linear \(layer '1'\) on": nn.Sequential(
                nn.Linear(64, 64), nn.Linear(5, 3)
            ),
            "Flatten": nn.Sequential(nn.Flatten(2), nn.Linear(64, 3)),
        }
        for said, module in modules.items():
            with pytest.raises(TypeError, match=said):
                certified(wrapped(module.eval()), X, y)


def test_images_and_pooling_are_proved():
    X, y = digits(30)
    with seeded_torch(0):
        module = nn.Sequential(
            nn.Conv2d(1, 4, 3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Flatten(),
            nn.Linear(64, 10),
        ).eval()
    model = wrapped(module, 10, image_shape=(1, 8, 8))
    y = model.predict(X)
    radii = certified(model, X, y).radii(X, y)
    assert (radii > 0).all()
    assert no_error_within(model, X, y, radii)


def test_models_of_whom_nothing_can_be_proved_are_refused():
    X, y = digits(60)
    with pytest.raises(TypeError, match="RandomForestClassifier has no gradient"):
        CertifiedRadius(RandomForestClassifier(3, random_state=0)).fit(X, y)
    two = y < 2
    shifted = FixedThresholdClassifier(LogisticRegression(), threshold=0.9)
    with pytest.raises(TypeError, match="FixedThreshold"):
        CertifiedRadius(shifted).fit(X[two], y[two])
    with pytest.raises(TypeError, match="SVC may answer otherwise"):
        CertifiedRadius(SVC(kernel="linear", random_state=0)).fit(X, y)
    CertifiedRadius(SVC(kernel="linear", random_state=0)).fit(X[two], y[two])


def test_bad_input_is_refused_in_one_line():
    X, y = digits(60)
    model = LogisticRegression().fit(X, y)
    good = certified(model, X, y)
    calls = {
        "'max_seconds' parameter .* Got 0": lambda: certified(
            model, X, y, max_seconds=0
        ),
        "'norm' parameter .* Got 'l1'": lambda: certified(model, X, y, norm="l1"),
        r"clip range \[0.5, 1.0\]. Got values from 0.0": lambda: certified(
            model, X, y, clip=(0.5, 1)
        ),
        "'clip' parameter must be": lambda: certified(model, X, y, clip=(1, 0)),
        "must lie in the clip range": lambda: good.radii(X + 1, y),
        "'y' must hold classes of the model": lambda: good.radii(X, y + 1),
        "one label per sample": lambda: good.radii(X, y[:5]),
        "'eps' must be": lambda: good.certified_accuracy(X, y, -0.1),
        "features": lambda: good.radii(X[:, :5], y),
        "NaN": lambda: good.radii(np.full_like(X, np.nan), y),
    }
    for said, call in calls.items():
        with pytest.raises(ValueError, match=said) as caught:
            call()
        assert "\n" not in str(caught.value).split("\nLogistic")[0].strip() or (
            "NaN" in said
        )


def test_device_other_than_cpu_is_refused():
    X, y = digits(60)
    with pytest.raises(ValueError, match="device"):
        CertifiedRadius(LogisticRegression(), device="meta").fit(X, y)


def test_labels_of_one_class_are_proved_or_refused():
    X, y = digits(200)
    model = LogisticRegression().fit(X, y)
    threes = y == 3
    radii = certified(model, X, y).radii(X[threes], y[threes])
    assert (radii > 0).any()
    one = MLPClassifier((4,), solver="lbfgs", random_state=0)
    with pytest.raises(ValueError, match="one logit for each of the 1 classes"):
        CertifiedRadius(one).fit(X[threes], y[threes])


def test_time_limit_warns_and_keeps_what_was_proved():
    X, y = digits(200)
    model = MODELS["our perceptron"]().fit(X, y)
    whole = certified(model, X, y)
    short = certified(model, X, y, max_seconds=1e-9)
    with pytest.warns(UndecidedSamplesWarning, match="max_seconds=1e-09"):
        radii = short.radii(X, y)
    assert (radii <= whole.radii(X, y)).all()
    with pytest.warns(UndecidedSamplesWarning, match="200 samples"):
        assert short.report(X, y)["n_settled"] < 200


def test_nothing_of_the_model_is_changed():
    X, y = digits(60)
    module = odd_network(["linear", "relu"]).train()
    before = {name: w.clone() for name, w in module.state_dict().items()}
    certified(wrapped(module), X[:, :WIDTH], y % N_CLASSES).radii(X[:, :WIDTH])
    assert module.training
    for name, weight in module.state_dict().items():
        assert torch.equal(weight, before[name])
    assert not module[0]._forward_hooks


def test_clone_fits_anew():
    X, y = digits(60)
    model = clone(CertifiedRadius(LogisticRegression(C=0.5), norm="l2"))
    assert model.fit(X, y).estimator_.C == 0.5
    assert model.norm == "l2"
