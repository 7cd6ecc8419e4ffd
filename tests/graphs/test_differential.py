"""Graphs of any kind against networkx, and generators against what they promise."""

from math import comb

import networkx as nx
import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st

from robustkit.graphs import GraphPrior, LayeredGraph, graph_properties
from robustkit.graphs._generators import GENERATORS
from tests.graphs.networkx_reference import along_the_index, networkx_properties
from tests.graphs.test_properties import assert_equal
from tests.strategies import seeds

directions = st.booleans()


@st.composite
def any_graphs(draw, max_nodes=9):
    """Directed or not, with cycles or not, names and order of any kind."""
    n_nodes = draw(st.integers(1, max_nodes))
    place = st.integers(0, n_nodes - 1)
    pairs = draw(st.lists(st.tuples(place, place), max_size=4 * n_nodes))
    kind = draw(st.sampled_from([nx.Graph, nx.DiGraph]))
    names = draw(st.permutations([*range(0, -5, -1), "a", "Ω", (1, 2), frozenset()]))
    graph = kind()
    graph.add_nodes_from(names[:n_nodes])
    graph.add_edges_from((names[u], names[v]) for u, v in pairs if u != v)
    return graph


@given(any_graphs(), directions)
def test_graph_properties_of_any_graph_equal_networkx(graph, directed):
    by_index = nx.convert_node_labels_to_integers(graph)
    reference = networkx_properties(by_index, directed=directed)
    assert_equal(graph_properties(graph, directed=directed), reference)


@settings(max_examples=10)
@given(n_nodes=st.integers(60, 200), degree=st.floats(0.5, 6), seed=seeds)
def test_graph_properties_of_more_than_64_vertices(n_nodes, degree, seed):
    graph = nx.fast_gnp_random_graph(n_nodes, degree / n_nodes, seed=seed)
    for directed in (False, True):
        reference = networkx_properties(graph, directed=directed)
        assert_equal(graph_properties(graph, directed=directed), reference)


@given(any_graphs())
def test_from_networkx_keeps_edges_or_names_a_cycle(graph):
    if graph.is_directed() and not nx.is_directed_acyclic_graph(graph):
        with pytest.raises(ValueError, match="must be acyclic, but holds the cycle"):
            LayeredGraph.from_networkx(graph)
        return
    layered = LayeredGraph.from_networkx(graph)
    digraph = graph if graph.is_directed() else along_the_index_of(graph)
    edges = {(layered.labels[u], layered.labels[v]) for u, v in layered.edges.T}
    assert edges == set(digraph.edges)
    assert set(layered.labels) == set(graph)
    for depth, names in enumerate(nx.topological_generations(digraph)):
        found = [layered.labels[v] for v in np.flatnonzero(layered.layer == depth)]
        assert found == [name for name in graph if name in set(names)]


def along_the_index_of(graph):
    """Direct every edge from the vertex that comes first."""
    names = list(graph)
    digraph = along_the_index(nx.convert_node_labels_to_integers(graph))
    return nx.relabel_nodes(digraph, dict(enumerate(names)))


@given(any_graphs(), st.sampled_from(["csr", "csc", "coo", "lil", "dok", "array"]))
def test_from_adjacency_means_what_networkx_means(graph, form):
    """It is directed only if some edge is one-way."""
    graph = nx.convert_node_labels_to_integers(graph)
    A = nx.to_numpy_array(graph) * -0.5
    A = A if form == "array" else sp.coo_array(A).asformat(form)
    is_one_way = graph.is_directed() and any(
        not graph.has_edge(v, u) for u, v in graph.edges
    )
    expected = graph if is_one_way else nx.Graph(graph)
    if is_one_way and not nx.is_directed_acyclic_graph(graph):
        with pytest.raises(ValueError, match="must be acyclic"):
            LayeredGraph.from_adjacency(A)
        return
    found = LayeredGraph.from_adjacency(A)
    assert found == LayeredGraph.from_networkx(expected)
    assert LayeredGraph.from_networkx(found.to_networkx()) == found
    again = nx.to_scipy_sparse_array(found.to_networkx())
    if found.n_edges:
        assert LayeredGraph.from_adjacency(again) == found


def test_sparse_entries_that_sum_to_zero_are_no_edge():
    """A matrix may hold one place twice, and is their sum."""
    parts = np.array([1.0, -1.0, 2.0]), np.array([1, 1, 2]), np.array([0, 3, 3, 3])
    A = sp.csr_array(parts, shape=(3, 3))
    assert LayeredGraph.from_adjacency(A).edges.tolist() == [[0], [2]]


