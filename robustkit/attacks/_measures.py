"""How robust a model is, in numbers: the measures of an attack's result."""

import numpy as np
import pandas as pd

__all__ = [
    "LARGER_IS_BETTER",
    "SMALLER_IS_BETTER",
    "measures",
    "robust_accuracy",
    "undecided",
]

# The measures by which a model may be chosen, and in which direction.
LARGER_IS_BETTER = (
    "robust_accuracy",
    "clean_accuracy",
    "certified_accuracy",
    "average_eps",
)
SMALLER_IS_BETTER = ("error_rate", "average_confidence")


def robust_accuracy(result, sample_weight=None):
    """Share of samples that the model gets right, before and after the attack.

    Parameters
    ----------
    result : AttackResult
        What the attack found.

    sample_weight : array-like of shape (n_samples,), default=None
        Weights of the samples.

    Returns
    -------
    accuracy : float
        In [0, 1].
    """
    return float(np.average(_withstood(result), weights=sample_weight))


def measures(result):
    """Summarize a result.

    Parameters
    ----------
    result : AttackResult
        What the attack found.

    Returns
    -------
    report : pandas.Series
        A mean over no sample at all is nan.
    """
    correct = result.clean_prediction == result.y
    fooled = correct & (result.prediction != result.y)
    report = {
        "n_samples": len(correct),
        "n_correct": int(correct.sum()),
        "n_success": int(result.success.sum()),
        "n_queries": int(result.n_queries.sum()),
        "clean_accuracy": correct.mean(),
        "robust_accuracy": robust_accuracy(result),
        "error_rate": _mean(fooled[correct]),
        "average_confidence": _mean(result.confidence[fooled]),
        "average_eps": _mean(result.eps[fooled]),
    }
    if result.target is not None:
        report["target_rate"] = _mean((result.prediction == result.target)[correct])
    if result.certified is not None:
        report["certified_accuracy"] = (correct & result.certified).mean()
        report["n_undecided"] = int(undecided(result).sum())
    return pd.Series(report, name="report", dtype=float)


def undecided(result):
    """Find the samples that were neither fooled nor proved safe.

    Parameters
    ----------
    result : AttackResult
        Of an attack that proves something.

    Returns
    -------
    undecided : ndarray of shape (n_samples,) and dtype bool
        False for samples that the model gets wrong anyway.
    """
    return _withstood(result) & ~result.certified


def _withstood(result):
    return (result.clean_prediction == result.y) & (result.prediction == result.y)


def _mean(values):
    return values.mean() if len(values) else np.nan
