"""Robustness as a score, for grid searches and cross-validation."""

from sklearn.base import clone
from sklearn.frozen import FrozenEstimator

from robustkit._validation import did_you_mean
from robustkit.attacks._measures import (
    LARGER_IS_BETTER,
    SMALLER_IS_BETTER,
    measures,
    robust_accuracy,
)

__all__ = ["robust_scorer"]


def robust_scorer(attack, metric="robust_accuracy"):
    """Make a scorer that attacks the model it is given.

    Parameters
    ----------
    attack : object
        An attack, such as :class:`PGDAttack`. It is cloned for every score; its own
        `estimator` is not used.

    metric : str, default="robust_accuracy"
        What of the attack's report is the score: "robust_accuracy", "clean_accuracy",
        "average_eps", "certified_accuracy", or, since a scorer's greater is better,
        "neg_error_rate" and "neg_average_confidence".

    Returns
    -------
    scorer : callable
        ``scorer(estimator, X, y)``, for `scoring=` anywhere in scikit-learn. With
        ``clip="auto"`` the range is learned from this X.

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
        attack = clone(self.attack).set_params(estimator=FrozenEstimator(estimator))
        result = attack.fit(X, y).perturb(X, y)
        if self.metric == "robust_accuracy":
            return robust_accuracy(result, sample_weight)
        report = measures(result)
        name = self.metric.removeprefix("neg_")
        if name not in report:
            raise ValueError(
                f"{type(attack).__name__} has no {name!r} in its report, which has "
                f"{report.index.tolist()}."
            )
        return float(-report[name] if name != self.metric else report[name])

    def __repr__(self):
        return f"robust_scorer({self.attack!r}, metric={self.metric!r})"
