"""Proofs hold at the edge of floating point, in exact rational arithmetic."""

import itertools
from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler, StandardScaler
from torch import nn

from robustkit.attacks import OnePixelAttack
from robustkit.attacks._interval_bounds import (
    BoundedNetwork,
    _reach,
    _rectify,
    slack_factor,
)
from robustkit.graphs import LayeredGraph
from robustkit.networks import SparseNetwork

U = 2.0**-24
DTYPES = [np.float32, np.float64]


def wide(rng, shape, most=6):
    """Numbers of all scales."""
    return rng.normal(size=shape) * 10.0 ** rng.uniform(-most, most, size=shape)


def layer_of(weight, bias):
    layer = nn.utils.skip_init(nn.Linear, weight.shape[1], len(weight))
    with torch.no_grad():
        layer.weight.copy_(torch.from_numpy(weight))
        layer.bias.copy_(torch.from_numpy(bias))
    return layer.double()


def units_of(part, rng, shape, dtype):
    """Only centers, only slopes or only radii, so that each is looked at alone."""
    center, slope, radius = np.zeros(shape), np.zeros((2, *shape)), np.zeros(shape)
    if part == "center":
        center = wide(rng, shape)
    elif part == "slope":
        slope = wide(rng, (2, *shape))
    elif part == "radius":
        radius = np.abs(wide(rng, shape))
    return [x.astype(dtype) for x in (center, slope, radius)]


def largest(units):
    center, slope, radius = (np.asarray(x, dtype=np.float64) for x in units)
    return np.abs(center) + np.abs(slope).sum(axis=0) + radius


PARTS = ["center", "slope", "radius", "bias"]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("part", PARTS)
def test_differences_of_logits_cover_rounded_weights_and_sums(part, dtype):
    """Each logit is computed alone, with weights that are off the worst way."""
    rng = np.random.default_rng(0)
    n, d = 200, 30
    weight = wide(rng, (3, d), 3).astype(np.float32).astype(np.float64)
    bias = np.array([1.0, -1.0, 0.5]) if part == "bias" else np.zeros(3)
    units = units_of(part, rng, (n, d), dtype)
    bound = BoundedNetwork([layer_of(weight, bias)], dtype).margins(
        *units, np.zeros(n, dtype=int)
    )
    center, slope, radius = (x.astype(np.float64) for x in units)
    difference = weight[0] - weight[1:]
    exact = center @ difference.T - np.abs(slope @ difference.T).sum(axis=0)
    exact -= radius @ np.abs(difference).T
    exact += bias[0] - bias[1:]
    size = largest(units) @ (np.abs(weight[0]) + np.abs(weight[1:])).T
    size += np.abs(bias[0]) + np.abs(bias[1:])
    # One rounding of each weight, and as many of its sum as it has terms.
    n_roundings = 1 + (d if part != "bias" else 1)
    worst = (exact - n_roundings * U * size).min(axis=1)
    assert (bound <= worst).all()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("part", PARTS)
@pytest.mark.parametrize("kind", ["dense", "sparse"])
def test_hidden_layers_cover_rounded_weights_and_sums(part, dtype, kind):
    """One hidden unit, always positive, and the margin is all of it."""
    rng = np.random.default_rng(1)
    n, d = 100, 20
    units = units_of(part, rng, (n, d), dtype)
    # A bias as large as can be keeps the unit positive; it adds to what rounding sees.
    room = 2.0 ** np.ceil(np.log2(2 * largest(units).sum(axis=1).max() + 1))
    weight = rng.uniform(-1, 1, size=(1, d)).astype(np.float32).astype(np.float64)
    bias = np.array([room])
    if kind == "dense":
        last = layer_of(np.array([[1.0], [0.0]]), np.zeros(2))
        modules = [layer_of(weight, bias), nn.ReLU(), last]
    else:
        modules = [star(weight, bias)]
        # Sources are rectified: nothing may be negative.
        units[0] = np.abs(units[0]) + np.abs(units[1]).sum(axis=0) + units[2]
        units[0] *= 1 + 4 * np.finfo(dtype).eps
    bound = BoundedNetwork(modules, dtype).margins(*units, np.zeros(n, dtype=int))
    center, slope, radius = (x.astype(np.float64) for x in units)
    exact = center @ weight[0] - np.abs(slope @ weight[0]).sum(axis=0)
    exact += room - radius @ np.abs(weight[0])
    size = largest(units) @ np.abs(weight[0]) + room
    assert (exact > 0).all()
    assert (bound <= exact - (1 + d) * U * size).all()
    assert (bound > 0).mean() > 0.5


