"""DBSCAN on one interval, from pairs that are already known.

The clusters are those of scikit-learn's DBSCAN on the samples of the interval, in the
same order: numbered by their first core sample, and a border sample goes to the first
cluster that reaches it.
"""

import numpy as np
from numba import njit

NOISE = np.iinfo(np.int64).max


def cluster_interval(pairs, order, start, stop, min_samples):
    """Cluster the samples at the positions from start to stop.

    Parameters
    ----------
    pairs : callable
        Returns an iterable of (first position, indptr, indices), pieces of the
        structure that `find_pairs` returns, which together hold every pair of the
        interval. It is called three times, so that the pieces need not be kept.

    order : ndarray of shape (n_samples,)
        The sample at each position.

    start, stop : int
        The interval.

    min_samples : int
        Samples within the distance, itself included, that make a core sample.

    Returns
    -------
    roots : ndarray of shape (stop - start,)
        Position by position, the sample that names the cluster, its first core sample;
        `NOISE` for noise.

    is_core : ndarray of shape (stop - start,), dtype=bool
        The core samples.
    """
    degrees = np.ones(stop - start, dtype=np.int64)
    for piece in pairs():
        _add_degrees(*piece, start, stop, degrees)
    is_core = degrees >= min_samples
    parents = np.arange(stop - start)
    for piece in pairs():
        _join_cores(*piece, start, stop, is_core, order, parents)
    roots = np.full(stop - start, NOISE)
    _name_cores(start, is_core, order, parents, roots)
    for piece in pairs():
        _reach_borders(*piece, start, stop, is_core, roots)
    return roots, is_core


@njit(cache=True, nogil=True)
def _add_degrees(first, indptr, indices, start, stop, degrees):
    for i in range(max(start, first), min(stop, first + len(indptr) - 1)):
        for k in range(indptr[i - first], indptr[i - first + 1]):
            j = indices[k]
            if j >= stop:
                break
            degrees[i - start] += 1
            degrees[j - start] += 1


@njit(cache=True, nogil=True)
def _find(parents, x):
    while parents[x] != x:
        parents[x] = parents[parents[x]]
        x = parents[x]
    return x


@njit(cache=True, nogil=True)
def _join_cores(first, indptr, indices, start, stop, is_core, order, parents):
    for i in range(max(start, first), min(stop, first + len(indptr) - 1)):
        if not is_core[i - start]:
            continue
        root = _find(parents, i - start)
        for k in range(indptr[i - first], indptr[i - first + 1]):
            j = indices[k]
            if j >= stop:
                break
            if not is_core[j - start]:
                continue
            other = _find(parents, j - start)
            if root == other:
                continue
            # The root is the first sample of its cluster, by which it is numbered.
            if order[start + root] < order[start + other]:
                parents[other] = root
            else:
                parents[root] = other
                root = other


@njit(cache=True, nogil=True)
def _name_cores(start, is_core, order, parents, roots):
    for i in range(len(roots)):
        if is_core[i]:
            roots[i] = order[start + _find(parents, i)]


@njit(cache=True, nogil=True)
def _reach_borders(first, indptr, indices, start, stop, is_core, roots):
    for i in range(max(start, first), min(stop, first + len(indptr) - 1)):
        for k in range(indptr[i - first], indptr[i - first + 1]):
            j = indices[k]
            if j >= stop:
                break
            if is_core[i - start] and not is_core[j - start]:
                roots[j - start] = min(roots[j - start], roots[i - start])
            elif is_core[j - start] and not is_core[i - start]:
                roots[i - start] = min(roots[i - start], roots[j - start])
