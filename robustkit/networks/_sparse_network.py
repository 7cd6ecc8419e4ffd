"""A network whose hidden part is a graph: every edge a weight, every vertex a ReLU."""

from numbers import Integral
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from robustkit.graphs import LayeredGraph
from robustkit.networks.engines import (
    Engine,
    PlainEngine,
    is_observed,
    make_engine,
    resolve_engine,
)

__all__ = ["SparseNetwork"]


class SparseNetwork(nn.Module):
    """A network built from a layered graph.

    Every source of the graph receives the whole input, every edge is one weight, also
    if it skips layers, every vertex has a bias and a ReLU, and every sink feeds every
    output.

    It is an ordinary module: any number of leading dimensions, gradients of the
    parameters and of the input, CPU and CUDA, float32 and float64. When it is traced,
    exported, compiled by torch, transformed by `torch.func`, differentiated twice,
    under autocast or in half precision, it computes the same in torch's own operations,
    which is slower.

    Parameters
    ----------
    structure : LayeredGraph
        The graph.

    n_features : int
        Length of a sample.

    n_outputs : int
        Number of outputs.

    engine : {"auto", "compiled", "sparse"}, default="auto"
        How the hidden part is computed: "compiled" loops over the edges (CPU only), or
        one "sparse" product per layer. "auto" is "compiled" on the CPU, else "sparse".

    Attributes
    ----------
    input_weight : nn.Parameter of shape (n_sources, n_features)
        From the input to the sources, in the order of ``structure.sources``.

    bias : nn.Parameter of shape (n_nodes,)
        Of the vertices.

    edge_weight : nn.Parameter of shape (n_edges,)
        In the order of ``structure.edges``.

    output_weight : nn.Parameter of shape (n_outputs, n_sinks)
        From the sinks, in the order of ``structure.sinks``, to the outputs.

    output_bias : nn.Parameter of shape (n_outputs,)
        Of the outputs.

    See Also
    --------
    initialize : Draws the weights, which are zero before.

    Examples
    --------
    >>> import torch
    >>> from robustkit.graphs import LayeredGraph
    >>> from robustkit.networks import SparseNetwork, initialize
    >>> graph = LayeredGraph([[0, 0, 1], [1, 2, 2]], n_nodes=3)
    >>> network = initialize(SparseNetwork(graph, 4, 2), random_state=0)
    >>> network(torch.ones(5, 4)).shape
    torch.Size([5, 2])
    >>> network.vertex_preactivations(torch.ones(5, 4)).shape
    torch.Size([5, 3])
    """

    input_weight: nn.Parameter
    bias: nn.Parameter
    edge_weight: nn.Parameter
    output_weight: nn.Parameter
    output_bias: nn.Parameter

    def __init__(
        self,
        structure: LayeredGraph,
        n_features: int,
        n_outputs: int,
        *,
        engine: str = "auto",
    ) -> None:
        super().__init__()
        self.structure = _check_structure(structure)
        self.n_features = _check_size(n_features, "n_features")
        self.n_outputs = _check_size(n_outputs, "n_outputs")
        resolve_engine(engine, torch.device("cpu"))
        self.engine = engine
        n_sources, n_sinks = len(structure.sources), len(structure.sinks)
        self.input_weight = nn.Parameter(torch.zeros(n_sources, n_features))
        self.bias = nn.Parameter(torch.zeros(structure.n_nodes))
        self.edge_weight = nn.Parameter(torch.zeros(structure.n_edges))
        self.output_weight = nn.Parameter(torch.zeros(n_outputs, n_sinks))
        self.output_bias = nn.Parameter(torch.zeros(n_outputs))
        self._engines: dict[torch.device, Engine] = {}
        self._plain_engine = PlainEngine(structure)

    def forward(self, X: Tensor) -> Tensor:
        """Compute the outputs.

        Parameters
        ----------
        X : torch.Tensor of shape (..., n_features)
            Samples.

        Returns
        -------
        outputs : torch.Tensor of shape (..., n_outputs)
            Logits, for a classifier.
        """
        outputs = self._outputs(self._drive(X)).t()
        return outputs.reshape(*X.shape[:-1], self.n_outputs)

    def forward_from_sources(self, drive: Tensor) -> Tensor:
        """Compute the outputs from what the input feeds the sources.

        With ``drive = X @ input_weight.t()`` it equals `forward`. It is for callers
        that know how `drive` changes without computing that product again.

        Parameters
        ----------
        drive : torch.Tensor of shape (n_samples, n_sources)
            What arrives at each source from the input, before its bias.

        Returns
        -------
        outputs : torch.Tensor of shape (n_samples, n_outputs)
            Logits, for a classifier.
        """
        return self._outputs(drive.t()).t()

    def vertex_preactivations(self, X: Tensor) -> Tensor:
        """Compute what arrives at every vertex, before its ReLU.

        Parameters
        ----------
        X : torch.Tensor of shape (..., n_features)
            Samples.

        Returns
        -------
        preactivations : torch.Tensor of shape (..., n_nodes)
            In the order of the vertices of `structure`.
        """
        rows = self._propagate(self._drive(X))
        vertices = rows[: self.structure.n_nodes].t()
        return vertices.reshape(*X.shape[:-1], self.structure.n_nodes)

    @torch.no_grad()
    def vertex_gradients(
        self, X: Tensor, y: Tensor, *, label_smoothing: float = 0.0
    ) -> tuple[Tensor, Tensor]:
        """Compute the activations, and the gradient of the loss at every vertex.

        Their product, ``gradient.t() @ activation``, is the gradient of the mean
        cross-entropy with respect to the weight of every pair of vertices, whether or
        not there is an edge.

        Parameters
        ----------
        X : torch.Tensor of shape (n_samples, n_features)
            Samples.

        y : torch.Tensor of shape (n_samples,)
            Index of each sample's class.

        label_smoothing : float, default=0.0
            Share of the target that is spread over all classes.

        Returns
        -------
        activation : torch.Tensor of shape (n_samples, n_nodes)
            What leaves every vertex, in the order of the vertices of `structure`.

        gradient : torch.Tensor of shape (n_samples, n_nodes)
            Of the mean cross-entropy, with respect to the pre-activations.
        """
        weight, bias = self._weight_and_bias()
        drive = self._drive(X)
        rows = drive.new_empty(len(bias), len(X))
        rows[: len(drive)] = drive
        _, gradient = self._engine_here().find_gradients(
            weight,
            bias,
            rows,
            y,
            label_smoothing=label_smoothing,
            n_graphs=1,
            out=(torch.empty_like(weight), torch.empty_like(bias)),
        )
        n_nodes = self.structure.n_nodes
        return rows[:n_nodes].relu().t(), gradient[:n_nodes].t()

    @torch.no_grad()
    def rewire(self, structure: LayeredGraph, edge_weight: Tensor) -> None:
        """Replace the edges, in place; the vertices keep their biases.

        Parameters
        ----------
        structure : LayeredGraph
            With as many vertices and edges, and the same sources and sinks.

        edge_weight : torch.Tensor of shape (n_edges,)
            In the order of ``structure.edges``.
        """
        for name in ("n_nodes", "n_edges", "sources", "sinks"):
            ours = getattr(self.structure, name)
            if not np.array_equal(getattr(_check_structure(structure), name), ours):
                raise ValueError(
                    f"structure must have the {name} of the network, {ours}. Got "
                    f"{getattr(structure, name)} instead."
                )
        self.edge_weight.copy_(edge_weight)
        self.structure = structure
        self._engines = {}
        self._plain_engine = PlainEngine(structure)

    def _drive(self, X: Tensor) -> Tensor:
        """Compute what the input feeds the sources, one row each."""
        # A tracer would record the answer; there, `reshape` below raises the error.
        tracing = torch.jit.is_tracing()
        if not tracing and (X.ndim == 0 or X.shape[-1] != self.n_features):
            raise ValueError(
                f"X must have the shape (..., {self.n_features}). Got "
                f"{tuple(X.shape)} instead."
            )
        return self.input_weight @ X.reshape(-1, self.n_features).t()

    def _propagate(self, drive: Tensor) -> Tensor:
        """Compute the pre-activations of all vertices and outputs, one row each."""
        weight, bias = self._weight_and_bias()
        if is_observed(drive, weight):
            return self._plain_engine.forward(weight, bias, drive)
        return _Propagation.apply(drive, weight, bias, self)

    def _outputs(self, drive: Tensor) -> Tensor:
        """Compute the rows of the outputs only."""
        weight, bias = self._weight_and_bias()
        if torch.is_grad_enabled() or is_observed(drive, weight):
            return self._propagate(drive)[self.structure.n_nodes :]
        return self._engine_here().outputs(weight, bias, drive)

    def _weight_and_bias(self) -> tuple[Tensor, Tensor]:
        weight = torch.cat([self.edge_weight, self.output_weight.flatten()])
        return weight, torch.cat([self.bias, self.output_bias])

    def _engine_here(self) -> Engine:
        device = self.bias.device
        if device not in self._engines:
            self._engines[device] = make_engine(
                self.engine, [self.structure], self.n_outputs, device
            )
        return self._engines[device]

    def __getstate__(self) -> dict[str, Any]:
        state = self.__dict__.copy()
        # The structure can make them again.
        del state["_plain_engine"]
        state["_engines"] = {}
        # A parameter that is a view, as while a `FusedStep` lives, would be written
        # with all that it is a view of.
        state["_parameters"] = {
            name: _alone(parameter) for name, parameter in self._parameters.items()
        }
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        self._plain_engine = PlainEngine(self.structure)

    def extra_repr(self) -> str:
        """Show the structure and sizes in the repr.

        Returns
        -------
        text : str
            Shown between the brackets.
        """
        return (
            f"structure={self.structure}, n_features={self.n_features}, "
            f"n_outputs={self.n_outputs}"
        )


