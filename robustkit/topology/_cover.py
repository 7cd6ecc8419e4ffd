"""Covers: overlapping intervals over the values of a filter.

`UniformCover` and `BalancedCover` are told how many intervals there are, or
`count_intervals` says how many the samples can bear; `GMapperCover` and `AdaptiveCover`
split intervals for as long as that improves them. `Cells` tells which samples lie in
the intervals of one filter, or in the grid that those of two make.
"""

import heapq
import warnings
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import cached_property
from numbers import Integral, Real

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import log_ndtr
from sklearn.exceptions import ConvergenceWarning
from sklearn.mixture import GaussianMixture
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

# Of the covers that split their intervals.
_SPLIT_CONSTRAINTS = COVER_CONSTRAINTS | {
    "n_intervals": [StrOptions({"auto"}), *COVER_CONSTRAINTS["n_intervals"]],
    "min_overlap": [StrOptions({"auto"}), Interval(Real, 0, None, closed="left")],
    "max_intervals": [Interval(Integral, 1, None, closed="left")],
}

# More cells than these make a graph that nobody reads.
MOST_CELLS = 100

# Where samples bear fewer intervals, the distance at which their shape is connected is
# hardly smaller than the shape: no loop would be seen.
FEWEST_INTERVALS = 5

# Of `cluster`, which `AdaptiveCover.intervals` is given: of each interval the samples
# that lie in a cluster, and the number of their cluster.
Cluster = Callable[[NDArray], list[tuple[NDArray, NDArray]]]


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


@dataclass(frozen=True)
class GMapperCover:
    """Split intervals for as long as their values are far from normally distributed.

    Parameters
    ----------
    threshold : float, default=10.0
        An interval is split if the Anderson-Darling statistic of its values is larger.
        Of as many values, a smaller threshold makes more intervals.

    overlap : float, default=0.1
        How far the halves of an interval reach beyond the place where it is split, as a
        share of the way from there to the mean of the other half, in (0, 1).

    n_intervals : "auto" or int, default="auto"
        Intervals of one length to start from. "auto" is one; in a mapper graph, half as
        many as the samples can bear, if that is more.

    min_overlap : "auto" or float, default="auto"
        An interval stays whole if its halves would overlap by less. "auto" is 0; in a
        mapper graph, the largest difference of the filter between two samples that are
        near, so that no chain of samples is cut. The published method has none of this:
        it is ``n_intervals=1, min_overlap=0``.

    max_intervals : int, default=40
        Maximum number of intervals. Those whose values are farthest from normal are
        split first.

    See Also
    --------
    AdaptiveCover : Intervals split by how well clusters describe the samples.
    MapperGraph : What a cover is for.

    Notes
    -----
    The values of an interval are standardized, and the statistic is corrected for
    estimated mean and variance by the factor :math:`1 + 4/n - 25/n^2`. A mixture of two
    normal distributions with means :math:`m_1 < m_2` and standard deviations
    :math:`s_1, s_2` says where the interval is split: the left half ends at
    :math:`m_1 + (1 + g) (m_2 - m_1) s_1 / (s_1 + s_2)` for the overlap :math:`g`, and
    the right half begins at :math:`m_2 - (1 + g) (m_2 - m_1) s_2 / (s_1 + s_2)`.

    References
    ----------
    .. [1] E. Alvarado, R. Belton, E. Fischer, K.-J. Lee, S. Palande, S. Percival,
       E. Purvine, "G-Mapper: learning a cover in the mapper construction", SIAM Journal
       on Mathematics of Data Science, 2025. arXiv:2309.06634

    Examples
    --------
    >>> import numpy as np
    >>> from robustkit.topology import GMapperCover
    >>> values = np.concatenate([np.linspace(0, 1, 200), np.linspace(5, 6, 200)])
    >>> GMapperCover().intervals(values).round(1)
    array([[0. , 3.3],
           [2.8, 6. ]])
    """

    threshold: float = 10.0
    overlap: float = 0.1
    n_intervals: str | int = "auto"
    min_overlap: str | float = "auto"
    max_intervals: int = 40

    def __post_init__(self):
        threshold = {"threshold": [Interval(Real, 0, None, closed="left")]}
        validate_parameter_constraints(
            _SPLIT_CONSTRAINTS | threshold, asdict(self), "GMapperCover"
        )

    def intervals(self, values: ArrayLike) -> NDArray:
        """Split the range of the values.

        Parameters
        ----------
        values : array-like of shape (n_samples,)
            One number per sample: the filter.

        Returns
        -------
        intervals : ndarray of shape (n_intervals, 2)
            First and last value of every (closed) interval. A constant filter has one.
        """
        values = np.sort(_check_values(values))

        def halve(low, high):
            start, stop = interval_slices(values, np.array([[low, high]]))[0]
            inside = values[start:stop]
            statistic = anderson_darling(inside)
            if statistic <= self.threshold:
                return None
            end, begin = _between_components(inside, self.overlap)
            halves = np.array([[low, min(end, high)], [max(begin, low), high]])
            sizes = np.diff(interval_slices(values, halves)).ravel()
            # A half that holds all samples would be split in the same way again.
            is_smaller = (sizes > 0).all() and (sizes < len(inside)).all()
            is_split = is_smaller and _overlap_enough(halves, self.min_overlap)
            return (statistic, halves) if is_split else None

        n_intervals = 1 if isinstance(self.n_intervals, str) else self.n_intervals
        start = UniformCover(n_intervals, self.overlap).intervals(values)
        return _split_best_first(start, halve, self.max_intervals)


