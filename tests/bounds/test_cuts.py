"""Bounds over caps hold wherever an error is possible, and are nearly the best ones."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import linprog

from robustkit.bounds import _radius
from robustkit.bounds._cuts import Caps, Functions, margin_functions
from robustkit.bounds._linear_bounds import (
    SINGLE,
    Anchors,
    Bounds,
    Region,
    Split,
    margin_rows,
)
from robustkit.bounds._radius import Search, proved_by_splitting
from robustkit.bounds._relu_network import ReluNetwork
from tests.bounds.nets import FLAT, IMAGES, balanced, mlp
from tests.bounds.test_linear_bounds import logits_of, points_in


def samples(module, seed, n, n_features):
    X = np.random.default_rng(seed).random((n, n_features)).astype(np.float32)
    return X, logits_of(module, X).argmax(axis=1)


def open_margins(region, labels, n_outputs, least=0.0):
    """CROWN, and the functions of the margins that it does not prove."""
    C, bounds = margin_rows(labels, n_outputs), Bounds(region)
    problems = np.repeat(np.arange(len(C)), C.shape[1])
    functions = margin_functions(bounds, problems, C.reshape(len(problems), -1), least)
    kept = np.flatnonzero(functions.smallest <= 0)
    return bounds, problems[kept], functions[kept], C.reshape(len(problems), -1)[kept]


def units_at(network, points):
    """Arguments of all rectifiers, in exact arithmetic but for double precision."""
    x = points
    for center, scale, offset, _ in network.scalings:
        x = (x - center) * scale + offset
    z = np.zeros((len(points), network.n_units))
    h = np.zeros_like(z)
    for layer in network.layers:
        value = torch.from_numpy(layer.bias.copy())[None]
        if layer.inputs is not None:
            value = value + layer.inputs.forward(torch.from_numpy(x))
        for p, q, chart in layer.sources:
            value = value + chart.forward(torch.from_numpy(h[:, p:q]))
        here = slice(layer.start, layer.stop)
        z[:, here] = value.numpy()
        h[:, here] = np.maximum(z[:, here], 0) if layer.rectified else z[:, here]
    return z


NETWORKS = {name: (make, 6) for name, make in FLAT.items()} | {
    name: (lambda seed, make=make, n=n: balanced(make(seed), n), n)
    for name, (make, n) in IMAGES.items()
}


@given(
    name=st.sampled_from(sorted(NETWORKS)),
    seed=st.integers(0, 10_000),
    norm=st.sampled_from(["linf", "l2"]),
    clip=st.sampled_from([None, (0.0, 1.0)]),
    eps=st.sampled_from([0.1, 0.3, 1.0]),
)
def test_units_at_every_error_are_within_their_intervals(name, seed, norm, clip, eps):
    make, n_features = NETWORKS[name]
    module, rng = make(seed), np.random.default_rng(seed)
    network = ReluNetwork(module, n_features)
    X, labels = samples(module, seed, 3, n_features)
    anchors = Anchors(network, X)
    whole = Region(anchors, np.arange(3), np.full(3, eps), norm, clip)
    _, problems, functions, C = open_margins(whole, labels, network.n_outputs)
    if len(problems) == 0:
        return
    start = np.full(3, -1)
    signs = np.zeros((3, network.n_units), dtype=np.int8)
    known = (np.full(signs.shape, side * np.inf) for side in (-1, 1))
    region = Caps(whole, problems, functions)
    cut = Bounds(region, split=Split(signs, *known, start))
    values = margin_functions(cut, problems, C, 0.0).smallest
    for i, (x, label) in enumerate(zip(X.astype(np.float64), labels, strict=True)):
        points = points_in(rng, x, eps, norm, clip, 400)
        z = units_at(network, points)
        logits = z[:, -network.n_outputs :]
        z = z[logits.argmax(axis=1) != label]
        assert (z >= cut.lower[i] - 1e-9).all()
        assert (z <= cut.upper[i] + 1e-9).all()
        own = problems == i
        margins = C[own] @ logits.T
        for margin, value in zip(margins, values[own], strict=True):
            assert (margin[margin <= 0] >= value).all()


@pytest.mark.parametrize("norm", ["linf", "l2"])
@pytest.mark.parametrize("n_cuts", [1, 3])
def test_linear_functions_are_bounded_nearly_as_well_as_can_be(norm, n_cuts):
    """By a linear program, over each of the caps; in l2 against many points."""
    module, rng = mlp(0, (5, 4, 3)), np.random.default_rng(0)
    X, n = rng.random((40, 5)), 40
    anchors = Anchors(ReluNetwork(module, 5), X)
    region = Region(anchors, np.arange(n), np.full(n, 0.3), norm, (0.0, 1.0))
    m = rng.standard_normal((n, n_cuts, 5))
    # A part of the ball is left of each.
    c = rng.uniform(0, 0.15, (n, n_cuts)) * np.abs(m).sum(axis=2)
    problems = np.repeat(np.arange(n), n_cuts)
    functions = Functions(c.ravel() * 0 - 1, m.reshape(-1, 5), c.ravel())
    caps, d = Caps(region, problems, functions), rng.standard_normal((n, 5))
    places = Bounds(region)._places(0, n)
    plain, found = np.zeros(n), np.zeros(n)
    region.concretize(d.copy(), places.input, np.arange(n), plain)
    caps.concretize(d.copy(), places.input, np.arange(n), found)
    gains, shares = [], []
    for i in range(n):
        box = np.column_stack([region.low[i], region.high[i]])
        if norm == "linf":
            runs = [linprog(d[i], m[i, k : k + 1], -c[i, k], bounds=box)
                    for k in range(n_cuts)]  # fmt: skip
            exact = min(run.fun if run.success else np.inf for run in runs)
        else:
            points = points_in(rng, X[i], 0.3, norm, (0.0, 1.0), 5000) - X[i]
            inside = (points @ m[i].T + c[i] <= 0).any(axis=1)
            exact = (points[inside] @ d[i]).min(initial=np.inf)
        assert plain[i] <= found[i] <= exact + 1e-12
        if norm == "linf" and np.isfinite(exact) and exact > plain[i] + 1e-6:
            gains.append(found[i] > plain[i])
            shares.append((found[i] - plain[i]) / (exact - plain[i]))
    assert (found > plain).any()
    if norm == "linf":
        assert np.mean(gains) > 0.9
        assert np.median(shares) > 0.8


def test_margin_that_counts_as_an_error_is_in_the_cap():
    """What is no error must be larger than `least`, not only positive."""
    module = mlp(1, (4, 6, 3))
    X, labels = samples(module, 1, 5, 4)
    region = Region(
        Anchors(ReluNetwork(module, 4), X), np.arange(5), np.full(5, 0.2), "linf"
    )
    _, problems, functions, C = open_margins(region, labels, 3, least=0.5)
    plain = margin_functions(Bounds(region), problems, C, 0.0)
    np.testing.assert_allclose(functions.constants, plain.constants - 0.5)
    np.testing.assert_allclose(functions.smallest, plain.smallest - 0.5)


def test_caps_prove_more_with_the_same_number_of_subproblems(monkeypatch):
    module = mlp(3, (6, 20, 20, 3))
    X, labels = samples(module, 3, 60, 6)
    anchors, rows = Anchors(ReluNetwork(module, 6), X), np.arange(60)
    for norm, eps in (("linf", 0.05), ("l2", 0.1)):
        search = Search(norm, "split", (0, 1), max_subproblems=32)
        found = {}
        for n_cuts in (0, _radius._CUTS):
            monkeypatch.setattr(_radius, "_WORTH", 1e-6 if n_cuts else np.inf)
            found[n_cuts], finished = proved_by_splitting(
                anchors, rows, np.full(60, eps), labels, search
            )
            assert finished
        without, with_caps = found.values()
        assert (with_caps | ~without).all()
        assert with_caps.sum() > without.sum()
        monkeypatch.undo()


@pytest.mark.parametrize("most", [1, 2, 10, 40])
def test_no_more_parts_are_made_of_a_ball_than_allowed(monkeypatch, most):
    """The whole ball is none of them."""
    module = mlp(3, (6, 20, 20, 3))
    X, labels = samples(module, 3, 30, 6)
    anchors, made = Anchors(ReluNetwork(module, 6), X), np.zeros(30, dtype=int)
    bound = _radius._bound_parts

    def counted(everywhere, ball, split, left, C, search, known=None):
        # Those that are bounded again are no others.
        if known is None:
            made[:] += np.bincount(ball, minlength=30)
        return bound(everywhere, ball, split, left, C, search, known)

    monkeypatch.setattr(_radius, "_bound_parts", counted)
    search = Search("linf", "split", (0, 1), max_subproblems=most)
    proved_by_splitting(anchors, np.arange(30), np.full(30, 0.06), labels, search)
    assert (made >= 1).all()
    assert (made <= 1 + most).all()
    assert (made > 1).any() or most == 1


def test_proof_of_one_ball_does_not_depend_on_the_others():
    module = mlp(5, (6, 20, 20, 3))
    X, labels = samples(module, 5, 40, 6)
    anchors, rows = Anchors(ReluNetwork(module, 6), X, SINGLE), np.arange(40)
    search = Search("linf", "split", (0, 1), max_subproblems=32)
    eps = np.full(40, 0.05)
    together, _ = proved_by_splitting(anchors, rows, eps, labels, search)
    assert 0 < together.sum() < 40
    alone = [
        proved_by_splitting(anchors, rows[[i]], eps[:1], labels[[i]], search)[0][0]
        for i in rows
    ]
    np.testing.assert_array_equal(alone, together)
