"""Whether what a network's module says is what its estimator predicts."""

from typing import Any

import numpy as np
import torch
from scipy.sparse import issparse
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.linear_model import (
    LogisticRegression,
    LogisticRegressionCV,
    Perceptron,
    RidgeClassifier,
    RidgeClassifierCV,
    SGDClassifier,
)
from sklearn.model_selection import GridSearchCV, RandomizedSearchCV
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import FunctionTransformer
from sklearn.svm import SVC, LinearSVC, NuSVC

from robustkit.bridge import thawed
from robustkit.classifiers._base import BaseNetClassifier
from robustkit.classifiers._classifier_union import ClassifierUnion
from robustkit.classifiers._pruned_net_classifier import PrunedNetClassifier

__all__ = [
    "answers_in_double",
    "answers_with_module",
    "predicts_largest_logit",
]

# Estimators whose `predict` is known to answer with the largest logit of their module.
_LARGEST_LOGIT = {
    LinearDiscriminantAnalysis,
    LinearSVC,
    LogisticRegression,
    LogisticRegressionCV,
    MLPClassifier,
    Perceptron,
    RidgeClassifier,
    RidgeClassifierCV,
    SGDClassifier,
}
# For more than two classes they count votes.
_SUPPORT_VECTORS = {NuSVC, SVC}
_OURS = ("sklearn", "robustkit")


def answers_with_module(estimator: Any, module: torch.nn.Module | None) -> bool:
    """Whether a network's `predict` is known to be the largest logit of its module.

    False for all that is no network, and where a method was overwritten.
    """
    estimator = thawed(estimator)
    if module is None or "predict" in vars(estimator):
        return False
    own = type(estimator)
    if isinstance(estimator, ClassifierUnion):
        # None takes part of which it is not known.
        return True
    if isinstance(estimator, BaseNetClassifier):
        return all(
            getattr(own, name) is getattr(BaseNetClassifier, name)
            for name in ("predict", "_logits")
        )
    # A skorch net; not a subclass, nor one that turns its logits into something else.
    return (
        str(own.__module__) == "skorch.classifier"
        and getattr(estimator, "module_", None) is module
        and estimator.predict_nonlinearity in ("auto", None)
    )


def predicts_largest_logit(estimator: Any, module: torch.nn.Module | None) -> bool:
    """Whether `predict` is known to answer with the largest logit of the module.

    A threshold, a vote or a `predict` that a user wrote may answer anything else: then
    `predict` itself must be asked, and nothing is proved by looking at the module.
    """
    if module is None:
        return False
    estimator = thawed(estimator)
    if _has_own_methods(estimator):
        return False
    if type(estimator) in (GridSearchCV, RandomizedSearchCV):
        return predicts_largest_logit(estimator.best_estimator_, module)
    if type(estimator) is PrunedNetClassifier:
        return predicts_largest_logit(estimator.estimator_, module)
    if type(estimator) is Pipeline:
        *steps, last = [step for _, step in estimator.steps]
        return all(map(_is_stock, steps)) and predicts_largest_logit(last, module)
    if type(estimator) in _LARGEST_LOGIT:
        return True
    if type(estimator) in _SUPPORT_VECTORS:
        return len(estimator.classes_) == 2 and not _cancels(estimator)
    return answers_with_module(estimator, module)


def _cancels(machine):
    """Whether the products with support vectors are lost in those with the weights.

    The module of a linear kernel multiplies by the weights, the sum over all support
    vectors, while libsvm adds up a product for each of them. If these are much larger
    than their sum, they round to more than a rounding of the weights to single
    precision, which is the least that proofs allow for.
    """
    if machine.kernel != "linear":
        return False
    vectors, dual, weights = (
        np.abs(part.toarray() if issparse(part) else part)
        for part in (machine.support_vectors_, machine.dual_coef_, machine.coef_)
    )
    # Products, and their sum: once in libsvm, and once in the weights.
    n_terms = 2 * (len(vectors) + vectors.shape[1] + 8)
    return not (n_terms * 2.0**-53 * (dual @ vectors) <= 2.0**-24 * weights).all()


def answers_in_double(estimator: Any) -> bool:
    """Whether `predict` is known to compute as precisely as the samples are given.

    That is so for linear models and perceptrons of scikit-learn, after steps of
    scikit-learn, all fitted on samples in double precision; a network rounds its
    samples to single precision.
    """
    estimator = thawed(estimator)
    if type(estimator) in (GridSearchCV, RandomizedSearchCV):
        return answers_in_double(estimator.best_estimator_)
    if type(estimator) is Pipeline:
        *steps, last = [thawed(step) for _, step in estimator.steps]
        return all(map(_transforms_in_double, steps)) and answers_in_double(last)
    # A support vector machine sums over its vectors.
    return type(estimator) in _LARGEST_LOGIT and _is_fitted_in_double(estimator)


def _transforms_in_double(step):
    if type(step) is Pipeline:
        return all(_transforms_in_double(thawed(part)) for _, part in step.steps)
    if type(step).__module__.split(".")[0] not in ("sklearn", "builtins"):
        return False
    # What holds other transformers may hold any.
    holds_others = hasattr(step, "transformers") or hasattr(step, "transformer_list")
    return not holds_others and _is_fitted_in_double(step)


def _is_fitted_in_double(estimator):
    """Whether no fitted number was rounded to less than double precision."""
    if isinstance(estimator, str) or estimator is None:
        return True
    for name, value in vars(estimator).items():
        if not name.endswith("_") or name == "classes_":
            continue
        for part in value if isinstance(value, list | tuple) else [value]:
            dtype = getattr(part, "dtype", None)
            if isinstance(dtype, np.dtype) and dtype.kind == "f" and dtype.itemsize < 8:
                return False
    return True


def _is_stock(step):
    """Whether a transformer computes what its module computes."""
    step = thawed(step)
    if step is None or isinstance(step, str):
        return True
    if type(step) is FunctionTransformer and step.func is not None:
        return False
    if not all(map(_is_stock, _inside(step))):
        return False
    package = type(step).__module__.split(".")[0]
    if package not in _OURS or _has_own_methods(step):
        return False
    # What holds other transformers is no better than these.
    held = ("steps", "transformer_list", "transformers_")
    parts = [part for name in held for _, part, *_ in getattr(step, name, ())]
    return all(map(_is_stock, parts))


def _inside(step):
    """Return the transformers that one holds, one after the other or side by side."""
    if hasattr(step, "steps"):
        return [part for _, part in step.steps]
    if hasattr(step, "transformers_"):
        return [part for _, part, _ in step.transformers_]
    return [part for _, part in getattr(step, "transformer_list", [])]


def _has_own_methods(estimator):
    names = ("predict", "predict_proba", "decision_function", "transform")
    return any(name in vars(estimator) for name in names)
