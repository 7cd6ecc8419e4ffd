"""Windows that slide over the sorted samples, and what is connected in each.

An interval of filter values holds consecutive positions of the sorted samples: a
window. Windows overlap, so a pair of samples may lie in several of them. Everything
here is computed for all windows at once, or carried on from one window to the next:

* how many neighbours each position has in each window (`Windows.count_neighbors`),
* what is connected in each window, by pairs that are listed (`SlidingForest`), or by
  pairs that are too many to be listed (`UnlistedPairs`).
"""

from collections.abc import Iterable

import numpy as np
from numba import njit
from numpy.typing import ArrayLike, NDArray

from robustkit.topology.neighbors._products import Products
from robustkit.topology.neighbors._search import (
    Pairs,
    SortedSamples,
    Tile,
    is_within,
)

# Rows and columns of a tile. Few columns: each tile may make the next ones needless.
_N_ROWS = 256
_N_COLUMNS = 512

# Rows whose tiles are chosen together: consecutive, so that the band of the filter
# excludes columns.
_N_ROWS_OF_CHUNK = 4096


def ends_of_band(values: NDArray, eps: float) -> NDArray:
    """Return where the values end that are larger by at most eps.

    The values ascend, and must not differ by more than the distance of their samples:
    then only positions below ``ends[i]`` can be within eps of position i.
    """
    # The slack is more than the rounding errors of two values and of a distance.
    slack = 1e-9 * (eps + np.abs(values).max())
    return np.searchsorted(values, values + (eps + slack), side="right")


class Windows:
    """The windows of a cover, and which of them hold each position.

    Windows may overlap; the starts ascend, and so do the stops. So the windows of a
    position have consecutive numbers, and of two positions the smaller one's last
    window and the larger one's first one bound the windows that hold both.

    Parameters
    ----------
    slices : ndarray of shape (n_windows, 2)
        Window k holds the positions from ``slices[k, 0]`` up to ``slices[k, 1]``.

    n_samples : int
        How many positions there are.

    Attributes
    ----------
    first, last : ndarray of shape (n_samples,)
        The windows of each position; it lies in none if the last is below the first.

    offsets : ndarray of shape (n_samples + 1,)
        In a flat array with an entry for every position in every window, those of
        position p are ``offsets[p]`` to ``offsets[p + 1]``.
    """

    def __init__(self, slices: ArrayLike, n_samples: int):
        self.slices = np.asarray(slices, dtype=np.int64)
        starts, stops = self.slices.T
        positions = np.arange(n_samples)
        self.first = np.searchsorted(stops, positions, side="right")
        self.last = np.searchsorted(starts, positions, side="right") - 1
        n_windows = np.maximum(self.last - self.first + 1, 0)
        self.offsets = np.concatenate([[0], np.cumsum(n_windows)])

    @property
    def ends(self) -> NDArray:
        """Of the larger positions, only those below it share a window with each."""
        stops = self.slices[self.last, 1]
        return np.where(self.last < self.first, np.arange(len(stops)), stops)

    def newest_starts(self, k: int) -> NDArray:
        """Return the first position of the windows from k on that meet window k."""
        start, stop = self.slices[k]
        starts = np.unique(self.slices[k:, 0])
        return starts[(start <= starts) & (starts < stop)]

    def part(self, flat: NDArray, k: int) -> NDArray:
        """Return the entries of window k, position by position, from a flat array."""
        positions = np.arange(*self.slices[k])
        return flat[self.offsets[positions] + k - self.first[positions]]

    def count_neighbors(self, pieces: Iterable[Pairs]) -> NDArray:
        """Count the neighbours of every position in every window, itself included.

        `pieces` hold each pair of neighbours once. The counts are a flat array.
        """
        steps = np.zeros(self.offsets[-1], dtype=np.int32)
        starts, stops = self.slices.T.copy()
        for rows, indptr, indices, _ in pieces:
            _add_steps(
                rows, indptr, indices, starts, stops, self.first, self.last,
                self.offsets, steps,
            )  # fmt: skip
        _sum_steps(self.offsets, steps)
        return steps

    def in_all(self, flags: NDArray) -> NDArray:
        """Whether each position has the flag, of a flat array, in all of its windows.

        True also for positions in no window.
        """
        n_lacking = np.concatenate([[0], np.cumsum(~flags)])
        return np.diff(n_lacking[self.offsets]) == 0


