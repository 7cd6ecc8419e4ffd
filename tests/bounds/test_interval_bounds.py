"""No point that is meant has a smaller margin than the bound says."""

import itertools
from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from robustkit.bounds._interval_bounds import (
    BoundedNetwork,
    _Affine,
    _Graph,
    _reach,
    _rectify,
    slack_factor,
)
from robustkit.graphs import GraphPrior, LayeredGraph
from robustkit.networks import SparseNetwork, initialize

U = 2.0**-24
DTYPES = [np.float32, np.float64]


def dense(rng, sizes):
    layers = []
    for n_inputs, n_outputs in itertools.pairwise(sizes):
        layer = nn.utils.skip_init(nn.Linear, n_inputs, n_outputs)
        with torch.no_grad():
            layer.weight.copy_(torch.from_numpy(rng.normal(size=(n_outputs, n_inputs))))
            layer.bias.copy_(torch.from_numpy(rng.normal(size=n_outputs)))
        layers += [layer, nn.ReLU()]
    return layers[:-1]


def sparse_net(seed):
    graph = GraphPrior(n_nodes=40).sample(seed)
    network = initialize(SparseNetwork(graph, 5, 4), random_state=seed)
    return network, len(graph.sources)


def margin_of(logits, labels):
    rows = np.arange(len(logits))
    true = logits[rows, labels]
    logits = logits.copy()
    logits[rows, labels] = -np.inf
    return true - logits.max(axis=1)


def draw_units(rng, shape, n_lines, width, dtype):
    center = rng.normal(size=shape).astype(dtype)
    slope = (width * rng.normal(size=(n_lines, *shape))).astype(dtype)
    return center, slope, (width * rng.random(shape)).astype(dtype)


def draw_points(rng, center, slope, radius):
    """Points that are meant, in double precision; half of them at the ends."""

    def share(shape):
        inside = rng.uniform(-1, 1, size=shape)
        return np.where(rng.random(shape) < 0.5, np.sign(inside), inside)

    points = center + radius.astype(np.float64) * share(center.shape)
    for line in slope.astype(np.float64):
        points += line * share((len(center), 1))
    return torch.from_numpy(points)


WIDTHS = st.sampled_from([0.0, 1e-6, 0.1, 3.0])
ANY_DTYPE = st.sampled_from(DTYPES)


@given(
    seed=st.integers(0, 10_000),
    sizes=st.lists(st.integers(1, 9), min_size=0, max_size=3),
    n_lines=st.integers(0, 3),
    width=WIDTHS,
    dtype=ANY_DTYPE,
)
def test_bounds_of_dense_networks_hold(seed, sizes, n_lines, width, dtype):
    rng = np.random.default_rng(seed)
    modules = [nn.ReLU(), *dense(rng, [6, *sizes, 4])]
    units = draw_units(rng, (7, 6), n_lines, width, dtype)
    labels = rng.integers(4, size=7)
    bound = BoundedNetwork(modules, dtype).margins(*units, labels)
    network = nn.Sequential(*modules).double()
    for _ in range(20):
        with torch.no_grad():
            logits = network(draw_points(rng, *units)).numpy()
        assert (margin_of(logits, labels) >= bound).all()


@given(
    seed=st.integers(0, 10_000),
    n_lines=st.integers(1, 3),
    width=WIDTHS,
    dtype=ANY_DTYPE,
)
def test_bounds_of_sparse_networks_hold(seed, n_lines, width, dtype):
    rng = np.random.default_rng(seed)
    network, n_sources = sparse_net(seed % 50)
    units = draw_units(rng, (5, n_sources), n_lines, width, dtype)
    labels = rng.integers(4, size=5)
    bound = BoundedNetwork([network], dtype).margins(*units, labels)
    network = network.double()
    for _ in range(20):
        points = draw_points(rng, *units)
        with torch.no_grad():
            logits = network.forward_from_sources(points).numpy()
        assert (margin_of(logits, labels) >= bound).all()


