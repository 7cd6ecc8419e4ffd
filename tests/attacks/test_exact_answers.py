"""Models whose exact answer is known: linear ones, and piecewise linear ones in 1-D.

A linear model has one best move for each pair of classes. In the maximum norm it is a
corner of the box that ball and clip range leave, in the Euclidean norm a multiple of
the difference of weights.
"""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import linprog
from sklearn.base import BaseEstimator, ClassifierMixin
from torch import nn

from robustkit.attacks import (
    BIMAttack,
    FGSMAttack,
    GrowingEpsilonAttack,
    LeastLikelyAttack,
    PGDAttack,
)
from robustkit.bridge import as_module
from tests.attacks.victims import aim


class Linear(ClassifierMixin, BaseEstimator):
    """The class with the largest of some linear scores, in float64."""

    def __init__(self, weight, bias, dtype="float64"):
        self.weight = weight
        self.bias = bias
        self.dtype = dtype

    def fit(self, X, y):
        self.classes_ = np.arange(len(self.bias))
        return self

    def scores(self, X):
        return X.astype(np.float64) @ self.weight.T + self.bias

    def predict(self, X):
        return self.scores(X).argmax(axis=1)


@as_module.register(Linear)
def _linear(model):
    dtype = getattr(torch, model.dtype)
    layer = nn.utils.skip_init(nn.Linear, model.weight.shape[1], len(model.bias))
    layer = layer.to(dtype)
    with torch.no_grad():
        layer.weight.copy_(torch.from_numpy(model.weight))
        layer.bias.copy_(torch.from_numpy(model.bias))
    return layer


def setting(seed, n_classes, n_features, clip, dtype, n_samples=30):
    """A linear model, and samples in the clip range, some of them on its ends."""
    rng = np.random.default_rng(seed)
    low, high = clip or (-1.0, 1.0)
    weight = rng.normal(size=(n_classes, n_features))
    middle = np.full(n_features, (low + high) / 2)
    bias = 0.1 * rng.normal(size=n_classes) - weight @ middle
    X = rng.uniform(low, high, size=(n_samples, n_features))
    X[::5, 0], X[1::5, 0] = low, high
    X = np.clip(X.astype(dtype), dtype(low), dtype(high))
    model = Linear(weight, bias, np.dtype(dtype).name).fit(X, None)
    return model, X, model.predict(X), (high - low) / 2


def box_around(X, eps, clip):
    low, high = clip or (-np.inf, np.inf)
    X = X.astype(np.float64)
    return np.maximum(X - eps, low) - X, np.minimum(X + eps, high) - X


def largest_gain(slope, X, eps, norm, clip):
    """The most that a move inside ball and clip range adds to ``slope @ x``."""
    if norm == "linf":
        down, up = box_around(X, eps, clip)
        return np.maximum(slope * down, slope * up).sum(axis=1)
    if clip is None:
        return eps * np.linalg.norm(slope, axis=1)
    # Of a ball and a box: the slope times some factor, cut to the box, by bisection.
    down, up = box_around(X, np.inf, clip)
    least, most = np.zeros(len(X)), np.full(len(X), 1e9)
    for _ in range(200):
        factor = (least + most) / 2
        move = np.clip(factor[:, None] * slope, down, up)
        inside = np.linalg.norm(move, axis=1) <= eps
        least, most = np.where(inside, factor, least), np.where(inside, most, factor)
    return (slope * np.clip(least[:, None] * slope, down, up)).sum(axis=1)


def best_margin(model, X, y, eps, norm, clip):
    """By how much the best wrong class can lead at most."""
    scores, rows = model.scores(X), np.arange(len(X))
    margins = np.full(scores.shape, -np.inf)
    for k in range(len(model.bias)):
        slope = model.weight[k] - model.weight[y]
        gain = largest_gain(slope, X, eps, norm, clip)
        margins[:, k] = scores[:, k] - scores[rows, y] + gain
    margins[rows, y] = -np.inf
    return margins.max(axis=1)


