"""Torch modules of what computes with kernels: support vectors and feature maps."""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.decomposition import KernelPCA
from sklearn.kernel_approximation import Nystroem, RBFSampler
from sklearn.svm import SVC, NuSVC
from sklearn.utils.validation import check_is_fitted
from torch import Tensor, nn

from robustkit.bridge._as_module import as_module
from robustkit.bridge._sklearn_transformers import (
    ElementwiseScale,
    Normalize,
    dense,
    in_double,
    linear,
    two_logits,
)
from robustkit.bridge._votes import NEVER, PairwiseVotes, SecondWinsTies, spread

__all__ = ["Kernel", "check_saw_all", "kernel_decisions"]

_KERNELS = ("linear", "poly", "polynomial", "rbf", "sigmoid", "laplacian", "cosine")

# Rows of a kernel matrix that are computed at once.
_CHUNK = 1024


class Kernel(nn.Module):
    """The kernel of every sample with each of some given points.

    Parameters
    ----------
    name : str
        As scikit-learn names it.

    points : ndarray of shape (n_points, n_features)
        The given points.

    gamma, coef0, degree : float
        As in scikit-learn.
    """

    points: Tensor

    def __init__(
        self,
        name: str,
        points: NDArray,
        gamma: float = 1.0,
        coef0: float = 1.0,
        degree: float = 3,
    ) -> None:
        super().__init__()
        self.name, self.gamma, self.coef0 = name, float(gamma), float(coef0)
        # A whole number is a product of factors, which rounds as libsvm does.
        self.degree = int(degree) if degree == int(degree) else float(degree)
        points = np.array(points, dtype=np.float64)
        self.register_buffer("points", torch.from_numpy(points))

    def forward(self, x: Tensor) -> Tensor:
        """Compute the kernel of a batch, one column per point."""
        # From the differences: products lose the digits of a distance far from zero.
        exact = {"compute_mode": "donot_use_mm_for_euclid_dist"}
        if self.name == "rbf":
            distances = torch.cdist(x, self.points, p=2.0, **exact)
            return (-self.gamma * distances.square()).exp()
        if self.name == "laplacian":
            return (-self.gamma * torch.cdist(x, self.points, p=1.0, **exact)).exp()
        if self.name == "cosine":
            normalize = Normalize("l2")
            return normalize(x) @ normalize(self.points).T
        products = x @ self.points.T
        if self.name == "linear":
            return products
        products = self.gamma * products + self.coef0
        return products.tanh() if self.name == "sigmoid" else products**self.degree

    def among_points(self, rows: slice) -> Tensor:
        """Compute it of some of the points with all, fast rather than to all digits."""
        if self.name != "rbf":
            return self(self.points[rows])
        points = self.points - self.points.mean(dim=0)
        fast = {"compute_mode": "use_mm_for_euclid_dist"}
        squares = torch.cdist(points[rows], points, **fast).square()
        return (-self.gamma * squares).exp()


def _check_kernel(name: Any, owner: str, known: tuple[str, ...] = _KERNELS) -> None:
    if not isinstance(name, str) or name not in known:
        kernels = ", ".join(map(repr, known))
        raise TypeError(
            f"as_module knows {owner} with the kernels {kernels}, not {name!r}. Use "
            "one of those, or an attack that needs no gradient, such as OnePixelAttack."
        )


@as_module.register(SVC)
@as_module.register(NuSVC)
def _support_vector_classifier(classifier: SVC | NuSVC) -> nn.Module:
    features, coef, intercept = kernel_decisions(classifier)
    n_classes = len(classifier.classes_)
    if n_classes == 2:
        last = linear(*two_logits(coef, intercept))
        return in_double(*features, last, SecondWinsTies())
    # With "ovo", predict refuses to break ties.
    break_ties = classifier.break_ties and classifier.decision_function_shape == "ovr"
    seen = np.arange(n_seen(classifier))
    if break_ties:
        check_saw_all(classifier)
    votes = PairwiseVotes(len(seen), _norms(features, coef), break_ties)
    module = in_double(*features, linear(coef, intercept), votes)
    # Its `predict` numbers the classes that it was trained on from zero.
    return spread(module, seen, n_classes, NEVER)


def n_seen(classifier: SVC | NuSVC) -> int:
    """Count the classes that a support vector machine was trained on.

    They are fewer than `classes_` where all samples of a class have the weight zero.
    """
    return len(classifier.n_support_)