def expected_small_world(n_nodes, n_neighbors, rewiring):
    """The chance of every edge, if both ends of every edge move independently."""
    missing = np.ones((n_nodes, n_nodes))
    for u in range(n_nodes):
        for step in range(1, n_neighbors + 1):
            ends = np.full((2, n_nodes), rewiring / n_nodes)
            ends[0, u] += 1 - rewiring
            ends[1, (u + step) % n_nodes] += 1 - rewiring
            there = np.outer(*ends)
            missing *= 1 - there - there.T
    np.fill_diagonal(missing, 1)
    return 1 - missing


@pytest.mark.parametrize("rewiring", [0.0, 0.1, 0.5, 1.0])
def test_watts_strogatz_edge_probabilities_are_exact(rewiring):
    """Every edge comes with its exact chance, within five standard deviations."""
    function, _ = GENERATORS["watts_strogatz"]
    rng, n_draws = np.random.RandomState(0), 1500
    found = np.zeros((11, 11))
    for _ in range(n_draws):
        u, v = function(11, rng, n_neighbors=2, rewiring=rewiring)
        drawn = np.zeros((11, 11), dtype=bool)
        drawn[u, v] = drawn[v, u] = True
        found += drawn / n_draws
    expected = expected_small_world(11, 2, rewiring)
    deviation = np.sqrt(expected * (1 - expected) / n_draws)
    assert (np.abs(found - expected) <= 5 * deviation + 1e-12).all()


def test_barabasi_albert_prefers_high_degrees():
    """The mean degree of vertex v falls as 1 / sqrt(v), and not as log(1 / v)."""
    priors = [GraphPrior("barabasi_albert", n_nodes=200, n_attachments=2)] * 60
    degrees = np.zeros(200)
    for seed, prior in enumerate(priors):
        graph = prior.sample(seed)
        degrees[np.array(graph.labels)] += np.bincount(
            graph.edges.ravel(), minlength=200
        )
    early, late = degrees[10:20].mean() / 60, degrees[90:110].mean() / 60
    assert early / late == pytest.approx(np.sqrt(100 / 15), rel=0.15)


@pytest.mark.parametrize("n_blocks", [1, 3, 7])
@pytest.mark.parametrize("n_nodes", [7, 10])
def test_stochastic_blocks_are_ranges_of_nearly_equal_size(n_nodes, n_blocks):
    function, _ = GENERATORS["stochastic_block"]
    rng = np.random.RandomState(0)
    parameters = {"edge_probability": 1.0, "n_blocks": n_blocks, "rewiring": 0.0}
    graph = nx.empty_graph(n_nodes)
    graph.add_edges_from(function(n_nodes, rng, **parameters).T.tolist())
    blocks = [*nx.connected_components(graph)]
    assert len(blocks) == n_blocks
    assert all(max(block) - min(block) == len(block) - 1 for block in blocks)
    assert max(map(len, blocks)) - min(map(len, blocks)) <= 1


@pytest.mark.parametrize("n_nodes", [1, 2, 3, 5])
@pytest.mark.parametrize("name", ["erdos_renyi", "geometric", "stochastic_block"])
@pytest.mark.parametrize("probability", [0.0, 1.0])
def test_tiny_graphs_are_empty_or_complete(name, n_nodes, probability):
    prior = GraphPrior(name, n_nodes=n_nodes, edge_probability=probability, n_blocks=1)
    graph = prior.sample(0)
    assert graph.n_nodes == n_nodes
    assert graph.n_edges == (comb(n_nodes, 2) if probability else 0)


def test_smallest_ring_is_complete():
    for name in ("watts_strogatz", "watts_strogatz_networkx", "random_regular"):
        graph = GraphPrior(name, n_nodes=5, n_neighbors=2, rewiring=0.0).sample(0)
        assert graph.n_edges == 10
    graph = GraphPrior("barabasi_albert", n_nodes=3, n_attachments=2).sample(0)
    assert graph.n_edges == 2


@given(any_graphs(), st.integers(1, 7), st.integers(1, 4))
def test_n_parameters_equals_that_of_the_built_network(graph, n_features, n_outputs):
    networks = pytest.importorskip("robustkit.networks", reason="needs torch")
    if graph.is_directed() and not nx.is_directed_acyclic_graph(graph):
        graph = along_the_index_of(graph.to_undirected())
    layered = LayeredGraph.from_networkx(graph)
    network = networks.SparseNetwork(layered, n_features, n_outputs)
    n_parameters = sum(part.numel() for part in network.parameters())
    assert n_parameters == layered.n_parameters(n_features, n_outputs)