@dataclass(frozen=True)
class AdaptiveCover:
    """Split intervals for as long as their clusters then describe the samples better.

    Parameters
    ----------
    criterion : {"bic", "aic"}, default="bic"
        What says how well clusters describe samples: the Bayesian information
        criterion, or Akaike's, which makes more intervals.

    n_intervals : "auto" or int, default="auto"
        Intervals of one length to start from. "auto" is two; in a mapper graph, half as
        many as the samples can bear, if that is more.

    overlap : float, default=0.3
        Share of an interval that it has in common with the next one, in (0, 1); also
        of the halves of an interval.

    min_overlap : "auto" or float, default="auto"
        An interval stays whole if its halves would overlap by less. "auto" is 0; in a
        mapper graph, the largest difference of the filter between two samples that are
        near, so that no chain of samples is cut. The published method has no such
        bound.

    min_gain : float, default=0.0
        An interval is split if the criterion grows by more than this share of its
        absolute value.

    max_intervals : int, default=40
        Maximum number of intervals. Those that gain most are split first.

    See Also
    --------
    GMapperCover : Intervals split by the distribution of the filter alone.
    MapperGraph : What a cover is for.

    Notes
    -----
    The criterion is that of X-means: samples are drawn from spherical normal
    distributions of one variance around the means of the clusters. It is computed
    before and after the split for the same samples, those that lie in some cluster
    before or after; a sample that lies in several clusters, or in none, belongs to the
    one whose mean is nearest. Larger is better.

    References
    ----------
    .. [1] N. Chalapathi, Y. Zhou, B. Wang, "Adaptive covers for mapper graphs using
       information criteria", IEEE Workshop on Topological Data Analysis and
       Visualization, 2021.
    .. [2] D. Pelleg, A. Moore, "X-means: extending K-means with efficient estimation of
       the number of clusters", ICML, 2000.

    Examples
    --------
    >>> import numpy as np
    >>> from robustkit.topology import AdaptiveCover, MapperGraph
    >>> angle = np.linspace(0, 2 * np.pi, 200, endpoint=False)
    >>> circle = np.column_stack([np.cos(angle), np.sin(angle)])
    >>> cover = AdaptiveCover("bic", min_overlap=0, max_intervals=5)
    >>> mapper = MapperGraph("pca", cover=cover, eps=0.2).fit(circle)
    >>> len(mapper.intervals_)
    5
    """

    criterion: str = "bic"
    n_intervals: str | int = "auto"
    overlap: float = 0.3
    min_overlap: str | float = "auto"
    min_gain: float = 0.0
    max_intervals: int = 40

    def __post_init__(self):
        more = {
            "criterion": [StrOptions({"bic", "aic"})],
            "min_gain": [Interval(Real, 0, None, closed="left")],
        }
        validate_parameter_constraints(
            _SPLIT_CONSTRAINTS | more, asdict(self), "AdaptiveCover"
        )

    def intervals(self, values: ArrayLike, X: NDArray, cluster: Cluster) -> NDArray:
        """Split the range of the values.

        Parameters
        ----------
        values : array-like of shape (n_samples,)
            One number per sample: the filter.

        X : ndarray of shape (n_samples, n_features)
            The samples.

        cluster : callable
            Clusters the samples of intervals, which it is given as an array of shape
            (n_intervals, 2): interval k holds the samples ``slices[k, 0]`` up to
            ``slices[k, 1]`` in the order of the values. Returns for each interval the
            samples that lie in a cluster, and the numbers of their clusters from 0.

        Returns
        -------
        intervals : ndarray of shape (n_intervals, 2)
            First and last value of every (closed) interval. A constant filter has one.
        """
        values = _check_values(values)
        ordered = np.sort(values)

        def halve(low, high):
            halves = UniformCover(2, self.overlap).intervals([low, high])
            slices = interval_slices(ordered, np.vstack([[low, high], halves]))
            sizes = np.diff(slices).ravel()
            if len(halves) < 2 or (sizes[1:] == sizes[0]).any():
                return None
            if not _overlap_enough(halves, self.min_overlap):
                return None
            before = cluster(slices[:1])
            after = cluster(slices[1:])
            gain = self._gain(X, before, after)
            return None if gain is None else (gain, halves)

        n_intervals = 2 if isinstance(self.n_intervals, str) else self.n_intervals
        start = UniformCover(n_intervals, self.overlap).intervals(values)
        return _split_best_first(start, halve, self.max_intervals)

    def _gain(self, X, before, after):
        """By how much the criterion grows; None if it does not grow enough."""
        counts = [sum(len(found) for found, _ in some) for some in (before, after)]
        if min(counts) == 0:
            return None
        samples = np.unique(np.concatenate([found for found, _ in before + after]))
        old, new = (
            information_criterion(*_nearest_means(X, samples, some), self.criterion)
            for some in (before, after)
        )
        gain = new - old
        # Of samples at as many places as there are clusters, both may be infinite.
        return gain if gain > self.min_gain * abs(old) else None