def check_rules(result, model, X, y, eps, norm, clip):
    """What holds for every attack."""
    np.testing.assert_array_equal(result.prediction, model.predict(result.X_adv))
    np.testing.assert_array_equal(result.success, result.prediction != y)
    move = result.X_adv.astype(np.float64) - X.astype(np.float64)
    order = {"linf": np.inf, "l2": 2}[norm]
    spacing = 4 * np.finfo(X.dtype).eps * max(1, np.abs(X).max())
    length = np.linalg.norm(move, ord=order, axis=1)
    assert (length <= eps + spacing).all()
    assert (result.eps <= eps).all()
    assert result.X_adv.dtype == X.dtype
    if clip is not None:
        assert result.X_adv.min() >= X.dtype.type(clip[0])
        assert result.X_adv.max() <= X.dtype.type(clip[1])


def slack(model, X, eps, share=1e-6):
    """Margins that rounding, or a share of the ball, may turn over."""
    rounding = 100 * np.finfo(X.dtype).eps * max(1, np.abs(X).max())
    size = np.abs(model.weight).sum(axis=1).max()
    return (rounding + share * eps) * size


COMMON = {
    "seed": st.integers(0, 2**32 - 1),
    "n_features": st.integers(1, 6),
    "clip": st.sampled_from([None, (0.0, 1.0), (-3.0, 7.0)]),
    "dtype": st.sampled_from([np.float32, np.float64]),
    "share": st.sampled_from([0.0, 0.05, 0.2, 0.5]),
}
CUBES = {
    "FGSM": FGSMAttack(),
    "BIM": BIMAttack(max_iter=6),
    "LeastLikely": LeastLikelyAttack(max_iter=6),
    "ce": PGDAttack(max_iter=6, random_state=0),
    "margin": PGDAttack(max_iter=6, loss="margin", n_restarts=2, random_state=0),
    "dlr": PGDAttack(max_iter=6, loss="dlr", random_start=False),
    "rotate": PGDAttack(max_iter=6, loss="rotate", random_state=0),
    "targeted": PGDAttack(max_iter=6, targeted=True, random_state=0),
}


@given(**COMMON, name=st.sampled_from(sorted(CUBES)))
def test_two_classes_in_the_maximum_norm(name, seed, n_features, clip, dtype, share):
    """The sign of the difference of weights is the best move, clipped or not."""
    model, X, y, half = setting(seed, 2, n_features, clip, dtype)
    eps = share * half
    attack = aim(CUBES[name], model, X, y, eps=eps, clip=clip)
    target = 1 - y if name == "targeted" else None
    result = attack.perturb(X, y, target)
    check_rules(result, model, X, y, eps, "linf", clip)
    best = best_margin(model, X, y, eps, "linf", clip)
    clear = np.abs(best) > slack(model, X, eps)
    np.testing.assert_array_equal(result.success[clear], (best > 0)[clear])
    # Where nothing fools, the margin left is the smallest there is.
    scores, rows = model.scores(result.X_adv), np.arange(len(X))
    left = scores[rows, 1 - y] - scores[rows, y]
    stood = ~result.success
    np.testing.assert_allclose(
        left[stood], best[stood], atol=slack(model, X, eps), rtol=0
    )


@given(
    **COMMON,
    n_classes=st.integers(2, 4),
    loss=st.sampled_from(["ce", "margin", "rotate"]),
)
def test_euclidean_ball(loss, n_classes, seed, n_features, clip, dtype, share):
    """Also from a random start the climb comes within a thousandth of the best."""
    loss = "rotate" if n_classes > 2 else loss
    model, X, y, half = setting(seed, n_classes, n_features, clip, dtype)
    eps = share * half
    attack = PGDAttack(norm="l2", loss=loss, random_state=0)
    result = aim(attack, model, X, y, eps=eps, clip=clip).perturb(X, y)
    check_rules(result, model, X, y, eps, "l2", clip)
    best = best_margin(model, X, y, eps, "l2", clip)
    tolerance = slack(model, X, eps, 1e-3)
    # What lies beyond the exact answer is never found,
    assert not result.success[best < -slack(model, X, eps)].any()
    # and all before it is: next to a face of the clip range a little later.
    tolerance = tolerance if clip is None else 30 * tolerance
    assert result.success[best > tolerance].all()
    if clip is None and n_classes == 2:
        scores, rows = model.scores(result.X_adv), np.arange(len(X))
        left = (scores[rows, 1 - y] - scores[rows, y])[~result.success]
        np.testing.assert_allclose(left, best[~result.success], atol=tolerance)


