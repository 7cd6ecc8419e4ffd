"""What an attack found, sample by sample, and the numbers that sum it up."""

from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from html import escape
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from sklearn.base import BaseEstimator, clone

from robustkit._summary import Report, as_text, facts_as_html
from robustkit._validation import did_you_mean
from robustkit.bridge import frozen

__all__ = [
    "AttackResult",
    "briefly",
    "joined",
    "measures",
    "median_distance",
    "robust_accuracy",
    "robust_scorer",
    "undecided",
    "withstood",
    "without_points",
]

# The measures by which a model may be chosen, and in which direction.
LARGER_IS_BETTER = (
    "robust_accuracy",
    "clean_accuracy",
    "certified_accuracy",
    "average_eps",
    "median_distance",
    "mean_distance",
    "distance_q10",
    "distance_q25",
    "distance_q75",
    "distance_q90",
)
# Numbers of a parameter that are written one by one.
_FEW = 4

SMALLER_IS_BETTER = ("error_rate", "average_confidence")


@dataclass(frozen=True, eq=False, repr=False)
class AttackResult:
    """What an attack found, one entry for every sample it was given.

    Parameters
    ----------
    X_adv : ndarray or tensor of the shape of X
        The samples after the attack. A sample that was misclassified from the start is
        unchanged; where the attack failed, it is the best point found.

    y : ndarray of shape (n_samples,)
        The labels attacked.

    clean_prediction : ndarray of shape (n_samples,)
        What the model predicts for the clean samples.

    prediction : ndarray of shape (n_samples,)
        What the model predicts for `X_adv`: it was asked again, about the very points
        that are returned.

    success : ndarray of shape (n_samples,) and dtype bool
        Whether the model was right and now is wrong. For a targeted attack: whether it
        was right and now predicts the target.

    confidence : ndarray of shape (n_samples,)
        Probability of `prediction`. For a model without probabilities: the softmax of
        its decision function.

    eps : ndarray of shape (n_samples,)
        Size of the perturbation: its length in the norm of the attack, or for
        :class:`~robustkit.attacks.GrowingEpsilonAttack` the smallest eps that fools,
        NaN where none does, and for :class:`~robustkit.attacks.MinimalDistanceAttack`
        infinity where no error was found. With ``eps_unit="std"`` it counts in standard
        deviations; where the attack has one eps per feature, a move is divided by that
        of its feature, so that 1 is as far as allowed.

    n_queries : ndarray of shape (n_samples,)
        Points at which the model was asked while searching.

    target : ndarray of shape (n_samples,), default=None
        The labels wanted by a targeted attack; else None.

    certified : ndarray of shape (n_samples,) and dtype bool, default=None
        Whether it is proved that no allowed perturbation fools the model; None if the
        attack proves nothing.

    distance : ndarray of shape (n_samples,), default=None
        Of :class:`~robustkit.attacks.MinimalDistanceAttack`, also if it is one of
        several in :func:`~robustkit.attacks.best_of`: how far away the nearest
        error found is. 0 for a sample that was misclassified from the start, infinity
        where none was found, NaN where the label is the target. None if the attack
        searches no distance.

    attack : ndarray of shape (n_samples,) and dtype object, default=None
        Of :func:`~robustkit.attacks.best_of`: the name of the attack that fooled the
        model, None where none did.

    name : str, default=None
        Name of the attack.

    settings : dict, default=None
        What it was asked for: those of its parameters that decide on the result.

    See Also
    --------
    robustkit.attacks.PGDAttack : An attack that returns one.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from robustkit.attacks import FGSMAttack
    >>> X, y = load_digits(return_X_y=True)
    >>> X, y = X[:300] / 16, y[:300]
    >>> result = FGSMAttack(eps=0.1).fit(X, y).perturb(X, y)
    >>> result.X_adv.shape
    (300, 64)
    >>> bool((result.prediction[result.success] != y[result.success]).all())
    True
    """

    X_adv: Any
    y: np.ndarray
    clean_prediction: np.ndarray
    prediction: np.ndarray
    success: np.ndarray
    confidence: np.ndarray
    eps: np.ndarray
    n_queries: np.ndarray
    target: np.ndarray | None = None
    certified: np.ndarray | None = None
    distance: np.ndarray | None = None
    attack: np.ndarray | None = None
    name: str | None = None
    settings: dict[str, Any] | None = None

    def __repr__(self) -> str:
        lines = [f"  {name}: {as_text(v)}" for name, v in self._summary().items()]
        return "\n".join([f"AttackResult of {self._title()}", *lines])

    def _repr_html_(self) -> str:
        title = f"<div>AttackResult of {escape(self._title())}</div>"
        return title + facts_as_html(self._summary())

    def _title(self):
        asked = [f"{k}={briefly(v)}" for k, v in (self.settings or {}).items()]
        return f"{self.name or 'an attack'}({', '.join(asked)})"

    def _summary(self):
        """Say in a few numbers what was found."""
        report = measures(self).drop(labels=list(self.settings or {}))
        shape = " x ".join(map(str, np.shape(self.X_adv)))
        return {"X_adv": f"{shape}, {self.X_adv.dtype}", **report}


