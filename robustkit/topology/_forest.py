"""What is connected in each of a row of sliding windows, every pair looked at once.

While a window slides on, positions leave it at one end and enter at the other. Of all
pairs seen so far a spanning forest is enough, if of each cycle it leaves out the pair
that leaves the window first: that with the smallest position. So pairs are taken in
descending order of their smaller position, as Kruskal's algorithm does, and window
after window only the forest before and the pairs that have just entered are looked at.
"""

import numpy as np
from numba import njit


class SlidingForest:
    """Spanning forests of the windows, one after the other.

    Parameters
    ----------
    pairs : Pairs
        The edges, with a row for every position.

    is_vertex : ndarray of shape (n_samples,), dtype=bool
        The positions that are vertices; pairs of others are passed over.

    Attributes
    ----------
    edges : ndarray of shape (2, n_edges)
        The forest of the window last seen. The first row, of the smaller positions,
        descends.
    """

    def __init__(self, pairs, is_vertex):
        self.edges = np.empty((2, 0), dtype=np.int32)
        self._pairs = pairs
        self._is_vertex = is_vertex
        self._next = pairs.indptr[:-1].copy()

    def slide(self, start, stop):
        """Go on to the next window.

        Parameters
        ----------
        start, stop : int
            Its positions, neither below that of the window before.

        Returns
        -------
        parents : ndarray of shape (stop - start,)
            Follow it, from ``position - start``, to what stands for a component.
        """
        parents = np.arange(stop - start)
        self.edges = _slide(
            self.edges, self._pairs.indptr, self._pairs.indices, self._next,
            self._is_vertex, start, stop, parents,
        )  # fmt: skip
        return parents


@njit(cache=True, nogil=True)
def find(parents, x):
    """Return what stands for the component of x, and shorten the way to it."""
    while parents[x] != x:
        parents[x] = parents[parents[x]]
        x = parents[x]
    return x


@njit(cache=True, nogil=True)
def join(parents, x, y):
    """Join two components; tell whether they were two."""
    x, y = find(parents, x), find(parents, y)
    parents[max(x, y)] = min(x, y)
    return x != y


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