@given(**COMMON, n_classes=st.integers(3, 4))
def test_several_classes_in_the_maximum_norm(
    n_classes, seed, n_features, clip, dtype, share
):
    """With up to four classes "rotate" climbs towards each wrong one."""
    model, X, y, half = setting(seed, n_classes, n_features, clip, dtype)
    eps = share * half
    attack = PGDAttack(max_iter=6, loss="rotate", random_state=0)
    result = aim(attack, model, X, y, eps=eps, clip=clip).perturb(X, y)
    check_rules(result, model, X, y, eps, "linf", clip)
    best = best_margin(model, X, y, eps, "linf", clip)
    clear = np.abs(best) > slack(model, X, eps)
    np.testing.assert_array_equal(result.success[clear], (best > 0)[clear])


def most_lead(model, X, target, eps, clip):
    """By how much the target can lead at most: a linear programme a sample."""
    down, up = box_around(X, eps, clip)
    scores, n_features = model.scores(X), X.shape[1]
    lead = []
    for i, k in enumerate(target):
        others = np.delete(np.arange(len(model.bias)), k)
        # The largest t with score k - score j >= t for all j.
        found = linprog(
            c=[*np.zeros(n_features), -1],
            A_ub=np.c_[model.weight[others] - model.weight[k], np.ones(len(others))],
            b_ub=scores[i, k] - scores[i, others],
            bounds=[*zip(down[i], up[i], strict=True), (None, None)],
        )
        lead.append(-found.fun)
    return np.array(lead)


@given(
    **COMMON,
    n_classes=st.integers(3, 5),
    loss=st.sampled_from(["ce", "margin", "dlr", "rotate"]),
)
def test_targets_that_no_move_reaches_are_not_reached(
    loss, n_classes, seed, n_features, clip, dtype, share
):
    model, X, y, half = setting(seed, n_classes, n_features, clip, dtype, n_samples=6)
    eps, target = share * half, (y + 1) % n_classes
    attack = PGDAttack(max_iter=20, targeted=True, loss=loss, random_state=0)
    result = aim(attack, model, X, y, eps=eps, clip=clip).perturb(X, y, target)
    np.testing.assert_array_equal(result.success, result.prediction == target)
    lead = most_lead(model, X, target, eps, clip)
    assert (lead[result.success] > -slack(model, X, eps)).all()


@pytest.mark.parametrize("loss", ["ce", "margin", "rotate"])
def test_nearly_all_targets_within_reach_are_reached(loss):
    """Not all: steps along signs may go to and fro where several slopes meet."""
    n_there = n_found = 0
    for seed in range(12):
        model, X, y, half = setting(seed, 4, 5, None, np.float64, n_samples=25)
        eps, target = 0.3 * half, (y + 1) % 4
        attack = PGDAttack(targeted=True, loss=loss, eps=eps, random_state=0)
        result = aim(attack, model, X, y, clip=None).perturb(X, y, target)
        lead = most_lead(model, X, target, eps, None)
        assert (lead[result.success] > -1e-9).all()
        n_there += (lead > 1e-3).sum()
        n_found += result.success.sum()
    assert n_there > 30
    assert n_found > {"ce": 0.9, "margin": 0.9, "rotate": 0.97}[loss] * n_there


