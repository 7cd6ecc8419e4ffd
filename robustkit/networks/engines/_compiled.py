"""The engine of the CPU: loops over the edges of a graph, compiled.

A row of every buffer is a vertex, a column a sample. Rows are in topological order, so
that one pass over them is a pass through the network. The innermost loops run along a
row: the compiler turns them into vector instructions. Four edges are taken at a time,
because a row is then loaded and stored once for four additions.

Sums may be reordered (``reassoc``, without which no sum is vectorised), but nothing may
be assumed of the numbers: a NaN has to arrive at the output.
"""

from typing import Any

import numpy as np
import torch
from numba import njit
from numpy.typing import NDArray
from torch import Tensor

from robustkit.networks.engines._in_torch import BETAS, EPS
from robustkit.networks.engines._union import Wiring

__all__ = ["CompiledAdam", "CompiledEngine"]


class CompiledEngine:
    """Passes in compiled loops over the edges, on one core.

    Its methods are those of `robustkit.networks.engines.Engine`.
    """

    def __init__(self, wiring: Wiring, device: torch.device) -> None:
        self.wiring = wiring
        self._edges = (
            wiring.n_hidden,
            wiring.start_in,
            wiring.source,
            wiring.start_out,
            wiring.target,
            wiring.leaving,
        )
        # Tensors that a training passes at every step, and their arrays.
        self._lasting: tuple[tuple[Tensor, ...], list[NDArray]] = (), []

    def forward(
        self,
        weight: Tensor,
        bias: Tensor,
        rows: Tensor,
        activation: Tensor,
        widths: NDArray | None = None,
    ) -> None:
        """Fill both buffers."""
        weights, biases, values, activations = _arrays(weight, bias, rows, activation)
        widths = _widths(rows, widths)
        push_activations(*self._edges[:3], weights, biases, values, activations, widths)

    def outputs(self, weight: Tensor, bias: Tensor, drive: Tensor) -> Tensor:
        """Compute the outputs alone."""
        n_outputs = self.wiring.n_rows - self.wiring.n_hidden
        outputs = drive.new_empty(n_outputs, drive.shape[1])
        arrays = _arrays(weight, bias, drive.contiguous(), outputs)
        push_to_outputs(*self._edges[:3], *arrays)
        return outputs

    def backward(
        self,
        weight: Tensor,
        rows: Tensor,
        gradient: Tensor,
        widths: NDArray | None = None,
    ) -> None:
        """Add to the gradients of all rows what comes to them through the edges."""
        of_edge, values, gradients = _arrays(weight, rows, gradient)
        leaving = np.take(of_edge, self.wiring.leaving)
        widths = _widths(rows, widths)
        pull_gradients(*self._edges[3:5], leaving, values, gradients, widths)

    def edge_gradients(self, rows: Tensor, gradient: Tensor, out: Tensor) -> None:
        """Write the gradients of the edges."""
        edge_gradients(*self._edges[1:3], *_arrays(rows, gradient, out))

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
        if gradient is None:
            gradient = torch.empty_like(rows)
            arrays = _arrays(weight, bias, rows, gradient, *out)
        else:
            given = (weight, bias, rows, gradient, *out)
            if list(map(id, given)) != list(map(id, self._lasting[0])):
                self._lasting = given, _arrays(*given)
            arrays = self._lasting[1]
        weights, biases, values, slopes, *written = arrays
        losses = rows.new_empty(n_graphs)
        find_gradients(
            self._edges, weights, biases, values, targets.numpy(), label_smoothing,
            losses.numpy(), slopes, tuple(written),
        )  # fmt: skip
        return losses, gradient

    @staticmethod
    def adam(
        weight: Tensor, gradient: Tensor, *, lr: float, weight_decay: float
    ) -> "CompiledAdam":
        """Make the optimizer of these weights."""
        return CompiledAdam(weight, gradient, lr=lr, weight_decay=weight_decay)


def _widths(rows: Tensor, widths: NDArray | None) -> NDArray:
    """Return how many samples each row has: all of them, if nothing is said."""
    return np.full(len(rows), rows.shape[1]) if widths is None else widths


def _arrays(*tensors: Tensor) -> list[NDArray]:
    return [tensor.detach().numpy() for tensor in tensors]


