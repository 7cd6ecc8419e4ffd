"""Every coefficient of association, for all pairs of columns at once.

Each function takes complete data without constant columns and returns one number a
pair: rows are the columns of `X`, columns those of `Y`.
"""

import numpy as np
from scipy.stats import rankdata
from sklearn.feature_selection import mutual_info_regression

from robustkit.correlation._distance import distances
from robustkit.correlation._kendall import agreements

# Below this length, a column of length one is what rounding left of nothing.
_NOTHING = 1e-8


def pearson(X, Y):
    """Cosine of the centred columns."""
    return _cosines(_centred(X), _centred(Y))


def spearman(X, Y):
    """Pearson's coefficient of the ranks; ties share their mean rank."""
    return pearson(rankdata(X, axis=0), rankdata(Y, axis=0))


def kendall(X, Y):
    """Kendall's tau-b: agreeing minus disagreeing pairs of models, ties left out."""
    counts, untied_x, untied_y = agreements(
        *(rankdata(Z, "dense", axis=0) - 1 for Z in (X, Y))
    )
    # Every number so far is a count, hence exact; so is tau = 1 of a monotone map.
    return counts / np.sqrt(np.multiply.outer(untied_x, untied_y).astype(float))


def distance(X, Y):
    """Distance correlation, exact, in n log n steps a pair of columns.

    With a and b the distances between models in x and in y, the squared distance
    covariance is mean(a b) - 2 mean over models of (mean a)(mean b) + mean(a) mean(b).
    """
    n, X, Y = len(X), _centred(X), _centred(Y)
    products, a, b = distances(X, Y)
    covariance = (
        products - 2 * a.T @ b / n + np.multiply.outer(a.mean(axis=0), b.mean(axis=0))
    )
    variances = np.multiply.outer(_distance_variance(X, a), _distance_variance(Y, b))
    # Both are sums of squares that rounding may push below zero.
    return np.sqrt(np.maximum(covariance, 0) / np.sqrt(variances))


def xi(X, Y):
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


def mutual_info(X, Y):
    """Mutual information in nats, from the distances to the third neighbour."""
    # The seed only draws the tiny noise that breaks ties; a fixed one makes the
    # result a function of the data alone.
    return np.column_stack([mutual_info_regression(X, y, random_state=0) for y in Y.T])


def partial(X, Y):
    """Spearman's coefficient of a property given all the other properties.

    Columns are replaced by their ranks; what the other properties' ranks explain (by
    least squares) is taken out of both sides, and the rests are correlated. A property
    that the others explain fully has no rest, hence no coefficient.
    """
    X, Y = _unit_ranks(X), _unit_ranks(Y)
    return np.vstack(
        [_partial(X[:, [j]], Y, np.delete(X, j, axis=1)) for j in range(X.shape[1])]
    )


def partial_given(X, Y, Z):
    """Spearman's coefficient of every pair given all columns of `Z`: as `partial`."""
    return _partial(*map(_unit_ranks, (X, Y, Z)))


def n_controls(X):
    """How many independent directions the other properties span, for each property."""
    return np.array([n_directions(np.delete(X, j, axis=1)) for j in range(X.shape[1])])


def n_directions(Z):
    """How many independent directions the ranks of these columns span."""
    return _basis(_unit_ranks(Z)).shape[1]


def _partial(X, Y, others):
    """Cosines of what the others leave; all are ranks of mean 0 and length 1."""
    basis = _basis(others)
    # With fewer models the rests lie on a line, and any two of them agree.
    if len(X) < basis.shape[1] + 3:
        return np.full((X.shape[1], Y.shape[1]), np.nan)
    return _cosines(_rest(X, basis), _rest(Y, basis))


def _centred(X):
    """Mean 0 and largest deviation 1, so that squares neither overflow nor vanish."""
    X = X - X.mean(axis=0)
    return X / np.abs(X).max(axis=0)


def _cosines(X, Y):
    lengths = np.multiply.outer(np.linalg.norm(X, axis=0), np.linalg.norm(Y, axis=0))
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.clip(X.T @ Y / lengths, -1, 1)


def _unit_ranks(X):
    ranks = _centred(rankdata(X, axis=0))
    return ranks / np.linalg.norm(ranks, axis=0)


def _basis(columns):
    """Orthonormal basis of what the columns span."""
    if columns.shape[1] == 0:
        return columns
    basis, lengths, _ = np.linalg.svd(columns, full_matrices=False)
    return basis[:, lengths > _NOTHING]


def _rest(X, basis):
    """Take out what the basis explains; leave 0 where the rest is only rounding."""
    rest = X - basis @ (basis.T @ X)
    return np.where(np.linalg.norm(rest, axis=0) > _NOTHING, rest, 0)


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