@njit(cache=True, nogil=True)
def _add_steps(
    rows, indptr, indices, starts, stops, first, last, offsets, steps
):  # fmt: skip
    """Add each pair where the windows that hold both begin, and undo it behind them."""
    for r in range(len(rows)):
        i = rows[r]
        window = first[i]
        if window > last[i]:
            continue
        end = stops[last[i]]
        behind = starts[last[i] + 1] if last[i] + 1 < len(starts) else end
        for k in range(indptr[r], indptr[r + 1]):
            j = indices[k]
            if j >= end:
                break
            while j >= stops[window]:
                window += 1
            # Windows from this one to the last one of i hold both.
            steps[offsets[i] + window - first[i]] += 1
            steps[offsets[j]] += 1
            if j >= behind:
                steps[offsets[j] + last[i] + 1 - window] -= 1


@njit(cache=True, nogil=True)
def _sum_steps(offsets, steps):
    for position in range(len(offsets) - 1):
        count = 1
        for k in range(offsets[position], offsets[position + 1]):
            count += steps[k]
            steps[k] = count


@njit(cache=True, nogil=True)
def find(parents, x):
    """Return the representative of x's component, and shorten the path to it."""
    while parents[x] != x:
        parents[x] = parents[parents[x]]
        x = parents[x]
    return x


@njit(cache=True, nogil=True)
def join(parents, x, y):
    """Join two components; return whether they were two."""
    x, y = find(parents, x), find(parents, y)
    parents[max(x, y)] = min(x, y)
    return x != y


class SlidingForest:
    """Spanning forests of the windows, one after the other.

    While a window slides on, positions leave it at one end and enter at the other. Of
    all pairs seen so far a spanning forest is enough, if of each cycle it leaves out
    the pair that leaves the window first: that with the smallest position. So pairs are
    taken in descending order of their smaller position, as in Kruskal's algorithm, and
    window after window only the previous forest and the pairs that have just entered
    are looked at.

    Parameters
    ----------
    pairs : Pairs
        The edges, with a row for every position.

    is_vertex : ndarray of shape (n_samples,), dtype=bool
        The positions that are vertices; pairs of others are passed over.

    Attributes
    ----------
    edges : ndarray of shape (2, n_edges)
        The forest of the last window. The first row, of the smaller positions,
        descends.
    """

    def __init__(self, pairs: Pairs, is_vertex: NDArray):
        self.edges = np.empty((2, 0), dtype=np.int32)
        self._pairs = pairs
        self._is_vertex = is_vertex
        self._next = pairs.indptr[:-1].copy()

    def slide(self, start: int, stop: int) -> NDArray:
        """Go on to the next window, whose start and stop are not below the last ones.

        Returns the parents of its positions: follow them, from ``position - start``, to
        the representative of a component.
        """
        parents = np.arange(stop - start)
        self.edges = _slide(
            self.edges, self._pairs.indptr, self._pairs.indices, self._next,
            self._is_vertex, start, stop, parents,
        )  # fmt: skip
        return parents


@njit(cache=True, nogil=True)
def _slide(forest, indptr, indices, next_pair, is_vertex, start, stop, parents):
    edges = np.empty((2, max(stop - start, 1)), np.int32)
    n_edges = n_old = 0
    for i in range(stop - 1, start - 1, -1):
        while n_old < forest.shape[1] and forest[0, n_old] == i:
            j = forest[1, n_old]
            n_old += 1
            if join(parents, i - start, j - start):
                edges[0, n_edges], edges[1, n_edges] = i, j
                n_edges += 1
        if not is_vertex[i]:
            continue
        k, root = next_pair[i], find(parents, i - start)
        while k < indptr[i + 1] and indices[k] < stop:
            j = indices[k]
            k += 1
            if is_vertex[j] and find(parents, j - start) != root:
                join(parents, root, j - start)
                root = find(parents, root)
                edges[0, n_edges], edges[1, n_edges] = i, j
                n_edges += 1
        next_pair[i] = k
    return edges[:, :n_edges].copy()


