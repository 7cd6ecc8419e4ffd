"""A network whose hidden part is a graph: every edge a weight, every vertex a ReLU."""

from numbers import Integral

import torch
from torch import nn

from robustkit.graphs import LayeredGraph
from robustkit.networks._passes import ENGINES, resolve_engine
from robustkit.networks._plain_passes import PlainPasses, is_observed
from robustkit.networks._wiring import Wiring

__all__ = ["SparseNetwork"]


class SparseNetwork(nn.Module):
    """A network built from a layered graph.

    Every source of the graph sees the whole input, every edge is one weight, also one
    that skips layers, every vertex has a bias and a ReLU, and every sink feeds every
    output.

    It is an ordinary module: any number of leading dimensions, gradients of the
    parameters and of the input, CPU and CUDA, float32 and float64. A module that is
    traced, exported, compiled by torch, transformed by `torch.func`, differentiated
    twice, under autocast or in half precision computes the same in torch's own
    operations, which is slower.

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
        resolve_engine(engine, torch.device("cpu"))
        self.engine = engine
        n_sources, n_sinks = len(structure.sources), len(structure.sinks)
        self.input_weight = nn.Parameter(torch.zeros(n_sources, n_features))
        self.bias = nn.Parameter(torch.zeros(structure.n_nodes))
        self.edge_weight = nn.Parameter(torch.zeros(structure.n_edges))
        self.output_weight = nn.Parameter(torch.zeros(n_outputs, n_sinks))
        self.output_bias = nn.Parameter(torch.zeros(n_outputs))
        self._passes, self._plain_passes = {}, PlainPasses(structure)

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
        outputs = self._outputs(self._drive(X)).t()
        return outputs.reshape(*X.shape[:-1], self.n_outputs)

    def forward_from_sources(self, drive):
        """Compute the outputs from what the input feeds the sources.

        With ``drive = X @ input_weight.t()`` it is `forward`, for callers that know how
        `drive` changes without computing that product again.

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
        rows = self._propagate(self._drive(X))
        vertices = rows[: self.structure.n_nodes].t()
        return vertices.reshape(*X.shape[:-1], self.structure.n_nodes)

    def _drive(self, X):
        """Feed the sources: a row each, a column a sample."""
        # A tracer would write the answer down; there, `reshape` below finds the error.
        tracing = torch.jit.is_tracing()
        if not tracing and (X.ndim == 0 or X.shape[-1] != self.n_features):
            raise ValueError(
                f"X must have the shape (..., {self.n_features}). Got "
                f"{tuple(X.shape)} instead."
            )
        return self.input_weight @ X.reshape(-1, self.n_features).t()

    def _propagate(self, drive):
        """Pre-activations of vertices and outputs, a row each, a column a sample."""
        weight, bias = self._weight_and_bias()
        if is_observed(drive, weight):
            return self._plain_passes.forward(weight, bias, drive)
        return _Propagation.apply(drive, weight, bias, self)

    def _outputs(self, drive):
        """Only the rows of the outputs."""
        weight, bias = self._weight_and_bias()
        if torch.is_grad_enabled() or is_observed(drive, weight):
            return self._propagate(drive)[self.structure.n_nodes :]
        return self._find_passes().outputs(weight, bias, drive)

    def _weight_and_bias(self):
        weight = torch.cat([self.edge_weight, self.output_weight.flatten()])
        return weight, torch.cat([self.bias, self.output_bias])

    def _find_passes(self):
        device = self.bias.device
        if device not in self._passes:
            engine = ENGINES[resolve_engine(self.engine, device)]
            wiring = Wiring([self.structure], self.n_outputs)
            self._passes[device] = engine(wiring, device)
        return self._passes[device]

    def __getstate__(self):
        state = self.__dict__.copy()
        # The structure can make them again.
        del state["_plain_passes"]
        state["_passes"] = {}
        # A parameter that is a view, as while a `FusedStep` lives, would be written
        # with all that it is a view of.
        state["_parameters"] = {
            name: _alone(parameter) for name, parameter in self._parameters.items()
        }
        return state

    def __setstate__(self, state):
        super().__setstate__(state)
        self._plain_passes = PlainPasses(self.structure)

    def extra_repr(self):
        """Name what the module was made of, for its repr.

        Returns
        -------
        text : str
            Stands between the brackets.
        """
        return (
            f"structure={self.structure}, n_features={self.n_features}, "
            f"n_outputs={self.n_outputs}"
        )


class _Propagation(torch.autograd.Function):
    """From what the input feeds the sources to the pre-activations of all rows."""

    @staticmethod
    def forward(ctx, drive, weight, bias, network):
        passes = network._find_passes()
        rows = drive.new_empty(len(bias), drive.shape[1])
        rows[: len(drive)] = drive
        passes.forward(weight, bias, rows, torch.empty_like(rows))
        ctx.save_for_backward(drive, weight, bias, rows)
        ctx.network = network
        return rows

    @staticmethod
    def backward(ctx, gradient):
        drive, weight, bias, rows = ctx.saved_tensors
        # The graph of this gradient, or a batch of gradients at once, is asked for.
        if torch.is_grad_enabled() or is_observed(gradient, weight):
            plain = ctx.network._plain_passes
            _, pull = torch.func.vjp(plain.forward, weight, bias, drive)
            of_weight, of_bias, of_drive = pull(gradient)
            return of_drive, of_weight, of_bias, None
        passes = ctx.network._find_passes()
        gradient = gradient.clone(memory_format=torch.contiguous_format)
        passes.backward(weight, rows, gradient)
        of_drive = of_weight = of_bias = None
        if ctx.needs_input_grad[0]:
            of_drive = gradient[: len(drive)]
        if ctx.needs_input_grad[1]:
            of_weight = torch.empty_like(weight)
            passes.edge_gradients(rows, gradient, of_weight)
        if ctx.needs_input_grad[2]:
            of_bias = gradient.sum(dim=1)
        return of_drive, of_weight, of_bias, None


def _alone(parameter):
    if parameter.untyped_storage().nbytes() == parameter.nbytes:
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
