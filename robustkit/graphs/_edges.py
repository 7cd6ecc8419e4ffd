"""Edges as arrays: read from networkx, directed so that no cycle is left, layered.

Vertices are the integers below ``n_nodes``. Edges are an array of shape (2, n_edges):
row 0 holds the sources, row 1 the targets; of undirected edges, the two ends.
"""

from collections.abc import Hashable

import networkx as nx
import numpy as np
from numpy.typing import NDArray
from sklearn.utils import check_random_state

from robustkit._validation import did_you_mean

__all__ = [
    "ORIENTATIONS",
    "edges_of_networkx",
    "longest_path_layers",
    "orient",
    "undirected_pairs",
]

ORIENTATIONS = ("index", "random", "degree")


def edges_of_networkx(graph: nx.Graph) -> tuple[NDArray, tuple[Hashable, ...]]:
    """Read the edges of a networkx graph, and its vertices as labels.

    A vertex's index is its place in ``graph.nodes``. Self-loops and parallel edges are
    refused.
    """
    if not isinstance(graph, nx.Graph):
        raise TypeError(f"graph must be a networkx graph. Got {graph!r} instead.")
    if graph.is_multigraph():
        raise ValueError(
            "graph must not be a multigraph. nx.Graph(graph) or nx.DiGraph(graph) "
            "keeps one of each set of parallel edges."
        )
    if len(graph) == 0:
        raise ValueError("graph needs at least one vertex. Got an empty graph.")
    index = {vertex: i for i, vertex in enumerate(graph)}
    pairs = [(index[u], index[v]) for u, v in graph.edges]
    edges = np.array(pairs, dtype=np.intp).reshape(-1, 2).T
    labels = tuple(index)
    loops = np.flatnonzero(edges[0] == edges[1])
    if loops.size:
        vertex = labels[edges[0, loops[0]]]
        raise ValueError(
            f"graph must have no self-loops. Got one at vertex {vertex!r}; "
            "graph.remove_edges_from(list(nx.selfloop_edges(graph))) removes them all."
        )
    return edges, labels


def undirected_pairs(edges: NDArray, n_nodes: int) -> tuple[NDArray, NDArray]:
    """Return every pair of joined vertices once, and how many edges join it."""
    keys = edges.min(axis=0) * n_nodes + edges.max(axis=0)
    keys, n_ways = np.unique(keys, return_counts=True)
    return np.stack([keys // n_nodes, keys % n_nodes]), n_ways


def orient(
    edges: NDArray,
    n_nodes: int,
    orientation: str = "index",
    random_state: int | np.random.RandomState | None = None,
) -> NDArray:
    """Direct undirected edges so that each climbs the same order of the vertices.

    That order is the index, a random one drawn with `random_state`, or the degree (the
    lower index first among equals).
    """
    if orientation == "index":
        rank = np.arange(n_nodes)
    elif orientation == "random":
        rank = check_random_state(random_state).permutation(n_nodes)
    elif orientation == "degree":
        rank = np.empty(n_nodes, dtype=np.intp)
        degree = np.bincount(edges.ravel(), minlength=n_nodes)
        rank[np.argsort(degree, kind="stable")] = np.arange(n_nodes)
    else:
        raise ValueError(
            f"The 'orientation' parameter must be one of {list(ORIENTATIONS)}. Got "
            f"{orientation!r} instead{did_you_mean(orientation, ORIENTATIONS)}"
        )
    return np.where(rank[edges[0]] < rank[edges[1]], edges, edges[::-1])


def longest_path_layers(edges: NDArray, n_nodes: int) -> NDArray:
    """Put every vertex one layer after the last of its predecessors.

    The layer is 0 for a vertex without predecessors, and -1 for a vertex on a cycle or
    behind one. It takes O(n_nodes + n_edges) and no recursion, so that a chain may be
    of any length.
    """
    by_source = np.argsort(edges[0], kind="stable")
    targets = edges[1, by_source].tolist()
    n_targets = np.bincount(edges[0], minlength=n_nodes)
    start = np.concatenate([[0], np.cumsum(n_targets)]).tolist()
    n_waiting_for = np.bincount(edges[1], minlength=n_nodes).tolist()
    layers = [-1] * n_nodes
    ready = [v for v, n in enumerate(n_waiting_for) if n == 0]
    depth = 0
    while ready:
        next_ready = []
        for source in ready:
            layers[source] = depth
            for target in targets[start[source] : start[source + 1]]:
                n_waiting_for[target] -= 1
                if n_waiting_for[target] == 0:
                    next_ready.append(target)
        ready, depth = next_ready, depth + 1
    return np.asarray(layers, dtype=np.intp)
