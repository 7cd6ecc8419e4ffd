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
from sklearn.preprocessing import StandardScaler
from torch import nn

from robustkit.attacks import OnePixelAttack
from robustkit.attacks._interval_bounds import (
    BoundedNetwork,
    _Graph,
    _reach,
    _rectify,
    slack_factor,
)
from robustkit.attacks._pixel_certificate import PixelCertifier
from robustkit.attacks._pixel_space import PixelSpace
from robustkit.bridge import Clamp, ElementwiseScale
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
    """The margin is a hidden unit, the small positive sum of large terms."""
    rng = np.random.default_rng(1)
    n, d = 100, 20
    weight = np.resize([1.0, -1.0], (1, d))
    center = np.resize([1.5, 1.0], (n, d)) * rng.uniform(1, 1.1, size=(n, d))
    bias, slope, radius = np.zeros(1), np.zeros((2, n, d)), np.zeros((n, d))
    if part == "slope":
        slope = rng.choice([-0.9, 0.9], size=(2, n, 1)) * np.resize([0.4, 0.38], d)
    elif part == "radius":
        radius += 0.1
    elif part == "bias":
        center, bias = center * 1e-9, np.ones(1)
    units = [x.astype(dtype) for x in (center, slope, radius)]
    bound = margin_of_one_unit(kind, weight, bias, units)
    center, slope, radius = (x.astype(np.float64) for x in units)
    exact = center @ weight[0] + bias[0] - np.abs(slope @ weight[0]).sum(axis=0)
    exact -= radius @ np.abs(weight[0])
    size = largest(units) @ np.abs(weight[0]) + bias[0]
    n_roundings = 1 + (d if part != "bias" else 1)
    assert (exact > 0).all()
    assert (bound <= exact - n_roundings * U * size).all()
    assert (bound > 0).all()


def margin_of_one_unit(kind, weight, bias, units):
    if kind == "dense":
        last = layer_of(np.array([[1.0], [0.0]]), np.zeros(2))
        modules = [layer_of(weight, bias), nn.ReLU(), last]
    else:
        modules = [star(weight, bias)]
    network = BoundedNetwork(modules, units[0].dtype.type)
    return network.margins(*units, np.zeros(len(units[0]), dtype=int))


@pytest.mark.parametrize("kind", ["dense", "sparse", "linear"])
def test_products_that_are_flushed_to_zero_are_covered(kind):
    """A processor may do so with numbers below the smallest normal one."""
    d = 40
    tiny = float(np.finfo(np.float32).tiny)
    weight, x = np.full((1, d), 2.0**-63), np.full((1, d), 0.99 * 2.0**-63)
    units = [np.float32(part) for part in (x, 0 * x[None], 0 * x)]
    if kind == "linear":
        modules = [layer_of(np.vstack([weight, 0 * weight]), np.zeros(2))]
        network = BoundedNetwork(modules, np.float32)
        bound = network.margins(*units, np.zeros(1, dtype=int))
    else:
        bound = margin_of_one_unit(kind, weight, np.zeros(1), units)
    assert (x @ weight.T)[0, 0] > 0.9 * d * tiny
    assert (bound <= 0).all()


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
def test_a_vertex_covers_the_rounding_of_its_bias(dtype):
    """A graph of a single vertex adds its bias, and that is all."""
    network = SparseNetwork(LayeredGraph(np.zeros((2, 0), int), n_nodes=1), 1, 2)
    with torch.no_grad():
        network.bias[0] = 1.0
    nothing = np.zeros((1, 1), dtype)
    center, slope, radius = _Graph(network, dtype)(nothing, nothing[None], nothing)
    assert (center[0, 0], slope[0, 0, 0]) == (1, 0)
    # Of the bias, and of the sum.
    assert 2 * U <= radius[0, 0] <= 1e-5
    less = np.full((1, 1), -0.75, dtype)
    center, _, radius = _Graph(network, dtype)(less, nothing[None], nothing)
    assert center[0, 0] == 0.25
    assert 1.25 * U <= radius[0, 0] <= 1e-5


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
    for modules in ([hidden], [hidden, amplify], [hidden, nn.ReLU(), amplify]):
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
    seed=st.integers(0, 10_000), n=st.integers(1, 400), dtype=st.sampled_from(DTYPES)
)
def test_the_slack_is_larger_than_what_a_sum_in_any_order_is_off(seed, n, dtype):
    """In single precision, as a model may sum: one term after the other."""
    rng = np.random.default_rng(seed)
    x, w = wide(rng, n, 2).astype(np.float32), wide(rng, n, 2).astype(np.float32)
    pairs = [
        (Fraction(float(a)), Fraction(float(b))) for a, b in zip(x, w, strict=True)
    ]
    exact = sum(a * b for a, b in pairs)
    off = abs(Fraction(float(np.cumsum(x * w, dtype=np.float32)[-1])) - exact)
    size = sum(abs(a * b) for a, b in pairs)
    assert off <= Fraction(float(slack_factor(n, dtype))) * size
    # What theory says of the worst sum.
    own = n * np.finfo(dtype).eps / 2
    assert slack_factor(n, dtype) >= n * U + 2 * U + 2 * own


