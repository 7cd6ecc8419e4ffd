"""No point that is meant has a smaller margin than the bound says."""

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from robustkit.attacks._interval_bounds import BoundedNetwork, _Affine, _rectify
from robustkit.graphs import GraphPrior
from robustkit.networks import SparseNetwork, initialize


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
DTYPES = st.sampled_from([np.float32, np.float64])


@given(
    seed=st.integers(0, 10_000),
    sizes=st.lists(st.integers(1, 9), min_size=0, max_size=3),
    n_lines=st.integers(0, 3),
    width=WIDTHS,
    dtype=DTYPES,
)
def test_dense_bounds_hold(seed, sizes, n_lines, width, dtype):
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
    seed=st.integers(0, 10_000), n_lines=st.integers(1, 3), width=WIDTHS, dtype=DTYPES
)
def test_sparse_bounds_hold(seed, n_lines, width, dtype):
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
def test_radius_covers_the_rounding_of_a_linear_map(seed, n_lines, width):
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


@given(seed=st.integers(0, 10_000), n_lines=st.integers(0, 3), dtype=DTYPES)
def test_a_rectifier_lies_in_its_band(seed, n_lines, dtype):
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


def test_a_unit_of_known_sign_is_kept_or_silenced():
    center = np.array([[5.0, -5.0, 0.0]], dtype=np.float32)
    slope = np.array([[[2.0, 2.0, 1.0]]], dtype=np.float32)
    radius = np.array([[1.0, 1.0, 0.0]], dtype=np.float32)
    found = np.concatenate([part.ravel() for part in _rectify(center, slope, radius)])
    # The last one rises from -1 to 1: the band is half of it, plus 0 to 1/2.
    expected = [5, 0, 0.25, 2, 0, 0.5, 1, 0, 0.25]
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_units_that_move_together_are_known_to():
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


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
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


def test_bound_is_exact_for_a_linear_model():
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


def test_unknown_layer_is_refused_by_name():
    with pytest.raises(TypeError, match=r"This one has a Tanh(?! with)"):
        BoundedNetwork([nn.Tanh()], np.float32)


def test_an_odd_layer_is_refused_with_what_is_odd_about_it():
    relu = nn.ReLU()
    relu.register_forward_hook(lambda *args: None)
    with pytest.raises(TypeError, match=r"This one has a ReLU with .*hook"):
        BoundedNetwork([relu], np.float32)


@pytest.mark.parametrize("kind", ["dense", "sparse"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_bound_is_sharp_where_all_weights_are_positive(kind, dtype):
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


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_radius_covers_the_rounding_of_a_bias_alone(dtype):
    nothing = np.zeros((1, 2), dtype)
    affine = _Affine(np.zeros((3, 2)), np.array([1.0, -4.0, 0.0]), dtype)
    center, slope, radius = affine(nothing, nothing[None], nothing)
    np.testing.assert_array_equal(center[0], [1, -4, 0])
    np.testing.assert_array_equal(slope[0], np.zeros((1, 3)))
    assert (radius[0, :2] >= 2 * 2.0**-24 * np.array([1, 4])).all()
    assert (radius[0] < 1e-5).all()