def robust_accuracy(
    result: AttackResult, sample_weight: ArrayLike | None = None
) -> float:
    """Share of samples that the model predicts correctly, before and after."""
    weights = None if sample_weight is None else np.asarray(sample_weight)
    return float(np.average(withstood(result), weights=weights))


def measures(result: AttackResult, sample_weight: ArrayLike | None = None) -> pd.Series:
    """Summarize a result, after what was asked. A mean over no sample is NaN.

    Counts are integers, so the values are Python objects, each of its own type. The
    weights have a part in all but the counts.
    """
    weights = None if sample_weight is None else np.asarray(sample_weight)

    def mean(values, rows=slice(None)):
        return _mean(values[rows], None if weights is None else weights[rows])

    correct = result.clean_prediction == result.y
    fooled = correct & (result.prediction != result.y)
    report = {
        **(result.settings or {}),
        "n_samples": len(correct),
        "n_correct": int(correct.sum()),
        "n_success": int(result.success.sum()),
        "n_queries": int(result.n_queries.sum()),
        "clean_accuracy": mean(correct),
        "robust_accuracy": robust_accuracy(result, weights),
        "error_rate": mean(fooled, correct),
        "average_confidence": mean(result.confidence, fooled),
        "average_eps": mean(result.eps, fooled),
    }
    if result.target is not None:
        report["target_rate"] = mean(result.prediction == result.target, correct)
    if result.certified is not None:
        report["certified_accuracy"] = mean(correct & result.certified)
        report["n_undecided"] = int(undecided(result).sum())
    if result.distance is not None:
        report |= _distance_measures(result.distance, weights)
    return Report(report, name="report", dtype=object)


def without_points(result: AttackResult) -> AttackResult:
    """Forget the perturbed samples, which may be too many to keep."""
    return replace(result, X_adv=np.empty((len(result.y), 0)))


def joined(results: list[AttackResult]) -> AttackResult:
    """Put the results of one batch after the other together."""
    if len(results) == 1:
        return results[0]
    parts: dict[str, Any] = {}
    for name in (field.name for field in fields(AttackResult)):
        values = [getattr(result, name) for result in results]
        is_array = isinstance(values[0], np.ndarray)
        parts[name] = np.concatenate(values) if is_array else values[0]
    return AttackResult(**parts)


def undecided(result: AttackResult) -> np.ndarray:
    """Find the samples that were neither fooled nor certified.

    False for samples that the model gets wrong anyway.
    """
    robust = withstood(result)
    return robust if result.certified is None else robust & ~result.certified


def withstood(result: AttackResult) -> np.ndarray:
    """Find the samples that are predicted correctly before and after."""
    return (result.clean_prediction == result.y) & (result.prediction == result.y)


def median_distance(
    distances: np.ndarray, sample_weight: ArrayLike | None = None
) -> float:
    """Weighted median; NaN is left out, infinity is the largest of all numbers."""
    weights = np.ones(len(distances)) if sample_weight is None else sample_weight
    kept = ~np.isnan(distances)
    return _quantiles(distances[kept], np.asarray(weights, dtype=float)[kept], [0.5])[0]


def _distance_measures(distances, weights):
    weights = np.ones(len(distances)) if weights is None else weights.astype(float)
    kept = ~np.isnan(distances)
    distances, weights = distances[kept], weights[kept]
    levels = {10: 0.1, 25: 0.25, 75: 0.75, 90: 0.9}
    quantiles = _quantiles(distances, weights, levels.values())
    names = [f"distance_q{percent}" for percent in levels]
    return {
        "median_distance": median_distance(distances, weights),
        "mean_distance": _mean(distances, weights),
        **dict(zip(names, quantiles, strict=True)),
        "not_found": _mean(np.isinf(distances), weights),
    }


