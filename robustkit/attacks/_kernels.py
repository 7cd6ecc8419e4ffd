"""What numpy and torch would need several passes over memory for, in one."""

import numpy as np
from numba import njit

__all__ = ["all_between", "clip_and_measure", "step_along_sign"]


@njit(cache=True)
def all_between(values, low, high):
    """Whether all numbers lie in a range; nan does not.

    Parameters
    ----------
    values : ndarray of shape (n_rows, n_columns)
        The numbers.

    low, high : float
        Ends of the range, both inside.

    Returns
    -------
    inside : bool
        True for no numbers at all.
    """
    for i in range(values.shape[0]):
        inside = True
        for j in range(values.shape[1]):
            inside &= (values[i, j] >= low) & (values[i, j] <= high)
        if not inside:
            return False
    return True


@njit(cache=True)
def clip_and_measure(points, center, radius, low, high, out):
    """Clip points to a cube and to a range, and see how far away they are then.

    Parameters
    ----------
    points, center : ndarray of shape (n_rows, n_columns)
        From where, and to where, is measured.

    radius : float
        Of the cube, in the dtype of the points. Its faces are rounded as they are
        where a point is computed, so that one on a face stays there.

    low, high : float
        Ends of the range, in the dtype of the points.

    out : ndarray of shape (n_rows, n_columns)
        Becomes the points, clipped.

    Returns
    -------
    largest : ndarray of shape (n_rows,)
        The largest distance of any number in a row, in float64.
    """
    largest = np.zeros(len(points), dtype=np.int64)
    for i in range(points.shape[0]):
        most = np.int64(0)
        for j in range(points.shape[1]):
            least = max(center[i, j] - radius, low)
            point = min(max(points[i, j], least), min(center[i, j] + radius, high))
            out[i, j] = point
            # The bits of positive numbers are in the order of the numbers. Unlike the
            # larger of two numbers, which may be nan, that of two integers is found for
            # many at a time.
            move = np.float64(abs(point - center[i, j])).view(np.int64)
            most = max(most, move)
        largest[i] = most
    return largest.view(np.float64)


@njit(cache=True)
def step_along_sign(points, gradient, size):
    """Add `size` times the sign of the gradient; written where the gradient was.

    Parameters
    ----------
    points, gradient : ndarray of shape (n,)
        What has no sign, zero or nan, moves nothing.

    size : float
        Length of the step, in the dtype of the points.
    """
    nothing = points.dtype.type(0)
    for i in range(len(points)):
        up = size if gradient[i] > 0 else nothing
        down = size if gradient[i] < 0 else nothing
        gradient[i] = points[i] + (up - down)
