"""Every coefficient of association, for all pairs of columns at once.

Each function takes complete data without constant columns and returns one number per
pair: rows are the columns of `X`, columns those of `Y`.
"""

import numpy as np
from numba import njit
from scipy.stats import rankdata
from sklearn.feature_selection import mutual_info_regression


def pearson(X: np.ndarray, Y: np.ndarray) -> np.ndarray:
    """Cosine of the centred columns."""
    return cosines(centred(X), centred(Y))


def spearman(X: np.ndarray, Y: np.ndarray) -> np.ndarray:
    """Pearson's coefficient of the ranks; ties share their mean rank."""
    return pearson(rankdata(X, axis=0), rankdata(Y, axis=0))


def kendall(X: np.ndarray, Y: np.ndarray) -> np.ndarray:
    """Kendall's tau-b: agreeing minus disagreeing pairs of models, ties left out."""
    counts, untied_x, untied_y = agreements(
        *(rankdata(Z, "dense", axis=0) - 1 for Z in (X, Y))
    )
    # Every number so far is a count, hence exact; so is tau = 1 of a monotone map.
    return counts / np.sqrt(np.multiply.outer(untied_x, untied_y).astype(float))


def distance(X: np.ndarray, Y: np.ndarray) -> np.ndarray:
    """Distance correlation, exact, in n log n steps per pair of columns.

    With a and b the distances between models in x and in y, the squared distance
    covariance is mean(a b) - 2 mean over models of (mean a)(mean b) + mean(a) mean(b).
    """
    n, X, Y = len(X), centred(X), centred(Y)
    products, a, b = distances(X, Y)
    covariance = (
        products - 2 * a.T @ b / n + np.multiply.outer(a.mean(axis=0), b.mean(axis=0))
    )
    variances = np.multiply.outer(_distance_variance(X, a), _distance_variance(Y, b))
    # Both are sums of squares that rounding may push below zero.
    return np.sqrt(np.maximum(covariance, 0) / np.sqrt(variances))


def xi(X: np.ndarray, Y: np.ndarray) -> np.ndarray:
    """Chatterjee's xi: how far y is a function of x, of whatever shape.

    Models are sorted by x, and xi compares the ranks of y of neighbours. Where x has
    ties the order is open; this is the mean over all orders, exactly, so that the
    order of the rows has no say.
    """
    n = len(X)
    up = rankdata(Y, method="max", axis=0)
    down = rankdata(-Y, method="max", axis=0)
    jumps = np.empty((X.shape[1], Y.shape[1]))
    for k, x in enumerate(X.T):
        i, j, weight = _neighbours(x)
        jumps[k] = weight @ np.abs(up[i] - up[j])
    return 1 - n * jumps / (2 * (down * (n - down)).sum(axis=0))


def mutual_info(X: np.ndarray, Y: np.ndarray) -> np.ndarray:
    """Mutual information in nats, from the distances to the third neighbour."""
    # The seed only draws the tiny noise that breaks ties; a fixed one makes the
    # result a function of the data alone.
    return np.column_stack([mutual_info_regression(X, y, random_state=0) for y in Y.T])


def centred(X: np.ndarray) -> np.ndarray:
    """Mean 0 and largest deviation 1, so that squares neither overflow nor vanish.

    A column that is constant becomes NaN.
    """
    X = X - X.mean(axis=0)
    with np.errstate(invalid="ignore"):
        return X / np.abs(X).max(axis=0)


def cosines(X: np.ndarray, Y: np.ndarray) -> np.ndarray:
    lengths = np.multiply.outer(np.linalg.norm(X, axis=0), np.linalg.norm(Y, axis=0))
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.clip(X.T @ Y / lengths, -1, 1)


def _distance_variance(X, means):
    """Squared distance variance of centred columns: here the first term is closed."""
    return (
        2 * (X**2).mean(axis=0) - 2 * (means**2).mean(axis=0) + means.mean(axis=0) ** 2
    )


