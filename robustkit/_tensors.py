"""Arrays and tensors: conversion, device, precision, batches, and modes of a module."""

import os
from collections.abc import Callable, Generator
from contextlib import contextmanager
from copy import deepcopy
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

__all__ = [
    "as_array",
    "as_tensor",
    "dtype_of",
    "evaluating",
    "map_batches",
    "on_device",
    "pad_rows",
    "parts_of",
    "resolve_device",
    "tensors_of",
    "threads_for",
    "why_imprecise",
]

_FAST_MATH = ("DNNL_DEFAULT_FPMATH_MODE", "ONEDNN_DEFAULT_FPMATH_MODE")

_FLOATS_OF_NUMPY = (torch.float16, torch.float32, torch.float64)

# Products that one thread computes in about a millisecond.
_WORTH_SHARING = 2**25


def resolve_device(device: str | torch.device) -> torch.device:
    """Turn the `device` parameter of an estimator into a device that exists.

    "auto" is CUDA where there is one, else the CPU.
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
        _check_cuda_exists(resolved)
    return resolved


def why_imprecise(device: str) -> str | None:
    """Tell why a kind of device may multiply in less than single precision.

    How torch computes at the moment counts. None if it does not.
    """
    if torch.is_autocast_enabled(device):
        return f"torch.autocast is on for {device!r}: leave it"
    for name, precision in _precisions(device):
        if precision not in ("none", "ieee"):
            return f"{name} is {precision!r}: set it to 'ieee'"
    for name in _FAST_MATH if device == "cpu" else ():
        mode = os.environ.get(name, "strict")
        if mode.lower() not in ("", "strict"):
            return f"the environment has {name}={mode}: leave it out"
    return None


def _precisions(device):
    """Yield the settings of torch that products on a device obey."""
    if device == "cpu":
        for name in ("matmul", "conv"):
            precision = getattr(torch.backends.mkldnn, name).fp32_precision
            yield f"torch.backends.mkldnn.{name}.fp32_precision", precision
    elif device == "cuda":
        precision = torch.backends.cuda.matmul.fp32_precision
        yield "torch.backends.cuda.matmul.fp32_precision", precision


def _check_cuda_exists(device: torch.device) -> None:
    n_devices = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if n_devices <= (device.index or 0):
        raise ValueError(
            f"device={str(device)!r} was asked for, but torch sees {n_devices} CUDA "
            "devices here. Use device='auto' or device='cpu'."
        )


def on_device(module: nn.Module, device: torch.device) -> nn.Module:
    """Return the module itself if it is on a device already, else a copy that is.

    A caller's module never moves.
    """
    # A tensor knows which of several GPUs "cuda" means.
    there = torch.empty(0, device=device).device
    if all(tensor.device == there for tensor in tensors_of(module)):
        return module
    return deepcopy(module).to(device)


def parts_of(module: nn.Module) -> list[nn.Module]:
    """List a module and all modules in it, each once, in the order of `modules()`.

    That makes their names, too: an attack of one step on a few samples waits for it.
    """
    found: dict[int, nn.Module] = {}
    left = [module]
    while left:
        part = left.pop()
        if id(part) not in found:
            found[id(part)] = part
            if part._modules:
                children = list(part._modules.values())
                left += [child for child in children[::-1] if child is not None]
    return list(found.values())


def tensors_of(module: nn.Module, *, buffers: bool = True) -> list[torch.Tensor]:
    """List the parameters of a module, each once, and after them its buffers."""
    parts = parts_of(module)
    # Most parts have none of the one or the other.
    stores = [part._parameters for part in parts if part._parameters]
    if buffers:
        stores += [part._buffers for part in parts if part._buffers]
    found = [t for store in stores for t in store.values() if t is not None]
    return list({id(tensor): tensor for tensor in found}.values())


def as_tensor(
    X: Any,
    *,
    device: str | torch.device = "cpu",
    dtype: torch.dtype | None = torch.float32,
) -> torch.Tensor:
    """Bring an array, DataFrame or tensor to a device, in a dtype; None keeps its own.

    The result shares memory with `X` where possible, and must not be written to.
    """
    if not torch.is_tensor(X):
        X = np.ascontiguousarray(X)
        if not X.flags.writeable:
            # torch warns about read-only memory: a tensor of it could be written to.
            X = X.copy()
        X = torch.from_numpy(X)
    return X.detach().to(device=device, dtype=dtype)


def as_array(tensor: torch.Tensor) -> NDArray:
    """Bring a tensor back to numpy, from any device and with or without a gradient.

    Types that numpy lacks, such as bfloat16, become float32, which loses nothing.
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


def dtype_of(module: nn.Module) -> torch.dtype:
    """Return the dtype of the first floating parameter or buffer, else float32.

    That is the one a module computes in; if it begins in float64, its input loses no
    digit.
    """
    for tensor in tensors_of(module):
        if tensor.is_floating_point():
            return tensor.dtype
    return torch.float32


def map_batches(function: Callable[..., Any], *arrays: Any, batch_size: int) -> Any:
    """Apply a function to rows in batches, smaller ones if the GPU runs out of memory.

    `function` takes one slice of every array and returns a tensor, or a tuple of
    tensors, with as many rows; they are joined. A row's result must not depend on the
    other rows. `batch_size` is halved, for the remaining rows, whenever CUDA reports
    that its memory is full.
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


def pad_rows(rows: torch.Tensor, multiple: int = 16) -> torch.Tensor:
    """Copy rows and repeat the last one until their number is a multiple.

    Matrix products round differently for a few rows than for many, and in memory that
    is not aligned, as that of numpy may be; that is enough to turn a sign. With padded
    rows in memory of torch, a sample's result hardly ever depends on its neighbours.
    """
    padded = rows.new_empty(len(rows) + -len(rows) % multiple, *rows.shape[1:])
    padded[: len(rows)] = rows
    padded[len(rows) :] = rows[-1:]
    return padded


@contextmanager
def evaluating(module: nn.Module) -> Generator[None, None, None]:
    """Put a module in eval mode for one block.

    Every part gets its own mode back: a part that the caller froze in eval mode, while
    the rest trains, must not come back training.
    """
    training = [part for part in parts_of(module) if part.training]
    try:
        for part in training:
            part.training = False
        yield
    finally:
        for part in training:
            part.training = True


@contextmanager
def threads_for(module: nn.Module, n_rows: int) -> Generator[None, None, None]:
    """Let torch use one thread, for one block, where there is little work to share.

    `n_rows` samples go through the module at once. An operation ends with the last of
    its threads, and on a busy machine some thread always waits for its turn: a network
    of a few thousand weights then trains a hundred times slower with four threads than
    with one.
    """
    n_threads = torch.get_num_threads()
    if _products(module, n_rows) < _WORTH_SHARING:
        torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(n_threads)


def _products(module: nn.Module, n_rows: int) -> float:
    """Count the products of one pass; infinitely many with a convolution."""
    weights = tensors_of(module, buffers=False)
    if any(weight.ndim > 2 for weight in weights):
        return float("inf")
    return n_rows * sum(weight.numel() for weight in weights)
