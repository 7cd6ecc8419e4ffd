"""Measures of a graph given as an array of edges."""

import networkx as nx
import numpy as np
import pytest
from hypothesis import given

from robustkit.graphs import _measures
from robustkit.graphs._measures import distance_sums
from tests.strategies import dag_edges


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
def test_distances_are_those_of_networkx(graph):
    edges, n_nodes = graph
    found = distance_sums(np.array(edges, dtype=int), n_nodes)
    assert_all_equal(found, distance_sums_by_definition(edges, n_nodes))


@given(dag_edges())
def test_sources_may_be_followed_a_few_at_a_time(graph):
    edges, n_nodes = graph
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_measures, "_SOURCES_AT_ONCE", 3)
        found = distance_sums(np.array(edges, dtype=int), n_nodes)
    assert_all_equal(found, distance_sums_by_definition(edges, n_nodes))


@pytest.mark.parametrize("n_nodes", [63, 64, 65, 128, 1100])
def test_a_ring_of_any_size(n_nodes):
    """Sizes around one word of bits, and one more than one sweep follows."""
    start = np.arange(n_nodes)
    edges = np.stack([start, np.roll(start, -1)])
    totals, reached, farthest = distance_sums(edges, n_nodes)
    assert set(totals) == {n_nodes * (n_nodes - 1) // 2}
    assert set(reached) == set(farthest) == {n_nodes - 1}


def test_without_edges_nothing_is_reached():
    assert_all_equal(distance_sums(np.empty((2, 0), int), 3), np.zeros((3, 3)))
