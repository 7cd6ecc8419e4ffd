"""Which row of a buffer feeds which: the edges of one graph, or of many at once."""

import numpy as np

__all__ = ["Wiring"]


class Wiring:
    """The edges of some graphs, seen from both of their ends.

    The graphs become one, without an edge between them. Its rows are their vertices:
    first the sources of all graphs, so that one matrix product feeds them, then all
    other vertices so that every edge leads to a later row.

    Parameters
    ----------
    structures : sequence of LayeredGraph
        One or more graphs. The rows of a single one are its vertices, in order.

    by_layer : bool, default=False
        Whether the rows behind the sources go layer by layer through all graphs, which
        lets a layer of all graphs be one operation, or graph by graph, which keeps
        what is used together close together.

    Attributes
    ----------
    n_nodes, n_sources : int
        Rows, and those of them that are sources.

    rows : list of ndarray
        For each graph, the rows of its vertices.

    slots : list of ndarray
        For each graph, the places of its edges.

    start_in : ndarray of shape (n_nodes + 1,)
        Row v is the target of the edges ``start_in[v]`` to ``start_in[v + 1]``.

    source : ndarray of shape (n_edges,)
        The row from which each edge comes.

    start_out, target : ndarray
        The same with the two ends exchanged.

    leaving : ndarray of shape (n_edges,)
        The places of the edges in the order of `target`.

    layer_offsets : ndarray of shape (n_layers + 1,)
        Layer ``i`` of all graphs is the rows from ``layer_offsets[i]`` to, and without,
        ``layer_offsets[i + 1]``. Only with `by_layer`, or with a single graph.
    """

    def __init__(self, structures, *, by_layer=False):
        graph = np.repeat(
            np.arange(len(structures)), [graph.n_nodes for graph in structures]
        )
        layer = np.concatenate([graph.layer for graph in structures])
        keys = (graph, layer) if by_layer else (layer, graph)
        row = np.empty(len(graph), dtype=np.intp)
        row[np.lexsort((*keys, layer > 0))] = np.arange(len(graph))
        ends = np.cumsum([graph.n_nodes for graph in structures])
        self.rows = np.split(row, ends[:-1])
        self.n_nodes = len(row)
        self.n_sources = sum(len(graph.sources) for graph in structures)
        self.layer_offsets = np.concatenate([[0], np.cumsum(np.bincount(layer))])
        self._store_edges([graph.edges for graph in structures])

    def _store_edges(self, edges):
        source, target = np.concatenate(
            [rows[ends] for rows, ends in zip(self.rows, edges, strict=True)], axis=1
        )
        order = np.lexsort((source, target))
        slot = np.empty_like(order)
        slot[order] = np.arange(len(order))
        self.slots = np.split(slot, np.cumsum([ends.shape[1] for ends in edges])[:-1])
        self.source, target = source[order], target[order]
        self.start_in = self._starts(target)
        self.leaving = np.lexsort((target, self.source))
        self.target = target[self.leaving]
        self.start_out = self._starts(self.source)

    def _starts(self, ends):
        n_edges = np.bincount(ends, minlength=self.n_nodes)
        return np.concatenate([[0], np.cumsum(n_edges)])
