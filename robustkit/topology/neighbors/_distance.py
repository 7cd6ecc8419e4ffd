"""The distance of samples: which metric, and within how much of it they are neighbours.

`learn_metric` learns from the data what a metric must know of them, and `choose_eps`
is what ``eps="auto"`` means.
"""

from collections.abc import Callable
from threading import Lock
from typing import Any, NamedTuple

import numpy as np
from joblib import Parallel, delayed
from numba import njit
from numpy.typing import NDArray
from sklearn.neighbors import VALID_METRICS, NearestNeighbors

from robustkit._threads import one_blas_thread
from robustkit.topology.neighbors._products import Products, rounding_bound
from robustkit.topology.neighbors._search import (
    N_TOGETHER,
    CellSplit,
    Search,
    SortedSamples,
    Tile,
    blocks_of_task,
    is_ours,
    squared_distance,
    tasks_of,
    tiles_of_block,
)
from robustkit.topology.neighbors._windows import ends_of_band

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

# How far away in the order those are that bound the distance of the nearest; how many
# rows are compared with them together, and in one task.
_REACH, _N_ROWS, _N_ROWS_OF_TASK = 512, 256, 4096

# Shares of the samples, those in dense places first, whose nearest are looked for
# together.
_SHARES = (0.5, 0.97, 1.0)


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

    Of equally near ones, those of the smallest values come first. Those near in the
    order tell within how much of each sample its nearest are. Then all pairs are
    compared, and those measured that one of the two may need: first among samples in
    dense places, since the others have to look farther.
    """
    samples = SortedSamples(X, values)
    n_samples, n_neighbors = len(X), min(n_neighbors, len(X) - 1)
    squared = np.full((n_samples, n_neighbors), np.inf)
    nearest = _Nearest(squared, np.full(squared.shape, n_samples))
    if n_neighbors > 0:
        _look_around(samples, nearest, n_jobs)
        bounds = np.sqrt(squared[:, -1])
        is_old = np.zeros(n_samples, dtype=bool)
        for farthest in np.unique(np.quantile(bounds, _SHARES)):
            is_near = bounds <= farthest
            ends = np.full(n_samples, n_samples)
            if is_lipschitz:
                ends = ends_of_band(samples.values, farthest)
            search = Search(samples, farthest, ends, *samples.cells(farthest))
            _look_within(search, nearest, is_old, is_near & ~is_old, n_jobs)
            is_old = is_near
    distances, numbers = np.empty_like(squared), np.empty_like(nearest.numbers)
    distances[samples.order] = np.sqrt(squared)
    numbers[samples.order] = samples.order[nearest.numbers]
    return distances, numbers


class _Nearest(NamedTuple):
    """The nearest of every position that are known so far, in ascending order."""

    squared: NDArray
    """Squared distances, as `squared_distance` measures them."""

    numbers: NDArray
    """Which positions; of equally near ones the smaller first."""


def _look_around(samples, nearest, n_jobs):
    """Compare every position with those near it in the order and in its cell."""
    n_samples, n_neighbors = nearest.squared.shape
    everyone = np.arange(n_samples)
    cells = samples.cell_of(everyone)
    # Those of the smallest cells have not enough others there.
    is_large = np.bincount(cells)[cells] > n_neighbors
    groups = [np.flatnonzero(is_large & (cells == cell)) for cell in np.unique(cells)]
    tasks = [
        (members, members[start : start + _N_ROWS_OF_TASK])
        for members in groups
        for start in range(0, len(members), _N_ROWS_OF_TASK)
    ]
    few = everyone[~is_large]
    tasks += [(everyone, few[k : k + 1]) for k in range(len(few))]
    run = delayed(_compare_around)
    with one_blas_thread():
        Parallel(n_jobs=n_jobs, prefer="threads")(
            run(samples, nearest, *task) for task in tasks
        )


def _compare_around(samples, nearest, members, rows):
    reach = max(_REACH, nearest.squared.shape[1] + 1)
    for start in range(0, len(rows), _N_ROWS):
        block = rows[start : start + _N_ROWS]
        first, last = np.searchsorted(members, block[[0, -1]])
        columns = members[max(0, first - reach) : last + 1 + reach]
        near, norms = Products(samples, 0.0, block), samples.norms[columns]
        products = near.with_columns(samples.rows(columns), norms.astype(np.float32))
        unit, tolerance = _unit(samples, near.norms, norms)
        # Of squared distances, the part that does not depend on the columns.
        rest = near.norms - tolerance
        _keep_around(
            products, rest, unit, block, columns, samples.X, samples.order, *nearest
        )


def _unit(samples, *norms):
    """Return the square of the scale, and how far float32 may be off.

    Twice the bound: limits are rounded, too.
    """
    largest = max(some.max(initial=0) for some in norms)
    return samples.scale**2, 2 * rounding_bound(samples.X.shape[1], largest)


@njit(cache=True, nogil=True)
def _keep_around(products, rest, unit, rows, columns, X, order, squared, numbers):
    """Keep the nearest of some columns for each of some rows."""
    for a in range(len(rows)):
        i = rows[a]
        limit = np.float32(squared[i, -1] * unit - rest[a])
        for b in range(len(columns)):
            if products[a, b] > limit or columns[b] == i:
                continue
            j = columns[b]
            if _insert(
                squared_distance(X, order[i], order[j]), j, squared[i], numbers[i]
            ):
                limit = np.float32(squared[i, -1] * unit - rest[a])


@njit(cache=True, nogil=True)
def _insert(value, number, ascending, numbers):
    """Insert a number unless it is there, or no nearer than the last; tell whether."""
    place = len(ascending) - 1
    if not _is_before(value, number, ascending[place], numbers[place]):
        return False
    while place > 0 and _is_before(
        value, number, ascending[place - 1], numbers[place - 1]
    ):
        place -= 1
    if place > 0 and numbers[place - 1] == number:
        return False
    for k in range(len(ascending) - 1, place, -1):
        ascending[k], numbers[k] = ascending[k - 1], numbers[k - 1]
    ascending[place], numbers[place] = value, number
    return True


@njit(cache=True, nogil=True)
def _is_before(value, number, other_value, other):
    return value < other_value or (value == other_value and number < other)


def _look_within(search, nearest, is_old, is_new, n_jobs):
    """Compare the new positions with each other, and with the old ones."""
    tasks = [*tasks_of(search, is_new, is_old | is_new)]
    tasks += tasks_of(search, is_old, is_new)
    lock, run = Lock(), delayed(_compare_within)
    with one_blas_thread():
        Parallel(n_jobs=n_jobs, prefer="threads")(
            run(search, nearest, lock, *task) for task in tasks
        )


def _compare_within(search, nearest, lock, cell, rows, columns):
    """Compare rows with columns of a task; one task at a time keeps what it found."""
    samples = search.samples
    split = CellSplit(search.cells, search.is_shallow, cell)
    for block in blocks_of_task(search, rows, columns):
        near = Products(samples, search.eps, block.rows)
        norms = samples.norms[block.columns]
        unit, tolerance = _unit(samples, near.norms, norms)
        row_norms, norms = near.norms.astype(np.float32), norms.astype(np.float32)
        for part, first, last in tiles_of_block(block):
            products = near.with_columns(block.vectors[part], norms[part])
            some = block.columns[part]
            # They have become smaller meanwhile, or will; the larger ones serve, too.
            of_rows, of_columns = (
                (nearest.squared[positions, -1] * unit + tolerance).astype(np.float32)
                for positions in (block.rows, some)
            )
            tile = Tile(products, of_rows - row_norms, of_columns, block.rows, some)
            found = _scan(
                tile, row_norms, first, last, split, samples.X, samples.order,
                nearest.squared,
            )  # fmt: skip
            with lock:
                _keep(*found, *nearest)


@njit(cache=True, nogil=True)
def _scan(tile, norms, first, last, split, X, order, squared):
    """Measure the pairs of a tile that one of the two may need."""
    products, of_rows, of_columns, rows, columns = tile
    cells, is_shallow, cell = split
    smaller, larger = np.empty((2, products.size), np.int32)
    distances = np.empty(products.size)
    n_found = 0
    for a in range(products.shape[0]):
        begin, end = max(0, first[a]), min(products.shape[1], last[a])
        for left in range(begin, end, N_TOGETHER):
            right = min(left + N_TOGETHER, end)
            some, limits = products[a, left:right], of_columns[left:right]
            if not _is_any_near(some, of_rows[a], norms[a], limits):
                continue
            for b in range(left, right):
                product = products[a, b]
                if product > of_rows[a] and product + norms[a] > of_columns[b]:
                    continue
                i, j = rows[a], columns[b]
                if not is_ours(i, j, cells, is_shallow, cell):
                    continue
                distance = squared_distance(X, order[i], order[j])
                # Another thread may be writing: numbers are compared when it is done.
                if distance <= squared[i, -1] or distance <= squared[j, -1]:
                    smaller[n_found], larger[n_found] = i, j
                    distances[n_found] = distance
                    n_found += 1
    return smaller[:n_found], larger[:n_found], distances[:n_found]


@njit(cache=True, nogil=True, inline="always")
def _is_any_near(products, of_row, norm, of_columns):
    n_near = 0
    for k in range(len(products)):
        n_near += (products[k] <= of_row) | (products[k] + norm <= of_columns[k])
    return n_near > 0


@njit(cache=True, nogil=True)
def _keep(smaller, larger, distances, squared, numbers):
    for k in range(len(distances)):
        i, j = smaller[k], larger[k]
        _insert(distances[k], j, squared[i], numbers[i])
        _insert(distances[k], i, squared[j], numbers[j])


def _measure(X, others):
    """Measure again what a search has rounded like products of the samples."""
    return np.linalg.norm(np.subtract(X, others, dtype=np.float64), axis=1)


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
