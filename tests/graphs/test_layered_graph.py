"""A directed acyclic graph whose vertices stand in layers."""

import copy
import pickle
from itertools import pairwise

import networkx as nx
import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given
from hypothesis import strategies as st
from sklearn.base import clone

from robustkit.graphs import LayeredGraph, graph_properties
from tests.strategies import dag_edges, seeds, undirected_graphs

DIAMOND = LayeredGraph([[0, 0, 1, 2], [1, 2, 3, 3]], n_nodes=4)


@given(dag_edges())
def test_layered_graph_has_the_edges_given(graph):
    edges, n_nodes = graph
    layered = LayeredGraph(edges, n_nodes)
    named = {(layered.labels[u], layered.labels[v]) for u, v in layered.edges.T}
    assert named == set(zip(*edges, strict=True))
    assert layered.n_edges == layered.edges.shape[1] == len(named)
    assert sorted(layered.labels) == list(range(n_nodes))


@given(dag_edges())
def test_vertices_are_ordered_by_layer(graph):
    layered = LayeredGraph(*graph)
    source, target = layered.edges
    assert (source < target).all()
    assert (layered.layer[source] < layered.layer[target]).all()
    # Every vertex but a source has a predecessor in the layer before it.
    longest = np.zeros(layered.n_nodes, dtype=int)
    np.maximum.at(longest, target, layered.layer[source] + 1)
    np.testing.assert_array_equal(layered.layer, longest)
    assert (np.diff(layered.layer) >= 0).all()
    # Within a layer they keep the order in which they came.
    for start, stop in zip(
        layered.layer_offsets[:-1], layered.layer_offsets[1:], strict=True
    ):
        assert len({*layered.layer[start:stop].tolist()}) == 1
        assert list(layered.labels[start:stop]) == sorted(layered.labels[start:stop])


@given(dag_edges())
def test_counts_match_edges(graph):
    layered = LayeredGraph(*graph)
    digraph = layered.to_networkx()
    assert layered.sources.tolist() == [v for v, d in digraph.in_degree if d == 0]
    assert layered.sinks.tolist() == [v for v, d in digraph.out_degree if d == 0]
    assert layered.n_layers == nx.dag_longest_path_length(digraph) + 1
    assert layered.layer_offsets[0] == 0
    assert layered.layer_offsets[-1] == layered.n_nodes
    assert len(layered.layer_offsets) == layered.n_layers + 1


@given(dag_edges())
def test_edges_are_sorted_by_target_then_source(graph):
    edges = LayeredGraph(*graph).edges.T.tolist()
    assert edges == sorted(edges, key=lambda edge: edge[::-1])


@given(dag_edges(), st.data())
def test_order_and_repetition_of_edges_do_not_matter(graph, data):
    edges, n_nodes = graph
    pairs = list(zip(*edges, strict=True))
    again = data.draw(st.permutations(pairs + pairs[::2]))
    first = LayeredGraph(edges, n_nodes)
    second = LayeredGraph(np.array(again, dtype=int).reshape(-1, 2).T, n_nodes)
    assert first == second
    assert first.labels == second.labels


@given(dag_edges(), st.data())
def test_relabelling_changes_only_the_order(graph, data):
    edges, n_nodes = graph
    new = np.array(data.draw(st.permutations(range(n_nodes))))
    first = LayeredGraph(edges, n_nodes)
    second = LayeredGraph(new[np.array(edges, dtype=int)], n_nodes)
    # Follow every vertex by its label: it keeps its layer and its edges.
    place = {label: v for v, label in enumerate(second.labels)}
    moved = np.array([place[new[label]] for label in first.labels])
    np.testing.assert_array_equal(first.layer, second.layer[moved])
    assert {*map(tuple, moved[first.edges].T)} == {*map(tuple, second.edges.T)}
    assert first.n_parameters(5, 3) == second.n_parameters(5, 3)


@given(dag_edges())
def test_networkx_round_trip(graph):
    layered = LayeredGraph(*graph)
    digraph = layered.to_networkx()
    assert LayeredGraph.from_networkx(digraph) == layered
    assert list(digraph) == list(range(layered.n_nodes))
    assert [
        *nx.get_node_attributes(digraph, "layer").values()
    ] == layered.layer.tolist()
    assert tuple(nx.get_node_attributes(digraph, "label").values()) == layered.labels


@given(undirected_graphs())
def test_undirected_graph_is_oriented_by_index(graph):
    layered = LayeredGraph.from_networkx(graph)
    assert all(layered.labels[u] < layered.labels[v] for u, v in layered.edges.T)
    assert layered.n_edges == graph.number_of_edges()


