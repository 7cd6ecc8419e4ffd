"""Correlate the properties of many models with measures of their robustness."""

import warnings
from collections.abc import Sequence
from itertools import product
from math import factorial
from numbers import Integral, Real
from typing import Literal, Self

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from sklearn.base import BaseEstimator
from sklearn.exceptions import UndefinedMetricWarning
from sklearn.feature_selection import SelectorMixin
from sklearn.utils import check_array, check_consistent_length
from sklearn.utils.validation import check_is_fitted, validate_data

from robustkit._sklearn_private import Interval, StrOptions, _fit_context
from robustkit._summary import HTMLSummaryMixin, table_as_html
from robustkit.correlation._association import (
    METHODS,
    associate,
    check_methods,
    coefficients_of,
    drop_outside,
    fences,
    mean_of_groups,
)
from robustkit.correlation._partial import influence, influence_given
from robustkit.correlation._significance import correct
from robustkit.correlation._verdicts import (
    decide,
    is_found,
    reliability,
    without_the_strongest,
)

__all__ = ["RobustnessCorrelator"]

# Models or groups, below which even a perfect correlation says little.
_FEWEST = 6

# Share of a coefficient that must be left without the models that carry it most. Where
# a tenth of the models makes it, nothing is left; of normal ones at .5, a half.
_LEAST_LEFT = 1 / 3

# By so much may rounding change a perfect coefficient.
_ROUNDING = 1e-9

# Attributes that are a DataFrame.
_TABLES = ("correlations_", "values_")


