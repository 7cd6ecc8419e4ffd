"""DBSCAN in every interval, from neighbours that are searched for only once."""

import threading
from collections import OrderedDict
from hashlib import blake2b

import numpy as np

from robustkit.topology._dbscan import NOISE, cluster_windows
from robustkit.topology._neighbor_graphs import FarGraph, KnownGraph
from robustkit.topology._ordered_samples import OrderedSamples
from robustkit.topology._pairs import LARGEST_N_PAIRS, ends_of_band, pairs_within
from robustkit.topology._reach import find_within_reach
from robustkit.topology._windows import Windows


class Neighbors:
    """The pairs of samples within a distance, as many of them as can be kept.

    Parameters
    ----------
    X : ndarray of shape (n_samples, n_features)
        The samples.

    values : ndarray of shape (n_samples,)
        Their filter values.

    eps : float
        Keep the pairs within this distance, if they are not too many.

    is_lipschitz : bool
        Whether the filter values of two samples differ by at most their distance.

    slices : ndarray of shape (n_intervals, 2), default=None
        Keep only pairs of samples in one of these intervals, and no distances: then
        other intervals and another `eps` can not be asked for.

    look_ahead : float, default=1
        Keep the pairs within so many times `eps`, or as far as they are not too many.

    most : int, default=LARGEST_N_PAIRS
        Pairs that can be kept.

    n_jobs : int or None, default=None
        Threads.

    Attributes
    ----------
    reach : float
        The distance within which pairs are kept; negative if there are none.
    """

    def __init__(
        self, X, values, eps, is_lipschitz, *, slices=None, look_ahead=1,
        most=LARGEST_N_PAIRS, n_jobs=None,
    ):  # fmt: skip
        self._samples = OrderedSamples(X, values)
        self._is_lipschitz = is_lipschitz
        self._farthest = look_ahead * eps
        ends = self._ends(self._farthest)
        if slices is not None:
            ends = np.minimum(ends, Windows(slices, len(X)).ends)
        self.reach, self._pairs = find_within_reach(
            self._samples, eps, self._farthest, ends, most,
            with_distances=slices is None, n_jobs=n_jobs,
        )  # fmt: skip
        # The pairs within the distance last asked for.
        self._nearer = self.reach, self._pairs

    def _ends(self, eps):
        samples = self._samples
        if self._is_lipschitz:
            return ends_of_band(samples.values, eps)
        return np.full(len(samples.order), len(samples.order))

    @property
    def is_full(self):
        """Whether no larger distance would let more pairs be kept."""
        return self.reach < self._farthest

    @property
    def n_pairs(self):
        """How many pairs are kept."""
        return len(self._pairs.indices)

    def clusters(self, eps, slices, min_samples, n_jobs=None):
        """Cluster every interval.

        Parameters
        ----------
        eps : float
            Largest distance of neighbours.

        slices : ndarray of shape (n_intervals, 2)
            The positions of each interval.

        min_samples : int
            Samples within eps, itself included, that make a core sample.

        n_jobs : int or None, default=None
            Threads.

        Returns
        -------
        clusters, anchors : list of (samples, labels)
            One entry an interval: all samples but the noise; the core samples.
        """
        order = self._samples.order
        windows = Windows(slices, len(order))
        graph = self._graph(eps, n_jobs)
        clusters, anchors = [], []
        found = cluster_windows(graph, windows, order, min_samples)
        for (start, stop), (roots, is_core) in zip(windows.slices, found, strict=True):
            is_member = roots != NOISE
            _, labels = np.unique(roots[is_member], return_inverse=True)
            samples, is_core = order[start:stop][is_member], is_core[is_member]
            clusters.append((samples, labels))
            anchors.append((samples[is_core], labels[is_core]))
        return clusters, anchors

    def _graph(self, eps, n_jobs):
        if eps > self.reach:
            ends = self._ends(eps)
            return FarGraph(self._pairs, self._samples, eps, ends, n_jobs)
        nearer_eps, pairs = self._nearer
        if eps != nearer_eps:
            pairs = pairs_within(self._pairs, self._samples, self.reach, eps)
            self._nearer = eps, pairs
        return KnownGraph(pairs)


class NeighborCache:
    """Neighbours already found, shared by an estimator and its clones.

    It is forgotten when an estimator is pickled or deep-copied.

    Parameters
    ----------
    most : int, default=LARGEST_N_PAIRS
        The least recently used are dropped when there are more pairs than this.

    most_each : int, default=LARGEST_N_PAIRS
        Pairs of one data set that can be kept.

    look_ahead : float, default=1
        Neighbours are found, once and for all, within so many times the distance that
        is asked for first, or as far as they can be kept.
    """

    def __init__(self, most=LARGEST_N_PAIRS, most_each=LARGEST_N_PAIRS, look_ahead=1):
        self.most_each = most_each
        self.look_ahead = look_ahead
        self._most = most
        self._lock = threading.Lock()
        self._neighbors = OrderedDict()
        self._eps = {}

    def __reduce__(self):
        return NeighborCache, ()

    def eps(self, key, compute):
        """Return a distance chosen before, or choose it now."""
        if key not in self._eps:
            self._eps[key] = compute()
        return self._eps[key]

    def neighbors(self, key, eps, compute):
        """Return neighbours found before, or find them now.

        Parameters
        ----------
        key : hashable
            What they are neighbours of.

        eps : float
            The distance that will be asked for.

        compute : callable
            Finds the neighbours.

        Returns
        -------
        neighbors : Neighbors
            They can be asked for this distance.
        """
        with self._lock:
            known = self._neighbors.get(key)
            if known is not None:
                self._neighbors.move_to_end(key)
        if known is not None and (eps <= known.reach or known.is_full):
            return known
        found = compute()
        with self._lock:
            self._neighbors[key] = found
            self._neighbors.move_to_end(key)
            while (
                len(self._neighbors) > 1
                and sum(n.n_pairs for n in self._neighbors.values()) > self._most
            ):
                self._neighbors.popitem(last=False)
        return found


def digest(array):
    """Return a few bytes that tell arrays with different content apart."""
    described = blake2b(f"{array.shape} {array.dtype}".encode(), digest_size=16)
    described.update(np.ascontiguousarray(array))
    return described.digest()
