"""Torch modules of scikit-learn's differentiable classifiers."""

import numpy as np
import torch
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
from robustkit.bridge._sklearn_steps import linear

__all__ = ["PairwiseVotes"]

_ACTIVATIONS = {
    "relu": nn.ReLU,
    "tanh": nn.Tanh,
    "logistic": nn.Sigmoid,
    "identity": nn.Identity,
}


class PairwiseVotes(nn.Module):
    """Join the decisions between pairs of classes, as scikit-learn's SVC does.

    A class has one vote for each pair that it wins, plus the sum of its confidences
    squashed to less than a third, which is what carries the gradient.
    """

    def __init__(self, n_classes):
        super().__init__()
        first, second = np.triu_indices(n_classes, k=1)
        wins = np.zeros((len(first), n_classes), dtype=np.float32)
        wins[np.arange(len(first)), first] = 1
        losses = np.zeros_like(wins)
        losses[np.arange(len(first)), second] = 1
        self.register_buffer("wins", torch.from_numpy(wins))
        self.register_buffer("losses", torch.from_numpy(losses))

    def forward(self, decisions):
        """Join the pairs of a batch."""
        votes = torch.where(decisions >= 0, 1.0, 0.0)
        votes = votes @ self.wins + (1.0 - votes) @ self.losses
        confidence = decisions @ (self.wins - self.losses)
        return votes + confidence / (3 * (confidence.abs() + 1))


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
    coef = np.atleast_2d(classifier.coef_)
    if len(coef) > len(classifier.classes_) or _is_multilabel(classifier):
        raise TypeError(_one_label_only(classifier))
    return linear(*_two_logits(coef, np.broadcast_to(classifier.intercept_, len(coef))))


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
    coef, intercept = np.asarray(classifier.coef_), classifier.intercept_
    n_classes = len(classifier.classes_)
    if n_classes == 2:
        return linear(*_two_logits(coef, intercept))
    return nn.Sequential(linear(coef, intercept), PairwiseVotes(n_classes))


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
    return nn.Sequential(*layers[:-1])


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
