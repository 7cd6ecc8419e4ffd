"""Modules against their estimators where arithmetic is exact, ties and scales included.

Points and parameters are small integers times powers of two. Sums of them are exact in
any order, so that nothing is compared up to rounding, and ties are frequent.
"""

import copy
import pickle

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.linear_model import (
    LogisticRegression,
    Perceptron,
    RidgeClassifier,
    SGDClassifier,
)
from sklearn.neural_network import MLPClassifier
from sklearn.preprocessing import (
    MaxAbsScaler,
    MinMaxScaler,
    Normalizer,
    RobustScaler,
    StandardScaler,
)
from sklearn.svm import LinearSVC

from robustkit.bridge import as_module

N_POINTS, N_FEATURES = 10_000, 4
LABELS = {
    "strings": np.array(["z", "b", "a"]),
    "bools": np.array([True, False]),
    "negative": np.array([-7, 3, -1]),
}
LINEAR = [
    LogisticRegression(),
    LinearSVC(random_state=0),
    SGDClassifier(loss="log_loss", random_state=0),
    SGDClassifier(loss="modified_huber", random_state=0),
    RidgeClassifier(),
    Perceptron(),
    LinearDiscriminantAnalysis(),
]
exponents = st.sampled_from([-27, -3, 0, 3, 27])
seeds = st.integers(0, 10**6)


def integers(seed, *shape, most=3):
    return np.random.RandomState(seed).randint(-most, most + 1, shape).astype(float)


@pytest.fixture(scope="module")
def models():
    """Each kind of model, fitted to each kind of labels: parameters come later."""
    X = np.random.RandomState(0).normal(size=(60, N_FEATURES))
    fitted = {}
    for kind, labels in LABELS.items():
        for n_classes in {2, len(labels)}:
            y = labels[np.arange(60) % n_classes]
            fitted[kind, n_classes] = [copy.deepcopy(m).fit(X, y) for m in LINEAR]
            mlp = MLPClassifier((3, 2), solver="lbfgs", max_iter=10**4, random_state=0)
            fitted[kind, n_classes].append(mlp.fit(X, y))
    return fitted


def answers(estimator, X):
    x = torch.from_numpy(X)
    before = x.clone()
    with torch.no_grad():
        logits = as_module(estimator)(x)
    assert torch.equal(x, before)
    assert logits.dtype == torch.float64
    return logits.numpy()


def assert_is_the_model(model, X):
    logits = answers(model, X)
    np.testing.assert_array_equal(
        model.classes_[logits.argmax(axis=1)], model.predict(X)
    )
    if hasattr(model, "decision_function"):
        expected = model.decision_function(X)
        if expected.ndim == 1:
            expected = np.column_stack([np.zeros(len(X)), expected])
        np.testing.assert_array_equal(logits, expected)


@given(
    index=st.integers(0, len(LINEAR) - 1),
    kind=st.sampled_from(sorted(LABELS)),
    binary=st.booleans(),
    exponent=exponents,
    of_points=exponents,
    seed=seeds,
    spoil=st.sampled_from(["nothing", "equal classes", "zero", "constant feature"]),
    dtype=st.sampled_from([np.float32, np.float64]),
)
def test_linear_models_are_exact(
    models, index, kind, binary, exponent, of_points, seed, spoil, dtype
):
    n_classes = 2 if binary else len(LABELS[kind])
    model = models[kind, n_classes][index]
    n_rows = 1 if n_classes == 2 else n_classes
    scale, unit = 2.0**exponent, 2.0**of_points
    model.coef_ = scale * integers(seed, n_rows, N_FEATURES)
    model.intercept_ = scale * unit * integers(seed + 1, n_rows)
    X = (unit * integers(seed + 2, N_POINTS, N_FEATURES)).astype(dtype)
    if spoil == "equal classes":
        model.coef_[-1], model.intercept_[-1] = model.coef_[0], model.intercept_[0]
    elif spoil == "zero":
        model.coef_ *= 0
    elif spoil == "constant feature":
        X[:, 0] = X[0, 0]
    before = pickle.dumps(model)
    assert_is_the_model(model, X)
    assert pickle.dumps(model) == before


