"""Measures of a graph given as an array of edges."""

from itertools import count

import numpy as np
import pandas as pd
import scipy.sparse as sp

from robustkit.graphs._layering import longest_path_layers

__all__ = ["distance_sums", "measure"]

# Sources that one sweep follows at a time: bounds the memory to 128 bytes an edge.
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
        edges = np.unique(np.sort(edges, axis=0), axis=1)
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

    A breadth-first search from all vertices at once: each vertex keeps one bit for
    each source that has reached it, so that one instruction moves 64 searches.

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
    sources, targets = edges[:, np.argsort(edges[1], kind="stable")]
    first = np.flatnonzero(np.diff(targets, prepend=-1))
    heads = targets[first]
    totals, reached, farthest = np.zeros((3, n_nodes), dtype=np.int64)
    if heads.size == 0:
        return totals, reached, farthest
    for start in range(0, n_nodes, _SOURCES_AT_ONCE):
        frontier = _one_bit_each(start, min(start + _SOURCES_AT_ONCE, n_nodes), n_nodes)
        unseen = ~frontier[heads]
        for distance in count(1):
            arrived = np.bitwise_or.reduceat(frontier[sources], first, axis=0)
            arrived &= unseen
            n_new = np.bitwise_count(arrived).sum(axis=1, dtype=np.int64)
            if not n_new.any():
                break
            totals[heads] += distance * n_new
            reached[heads] += n_new
            farthest[heads] = np.maximum(farthest[heads], distance * (n_new > 0))
            unseen ^= arrived
            # What nothing leads to keeps its own bit, which nobody is left to see anew.
            frontier[heads] = arrived
    return totals, reached, farthest


def _one_bit_each(start, stop, n_nodes):
    """Let bit i of row start + i be set, and no other."""
    bit = np.arange(stop - start)
    bits = np.zeros((n_nodes, -(-len(bit) // 64)), dtype=np.uint64)
    bits[start + bit, bit // 64] = np.uint64(1) << (bit % 64).astype(np.uint64)
    return bits


def _average_clustering(edges, n_nodes, directed):
    """Compare the closed walks of length three with those that the degrees allow.

    For directions this is Fagiolo's coefficient, which is networkx's.
    """
    A = _adjacency(edges, n_nodes)
    both = A + A.T
    walks = (both @ both).multiply(both).sum(axis=1)
    degree = both.sum(axis=1)
    if directed:
        mutual = A.multiply(A.T).sum(axis=1)
        possible = 2 * (degree * (degree - 1) - 2 * mutual)
    else:
        possible = degree * (degree - 1)
    return np.divide(
        walks, possible, where=walks > 0, out=np.zeros(n_nodes, dtype=float)
    ).mean()


def _assortativity(edges, n_nodes, directed):
    """Correlate the degrees at the two ends of an edge, in whole numbers."""
    if directed:
        x = np.bincount(edges[0], minlength=n_nodes)[edges[0]]
        y = np.bincount(edges[1], minlength=n_nodes)[edges[1]]
    else:
        degree = np.bincount(edges.ravel(), minlength=n_nodes)
        x = degree[edges.ravel()]
        y = degree[edges[::-1].ravel()]
    covariance = len(x) * (x @ y) - x.sum() * y.sum()
    variances = [int(len(z) * (z @ z) - z.sum() ** 2) for z in (x, y)]
    if 0 in variances:
        return np.nan
    return covariance / np.sqrt(variances[0]) / np.sqrt(variances[1])


def _adjacency(edges, n_nodes):
    ones = np.ones(edges.shape[1], dtype=np.int64)
    return sp.csr_array((ones, (edges[0], edges[1])), shape=(n_nodes, n_nodes))


def _ratio(numerator, denominator):
    """Let the mean over nothing be 0, as networkx does for a single vertex."""
    return numerator / denominator if denominator else 0.0