def _overlap_enough(halves, least):
    return least == "auto" or halves[0, 1] - halves[1, 0] >= least


@dataclass(frozen=True, eq=False)
class GivenCover:
    """Intervals that are known already, whatever the values."""

    given: NDArray

    def intervals(self, values: ArrayLike) -> NDArray:
        """Return the intervals."""
        return self.given


def anderson_darling(values: NDArray) -> float:
    """Return the Anderson-Darling statistic of sorted values against normality.

    Mean and variance are those of the values, and the statistic is corrected for that,
    as in G-means. Of values that are all the same it is 0.
    """
    n = len(values)
    # Halves, which cannot overflow.
    if n < 2 or values[-1] / 2 - values[0] / 2 == 0:
        return 0.0
    scaled = _standardized(values)
    log_below, log_above = log_ndtr(scaled), log_ndtr(-scaled[::-1])
    weights = (2 * np.arange(1, n + 1) - 1) / n
    statistic = -n - weights @ (log_below + log_above)
    return float(statistic * max(0, 1 + 4 / n - 25 / n**2))


def _standardized(values):
    # First to [0, 1]: the squares of large or small values would overflow or vanish.
    scaled = (values / 2 - values[0] / 2) / (values[-1] / 2 - values[0] / 2)
    return (scaled - scaled.mean()) / scaled.std(ddof=1)


