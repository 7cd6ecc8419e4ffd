"""Torch modules of scikit-learn's differentiable classifiers."""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.discriminant_analysis import (
    LinearDiscriminantAnalysis,
    QuadraticDiscriminantAnalysis,
)
from sklearn.ensemble import (
    ExtraTreesClassifier,
    GradientBoostingClassifier,
    HistGradientBoostingClassifier,
    RandomForestClassifier,
)
from sklearn.linear_model import (
    LogisticRegression,
    LogisticRegressionCV,
    Perceptron,
    RidgeClassifier,
    RidgeClassifierCV,
    SGDClassifier,
)
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import (
    KNeighborsClassifier,
    NearestCentroid,
    RadiusNeighborsClassifier,
)
from sklearn.neural_network import MLPClassifier
from sklearn.svm import LinearSVC
from sklearn.tree import DecisionTreeClassifier, ExtraTreeClassifier
from sklearn.utils.validation import check_is_fitted
from torch import Tensor, nn

from robustkit.bridge._as_module import as_module
from robustkit.bridge._sklearn_transformers import (
    ElementwiseScale,
    dense,
    in_double,
    linear,
    two_logits,
)
from robustkit.bridge._votes import NEVER

__all__ = ["GaussianLogDensities", "QuadraticScores", "check_several_classes"]

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
    coef = dense(classifier.coef_)
    if len(coef) > len(classifier.classes_) or _is_multilabel(classifier):
        raise TypeError(_one_label_only(classifier))
    # That of a class with a prior of zero is minus infinity.
    intercept = np.clip(classifier.intercept_, NEVER, -NEVER)
    intercept = np.broadcast_to(intercept, len(coef))
    check_several_classes(classifier)
    weight, bias = two_logits(coef, intercept)
    n_unseen = len(classifier.classes_) - len(weight)
    if n_unseen:
        # A LinearSVC that saw two of its classes only never predicts the others.
        weight = np.pad(weight, ((0, n_unseen), (0, 0)))
        bias = np.append(bias, np.full(n_unseen, NEVER))
    return in_double(linear(weight, bias))


@as_module.register(MLPClassifier)
def _mlp_classifier(classifier: MLPClassifier) -> nn.Module:
    check_is_fitted(classifier)
    if classifier.out_activation_ == "logistic" and _is_multilabel(classifier):
        raise TypeError(_one_label_only(classifier))
    check_several_classes(classifier)
    weights = [coef.T for coef in classifier.coefs_]
    biases = list(classifier.intercepts_)
    if classifier.out_activation_ == "logistic":
        weights[-1], biases[-1] = two_logits(weights[-1], biases[-1])
    layers = []
    for weight, bias in zip(weights, biases, strict=True):
        layers += [linear(weight, bias), _ACTIVATIONS[classifier.activation]()]
    return in_double(*layers[:-1])


@as_module.register(GaussianNB)
def _gaussian_naive_bayes(classifier: GaussianNB) -> nn.Module:
    check_is_fitted(classifier)
    return in_double(
        GaussianLogDensities(
            classifier.theta_, classifier.var_, _log(classifier.class_prior_)
        )
    )


@as_module.register(QuadraticDiscriminantAnalysis)
def _quadratic_analysis(classifier: QuadraticDiscriminantAnalysis) -> nn.Module:
    check_is_fitted(classifier)
    scales = [scaling ** (-0.5) for scaling in classifier.scalings_]
    maps = [r * s for r, s in zip(classifier.rotations_, scales, strict=True)]
    volumes = np.array([np.log(scaling).sum() for scaling in classifier.scalings_])
    priors = _log(classifier.priors_)
    return in_double(
        QuadraticScores(classifier.means_, maps, volumes, priors),
        *_one_column_for_two(classifier),
    )


@as_module.register(NearestCentroid)
def _nearest_centroid(classifier: NearestCentroid) -> nn.Module:
    check_is_fitted(classifier)
    centroids, priors = classifier.centroids_, classifier.class_prior_
    # With equal priors `predict` ignores the scales that its scores have.
    if not np.isclose(priors, 1 / len(priors)).all():
        return centroid_scores(classifier)
    if classifier.metric == "manhattan":
        return in_double(Distances(centroids, p=1.0))
    # The nearest one, without the square of the sample, which is the same for all.
    return in_double(linear(2 * centroids, -np.square(centroids).sum(axis=1)))


def centroid_scores(classifier: NearestCentroid) -> nn.Module:
    """Return the module of the discriminant scores of a NearestCentroid."""
    scale = classifier.within_class_std_dev_
    scale = 1 / np.where(scale != 0, scale, 1)
    p = {"manhattan": 1.0, "euclidean": 2.0}[classifier.metric]
    distances = Distances(classifier.centroids_ * scale, p, square=True)
    priors = ElementwiseScale(offset=2.0 * _log(classifier.class_prior_))
    scores = [ElementwiseScale(scale=scale), distances, priors]
    return in_double(*scores, *_one_column_for_two(classifier))


def _log(priors: NDArray) -> NDArray:
    with np.errstate(divide="ignore"):
        return np.nan_to_num(np.log(priors).astype(np.float64), neginf=NEVER)


