"""How certain a coefficient is: p-values, intervals, corrections for many tests."""

from collections.abc import Callable

import numpy as np
from scipy.special import ndtr, ndtri, stdtr, stdtrit
from scipy.stats import false_discovery_control, kendalltau, rankdata

# Takes X and Y, returns one number per pair of columns.
Kernel = Callable[[np.ndarray, np.ndarray], np.ndarray]

# All orders of 9 models take some 3 ms per pair, of 10 ten times that. And the fewer
# the models, the worse is t: it gives p = 0 to a perfect order, which has 1/3 among
# three. Among ten, where it says .01, the truth is .013, and .0002 where it says
# .00006.
_MOST_ENUMERATED = 9


# Orders tried together: few enough to hold their sums with hundreds of properties.
_CHUNK = 5040


def t_test(
    X: np.ndarray,
    Y: np.ndarray,
    coefficients: np.ndarray,
    n_controls: np.ndarray | int = 0,
) -> np.ndarray:
    """Two-sided test of a product-moment coefficient, of values or of ranks."""
    dof = np.asarray(len(X) - 2 - n_controls, dtype=float)
    with np.errstate(divide="ignore", invalid="ignore"):
        t = coefficients * np.sqrt(dof / ((1 - coefficients) * (1 + coefficients)))
    return 2 * stdtr(dof, -np.abs(t))


def spearman_p_values(
    X: np.ndarray, Y: np.ndarray, coefficients: np.ndarray
) -> np.ndarray:
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
    """All n! orders of 0, ..., n - 1, one per row."""
    orders = np.empty((1, 0), dtype=np.int8)
    for k in range(n):
        places = range(k + 1)
        orders = np.concatenate([np.insert(orders, i, k, axis=1) for i in places])
    return orders


def kendall_p_values(
    X: np.ndarray, Y: np.ndarray, coefficients: np.ndarray
) -> np.ndarray:
    """Exact for few models without ties, normal otherwise: as scipy does it."""
    return np.array([[kendalltau(x, y).pvalue for y in Y.T] for x in X.T])


def xi_p_values(X: np.ndarray, Y: np.ndarray, coefficients: np.ndarray) -> np.ndarray:
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


def count_exceeding(
    coefficients: Kernel,
    X: np.ndarray,
    Y: np.ndarray,
    observed: np.ndarray,
    n_permutations: int,
    seed: int,
) -> np.ndarray:
    """Count how often shuffled models agree at least as well as the true ones.

    `coefficients` takes X and Y, complete columns of which none is constant; larger
    means more agreement. One shuffle serves every pair of columns.
    """
    rng = np.random.RandomState(seed)
    counts = np.zeros(observed.shape, dtype=int)
    # A shuffle that does nothing must count although it adds up in another order.
    threshold = observed - 1e-9 * np.abs(observed)
    for _ in range(n_permutations):
        counts += coefficients(X, Y[rng.permutation(len(Y))]) >= threshold
    return counts


def correct(p_values: np.ndarray, correction: str | None) -> np.ndarray:
    """Adjust p-values for the number of tests made.

    "holm" bounds the chance of a single false discovery, "benjamini-hochberg" the
    expected share of false ones among the discoveries. NaN, where there was no test,
    counts for nothing and stays NaN.
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


# Groups of models that are left out in turn, at most; of more, several at once.
MOST_LEFT_OUT = 200

# Coefficients closer than this are equal but for rounding.
_ROUNDING = 1e-9


def bootstrap(
    coefficients: Kernel,
    X: np.ndarray,
    Y: np.ndarray,
    groups: np.ndarray,
    n_bootstrap: int,
    seed: int,
) -> np.ndarray:
    """Coefficients of models drawn again, with replacement, whole groups at a time.

    One table of coefficients per draw; NaN for constant columns.
    """
    rng = np.random.RandomState(seed)
    members = _members(groups)
    draws = np.empty((n_bootstrap, X.shape[1], Y.shape[1]))
    for draw in draws:
        chosen = rng.randint(len(members), size=len(members))
        rows = np.concatenate([members[group] for group in chosen])
        draw[:] = coefficients(X[rows], Y[rows])
    return draws


def jackknife(
    coefficients: Kernel, X: np.ndarray, Y: np.ndarray, groups: np.ndarray, seed: int
) -> np.ndarray:
    """Coefficients of all models but those of one group, for every group.

    Of more than 200 groups, one of 200 parts of them is left out at a time; `seed`
    chooses which are left out together.
    """
    members = _members(groups)
    order = np.random.RandomState(seed).permutation(len(members))
    parts = np.array_split(order, min(len(members), MOST_LEFT_OUT))
    found = np.empty((len(parts), X.shape[1], Y.shape[1]))
    for part, result in zip(parts, found, strict=True):
        kept = np.ones(len(X), dtype=bool)
        kept[np.concatenate([members[group] for group in part])] = False
        result[:] = coefficients(X[kept], Y[kept])
    return found


def fisher_intervals(
    observed: np.ndarray, left_out: np.ndarray, *, n_groups: int, alpha: float
) -> np.ndarray:
    """Student's intervals on Fisher's scale, artanh r, with the jackknife's spread.

    Of a product-moment coefficient, draws vary less than samples do, and the more so
    the heavier the tails; coefficients of all models but one do not. The interval is
    NaN where there is no coefficient, where the relation is perfect, of all models or
    of all but one group, and where one group decides whether there is a coefficient at
    all.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        z, of_parts = (_fisher(table) for table in (observed, left_out))
        squares = ((of_parts - of_parts.mean(axis=0)) ** 2).mean(axis=0)
        spread = np.sqrt((len(left_out) - 1) * squares)
    spread = np.where(spread > _ROUNDING, spread, np.nan)
    reach = stdtrit(n_groups - 2, 1 - alpha / 2) * spread
    return np.tanh([z - reach, z + reach])


def bca_intervals(
    observed: np.ndarray, draws: np.ndarray, left_out: np.ndarray, *, alpha: float
) -> np.ndarray:
    """Bias-corrected and accelerated intervals, which contain what was observed.

    A draw without a coefficient (NaN) counts for nothing. The interval is NaN where
    there is no coefficient, where no draw differs from another, and where one group
    decides whether there is a coefficient at all.
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
