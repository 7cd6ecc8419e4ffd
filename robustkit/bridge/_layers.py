"""What a torch module computes on its way: its layers, by name."""

from numbers import Integral
from typing import NamedTuple

import numpy as np
import torch
from torch import nn

from robustkit._tensors import on_device
from robustkit._validation import did_you_mean
from robustkit.bridge._as_module import as_module
from robustkit.networks import SparseNetwork, is_plain

__all__ = [
    "LayerValues",
    "has_relu_units",
    "head_parameters",
    "layer_names",
    "layer_values",
    "module_on",
    "resolve_layers",
    "steady_layer_values",
]

# With these, the signs of a layer's pre-activations say which linear map the layer is.
_RELU_LIKE = (nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.PReLU, nn.RReLU)
_NONLINEAR = (
    *_RELU_LIKE,
    nn.CELU,
    nn.ELU,
    nn.GELU,
    nn.Hardswish,
    nn.Hardtanh,
    nn.Mish,
    nn.SELU,
    nn.SiLU,
    nn.Sigmoid,
    nn.Softplus,
    nn.Tanh,
)
_AFFINE = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)


class LayerValues(NamedTuple):
    """What a layer computed for a batch; both can be differentiated."""

    pre_activation: torch.Tensor
    """What went into its nonlinearity, shape (n_samples, ...)."""

    activation: torch.Tensor
    """What came out of it."""


def module_on(estimator, X, device):
    """See a fitted estimator as a torch module on some device.

    Parameters
    ----------
    estimator : object
        A fitted estimator that :func:`robustkit.bridge.as_module` understands.

    X : ndarray of shape (n_samples, n_features)
        What the module will be given; its number of features is checked, which a
        frozen estimator that was "fitted" to X did not do.

    device : torch.device
        Where the module is needed.

    Returns
    -------
    module : torch.nn.Module
        In eval mode. The estimator's own network never moves: if it lives on another
        device, this is a copy.
    """
    expected = getattr(estimator, "n_features_in_", X.shape[1])
    if expected != X.shape[1]:
        raise ValueError(
            f"X has {X.shape[1]} features, but {type(estimator).__name__} is expecting "
            f"{expected} features as input."
        )
    return on_device(as_module(estimator), device)


def layer_names(module):
    """Name the hidden layers of a module.

    Parameters
    ----------
    module : torch.nn.Module
        Such as :func:`robustkit.bridge.as_module` returns.

    Returns
    -------
    names : list of str
        The nonlinearities, in the order and with the names of `named_modules()`. The
        layers of a sparse network are those of its graph, "layer_0", "layer_1" and so
        on. A module without nonlinearities in sight, because it has none or calls them
        as functions, is cut at its affine maps instead, the last one left out.
    """
    return list(_anatomy(module)[0])


def resolve_layers(module, layers):
    """Turn what a user wrote into names of layers.

    Parameters
    ----------
    module : torch.nn.Module
        The module.

    layers : str, int or list of (str or int)
        "logits", "penultimate", a name of :func:`layer_names` or of
        `named_modules()`, an index into the hidden layers, a list of these, or "all"
        for every hidden layer.

    Returns
    -------
    names : list of str
        As :func:`layer_values` takes them, each once.
    """
    hidden = layer_names(module)
    if isinstance(layers, str) and layers == "all":
        layers = hidden or ["penultimate"]
    elif isinstance(layers, str | Integral):
        layers = [layers]
    if len(layers) == 0:
        raise ValueError(f"layer={layers!r} names no layer.")
    return list(dict.fromkeys(_resolve(module, layer, hidden) for layer in layers))


