"""Pairs of models that two columns order alike, less those they order unlike.

With the models sorted by one column, a pair that the other column orders the other way
is a model that comes after one of greater value. The places taken so far are kept as
bits, 64 of them and their number in a word, so that a model looks at n / 64 numbers
that lie side by side. Models tied in the first column are sorted by the second one, so
that none comes after a greater one.
"""

import numpy as np
from numba import njit


def agreements(X, Y):
    """Count agreeing minus disagreeing pairs of rows.

    Parameters
    ----------
    X, Y : ndarray of shape (n_samples, n_columns)
        Whole numbers from 0, such as dense ranks.

    Returns
    -------
    counts : ndarray of shape (n_columns of X, n_columns of Y)
        For every pair of columns; pairs of rows with a tie do not count.

    untied_x, untied_y : ndarray of shape (n_columns,)
        Pairs of rows that differ in a column of X, or of Y.
    """
    orders = np.argsort(X, axis=0, kind="stable")
    X, Y, orders = (np.ascontiguousarray(Z.T, dtype=np.int64) for Z in (X, Y, orders))
    untied_x, untied_y = (np.array([_untied(z) for z in Z]) for Z in (X, Y))
    return _agreements(orders, X, Y, untied_x, untied_y), untied_x, untied_y


def _untied(ranks):
    n, counts = len(ranks), np.bincount(ranks)
    return (n * (n - 1) - (counts * (counts - 1)).sum()) // 2


@njit(cache=True, nogil=True)
def _agreements(orders, X, Y, untied_x, untied_y):
    n = X.shape[1]
    counts = np.empty((len(X), len(Y)), np.int64)
    values = np.empty(n, np.int64)
    for b in range(len(Y)):
        # Equal values take neighbouring places, in the order in which they come.
        places = np.searchsorted(np.sort(Y[b]), np.arange(n))
        for a in range(len(X)):
            for row in range(n):
                values[row] = Y[b, orders[a, row]]
            tied_twice = _sort_ties(X[a], orders[a], values)
            n_untied = untied_x[a] + untied_y[b] + tied_twice - n * (n - 1) // 2
            counts[a, b] = n_untied - 2 * _count_swaps(values, places.copy())
    return counts


@njit(cache=True, nogil=True)
def _sort_ties(x, order, values):
    """Sort the values within ties of x; count the pairs that are tied in both."""
    n_twice, start = 0, 0
    for row in range(1, len(order) + 1):
        if row < len(order) and x[order[row]] == x[order[start]]:
            continue
        if row > start + 1:
            values[start:row].sort()
        run = 1
        for k in range(start + 1, row):
            run = run + 1 if values[k] == values[k - 1] else 1
            n_twice += run - 1
        start = row
    return n_twice


@njit(cache=True, nogil=True)
def _count_swaps(values, places):
    """Count the pairs whose first value is greater than the second."""
    n_swaps = 0
    taken = np.zeros(len(values) // 64 + 1, np.uint64)
    n_taken = np.zeros(len(taken), np.int64)
    for value in values:
        place = places[value]
        places[value] += 1
        word, bit = place // 64, np.uint64(place % 64)
        n_swaps += _count_bits(taken[word] >> bit)
        for later in range(word + 1, len(taken)):
            n_swaps += n_taken[later]
        taken[word] |= np.uint64(1) << bit
        n_taken[word] += 1
    return n_swaps


@njit(cache=True, nogil=True)
def _count_bits(word):
    """Add neighbouring bits, then pairs, then fours; the product adds the bytes."""
    word = word - ((word >> np.uint64(1)) & np.uint64(0x5555555555555555))
    twos = np.uint64(0x3333333333333333)
    word = (word & twos) + ((word >> np.uint64(2)) & twos)
    word = (word + (word >> np.uint64(4))) & np.uint64(0x0F0F0F0F0F0F0F0F)
    return np.int64((word * np.uint64(0x0101010101010101)) >> np.uint64(56))