@given(undirected_graphs())
def test_from_adjacency_equals_from_networkx(graph):
    layered = LayeredGraph.from_networkx(graph)
    dense = nx.to_numpy_array(graph)
    for A in (dense, dense.astype(bool), sp.csr_array(dense), sp.coo_matrix(dense)):
        assert LayeredGraph.from_adjacency(A) == layered


def test_upper_triangular_adjacency_is_a_directed_graph():
    A = nx.to_numpy_array(nx.petersen_graph())
    expected = LayeredGraph.from_adjacency(A)
    assert LayeredGraph.from_adjacency(np.triu(A)) == expected
    # The lower triangle points the other way, as networkx reads it.
    down = LayeredGraph.from_adjacency(np.tril(A))
    assert all(down.labels[u] > down.labels[v] for u, v in down.edges.T)


def test_explicit_zeros_of_a_sparse_matrix_are_no_edges():
    A = sp.csr_array(([0.0, 2.0], ([1, 0], [0, 1])), shape=(2, 2))
    assert LayeredGraph.from_adjacency(A).edges.tolist() == [[0], [1]]


@pytest.mark.parametrize("orientation", ["random", "degree"])
def test_orientation_reaches_every_constructor(orientation):
    graph = nx.star_graph(6)
    one = LayeredGraph.from_networkx(graph, orientation=orientation, random_state=1)
    A = nx.to_numpy_array(graph)
    other = LayeredGraph.from_adjacency(A, orientation=orientation, random_state=1)
    edges = np.array(graph.edges).T
    third = LayeredGraph.from_edges(edges, 7, orientation=orientation, random_state=1)
    assert one == other == third != LayeredGraph.from_networkx(graph)


def test_from_edges_counts_parallel_edges_once():
    """Else vertex 0 would have the higher degree, and the edge would point to it."""
    edges = [[0, 1, 1, 2], [1, 0, 2, 3]]
    graph = LayeredGraph.from_edges(edges, 4, orientation="degree", labels="abcd")
    assert graph == LayeredGraph([[0, 1, 3], [1, 2, 2]], 4)
    assert graph.labels == ("a", "d", "b", "c")


def test_from_edges_refuses_a_self_loop():
    with pytest.raises(ValueError, match="holds the cycle 1 -> 1"):
        LayeredGraph.from_edges([[0, 1], [1, 1]], 2)


def test_directions_of_a_directed_graph_are_kept():
    graph = nx.DiGraph([(2, 1), (1, 0)])
    layered = LayeredGraph.from_networkx(graph, orientation="random")
    assert layered.labels == (2, 1, 0)


def test_labels_are_the_vertices_of_networkx():
    layered = LayeredGraph.from_networkx(nx.DiGraph([("ear", "eye"), ("tip", "ear")]))
    assert layered.labels == ("tip", "ear", "eye")


def test_layered_graph_of_a_long_chain():
    layered = LayeredGraph.from_networkx(nx.path_graph(3000))
    assert layered.n_layers == 3000
    assert layered.sources.tolist() == [0]
    assert layered.sinks.tolist() == [2999]


def test_isolated_vertex_is_source_and_sink():
    layered = LayeredGraph([[0], [1]], n_nodes=3)
    assert layered.labels == (0, 2, 1)
    assert layered.sources.tolist() == [0, 1]
    assert layered.sinks.tolist() == [1, 2]


def test_n_parameters_counts_weights_and_biases():
    # 7 features into 1 source, 4 edges, 1 sink into 3 outputs, 4 + 3 biases.
    assert DIAMOND.n_parameters(7, 3) == 7 + 4 + 3 + 7


def test_properties_equal_graph_properties():
    for directed in (False, True):
        expected = graph_properties(DIAMOND, directed=directed)
        assert DIAMOND.properties(directed=directed).equals(expected)
    assert DIAMOND.properties().equals(graph_properties(DIAMOND))


@given(dag_edges(), dag_edges())
def test_equality_compares_vertices_and_edges(one, other):
    first, second = LayeredGraph(*one), LayeredGraph(*other)
    same = first.n_nodes == second.n_nodes and (
        first.edges.tolist() == second.edges.tolist()
    )
    assert (first == second) == same
    if same:
        assert hash(first) == hash(second)


def test_equality_ignores_labels():
    named = LayeredGraph([[0, 0, 1, 2], [1, 2, 3, 3]], 4, labels="abcd")
    assert named == DIAMOND
    assert hash(named) == hash(DIAMOND)
    assert named != "abcd"


@pytest.mark.parametrize(
    "copied", [copy.copy, copy.deepcopy, lambda g: pickle.loads(pickle.dumps(g))]
)
def test_layered_graph_survives_copy_and_pickle(copied):
    again = copied(LayeredGraph([[3, 1], [1, 0]], 4, labels="abcd"))
    assert again == LayeredGraph([[3, 1], [1, 0]], 4)
    assert again.labels == tuple("cdba")


