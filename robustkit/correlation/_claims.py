"""Claims about what correlates with robustness, and verdicts that code gives on them.

A claim is written before the table is looked at: this property and that measure, in
this direction, at least so strongly, with these columns held fixed. The verdict follows
from the table by stated rules, so that nobody types one by hand.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import KW_ONLY, dataclass
from numbers import Integral, Real

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from scipy.special import ndtr, ndtri

from robustkit._randomness import draw_seeds
from robustkit._sklearn_private import Interval, validate_params
from robustkit._validation import did_you_mean
from robustkit.correlation._association import mean_of_groups
from robustkit.correlation._partial import (
    n_directions,
    partial_of_tables,
    residual_t_test,
)
from robustkit.correlation._significance import (
    MOST_LEFT_OUT,
    bca_intervals,
    correct,
    jackknife,
)
from robustkit.correlation._verdicts import (
    FEWEST,
    LEFT_OUT,
    coefficient_given,
    decide,
    reliability,
    varying,
    without_the_strongest,
)

__all__ = ["Claim", "check_claims"]

# Variance of Spearman's coefficient over Pearson's, on Fisher's scale.
_OF_RANKS = 1.06
# Numbers held at a time while groups are drawn again.
_CHUNK = 2**21
# What rounding leaves of zero.
_NOTHING = 1e-9


@dataclass(frozen=True)
class Claim:
    """One explanation of robustness, precise enough to be wrong.

    Read more in the :ref:`User Guide <guide_correlation>`.

    Parameters
    ----------
    property : str
        Column of what explains, such as "density".

    measure : str
        Column of what is explained, such as "median_distance".

    sign : {-1, 1}
        Direction of the relation.

    smallest : float
        The smallest Spearman coefficient, without its sign, that matters. Between 0 and
        1.

    given : sequence of str, default=()
        Columns that are held fixed.

    name : str, default=None
        What the claim is called in the table. None is made of the columns.

    source : str, default=None
        Where the claim was made.

    See Also
    --------
    check_claims : Gives the verdicts.

    Examples
    --------
    >>> from robustkit.correlation import Claim
    >>> Claim("density", "median_distance", sign=1, smallest=0.3, given=["n_nodes"])
    Claim(density ~ +median_distance, at least 0.3, given n_nodes)
    """

    property: str
    measure: str
    _: KW_ONLY
    sign: int
    smallest: float
    given: Sequence[str] = ()
    name: str | None = None
    source: str | None = None

    def __post_init__(self) -> None:
        if self.sign not in (-1, 1):
            raise ValueError(f"'sign' must be -1 or 1. Got {self.sign!r}.")
        if not (isinstance(self.smallest, Real) and 0 < self.smallest < 1):
            raise ValueError(
                "'smallest' is the smallest coefficient that matters, above 0 and "
                f"below 1. Got {self.smallest!r}."
            )
        given = [self.given] if isinstance(self.given, str) else self.given
        object.__setattr__(self, "given", tuple(given))
        for column in (self.property, self.measure):
            if column in self.given:
                raise ValueError(
                    f"'given' cannot hold {column!r} fixed: the claim is about it."
                )

    def __repr__(self) -> str:
        given = f", given {' and '.join(self.given)}" if self.given else ""
        return f"Claim({_label(self)}, at least {self.smallest:g}{given})"


def _label(claim):
    direction = "+" if claim.sign > 0 else "-"
    return claim.name or f"{claim.property} ~ {direction}{claim.measure}"


@validate_params(
    {
        "table": [pd.DataFrame],
        "alpha": [Interval(Real, 0, 1, closed="neither")],
        "n_bootstrap": [Interval(Integral, 20, None, closed="left")],
        "random_state": ["random_state"],
    },
    prefer_skip_nested_validation=True,
)
def check_claims(
    table: pd.DataFrame,
    claims: Iterable[Claim],
    *,
    groups: str | ArrayLike | None = None,
    factors: str | Sequence[str] = (),
    alpha: float = 0.05,
    n_bootstrap: int = 1000,
    random_state: int | np.random.RandomState | None = None,
) -> pd.DataFrame:
    """Say of each claim whether it holds, by rules that are the same for all.

    The claims of one call are one family: their p-values are corrected together
    (Holm). Rows of one group are repeats: they become one mean, and nothing is more
    certain for being repeated.

    Read more in the :ref:`User Guide <guide_correlation>`.

    Parameters
    ----------
    table : DataFrame
        One row per model, as `results_` of a RobustnessStudy.

    claims : iterable of Claim
        The family.

    groups : str or array-like of shape (n_rows,), default=None
        Column, or labels, that say which rows repeat one thing: the graph of a network,
        say. None: every row is a thing of its own, and nothing is known of reliability.

    factors : str or sequence of str, default=()
        Columns of the design, such as the initialisation. A claim that holds also holds
        without the rows of any one level of them.

    alpha : float, default=0.05
        Level of the tests and intervals.

    n_bootstrap : int, default=1000
        Draws of the groups from which an interval is made, at least 20.

    random_state : int, RandomState instance or None, default=None
        Draws the groups.

    Returns
    -------
    verdicts : DataFrame
        One row per claim, in their order, with

        - `claim`, `property`, `measure`, `given`, `sign`, `smallest`, `source`;
        - `estimate`: Spearman's coefficient of the group means, with what is given held
          fixed; `ci_low` and `ci_high`, bias-corrected and accelerated bootstrap over
          groups; `p_value`, and `p_adjusted` for the family; `n`, the groups;
        - `reliability` of the measure's means: the intraclass correlation of the
          repeats of a group, after what is given and the main effects of the factors
          are taken out; `reliability_property`, and `max_possible`, the largest
          coefficient that the two allow. NaN without repeats, or with too few to tell;
        - `leverage`: the coefficient that is left without the tenth of the groups that
          carries it most, or without the rows of the level of a factor that does;
          `left_out` says what that was. NaN where too little is left or varies;
        - `power`: the chance to find a coefficient of `smallest` with so many groups;
          `n_needed`: of an undecided claim, the groups with which it would probably be
          decided;
        - `verdict` and `reason`.

    See Also
    --------
    RobustnessCorrelator : All pairs of columns, without a claim.

    Notes
    -----
    The verdict is

    - *holds*: the adjusted p-value is at most `alpha`, the interval excludes zero, the
      estimate is at least `smallest`, all in the direction claimed; and of what is left
      in `leverage` the direction is the same, and the size at least half of `smallest`,
      whatever is left out;
    - *reversed*: the same in the other direction;
    - *absent*: the whole interval is closer to zero than `smallest`, though the
      reliability would allow more;
    - *undecided*: none of these, or fewer than 8 groups, a constant column, a measure
      whose repeats differ as much as its groups, or a level of a factor without which
      too little is left.

    Examples
    --------
    >>> import numpy as np
    >>> import pandas as pd
    >>> from robustkit.correlation import Claim, check_claims
    >>> rng = np.random.default_rng(0)
    >>> density = np.repeat(rng.uniform(size=60), 3)
    >>> table = pd.DataFrame({"graph": np.repeat(np.arange(60), 3), "density": density})
    >>> table["distance"] = density + rng.normal(scale=0.3, size=180)
    >>> claims = [Claim("density", "distance", sign=1, smallest=0.3)]
    >>> verdicts = check_claims(table, claims, groups="graph", random_state=0)
    >>> verdicts["verdict"].item()
    'holds'
    """
    claims, factors = list(claims), [factors] if isinstance(factors, str) else factors
    for claim in claims:
        if not isinstance(claim, Claim):
            raise TypeError(
                f"'claims' must be a list of Claim. Got {type(claim).__name__}."
            )
    _check_columns(table, claims, groups, factors)
    labels = _group_labels(table, groups)
    seeds = draw_seeds(random_state, len(claims))
    found = [
        _measure(table, claim, labels, factors, alpha, n_bootstrap, seed)
        for claim, seed in zip(claims, seeds, strict=True)
    ]
    verdicts = pd.DataFrame(found, columns=_COLUMNS)
    adjusted = correct(verdicts["p_value"].to_numpy(float), "holm")
    verdicts["p_adjusted"] = adjusted
    decided = [decide(row, alpha) for row in verdicts.to_dict("records")]
    names = ["verdict", "reason", "needs_more"]
    decided = pd.DataFrame(decided, columns=names, index=verdicts.index)
    verdicts[["verdict", "reason"]] = decided[["verdict", "reason"]]
    verdicts["n_needed"] = verdicts["n_needed"].where(
        decided["needs_more"].astype(bool)
    )
    return verdicts


_COLUMNS = [
    "claim", "property", "measure", "given", "sign", "smallest", "estimate", "ci_low",
    "ci_high", "p_value", "p_adjusted", "n", "reliability", "reliability_property",
    "max_possible", "leverage", "left_out", "power", "n_needed", "verdict", "reason",
    "source",
]  # fmt: skip


def _check_columns(table, claims, groups, factors):
    """Refuse columns that are not there, or twice, or hold no numbers."""
    about = {
        column: f"{claim!r} is about"
        for claim in claims
        for column in (claim.property, claim.measure, *claim.given)
    }
    design = dict.fromkeys(factors, "'factors' has")
    if isinstance(groups, str):
        design[groups] = "'groups' is"
    for column, what in [*about.items(), *design.items()]:
        n_columns = (table.columns == column).sum()
        if n_columns == 0:
            raise ValueError(
                f"{what} {column!r}, which is no column of the table"
                f"{did_you_mean(column, map(str, table.columns))}"
            )
        if n_columns > 1:
            raise ValueError(
                f"{what} {column!r}, but {n_columns} columns of the table are called "
                "so. Give each a name of its own."
            )
        values = table[column]
        is_real = pd.api.types.is_numeric_dtype(values) and not (
            pd.api.types.is_complex_dtype(values)
        )
        if column in about and not is_real:
            raise ValueError(
                f"{what} {column!r}, whose values must be real numbers. Got dtype "
                f"{values.dtype}."
            )


def _group_labels(table, groups):
    """Give every row the number of its group; without groups all differ."""
    if groups is None:
        return np.arange(len(table))
    groups = np.asarray(table[groups] if isinstance(groups, str) else groups)
    if groups.shape != (len(table),):
        raise ValueError(
            f"'groups' must have one label per row of the table, {len(table)}. Got "
            f"shape {groups.shape}."
        )
    return pd.factorize(groups)[0]


def _measure(table, claim, labels, factors, alpha, n_bootstrap, seed):
    """Everything about a claim but the verdict."""
    columns = [claim.property, claim.measure, *claim.given]
    values = table[columns].to_numpy(float)
    # Infinity is a rank like any other: a distance at which no error was found, say.
    complete = ~np.isnan(values).any(axis=1) & (labels >= 0)
    values, labels = values[complete], labels[complete]
    levels = table.loc[complete, list(factors)]
    X, Y = _group_means(values, labels)
    n = len(X)
    n_given = n_directions(varying(X[:, 1:])) if n else 0
    found = {
        "claim": _label(claim),
        "property": claim.property,
        "measure": claim.measure,
        "given": ", ".join(claim.given),
        "sign": claim.sign,
        "smallest": claim.smallest,
        "source": claim.source,
        "n": n,
        "power": _power(claim.smallest, n - n_given, alpha),
    }
    given = values[:, 2:]
    of_property, of_measure = (
        reliability(values[:, k], labels, given, levels) if n else math.nan
        for k in (0, 1)
    )
    found["reliability_property"], found["reliability"] = of_property, of_measure
    found["max_possible"] = math.sqrt(of_property * of_measure)
    if n < FEWEST or varying(np.hstack([X[:, :1], Y])).shape[1] < 2:
        return found
    observed = coefficient_given(X, Y)
    if np.isnan(observed):
        return found
    draws = _drawn(X, Y, n_bootstrap, seed)
    interval = bca_intervals(observed, draws, _without_each(X, Y, seed), alpha=alpha)
    if np.nanmax(draws) - np.nanmin(draws) < _NOTHING:
        # A perfect relation is perfect in every draw.
        interval = np.full(2, observed.item())
    found["estimate"] = observed.item()
    found["ci_low"], found["ci_high"] = np.ravel(interval)
    found["p_value"] = residual_t_test(X, Y, observed, n_given).item()
    found["leverage"], found["left_out"] = _leverage(
        values, labels, levels, observed.item()
    )
    found["n_needed"] = _groups_needed(found["estimate"], claim, n_given, alpha)
    return found


def _group_means(values, labels):
    """Average the rows of each group; what is given stands beside the property."""
    _, groups = np.unique(labels, return_inverse=True)
    means = mean_of_groups(values, groups)
    return np.delete(means, 1, axis=1), means[:, [1]]


def _drawn(X, Y, n_bootstrap, seed):
    """Coefficients of groups drawn again, with replacement."""
    n, rng = len(X), np.random.RandomState(seed)
    return _coefficients_of(
        X, Y, n_bootstrap, lambda draws: rng.randint(n, size=(len(draws), n))
    )


def _without_each(X, Y, seed):
    """Coefficients of all groups but one, for each, or for parts of very many."""
    if len(X) > MOST_LEFT_OUT:
        # The columns given have none.
        return jackknife(coefficient_given, X, Y, np.arange(len(X)), seed)[:, :1]
    others = np.arange(len(X) - 1)
    return _coefficients_of(
        X, Y, len(X), lambda groups: others + (others >= groups[:, None])
    )


def _coefficients_of(X, Y, n_tables, rows_of):
    """Compute the coefficients of some rows, for many choices of them at a time."""
    size = max(1, _CHUNK // X.size)
    chunks = np.split(np.arange(n_tables), range(size, n_tables, size))
    found = []
    for chunk in chunks:
        rows = rows_of(chunk)
        found.append(partial_of_tables(X[rows], Y[rows]))
    return np.concatenate(found)[:, None, None]


def _leverage(values, labels, levels, estimate):
    """Find the least that is left of a coefficient, and without what."""
    sign = math.copysign(1, estimate)
    least = sign * without_the_strongest(*_group_means(values, labels), sign)
    without = f"{LEFT_OUT:.0%} of the groups"
    for factor in levels:
        # A missing level is a level of its own.
        codes, names = pd.factorize(levels[factor], use_na_sentinel=False)
        for code, name in enumerate(names if len(names) > 1 else []):
            kept = codes != code
            X, Y = _group_means(values[kept], labels[kept])
            enough = len(X) >= FEWEST
            left = sign * coefficient_given(X, Y).item() if enough else math.nan
            if math.isnan(left):
                return math.nan, f"{factor}={name}"
            if left < least:
                least, without = left, f"{factor}={name}"
    return sign * least, without


def _power(smallest, n, alpha):
    """Chance that a coefficient of `smallest` is found with n groups."""
    if n <= 3:
        return 0.0
    reach = math.atanh(smallest) * math.sqrt((n - 3) / _OF_RANKS)
    z = ndtri(1 - alpha / 2)
    return float(ndtr(reach - z) + ndtr(-reach - z))


def _groups_needed(estimate, claim, n_given, alpha, power=0.8):
    """Estimate with how many groups a claim would probably be decided."""
    z = ndtri(1 - alpha / 2) + ndtri(power)
    size = math.atanh(min(abs(estimate), 0.999))
    # Either zero is excluded, or effects that matter are.
    is_large = abs(estimate) >= claim.smallest
    distance = size if is_large else math.atanh(claim.smallest) - size
    if distance < 1e-3:
        return math.inf
    return math.ceil(_OF_RANKS * (z / distance) ** 2 + 3 + n_given)
