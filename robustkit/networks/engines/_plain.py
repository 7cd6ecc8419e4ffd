"""The forward pass in torch's own operations, for tracers and transforms.

The other engines compute numbers that no tracer, exporter, transform or second
derivative can see. This one is slower and takes memory for every edge and sample, but
can be recorded, batched and differentiated as often as one likes.
"""

from itertools import pairwise

import numpy as np
import torch
from torch import Tensor

from robustkit.graphs import LayeredGraph

__all__ = ["PlainEngine", "is_observed"]

# What the other engines can compute with.
_PRECISIONS = (torch.float32, torch.float64)


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
