"""Measures of a graph, by the names and with the values of networkx.

What depends on shortest paths or triangles is compiled: as sparse matrices it would
fill the memory. The compiled functions get a graph as the successors of its vertices,
one vertex after the other: those of ``v`` are ``successors[start[v] : start[v + 1]]``.
"""

from functools import cache
from math import sqrt
from typing import TYPE_CHECKING

import networkx as nx
import numpy as np
import pandas as pd
from numba import njit
from numpy.random import RandomState
from numpy.typing import NDArray

from robustkit.graphs._edges import (
    edges_of_networkx,
    longest_path_layers,
    orient,
    undirected_pairs,
)

if TYPE_CHECKING:
    from robustkit.graphs._layered_graph import LayeredGraph

__all__ = [
    "average_clustering",
    "by_source",
    "count_bits",
    "distance_counts",
    "distance_sums",
    "graph_properties",
    "measure",
    "triangle_weights",
]

# Sources that are searched from at once: limits the memory to 384 bytes per vertex.
_SOURCES_AT_ONCE = 1024


def graph_properties(
    graph: "nx.Graph | LayeredGraph",
    *,
    directed: bool = False,
    extra: bool = False,
    random_state: int | RandomState | None = 0,
) -> pd.Series:
    """Measure a graph.

    The values equal those of networkx, but are computed in bulk: the distances from a
    thousand vertices at once, and from them everything that depends on shortest paths.

    Parameters
    ----------
    graph : LayeredGraph, networkx.Graph or networkx.DiGraph
        At least one vertex, no self-loops and no parallel edges. A directed graph may
        have cycles.

    directed : bool, default=False
        Whether the directions of the edges count. An undirected graph is directed from
        the lower to the higher index, the place of a vertex in ``graph.nodes``.

    extra : bool, default=False
        Whether to measure what takes longer as well: small worlds, efficiency,
        curvature, spectra, entropy and paths. Graphs have at most 4,000 vertices then.

    random_state : int, RandomState instance or None, default=0
        Draws the graphs that `extra` compares with, and the order in which vertices
        join communities. Pass another int for other draws.

    Returns
    -------
    properties : Series
        By name:

        - `n_nodes`, `n_edges`, `density`, `n_components` (weakly connected ones of a
          directed graph);
        - `average_path_length`: mean distance over the pairs that are joined by a path;
        - `diameter`, `radius`, `average_eccentricity`: largest, smallest and mean
          eccentricity, which is the distance to the farthest vertex that can be
          reached;
        - `average_betweenness`, `average_edge_betweenness`, `average_closeness`: means
          of networkx's normalised centralities. Closeness is Wasserman and Faust's,
          which weights a vertex by the share of the graph that reaches it;
        - `average_clustering`, `degree_mean`, `degree_std`, `degree_min`, `degree_max`
          (in- and out-degree together), `assortativity` (of the degrees; if
          `directed`, of out-degree at the source and in-degree at the target);
        - `n_layers`, `n_sources`, `n_sinks` of the directed graph, whatever `directed`
          says.

        With `extra`, whatever `directed` says:

        - `small_world_sigma` and `small_world_omega`: clustering and path length beside
          those of ten random graphs with the same degrees, and ten near a ring;
        - `global_efficiency`, `local_efficiency`: mean of 1 / distance over all pairs
          of vertices, and over the pairs of neighbours of a vertex without it;
        - `average_forman_curvature` (with triangles as faces) and
          `average_ollivier_curvature` (half of the mass stays) of the edges;
        - `spectral_gap` (second eigenvalue of the normalised Laplacian) and
          `algebraic_connectivity` (of the Laplacian), 0 for a disconnected graph;
          `average_effective_resistance` over the pairs that are joined by a path;
        - `degree_entropy` and `path_length_entropy`: of the distribution of the
          degrees, and of the distances between vertices, in nats;
        - `modularity` of the communities that the Louvain method finds;
        - `log_n_paths`: natural logarithm of the number of paths from sources to sinks
          of the directed graph; `effective_depth`: their mean number of edges.

        All are finite, with these exceptions: `assortativity` is NaN where the degrees
        do not vary; `n_layers`, `log_n_paths` and `effective_depth` are NaN if there is
        a cycle, and sigma and omega if there is no triangle to compare with. A mean
        over nothing is 0.

    See Also
    --------
    LayeredGraph : A directed acyclic graph in layers.
    GraphPrior : Draws such graphs at random.

    Notes
    -----
    Memory grows with the number of vertices and edges, time with the product of the
    two: a few seconds for 50,000 vertices with short paths between them, minutes for a
    chain of the same length.

    A shortest path of length :math:`d` passes :math:`d - 1` inner vertices and
    :math:`d` edges. In a connected graph with average path length :math:`L`, the
    average betweenness is therefore exactly :math:`(L - 1) / (n - 2)`, and the average
    edge betweenness :math:`L / m`: among graphs of one size they carry no information
    beyond the path length.

    Examples
    --------
    >>> import networkx as nx
    >>> from robustkit.graphs import graph_properties
    >>> properties = graph_properties(nx.path_graph(4))
    >>> properties[["n_edges", "diameter", "radius", "n_layers"]]
    n_edges     3.0
    diameter    3.0
    radius      2.0
    n_layers    4.0
    dtype: float64
    """
    if hasattr(graph, "layer_offsets"):
        # A LayeredGraph, whose module imports this one.
        return graph.properties(
            directed=directed, extra=extra, random_state=random_state
        )
    edges, labels = edges_of_networkx(graph)
    if not nx.is_directed(graph):
        edges = orient(edges, len(labels))
    return measure(
        edges, len(labels), directed=directed, extra=extra, random_state=random_state
    )


