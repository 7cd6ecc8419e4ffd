"""Nodes that persist from one graph of a pane to the next keep their number and place.

Two nodes are the same one if most of their samples are.
"""

from dataclasses import dataclass

import numpy as np
from scipy.sparse import csr_matrix

from robustkit.explorer._graphs import Graph
from robustkit.explorer._layout import Layout, lay_out, lay_out_around, lay_out_at

__all__ = ["Picture", "matching_nodes", "next_picture"]

# Of all samples of two nodes, so many lie in both, if they are to be the same one.
_SMALLEST_OVERLAP = 0.5

# If fewer of the nodes persist, all are placed anew.
_SMALLEST_SHARE_KEPT = 0.25


@dataclass(frozen=True, eq=False)
class Picture:
    """A graph as a pane shows it.

    Parameters
    ----------
    graph : Graph
        The graph.

    layout : Layout
        Where its nodes lie.

    ids : ndarray of shape (n_nodes,)
        Their numbers.

    n_ids : int
        Numbers given so far in this pane.
    """

    graph: Graph
    layout: Layout
    ids: np.ndarray
    n_ids: int


def next_picture(graph, before=None, places=None):
    """Give the nodes of a graph their numbers and places.

    Parameters
    ----------
    graph : Graph
        The graph.

    before : Picture, default=None
        What the pane showed before.

    places : tuple of list of float, default=None
        Where the nodes lay when the link that is opened was made, across and down. They
        are not heeded if there is not one for each node.

    Returns
    -------
    picture : Picture
        The same for the same graph after the same picture.
    """
    layout = lay_out(graph)
    n_ids = 0 if before is None else before.n_ids
    if places is not None and all(len(part) == graph.n_nodes for part in places):
        x, y = (np.array(part, dtype=float) for part in places)
        layout = lay_out_at(layout, x, y)
    elif before is not None and _is_comparable(graph, before.graph):
        old, new = matching_nodes(before.graph, graph)
        if len(new) > 0 and len(new) >= _SMALLEST_SHARE_KEPT * graph.n_nodes:
            x, y = before.layout.x[old], before.layout.y[old]
            around = lay_out_around(graph, layout, new, x, y)
            if around is not None:
                ids = np.full(graph.n_nodes, -1)
                ids[new] = before.ids[old]
                n_new = int((ids < 0).sum())
                ids[ids < 0] = np.arange(n_ids, n_ids + n_new)
                return Picture(graph, around, ids, n_ids + n_new)
    ids = np.arange(n_ids, n_ids + graph.n_nodes)
    return Picture(graph, layout, ids, n_ids + graph.n_nodes)


def _is_comparable(graph, other):
    """Whether the places from left to right mean the same."""
    a, b = graph.parameters, other.parameters
    return (a.filter, a.cover) == (b.filter, b.cover)


def matching_nodes(old, new):
    """Find the nodes of one graph in another.

    Parameters
    ----------
    old, new : Graph
        Graphs of the same samples.

    Returns
    -------
    old_nodes, new_nodes : ndarray of int
        Pairs of nodes that share more than half of the samples of both together; each
        node is in one pair at most, and those that share most are paired first.
    """
    shared = (_membership(old) @ _membership(new).T).tocoo()
    together = old.size[shared.row] + new.size[shared.col] - shared.data
    overlap = shared.data / together
    is_near = overlap > _SMALLEST_OVERLAP
    rows, columns, overlap = shared.row[is_near], shared.col[is_near], overlap[is_near]
    pairs = []
    is_free_old, is_free_new = np.full(old.n_nodes, True), np.full(new.n_nodes, True)
    for i in np.lexsort((columns, rows, -overlap)):
        row, column = rows[i], columns[i]
        if is_free_old[row] and is_free_new[column]:
            is_free_old[row] = is_free_new[column] = False
            pairs.append((row, column))
    pairs = np.array(pairs, dtype=np.int64).reshape(-1, 2)
    return pairs[:, 0], pairs[:, 1]


def _membership(graph):
    ones = np.ones(len(graph.members), dtype=np.int64)
    shape = graph.n_nodes, graph.n_samples
    return csr_matrix((ones, graph.members, graph.indptr), shape=shape)