def _resolve(module, layer, hidden):
    if layer == "logits":
        return layer
    if not hidden and (layer == "penultimate" or isinstance(layer, Integral)):
        raise ValueError(
            f"layer={layer!r} needs a hidden layer, but this model has none between "
            "input and logits. Use layer='logits', or a model with hidden layers."
        )
    if layer == "penultimate":
        return layer
    if isinstance(layer, Integral):
        if -len(hidden) <= layer < len(hidden):
            return hidden[layer]
        raise ValueError(
            f"layer={layer!r} is out of range: the hidden layers are {hidden}."
        )
    inner = [name for name, _ in module.named_modules() if name]
    known = list(dict.fromkeys(["logits", "penultimate", *hidden, *inner]))
    if layer not in known:
        raise ValueError(
            f"layer={layer!r} is unknown{did_you_mean(layer, known)} The layers are "
            f"{known}."
        )
    return layer


def layer_values(module, X, names):
    """Run a module on a batch and keep what some of its layers computed.

    Parameters
    ----------
    module : torch.nn.Module
        Its mode, weights and hooks are left as they were.

    X : torch.Tensor of shape (n_samples, ...)
        One batch, on the module's device.

    names : list of str
        As :func:`resolve_layers` returns them.

    Returns
    -------
    values : dict of str to LayerValues
        Of a nonlinearity its input and its output; of any other module of
        `named_modules()`, and for "logits", twice its output. "penultimate" is what
        went into the last nonlinearity, and into the last affine map: the two also
        differ by what stands between, such as pooling. For a sparse network it is the
        sinks of its graph. A module called several times shows its last call.
    """
    hidden, head = _anatomy(module)
    taps = {name: _taps(module, name, hidden, head) for name in names}
    wanted = {tap for pair in taps.values() for tap in pair}
    recorder = _Recorder(module, wanted)
    recorder.run(X)
    if recorder.was_overwritten():
        recorder = _Recorder(module, wanted, copies=True)
        recorder.run(X)
    return {
        name: LayerValues(*(recorder.read(tap) for tap in pair))
        for name, pair in taps.items()
    }


def steady_layer_values(module, X, names, *, multiple=16):
    """Do what :func:`layer_values` does, for a sample alone as among others.

    Matrix products take another way for a few rows than for many, and round otherwise,
    which is enough to turn a sign. So the last row is repeated until the number of rows
    is round; then a sample's values hardly ever depend on its neighbours.

    Parameters
    ----------
    module : torch.nn.Module
        In eval mode.

    X : torch.Tensor of shape (n_samples, ...)
        One batch, on the module's device.

    names : list of str
        As :func:`resolve_layers` returns them.

    multiple : int, default=16
        Of which the number of rows is made a multiple.

    Returns
    -------
    values : dict of str to LayerValues
        Without gradients, a row for each row of X.
    """
    padding = X[-1:].expand(-len(X) % multiple, *X.shape[1:])
    with torch.no_grad():
        values = layer_values(module, torch.cat([X, padding]), names)
    return {
        name: LayerValues(*(value[: len(X)] for value in pair))
        for name, pair in values.items()
    }


def has_relu_units(module):
    """Whether the signs of pre-activations say which linear map a module is.

    Parameters
    ----------
    module : torch.nn.Module
        The module.

    Returns
    -------
    found : bool
        Whether one of its parts is a ReLU or a relative of it with one kink at zero, or
        a sparse network.
    """
    return any(_is_graph(m) or _is_a(m, *_RELU_LIKE) for m in module.modules())


def head_parameters(module):
    """Find the weights that turn the penultimate layer into logits.

    Parameters
    ----------
    module : torch.nn.Module
        The module.

    Returns
    -------
    parameters : list of torch.nn.Parameter
        Weights and biases of the last affine map, and of what comes after it.
    """
    head = _anatomy(module)[1]
    if head is None:
        return []
    parts = list(module.modules())
    after = parts[parts.index(head) + 1 :]
    own = [head.output_weight, head.output_bias] if _is_graph(head) else []
    parts = after if own else [head, *after]
    own += [weight for part in parts for weight in part.parameters(recurse=False)]
    return list(dict.fromkeys(own))


class _Tap(NamedTuple):
    """One place where a value can be read."""

    part: nn.Module
    kind: str
    """"input" or "output" of the part; "vertices" or "fired" of a graph."""

    vertices: int | str = ""
    """A layer of the graph, or its "sinks"."""


