"""Windows: intervals as positions of the samples, ordered by their filter values."""

import numpy as np
from numba import njit


class Windows:
    """The windows of a cover, and which of them hold each position.

    Windows may overlap; the starts ascend, and so do the stops. So the windows of a
    position have neighbouring numbers, and of two positions the smaller one's last
    window and the larger one's first one bound the windows that hold both.

    Parameters
    ----------
    slices : ndarray of shape (n_windows, 2)
        Window k holds the positions from ``slices[k, 0]`` up to ``slices[k, 1]``.

    n_samples : int
        How many positions there are.

    Attributes
    ----------
    first, last : ndarray of shape (n_samples,)
        The windows of each position; it lies in none if the last is below the first.

    offsets : ndarray of shape (n_samples + 1,)
        In an array with an entry for every position in every window, those of position
        p are ``offsets[p]`` to ``offsets[p + 1]``.
    """

    def __init__(self, slices, n_samples):
        self.slices = np.asarray(slices, dtype=np.int64)
        starts, stops = self.slices.T
        positions = np.arange(n_samples)
        self.first = np.searchsorted(stops, positions, side="right")
        self.last = np.searchsorted(starts, positions, side="right") - 1
        n_windows = np.maximum(self.last - self.first + 1, 0)
        self.offsets = np.concatenate([[0], np.cumsum(n_windows)])

    @property
    def ends(self):
        """Of the larger positions, only those below it share a window with each."""
        stops = self.slices[self.last, 1]
        return np.where(self.last < self.first, np.arange(len(stops)), stops)

    def newest_starts(self, k):
        """Return the first position of the windows from k on that meet window k."""
        start, stop = self.slices[k]
        starts = np.unique(self.slices[k:, 0])
        return starts[(start <= starts) & (starts < stop)]

    def part(self, flat, k):
        """Return the entries of one window.

        Parameters
        ----------
        flat : ndarray
            An entry for every position in every window.

        k : int
            The window.

        Returns
        -------
        entries : ndarray
            Position by position.
        """
        positions = np.arange(*self.slices[k])
        return flat[self.offsets[positions] + k - self.first[positions]]

    def count_neighbors(self, pieces):
        """Count the neighbours that every position has in every window.

        Parameters
        ----------
        pieces : iterable of Pairs
            The pairs of neighbours, each once.

        Returns
        -------
        counts : ndarray
            An entry for every position in every window; itself counts.
        """
        steps = np.zeros(self.offsets[-1], dtype=np.int32)
        starts, stops = self.slices.T.copy()
        for rows, indptr, indices, _ in pieces:
            _add_steps(
                rows, indptr, indices, starts, stops, self.first, self.last,
                self.offsets, steps,
            )  # fmt: skip
        _sum_steps(self.offsets, steps)
        return steps

    def in_all(self, flags):
        """Tell for each position whether it has the flag in each of its windows.

        Parameters
        ----------
        flags : ndarray of bool
            An entry for every position in every window.

        Returns
        -------
        in_all : ndarray of shape (n_samples,), dtype=bool
            True also for positions in no window.
        """
        n_lacking = np.concatenate([[0], np.cumsum(~flags)])
        return np.diff(n_lacking[self.offsets]) == 0


@njit(cache=True, nogil=True)
def _add_steps(
    rows, indptr, indices, starts, stops, first, last, offsets, steps
):  # fmt: skip
    """Add each pair where the windows that hold both begin, and undo it behind them."""
    for r in range(len(rows)):
        i = rows[r]
        window = first[i]
        if window > last[i]:
            continue
        end = stops[last[i]]
        behind = starts[last[i] + 1] if last[i] + 1 < len(starts) else end
        for k in range(indptr[r], indptr[r + 1]):
            j = indices[k]
            if j >= end:
                break
            while j >= stops[window]:
                window += 1
            # Windows from this one to the last one of i hold both.
            steps[offsets[i] + window - first[i]] += 1
            steps[offsets[j]] += 1
            if j >= behind:
                steps[offsets[j] + last[i] + 1 - window] -= 1


@njit(cache=True, nogil=True)
def _sum_steps(offsets, steps):
    for position in range(len(offsets) - 1):
        count = 1
        for k in range(offsets[position], offsets[position + 1]):
            count += steps[k]
            steps[k] = count