@given(**COMMON, n_classes=st.integers(2, 5))
def test_one_step_and_the_growing_one(n_classes, seed, n_features, clip, dtype, share):
    """The slope of the cross-entropy is a mean of differences of weights."""
    model, X, y, half = setting(seed, n_classes, n_features, clip, dtype)
    eps, rows = share * half, np.arange(len(X))
    scores = model.scores(X)
    odds = np.exp(scores - scores.max(axis=1, keepdims=True))
    odds /= odds.sum(axis=1, keepdims=True)
    slope = odds @ model.weight - model.weight[y]
    # What rounds to no slope, or hides behind a certain answer, has no sure sign.
    sure = (np.abs(slope) > 1e-5).all(axis=1) & (odds[rows, y] < 0.999)

    def fooled(eps):
        moved = np.clip(X + eps * np.sign(slope), *(clip or (-np.inf, np.inf)))
        scores = model.scores(moved)
        lead = scores.copy()
        lead[rows, y] = -np.inf
        lead = lead.max(axis=1) - scores[rows, y]
        return lead > 0, np.abs(lead) > slack(model, X, half)

    one = aim(FGSMAttack(eps=eps), model, X, y, clip=clip).perturb(X, y)
    check_rules(one, model, X, y, eps, "linf", clip)
    expected, clear = fooled(eps)
    np.testing.assert_array_equal(one.success[sure & clear], expected[sure & clear])

    grid = half * np.array([0.02, 0.12, 0.22, 0.32])
    attack = GrowingEpsilonAttack(start=grid[0], step=0.1 * half, stop=grid[-1])
    grown = aim(attack, model, X, y, clip=clip).perturb(X, y)
    np.testing.assert_array_equal(grown.success, np.isfinite(grown.eps))
    np.testing.assert_array_equal(grown.prediction, model.predict(grown.X_adv))
    found = np.full(len(X), np.nan)
    for eps in grid[::-1]:
        expected, clear = fooled(eps)
        found[expected] = eps
        sure &= clear
    np.testing.assert_allclose(grown.eps[sure], found[sure])
    tried = np.where(np.isnan(found), 4, np.searchsorted(grid, found - 1e-9) + 1)
    np.testing.assert_array_equal(grown.n_queries[sure], 1 + tried[sure])


def kinked(seed, n_classes, n_units, dtype):
    """A ReLU network of one input: its scores bend at known points."""
    rng = np.random.default_rng(seed)
    weight, bias = rng.normal(size=n_units), 0.7 * rng.normal(size=n_units)
    out = rng.normal(size=(n_classes, n_units))
    net = nn.Sequential(
        nn.utils.skip_init(nn.Linear, 1, n_units),
        nn.ReLU(),
        nn.utils.skip_init(nn.Linear, n_units, n_classes),
    ).to(dtype)
    with torch.no_grad():
        net[0].weight.copy_(torch.from_numpy(weight[:, None]))
        net[0].bias.copy_(torch.from_numpy(bias))
        net[2].weight.copy_(torch.from_numpy(out))
        net[2].bias.zero_()
    return net, -bias / weight


class Wrapped(ClassifierMixin, BaseEstimator):
    """A module as an estimator, asked in its own precision."""

    def __init__(self, module, n_classes):
        self.module = module
        self.n_classes = n_classes

    def fit(self, X, y):
        self.classes_ = np.arange(self.n_classes)
        return self

    def decision_function(self, X):
        with torch.no_grad():
            return self.module(torch.from_numpy(X).double()).numpy()

    def predict(self, X):
        return self.decision_function(X).argmax(axis=1)


@as_module.register(Wrapped)
def _wrapped(model):
    return model.module


