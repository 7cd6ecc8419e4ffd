"""The layers of a torch module by name, and what they compute."""

from collections.abc import Sequence
from difflib import get_close_matches
from numbers import Integral
from typing import Any, NamedTuple, TypeGuard

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from robustkit._tensors import on_device, pad_rows
from robustkit.bridge._as_module import as_module
from robustkit.bridge._compositions import SideBySide
from robustkit.networks import SparseNetwork, flat_input, is_plain

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

# With these, the signs of a layer's pre-activations determine which linear map it is.
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
# As many are named in an error.
_FEW_LAYERS = 30

_AFFINE = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)


class LayerValues(NamedTuple):
    """What a layer computed for a batch; both are differentiable."""

    pre_activation: torch.Tensor
    """Input of its nonlinearity, of shape (n_samples, ...)."""

    activation: torch.Tensor
    """Output of its nonlinearity."""


def module_on(
    estimator: Any,
    X: NDArray,
    device: torch.device,
    image_shape: Sequence[int] | None = None,
) -> nn.Module:
    """Convert a fitted estimator to a torch module in eval mode, on some device.

    The module takes rows, which become images if there is an `image_shape`. The number
    of features of X is checked, as a frozen estimator "fitted" to X has not done it.
    The estimator's own network is never moved: if it is on another device, this is a
    copy.
    """
    expected = getattr(estimator, "n_features_in_", X.shape[1])
    if expected != X.shape[1]:
        raise ValueError(
            f"X has {X.shape[1]} features, but {type(estimator).__name__} is expecting "
            f"{expected} features as input."
        )
    return on_device(flat_input(as_module(estimator), image_shape), device)


def layer_names(module: nn.Module) -> list[str]:
    """Name the hidden layers of a module.

    They are its nonlinearities, in the order and with the names of `named_modules()`.
    The layers of a sparse network are those of its graph, "layer_0", "layer_1" and so
    on. A module without nonlinear submodules, because it has none or calls them as
    functions, is cut at its affine maps instead, the last one left out.
    """
    return list(_anatomy(module)[0])


def resolve_layers(
    module: nn.Module, layers: str | int | Sequence[str | int]
) -> list[str]:
    """Turn the `layer` parameter of a user into names, as `layer_values` takes them.

    It is "logits", "penultimate", a name of `layer_names` or of `named_modules()`, an
    index into the hidden layers, a list of these, or "all" for every hidden layer. Of a
    module inside another, as in a pipeline, its own `named_modules()` will do: what
    stands before them may be left out as long as only one layer is meant.
    """
    hidden = layer_names(module)
    if isinstance(layers, str) and layers == "all":
        layers = hidden or ["penultimate"]
    elif isinstance(layers, str | int | Integral):  # An integer of numpy is no int.
        layers = [layers]
    if len(layers) == 0:
        raise ValueError(f"layer={layers!r} names no layer.")
    return list(dict.fromkeys(_resolve(module, layer, hidden) for layer in layers))


def _resolve(module: nn.Module, layer: Any, hidden: list[str]) -> str:
    if layer == "logits":
        return layer
    if not hidden and (layer == "penultimate" or isinstance(layer, Integral)):
        raise ValueError(
            f"layer={layer!r} needs a hidden layer, but this model has none between "
            "input and logits. Use layer='logits', or a model with hidden layers."
        )
    if _has_members(module) and (layer == "penultimate" or isinstance(layer, Integral)):
        raise ValueError(
            f"layer={layer!r} could be that of any member of this ensemble. Use "
            f"layer='logits', or a name: {_few(_layers_of_members(module, hidden))}."
        )
    if layer == "penultimate":
        return layer
    if isinstance(layer, Integral):
        if -len(hidden) <= int(layer) < len(hidden):
            return hidden[int(layer)]
        raise ValueError(
            f"layer={layer!r} is out of range: the hidden layers are {hidden}."
        )
    inner = [name for name, _ in module.named_modules() if name]
    known = list(dict.fromkeys(["logits", "penultimate", *hidden, *inner]))
    if layer in known:
        return layer
    # A user's own names: what wraps the user's module puts others before them.
    own = [name for name in known if name.endswith(f".{layer}")]
    if len(own) == 1:
        return own[0]
    if own:
        raise ValueError(f"layer={layer!r} may be any of {own}: give the whole name.")
    raise ValueError(f"layer={layer!r} is unknown{_near_names(str(layer), known)}")


def _near_names(layer, known):
    """End the message of an unknown layer with the names that resemble it."""
    # A name of the user's own resembles the end of a whole one.
    ends = {name: name for name in known}
    for name in known:
        for k in range(1, name.count(".") + 1):
            ends.setdefault(name.split(".", k)[-1], name)
    near = get_close_matches(layer, ends, n=5, cutoff=0.5)
    names = list(dict.fromkeys(ends[end] for end in near))
    asked = f", did you mean one of {names}?" if len(names) > 1 else "."
    asked = f", did you mean {names[0]!r}?" if len(names) == 1 else asked
    return f"{asked} The layers are {_few(known)}."


def _few(names: list[str]) -> list[str]:
    """Leave out the rest of many: deep networks have hundreds."""
    return names if len(names) <= _FEW_LAYERS else [*names[:_FEW_LAYERS], "..."]


def _layers_of_members(module: nn.Module, hidden: list[str]) -> list[str]:
    """Name hidden layers and affine maps: some members have none but the latter."""
    names = [name for name, part in module.named_modules() if isinstance(part, _AFFINE)]
    return list(dict.fromkeys([*hidden, *names]))


