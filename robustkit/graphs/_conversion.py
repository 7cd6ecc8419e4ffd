"""From graphs of networkx to arrays of edges."""

import networkx as nx
import numpy as np

from robustkit.graphs._layering import orient

__all__ = ["directed_edges"]


def directed_edges(graph, orientation="index", random_state=None):
    """Read the edges of a networkx graph, orienting them if they have no direction.

    Parameters
    ----------
    graph : networkx.Graph or networkx.DiGraph
        Without self-loops and parallel edges. A vertex's index is its place in
        ``graph.nodes``.

    orientation : {"index", "random", "degree"}, default="index"
        What every edge of an undirected graph climbs. The directions of a directed
        one are kept.

    random_state : int, RandomState instance or None, default=None
        Draws the random order.

    Returns
    -------
    edges : ndarray of shape (2, n_edges)
        Row 0 the sources, row 1 the targets.

    labels : tuple
        The vertices.
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
    if not graph.is_directed():
        edges = orient(edges, len(index), orientation, random_state)
    return edges, labels
