"""The distance of samples: which metric, and within how much of it they are neighbours.

`learn_metric` learns from the data what a metric must know of them, and `choose_eps`
is what ``eps="auto"`` means.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray
from sklearn.neighbors import VALID_METRICS, NearestNeighbors

from robustkit.topology.neighbors._search import (
    LARGEST_N_PAIRS,
    SortedSamples,
    around_zero,
    ends_of_band,
    find_pairs_that_fit,
    level_step,
    rounding_bound,
    squared_distance,
)

# Those that DBSCAN takes between samples; nobody has measured their distances before.
METRIC_NAMES = set(VALID_METRICS["brute"]) - {"precomputed"}

# Other names of the Euclidean distance; "minkowski" has the power 2.
_EUCLIDEAN = ("euclidean", "l2", "minkowski")

# They ask of each feature only whether it is 0, and would turn other values into 1.
_OF_BOOLEANS = {
    "dice", "jaccard", "rogerstanimoto", "russellrao", "sokalsneath", "yule",
}  # fmt: skip

# Squares of larger numbers overflow, and those of smaller ones vanish.
_LARGEST, _SMALLEST = 1e150, 1e-150

# From so many samples on the fast search for distances is worth a detour.
_LARGE = 5000

# What is chosen is larger than a distance between samples by this share of it: more
# than rounding can hide, and too little to matter.
_MARGIN = 1e-6

# Samples from which the distance is guessed.
_N_GUESSED = 500

# All samples but this share are served by pairs within the distance guessed.
_SHARE_LEFT = 0.03


class Metric(NamedTuple):
    """A metric as :class:`~sklearn.neighbors.NearestNeighbors` is to be told it."""

    name: str | Callable
    params: dict[str, Any] | None


def learn_metric(metric: str | Callable, X: NDArray) -> Metric:
    """Learn from all samples what a metric, as the user gave it, must know of them.

    These are the variances `V` of the features for "seuclidean", and the inverse `VI`
    of their covariance for "mahalanobis". Every name of the Euclidean distance becomes
    "euclidean".
    """
    if metric in _EUCLIDEAN:
        return Metric("euclidean", None)
    if metric == "seuclidean":
        return Metric(metric, {"V": _variances(X)})
    if metric == "mahalanobis":
        return Metric(metric, {"VI": _inverse_covariance(X)})
    if metric == "haversine" and X.shape[1] != 2:
        raise ValueError(
            "metric='haversine' needs 2 features, latitude and longitude. Got X with "
            f"{X.shape[1]} features."
        )
    if isinstance(metric, str) and metric in _OF_BOOLEANS:
        _check_booleans(metric, X)
    return Metric(metric, None)


def _check_booleans(metric, X):
    is_boolean = (X == 0) | (X == 1)
    if not is_boolean.all():
        value = float(X[~is_boolean][0])
        raise ValueError(
            f"metric={metric!r} compares features that are 0 or 1, but X holds "
            f"{value:g}. Pass `X > threshold` as numbers, or use another metric."
        )


def _variances(X):
    X = X.astype(np.float64)
    # A single sample has no variance.
    variances = X.var(axis=0, ddof=1) if len(X) > 1 else np.zeros(X.shape[1])
    is_bad = ~((variances > 0) & np.isfinite(variances))
    if is_bad.any():
        first = is_bad.argmax()
        raise ValueError(
            "metric='seuclidean' divides by the variance of each feature, but that of "
            f"feature {first} is {variances[first]:g} (X has {len(X)} sample(s)). Drop "
            "constant features, or use another metric."
        )
    return variances


def _inverse_covariance(X):
    n_samples, n_features = X.shape
    covariance = np.zeros((n_features, n_features))
    if n_samples > 1:
        covariance = np.atleast_2d(np.cov(X.astype(np.float64), rowvar=False))
    rank = np.linalg.matrix_rank(covariance, hermitian=True)
    if rank < n_features:
        raise ValueError(
            "metric='mahalanobis' inverts the covariance of the features, which has "
            f"rank {rank}, but X has {n_features} features and {n_samples} sample(s). "
            "Drop features that depend on others, or use another metric."
        )
    return np.linalg.inv(covariance)


def bounding_diagonal(X: NDArray) -> float:
    """Return the diagonal of the smallest box around the samples.

    No Euclidean distance is larger. Samples whose squared distances would overflow or
    vanish are refused.
    """
    low, high = (bound.astype(np.float64) for bound in (X.min(axis=0), X.max(axis=0)))
    size = max(np.abs(low).max(), np.abs(high).max())
    if size > _LARGEST:
        raise ValueError(
            f"X holds values as large as {size:.3g}, whose squares overflow. Scale X, "
            f"so that none is above {_LARGEST:g}."
        )
    widest = (high - low).max()
    if 0 < widest < _SMALLEST:
        raise ValueError(
            f"No feature of X has values that differ by more than {widest:.3g}, so "
            f"the squares of all distances vanish. Scale X above {_SMALLEST:g}."
        )
    return float(np.linalg.norm(high - low))


def choose_eps(
    X: NDArray,
    values: NDArray,
    is_lipschitz: bool,
    min_samples: int,
    metric: str | Callable = "euclidean",
    metric_params: dict[str, Any] | None = None,
    n_jobs: int | None = None,
) -> float:
    """Choose eps from the distances of the samples to one of their neighbours.

    Parameters
    ----------
    X : ndarray of shape (n_samples, n_features)
        The samples.

    values : ndarray of shape (n_samples,)
        Their filter values, which may speed up the search and change no result.

    is_lipschitz : bool
        Whether the filter values of two samples differ by at most their distance.

    min_samples : int
        Which neighbour.

    metric, metric_params : see :class:`~sklearn.neighbors.NearestNeighbors`
        As `learn_metric` returns them.

    n_jobs : int or None, default=None
        Number of threads.

    Returns
    -------
    eps : float
        A little above the distance where the sorted distances turn from flat to steep.
    """
    if metric == "euclidean" and len(X) >= _LARGE:
        found, _ = fast_nearest(X, values, is_lipschitz, min_samples, n_jobs)
        distances = found[:, -1]
    else:
        distances = neighbor_distances(X, min_samples, metric, metric_params, n_jobs)
    if not np.isfinite(distances).all():
        raise ValueError(
            f"eps='auto' needs finite distances, but metric={metric!r} gave distances "
            "that are NaN or infinite. Scale X, give eps, or use another metric."
        )
    return above_rounding(knee(distances), distances, X)


def neighbor_distances(
    X: NDArray,
    n_neighbors: int,
    metric: str | Callable = "euclidean",
    metric_params: dict[str, Any] | None = None,
    n_jobs: int | None = None,
) -> NDArray:
    """Return the distance of every sample to its n-th nearest other one.

    That is the last one, where there are fewer.
    """
    n_neighbors = min(n_neighbors, len(X) - 1)
    if n_neighbors == 0:
        return np.zeros(len(X))
    if metric == "euclidean":
        # Around zero products of samples are rounded least.
        X = X - X.mean(axis=0, dtype=np.float64)
    search = NearestNeighbors(
        n_neighbors=n_neighbors, metric=metric, metric_params=metric_params,
        n_jobs=n_jobs,
    )  # fmt: skip
    distances, nearest = (column[:, -1] for column in search.fit(X).kneighbors())
    return _measure(X, X[nearest]) if metric == "euclidean" else distances


def fast_nearest(
    X: NDArray,
    values: NDArray,
    is_lipschitz: bool,
    n_neighbors: int,
    n_jobs: int | None = None,
) -> tuple[NDArray, NDArray]:
    """Return Euclidean distances and numbers of nearest others, quickly for large data.

    All pairs within a distance, guessed from a few samples, give the answer for nearly
    every sample. The others are compared with all.
    """
    n_samples = len(X)
    n_neighbors = min(n_neighbors, n_samples - 1)
    # A sample is its own nearest: the last of one more is the one asked for.
    everyone = NearestNeighbors(n_neighbors=n_neighbors + 1, algorithm="brute")
    (Z,) = around_zero(X)
    everyone.set_params(n_jobs=n_jobs).fit(Z)
    guessed = np.arange(0, n_samples, max(1, n_samples // _N_GUESSED))
    of_guessed = everyone.kneighbors(Z[guessed])[0][:, -1]
    eps = np.quantile(of_guessed, 1 - _SHARE_LEFT)
    samples = SortedSamples(X, values)
    ends = np.full(n_samples, n_samples)
    if is_lipschitz:
        ends = ends_of_band(samples.values, eps)
    radius, pairs = find_pairs_that_fit(
        samples, eps, eps, ends, LARGEST_N_PAIRS, with_distances=True, n_jobs=n_jobs
    )
    squared = np.full((n_samples, n_neighbors), np.inf)
    nearest = np.full((n_samples, n_neighbors), -1)
    # Distances as they are kept: of scaled samples, in levels, with rounding errors.
    tolerance = rounding_bound(X.shape[1], samples.norms.max())
    levels = level_step(samples, radius), tolerance, samples.scale**2
    _keep_nearest(*pairs[1:], levels, samples.order, X, squared, nearest)
    distances = np.sqrt(squared, out=squared)
    left = np.flatnonzero(nearest[:, -1] < 0)
    if len(left):
        found = everyone.kneighbors(Z[left], return_distance=False)
        for row, others in zip(left, found, strict=True):
            # Where samples have twins, it need not be its own first.
            nearest[row] = others[others != row][:n_neighbors]
            distances[row] = _measure(X[nearest[row]], X[row])
    return distances, nearest


def _measure(X, others):
    """Measure again what a search has rounded like products of the samples."""
    return np.linalg.norm(np.subtract(X, others, dtype=np.float64), axis=1)


@njit(cache=True, nogil=True)
def _keep_nearest(indptr, indices, levels, step_of_levels, order, X, squared, nearest):
    """Keep the nearest of those paired with each sample, in ascending order."""
    step, tolerance, unit = step_of_levels
    for position in range(len(indptr) - 1):
        i = order[position]
        for k in range(indptr[position], indptr[position + 1]):
            j = order[indices[k]]
            # Only what may be among the nearest is measured exactly.
            largest = max(squared[i, -1], squared[j, -1])
            if levels[k] * step - tolerance > largest * unit:
                continue
            distance = squared_distance(X, i, j)
            _insert(distance, j, squared[i], nearest[i])
            _insert(distance, i, squared[j], nearest[j])


@njit(cache=True, nogil=True)
def _insert(value, number, ascending, numbers):
    place = len(ascending) - 1
    if value >= ascending[place]:
        return
    while place > 0 and ascending[place - 1] > value:
        ascending[place] = ascending[place - 1]
        numbers[place] = numbers[place - 1]
        place -= 1
    ascending[place], numbers[place] = value, number


def typical_distance(
    X: NDArray,
    n_neighbors: int,
    metric: str | Callable = "euclidean",
    metric_params: dict[str, Any] | None = None,
) -> float:
    """Return the median distance to the n-th nearest other sample, from about 1,000."""
    # A sample is its own nearest: the last of one more is the one asked for.
    n_neighbors = min(n_neighbors + 1, len(X))
    search = NearestNeighbors(
        n_neighbors=n_neighbors, metric=metric, metric_params=metric_params
    )
    some = X[:: max(1, len(X) // 1000)]
    return float(np.median(search.fit(X).kneighbors(some)[0][:, -1]))


def knee(distances: NDArray) -> float:
    """Find where the sorted distances turn from flat to steep.

    Their curve is farthest there from the straight line between its ends; of equally
    far distances, the smallest is taken.
    """
    distances = np.sort(distances)
    chord = np.linspace(distances[0], distances[-1], len(distances))
    return float(distances[np.argmax(np.abs(chord - distances))])


def above_rounding(distance: float, distances: NDArray, X: NDArray) -> float:
    """Choose a distance a little larger than one that some samples have.

    At that distance itself, rounding would decide whether they are neighbours. It is
    larger by one part in a million. Where the knee is at twins, whose distance may be
    rounded to something above zero, it is a millionth of the largest sample, or half of
    the smallest positive distance if that is less; positive in any case.
    """
    if distance > 0:
        return distance * (1 + _MARGIN)
    largest = _MARGIN * float(np.abs(X).max()) * np.sqrt(X.shape[1])
    positive = distances[distances > 0]
    eps = min(largest, positive.min() / 2) if len(positive) else largest
    # No sample is farther away than nothing: any distance will do.
    return float(eps) if eps > 0 else _MARGIN
