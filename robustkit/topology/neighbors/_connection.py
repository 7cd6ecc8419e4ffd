"""How far apart samples are where a shape is connected.

Where samples are dense, a chain of small steps leads from each sample of a piece to
each other one. `connection_distance` finds the longest step needed, and `longest_step`
how much the filter may differ between two samples so near, which says how fine a cover
can be. Both are what ``n_intervals="auto"`` and ``eps="connected"`` rest on.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray
from sklearn.neighbors import NearestNeighbors

from robustkit.topology.neighbors._search import (
    LARGEST_N_PAIRS,
    SortedSamples,
    ends_of_band,
    find_pairs_that_fit,
)
from robustkit.topology.neighbors._windows import find

# Neighbours in the graph that tells pieces apart: so many for each of `min_samples`.
# Samples that are one piece have no group of so many that are nearer to one another
# than any of them is to the others.
_N_TIMES = 3

# Samples from which it is guessed whether others are worth looking at.
_N_GUESSED = 500

# Distances to all samples that are kept at one time.
_MOST_DISTANCES = 2**23


def connection_distance(
    X: NDArray,
    min_samples: int,
    metric: str | Callable = "euclidean",
    metric_params: dict[str, Any] | None = None,
    n_jobs: int | None = None,
) -> float:
    """Return the smallest distance at which DBSCAN joins what belongs together.

    What belongs together is what the graph of nearest neighbours connects. A sample
    joins at the distance of its `min_samples`-th neighbour, two samples at the largest
    of both and their own distance: this mutual reachability is that of HDBSCAN. Single
    samples that lie far away from all others do not count, but groups do.
    """
    n_neighbors = min(_N_TIMES * min_samples, len(X) - 1)
    if n_neighbors == 0:
        return 0.0
    X = _centered(X, metric)
    search = _search(X, n_neighbors, metric, metric_params, n_jobs)
    distances, nearest = search.kneighbors()
    cores = distances[:, min(min_samples, n_neighbors) - 1].copy()
    reach = np.maximum(np.maximum(cores[:, None], cores[nearest]), distances).ravel()
    order = np.argsort(reach, kind="stable")
    last = _last_merge(order, nearest.ravel(), n_neighbors, reach, cores)
    # Samples at equal distances merge at once, as they appear.
    return float(max(last, np.median(cores)))


def _search(X, n_neighbors, metric, metric_params, n_jobs):
    search = NearestNeighbors(
        n_neighbors=n_neighbors, metric=metric, metric_params=metric_params,
        n_jobs=n_jobs,
    )  # fmt: skip
    return search.fit(X)


def _centered(X, metric):
    """Around zero products of samples are rounded least."""
    return X - X.mean(axis=0, dtype=np.float64) if metric == "euclidean" else X


@njit(cache=True, nogil=True)
def _last_merge(order, nearest, n_neighbors, reach, births):
    """Return when the last group merges that has been a group for some time.

    Groups are born with their first sample. Of two that merge, the younger one ends.
    """
    parents = np.arange(len(births))
    births = births.copy()
    last = 0.0
    for k in order:
        a, b = find(parents, k // n_neighbors), find(parents, nearest[k])
        if a == b:
            continue
        younger = max(births[a], births[b])
        # Rounding makes no group.
        if reach[k] > younger * (1 + 1e-9):
            last = max(last, reach[k])
        births[min(a, b)] = min(births[a], births[b])
        parents[max(a, b)] = min(a, b)
    return last


def longest_step(
    X: NDArray,
    values: NDArray,
    radius: float,
    *,
    is_lipschitz: bool,
    limit: float = np.inf,
    metric: str | Callable = "euclidean",
    metric_params: dict[str, Any] | None = None,
    n_jobs: int | None = None,
) -> float:
    """Return the largest difference of the filter between samples within a radius.

    Parameters
    ----------
    X : ndarray of shape (n_samples, n_features)
        The samples.

    values : ndarray of shape (n_samples,)
        Their filter values.

    radius : float
        Largest distance of two samples.

    is_lipschitz : bool
        Whether the values of two samples differ by at most their distance.

    limit : float, default=inf
        If the difference is larger, any number above this may be returned.

    metric, metric_params : see :class:`~sklearn.neighbors.NearestNeighbors`
        As `learn_metric` returns them.

    n_jobs : int or None, default=None
        Number of threads.

    Returns
    -------
    step : float
        The largest difference. Where pairs are too many to be listed, the radius, if no
        difference can be larger, or else the difference of the nearest pairs.
    """
    some = np.arange(0, len(X), max(1, len(X) // _N_GUESSED))
    step = _step_of(some, X, values, radius, metric, metric_params, n_jobs)
    if step > limit or len(some) == len(X):
        return step
    if metric != "euclidean":
        return _step_of(
            np.arange(len(X)), X, values, radius, metric, metric_params, n_jobs
        )
    samples = SortedSamples(X, values)
    ends = np.full(len(X), len(X))
    if is_lipschitz:
        ends = ends_of_band(samples.values, radius)
    found, pairs = find_pairs_that_fit(
        samples, radius, radius, ends, LARGEST_N_PAIRS, n_jobs=n_jobs
    )
    if found < radius and is_lipschitz:
        return float(radius)
    # The last sample paired with each has the largest value of these.
    rows = np.flatnonzero(np.diff(pairs.indptr))
    farthest = pairs.indices[pairs.indptr[rows + 1] - 1]
    steps = samples.values[farthest] - samples.values[rows]
    return float(max(step, steps.max(initial=0)))


def _step_of(rows, X, values, radius, metric, metric_params, n_jobs):
    """Return the largest step from some of the samples to any other one."""
    X = _centered(X, metric)
    search = _search(X, 1, metric, metric_params, n_jobs)
    n_at_once = max(1, _MOST_DISTANCES // len(X))
    step = 0.0
    for start in range(0, len(rows), n_at_once):
        some = rows[start : start + n_at_once]
        near = search.radius_neighbors(X[some], radius, return_distance=False)
        for row, others in zip(some, near, strict=True):
            if len(others):
                differences = np.abs(values[others] - values[row])
                step = max(step, float(differences.max()))
    return step


def is_too_coarse(
    X: NDArray,
    values: NDArray,
    min_samples: int,
    limit: float,
    metric: str | Callable = "euclidean",
    metric_params: dict[str, Any] | None = None,
    n_jobs: int | None = None,
) -> bool:
    """Tell from a few samples whether the longest step must be above the limit.

    Their neighbours within a distance that half of the samples need, and more: for
    large and sparse data, this saves the search for all neighbours.
    """
    n_neighbors = min(min_samples + 1, len(X))
    some = np.arange(0, len(X), max(1, len(X) // _N_GUESSED))
    X = _centered(X, metric)
    search = _search(X, n_neighbors, metric, metric_params, n_jobs)
    # A sample is its own nearest.
    cores = search.kneighbors(X[some])[0][:, -1]
    radius = np.quantile(cores, 0.25)
    return _step_of(some, X, values, radius, metric, metric_params, n_jobs) > limit
