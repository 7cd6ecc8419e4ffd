"""Which row of a buffer feeds which: the edges of one graph, or of many at once."""

import numpy as np

__all__ = ["Wiring"]


class Wiring:
    """The edges of some graphs with outputs, seen from both of their ends.

    The graphs become one, without an edge between them. Its rows are their vertices,
    and, as a vertex of its own to which every sink leads, each of their outputs: first
    the sources of all graphs, so that one matrix product feeds them, at last the
    outputs of all graphs, in between all other vertices so that every edge leads to a
    later row.

    Parameters
    ----------
    structures : sequence of LayeredGraph
        One or more graphs. With a single one, the rows are its vertices, in order.

    n_outputs : int
        Outputs of each graph.

    by_layer : bool, default=False
        Whether the rows in between go layer by layer through all graphs, so that a
        layer of all graphs is a range of rows, or graph by graph, which keeps close
        together what is used together.

    Attributes
    ----------
    n_rows, n_sources, n_hidden : int
        Rows; those of them that are sources; those that are not outputs.

    rows : list of ndarray
        For each graph, the rows of its vertices and of its outputs.

    slots : list of ndarray
        For each graph, the places of its edges and of those that lead to its outputs,
        output by output.

    start_in : ndarray of shape (n_rows + 1,)
        Row v is the target of the edges ``start_in[v]`` to ``start_in[v + 1]``.

    source : ndarray of shape (n_edges,)
        The row from which each edge comes.

    start_out, target : ndarray
        The same with the two ends exchanged.

    leaving : ndarray of shape (n_edges,)
        The places of the edges in the order of `target`.

    layer_offsets : list of int
        Layer ``i`` of all graphs is the rows from ``layer_offsets[i]`` to, and without,
        ``layer_offsets[i + 1]``; the last layer are the outputs. It holds only with
        `by_layer`, or with a single graph.
    """

    def __init__(self, structures, n_outputs, *, by_layer=False):
        n_layers = max(graph.n_layers for graph in structures)
        layers = [np.append(g.layer, [n_layers] * n_outputs) for g in structures]
        graph = np.repeat(np.arange(len(layers)), [len(layer) for layer in layers])
        layer = np.concatenate(layers)
        # -1: sources, 0: in between, 1: outputs.
        part = np.where(layer == 0, -1, layer == n_layers)
        row = np.empty(len(layer), dtype=np.intp)
        order = (graph, layer, part) if by_layer else (layer, graph, part)
        row[np.lexsort(order)] = np.arange(len(row))
        self.n_rows = len(row)
        self.n_sources = int((part == -1).sum())
        self.n_hidden = int((part < 1).sum())
        self.layer_offsets = [0, *np.cumsum(np.bincount(layer)).tolist()]
        self.rows = _split(row, layers)
        self._store_edges([_edges(graph, n_outputs) for graph in structures])

    def _store_edges(self, edges):
        source, target = np.concatenate(
            [rows[ends] for rows, ends in zip(self.rows, edges, strict=True)], axis=1
        )
        order = np.lexsort((source, target))
        slot = np.empty_like(order)
        slot[order] = np.arange(len(order))
        self.slots = _split(slot, [ends[0] for ends in edges])
        self.source, target = source[order], target[order]
        self.start_in = self._starts(target)
        self.leaving = np.lexsort((target, self.source))
        self.target = target[self.leaving]
        self.start_out = self._starts(self.source)

    def _starts(self, ends):
        n_edges = np.bincount(ends, minlength=self.n_rows)
        return np.concatenate([[0], np.cumsum(n_edges)])


def _edges(graph, n_outputs):
    """Edges of a graph, and from every sink to every output."""
    outputs = graph.n_nodes + np.arange(n_outputs)
    readout = [np.tile(graph.sinks, n_outputs), np.repeat(outputs, len(graph.sinks))]
    return np.hstack([graph.edges, readout])


def _split(joined, pieces):
    """Cut an array into as long pieces as some others are."""
    return np.split(joined, np.cumsum([len(piece) for piece in pieces])[:-1])
