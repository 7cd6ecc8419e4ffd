"""Layouts: discs that do not overlap, always the same; nodes that persist stay."""

from dataclasses import replace
from itertools import combinations
from types import SimpleNamespace
from unittest import mock

import networkx as nx
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.isotonic import isotonic_regression

from robustkit.explorer import _layout as module
from robustkit.explorer._graphs import Graphs
from robustkit.explorer._layout import (
    lay_out,
    lay_out_around,
    matching_nodes,
    next_picture,
    picture_beside,
)
from tests.explorer.conftest import samples_of
from tests.explorer.test_graphs import BASE


def random_graph(seed, n_nodes, n_intervals, n_edges):
    """Nodes in intervals; edges join nodes of different ones."""
    rng = np.random.RandomState(seed)
    interval = np.sort(rng.randint(n_intervals, size=n_nodes))
    pairs = rng.randint(max(n_nodes, 1), size=(n_edges if n_nodes else 0, 2))
    pairs = np.unique(np.sort(pairs, axis=1), axis=0)
    pairs = pairs[interval[pairs[:, 0]] != interval[pairs[:, 1]]]
    return SimpleNamespace(
        second_interval=None,
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


def components_of(graph):
    plain = nx.Graph()
    plain.add_nodes_from(range(graph.n_nodes))
    plain.add_edges_from(map(tuple, graph.edges))
    return [sorted(nodes) for nodes in nx.connected_components(plain)]


@given(graphs)
def test_horizontal_position_within_a_component_shows_the_interval(graph):
    x, spacings = lay_out(graph).x, []
    for nodes in components_of(graph):
        along = graph.interval[nodes] - graph.interval[nodes[0]]
        apart = x[nodes] - x[nodes[0]]
        np.testing.assert_allclose(apart[along == 0], 0, atol=1e-12)
        spacings += (apart[along != 0] / along[along != 0]).tolist()
    # One interval is as wide in all components.
    assert np.ptp(spacings or [0]) < 1e-9


@given(st.integers(1, 20), st.integers(2, 300), st.integers(0, 2**32 - 1))
def test_isolated_nodes_fill_the_canvas(n_intervals, n_nodes, seed):
    """They lie in rows, wherever on the filter they are."""
    layout = lay_out(random_graph(seed, n_nodes, n_intervals, 0))
    side = np.sqrt(n_nodes) * layout.unit
    assert np.ptp(layout.x) < 1.3 * side + layout.unit
    assert np.ptp(layout.y) < 1.3 * side + layout.unit


def test_isolated_nodes_lie_beside_what_is_large():
    """One chain that is high, and room to the right of it."""
    edges = [(i, j) for i in range(0, 40, 8) for j in range(40, 80)]
    graph = SimpleNamespace(
        second_interval=None,
        interval=np.repeat([0, 1, 7], [40, 40, 20]), n_intervals=8, n_nodes=100,
        size=np.full(100, 5), edges=np.array(edges),
    )  # fmt: skip
    layout, (large, *_) = lay_out(graph), components_of(graph)
    alone = np.setdiff1d(np.arange(100), large)
    assert layout.y[alone].max() <= layout.y[large].max() + layout.unit


@given(graphs)
def test_the_same_graph_has_the_same_layout(graph):
    one, other = lay_out(graph), lay_out(graph)
    for name in ("x", "y", "radius"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name))


def height_and_length(graph, layout):
    """How high a layout is, and how long its edges are together."""
    ends = [np.column_stack([layout.x, layout.y])[side] for side in graph.edges.T]
    length = np.linalg.norm(ends[0] - ends[1], axis=1).sum()
    return np.array([np.ptp(layout.y), length])


def crowding(x, y, radius):
    """By how much the discs must shrink at these places, at most by nothing."""
    pairs = combinations(range(len(x)), 2)
    return min(
        (
            np.hypot(x[i] - x[j], y[i] - y[j]) / (radius[i] + radius[j])
            for i, j in pairs
        ),
        default=1,
    )