def _anatomy(module):
    """Find the hidden layers, each with its two taps, and the last affine part."""
    nonlinear, affine, head = {}, {}, None
    for name, part in module.named_modules():
        if _is_graph(part):
            prefix = f"{name}." if name else ""
            for number in range(part.structure.n_layers):
                nonlinear[f"{prefix}layer_{number}"] = _vertex_taps(part, number)
            head = part
        elif _is_a(part, *_NONLINEAR):
            nonlinear[name] = (_Tap(part, "input"), _Tap(part, "output"))
        elif isinstance(part, _AFFINE):
            affine[name] = (_Tap(part, "output"),) * 2
            head = part
    return nonlinear or dict(list(affine.items())[:-1]), head


def _taps(module, name, hidden, head):
    if name == "logits":
        return (_Tap(module, "output"),) * 2
    if name != "penultimate":
        inner = dict(module.named_modules())
        return hidden[name] if name in hidden else (_Tap(inner[name], "output"),) * 2
    last = list(hidden.values())[-1]
    if _is_graph(last[0].part):
        last = _vertex_taps(last[0].part, "sinks")
    return last if _is_graph(head) else (last[0], _Tap(head, "input"))


def _vertex_taps(part, vertices):
    return _Tap(part, "vertices", vertices), _Tap(part, "fired", vertices)


def _is_a(part, *types):
    # A subclass that computes something else is none. Hooks do not matter: a layer is
    # called, and what it takes and gives is what is read.
    return is_plain(part, *types, hooked=True)


def _is_graph(part):
    return _is_a(part, SparseNetwork)


class _Recorder:
    """Runs a module while hooks write down what its parts take and give."""

    def __init__(self, module, taps, copies=False):
        self.module, self.copies = module, copies
        self.parts = {tap.part for tap in taps}
        # A network that is a graph computes its vertices without being called.
        self.needs_call = bool(module._forward_pre_hooks) or any(
            tap.part is not module or tap.kind == "output" for tap in taps
        )
        self.inputs, self.outputs, self.vertices = {}, {}, {}
        self.versions = []

    def run(self, X):
        hooks = []
        for part in self.parts:
            hooks += [
                part.register_forward_pre_hook(self._before),
                part.register_forward_hook(self._after),
            ]
        self.inputs[self.module] = X
        try:
            if self.needs_call:
                # A module that writes to its input writes to a copy.
                self.module(X.clone())
        finally:
            for hook in hooks:
                hook.remove()

    def _before(self, part, inputs):
        self.inputs[part] = self._kept(inputs[0])
        if getattr(part, "inplace", False):
            # It writes over its input, which is the very tensor to be kept.
            return (inputs[0].clone(), *inputs[1:])
        return None

    def _after(self, part, inputs, output):
        self.outputs[part] = self._kept(output)

    def _kept(self, value):
        if not torch.is_tensor(value) or value.is_inference():
            return value
        value = value.clone() if self.copies else value
        self.versions.append((value, value._version))
        return value

    def was_overwritten(self):
        """Whether something that came later works in place, on what is to be kept."""
        return any(value._version != version for value, version in self.versions)

    def read(self, tap):
        if tap.kind == "input":
            return self.inputs[tap.part]
        if tap.kind == "output":
            return self.outputs[tap.part]
        values = self._vertices(tap.part)[:, _indices(tap.part.structure, tap.vertices)]
        return values.relu() if tap.kind == "fired" else values

    def _vertices(self, graph):
        if graph not in self.vertices:
            self.vertices[graph] = graph.vertex_preactivations(self.inputs[graph])
        return self.vertices[graph]


def _indices(structure, vertices):
    if vertices == "sinks":
        return torch.from_numpy(np.array(structure.sinks))
    start, stop = structure.layer_offsets[vertices : vertices + 2]
    return slice(int(start), int(stop))
