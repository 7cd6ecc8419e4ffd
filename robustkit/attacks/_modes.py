"""How a module is called, and that it is afterwards as it was."""

import weakref
from contextlib import contextmanager
from itertools import chain

import torch

__all__ = [
    "dtypes_of",
    "spares_input",
    "sparing_input",
    "takes",
]

# Whether a module leaves its input as it is: found out once a module.
_SPARES_INPUT = weakref.WeakKeyDictionary()

# Samples that a module is called with to see what it does.
_N_PROBES = 2


def dtypes_of(module):
    """Floating types that a module may want its input in.

    Parameters
    ----------
    module : torch.nn.Module
        The model.

    Returns
    -------
    dtypes : list of torch.dtype
        All of its parameters and buffers, the most precise first, so that no digit of
        the input is lost before a module that casts by itself; float32 if there are
        none.
    """
    found = {
        tensor.dtype: None
        for tensor in chain(module.parameters(), module.buffers())
        if tensor.is_floating_point()
    }
    return sorted(found, key=lambda t: torch.finfo(t).eps) or [torch.float32]


def takes(module, samples):
    """Whether a module can be called with samples of this dtype.

    Parameters
    ----------
    module : torch.nn.Module
        The model.

    samples : torch.Tensor of shape (n_samples, ...)
        Only the first ones are looked at.

    Returns
    -------
    can : bool
        False if the call raises a RuntimeError, as torch does for a wrong dtype.
    """
    try:
        with torch.no_grad():
            module(samples[:_N_PROBES].clone())
    except RuntimeError:
        return False
    return True


def spares_input(module, samples):
    """Whether a module leaves the tensor that it is called with as it was.

    Parameters
    ----------
    module : torch.nn.Module
        The model.

    samples : torch.Tensor of shape (n_samples, ...)
        Only copies of the first ones are given to it.

    Returns
    -------
    spares : bool
        False for a module that writes to its input.
    """
    probe = samples[:_N_PROBES].detach().clone()
    before, version = probe.clone(), probe._version
    with torch.no_grad():
        module(probe)
    # What is written through numpy or `.data` has no version.
    return probe._version == version and torch.equal(probe, before)


@contextmanager
def sparing_input(module, samples):
    """Give a module that writes to its input a copy at every call, for one block.

    Any other module is called as it is.

    Parameters
    ----------
    module : torch.nn.Module
        The model.

    samples : torch.Tensor of shape (n_samples, ...)
        What it takes. Its first samples are tried once a module.
    """
    if module not in _SPARES_INPUT:
        _SPARES_INPUT[module] = len(samples) == 0 or spares_input(module, samples)
    if _SPARES_INPUT[module]:
        yield
        return
    hook = module.register_forward_pre_hook(
        lambda _, given: (given[0].clone(), *given[1:])
    )
    try:
        yield
    finally:
        hook.remove()
