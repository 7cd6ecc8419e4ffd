"""DBSCAN in every window, from pairs that are searched for only once.

The clusters are those of scikit-learn's DBSCAN on the samples of the window, in the
same order: numbered by their first core sample, and a border sample goes to the first
cluster that reaches it.

Most samples are core samples in each of their windows. What these connect is followed
from window to window; only the pairs of the others are looked at in every window.
"""

import numpy as np
from numba import njit

from robustkit.topology._forest import find, join

NOISE = np.iinfo(np.int64).max


def cluster_windows(graph, windows, order, min_samples):
    """Cluster the samples of every window.

    Parameters
    ----------
    graph : NeighborGraph
        Who is whose neighbour.

    windows : Windows
        The windows.

    order : ndarray of shape (n_samples,)
        The sample at each position.

    min_samples : int
        Neighbours, itself included, that make a core sample.

    Yields
    ------
    roots : ndarray of shape (stop - start,)
        Position by position, the sample that names the cluster, its first core sample;
        `NOISE` for noise.

    is_core : ndarray of shape (stop - start,), dtype=bool
        The core samples.
    """
    counts = graph.count_neighbors(windows, min_samples)
    is_core = counts >= min_samples
    is_always_core = windows.in_all(is_core)
    components = graph.components(windows, is_always_core)
    others = graph.pairs_of(windows, ~is_always_core, counts)
    for k, (start, stop) in enumerate(windows.slices):
        parents, pairs = next(components), next(others)
        is_core_here = windows.part(is_core, k)
        for rows, indptr, indices, _ in pairs():
            _join_cores(rows, indptr, indices, start, stop, is_core_here, parents)
        roots = _name_clusters(order[start:stop], is_core_here, parents)
        borders = roots.copy()
        for rows, indptr, indices, _ in pairs():
            _reach_borders(rows, indptr, indices, start, stop, roots, borders)
        yield borders, is_core_here


@njit(cache=True, nogil=True)
def _join_cores(rows, indptr, indices, start, stop, is_core, parents):
    for r in range(len(rows)):
        i = rows[r] - start
        if not is_core[i]:
            continue
        for k in range(indptr[r], indptr[r + 1]):
            if indices[k] >= stop:
                break
            if is_core[indices[k] - start]:
                join(parents, i, indices[k] - start)


@njit(cache=True, nogil=True)
def _name_clusters(samples, is_core, parents):
    names = np.full(len(samples), NOISE)
    for i in range(len(samples)):
        if is_core[i]:
            root = find(parents, i)
            names[root] = min(names[root], samples[i])
    roots = np.full(len(samples), NOISE)
    for i in range(len(samples)):
        if is_core[i]:
            roots[i] = names[find(parents, i)]
    return roots


@njit(cache=True, nogil=True)
def _reach_borders(rows, indptr, indices, start, stop, roots, borders):
    """Let each sample without a root, which is no core sample, find the first one."""
    for r in range(len(rows)):
        i = rows[r] - start
        for k in range(indptr[r], indptr[r + 1]):
            j = indices[k] - start
            if indices[k] >= stop:
                break
            if roots[j] == NOISE:
                borders[j] = min(borders[j], roots[i])
            elif roots[i] == NOISE:
                borders[i] = min(borders[i], roots[j])
