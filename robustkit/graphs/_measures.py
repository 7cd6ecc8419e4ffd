"""Measures of a graph given as an array of edges."""

from math import sqrt

import numpy as np
import pandas as pd
import scipy.sparse as sp

from robustkit.graphs._kernels import follow_sources, triangle_weights
from robustkit.graphs._layering import longest_path_layers, orient

__all__ = ["distance_sums", "measure"]

# Sources that are followed at a time: bounds the memory to 384 bytes a vertex.
_SOURCES_AT_ONCE = 1024


def measure(edges, n_nodes, *, directed):
    """Measure a graph.

    Parameters
    ----------
    edges : ndarray of shape (2, n_edges)
        Distinct directed edges without self-loops.

    n_nodes : int
        Vertices are the integers below it; at least one.

    directed : bool
        Whether directions count. Layers, sources and sinks always follow them.

    Returns
    -------
    properties : Series
        The measures by name.
    """
    n_components, _ = sp.csgraph.connected_components(_adjacency(edges, n_nodes))
    n_successors, n_predecessors = (np.bincount(e, minlength=n_nodes) for e in edges)
    layers = longest_path_layers(edges, n_nodes)
    if not directed:
        edges, _ = _joined(edges, n_nodes)
    n_edges = edges.shape[1]
    n_pairs = n_nodes * (n_nodes - 1) / (1 if directed else 2)
    degree = np.bincount(edges.ravel(), minlength=n_nodes)
    return pd.Series(
        {
            "n_nodes": n_nodes,
            "n_edges": n_edges,
            "density": _ratio(n_edges, n_pairs),
            "n_components": n_components,
            **_distance_measures(edges, n_nodes, directed),
            "average_clustering": _average_clustering(edges, n_nodes, directed),
            "degree_mean": degree.mean(),
            "degree_std": degree.std(),
            "degree_min": degree.min(),
            "degree_max": degree.max(),
            "assortativity": _assortativity(edges, n_nodes, directed),
            "n_layers": np.nan if layers.min() < 0 else layers.max() + 1,
            "n_sources": (n_predecessors == 0).sum(),
            "n_sinks": (n_successors == 0).sum(),
        },
        dtype=float,
    )


