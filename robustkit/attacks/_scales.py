"""What `eps` means for features of different scale, and what `fit` learns of scales."""

import math
import warnings
from numbers import Real
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from robustkit._validation import caller_depth
from robustkit.exceptions import InputRoundingWarning

__all__ = ["Extent", "ball_of", "check_ball", "warn_of_rounding", "warn_of_scales"]

# Of the standard deviations of the features, largest by smallest. Beyond it an eps that
# is large for one feature is nothing for another.
_WIDE = 100

# With fewer representable points in a radius a move is mostly rounding.
_FEW = 8

# Rows whose deviations are computed at a time, in double precision.
_CHUNK = 4096


class Extent:
    """Range and standard deviation of every feature, learned batch by batch."""

    def __init__(self) -> None:
        self.n_samples = 0

    @classmethod
    def of(cls, X: NDArray) -> Self:
        """Learn from all rows of an array."""
        extent = cls()
        for start in range(0, len(X), _CHUNK):
            extent.add(X[start : start + _CHUNK])
        return extent

    def add(self, rows: NDArray) -> None:
        """Learn from more rows.

        Means and squared deviations of two groups become those of both, as Chan, Golub
        and LeVeque do it: no sum of squares loses its digits.
        """
        n, mean = len(rows), rows.mean(axis=0, dtype=np.float64)
        squares = np.square(rows - mean).sum(axis=0)
        low, high = rows.min(axis=0), rows.max(axis=0)
        if self.n_samples:
            n_before, n = self.n_samples, self.n_samples + n
            way, share = mean - self._mean, len(rows) / n
            mean = self._mean + way * share
            squares = self._squares + squares + np.square(way) * n_before * share
            low, high = np.minimum(low, self.low), np.maximum(high, self.high)
        self.n_samples, self._mean, self._squares = n, mean, squares
        self.low, self.high = low, high

    @property
    def std(self) -> NDArray:
        """Standard deviation of every feature: exactly zero if it is constant."""
        std = np.sqrt(self._squares / self.n_samples)
        return np.where(self.low == self.high, 0.0, std)


def warn_of_scales(attack: Any, std: NDArray) -> None:
    """Warn if a move of the same size means something else for every feature."""
    varying = std[std > 0]
    if len(varying) < 2 or varying.max() <= _WIDE * varying.min():
        return
    advice = "Scale X first."
    # In the Euclidean norm all features count in the same unit.
    if hasattr(attack, "eps_unit") and getattr(attack, "norm", "linf") == "linf":
        advice = (
            "Use eps_unit='std', which counts in standard deviations, give eps as one "
            "number per feature, or scale X first."
        )
    warnings.warn(
        f"{type(attack).__name__} counts a move alike for every feature, but the "
        f"standard deviations of the features go from {varying.min():.3g} to "
        f"{varying.max():.3g}. {advice}",
        UserWarning,
        stacklevel=caller_depth(),
    )


def ball_of(eps: float | ArrayLike | None, eps_unit: str, std: NDArray | None) -> dict:
    """Return `radius` and `unit` of a plan: how far features may move, and in what.

    A move is measured in units of every feature: its standard deviation, or where eps
    is one number per feature that number, so that 1 is the edge of the ball. None is
    the number itself.
    """
    if eps is None:
        return {"radius": math.inf}
    if isinstance(eps, Real) and eps_unit == "raw":
        return {"radius": eps}
    radius = _as_numbers(eps)
    if radius.ndim > 2:
        # One per pixel of an image.
        radius = radius.ravel()
    per_feature = radius.ndim > 0 and radius.shape[-1] != 1
    unit = None
    if eps_unit == "std":
        if std is None:
            raise ValueError(
                "eps_unit='std' needs an attack that was fitted, to know the standard "
                "deviations: call fit first, or pass eps=multiple * X.std(axis=0)."
            )
        if per_feature and radius.shape[-1] != len(std):
            raise ValueError(_does_not_fit(radius, (None, len(std))))
        radius, unit = radius * std, std[None]
    radius = np.atleast_2d(radius)
    return {"radius": radius, "unit": radius if per_feature else unit}


