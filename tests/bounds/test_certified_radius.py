"""The estimator: what it takes, what it refuses, and what it says."""

import warnings
from contextlib import contextmanager
from copy import deepcopy

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.base import clone
from sklearn.datasets import load_breast_cancer
from sklearn.decomposition import PCA
from sklearn.ensemble import RandomForestClassifier
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import FixedThresholdClassifier, GridSearchCV
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import (
    MaxAbsScaler,
    MinMaxScaler,
    RobustScaler,
    StandardScaler,
)
from sklearn.svm import SVC, NuSVC
from torch import nn

from robustkit._randomness import seeded_torch
from robustkit.bounds import CertifiedRadius, refuse_imprecise
from robustkit.bridge import as_module
from robustkit.classifiers import (
    MLPNetClassifier,
    SparseNetClassifier,
    TorchClassifier,
)
from robustkit.exceptions import UndecidedSamplesWarning
from robustkit.graphs import GraphPrior
from tests.attacks.odd_modules import N_CLASSES, ODD, PLAIN, WIDTH, odd_network
from tests.attacks.victims import digits
from tests.bounds.nets import steepest


def certified(model, X, y, **params):
    return CertifiedRadius(FrozenEstimator(model), **params).fit(X, y)


def wrapped(module, n_classes=N_CLASSES, **params):
    return TorchClassifier.from_module(module, classes=np.arange(n_classes), **params)


def no_error_within(model, X, y, radii, clip=(0, 1), norm="linf"):
    """Ask the model about points of every ball: where margins fall fastest, and others.

    Points are asked in the precision of X. Those that rounding has put outside their
    ball do not count.
    """
    order = {"linf": np.inf, "l2": 2}[norm]
    points = [*_random_points(X, radii, norm), *_worst_points(model, X, radii, norm)]
    for moved in points:
        moved = moved if clip is None else moved.clip(*clip)
        moved = moved.astype(X.dtype)
        far = np.linalg.norm(moved.astype(np.float64) - X, order, axis=1)
        sure = (radii > 0) & (far <= radii * (1 - 1e-14))
        if not (model.predict(moved)[sure] == y[sure]).all():
            return False
    return True


def _random_points(X, radii, norm):
    rng = np.random.default_rng(0)
    eps = np.where(np.isinf(radii), 1.0, radii)[:, None]
    for _ in range(15):
        move = rng.choice([-1.0, 0.0, 1.0], size=X.shape)
        if norm == "l2":
            move /= np.maximum(np.linalg.norm(move, axis=1, keepdims=True), 1)
        for share in (1 - 1e-9, 0.5):
            yield X + share * eps * move


def _worst_points(model, X, radii, norm):
    module = deepcopy(as_module(model)).cpu().double()
    labels = np.searchsorted(model.classes_, model.predict(X))
    yield from steepest(module, X, labels, radii, norm)


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


@pytest.mark.parametrize("asked", [np.float32, np.float64])
@pytest.mark.parametrize("fitted", [np.float32, np.float64])
@pytest.mark.parametrize("name", MODELS)
def test_models_make_no_error_within_their_radii(name, fitted, asked):
    X, y = digits(200)
    X = X.astype(fitted)
    model = MODELS[name]().fit(X, y)
    X = X[:40].astype(asked)
    right = model.predict(X) == y[:40]
    for norm in ("linf", "l2"):
        radii = certified(model, X, y[:40], norm=norm).radii(X, y[:40])
        assert (radii[~right] == 0).all()
        assert (radii[right] > 0).mean() > 0.9
        assert no_error_within(model, X, y[:40], radii, norm=norm)


@pytest.mark.parametrize("norm", ["linf", "l2"])
@pytest.mark.parametrize(
    "steps",
    [[MaxAbsScaler()], [RobustScaler()], [PCA(5, whiten=True, random_state=0)]],
    ids=["largest", "quartiles", "whitened"],
)
def test_model_fitted_in_single_precision_is_not_proved_in_double(steps, norm):
    """Its scales were rounded; what it computes of doubles was not."""
    X, y = load_breast_cancer(return_X_y=True)
    model = make_pipeline(*steps, LogisticRegression(max_iter=1000))
    model.fit(X.astype(np.float32), y)
    X = X[:100]
    radii = certified(model, X, y[:100], norm=norm, clip=None).radii(X)
    assert (radii > 0).all()
    assert no_error_within(model, X, model.predict(X), radii, None, norm)
    # The module computes what `predict` does, to double precision.
    logits = as_module(model)(torch.from_numpy(X))[:, 1].detach().numpy()
    np.testing.assert_allclose(model.decision_function(X), logits, rtol=1e-9)


