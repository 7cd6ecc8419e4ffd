"""Radii are never too large, and those of small networks are nearly exact."""

import itertools
from copy import deepcopy

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import linprog
from torch import nn

from robustkit._randomness import seeded_torch
from robustkit.bounds import _radius
from robustkit.bounds._linear_bounds import DOUBLE, SINGLE, Anchors, margin_rows
from robustkit.bounds._radius import Search, certified_radii, proved_by_splitting
from robustkit.bounds._relu_network import ReluNetwork
from robustkit.bridge import ElementwiseScale
from tests.bounds.nets import FLAT, IMAGES, balanced, mlp, of_matrices, steepest
from tests.bounds.test_linear_bounds import logits_of, points_in

METHODS = ("interval", "crown", "split")


def samples(module, seed, n=6, n_features=6):
    """Samples in [0, 1], and what the module predicts."""
    X = np.random.default_rng(seed).random((n, n_features)).astype(np.float32)
    return X, logits_of(module, X).argmax(axis=1)


def nearest_of_linear_model(weight, margin, x, norm, clip):
    """Halve the radius until the smallest margin over ball and box is zero."""

    def smallest(eps):
        low, high = -x + clip[0], clip[1] - x
        if norm == "linf":
            move = np.where(weight > 0, np.maximum(low, -eps), np.minimum(high, eps))
            return margin + weight @ move
        weak, strong = 1e-6, 1e6
        for _ in range(80):
            middle = np.sqrt(weak * strong)
            move = np.clip(-weight / middle, low, high)
            if np.linalg.norm(move) > eps:
                weak = middle
            else:
                strong = middle
        return margin + weight @ np.clip(-weight / strong, low, high)

    near, far = 0.0, 100.0
    if smallest(far) > 0:
        return np.inf
    for _ in range(50):
        middle = (near + far) / 2
        near, far = (middle, far) if smallest(middle) > 0 else (near, middle)
    return near


@pytest.mark.parametrize("norm", ["linf", "l2"])
@pytest.mark.parametrize("clip", [(0.0, 1.0), (-50.0, 50.0), None])
@pytest.mark.parametrize("method", METHODS)
def test_radius_of_linear_model_is_distance_to_plane_in_box(norm, clip, method):
    with seeded_torch(0):
        module = nn.Linear(8, 2).double()
    X, labels = samples(module.float(), 0, 6, 8)
    module.double()
    X = X.astype(np.float64)
    search = Search(norm, method, clip)
    found, settled = certified_radii(ReluNetwork(module, 8), X, labels, search, DOUBLE)
    assert settled.all()
    W = module.weight.detach().numpy()
    logits = logits_of(module, X, torch.float64)
    for i, y in enumerate(labels):
        weight, margin = W[y] - W[1 - y], logits[i, y] - logits[i, 1 - y]
        if clip is None:
            dual = {"linf": 1, "l2": 2}[norm]
            exact = margin / np.linalg.norm(weight, dual)
        else:
            exact = nearest_of_linear_model(weight, margin, X[i], norm, clip)
        assert found[i] <= exact * (1 + 1e-9)
        if np.isfinite(exact):
            # Along a sphere that the box cuts the bound is found by a few steps.
            loose = norm == "l2" and clip == (0.0, 1.0)
            np.testing.assert_allclose(found[i], exact, rtol=2e-3 if loose else 1e-7)
        else:
            assert found[i] == np.inf


