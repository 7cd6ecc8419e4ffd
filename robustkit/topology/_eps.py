"""The distance within which samples are neighbours, when the data shall choose it."""

import numpy as np
from numba import njit
from sklearn.neighbors import NearestNeighbors

from robustkit.topology._ordered_samples import OrderedSamples
from robustkit.topology._pairs import LARGEST_N_PAIRS, ends_of_band, level_step
from robustkit.topology._products import rounding_bound, squared_distance
from robustkit.topology._reach import find_within_reach

# From so many samples on the fast way is worth a detour.
_LARGE = 5000

# What is chosen is larger than a distance between samples by this share of it: more
# than rounding can hide, and too little to matter.
_MARGIN = 1e-6

# Samples from which the distance is guessed.
_N_GUESSED = 500

# Of the samples, all but this share are served by pairs within the distance guessed.
_SHARE_LEFT = 0.03


def choose_eps(
    X, values, is_lipschitz, min_samples, metric="euclidean", metric_params=None,
    n_jobs=None,
):  # fmt: skip
    """Choose the distance from those of the samples to one of their neighbours.

    Parameters
    ----------
    X : ndarray of shape (n_samples, n_features)
        The samples.

    values : ndarray of shape (n_samples,)
        Their filter values.

    is_lipschitz : bool
        Whether the filter values of two samples differ by at most their distance.

    min_samples : int
        Which neighbour.

    metric : str or callable, default="euclidean"
        As in :class:`~sklearn.neighbors.NearestNeighbors`.

    metric_params : dict, default=None
        As in :class:`~sklearn.neighbors.NearestNeighbors`.

    n_jobs : int or None, default=None
        Threads.

    Returns
    -------
    eps : float
        A little above the distance where the sorted distances turn from flat to steep.
        The filter is of no matter.
    """
    if metric == "euclidean" and len(X) >= _LARGE:
        distances = fast_neighbor_distances(
            X, values, is_lipschitz, min_samples, n_jobs
        )
    else:
        distances = neighbor_distances(X, min_samples, metric, metric_params, n_jobs)
    if not np.isfinite(distances).all():
        raise ValueError(
            f"eps='auto' needs finite distances, but metric={metric!r} gave distances "
            "that are NaN or infinite. Scale X, give eps, or use another metric."
        )
    return above_rounding(knee(distances), distances, X)