def test_layered_graph_as_estimator_parameter():
    assert clone(DIAMOND, safe=False) is DIAMOND


def test_layered_graph_is_immutable():
    with pytest.raises(AttributeError, match="never changes: cannot set 'edges'"):
        DIAMOND.edges = None
    with pytest.raises(AttributeError, match="never changes: cannot delete 'layer'"):
        del DIAMOND.layer
    for name in ("edges", "layer", "layer_offsets", "sources", "sinks"):
        with pytest.raises(ValueError, match="read-only"):
            getattr(DIAMOND, name)[...] = 0


def test_layered_graph_copies_the_edges_given():
    edges = np.array([[0], [1]])
    layered = LayeredGraph(edges, 2)
    edges[:] = 0
    assert layered.edges.tolist() == [[0], [1]]


@pytest.mark.parametrize("dtype", [np.int8, np.uint8, np.int64, np.uint64])
def test_edges_of_any_integer_dtype(dtype):
    """Products of vertices must not overflow in a small one."""
    n_nodes = 120
    steps = np.arange(n_nodes - 1, dtype=dtype)
    layered = LayeredGraph(np.stack([steps, steps + 1]), n_nodes)
    assert layered == LayeredGraph.from_networkx(nx.path_graph(n_nodes))


def test_graph_of_one_vertex():
    layered = LayeredGraph([[], []], np.int64(1))
    assert (layered.n_nodes, layered.n_edges, layered.n_layers) == (1, 0, 1)
    assert type(layered.n_nodes) is int
    assert layered.sources.tolist() == layered.sinks.tolist() == [0]
    assert layered.layer_offsets.tolist() == [0, 1]


def test_repr_of_layered_graph():
    assert repr(DIAMOND) == "LayeredGraph(n_nodes=4, n_edges=4, n_layers=3)"


@given(dag_edges(), seeds)
def test_cycle_raises_and_is_named(graph, seed):
    edges, n_nodes = graph
    rng = np.random.RandomState(seed)
    ring = rng.permutation(n_nodes)[: rng.randint(1, n_nodes + 1)]
    edges = np.hstack([np.array(edges, dtype=int), [ring, np.roll(ring, -1)]])
    with pytest.raises(ValueError, match="acyclic, but holds the cycle") as caught:
        LayeredGraph(edges, n_nodes)
    cycle = str(caught.value)[:-1].partition("the cycle ")[2]
    named = [int(vertex) for vertex in cycle.split(" -> ")]
    assert named[0] == named[-1]
    assert set(pairwise(named)) <= set(zip(*edges, strict=True))


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (([], 0), ValueError, "needs at least one vertex. Got n_nodes=0"),
        (([], 2.5), TypeError, "n_nodes must be an int. Got 2.5"),
        (
            ([[0, 1, 2]], 3),
            ValueError,
            r"shape \(2, n_edges\).* \(1, 3\)",
        ),
        (([0, 1], 3), ValueError, r"shape \(2, n_edges\).* \(2,\)"),
        ((np.zeros((3, 2), int), 3), ValueError, r"shape \(2, n_edges\).* \(3, 2\)"),
        ((np.zeros((2, 1, 1), int), 3), ValueError, r"shape \(2, n.* \(2, 1, 1\)"),
        (([[True], [False]], 2), TypeError, "must be integers. Got the dtype bool"),
        (([], -1), ValueError, "needs at least one vertex. Got n_nodes=-1"),
        (([], 2, "a"), ValueError, "each of the 2 vertices. Got 1 names"),
        (([[0.0], [1.0]], 2), TypeError, "must be integers. Got the dtype float64"),
        (([[0], [2]], 2), ValueError, "from 0 to 1. Got values from 0 to 2"),
        (([[-1], [1]], 2), ValueError, "from 0 to 1. Got values from -1 to 1"),
        (([], 2, "abc"), ValueError, "each of the 2 vertices. Got 3 names"),
        (([[0], [0]], 1), ValueError, "holds the cycle 0 -> 0"),
    ],
)
def test_invalid_edges_raise(arguments, error, message):
    with pytest.raises(error, match=message):
        LayeredGraph(*arguments)


@pytest.mark.parametrize(
    ("A", "message"),
    [
        (np.zeros((2, 3)), r"A must be square. Got the shape \(2, 3\)"),
        (np.zeros((0, 0)), "0 sample"),
        (np.eye(2), "holds the cycle 0 -> 0"),
        ([[0, 1, 0], [0, 0, 1], [1, 0, 0]], "acyclic, but holds the cycle"),
        ([[0, np.nan], [0, 0]], "A contains NaN"),
        ([0, 1], "Expected 2D array"),
    ],
)
def test_invalid_adjacency_raises(A, message):
    with pytest.raises(ValueError, match=message):
        LayeredGraph.from_adjacency(A)