class UnlistedPairs:
    """The pairs within a distance at which they are too many to be listed.

    Where the distance is large, most samples are already connected by pairs that are
    known. Then only pairs of samples in different components are news, and the first
    one found joins two components. The samples of one component are compared with
    those of all others that are not too far away, tile by tile; no pair is kept.

    Parameters
    ----------
    samples : SortedSamples
        The samples.

    eps : float
        Largest distance of a pair.

    ends : ndarray of shape (n_samples,)
        Position i has no pair with those from ``ends[i]`` on. Ascending.

    is_vertex : ndarray of shape (n_samples,), dtype=bool
        The positions whose pairs are looked at.
    """

    def __init__(
        self, samples: SortedSamples, eps: float, ends: NDArray, is_vertex: NDArray
    ):
        self._samples = samples
        self._eps = float(eps)
        self._ends = ends
        self._is_vertex = is_vertex

    def connect(
        self, windows: Windows, k: int, forest: NDArray
    ) -> tuple[NDArray, NDArray]:
        """Complete the forest of window k; that of the window before was complete.

        Of each cycle the forest lacks the pair that leaves the windows first. The
        smaller positions come first, and descend. Returns the forest of all pairs of
        the window, and the parents of its positions, as `SlidingForest.slide` does.
        """
        start, stop = windows.slices[k]
        entered = start if k == 0 else max(start, windows.slices[k - 1, 1])
        parents, edges = np.arange(stop - start), [forest[:, :0]]
        # The windows to come do not tell positions between two starts apart.
        bounds = np.append(windows.newest_starts(k), stop)
        for low, high in zip(bounds[-2::-1], bounds[:0:-1], strict=True):
            first, last = np.searchsorted(-forest[0], [-high, -low], side="right")
            edges.append(_join_known(forest[:, first:last], start, parents))
            columns = self._vertices(max(entered, low), stop)
            found = self._connect(self._vertices(low, high), columns, start, parents)
            # Those found leave with the rows between the two starts.
            edges.append(found)
        return _in_descending_order(edges), parents

    def _vertices(self, start, stop):
        return start + np.flatnonzero(self._is_vertex[start:stop])

    def _connect(self, rows, columns, start, parents):
        """Join what some rows and columns have in different components."""
        edges = [np.empty((2, 0), dtype=np.int32)]
        for some, others in self._groups(rows, columns, start, parents):
            for begin in range(0, len(some), _N_ROWS_OF_CHUNK):
                chunk = some[begin : begin + _N_ROWS_OF_CHUNK]
                for tile, near in self._tiles(chunk, others):
                    edges.append(self._connect_tile(tile, near, start, parents))
        return np.concatenate(edges, axis=1)

    def _groups(self, rows, columns, start, parents):
        """Yield rows of one cell, and the columns that they may be connected with.

        The rows of a large component and one cell are a group. All other rows of a cell
        are together, and are compared with all columns. Where both of a pair are rows
        and columns, one of the two ways to compare them is left out.
        """
        if len(rows) == 0 or len(columns) == 0:
            return
        cells = self._samples.cell_of(rows)
        roots = find_all(parents, rows - start)
        column_roots = find_all(parents, columns - start)
        # Columns up to the last row are rows, too; rows from the first column on are
        # columns.
        n_both = np.searchsorted(columns, rows[-1], side="right")
        first_column = columns[0]
        ordered = np.lexsort((cells, roots))
        rows, cells, roots = rows[ordered], cells[ordered], roots[ordered]
        is_first = np.ones(len(rows), dtype=bool)
        is_first[1:] = (roots[1:] != roots[:-1]) | (cells[1:] != cells[:-1])
        bounds = np.append(np.flatnonzero(is_first), len(rows))
        is_large = np.diff(bounds) >= _N_ROWS
        is_grouped = np.repeat(is_large, np.diff(bounds))
        # A column that is no row is looked at by all groups, one in a group itself by
        # those of a smaller root, and another row by none.
        looked_at_by = np.full(len(columns), len(parents))
        flags = np.zeros(len(parents), dtype=bool)
        flags[rows[is_grouped] - start] = True
        both = np.flatnonzero(flags[columns[:n_both] - start])
        looked_at_by[:n_both] = -1
        looked_at_by[both] = column_roots[both]
        for first, last in zip(
            bounds[:-1][is_large], bounds[1:][is_large], strict=True
        ):
            group, root = rows[first:last], roots[first]
            is_other = column_roots != root
            is_old = group < first_column
            yield group[is_old], columns[is_other]
            yield group[~is_old], columns[is_other & (looked_at_by > root)]
        rows, cells = rows[~is_grouped], cells[~is_grouped]
        for cell in np.unique(cells):
            yield np.sort(rows[cells == cell]), columns

    def _tiles(self, rows, columns):
        """Yield some rows of a cell and columns that may be near, the nearest first.

        Of two samples in different cells the depths add up to less than their distance.
        """
        samples, limit = self._samples, self._eps * self._samples.scale
        is_in_band = (columns < self._ends[rows[-1]]) & (self._ends[columns] > rows[0])
        columns = columns[is_in_band]
        depths = samples.depths(rows)
        cells = samples.cell_of(columns)
        nearest = depths.min(axis=0)
        bounds = nearest[cells] + samples.depths(columns, samples.cell_of(rows[:1])[0])
        is_near = bounds <= limit
        columns, cells, bounds = columns[is_near], cells[is_near], bounds[is_near]
        ordered = np.lexsort((bounds, cells))
        columns, cells, bounds = columns[ordered], cells[ordered], bounds[ordered]
        firsts = np.flatnonzero(np.diff(cells, prepend=-1))
        lasts = np.append(firsts[1:], len(cells))
        for piece in np.argsort(bounds[firsts], kind="stable"):
            first, last = firsts[piece], lasts[piece]
            beyond = depths[:, cells[first]] - nearest[cells[first]]
            by_depth = np.argsort(beyond, kind="stable")
            beyond = beyond[by_depth]
            n_rows = np.searchsorted(beyond, limit - bounds[first], side="right")
            for begin in range(0, n_rows, _N_ROWS):
                tile = by_depth[begin : min(begin + _N_ROWS, n_rows)]
                n_near = np.searchsorted(
                    bounds[first:last], limit - beyond[begin], side="right"
                )
                yield np.sort(rows[tile]), columns[first : first + n_near]

    def _connect_tile(self, rows, left, start, parents):
        samples, n_edges = self._samples, 0
        edges = np.empty((2, len(rows) + len(left)), dtype=np.int32)
        left = elsewhere(parents, rows - start, left - start) + start
        if len(left) == 0:
            return edges[:, :0]
        near = Products(samples, self._eps, rows)
        exact = samples.exact_distance(self._eps)
        while len(left):
            some, left = np.sort(left[:_N_COLUMNS]), left[_N_COLUMNS:]
            norms = samples.norms[some]
            products = near.with_columns(samples.rows(some), norms.astype(np.float32))
            tile = Tile(products, *near.thresholds(norms), rows, some)
            n_edges = _join_near(tile, exact, start, parents, edges, n_edges)
            left = elsewhere(parents, rows - start, left - start) + start
        return edges[:, :n_edges]


