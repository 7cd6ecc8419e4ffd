"""Nodes that persist keep number and place."""

from dataclasses import replace

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from robustkit.explorer._graphs import Graphs
from robustkit.explorer._persistence import matching_nodes, next_picture
from tests.explorer.test_graphs import BASE


def members(graph):
    return [set(graph.samples_of([j]).tolist()) for j in range(graph.n_nodes)]


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
def test_one_number_is_one_place(graphs, path):
    picture, places = None, {}
    for p in path:
        before, picture = picture, next_picture(graphs.compute(p), picture)
        layout = picture.layout
        assert len(set(picture.ids)) == picture.graph.n_nodes
        for i, *place in zip(picture.ids, layout.x, layout.y, strict=True):
            if before is not None and i in before.ids:
                assert tuple(place) == places[i]
            else:
                # A number is never given to another node.
                assert i not in places
            places[i] = tuple(place)


@given(st.lists(parameters, min_size=1, max_size=4))
def test_a_link_shows_the_nodes_as_large_as_they_were(graphs, path):
    picture = None
    for p in path:
        picture = next_picture(graphs.compute(p), picture)
    layout = picture.layout
    linked = next_picture(picture.graph, places=(layout.x, layout.y)).layout
    np.testing.assert_allclose(linked.radius, layout.radius, rtol=1e-6)


def test_a_small_change_moves_little(graphs):
    before = next_picture(graphs.compute(BASE))
    after = next_picture(graphs.compute(replace(BASE, eps=2.02)), before)
    assert np.isin(after.ids, before.ids).mean() > 0.5


def test_the_same_path_leads_to_the_same_picture(run):
    def walk():
        graphs, picture = Graphs(run), None
        for eps in (2.0, 1.8, 2.1):
            picture = next_picture(graphs.compute(replace(BASE, eps=eps)), picture)
        return picture

    one, other = walk(), walk()
    np.testing.assert_array_equal(one.ids, other.ids)
    np.testing.assert_array_equal(one.layout.y, other.layout.y)


def test_another_filter_or_cover_is_placed_anew(graphs):
    before = next_picture(graphs.compute(BASE))
    for changes in ({"filter": "pca"}, {"cover": "balanced"}):
        after = next_picture(graphs.compute(replace(BASE, **changes)), before)
        assert not np.isin(after.ids, before.ids).any()


def test_a_link_brings_places_along(graphs):
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
