"""All pairs of samples within a distance, each found once.

The samples are taken in the order of their filter values, where the samples of an
interval are neighbours. Only pairs that some interval holds are looked at, only those
whose filter values differ by at most the distance (where the filter allows that bound),
and only those whose cells are near enough. What is left goes through float32 matrix
products, tile by tile; a pair whose squared distance is too near to the limit for
float32 is measured again in float64.
"""

import numpy as np
from joblib import effective_n_jobs
from numba import njit
from sklearn.utils.parallel import Parallel, delayed

from robustkit._sklearn_private import _get_threadpool_controller

# Pairs that may be kept: 4 bytes each, and as much again while they are joined.
LARGEST_N_PAIRS = 30_000_000

# Rows and columns of a tile: the product and what it is made of stay in the cache.
_N_ROWS = 256
_N_COLUMNS = 2048

# Numbers of the columns that one task holds.
_NUMBERS_OF_TASK = 2**24

# Rows of one task at most: enough of them to use a tile of columns many times.
_N_ROWS_OF_TASK = 4096

# Candidates of one task and of one block at most, in case that all of them are pairs.
_N_CANDIDATES_OF_TASK = 2**24
_N_CANDIDATES_OF_BLOCK = 2**21

_UNIT_ROUNDOFF = 2.0**-24


def ends_of_intervals(slices, n_samples):
    """End of the last interval that holds each position.

    Parameters
    ----------
    slices : ndarray of shape (n_intervals, 2)
        Positions from ``slices[k, 0]`` up to ``slices[k, 1]``, both ascending.

    n_samples : int
        How many positions there are; each lies in some interval.

    Returns
    -------
    ends : ndarray of shape (n_samples,)
        Of the larger positions, only those below it share an interval with this one.
    """
    last = np.searchsorted(slices[:, 0], np.arange(n_samples), side="right") - 1
    return slices[last, 1]


def ends_of_band(values, eps):
    """End of the positions whose value is larger by at most eps.

    Parameters
    ----------
    values : ndarray of shape (n_samples,)
        Filter values, ascending. They must not differ by more than the distance.

    eps : float
        The distance.

    Returns
    -------
    ends : ndarray of shape (n_samples,)
        Of the larger positions, only those below it can be within eps of this one.
    """
    # The slack is more than the rounding errors of two values and of a distance.
    slack = 1e-9 * (eps + np.abs(values).max())
    return np.searchsorted(values, values + (eps + slack), side="right")


def find_pairs(samples, eps, ends, *, start=0, stop=None, most=np.inf, n_jobs=None):
    """Find the pairs of positions within a distance.

    Parameters
    ----------
    samples : OrderedSamples
        The samples.

    eps : float
        Largest distance of a pair.

    ends : ndarray of shape (n_samples,)
        Position i is paired with those from i + 1 up to but not including ``ends[i]``.
        Ascending.

    start, stop : int, default=0, None
        The positions i that are looked at.

    most : float, default=inf
        Give up as soon as there are more pairs than this.

    n_jobs : int or None, default=None
        Threads.

    Returns
    -------
    pairs : tuple (indptr, indices) or None
        Row ``i - start`` of a compressed sparse row structure lists the larger
        positions paired with i, ascending. None where there are too many.
    """
    stop = len(ends) if stop is None else stop
    split = samples.cells(eps)
    # The longest row decides how many rows may be looked at together.
    longest = int((ends - np.arange(len(ends)))[start:stop].max())
    tasks = list(_tasks(*split, start, stop, _at_most(_N_CANDIDATES_OF_TASK, longest)))
    parallel = Parallel(n_jobs=n_jobs, prefer="threads")
    search = delayed(_pairs_of_rows)
    found, n_pairs = [], 0
    # Tiles are too small to be shared out among threads again.
    with _get_threadpool_controller().limit(limits=1, user_api="blas"):
        # So many tasks are handed out before the pairs are counted again.
        for batch in _batches(len(tasks), effective_n_jobs(n_jobs)):
            for blocks in parallel(
                search(samples, eps, ends, split, *task) for task in tasks[batch]
            ):
                found += blocks
                n_pairs += sum(len(columns) for _, _, columns in blocks)
            if n_pairs > most:
                return None
    return _merge(found, start, stop)


def _batches(n, size):
    return [slice(start, min(start + size, n)) for start in range(0, n, size)]


