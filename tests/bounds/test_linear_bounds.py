"""Bounds hold for what a module computes, and are those of CROWN."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from robustkit._randomness import seeded_torch
from robustkit.bounds._linear_bounds import (
    SINGLE,
    Anchors,
    Bounds,
    Region,
    Split,
    linear_distances,
    margin_rows,
)
from robustkit.bounds._patches import Places
from robustkit.bounds._relu_network import ReluNetwork
from robustkit.networks import ToImages
from tests.bounds.nets import (
    FLAT,
    IMAGES,
    RESHAPED,
    any_convolutions,
    as_lists,
    balanced,
    cnn6,
    mlp,
    of_matrices,
    reshaped,
    slow_margins,
    sparse,
    units_as_lists,
)

NORMS = ("linf", "l2")
ALL = {**{name: (make, 6) for name, make in FLAT.items()}, **IMAGES}
METHODS = [("crown", True), ("crown", False), ("interval", True)]


def logits_of(module, X, dtype=torch.float32):
    with torch.no_grad():
        return module(torch.from_numpy(X).to(dtype)).double().numpy()


def margins_of(logits, labels):
    C = margin_rows(labels, logits.shape[1])
    return np.einsum("nko,no->nk", C, logits)


def points_in(rng, x, eps, norm, clip, n):
    """Points of a ball and the clip range: inside, on the sphere, and in corners."""
    move = rng.uniform(-1, 1, size=(n, x.size))
    corners = rng.random(n) < 0.5
    move[corners] = np.sign(move[corners])
    if norm == "l2":
        length = np.linalg.norm(move, axis=1, keepdims=True)
        move /= np.where(corners[:, None], length, np.maximum(length, 1))
    points = x + eps * move
    return points if clip is None else points.clip(*clip)


@pytest.mark.parametrize("name", ALL)
def test_network_taken_apart_computes_what_module_computes(name):
    make, n_features = ALL[name]
    module = make(0).double()
    X = np.random.default_rng(0).normal(size=(9, n_features))
    network = ReluNetwork(module, n_features)
    region = Region(Anchors(network, X, 0.0), np.arange(9), np.zeros(9), "linf")
    bounds = Bounds(region)
    out = slice(-network.n_outputs, None)
    expected = logits_of(module, X, torch.float64)
    np.testing.assert_allclose(bounds.lower[:, out], expected, atol=1e-9)
    np.testing.assert_allclose(bounds.upper[:, out], expected, atol=1e-9)
    labels = np.arange(9) % 3
    np.testing.assert_allclose(
        bounds.margins(margin_rows(labels, 3)), margins_of(expected, labels), atol=1e-9
    )


@pytest.mark.parametrize("better", [True, False])
@pytest.mark.parametrize(
    ("make", "seed"), [(mlp, 0), (mlp, 1), (sparse, 0), (sparse, 1)]
)
def test_crown_equals_slow_reference(make, seed, better):
    module = make(seed)
    rng = np.random.default_rng(seed)
    X, labels = rng.random((3, 6)), np.array([0, 1, 2])
    network = ReluNetwork(module, 6)
    C = margin_rows(labels, 3)
    for eps in (0.01, 0.1, 0.5):
        region = Region(
            Anchors(network, X, 0.0), np.arange(3), np.full(3, eps), "linf", (0, 1)
        )
        found = Bounds(region, "crown", better).margins(C)
        for i in range(3):
            low, high = (X[i] - eps).clip(0, 1), (X[i] + eps).clip(0, 1)
            slow = slow_margins(as_lists(module, 6), low, high, C[i], better)
            np.testing.assert_allclose(found[i], slow, rtol=1e-9, atol=1e-9)
            assert (found[i] <= np.array(slow) + 1e-15).all()


def tiny_images():
    with seeded_torch(0):
        parts = (
            ToImages((2, 3, 3)),
            nn.Conv2d(2, 2, 2, stride=(2, 1), padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(2, 4, (1, 2), padding=(0, 1), groups=2),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(12, 3),
        )
        return balanced(nn.Sequential(*parts), 18)


@pytest.mark.parametrize("better", [True, False])
def test_crown_of_convolutions_equals_slow_reference(better):
    network = ReluNetwork(tiny_images(), 18)
    X, C = np.random.default_rng(0).random((2, 18)), margin_rows(np.array([0, 2]), 3)
    for eps in (0.02, 0.3):
        region = Region(Anchors(network, X, 0.0), [0, 1], [eps] * 2, "linf", (0, 1))
        found = Bounds(region, "crown", better).margins(C)
        for i in range(2):
            low, high = (X[i] - eps).clip(0, 1), (X[i] + eps).clip(0, 1)
            slow = slow_margins(units_as_lists(network), low, high, C[i], better)
            np.testing.assert_allclose(found[i], slow, rtol=1e-9, atol=1e-9)


def bounds_of(network, X, eps, norm, how, roundoff):
    n = len(X)
    anchors = Anchors(network, X, roundoff)
    region = Region(anchors, np.arange(n), np.full(n, eps), norm, (0.0, 1.0))
    return Bounds(region, *how)


@given(
    seed=st.integers(0, 10_000),
    norm=st.sampled_from(NORMS),
    how=st.sampled_from(METHODS),
    size=st.floats(-3, -0.5),
)
def test_patches_of_images_give_the_bounds_of_all_of_them(seed, norm, how, size):
    """Against the same network with matrices for convolutions.

    No ball holds all of the clip range: there both triangles of a rectifier are often
    equal, and rounding chooses the lower line.
    """
    module, n_pixels = any_convolutions(seed)
    network = ReluNetwork(module, n_pixels)
    rng = np.random.default_rng(seed)
    X, C = rng.random((2, n_pixels)), margin_rows(rng.integers(3, size=2), 3)
    both = network, of_matrices(network)
    for roundoff, close in ((0.0, 1e-9), (SINGLE, 1e-3)):
        patches, whole = (
            bounds_of(each, X, 10.0**size, norm, how, roundoff) for each in both
        )
        for found, expected in (
            (patches.lower, whole.lower),
            (patches.upper, whole.upper),
            (patches.margins(C), whole.margins(C)),
        ):
            # Sums of numbers that are about as large as one may be next to nothing.
            largest = max(np.abs(expected).max(), 1.0)
            np.testing.assert_allclose(found, expected, atol=close * largest, rtol=0)


@pytest.mark.parametrize("name", RESHAPED)
@pytest.mark.parametrize("how", METHODS)
def test_images_may_be_taken_as_images_of_another_shape(name, how):
    rng = np.random.default_rng(0)
    X = rng.random((3, 16)).astype(np.float32)
    for seed, norm in enumerate(NORMS):
        module = reshaped(name, seed)
        labels = logits_of(module, X).argmax(axis=1)
        network, C = ReluNetwork(module, 16), margin_rows(labels, 3)
        both = network, of_matrices(network)
        found, expected = (
            bounds_of(each, X, 0.1, norm, how, SINGLE).margins(C) for each in both
        )
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-4)
        for i in range(3):
            points = points_in(rng, X[i].astype(np.float64), 0.1, norm, (0, 1), 50)
            logits = logits_of(module.double(), points, torch.float64)
            margins = margins_of(logits, np.repeat(labels[i], 50))
            assert (margins >= found[i] - 1e-12).all()


def test_units_that_do_not_move_are_not_carried(monkeypatch):
    """A maximum of zeros is zero but for rounding, whatever CROWN says of it."""
    module, carried, carry = IMAGES["pooled"][0](0), [], Bounds._carry

    def counted(self, start, total, problems, places, watch=None):
        carried.append(places.n_layers)
        carry(self, start, total, problems, places, watch)

    monkeypatch.setattr(Bounds, "_carry", counted)
    x = np.random.default_rng(0).random((1, 40)).astype(np.float32)
    for bias, layers in ((0.0, {1, 2, 5, 6}), (-100.0, {5, 6})):
        with torch.no_grad():
            module[1].bias[:] = bias
        carried.clear()
        network = ReluNetwork(module, 40)
        region = Region(Anchors(network, x), [0], [0.1], "linf", (0, 1))
        bounds = Bounds(region)
        assert set(carried) == layers
        logits = logits_of(module, x)[0]
        assert (bounds.lower[0, -3:] <= logits).all()
        assert (logits <= bounds.upper[0, -3:]).all()


def test_only_what_a_unit_reads_is_carried():
    with torch.no_grad(), seeded_torch(0):
        module = nn.Sequential(
            ToImages((2, 20, 20)),
            nn.Conv2d(2, 4, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(4, 8, (3, 5), stride=2),
            nn.ReLU(),
            nn.Conv2d(8, 6, 2, dilation=2),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(6 * 7 * 6, 2),
        )
    network = ReluNetwork(module, 800)
    places = Places(network, 2, 1, np.array([0]))
    sides = [(patch.height, patch.width) for patch in (*places.patches, places.input)]
    # Two pixels apart, of every second line, and of three by three.
    assert sides == [(7, 9), (3, 3), (9, 11)]
    assert places.width == 4 * 7 * 9 + 8 * 3 * 3
    # Where it would be more than all there is, it is all.
    last = Places(network, 3, 1, None)
    assert last.width == 4 * 400 + 8 * 9 * 8 + 6 * 7 * 6


@given(
    name=st.sampled_from(sorted(ALL)),
    seed=st.integers(0, 10_000),
    norm=st.sampled_from(NORMS),
    clip=st.sampled_from([None, (0.0, 1.0)]),
    how=st.sampled_from(METHODS),
    size=st.floats(-3, 0.3),
)
def test_no_point_has_smaller_margin_than_bound(name, seed, norm, clip, how, size):
    make, n_features = ALL[name]
    module, rng = make(seed), np.random.default_rng(seed)
    n, eps = 3, 10.0**size
    X = rng.random((n, n_features)).astype(np.float32)
    X[rng.random(X.shape) < 0.3] = 0.0
    labels = rng.integers(3, size=n)
    network = ReluNetwork(module, n_features)
    region = Region(Anchors(network, X), np.arange(n), np.full(n, eps), norm, clip)
    bounds = Bounds(region, *how)
    bound = bounds.margins(margin_rows(labels, 3))
    for i in range(n):
        points = points_in(rng, X[i].astype(np.float64), eps, norm, clip, 40)
        for dtype in (torch.float32, torch.float64):
            points_ = points.astype(np.float32)
            logits = logits_of(module.to(dtype), points_, dtype)
            found = margins_of(logits, np.repeat(labels[i], len(points)))
            assert (found >= bound[i] - 1e-12).all()
        module.float()
        out = slice(-3, None)
        assert (logits >= bounds.lower[i, out] - 1e-12).all()
        assert (logits <= bounds.upper[i, out] + 1e-12).all()


@given(seed=st.integers(0, 10_000), size=st.floats(-2, 1))
def test_smallest_value_over_ball_and_box_is_found(seed, size):
    """Against a search for the multiplier of the ball, by halving."""
    rng = np.random.default_rng(seed)
    n, d, eps = 4, 9, 10.0**size
    X, labels = rng.random((n, d)), np.zeros(n, dtype=int)
    X[rng.random(X.shape) < 0.3] = rng.integers(2)
    with seeded_torch(seed):
        module = nn.Linear(d, 2).double()
    network = ReluNetwork(module, d)
    weight = (module.weight[0] - module.weight[1]).detach().numpy()
    region = Region(
        Anchors(network, X, 0.0), np.arange(n), np.full(n, eps), "l2", (0, 1)
    )
    found = Bounds(region).margins(margin_rows(labels, 2))[:, 0]
    at = margins_of(logits_of(module, X, torch.float64), labels)[:, 0]

    def move(strength, x):
        return np.clip(-weight / strength, -x, 1 - x)

    for i in range(n):
        low, high = 1e-9, 1e9
        for _ in range(200):
            middle = np.sqrt(low * high)
            far = np.linalg.norm(move(middle, X[i])) > eps
            low, high = (middle, high) if far else (low, middle)
        exact = at[i] + weight @ move(high, X[i])
        assert found[i] <= exact + 1e-9
        np.testing.assert_allclose(found[i], exact, rtol=1e-3, atol=1e-3 * eps)


def one_unit(weights, bias, last=1.0):
    with torch.no_grad(), seeded_torch(0):
        module = nn.Sequential(nn.Linear(len(weights), 1), nn.ReLU(), nn.Linear(1, 2))
        module[0].weight.copy_(torch.tensor([weights]))
        module[0].bias.fill_(bias)
        module[2].weight.copy_(torch.tensor([[last], [0.0]]))
        module[2].bias.zero_()
    return module.eval()


@pytest.mark.parametrize("method", ["crown", "interval"])
@pytest.mark.parametrize("hidden", [True, False])
def test_cancellation_is_not_certified_for_single_precision(hidden, method):
    """Exactly the margin is one, and summed in single precision it may be zero."""
    weights, x = [2.0**26, 1.0, -(2.0**26)], np.ones((1, 3))
    if hidden:
        module = one_unit(weights, 0.0)
    else:
        with torch.no_grad(), seeded_torch(0):
            module = nn.Linear(3, 2)
            module.weight.copy_(torch.tensor([weights, [0.0] * 3]))
            module.bias.zero_()
    summed = np.float32(0)
    for w in weights:
        summed += np.float32(w)
    assert summed == 0
    network, C = ReluNetwork(module, 3), margin_rows(np.array([0]), 2)
    for roundoff, proved in ((SINGLE, False), (0.0, True)):
        region = Region(Anchors(network, x, roundoff), [0], [0.0], "linf")
        bound = Bounds(region, method).margins(C)[0, 0]
        assert (bound > 0) == proved


def test_bound_covers_every_order_of_sums():
    """A sum of many terms, none of which dominates, against the worst rounding."""
    rng = np.random.default_rng(0)
    d = 300
    with torch.no_grad(), seeded_torch(0):
        module = nn.Linear(d, 2)
        module.weight[0] = torch.from_numpy(rng.normal(size=d))
        module.weight[1] = 0
        module.bias.zero_()
    x = rng.random((1, d)).astype(np.float32)
    products = (module.weight[0].detach().numpy() * x[0]).astype(np.float32)
    network, C = ReluNetwork(module, d), margin_rows(np.array([0]), 2)
    region = Region(Anchors(network, x), [0], [0.0], "linf")
    bound = Bounds(region).margins(C)[0, 0]
    orders = [products[np.argsort(products)], products[np.argsort(-products)]]
    orders += [rng.permutation(products) for _ in range(50)]
    sums = [np.cumsum(p, dtype=np.float32)[-1] for p in orders]
    assert len(set(map(float, sums))) > 1
    assert bound <= min(sums)
    size = np.abs(products).sum(dtype=np.float64)
    exact = module.weight[0].detach().double().numpy() @ x[0].astype(np.float64)
    # As much as theory says of the worst order, and not ten times as much.
    assert d * SINGLE * size <= exact - bound <= 1.2 * d * SINGLE * size


@pytest.mark.parametrize("scale", [1e18, 1e30, 1e38])
def test_overflow_proves_nothing(scale):
    module = mlp(0)
    with torch.no_grad():
        for weight in module.parameters():
            weight.mul_(scale)
    X = np.random.default_rng(0).random((2, 6)).astype(np.float32)
    network = ReluNetwork(module, 6)
    for method in ("crown", "interval"):
        for labels in ([0, 1], [2, 0]):
            region = Region(Anchors(network, X), np.arange(2), [0.1, 0.1], "linf")
            bound = Bounds(region, method).margins(margin_rows(np.array(labels), 3))
            assert (bound.min(axis=1) <= 0).all()


def test_subnormal_numbers_prove_nothing_that_single_precision_loses():
    module = one_unit([2.0**-80] * 3, 0.0, last=2.0**-80)
    network, C = ReluNetwork(module, 3), margin_rows(np.array([0]), 2)
    region = Region(Anchors(network, np.ones((1, 3))), [0], [0.0], "linf")
    assert logits_of(module, np.ones((1, 3))).max() == 0
    assert Bounds(region).margins(C)[0, 0] <= 0


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("name", ["mlp", "sparse", "scaled"])
def test_input_rounded_to_single_precision_is_covered(name, norm):
    """Samples in double precision are rounded before the module sees them."""
    module = FLAT[name](3)
    rng = np.random.default_rng(3)
    X = rng.random((30, 6)) + 1e4
    labels = rng.integers(3, size=30)
    network = ReluNetwork(module, 6)
    region = Region(Anchors(network, X), np.arange(30), np.zeros(30), norm)
    bound = Bounds(region).margins(margin_rows(labels, 3))
    assert (margins_of(logits_of(module, X), labels) >= bound).all()
    exact = margins_of(logits_of(module.double(), X, torch.float64), labels)
    assert (exact >= bound).all()


def test_split_bounds_hold_where_signs_are_as_assumed():
    module, rng = mlp(5), np.random.default_rng(5)
    network = ReluNetwork(module, 6)
    x, eps = rng.random((1, 6)), 0.4
    points = points_in(rng, x[0], eps, "linf", None, 4000).astype(np.float32)
    hidden = [logits_of(module[: k + 1], points) for k in (0, 2, 4)]
    units = np.concatenate(hidden, axis=1)
    C = margin_rows(np.array([1]), 3)
    margins = margins_of(logits_of(module, points), np.full(4000, 1)).min(axis=1)
    anchors = Anchors(network, x)
    whole = Bounds(Region(anchors, [0], [eps], "linf"))
    doubtful = np.flatnonzero((whole.lower[0] < 0) & (whole.upper[0] > 0))
    doubtful = doubtful[doubtful < network.n_units - 3]
    assert len(doubtful) > 4
    n_tighter = 0
    for unit in doubtful:
        for sign in (1, -1):
            signs = np.zeros((1, network.n_units), dtype=np.int8)
            signs[0, unit] = sign
            known = whole.lower.copy(), whole.upper.copy()
            starts = [la.start for la in network.layers if la.start <= unit]
            split = Split(signs, *known, np.array([starts[-1]]))
            part = Bounds(Region(anchors, [0], [eps], "linf"), split=split)
            fresh = Split(signs, *known, np.array([-1]))
            again = Bounds(Region(anchors, [0], [eps], "linf"), split=fresh)
            np.testing.assert_allclose(part.margins(C), again.margins(C), atol=1e-9)
            bound = part.margins(C).min()
            inside = sign * units[:, unit] >= 0
            if inside.any():
                assert margins[inside].min() >= bound
            n_tighter += bound > whole.margins(C).min() + 1e-9
    assert n_tighter > 0


def test_linear_distance_of_linear_model_is_exact():
    rng = np.random.default_rng(0)
    module = FLAT["linear"](0).double()
    X = rng.normal(size=(5, 6))
    logits = logits_of(module, X, torch.float64)
    labels = logits.argmax(axis=1)
    W = module.weight.detach().numpy()
    for norm, dual in (("linf", 1), ("l2", 2)):
        found, _ = linear_distances(Anchors(ReluNetwork(module, 6), X), labels, norm)
        margin = margins_of(logits, labels)
        C = margin_rows(labels, 3)
        length = np.linalg.norm(C @ W, dual, axis=2)
        np.testing.assert_allclose(found, (margin / length).min(axis=1), rtol=1e-3)


def test_bounds_of_cnn6_hold():
    module, rng = cnn6(0), np.random.default_rng(0)
    network = ReluNetwork(module, 64)
    x = rng.random((1, 64)).astype(np.float32)
    label = logits_of(module, x).argmax(axis=1)
    region = Region(Anchors(network, x), [0], [0.02], "linf", (0, 1))
    points = points_in(rng, x[0].astype(np.float64), 0.02, "linf", (0, 1), 200)
    logits = logits_of(module, points.astype(np.float32))
    bounds = Bounds(region, "interval")
    bound = bounds.margins(margin_rows(label, 3))
    assert (margins_of(logits, np.repeat(label, 200)) >= bound).all()
    assert np.isfinite(bound).all()
