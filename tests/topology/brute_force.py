"""Mapper graphs as the definition says, one line after the other."""

import numpy as np


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
