"""Sign patterns of activations as regions: counted, numbered, and by class.

A region is the pattern of units that are greater than zero. `count_regions` counts
those of one array; `RegionTable`, below it, numbers the patterns of a stream, and
`RegionCounts` counts a stream of labelled samples by region and class.
"""

import numpy as np
import torch
from numba import njit
from numpy.typing import ArrayLike, NDArray
from sklearn.utils import check_array

from robustkit._tensors import as_array

# Rows worked on at a time: packed rows stay in the processor's cache, and so little is
# held beyond the input that its size does not matter.
_BLOCK = 4096

_WORD = 64

_HAS_NAN = (
    "The activations contain NaN, which has no sign. Check the model's weights and its "
    "input."
)
_LARGEST_TABLE = np.iinfo(np.uint32).max

# Numbers kept for the mean features of all (class, region) pairs together: 128 MiB.
# This bounds what a stream can make us hold beyond the regions themselves.
_MAX_SUMS = 2**24


def count_regions(activations: ArrayLike | torch.Tensor) -> tuple[NDArray, NDArray]:
    """Find the region of every sample: which units are greater than zero.

    Two samples are in one region if and only if exactly the same units are greater than
    zero. Every bit is compared, so that no two regions are ever taken for one.

    Read more in the :ref:`User Guide <guide_regions>`.

    Parameters
    ----------
    activations : array-like or torch.Tensor of shape (n_samples, n_units)
        Pre-activations of a layer, or what its ReLU made of them, which has the same
        regions; numbers of any kind, or booleans. Zero counts as not greater; NaN is
        refused.

    Returns
    -------
    ids : ndarray of shape (n_samples,), dtype=int64
        Region of each sample. Regions are numbered in the order in which they first
        appear, so that the numbers already given stay as they are when samples follow.

    counts : ndarray of shape (n_regions,), dtype=int64
        Samples in each region, at least one.

    See Also
    --------
    PopulatedRegionScorer : Does this for a layer of a model, in a stream too.
    numpy.unique : Sorts the patterns; the same counts, many times slower.

    Examples
    --------
    >>> from robustkit.regions import count_regions
    >>> ids, counts = count_regions([[0.5, -1.0], [-2.0, 3.0], [0.1, 0.0]])
    >>> ids
    array([0, 1, 0])
    >>> counts
    array([2, 1])
    """
    if torch.is_tensor(activations):
        if _is_packed_there(activations):
            # A bit for each number comes to the host.
            words = pack_signs(activations)
            ids = RegionTable(words.shape[1]).add(words)
            return ids, np.bincount(ids)
        activations = as_array(activations)
    # Only NaN has no sign, and `pack_signs` finds it on its way; a separate check would
    # read everything twice.
    activations = check_array(
        activations, dtype="numeric", ensure_all_finite=False, input_name="activations"
    )
    if activations.dtype.kind not in "bifu":
        raise ValueError(
            "The activations must be numbers. Got an array of dtype "
            f"{activations.dtype} instead."
        )
    table = RegionTable(-(-activations.shape[1] // _WORD))
    table.reserve(len(activations))
    ids = np.empty(len(activations), dtype=np.int64)
    for start in range(0, len(activations), _BLOCK):
        block = slice(start, start + _BLOCK)
        ids[block] = table.add(pack_signs(activations[block]))
    return ids, np.bincount(ids, minlength=table.n_regions)


def _is_packed_there(activations):
    """Whether a device that is not the CPU can do it; all else is looked at here."""
    return (
        activations.device.type != "cpu"
        and activations.ndim == 2
        and activations.numel() > 0
        and not activations.is_complex()
    )


def pack_signs(activations: NDArray | torch.Tensor) -> NDArray:
    """Turn each row of pre-activations, or of booleans, into the bits of its signs.

    Those of a tensor on another device are packed there.

    Bit j % 64 of word j // 64 of the result, uint64 of shape (n_samples,
    ceil(n_units / 64)), says whether unit j is greater than zero. The bits that are
    left over are zero, so equal words mean equal patterns.
    """
    if isinstance(activations, torch.Tensor):
        if _is_packed_there(activations):
            return _pack_there(activations)
        activations = as_array(activations)
    if activations.dtype not in (np.float32, np.float64):
        # Two compiled versions are enough: every other type is turned into one of them,
        # but what is greater than zero must not be rounded to it.
        is_nan = np.isnan(activations)
        activations = (activations > 0).astype(np.float32)
        activations[is_nan] = np.nan
    n_samples, n_units = activations.shape
    words = np.empty((n_samples, -(-n_units // _WORD)), dtype=np.uint64)
    if _pack_signs(np.ascontiguousarray(activations), words):
        raise ValueError(_HAS_NAN)
    return words


def _pack_there(activations):
    n_samples, n_units = activations.shape
    n_words, here = -(-n_units // _WORD), activations.device
    power = torch.ones((), dtype=torch.int64, device=here) << torch.arange(
        _WORD, device=here
    )
    pieces = []
    for block in activations.split(_BLOCK):
        bits = torch.zeros(len(block), n_words * _WORD, dtype=torch.bool, device=here)
        bits[:, :n_units] = block > 0
        # The last bit is the sign of the word; the sum is that of different bits.
        pieces.append((bits.view(-1, n_words, _WORD) * power).sum(dim=2).flatten())
    # In one transfer, which is waited for once.
    has_nan = activations.isnan().any().long()[None]
    words = as_array(torch.cat([*pieces, has_nan]))
    if words[-1]:
        raise ValueError(_HAS_NAN)
    return words[:-1].view(np.uint64).reshape(n_samples, n_words)


@njit(cache=True)
def _pack_signs(activations, words):
    n_samples, n_units = activations.shape
    n_full = n_units // 64
    tail = np.zeros(64, dtype=activations.dtype)
    has_nan = 0
    for i in range(n_samples):
        for w in range(n_full):
            # 64 iterations, known to the compiler, become a handful of vector
            # instructions; a loop for the last, shorter word too would be 8 times
            # slower.
            bits = np.uint64(0)
            for j in range(64):
                value = activations[i, 64 * w + j]
                bits |= np.uint64(value > 0) << np.uint64(j)
                has_nan |= value != value
            words[i, w] = bits
        if n_full < words.shape[1]:
            for j in range(64 * n_full, n_units):
                tail[j - 64 * n_full] = activations[i, j]
            bits = np.uint64(0)
            for j in range(64):
                value = tail[j]
                bits |= np.uint64(value > 0) << np.uint64(j)
                has_nan |= value != value
            words[i, n_full] = bits
    return has_nan != 0


class RegionTable:
    """Give every different row of words a number, in order of first appearance.

    An open-addressing hash table over packed rows. It serves a stream, and for a batch
    of 60,000 x 512 or 1,000,000 x 128 activations it is three to four times as fast as
    `numpy.packbits` with `pandas.factorize` word by word. Its memory grows with the
    number of different rows: their words, and 8 to 16 bytes more for each.

    Parameters
    ----------
    n_words : int
        Number of words per row.

    Attributes
    ----------
    n_regions : int
        Number of different rows that were added.
    """

    def __init__(self, n_words: int):
        self.n_regions = 0
        self._patterns = np.empty((64, n_words), dtype=np.uint64)
        # A slot holds a region's number plus one; zero is empty.
        self._slots = np.zeros(128, dtype=np.uint32)

    def __getstate__(self):
        # Rows that were only reserved hold whatever lay in memory there.
        return {**vars(self), "_patterns": self.patterns}

    def __setstate__(self, state):
        vars(self).update(_writeable(state))

    @property
    def patterns(self) -> NDArray:
        """Words of every region, shape (n_regions, n_words)."""
        return self._patterns[: self.n_regions]

    def add(self, words: NDArray) -> NDArray:
        """Return the number of each row, int64; new rows get the next ones."""
        ids = np.empty(len(words), dtype=np.int64)
        for start in range(0, len(words), _BLOCK):
            block = words[start : start + _BLOCK]
            self.reserve(self.n_regions + len(block))
            self.n_regions = self._visit(block, ids[start : start + _BLOCK], True)
        return ids

    def look_up(self, words: NDArray) -> NDArray:
        """Return the number of each row, int64; -1 where it is not known."""
        ids = np.empty(len(words), dtype=np.int64)
        self._visit(words, ids, False)
        return ids

    def _visit(self, words, ids, adding):
        return _visit(
            words, _hash_words(words), self._slots, self._patterns, self.n_regions, ids,
            adding,
        )  # fmt: skip

    def reserve(self, n_regions: int) -> None:
        """Make room for so many regions, so that the compiled loops never have to.

        Memory that is only reserved is not in use: neither array is written to before
        a region needs it.
        """
        if 2 * n_regions > _LARGEST_TABLE:
            raise OverflowError(f"A table holds at most {_LARGEST_TABLE // 2} regions.")
        if n_regions > len(self._patterns):
            grown = max(n_regions, len(self._patterns) * 3 // 2)
            patterns = np.empty((grown, self._patterns.shape[1]), dtype=np.uint64)
            patterns[: self.n_regions] = self.patterns
            self._patterns = patterns
        if 2 * n_regions > len(self._slots):
            n_slots = 1 << (2 * n_regions - 1).bit_length()
            self._slots = np.zeros(n_slots, dtype=np.uint32)
            self._fill_slots()

    def _fill_slots(self):
        # The regions are known to be different, so each takes the first empty slot.
        for start in range(0, self.n_regions, _BLOCK):
            block = self.patterns[start : start + _BLOCK]
            _place(_hash_words(block), start, self._slots)


def _writeable(state):
    """Copy those arrays of a pickled state that were mapped from a read-only file."""
    return {
        name: np.require(value, requirements="W")
        if isinstance(value, np.ndarray)
        else value
        for name, value in state.items()
    }


@njit(cache=True)
def _hash_words(words):
    """Mix the words of each row into one (multiply and shift, as in MurmurHash).

    It says where to look first, and decides nothing. Its low bits, which choose the
    slot, must be well mixed; those of `hash_rows` in `robustkit._randomness` are not.
    """
    hashes = np.empty(words.shape[0], dtype=np.uint64)
    for i in range(words.shape[0]):
        mixed = np.uint64(0x9E3779B97F4A7C15)
        for w in range(words.shape[1]):
            mixed = (mixed ^ words[i, w]) * np.uint64(0xFF51AFD7ED558CCD)
            mixed ^= mixed >> np.uint64(32)
        hashes[i] = mixed
    return hashes


@njit(cache=True)
def _visit(words, hashes, slots, patterns, n_regions, ids, adding):
    """Find each row's region; if there is none, add it, or leave the row at -1.

    Rows are compared with a region in all words, so that two rows get one number if and
    only if all their bits agree; a poor hash costs time and nothing else. The walk over
    the slots ends, since at least half of them are empty.
    """
    last = np.uint64(slots.size - 1)
    n_words = words.shape[1]
    for i in range(words.shape[0]):
        # Fetches all slots at once from slow memory; the walk below would wait for one
        # after the other.
        ids[i] = slots[hashes[i] & last]
    for i in range(words.shape[0]):
        slot = hashes[i] & last
        ids[i] = -1
        while slots[slot] > 0:
            region = np.int64(slots[slot]) - 1
            w = 0
            while w < n_words and patterns[region, w] == words[i, w]:
                w += 1
            if w == n_words:
                ids[i] = region
                break
            slot = (slot + np.uint64(1)) & last
        if ids[i] < 0 and adding:
            for w in range(n_words):
                patterns[n_regions, w] = words[i, w]
            ids[i] = n_regions
            n_regions += 1
            slots[slot] = n_regions
    return n_regions


@njit(cache=True)
def _place(hashes, first, slots):
    last = slots.size - 1
    for i in range(hashes.size):
        slot = np.int64(hashes[i] & np.uint64(last))
        while slots[slot] > 0:
            slot = (slot + 1) & last
        slots[slot] = first + i + 1


class RegionCounts:
    """The regions of a stream of labelled samples: counts by region and class.

    Of each class and region it also keeps the mean features of the samples there.

    Parameters
    ----------
    n_classes : int
        Labels are the integers below it.

    Attributes
    ----------
    n_samples : int
        Number of samples that were added.

    n_units : int or None
        Width of the patterns; None before the first sample.
    """

    def __init__(self, n_classes: int):
        self.n_samples = 0
        self.n_units = None
        self._table: RegionTable | None = None
        self._of_class = [_CountsOfClass() for _ in range(n_classes)]

    @property
    def n_regions(self) -> int:
        """Number of different regions that were met."""
        return 0 if self._table is None else self._table.n_regions

    def add(
        self, pre_activations: NDArray | torch.Tensor, features: NDArray, y: NDArray
    ) -> NDArray:
        """Count some samples, and return the region of each.

        The signs of the `pre_activations` are the regions; the `features` are averaged
        over the samples of a class in a region; `y` are the classes.
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

    def look_up(self, words: NDArray) -> NDArray:
        """Find the regions of packed patterns, -1 for those not met."""
        assert self._table is not None, "samples were added"
        return self._table.look_up(words)

    def major_regions(self) -> NDArray:
        """Find each class's most frequent region; of equals, the one met first.

        -1 for a class without samples.
        """
        return np.array([one.major_region() for one in self._of_class])

    def major_shares(self) -> NDArray:
        """Find the share of each class's samples that lie in its major region.

        NaN for a class without samples.
        """
        return np.array([one.major_share() for one in self._of_class])

    def major_vectors(self) -> NDArray:
        """Average the features of each class's samples in its major region.

        NaN for a class without samples, and for one whose major region was met after
        more others than are kept track of.
        """
        vectors = [one.major_vector() for one in self._of_class]
        # Also if the vectors of all classes are unknown.
        n_features = max(one.n_features for one in self._of_class)
        unknown = np.full(n_features, np.nan)
        return np.stack([vector if len(vector) else unknown for vector in vectors])

    def major_signs(self) -> NDArray:
        """Read the pattern of each class's major region.

        1 where a unit is greater than zero, -1 elsewhere; NaN for a class without
        samples.
        """
        assert self._table is not None, "samples were added"
        majors = self.major_regions()
        bits = self._table.patterns[majors].astype("<u8").view(np.uint8)
        bits = np.unpackbits(bits, axis=1, bitorder="little", count=self.n_units)
        return np.where((majors < 0)[:, np.newaxis], np.nan, 2.0 * bits - 1)

    def by_region(self) -> tuple[NDArray, NDArray, NDArray]:
        """Count the samples of every region, and those of its majority.

        Returns three arrays of shape (n_regions,): the samples in each region; the
        class that most of them belong to (of equals, the lowest); how many do.
        """
        counts, majority, of_majority = np.zeros((3, self.n_regions), dtype=np.int64)
        for label, one in enumerate(self._of_class):
            counts[one.regions] += one.counts
            more = one.counts > of_majority[one.regions]
            majority[one.regions[more]] = label
            of_majority[one.regions[more]] = one.counts[more]
        return counts, majority, of_majority


class _CountsOfClass:
    """The samples of one class: a count and a sum of features for each region."""

    def __init__(self):
        self.table = RegionTable(1)
        self._counts = np.zeros(64, dtype=np.int64)
        self._sums = None

    def __setstate__(self, state):
        vars(self).update(_writeable(state))

    @property
    def regions(self):
        return self.table.patterns[:, 0].astype(np.int64)

    @property
    def n_features(self):
        return 0 if self._sums is None else self._sums.shape[1]

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

    def _major_row(self):
        return int(self.counts.argmax())

    def major_region(self):
        if not self.table.n_regions:
            return -1
        return int(self.table.patterns[self._major_row(), 0])

    def major_share(self):
        counts = self.counts
        return counts.max() / counts.sum() if len(counts) else np.nan

    def major_vector(self):
        if not self.table.n_regions or self._major_row() >= len(self._sums):
            return np.empty(0)
        row = self._major_row()
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
