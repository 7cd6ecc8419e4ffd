"""Connections of samples by pairs that are too many to be listed.

Where the distance is large, most samples are connected already by pairs that are known.
Then only pairs of samples in different components tell anything new, and the first that
is found joins two of them. What is looked at, and never kept: the samples of one
component against those of all others that are not too far away, tile by tile.
"""

import numpy as np
from numba import njit

from robustkit.topology._forest import find, join
from robustkit.topology._products import Products, is_within

# Rows and columns of a tile. Few columns: each tile may make the next ones needless.
_N_ROWS = 256
_N_COLUMNS = 512


class FarPairs:
    """The pairs within a distance, by what they connect.

    Parameters
    ----------
    samples : OrderedSamples
        The samples.

    eps : float
        Largest distance of a pair.

    ends : ndarray of shape (n_samples,)
        Position i has no pair with those from ``ends[i]`` on. Ascending.

    is_vertex : ndarray of shape (n_samples,), dtype=bool
        The positions whose pairs are looked at.
    """

    def __init__(self, samples, eps, ends, is_vertex):
        self._samples = samples
        self._eps = float(eps)
        self._ends = ends
        self._is_vertex = is_vertex

    def connect(self, windows, k, forest):
        """Complete the forest of a window.

        Parameters
        ----------
        windows : Windows
            The windows.

        k : int
            The window. The forest of the one before was complete.

        forest : ndarray of shape (2, n_edges)
            Of each cycle it lacks the pair that leaves the windows first. The smaller
            positions come first, and descend.

        Returns
        -------
        forest : ndarray of shape (2, n_edges)
            The same with all pairs of the window in mind.

        parents : ndarray of shape (stop - start,)
            Follow it, from ``position - start``, to what stands for a component.
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
        roots = find_all(parents, rows - start)
        ordered = np.lexsort((self._samples.cell_of(rows), roots))
        for begin in range(0, len(rows), _N_ROWS):
            tile = np.sort(rows[ordered[begin : begin + _N_ROWS]])
            edges.append(self._connect_tile(tile, columns, start, parents))
        return np.concatenate(edges, axis=1)

    def _connect_tile(self, rows, columns, start, parents):
        samples, n_edges = self._samples, 0
        edges = np.empty((2, len(rows) + len(columns)), dtype=np.int32)
        left = columns[: np.searchsorted(columns, self._ends[rows[-1]])]
        left = elsewhere(parents, rows - start, left - start) + start
        if len(left):
            left = left[samples.may_be_near(rows, left, self._eps)]
        if len(left) == 0:
            return edges[:, :0]
        near = Products(samples, self._eps, rows)
        while len(left):
            some, left = left[:_N_COLUMNS], left[_N_COLUMNS:]
            norms = samples.norms[some]
            products = near.with_columns(samples.rows(some), norms.astype(np.float32))
            n_edges = _join_near(
                products, *near.thresholds(norms), rows, some, samples.order,
                samples.X, self._eps**2, start, parents, edges, n_edges,
            )  # fmt: skip
            left = elsewhere(parents, rows - start, left - start) + start
        return edges[:, :n_edges]


def _in_descending_order(edges):
    edges = np.sort(np.concatenate(edges, axis=1), axis=0)
    return edges[:, np.argsort(-edges[0], kind="stable")]


@njit(cache=True, nogil=True)
def find_all(parents, positions):
    """Return what stands for the component of each position."""
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
def _join_near(
    products, sure, possible, rows, columns, order, X, limit, start, parents, edges,
    n_edges,
):  # fmt: skip
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