def measure(
    edges: NDArray,
    n_nodes: int,
    *,
    directed: bool,
    n_layers: float | None = None,
    extra: bool = False,
    random_state: int | RandomState | None = 0,
) -> pd.Series:
    """Measure a graph given by distinct directed edges without self-loops.

    `directed` says whether directions count; layers, sources and sinks always follow
    them. The number of layers may be known already.
    """
    more = {}
    if extra:
        # It imports this module.
        from robustkit.graphs._extra_properties import extra_properties

        more = extra_properties(edges, n_nodes, random_state)
    n_successors, n_predecessors = (np.bincount(e, minlength=n_nodes) for e in edges)
    if n_layers is None:
        layers = longest_path_layers(edges, n_nodes)
        n_layers = np.nan if layers.min() < 0 else layers.max() + 1
    n_components = _count_components(edges, n_nodes)
    pairs, n_ways = undirected_pairs(edges, n_nodes)
    if not directed:
        edges, n_ways = pairs, np.ones_like(n_ways)
    n_edges = edges.shape[1]
    n_pairs = n_nodes * (n_nodes - 1) / (1 if directed else 2)
    degree = np.bincount(edges.ravel(), minlength=n_nodes)
    clustering = _clustering(degree, pairs, n_ways, directed)
    values = {
        "n_nodes": n_nodes,
        "n_edges": n_edges,
        "density": _ratio(n_edges, n_pairs),
        "n_components": n_components,
        **_distance_measures(edges, n_nodes, directed),
        "average_clustering": clustering,
        "degree_mean": degree.mean(),
        "degree_std": degree.std(),
        "degree_min": degree.min(),
        "degree_max": degree.max(),
        "assortativity": _assortativity(edges, n_nodes, directed),
        "n_layers": n_layers,
        "n_sources": (n_predecessors == 0).sum(),
        "n_sinks": (n_successors == 0).sum(),
        **more,
    }
    # Reading a dictionary, pandas would take as long as a search of a small graph.
    return pd.Series(np.fromiter(values.values(), float), _index_of(*values).copy())


@cache
def _index_of(*names):
    return pd.Index(names)


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


def distance_sums(edges: NDArray, n_nodes: int) -> tuple[NDArray, NDArray, NDArray]:
    """Sum, number and maximum of the distances to every vertex.

    `totals[v]` sums the distances from the `reached[v]` other vertices that reach v,
    and `farthest[v]` is the largest of them, 0 if there is none.
    """
    totals, reached, farthest, _ = _search(edges, n_nodes)
    return totals, reached, farthest


def distance_counts(edges: NDArray, n_nodes: int) -> NDArray:
    """Count the ordered pairs of vertices at every distance from 1 on; 0 has none."""
    return _search(edges, n_nodes)[3]


def _search(edges, n_nodes):
    """Follow the edges from every vertex, and add up what is met."""
    start, order = by_source(edges, n_nodes)
    successors = edges[1, order]
    totals, reached, farthest, n_pairs = np.zeros((4, n_nodes), dtype=np.int64)
    found = totals, reached, farthest, n_pairs
    for first in range(0, n_nodes, _SOURCES_AT_ONCE):
        n_sources = min(_SOURCES_AT_ONCE, n_nodes - first)
        _follow_sources(start, successors, first, n_sources, found)
    return found


def by_source(edges, n_nodes):
    """Where the edges of each source begin, and the order that puts them there."""
    n_successors = np.bincount(edges[0], minlength=n_nodes)
    start = np.concatenate([[0], np.cumsum(n_successors)])
    return start, np.argsort(edges[0], kind="stable")


def average_clustering(pairs, n_nodes):
    """Average the clustering of an undirected graph, whose pairs are distinct."""
    degree = np.bincount(pairs.ravel(), minlength=n_nodes)
    return _clustering(degree, pairs, np.ones(pairs.shape[1], dtype=np.int64), False)


def _clustering(degree, pairs, n_ways, directed):
    """Compare the closed walks of length three with those that the degrees allow.

    For directions this is Fagiolo's coefficient, which is networkx's. Two vertices may
    then be joined both ways, and a walk between them has two edges to choose from.
    """
    n_nodes = len(degree)
    # Every triangle can be walked in two directions.
    walks = 2 * triangle_weights(pairs, n_ways, n_nodes)
    possible = degree * (degree - 1)
    if directed:
        mutual = np.bincount(pairs[:, n_ways == 2].ravel(), minlength=n_nodes)
        possible = 2 * (possible - 2 * mutual)
    return np.divide(
        walks, possible, where=walks > 0, out=np.zeros(n_nodes, dtype=float)
    ).mean()


