"""Engines in torch's operations: sparse products, and a plain pass for tracers.

The compiled and the sparse engine compute numbers that no tracer, exporter, transform
or second derivative can see. The plain one is slower and takes memory for every edge
and sample, but can be recorded, batched and differentiated as often as one likes.
"""

import warnings
from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.optim.adam import adam

from robustkit.graphs import LayeredGraph
from robustkit.networks.engines._union import Wiring

__all__ = ["BETAS", "EPS", "PlainEngine", "SparseEngine", "TorchAdam", "is_observed"]

# What the other engines can compute with.
_PRECISIONS = (torch.float32, torch.float64)

# Of Adam: how much of the moments is kept, and what keeps its divisor from zero.
BETAS = (0.9, 0.999)
EPS = 1e-8


class SparseEngine:
    """Passes with one sparse matrix product per layer, on any device.

    Its methods are those of `robustkit.networks.engines.Engine`.
    """

    def __init__(self, wiring: Wiring, device: torch.device) -> None:
        self.wiring = wiring
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

    def forward(
        self,
        weight: Tensor,
        bias: Tensor,
        rows: Tensor,
        activation: Tensor,
        widths: NDArray | None = None,
    ) -> None:
        """Fill both buffers, whatever the widths: all columns take part."""
        (a, b), *others = self.layers
        rows[a:b] += bias[a:b, None]
        rows[b:] = bias[b:, None]
        activation[a:b] = rows[a:b].relu()
        for (a, b), block in zip(others, self.incoming, strict=True):
            torch.addmm(rows[a:b], block(weight), activation[:a], out=rows[a:b])
            if (a, b) != self.layers[-1]:
                activation[a:b] = rows[a:b].relu()

    def outputs(self, weight: Tensor, bias: Tensor, drive: Tensor) -> Tensor:
        """Compute the outputs alone."""
        rows = drive.new_empty(len(bias), drive.shape[1])
        rows[: len(drive)] = drive
        self.forward(weight, bias, rows, rows)
        first, _ = self.layers[-1]
        return rows[first:]

    def backward(
        self,
        weight: Tensor,
        rows: Tensor,
        gradient: Tensor,
        widths: NDArray | None = None,
    ) -> None:
        """Add to the gradients of all rows what comes to them through the edges."""
        weight = weight.index_select(0, self.leaving)
        inner = zip(self.layers[:-1], self.outgoing, strict=True)
        for (a, b), block in reversed(list(inner)):
            through = torch.mm(block(weight), gradient[b:])
            gradient[a:b] += _relu_gradient(through, rows[a:b], 0)

    def edge_gradients(self, rows: Tensor, gradient: Tensor, out: Tensor) -> None:
        """Write the gradients of the edges."""
        pattern = self.all_edges(torch.zeros_like(out))
        entered = rows.relu().t()
        sampled = torch.sparse.sampled_addmm(pattern, gradient, entered, beta=0.0)
        out.copy_(sampled.values())

    def find_gradients(
        self,
        weight: Tensor,
        bias: Tensor,
        rows: Tensor,
        targets: Tensor,
        *,
        label_smoothing: float,
        n_graphs: int,
        out: tuple[Tensor, Tensor],
        gradient: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Do all of the above for the cross-entropy of each graph."""
        of_weight, of_bias = out
        self.forward(weight, bias, rows, rows)
        gradient = torch.zeros_like(rows) if gradient is None else gradient.zero_()
        first, _ = self.layers[-1]
        losses, gradient[first:] = _cross_entropy(
            rows[first:], targets, label_smoothing, n_graphs
        )
        self.backward(weight, rows, gradient)
        self.edge_gradients(rows, gradient, of_weight)
        torch.sum(gradient, dim=1, out=of_bias)
        return losses, gradient

    @staticmethod
    def adam(
        weight: Tensor, gradient: Tensor, *, lr: float, weight_decay: float
    ) -> "TorchAdam":
        """Make the optimizer of these weights."""
        return TorchAdam(weight, gradient, lr=lr, weight_decay=weight_decay)


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


class TorchAdam:
    """Adam on a GPU, in one kernel that can be part of a CUDA graph.

    Parameters
    ----------
    weight : torch.Tensor of shape (n_weights,)
        Changed in place.

    gradient : torch.Tensor of shape (n_weights,)
        Read by every step.

    lr : float
        Learning rate.

    weight_decay : float
        L2 penalty, as torch.optim.Adam defines it.

    Attributes
    ----------
    mean, square : torch.Tensor of shape (n_weights,)
        The moments.

    count : torch.Tensor of shape ()
        Steps taken.
    """

    def __init__(
        self, weight: Tensor, gradient: Tensor, *, lr: float, weight_decay: float
    ) -> None:
        self.lr, self.weight_decay = lr, weight_decay
        self.mean, self.square = torch.zeros_like(weight), torch.zeros_like(weight)
        self.count = torch.zeros((), device=weight.device)
        self._weight, self._gradient = weight, gradient

    def step(self) -> None:
        """Change the weights once."""
        adam(
            [self._weight],
            [self._gradient],
            [self.mean],
            [self.square],
            [],
            [self.count],
            fused=True,
            capturable=self._weight.is_cuda,
            amsgrad=False,
            maximize=False,
            lr=self.lr,
            weight_decay=self.weight_decay,
            beta1=BETAS[0],
            beta2=BETAS[1],
            eps=EPS,
        )


def is_observed(drive: Tensor, weight: Tensor) -> bool:
    """Whether more is asked for than the numbers, or in a precision of its own.

    Then only the plain engine will do.
    """
    return (
        drive.dtype not in _PRECISIONS
        or drive.dtype != weight.dtype
        or torch.compiler.is_compiling()
        or torch.jit.is_tracing()
        or torch.is_autocast_enabled(drive.device.type)
        or _is_transformed(drive)
    )


def _is_transformed(tensor: Tensor) -> bool:
    """Whether tensors may hold more than numbers: a batch, a tangent, a record.

    There is no public way to ask. `torch.autograd.Function` asks the first question,
    `torch.autograd.forward_ad` the third; the last batch is that of gradients in
    `torch.autograd.grad`.
    """
    return (
        torch._C._are_functorch_transforms_active()
        or torch._C._len_torch_dispatch_stack() > 0
        or torch.autograd.forward_ad._current_level >= 0
        or torch._C._functorch.is_legacy_batchedtensor(tensor)
    )


class PlainEngine:
    """A pass that gathers, multiplies and adds, layer by layer, and never in place."""

    def __init__(self, structure: LayeredGraph) -> None:
        source, target = structure.edges
        offsets = structure.layer_offsets
        self.n_edges, self.n_sinks = structure.n_edges, len(structure.sinks)
        self.layers = list(pairwise(offsets.tolist()))
        # Edges are sorted by target, so those into a layer, or a vertex, are a range.
        start = np.searchsorted(target, np.arange(structure.n_nodes + 1))
        self.edges = list(pairwise(start[offsets].tolist()))
        most = np.maximum.reduceat(np.diff(start), offsets[:-1])
        self.most_predecessors = most.tolist()
        place = target - offsets[structure.layer[target]]
        # Made now: a tracer would take it for a part of the computation.
        self.indices = [
            torch.from_numpy(np.array(index, dtype=np.int64))
            for index in (source, place, start, structure.sinks)
        ]

    def forward(self, weight: Tensor, bias: Tensor, drive: Tensor) -> Tensor:
        """Compute the pre-activations of all vertices and outputs.

        `weight` holds those of the edges, then of the outputs; `bias` those of the
        vertices, then of the outputs; `drive` what the input feeds the sources: one row
        each, one column per sample. Half precision is widened in between: only what
        comes in and what goes out is rounded to it.
        """
        precision = torch.promote_types(drive.dtype, weight.dtype)
        wide = torch.promote_types(precision, torch.float32)
        weight, bias, drive = (tensor.to(wide) for tensor in (weight, bias, drive))
        source, place, start, sinks = (index.to(drive.device) for index in self.indices)
        (a, b), *others = self.layers
        rows = [drive + bias[a:b, None]]
        active = rows[0].relu()
        for layer, (a, b) in enumerate(others, start=1):
            edges = slice(*self.edges[layer])
            carried = weight[edges, None] * active[source[edges]]
            if torch.onnx.is_in_onnx_export():
                entering = _add_ranges(
                    carried,
                    start[a : b + 1] - edges.start,
                    self.most_predecessors[layer],
                )
            else:
                to = place[edges, None].expand_as(carried)
                nothing = carried.new_zeros(b - a, carried.shape[1])
                entering = nothing.scatter_add(0, to, carried)
            rows.append(entering + bias[a:b, None])
            active = torch.cat([active, rows[-1].relu()])
        readout = weight[self.n_edges :].reshape(-1, self.n_sinks)
        outputs = (readout @ active[sinks]).to(wide) + bias[b:, None]
        return torch.cat([*rows, outputs]).to(precision)


def _add_ranges(carried: Tensor, start: Tensor, n_most: int) -> Tensor:
    """Add the rows of each range, of which none is longer than `n_most`.

    Before version 16, ONNX cannot add to a place more than once, and does not say so.
    """
    reach = start[:-1, None] + torch.arange(n_most, device=start.device)
    reach = torch.where(reach < start[1:, None], reach, carried.shape[0])
    return torch.cat([carried, torch.zeros_like(carried[:1])])[reach].sum(dim=1)
