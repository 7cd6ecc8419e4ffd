"""Arrays and tensors: in, out, on which device, and in pieces that fit."""

from collections.abc import Iterator
from contextlib import contextmanager
from copy import deepcopy
from itertools import chain

import numpy as np
import torch

__all__ = [
    "as_array",
    "as_tensor",
    "dtype_of",
    "evaluating",
    "map_batches",
    "on_device",
    "resolve_device",
    "threads_for",
]

_FLOATS_OF_NUMPY = (torch.float16, torch.float32, torch.float64)

# Products that one thread does in about a millisecond.
_WORTH_SHARING = 2**25


def resolve_device(device):
    """Turn the `device` parameter of an estimator into a torch device.

    Parameters
    ----------
    device : str or torch.device
        "auto" is CUDA where there is one, else the CPU.

    Returns
    -------
    device : torch.device
        A device that exists on this machine.
    """
    if isinstance(device, str) and device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        resolved = torch.device(device)
    except (RuntimeError, TypeError) as error:
        raise ValueError(
            "The 'device' parameter must be 'auto', 'cpu', 'cuda' or 'cuda:<index>'. "
            f"Got {device!r} instead."
        ) from error
    if resolved.type == "cuda":
        _check_cuda_is_there(resolved)
    return resolved


def _check_cuda_is_there(device):
    n_devices = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if n_devices <= (device.index or 0):
        raise ValueError(
            f"device={str(device)!r} was asked for, but torch sees {n_devices} CUDA "
            "devices here. Use device='auto' or device='cpu'."
        )


def on_device(module: torch.nn.Module, device: torch.device) -> torch.nn.Module:
    """Return the module itself if it is on a device already, else a copy that is.

    A caller's module never moves.
    """
    # A tensor knows which of several GPUs "cuda" means.
    there = torch.empty(0, device=device).device
    if all(t.device == there for t in chain(module.parameters(), module.buffers())):
        return module
    return deepcopy(module).to(device)


def as_tensor(X, *, device="cpu", dtype=torch.float32):
    """Bring an array to a device.

    Parameters
    ----------
    X : array-like, DataFrame or torch.Tensor
        The numbers.

    device : str or torch.device, default="cpu"
        Where they go.

    dtype : torch.dtype, default=torch.float32
        What they become.

    Returns
    -------
    tensor : torch.Tensor
        Shares memory with `X` where that is possible; never written to by robustkit.
    """
    if not torch.is_tensor(X):
        X = np.ascontiguousarray(X)
        if not X.flags.writeable:
            # torch warns of read-only memory: a tensor of it could be written to.
            X = X.copy()
        X = torch.from_numpy(X)
    return X.detach().to(device=device, dtype=dtype)


def as_array(tensor):
    """Bring a tensor back to numpy.

    Parameters
    ----------
    tensor : torch.Tensor
        On any device, with or without a gradient.

    Returns
    -------
    array : ndarray
        Of the same shape; float32 where numpy has no such numbers, as for bfloat16,
        which loses nothing.
    """
    tensor = tensor.detach().cpu()
    if tensor.layout != torch.strided:
        raise TypeError(
            f"A tensor of layout {tensor.layout} was passed, but a dense one is needed."
            " Use its method 'to_dense'."
        )
    if tensor.is_floating_point() and tensor.dtype not in _FLOATS_OF_NUMPY:
        tensor = tensor.float()
    return tensor.resolve_conj().resolve_neg().numpy()


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


def map_batches(function, *arrays, batch_size):
    """Apply a function to rows in pieces, smaller ones if the GPU runs out of memory.

    Parameters
    ----------
    function : callable
        Takes one slice of every array and returns a tensor, or a tuple of tensors,
        with as many rows. A row's result must not depend on the other rows.

    *arrays : torch.Tensor
        All with the same number of rows.

    batch_size : int
        Rows a call at most. Halved, for the rows that are left, whenever CUDA reports
        that its memory is full.

    Returns
    -------
    result : torch.Tensor or tuple of torch.Tensor
        The pieces, joined along the rows.
    """
    n_rows = arrays[0].shape[0]
    pieces, start = [], 0
    while start < n_rows or not pieces:
        stop = min(start + batch_size, n_rows)
        try:
            pieces.append(function(*(array[start:stop] for array in arrays)))
        except torch.OutOfMemoryError:
            if stop - start <= 1:
                raise
            batch_size = (stop - start) // 2
            torch.cuda.empty_cache()
            continue
        start = stop
    if isinstance(pieces[0], tuple):
        return tuple(torch.cat(parts) for parts in zip(*pieces, strict=True))
    return torch.cat(pieces)


@contextmanager
def evaluating(module: torch.nn.Module) -> Iterator[None]:
    """Put a module in eval mode for one block.

    Every part gets its own mode back: a part that the caller froze in eval mode, while
    the rest trains, must not come back training.
    """
    training = [part for part in module.modules() if part.training]
    try:
        for part in training:
            part.training = False
        yield
    finally:
        for part in training:
            part.training = True


@contextmanager
def threads_for(module, n_rows):
    """Let torch use one thread, for one block, where there is little to share.

    An operation ends with the last of its threads, and on a machine that has other work
    some thread always waits for its turn: a network of a few thousand weights then
    trains a hundred times slower with four threads than with one.

    Parameters
    ----------
    module : torch.nn.Module
        What the block runs.

    n_rows : int
        Samples that go through it at once.
    """
    n_threads = torch.get_num_threads()
    if _products(module, n_rows) < _WORTH_SHARING:
        torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(n_threads)


def _products(module, n_rows):
    """Count the products of one pass; more than can be told with a convolution."""
    weights = list(module.parameters())
    if any(weight.ndim > 2 for weight in weights):
        return float("inf")
    return n_rows * sum(weight.numel() for weight in weights)