def certifier_of(scaling, weight, bias, n_levels=2):
    linear = layer_of(weight, bias).float()
    d = weight.shape[1]
    space = PixelSpace(d, None, np.zeros(d), np.ones(d), n_levels)
    return PixelCertifier(nn.Sequential(*scaling, linear).eval(), space)


def size_of(x, center=0.0, scale=1.0, offset=0.0):
    return (np.abs(x) + np.abs(center)) * np.abs(scale) + np.abs(offset)


@pytest.mark.parametrize("n_scalers", [0, 1, 3])
@pytest.mark.parametrize("dtype", DTYPES)
def test_the_first_map_covers_what_is_rounded_before_it(n_scalers, dtype):
    """Values, parameters and operations of scalers; weights, products and sums."""
    rng = np.random.default_rng(0)
    d = 11
    x = rng.uniform(0.1, 1, size=(6, d))
    scaling, size = [], x
    for _ in range(n_scalers):
        numbers = rng.normal(size=(3, d)).astype(np.float32)
        scaling.append(ElementwiseScale(*numbers))
        size = size_of(size, *numbers.astype(np.float64))
    weight = rng.normal(size=(2, d)).astype(np.float32).astype(np.float64)
    certifier = certifier_of(scaling, weight, np.zeros(2))
    clean = certifier._clean(x, np.zeros(6, dtype=int))
    terms = size @ np.abs(weight).T
    n_roundings = d + 2 + 6 * n_scalers
    exact = clean.units[np.float64]
    np.testing.assert_allclose(clean.units[dtype], exact, rtol=1e-6, atol=1e-5)
    off = np.abs(clean.units[dtype] - exact)
    assert (clean.radius[dtype] >= n_roundings * U * terms + off).all()
    single, double = (clean.radius[kind] for kind in DTYPES)
    assert (single >= double + 2 * U * np.abs(exact)).all()
    # Not by much more: a wide radius would prove nothing.
    assert (clean.radius[np.float64] <= 3 * (n_roundings + 8) * U * terms).all()


def test_the_first_map_covers_the_rounding_of_its_bias():
    certifier = certifier_of([], np.zeros((2, 3)), np.array([1.0, -3.0]))
    clean = certifier._clean(np.zeros((1, 3)), np.zeros(1, dtype=int))
    for dtype in DTYPES:
        assert (clean.radius[dtype] >= 2 * U * np.array([1.0, 3.0])).all()


def test_the_first_map_covers_products_that_are_flushed_to_zero():
    d = 50
    certifier = certifier_of([], np.full((2, d), 2.0**-63), np.zeros(2))
    clean = certifier._clean(np.full((1, d), 2.0**-63), np.zeros(1, dtype=int))
    for dtype in DTYPES:
        assert (clean.radius[dtype] >= d * np.finfo(np.float32).tiny).all()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("value", ["new", "old"])
def test_a_changed_pixel_is_a_term_of_the_sum_like_all_others(dtype, value):
    """Its product is rounded as often as there are others, and with its own size."""
    d = 400
    x = np.full((1, d), 1e-6)
    weight = np.zeros((2, d))
    weight[0, 0] = -1.0
    if value == "old":
        x[0, 0], weight[0, 0] = 1.0, 1.0
    certifier = certifier_of([], weight, np.array([2.0, 0.0]))
    clean = certifier._clean(x, np.zeros(1, dtype=int))
    box = certifier._all_boxes(1).take(np.array([0]))
    (bound,) = certifier._bound(dtype, clean, box)
    exact = 1.0 if value == "new" else 2.0
    n_roundings = d + 2
    # The bias of 2 is a term as well.
    assert bound <= exact - n_roundings * U * (1 + 2)
    assert bound > exact - 20 * n_roundings * U


