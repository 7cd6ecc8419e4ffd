"""Sign patterns as bits, and the table that gives each different one a number."""

import numpy as np
from numba import njit

__all__ = ["RegionTable", "pack_signs", "writeable"]

# Rows worked on at a time: packed rows stay in the processor's cache, and so little is
# held beyond the input that its size does not matter.
_BLOCK = 4096

_WORD = 64
_LARGEST_TABLE = np.iinfo(np.uint32).max


def pack_signs(activations):
    """Turn each row into the bits of its signs.

    Parameters
    ----------
    activations : ndarray of shape (n_samples, n_units)
        Pre-activations, or booleans.

    Returns
    -------
    words : ndarray of shape (n_samples, ceil(n_units / 64)), dtype=uint64
        Bit j % 64 of word j // 64 says whether unit j is greater than zero. The bits
        that are left over are zero, so equal words mean equal patterns.
    """
    if activations.dtype not in (np.float32, np.float64):
        # Two compiled versions are enough: every other type is turned into one of them,
        # but what is greater than zero must not be rounded to it.
        is_nan = np.isnan(activations)
        activations = (activations > 0).astype(np.float32)
        activations[is_nan] = np.nan
    n_samples, n_units = activations.shape
    words = np.empty((n_samples, -(-n_units // _WORD)), dtype=np.uint64)
    if _pack_signs(np.ascontiguousarray(activations), words):
        raise ValueError(
            "The activations contain NaN, which has no sign. Check the model's weights "
            "and its input."
        )
    return words


@njit(cache=True)
def _pack_signs(activations, words):
    n_samples, n_units = activations.shape
    n_full = n_units // 64
    tail = np.zeros(64, dtype=activations.dtype)
    has_nan = 0
    for i in range(n_samples):
        for w in range(n_full):
            # 64 turns, known to the compiler, become a handful of vector instructions;
            # a loop that also served the last, shorter word would be 8 times slower.
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


@njit(cache=True)
def _hash_rows(words):
    """Mix the words of each row into one (multiply and shift, as in MurmurHash)."""
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

    Rows are compared with a region word by word, all of them: the hash only says where
    to look first. So two rows get one number if and only if all their bits agree, and a
    poor hash costs time and nothing else. The walk over the slots ends, since at least
    half of them are empty.
    """
    last = np.uint64(slots.size - 1)
    n_words = words.shape[1]
    for i in range(words.shape[0]):
        # Fetches all the slots at once from slow memory; the walk below would wait for
        # one after the other.
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


class RegionTable:
    """Give every different row of words a number, in order of first appearance.

    An open-addressing hash table over packed rows. Its memory grows with the number of
    different rows: their words, and 8 to 16 bytes more for each.

    Parameters
    ----------
    n_words : int
        Words a row.

    Attributes
    ----------
    n_regions : int
        How many different rows were added.
    """

    def __init__(self, n_words):
        self.n_regions = 0
        self._patterns = np.empty((64, n_words), dtype=np.uint64)
        # A slot holds a region's number plus one; zero is empty.
        self._slots = np.zeros(128, dtype=np.uint32)

    def __getstate__(self):
        # Rows that were only reserved hold whatever lay in memory there.
        return {**vars(self), "_patterns": self.patterns}

    def __setstate__(self, state):
        vars(self).update(writeable(state))

    @property
    def patterns(self):
        """Words of every region, shape (n_regions, n_words)."""
        return self._patterns[: self.n_regions]

    def add(self, words):
        """Give the rows their numbers, new rows the next ones.

        Parameters
        ----------
        words : ndarray of shape (n_samples, n_words), dtype=uint64
            Packed rows.

        Returns
        -------
        ids : ndarray of shape (n_samples,), dtype=int64
            The region of each row.
        """
        ids = np.empty(len(words), dtype=np.int64)
        for start in range(0, len(words), _BLOCK):
            block = words[start : start + _BLOCK]
            self.reserve(self.n_regions + len(block))
            self.n_regions = self._visit(block, ids[start : start + _BLOCK], True)
        return ids

    def look_up(self, words):
        """Give the rows their numbers and add none.

        Parameters
        ----------
        words : ndarray of shape (n_samples, n_words), dtype=uint64
            Packed rows.

        Returns
        -------
        ids : ndarray of shape (n_samples,), dtype=int64
            The region of each row, -1 where it is not known.
        """
        ids = np.empty(len(words), dtype=np.int64)
        self._visit(words, ids, False)
        return ids

    def _visit(self, words, ids, adding):
        return _visit(
            words,
            _hash_rows(words),
            self._slots,
            self._patterns,
            self.n_regions,
            ids,
            adding,
        )

    def reserve(self, n_regions):
        """Make room, so that the compiled loops never have to.

        Memory that is only reserved is not in use: neither array is written to before
        a region needs it.

        Parameters
        ----------
        n_regions : int
            How many regions there may be before room is next made.
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
            _place(_hash_rows(block), start, self._slots)


def writeable(state):
    """Copy those arrays of a pickled state that were mapped from a read-only file.

    Parameters
    ----------
    state : dict
        From name to value.

    Returns
    -------
    state : dict
        The same, with arrays that can be added to.
    """
    return {
        name: np.require(value, requirements="W")
        if isinstance(value, np.ndarray)
        else value
        for name, value in state.items()
    }


@njit(cache=True)
def _place(hashes, first, slots):
    last = slots.size - 1
    for i in range(hashes.size):
        slot = np.int64(hashes[i] & np.uint64(last))
        while slots[slot] > 0:
            slot = (slot + 1) & last
        slots[slot] = first + i + 1
