"""How far apart samples are where a shape is connected.

Where samples are dense, a chain of small steps leads from each sample of a piece to
each other one. `connection_distance` finds the longest step needed, and `longest_steps`
how much the filter may differ between two samples so near, which says how fine a cover
can be. Both are what ``n_intervals="auto"`` and ``eps="connected"`` rest on.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray
from sklearn.metrics import pairwise_distances
from sklearn.neighbors import NearestNeighbors

from robustkit.topology.neighbors._distance import fast_nearest
from robustkit.topology.neighbors._windows import find

# Neighbours in the graph that tells pieces apart: so many for each of `min_samples`.
# Samples that are one piece have no group of so many that are nearer to one another
# than any of them is to the others.
_N_TIMES = 3

# From so many samples and features on the fast search is worth a detour: where features
# are few, a tree is faster.
_LARGE, _MANY_FEATURES = 5000, 8

# Samples from which something is guessed.
_N_GUESSED = 500

# Distances that are measured to find the longest step; of a function in Python, fewer.
_MOST_MEASURED, _MOST_CALLS = 10**8, 10**5

# Distances that are kept at one time.
_N_KEPT = 2**22


def connection_distance(
    X: NDArray,
    values: NDArray,
    is_lipschitz: bool,
    min_samples: int,
    metric: str | Callable = "euclidean",
    metric_params: dict[str, Any] | None = None,
    n_jobs: int | None = None,
) -> float:
    """Return the smallest distance at which DBSCAN joins what belongs together.

    What belongs together is what the graph of nearest neighbours connects. A sample
    joins at the distance of its `min_samples`-th neighbour, two samples at the largest
    of both and their own distance: this mutual reachability is that of HDBSCAN. Single
    samples that lie far away from all others do not count, but groups do. The filter
    `values` may speed up the search and change no result.
    """
    n_neighbors = min(_N_TIMES * min_samples, len(X) - 1)
    if n_neighbors == 0:
        return 0.0
    is_large = len(X) >= max(_LARGE, 2 * n_neighbors) and X.shape[1] >= _MANY_FEATURES
    if metric == "euclidean" and is_large:
        found = fast_nearest(X, values, is_lipschitz, n_neighbors, n_jobs)
    else:
        search = NearestNeighbors(
            n_neighbors=n_neighbors, metric=metric, metric_params=metric_params,
            n_jobs=n_jobs,
        )  # fmt: skip
        found = search.fit(_centered(X, metric)).kneighbors()
    distances, nearest = found
    cores = distances[:, min(min_samples, n_neighbors) - 1].copy()
    reach = np.maximum(np.maximum(cores[:, None], cores[nearest]), distances).ravel()
    order = np.argsort(reach, kind="stable")
    last = _last_merge(order, nearest.ravel(), n_neighbors, reach, cores)
    return float(max(last, np.median(cores)))


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


def longest_steps(
    X: NDArray,
    columns: Sequence[NDArray],
    radii: Sequence[float],
    metric: str | Callable = "euclidean",
    metric_params: dict[str, Any] | None = None,
    n_jobs: int | None = None,
) -> NDArray:
    """Return the largest difference of a filter between samples within a radius.

    One row for each radius, the radii ascending, and one column for each filter, whose
    values are a column. Of more than 10,000 samples (for a metric that is a function in
    Python, of more than about 300), only as many are compared with all others as the
    time allows: about 500 at least (50 for a function).
    """
    most, fewest = _MOST_MEASURED, _N_GUESSED
    if callable(metric):
        most, fewest = _MOST_CALLS, _N_GUESSED // 10
    some = _evenly(len(X), max(fewest, most // len(X)))
    steps = np.zeros((len(radii), len(columns)))
    for rows, distances in _distances_of(some, X, metric, metric_params, n_jobs):
        for k, values in enumerate(columns):
            differences = np.abs(values[rows, None] - values)
            for j in range(len(radii) - 1, -1, -1):
                # Rounding loses no pair that is as far apart as the radius.
                differences[~(distances <= radii[j] * (1 + 1e-9))] = 0
                steps[j, k] = max(steps[j, k], float(differences.max()))
    return steps


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

    Half of the samples need a distance that is as large as the one looked at or larger,
    and so does what connects them all. For large and sparse data, this saves the search
    for all neighbours.
    """
    some = _evenly(len(X), _N_GUESSED // (10 if callable(metric) else 1))
    cores = []
    for _, distances in _distances_of(some, X, metric, metric_params, n_jobs):
        # A sample is its own nearest.
        place = min(min_samples, len(X) - 1)
        # A view would keep all distances.
        cores.append(np.partition(distances, place, axis=1)[:, place].copy())
    radius = np.quantile(np.concatenate(cores), 0.25)
    for rows, distances in _distances_of(some, X, metric, metric_params, n_jobs):
        differences = np.abs(values[rows, None] - values)
        if differences[distances <= radius].max(initial=0) > limit:
            return True
    return False


def _evenly(n_samples, n_wanted):
    return np.arange(0, n_samples, max(1, -(-n_samples // n_wanted)))


def _distances_of(
    some, X, metric, metric_params, n_jobs
) -> Iterator[tuple[NDArray, NDArray]]:
    """Yield a few of some samples at a time, and their distances to all."""
    is_euclidean = metric == "euclidean"
    mean = X.mean(axis=0, dtype=np.float64) if is_euclidean else None

    def around(rows):
        return rows - mean if is_euclidean else rows

    # Only so many samples are centred, and float64, at one time.
    n_columns = max(1, _N_KEPT // X.shape[1]) if is_euclidean else len(X)
    n_rows = max(1, _N_KEPT // len(X))
    for start in range(0, len(some), n_rows):
        rows = some[start : start + n_rows]
        found = [
            pairwise_distances(
                around(X[rows]), around(X[left : left + n_columns]), metric=metric,
                n_jobs=n_jobs, **(metric_params or {}),
            )
            for left in range(0, len(X), n_columns)
        ]  # fmt: skip
        yield rows, np.hstack(found) if len(found) > 1 else found[0]