def _quantiles(values, weights, levels):
    """Weighted quantiles: where two values divide the weights alike, their mean.

    Nothing is interpolated otherwise: between a number and infinity there is nothing.
    """
    if not weights.sum() > 0:
        return [np.nan for _ in levels]
    order = np.argsort(values, kind="stable")
    order = order[weights[order] > 0]
    total = np.cumsum(weights[order])
    found = []
    for level in levels:
        goal = level * total[-1]
        # Sums of weights such as 0.1 are equal up to rounding.
        close = np.isclose(total, goal, rtol=1e-12, atol=0)
        after = np.searchsorted(np.where(close, goal, total), goal, side="right")
        upto = np.searchsorted(np.where(close, goal, total), goal, side="left")
        pair = values[order[[upto, min(after, len(order) - 1)]]]
        found.append(float(pair.mean()))
    return found


def _mean(values, weights=None):
    if weights is None or (weights == 1).all():
        return float(values.mean()) if len(values) else np.nan
    # What has no weight may be infinite.
    values, weights = values[weights > 0], weights[weights > 0]
    return float(np.average(values, weights=weights)) if len(values) else np.nan


def briefly(value: Any) -> str:
    """Write a parameter: of many numbers, in whatever form, the range."""
    is_row = isinstance(value, list | tuple)
    if (is_row and len(value) > _FEW) or hasattr(value, "__array__"):
        numbers = np.asarray(value)
        if numbers.size and numbers.dtype.kind in "biuf":
            return as_text(numbers)
    return repr(value)


def robust_scorer(
    attack: BaseEstimator, metric: str = "robust_accuracy"
) -> Callable[..., float]:
    """Make a scorer that attacks the model it is given.

    Parameters
    ----------
    attack : object
        An attack, such as :class:`PGDAttack`. It is cloned for every score; its own
        `estimator` is not used.

    metric : str, default="robust_accuracy"
        Which entry of the attack's report to use as the score: "robust_accuracy",
        "clean_accuracy", "average_eps", "certified_accuracy", "median_distance" or
        another measure of the distance, or, since greater is better for a score,
        "neg_error_rate" and "neg_average_confidence".

    Returns
    -------
    scorer : callable
        ``scorer(estimator, X, y, sample_weight=None)``, for `scoring=` anywhere in
        scikit-learn. With ``clip="auto"`` the range is learned from this X.

    See Also
    --------
    PGDAttack.score : Robust accuracy of the attack's own model.
    sklearn.model_selection.cross_validate : Takes such scorers.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from sklearn.linear_model import LogisticRegression
    >>> from sklearn.model_selection import cross_validate
    >>> from robustkit.attacks import FGSMAttack, robust_scorer
    >>> X, y = load_digits(return_X_y=True)
    >>> scoring = {"clean": "accuracy", "fgsm": robust_scorer(FGSMAttack(eps=0.05))}
    >>> scores = cross_validate(
    ...     LogisticRegression(), X[:300] / 16, y[:300], cv=2, scoring=scoring
    ... )
    >>> bool((scores["test_fgsm"] <= scores["test_clean"]).all())
    True
    """
    known = [*LARGER_IS_BETTER, *(f"neg_{name}" for name in SMALLER_IS_BETTER)]
    if metric not in known:
        raise ValueError(
            f"The 'metric' of robust_scorer must be one of {known}. Got {metric!r} "
            f"instead{did_you_mean(metric, known)}"
        )
    return _RobustScorer(attack, metric)


class _RobustScorer:
    """A class, not a closure, so that processes can send it to each other."""

    def __init__(self, attack, metric):
        self.attack = attack
        self.metric = metric

    def __call__(self, estimator, X, y, sample_weight=None):
        attack = clone(self.attack).set_params(estimator=frozen(estimator))
        result = attack.fit(X, y).perturb(X, y)
        report = measures(result, sample_weight)
        name = self.metric.removeprefix("neg_")
        if name not in report:
            raise ValueError(
                f"{type(attack).__name__} has no {name!r} in its report, which has "
                f"{report.index.tolist()}."
            )
        return float(-report[name] if name != self.metric else report[name])

    def __repr__(self):
        return f"robust_scorer({self.attack!r}, metric={self.metric!r})"