class CompiledAdam:
    """Adam on the CPU, which inactive units do not slow down.

    Its parameters and attributes are those of `TorchAdam`.
    """

    def __init__(
        self, weight: Tensor, gradient: Tensor, *, lr: float, weight_decay: float
    ) -> None:
        self.lr, self.weight_decay = lr, weight_decay
        self.mean, self.square = torch.zeros_like(weight), torch.zeros_like(weight)
        self.count = torch.zeros((), device=weight.device)
        self._count = self.count.numpy()
        self._arrays = [t.numpy() for t in (weight, gradient, self.mean, self.square)]
        self._tiny = torch.finfo(weight.dtype).tiny
        # In double precision: 1 - 0.999 has five correct digits in single precision.
        rates = [part for beta in BETAS for part in (beta, 1 - beta)]
        rates = [0.0, 0.0, *rates, weight_decay, EPS]
        # The first two are those of a step.
        self._rates = np.array(rates, dtype=self._arrays[0].dtype)

    def step(self) -> None:
        """Change the weights once."""
        self._count += 1
        count, rates = self._count.item(), self._rates
        rates[0] = self.lr / (1 - BETAS[0] ** count)
        rates[1] = (1 - BETAS[1] ** count) ** -0.5
        weight, gradient, mean, square = self._arrays
        descend(weight, gradient, mean, square, rates, self._tiny)


_OPTIONS: dict[str, Any] = {
    "cache": True,
    "nogil": True,
    "error_model": "numpy",
    "fastmath": {"contract", "nsz", "reassoc"},
}

# Samples that go through a graph at once, where nothing is kept of them.
_TILE = 256


@njit(**_OPTIONS)
def _add_rows(rows, v, edges, neighbour, weight, out, batch):
    """Add to row `v` of `out` the weighted rows of some neighbours."""
    start, stop = edges
    e = start
    while e + 4 <= stop:
        a, b, c, d = neighbour[e], neighbour[e + 1], neighbour[e + 2], neighbour[e + 3]
        wa, wb, wc, wd = weight[e], weight[e + 1], weight[e + 2], weight[e + 3]
        for i in range(batch):
            out[v, i] += (
                wa * rows[a, i] + wb * rows[b, i] + wc * rows[c, i] + wd * rows[d, i]
            )
        e += 4
    while e < stop:
        a, wa = neighbour[e], weight[e]
        for i in range(batch):
            out[v, i] += wa * rows[a, i]
        e += 1


@njit(**_OPTIONS)
def push_activations(n_hidden, start, source, weight, bias, rows, activation, widths):
    """Carry samples from the sources of a graph to all its other rows.

    Rows from `n_hidden` on are outputs, which have no ReLU. The edges into row v are
    those from ``start[v]`` to ``start[v + 1]``; each comes from the row `source`. In
    `rows`, the sources hold on entry what the input feeds them, and all rows their
    pre-activations on return. `activation` may be `rows` itself, which then keeps the
    pre-activations of the outputs only. Row v has ``widths[v]`` samples.
    """
    zero = weight.dtype.type(0)
    for v in range(len(rows)):
        batch = widths[v]
        if start[v] == start[v + 1]:
            for i in range(batch):
                rows[v, i] += bias[v]
        else:
            for i in range(batch):
                rows[v, i] = bias[v]
            edges = start[v], start[v + 1]
            _add_rows(activation, v, edges, source, weight, rows, batch)
        if v < n_hidden:
            for i in range(batch):
                z = rows[v, i]
                # This way round, a NaN is its own activation.
                activation[v, i] = zero if zero > z else z


@njit(**_OPTIONS)
def push_to_outputs(n_hidden, start, source, weight, bias, drive, outputs):
    """Carry samples from the sources of a graph to its outputs, keeping nothing else.

    Few samples at a time go all the way, so that they stay in the cache.
    """
    n_sources, batch = drive.shape
    zero = weight.dtype.type(0)
    rows = np.zeros((len(bias), _TILE), drive.dtype)
    for first in range(0, batch, _TILE):
        size = min(_TILE, batch - first)
        for v in range(len(bias)):
            if v < n_sources:
                for i in range(size):
                    rows[v, i] = bias[v] + drive[v, first + i]
            else:
                for i in range(_TILE):
                    rows[v, i] = bias[v]
                edges = start[v], start[v + 1]
                _add_rows(rows, v, edges, source, weight, rows, _TILE)
            if v < n_hidden:
                for i in range(_TILE):
                    z = rows[v, i]
                    # This way round, a NaN is its own activation.
                    rows[v, i] = zero if zero > z else z
            else:
                for i in range(size):
                    outputs[v - n_hidden, first + i] = rows[v, i]


