"""Whether a module computes as precisely as proofs assume.

They hold for sums of products in any order, in single precision or better. Some of what
torch may do is less precise: products of numbers that were rounded to TF32 or bfloat16,
and convolutions by transforms, whose error is relative to the largest number of a tile
and not to what an output sums.
"""

from __future__ import annotations

import os
from itertools import chain

import torch
from torch import nn

__all__ = ["refuse_imprecise"]

_CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
_FAST_MATH = ("DNNL_DEFAULT_FPMATH_MODE", "ONEDNN_DEFAULT_FPMATH_MODE")


def refuse_imprecise(module: nn.Module, owner: str) -> None:
    """Refuse a module that torch may compute less precisely than proofs assume.

    It is where it computes; how torch computes at the moment counts.
    """
    reason = _what_is_imprecise(module)
    if reason is not None:
        raise TypeError(
            f"{owner} proves what sums in single precision or better compute, and "
            f"{reason}."
        )


def _what_is_imprecise(module):
    tensors = chain(module.parameters(), module.buffers())
    devices = {t.device.type for t in tensors if t.dtype == torch.float32}
    for part in module.modules():
        if isinstance(part, _CONVOLUTIONS):
            reason = _what_is_imprecise_in_convolution(part.weight)
            if reason is not None:
                return reason
    for device in sorted(devices):
        if torch.is_autocast_enabled(device):
            return f"torch.autocast is on for {device!r}: leave it"
        for name, precision in _precisions(device):
            if precision not in ("none", "ieee"):
                return f"{name} is {precision!r}: set it to 'ieee'"
    for name in _FAST_MATH if "cpu" in devices else ():
        mode = os.environ.get(name, "strict")
        if mode.lower() not in ("", "strict"):
            return f"the environment has {name}={mode}: leave it out"
    return None


def _what_is_imprecise_in_convolution(weight):
    if weight.device.type != "cpu":
        return (
            f"convolutions on {str(weight.device)!r} may be computed by transforms or "
            "in TF32: put the model on the CPU"
        )
    mkldnn, nnpack = torch.backends.mkldnn, torch.backends.nnpack
    if weight.dtype == torch.float64 or (mkldnn.is_available() and mkldnn.enabled):
        return None
    if nnpack.is_available() and torch._C._get_nnpack_enabled():
        return (
            "NNPACK computes convolutions by transforms where oneDNN is off: call "
            "torch.backends.nnpack.set_flags(False), or module.double()"
        )
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
