"""The two ways to go through a graph: compiled for the CPU, sparse products for CUDA.

Both do the same three things with tensors whose rows are vertices and whose columns are
samples, and both see a weight as it is at the moment: nothing is copied at the start
but what belongs to the wiring.
"""

import warnings
from itertools import pairwise

import numpy as np
import torch

from robustkit.networks._kernels import (
    edge_gradients,
    pull_gradients,
    push_activations,
)

__all__ = ["CompiledPasses", "SparsePasses"]


class CompiledPasses:
    """Passes in compiled loops over the edges, on one core.

    Parameters
    ----------
    wiring : Wiring
        Which row feeds which.

    weight : torch.Tensor of shape (n_edges,)
        One number an edge, on the CPU.
    """

    def __init__(self, wiring, weight):
        self.wiring = wiring
        self.weight = weight.detach()

    def forward(self, preactivation, activation, bias):
        """Fill both buffers; on entry the first holds what the input feeds sources."""
        push_activations(
            self.wiring.start_in,
            self.wiring.source,
            self.weight.numpy(),
            bias.detach().numpy(),
            preactivation.numpy(),
            activation.numpy(),
        )

    def backward(self, preactivation, gradient):
        """Add to the gradients of the pre-activations what comes through the edges."""
        pull_gradients(
            self.wiring.start_out,
            self.wiring.target,
            np.take(self.weight.numpy(), self.wiring.leaving),
            preactivation.numpy(),
            gradient.numpy(),
        )

    def edge_gradients(self, preactivation, gradient, out):
        """Write the gradients of the weights."""
        edge_gradients(
            self.wiring.start_in,
            self.wiring.source,
            preactivation.numpy(),
            gradient.numpy(),
            out.numpy(),
        )


class SparsePasses:
    """Passes with one sparse matrix product a layer, on any device.

    Parameters
    ----------
    wiring : Wiring
        Which row feeds which, layer by layer.

    weight : torch.Tensor of shape (n_edges,)
        One number an edge.
    """

    def __init__(self, wiring, weight):
        n, offsets = wiring.n_nodes, wiring.layer_offsets.tolist()
        self.layers = list(pairwise(offsets))
        self.weight = weight.detach()
        self.leaving = torch.from_numpy(wiring.leaving).to(weight.device)
        self.weight_leaving = torch.empty_like(self.weight)
        entering = (wiring.start_in, wiring.source)
        leaving = (wiring.start_out, wiring.target)
        # Values are views, so that the products see every change of the weights.
        self.products = [
            _block(*entering, self.weight, rows=(a, b), columns=(0, a))
            for a, b in self.layers[1:]
        ]
        self.products_back = [
            _block(*leaving, self.weight_leaving, rows=(a, b), columns=(b, n))
            for a, b in self.layers[:-1]
        ]
        self.pattern = _block(
            *entering, torch.zeros_like(self.weight), rows=(0, n), columns=(0, n)
        )

    def forward(self, preactivation, activation, bias):
        """Fill both buffers; on entry the first holds what the input feeds sources."""
        a, b = self.layers[0]
        preactivation[a:b] += bias.detach()[a:b, None]
        preactivation[b:] = bias.detach()[b:, None]
        activation[a:b] = preactivation[a:b].relu()
        for (a, b), product in zip(self.layers[1:], self.products, strict=True):
            rows = preactivation[a:b]
            torch.addmm(rows, product, activation[:a], out=rows)
            activation[a:b] = rows.relu()

    def backward(self, preactivation, gradient):
        """Add to the gradients of the pre-activations what comes through the edges."""
        torch.index_select(self.weight, 0, self.leaving, out=self.weight_leaving)
        inner = zip(self.layers[:-1], self.products_back, strict=True)
        for (a, b), product in reversed(list(inner)):
            through = torch.mm(product, gradient[b:])
            gradient[a:b] += _gate(through, preactivation[a:b], 0)

    def edge_gradients(self, preactivation, gradient, out):
        """Write the gradients of the weights."""
        if out.numel():
            entered = preactivation.relu().t()
            sampled = torch.sparse.sampled_addmm(
                self.pattern, gradient, entered, beta=0.0
            )
            out.copy_(sampled.values())


# What torch's ReLU does to a gradient: nothing, where its input is positive or NaN.
_gate = torch.ops.aten.threshold_backward


def _block(start, neighbour, values, *, rows, columns):
    """See some rows and columns of the graph's matrix as a sparse one."""
    edges = slice(start[rows[0]], start[rows[1]])
    places = start[rows[0] : rows[1] + 1] - edges.start
    with warnings.catch_warnings():
        # "Sparse CSR tensor support is in beta state".
        warnings.filterwarnings("ignore", message="Sparse CSR", category=UserWarning)
        return torch.sparse_csr_tensor(
            torch.from_numpy(places).to(values.device, torch.int32),
            torch.from_numpy(neighbour[edges] - columns[0]).to(
                values.device, torch.int32
            ),
            values[edges],
            size=(rows[1] - rows[0], columns[1] - columns[0]),
            check_invariants=False,
        )
