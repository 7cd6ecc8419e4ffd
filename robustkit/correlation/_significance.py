"""How sure a coefficient is: p-values, and corrections for many tests."""

import numpy as np
from scipy.special import ndtr, stdtr
from scipy.stats import false_discovery_control, kendalltau, rankdata

from robustkit.correlation._coefficients import n_controls

__all__ = [
    "correct",
    "count_exceeding",
    "kendall_p_values",
    "partial_p_values",
    "rests_t_test",
    "spearman_p_values",
    "t_test",
    "xi_p_values",
]

# All orders of 9 models take some 3 ms a pair, of 10 ten times that. And the fewer the
# models, the worse is t: it gives p = 0 to a perfect order, which has 1/3 among three.
# Among ten, where it says .01, the truth is .013, and .0002 where it says .00006.
_MOST_ENUMERATED = 9

# Of rests of independent ranks, t is below .0001 in up to 10 % of draws with one degree
# of freedom, in up to 1.7 % with two, and in .1 % with five.
_LEAST_FREEDOM = 5

# Orders tried together: few enough to hold their sums with hundreds of properties.
_CHUNK = 5040


def t_test(X, Y, coefficients, n_controls=0):
    """Two-sided test of a product-moment coefficient, of values or of ranks."""
    dof = np.asarray(len(X) - 2 - n_controls, dtype=float)
    with np.errstate(divide="ignore", invalid="ignore"):
        t = coefficients * np.sqrt(dof / ((1 - coefficients) * (1 + coefficients)))
    return 2 * stdtr(dof, -np.abs(t))


def partial_p_values(X, Y, coefficients):
    """As `rests_t_test`, for each property with all others held fixed."""
    return rests_t_test(X, Y, coefficients, n_controls(X)[:, None])


def rests_t_test(X, Y, coefficients, n_controls):
    """As `t_test`, for what is left of ranks once some directions are held fixed.

    NaN where few degrees of freedom are left: such ranks often fit each other perfectly
    by chance, and t would be sure of it.
    """
    p_values = t_test(X, Y, coefficients, n_controls)
    return np.where(len(X) - 2 - n_controls < _LEAST_FREEDOM, np.nan, p_values)


def spearman_p_values(X, Y, coefficients):
    """Exact for few models, the share of orders that agree as well; then Student's t.

    Ties share their mean rank in every order, as they do in the coefficient.
    """
    if len(X) > _MOST_ENUMERATED:
        return t_test(X, Y, coefficients)
    # Twice the ranks, centred, are whole numbers, and sums of their products are exact:
    # an order that agrees just as well as the true one counts.
    x, y = (2 * rankdata(Z, axis=0) - (len(Z) + 1) for Z in (X, Y))
    observed = np.abs(x.T @ y)
    counts = np.zeros(observed.shape, dtype=int)
    orders = _all_orders(len(X))
    for some in np.array_split(orders, range(_CHUNK, len(orders), _CHUNK)):
        for k, column in enumerate(y.T):
            counts[:, k] += (np.abs(column[some] @ x) >= observed[:, k]).sum(axis=0)
    return counts / len(orders)


def _all_orders(n):
    """All n! orders of 0, ..., n - 1, a row each."""
    orders = np.empty((1, 0), dtype=np.int8)
    for k in range(n):
        places = range(k + 1)
        orders = np.concatenate([np.insert(orders, i, k, axis=1) for i in places])
    return orders


def kendall_p_values(X, Y, coefficients):
    """Exact for few models without ties, normal otherwise: as scipy does it."""
    return np.array([[kendalltau(x, y).pvalue for y in Y.T] for x in X.T])


def xi_p_values(X, Y, coefficients):
    """One-sided normal test; its deviation under independence depends on Y alone.

    Where x has ties, xi is a mean over their orders and deviates less: the test is
    then on the safe side.
    """
    n = len(Y)
    up = np.sort(rankdata(Y, method="max", axis=0), axis=0)
    down = rankdata(-Y, method="max", axis=0)
    later = n - np.arange(1, n + 1)[:, None]
    mean_square = ((2 * later + 1) * up**2).sum(axis=0) / n**4
    square_mean = ((np.cumsum(up, axis=0) + later * up) ** 2).sum(axis=0) / n**5
    mean = ((2 * later + 1) * up).sum(axis=0) / n**3
    spread = (down * (n - down)).sum(axis=0) / n**3
    variance = (mean_square - 2 * square_mean + mean**2) / spread**2
    return ndtr(-coefficients / np.sqrt(variance / n))


def count_exceeding(coefficients, X, Y, observed, n_permutations, seed):
    """Count how often shuffled models agree at least as well as the true ones.

    Parameters
    ----------
    coefficients : callable
        Takes X and Y, returns one number a pair; larger means more agreement.

    X, Y : ndarray of shape (n_models, n_properties) and (n_models, n_measures)
        Complete columns, none constant.

    observed : ndarray of shape (n_properties, n_measures)
        The coefficients of the models as they are.

    n_permutations : int
        How many shuffles. One shuffle serves every pair.

    seed : int
        Makes the shuffles.

    Returns
    -------
    counts : ndarray of shape (n_properties, n_measures)
        At most `n_permutations` each.
    """
    rng = np.random.RandomState(seed)
    counts = np.zeros(observed.shape, dtype=int)
    # A shuffle that does nothing must count although it adds up in another order.
    threshold = observed - 1e-9 * np.abs(observed)
    for _ in range(n_permutations):
        counts += coefficients(X, Y[rng.permutation(len(Y))]) >= threshold
    return counts


def correct(p_values, correction):
    """Adjust p-values for the number of tests made.

    Parameters
    ----------
    p_values : ndarray
        NaN where there was no test: it counts for nothing and stays NaN.

    correction : {"holm", "benjamini-hochberg"} or None
        "holm" bounds the chance of a single false discovery, "benjamini-hochberg" the
        expected share of false ones among the discoveries.

    Returns
    -------
    p_adjusted : ndarray of the shape of p_values
        Never below `p_values`.
    """
    adjusted = p_values.copy()
    tested = ~np.isnan(p_values)
    if correction == "holm":
        adjusted[tested] = _holm(p_values[tested])
    elif correction == "benjamini-hochberg" and tested.any():
        adjusted[tested] = false_discovery_control(p_values[tested], method="bh")
    return adjusted


def _holm(p_values):
    """Multiply the smallest p-value by n, the next by n - 1, ...; keep their order."""
    order = np.argsort(p_values)
    steps = p_values[order] * np.arange(len(p_values), 0, -1)
    adjusted = np.empty_like(p_values)
    adjusted[order] = np.minimum(np.maximum.accumulate(steps), 1)
    return adjusted