def patterns_nearest(module, x, label, clip):
    """Smallest linf distance of an error, over all patterns of hidden signs.

    One linear program for every pattern and other class.
    """
    W1, b1 = (t.detach().double().numpy() for t in module[0].parameters())
    W2, b2 = (t.detach().double().numpy() for t in module[2].parameters())
    d, best = len(x), np.inf
    for pattern in itertools.product([0, 1], repeat=len(b1)):
        on = np.array(pattern)
        signs = 1 - 2 * on
        W = (W2 * on) @ W1
        b = (W2 * on) @ b1 + b2
        for other in range(len(b2)):
            if other == label:
                continue
            # Unknowns: the point, and its distance.
            rows = [np.hstack([signs[:, None] * W1, np.zeros((len(b1), 1))])]
            limits = [-signs * b1]
            rows.append(np.append(W[label] - W[other], 0)[None])
            limits.append(np.array([b[other] - b[label]]))
            eye, one = np.eye(d), np.ones((d, 1))
            rows += [np.hstack([eye, -one]), np.hstack([-eye, -one])]
            limits += [x, -x]
            done = linprog(
                np.append(np.zeros(d), 1),
                np.vstack(rows),
                np.concatenate(limits),
                bounds=[*[clip] * d, (0, None)],
            )
            if done.success:
                best = min(best, done.fun)
    return best


@pytest.mark.parametrize("seed", [0, 1])
def test_radius_comes_near_exact_distance_of_small_network(seed):
    module = mlp(seed, (3, 5, 3))
    X, labels = samples(module, seed, 3, 3)
    network = ReluNetwork(module, 3)
    found = {}
    for method in METHODS:
        search = Search("linf", method, (0, 1), max_subproblems=1000)
        found[method], _ = certified_radii(network, X, labels, search, SINGLE)
    shares = []
    for i in range(3):
        exact = patterns_nearest(module, X[i].astype(np.float64), labels[i], (0, 1))
        for method in METHODS:
            assert found[method][i] <= exact
        shares.append([found[method][i] / exact for method in METHODS])
    interval, crown, split = np.transpose(shares)
    assert (split >= crown - 1e-9).all()
    assert (split > 0.7).all()
    assert split.max() > 0.95
    assert crown.mean() > interval.mean()


@given(
    name=st.sampled_from(sorted(FLAT)),
    seed=st.integers(0, 10_000),
    norm=st.sampled_from(["linf", "l2"]),
    clip=st.sampled_from([None, (0.0, 1.0)]),
    method=st.sampled_from(METHODS),
)
def test_no_error_within_radius(name, seed, norm, clip, method):
    module, rng = FLAT[name](seed), np.random.default_rng(seed)
    X, labels = samples(module, seed, 4)
    search = Search(norm, method, clip, max_subproblems=8)
    radii, _ = certified_radii(ReluNetwork(module, 6), X, labels, search, SINGLE)
    assert (radii >= 0).all()
    for x, label, radius in zip(X, labels, radii, strict=True):
        eps = 10.0 if np.isinf(radius) else radius
        points = points_in(rng, x.astype(np.float64), eps, norm, clip, 300)
        found = logits_of(module, points.astype(np.float32)).argmax(axis=1)
        assert (found == label).all()


def in_units(module, power, where):
    """Let a network read features that are larger by a power of two."""
    dtype = next(module.parameters()).dtype
    if where == "scaling":
        scale = ElementwiseScale(scale=2.0**-power, dtype=dtype)
        return nn.Sequential(scale, module)
    # The first parameters are the weights of the first layer, but for scalings.
    names = ("weight", "input_weight")
    first = next(w for name, w in module.named_parameters() if name.endswith(names))
    with torch.no_grad():
        first.mul_(2.0**-power)
    return module


# Squares of such numbers are zero or infinite: in single precision, and in double.
POWERS = [(torch.float32, SINGLE, 100), (torch.float64, DOUBLE, 600)]


