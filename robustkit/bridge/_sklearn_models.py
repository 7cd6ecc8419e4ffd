"""Torch modules of scikit-learn's differentiable classifiers."""

import numpy as np
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
from sklearn.neural_network import MLPClassifier
from sklearn.svm import SVC, LinearSVC, NuSVC
from sklearn.utils.validation import check_is_fitted
from torch import nn

from robustkit.bridge._as_module import as_module
from robustkit.bridge._pairwise_votes import PairwiseVotes, SecondWinsTies
from robustkit.bridge._sklearn_steps import in_double, linear

__all__ = []

_ACTIVATIONS = {
    "relu": nn.ReLU,
    "tanh": nn.Tanh,
    "logistic": nn.Sigmoid,
    "identity": nn.Identity,
}


@as_module.register(LinearDiscriminantAnalysis)
@as_module.register(LinearSVC)
@as_module.register(LogisticRegression)
@as_module.register(LogisticRegressionCV)
@as_module.register(Perceptron)
@as_module.register(RidgeClassifier)
@as_module.register(RidgeClassifierCV)
@as_module.register(SGDClassifier)
def _linear_classifier(classifier):
    check_is_fitted(classifier)
    coef = _dense(classifier.coef_)
    if len(coef) > len(classifier.classes_) or _is_multilabel(classifier):
        raise TypeError(_one_label_only(classifier))
    intercept = np.broadcast_to(classifier.intercept_, len(coef))
    return in_double(linear(*_two_logits(coef, intercept)))


@as_module.register(SVC)
@as_module.register(NuSVC)
def _support_vector_classifier(classifier):
    check_is_fitted(classifier)
    if classifier.kernel != "linear":
        raise TypeError(
            f"as_module knows {type(classifier).__name__} with kernel='linear' only, "
            f"not {classifier.kernel!r}. Use that, or an attack that needs no "
            "gradient, such as OnePixelAttack."
        )
    coef, intercept = _dense(classifier.coef_), classifier.intercept_
    n_classes = len(classifier.classes_)
    if n_classes == 2:
        return in_double(linear(*_two_logits(coef, intercept)), SecondWinsTies())
    # With "ovo", predict refuses to break ties.
    break_ties = classifier.break_ties and classifier.decision_function_shape == "ovr"
    votes = PairwiseVotes(n_classes, np.linalg.norm(coef, axis=1), break_ties)
    return in_double(linear(coef, intercept), votes)


@as_module.register(MLPClassifier)
def _mlp_classifier(classifier):
    check_is_fitted(classifier)
    if classifier.out_activation_ == "logistic" and _is_multilabel(classifier):
        raise TypeError(_one_label_only(classifier))
    weights = [coef.T for coef in classifier.coefs_]
    biases = list(classifier.intercepts_)
    if classifier.out_activation_ == "logistic":
        weights[-1], biases[-1] = _two_logits(weights[-1], biases[-1])
    layers = []
    for weight, bias in zip(weights, biases, strict=True):
        layers += [linear(weight, bias), _ACTIVATIONS[classifier.activation]()]
    return in_double(*layers[:-1])


def _dense(coef):
    """Undo `sparsify`, and give a single row its second axis."""
    return np.atleast_2d(coef.toarray() if issparse(coef) else coef)


def _two_logits(weight, bias):
    """Give a single output f a silent partner: (0, f) has the softmax (1 - p, p)."""
    if len(weight) > 1:
        return weight, bias
    return np.vstack([np.zeros_like(weight), weight]), np.array([0.0, bias[0]])


def _is_multilabel(classifier):
    binarizer = getattr(classifier, "_label_binarizer", None)
    return getattr(binarizer, "y_type_", "").startswith("multilabel")


def _one_label_only(classifier):
    return (
        f"as_module needs a {type(classifier).__name__} that gives every sample one "
        "label; this one was fitted for several labels a sample."
    )
