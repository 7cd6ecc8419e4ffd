"""Products of distances, over all pairs of models, without looking at every pair.

The sum of |x_i - x_j| |y_i - y_j| over i and j is twice the sum of x_i s_i over i. Here
s_i is the sum of |y_i - y_j| over the models j of smaller x, less that over those of
greater x: twice the former, less the sum over all. So only the order of x matters. Of
the models of smaller x, it is enough to know how many have a smaller y, and the sum of
these. With the models sorted by x, a binary tree over their places in the order of y
knows both in log2(n) steps.

Models tied in x may come in any order, as their distance is 0 in any case; and so may
models tied in y.
"""

import numpy as np
from numba import njit

__all__ = ["distances"]


def distances(X, Y):
    """Products of the distances between rows, for all pairs of columns at once.

    Parameters
    ----------
    X, Y : ndarray of shape (n_samples, n_columns)
        Best centred: the rounding is that of numbers of this size.

    Returns
    -------
    products : ndarray of shape (n_columns of X, n_columns of Y)
        Mean of |x_i - x_j| |y_i - y_j| over all i and j.

    mean_x, mean_y : ndarray of the shape of `X`, or of `Y`
        Mean of |x_i - x_j|, or of |y_i - y_j|, over j.
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