def _at_most(n_candidates, longest):
    return min(max(n_candidates // longest, 1), _N_ROWS_OF_TASK)


def _tasks(cells, is_shallow, start, stop, n_rows):
    """Which rows to compare with which columns, so that no pair is forgotten."""
    for cell in range(is_shallow.shape[1]):
        is_inside = cells == cell
        inside = np.flatnonzero(is_inside)
        both = np.flatnonzero(is_shallow[:, cell])
        outside = both[~is_inside[both]]
        for rows, columns in ((inside, both), (outside, inside)):
            chosen = rows[slice(*np.searchsorted(rows, [start, stop]))]
            for batch in _batches(len(chosen), n_rows):
                yield cell, chosen[batch], columns


def _merge(blocks, start, stop):
    """Join the pairs of all blocks; each block is let go once it is copied."""
    n_rows = stop - start
    degrees, n_blocks = np.zeros(n_rows, np.int64), np.zeros(n_rows, np.int64)
    for rows, counts, _ in blocks:
        degrees[rows - start] += counts
        n_blocks[rows - start] += counts > 0
    indptr = np.concatenate([[0], np.cumsum(degrees)])
    indices = np.empty(indptr[-1], dtype=np.int32)
    targets = indptr[:-1].copy()
    while blocks:
        rows, counts, columns = blocks.pop()
        _copy_rows(rows - start, counts, columns, targets, indices)
    _sort_rows(np.flatnonzero(n_blocks > 1), indptr, indices)
    return indptr, indices


@njit(cache=True, nogil=True)
def _copy_rows(rows, counts, columns, targets, indices):
    source = 0
    for row, count in zip(rows, counts):  # noqa: B905 (numba knows no strict)
        target = targets[row]
        indices[target : target + count] = columns[source : source + count]
        targets[row] += count
        source += count


@njit(cache=True, nogil=True)
def _sort_rows(rows, indptr, indices):
    for row in rows:
        indices[indptr[row] : indptr[row + 1]].sort()


def _pairs_of_rows(samples, eps, ends, split, cell, rows, columns):
    """Pairs of some positions (rows) with any of some larger ones (columns)."""
    begin = np.searchsorted(columns, rows[0], side="right")
    end = np.searchsorted(columns, ends[rows[-1]], side="left")
    blocks = []
    step = max(_N_COLUMNS, _NUMBERS_OF_TASK // samples.X.shape[1])
    for left in range(begin, end, step):
        some = columns[left : min(left + step, end)]
        vectors = samples.rows(some)
        first = np.searchsorted(some, rows, side="right")
        last = np.searchsorted(some, ends[rows], side="left")
        longest = max(int((last - first).max()), 1)
        n_rows = min(_N_ROWS, _at_most(_N_CANDIDATES_OF_BLOCK, longest))
        for batch in _batches(len(rows), n_rows):
            found = _pairs_of_block(
                samples, eps, split, cell, rows[batch], some, vectors, first[batch],
                last[batch],
            )  # fmt: skip
            blocks.append((rows[batch], *found))
    return blocks


def _pairs_of_block(
    samples, eps, split, cell, rows, columns, vectors, first, last
):  # fmt: skip
    """Count the pairs of each row, and list their columns row by row."""
    begin, end = int(first[0]), int(last.max())
    norms = samples.norms[rows]
    column_norms = samples.norms[columns[begin:end]]
    largest = max(norms.max(), column_norms.max(initial=0))
    tolerance = _rounding_bound(samples.X.shape[1], largest)
    limit = (float(eps) * samples.scale) ** 2
    # Thresholds for |y|^2 - 2 x.y: sure up to the first, impossible above the second.
    sure = (limit - tolerance - norms).astype(np.float32)
    possible = (limit + tolerance - norms).astype(np.float32)
    block = samples.rows(rows) * np.float32(-2)
    column_norms = column_norms.astype(np.float32)
    found_rows, found_columns = np.empty(0, np.int16), np.empty(0, np.int32)
    n_found = 0
    for left in range(begin, end, _N_COLUMNS):
        right = min(left + _N_COLUMNS, end)
        products = block @ vectors[left:right].T
        products += column_norms[left - begin : right - begin]
        if n_found + products.size > len(found_rows):
            capacity = 2 * (n_found + products.size)
            found_rows = _grown(found_rows, n_found, capacity)
            found_columns = _grown(found_columns, n_found, capacity)
        n_found = _scan_tile(
            products, sure, possible, first - left, last - left, rows,
            columns[left:right], samples.order, samples.X, float(eps) ** 2, *split,
            cell, found_rows, found_columns, n_found,
        )  # fmt: skip
    return _group_by_row(found_rows[:n_found], found_columns[:n_found], len(rows))


def _grown(buffer, n_used, capacity):
    larger = np.empty(capacity, buffer.dtype)
    larger[:n_used] = buffer[:n_used]
    return larger


def _rounding_bound(n_features, largest):
    """Bound on the error of a squared distance that was computed in float32.

    A product of vectors of squared norm at most R is off by n_features u R, whatever
    the order of its sums (and a little more, to second order); twice that enters. The
    rest holds the rounding of samples, norms and thresholds, and of two sums.
    """
    return (2.2 * n_features + 32) * _UNIT_ROUNDOFF * largest


@njit(cache=True, nogil=True)
def _scan_tile(
    products, sure, possible, first, last, rows, positions, order, X, limit, cells,
    is_shallow, cell, found_rows, found_columns, n_found,
):  # fmt: skip
    for i in range(products.shape[0]):
        for j in range(max(0, first[i]), min(products.shape[1], last[i])):
            if products[i, j] > possible[i]:
                continue
            row, column = rows[i], positions[j]
            if not _is_ours(row, column, cells, is_shallow, cell):
                continue
            if products[i, j] <= sure[i] or _is_within(
                X, order[row], order[column], limit
            ):
                found_rows[n_found] = i
                found_columns[n_found] = column
                n_found += 1
    return n_found


@njit(cache=True, nogil=True)
def _is_ours(row, column, cells, is_shallow, cell):
    """Two cells may both see a pair whose samples are both shallow: one counts it."""
    if cells[row] == cells[column]:
        return True
    inside, other = (row, column) if cells[row] == cell else (column, row)
    return cell < cells[other] or not is_shallow[inside, cells[other]]


@njit(cache=True, nogil=True)
def _is_within(X, i, j, limit):
    return _squared_distance(X, i, j) <= limit


@njit(cache=True, nogil=True)
def _squared_distance(X, i, j):
    total = 0.0
    for k in range(X.shape[1]):
        difference = np.float64(X[i, k]) - np.float64(X[j, k])
        total += difference * difference
    return total


@njit(cache=True, nogil=True)
def _group_by_row(rows, columns, n_rows):
    """Sort by row; the columns of a row keep their order, which is ascending."""
    counts = np.zeros(n_rows, np.int64)
    for row in rows:
        counts[row] += 1
    target = np.zeros(n_rows, np.int64)
    target[1:] = np.cumsum(counts)[:-1]
    grouped = np.empty(len(columns), np.int32)
    for k in range(len(rows)):
        grouped[target[rows[k]]] = columns[k]
        target[rows[k]] += 1
    return counts, grouped


@njit(cache=True, nogil=True)
def squared_distances(indptr, indices, order, X):
    """Measure pairs.

    Parameters
    ----------
    indptr, indices : ndarray
        The pairs of positions, as :func:`find_pairs` returns them.

    order : ndarray of shape (n_samples,)
        The sample at each position.

    X : ndarray of shape (n_samples, n_features)
        The samples.

    Returns
    -------
    squared : ndarray of shape (n_pairs,), dtype=float32
        Squared distances, rounded.
    """
    squared = np.empty(len(indices), np.float32)
    for position in range(len(indptr) - 1):
        i = order[position]
        for k in range(indptr[position], indptr[position + 1]):
            squared[k] = _squared_distance(X, i, order[indices[k]])
    return squared


@njit(cache=True, nogil=True)
def pairs_within(indptr, indices, squared, order, X, limit):
    """Keep the pairs whose squared distance is not above a limit.

    Parameters
    ----------
    indptr, indices : ndarray
        The pairs of positions, as :func:`find_pairs` returns them.

    squared : ndarray of shape (n_pairs,)
        Their squared distances, rounded to float32.

    order : ndarray of shape (n_samples,)
        The sample at each position.

    X : ndarray of shape (n_samples, n_features)
        The samples.

    limit : float
        The limit.

    Returns
    -------
    indptr, indices : ndarray
        The pairs that are left.
    """
    kept_indptr, kept = np.zeros_like(indptr), np.empty_like(indices)
    # What rounding may have moved across the limit is measured again.
    sure, possible = np.float32(limit * (1 - 1e-6)), np.float32(limit * (1 + 1e-6))
    n_kept = 0
    for position in range(len(indptr) - 1):
        for k in range(indptr[position], indptr[position + 1]):
            if squared[k] <= possible and (
                squared[k] < sure
                or _is_within(X, order[position], order[indices[k]], limit)
            ):
                kept[n_kept] = indices[k]
                n_kept += 1
        kept_indptr[position + 1] = n_kept
    return kept_indptr, kept[:n_kept].copy()