class RobustnessCorrelator(HTMLSummaryMixin, SelectorMixin, BaseEstimator):
    """Report which properties of models correlate with measures of their robustness.

    Each row is a model. In this order: values of a measure beyond the fences of its
    box plot are dropped, the repeats of a group are averaged, every property is
    correlated with every measure by every method, and the p-values are corrected for
    the number of tests in the whole table.

    As a transformer it selects the properties that correlate with some measure.

    Read more in the :ref:`User Guide <guide_correlation>`.

    Parameters
    ----------
    methods : str or sequence of str, default=("spearman", "kendall")
        Any of

        - "spearman", "kendall" (tau-b): monotone relations, from ranks;
        - "pearson": linear relations;
        - "distance": distance correlation, 0 only under independence (as n grows);
        - "xi": Chatterjee's coefficient, near 1 if the measure is a function of the
          property, of whatever shape;
        - "mutual_info": mutual information in nats, by nearest neighbours;
        - "partial": Spearman's coefficient given all the other properties.

    outliers : {"iqr"} or None, default="iqr"
        "iqr" drops the values of a measure below Q1 - 1.5 IQR or above Q3 + 1.5 IQR.
        None keeps everything.

    aggregate : {"mean"} or None, default="mean"
        "mean" averages the rows of a group, property by property and measure by
        measure, so that a group counts once. None correlates the rows; p-values then
        take rows for independent, while intervals do not. Without `groups` it changes
        nothing.

    n_bootstrap : int, default=200
        How often models are drawn again, whole groups at a time, for intervals of level
        ``1 - alpha``, corrected for bias and skewness (BCa). Those of "pearson" come
        from leaving out one group at a time instead, and need only that it is not 0. 0
        gives no intervals. There are none (NaN) for "distance", "xi" and "mutual_info":
        drawing a model twice makes it its own neighbour, and what such an interval
        covers is not what it claims. There are none either of fewer than five models or
        groups (eleven for "partial"), of a perfect relation, in which no draw differs
        from another, and where one model or group decides whether a column is constant.

    n_permutations : int, default=999
        How often the measures are shuffled among the models for the p-values of
        "distance" and "mutual_info", which have no formula. None is below
        ``1 / (n_permutations + 1)``.

    correction : {"holm", "benjamini-hochberg"} or None, default="holm"
        "holm" bounds the chance of one or more false discoveries in the table by
        `alpha`, "benjamini-hochberg" the expected share of false ones.

    alpha : float, default=0.05
        A corrected p-value up to this is called significant.

    min_effect : float, default=0.0
        How large, in absolute value, a coefficient must be for its property to be kept,
        and to matter in a verdict.

    random_state : int, RandomState instance or None, default=None
        Draws the bootstrap samples and the shuffles. Pass an int for the same table on
        every call, for every `n_jobs`.

    n_jobs : int or None, default=None
        Processes that share the bootstrap samples and the shuffles. None is 1, unless
        in a `joblib.parallel_config` context; -1 is all processors.

    Attributes
    ----------
    correlations_ : DataFrame
        One row for each property, measure and method. Columns: "property", "measure",
        "method", "coefficient", "p_value", "p_adjusted", "ci_low", "ci_high", "n" (how
        many models, or groups, the coefficient is of), "n_outliers" (values of the
        measure dropped) and "strength": Cohen's "small" from .10, "medium" from .30,
        "large" from .50, else "none". Mutual information is first put on the scale of
        a correlation, sqrt(1 - exp(-2 I)). "reliability" is that of the measure's
        means: how alike the repeats of a group are, beside the groups (intraclass
        correlation of ranks), NaN without `groups`. "verdict" is "holds", "absent" or
        "undecided", by the rules of :func:`check_claims`, with `min_effect` as the
        smallest coefficient that matters, whatever its sign, and a third of the
        coefficient as the least that is left of what holds: without an interval
        nothing holds, nor where repeats are not averaged, and nothing is absent unless
        `min_effect` is above 0.

    values_ : DataFrame
        What was correlated: one row per model, or per group if its rows were averaged;
        the properties, then the measures; NaN for what is missing or was dropped.

    outlier_bounds_ : ndarray of shape (n_measures, 2)
        The fences; infinite if `outliers` is None.

    measure_names_ : list of str
        Columns of `y`; "y", or "y0", "y1", ... where they have no names.

    method_ : str
        The method that selects: "spearman" if it is among the methods, else the first.

    kept_pairs_ : ndarray of shape (`n_features_in_`, n_measures), dtype=bool
        Pairs with a significant coefficient by `method_` of at least `min_effect`.

    support_ : ndarray of shape (`n_features_in_`,), dtype=bool
        Properties with a kept pair.

    n_features_in_ : int
        Number of properties.

    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Names of the properties, where `X` is a DataFrame with names that are strings.

    See Also
    --------
    sklearn.feature_selection.SelectKBest : Selects features by one score each, without
        correction, repeats or intervals.

    Notes
    -----
    The p-values of "spearman" are exact for up to 9 models, the share of all orders of
    the measure that agree as well, and by Student's t for more. Three models cannot
    have one below 1/3, nor four below 1/12.

    The family of tests that is corrected for is the whole table, all methods included:
    asking the same question in three ways is three chances to be fooled.

    "partial" replaces every column by its ranks, takes out by least squares what the
    other properties explain, and correlates the residuals; its test is Student's t with
    n - 2 - k degrees of freedom, k the rank of the other properties. It uses the models
    that have all the properties, and needs n >= k + 3 of them. There is no test for
    n < k + 7, where residuals of ranks often fit perfectly by chance. A property that
    is a function of the others has no residual and gets NaN.

    Intervals take the outliers that were dropped for granted. Those of "pearson" are
    Student's, with n - 2 degrees of freedom, on Fisher's scale artanh r, with the
    standard error of the jackknife over models or groups: the draws of a bootstrap vary
    too little, above all where tails are heavy.

    Missing values are left out pair by pair. A constant column has no coefficient: NaN,
    "none", and no part in the correction.

    References
    ----------
    .. [1] Székely, Rizzo, Bakirov, "Measuring and testing dependence by correlation of
       distances", Annals of Statistics 35(6), 2007. :doi:`10.1214/009053607000000505`

    .. [2] Chatterjee, "A new coefficient of correlation", Journal of the American
       Statistical Association 116(536), 2021. :doi:`10.1080/01621459.2020.1758115`

    .. [3] Holm, "A simple sequentially rejective multiple test procedure",
       Scandinavian Journal of Statistics 6(2), 1979.

    .. [4] Efron, "Better bootstrap confidence intervals", Journal of the American
       Statistical Association 82(397), 1987. :doi:`10.1080/01621459.1987.10478410`

    Examples
    --------
    >>> import numpy as np
    >>> import pandas as pd
    >>> from robustkit.correlation import RobustnessCorrelator
    >>> rng = np.random.RandomState(0)
    >>> X = pd.DataFrame(rng.uniform(size=(60, 2)), columns=["density", "diameter"])
    >>> y = pd.Series(X["density"] + rng.normal(0, 0.2, 60), name="error rate")
    >>> correlator = RobustnessCorrelator(methods="spearman", random_state=0).fit(X, y)
    >>> columns = ["property", "measure", "coefficient", "strength"]
    >>> correlator.correlations_[columns].round(2)
       property     measure  coefficient strength
    0   density  error rate         0.79    large
    1  diameter  error rate        -0.11    small
    >>> correlator.get_feature_names_out()
    array(['density'], dtype=object)
    """

    correlations_: pd.DataFrame
    values_: pd.DataFrame
    outlier_bounds_: np.ndarray
    measure_names_: list[str]
    method_: str
    kept_pairs_: np.ndarray
    support_: np.ndarray
    n_features_in_: int
    feature_names_in_: np.ndarray

    _parameter_constraints: dict = {
        "methods": [str, "array-like"],
        "outliers": [StrOptions({"iqr"}), None],
        "aggregate": [StrOptions({"mean"}), None],
        "n_bootstrap": [Interval(Integral, 0, None, closed="left")],
        "n_permutations": [Interval(Integral, 1, None, closed="left")],
        "correction": [StrOptions({"holm", "benjamini-hochberg"}), None],
        "alpha": [Interval(Real, 0, 1, closed="neither")],
        "min_effect": [Interval(Real, 0, 1, closed="both")],
        "random_state": ["random_state"],
        "n_jobs": [Integral, None],
    }

    def __init__(
        self,
        *,
        methods: str | Sequence[str] = ("spearman", "kendall"),
        outliers: Literal["iqr"] | None = "iqr",
        aggregate: Literal["mean"] | None = "mean",
        n_bootstrap: int = 200,
        n_permutations: int = 999,
        correction: Literal["holm", "benjamini-hochberg"] | None = "holm",
        alpha: float = 0.05,
        min_effect: float = 0.0,
        random_state: int | np.random.RandomState | None = None,
        n_jobs: int | None = None,
    ) -> None:
        self.methods = methods
        self.outliers = outliers
        self.aggregate = aggregate
        self.n_bootstrap = n_bootstrap
        self.n_permutations = n_permutations
        self.correction = correction
        self.alpha = alpha
        self.min_effect = min_effect
        self.random_state = random_state
        self.n_jobs = n_jobs

    def __getstate__(self):
        # skops, which saves models without running code, knows arrays but no tables.
        state = super().__getstate__()
        tables = {n: _as_arrays(state[n]) for n in _TABLES if n in state}
        return state | tables

    def __setstate__(self, state):
        given = {n: state[n] for n in _TABLES if isinstance(state.get(n), dict)}
        super().__setstate__(state | {n: _as_table(v) for n, v in given.items()})

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(
        self,
        X: ArrayLike | pd.DataFrame,
        y: ArrayLike | pd.Series | pd.DataFrame,
        groups: ArrayLike | None = None,
    ) -> Self:
        """Correlate every property with every measure.

        Parameters
        ----------
        X : array-like or DataFrame of shape (n_models, n_properties)
            Properties of the models. NaN is a missing value.

        y : array-like, Series or DataFrame of shape (n_models,) or \
                (n_models, n_measures)
            Measures of the models. NaN is a missing value.

        groups : array-like of shape (n_models,), default=None
            Which models repeat one another: the graph that each was built from. None
            makes every model a group of its own.

        Returns
        -------
        self : object
            Fitted.
        """
        methods = check_methods(self.methods)
        X, Y = self._check_data(X, y, reset=True)
        groups = _check_groups(groups, X)
        self.outlier_bounds_ = (
            fences(Y)
            if self.outliers == "iqr"
            else np.tile([-np.inf, np.inf], (Y.shape[1], 1))
        )
        repeats = groups
        kept, values, groups = self._values(X, Y, groups)
        if len(values) < 3:
            raise ValueError(
                f"Got {len(values)} groups of models; at least 3 are needed to "
                "correlate. Train more, or fit without groups."
            )
        n_properties = X.shape[1]
        found = associate(
            values[:, :n_properties],
            values[:, n_properties:],
            groups,
            methods,
            n_bootstrap=self.n_bootstrap,
            n_permutations=self.n_permutations,
            alpha=self.alpha,
            random_state=self.random_state,
            n_jobs=self.n_jobs,
        )
        names = self._property_names()
        self.values_ = pd.DataFrame(values, columns=[*names, *self.measure_names_])
        self.correlations_ = self._table(
            found, methods, n_outliers=(~np.isnan(Y) & np.isnan(kept)).sum(axis=0)
        )
        self._judge(np.column_stack([X, kept]), repeats, methods)
        self._select(methods)
        self._warn_of_tests_without_power(methods)
        return self

    def score(
        self,
        X: ArrayLike | pd.DataFrame,
        y: ArrayLike | pd.Series | pd.DataFrame,
        groups: ArrayLike | None = None,
    ) -> float:
        """Mean absolute coefficient of the kept pairs on new models.

        Outliers are dropped by the bounds found in `fit`.

        Parameters
        ----------
        X : array-like or DataFrame of shape (n_models, n_properties)
            Properties of new models.

        y : array-like, Series or DataFrame of shape (n_models,) or \
                (n_models, n_measures)
            Their measures, as in `fit`.

        groups : array-like of shape (n_models,), default=None
            Which models repeat one another.

        Returns
        -------
        score : float
            0 if no pair was kept. A pair without a coefficient on the new models counts
            as 0.
        """
        check_is_fitted(self)
        X, Y = self._check_data(X, y, reset=False)
        _, values, groups = self._values(X, Y, _check_groups(groups, X))
        if not self.kept_pairs_.any():
            return 0.0
        X, Y = np.split(values, [self.n_features_in_], axis=1)
        effects = METHODS[self.method_].effect(
            coefficients_of(self.method_, X, Y, groups)[self.kept_pairs_]
        )
        return float(np.nan_to_num(effects).mean())

    def _check_data(self, X, y, *, reset: bool):
        numbers = {"dtype": np.float64, "ensure_all_finite": "allow-nan"}
        names = _names_of_measures(y)
        separately = numbers | {"ensure_min_samples": 3}, numbers | {"ensure_2d": False}
        try:
            X, Y = validate_data(
                self, X, y, reset=reset, validate_separately=separately
            )
        except (TypeError, ValueError) as error:
            for name, table in (("X", X), ("y", y)):
                _refuse_words(table, name, error)
            raise
        check_consistent_length(X, Y)
        Y = Y.reshape(len(Y), -1)
        if reset:
            self.measure_names_ = names or _numbered(Y.shape[1])
            return X, Y
        return X, Y[:, self._order_of_measures(names, Y.shape[1])]

    def _order_of_measures(self, names, n_measures):
        """Find the measures of `fit`: by name if there are names, else by place."""
        if names is None:
            names = (
                self.measure_names_ if n_measures == len(self.measure_names_) else []
            )
        missing = [name for name in self.measure_names_ if name not in names]
        if missing:
            raise ValueError(
                f"The measures {missing} seen at fit time are missing in y, which has "
                f"{n_measures} columns{f' named {names}' if names else ''}."
            )
        return [names.index(name) for name in self.measure_names_]

    def _values(self, X, Y, groups):
        """Drop outliers, then average repeats; also what was left, and its groups."""
        kept = drop_outside(Y, self.outlier_bounds_)
        values = np.column_stack([X, kept])
        if self.aggregate == "mean":
            values = mean_of_groups(values, groups)
            groups = np.arange(len(values))
        return kept, values, groups

    def _property_names(self):
        return list(
            getattr(
                self,
                "feature_names_in_",
                [f"x{k}" for k in range(self.n_features_in_)],
            )
        )

    def _table(self, found, methods, n_outliers):
        names, measures = self._property_names(), self.measure_names_
        shape = found["coefficient"].shape
        index = pd.MultiIndex.from_product(
            [names, measures, methods], names=["property", "measure", "method"]
        )
        effects = [
            METHODS[method].effect(found["coefficient"][..., k])
            for k, method in enumerate(methods)
        ]
        columns = {
            "coefficient": found["coefficient"],
            "p_value": found["p_value"],
            "p_adjusted": correct(found["p_value"], self.correction),
            "ci_low": found["ci_low"],
            "ci_high": found["ci_high"],
            "n": found["n"],
            "n_outliers": np.broadcast_to(n_outliers[:, None], shape),
            "strength": _strengths(np.stack(effects, axis=-1)),
        }
        columns = {name: values.ravel() for name, values in columns.items()}
        return pd.DataFrame(columns, index=index).reset_index()

    def _judge(self, rows, groups, methods):
        """Add how reliable each measure is, and the verdict on each coefficient."""
        reliable = np.array([reliability(column, groups) for column in rows.T])
        properties, measures = np.split(np.arange(rows.shape[1]), [self.n_features_in_])
        places = list(product(properties, measures, methods))
        table = self.correlations_
        table["reliability"] = [reliable[k] for _, k, _ in places]
        # Rows that repeat one another are no evidence of their own.
        if len(np.unique(groups)) < len(self.values_):
            table["verdict"] = "undecided"
            return
        table["verdict"] = [
            self._verdict(pair, j, k, reliable)
            for pair, (j, k, _) in zip(table.to_dict("records"), places, strict=True)
        ]

    def _verdict(self, pair, j, k, reliable):
        pair |= {
            "estimate": pair["coefficient"],
            "sign": np.sign(pair["coefficient"]),
            "smallest": self.min_effect,
            "reliability_property": reliable[j],
            "max_possible": np.sqrt(reliable[j] * reliable[k]),
            "leverage": np.nan,
            # Where no size is too small to matter, half of it would be no demand.
            "least_left": abs(pair["coefficient"]) * _LEAST_LEFT,
            "left_out": None,
        }
        has_interval = self.n_bootstrap and METHODS[pair["method"]].least_groups
        if has_interval and abs(pair["coefficient"]) > 1 - _ROUNDING:
            # It is perfect in every draw, too.
            pair |= {"ci_low": pair["coefficient"], "ci_high": pair["coefficient"]}
        if is_found(pair, self.alpha):
            pair["leverage"] = self._leverage(pair["method"], j, k, pair["sign"])
        return decide(pair, self.alpha)[0]

    def _leverage(self, method, j, k, sign):
        """Compute a coefficient without the tenth of models that carries it most."""
        values, others = self.values_.to_numpy(), []
        if METHODS[method].listwise:
            known = ~np.isnan(values).all(axis=0)
            others = [i for i in range(self.n_features_in_) if i != j and known[i]]
        values = values[:, [j, k, *others]]
        values = values[~np.isnan(values).any(axis=1)]
        X, Y = np.delete(values, 1, axis=1), values[:, [1]]
        if others:
            return without_the_strongest(X, Y, sign)
        return without_the_strongest(
            X,
            Y,
            sign,
            influence=influence if method == "pearson" else influence_given,
            coefficient=METHODS[method].coefficients,
        )

    def _select(self, methods):
        self.method_ = "spearman" if "spearman" in methods else methods[0]
        rows = self.correlations_[self.correlations_["method"] == self.method_]
        effects = METHODS[self.method_].effect(rows["coefficient"].to_numpy())
        kept = (rows["p_adjusted"].to_numpy() <= self.alpha) & (
            effects >= self.min_effect
        )
        self.kept_pairs_ = kept.reshape(self.n_features_in_, -1)
        self.support_ = self.kept_pairs_.any(axis=1)

    def _get_support_mask(self):
        check_is_fitted(self)
        return self.support_

    def _warn_of_tests_without_power(self, methods):
        """Warn where few outcomes could have been significant, and say what to do."""
        n = len(self.values_)
        if n < _FEWEST:
            warnings.warn(
                f"{n} models or groups are few to correlate: even a perfect order of "
                f"{n} has a p-value of {2 / factorial(n):.2g}, before the correction "
                f"for several tests. Train {_FEWEST} or more.",
                UserWarning,
                stacklevel=4,
            )
        if "partial" in methods and len(self.values_) < self.n_features_in_ + 2:
            warnings.warn(
                f"{len(self.values_)} models or groups are too few for 'partial' with "
                f"{self.n_features_in_} properties, unless some are constant or "
                "explained by others. Train more models or drop properties.",
                UndefinedMetricWarning,
                stacklevel=4,
            )
        table = self.correlations_
        by_shuffling = [name for name in methods if METHODS[name].p_values is None]
        n_tests = table.loc[table["method"].isin(by_shuffling), "p_value"].count()
        if self.correction == "holm" and n_tests > self.alpha * (
            self.n_permutations + 1
        ):
            warnings.warn(
                f"With n_permutations={self.n_permutations}, none of the {n_tests} "
                f"tests of {by_shuffling} can pass correction='holm' at "
                f"alpha={self.alpha}. Use n_permutations="
                f"{int(np.ceil(n_tests / self.alpha))} or more, or "
                "correction='benjamini-hochberg'.",
                UserWarning,
                stacklevel=4,
            )

    def _html_summary(self):
        """Show the pairs with the largest coefficients of the method that selects."""
        table = self.correlations_
        table = table[table["method"] == self.method_].dropna(subset="coefficient")
        effects = METHODS[self.method_].effect(table["coefficient"].to_numpy())
        rows = [
            [
                row["property"], row["measure"], f"{row['coefficient']:+.2f}",
                _interval(row["ci_low"], row["ci_high"]), row["p_adjusted"], row["n"],
            ]
            for row in table.iloc[np.argsort(-effects, kind="stable")[:5]].to_dict(
                "records"
            )
        ]  # fmt: skip
        header = [
            "property", "measure", self.method_, f"{1 - self.alpha:.0%} interval",
            "adjusted p", "n",
        ]  # fmt: skip
        n_kept, n_pairs = self.kept_pairs_.sum(), self.kept_pairs_.size
        told = f"{n_kept} of {n_pairs} pairs are significant. The strongest:"
        return f"<div>{told}</div>{table_as_html(header, rows)}"

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        tags.target_tags.required = True
        tags.target_tags.multi_output = True
        return tags


