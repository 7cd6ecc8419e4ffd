"""Torch modules of scikit-learn's differentiable classifiers."""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
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
from torch import Tensor, nn

from robustkit.bridge._as_module import as_module
from robustkit.bridge._sklearn_transformers import in_double, linear

__all__ = ["PairwiseVotes", "SecondWinsTies"]

# The softmax of the margins has no meaning of its own. Times this, it and its gradient
# are nearly all of the classes whose pairs are nearest to a flip.
_SHARPNESS = 16

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
def _linear_classifier(classifier: Any) -> nn.Module:
    check_is_fitted(classifier)
    coef = _dense(classifier.coef_)
    if len(coef) > len(classifier.classes_) or _is_multilabel(classifier):
        raise TypeError(_one_label_only(classifier))
    intercept = np.broadcast_to(classifier.intercept_, len(coef))
    return in_double(linear(*_two_logits(coef, intercept)))


@as_module.register(SVC)
@as_module.register(NuSVC)
def _support_vector_classifier(classifier: SVC | NuSVC) -> nn.Module:
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
def _mlp_classifier(classifier: MLPClassifier) -> nn.Module:
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


def _dense(coef: Any) -> NDArray:
    """Undo `sparsify`, and give a single row its second axis."""
    return np.atleast_2d(coef.toarray() if issparse(coef) else coef)


def _two_logits(weight: NDArray, bias: NDArray) -> tuple[NDArray, NDArray]:
    """Turn a single output f into (0, f), whose softmax is (1 - p, p)."""
    if len(weight) > 1:
        return weight, bias
    return np.vstack([np.zeros_like(weight), weight]), np.array([0.0, bias[0]])


def _is_multilabel(classifier: Any) -> bool:
    binarizer = getattr(classifier, "_label_binarizer", None)
    return getattr(binarizer, "y_type_", "").startswith("multilabel")


def _one_label_only(classifier: Any) -> str:
    return (
        f"as_module needs a {type(classifier).__name__} that gives every sample one "
        "label; this one was fitted for several labels per sample."
    )


class PairwiseVotes(nn.Module):
    r"""Turn the decisions between pairs of classes into logits, as SVC votes on them.

    The class with the most votes has the logit 0. Any other class j has, up to a
    factor, minus the margin by which it loses to the winner w. With :math:`d_c^{(v)}`
    the v-th largest decision of class c against another, j has more votes than w
    exactly if :math:`\max_v \min(d_j^{(v)}, -d_w^{(v)}) > 0`, and at least as many
    exactly if :math:`\min_v \max(d_j^{(v)}, -d_w^{(v)}) > 0`. These margins are
    continuous, and their gradient is that of the pair whose flip decides.

    Parameters
    ----------
    n_classes : int
        Number of classes.

    norms : ndarray of shape (n_pairs,)
        Lengths of the gradients of the decisions. A decision divided by its length is a
        distance, so that the nearest flip, not the smallest number, decides.

    break_ties : bool
        Whether the sums of confidences decide between classes with the same number of
        votes; otherwise the first of them wins.
    """

    first: Tensor
    second: Tensor
    norms: Tensor

    def __init__(self, n_classes: int, norms: NDArray, break_ties: bool) -> None:
        super().__init__()
        self.n_classes, self.break_ties = n_classes, break_ties
        first, second = np.triu_indices(n_classes, k=1)
        self.register_buffer("first", torch.from_numpy(first))
        self.register_buffer("second", torch.from_numpy(second))
        # Relative to each other, so that the unit of the decisions does not matter.
        norms = norms / (norms.max() or 1)
        norms = np.where(norms > 0, norms, 1)
        self.register_buffer("norms", torch.from_numpy(norms))

    def forward(self, decisions: Tensor) -> Tensor:
        """Vote on a batch of decisions, one column per pair."""
        tiny = torch.finfo(decisions.dtype).tiny
        # A decision of zero is for the second class of the pair, unless ties are
        # broken: then scikit-learn counts it for the first.
        zero = tiny if self.break_ties else -tiny
        decisions = decisions + zero * (decisions == 0).to(decisions.dtype)
        winner, advantage = self._decide(self._duels(decisions))
        ranked = self._ranked(self._duels(decisions / self.norms))
        of_winner = -ranked[torch.arange(len(ranked), device=ranked.device), winner]
        behind = torch.minimum(ranked, of_winner[:, None]).amax(dim=2)
        level = torch.maximum(ranked, of_winner[:, None]).amin(dim=2)
        # Not `clamp`, which has no gradient where the two are equal.
        margins = torch.minimum(torch.maximum(advantage, behind), level)
        return _SHARPNESS * margins.scatter(1, winner[:, None], 0.0)

    def _duels(self, decisions: Tensor) -> Tensor:
        """Arrange decisions as one matrix per sample: row against column."""
        duels = decisions.new_zeros(len(decisions), self.n_classes, self.n_classes)
        duels[:, self.first, self.second] = decisions
        duels[:, self.second, self.first] = -decisions
        return duels

    def _ranked(self, duels: Tensor) -> Tensor:
        """Decisions of every class against the others, the largest first."""
        n = self.n_classes
        # The diagonal, a class against itself, is left out.
        others = ~torch.eye(n, dtype=torch.bool, device=duels.device).flatten()
        others = duels.flatten(1)[:, others].reshape(-1, n, n - 1)
        return others.sort(dim=2, descending=True).values

    def _decide(self, duels: Tensor) -> tuple[Tensor, Tensor]:
        """Find the winner, and by how much each class is ahead of it in a tie."""
        votes = (duels > 0).sum(dim=2)
        tiny = torch.finfo(duels.dtype).tiny
        if not self.break_ties:
            winner = votes.argmax(dim=1)
            later = torch.arange(self.n_classes, device=duels.device)
            advantage = torch.where(later < winner[:, None], torch.inf, -torch.inf)
            return winner, advantage.to(duels.dtype)
        confidence = duels.sum(dim=2)
        # As scikit-learn adds votes and confidences, so that rounding ties the same.
        score = votes + confidence / (3 * (confidence.abs() + 1))
        winner = score.argmax(dim=1)
        advantage = confidence - confidence.gather(1, winner[:, None])
        return winner, advantage.clamp(max=-tiny)


class SecondWinsTies(nn.Module):
    """Let the second of two logits win where they are equal, as a binary SVC does."""

    def forward(self, logits: Tensor) -> Tensor:
        """Decide the ties of a batch."""
        tie = (logits[:, 0] == logits[:, 1]).to(logits.dtype)
        ahead = torch.finfo(logits.dtype).tiny * tie
        return torch.stack([logits[:, 0], logits[:, 1] + ahead], dim=1)
