"""The two ways to go through a graph: compiled for the CPU, sparse products for CUDA.

Both do the same with tensors whose rows are vertices, then outputs, and whose columns
are samples.
"""

import warnings
from itertools import pairwise

import numpy as np
import torch

from robustkit._validation import did_you_mean
from robustkit.networks._kernels import (
    edge_gradients,
    find_gradients,
    pull_gradients,
    push_activations,
    push_to_outputs,
)

__all__ = ["ENGINES", "resolve_engine"]


class CompiledPasses:
    """Passes in compiled loops over the edges, on one core.

    Parameters
    ----------
    wiring : Wiring
        Which row feeds which.

    device : torch.device
        The CPU.
    """

    def __init__(self, wiring, device):
        self.wiring = wiring

    def forward(self, weight, bias, rows, activation):
        """Fill both buffers.

        Parameters
        ----------
        weight : torch.Tensor of shape (n_edges,)
            Of the edges, in the order of the wiring.

        bias : torch.Tensor of shape (n_rows,)
            Of the rows.

        rows : torch.Tensor of shape (n_rows, n_samples)
            Pre-activations. On entry the sources hold what the input feeds them.

        activation : torch.Tensor of shape (n_rows, n_samples)
            May be `rows` itself, which then keeps the pre-activations of the outputs
            only.
        """
        push_activations(
            self.wiring.n_hidden,
            self.wiring.start_in,
            self.wiring.source,
            *_arrays(weight, bias, rows, activation),
        )

    def outputs(self, weight, bias, drive):
        """Compute the outputs alone.

        Parameters
        ----------
        weight : torch.Tensor of shape (n_edges,)
            Of the edges, in the order of the wiring.

        bias : torch.Tensor of shape (n_rows,)
            Of the rows.

        drive : torch.Tensor of shape (n_sources, n_samples)
            What the input feeds the sources.

        Returns
        -------
        outputs : torch.Tensor of shape (n_outputs, n_samples)
            Their rows.
        """
        n_outputs = self.wiring.n_rows - self.wiring.n_hidden
        outputs = drive.new_empty(n_outputs, drive.shape[1])
        push_to_outputs(
            self.wiring.n_hidden,
            self.wiring.start_in,
            self.wiring.source,
            *_arrays(weight, bias, drive.contiguous(), outputs),
        )
        return outputs

    def backward(self, weight, rows, gradient):
        """Add to the gradients of all rows what comes to them through the edges.

        Parameters
        ----------
        weight : torch.Tensor of shape (n_edges,)
            Of the edges, in the order of the wiring.

        rows : torch.Tensor of shape (n_rows, n_samples)
            Pre-activations, or activations.

        gradient : torch.Tensor of shape (n_rows, n_samples)
            Of the pre-activations. On entry what comes from outside the graph.
        """
        weight, rows, gradient = _arrays(weight, rows, gradient)
        pull_gradients(
            self.wiring.start_out,
            self.wiring.target,
            np.take(weight, self.wiring.leaving),
            rows,
            gradient,
        )

    def edge_gradients(self, rows, gradient, out):
        """Write the gradients of the edges.

        Parameters
        ----------
        rows : torch.Tensor of shape (n_rows, n_samples)
            Pre-activations, or activations.

        gradient : torch.Tensor of shape (n_rows, n_samples)
            Of the pre-activations.

        out : torch.Tensor of shape (n_edges,)
            Written.
        """
        wiring = self.wiring
        edge_gradients(wiring.start_in, wiring.source, *_arrays(rows, gradient, out))

    def find_gradients(
        self, weight, bias, rows, targets, label_smoothing, n_graphs, of_weight, of_bias
    ):
        """Do all of the above for the cross-entropy of each graph.

        Parameters
        ----------
        weight, bias, rows : torch.Tensor
            As in `forward`.

        targets : torch.Tensor of shape (n_samples,)
            Class of each sample.

        label_smoothing : float
            Share of the target that is spread over all classes.

        n_graphs : int
            How many graphs share the outputs.

        of_weight, of_bias : torch.Tensor
            Written: the gradients of the weights and of the biases.

        Returns
        -------
        losses : torch.Tensor of shape (n_graphs,)
            Means over the samples.

        gradient : torch.Tensor of shape (n_rows, n_samples)
            Of the pre-activations.
        """
        wiring = self.wiring
        losses, gradient = rows.new_empty(n_graphs), torch.empty_like(rows)
        find_gradients(
            wiring.n_hidden,
            wiring.start_in,
            wiring.source,
            wiring.start_out,
            wiring.target,
            wiring.leaving,
            *_arrays(weight, bias, rows, targets),
            label_smoothing,
            *_arrays(losses, gradient, of_weight, of_bias),
        )
        return losses, gradient


