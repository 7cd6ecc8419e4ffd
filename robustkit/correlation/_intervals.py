"""How sure a coefficient is: intervals from models drawn again, or left out."""

import numpy as np
from scipy.special import ndtr, ndtri, stdtrit

__all__ = ["bca_intervals", "bootstrap", "fisher_intervals", "jackknife"]

# Groups of models that are left out in turn, at most; of more, several at once.
_MOST_LEFT_OUT = 200

# Coefficients closer than this are equal but for rounding.
_ROUNDING = 1e-9


def bootstrap(coefficients, X, Y, groups, n_bootstrap, seed):
    """Coefficients of models drawn again, with replacement, whole groups at a time.

    Parameters
    ----------
    coefficients : callable
        Takes X and Y, returns one number a pair, NaN for constant columns.

    X, Y : ndarray of shape (n_models, n_properties) and (n_models, n_measures)
        Complete columns.

    groups : ndarray of shape (n_models,)
        Models of one group are drawn together.

    n_bootstrap : int
        How many draws.

    seed : int
        Makes the draws.

    Returns
    -------
    draws : ndarray of shape (n_bootstrap, n_properties, n_measures)
        One coefficient a draw and pair.
    """
    rng = np.random.RandomState(seed)
    members = _members(groups)
    draws = np.empty((n_bootstrap, X.shape[1], Y.shape[1]))
    for draw in draws:
        chosen = rng.randint(len(members), size=len(members))
        rows = np.concatenate([members[group] for group in chosen])
        draw[:] = coefficients(X[rows], Y[rows])
    return draws


def jackknife(coefficients, X, Y, groups, seed):
    """Coefficients of all models but those of one group, for every group.

    Parameters
    ----------
    coefficients, X, Y, groups
        As in `bootstrap`.

    seed : int
        Chooses the groups that are left out together, if there are very many.

    Returns
    -------
    coefficients : ndarray of shape (n_left_out, n_properties, n_measures)
        One for each group, or, of more than 200, for each of 200 parts of them.
    """
    members = _members(groups)
    order = np.random.RandomState(seed).permutation(len(members))
    parts = np.array_split(order, min(len(members), _MOST_LEFT_OUT))
    found = np.empty((len(parts), X.shape[1], Y.shape[1]))
    for part, result in zip(parts, found, strict=True):
        kept = np.ones(len(X), dtype=bool)
        kept[np.concatenate([members[group] for group in part])] = False
        result[:] = coefficients(X[kept], Y[kept])
    return found


def fisher_intervals(observed, left_out, *, n_groups, alpha):
    """Student's intervals on Fisher's scale, artanh r, with the jackknife's spread.

    Of a product-moment coefficient, draws vary less than samples do, and the more so
    the heavier the tails; coefficients of all models but one do not.

    Parameters
    ----------
    observed : ndarray of shape (n_properties, n_measures)
        The coefficients of the models as they are, within -1 and 1.

    left_out : ndarray of shape (n_left_out, n_properties, n_measures)
        From `jackknife`.

    n_groups : int
        How many are left out in turn.

    alpha : float
        The intervals have level ``1 - alpha``.

    Returns
    -------
    bounds : ndarray of shape (2, n_properties, n_measures)
        NaN where there is no coefficient, where the relation is perfect, of all models
        or of all but one group, and where one group decides whether there is a
        coefficient at all.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        z, of_parts = (_fisher(table) for table in (observed, left_out))
        squares = ((of_parts - of_parts.mean(axis=0)) ** 2).mean(axis=0)
        spread = np.sqrt((len(left_out) - 1) * squares)
    spread = np.where(spread > _ROUNDING, spread, np.nan)
    reach = stdtrit(n_groups - 2, 1 - alpha / 2) * spread
    return np.tanh([z - reach, z + reach])


def bca_intervals(observed, draws, left_out, *, alpha):
    """Bias-corrected and accelerated intervals, which hold what was observed.

    Parameters
    ----------
    observed : ndarray of shape (n_properties, n_measures)
        The coefficients of the models as they are.

    draws : ndarray of shape (n_bootstrap, n_properties, n_measures)
        From `bootstrap`. A draw without a coefficient (NaN) counts for nothing.

    left_out : ndarray of shape (n_left_out, n_properties, n_measures)
        From `jackknife`.

    alpha : float
        The intervals have level ``1 - alpha``.

    Returns
    -------
    bounds : ndarray of shape (2, n_properties, n_measures)
        NaN where there is no coefficient, where no draw differs from another, and where
        one group decides whether there is a coefficient at all.
    """
    bounds = np.full((2, *observed.shape), np.nan)
    z = ndtri(1 - alpha / 2)
    for pair in np.ndindex(observed.shape):
        here = (slice(None), *pair)
        drawn = draws[here][~np.isnan(draws[here])]
        if len(drawn) and np.ptp(drawn) > _ROUNDING:
            bounds[here] = _interval(observed[pair], drawn, left_out[here], z)
    return bounds


def _fisher(coefficients):
    """Fisher's scale, on which a perfect relation, but for rounding, is infinite."""
    perfect = np.abs(coefficients) > 1 - _ROUNDING
    return np.arctanh(np.where(perfect, np.sign(coefficients), coefficients))


def _interval(observed, draws, left_out, z):
    if np.isnan(left_out).any():
        return np.nan, np.nan
    below = (draws < observed - _ROUNDING).sum()
    equal = (np.abs(draws - observed) <= _ROUNDING).sum()
    # Half of what is equal is below, and half a draw more is on either side, so that
    # the share is never 0 or 1.
    bias = ndtri((below + equal / 2 + 0.5) / (len(draws) + 1))
    steps = bias + np.array([-z, z])
    # Of many draws, the farthest may lie where the correction has no bound.
    slow = np.maximum(1 - _acceleration(left_out) * steps, 1e-9)
    levels = ndtr(bias + steps / slow)
    low, high = np.quantile(draws, levels)
    return min(low, observed), max(high, observed)


def _acceleration(left_out):
    """How fast the spread of a coefficient changes with the coefficient itself."""
    influence = left_out.mean() - left_out
    if np.abs(influence).max() <= _ROUNDING:
        return 0.0
    return (influence**3).sum() / (6 * (influence**2).sum() ** 1.5)


def _members(groups):
    """Rows of each group."""
    order = np.argsort(groups, kind="stable")
    return np.split(order, np.flatnonzero(np.diff(groups[order])) + 1)
