"""What a coefficient must stand before it is believed, and the verdict that follows.

How far repeats of a measure can be trusted, what is left of a coefficient without the
models that carry it, and the rules that make a verdict of both. Claims and the table of
the correlator go by the same rules.
"""

import math
from collections.abc import Callable

import numpy as np
import pandas as pd
from scipy.stats import f as f_distribution
from scipy.stats import rankdata

from robustkit.correlation._partial import influence_given, partial_given

# Groups below which nothing is decided, and repeats below which nothing is said of
# reliability: an interval of so few means nothing.
FEWEST = 8
# Share of the groups that a relation must survive without, whichever they are.
LEFT_OUT = 0.1
# The groups that carry a relation are taken away in so many steps.
_STEPS = 5
# A measure is reliable if the groups differ more than repeats would by chance.
_UNRELIABLE = 0.05
# If they do not, it is noise if its reliability is below this in all likelihood.
_LITTLE = 0.5
# What rounding leaves of zero.
_NOTHING = 1e-9


def varying(columns: np.ndarray) -> np.ndarray:
    """Keep the columns that are not constant; infinity equals itself."""
    if not len(columns):
        return columns[:, :0]
    return columns[:, columns.max(axis=0) > columns.min(axis=0)]


def coefficient_given(X: np.ndarray, Y: np.ndarray) -> np.ndarray:
    """Spearman's coefficient of the first column of X and Y, given the other columns.

    NaN where a column is constant or explained by what is given.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        return partial_given(X[:, :1], Y, varying(X[:, 1:]))


def without_the_strongest(
    X: np.ndarray,
    Y: np.ndarray,
    sign: float,
    *,
    influence: Callable = influence_given,
    coefficient: Callable = coefficient_given,
) -> float:
    """Take away the groups that carry a coefficient most, some at a time."""
    to_go = math.ceil(LEFT_OUT * len(X))
    for step in range(_STEPS, 0, -1):
        n_now = math.ceil(to_go / step)
        carried = sign * influence(X[:, :1], Y, varying(X[:, 1:]))
        kept = np.sort(np.argsort(carried, kind="stable")[: len(X) - n_now])
        X, Y = X[kept], Y[kept]
        to_go -= n_now
    return coefficient(X, Y).item()


def reliability(
    values: np.ndarray,
    labels: np.ndarray,
    given: np.ndarray | None = None,
    levels: pd.DataFrame | None = None,
) -> float:
    """Intraclass correlation of the means of groups: what part of them is no noise.

    One-way analysis of variance, of ranks, since what is correlated are ranks; of what
    the columns given and the main effects of the factors leave of them. 0 where the
    groups differ no more than their repeats do, and enough repeats say so; NaN where
    there are too few to tell.
    """
    known = ~np.isnan(values)
    values, labels = values[known], labels[known]
    n_groups = len(np.unique(labels))
    if n_groups < 2 or len(values) == n_groups:
        return math.nan
    # What a factor does is seen within groups, which differ in other things as well.
    ranks, n_effects, n_given = rankdata(values), 0, 0
    if levels is not None:
        ranks, n_effects = _without(
            ranks, _indicators(levels[known]), lambda rows: _within(rows, labels)
        )
    if given is not None:
        fixed = rankdata(varying(given[known]), axis=0)
        ranks, n_given = _without(ranks, fixed, lambda rows: rows - rows.mean(axis=0))
    freedom = n_groups - 1 - n_given, len(values) - n_groups - n_effects
    if freedom[0] < 1 or freedom[1] < FEWEST:
        return math.nan
    within = _within(ranks, labels)
    between = ranks - ranks.mean() - within
    spread, noise = between @ between / freedom[0], within @ within / freedom[1]
    if spread <= _NOTHING:
        return math.nan
    if noise <= _NOTHING * spread:
        return 1.0
    ratio = spread / noise
    if f_distribution.sf(ratio, *freedom) <= _UNRELIABLE:
        return 1 - 1 / ratio
    largest = ratio * f_distribution.isf(_UNRELIABLE / 2, *freedom[::-1])
    return 0.0 if 1 - 1 / max(largest, 1) < _LITTLE else math.nan


def _indicators(levels):
    """One column per level of each factor; a missing level is a level of its own."""
    columns = [
        pd.factorize(levels[factor], use_na_sentinel=False)[0] for factor in levels
    ]
    return np.hstack(
        [np.zeros((len(levels), 0))]
        + [codes[:, None] == np.unique(codes) for codes in columns]
    )


def _within(rows, labels):
    """Take the mean of its group from every row."""
    rows = pd.DataFrame(rows)
    deviations = (rows - rows.groupby(labels).transform("mean")).to_numpy()
    return deviations if deviations.shape[1] != 1 else deviations[:, 0]


def _without(column, others, center):
    """Take out what other columns explain, once centred; say in how many directions."""
    if not others.shape[1]:
        return column, 0
    explain, explained = center(others), center(column)
    explain = explain.reshape(len(column), -1)
    weights, _, rank, _ = np.linalg.lstsq(explain, explained, rcond=_NOTHING)
    return column - others @ weights, int(rank)


def _is_significant(row, alpha):
    excludes_zero = row["ci_low"] > 0 or row["ci_high"] < 0
    return row["p_adjusted"] <= alpha and excludes_zero


def is_found(row: dict, alpha: float) -> bool:
    """Whether there is an effect that matters, whichever groups carry it."""
    is_large = row["n"] >= FEWEST and abs(row["estimate"]) >= row["smallest"]
    return is_large and _is_significant(row, alpha)


def decide(row: dict, alpha: float) -> tuple[str, str, bool]:
    """Verdict, its reason, and whether more groups would probably change it."""
    n, smallest, estimate = row["n"], row["smallest"], row["estimate"]
    if n < FEWEST:
        return "undecided", f"fewer than {FEWEST} groups", False
    if math.isnan(estimate):
        return "undecided", "a column is constant, or explained by what is given", False
    for which in ("measure", "property"):
        key = "reliability" if which == "measure" else "reliability_property"
        if row[key] == 0:
            reason = f"the repeats of the {which} differ as much as its groups"
            return "undecided", reason, False
    low, high = row["ci_low"], row["ci_high"]
    if math.isnan(low):
        return "undecided", "a column is constant without one of the groups", False
    if -smallest < low and high < smallest:
        if row["max_possible"] < smallest:
            reason = f"the reliability allows at most {row['max_possible']:.2f}"
            return "undecided", reason, False
        reason = f"the whole interval is closer to zero than {smallest:g}"
        return "absent", reason, False
    if not _is_significant(row, alpha):
        return "undecided", "the interval includes zero and effects that matter", True
    if abs(estimate) < smallest:
        return "undecided", f"an effect, but is it at least {smallest:g}?", True
    if math.isnan(row["leverage"]):
        reason = f"too little is left, or varies, without {row['left_out']}"
        return "undecided", reason, False
    least_left = max(smallest / 2, row.get("least_left", 0))
    if row["leverage"] * math.copysign(1, estimate) < least_left:
        reason = f"{row['leverage']:+.2f} is left without {row['left_out']}"
        return "undecided", reason, False
    return ("holds" if estimate * row["sign"] > 0 else "reversed"), "", False