# Scikit-learn takes features that vary less for constant ones.
@pytest.mark.parametrize("scale", [1e-13, 1e30, 1e100])
@pytest.mark.parametrize("norm", ["linf", "l2"])
@pytest.mark.parametrize("scaler", [StandardScaler, MinMaxScaler])
def test_radii_of_scaled_models_are_in_the_units_of_the_features(scaler, norm, scale):
    """Masses of stars in kilograms."""
    rng = np.random.default_rng(0)
    X = rng.uniform(0.1, 5, size=(60, 2))
    y = (X[:, 0] > 2.5).astype(int)
    models = [LogisticRegression(), MLPNetClassifier((8,), max_epochs=30, lr=0.02)]
    for last in models:
        last = last.set_params(random_state=0)
        model = make_pipeline(scaler(), last).fit(X * scale, y)
        radii = certified(model, X * scale, y, norm=norm, clip=None).radii(X * scale)
        small = make_pipeline(scaler(), FrozenEstimator(model[-1])).fit(X, y)
        near = certified(small, X, y, norm=norm, clip=None).radii(X)
        assert ((near > 0) & (near < 100)).mean() > 0.9
        np.testing.assert_allclose(radii / scale, near, rtol=2e-3)
        said = model.predict(X * scale)
        assert no_error_within(model, X * scale, said, radii, None, norm)


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


class RoundedScaler(StandardScaler):
    def transform(self, X, copy=None):
        return np.round(super().transform(X, copy=copy))


def test_transformer_of_the_user_is_found_inside_another_one():
    X, y = digits(60)
    for inner, outer in (
        (StandardScaler(), make_pipeline),
        (RoundedScaler(), make_pipeline),
        (
            RoundedScaler(),
            lambda step: make_pipeline(make_pipeline(step), "passthrough"),
        ),
    ):
        model = make_pipeline(outer(inner), LogisticRegression())
        if type(inner) is StandardScaler:
            CertifiedRadius(model).fit(X, y)
            continue
        with pytest.raises(TypeError, match="Pipeline may answer otherwise"):
            CertifiedRadius(model).fit(X, y)


