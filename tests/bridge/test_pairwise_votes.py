"""The module of a support vector machine votes as SVC does, and can be attacked."""

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import linprog
from sklearn.datasets import load_digits
from sklearn.frozen import FrozenEstimator
from sklearn.metrics.pairwise import rbf_kernel
from sklearn.svm import SVC, NuSVC

from robustkit.attacks import FGSMAttack, PGDAttack
from robustkit.bridge import as_module
from robustkit.bridge._kernels import _norms, kernel_decisions

EPS = 0.1


@pytest.fixture(scope="module")
def digits():
    X, y = load_digits(return_X_y=True)
    return X / 16, y


@pytest.fixture(scope="module", params=[SVC, NuSVC])
def digits_model(request, digits):
    X, y = digits
    return request.param(kernel="linear", random_state=0).fit(X[:600], y[:600])


def answers(model, X):
    with torch.no_grad():
        logits = as_module(model)(torch.from_numpy(X))
    assert torch.isfinite(logits).all()
    if len(model.classes_) > 2:
        # The winner is alone at the top.
        assert ((logits == 0).sum(dim=1) == 1).all()
        assert (logits <= 0).all()
    return model.classes_[logits.argmax(dim=1).numpy()]


def survivors_of_pairwise_steps(model, X, y):
    """Samples that one step along each pair of their class leaves alone."""
    robust = model.predict(X) == y
    pairs = itertools.combinations(range(len(model.classes_)), 2)
    for row, (first, second) in zip(model.coef_, pairs, strict=True):
        for label, sign in ((first, -1), (second, 1)):
            mine = y == model.classes_[label]
            points = np.clip(X[mine] + sign * EPS * np.sign(row), 0, 1)
            robust[mine] &= model.predict(points) == y[mine]
    return robust


def test_svc_on_digits_is_no_more_robust_than_a_closed_form_step(digits_model, digits):
    X, y = (part[600:900] for part in digits)
    frozen = FrozenEstimator(digits_model)
    closed = survivors_of_pairwise_steps(digits_model, X, y).mean()
    attack = PGDAttack(frozen, eps=EPS, loss="rotate", n_restarts=4, random_state=0)
    result = attack.fit(X, y).perturb(X, y)
    assert (result.prediction == y).mean() <= closed
    fast = FGSMAttack(frozen, eps=EPS).fit(X, y).perturb(X, y)
    along_sums = survivors_of_step_along_sums(digits_model, X, y).mean()
    assert (fast.prediction == y).mean() < along_sums - 0.05


def survivors_of_step_along_sums(model, X, y):
    """Samples that one step against the summed confidence of their class leaves."""
    k = len(model.classes_)
    sums = np.zeros((k, X.shape[1]))
    for row, (i, j) in zip(
        model.coef_, itertools.combinations(range(k), 2), strict=True
    ):
        sums[i] += row
        sums[j] -= row
    points = np.clip(X - EPS * np.sign(sums[np.searchsorted(model.classes_, y)]), 0, 1)
    return model.predict(points) == y


@pytest.mark.parametrize("break_ties", [False, True])
def test_svc_votes_on_digits_equal_scikit_learn(digits, break_ties):
    X, y = digits
    model = SVC(kernel="linear", break_ties=break_ties, random_state=0).fit(
        X[:600], y[:600]
    )
    noise = np.random.RandomState(0).normal(size=(10_000, 64)) * 0.4
    points = np.resize(X, noise.shape) + noise
    np.testing.assert_array_equal(answers(model, points), model.predict(points))


def random_model(n_classes, break_ties, shape="ovr", seed=0):
    rng = np.random.RandomState(seed)
    X = rng.normal(size=(12 * n_classes, 2))
    model = SVC(
        kernel="linear",
        break_ties=break_ties,
        decision_function_shape=shape,
        random_state=0,
    )
    y = np.array([f"class {k}" for k in range(n_classes)]).repeat(12)
    return model.fit(X, y)


@given(
    n_classes=st.integers(2, 6),
    kind=st.sampled_from([(False, "ovr"), (True, "ovr"), (False, "ovo")]),
    scale=st.sampled_from([1e-8, 1.0, 1e8]),
    seed=st.integers(0, 10**6),
)
def test_pairwise_votes_equal_predict(n_classes, kind, scale, seed):
    # Classes of noise: cycles, where several classes have equally many votes, abound.
    model = random_model(n_classes, *kind, seed % 20)
    points = np.random.RandomState(seed).normal(size=(400, 2)) * scale
    np.testing.assert_array_equal(answers(model, points), model.predict(points))


