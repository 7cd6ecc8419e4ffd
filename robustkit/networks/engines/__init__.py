"""How the passes through a graph are computed: two engines behind one function.

"compiled" loops over the edges and works on the CPU only; "sparse" is one matrix
product per layer, on any device. A third one, plain torch operations, serves whoever
looks at the computation itself, such as a tracer.
"""
# ruff: noqa: F401

from collections.abc import Sequence
from typing import Any, Protocol

import torch
from numpy.typing import NDArray
from torch import Tensor

from robustkit._validation import did_you_mean
from robustkit.graphs import LayeredGraph
from robustkit.networks.engines._compiled import CompiledEngine
from robustkit.networks.engines._in_torch import PlainEngine, SparseEngine, is_observed
from robustkit.networks.engines._union import Union, Wiring

__all__ = ["Engine", "make_engine", "resolve_engine"]

_ENGINES = {"compiled": CompiledEngine, "sparse": SparseEngine}


class Engine(Protocol):
    """Passes through one or more graphs.

    Rows of a buffer are vertices, then outputs, in the order of the wiring; columns are
    samples. `weight` has one number per edge and `bias` one per row.
    """

    wiring: Wiring

    def forward(
        self,
        weight: Tensor,
        bias: Tensor,
        rows: Tensor,
        activation: Tensor,
        widths: NDArray | None = None,
    ) -> None:
        """Fill `rows` with pre-activations and `activation` with activations.

        On entry the sources in `rows` hold what the input feeds them. The two may be
        one buffer, which then keeps the pre-activations of the outputs only. With
        `widths`, one number per row, only so many of its columns matter.
        """

    def outputs(self, weight: Tensor, bias: Tensor, drive: Tensor) -> Tensor:
        """Compute the rows of the outputs from what the input feeds the sources."""

    def backward(
        self,
        weight: Tensor,
        rows: Tensor,
        gradient: Tensor,
        widths: NDArray | None = None,
    ) -> None:
        """Add to the gradients of all rows what comes to them through the edges.

        `rows` are pre-activations or activations. `gradient` is of the pre-activations,
        and holds on entry what comes from outside the graph.
        """

    def edge_gradients(self, rows: Tensor, gradient: Tensor, out: Tensor) -> None:
        """Write the gradients of the edges into `out`."""

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
        """Do all of the above for the cross-entropy of each graph.

        Returns the mean loss of each graph and the gradient of all pre-activations;
        those of the weights and of the biases are written into `out`. A training passes
        a buffer like `rows` for that gradient, and the same ones at every step.
        """

    def adam(
        self, weight: Tensor, gradient: Tensor, *, lr: float, weight_decay: float
    ) -> Any:
        """Make the optimizer of a vector of weights, with the method `step`."""


def make_engine(
    engine: str,
    structures: Sequence[LayeredGraph],
    n_outputs: int,
    device: torch.device,
) -> Engine:
    """Make the engine for some graphs, each with its outputs, on a device.

    `engine` is "auto", "compiled" or "sparse".
    """
    kind = _ENGINES[resolve_engine(engine, device)]
    wiring = Wiring(structures, n_outputs, by_layer=kind is SparseEngine)
    return kind(wiring, device)


def resolve_engine(engine: str, device: torch.device) -> str:
    """Check the name of an engine, and find out which one "auto" is on a device."""
    if engine == "auto":
        return "compiled" if device.type == "cpu" else "sparse"
    if engine not in _ENGINES:
        raise ValueError(
            f"engine must be one of {['auto', *_ENGINES]}. Got {engine!r} instead"
            f"{did_you_mean(engine, _ENGINES)}"
        )
    if engine == "compiled" and device.type != "cpu":
        raise ValueError(
            f"engine='compiled' works on the CPU only, but the weights are on {device}."
        )
    return engine