@given(seed=st.integers(0, 10_000), n_lines=st.integers(0, 3), width=WIDTHS)
def test_affine_radius_covers_rounded_weights_and_sums(seed, n_lines, width):
    """Of its sums, and of weights that are each off by one rounding, the worst way."""
    rng = np.random.default_rng(seed)
    # What is allowed for a bias must not be what covers the rest.
    weight, bias = rng.normal(size=(5, 60)), rng.normal(size=5) * (seed % 2)
    units = draw_units(rng, (8, 60), n_lines, width, np.float32)
    found = _Affine(weight, bias, np.float32)(*units)
    assert all(part.dtype == np.float32 for part in found)
    (center, slope, radius), (c, s, r) = (
        [part.astype(np.float64) for part in parts] for parts in (units, found)
    )
    for _ in range(5):
        t = rng.choice([-1, 1], size=n_lines)
        x = center + np.tensordot(t, slope, 1) + radius * rng.choice([-1, 1])
        y = x @ weight.T + bias - c - np.tensordot(t, s, 1)
        worst = 2.0**-24 * (np.abs(x) @ np.abs(weight).T + np.abs(bias))
        assert (np.abs(y) + worst <= r).all()


@given(seed=st.integers(0, 10_000), n_lines=st.integers(0, 3), dtype=ANY_DTYPE)
def test_relu_lies_in_its_band(seed, n_lines, dtype):
    """Seen at the ends of the lines, where the band is narrowest."""
    rng = np.random.default_rng(seed)
    units = draw_units(rng, (20, 4), n_lines, 1.0, dtype)
    center, slope, radius = (part.astype(np.float64) for part in _rectify(*units))
    for signs in itertools.product([-1, 1], repeat=n_lines + 1):
        *t, e = (np.float64(sign) for sign in signs)
        x = units[0] + e * units[2].astype(np.float64)
        y = center.copy()
        for k in range(n_lines):
            x, y = x + t[k] * units[1][k].astype(np.float64), y + t[k] * slope[k]
        assert (np.abs(np.maximum(x, 0) - y) <= radius).all()


def test_relu_keeps_or_zeroes_a_unit_of_known_sign():
    center = np.array([[5.0, -5.0, 0.0]], dtype=np.float32)
    slope = np.array([[[2.0, 2.0, 1.0]]], dtype=np.float32)
    radius = np.array([[1.0, 1.0, 0.0]], dtype=np.float32)
    found = np.concatenate([part.ravel() for part in _rectify(center, slope, radius)])
    # The last one rises from -1 to 1: the band is half of it, plus 0 to 1/2.
    expected = [5, 0, 0.25, 2, 0, 0.5, 1, 0, 0.25]
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_bounds_use_that_units_move_together():
    """The difference of two equal units is zero, whatever the interval of both."""
    with torch.no_grad():
        last = nn.utils.skip_init(nn.Linear, 2, 2)
        last.weight.copy_(torch.tensor([[1.0, 0.0], [0.0, 1.0]]))
        last.bias.copy_(torch.tensor([0.5, 0.0]))
    center, slope = np.full((1, 2), 3.0), np.full((1, 1, 2), 2.0)
    radius, labels = np.zeros((1, 2)), np.array([0])
    network = BoundedNetwork([nn.ReLU(), last], np.float64)
    bound = network.margins(center, slope, radius, labels)
    np.testing.assert_allclose(bound, 0.5, atol=1e-4)
    # The same intervals, each on its own.
    bound = network.margins(center, slope[:0], slope[0], labels)
    np.testing.assert_allclose(bound, 0.5 - 2 * 2, atol=1e-4)