@pytest.mark.parametrize("n_classes", [2, 3, 5])
@pytest.mark.parametrize("break_ties", [False, True])
def test_pairwise_ties_equal_predict(n_classes, break_ties):
    model = random_model(n_classes, break_ties)
    model._dual_coef_[:] = 0
    model.dual_coef_ = model._dual_coef_
    for intercepts in itertools.product((0.0, 1.0, -1.0), repeat=min(3, n_classes)):
        model._intercept_[: len(intercepts)] = intercepts[: len(model._intercept_)]
        model.intercept_ = model._intercept_ * (-1 if n_classes == 2 else 1)
        point = np.zeros((1, 2))
        with torch.no_grad():
            logits = as_module(model)(torch.from_numpy(point))
        assert model.classes_[logits.argmax()] == model.predict(point)[0]


def can_be_beaten(model, x, eps):
    """Whether another answer lies in the ball: every pattern of signs is tried."""
    k = len(model.classes_)
    pairs = list(itertools.combinations(range(k), 2))
    mine = model.predict(x[None])[0]
    box = [(value - eps, value + eps) for value in x]
    for signs in itertools.product((1, -1), repeat=len(pairs)):
        votes = np.zeros(k)
        for (first, second), sign in zip(pairs, signs, strict=True):
            votes[first if sign > 0 else second] += 1
        if model.classes_[votes.argmax()] == mine:
            continue
        signs = np.array(signs)[:, None]
        rows, limit = -signs * model.coef_, signs[:, 0] * model.intercept_
        if linprog(np.zeros(len(x)), rows, limit, bounds=box).status == 0:
            return True
    return False


@pytest.mark.parametrize("seed", range(2))
def test_svc_of_three_classes_is_attacked_where_possible(seed):
    model = random_model(3, False, seed=seed)
    X = np.random.RandomState(seed).normal(size=(100, 2))
    possible = np.array([can_be_beaten(model, x, 0.3) for x in X])
    y = model.predict(X)
    attack = PGDAttack(
        FrozenEstimator(model), eps=0.3, loss="rotate", n_restarts=4, random_state=0
    )
    fooled = attack.fit(X, y).perturb(X, y).success
    assert not (fooled & ~possible).any()
    assert (fooled != possible).sum() <= 2
    assert 10 < possible.sum() < 90


@pytest.mark.parametrize("break_ties", [False, True])
def test_pairwise_votes_gradient_equals_finite_differences(break_ties):
    module = as_module(random_model(5, break_ties))
    x = torch.from_numpy(np.random.RandomState(1).normal(size=(1000, 2)))
    jacobian = torch.stack(
        [
            torch.autograd.grad(module(x.requires_grad_())[:, k].sum(), x)[0]
            for k in range(5)
        ],
        dim=1,
    )
    x = x.detach()
    smooth = torch.ones(len(x), dtype=torch.bool)
    for j, shift in enumerate(1e-6 * torch.eye(2, dtype=torch.float64)):
        up, here, down = module(x + shift), module(x), module(x - shift)
        # The margins are linear between the kinks.
        smooth &= ((up - 2 * here + down).abs() < 1e-11).all(dim=1)
        slopes = ((up - down) / 2e-6).detach()
        torch.testing.assert_close(
            jacobian[smooth, :, j], slopes[smooth], rtol=1e-6, atol=1e-6
        )
    assert smooth.sum() > 990


def test_a_pair_of_classes_that_are_alike_has_no_boundary():
    """Its decision is constant: it has no distance, and divides nothing by zero."""
    X = np.array([[0.0, 0.0], [0.2, 0.0], [1.0, 1.0], [0.8, 1.0]])
    X = np.concatenate([X, X[2:]])
    model = SVC(kernel="linear", random_state=0).fit(X, [0, 0, 1, 1, 2, 2])
    assert (model.coef_[2] == 0).all()
    points = np.random.RandomState(0).uniform(size=(50, 2))
    # Which of the two it is, only rounding says.
    np.testing.assert_array_equal(answers(model, points) > 0, model.predict(points) > 0)
    x = torch.from_numpy(points).requires_grad_()
    as_module(model)(x).sum().backward()
    assert torch.isfinite(x.grad).all()


@pytest.mark.parametrize("n_classes", [2, 3])
def test_decisions_are_as_long_as_their_weights_in_the_space_of_the_kernel(n_classes):
    """The squared length of sum_i a_i phi(x_i) is the sum of a_i a_j k(x_i, x_j)."""
    X, y = load_digits(n_class=n_classes, return_X_y=True)
    machine = SVC(gamma=0.001, C=10.0, random_state=0).fit(X[:120], y[:120])
    features, coef, _ = kernel_decisions(machine)
    values = rbf_kernel(machine.support_vectors_, gamma=0.001)
    expected = [np.sqrt(row @ values @ row) for row in coef]
    np.testing.assert_allclose(_norms(features, coef), expected)
