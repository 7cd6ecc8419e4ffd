"""Who is whose neighbour: where all pairs are known, and where they are too many."""

from abc import ABC, abstractmethod
from functools import partial

import numpy as np
from numba import njit

from robustkit.topology._far_pairs import FarPairs
from robustkit.topology._forest import SlidingForest
from robustkit.topology._pairs import (
    LARGEST_N_PAIRS,
    Pairs,
    join_pairs,
    touching_pairs,
)

# So many known neighbours of each sample tell most of what is connected.
_FEW = 16


class NeighborGraph(ABC):
    """Who is whose neighbour, asked window by window."""

    @abstractmethod
    def count_neighbors(self, windows, min_samples):
        """Count the neighbours of every position in every window.

        Parameters
        ----------
        windows : Windows
            The windows.

        min_samples : int
            Only counts below it must be exact; the others may be anything from it on.

        Returns
        -------
        counts : ndarray
            An entry for every position in every window; itself counts.
        """

    @abstractmethod
    def components(self, windows, is_vertex):
        """Connect neighbours, window by window.

        Parameters
        ----------
        windows : Windows
            The windows.

        is_vertex : ndarray of shape (n_samples,), dtype=bool
            The positions that are connected.

        Yields
        ------
        parents : ndarray of shape (stop - start,)
            Follow it to what stands for a component.
        """

    @abstractmethod
    def pairs_of(self, windows, is_wanted, counts):
        """List the pairs of neighbours that hold some positions, window by window.

        Parameters
        ----------
        windows : Windows
            The windows.

        is_wanted : ndarray of shape (n_samples,), dtype=bool
            The positions of which a pair must hold at least one.

        counts : ndarray
            Of neighbours: how many pairs to expect.

        Yields
        ------
        pairs : callable
            Returns an iterable of Pairs. Columns may lie behind the window.
        """


class KnownGraph(NeighborGraph):
    """All pairs of neighbours, listed.

    Parameters
    ----------
    pairs : Pairs
        A row for every position.
    """

    def __init__(self, pairs):
        self._pairs = pairs

    def count_neighbors(self, windows, min_samples):
        """Count what is listed."""
        return windows.count_neighbors([self._pairs])

    def components(self, windows, is_vertex):
        """Follow the pairs that are listed."""
        forest = SlidingForest(self._pairs, is_vertex)
        for start, stop in windows.slices:
            yield forest.slide(start, stop)

    def pairs_of(self, windows, is_wanted, counts):
        """Choose from the list."""
        rows, indptr, indices, distances = self._pairs
        chosen = _choose(indptr, indices, windows.ends, is_wanted)
        chosen = Pairs(rows, *chosen, distances[:0])
        for start, stop in windows.slices:
            yield lambda start=start, stop=stop: [chosen.of_rows(start, stop)]


class FarGraph(NeighborGraph):
    """Neighbours within a distance at which the pairs are too many to be listed.

    Parameters
    ----------
    known : Pairs
        Those within some smaller distance, a row for every position.

    samples : OrderedSamples
        The samples.

    eps : float
        The distance.

    ends : ndarray of shape (n_samples,)
        Position i has no neighbours from ``ends[i]`` on.

    n_jobs : int or None, default=None
        Threads.
    """

    def __init__(self, known, samples, eps, ends, n_jobs=None):
        self._known = known
        self._samples = samples
        self._eps = eps
        self._ends = ends
        self._n_jobs = n_jobs

    def count_neighbors(self, windows, min_samples):
        """Count only for those that the known pairs leave unsure."""
        known = _first_of_rows(self._known, max(_FEW, 2 * min_samples))
        counts = windows.count_neighbors([known])
        is_unsure = ~windows.in_all(counts >= min_samples)
        found = self._search(windows, is_unsure, 0, len(is_unsure))
        return np.maximum(counts, windows.count_neighbors(found))

    def components(self, windows, is_vertex):
        """Join what the known pairs leave apart."""
        forest = SlidingForest(_first_of_rows(self._known, _FEW), is_vertex)
        far = FarPairs(self._samples, self._eps, self._ends, is_vertex)
        for k, (start, stop) in enumerate(windows.slices):
            forest.slide(start, stop)
            forest.edges, parents = far.connect(windows, k, forest.edges)
            yield parents

    def pairs_of(self, windows, is_wanted, counts):
        """Search for them, many windows at a time where they fit."""
        for group, fits in _groups(windows, is_wanted, counts):
            span = windows.slices[group[0], 0], windows.slices[group[-1], 1]
            search = partial(self._search, windows, is_wanted, *span)
            if fits:
                pairs = join_pairs(list(search()), len(is_wanted))
                for k in group:
                    part = pairs.of_rows(*windows.slices[k])
                    yield lambda part=part: [part]
            else:
                # One window, and even its pairs are too many: found whenever needed.
                yield search

    def _search(self, windows, is_wanted, start, stop):
        ends = np.minimum(self._ends, windows.ends)
        return touching_pairs(
            self._samples, self._eps, ends, is_wanted, start, stop, self._n_jobs
        )


def _groups(windows, is_wanted, counts):
    """Windows whose pairs may be listed together, and whether they may."""
    group, total = [], 0
    for k, (start, stop) in enumerate(windows.slices):
        counted = windows.part(counts, k)[is_wanted[start:stop]]
        n_pairs = int(counted.sum(dtype=np.int64))
        if group and total + n_pairs > LARGEST_N_PAIRS:
            yield group, total <= LARGEST_N_PAIRS
            group, total = [], 0
        group.append(k)
        total += n_pairs
    yield group, total <= LARGEST_N_PAIRS


def _first_of_rows(pairs, most):
    """Keep the pairs nearest in the order, which are most likely to share windows."""
    n_kept = np.minimum(np.diff(pairs.indptr), most)
    indptr = np.concatenate([[0], np.cumsum(n_kept)])
    shift = np.repeat(pairs.indptr[:-1] - indptr[:-1], n_kept)
    indices = pairs.indices[np.arange(indptr[-1]) + shift]
    return Pairs(pairs.rows, indptr, indices, pairs.distances[:0])


@njit(cache=True, nogil=True)
def _choose(indptr, indices, ends, is_wanted):
    """Keep the pairs that hold a wanted position, and that some window holds."""
    chosen_indptr = np.zeros_like(indptr)
    for i in range(len(indptr) - 1):
        n_chosen = 0
        for k in range(indptr[i], indptr[i + 1]):
            if indices[k] >= ends[i]:
                break
            n_chosen += is_wanted[i] or is_wanted[indices[k]]
        chosen_indptr[i + 1] = chosen_indptr[i] + n_chosen
    chosen = np.empty(chosen_indptr[-1], indices.dtype)
    target = 0
    for i in range(len(indptr) - 1):
        for k in range(indptr[i], indptr[i + 1]):
            if indices[k] >= ends[i]:
                break
            if is_wanted[i] or is_wanted[indices[k]]:
                chosen[target] = indices[k]
                target += 1
    return chosen_indptr, chosen