def star(weight, bias):
    """A graph of as many sources as there are weights, and one sink."""
    d = weight.shape[1]
    graph = LayeredGraph([list(range(d)), [d] * d], n_nodes=d + 1)
    network = SparseNetwork(graph, d, 2).double()
    with torch.no_grad():
        network.edge_weight.copy_(torch.from_numpy(weight[0]))
        network.bias[-1] = bias[0]
        network.output_weight.copy_(torch.tensor([[1.0], [0.0]]))
    return network


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_source_of_a_graph_covers_the_rounding_of_its_bias(dtype):
    network = star(np.ones((1, 1)), np.zeros(1))
    with torch.no_grad():
        network.bias[0] = 1.0
    rng = np.random.default_rng(0)
    center = rng.uniform(1e-9, 1e-7, size=(50, 1)).astype(dtype)
    nothing = np.zeros_like(center)
    bound = BoundedNetwork([network], dtype).margins(
        center, nothing[None], nothing, np.zeros(50, dtype=int)
    )
    # The bias alone may be off by one rounding, and so may its sum.
    assert (bound <= center[:, 0].astype(np.float64) + 1 - 2 * U).all()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("n_lines", [0, 1, 3])
def test_the_reach_of_a_unit_is_never_rounded_down(dtype, n_lines):
    rng = np.random.default_rng(0)
    slope = wide(rng, (n_lines, 300), 1).astype(dtype)
    radius = np.abs(wide(rng, 300, 1)).astype(dtype)
    reach = _reach(slope, radius)
    for k in range(300):
        exact = sum((abs(Fraction(float(s))) for s in slope[:, k]), Fraction(0))
        exact += Fraction(float(radius[k]))
        assert Fraction(float(reach[k])) >= exact
    np.testing.assert_allclose(reach, np.abs(slope).sum(axis=0) + radius, rtol=1e-5)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("scale", [1.0, 1e-37, 1e-41])
def test_the_band_of_a_rectifier_holds_exactly(dtype, scale):
    """Also where numbers are so small that they lose digits."""
    rng = np.random.default_rng(0)
    n = 300
    slope = (rng.normal(size=(1, n)) * scale).astype(dtype)
    radius = (rng.random(n) * scale).astype(dtype)
    center = (rng.normal(size=n) * scale).astype(dtype)
    new = _rectify(center[None], slope[:, None], radius[None])
    new_center, new_slope, new_radius = (np.asarray(x).reshape(-1, n) for x in new)
    for k in range(n):
        c, s, r = (Fraction(float(x[k])) for x in (center, slope[0], radius))
        C, S, R = (
            Fraction(float(x[0, k])) for x in (new_center, new_slope, new_radius)
        )
        for t, e in itertools.product([-1, 1], repeat=2):
            x = c + t * s + e * r
            assert abs(max(x, Fraction(0)) - (C + t * S)) <= R
        # And where the sign turns, if it does within the line.
        if s != 0 and abs(c / s) <= 1:
            t = -c / s
            assert abs(C + t * S) <= R


def test_products_too_small_for_their_digits_are_covered():
    rng = np.random.default_rng(0)
    n = 200
    # All products are near the smallest number that float32 has.
    weight = (rng.uniform(1, 2, size=(2, 4)) * 2.0**-80).astype(np.float32)
    center = (rng.uniform(1, 2, size=(n, 4)) * 2.0**-68).astype(np.float32)
    hidden = layer_of(weight.astype(np.float64), np.zeros(2))
    amplify = layer_of(np.array([[1.0, 0], [0, 1.0]]) * 2.0**100, np.zeros(2))
    nothing = np.zeros_like(center)
    for modules in ([hidden], [hidden, nn.ReLU(), amplify]):
        for label in (0, 1):
            labels = np.full(n, label)
            bound = BoundedNetwork(modules, np.float32).margins(
                center, nothing[None], nothing, labels
            )
            with np.errstate(under="ignore"):
                units = center @ weight.T
            # What float32 makes of it can be off by all digits.
            lost = np.abs(units - center.astype(np.float64) @ weight.T)
            assert lost.max() > 0
            assert (bound <= 0).all()