@given(
    kind=st.sampled_from(sorted(LABELS)),
    binary=st.booleans(),
    activation=st.sampled_from(["relu", "identity"]),
    exponent=st.sampled_from([-9, 0, 9]),
    seed=seeds,
)
def test_multilayer_perceptrons_are_exact(
    models, kind, binary, activation, exponent, seed
):
    n_classes = 2 if binary else len(LABELS[kind])
    model = models[kind, n_classes][-1]
    model.activation = activation
    scale = 2.0**exponent
    for layer, coef in enumerate(model.coefs_):
        model.coefs_[layer] = scale * integers(seed + layer, *coef.shape)
        bias = integers(seed + layer + 10, coef.shape[1])
        model.intercepts_[layer] = scale ** (layer + 1) * bias
    X = integers(seed + 7, N_POINTS, N_FEATURES)
    logits = answers(model, X)
    hidden = X
    for coef, bias in zip(model.coefs_, model.intercepts_, strict=True):
        last = hidden @ coef + bias
        hidden = np.maximum(last, 0) if activation == "relu" else last
    if n_classes == 2:
        last = np.column_stack([np.zeros(len(X)), last])
    np.testing.assert_array_equal(logits, last)
    softmax = torch.from_numpy(logits).softmax(dim=1).numpy()
    np.testing.assert_allclose(softmax, model.predict_proba(X), atol=1e-12)
    # Where two probabilities are rounded to equal ones, `predict` takes the first.
    top = np.sort(logits, axis=1)
    clear = (top[:, -1] == top[:, -2]) | (top[:, -1] - top[:, -2] > 1e-12)
    np.testing.assert_array_equal(
        model.classes_[logits.argmax(axis=1)][clear], model.predict(X)[clear]
    )


def make_steps(seed, exponent):
    """Every step with parameters that keep arithmetic exact."""
    X = 2.0**exponent * integers(seed, 50, N_FEATURES)
    X[:, -1] = 2.0**exponent
    center = 2.0**exponent * integers(seed + 1, N_FEATURES)
    scale = 2.0 ** integers(seed + 2, N_FEATURES)
    for arguments in ({}, {"with_mean": False}, {"with_std": False}):
        step = StandardScaler(**arguments).fit(X)
        step.mean_, step.scale_ = center, (scale if step.with_std else None)
        yield step
    for arguments in ({}, {"with_centering": False}, {"with_scaling": False}):
        step = RobustScaler(**arguments).fit(X)
        step.center_ = center if step.with_centering else None
        step.scale_ = scale if step.with_scaling else None
        yield step
    for clip in (False, True):
        for limits in ((0, 1), (-1, 2), (1, 3)):
            step = MinMaxScaler(limits, clip=clip).fit(X)
            step.scale_, step.min_ = 1 / scale, integers(seed + 3, N_FEATURES)
            yield step
        step = MaxAbsScaler(clip=clip).fit(X)
        step.scale_ = scale
        yield step
    yield from (Normalizer(norm) for norm in ("l1", "l2", "max"))


def assert_rounded_alike(found, expected, step):
    """Some processors round a square root to either side in torch."""
    if getattr(step, "norm", None) == "l2":
        np.testing.assert_array_max_ulp(found, expected, maxulp=4)
    else:
        np.testing.assert_array_equal(found, expected, str(step))


@given(seed=seeds, exponent=st.sampled_from([-27, 0, 27]))
def test_steps_are_exact(seed, exponent):
    X = 2.0**exponent * integers(seed + 4, 1000, N_FEATURES)
    X[:2], X[2, 0] = 0, -0.0
    for step in make_steps(seed, exponent):
        x = torch.from_numpy(X.copy())
        with torch.no_grad():
            found = as_module(step)(x)
        assert_rounded_alike(found.numpy(), step.transform(X), step)
        assert torch.equal(x, torch.from_numpy(X))


def test_gradient_of_every_step_is_that_of_finite_differences():
    for step in make_steps(0, 0):
        # Away from the integers, where clips and norms have their kinks.
        x = torch.from_numpy(integers(5, 40, N_FEATURES) + 0.31)
        x += 0.1 * torch.arange(N_FEATURES, dtype=torch.float64)
        module = as_module(step)
        assert torch.autograd.gradcheck(module, x.requires_grad_(), eps=1e-7, atol=1e-6)


@pytest.mark.parametrize("norm", ["l1", "l2", "max"])
def test_gradient_of_a_row_of_zeros_is_finite(norm):
    x = torch.zeros(2, 3, dtype=torch.float64, requires_grad=True)
    (gradient,) = torch.autograd.grad(as_module(Normalizer(norm))(x).sum(), x)
    assert torch.isfinite(gradient).all()
