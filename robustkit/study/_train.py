"""Train the models of some tasks: one by one, together, or step by step."""

import copy
import time
import warnings
from dataclasses import dataclass
from math import nan

import torch
from sklearn.base import clone
from sklearn.frozen import FrozenEstimator

from robustkit.classifiers import describe_step, fit_many, removable_layers
from robustkit.exceptions import NarrowInputWarning
from robustkit.graphs import LayeredGraph

__all__ = ["Trained", "train_and_prune", "train_one", "train_together"]


@dataclass
class Trained:
    """A model that was trained, or what is known of it without."""

    structure: LayeredGraph | None
    model: object | None
    """None if training failed."""

    seconds: float
    error: str = ""
    n_parameters: float = nan
    density: float | None = None
    """Share of the hidden weights left, if some were removed."""

    step: int | None = None


def train_one(classifier, X, y):
    """Train one network.

    Parameters
    ----------
    classifier : classifier
        Unfitted.

    X, y : ndarray
        Training samples.

    Returns
    -------
    trained : Trained
        With the reason if the weights did not stay finite.
    """
    start = time.perf_counter()
    error = _failure_of(classifier, lambda: classifier.fit(X, y))
    return _as_trained(classifier, time.perf_counter() - start, error)


def _failure_of(classifier, fit):
    """Fit; return what went wrong, if that is the fault of this one model.

    A classifier that has its network was given sound parameters and sound data. What
    fails then is the training: a study of hundreds of models notes it and goes on.
    """
    try:
        with warnings.catch_warnings():
            # The study has said it of all graphs.
            warnings.simplefilter("ignore", NarrowInputWarning)
            fit()
    except ValueError as error:
        if not hasattr(classifier, "module_"):
            raise
        return " ".join(str(error).split())
    return ""


def _as_trained(classifier, seconds, error):
    return Trained(
        structure=classifier.structure_,
        model=None if error else classifier,
        seconds=seconds,
        error=error,
        n_parameters=classifier.n_parameters_,
    )


def train_together(classifiers, X, y):
    """Train networks of one seed as one.

    Parameters
    ----------
    classifiers : list of SparseNetClassifier
        Unfitted.

    X, y : ndarray
        Training samples.

    Returns
    -------
    trained : list of Trained
        In the same order; each took an equal share of the time.
    """
    start = time.perf_counter()
    try:
        error = _failure_of(classifiers[0], lambda: fit_many(classifiers, X, y))
    except torch.OutOfMemoryError:
        if len(classifiers) == 1:
            raise
        torch.cuda.empty_cache()
        middle = len(classifiers) // 2
        return [
            *train_together(classifiers[:middle], X, y),
            *train_together(classifiers[middle:], X, y),
        ]
    seconds = (time.perf_counter() - start) / len(classifiers)
    # An error names the first network that failed; all were trained to the end.
    return [
        _as_trained(c, seconds, "" if not error or _is_finite(c) else error)
        for c in classifiers
    ]


def _is_finite(classifier):
    weights = classifier.module_.parameters()
    return all(bool(torch.isfinite(weight).all()) for weight in weights)


def train_and_prune(pruner, X, y):
    """Train a dense network, then prune it.

    Parameters
    ----------
    pruner : PrunedNetClassifier
        Unfitted, its `estimator` an unfitted classifier.

    X, y : ndarray
        Training samples.

    Returns
    -------
    trained : list of Trained
        The dense network, then every step. Only the first, with the reason, if the
        weights did not stay finite.
    """
    start = time.perf_counter()
    dense = clone(pruner.estimator)
    error = _failure_of(dense, lambda: dense.fit(X, y))
    whole = copy.deepcopy(dense)
    accuracy = nan if error else dense.score(X, y)
    steps = [describe_step(whole, removable_layers(whole), accuracy)]
    if not error:
        twin = clone(pruner).set_params(estimator=FrozenEstimator(dense))
        error = _failure_of(dense, lambda: twin.fit(X, y))
        steps += [] if error else twin.steps_
    seconds = (time.perf_counter() - start) / len(steps)
    return [
        Trained(
            structure=step.structure,
            model=None if error else step.estimator,
            seconds=seconds,
            error=error,
            n_parameters=step.n_parameters,
            density=step.density,
            step=k,
        )
        for k, step in enumerate(steps)
    ]