@pytest.mark.parametrize(("dtype", "roundoff", "power"), POWERS)
@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("where", ["weights", "scaling"])
@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_radii_are_in_the_units_of_the_features(
    dtype, roundoff, power, sign, where, norm
):
    """Powers of two change no digit of a product."""
    power *= sign
    for name, make, n_features, clip in (
        ("linear", FLAT["linear"], 6, None),
        ("mlp", mlp, 6, None),
        ("mlp", mlp, 6, (0.0, 1.0)),
        ("pooled", IMAGES["pooled"][0], 40, None),
    ):
        if name == "pooled" and where == "scaling":
            # Between a scaling and a convolution there is a layer of its own.
            continue
        module = make(3).to(dtype)
        X, _ = samples(make(3), 3, 4, n_features)
        X = X.astype(np.float64)
        labels = logits_of(module, X, dtype).argmax(axis=1)
        large = None if clip is None else (0.0, 2.0**power)
        found = []
        for m, Z, c in (
            (module, X, clip),
            (in_units(make(3).to(dtype), power, where), X * 2.0**power, large),
        ):
            network, search = ReluNetwork(m, n_features), Search(norm, "crown", c)
            found.append(certified_radii(network, Z, labels, search, roundoff)[0])
        assert (found[0] > 0).all()
        np.testing.assert_allclose(found[1] * 2.0**-power, found[0], rtol=2e-3)


def test_l2_radius_of_tiny_weights_is_distance_to_plane():
    """The square of the weight is zero in float32, and the cost of a move is not."""
    for hidden in (False, True):
        with torch.no_grad(), seeded_torch(0):
            module = nn.Linear(2, 2)
            module.weight.copy_(torch.tensor([[1e-24, 0.0], [0.0, 0.0]]))
            module.bias.copy_(torch.tensor([1.0, 0.0]))
            if hidden:
                last = nn.Linear(2, 2)
                last.weight.copy_(torch.eye(2))
                last.bias.zero_()
                module = nn.Sequential(module, nn.ReLU(), last)
        network, x = ReluNetwork(module, 2), np.zeros((1, 2))
        for method in METHODS:
            search = Search("l2", method, max_subproblems=4)
            radii, _ = certified_radii(network, x, np.array([0]), search, SINGLE)
            assert 0.99e24 < radii[0] <= 1e24


def test_clip_range_whose_square_is_zero_is_not_all_there_is():
    """The farthest point of a tiny range is not at distance zero."""
    with torch.no_grad(), seeded_torch(0):
        module = nn.Linear(2, 2).double()
        module.weight.copy_(torch.tensor([[1e180, 0], [0, 0]], dtype=torch.float64))
        module.bias.copy_(torch.tensor([-0.5, 0.0]))
    x, clip = np.array([[1e-180, 1e-180]]), (0.0, 1e-180)
    np.testing.assert_allclose(logits_of(module, x, torch.float64), [[0.5, 0]])
    for method in METHODS:
        search = Search("l2", method, clip, max_subproblems=4)
        radii, _ = certified_radii(
            ReluNetwork(module, 2), x, np.array([0]), search, DOUBLE
        )
        assert 0.49e-180 < radii[0] <= 0.5e-180


@pytest.mark.parametrize("method", METHODS)
def test_what_a_subnormal_input_loses_is_not_proved(method):
    """Rounded to single precision every feature loses up to half a subnormal number."""
    n, step = 20, 2.0**-149
    with torch.no_grad(), seeded_torch(0):
        module = nn.Linear(n, 2)
        module.weight[0], module.weight[1] = 0.0, 3e38
        module.bias.copy_(torch.tensor([1e-6, 0.0]))
    x, near = np.full((1, n), 0.9 * step), np.full((1, n), 0.49 * step)
    label = logits_of(module, x).argmax(axis=1)
    assert logits_of(module, near).argmax(axis=1) != label
    search = Search("linf", method, max_subproblems=4)
    radii, _ = certified_radii(ReluNetwork(module, n), x, label, search, SINGLE)
    assert radii[0] < (x - near).max()