def _between_components(values, overlap):
    """Where the left half of an interval ends, and the right half begins."""
    scaled = _standardized(values)
    # Where the means would be if the values were split normal ones.
    shift = np.sqrt(2 / np.pi)
    mixture = GaussianMixture(
        2, means_init=[[-shift], [shift]], weights_init=[0.5, 0.5],
        precisions_init=np.ones((2, 1, 1)), init_params="random", random_state=0,
    )  # fmt: skip
    with warnings.catch_warnings():
        # Components that still move a little split an interval as well.
        warnings.simplefilter("ignore", ConvergenceWarning)
        mixture.fit(scaled[:, None])
    means = mixture.means_.ravel()
    left, right = np.argsort(means)
    widths = np.sqrt(mixture.covariances_.ravel())
    reach = (1 + overlap) * (means[right] - means[left]) / widths.sum()
    end = means[left] + reach * widths[left]
    begin = means[right] - reach * widths[right]
    # Back to values, by the extremes, which rounding leaves where they are.
    places = np.interp([end, begin], [scaled[0], scaled[-1]], [values[0], values[-1]])
    return places[0], places[1]


def information_criterion(
    X: NDArray, means: NDArray, labels: NDArray, criterion: str
) -> float:
    """Return the criterion of X-means for samples and the means they belong to.

    Larger is better. Infinite where every sample is at its mean.
    """
    n_samples, n_features = X.shape
    sizes = np.bincount(labels, minlength=len(means))
    sizes = sizes[sizes > 0]
    n_clusters = len(sizes)
    if n_samples <= n_clusters:
        return np.inf
    spread = np.sum((X - means[labels]) ** 2) / (n_samples - n_clusters)
    if spread == 0:
        return np.inf
    likelihood = (
        sizes @ np.log(sizes / n_samples)
        - n_samples * n_features / 2 * np.log(2 * np.pi * spread)
        - (n_samples - n_clusters) / 2
    )
    n_parameters = n_clusters * (n_features + 1)
    if criterion == "bic":
        return float(likelihood - n_parameters / 2 * np.log(n_samples))
    return float(2 * likelihood - 2 * n_parameters)


def _nearest_means(X, samples, clusters):
    """Return the samples, the means of the clusters, and to which each belongs."""
    members, labels, n_clusters = [], [], 0
    for found, numbers in clusters:
        members.append(found)
        labels.append(numbers + n_clusters)
        n_clusters += numbers.max(initial=-1) + 1
    members, labels = np.concatenate(members), np.concatenate(labels)
    means = np.zeros((n_clusters, X.shape[1]))
    np.add.at(means, labels, X[members])
    means /= np.bincount(labels, minlength=n_clusters)[:, None]
    rows = X[samples].astype(np.float64)
    # A sample in one cluster stays there. Of several it chooses, as does noise of all.
    may_be = np.zeros((len(samples), n_clusters), dtype=bool)
    may_be[np.searchsorted(samples, members), labels] = True
    may_be[~may_be.any(axis=1)] = True
    nearest = may_be.argmax(axis=1)
    for row in np.flatnonzero(may_be.sum(axis=1) > 1):
        choice = np.flatnonzero(may_be[row])
        distances = np.linalg.norm(means[choice] - rows[row], axis=1)
        nearest[row] = choice[distances.argmin()]
    return rows, means, nearest