@given(graphs, st.integers(0, 2**32 - 1), st.floats(0.5, 3))
def test_kept_nodes_keep_their_positions(graph, seed, stretch):
    """Unless the discs became too small, the layout too high, or its edges too long."""
    fresh = lay_out(graph)
    rng = np.random.RandomState(seed)
    kept = np.flatnonzero(rng.rand(graph.n_nodes) < 0.5)
    if len(kept) == 0:
        return
    x, y = fresh.x[kept], fresh.y[kept] * stretch + 0.3
    layout = lay_out_around(graph, fresh, kept, x, y)
    with mock.patch.object(module, "_MOST_GROWTH", 1e9):
        unbound = lay_out_around(graph, fresh, kept, x, y)
    if unbound is None:
        assert layout is None
        assert crowding(x, y, fresh.radius[kept]) < module._SMALLEST_SCALE
        return
    np.testing.assert_array_equal(unbound.x[kept], x)
    np.testing.assert_array_equal(unbound.y[kept], y)
    assert overlaps(unbound) <= 1e-12
    most = height_and_length(graph, fresh)
    most[0] = max(most[0], fresh.unit)
    most = module._MOST_GROWTH * most + 1e-12
    assert (layout is None) == (height_and_length(graph, unbound) > most).any()
    if layout is not None:
        np.testing.assert_array_equal(layout.x, unbound.x)
        np.testing.assert_array_equal(layout.y, unbound.y)


def test_most_graphs_are_laid_out_around_nodes_in_their_own_places():
    n_kept = 0
    for seed in range(40):
        graph = random_graph(seed, 30, 8, 30)
        fresh, kept = lay_out(graph), np.arange(seed % 2, 30, 2)
        places = fresh.x[kept], fresh.y[kept]
        n_kept += lay_out_around(graph, fresh, kept, *places) is not None
    assert n_kept > 30


def test_layout_around_is_none_without_enough_space():
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
        second_interval=None,
        interval=np.arange(n), n_intervals=n, n_nodes=n, size=np.full(n, 5),
        edges=np.column_stack([np.arange(n - 1), np.arange(1, n)]),
    )  # fmt: skip
    assert np.ptp(lay_out(chain).y) < lay_out(chain).radius[0] * n / 4


