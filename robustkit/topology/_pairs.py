"""All pairs of samples within a distance, each found once.

The samples are taken in the order of their filter values, where the samples of an
interval are neighbours. Only pairs that some interval holds are looked at, only those
whose filter values differ by at most the distance (where the filter allows that bound),
and only those whose cells are near enough. What is left goes through float32 matrix
products, tile by tile; a pair whose squared distance is too near to the limit for
float32 is measured again in float64.
"""

from typing import NamedTuple

import numpy as np
from joblib import effective_n_jobs
from numba import njit
from sklearn.utils.parallel import Parallel, delayed

from robustkit._sklearn_private import _get_threadpool_controller
from robustkit.topology._products import Products, is_within, rounding_bound

# Pairs that may be kept: 4 bytes each, one more with distances, and as much again while
# they are joined.
LARGEST_N_PAIRS = 40_000_000

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


class Pairs(NamedTuple):
    """Pairs of positions, row by row, each with the larger ones paired with it."""

    rows: np.ndarray
    """The smaller positions, ascending."""

    indptr: np.ndarray
    indices: np.ndarray
    """``indices[indptr[r]:indptr[r + 1]]`` are paired with ``rows[r]``, ascending."""

    distances: np.ndarray
    """Squared and of scaled samples. A search gives float32; of what is kept there are
    only the uint8 levels, in steps of `level_step`. Empty if nobody asked."""

    def of_rows(self, start, stop):
        """Return the pairs of some rows.

        Parameters
        ----------
        start, stop : int
            Which ones.

        Returns
        -------
        pairs : Pairs
            Views.
        """
        some = slice(start, stop + 1)
        return Pairs(self.rows[start:stop], self.indptr[some], *self[2:])