def test_sizes_are_those_of_the_terms_of_a_scaling():
    rng = np.random.default_rng(0)
    center, scale, offset = rng.normal(size=(3, 5)).astype(np.float32)
    x = rng.normal(size=(4, 5))
    scaling = [ElementwiseScale(center, scale, offset), Clamp(-0.2, 3.0)]
    certifier = certifier_of(scaling, np.ones((2, 5)), np.zeros(2))
    features = np.arange(5)[None]
    values, size = certifier._scaled(x, features)
    center, scale, offset = (
        part.astype(np.float64) for part in (center, scale, offset)
    )
    np.testing.assert_allclose(
        values, ((x - center) * scale + offset).clip(-0.2, 3.0), rtol=1e-12
    )
    expected = size_of(x, center, scale, offset)
    np.testing.assert_allclose(size, np.maximum(expected, np.abs(values)), rtol=1e-12)
    # Clipping can make a number larger.
    certifier = certifier_of([Clamp(0.5, 1.0)], np.ones((2, 5)), np.zeros(2))
    _, size = certifier._scaled(np.zeros((1, 5)), features)
    np.testing.assert_array_equal(size, np.full((1, 5), 0.5))


@pytest.mark.parametrize("dtype", DTYPES)
def test_what_overflows_is_not_proved(dtype):
    huge = float(np.finfo(dtype).max) / 8
    weight = np.array([[huge, huge], [-huge, huge]])
    layer = nn.utils.skip_init(nn.Linear, 2, 2).double()
    with torch.no_grad():
        layer.weight.copy_(torch.from_numpy(weight))
        layer.bias.zero_()
    units = [np.full((1, 2), 4.0, dtype), np.full((1, 1, 2), 5.0, dtype)]
    for modules in ([layer], [layer, nn.ReLU(), layer], [layer, layer]):
        network = BoundedNetwork(modules, dtype)
        for label in (0, 1):
            bound = network.margins(*units, np.ones((1, 2), dtype), np.array([label]))
            assert bound[0] <= 0


def linear_model(weight, bias, scaler=None):
    """A fitted logistic regression of two classes with given weights."""
    model = LogisticRegression()
    model.coef_, model.intercept_ = weight[None], np.array([bias])
    model.classes_, model.n_features_in_ = np.array([0, 1]), len(weight)
    model.n_iter_ = np.array([1])
    return model if scaler is None else make_pipeline(scaler, model)


def exact_score(model, x):
    """The decision function in exact arithmetic."""
    return sum(exact_terms(model, x))


def exact_terms(model, x):
    x = [Fraction(float(value)) for value in x]
    if hasattr(model, "steps"):
        scaler, model = model[0], model[-1]
        pairs = zip(x, scaler.mean_, scaler.scale_, strict=True)
        x = [(v - Fraction(float(m))) / Fraction(float(s)) for v, m, s in pairs]
    weights = [Fraction(float(w)) for w in model.coef_[0]]
    terms = [w * v for w, v in zip(weights, x, strict=True)]
    return [*terms, Fraction(float(model.intercept_[0]))]


def smallest_score(model, x):
    """Over all pixels and values: a linear score is smallest at an end."""
    terms = exact_terms(model, x)
    ends = [exact_terms(model, np.full_like(x, value)) for value in (0.0, 1.0)]
    moves = [end[k] - terms[k] for end in ends for k in range(len(x))]
    return sum(terms) + min(moves)


@pytest.mark.filterwarnings("ignore::robustkit.exceptions.UndecidedSamplesWarning")
@pytest.mark.parametrize("scaled", [False, True])
def test_no_proof_of_a_linear_model_is_false_in_exact_arithmetic(scaled):
    """Its float32 copy is right everywhere, and the model itself is fooled."""
    d = 300
    for seed in range(8):
        rng = np.random.default_rng(seed)
        x = rng.uniform(0.4, 0.6, size=d)
        single = rng.choice([-1, 1], size=d) * rng.uniform(1, 2, size=d)
        # Pixels that are asked about before anything is bounded have no say.
        single[::8] = 0
        single = single.astype(np.float32).astype(np.float64)
        # Nearly half a spacing below: all roundings raise the score.
        weight = single - 0.45 * 2.0**-23 * (single != 0)
        scaler = StandardScaler().fit(rng.normal(size=(7, d))) if scaled else None
        if scaled:
            scaler.mean_[:] = -0.25
            scaler.scale_[:] = 0.5
        model = linear_model(weight, 0.0, scaler)
        last = model[-1] if scaled else model
        last.intercept_ = np.array([float(-smallest_score(model, x)) - 1e-7])
        assert smallest_score(model, x) < 0 < exact_score(model, x)
        attack = OnePixelAttack(
            FrozenEstimator(model), method="certified", levels=2, clip=(0, 1)
        )
        X, y = x[None], np.array([1])
        assert not attack.fit(X, y).perturb(X, y).certified.any()
