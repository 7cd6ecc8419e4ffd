"""A network whose hidden part is a graph: every edge a weight, every vertex a ReLU."""

from numbers import Integral

import torch
from torch import nn
from torch.autograd.function import once_differentiable

from robustkit._validation import did_you_mean
from robustkit.graphs import LayeredGraph
from robustkit.networks._passes import CompiledPasses, SparsePasses
from robustkit.networks._wiring import Wiring

__all__ = ["SparseNetwork"]

ENGINES = {"compiled": CompiledPasses, "sparse": SparsePasses}


class SparseNetwork(nn.Module):
    """A network built from a layered graph.

    Every source of the graph sees the whole input, every edge is one weight, also one
    that skips layers, every vertex has a bias and a ReLU, and every sink feeds every
    output.

    It is an ordinary module: any number of leading dimensions, gradients of the
    parameters and of the input, CPU and CUDA, float32 and float64. A gradient of a
    gradient is refused.

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
        one "sparse" product a layer. "auto" is "compiled" on the CPU, else "sparse".

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

    def __init__(self, structure, n_features, n_outputs, *, engine="auto"):
        super().__init__()
        self.structure = _check_structure(structure)
        self.n_features = _check_size(n_features, "n_features")
        self.n_outputs = _check_size(n_outputs, "n_outputs")
        self.engine = _check_engine(engine)
        n_sources, n_sinks = len(structure.sources), len(structure.sinks)
        self.input_weight = nn.Parameter(torch.zeros(n_sources, n_features))
        self.bias = nn.Parameter(torch.zeros(structure.n_nodes))
        self.edge_weight = nn.Parameter(torch.zeros(structure.n_edges))
        self.output_weight = nn.Parameter(torch.zeros(n_outputs, n_sinks))
        self.output_bias = nn.Parameter(torch.zeros(n_outputs))
        # A buffer, so that it moves with the module; the structure can make it again.
        sinks = torch.from_numpy(structure.sinks.copy())
        self.register_buffer("_sinks", sinks, persistent=False)
        self._wiring = Wiring([structure])
        self._passes = None

    def forward(self, X):
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
        sinks = torch.relu(self._propagate(X).index_select(0, self._sinks))
        outputs = torch.addmm(self.output_bias, sinks.t(), self.output_weight.t())
        return outputs.reshape(*X.shape[:-1], self.n_outputs)

    def vertex_preactivations(self, X):
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
        rows = self._propagate(X).t()
        return rows.reshape(*X.shape[:-1], self.structure.n_nodes)

    def _propagate(self, X):
        """Pre-activations, a vertex a row, a sample a column."""
        if X.ndim == 0 or X.shape[-1] != self.n_features:
            raise ValueError(
                f"X must have the shape (..., {self.n_features}). Got "
                f"{tuple(X.shape)} instead."
            )
        samples = X.reshape(-1, self.n_features)
        drive = self.input_weight @ samples.t()
        return _Propagation.apply(
            drive, self.bias, self.edge_weight, self._current_passes()
        )

    def _current_passes(self):
        """Find passes that look at the edge weights where they lie now."""
        weight, passes = self.edge_weight, self._passes
        engine = self.engine
        if engine == "auto":
            engine = "compiled" if weight.device.type == "cpu" else "sparse"
        if passes is None or not _same_memory(passes.weight, weight):
            self._passes = ENGINES[engine](self._wiring, weight)
        return self._passes

    def __getstate__(self):
        state = self.__dict__.copy()
        # Made again when needed: it looks into the memory of this very module.
        state["_passes"] = None
        # While a FusedStep lives they are views of one vector, all of which pickle
        # would write for each of them.
        state["_parameters"] = {
            name: nn.Parameter(weight.detach().clone(), weight.requires_grad)
            for name, weight in self._parameters.items()
        }
        return state

    def extra_repr(self):
        """Show the sizes in the module's repr."""
        return (
            f"structure={self.structure}, n_features={self.n_features}, "
            f"n_outputs={self.n_outputs}"
        )


class _Propagation(torch.autograd.Function):
    """From what the input feeds the sources to the pre-activations of all vertices."""

    @staticmethod
    def forward(ctx, drive, bias, weight, passes):
        preactivation = drive.new_empty(len(bias), drive.shape[1])
        preactivation[: len(drive)] = drive
        passes.forward(preactivation, torch.empty_like(preactivation), bias)
        # The weight is kept too, so that torch notices if it is changed before the
        # backward pass, which reads it.
        ctx.save_for_backward(preactivation, weight)
        ctx.passes, ctx.n_sources = passes, len(drive)
        return preactivation

    @staticmethod
    @once_differentiable
    def backward(ctx, gradient):
        preactivation, weight = ctx.saved_tensors
        gradient = gradient.clone(memory_format=torch.contiguous_format)
        ctx.passes.backward(preactivation, gradient)
        of_drive = of_bias = of_weight = None
        if ctx.needs_input_grad[0]:
            of_drive = gradient[: ctx.n_sources]
        if ctx.needs_input_grad[1]:
            of_bias = gradient.sum(dim=1)
        if ctx.needs_input_grad[2]:
            of_weight = torch.empty_like(weight)
            ctx.passes.edge_gradients(preactivation, gradient, of_weight)
        return of_drive, of_bias, of_weight, None


def _same_memory(a, b):
    return (a.data_ptr(), a.device, a.dtype) == (b.data_ptr(), b.device, b.dtype)


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


def _check_engine(engine):
    if engine != "auto" and engine not in ENGINES:
        raise ValueError(
            f"engine must be one of {['auto', *ENGINES]}. Got {engine!r} instead"
            f"{did_you_mean(engine, ENGINES)}"
        )
    return engine
