"""Checks that neither `_parameter_constraints` nor `validate_data` can say."""

from difflib import get_close_matches
from math import prod, sqrt

__all__ = ["check_image_shape", "check_magnitude", "did_you_mean"]

# Of float32; the command line reads this file, and answers before numpy is loaded.
_LARGEST = (2 - 2.0**-23) * 2.0**127


def check_image_shape(image_shape, n_features):
    """Check that flat samples can be seen as images.

    Parameters
    ----------
    image_shape : tuple of int
        (height, width) or (channels, height, width).

    n_features : int
        Length of a flat sample.

    Returns
    -------
    image_shape : tuple of int
        The same, as plain integers.
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


def check_magnitude(X, name="X"):
    """Refuse samples that are too large for a network, which computes in float32.

    Parameters
    ----------
    X : ndarray of shape (n_samples, n_features)
        Finite numbers; the sum of the squares of a sample must be one, too.

    name : str, default="X"
        What to call them in an error.
    """
    limit = sqrt(_LARGEST / X.shape[1])
    # Of the same dtype, and without a copy of X.
    farthest = max(X.min(), X.max(), key=lambda x: abs(float(x))) if X.size else 0
    if abs(float(farthest)) > limit:
        raise ValueError(
            f"{name} holds {farthest:.3g}, and squares of that overflow in the float32 "
            "of a network. Scale them, to [0, 1] for instance."
        )


def did_you_mean(name, known):
    """End an error message with the nearest known name.

    Parameters
    ----------
    name : str
        What the user wrote.

    known : iterable of str
        What there is.

    Returns
    -------
    hint : str
        ", did you mean 'x'?" or "." if nothing is near.
    """
    near = get_close_matches(str(name), list(known), n=1)
    return f", did you mean {near[0]!r}?" if near else "."