def test_branches_do_not_cross():
    """A trunk that splits into two chains."""
    edges = [(0, 1), (1, 2), (1, 3), (2, 4), (3, 5), (4, 6), (5, 7)]
    graph = SimpleNamespace(
        second_interval=None,
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
def test_layout_of_tiny_graphs(n_nodes):
    layout = lay_out(random_graph(0, n_nodes, 5, 0))
    assert len(layout.x) == n_nodes


def members(graph):
    return [set(samples_of(graph, [j]).tolist()) for j in range(graph.n_nodes)]


def jaccard(a, b):
    return len(a & b) / len(a | b)


parameters = st.builds(
    replace,
    st.just(BASE),
    n_intervals=st.sampled_from([6, 8, 9]),
    overlap=st.sampled_from([0.2, 0.35, 0.8]),
    eps=st.sampled_from([1.6, 2.0, 2.2]),
    min_samples=st.sampled_from([2, 3, 4]),
    view=st.sampled_from([0, 1]),
)


@given(one=parameters, other=parameters)
def test_pairs_share_more_than_half_of_their_samples(graphs, one, other):
    old, new = graphs.compute(one), graphs.compute(other)
    pairs = list(zip(*matching_nodes(old, new), strict=True))
    overlap = [[jaccard(a, b) for b in members(new)] for a in members(old)]
    overlap = np.array(overlap).reshape(old.n_nodes, new.n_nodes)
    assert all(overlap[i, j] > 0.5 for i, j in pairs)
    for side in zip(*pairs, strict=True):
        assert len(set(side)) == len(side)
    # No pair is left out: every other match would break one that shares no less.
    for i, j in np.argwhere(overlap > 0.5):
        assert any(
            (i == a or j == b) and overlap[a, b] >= overlap[i, j] for a, b in pairs
        )


def test_a_graph_is_matched_with_itself(graphs):
    graph = graphs.compute(BASE)
    old, new = matching_nodes(graph, graph)
    np.testing.assert_array_equal(old, new)
    assert len(old) == graph.n_nodes


@given(st.lists(parameters, min_size=2, max_size=5))
def test_nodes_keep_their_numbers_and_positions(graphs, path):
    """All positions stay, or a layout that they would tear apart is computed anew."""
    picture, places = None, {}
    for p in path:
        before, picture = picture, next_picture(graphs.compute(p), picture)
        layout, fresh = picture.layout, lay_out(picture.graph)
        assert len(set(picture.ids)) == picture.graph.n_nodes
        is_fresh = np.array_equal(layout.x, fresh.x)
        for i, *place in zip(picture.ids, layout.x, layout.y, strict=True):
            if before is not None and i in before.ids:
                assert is_fresh or tuple(place) == places[i]
            else:
                # A number is never given to another node.
                assert i not in places
            places[i] = tuple(place)


def test_edges_that_would_become_long_are_laid_out_anew():
    """Two chains, joined by two edges; in their places, and in mixed ones."""
    chains = np.column_stack([np.arange(0, 22, 2), np.arange(2, 24, 2)])
    edges = np.concatenate([chains, chains + 1])
    apart, joined = (
        SimpleNamespace(
            second_interval=None,
        interval=np.repeat(np.arange(12), 2), n_intervals=12, n_nodes=24,
            size=np.full(24, 5), edges=np.concatenate([edges, *further]),
        )
        for further in ([], [[[0, 23]], [[1, 22]]])
    )  # fmt: skip
    before, fresh = lay_out(apart), lay_out(joined)
    kept = np.arange(24)
    stay = lay_out_around(joined, fresh, kept, before.x, before.y)
    assert stay is not None
    mixed = np.random.RandomState(0).permutation(24)
    places = before.x[mixed], before.y[mixed]
    assert lay_out_around(joined, fresh, kept, *places) is None


@given(st.lists(parameters, min_size=1, max_size=4))
def test_a_link_shows_the_nodes_as_large_as_they_were(graphs, path):
    picture = None
    for p in path:
        picture = next_picture(graphs.compute(p), picture)
    layout = picture.layout
    linked = next_picture(picture.graph, places=(layout.x, layout.y)).layout
    np.testing.assert_allclose(linked.radius, layout.radius, rtol=1e-6)


def test_small_parameter_change_keeps_most_nodes(graphs):
    before = next_picture(graphs.compute(BASE))
    after = next_picture(graphs.compute(replace(BASE, eps=2.02)), before)
    assert np.isin(after.ids, before.ids).mean() > 0.5
    assert keeps_places(before, after)


def keeps_places(before, after):
    """Whether all nodes that persist are where they were; some must."""
    _, old, new = np.intersect1d(before.ids, after.ids, return_indices=True)
    return len(old) > 0 and all(
        np.array_equal(
            getattr(before.layout, axis)[old], getattr(after.layout, axis)[new]
        )
        for axis in "xy"
    )


def test_most_changes_of_a_parameter_keep_the_places(graphs):
    before = next_picture(graphs.compute(BASE))
    changes = [
        {"n_intervals": 9}, {"overlap": 0.2}, {"overlap": 0.35}, {"overlap": 0.8},
        {"eps": 1.6}, {"eps": 2.2}, {"min_samples": 2}, {"min_samples": 4}, {"view": 1},
    ]  # fmt: skip
    n_kept = sum(
        keeps_places(
            before, next_picture(graphs.compute(replace(BASE, **change)), before)
        )
        for change in changes
    )
    assert n_kept >= 7


def test_the_same_path_leads_to_the_same_picture(run):
    def walk():
        graphs, picture = Graphs(run), None
        for eps in (2.0, 1.8, 2.1):
            picture = next_picture(graphs.compute(replace(BASE, eps=eps)), picture)
        return picture

    one, other = walk(), walk()
    np.testing.assert_array_equal(one.ids, other.ids)
    np.testing.assert_array_equal(one.layout.y, other.layout.y)


def test_another_filter_or_cover_gets_a_new_layout(graphs):
    before = next_picture(graphs.compute(BASE))
    for changes in ({"filter": "pca"}, {"cover": "balanced"}):
        after = next_picture(graphs.compute(replace(BASE, **changes)), before)
        assert not np.isin(after.ids, before.ids).any()


def test_link_restores_node_positions(graphs):
    """The graphs after it go on from there, as they do from any other."""
    graph = graphs.compute(BASE)
    own = next_picture(graph)
    x, y = own.layout.x[::-1], own.layout.y[::-1] + 1
    linked = next_picture(graph, places=(x.tolist(), y.tolist()))
    np.testing.assert_array_equal(linked.layout.x, x)
    np.testing.assert_array_equal(linked.layout.y, y)
    np.testing.assert_array_equal(linked.ids, own.ids)
    for places in (([], []), (x.tolist(), [0.0])):
        other = next_picture(graph, places=places)
        np.testing.assert_array_equal(other.layout.x, own.layout.x)


@pytest.fixture(scope="module")
def levels(run):
    """The graphs of one model without and with an attack."""
    graphs = Graphs(run)
    return [graphs.compute(replace(BASE, view=view)) for view in (0, 1)]


def test_matched_nodes_of_two_levels_have_one_number_and_one_place(levels, run):
    clean, attacked = levels
    left = next_picture(clean)
    right = picture_beside(attacked, left)
    beside = right.beside
    assert beside.other is clean
    assert len(beside.nodes) == len(beside.other_nodes) > 0.5 * attacked.n_nodes
    assert len(set(beside.nodes)) == len(set(beside.other_nodes)) == len(beside.nodes)
    np.testing.assert_array_equal(right.ids[beside.nodes], left.ids[beside.other_nodes])
    # All others have numbers that no node of either graph has.
    others = np.delete(right.ids, beside.nodes)
    assert len(set(right.ids)) == attacked.n_nodes
    assert not set(others) & set(left.ids)
    shared = [
        np.intersect1d(samples_of(clean, [i]), samples_of(attacked, [j])).size
        for i, j in zip(beside.other_nodes, beside.nodes, strict=True)
    ]
    assert min(shared) > 0
    assert overlaps(right.layout) <= 1e-12


def test_a_graph_beside_itself_is_the_same_picture(levels):
    left = next_picture(levels[0])
    right = picture_beside(levels[0], left)
    np.testing.assert_array_equal(right.ids, left.ids)
    np.testing.assert_allclose(right.layout.x, left.layout.x)
    np.testing.assert_allclose(right.layout.y, left.layout.y)


def test_along_another_filter_matched_nodes_have_places_of_their_own(levels, run):
    """There, a horizontal position means something else."""
    other = Graphs(run).compute(replace(BASE, filter="pca"))
    picture = picture_beside(other, next_picture(levels[0]))
    assert len(picture.beside.nodes) > 0
    np.testing.assert_array_equal(picture.layout.x, lay_out(other).x)


def test_an_empty_graph_has_no_matches(levels, run):
    empty = Graphs(run).compute(replace(BASE, eps=1e-9))
    assert empty.n_nodes == 0
    for graph, other in ((empty, levels[0]), (levels[0], empty)):
        picture = picture_beside(graph, next_picture(other))
        assert len(picture.beside.nodes) == 0
        assert len(set(picture.ids)) == graph.n_nodes
