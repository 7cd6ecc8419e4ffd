"""Covers: overlapping intervals over the values of a filter."""

from dataclasses import asdict, dataclass
from numbers import Integral, Real

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.utils import column_or_1d
from sklearn.utils.validation import check_array

from robustkit._sklearn_private import (
    Interval,
    StrOptions,
    validate_parameter_constraints,
)

# Also those of MapperGraph, which makes a cover of its own parameters.
COVER_CONSTRAINTS = {
    "n_intervals": [Interval(Integral, 1, None, closed="left")],
    "overlap": [Interval(Real, 0, 1, closed="neither")],
}


@dataclass(frozen=True)
class UniformCover:
    """Cover the range of a filter with intervals of one length.

    Parameters
    ----------
    n_intervals : int, default=40
        How many intervals.

    overlap : float, default=0.3
        Share of an interval that it has in common with the next one, in (0, 1).

    convention : {"range", "kepler"}, default="range"
        With R the range of the values, n the number of intervals and p the overlap:
        "range" takes the length R / (n - (n - 1) p), so that the intervals fill the
        range exactly; "kepler" takes R / (n (1 - p)), so that the first and the last
        interval stick out, as in KeplerMapper.

    See Also
    --------
    BalancedCover : Intervals that hold equally many samples.
    MapperGraph : What a cover is for.

    Examples
    --------
    >>> from robustkit.topology import UniformCover
    >>> UniformCover(n_intervals=2, overlap=0.5).intervals([0.0, 1.0, 3.0])
    array([[0., 2.],
           [1., 3.]])
    """

    n_intervals: int = 40
    overlap: float = 0.3
    convention: str = "range"

    def __post_init__(self):
        conventions = {"convention": [StrOptions({"range", "kepler"})]}
        validate_parameter_constraints(
            COVER_CONSTRAINTS | conventions, asdict(self), "UniformCover"
        )

    def intervals(self, values: ArrayLike) -> NDArray:
        """Lay the intervals over the range of the values.

        Parameters
        ----------
        values : array-like of shape (n_samples,)
            One number per sample: the filter.

        Returns
        -------
        intervals : ndarray of shape (n_intervals, 2)
            First and last value of every (closed) interval. Fewer than asked for where
            several would be the same; a constant filter has one.
        """
        values = _check_values(values)
        low, high = values.min(), values.max()
        n, p = self.n_intervals, self.overlap
        # Halves, so that the ends of the range cannot overflow.
        span = high / 2 - low / 2
        if self.convention == "range":
            radius = span / (n - (n - 1) * p)
            inset = radius
        else:
            radius = span / (n * (1 - p))
            inset = span / n
        centers = 2 * np.linspace(low / 2 + inset / 2, high / 2 - inset / 2, num=n)
        starts, ends = centers - radius, centers + radius
        # Rounding must lose no sample: neither the extremes nor one between two
        # intervals that hardly overlap.
        if self.convention == "range":
            starts[0], ends[-1] = low, high
        starts[1:] = np.minimum(starts[1:], ends[:-1])
        return _without_repeats(starts, ends)


@dataclass(frozen=True)
class BalancedCover:
    """Cover the values of a filter with intervals that hold equally many samples.

    Parameters
    ----------
    n_intervals : int, default=40
        How many intervals.

    overlap : float, default=0.3
        Share of the samples of an interval that the next one holds too, in (0, 1).

    See Also
    --------
    UniformCover : Intervals of one length.
    MapperGraph : What a cover is for.

    Notes
    -----
    The sorted samples are cut into overlapping windows whose sizes differ by one at
    most, and which share at least one sample with the next. An interval reaches from
    the first to the last value of its window. Equal values cannot be told apart by a
    filter: those tied with an end of the window belong to the interval as well.

    Examples
    --------
    >>> from robustkit.topology import BalancedCover
    >>> cover = BalancedCover(n_intervals=2, overlap=0.5)
    >>> cover.intervals([0.0, 1.0, 2.0, 10.0, 11.0, 12.0])
    array([[ 0., 10.],
           [ 2., 12.]])
    """

    n_intervals: int = 40
    overlap: float = 0.3

    def __post_init__(self):
        validate_parameter_constraints(COVER_CONSTRAINTS, asdict(self), "BalancedCover")

    def intervals(self, values: ArrayLike) -> NDArray:
        """Lay the intervals so that each holds equally many of the values.

        Parameters
        ----------
        values : array-like of shape (n_samples,)
            One number per sample: the filter.

        Returns
        -------
        intervals : ndarray of shape (n_intervals, 2)
            First and last value of every (closed) interval. Fewer than asked for where
            several would be the same.
        """
        values = np.sort(_check_values(values))
        first, last = _balanced_windows(len(values), self.n_intervals, self.overlap)
        return _without_repeats(values[first], values[last])


def _balanced_windows(n_samples, n_intervals, overlap):
    """First and last rank of each window: the samples that a real window touches."""
    length = n_samples / (n_intervals - (n_intervals - 1) * overlap)
    starts = np.arange(n_intervals) * length * (1 - overlap)
    # A start or an end that is a whole number but for rounding touches no further one.
    first = np.floor(starts + 1e-9).astype(int)
    last = np.ceil(starts + length - 1e-9).astype(int) - 1
    return np.clip(first, 0, n_samples - 1), np.clip(last, first, n_samples - 1)


def _without_repeats(starts, ends):
    new = np.ones(len(starts), dtype=bool)
    # Compared, not subtracted: a difference may overflow.
    new[1:] = (starts[1:] > starts[:-1]) | (ends[1:] > ends[:-1])
    return np.column_stack([starts[new], ends[new]])


def _check_values(values) -> NDArray:
    values = check_array(values, ensure_2d=False, dtype=np.float64, input_name="values")
    return column_or_1d(values)


def interval_slices(sorted_values: NDArray, intervals: NDArray) -> NDArray:
    """Find where each interval lies among the sorted values.

    Interval k holds the positions ``slices[k, 0]`` up to but not including
    ``slices[k, 1]``.
    """
    return np.column_stack(
        [
            np.searchsorted(sorted_values, intervals[:, 0], side="left"),
            np.searchsorted(sorted_values, intervals[:, 1], side="right"),
        ]
    )
