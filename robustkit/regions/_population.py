"""Who lives in which region: counts by class, and what a class looks like at home."""

import numpy as np
from numba import njit

from robustkit.regions._region_table import RegionTable, pack_signs, writeable

__all__ = ["Population"]

# Numbers kept for the mean features of all (class, region) pairs together: 128 MiB.
# This bounds what a stream can make us hold beyond the regions themselves.
_MAX_SUMS = 2**24


class Population:
    """Regions of a stream of labelled samples.

    Parameters
    ----------
    n_classes : int
        Labels are the integers below it.

    Attributes
    ----------
    n_samples : int
        How many were added.

    n_units : int or None
        Width of the patterns; None before the first sample.
    """

    def __init__(self, n_classes):
        self.n_samples = 0
        self.n_units = None
        self._table = None
        self._of_class = [_ClassPopulation() for _ in range(n_classes)]

    @property
    def n_regions(self):
        """How many different regions were met."""
        return 0 if self._table is None else self._table.n_regions

    def add(self, pre_activations, features, y):
        """Count some samples.

        Parameters
        ----------
        pre_activations : ndarray of shape (n_samples, n_units)
            Their signs are the regions.

        features : ndarray of shape (n_samples, n_features)
            What is averaged over the samples of a class in a region.

        y : ndarray of shape (n_samples,)
            Class of each sample.

        Returns
        -------
        ids : ndarray of shape (n_samples,)
            Region of each sample.
        """
        words = pack_signs(pre_activations)
        if self._table is None:
            self.n_units = pre_activations.shape[1]
            self._table = RegionTable(words.shape[1])
        ids = self._table.add(words)
        max_rows = max(1, _MAX_SUMS // (len(self._of_class) * features.shape[1]))
        for label in np.unique(y):
            members = y == label
            self._of_class[label].add(ids[members], features[members], max_rows)
        self.n_samples += len(ids)
        return ids

    def look_up(self, words):
        """Find the regions of packed patterns, -1 for those not met."""
        return self._table.look_up(words)

    def major_regions(self):
        """Find each class's most frequent region; of equals, the one met first.

        Returns
        -------
        ids : ndarray of shape (n_classes,)
            -1 for a class without samples.
        """
        return np.array([one.major_region() for one in self._of_class])

    def major_shares(self):
        """Find the share of each class's samples that live in its major region.

        Returns
        -------
        shares : ndarray of shape (n_classes,)
            NaN for a class without samples.
        """
        return np.array([one.major_share() for one in self._of_class])

    def major_vectors(self):
        """Average the features of each class's samples in its major region.

        Returns
        -------
        vectors : ndarray of shape (n_classes, n_features)
            NaN for a class without samples, and for one whose major region was met
            after more others than are kept track of.
        """
        vectors = [one.major_vector() for one in self._of_class]
        n_features = max(len(vector) for vector in vectors)
        unknown = np.full(n_features, np.nan)
        return np.stack([vector if len(vector) else unknown for vector in vectors])

    def major_signs(self):
        """Read the pattern of each class's major region.

        Returns
        -------
        signs : ndarray of shape (n_classes, n_units)
            1 where a unit is greater than zero, -1 elsewhere; NaN for a class without
            samples.
        """
        majors = self.major_regions()
        bits = self._table.patterns[majors].astype("<u8").view(np.uint8)
        bits = np.unpackbits(bits, axis=1, bitorder="little", count=self.n_units)
        return np.where((majors < 0)[:, np.newaxis], np.nan, 2.0 * bits - 1)

    def census(self):
        """Count the samples of every region.

        Returns
        -------
        counts : ndarray of shape (n_regions,)
            Samples in each region.

        majority : ndarray of shape (n_regions,)
            The class that most of them belong to; of equals, the lowest.

        of_majority : ndarray of shape (n_regions,)
            How many do.
        """
        counts, majority, of_majority = np.zeros((3, self.n_regions), dtype=np.int64)
        for label, one in enumerate(self._of_class):
            counts[one.regions] += one.counts
            more = one.counts > of_majority[one.regions]
            majority[one.regions[more]] = label
            of_majority[one.regions[more]] = one.counts[more]
        return counts, majority, of_majority


class _ClassPopulation:
    """The samples of one class: a count and a sum of features for each region."""

    def __init__(self):
        self.table = RegionTable(1)
        self._counts = np.zeros(64, dtype=np.int64)
        self._sums = None

    def __setstate__(self, state):
        vars(self).update(writeable(state))

    @property
    def regions(self):
        return self.table.patterns[:, 0].astype(np.int64)

    @property
    def counts(self):
        return self._counts[: self.table.n_regions]

    def add(self, ids, features, max_rows):
        rows = self.table.add(ids.astype(np.uint64)[:, np.newaxis])
        self._make_room(features.shape[1], max_rows)
        _count_and_sum(rows, features, self._counts, self._sums)

    def _make_room(self, n_features, max_rows):
        if self._sums is None:
            self._sums = np.zeros((0, n_features))
        n_rows = self.table.n_regions
        with_slack = n_rows * 3 // 2
        if n_rows > len(self._counts):
            self._counts = _grown(self._counts, with_slack)
        if min(n_rows, max_rows) > len(self._sums):
            self._sums = _grown(self._sums, min(with_slack, max_rows))

    def major_row(self):
        return int(self.counts.argmax())

    def major_region(self):
        if not self.table.n_regions:
            return -1
        return int(self.table.patterns[self.major_row(), 0])

    def major_share(self):
        counts = self.counts
        return counts.max() / counts.sum() if len(counts) else np.nan

    def major_vector(self):
        if not self.table.n_regions or self.major_row() >= len(self._sums):
            return np.empty(0)
        row = self.major_row()
        return self._sums[row] / self._counts[row]


def _grown(array, n_rows):
    larger = np.zeros((n_rows, *array.shape[1:]), array.dtype)
    larger[: len(array)] = array
    return larger


@njit(cache=True)
def _count_and_sum(rows, features, counts, sums):
    for i in range(rows.size):
        row = rows[i]
        counts[row] += 1
        if row < sums.shape[0]:
            for j in range(features.shape[1]):
                sums[row, j] += features[i, j]
