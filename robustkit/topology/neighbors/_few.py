"""A few neighbours of every sample, found without comparing it with all others.

Where samples have thousands of neighbours, a few of them tell nearly all that DBSCAN
asks: `min_samples` make a core sample, and a handful connect it with the rest. They are
looked for among the samples of the same Voronoi cell, first among those nearest in the
order, then farther away. A sample that has too few of them is left to the search that
compares it with all.
"""

from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray
from sklearn.utils.parallel import Parallel, delayed

from robustkit._threads import one_blas_thread
from robustkit.topology.neighbors._products import Products
from robustkit.topology.neighbors._search import (
    Pairs,
    SortedSamples,
    is_within,
)
from robustkit.topology.neighbors._windows import Windows

# How far away in the order neighbours are looked for, on both sides.
_REACHES = (256, 2048, 16384)

# Rows and columns of a tile.
_N_ROWS = 256
_N_COLUMNS = 512

# Blocks of rows that a thread gets at a time.
_N_BLOCKS_OF_TASK = 16

# A sample is left alone once it has so many neighbours, itself included, in each of its
# windows: enough to be connected with nearly all others. So many are written down.
_ENOUGH = 6
_N_PARTNERS = 8


class _Found(NamedTuple):
    """What is known of every position so far."""

    counts: NDArray
    """Neighbours in every window, itself included: a flat array of `Windows`."""

    partners: NDArray
    """Some of them; -1 where there are fewer."""


class _Places(NamedTuple):
    """The windows of every position, for compiled loops."""

    first: NDArray
    last: NDArray
    offsets: NDArray


def find_few(
    samples: SortedSamples,
    eps: float,
    windows: Windows,
    is_wanted: NDArray,
    min_samples: int,
    n_jobs: int | None = None,
) -> tuple[NDArray, Pairs]:
    """Look for a few neighbours of the wanted positions.

    Returns how many neighbours of every position in every window were found, itself
    included, as a flat array: a position has at least so many. And pairs of neighbours,
    a row for every position.
    """
    n_samples = len(is_wanted)
    found = _Found(
        np.ones(windows.offsets[-1], dtype=np.int32),
        np.full((n_samples, _N_PARTNERS), -1, dtype=np.int32),
    )
    cells = samples.cell_of(np.arange(n_samples))
    members = [np.flatnonzero(cells == cell) for cell in np.unique(cells)]
    left = is_wanted & (windows.first <= windows.last)
    parallel = Parallel(n_jobs=n_jobs, prefer="threads")
    run = delayed(_search_blocks)
    farthest = np.empty(n_samples, dtype=np.int64)
    for inside in members:
        farthest[inside] = _largest_reach(windows, inside)
    for reach in _REACHES:
        with one_blas_thread():
            parallel(
                run(samples, eps, windows, inside, blocks, reach, min_samples, found)
                for inside in members
                for blocks in _tasks(inside[left[inside]])
            )
        # Farther away, those compared with all of their cell would find no others.
        left &= reach < farthest
        left &= ~windows.in_all(found.counts >= min_samples)
    return found.counts, _as_pairs(found.partners)


def _tasks(rows):
    step = _N_ROWS * _N_BLOCKS_OF_TASK
    for start in range(0, len(rows), step):
        part = rows[start : start + step]
        yield [part[k : k + _N_ROWS] for k in range(0, len(part), _N_ROWS)]


def _largest_reach(windows, members):
    """Return how far each member of a cell is from the last that shares a window."""
    starts, stops = windows.slices.T
    # Those in no window are not looked at.
    first = np.minimum(windows.first[members], len(starts) - 1)
    low = np.searchsorted(members, starts[first])
    high = np.searchsorted(members, stops[windows.last[members]]) - 1
    places = np.arange(len(members))
    return np.maximum(places - low, high - places)


def _search_blocks(samples, eps, windows, members, blocks, reach, min_samples, found):
    for rows in blocks:
        columns = _columns_around(windows, members, rows, reach)
        _search_block(samples, eps, windows, rows, columns, min_samples, found)


def _columns_around(windows, members, rows, reach):
    """Members of the cell that lie around the rows, and in one of their windows."""
    start = windows.slices[windows.first[rows[0]], 0]
    stop = windows.slices[windows.last[rows[-1]], 1]
    low, high = np.searchsorted(members, [start, stop])
    first, last = np.searchsorted(members, [rows[0], rows[-1]])
    return members[max(low, first - reach) : min(high, last + 1 + reach)]