@pytest.mark.parametrize("dtype", DTYPES)
def test_bound_of_a_point_is_its_margin_up_to_rounding(dtype):
    rng = np.random.default_rng(0)
    modules = dense(rng, [50, 40, 30, 4])
    points = rng.normal(size=(20, 50)).astype(dtype)
    labels = rng.integers(4, size=20)
    nothing = np.zeros_like(points)
    bound = BoundedNetwork(modules, dtype).margins(
        points, nothing[None], nothing, labels
    )
    with torch.no_grad():
        logits = nn.Sequential(*modules).double()(torch.from_numpy(points).double())
    margin = margin_of(logits.numpy(), labels)
    scale = np.abs(logits.numpy()).max()
    assert (bound <= margin).all()
    np.testing.assert_allclose(bound, margin, atol=scale * 1e-2)


def test_bound_of_a_linear_model_is_exact():
    rng = np.random.default_rng(0)
    modules = dense(rng, [6, 4])
    W = modules[0].weight.detach().double().numpy()
    b = modules[0].bias.detach().double().numpy()
    center, slope, radius = draw_units(rng, (9, 6), 2, 1.0, np.float64)
    labels = rng.integers(4, size=9)
    network = BoundedNetwork(modules, np.float64)
    bound = network.margins(center, slope, radius, labels)
    D = W[labels][:, None] - W
    exact = np.einsum("njk,nk->nj", D, center) + b[labels][:, None] - b
    exact -= np.abs(np.einsum("njk,lnk->lnj", D, slope)).sum(axis=0)
    exact -= np.einsum("njk,nk->nj", np.abs(D), radius)
    exact[np.arange(9), labels] = np.inf
    np.testing.assert_allclose(bound, exact.min(axis=1), atol=1e-4)
    assert (bound <= exact.min(axis=1)).all()


def test_bounds_refuse_an_unknown_layer_by_name():
    with pytest.raises(TypeError, match=r"This one has a Tanh(?! with)"):
        BoundedNetwork([nn.Tanh()], np.float32)


def test_bounds_refuse_an_odd_layer_and_say_what_is_odd():
    relu = nn.ReLU()
    relu.register_forward_hook(lambda *args: None)
    with pytest.raises(TypeError, match=r"This one has a ReLU with .*hook"):
        BoundedNetwork([relu], np.float32)


@pytest.mark.parametrize("kind", ["dense", "sparse"])
@pytest.mark.parametrize("dtype", DTYPES)
def test_bound_is_tight_where_all_weights_are_positive(kind, dtype):
    """All units rise together, so the worst point of a box is its upper corner."""
    if kind == "dense":
        modules, n_units = dense(np.random.default_rng(0), [6, 5, 4]), 6
    else:
        network, n_units = sparse_net(0)
        modules = [network]
    with torch.no_grad():
        for module in modules:
            for weight in module.parameters():
                weight.abs_()
        # The label's own logit does not move.
        last = modules[-1]
        (last.weight if kind == "dense" else last.output_weight)[0] = 0
    rng = np.random.default_rng(1)
    center = rng.random((8, n_units)).astype(dtype)
    slope = rng.random((2, 8, n_units)).astype(dtype)
    radius = rng.random((8, n_units)).astype(dtype)
    # Nothing can become negative, where a rectifier would blur it.
    center += slope.sum(axis=0) + radius
    labels = np.zeros(8, dtype=int)
    corner = torch.from_numpy(center + slope.sum(axis=0, dtype=np.float64) + radius)
    bound = BoundedNetwork(modules, dtype).margins(center, slope, radius, labels)
    with torch.no_grad():
        if kind == "dense":
            logits = nn.Sequential(*modules).double()(corner)
        else:
            logits = network.double().forward_from_sources(corner)
    exact = margin_of(logits.numpy(), labels)
    assert (bound <= exact).all()
    np.testing.assert_allclose(bound, exact, rtol=1e-3)


