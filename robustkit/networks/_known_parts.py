"""Which parts of a module may be computed from their weights instead of being called.

What a module computes is defined by its `forward`. Its class tells only if nothing came
in between: no subclass with another `forward`, no hook that changes inputs or outputs,
no weight that is computed at every call. Code that uses the weights of a part without
calling it asks here first.
"""

from collections.abc import Iterator

import torch
from torch import nn
from torch.nn.modules import module as torch_module

__all__ = ["is_plain", "leaves", "what_is_odd"]

_GLOBAL_HOOKS = ("_global_forward_hooks", "_global_forward_pre_hooks")


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


def leaves(module: nn.Module) -> Iterator[nn.Module]:
    """Take nested :class:`~torch.nn.Sequential` apart.

    Called one after the other, the parts compute what the module computes. A container
    that does more than call its children is one part.
    """
    if is_plain(module, nn.Sequential):
        for child in module:
            yield from leaves(child)
    else:
        yield module