def _search_block(samples, eps, windows, rows, columns, min_samples, found):
    """Compare some rows with tile after tile, until they have enough neighbours."""
    places = _Places(windows.first, windows.last, windows.offsets)
    exact = samples.exact_distance(eps)
    enough = max(min_samples, _ENOUGH)
    _forget(rows, places, *found)
    near = Products(samples, eps, rows)
    middle = np.searchsorted(columns, rows[len(rows) // 2])
    starts = np.arange(0, len(columns), _N_COLUMNS)
    nearest = np.argsort(np.abs(starts + _N_COLUMNS // 2 - middle), kind="stable")
    for start in starts[nearest]:
        some = columns[start : start + _N_COLUMNS]
        norms = samples.norms[some]
        products = near.with_columns(samples.rows(some), norms.astype(np.float32))
        thresholds = near.thresholds(norms)
        is_left = _scan(
            products, *thresholds, rows, some, exact, places, found, enough
        )  # fmt: skip
        n_left = np.count_nonzero(is_left)
        if n_left == 0:
            return
        if n_left <= len(rows) // 2:
            rows = rows[is_left]
            near = Products(samples, eps, rows)


@njit(cache=True, nogil=True)
def _forget(rows, places, counts, partners):
    """Begin anew, so that no neighbour is counted twice."""
    first, last, offsets = places
    for i in rows:
        for k in range(offsets[i], offsets[i] + last[i] - first[i] + 1):
            counts[k] = 1
        partners[i, :] = -1


@njit(cache=True, nogil=True)
def _scan(products, sure, possible, rows, columns, exact, places, found, enough):
    """Count the neighbours of each row among the columns; return who needs more."""
    X, order, limit = exact
    first, last, offsets = places
    counts, partners = found
    is_left = np.zeros(len(rows), np.bool_)
    for a in range(len(rows)):
        i = rows[a]
        n_short = 0
        for k in range(offsets[i], offsets[i] + last[i] - first[i] + 1):
            n_short += counts[k] < enough
        n_partners = 0
        while n_partners < partners.shape[1] and partners[i, n_partners] >= 0:
            n_partners += 1
        # Those behind it first: pairs with them stay longest in the windows.
        begin = np.searchsorted(columns, i + 1)
        for step in range(len(columns)):
            if n_short == 0:
                break
            b = begin + step
            if b >= len(columns):
                b -= len(columns)
            if products[a, b] > possible[a]:
                continue
            j = columns[b]
            lowest, highest = max(first[i], first[j]), min(last[i], last[j])
            if j == i or lowest > highest:
                continue
            if products[a, b] <= sure[a] or is_within(X, order[i], order[j], limit):
                for window in range(lowest, highest + 1):
                    k = offsets[i] + window - first[i]
                    counts[k] += 1
                    n_short -= counts[k] == enough
                if n_partners < partners.shape[1]:
                    partners[i, n_partners] = j
                    n_partners += 1
        is_left[a] = n_short > 0
    return is_left


def _as_pairs(partners):
    """Each pair with a row for its smaller position; some pairs come twice."""
    indptr, indices = _group(partners)
    return Pairs(np.arange(len(partners)), indptr, indices, np.empty(0, np.uint8))


@njit(cache=True, nogil=True)
def _group(partners):
    n_samples, n_partners = partners.shape
    # Sorted by the larger position first, then by the smaller one.
    starts = np.zeros((2, n_samples + 1), np.int64)
    for i in range(n_samples):
        for k in range(n_partners):
            j = partners[i, k]
            if j >= 0:
                starts[0, min(i, j) + 1] += 1
                starts[1, max(i, j) + 1] += 1
    for i in range(n_samples):
        starts[:, i + 1] += starts[:, i]
    indptr = starts[0].copy()
    smaller = np.empty(indptr[-1], np.int32)
    for i in range(n_samples):
        for k in range(n_partners):
            j = partners[i, k]
            if j >= 0:
                smaller[starts[1, max(i, j)]] = min(i, j)
                starts[1, max(i, j)] += 1
    indices = np.empty(indptr[-1], np.int32)
    place = 0
    for larger in range(n_samples):
        while place < starts[1, larger]:
            i = smaller[place]
            indices[starts[0, i]] = larger
            starts[0, i] += 1
            place += 1
    return indptr, indices