@pytest.mark.parametrize("machine", [SVC, NuSVC])
def test_support_vectors_that_cancel_are_refused(machine):
    """Of contradictory samples the products are large, and their sum is small."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(60, 2))
    y = (X[:, 0] > 0).astype(int)
    own = {"C": 1e8} if machine is SVC else {"nu": 0.3}
    model = machine(kernel="linear", random_state=0, **own)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        certified(model.fit(X, y), X, y)
        X, y = np.vstack([X, X]), np.r_[y, 1 - y]
        model = SVC(kernel="linear", C=1e8, max_iter=2000, random_state=0).fit(X, y)
    if machine is NuSVC:
        twin = NuSVC(kernel="linear", random_state=0).fit(X[:60], y[:60])
        twin.__dict__.update(vars(model))
        model = twin
    with pytest.raises(TypeError, match="SVC may answer otherwise"):
        certified(model, X, y)


def of_convolution(n_rows=64):
    """A pixel that decides in front of large ones, and samples."""
    with torch.no_grad(), seeded_torch(0):
        convolution = nn.Conv2d(1, 1, 3, padding=1, bias=False)
        last = nn.Linear(64, 2)
        convolution.weight.zero_()
        convolution.weight[0, 0, 1, 1] = 1.0
        last.weight.zero_()
        last.weight[1, 0] = 1.0
        last.bias.copy_(torch.tensor([0.0, 1e-5]))
    module = nn.Sequential(convolution, nn.Flatten(), last)
    X = np.random.default_rng(0).uniform(0, 30, size=(n_rows, 64)).astype(np.float32)
    X[:, 0] = 0
    return wrapped(module, 2, image_shape=(1, 8, 8)), X, np.ones(n_rows, dtype=int)


@contextmanager
def without_onednn():
    with warnings.catch_warnings():
        # It warns of settings for processors that are not here.
        warnings.simplefilter("ignore")
        before = torch.backends.mkldnn.set_flags(False)
    try:
        yield
    finally:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            torch.backends.mkldnn.set_flags(before[0])


def test_convolutions_by_transforms_are_refused():
    model, X, y = of_convolution()
    proof = certified(model, X, y, clip=None)
    radii = proof.radii(X, y)
    worst = X.copy()
    worst[:, 0] = -0.9 * radii
    assert (radii > 0).all()
    assert (model.predict(worst) == 1).all()
    with without_onednn():
        nnpack = torch.backends.nnpack
        if nnpack.is_available():
            for ask in (proof.radii, proof.fit, proof.report):
                with pytest.raises(TypeError, match="NNPACK computes convolutions by"):
                    ask(X, y)
            with nnpack.flags(enabled=False):
                np.testing.assert_array_equal(proof.radii(X, y), radii)
        double = wrapped(deepcopy(model.module_).double(), 2, image_shape=(1, 8, 8))
        assert (certified(double, X, y, clip=None).radii(X, y) > 0).all()


@pytest.mark.parametrize("n_rows", [1, 2, 16, 64])
@pytest.mark.parametrize("groups", [1, 2])
@pytest.mark.parametrize("size", [1, 3, 5])
def test_convolutions_round_as_sums_do(n_rows, groups, size):
    """Relative to the terms of an output, not to its neighbours."""
    with seeded_torch(0), torch.no_grad():
        layer = nn.Conv2d(2, 4, size, padding=size // 2, groups=groups)
        X = torch.rand(n_rows, 2, 12, 12) * 10.0 ** torch.randint(
            -6, 1, (n_rows, 2, 12, 12)
        )
        found, twin = layer(X).double(), deepcopy(layer).double()
        exact = twin(X.double())
        twin.weight.abs_()
        twin.bias.abs_()
        bound = (2 // groups * size * size + 1) * 2.0**-24 * twin(X.double())
    assert ((found - exact).abs() <= bound).all()


def test_convolutions_elsewhere_than_on_the_cpu_are_refused():
    module = nn.Sequential(nn.Conv2d(1, 1, 3, device="meta"))
    for dtype in (torch.float32, torch.float64):
        with pytest.raises(TypeError, match=r"convolutions on 'meta' .* on the CPU"):
            refuse_imprecise(module.to(dtype), "CertifiedRadius")


def test_products_in_less_than_single_precision_are_refused(monkeypatch):
    X, y = digits(60)
    model = certified(MODELS["our perceptron"]().fit(X, y), X, y)
    linear = certified(LogisticRegression().fit(X, y), X, y)
    try:
        torch.set_float32_matmul_precision("medium")
        with pytest.raises(TypeError, match=r"matmul\.fp32_precision is 'bf16'"):
            model.radii(X, y)
        # Numpy computes it.
        assert (linear.radii(X, y) > 0).any()
    finally:
        torch.set_float32_matmul_precision("highest")
    with (
        torch.autocast("cpu", dtype=torch.bfloat16),
        pytest.raises(TypeError, match="autocast is on for 'cpu'"),
    ):
        model.radii(X, y)
    monkeypatch.setenv("DNNL_DEFAULT_FPMATH_MODE", "BF16")
    with pytest.raises(TypeError, match="DNNL_DEFAULT_FPMATH_MODE=BF16"):
        model.radii(X, y)
    monkeypatch.delenv("DNNL_DEFAULT_FPMATH_MODE")
    assert (model.radii(X, y) > 0).any()


@pytest.mark.parametrize("as_given", [np.asarray, torch.from_numpy, pd.DataFrame])
def test_samples_in_half_precision_are_refused(as_given):
    """A scaler would compute of them in half precision."""
    X, y = digits(60)
    model = make_pipeline(StandardScaler(), LogisticRegression()).fit(X, y)
    proof = certified(model, X, y, clip=None)
    half = as_given(X.astype(np.float16))
    with pytest.raises(ValueError, match=r"'X' must be float32 or float64.* float16"):
        proof.radii(half, y)


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
    }
    for said, call in calls.items():
        with pytest.raises(ValueError, match=said) as caught:
            call()
        assert "\n" not in str(caught.value)
    # This line is scikit-learn's, which explains at length.
    with pytest.raises(ValueError, match="NaN"):
        good.radii(np.full_like(X, np.nan), y)


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
    with pytest.raises(ValueError, match=r"two classes or more\. Got one class"):
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
    eps = 0.1
    calls = [
        lambda: short.radii(X, y),
        lambda: short.score(X, y),
        lambda: short.report(X, y),
        lambda: short.certified_accuracy(X, y, eps),
    ]
    for call in calls:
        with pytest.warns(UndecidedSamplesWarning, match="Time was up") as caught:
            call()
        line = call.__code__.co_firstlineno
        assert [(w.filename, w.lineno) for w in caught] == [(__file__, line)]


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
