"""Measures of a graph, by the names and with the values of networkx."""

import networkx as nx
import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from robustkit.graphs import LayeredGraph, _properties, graph_properties
from robustkit.graphs._properties import distance_sums
from tests.graphs.networkx_reference import networkx_properties
from tests.strategies import dag_edges, seeds, undirected_graphs

NAMES = [
    "n_nodes",
    "n_edges",
    "density",
    "n_components",
    "average_path_length",
    "diameter",
    "radius",
    "average_eccentricity",
    "average_betweenness",
    "average_edge_betweenness",
    "average_closeness",
    "average_clustering",
    "degree_mean",
    "degree_std",
    "degree_min",
    "degree_max",
    "assortativity",
    "n_layers",
    "n_sources",
    "n_sinks",
]

SHAPES = {
    "one vertex": nx.empty_graph(1),
    "two vertices": nx.empty_graph(2),
    "one edge": nx.path_graph(2),
    "no edge": nx.empty_graph(5),
    "chain": nx.path_graph(30),
    "star": nx.star_graph(7),
    "complete": nx.complete_graph(6),
    "two rings": nx.disjoint_union(nx.cycle_graph(4), nx.cycle_graph(7)),
    "ring and vertex": nx.disjoint_union(nx.cycle_graph(5), nx.empty_graph(1)),
    "barbell": nx.barbell_graph(5, 3),
    "small world": nx.connected_watts_strogatz_graph(80, 6, 0.3, seed=0),
}


def assert_equal(properties, reference):
    assert isinstance(properties, pd.Series)
    assert list(properties.index) == NAMES
    pd.testing.assert_series_equal(
        properties, pd.Series(reference, dtype=float), rtol=1e-9, atol=1e-12
    )


@pytest.mark.parametrize("directed", [False, True])
@given(graph=undirected_graphs())
def test_graph_properties_equal_networkx(directed, graph):
    reference = networkx_properties(graph, directed=directed)
    assert_equal(graph_properties(graph, directed=directed), reference)


@pytest.mark.parametrize("directed", [False, True])
@given(graph=dag_edges())
def test_properties_of_layered_graph_equal_networkx(directed, graph):
    layered = LayeredGraph(*graph)
    reference = networkx_properties(layered.to_networkx(), directed=directed)
    assert_equal(graph_properties(layered, directed=directed), reference)


@pytest.mark.parametrize("directed", [False, True])
@given(n_nodes=st.integers(1, 9), probability=st.floats(0, 1), seed=seeds)
def test_graph_properties_of_cyclic_digraphs(directed, n_nodes, probability, seed):
    graph = nx.gnp_random_graph(n_nodes, probability, seed=seed, directed=True)
    reference = networkx_properties(graph, directed=directed)
    assert_equal(graph_properties(graph, directed=directed), reference)


@pytest.mark.parametrize("directed", [False, True])
@pytest.mark.parametrize("shape", SHAPES)
def test_graph_properties_of_well_known_shapes(shape, directed):
    reference = networkx_properties(SHAPES[shape], directed=directed)
    assert_equal(graph_properties(SHAPES[shape], directed=directed), reference)


@given(undirected_graphs())
def test_graph_properties_of_connected_graph_equal_plain_networkx_functions(graph):
    graph = nx.convert_node_labels_to_integers(
        graph.subgraph(max(nx.connected_components(graph), key=len))
    )
    properties = graph_properties(graph)
    expected = {
        "average_path_length": nx.average_shortest_path_length(graph),
        "diameter": nx.diameter(graph),
        "radius": nx.radius(graph),
    }
    assert dict(properties[[*expected]]) == pytest.approx(expected)


@given(undirected_graphs(), st.booleans())
def test_graph_properties_are_finite_where_defined(graph, directed):
    properties = graph_properties(graph, directed=directed)
    assert np.isfinite(properties.drop("assortativity")).all()
    assert not np.isinf(properties["assortativity"])


@given(undirected_graphs())
def test_average_betweenness_follows_from_path_length(graph):
    if len(graph) < 3 or not nx.is_connected(graph):
        graph = nx.path_graph(len(graph) + 3)
    properties = graph_properties(graph)
    excess = properties["average_path_length"] - 1
    np.testing.assert_allclose(
        properties["average_betweenness"], excess / (len(graph) - 2), atol=1e-15
    )


def test_n_layers_follows_directions_even_if_undirected():
    graph = nx.DiGraph([(2, 1), (1, 0)])
    for directed in (False, True):
        assert graph_properties(graph, directed=directed)["n_layers"] == 3


def test_assortativity_is_nan_where_degrees_do_not_vary():
    assert np.isnan(graph_properties(nx.cycle_graph(6))["assortativity"])


def test_n_layers_is_nan_with_a_cycle():
    graph = nx.DiGraph([(0, 1), (1, 0)])
    assert np.isnan(graph_properties(graph)["n_layers"])


def test_graph_properties_of_a_long_chain():
    """Its values are known: the mean distance of a chain is (n + 1) / 3."""
    properties = graph_properties(nx.path_graph(2000), directed=True)
    assert properties["average_path_length"] == pytest.approx(2001 / 3)
    assert properties["diameter"] == 1999
    assert properties["n_layers"] == 2000


def distance_sums_by_definition(edges, n_nodes):
    """Sum, number and maximum of the positive distances to every vertex."""
    graph = nx.empty_graph(n_nodes, create_using=nx.DiGraph)
    graph.add_edges_from(zip(*edges, strict=True))
    distances = nx.to_numpy_array(graph, nodelist=range(n_nodes))
    lengths = dict(nx.all_pairs_shortest_path_length(graph))
    for u in range(n_nodes):
        for v in range(n_nodes):
            distances[u, v] = lengths[u].get(v, 0)
    return distances.sum(axis=0), (distances > 0).sum(axis=0), distances.max(axis=0)


def assert_all_equal(found, expected):
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_array_equal(one, other)


@given(dag_edges())
def test_distance_sums_equal_those_of_networkx(graph):
    edges, n_nodes = graph
    found = distance_sums(np.array(edges, dtype=int), n_nodes)
    assert_all_equal(found, distance_sums_by_definition(edges, n_nodes))


@given(dag_edges())
def test_distance_sums_do_not_depend_on_sources_at_once(graph):
    edges, n_nodes = graph
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_properties, "_SOURCES_AT_ONCE", 3)
        found = distance_sums(np.array(edges, dtype=int), n_nodes)
    assert_all_equal(found, distance_sums_by_definition(edges, n_nodes))


@pytest.mark.parametrize("n_nodes", [63, 64, 65, 128, 1100])
def test_distance_sums_of_rings(n_nodes):
    """Sizes around one word of bits, and one more than one sweep follows."""
    start = np.arange(n_nodes)
    edges = np.stack([start, np.roll(start, -1)])
    totals, reached, farthest = distance_sums(edges, n_nodes)
    assert set(totals) == {n_nodes * (n_nodes - 1) // 2}
    assert set(reached) == set(farthest) == {n_nodes - 1}


def test_distance_sums_without_edges_are_zero():
    assert_all_equal(distance_sums(np.empty((2, 0), int), 3), np.zeros((3, 3)))
