"""Clusters become nodes, shared samples become edges."""

import numpy as np

from robustkit.topology._nerve import join_clusters, nerve_graph, shared_samples


def pairs(*numbers):
    return np.array(numbers, dtype=int)


def test_by_hand():
    clusters = [
        (pairs(0, 1, 2), pairs(0, 0, 1)),
        (pairs(), pairs()),
        (pairs(1, 2, 3), pairs(0, 0, 0)),
    ]
    membership, intervals = join_clusters(clusters, 5)
    expected = [[1, 0, 0], [1, 0, 1], [0, 1, 1], [0, 0, 1], [0, 0, 0]]
    np.testing.assert_array_equal(membership.toarray(), expected)
    np.testing.assert_array_equal(intervals, [0, 0, 2])
    edges, n_shared = shared_samples(membership)
    np.testing.assert_array_equal(edges, [[0, 2], [1, 2]])
    np.testing.assert_array_equal(n_shared, [1, 1])
    graph = nerve_graph(intervals, [2, 1, 3], edges, n_shared)
    assert dict(graph.nodes(data=True)) == {
        0: {"interval": 0, "size": 2},
        1: {"interval": 0, "size": 1},
        2: {"interval": 2, "size": 3},
    }
    assert list(graph.edges(data="weight")) == [(0, 2, 1), (1, 2, 1)]


def test_no_cluster_at_all():
    membership, intervals = join_clusters([(pairs(), pairs())], 4)
    assert membership.shape == (4, 0)
    assert len(intervals) == 0
    edges, n_shared = shared_samples(membership)
    assert edges.shape == (0, 2)
    assert len(nerve_graph(intervals, [], edges, n_shared)) == 0