def _as_arrays(table: pd.DataFrame) -> dict:
    """Take a table apart; several columns may have one name."""
    columns = [column for _, column in table.items()]
    return {
        "names": list(table.columns),
        "dtypes": [str(column.dtype) for column in columns],
        "values": [
            column.to_numpy() if column.dtype.kind in "biuf" else column.tolist()
            for column in columns
        ],
        "index": list(table.index),
        "index_name": table.index.name,
    }


def _as_table(parts: dict) -> pd.DataFrame:
    """Put a table together again."""
    index, pairs = parts["index"], zip(parts["values"], parts["dtypes"], strict=True)
    # As it was: an index of numbers from 0 on is none.
    if index == list(range(len(index))):
        index = pd.RangeIndex(len(index))
    index = pd.Index(index, name=parts["index_name"])
    columns = [pd.Series(values, index, dtype) for values, dtype in pairs]
    table = pd.concat(columns, axis=1) if columns else pd.DataFrame(index=index)
    table.columns = parts["names"]
    return table


def _check_groups(groups, X: np.ndarray) -> np.ndarray:
    """Turn groups into numbers from 0 on, in the order of their names."""
    if groups is None:
        return np.arange(len(X))
    groups = check_array(groups, ensure_2d=False, dtype=None, input_name="groups")
    if groups.ndim != 1:
        raise ValueError(
            "groups must have one entry per model. Got an array of shape "
            f"{groups.shape} instead."
        )
    check_consistent_length(X, groups)
    return np.unique(groups, return_inverse=True)[1]