@pytest.mark.parametrize("dtype", DTYPES)
def test_affine_radius_covers_the_rounding_of_a_bias(dtype):
    nothing = np.zeros((1, 2), dtype)
    affine = _Affine(np.zeros((3, 2)), np.array([1.0, -4.0, 0.0]), dtype)
    center, slope, radius = affine(nothing, nothing[None], nothing)
    np.testing.assert_array_equal(center[0], [1, -4, 0])
    np.testing.assert_array_equal(slope[0], np.zeros((1, 3)))
    assert (radius[0, :2] >= 2 * 2.0**-24 * np.array([1, 4])).all()
    assert (radius[0] < 1e-5).all()


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
def test_bounds_of_logit_differences_cover_rounded_weights_and_sums(part, dtype):
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
def test_bounds_of_hidden_layers_cover_rounded_weights_and_sums(part, dtype, kind):
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
def test_bounds_cover_products_flushed_to_zero(kind):
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
def test_graph_radius_covers_the_rounding_of_a_bias(dtype):
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
def test_reach_is_never_rounded_down(dtype, n_lines):
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
def test_relu_band_holds_in_exact_arithmetic(dtype, scale):
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


def test_bounds_cover_subnormal_products():
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


@given(seed=st.integers(0, 10_000), n=st.integers(1, 400), dtype=ANY_DTYPE)
def test_slack_covers_the_rounding_of_a_sum_in_any_order(seed, n, dtype):
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


@pytest.mark.parametrize("dtype", DTYPES)
def test_bounds_of_overflowing_networks_prove_nothing(dtype):
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


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("kind", ["dense", "logits", "sparse"])
def test_sums_that_overflow_in_single_precision_prove_nothing(kind, dtype):
    """Also where bounds are computed in double precision, which holds the sum."""
    large = linear_layer([[3e38, 3e38], [0.0, 0.0]])
    small = linear_layer([[-1e-39, 0.0], [0.0, 0.0]], [1.0, 0.0])
    modules = [large, nn.ReLU(), small]
    if kind == "logits":
        modules = [linear_layer([[3e38, 3e38], [0.0, 0.0]], [0.0, 1.0])]
    if kind == "sparse":
        modules = [large, two_vertices(1.0), small]
    x = torch.ones(1, 2)
    with torch.no_grad():
        said = nn.Sequential(*modules)(x)
    assert not torch.isfinite(said).all()
    network = BoundedNetwork(modules, dtype)
    point = np.ones((1, 2), dtype), np.zeros((1, 1, 2), dtype), np.zeros((1, 2), dtype)
    for label in (0, 1):
        assert network.margins(*point, np.array([label]))[0] <= 0


@pytest.mark.parametrize("kind", ["dense", "sparse"])
def test_weights_that_lose_their_digits_are_covered(kind):
    """A subnormal weight counts as itself, as rounded, and as zero."""
    weight, value = 1e-39, 1e37
    first = linear_layer([[value, 0.0], [0.0, value]])
    last = linear_layer([[weight, 0.0], [0.0, 0.0]], [0.0, 0.5 * weight * value])
    modules = [first, nn.ReLU(), last]
    if kind == "sparse":
        last = linear_layer([[1.0, 0.0], [0.0, 0.0]], [0.0, 0.5 * weight * value])
        modules = [first, two_vertices(weight), last]
    point = np.ones((1, 2)), np.zeros((1, 1, 2)), np.zeros((1, 2))
    for dtype in DTYPES:
        network = BoundedNetwork(modules, dtype)
        given = [part.astype(dtype) for part in point]
        assert network.margins(*given, np.array([0]))[0] <= 0


def linear_layer(weight, bias=(0.0, 0.0)):
    weight = torch.tensor(weight)
    layer = nn.utils.skip_init(nn.Linear, weight.shape[1], weight.shape[0])
    with torch.no_grad():
        layer.weight.copy_(weight)
        layer.bias.copy_(torch.tensor(bias))
    return layer


def two_vertices(weight):
    """A graph of two sources, each with a sink that multiplies it by a weight."""
    graph = LayeredGraph.from_edges([[0, 1], [2, 3]], n_nodes=4)
    network = SparseNetwork(graph, 2, 2)
    with torch.no_grad():
        for part in network.parameters():
            part.zero_()
        network.edge_weight.fill_(weight)
        network.output_weight.copy_(torch.eye(2))
        network.input_weight.copy_(torch.eye(2))
    return network