def _in_descending_order(edges):
    edges = np.sort(np.concatenate(edges, axis=1), axis=0)
    return edges[:, np.argsort(-edges[0], kind="stable")]


@njit(cache=True, nogil=True)
def find_all(parents, positions):
    """Return the representative of the component of each position."""
    roots = np.empty_like(positions)
    for k in range(len(positions)):
        roots[k] = find(parents, positions[k])
    return roots


@njit(cache=True, nogil=True)
def elsewhere(parents, rows, columns):
    """Keep the columns that some row is not yet connected with."""
    root = find(parents, rows[0])
    for row in rows:
        if find(parents, row) != root:
            return columns
    is_left = np.empty(len(columns), np.bool_)
    for k in range(len(columns)):
        is_left[k] = find(parents, columns[k]) != root
    return columns[is_left]


@njit(cache=True, nogil=True)
def _join_known(forest, start, parents):
    edges, n_edges = np.empty_like(forest), 0
    for k in range(forest.shape[1]):
        i, j = forest[0, k], forest[1, k]
        if join(parents, i - start, j - start):
            edges[0, n_edges], edges[1, n_edges] = i, j
            n_edges += 1
    return edges[:, :n_edges]


@njit(cache=True, nogil=True)
def _join_near(tile, exact, start, parents, edges, n_edges):
    products, sure, possible, rows, columns = tile
    X, order, limit = exact
    for a in range(len(rows)):
        i = rows[a]
        root = find(parents, i - start)
        for b in range(len(columns)):
            if products[a, b] > possible[a]:
                continue
            j = columns[b]
            if find(parents, j - start) == root:
                continue
            if products[a, b] <= sure[a] or is_within(X, order[i], order[j], limit):
                join(parents, i - start, j - start)
                root = find(parents, i - start)
                edges[0, n_edges], edges[1, n_edges] = i, j
                n_edges += 1
    return n_edges
