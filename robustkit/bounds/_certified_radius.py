"""How far around every sample a proof reaches that the model makes no error."""

from __future__ import annotations

import time
import warnings
from dataclasses import replace
from numbers import Integral, Real
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import torch
from sklearn.base import ClassifierMixin, MetaEstimatorMixin
from sklearn.linear_model import LogisticRegression
from sklearn.utils import get_tags
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, column_or_1d, validate_data

from robustkit._samples import flat_samples, places_of
from robustkit._sklearn_private import (
    HasMethods,
    Interval,
    StrOptions,
    _fit_context,
)
from robustkit._summary import Report
from robustkit._tensors import on_device, resolve_device
from robustkit._validation import caller_depth, check_range, learn_clip
from robustkit.bounds._linear_bounds import DOUBLE, SINGLE
from robustkit.bounds._radius import Search, certified_radii
from robustkit.bounds._relu_network import ReluNetwork, refuse_imprecise
from robustkit.bridge import TakesModel, as_module, image_shape_of, thawed
from robustkit.classifiers import (
    answers_in_double,
    fit_classifier,
    predicts_largest_logit,
    unfitted_classifier,
)
from robustkit.exceptions import UndecidedSamplesWarning

if TYPE_CHECKING:
    from typing import Any, Self

    from numpy.typing import ArrayLike, NDArray

__all__ = ["CertifiedRadius", "radii_from"]

_QUANTILES = (10, 25, 75, 90)