def triangle_weights(pairs, weights, n_nodes):
    """Sum the weights of the triangles at every vertex, in the time of a sparse graph.

    A pair stands at the end of lower degree: no vertex then has many pairs, a hub least
    of all.
    """
    upward = orient(pairs, n_nodes, "degree")
    start, order = by_source(upward, n_nodes)
    return _sum_triangles(start, upward[1, order], weights[order])


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


def _ratio(numerator, denominator):
    """Define the mean over nothing as 0, as networkx does for a single vertex."""
    return numerator / denominator if denominator else 0.0


@njit(cache=True)
def count_bits(word: np.uint64) -> np.int64:
    """Add up the bits of 64 in parallel: pairs, fours, bytes, and all bytes at once."""
    word -= (word >> np.uint64(1)) & np.uint64(0x5555555555555555)
    pairs = np.uint64(0x3333333333333333)
    word = (word & pairs) + ((word >> np.uint64(2)) & pairs)
    word = (word + (word >> np.uint64(4))) & np.uint64(0x0F0F0F0F0F0F0F0F)
    return np.int64((word * np.uint64(0x0101010101010101)) >> np.uint64(56))


@njit(cache=True)
def _follow_sources(start, successors, first, n_sources, found):
    """Search breadth first from some vertices at once, and add up the distances.

    Each vertex keeps one bit for each source that has reached it, so that one
    instruction moves 64 searches. Only vertices that were just reached are looked at,
    so that a long path does not make every step of it a pass over the graph.

    The `n_sources` sources are consecutive, from `first` on. What is found is what
    `distance_sums` and `distance_counts` return, and is added to.
    """
    totals, reached, farthest, n_pairs = found
    n_nodes, n_words = len(totals), (n_sources + 63) // 64
    frontier = np.zeros((n_nodes, n_words), dtype=np.uint64)
    arrived = np.zeros((n_nodes, n_words), dtype=np.uint64)
    seen = np.zeros((n_nodes, n_words), dtype=np.uint64)
    is_next = np.zeros(n_nodes, dtype=np.bool_)
    active, following = np.empty((2, n_nodes), dtype=np.int64)
    for i in range(n_sources):
        bit = np.uint64(1) << np.uint64(i % 64)
        frontier[first + i, i // 64] = bit
        seen[first + i, i // 64] = bit
        active[i] = first + i
    n_active, distance = n_sources, 0
    while n_active > 0:
        distance += 1
        n_following = 0
        for i in range(n_active):
            vertex = active[i]
            for j in range(start[vertex], start[vertex + 1]):
                successor = successors[j]
                for k in range(n_words):
                    arrived[successor, k] |= frontier[vertex, k]
                if not is_next[successor]:
                    is_next[successor] = True
                    following[n_following] = successor
                    n_following += 1
        for i in range(n_active):
            frontier[active[i]] = 0
        n_active = 0
        for i in range(n_following):
            vertex, n_new = following[i], 0
            is_next[vertex] = False
            for k in range(n_words):
                new = arrived[vertex, k] & ~seen[vertex, k]
                arrived[vertex, k] = 0
                frontier[vertex, k] = new
                seen[vertex, k] |= new
                n_new += count_bits(new)
            if n_new > 0:
                totals[vertex] += distance * n_new
                reached[vertex] += n_new
                n_pairs[distance] += n_new
                farthest[vertex] = max(farthest[vertex], distance)
                active[n_active] = vertex
                n_active += 1


@njit(cache=True)
def _count_components(edges, n_nodes):
    """Count what is joined by edges, whatever their direction.

    Each vertex points to another of its component, and one per component to itself.
    """
    points_to = np.arange(n_nodes)
    n_components = n_nodes
    for i in range(edges.shape[1]):
        a, b = edges[0, i], edges[1, i]
        while points_to[a] != a:
            # Halving the way keeps it short.
            points_to[a] = points_to[points_to[a]]
            a = points_to[a]
        while points_to[b] != b:
            points_to[b] = points_to[points_to[b]]
            b = points_to[b]
        if a != b:
            points_to[a] = b
            n_components -= 1
    return n_components


@njit(cache=True)
def _sum_triangles(start, successors, weights):
    """Sum the weights of the triangles at every vertex.

    Every edge is listed at one of its ends only, so that these directions have no
    cycle. The weight of a triangle is the product of those of its edges, none being 0.
    """
    n_nodes = len(start) - 1
    sums = np.zeros(n_nodes, dtype=np.int64)
    # Of the edge from the vertex looked at to any other.
    weight_to = np.zeros(n_nodes, dtype=np.int64)
    for a in range(n_nodes):
        own = range(start[a], start[a + 1])
        for i in own:
            weight_to[successors[i]] = weights[i]
        for i in own:
            b = successors[i]
            for j in range(start[b], start[b + 1]):
                c = successors[j]
                weight = weights[i] * weights[j] * weight_to[c]
                sums[a] += weight
                sums[b] += weight
                sums[c] += weight
        for i in own:
            weight_to[successors[i]] = 0
    return sums