@njit(**_OPTIONS)
def pull_gradients(start, target, weight, rows, gradient, widths):
    """Carry gradients from the outputs of a graph to all its other rows.

    The edges out of row v are those from ``start[v]`` to ``start[v + 1]``; each leads
    to the row `target`, and `weight` is in the same order. Of `rows` only the sign
    counts: pre-activations or activations. `gradient`, of the pre-activations, holds on
    entry what comes from outside the graph. Row v has ``widths[v]`` samples.
    """
    zero = weight.dtype.type(0)
    through = np.empty((1, gradient.shape[1]), dtype=gradient.dtype)
    for v in range(len(gradient) - 1, -1, -1):
        if start[v] == start[v + 1]:
            continue
        batch, edges = widths[v], (start[v], start[v + 1])
        through[0] = zero
        _add_rows(gradient, 0, edges, target, weight, through, batch)
        for i in range(batch):
            # Both are loaded before the choice, or the loop is not turned into vectors.
            z, g = rows[v, i], through[0, i]
            gradient[v, i] += zero if z <= zero else g


@njit(**_OPTIONS)
def edge_gradients(start, source, rows, gradient, out):
    """Multiply, for every edge, what entered it with the gradient at its end.

    `rows` are pre-activations, or activations, which the former are turned into.
    """
    batch = gradient.shape[1]
    zero = out.dtype.type(0)
    for v in range(len(start) - 1):
        for e in range(start[v], start[v + 1]):
            a, total = source[e], zero
            for i in range(batch):
                z = rows[a, i]
                total += gradient[v, i] * (zero if zero > z else z)
            out[e] = total


@njit(**_OPTIONS)
def descend(weight, gradient, mean, square, rates, tiny):
    """Change weights as Adam does.

    Moments too small for normal numbers become zero. Those of a unit that is never
    active halve every seven steps and would soon be subnormal, and stay it, which makes
    a processor many times slower.

    `rates` are the learning rate over the correction of the mean, one over the root of
    that of the square, how much of the mean is kept and how much of the gradient is
    added, the same for the square, the L2 penalty, and what keeps the divisor from
    zero. `tiny` is the smallest normal number.
    """
    zero = weight.dtype.type(0)
    smallest = weight.dtype.type(tiny)
    lr, scale, keep_mean, add_mean, keep_square, add_square, decay, eps = rates
    for i in range(len(weight)):
        w = weight[i]
        g = gradient[i] + decay * w
        m = keep_mean * mean[i] + add_mean * g
        v = keep_square * square[i] + add_square * g * g
        weight[i] = w - lr * m / (np.sqrt(v) * scale + eps)
        # This way round, a NaN stays one.
        mean[i] = zero if abs(m) < smallest else m
        square[i] = zero if v < smallest else v


@njit(**_OPTIONS)
def _cross_entropy(logits, targets, label_smoothing, gradient):
    """Mean loss of samples, whose gradient with respect to the logits is written."""
    n_outputs, batch = logits.shape
    peak, total = logits[0].copy(), np.zeros_like(logits[0])
    for c in range(1, n_outputs):
        for i in range(batch):
            peak[i] = max(peak[i], logits[c, i])
    for c in range(n_outputs):
        for i in range(batch):
            odds = np.exp(logits[c, i] - peak[i])
            gradient[c, i] = odds
            total[i] += odds
    sure = logits.dtype.type(1 - label_smoothing)
    share = logits.dtype.type(label_smoothing / n_outputs)
    size = logits.dtype.type(batch)
    loss = 0.0
    for c in range(n_outputs):
        for i in range(batch):
            gradient[c, i] = (gradient[c, i] / total[i] - share) / size
            loss -= share * logits[c, i]
    for i in range(batch):
        if not 0 <= targets[i] < n_outputs:
            raise IndexError("a target is not the index of an output")
        loss += np.log(total[i]) + peak[i] - sure * logits[targets[i], i]
        gradient[targets[i], i] -= sure / size
    return loss / batch


@njit(**_OPTIONS)
def find_gradients(
    edges, weight, bias, rows, targets, label_smoothing, losses, gradient, written
):
    """Go through some graphs, to their losses and back to their sources.

    `edges` are what `CompiledEngine` takes from the union. `rows` become the
    activations. Written are the mean loss of each graph, the gradient of all
    pre-activations, and in `written` those of the weights and of the biases.
    """
    n_hidden, start_in, source, start_out, target, leaving = edges
    of_weight, of_bias = written
    n_rows = len(rows)
    widths = np.full(n_rows, rows.shape[1])
    push_activations(n_hidden, start_in, source, weight, bias, rows, rows, widths)
    n_outputs = (n_rows - n_hidden) // len(losses)
    gradient[:n_hidden] = 0
    for i in range(len(losses)):
        outputs = slice(n_hidden + i * n_outputs, n_hidden + (i + 1) * n_outputs)
        losses[i] = _cross_entropy(
            rows[outputs], targets, label_smoothing, gradient[outputs]
        )
    pull_gradients(start_out, target, weight[leaving], rows, gradient, widths)
    edge_gradients(start_in, source, rows, gradient, of_weight)
    for v in range(n_rows):
        of_bias[v] = gradient[v].sum()
