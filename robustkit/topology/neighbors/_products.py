"""Blocks of products, from which distances follow: by BLAS, or on another device."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from robustkit.topology.neighbors._search import SortedSamples

_UNIT_ROUNDOFF = 2.0**-24

# From so many features on, a product is worth its way to another device and back.
_WIDE = 64

# Where products are computed; None is here, by BLAS.
_DEVICE: ContextVar[Any] = ContextVar("device", default=None)


def device_for(n_features: int) -> Any:
    """Return the device that computes products of so many features; None is here."""
    return _DEVICE.get() if n_features >= _WIDE else None


@contextmanager
def products_on(device: str) -> Iterator[None]:
    """Compute the products of wide samples on a device of torch, for one block.

    Which pairs are near does not depend on it: no product may be off by more than
    `rounding_bound`, whoever computes it.
    """
    if device == "cpu":
        yield
        return
    # Imported here: no mapper on the CPU needs torch.
    from robustkit._tensors import resolve_device, why_imprecise

    resolved = resolve_device(device)
    reason = why_imprecise(resolved.type)
    if reason is not None:
        raise ValueError(
            f"device={device!r} needs products in single precision, and {reason}."
        )
    token = _DEVICE.set(None if resolved.type == "cpu" else resolved)
    try:
        yield
    finally:
        _DEVICE.reset(token)


class Products:
    """Float32 matrix products of some rows with columns, and who is near by them.

    Of squared distances |x|^2 + |y|^2 - 2 x.y, the products are the part that depends
    on the columns y: ``|y|^2 - 2 x.y``.
    """

    def __init__(self, samples: SortedSamples, eps: float, rows: NDArray):
        self.norms = samples.norms[rows]
        self._device = samples.device
        self._block = self._there(samples.rows(rows) * np.float32(-2))
        self._limit = (float(eps) * samples.scale) ** 2
        self._n_features = samples.X.shape[1]

    def thresholds(self, column_norms: NDArray) -> tuple[NDArray, NDArray]:
        """Return two limits per row: sure up to the first, impossible above the second.

        They hold for columns of these squared norms.
        """
        largest = max(self.norms.max(), column_norms.max(initial=0))
        tolerance = rounding_bound(self._n_features, largest)
        sure, possible = self._limit - tolerance, self._limit + tolerance
        return (
            (sure - self.norms).astype(np.float32),
            (possible - self.norms).astype(np.float32),
        )

    def with_columns(self, vectors: NDArray, norms: NDArray) -> NDArray:
        """Return the products with float32 columns and their squared norms."""
        products = self._block @ self._there(vectors).T
        if self._device is not None:
            products = products.cpu().numpy()
        products += norms
        return products

    def _there(self, vectors):
        if self._device is None:
            return vectors
        import torch

        return torch.from_numpy(vectors).to(self._device, non_blocking=True)


def rounding_bound(n_features: int, largest: float) -> float:
    """Bound the error of a squared distance that was computed in float32.

    A product of vectors of squared norm at most R (`largest`) is off by n_features u R,
    whatever the order of its sums (and a little more, to second order); twice that
    enters. The rest covers the rounding of samples, norms and thresholds, and of a few
    sums.
    """
    return (2.2 * n_features + 32) * _UNIT_ROUNDOFF * largest