def _one_column_for_two(classifier: Any) -> list[nn.Module]:
    """Let two scores become (0, f), as their decision function is one column f."""
    if len(classifier.classes_) > 2:
        return []
    return [linear(np.array([[0.0, 0.0], [-1.0, 1.0]]), np.zeros(2))]


@as_module.register(DecisionTreeClassifier)
@as_module.register(ExtraTreeClassifier)
@as_module.register(ExtraTreesClassifier)
@as_module.register(GradientBoostingClassifier)
@as_module.register(HistGradientBoostingClassifier)
@as_module.register(KNeighborsClassifier)
@as_module.register(RadiusNeighborsClassifier)
@as_module.register(RandomForestClassifier)
def has_no_gradient(classifier: Any) -> nn.Module:
    """Refuse a classifier whose answer changes in jumps only."""
    check_is_fitted(classifier)
    raise TypeError(
        f"{type(classifier).__name__} has no gradient: its answer is constant between "
        "jumps. Use an attack that needs none: SquareAttack or OnePixelAttack."
    )


def check_several_classes(classifier: Any) -> None:
    """Refuse a classifier that was fitted on one class, or says so."""
    if len(classifier.classes_) < 2:
        name = type(classifier).__name__
        raise ValueError(
            f"as_module needs a {name} that was fitted on two classes or more. Got one "
            f"class: {np.asarray(classifier.classes_).tolist()}."
        )


def _is_multilabel(classifier: Any) -> bool:
    binarizer = getattr(classifier, "_label_binarizer", None)
    return getattr(binarizer, "y_type_", "").startswith("multilabel")


def _one_label_only(classifier: Any) -> str:
    return (
        f"as_module needs a {type(classifier).__name__} that gives every sample one "
        "label; this one was fitted for several labels per sample."
    )


class GaussianLogDensities(nn.Module):
    """Logarithm of the joint density of a sample and each class, independent features.

    Parameters
    ----------
    means, variances : ndarray of shape (n_classes, n_features)
        Of the features in each class.

    log_priors : ndarray of shape (n_classes,)
        Logarithms of the probabilities of the classes.
    """

    means: Tensor
    variances: Tensor
    offsets: Tensor
    log_priors: Tensor

    def __init__(self, means: NDArray, variances: NDArray, log_priors: NDArray) -> None:
        super().__init__()
        offsets = -0.5 * np.log(2.0 * np.pi * variances).sum(axis=1)
        given = {"means": means, "variances": variances, "offsets": offsets}
        for name, values in (given | {"log_priors": log_priors}).items():
            self.register_buffer(name, torch.from_numpy(np.array(values)).double())

    def forward(self, x: Tensor) -> Tensor:
        """Compute it for a batch."""
        columns = []
        # Class by class, as a batch for all classes at once may be large.
        for mean, variance, offset, prior in zip(
            self.means, self.variances, self.offsets, self.log_priors, strict=True
        ):
            distance = ((x - mean) ** 2 / variance).sum(dim=1)
            columns.append(prior + (offset - 0.5 * distance))
        return torch.stack(columns, dim=1)


class QuadraticScores(nn.Module):
    """Discriminant scores of classes that are Gaussian, each with its own covariance.

    Parameters
    ----------
    means : ndarray of shape (n_classes, n_features)
        Of each class.

    maps : list of ndarray of shape (n_features, rank)
        Each makes its class white.

    volumes, log_priors : ndarray of shape (n_classes,)
        Logarithms of the determinants of the covariances, and of the priors.
    """

    means: Tensor
    volumes: Tensor
    log_priors: Tensor

    def __init__(
        self,
        means: NDArray,
        maps: list[NDArray],
        volumes: NDArray,
        log_priors: NDArray,
    ) -> None:
        super().__init__()
        given = {"means": means, "volumes": volumes, "log_priors": log_priors}
        given |= {f"map_{k}": values for k, values in enumerate(maps)}
        for name, values in given.items():
            self.register_buffer(name, torch.from_numpy(np.array(values)).double())

    def forward(self, x: Tensor) -> Tensor:
        """Compute the scores of a batch."""
        squares = [
            ((x - mean) @ getattr(self, f"map_{k}")).square().sum(dim=1)
            for k, mean in enumerate(self.means)
        ]
        distances = torch.stack(squares, dim=1) + self.volumes
        return -0.5 * distances + self.log_priors


class Distances(nn.Module):
    """Minus the distance, or its square, to each of some points.

    Parameters
    ----------
    points : ndarray of shape (n_points, n_features)
        The points.

    p : float
        1 sums the absolute differences, 2 is the Euclidean distance.

    square : bool, default=False
        Whether the distance is squared.
    """

    points: Tensor

    def __init__(self, points: NDArray, p: float, square: bool = False) -> None:
        super().__init__()
        self.p, self.square = p, square
        self.register_buffer("points", torch.from_numpy(np.array(points)).double())

    def forward(self, x: Tensor) -> Tensor:
        """Compute it for a batch."""
        exact = "donot_use_mm_for_euclid_dist"
        distances = torch.cdist(x, self.points, p=self.p, compute_mode=exact)
        return -(distances.square() if self.square else distances)
