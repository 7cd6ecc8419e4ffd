"""All pairs of samples within a distance, each found once.

The samples are sorted by their filter values, so that those of an interval are
neighbours in the order. Only pairs that some interval holds are compared, only those
whose filter values differ by at most the distance (where the filter allows that bound),
and only those whose Voronoi cells are near enough. What is left goes through float32
matrix products, tile by tile; a pair whose squared distance is too near to the limit
for float32 is measured again in float64.

A pair is two *positions* in the sorted order, the smaller one first.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from joblib import Parallel, delayed, effective_n_jobs
from numba import njit
from numpy.typing import NDArray
from sklearn.cluster import kmeans_plusplus

from robustkit._threads import one_blas_thread
from robustkit.topology.neighbors._products import Products, device_for

# Pairs that may be kept: 4 bytes each, one more with distances, and as much again while
# they are joined.
LARGEST_N_PAIRS = 40_000_000

# Rows and columns of a tile: the product and what it is made of stay in the cache.
_N_ROWS = 256
_N_COLUMNS = 2048

# Numbers in the columns of one task.
_NUMBERS_OF_TASK = 2**24

# Products that are compared with a limit at once.
N_TOGETHER = 32

# Tasks that a thread has in hand, if there are several threads.
_N_TASKS_PER_THREAD = 4

# Maximum number of rows per task: enough to use a tile of columns many times.
_N_ROWS_OF_TASK = 4096

# Maximum number of candidates per task and per block, in case all of them are pairs.
_N_CANDIDATES_OF_TASK = 2**24
_N_CANDIDATES_OF_BLOCK = 2**21

# Rows whose pairs are counted to estimate how many there are; of their distances only
# one in eight is looked at.
_N_COUNTED = 1000
_STRIDE = 8

# How much of the room for pairs is planned for, since their number is only estimated;
# and how much for pairs beyond eps, since finding some of them again takes no longer
# than passing over many.
_SHARE = 0.9
_SHARE_AHEAD = 0.5

# Bytes of the float32 copy; larger data are centred anew whenever they are needed.
_LARGEST_COPY = 150e6

# Numbers that are float64 at one time.
_CHUNK = 2**20

# Fewer samples are compared faster than they are split into cells.
_FEWEST_FOR_CELLS = 2048

# So many times their extent away from zero, samples are centred for other searches:
# squares of it are rounded by less than 1e-9 of the squared extent.
_FAR = 1000

_N_CENTERS = 16
_N_SAMPLES_FOR_CENTERS = 2048


class Pairs(NamedTuple):
    """Pairs of positions, row by row, each with the larger ones paired with it."""

    rows: NDArray
    """The smaller positions, ascending."""

    indptr: NDArray
    indices: NDArray
    """``indices[indptr[r]:indptr[r + 1]]`` are paired with ``rows[r]``, ascending."""

    distances: NDArray
    """Squared distances of scaled samples. A search gives float32; of what is kept
    there are only the uint8 levels, in steps of `level_step`. Empty if not asked for.
    """

    def of_rows(self, start: int, stop: int) -> "Pairs":
        """Return views of the pairs of some rows."""
        some = slice(start, stop + 1)
        return Pairs(self.rows[start:stop], self.indptr[some], *self[2:])


class ExactDistance(NamedTuple):
    """What compiled loops need to compare a distance with the limit in float64."""

    X: NDArray
    order: NDArray
    """The sample at each position."""

    limit: float
    """The squared distance."""


@njit(cache=True, nogil=True)
def squared_distance(X, i, j):
    """Measure the squared distance of two samples in float64."""
    total = 0.0
    for k in range(X.shape[1]):
        difference = np.float64(X[i, k]) - np.float64(X[j, k])
        total += difference * difference
    return total


@njit(cache=True, nogil=True)
def is_within(X, i, j, limit):
    """Whether the squared distance of two samples is not above a limit."""
    return squared_distance(X, i, j) <= limit


def around_zero(X: NDArray, *others: NDArray) -> tuple[NDArray, ...]:
    """Centre samples that lie far from zero, where products of them are rounded.

    Others are returned as they are, without a copy. `others` move as the samples do.
    """
    mean = X.mean(axis=0, dtype=np.float64)
    # Halves, which cannot overflow.
    extent = 2 * float((X.max(axis=0) / 2 - X.min(axis=0) / 2).max())
    is_far = np.abs(mean).max() > _FAR * extent
    return tuple(some - mean if is_far else some for some in (X, *others))


def find_pairs_that_fit(
    samples: "SortedSamples",
    eps: float,
    farthest: float,
    ends: NDArray,
    max_pairs: int,
    *,
    with_distances: bool = False,
    n_jobs: int | None = None,
) -> tuple[float, Pairs]:
    """Find as many pairs as can be kept: all those within the largest radius possible.

    The radius that matters most is `eps`; up to `farthest`, which is not below it, more
    pairs are welcome. Returns the radius, at most `farthest` and negative if nothing
    can be kept, and all pairs within it, with a row for every position.
    """
    radius = _estimate_radius(samples, eps, farthest, ends, max_pairs, n_jobs)
    while radius >= 0:
        pairs = find_pairs(
            samples, radius, ends, max_pairs=max_pairs, with_distances=with_distances,
            n_jobs=n_jobs,
        )  # fmt: skip
        if pairs is not None:
            return radius, pairs
        # The estimate was too low. Where many distances are 0, nothing can be kept.
        radius = 0.95 * radius if radius > farthest / 100 else -1.0
    return radius, join_pairs([], len(ends), with_distances)


def find_all_or_none(
    samples: "SortedSamples",
    eps: float,
    ends: NDArray,
    max_pairs: int,
    n_jobs: int | None = None,
) -> tuple[float, Pairs]:
    """Find all pairs within eps, if they can be kept.

    Returns what :func:`find_pairs_that_fit` does; the radius is eps, or negative.
    """
    pairs = None
    if _n_candidates(ends) <= max_pairs or (
        _estimate_n_pairs(samples, eps, ends, n_jobs) <= max_pairs
    ):
        pairs = find_pairs(samples, eps, ends, max_pairs=max_pairs, n_jobs=n_jobs)
    if pairs is None:
        return -1.0, join_pairs([], len(ends))
    return float(eps), pairs


def _n_candidates(ends):
    return int((ends - np.arange(len(ends)) - 1).sum())


def _some_rows(n_samples):
    some = np.zeros(n_samples, dtype=bool)
    some[:: max(1, n_samples // _N_COUNTED)] = True
    return some


def _estimate_n_pairs(samples, eps, ends, n_jobs):
    some = _some_rows(len(ends))
    found = search_pairs(samples, eps, ends, rows=some, n_jobs=n_jobs)
    return sum(len(pairs.indices) for pairs in found) / some.mean()


def _estimate_radius(samples, eps, farthest, ends, max_pairs, n_jobs):
    if _n_candidates(ends) <= max_pairs:
        return float(farthest)
    some = _some_rows(len(ends))
    found = search_pairs(
        samples, farthest, ends, rows=some, with_distances=True, n_jobs=n_jobs
    )
    squared = [pairs.distances[::_STRIDE] for pairs in found]
    squared = np.concatenate([np.empty(0, np.float32), *squared])
    distances = np.sqrt(np.maximum(squared, 0)) / samples.scale
    room = max_pairs * some.mean() / _STRIDE
    # Those within eps are tried wherever that may succeed.
    needed = (distances <= eps).sum()
    share = max(needed, _SHARE_AHEAD * room) if needed <= room else _SHARE * room
    if share >= len(distances):
        return float(farthest)
    radius = float(np.quantile(distances, share / len(distances)))
    # Rounded distances may be larger than those asked for.
    return min(float(farthest), max(radius, float(eps)) if needed <= room else radius)


def find_pairs(
    samples: "SortedSamples",
    eps: float,
    ends: NDArray,
    *,
    max_pairs: float = np.inf,
    with_distances: bool = False,
    n_jobs: int | None = None,
) -> Pairs | None:
    """Find the pairs within eps, a row for every position; None if there are too many.

    Position i is paired with those from i + 1 up to but not including ``ends[i]``,
    which ascend. Of distances only the levels are kept.
    """
    found, n_pairs = [], 0
    for pairs in search_pairs(
        samples, eps, ends, with_distances=with_distances, n_jobs=n_jobs
    ):
        # Rounding may have left a distance below 0, or above the largest one.
        levels = np.clip(pairs.distances / level_step(samples, eps), 0, 255)
        found.append(pairs._replace(distances=levels.astype(np.uint8)))
        n_pairs += len(pairs.indices)
        if n_pairs > max_pairs:
            return None
    return join_pairs(found, len(ends), with_distances, n_jobs)


def search_pairs(
    samples: "SortedSamples",
    eps: float,
    ends: NDArray,
    *,
    rows: NDArray | None = None,
    columns: NDArray | None = None,
    with_distances: bool = False,
    n_jobs: int | None = None,
) -> Iterator[Pairs]:
    """Search for the pairs within eps, a few at a time.

    Masks of `rows` and `columns` restrict the smaller and the larger positions. A row
    may come several times, a pair only once.
    """
    search = Search(samples, eps, ends, *samples.cells(eps), with_distances)
    tasks = list(tasks_of(search, rows, columns))
    run = delayed(_pairs_of_rows)
    n_threads = effective_n_jobs(n_jobs)
    # So many tasks are handed out before the caller can give up. Some take longer than
    # others: with one for each thread, most threads would wait.
    n_tasks = 1 if n_threads == 1 else _N_TASKS_PER_THREAD * n_threads
    with Parallel(n_jobs=n_jobs, prefer="threads") as parallel:
        for batch in _batches(len(tasks), n_tasks):
            with one_blas_thread():
                found = parallel(run(search, *task) for task in tasks[batch])
            for blocks in found:
                yield from blocks


@dataclass(frozen=True, eq=False)
class Search:
    """What all tasks of one search share."""

    samples: "SortedSamples"
    eps: float
    ends: NDArray
    cells: NDArray
    is_shallow: NDArray
    with_distances: bool = False


def _batches(n, size):
    return [slice(start, min(start + size, n)) for start in range(0, n, size)]


def _at_most(n_candidates, longest):
    return min(max(n_candidates // longest, 1), _N_ROWS_OF_TASK)


def tasks_of(
    search: Search, rows: NDArray | None = None, columns: NDArray | None = None
) -> Iterator[tuple[int, NDArray, NDArray]]:
    """Which rows to compare with which columns, so that no pair is forgotten."""
    for cell in range(search.is_shallow.shape[1]):
        is_inside = search.cells == cell
        inside = np.flatnonzero(is_inside)
        both = np.flatnonzero(search.is_shallow[:, cell])
        outside = both[~is_inside[both]]
        for left, right in ((inside, both), (outside, inside)):
            if rows is not None:
                left = left[rows[left]]
            if columns is not None:
                right = right[columns[right]]
            if len(left) == 0 or len(right) == 0:
                continue
            # The longest row decides how many rows may be compared together.
            first = np.searchsorted(right, left, side="right")
            last = np.searchsorted(right, search.ends[left], side="left")
            longest = max(int((last - first).max()), 1)
            n_rows = _at_most(_N_CANDIDATES_OF_TASK, longest)
            for batch in _batches(len(left), n_rows):
                yield cell, left[batch], right


def _pairs_of_rows(search, cell, rows, columns):
    """Pairs of some positions (rows) with any of some larger ones (columns)."""
    return [
        Pairs(block.rows, *_pairs_of_block(search, cell, block))
        for block in blocks_of_task(search, rows, columns)
    ]


class Block(NamedTuple):
    """Some rows, and the columns that they are compared with."""

    rows: NDArray
    columns: NDArray
    vectors: NDArray
    """The samples of the columns."""

    first: NDArray
    last: NDArray
    """Row r is compared with the columns from ``first[r]`` up to ``last[r]``."""


def blocks_of_task(
    search: "Search", rows: NDArray, columns: NDArray
) -> Iterator[Block]:
    """Yield the blocks of a task, none of them with too many candidates."""
    samples, ends = search.samples, search.ends
    begin = np.searchsorted(columns, rows[0], side="right")
    end = np.searchsorted(columns, ends[rows[-1]], side="left")
    step = max(_N_COLUMNS, _NUMBERS_OF_TASK // samples.X.shape[1])
    for left in range(begin, end, step):
        some = columns[left : min(left + step, end)]
        vectors = samples.rows(some)
        first = np.searchsorted(some, rows, side="right")
        last = np.searchsorted(some, ends[rows], side="left")
        longest = max(int((last - first).max()), 1)
        n_rows = min(_N_ROWS, _at_most(_N_CANDIDATES_OF_BLOCK, longest))
        for batch in _batches(len(rows), n_rows):
            yield Block(rows[batch], some, vectors, first[batch], last[batch])


def tiles_of_block(block: Block) -> Iterator[tuple[slice, NDArray, NDArray]]:
    """Yield a few columns at a time, and which of them each row is compared with."""
    begin, end = int(block.first[0]), int(block.last.max())
    for left in range(begin, end, _N_COLUMNS):
        part = slice(left, min(left + _N_COLUMNS, end))
        yield part, block.first - left, block.last - left


def _pairs_of_block(search, cell, block):
    """List the pairs of each row, row by row."""
    samples, rows = search.samples, block.rows
    near = Products(samples, search.eps, rows)
    norms = samples.norms[block.columns]
    sure, possible = near.thresholds(norms[int(block.first[0]) : int(block.last.max())])
    norms = norms.astype(np.float32)
    exact = samples.exact_distance(search.eps)
    split = CellSplit(search.cells, search.is_shallow, cell)
    found = _Found(*(np.empty(0, dtype) for dtype in (np.int16, np.int32, np.float32)))
    n_found = 0
    for part, first, last in tiles_of_block(block):
        products = near.with_columns(block.vectors[part], norms[part])
        if n_found + products.size > len(found.rows):
            capacity = 2 * (n_found + products.size)
            sizes = capacity, capacity, capacity if search.with_distances else 0
            found = _Found(*map(_grown, found, sizes, [n_found] * 3))
        tile = Tile(products, sure, possible, rows, block.columns[part])
        n_found = _scan_tile(tile, first, last, exact, split, found, n_found)
    found = _Found(*(buffer[:n_found] for buffer in found))
    if search.with_distances:
        found.products[:] += near.norms.astype(np.float32)[found.rows]
    return _group_by_row(*found, len(rows))


def _grown(buffer, capacity, n_used):
    larger = np.empty(capacity, buffer.dtype)
    n_used = min(n_used, capacity)
    larger[:n_used] = buffer[:n_used]
    return larger


class CellSplit(NamedTuple):
    """The cells of all positions, and the cell that is being searched."""

    cells: NDArray
    is_shallow: NDArray
    cell: int


class _Found(NamedTuple):
    """Pairs found: row in the block, position of the column, product."""

    rows: NDArray
    columns: NDArray
    products: NDArray


@njit(cache=True, nogil=True, inline="always")
def _are_any_below(products, possible):
    n_below = 0
    for k in range(len(products)):
        n_below += products[k] <= possible
    return n_below > 0


@njit(cache=True, nogil=True)
def _scan_tile(tile, first, last, exact, split, found, n_found):
    """Compare row i with the columns from ``first[i]`` up to ``last[i]``."""
    # Unpacked here: to read a field of a tuple within the loops takes time.
    products, sure, possible, rows, columns = tile
    X, order, limit = exact
    cells, is_shallow, cell = split
    found_rows, found_columns, found_products = found
    for i in range(products.shape[0]):
        begin, end = max(0, first[i]), min(products.shape[1], last[i])
        for left in range(begin, end, N_TOGETHER):
            right = min(left + N_TOGETHER, end)
            # Most have no pair among them: so many are compared at once.
            if not _are_any_below(products[i, left:right], possible[i]):
                continue
            for j in range(left, right):
                if products[i, j] > possible[i]:
                    continue
                row, column = rows[i], columns[j]
                if not is_ours(row, column, cells, is_shallow, cell):
                    continue
                if products[i, j] <= sure[i] or is_within(
                    X, order[row], order[column], limit
                ):
                    found_rows[n_found] = i
                    found_columns[n_found] = column
                    if len(found_products) > 0:
                        found_products[n_found] = products[i, j]
                    n_found += 1
    return n_found


@njit(cache=True, nogil=True)
def is_ours(row, column, cells, is_shallow, cell):
    """Two cells may both see a pair whose samples are both shallow: one counts it."""
    if cells[row] == cells[column]:
        return True
    inside, other = (row, column) if cells[row] == cell else (column, row)
    return cell < cells[other] or not is_shallow[inside, cells[other]]


@njit(cache=True, nogil=True)
def _group_by_row(rows, columns, squared, n_rows):
    """Sort by row; the columns of a row keep their order, which is ascending."""
    indptr = np.zeros(n_rows + 1, np.int64)
    for row in rows:
        indptr[row + 1] += 1
    indptr = np.cumsum(indptr)
    target = indptr[:-1].copy()
    grouped = np.empty(len(columns), np.int32)
    distances = np.empty(len(squared), np.float32)
    for k in range(len(rows)):
        grouped[target[rows[k]]] = columns[k]
        if len(squared) > 0:
            distances[target[rows[k]]] = squared[k]
        target[rows[k]] += 1
    return indptr, grouped, distances


def join_pairs(
    pieces: list[Pairs],
    n_samples: int,
    with_distances: bool = False,
    n_jobs: int | None = None,
) -> Pairs:
    """Join what a search found, in any order; each piece is freed once it is copied."""
    degrees, n_pieces = np.zeros((2, n_samples), np.int64)
    for rows, indptr, *_ in pieces:
        degrees[rows] += np.diff(indptr)
        n_pieces[rows] += np.diff(indptr) > 0
    indptr = np.concatenate([[0], np.cumsum(degrees)])
    indices = np.empty(indptr[-1], dtype=np.int32)
    levels = np.empty(indptr[-1] if with_distances else 0, dtype=np.uint8)
    targets = indptr[:-1].copy()
    while pieces:
        _copy_rows(*pieces.pop(), targets, indices, levels)
    parts = np.array_split(np.flatnonzero(n_pieces > 1), effective_n_jobs(n_jobs))
    Parallel(n_jobs=n_jobs, prefer="threads")(
        delayed(_sort_rows)(rows, indptr, indices, levels) for rows in parts
    )
    return Pairs(np.arange(n_samples), indptr, indices, levels)


@njit(cache=True, nogil=True)
def _copy_rows(rows, indptr, columns, distances, targets, indices, levels):
    for r in range(len(rows)):
        target, start = targets[rows[r]], indptr[r]
        count = indptr[r + 1] - start
        # Slices assigned to slices would take seconds to compile.
        for k in range(count):
            indices[target + k] = columns[start + k]
            if len(levels) > 0:
                levels[target + k] = distances[start + k]
        targets[rows[r]] += count


@njit(cache=True, nogil=True)
def _sort_rows(rows, indptr, indices, levels):
    for row in rows:
        start, stop = indptr[row], indptr[row + 1]
        order = np.argsort(indices[start:stop])
        columns = indices[start:stop].copy()
        distances = levels[start:stop].copy()
        for k in range(stop - start):
            indices[start + k] = columns[order[k]]
            if len(levels) > 0:
                levels[start + k] = distances[order[k]]


def level_step(samples: "SortedSamples", eps: float) -> float:
    """Return the step between two levels of squared distances up to eps.

    Level k stands for k steps and less than k + 1 of them.
    """
    return max((float(eps) * samples.scale) ** 2 / 255, np.finfo(np.float64).tiny)


class Tile(NamedTuple):
    """Products of some rows with some columns, and what they tell."""

    products: NDArray
    sure: NDArray
    """Of each row: a product up to it is that of a pair."""

    possible: NDArray
    """Of each row: a product above it is not."""

    rows: NDArray
    columns: NDArray


class SortedSamples:
    """Samples sorted by their filter values, and prepared for the search of pairs.

    They are split into the Voronoi cells of a few centres. The plane halfway between
    two centres lies between the samples of their cells, so the distance of two such
    samples is at least the sum of their depths, the distances to that plane. If it is
    at most eps, one of the two depths is at most eps / 2: each cell need only be
    compared with itself and with the shallow samples of others. Where the data fall
    into clusters, most pairs are never compared. The centres are guesses; the pairs
    found do not depend on them.

    Parameters
    ----------
    X : ndarray of shape (n_samples, n_features)
        The samples, float32 or float64, C-contiguous.

    values : ndarray of shape (n_samples,)
        Their filter values.

    Attributes
    ----------
    order : ndarray of shape (n_samples,)
        The sample at each position.

    values : ndarray of shape (n_samples,)
        Ascending.

    scale : float
        What the centred samples are multiplied with.

    norms : ndarray of shape (n_samples,)
        Squared norm of each centred and scaled sample, in float64.

    device : torch.device or None
        Where their products are computed; None is here.
    """

    def __init__(self, X: NDArray, values: NDArray):
        self.X, self.device = X, device_for(X.shape[1])
        self.order = np.argsort(values, kind="stable")
        self.values = values[self.order]
        # Centring shrinks the norms, and with them the rounding errors.
        mean = X.mean(axis=0, dtype=np.float64)
        # Rounded as the samples are: then float32 says exactly where it is.
        self._mean = mean.astype(X.dtype).astype(np.float64)
        self.scale = _power_of_two_scale(X, self._mean)
        # Of float32 samples, a difference is rounded once in float32, too.
        is_tame = 2.0**-64 < self.scale < 2.0**64
        dtype = X.dtype if is_tame else np.dtype(np.float64)
        self._shift = self._mean.astype(dtype), dtype.type(self.scale)
        centers = self._guess_centers()
        fits = 4 * X.size <= _LARGEST_COPY
        self._copy = np.empty(X.shape, dtype=np.float32) if fits else None
        self.norms = np.empty(len(X))
        self._cells = np.empty(len(X), dtype=np.int32)
        self._depths = np.empty((len(X), len(centers)), dtype=np.float32)
        step = max(1, _CHUNK // X.shape[1])
        for start in range(0, len(X), step):
            chunk = slice(start, start + step)
            rows = self._centered(self.order[chunk])
            self.norms[chunk] = np.einsum("ij,ij->i", rows, rows)
            self._depths[chunk], self._cells[chunk] = _voronoi(
                rows, self.norms[chunk], centers
            )
            if self._copy is not None:
                self._copy[chunk] = rows

    def rows(self, positions: NDArray) -> NDArray:
        """Centred and scaled samples at some positions, float32."""
        if self._copy is not None:
            if len(positions) and positions[-1] - positions[0] == len(positions) - 1:
                return self._copy[positions[0] : positions[-1] + 1]
            return self._copy[positions]
        return _center_rows(self.X, self.order, positions, *self._shift)

    def _centered(self, samples):
        rows = self.X[samples] - self._mean
        rows *= self.scale
        return rows

    def exact_distance(self, eps: float) -> ExactDistance:
        """Return what compiled loops need to compare with eps in float64."""
        return ExactDistance(self.X, self.order, float(eps) ** 2)

    def cells(self, eps: float) -> tuple[NDArray, NDArray]:
        """Split the samples into cells for the search of pairs within eps.

        Returns the cell of each position, and whether the sample is within eps / 2 of
        the plane towards each cell (true for its own). Of two samples within eps in
        different cells, one at least is shallow towards the cell of the other.
        """
        is_shallow = self._depths <= eps / 2 * self.scale
        if is_shallow.mean() < 0.5:
            return self._cells, is_shallow
        # No clusters, or none at this distance: one cell is cheaper.
        return np.zeros_like(self._cells), np.ones((len(self._cells), 1), dtype=bool)

    def depths(self, positions: NDArray, cell: int | None = None) -> NDArray:
        """Return lower bounds on the distances to the planes towards all cells, or one.

        The distance of two samples in different cells is at least the sum of the depths
        towards the cell of the other. Where there is no plane, the depth is 0.
        """
        if cell is None:
            depths = self._depths[positions].astype(np.float64)
        else:
            depths = self._depths[positions, cell].astype(np.float64)
        depths[np.isneginf(depths)] = 0
        return depths

    def cell_of(self, positions: NDArray) -> NDArray:
        """Return the cells of some positions."""
        return self._cells[positions]

    def _guess_centers(self):
        """Run a few steps of k-means on samples spread evenly over the values."""
        n_samples = len(self.order)
        if n_samples < _FEWEST_FOR_CELLS:
            return np.zeros((1, self.X.shape[1]))
        step = max(1, n_samples // _N_SAMPLES_FOR_CENTERS)
        rows = self._centered(self.order[::step])
        n_centers = min(_N_CENTERS, len(rows))
        centers, _ = kmeans_plusplus(rows, n_centers, random_state=0)
        for _ in range(3):
            nearest = (0.5 * (centers**2).sum(axis=1) - rows @ centers.T).argmin(axis=1)
            one_hot = nearest == np.arange(len(centers))[:, None]
            centers = one_hot[one_hot.any(axis=1)] @ rows
            centers /= one_hot.sum(axis=1)[one_hot.any(axis=1), None]
        return centers


@njit(cache=True, nogil=True)
def _center_rows(X, order, positions, mean, scale):
    """Centre and scale as `_centered` does, but without a float64 copy."""
    rows = np.empty((len(positions), X.shape[1]), np.float32)
    for r in range(len(positions)):
        sample = order[positions[r]]
        for k in range(X.shape[1]):
            rows[r, k] = (X[sample, k] - mean[k]) * scale
    return rows


def _power_of_two_scale(X, mean):
    """Return a power of two: it changes no digit, and float32 does not overflow."""
    largest = max((X.max(axis=0) - mean).max(), (mean - X.min(axis=0)).max())
    return 2.0 ** -np.ceil(np.log2(largest)) if largest > 0 else 1.0


def _voronoi(rows, norms, centers):
    """Return lower bounds on the depths of samples, and their cells.

    A depth is how far a sample is from the plane between its cell and each other one,
    less the rounding error; minus infinity for its own cell.
    """
    center_norms = np.einsum("ij,ij->i", centers, centers)
    # Half the squared distance to each centre, but for a term of the sample alone.
    potentials = 0.5 * center_norms - rows @ centers.T
    cells = potentials.argmin(axis=1)
    gaps = np.linalg.norm(centers[:, None] - centers[None], axis=2)[cells]
    error = 1e-10 * (norms + center_norms.max())
    depths = potentials - (potentials[np.arange(len(cells)), cells] + error)[:, None]
    with np.errstate(divide="ignore", invalid="ignore"):
        depths /= gaps
    # They are kept in float32.
    depths -= 1e-7 * np.abs(depths)
    # Its own cell, and centres that coincide, have no plane between them.
    depths[gaps == 0] = -np.inf
    return depths, cells