def _refuse_words(table, what, error):
    """Name a column that holds something else than numbers, if there is one."""
    if hasattr(table, "columns"):
        columns = {repr(str(name)): table[name] for name in table.columns}
    else:
        values = np.asarray(table, dtype=object)
        if values.ndim not in (1, 2):
            return
        name = getattr(table, "name", None)
        columns = (
            dict(enumerate(values.T)) if values.ndim == 2 else {repr(name): values}
        )
    for name, column in columns.items():
        for value in np.asarray(column, dtype=object).ravel():
            if isinstance(value, str | bytes):
                raise ValueError(
                    f"{what} must hold numbers. Column {name} holds {value!r}; drop "
                    "the column, or encode it as numbers."
                ) from error


def _names_of_measures(y) -> list[str] | None:
    """Names that `y` brings, or None."""
    if hasattr(y, "columns"):
        return [str(name) for name in y.columns]
    # A Series may have none.
    name = getattr(y, "name", None)
    return None if name in (None, "") else [str(name)]


def _interval(low, high):
    return "none" if np.isnan(low) else f"{low:+.2f} to {high:+.2f}"


def _numbered(n_measures):
    return ["y"] if n_measures == 1 else [f"y{k}" for k in range(n_measures)]


def _strengths(effects):
    """Cohen's words; a missing coefficient is "none"."""
    words = np.array(["none", "small", "medium", "large"])
    return words[np.digitize(np.nan_to_num(effects), [0.1, 0.3, 0.5])]
