"""Parts of a module: which are what their type says, and linear ones that are pruned.

What a module computes is defined by its `forward`. Its class tells only if nothing came
in between: no subclass with another `forward`, no hook that changes inputs or outputs,
no weight that is computed at every call. Code that uses the weights of a part without
calling it asks `is_plain` first; so does pruning, which replaces linear layers.
"""

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.modules import module as torch_module

__all__ = [
    "MaskedLinear",
    "has_gradient_hooks",
    "is_plain",
    "leaves",
    "linear_weights",
    "mask_hidden_layers",
    "prune_weights",
    "what_is_odd",
]

_GLOBAL_HOOKS = ("_global_forward_hooks", "_global_forward_pre_hooks")
_GRADIENT_HOOKS = ("_backward_hooks", "_backward_pre_hooks")


def is_plain(part: nn.Module, *types: type, hooked: bool = False) -> bool:
    """Whether a part computes what one of these types computes, and nothing else.

    Its children are not looked at, and a subclass is another type. With `hooked`, hooks
    do not matter, because the part will be called.
    """
    return type(part) in types and what_is_odd(part, hooked=hooked) is None


def what_is_odd(part: nn.Module, *, hooked: bool = False) -> str | None:
    """Name what makes a part compute something else than its type does, or None.

    The name follows "with", such as "a forward hook".
    """
    cls = type(part)
    owner = next(base for base in cls.__mro__ if "forward" in vars(base))
    if owner.forward.__qualname__ != f"{owner.__qualname__}.forward":
        return "a forward that was replaced"
    for name in vars(part):
        # A method of the class that this object replaces. The call compiled by
        # `Module.compile` could be anything.
        if callable(getattr(cls, name, None)) or (
            name == "_compiled_call_impl" and part._compiled_call_impl is not None
        ):
            return f"its own {name}"
    if hooked:
        return None
    if part._forward_hooks or part._forward_pre_hooks:
        return "a forward hook"
    if any(getattr(torch_module, name) for name in _GLOBAL_HOOKS):
        return "a forward hook of all modules"
    tensors = [*part.parameters(recurse=False), *part.buffers(recurse=False)]
    if any(type(t) not in (torch.Tensor, nn.Parameter) for t in tensors):
        return "weights that are no plain tensors"
    if any(t.layout is not torch.strided or t.is_meta for t in tensors):
        return "weights that are not stored densely"
    return None


def has_gradient_hooks(module: nn.Module) -> bool:
    """Whether anything is called with gradients that autograd computes.

    Code that computes gradients of its own calls none of these hooks.
    """
    return (
        any(getattr(torch_module, f"_global{name}") for name in _GRADIENT_HOOKS)
        or any(
            getattr(part, name) for part in module.modules() for name in _GRADIENT_HOOKS
        )
        or any(
            weight._backward_hooks or weight._post_accumulate_grad_hooks
            for weight in module.parameters()
        )
    )


def leaves(module: nn.Module) -> Iterator[nn.Module]:
    """Take nested :class:`~torch.nn.Sequential` apart.

    Called one after the other, the parts compute what the module computes. A container
    that does more than call its children is one part.
    """
    if isinstance(module, nn.Sequential) and is_plain(module, nn.Sequential):
        for child in module:
            yield from leaves(child)
    else:
        yield module


class MaskedLinear(nn.Linear):
    """A linear layer some of whose weights are removed.

    A removed weight is zero, and so is its gradient: training does not restore it. The
    weights are shared with `linear`; all of them are kept at first.
    """

    kept: Tensor

    def __init__(self, linear: nn.Linear) -> None:
        # Without memory: the weights are those of `linear`.
        super().__init__(
            linear.in_features,
            linear.out_features,
            bias=linear.bias is not None,
            device="meta",
        )
        self.weight, self.bias = linear.weight, linear.bias
        self.register_buffer("kept", torch.ones_like(linear.weight))
        self.train(linear.training)

    def forward(self, X: Tensor) -> Tensor:
        """Apply the weights that are kept."""
        return functional.linear(X, self.masked_weight(), self.bias)

    def masked_weight(self) -> Tensor:
        """Return the weights as they are applied: zero where one was removed."""
        return self.weight * self.kept

    @torch.no_grad()
    def remove(self, removed: Tensor) -> None:
        """Remove weights permanently, where `removed` is true."""
        self.kept.masked_fill_(removed, 0.0)
        self.weight.masked_fill_(removed, 0.0)


def linear_weights(part: nn.Linear) -> tuple[Tensor, Tensor]:
    """Return the weight and bias that a plain linear or masked layer applies.

    The weight is zero where it is masked, the bias is zero if the layer has none.
    """
    weight = part.masked_weight() if type(part) is MaskedLinear else part.weight
    return weight, weight.new_zeros(len(weight)) if part.bias is None else part.bias


def mask_hidden_layers(module: nn.Module | None) -> list[MaskedLinear]:
    """Make the weights between the hidden layers of a perceptron removable, in place.

    Every linear layer but the first and the last becomes a `MaskedLinear`, unless it
    computes something of its own, such as a layer with hooks. A module that is no
    Sequential has no such layers.
    """
    if type(module) is not nn.Sequential:
        return []
    parts = module.named_children()
    linear = [(name, part) for name, part in parts if isinstance(part, nn.Linear)]
    # A layer that computes something else must keep doing so.
    names = [name for name, part in linear[1:-1] if is_plain(part, nn.Linear)]
    for name in names:
        setattr(module, name, MaskedLinear(getattr(module, name)))
    return [getattr(module, name) for name in names]


def prune_weights(
    layers: Sequence[MaskedLinear],
    amount: float,
    *,
    method: str = "random",
    generator: torch.Generator | None = None,
) -> float:
    """Remove a share of the remaining weights; return the share of all that is left.

    The layers are pruned together: one may lose more than another. At least one weight
    is removed as long as there is one. `method` is "random", drawn with `generator`, or
    "magnitude", the smallest weights.
    """
    kept = torch.cat([layer.kept.flatten() for layer in layers]).bool()
    left = kept.nonzero().squeeze(1)
    n_removed = min(max(1, round(amount * len(left))), len(left))
    if method == "random":
        # Drawn on the CPU: one seed removes the same weights on every device.
        order = torch.randperm(len(left), generator=generator).to(left.device)
    else:
        weights = torch.cat([layer.weight.detach().flatten() for layer in layers])
        # Stable, so that equal weights go in the same order everywhere.
        order = weights[left].abs().argsort(stable=True)
    removed = torch.zeros_like(kept)
    removed[left[order[:n_removed]]] = True
    sizes = [layer.weight.numel() for layer in layers]
    for layer, part in zip(layers, removed.split(sizes), strict=True):
        layer.remove(part.view_as(layer.weight))
    return (len(left) - n_removed) / len(kept)
