"""Orders on the vertices of a graph: who comes before whom, and in which layer."""

import numpy as np
from sklearn.utils import check_random_state

from robustkit._validation import did_you_mean

__all__ = ["ORIENTATIONS", "longest_path_layers", "orient"]

ORIENTATIONS = ("index", "random", "degree")


def orient(edges, n_nodes, orientation, random_state=None):
    """Direct the edges of an undirected graph so that no cycle is left.

    Parameters
    ----------
    edges : ndarray of shape (2, n_edges)
        The two ends of every edge, in any order.

    n_nodes : int
        Vertices are the integers below it.

    orientation : {"index", "random", "degree"}
        What an edge climbs: the index, a random order of the vertices, or the degree
        (the lower index first among equals).

    random_state : int, RandomState instance or None, default=None
        Draws the random order.

    Returns
    -------
    edges : ndarray of shape (2, n_edges)
        Row 0 the sources, row 1 the targets.
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


def longest_path_layers(edges, n_nodes):
    """Put every vertex one layer after the last of its predecessors.

    Takes O(n_nodes + n_edges) and no recursion, so that a chain may be of any length.

    Parameters
    ----------
    edges : ndarray of shape (2, n_edges)
        Row 0 the sources, row 1 the targets, in any order.

    n_nodes : int
        Vertices are the integers below it.

    Returns
    -------
    layers : ndarray of shape (n_nodes,)
        0 for a vertex without predecessors; -1 for a vertex on a cycle, or behind one.
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