def neighbor_distances(
    X, n_neighbors, metric="euclidean", metric_params=None, n_jobs=None
):
    """Distance of every sample to its n-th nearest other one.

    Parameters
    ----------
    X : ndarray of shape (n_samples, n_features)
        The samples.

    n_neighbors : int
        Which neighbour; the last one, where there are fewer.

    metric : str or callable, default="euclidean"
        As in :class:`~sklearn.neighbors.NearestNeighbors`.

    metric_params : dict, default=None
        As in :class:`~sklearn.neighbors.NearestNeighbors`.

    n_jobs : int or None, default=None
        Threads.

    Returns
    -------
    distances : ndarray of shape (n_samples,)
        In the order of the samples.
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


def typical_distance(X, n_neighbors, metric="euclidean", metric_params=None):
    """Median distance of a sample to its n-th nearest other one, from 1,000 or so.

    Parameters
    ----------
    X : ndarray of shape (n_samples, n_features)
        The samples.

    n_neighbors : int
        Which neighbour; the last one, where there are fewer.

    metric : str or callable, default="euclidean"
        As in :class:`~sklearn.neighbors.NearestNeighbors`.

    metric_params : dict, default=None
        As in :class:`~sklearn.neighbors.NearestNeighbors`.

    Returns
    -------
    distance : float
        The median.
    """
    # A sample is its own nearest: the last of one more is the one asked for.
    n_neighbors = min(n_neighbors + 1, len(X))
    search = NearestNeighbors(
        n_neighbors=n_neighbors, metric=metric, metric_params=metric_params
    )
    some = X[:: max(1, len(X) // 1000)]
    return float(np.median(search.fit(X).kneighbors(some)[0][:, -1]))


def fast_neighbor_distances(X, values, is_lipschitz, n_neighbors, n_jobs=None):
    """Distance of every sample to its n-th nearest other one, for large data.

    All pairs within a distance, guessed from a few samples, give the answer for nearly
    every sample. The others are compared with all.

    Parameters
    ----------
    X : ndarray of shape (n_samples, n_features)
        The samples.

    values : ndarray of shape (n_samples,)
        Their filter values.

    is_lipschitz : bool
        Whether the filter values of two samples differ by at most their distance.

    n_neighbors : int
        Which neighbour; the last one, where there are fewer.

    n_jobs : int or None, default=None
        Threads.

    Returns
    -------
    distances : ndarray of shape (n_samples,)
        In the order of the samples.
    """
    n_samples = len(X)
    n_neighbors = min(n_neighbors, n_samples - 1)
    everyone = NearestNeighbors(n_neighbors=n_neighbors + 1, algorithm="brute")
    everyone.set_params(n_jobs=n_jobs).fit(X)
    guessed = np.arange(0, n_samples, max(1, n_samples // _N_GUESSED))
    distances = np.full(n_samples, np.inf)
    # A sample is its own nearest: the last of one more is the one asked for.
    distances[guessed] = everyone.kneighbors(X[guessed])[0][:, -1]
    eps = np.quantile(distances[guessed], 1 - _SHARE_LEFT)
    samples = OrderedSamples(X, values)
    ends = np.full(n_samples, n_samples)
    if is_lipschitz:
        ends = ends_of_band(samples.values, eps)
    reach, pairs = find_within_reach(
        samples, eps, eps, ends, LARGEST_N_PAIRS, with_distances=True, n_jobs=n_jobs
    )
    smallest = np.full((n_samples, n_neighbors), np.inf)
    tolerance = rounding_bound(X.shape[1], samples.norms.max())
    _keep_smallest(
        *pairs[1:], level_step(samples, reach), tolerance, samples.scale**2,
        samples.order, X, smallest,
    )  # fmt: skip
    distances = np.sqrt(smallest.max(axis=1))
    left = np.flatnonzero(~np.isfinite(distances))
    if len(left):
        nearest = everyone.kneighbors(X[left], return_distance=False)[:, -1]
        distances[left] = _measure(X[left], X[nearest])
    return distances


def _measure(X, others):
    """Measure again what a search has rounded like products of the samples."""
    return np.linalg.norm(np.subtract(X, others, dtype=np.float64), axis=1)


@njit(cache=True, nogil=True)
def _keep_smallest(
    indptr, indices, levels, step, tolerance, unit, order, X, smallest
):  # fmt: skip
    """Keep the smallest squared distances of each sample, in ascending order."""
    for position in range(len(indptr) - 1):
        i = order[position]
        for k in range(indptr[position], indptr[position + 1]):
            j = order[indices[k]]
            # Only what may be among the smallest is measured exactly.
            largest = max(smallest[i, -1], smallest[j, -1])
            if levels[k] * step - tolerance > largest * unit:
                continue
            squared = squared_distance(X, i, j)
            _insert(squared, smallest[i])
            _insert(squared, smallest[j])


@njit(cache=True, nogil=True)
def _insert(value, ascending):
    place = len(ascending) - 1
    if value >= ascending[place]:
        return
    while place > 0 and ascending[place - 1] > value:
        ascending[place] = ascending[place - 1]
        place -= 1
    ascending[place] = value


def knee(distances):
    """Find where the sorted distances turn from flat to steep.

    Parameters
    ----------
    distances : ndarray of shape (n_samples,)
        In any order.

    Returns
    -------
    distance : float
        The distance at which the curve of the sorted distances is farthest from the
        straight line between its ends; of equals, the smallest.
    """
    distances = np.sort(distances)
    chord = np.linspace(distances[0], distances[-1], len(distances))
    return float(distances[np.argmax(np.abs(chord - distances))])


def above_rounding(distance, distances, X):
    """Choose a distance a little larger than one that some samples have.

    Were it that distance, rounding would decide whether they are neighbours.

    Parameters
    ----------
    distance : float
        The knee.

    distances : ndarray of shape (n_samples,)
        Those among which it was found.

    X : ndarray of shape (n_samples, n_features)
        The samples.

    Returns
    -------
    eps : float
        Larger by one part in a million. Where the knee is at twins, whose distance may
        be rounded to something above zero, a millionth of the largest sample, or half
        of the smallest positive distance if that is less; positive in any case.
    """
    if distance > 0:
        return distance * (1 + _MARGIN)
    largest = _MARGIN * float(np.abs(X).max()) * np.sqrt(X.shape[1])
    positive = distances[distances > 0]
    eps = min(largest, positive.min() / 2) if len(positive) else largest
    # No sample is farther away than nothing: any distance will do.
    return float(eps) if eps > 0 else _MARGIN
