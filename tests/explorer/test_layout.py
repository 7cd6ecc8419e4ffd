"""Layouts: discs that do not overlap, left to right by interval, always the same."""

from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from sklearn.isotonic import isotonic_regression

from robustkit.explorer import _layout as module
from robustkit.explorer._layout import lay_out, lay_out_around


def random_graph(seed, n_nodes, n_intervals, n_edges):
    """Nodes in intervals; edges join nodes of different ones."""
    rng = np.random.RandomState(seed)
    interval = np.sort(rng.randint(n_intervals, size=n_nodes))
    pairs = rng.randint(max(n_nodes, 1), size=(n_edges if n_nodes else 0, 2))
    pairs = np.unique(np.sort(pairs, axis=1), axis=0)
    pairs = pairs[interval[pairs[:, 0]] != interval[pairs[:, 1]]]
    return SimpleNamespace(
        interval=interval, n_intervals=n_intervals, n_nodes=n_nodes, edges=pairs,
        size=rng.geometric(0.02, size=n_nodes),
    )  # fmt: skip


graphs = st.builds(
    random_graph,
    st.integers(0, 2**32 - 1),
    st.integers(0, 60),
    st.integers(1, 20),
    st.integers(0, 60),
)


def overlaps(layout):
    """How far discs reach into each other, at most."""
    apart = np.hypot(*(c[:, None] - c for c in (layout.x, layout.y)))
    apart -= layout.radius[:, None] + layout.radius
    np.fill_diagonal(apart, np.inf)
    return -apart.min(initial=np.inf)


@given(graphs)
def test_discs_do_not_overlap(graph):
    layout = lay_out(graph)
    assert overlaps(layout) <= 1e-12
    assert (layout.radius > 0).all()
    assert layout.y.min(initial=0) >= 0


@given(graphs)
@example(random_graph(0, 1, 13, 0))
def test_the_place_from_left_to_right_tells_the_interval(graph):
    x = lay_out(graph).x
    room = 1 / max(1, graph.n_intervals - 1)
    if graph.n_intervals > 1:
        assert (np.abs(x - graph.interval * room) <= room / 2).all()


@given(graphs)
def test_the_same_graph_has_the_same_layout(graph):
    one, other = lay_out(graph), lay_out(graph)
    for name in ("x", "y", "radius"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name))


@given(graphs, st.integers(0, 2**32 - 1), st.floats(0.5, 3))
def test_nodes_that_stay_stay_and_the_others_go_around(graph, seed, stretch):
    fresh = lay_out(graph)
    rng = np.random.RandomState(seed)
    kept = np.flatnonzero(rng.rand(graph.n_nodes) < 0.5)
    if len(kept) == 0:
        return
    x, y = fresh.x[kept], fresh.y[kept] * stretch + 0.3
    layout = lay_out_around(graph, fresh, kept, x, y)
    if layout is None:
        assert stretch < 1
        return
    np.testing.assert_array_equal(layout.x[kept], x)
    np.testing.assert_array_equal(layout.y[kept], y)
    assert overlaps(layout) <= 1e-12


def test_places_that_are_too_narrow_are_given_up():
    graph = random_graph(0, 20, 4, 20)
    fresh = lay_out(graph)
    places = np.zeros(5), np.linspace(0, 1e-6, 5)
    assert lay_out_around(graph, fresh, np.arange(5), *places) is None


@given(st.lists(st.integers(-5, 5), min_size=1, max_size=30))
def test_spread_is_the_nearest_order_with_gaps(wanted):
    """scikit-learn's isotonic regression of what is left without the gaps."""
    wanted = np.sort(np.array(wanted, dtype=float))
    steps = np.arange(len(wanted))
    expected = isotonic_regression(wanted - steps) + steps
    np.testing.assert_allclose(module._spread(wanted), expected, atol=1e-9)


def test_a_chain_is_a_straight_line():
    n = 30
    chain = SimpleNamespace(
        interval=np.arange(n), n_intervals=n, n_nodes=n, size=np.full(n, 5),
        edges=np.column_stack([np.arange(n - 1), np.arange(1, n)]),
    )  # fmt: skip
    assert np.ptp(lay_out(chain).y) < lay_out(chain).radius[0] * n / 4


def test_branches_do_not_cross():
    """A trunk that splits into two chains."""
    edges = [(0, 1), (1, 2), (1, 3), (2, 4), (3, 5), (4, 6), (5, 7)]
    graph = SimpleNamespace(
        interval=np.array([0, 1, 2, 2, 3, 3, 4, 4]), n_intervals=5, n_nodes=8,
        size=np.full(8, 5), edges=np.array(edges),
    )  # fmt: skip
    y = lay_out(graph).y
    assert len(set(np.sign(y[[2, 4, 6]] - y[[3, 5, 7]]))) == 1


def test_compiled_and_python_agree(monkeypatch):
    graph = random_graph(3, 25, 6, 25)
    compiled = lay_out(graph)
    kept = np.arange(0, 25, 2)
    places = compiled.x[kept], compiled.y[kept] * 1.2
    around = lay_out_around(graph, compiled, kept, *places)
    for name in (
        "_arrange", "_spread", "_separate", "_push_up", "_outline", "_bin",
        "_largest_scale", "_follow",
    ):  # fmt: skip
        monkeypatch.setattr(module, name, getattr(module, name).py_func)
    for mine, theirs in (
        (lay_out(graph), compiled),
        (lay_out_around(graph, compiled, kept, *places), around),
    ):
        np.testing.assert_allclose(mine.x, theirs.x, atol=1e-12)
        np.testing.assert_allclose(mine.y, theirs.y, atol=1e-12)


@pytest.mark.parametrize("n_nodes", [0, 1])
def test_almost_nothing(n_nodes):
    layout = lay_out(random_graph(0, n_nodes, 5, 0))
    assert len(layout.x) == n_nodes
