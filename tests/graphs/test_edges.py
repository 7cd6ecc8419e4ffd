"""Edges as arrays: read from networkx, directed and layered."""

import networkx as nx
import numpy as np
import pytest
from hypothesis import given

from robustkit.graphs import LayeredGraph, graph_properties
from robustkit.graphs._edges import (
    ORIENTATIONS,
    edges_of_networkx,
    longest_path_layers,
    orient,
)
from tests.strategies import dag_edges, seeds, undirected_graphs


def test_vertex_index_is_its_position_in_networkx_graph():
    graph = nx.Graph([("b", "a"), ("c", "a")])
    edges, labels = edges_of_networkx(graph)
    assert labels == ("b", "a", "c")
    assert edges.T.tolist() == [[0, 1], [1, 2]]


@pytest.mark.parametrize("function", [LayeredGraph.from_networkx, graph_properties])
@pytest.mark.parametrize(
    ("graph", "error", "message"),
    [
        ("ring", TypeError, "must be a networkx graph. Got 'ring'"),
        (nx.Graph(), ValueError, "needs at least one vertex. Got an empty graph"),
        (nx.MultiGraph([(0, 1)]), ValueError, "must not be a multigraph"),
        (nx.MultiDiGraph([(0, 1)]), ValueError, "must not be a multigraph"),
        (nx.Graph([(0, 1), ("x", "x")]), ValueError, "no self-loops.* at vertex 'x'"),
        (nx.DiGraph([(7, 8), (8, 8), (9, 9)]), ValueError, "no self-l.* at vertex 8;"),
    ],
)
def test_invalid_networkx_graphs_raise(function, graph, error, message):
    with pytest.raises(error, match=message):
        function(graph)


def test_removing_self_loops_as_advised_works():
    graph = nx.Graph([(0, 1), (1, 1)])
    graph.remove_edges_from(list(nx.selfloop_edges(graph)))
    assert edges_of_networkx(graph)[0].tolist() == [[0], [1]]


def layers_by_definition(edges, n_nodes):
    """0 without predecessors, else one more than the largest of theirs."""
    pairs = list(zip(*edges, strict=True))

    def layer(v):
        return 1 + max((layer(u) for u, w in pairs if w == v), default=-1)

    return [layer(v) for v in range(n_nodes)]


@given(dag_edges())
def test_longest_path_layers_match_definition(graph):
    edges, n_nodes = graph
    layers = longest_path_layers(np.array(edges, dtype=int), n_nodes)
    assert layers.tolist() == layers_by_definition(edges, n_nodes)


@pytest.mark.parametrize("backwards", [False, True])
def test_longest_path_layers_of_long_chain_need_no_recursion(backwards):
    edges = np.stack([np.arange(4999), np.arange(1, 5000)])
    expected = np.arange(5000)
    if backwards:
        edges, expected = 4999 - edges, expected[::-1]
    np.testing.assert_array_equal(longest_path_layers(edges, 5000), expected)


def test_vertices_on_or_behind_a_cycle_have_no_layer():
    edges = np.array([[0, 1, 2, 3, 3], [1, 2, 3, 1, 4]])
    assert longest_path_layers(edges, 6).tolist() == [0, -1, -1, -1, -1, 0]


@pytest.mark.parametrize("orientation", ORIENTATIONS)
@given(graph=undirected_graphs(), seed=seeds)
def test_orient_keeps_edges_and_leaves_no_cycle(orientation, graph, seed):
    edges = np.array(list(graph.edges), dtype=int).reshape(-1, 2).T
    oriented = orient(edges, len(graph), orientation, seed)
    assert longest_path_layers(oriented, len(graph)).min() >= 0
    assert set(map(frozenset, oriented.T.tolist())) == set(map(frozenset, graph.edges))


def test_orient_by_index():
    edges = np.array([[3, 0, 2], [1, 2, 1]])
    assert orient(edges, 4, "index").T.tolist() == [[1, 3], [0, 2], [1, 2]]


def test_orient_by_degree_then_index():
    # A star around 0, and an edge between two vertices of equal degree.
    edges = np.array(
        [
            [0, 0, 0, 3],
            [1, 2, 3, 4],
        ]
    )
    assert orient(edges, 5, "degree").T.tolist() == [[1, 0], [2, 0], [3, 0], [4, 3]]
    assert orient(np.array([[1], [0]]), 2, "degree").T.tolist() == [[0, 1]]


def test_orient_at_random_depends_on_seed():
    edges = np.array(nx.complete_graph(6).edges).T
    drawn = [orient(edges, 6, "random", seed).tolist() for seed in (0, 0, 1)]
    assert drawn[0] == drawn[1] != drawn[2]


def test_orient_at_random_is_unbiased():
    edge = np.array([[0], [1]])
    climbs = [orient(edge, 2, "random", seed)[0, 0] == 0 for seed in range(200)]
    # Five standard deviations around one half.
    assert abs(np.mean(climbs) - 0.5) < 5 * 0.5 / np.sqrt(200)


def test_unknown_orientation_raises():
    with pytest.raises(ValueError, match=r"must be one of .* did you mean 'index'"):
        orient(np.empty((2, 0), dtype=int), 1, "indx")