@given(
    seed=st.integers(0, 2**32 - 1),
    n_classes=st.integers(2, 4),
    n_units=st.integers(1, 8),
    clip=st.sampled_from([None, (-3.0, 7.0)]),
    share=st.sampled_from([0.05, 0.2, 0.6]),
    norm=st.sampled_from(["linf", "l2"]),
    loss=st.sampled_from(["ce", "margin", "rotate"]),
)
def test_one_input_and_kinks_that_are_known(
    seed, n_classes, n_units, clip, share, norm, loss
):
    """A margin that is piecewise linear is largest at a kink, or at an end."""
    net, kinks = kinked(seed, n_classes, n_units, torch.float64)
    model = Wrapped(net, n_classes).fit(None, None)
    X = np.random.default_rng(seed).uniform(-3, 3, size=(25, 1))
    y, rows = model.predict(X), np.arange(25)
    attack = PGDAttack(norm=norm, loss=loss, n_restarts=2, max_iter=8, random_state=0)
    result = aim(attack, model, X, y, eps=share, clip=clip).perturb(X, y)
    check_rules(result, model, X, y, share, norm, clip)
    down, up = box_around(X, share, clip)
    low, high = X + down, X + up
    places = np.hstack([low, high, np.clip(kinks[None], low, high)])
    scores = model.decision_function(places.reshape(-1, 1)).reshape(25, -1, n_classes)
    own = scores[rows, :, y].copy()
    scores[rows, :, y] = -np.inf
    best = (scores.max(axis=2) - own).max(axis=1)
    # Never more errors than there are; each one found is a witness by itself.
    assert not result.success[best < -1e-12].any()
    if n_classes == 2 and n_units == 1:
        # One kink leaves one slope that is not zero, if the sample is on it.
        sloping = (X[:, 0] - kinks[0]) * net[0].weight.item() > 0
        sure = sloping & (np.abs(best) > 1e-9)
        np.testing.assert_array_equal(result.success[sure], (best > 0)[sure])


def test_most_errors_of_kinked_models_are_found():
    n_there = n_found = 0
    for seed in range(5):
        net, kinks = kinked(seed, 3, 6, torch.float64)
        model = Wrapped(net, 3).fit(None, None)
        X = np.random.default_rng(seed).uniform(-3, 3, size=(60, 1))
        y = model.predict(X)
        attack = PGDAttack(eps=0.4, loss="rotate", n_restarts=3, random_state=0)
        result = aim(attack, model, X, y, clip=None).perturb(X, y)
        places = np.hstack([X - 0.4, X + 0.4, np.clip(kinks[None], X - 0.4, X + 0.4)])
        said = model.predict(places.reshape(-1, 1)).reshape(len(X), -1)
        n_there += (said != y[:, None]).any(axis=1).sum()
        n_found += result.success.sum()
    assert n_there > 40
    assert n_found >= 0.98 * n_there


@pytest.mark.parametrize("norm", ["linf", "l2"])
@pytest.mark.parametrize("seed", range(3))
def test_two_inputs_searched_on_a_grid(seed, norm):
    """A strong attack finds what a fine grid finds, and a grid point is a witness."""
    rng = np.random.default_rng(seed)
    net = nn.Sequential(
        nn.utils.skip_init(nn.Linear, 2, 8),
        nn.ReLU(),
        nn.utils.skip_init(nn.Linear, 8, 3),
    ).double()
    with torch.no_grad():
        for weight in net.parameters():
            weight.copy_(torch.from_numpy(rng.normal(size=tuple(weight.shape))))
    model = Wrapped(net, 3).fit(None, None)
    X = rng.uniform(-1, 1, size=(80, 2))
    y = model.predict(X)
    attack = PGDAttack(norm=norm, eps=0.15, loss="rotate", n_restarts=2, random_state=0)
    result = aim(attack, model, X, y, clip=(-1, 1)).perturb(X, y)
    check_rules(result, model, X, y, 0.15, norm, (-1.0, 1.0))
    side = np.linspace(-0.15, 0.15, 41)
    moves = np.stack(np.meshgrid(side, side), axis=-1).reshape(-1, 2)
    if norm == "l2":
        moves = moves[np.linalg.norm(moves, axis=1) <= 0.15]
    points = np.clip(X[:, None] + moves, -1, 1)
    said = model.predict(points.reshape(-1, 2)).reshape(len(X), -1)
    on_grid = (said != y[:, None]).any(axis=1)
    assert 0.1 < on_grid.mean() < 0.9
    assert (on_grid & ~result.success).mean() <= 0.02
    # The grid is fine: the attack's points beyond it are few, and errors all the same.
    assert (result.success & ~on_grid).mean() <= 0.05
