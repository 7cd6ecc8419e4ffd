"""From clusters to a graph: clusters that share a sample are joined."""

import networkx as nx
import numpy as np
from scipy.sparse import csr_matrix, triu


def join_clusters(clusters, n_samples):
    """Give the clusters of all intervals their numbers, and collect their samples.

    Parameters
    ----------
    clusters : list of (samples, labels)
        One entry an interval: the samples that are no noise, and the cluster of each,
        numbered from 0 without gaps.

    n_samples : int
        How many samples there are.

    Returns
    -------
    membership : csr_matrix of shape (n_samples, n_nodes)
        1.0 where the sample lies in the node.

    intervals : ndarray of shape (n_nodes,)
        The interval of each node, ascending.
    """
    sizes = [labels.max(initial=-1) + 1 for _, labels in clusters]
    firsts = np.cumsum([0, *sizes])
    samples = np.concatenate([samples for samples, _ in clusters])
    nodes = np.concatenate(
        [labels + first for (_, labels), first in zip(clusters, firsts, strict=False)]
    )
    membership = csr_matrix(
        (np.ones(len(samples)), (samples, nodes)), shape=(n_samples, firsts[-1])
    )
    return membership, np.repeat(np.arange(len(clusters)), sizes)


def shared_samples(membership):
    """Find the pairs of nodes that share samples.

    Parameters
    ----------
    membership : csr_matrix of shape (n_samples, n_nodes)
        Which sample lies in which node.

    Returns
    -------
    edges : ndarray of shape (n_edges, 2)
        The smaller node first, in ascending order.

    n_shared : ndarray of shape (n_edges,)
        How many samples the two share.
    """
    upper = triu(membership.T @ membership, k=1).tocoo()
    order = np.lexsort((upper.col, upper.row))
    edges = np.column_stack([upper.row, upper.col])[order].astype(np.int64)
    return edges, upper.data[order].astype(np.int64)


def nerve_graph(intervals, sizes, edges, n_shared):
    """Build the graph.

    Parameters
    ----------
    intervals, sizes : ndarray of shape (n_nodes,)
        Interval and number of samples of each node.

    edges : ndarray of shape (n_edges, 2)
        Pairs of nodes.

    n_shared : ndarray of shape (n_edges,)
        The weights.

    Returns
    -------
    graph : networkx.Graph
        Nodes with `interval` and `size`, edges with `weight`.
    """
    graph = nx.Graph()
    graph.add_nodes_from(
        (node, {"interval": int(interval), "size": int(size)})
        for node, (interval, size) in enumerate(zip(intervals, sizes, strict=True))
    )
    graph.add_weighted_edges_from(
        (int(i), int(j), int(n)) for (i, j), n in zip(edges, n_shared, strict=True)
    )
    return graph