def _joined(edges, n_nodes):
    """Find the pairs of vertices that are joined, and by how many edges."""
    keys = edges.min(axis=0) * n_nodes + edges.max(axis=0)
    keys, n_ways = np.unique(keys, return_counts=True)
    return np.stack([keys // n_nodes, keys % n_nodes]), n_ways


def _distance_measures(edges, n_nodes, directed):
    """Path lengths and what follows from them.

    A shortest path of length d has d edges and d - 1 inner vertices. Summed over all
    pairs, the betweenness of the edges is therefore the sum of the distances d, and the
    betweenness of the vertices the sum of the d - 1: their averages need no counting
    of shortest paths.
    """
    if directed:
        totals, reached, eccentricity = distance_sums(edges[::-1], n_nodes)
        # networkx's closeness asks how near the others are *to* a vertex.
        totals_in, reached_in, _ = distance_sums(edges, n_nodes)
    else:
        both_ways = np.concatenate([edges, edges[::-1]], axis=1)
        totals, reached, eccentricity = distance_sums(both_ways, n_nodes)
        totals_in, reached_in = totals, reached
    total, n_pairs = totals.sum(), reached.sum()
    n_others = n_nodes - 1
    closeness = np.divide(
        reached_in**2, totals_in * n_others, where=totals_in > 0, out=np.zeros(n_nodes)
    )
    return {
        "average_path_length": _ratio(total, n_pairs),
        "diameter": eccentricity.max(),
        "radius": eccentricity.min(),
        "average_eccentricity": eccentricity.mean(),
        "average_betweenness": _ratio(
            total - n_pairs, n_nodes * n_others * (n_nodes - 2)
        ),
        "average_edge_betweenness": _ratio(total, n_nodes * n_others * edges.shape[1]),
        "average_closeness": closeness.mean(),
    }


def distance_sums(edges, n_nodes):
    """Sum, number and maximum of the distances to every vertex.

    Parameters
    ----------
    edges : ndarray of shape (2, n_edges)
        Row 0 the sources, row 1 the targets.

    n_nodes : int
        Vertices are the integers below it.

    Returns
    -------
    totals : ndarray of shape (n_nodes,)
        Sum of the distances to a vertex from all others that reach it.

    reached : ndarray of shape (n_nodes,)
        How many others reach it.

    farthest : ndarray of shape (n_nodes,)
        The largest of the distances; 0 if nothing reaches it.
    """
    start, order = _by_source(edges, n_nodes)
    successors = edges[1, order]
    totals, reached, farthest = np.zeros((3, n_nodes), dtype=np.int64)
    for first in range(0, n_nodes, _SOURCES_AT_ONCE):
        n_sources = min(_SOURCES_AT_ONCE, n_nodes - first)
        follow_sources(start, successors, first, n_sources, totals, reached, farthest)
    return totals, reached, farthest


def _by_source(edges, n_nodes):
    """Where the edges of each source begin, and the order that puts them there."""
    n_successors = np.bincount(edges[0], minlength=n_nodes)
    start = np.concatenate([[0], np.cumsum(n_successors)])
    return start, np.argsort(edges[0], kind="stable")


def _average_clustering(edges, n_nodes, directed):
    """Compare the closed walks of length three with those that the degrees allow.

    For directions this is Fagiolo's coefficient, which is networkx's. Two vertices may
    then be joined both ways, and a walk between them has two edges to choose from.
    """
    pairs, n_ways = _joined(edges, n_nodes)
    # Every triangle can be walked in two directions.
    walks = 2 * _triangle_weights(pairs, n_ways, n_nodes)
    degree = np.bincount(edges.ravel(), minlength=n_nodes)
    possible = degree * (degree - 1)
    if directed:
        mutual = np.bincount(pairs[:, n_ways == 2].ravel(), minlength=n_nodes)
        possible = 2 * (possible - 2 * mutual)
    return np.divide(
        walks, possible, where=walks > 0, out=np.zeros(n_nodes, dtype=float)
    ).mean()


def _triangle_weights(pairs, weights, n_nodes):
    """Sum the weights of the triangles at every vertex, in the time of a sparse graph.

    A pair stands at the end of lower degree: no vertex then has many pairs, a hub least
    of all.
    """
    upward = orient(pairs, n_nodes, "degree")
    start, order = _by_source(upward, n_nodes)
    return triangle_weights(start, upward[1, order], weights[order])


def _assortativity(edges, n_nodes, directed):
    """Correlate the degrees at the two ends of an edge, in whole numbers."""
    if directed:
        x = np.bincount(edges[0], minlength=n_nodes)[edges[0]]
        y = np.bincount(edges[1], minlength=n_nodes)[edges[1]]
    else:
        degree = np.bincount(edges.ravel(), minlength=n_nodes)
        x = degree[edges.ravel()]
        y = degree[edges[::-1].ravel()]
    # Of Python's integers, which have no end.
    n, sum_x, sum_y = len(x), int(x.sum()), int(y.sum())
    covariance = n * int(x @ y) - sum_x * sum_y
    variance_x = n * int(x @ x) - sum_x**2
    variance_y = n * int(y @ y) - sum_y**2
    if variance_x == 0 or variance_y == 0:
        return np.nan
    return covariance / sqrt(variance_x) / sqrt(variance_y)


def _adjacency(edges, n_nodes):
    ones = np.ones(edges.shape[1], dtype=np.int64)
    return sp.csr_array((ones, (edges[0], edges[1])), shape=(n_nodes, n_nodes))


def _ratio(numerator, denominator):
    """Let the mean over nothing be 0, as networkx does for a single vertex."""
    return numerator / denominator if denominator else 0.0
