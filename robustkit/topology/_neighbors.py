"""DBSCAN in every interval, from neighbours that are searched for only once."""

import copy
import threading
from collections import OrderedDict
from hashlib import blake2b

import numpy as np
from sklearn.utils.parallel import Parallel, delayed

from robustkit.topology._dbscan import NOISE, cluster_interval
from robustkit.topology._ordered_samples import OrderedSamples
from robustkit.topology._pairs import (
    LARGEST_N_PAIRS,
    ends_of_band,
    ends_of_intervals,
    find_pairs,
    pairs_within,
    squared_distances,
)

# Candidates of one piece, where the pairs are too many to be kept.
_PIECE = 2**23

# With more features than this, it is faster to search anew than to measure every pair
# that is kept.
MOST_FEATURES_TO_MEASURE = 64


class Neighbors:
    """The pairs of samples within eps, kept or found again whenever they are needed.

    Parameters
    ----------
    X : ndarray of shape (n_samples, n_features)
        The samples.

    values : ndarray of shape (n_samples,)
        Their filter values.

    slices : ndarray of shape (n_intervals, 2)
        The positions of each interval.

    eps : float
        Largest distance of a pair.

    is_lipschitz : bool
        Whether the filter values of two samples differ by at most their distance.

    for_any_cover : bool, default=False
        Find the pairs that any other cover of the same values would need, too.

    n_jobs : int or None, default=None
        Threads.
    """

    def __init__(
        self, X, values, slices, eps, is_lipschitz, *, for_any_cover=False, n_jobs=None
    ):
        samples = OrderedSamples(X, values)
        n_samples = len(values)
        self.order = samples.order
        self._band = np.full(n_samples, n_samples)
        if is_lipschitz:
            self._band = ends_of_band(samples.values, eps)
        self._pairs = None
        if for_any_cover:
            self._ends = self._band
            self._pairs = find_pairs(
                samples, eps, self._ends, most=LARGEST_N_PAIRS, n_jobs=n_jobs
            )
        if self._pairs is None:
            self._ends = self._needed(slices)
            self._pairs = find_pairs(
                samples, eps, self._ends, most=LARGEST_N_PAIRS, n_jobs=n_jobs
            )
        self._X, self._squared = X, None
        # Too many to be kept: they will be found again whenever they are needed.
        self._search = (samples, eps) if self._pairs is None else None

    def _needed(self, slices):
        return np.minimum(self._band, ends_of_intervals(slices, len(self._band)))

    @property
    def n_pairs(self):
        """How many pairs are kept."""
        return 0 if self._pairs is None else len(self._pairs[1])

    def suffice(self, slices):
        """Whether every pair of every interval of this other cover is kept."""
        return self._pairs is not None and bool(
            (self._ends >= self._needed(slices)).all()
        )

    @property
    def can_be_narrowed(self):
        """Whether the pairs within a smaller distance are found faster among these."""
        return self._pairs is not None and (
            self._X.shape[1] <= MOST_FEATURES_TO_MEASURE
        )

    def within(self, eps):
        """Return the neighbours within a smaller distance.

        Parameters
        ----------
        eps : float
            The distance.

        Returns
        -------
        nearer : Neighbors
            The same as a search would find.
        """
        if self._squared is None:
            self._squared = squared_distances(*self._pairs, self.order, self._X)
        nearer = copy.copy(self)
        nearer._squared = None
        nearer._pairs = pairs_within(
            *self._pairs, self._squared, self.order, self._X, float(eps) ** 2
        )
        return nearer

    def _pieces(self, start, stop):
        """Yield the pairs of one interval, as `cluster_interval` wants them."""
        if self._pairs is not None:
            yield 0, *self._pairs
            return
        ends = np.minimum(self._ends, stop)
        step = max(1, _PIECE // max(1, stop - start))
        for first in range(start, stop, step):
            last = min(first + step, stop)
            yield first, *find_pairs(*self._search, ends, start=first, stop=last)

    def clusters(self, slices, min_samples, n_jobs=None):
        """Cluster every interval.

        Parameters
        ----------
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
        results = Parallel(n_jobs=n_jobs, prefer="threads")(
            delayed(self._cluster)(start, stop, min_samples) for start, stop in slices
        )
        return [cluster for cluster, _ in results], [anchor for _, anchor in results]

    def _cluster(self, start, stop, min_samples):
        roots, is_core = cluster_interval(
            lambda: self._pieces(start, stop), self.order, start, stop, min_samples
        )
        is_member = roots != NOISE
        _, labels = np.unique(roots[is_member], return_inverse=True)
        samples, is_core = self.order[start:stop][is_member], is_core[is_member]
        return (samples, labels), (samples[is_core], labels[is_core])


class NeighborCache:
    """Neighbours already found, shared by an estimator and its clones.

    It is forgotten when an estimator is pickled or deep-copied. The least recently used
    are dropped when there are too many pairs.
    """

    def __init__(self):
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

    def neighbors(self, key, eps, slices, compute):
        """Return neighbours found before that suffice for a cover, or find them now.

        Those within a larger distance hold all that are within this one.
        """
        with self._lock:
            known = self._nearest_known(key, eps, slices)
        if known is not None:
            found_eps, neighbors = known
            return neighbors if found_eps == eps else neighbors.within(eps)
        found = compute()
        if found.n_pairs == 0:
            # Too many to be kept, or none at all.
            return found
        with self._lock:
            self._neighbors[key, eps] = found
            self._neighbors.move_to_end((key, eps))
            while (
                len(self._neighbors) > 1
                and sum(n.n_pairs for n in self._neighbors.values()) > LARGEST_N_PAIRS
            ):
                self._neighbors.popitem(last=False)
        return found

    def _nearest_known(self, key, eps, slices):
        usable = [
            (other_eps, neighbors)
            for (other_key, other_eps), neighbors in self._neighbors.items()
            if other_key == key
            and (other_eps == eps or (other_eps > eps and neighbors.can_be_narrowed))
            and neighbors.suffice(slices)
        ]
        if not usable:
            return None
        nearest = min(usable, key=lambda known: known[0])
        self._neighbors.move_to_end((key, nearest[0]))
        return nearest


def digest(array):
    """Return a few bytes that tell arrays with different content apart."""
    described = blake2b(f"{array.shape} {array.dtype}".encode(), digest_size=16)
    described.update(np.ascontiguousarray(array))
    return described.digest()
