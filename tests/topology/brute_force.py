"""Mapper graphs as the definition says, one line after the other."""

import numpy as np
from scipy.spatial.distance import pdist, squareform

from robustkit.topology.neighbors._search import Pairs
from robustkit.topology.neighbors._windows import find_all


def mapper(X, values, intervals, clusterer):
    """Nodes (sets of samples, in order) and edges (pairs of nodes)."""
    nodes = []
    for low, high in intervals:
        inside = np.flatnonzero((low <= values) & (values <= high))
        if len(inside) == 0:
            continue
        labels = clusterer(X[inside])
        nodes += [set(inside[labels == k].tolist()) for k in range(max(labels) + 1)]
    edges = [
        (i, j)
        for i in range(len(nodes))
        for j in range(i + 1, len(nodes))
        if nodes[i] & nodes[j]
    ]
    return nodes, edges


def nodes_of(membership):
    """The nodes of a membership matrix, as sets of samples."""
    return [set(column.nonzero()[0].tolist()) for column in membership.toarray().T]


def near_pairs(X, order, eps, ends):
    """All (i, j), i < j < ends[i], of positions within eps."""
    squared = squareform(pdist(X[order].astype(float), "sqeuclidean"))
    return [
        (i, j)
        for i in range(len(X))
        for j in range(i + 1, ends[i])
        if squared[i, j] <= eps**2
    ]


def as_pairs(listed, n_samples):
    """Rows of a sorted list of pairs."""
    rows = np.array([i for i, _ in listed], dtype=int)
    indptr = np.searchsorted(rows, np.arange(n_samples + 1))
    indices = np.array([j for _, j in listed], dtype=np.int32)
    return Pairs(np.arange(n_samples), indptr, indices, np.empty(0, np.float32))


def partition(n, edges):
    """For each of n vertices the smallest one that it is connected with."""
    smallest = list(range(n))
    for _ in range(n):
        for i, j in edges:
            smallest[i] = smallest[j] = min(smallest[i], smallest[j])
    return smallest


def partition_of(parents):
    """The same, from the parents of a union-find."""
    roots = find_all(parents.copy(), np.arange(len(parents)))
    return [int(np.flatnonzero(roots == root)[0]) for root in roots]