class CertifiedRadius(ClassifierMixin, MetaEstimatorMixin, TakesModel):
    """The radius around every sample within which the model provably makes no error.

    It is a lower bound on the distance of the nearest error, as the perturbation that
    an attack finds is an upper bound.

    Read more in the :ref:`User Guide <guide_distances>`.

    Parameters
    ----------
    estimator : object, default=None
        The model: a network of linear layers, convolutions, maximum pooling and ReLU, a
        sparse network, a linear model, or a pipeline of one of those after affine steps
        such as scalers and PCA. Wrapped in :class:`~sklearn.frozen.FrozenEstimator`, it
        is analysed as it is; otherwise `fit` fits a clone. None is
        :class:`~sklearn.linear_model.LogisticRegression`.

    norm : {"linf", "l2"}, default="linf"
        In which distances are measured.

    method : {"crown", "interval", "split"}, default="crown"
        "interval": interval arithmetic, cheap and far from tight in deep networks.
        "crown": linear bounds, carried backward through the network [1]_. "split": then
        also branch and bound by the signs of units; parts that are nearly proved are
        bounded again, over the region where an error is still possible [2]_.

    max_subproblems : int, default=16
        Up to how many subproblems branch and bound makes of one ball, each of which may
        be bounded a few times. Only for ``method="split"``.

    max_seconds : float, default=None
        When this many seconds are over, :meth:`radii` returns what is proved until
        then. None: no limit.

    clip : "auto", tuple of two floats or None, default="auto"
        Range of every feature: errors outside do not count. "auto" is (0, 1) if the
        training data lie in it, else no range.

    batch_size : int, default=512
        Samples bounded at once; of networks with many units or features fewer are.

    device : str or torch.device, default="auto"
        The bounds are computed on the CPU, in double precision: "auto" or "cpu".

    Attributes
    ----------
    estimator_ : object
        The fitted model.

    classes_ : ndarray of shape (n_classes,)
        Class labels of the model.

    clip_ : tuple of two floats or None
        The range in which errors count.

    n_features_in_ : int
        Number of features seen during fit.

    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Names of features seen during fit. Defined only when `X` has feature names
        that are all strings.

    See Also
    --------
    robustkit.attacks.OnePixelAttack : Proves that no single pixel fools.
    robustkit.attacks.PGDAttack : Finds errors, and proves nothing.

    Notes
    -----
    A radius r says: the model predicts the true class for every sample at a distance of
    at most r in the clip range. That is about what `predict` computes, and so about
    rounding too: every sum of n products may be off by :math:`n u / (1 - n u)` times
    the sum of their absolute values, with the unit roundoff u of single precision
    unless everything is in double precision. That holds for any order of the sums, with
    and without fused multiplications; it does not hold for arithmetic that is less
    precise, such as half precision, TF32 and the transforms by which cuDNN and NNPACK
    compute convolutions. A network for which torch is set to such arithmetic is
    refused, and so is a convolution that is not on the CPU. `predict` must then be
    asked under the same settings.

    A linear model or perceptron of scikit-learn counts as computing in double precision
    if all of the model was fitted on float64 and samples are float64; everything else
    counts as single precision. Samples of float16 are refused.

    A network with a part of another kind, or with one that is not what its type says (a
    subclass with another `forward`, a hook, a parametrization), is refused by name. So
    is a model whose `predict` may answer otherwise than with the largest logit: a
    support vector machine of more than two classes, which counts votes, or one whose
    products with support vectors all but cancel.

    References
    ----------
    .. [1] H. Zhang, T.-W. Weng, P.-Y. Chen, C.-J. Hsieh and L. Daniel. Efficient neural
       network robustness certification with general activation functions. NeurIPS 2018.
    .. [2] S. Kotha, C. Brix, Z. Kolter, K. Dvijotham and H. Zhang. Provably bounding
       neural network preimages. NeurIPS 2023.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from robustkit.bounds import CertifiedRadius
    >>> X, y = load_digits(return_X_y=True)
    >>> X, y = X[:300] / 16, y[:300]
    >>> certified = CertifiedRadius().fit(X, y)
    >>> radii = certified.radii(X, y)
    >>> radii.shape
    (300,)
    >>> certified.certified_accuracy(X, y, eps=[0.0, 0.1, 0.2]).round(1)
    array([1. , 0.9, 0.1])
    """

    _parameter_constraints: dict = {
        "estimator": [HasMethods(["fit", "predict"]), torch.nn.Module, None],
        "norm": [StrOptions({"linf", "l2"})],
        "method": [StrOptions({"crown", "interval", "split"})],
        "max_subproblems": [Interval(Integral, 1, None, closed="left")],
        "max_seconds": [Interval(Real, 0, None, closed="neither"), None],
        "clip": [StrOptions({"auto"}), "array-like", None],
        "batch_size": [Interval(Integral, 1, None, closed="left")],
        "device": [str, torch.device],
    }

    estimator_: Any
    classes_: NDArray
    clip_: tuple[float, float] | None
    n_features_in_: int
    feature_names_in_: NDArray

    def __init__(
        self,
        estimator: Any = None,
        *,
        norm: str = "linf",
        method: str = "crown",
        max_subproblems: int = 16,
        max_seconds: float | None = None,
        clip: str | tuple[float, float] | None = "auto",
        batch_size: int = 512,
        device: str | torch.device = "auto",
    ) -> None:
        self.estimator = estimator
        self.norm = norm
        self.method = method
        self.max_subproblems = max_subproblems
        self.max_seconds = max_seconds
        self.clip = clip
        self.batch_size = batch_size
        self.device = device

    @_fit_context(prefer_skip_nested_validation=False)
    def fit(self, X: ArrayLike, y: ArrayLike) -> Self:
        """Fit the model, and learn the range of its data.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features) or images
            Training samples. Images are an array or tensor of shape (n_samples,
            channels, height, width); those of uint8 are divided by 255.

        y : array-like of shape (n_samples,)
            Class labels.

        Returns
        -------
        self : object
            Ready to prove.
        """
        # The model gets the data with the names of their columns.
        given, image_shape = flat_samples(X)
        self._image_shape = image_shape
        X, y = validate_data(self, given, y, dtype=[np.float32, np.float64])
        check_classification_targets(y)
        self.clip_ = learn_clip(self.clip, X)
        model = LogisticRegression() if self.estimator is None else self.estimator
        model = unfitted_classifier(
            model, given, y, owner=self, image_shape=image_shape
        )
        self.estimator_ = fit_classifier(model, given, y, image_shape=image_shape)
        self.classes_ = np.asarray(self.estimator_.classes_)
        self._network()
        return self

    def radii(self, X: ArrayLike, y: ArrayLike | None = None) -> NDArray:
        """Prove for every sample a radius within which the model makes no error.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features) or images
            Samples; see :meth:`fit`.

        y : array-like of shape (n_samples,), default=None
            True labels. None: what the model itself predicts.

        Returns
        -------
        radii : ndarray of shape (n_samples,)
            Zero where the model is wrong or nothing could be proved, infinite where it
            is right everywhere in the clip range.
        """
        return self._prove(X, y)[0]

    def _prove(self, given, y, guess=None):
        """Return the radii, whether the model is right, and whether they are settled.

        `guess` are the radii that are tried first.
        """
        check_is_fitted(self)
        self._validate_params()
        given, _ = flat_samples(given, image_shape_of(self))
        dtypes = [np.float32, np.float64, np.float16]
        X = validate_data(self, given, dtype=dtypes, order="C", reset=False)
        if X.dtype == np.float16:
            raise ValueError(
                "'X' must be float32 or float64: of samples in half precision, steps "
                "such as scalers compute in half precision. Got float16."
            )
        if self.clip_ is not None:
            check_range(X.min(), X.max(), *self.clip_)
        predicted = self._encode(self.estimator_.predict(given), len(X))
        labels = predicted if y is None else self._encode(column_or_1d(y), len(X))
        right = predicted == labels
        network = self._network()
        seconds = np.inf if self.max_seconds is None else self.max_seconds
        search = Search(
            norm=self.norm,
            method=self.method,
            clip=self.clip_,
            max_subproblems=self.max_subproblems,
            batch_size=self.batch_size,
            deadline=time.perf_counter() + seconds,
        )
        radii, settled = np.zeros(len(X)), np.ones(len(X), dtype=bool)
        radii[right], settled[right] = certified_radii(
            network,
            X[right],
            labels[right],
            search,
            self._roundoff(network, X.dtype),
            None if guess is None else guess[right],
        )
        if not settled.all():
            warnings.warn(
                f"Time was up after max_seconds={self.max_seconds}: the radii of "
                f"{int((~settled).sum())} of {len(X)} samples are what had been proved "
                "until then.",
                UndecidedSamplesWarning,
                stacklevel=caller_depth(),
            )
        return radii, right, settled

    def _network(self):
        """Take the model apart, or refuse it."""
        if resolve_device(self.device).type != "cpu" and self.device != "auto":
            raise ValueError(
                "The 'device' parameter of CertifiedRadius must be 'auto' or 'cpu', "
                f"where bounds are computed. Got {self.device!r} instead."
            )
        model = self.estimator_
        module = as_module(model)
        if not predicts_largest_logit(model, module):
            raise TypeError(
                "CertifiedRadius needs a model whose predict is known to answer with "
                f"the largest logit of its module. {type(thawed(model)).__name__} may "
                "answer otherwise."
            )
        refuse_imprecise(module, "CertifiedRadius")
        module = on_device(module, torch.device("cpu"))
        network = ReluNetwork(module, self.n_features_in_)
        if network.n_outputs != len(self.classes_):
            raise ValueError(
                f"The module must return one logit for each of the {len(self.classes_)}"
                f" classes. It returns {network.n_outputs}."
            )
        return network

    def _roundoff(self, network, dtype):
        """Return the unit roundoff of what `predict` computes."""
        exact = network.is_double and dtype == np.float64
        return DOUBLE if exact and answers_in_double(self.estimator_) else SINGLE

    def _encode(self, labels, n_samples):
        """Turn labels into indices of classes."""
        if len(labels) != n_samples:
            raise ValueError(
                f"'y' must have one label per sample. Got {len(labels)} labels for "
                f"{n_samples} samples."
            )
        index = places_of(labels, self.classes_)
        if (index < 0).any():
            got = np.asarray(labels)[index < 0].tolist()[0]
            raise ValueError(
                f"'y' must hold classes of the model, which are "
                f"{self.classes_.tolist()}. Got {got!r}."
            )
        return index

    def certified_accuracy(
        self, X: ArrayLike, y: ArrayLike, eps: ArrayLike
    ) -> float | NDArray:
        """Share of samples that are right, and provably so within a distance.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features) or images
            Samples; see :meth:`fit`.

        y : array-like of shape (n_samples,)
            True labels.

        eps : float or array-like of shape (n_eps,)
            Distances.

        Returns
        -------
        accuracy : float or ndarray of shape (n_eps,)
            One for every distance, all from the same radii.
        """
        eps = np.asarray(eps, dtype=np.float64)
        if eps.ndim > 1 or not (eps >= 0).all():
            raise ValueError(
                "'eps' must be a number or a list of numbers that are at least 0. Got "
                f"{eps.tolist()}."
            )
        radii, right, _ = self._prove(X, y)
        accuracy = (right & (radii >= eps[..., None])).mean(axis=-1)
        return accuracy if eps.ndim else float(accuracy)

    def predict(self, X: ArrayLike) -> NDArray:
        """Ask the model.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features) or images
            Samples; see :meth:`fit`.

        Returns
        -------
        labels : ndarray of shape (n_samples,)
            What the model predicts.
        """
        check_is_fitted(self)
        X, _ = flat_samples(X, image_shape_of(self))
        validate_data(self, X, reset=False, dtype=None, ensure_all_finite=False)
        return self.estimator_.predict(X)

    def score(self, X: ArrayLike, y: ArrayLike) -> float:
        """Median of the radii; those of samples that the model gets wrong are zero.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features) or images
            Samples; see :meth:`fit`.

        y : array-like of shape (n_samples,)
            True labels.

        Returns
        -------
        score : float
            The larger, the more robust.
        """
        return float(np.median(self.radii(X, y)))

    def report(self, X: ArrayLike, y: ArrayLike) -> pd.Series:
        """Prove, and summarize what came out.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features) or images
            Samples; see :meth:`fit`.

        y : array-like of shape (n_samples,)
            True labels.

        Returns
        -------
        report : pandas.Series
            `n_samples`, `n_correct`, `n_proved` (with a radius above zero), `n_settled`
            (not cut short by `max_seconds`), `clean_accuracy`, and over all samples,
            those that are wrong with zero, `median_radius`, `mean_radius` and the
            quantiles `radius_q10`, `radius_q25`, `radius_q75` and `radius_q90`.
        """
        radii, right, settled = self._prove(X, y)
        report = {
            "n_samples": len(radii),
            "n_correct": int(right.sum()),
            "n_proved": int((radii > 0).sum()),
            "n_settled": int(settled.sum()),
            "clean_accuracy": float(right.mean()),
            "median_radius": float(np.median(radii)),
            "mean_radius": float(radii.mean()),
        }
        for share in _QUANTILES:
            # Of infinite radii nothing can be interpolated.
            quantile = np.quantile(radii, share / 100, method="inverted_cdf")
            report[f"radius_q{share}"] = float(quantile)
        return Report(report, name="report", dtype=object)

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        # A bare module has no tags.
        if hasattr(self.estimator, "__sklearn_tags__"):
            of_model = get_tags(thawed(self.estimator)).classifier_tags
            # A proof is about the one class that is predicted.
            tags.classifier_tags = replace(of_model, multi_label=False)
        return tags


def radii_from(
    certified: CertifiedRadius, X: ArrayLike, y: ArrayLike, guess: NDArray
) -> NDArray:
    """Prove radii as `CertifiedRadius.radii` does, from a guess for every sample.

    It changes nothing but the time it takes.
    """
    return certified._prove(X, y, guess)[0]
