"""A module that is attacked is in eval mode, and afterwards as it was."""

import copy
from contextlib import contextmanager
from itertools import chain

import torch

__all__ = ["dtype_of", "evaluation_mode", "on_device"]


@contextmanager
def evaluation_mode(module):
    """Put a module in eval mode for one block.

    Every part gets its own mode back: a part that the caller froze in eval mode, while
    the rest trains, must not come back training.

    Parameters
    ----------
    module : torch.nn.Module
        The model.
    """
    training = [part for part in module.modules() if part.training]
    try:
        for part in training:
            part.training = False
        yield
    finally:
        for part in training:
            part.training = True


def on_device(module, device):
    """Give the module itself if it is on a device already, else a copy that is.

    Parameters
    ----------
    module : torch.nn.Module
        The model; not moved.

    device : torch.device
        Where it should be.

    Returns
    -------
    module : torch.nn.Module
        On the device.
    """
    tensors = chain(module.parameters(), module.buffers())
    if all(_same(tensor.device, device) for tensor in tensors):
        return module
    return copy.deepcopy(module).to(device)


def dtype_of(module):
    """Floating type that a module computes in.

    Parameters
    ----------
    module : torch.nn.Module
        The model.

    Returns
    -------
    dtype : torch.dtype
        Of its first floating parameter or buffer; float32 if it has none.
    """
    for tensor in chain(module.parameters(), module.buffers()):
        if tensor.is_floating_point():
            return tensor.dtype
    return torch.float32


def _same(device, other):
    return device.type == other.type and other.index in (None, device.index)