@pytest.mark.parametrize("method", METHODS)
def test_scaling_that_overflows_in_single_precision_is_not_proved(method):
    """What the units sum is small, and the shifted feature is infinite."""
    with torch.no_grad(), seeded_torch(0):
        linear = nn.Linear(1, 2)
        linear.weight.copy_(torch.tensor([[1e-3], [0.0]]))
        linear.bias.copy_(torch.tensor([10.0, 0.0]))
    scale = ElementwiseScale(center=3e38, scale=1e-35, dtype=torch.float32)
    module, x, far = nn.Sequential(scale, linear), [[3e38]], [[-3e38]]
    x, far = np.array(x), np.array(far)
    assert logits_of(module, x).argmax() == 0
    assert logits_of(module, far).argmax() == 1
    search = Search("linf", method, max_subproblems=4)
    radii, _ = certified_radii(ReluNetwork(module, 1), x, np.array([0]), search, SINGLE)
    assert radii[0] < 6e38


@given(
    name=st.sampled_from(sorted(FLAT)),
    seed=st.integers(0, 10_000),
    norm=st.sampled_from(["linf", "l2"]),
    method=st.sampled_from(METHODS),
    power=st.sampled_from([-126, -100, 0, 100, 126]),
    where=st.sampled_from(["weights", "scaling"]),
)
def test_gradient_leads_to_no_error_within_radius(
    name, seed, norm, method, power, where
):
    """Just inside the radius, where every margin falls fastest."""
    module = FLAT[name](seed)
    X, labels = samples(module, seed, 4)
    module, X = in_units(module, power, where), X * 2.0**power
    search = Search(norm, method, max_subproblems=8)
    radii, _ = certified_radii(ReluNetwork(module, 6), X, labels, search, SINGLE)
    for points in steepest(deepcopy(module).double(), X, labels, radii, norm):
        found = logits_of(module, points).argmax(axis=1)
        assert (found == labels)[radii > 0].all()


def test_dense_grid_of_plane_has_no_error_within_radius():
    module = mlp(4, (2, 8, 8, 3))
    X, labels = samples(module, 4, 10, 2)
    side = np.linspace(0, 1, 401)
    grid = np.stack(np.meshgrid(side, side), axis=-1).reshape(-1, 2).astype(np.float32)
    said = logits_of(module, grid).argmax(axis=1)
    network = ReluNetwork(module, 2)
    for norm, order in (("linf", np.inf), ("l2", 2)):
        nearest = np.array(
            [
                np.linalg.norm(grid[said != y] - x, order, axis=1).min(initial=np.inf)
                for x, y in zip(X.astype(np.float64), labels, strict=True)
            ]
        )
        search = Search(norm, "split", (0, 1), max_subproblems=500)
        radii, _ = certified_radii(network, X, labels, search, SINGLE)
        assert (radii <= nearest).all()
        finite = np.isfinite(nearest)
        assert finite.any()
        assert (radii[finite] / nearest[finite]).mean() > 0.9


def test_model_without_errors_has_infinite_radii():
    module = mlp(0)
    with torch.no_grad():
        module[-1].weight.zero_()
        module[-1].bias.copy_(torch.tensor([0.0, 1.0, 0.0]))
    X = np.random.default_rng(0).random((4, 6)).astype(np.float32)
    network = ReluNetwork(module, 6)
    for norm, method in itertools.product(["linf", "l2"], METHODS):
        for label, radius in ((1, np.inf), (0, 0.0)):
            search = Search(norm, method, (0, 1))
            radii, settled = certified_radii(
                network, X, np.full(4, label), search, SINGLE
            )
            np.testing.assert_array_equal(radii, radius)
            assert settled.all()
    radii, _ = certified_radii(network, X, np.full(4, 1), Search(), SINGLE)
    assert (radii > 1e6).all()


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("name", ["mlp", "sparse"])
def test_order_subset_and_batches_change_radii_by_less_than_their_width(method, name):
    module = FLAT[name](1)
    X, labels = samples(module, 1, 12)
    network = ReluNetwork(module, 6)
    search = Search("linf", method, (0, 1))
    radii, _ = certified_radii(network, X, labels, search, SINGLE)
    some = np.array([7, 2, 5])
    small = Search("linf", method, (0, 1), batch_size=2)
    again, _ = certified_radii(network, X[some], labels[some], small, SINGLE)
    np.testing.assert_allclose(again, radii[some], rtol=1e-9)


