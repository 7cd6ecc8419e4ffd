"""One graph, or many side by side as one: their edges, and where each weight is."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from robustkit.graphs import LayeredGraph

if TYPE_CHECKING:
    from robustkit.networks._sparse_network import SparseNetwork

__all__ = ["Union", "Wiring"]


class Wiring:
    """The edges of some graphs with outputs, seen from both of their ends.

    The graphs become one, without an edge between them. Its rows are their vertices and
    their outputs; an output is a vertex that every sink leads to. First come the
    sources of all graphs, so that one matrix product feeds them, last the outputs of
    all graphs, in between all other vertices, so that every edge leads to a later row.

    Parameters
    ----------
    structures : sequence of LayeredGraph
        One or more graphs. With a single one, the rows are its vertices, in order.

    n_outputs : int
        Outputs of each graph.

    by_layer : bool, default=False
        Whether the rows in between are sorted by layer, so that a layer of all graphs
        is a range of rows, or by graph, so that what is used together is close in
        memory.

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
        Layer ``i`` of all graphs is the rows from ``layer_offsets[i]`` up to, but not
        including, ``layer_offsets[i + 1]``; the last layer is the outputs. Valid only
        with `by_layer`, or with a single graph.
    """

    def __init__(
        self,
        structures: Sequence[LayeredGraph],
        n_outputs: int,
        *,
        by_layer: bool = False,
    ) -> None:
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

    def _store_edges(self, edges: list[NDArray]) -> None:
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

    def _starts(self, ends: NDArray) -> NDArray:
        n_edges = np.bincount(ends, minlength=self.n_rows)
        return np.concatenate([[0], np.cumsum(n_edges)])


class Union:
    """The parameters of several networks as one vector.

    It holds the weights of the input, one row per source, the bias of each row of the
    wiring, and the weight of each of its edges.

    Parameters
    ----------
    modules : sequence of SparseNetwork
        With the same number of features and outputs, device and precision.

    wiring : Wiring
        Of their structures.

    Attributes
    ----------
    n_parameters : int
        Length of the vector.
    """

    def __init__(self, modules: "Sequence[SparseNetwork]", wiring: Wiring) -> None:
        structures = [module.structure for module in modules]
        self._n_features, self._n_outputs = modules[0].n_features, modules[0].n_outputs
        self._n_sources = [len(graph.sources) for graph in structures]
        self._n_nodes = [graph.n_nodes for graph in structures]
        self._n_edges = [graph.n_edges for graph in structures]
        n_inputs = wiring.n_sources * self._n_features
        self._ends = n_inputs, n_inputs + wiring.n_rows
        self.n_parameters = self._ends[1] + len(wiring.source)
        if len(structures) == 1:
            # Everything stands in order, and is seen rather than copied.
            self._rows = self._slots = [slice(None)]
        else:
            device = modules[0].bias.device
            self._rows, self._slots = (
                [torch.from_numpy(places).to(device) for places in of_each]
                for of_each in (wiring.rows, wiring.slots)
            )

    def see(self, vector: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """View a vector as input weights, biases and edge weights."""
        input_weight, bias, weight = vector.tensor_split(self._ends)
        return input_weight.view(-1, self._n_features), bias, weight

    def join(self, networks: Sequence[Sequence[Tensor]]) -> Tensor:
        """Copy the five parameters of each network, in their order, into one vector."""
        vector = networks[0][0].new_empty(self.n_parameters)
        input_weight, bias, weight = self.see(vector)
        input_weight.copy_(torch.cat([of_one[0] for of_one in networks]))
        for rows, slots, (_, b, w, v, c) in zip(
            self._rows, self._slots, networks, strict=True
        ):
            bias[rows] = torch.cat([b, c])
            weight[slots] = torch.cat([w, v.flatten()])
        return vector

    def split(self, vector: Tensor) -> list[list[Tensor]]:
        """Find the parameters of each network in a vector, as `join` takes them.

        They are views if there is only one network.
        """
        input_weight, bias, weight = self.see(vector)
        networks = []
        for i, inputs in enumerate(input_weight.split(self._n_sources)):
            own_bias, own_weight = bias[self._rows[i]], weight[self._slots[i]]
            biases = own_bias.tensor_split([self._n_nodes[i]])
            edges, outputs = own_weight.tensor_split([self._n_edges[i]])
            outputs = outputs.view(self._n_outputs, -1)
            networks.append([inputs, biases[0], edges, outputs, biases[1]])
        return networks

    def places(self, i: int) -> list[Any]:
        """Return where in a vector each of the parameters of a network is, flat."""
        starts = np.cumsum([0, *self._n_sources]) * self._n_features
        rows, slots = self._rows[i], self._slots[i]
        if isinstance(rows, slice):
            rows = torch.arange(self._ends[1] - self._ends[0])
            slots = torch.arange(self.n_parameters - self._ends[1])
        rows, slots = rows + self._ends[0], slots + self._ends[1]
        n_nodes, n_edges = self._n_nodes[i], self._n_edges[i]
        return [
            slice(int(starts[i]), int(starts[i + 1])),
            rows[:n_nodes],
            slots[:n_edges],
            slots[n_edges:],
            rows[n_nodes:],
        ]


def _edges(graph: LayeredGraph, n_outputs: int) -> NDArray:
    """Edges of a graph, and from every sink to every output."""
    outputs = graph.n_nodes + np.arange(n_outputs)
    readout = [np.tile(graph.sinks, n_outputs), np.repeat(outputs, len(graph.sinks))]
    return np.hstack([graph.edges, readout])


def _split(joined: NDArray, pieces: Sequence[NDArray]) -> list[NDArray]:
    """Cut an array into pieces of the lengths of others."""
    return np.split(joined, np.cumsum([len(piece) for piece in pieces])[:-1])