@given(
    seed=st.integers(0, 10_000), n=st.integers(1, 2000), dtype=st.sampled_from(DTYPES)
)
def test_the_slack_is_larger_than_what_a_sum_in_any_order_is_off(seed, n, dtype):
    """In single precision, as a model may sum: one term after the other."""
    rng = np.random.default_rng(seed)
    x, w = wide(rng, n, 2).astype(np.float32), wide(rng, n, 2).astype(np.float32)
    exact = sum(Fraction(float(a)) * Fraction(float(b)) for a, b in zip(x, w))
    off = abs(Fraction(float(np.cumsum(x * w, dtype=np.float32)[-1])) - exact)
    size = sum(abs(Fraction(float(a)) * Fraction(float(b))) for a, b in zip(x, w))
    assert off <= Fraction(float(slack_factor(n, dtype))) * size
    # What theory says of the worst sum.
    worst = n * U + (0 if dtype == np.float64 else n * U)
    assert slack_factor(n, dtype) >= worst + 2 * U


def linear_model(weight, bias, scaler=None):
    """A fitted logistic regression of two classes with given weights."""
    model = LogisticRegression()
    model.coef_, model.intercept_ = weight[None], np.array([bias])
    model.classes_, model.n_features_in_ = np.array([0, 1]), len(weight)
    model.n_iter_ = np.array([1])
    return model if scaler is None else make_pipeline(scaler, model)


def exact_score(model, x):
    """The decision function in exact arithmetic."""
    x = [Fraction(float(value)) for value in x]
    if hasattr(model, "steps"):
        scaler, model = model[0], model[-1]
        if isinstance(scaler, StandardScaler):
            pairs = zip(x, scaler.mean_, scaler.scale_, strict=True)
            x = [(v - Fraction(float(m))) / Fraction(float(s)) for v, m, s in pairs]
        else:
            pairs = zip(x, scaler.scale_, scaler.min_, strict=True)
            x = [v * Fraction(float(s)) + Fraction(float(m)) for v, s, m in pairs]
    weights = [Fraction(float(w)) for w in model.coef_[0]]
    terms = (w * v for w, v in zip(weights, x, strict=True))
    return sum(terms, Fraction(float(model.intercept_[0])))


def smallest_score(model, x):
    """Over all pixels and values: a linear score is smallest at an end."""
    found = []
    for pixel, value in itertools.product(range(len(x)), (0.0, 1.0)):
        changed = x.copy()
        changed[pixel] = value
        found.append(exact_score(model, changed))
    return min(found)


KINDS = ["clean features", "the pixel", "standard scaler", "min-max scaler"]


@pytest.mark.filterwarnings("ignore::robustkit.exceptions.UndecidedSamplesWarning")
@pytest.mark.parametrize("gap", [1e-9, 1e-8])
@pytest.mark.parametrize("kind", KINDS)
def test_no_proof_of_a_linear_model_is_false_in_exact_arithmetic(kind, gap):
    """Margins of the order of the rounding of the weights, where half would be false."""
    n_false = 0
    for seed in range(25):
        rng = np.random.default_rng(seed)
        x = rng.uniform(0.3, 0.7, size=9)
        weight = rng.normal(size=9)
        # Asked about first, so that a false proof would be caught there.
        weight[[0, 8]] = 0
        if kind == "the pixel":
            x[2:], weight[2:] = 0, 1e-3
        if kind == "clean features":
            weight[2:] *= 1e3
            weight[1] = 1e4
        scaler = None
        if kind.endswith("scaler"):
            cls = StandardScaler if kind == "standard scaler" else MinMaxScaler
            scaler = cls().fit(rng.uniform(0.2, 0.9, size=(7, 9)))
        model = linear_model(weight, 0.0, scaler)
        lowest = smallest_score(model, x)
        last = model[-1] if scaler else model
        size = np.abs(weight).sum()
        # Fooled, but by no more than rounding.
        last.intercept_ = np.array([float(-lowest) - gap * size])
        assert smallest_score(model, x) < 0 < exact_score(model, x)
        attack = OnePixelAttack(
            FrozenEstimator(model), method="certified", levels=2, clip=(0, 1)
        )
        X, y = x[None], np.array([1])
        result = attack.fit(X, y).perturb(X, y)
        n_false += int(result.certified[0])
    assert n_false == 0
