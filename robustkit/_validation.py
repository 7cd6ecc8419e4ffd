"""Checks that neither `_parameter_constraints` nor `validate_data` can say.

Also what their messages need: the nearest known name, and the line to point at.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from difflib import get_close_matches
from math import nan, prod, sqrt
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    # The command line reads this file before numpy is loaded.
    import numpy as np

__all__ = [
    "caller_depth",
    "check_clip",
    "check_image_shape",
    "check_magnitude",
    "check_range",
    "did_you_mean",
    "learn_clip",
]

# Calls of these lie between a method of ours and the line that called it.
_BETWEEN = {"contextlib", "functools", "joblib", "robustkit", "sklearn", "torch"}

# Of float32.
_LARGEST = (2 - 2.0**-23) * 2.0**127


def check_image_shape(image_shape: Iterable[int], n_features: int) -> tuple[int, ...]:
    """Check that samples of `n_features` values can be seen as images of this shape.

    (height, width) or (channels, height, width), returned as plain integers.
    """
    try:
        shape = tuple(int(side) for side in image_shape)
    except (TypeError, ValueError):
        shape = ()
    if len(shape) not in (2, 3) or min(shape) < 1:
        raise ValueError(
            "The 'image_shape' parameter must be (height, width) or (channels, height, "
            f"width), all at least 1. Got {image_shape!r} instead."
        )
    if prod(shape) != n_features:
        raise ValueError(
            f"image_shape={image_shape!r} holds {prod(shape)} values, but X has "
            f"{n_features} features."
        )
    return shape


def check_magnitude(X: np.ndarray, name: str = "X") -> None:
    """Refuse samples that are too large for a network, which computes in float32.

    The sum of the squares of a sample must be finite; X itself has to be already.
    """
    limit = sqrt(_LARGEST / X.shape[1])
    # Of the same dtype, and without a copy of X.
    farthest = max(X.min(), X.max(), key=lambda x: abs(float(x))) if X.size else 0
    if abs(float(farthest)) > limit:
        raise ValueError(
            f"{name} holds {farthest:.3g}, and squares of that overflow in the float32 "
            "of a network. Scale them, to [0, 1] for instance."
        )


def learn_clip(clip: Any, X: np.ndarray) -> tuple[float, float] | None:
    """Find the range that samples must keep to, from a parameter and training samples.

    "auto" is (0, 1) if they lie in it, else none.
    """
    if isinstance(clip, str):
        return (0.0, 1.0) if X.min() >= 0 and X.max() <= 1 else None
    if clip is None:
        return None
    low, high = check_clip(clip)
    check_range(X.min(), X.max(), low, high)
    return low, high


def check_clip(clip: Any) -> tuple[float, float]:
    """Return the two ends of a clip range as numbers, if they are in order."""
    try:
        low, high = (float(bound) for bound in clip)
    except (TypeError, ValueError):
        low, high = nan, nan
    if not low < high:
        raise ValueError(
            "The 'clip' parameter must be a pair (low, high) with low < high, None or, "
            f"of an estimator, 'auto'. Got {clip!r} instead."
        )
    return low, high


def check_range(smallest: float, largest: float, low: float, high: float) -> None:
    """Refuse samples outside the clip range."""
    if smallest < low or largest > high:
        raise ValueError(
            f"X must lie in the clip range [{low}, {high}]. Got values from {smallest} "
            f"to {largest}. Scale X, or change the parameter 'clip' (and fit an "
            "attack again)."
        )


def did_you_mean(name: object, known: Iterable[str]) -> str:
    """End an error message with the nearest known name, or with a period."""
    near = get_close_matches(str(name), list(known), n=1)
    return f", did you mean {near[0]!r}?" if near else "."


def caller_depth() -> int:
    """Count the frames up to the user's line: the `stacklevel` of a warning.

    Call it in the function that warns, as in ``warn(..., stacklevel=caller_depth())``.
    """
    frame, depth = sys._getframe(1), 1
    while frame.f_back is not None and _is_between(frame.f_globals):
        frame, depth = frame.f_back, depth + 1
    return depth


def _is_between(names):
    return names.get("__name__", "").partition(".")[0] in _BETWEEN