def test_guess_only_shortens_the_search():
    module = mlp(2)
    X, labels = samples(module, 2, 8)
    network, search = ReluNetwork(module, 6), Search("linf", "crown", (0, 1))
    free, _ = certified_radii(network, X, labels, search, SINGLE)
    for guess in (free * 1.5, free / 100, np.full(8, np.inf), np.zeros(8)):
        again, settled = certified_radii(network, X, labels, search, SINGLE, guess)
        assert settled.all()
        np.testing.assert_allclose(again, free, rtol=2e-3)


def test_splits_prove_more_the_more_they_may():
    module = mlp(3, (6, 20, 20, 3))
    X, labels = samples(module, 3, 30)
    anchors = Anchors(ReluNetwork(module, 6), X)
    rows = np.arange(30)
    shares = []
    for most in (1, 8, 64, 512):
        search = Search("linf", "split", (0, 1), max_subproblems=most)
        proved, finished = proved_by_splitting(
            anchors, rows, np.full(30, 0.04), labels, search
        )
        assert finished
        shares.append(proved)
    for fewer, more in itertools.pairwise(shares):
        assert (more | ~fewer).all()
    assert shares[-1].sum() > shares[0].sum()


def test_time_that_is_up_leaves_what_was_proved():
    module = mlp(3)
    X, labels = samples(module, 3, 8)
    network = ReluNetwork(module, 6)
    search = Search("linf", "split", (0, 1), deadline=-np.inf)
    radii, settled = certified_radii(network, X, labels, search, SINGLE)
    np.testing.assert_array_equal(radii, 0)
    assert not settled.any()


def test_wrong_label_has_radius_zero():
    module = mlp(3)
    X, labels = samples(module, 3, 8)
    network = ReluNetwork(module, 6)
    for method in METHODS:
        search = Search("linf", method, (0, 1))
        radii, settled = certified_radii(network, X, (labels + 1) % 3, search, SINGLE)
        np.testing.assert_array_equal(radii, 0)
        assert settled.all()


def test_margin_rows_compare_label_with_every_other():
    rows = margin_rows(np.array([2, 0]), 3)
    logits = np.array([1.0, 10.0, 100.0])
    assert sorted(rows[0] @ logits) == [90, 99]
    assert sorted(rows[1] @ logits) == [-99, -9]


@pytest.mark.parametrize("name", sorted(IMAGES))
@pytest.mark.parametrize("method", ["crown", "split"])
def test_radii_of_convolutions_are_those_of_their_matrices(name, method):
    make, n_pixels = IMAGES[name]
    module = balanced(make(2), n_pixels)
    network = ReluNetwork(module, n_pixels)
    X = np.random.default_rng(2).random((8, n_pixels)).astype(np.float32)
    labels = logits_of(module, X).argmax(axis=1)
    search = Search("linf", method, (0, 1), max_subproblems=8)
    found, expected = (
        certified_radii(each, X, labels, search, SINGLE)[0]
        for each in (network, of_matrices(network))
    )
    assert (expected > 0).any()
    np.testing.assert_allclose(
        found, expected, rtol=2e-3 if method == "crown" else 0.02
    )


def test_few_samples_of_large_networks_are_bounded_at_once(monkeypatch):
    module = balanced(IMAGES["pooled"][0](0), 40)
    network = ReluNetwork(module, 40)
    X = np.random.default_rng(0).random((9, 40)).astype(np.float32)
    labels = logits_of(module, X).argmax(axis=1)
    at_once = []

    class Counted(Anchors):
        def __init__(self, network, X, *how):
            at_once.append(len(X))
            super().__init__(network, X, *how)

    monkeypatch.setattr(_radius, "Anchors", Counted)
    monkeypatch.setattr(_radius, "_NUMBERS", 4 * network.n_units)
    search = Search("linf", "crown", (0, 1))
    certified_radii(network, X, labels, search, SINGLE)
    assert at_once == [4, 4, 1]