class SparsePasses:
    """Passes with one sparse matrix product a layer, on any device.

    Its methods are those of `CompiledPasses`.

    Parameters
    ----------
    wiring : Wiring
        Which row feeds which, layer by layer.

    device : torch.device
        Where the weights are.
    """

    def __init__(self, wiring, device):
        n, offsets = wiring.n_rows, wiring.layer_offsets
        self.layers = list(pairwise(offsets))
        entering = (wiring.start_in, wiring.source, device)
        leaving = (wiring.start_out, wiring.target, device)
        self.incoming = [
            _Block(*entering, rows=(a, b), columns=(0, a)) for a, b in self.layers[1:]
        ]
        self.outgoing = [
            _Block(*leaving, rows=(a, b), columns=(b, n)) for a, b in self.layers[:-1]
        ]
        self.all_edges = _Block(*entering, rows=(0, n), columns=(0, n))
        self.leaving = torch.from_numpy(wiring.leaving).to(device)

    def forward(self, weight, bias, rows, activation):
        """Fill both buffers."""
        (a, b), *others = self.layers
        rows[a:b] += bias[a:b, None]
        rows[b:] = bias[b:, None]
        activation[a:b] = rows[a:b].relu()
        for (a, b), block in zip(others, self.incoming, strict=True):
            torch.addmm(rows[a:b], block(weight), activation[:a], out=rows[a:b])
            if (a, b) != self.layers[-1]:
                activation[a:b] = rows[a:b].relu()

    def outputs(self, weight, bias, drive):
        """Compute the outputs alone."""
        rows = drive.new_empty(len(bias), drive.shape[1])
        rows[: len(drive)] = drive
        self.forward(weight, bias, rows, rows)
        first, _ = self.layers[-1]
        return rows[first:]

    def backward(self, weight, rows, gradient):
        """Add to the gradients of all rows what comes to them through the edges."""
        weight = weight.index_select(0, self.leaving)
        inner = zip(self.layers[:-1], self.outgoing, strict=True)
        for (a, b), block in reversed(list(inner)):
            through = torch.mm(block(weight), gradient[b:])
            gradient[a:b] += _relu_gradient(through, rows[a:b], 0)

    def edge_gradients(self, rows, gradient, out):
        """Write the gradients of the edges."""
        pattern = self.all_edges(torch.zeros_like(out))
        entered = rows.relu().t()
        sampled = torch.sparse.sampled_addmm(pattern, gradient, entered, beta=0.0)
        out.copy_(sampled.values())

    def find_gradients(
        self, weight, bias, rows, targets, label_smoothing, n_graphs, of_weight, of_bias
    ):
        """Do all of the above for the cross-entropy of each graph."""
        self.forward(weight, bias, rows, rows)
        gradient = torch.zeros_like(rows)
        first, _ = self.layers[-1]
        losses, gradient[first:] = _cross_entropy(
            rows[first:], targets, label_smoothing, n_graphs
        )
        self.backward(weight, rows, gradient)
        self.edge_gradients(rows, gradient, of_weight)
        torch.sum(gradient, dim=1, out=of_bias)
        return losses, gradient


# What torch's ReLU does to a gradient: nothing, where its input is positive or NaN.
_relu_gradient = torch.ops.aten.threshold_backward


class _Block:
    """Some rows and columns of the matrix of a graph; called with all the weights."""

    def __init__(self, start, neighbour, device, *, rows, columns):
        (a, b), (low, high) = rows, columns
        self.edges = slice(int(start[a]), int(start[b]))
        self.size = (b - a, high - low)
        self.places, self.columns = (
            torch.from_numpy(index).to(device, torch.int32)
            for index in (
                start[a : b + 1] - start[a],
                neighbour[self.edges] - low,
            )
        )

    def __call__(self, weight):
        with warnings.catch_warnings():
            # "Sparse CSR tensor support is in beta state".
            warnings.filterwarnings(
                "ignore", message="Sparse CSR", category=UserWarning
            )
            return torch.sparse_csr_tensor(
                self.places,
                self.columns,
                weight[self.edges],
                size=self.size,
                check_invariants=False,
            )


def _cross_entropy(logits, targets, label_smoothing, n_graphs):
    """Mean loss of each graph, and the gradient with respect to its logits."""
    n_samples = len(targets)
    log_odds = torch.log_softmax(logits.view(n_graphs, -1, n_samples), dim=1)
    n_outputs = log_odds.shape[1]
    places = targets.expand(n_graphs, 1, n_samples)
    sure, share = 1 - label_smoothing, label_smoothing / n_outputs
    losses = -sure * log_odds.gather(1, places).mean(dim=(1, 2))
    losses -= label_smoothing * log_odds.mean(dim=(1, 2))
    gradient = log_odds.exp() - share
    # Not `scatter_add_`, which is not deterministic on every device.
    gradient.scatter_(1, places, gradient.gather(1, places) - sure)
    return losses, gradient.view_as(logits) / n_samples


def _arrays(*tensors):
    return [tensor.detach().numpy() for tensor in tensors]


ENGINES = {"compiled": CompiledPasses, "sparse": SparsePasses}


def resolve_engine(engine, device):
    """Find out which engine "auto" is.

    Parameters
    ----------
    engine : {"auto", "compiled", "sparse"}
        The parameter as the user gave it.

    device : torch.device
        Where the weights are.

    Returns
    -------
    engine : {"compiled", "sparse"}
        One that works there.
    """
    if engine == "auto":
        return "compiled" if device.type == "cpu" else "sparse"
    if engine not in ENGINES:
        raise ValueError(
            f"engine must be one of {['auto', *ENGINES]}. Got {engine!r} instead"
            f"{did_you_mean(engine, ENGINES)}"
        )
    if engine == "compiled" and device.type != "cpu":
        raise ValueError(
            f"engine='compiled' works on the CPU only, but the weights are on {device}."
        )
    return engine