def _has_members(module: nn.Module) -> bool:
    """Whether the last affine map is that of one of several members of an ensemble."""
    head = _anatomy(module)[1]
    ensembles = [part for part in module.modules() if isinstance(part, SideBySide)]
    return any(
        len(ensemble.parts) > 1 and head in list(ensemble.modules())
        for ensemble in ensembles
    )


def layer_values(
    module: nn.Module, X: Tensor, names: list[str]
) -> dict[str, LayerValues]:
    """Run a module on a batch and record what some of its layers compute.

    Its mode, weights and hooks are left unchanged. Of a nonlinearity this is its input
    and its output; of any other module of `named_modules()`, and for "logits", twice
    its output. "penultimate" is the input of the last nonlinearity, and of the last
    affine map: the two also differ by what is between them, such as pooling. For a
    sparse network it is the sinks of its graph. A module that is called several times
    shows its last call.
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


def steady_layer_values(
    module: nn.Module, X: Tensor, names: list[str]
) -> dict[str, LayerValues]:
    """Do what :func:`layer_values` does, without gradients and without neighbours.

    The rows are padded, so that a sample's values hardly ever depend on the other
    samples of its batch.
    """
    with torch.no_grad():
        values = layer_values(module, pad_rows(X), names)
    return {
        name: LayerValues(*(value[: len(X)] for value in pair))
        for name, pair in values.items()
    }


def has_relu_units(module: nn.Module) -> bool:
    """Whether the signs of pre-activations determine which linear map a module is.

    That is so if one of its parts is a ReLU or a relative of it with one kink at zero,
    or a sparse network.
    """
    return any(_is_graph(m) or _is_a(m, *_RELU_LIKE) for m in module.modules())


def head_parameters(module: nn.Module) -> list[nn.Parameter]:
    """Find the weights that turn the penultimate layer into logits.

    They are those of the last affine map, and of what comes after it.
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
    """A place where a value can be read."""

    part: nn.Module
    kind: str
    """"input" or "output" of the part; "vertices" or "fired" of a graph."""

    vertices: int | str = ""
    """A layer of the graph, or its "sinks"."""


def _anatomy(module: nn.Module) -> tuple[dict[str, tuple[_Tap, _Tap]], Any]:
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


def _taps(
    module: nn.Module, name: str, hidden: dict[str, tuple[_Tap, _Tap]], head: Any
) -> tuple[_Tap, _Tap]:
    if name == "logits":
        return (_Tap(module, "output"),) * 2
    if name != "penultimate":
        inner = dict(module.named_modules())
        return hidden[name] if name in hidden else (_Tap(inner[name], "output"),) * 2
    last = list(hidden.values())[-1]
    if _is_graph(last[0].part):
        last = _vertex_taps(last[0].part, "sinks")
    return last if _is_graph(head) else (last[0], _Tap(head, "input"))


def _vertex_taps(part: nn.Module, vertices: int | str) -> tuple[_Tap, _Tap]:
    return _Tap(part, "vertices", vertices), _Tap(part, "fired", vertices)


def _is_a(part: nn.Module, *types: type) -> bool:
    # A subclass may compute something else. Hooks do not matter: the layer is called,
    # and its input and output are read.
    return is_plain(part, *types, hooked=True)


def _is_graph(part: nn.Module) -> TypeGuard[SparseNetwork]:
    return _is_a(part, SparseNetwork)


class _Recorder:
    """Runs a module while hooks record the inputs and outputs of its parts."""

    def __init__(
        self, module: nn.Module, taps: set[_Tap], copies: bool = False
    ) -> None:
        self.module, self.copies = module, copies
        self.parts = {tap.part for tap in taps}
        # A network that is a graph computes its vertices without being called.
        self.needs_call = bool(module._forward_pre_hooks) or any(
            tap.part is not module or tap.kind == "output" for tap in taps
        )
        self.inputs: dict[nn.Module, Any] = {}
        self.outputs: dict[nn.Module, Any] = {}
        self.vertices: dict[nn.Module, Tensor] = {}
        self.versions: list[tuple[Tensor, int]] = []

    def run(self, X: Tensor) -> None:
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

    def _before(self, part: nn.Module, inputs: tuple) -> tuple | None:
        self.inputs[part] = self._kept(inputs[0])
        if getattr(part, "inplace", False):
            # It writes over its input, which is the very tensor to be kept.
            return (inputs[0].clone(), *inputs[1:])
        return None

    def _after(self, part: nn.Module, inputs: tuple, output: Any) -> None:
        self.outputs[part] = self._kept(output)

    def _kept(self, value: Any) -> Any:
        if not torch.is_tensor(value) or value.is_inference():
            return value
        value = value.clone() if self.copies else value
        self.versions.append((value, value._version))
        return value

    def was_overwritten(self) -> bool:
        """Whether a later operation has written in place to a recorded value."""
        return any(value._version != version for value, version in self.versions)

    def read(self, tap: _Tap) -> Any:
        if tap.kind == "input":
            return self.inputs[tap.part]
        if tap.kind == "output":
            return self.outputs[tap.part]
        values = self._vertices(tap.part)[:, _indices(tap.part, tap.vertices)]
        return values.relu() if tap.kind == "fired" else values

    def _vertices(self, graph: Any) -> Tensor:
        if graph not in self.vertices:
            self.vertices[graph] = graph.vertex_preactivations(self.inputs[graph])
        return self.vertices[graph]


def _indices(graph: Any, vertices: int | str) -> Any:
    if isinstance(vertices, str):
        return torch.from_numpy(np.array(graph.structure.sinks))
    start, stop = graph.structure.layer_offsets[vertices : vertices + 2]
    return slice(int(start), int(stop))