def check_saw_all(classifier: SVC | NuSVC) -> None:
    """Refuse the decisions for each class where scikit-learn cannot compute them."""
    n_classes, n_trained = len(classifier.classes_), n_seen(classifier)
    if n_trained < n_classes:
        name = type(classifier).__name__
        raise TypeError(
            f"{name} has no decision for each of its {n_classes} classes, as only "
            f"{n_trained} of them have samples with a weight. Use break_ties=False and "
            "no decision_function, or leave out the other classes."
        )


def kernel_decisions(
    classifier: SVC | NuSVC,
) -> tuple[list[Kernel], NDArray, NDArray]:
    """Return the features in which the decision of each pair of classes is linear.

    They are none for a linear kernel, and else the kernel with every support vector;
    then the coefficients and the intercepts.
    """
    check_is_fitted(classifier)
    kernel, intercept = classifier.kernel, classifier.intercept_
    if kernel == "linear":
        return [], dense(classifier.coef_), intercept
    name = type(classifier).__name__
    _check_kernel(kernel, name, ("linear", "poly", "rbf", "sigmoid"))
    points = dense(classifier.support_vectors_)
    arguments = classifier._gamma, classifier.coef0, classifier.degree
    return [Kernel(kernel, points, *arguments)], _of_pairs(classifier), intercept


def _of_pairs(classifier: SVC | NuSVC) -> NDArray:
    """Coefficient of every support vector in the decision between two classes.

    libsvm keeps, for a support vector, one for each of the other classes.
    """
    dual = dense(classifier.dual_coef_)
    n_classes = n_seen(classifier)
    if n_classes == 2:
        return dual
    first, second = np.triu_indices(n_classes, k=1)
    own = np.repeat(np.arange(n_classes), classifier.n_support_)
    of_first = (own == first[:, None]) * dual[second - 1]
    return of_first + (own == second[:, None]) * dual[first]


def _norms(features: list[Kernel], coef: NDArray) -> NDArray:
    """Length of the weights of each decision, in the space of the kernel."""
    if not features:
        return np.linalg.norm(coef, axis=1)
    (kernel,) = features
    squares = np.zeros(len(coef))
    for start in range(0, coef.shape[1], _CHUNK):
        rows = slice(start, start + _CHUNK)
        values = kernel.among_points(rows).numpy()
        squares += ((coef[:, rows] @ values) * coef).sum(axis=1)
    # The sigmoid is no kernel: its "lengths" may be imaginary.
    return np.sqrt(np.abs(squares))


@as_module.register(KernelPCA)
def _kernel_pca(pca: KernelPCA) -> nn.Module:
    check_is_fitted(pca)
    _check_kernel(pca.kernel, "KernelPCA")
    kernel = Kernel(pca.kernel, dense(pca.X_fit_), pca.gamma_, pca.coef0, pca.degree)
    used = pca.eigenvalues_ != 0
    axes = np.zeros_like(pca.eigenvectors_)
    axes[:, used] = pca.eigenvectors_[:, used] / np.sqrt(pca.eigenvalues_[used])
    # Centering a row of the kernel is centering the axes.
    axes -= axes.mean(axis=0)
    center = ElementwiseScale(center=pca._centerer.K_fit_rows_)
    return in_double(kernel, center, linear(axes.T, np.zeros(axes.shape[1])))


@as_module.register(Nystroem)
def _nystroem(nystroem: Nystroem) -> nn.Module:
    check_is_fitted(nystroem)
    _check_kernel(nystroem.kernel, "Nystroem")
    points = dense(nystroem.components_)
    defaults = {"gamma": 1 / points.shape[1], "coef0": 1, "degree": 3}
    chosen = {
        name: default if (given := getattr(nystroem, name)) is None else given
        for name, default in defaults.items()
    }
    chosen |= nystroem.kernel_params or {}
    weight = nystroem.normalization_
    last = linear(weight, np.zeros(len(weight)))
    return in_double(Kernel(nystroem.kernel, points, **chosen), last)


@as_module.register(RBFSampler)
def _rbf_sampler(sampler: RBFSampler) -> nn.Module:
    check_is_fitted(sampler)
    weight = sampler.random_weights_.T
    scale = ElementwiseScale(scale=(2.0 / len(weight)) ** 0.5)
    return in_double(linear(weight, sampler.random_offset_), Cosine(), scale)


class Cosine(nn.Module):
    """The cosine of every feature."""

    def forward(self, x: Tensor) -> Tensor:
        """Compute it for a batch."""
        return x.cos()
