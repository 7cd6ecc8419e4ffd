"""Measures of a graph, by the names and with the values of networkx."""

import networkx as nx
import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from robustkit.graphs import LayeredGraph, graph_properties
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
def test_are_those_of_networkx(directed, graph):
    reference = networkx_properties(graph, directed=directed)
    assert_equal(graph_properties(graph, directed=directed), reference)


@pytest.mark.parametrize("directed", [False, True])
@given(graph=dag_edges())
def test_of_a_layered_graph_are_those_of_networkx(directed, graph):
    layered = LayeredGraph(*graph)
    reference = networkx_properties(layered.to_networkx(), directed=directed)
    assert_equal(graph_properties(layered, directed=directed), reference)


@pytest.mark.parametrize("directed", [False, True])
@given(n_nodes=st.integers(1, 9), probability=st.floats(0, 1), seed=seeds)
def test_a_directed_graph_may_have_cycles(directed, n_nodes, probability, seed):
    graph = nx.gnp_random_graph(n_nodes, probability, seed=seed, directed=True)
    reference = networkx_properties(graph, directed=directed)
    assert_equal(graph_properties(graph, directed=directed), reference)


@pytest.mark.parametrize("directed", [False, True])
@pytest.mark.parametrize("shape", SHAPES)
def test_of_well_known_shapes(shape, directed):
    reference = networkx_properties(SHAPES[shape], directed=directed)
    assert_equal(graph_properties(SHAPES[shape], directed=directed), reference)


@given(undirected_graphs())
def test_of_a_connected_graph_are_the_plain_functions_of_networkx(graph):
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
def test_are_finite_wherever_they_are_defined(graph, directed):
    properties = graph_properties(graph, directed=directed)
    assert np.isfinite(properties.drop("assortativity")).all()
    assert not np.isinf(properties["assortativity"])


@given(undirected_graphs())
def test_betweenness_follows_from_the_path_length(graph):
    if len(graph) < 3 or not nx.is_connected(graph):
        graph = nx.path_graph(len(graph) + 3)
    properties = graph_properties(graph)
    excess = properties["average_path_length"] - 1
    np.testing.assert_allclose(
        properties["average_betweenness"], excess / (len(graph) - 2), atol=1e-15
    )


def test_layers_follow_the_directions_whatever_is_measured():
    graph = nx.DiGraph([(2, 1), (1, 0)])
    for directed in (False, True):
        assert graph_properties(graph, directed=directed)["n_layers"] == 3


def test_assortativity_is_nan_where_degrees_do_not_vary():
    assert np.isnan(graph_properties(nx.cycle_graph(6))["assortativity"])


def test_n_layers_is_nan_with_a_cycle():
    graph = nx.DiGraph([(0, 1), (1, 0)])
    assert np.isnan(graph_properties(graph)["n_layers"])


def test_a_chain_of_thousands():
    """Its values are known: the mean distance of a chain is (n + 1) / 3."""
    properties = graph_properties(nx.path_graph(2000), directed=True)
    assert properties["average_path_length"] == pytest.approx(2001 / 3)
    assert properties["diameter"] == 1999
    assert properties["n_layers"] == 2000