def _neighbours(x):
    """Pairs of models that can be neighbours in sorted order, with the chance of it.

    Of g models tied in x, in random order, any two (counted both ways) are neighbours
    with chance 1/g; a model of one tie and one of the next with chance 1/(g h).
    """
    order = np.argsort(x, kind="stable")
    starts = np.flatnonzero(np.r_[True, np.diff(x[order]) > 0])
    sizes = np.diff(np.r_[starts, len(x)])
    i, j, weight = [], [], []
    for start, size in zip(starts[sizes > 1], sizes[sizes > 1], strict=True):
        inside = order[start : start + size]
        i.append(np.repeat(inside, size))
        j.append(np.tile(inside, size))
        weight.append(np.full(size**2, 1 / size))
    both = sizes[:-1] * sizes[1:]
    tie = np.repeat(np.arange(len(both)), both)
    within = np.arange(len(tie)) - np.repeat(np.cumsum(both) - both, both)
    i.append(order[starts[tie] + within // sizes[tie + 1]])
    j.append(order[starts[tie + 1] + within % sizes[tie + 1]])
    weight.append(1 / both[tie])
    return np.concatenate(i), np.concatenate(j), np.concatenate(weight)


# Kendall's tau ------------------------------------------------------------------------
#
# Pairs of models that two columns order alike, less those they order unlike. With the
# models sorted by one column, a pair that the other column orders the other way is a
# model that comes after one of greater value. The places taken so far are kept as bits,
# 64 of them and their number in a word, so that a model looks at n / 64 numbers that
# lie side by side. Models tied in the first column are sorted by the second one, so
# that none comes after a greater one.


def agreements(X, Y):
    """Count agreeing minus disagreeing pairs of rows, for all pairs of columns.

    The columns are dense ranks from 0 on. Also returned are the numbers of pairs of
    rows that differ in each column of X and of Y; a pair with a tie does not count.
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


# Distance correlation -----------------------------------------------------------------
#
# The sum of |x_i - x_j| |y_i - y_j| over i and j is twice the sum of x_i s_i over i.
# Here s_i is the sum of |y_i - y_j| over the models j of smaller x, less that over
# those of greater x: twice the former, less the sum over all. So only the order of x
# matters. Of the models of smaller x, it is enough to know how many have a smaller y,
# and the sum of these. With the models sorted by x, a binary tree over their places in
# the order of y knows both in log2(n) steps. Models tied in x may come in any order, as
# their distance is 0 in any case; and so may models tied in y.


def distances(X, Y):
    """Average products of the distances between rows, for all pairs of columns.

    Returned are the means of |x_i - x_j| |y_i - y_j| over all i and j, and the means of
    |x_i - x_j| and of |y_i - y_j| over j. The columns are best centred: the rounding is
    that of numbers of this size.
    """
    n, X, Y = len(X), *(np.ascontiguousarray(Z.T) for Z in (X, Y))
    order_x, order_y = np.argsort(X, axis=1), np.argsort(Y, axis=1)
    mean_x, mean_y = _mean_distances(X, order_x), _mean_distances(Y, order_y)
    places = np.argsort(order_y, axis=1)
    before = _weighted_distances(order_x, X, places, Y)
    return 4 * before / n**2 - 2 * X @ mean_y.T / n, mean_x.T, mean_y.T


@njit(cache=True, nogil=True)
def _mean_distances(columns, orders):
    """Mean of |z_i - z_j| over j, for every number of every column."""
    n = columns.shape[1]
    means = np.empty(columns.shape)
    for k in range(len(columns)):
        z, total, below = columns[k], columns[k].sum(), 0.0
        for place in range(n):
            row = orders[k, place]
            means[k, row] = (z[row] * (2 * place - n) + total - 2 * below) / n
            below += z[row]
    return means


@njit(cache=True, nogil=True)
def _weighted_distances(orders, X, places, Y):
    """Sum of x_i |y_i - y_j| over all j before i, for all pairs of columns."""
    n_leaves = 1
    while n_leaves < X.shape[1]:
        n_leaves *= 2
    tree = np.empty((n_leaves, 2))
    sums = np.empty((len(X), len(Y)))
    for a in range(len(X)):
        for b in range(len(Y)):
            tree[:] = 0
            sums[a, b] = _weighted_sum(orders[a], X[a], places[b], Y[b], tree)
    return sums


@njit(cache=True, nogil=True)
def _weighted_sum(order, x, places, y, tree):
    so_far = result = 0.0
    for k in range(len(order)):
        row = order[k]
        n_below, below = _insert(tree, places[row], y[row])
        distances = y[row] * (2 * n_below - k) + so_far - 2 * below
        result += x[row] * distances
        so_far += y[row]
    return result


@njit(cache=True, nogil=True)
def _insert(tree, place, value):
    """Put a value at its place; count and sum up those at places before it.

    A node keeps the number and the sum of what its left half holds: a value on the
    right has all of that before it. Choosing numbers, not ways, makes every value do
    the same steps; no processor could guess which way is next.
    """
    node = len(tree) + place
    n_below = below = 0.0
    while node > 1:
        is_right = node % 2
        node //= 2
        number, total = tree[node, 0], tree[node, 1]
        n_below += number if is_right else 0.0
        below += total if is_right else 0.0
        tree[node, 0] = number + (0.0 if is_right else 1.0)
        tree[node, 1] = total + (0.0 if is_right else value)
    return n_below, below