class _Propagation(torch.autograd.Function):
    """From what the input feeds the sources to the pre-activations of all rows."""

    @staticmethod
    def forward(ctx, drive, weight, bias, network):
        engine = network._engine_here()
        rows = drive.new_empty(len(bias), drive.shape[1])
        rows[: len(drive)] = drive
        engine.forward(weight, bias, rows, torch.empty_like(rows))
        ctx.save_for_backward(drive, weight, bias, rows)
        ctx.network = network
        return rows

    @staticmethod
    def backward(ctx, *gradients):
        (gradient,) = gradients
        drive, weight, bias, rows = ctx.saved_tensors
        # The graph of this gradient, or a batch of gradients at once, is asked for.
        if torch.is_grad_enabled() or is_observed(gradient, weight):
            plain = ctx.network._plain_engine
            _, pull = torch.func.vjp(plain.forward, weight, bias, drive)
            of_weight, of_bias, of_drive = pull(gradient)
            return of_drive, of_weight, of_bias, None
        engine = ctx.network._engine_here()
        gradient = gradient.clone(memory_format=torch.contiguous_format)
        engine.backward(weight, rows, gradient)
        of_drive = of_weight = of_bias = None
        if ctx.needs_input_grad[0]:
            of_drive = gradient[: len(drive)]
        if ctx.needs_input_grad[1]:
            of_weight = torch.empty_like(weight)
            engine.edge_gradients(rows, gradient, of_weight)
        if ctx.needs_input_grad[2]:
            of_bias = gradient.sum(dim=1)
        return of_drive, of_weight, of_bias, None


def _alone(parameter: nn.Parameter | None) -> nn.Parameter | None:
    if parameter is None or parameter.untyped_storage().nbytes() == parameter.nbytes:
        return parameter
    return nn.Parameter(parameter.detach().clone(), parameter.requires_grad)


def _check_structure(structure):
    if not isinstance(structure, LayeredGraph):
        raise TypeError(
            "structure must be a LayeredGraph, such as LayeredGraph.from_networkx "
            f"makes. Got {structure!r} instead."
        )
    return structure


def _check_size(size, name):
    if not isinstance(size, Integral):
        raise TypeError(f"{name} must be an int. Got {size!r} instead.")
    if size < 1:
        raise ValueError(f"{name} must be at least 1. Got {size} instead.")
    return int(size)