def find_pairs(
    samples, eps, ends, *, most=np.inf, with_distances=False, n_jobs=None
):  # fmt: skip
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

    most : float, default=inf
        Give up as soon as there are more pairs than this.

    with_distances : bool, default=False
        Keep the levels of the distances, too.

    n_jobs : int or None, default=None
        Threads.

    Returns
    -------
    pairs : Pairs or None
        A row for every position. None where there are too many pairs.
    """
    found, n_pairs = [], 0
    for pairs in search_pairs(
        samples, eps, ends, with_distances=with_distances, n_jobs=n_jobs
    ):
        levels = _as_levels(pairs.distances, level_step(samples, eps))
        found.append(pairs._replace(distances=levels))
        n_pairs += len(pairs.indices)
        if n_pairs > most:
            return None
    return join_pairs(found, len(ends), with_distances)


def search_pairs(
    samples, eps, ends, *, rows=None, columns=None, with_distances=False, n_jobs=None
):  # fmt: skip
    """Search for the pairs of positions within a distance, a few at a time.

    Parameters
    ----------
    samples : OrderedSamples
        The samples.

    eps : float
        Largest distance of a pair.

    ends : ndarray of shape (n_samples,)
        Position i is paired with those from i + 1 up to but not including ``ends[i]``.
        Ascending.

    rows, columns : ndarray of shape (n_samples,), dtype=bool, default=None
        The smaller and the larger positions that are looked at; None means all.

    with_distances : bool, default=False
        Keep the distances, too.

    n_jobs : int or None, default=None
        Threads.

    Yields
    ------
    pairs : Pairs
        Of some of the rows. A row may come several times, a pair only once.
    """
    split = samples.cells(eps)
    # The longest row decides how many rows may be looked at together.
    longest = max(int((ends - np.arange(len(ends))).max()), 1)
    tasks = list(
        _tasks(*split, rows, columns, _at_most(_N_CANDIDATES_OF_TASK, longest))
    )
    parallel = Parallel(n_jobs=n_jobs, prefer="threads")
    search = delayed(_pairs_of_rows)
    for batch in _batches(len(tasks), effective_n_jobs(n_jobs)):
        # Tiles are too small to be shared out among threads again.
        with _get_threadpool_controller().limit(limits=1, user_api="blas"):
            # So many tasks are handed out before whoever asks can give up.
            found = parallel(
                search(samples, eps, ends, split, with_distances, *task)
                for task in tasks[batch]
            )
        for blocks in found:
            yield from blocks


def touching_pairs(samples, eps, ends, is_wanted, start, stop, n_jobs=None):
    """Search for the pairs that hold some positions, a few at a time.

    Parameters
    ----------
    samples : OrderedSamples
        The samples.

    eps : float
        Largest distance of a pair.

    ends : ndarray of shape (n_samples,)
        Position i is paired with those from i + 1 up to but not including ``ends[i]``.

    is_wanted : ndarray of shape (n_samples,), dtype=bool
        The positions of which a pair must hold at least one.

    start, stop : int
        The positions of both lie between.

    n_jobs : int or None, default=None
        Threads.

    Yields
    ------
    pairs : Pairs
        Of some of the rows. A row may come several times, a pair only once.
    """
    ends = np.minimum(ends, stop)
    wanted, others = np.zeros((2, len(is_wanted)), dtype=bool)
    wanted[start:stop] = is_wanted[start:stop]
    others[start:stop] = ~is_wanted[start:stop]
    for rows, columns in ((wanted, None), (others, wanted)):
        yield from search_pairs(
            samples, eps, ends, rows=rows, columns=columns, n_jobs=n_jobs
        )


def _batches(n, size):
    return [slice(start, min(start + size, n)) for start in range(0, n, size)]


def _at_most(n_candidates, longest):
    return min(max(n_candidates // longest, 1), _N_ROWS_OF_TASK)


def _tasks(cells, is_shallow, rows, columns, n_rows):
    """Which rows to compare with which columns, so that no pair is forgotten."""
    for cell in range(is_shallow.shape[1]):
        is_inside = cells == cell
        inside = np.flatnonzero(is_inside)
        both = np.flatnonzero(is_shallow[:, cell])
        outside = both[~is_inside[both]]
        for left, right in ((inside, both), (outside, inside)):
            if rows is not None:
                left = left[rows[left]]
            if columns is not None:
                right = right[columns[right]]
            for batch in _batches(len(left), n_rows):
                yield cell, left[batch], right


def join_pairs(pieces, n_samples, with_distances=False):
    """Join what a search found.

    Parameters
    ----------
    pieces : list of Pairs
        In any order. Each is let go once it is copied.

    n_samples : int
        How many positions there are.

    with_distances : bool, default=False
        Whether they hold distances.

    Returns
    -------
    pairs : Pairs
        A row for every position.
    """
    degrees, n_pieces = np.zeros((2, n_samples), np.int64)
    for rows, indptr, *_ in pieces:
        degrees[rows] += np.diff(indptr)
        n_pieces[rows] += np.diff(indptr) > 0
    indptr = np.concatenate([[0], np.cumsum(degrees)])
    indices = np.empty(indptr[-1], dtype=np.int32)
    levels = np.empty(indptr[-1] if with_distances else 0, dtype=np.uint8)
    targets = indptr[:-1].copy()
    while pieces:
        rows, *piece = pieces.pop()
        _copy_rows(rows, *piece, targets, indices, levels)
    _sort_rows(np.flatnonzero(n_pieces > 1), indptr, indices, levels)
    return Pairs(np.arange(n_samples), indptr, indices, levels)


@njit(cache=True, nogil=True)
def _copy_rows(rows, indptr, columns, distances, targets, indices, levels):
    for r in range(len(rows)):
        target, count = targets[rows[r]], indptr[r + 1] - indptr[r]
        indices[target : target + count] = columns[indptr[r] : indptr[r + 1]]
        if len(levels) > 0:
            levels[target : target + count] = distances[indptr[r] : indptr[r + 1]]
        targets[rows[r]] += count


@njit(cache=True, nogil=True)
def _sort_rows(rows, indptr, indices, levels):
    for row in rows:
        start, stop = indptr[row], indptr[row + 1]
        order = np.argsort(indices[start:stop])
        indices[start:stop] = indices[start:stop][order]
        if len(levels) > 0:
            levels[start:stop] = levels[start:stop][order]


def _pairs_of_rows(samples, eps, ends, split, with_distances, cell, rows, columns):
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
                samples, eps, split, with_distances, cell, rows[batch], some, vectors,
                first[batch], last[batch],
            )  # fmt: skip
            blocks.append(Pairs(rows[batch], *found))
    return blocks


def _pairs_of_block(
    samples, eps, split, with_distances, cell, rows, columns, vectors, first, last
):  # fmt: skip
    """List the pairs of each row, row by row."""
    begin, end = int(first[0]), int(last.max())
    near = Products(samples, eps, rows)
    column_norms = samples.norms[columns[begin:end]]
    sure, possible = near.thresholds(column_norms)
    column_norms = column_norms.astype(np.float32)
    buffers = [np.empty(0, dtype) for dtype in (np.int16, np.int32, np.float32)]
    n_found = 0
    for left in range(begin, end, _N_COLUMNS):
        right = min(left + _N_COLUMNS, end)
        products = near.with_columns(
            vectors[left:right], column_norms[left - begin : right - begin]
        )
        if n_found + products.size > len(buffers[0]):
            capacity = 2 * (n_found + products.size)
            sizes = capacity, capacity, capacity if with_distances else 0
            buffers = [
                _grown(buffer, min(n_found, size), size)
                for buffer, size in zip(buffers, sizes, strict=True)
            ]
        n_found = _scan_tile(
            products, sure, possible, first - left, last - left, rows,
            columns[left:right], samples.order, samples.X, float(eps) ** 2, *split,
            cell, *buffers, n_found,
        )  # fmt: skip
    found_rows, found_columns, squared = (buffer[:n_found] for buffer in buffers)
    if with_distances:
        squared += near.norms.astype(np.float32)[found_rows]
    return _group_by_row(found_rows, found_columns, squared, len(rows))


def _grown(buffer, n_used, capacity):
    larger = np.empty(capacity, buffer.dtype)
    larger[:n_used] = buffer[:n_used]
    return larger


@njit(cache=True, nogil=True)
def _scan_tile(
    products, sure, possible, first, last, rows, positions, order, X, limit, cells,
    is_shallow, cell, found_rows, found_columns, found_products, n_found,
):  # fmt: skip
    for i in range(products.shape[0]):
        for j in range(max(0, first[i]), min(products.shape[1], last[i])):
            if products[i, j] > possible[i]:
                continue
            row, column = rows[i], positions[j]
            if not _is_ours(row, column, cells, is_shallow, cell):
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
def _is_ours(row, column, cells, is_shallow, cell):
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


def level_step(samples, eps):
    """Return the difference between two levels of squared distances up to eps.

    Parameters
    ----------
    samples : OrderedSamples
        The samples.

    eps : float
        The largest distance.

    Returns
    -------
    step : float
        Positive. Level k is for k steps and less than k + 1 of them.
    """
    return max((float(eps) * samples.scale) ** 2 / 255, np.finfo(np.float64).tiny)


def _as_levels(squared, step):
    # Rounding may have left a distance below 0, or above the largest one.
    return np.clip(squared / step, 0, 255).astype(np.uint8)


def pairs_within(pairs, samples, reach, eps):
    """Keep the pairs within a smaller distance.

    Parameters
    ----------
    pairs : Pairs
        A row for every position, with levels.

    samples : OrderedSamples
        The samples.

    reach : float
        The pairs are all those within this distance.

    eps : float
        The smaller distance.

    Returns
    -------
    nearer : Pairs
        Without distances.
    """
    limit, step = (float(eps) * samples.scale) ** 2, level_step(samples, reach)
    tolerance = rounding_bound(samples.X.shape[1], samples.norms.max())
    # What a level or rounding may hide on the other side of the limit is measured.
    n_sure = np.floor((limit - tolerance) / step)
    n_possible = np.floor((limit + tolerance) / step)
    indptr, indices = _narrow(
        *pairs[1:], n_sure, n_possible, samples.order, samples.X, float(eps) ** 2
    )
    return Pairs(pairs.rows, indptr, indices, pairs.distances[:0])


@njit(cache=True, nogil=True)
def _narrow(indptr, indices, levels, n_sure, n_possible, order, X, limit):
    kept_indptr, kept = np.zeros_like(indptr), np.empty_like(indices)
    n_kept = 0
    for position in range(len(indptr) - 1):
        for k in range(indptr[position], indptr[position + 1]):
            if levels[k] <= n_possible and (
                levels[k] < n_sure
                or is_within(X, order[position], order[indices[k]], limit)
            ):
                kept[n_kept] = indices[k]
                n_kept += 1
        kept_indptr[position + 1] = n_kept
    return kept_indptr, kept[:n_kept].copy()