def _as_numbers(eps: Any) -> NDArray:
    try:
        radius = np.asarray(eps, dtype=np.float64)
    except (TypeError, ValueError):
        radius = np.empty(0)
    wrong = np.argwhere(~((radius >= 0) & (radius < np.inf)))
    if radius.size == 0 or len(wrong):
        got = repr(eps)
        if radius.size > 1:
            # Not all of them, which may be thousands.
            where = tuple(wrong[0].tolist())
            got = f"{radius[where]} at {list(where)}"
        raise ValueError(
            "The 'eps' parameter must be a number of at least 0, or an array of such "
            f"numbers. Got {got} instead."
        )
    return radius


def check_ball(radius: float | NDArray, norm: str, shape: tuple[int, int]) -> None:
    """Check that the radii fit samples of this shape."""
    if not isinstance(radius, np.ndarray):
        return
    if norm == "l2" and radius.shape[1] != 1:
        raise ValueError(
            "With norm='l2' the 'eps' parameter must be the same for all features: a "
            "number, or one per sample in the shape (n_samples, 1), and eps_unit='raw'."
            f" Got {radius.shape[1]} numbers per sample."
        )
    if not all(
        size in (1, whole) for size, whole in zip(radius.shape, shape, strict=True)
    ):
        raise ValueError(_does_not_fit(radius, shape))


def _does_not_fit(radius, shape):
    n_samples, n_features = shape
    got = radius.shape[1:] if radius.ndim == 2 and len(radius) == 1 else radius.shape
    return (
        "The 'eps' parameter must be a number, or have the shape "
        f"({n_features},), one number per feature, or ({n_samples or 'n_samples'}, 1), "
        f"one per sample. Got the shape {got}."
    )


def warn_of_rounding(
    plan: Any, X: NDArray, dtype: torch.dtype, clip: tuple[float, float] | None
) -> None:
    """Warn if X is too coarse for what a search may do to it.

    `dtype` is that of the model.
    """
    radius = plan.radius if plan.smallest_move is None else plan.smallest_move
    if plan.norm == "l2":
        radius = radius / math.sqrt(X.shape[1])
    coarser = max(
        np.finfo(X.dtype), torch.finfo(dtype), key=lambda numbers: numbers.eps
    )
    if not isinstance(radius, np.ndarray):
        if not 0 < radius < math.inf:
            return
        # A known range saves a pass over X.
        bound = math.inf if clip is None else max(map(abs, clip))
        if radius >= _FEW * coarser.eps * bound:
            return
        largest = float(np.abs(X).max())
    else:
        radius, largest = _most_rounded(radius, X)
        if radius == 0:
            return
    spacing = coarser.eps * 2.0 ** math.floor(math.log2(max(largest, 1e-300)))
    if radius < _FEW * spacing:
        warnings.warn(
            f"A move of {radius:.3g} per feature is less than {_FEW} times "
            f"{spacing:.3g}, the spacing of {coarser.dtype} numbers near "
            f"{largest:.3g}: the result is mostly rounding. Center X first, or "
            "give it as float64 to a model that computes in float64.",
            InputRoundingWarning,
            stacklevel=caller_depth(),
        )


def _most_rounded(radius, X):
    """Radius and largest number of the feature that is rounded most, if it may move."""
    size = np.abs(X).max(axis=0, initial=0)
    radius = np.broadcast_to(radius.max(axis=0), size.shape)
    share = np.full(len(size), np.inf)
    np.divide(radius, size, out=share, where=(size > 0) & (radius > 0))
    worst = share.argmin()
    return float(radius[worst]) * bool(share[worst] < np.inf), float(size[worst])