def _split_best_first(start, halve, max_intervals):
    """Split intervals, the most promising first, as long as there is room.

    `halve` says how much the split of an interval promises, and its halves; None if it
    is to remain whole.
    """
    whole, heap, n_intervals = [], [], len(start)

    def consider(interval):
        proposal = halve(*interval)
        if proposal is None:
            whole.append(interval)
        else:
            # Of equal promises, the left one comes first.
            heapq.heappush(heap, (-proposal[0], *interval, proposal[1]))

    for interval in start:
        consider(interval)
    while heap and n_intervals < max_intervals:
        halves = heapq.heappop(heap)[-1]
        n_intervals += 1
        for interval in halves:
            consider(interval)
    whole += [np.array(entry[1:3]) for entry in heap]
    return _without_contained(np.array(whole))


def _without_contained(intervals):
    """Sort intervals, without those that lie in another."""
    intervals = intervals[np.lexsort((-intervals[:, 1], intervals[:, 0]))]
    farthest = np.maximum.accumulate(intervals[:, 1])
    reaches_on = np.ones(len(intervals), dtype=bool)
    reaches_on[1:] = intervals[1:, 1] > farthest[:-1]
    return intervals[reaches_on]


def count_intervals(
    extent: float, step: float, overlap: float, most: int = MOST_CELLS
) -> int:
    """Return how many intervals of one length the samples can bear: GUDHI's rule.

    Parameters
    ----------
    extent : float
        The range of the filter.

    step : float
        The largest difference of the values of two samples that are near.

    overlap : float
        Share of an interval that it has in common with the next one.

    most : int, default=MOST_CELLS
        The largest number that may be returned.

    Returns
    -------
    n_intervals : int
        The most intervals that overlap by at least the step, so that some interval
        holds both of any two samples that are near; at least 1.
    """
    if extent <= 0:
        return 1
    # The quotient of tiny numbers may be infinite.
    with np.errstate(over="ignore", divide="ignore"):
        n_lengths = np.divide(extent * overlap, step)
    count = (n_lengths - overlap) / (1 - overlap)
    # A whole number but for rounding is one.
    return int(np.clip(np.floor(min(count, 1e6) + 1e-9), 1, most))


def largest_step(extent: float, n_intervals: int, overlap: float) -> float:
    """Return the step up to which there are so many intervals."""
    return extent * overlap / (n_intervals * (1 - overlap) + overlap)


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


@dataclass(frozen=True, eq=False)
class Cells:
    """Which samples lie in each cell of a cover.

    Of one filter, a cell is an interval. Of two, it is what an interval of the first
    and one of the second have in common; cells are numbered row by row, a row for each
    interval of the first filter.
    """

    values: tuple[NDArray, ...]
    """The value of each sample, for each filter."""

    axes: tuple[NDArray, ...]
    """The intervals of each filter, of shape (n_intervals, 2)."""

    @cached_property
    def slices(self) -> NDArray:
        """Where the rows lie among the samples that the first filter sorts."""
        return interval_slices(np.sort(self.values[0]), self.axes[0])

    @cached_property
    def columns(self) -> list[NDArray | None]:
        """Which samples lie in each interval of the second filter; None is all."""
        if len(self.axes) == 1:
            return [None]
        return _in_intervals(self.values[1], self.axes[1])

    def samples(self) -> list[NDArray]:
        """List the samples of each cell, ascending."""
        rows = map(np.flatnonzero, _in_intervals(self.values[0], self.axes[0]))
        columns = self.columns
        return [
            row if column is None else row[column[row]]
            for row in rows
            for column in columns
        ]


def _in_intervals(values, intervals):
    return [(low <= values) & (values <= high) for low, high in intervals]


def cell_bounds(axes: tuple[NDArray, ...]) -> NDArray:
    """Return the ends of all cells.

    Of shape (n_intervals, 2) for the intervals of one filter, and (n_cells, 2, 2) for
    those of two: one interval of each filter.
    """
    if len(axes) == 1:
        return axes[0]
    first, second = axes
    rows = np.repeat(first, len(second), axis=0)
    return np.stack([rows, np.tile(second, (len(first), 1))], axis=1)
