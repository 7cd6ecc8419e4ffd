"""A run: samples, and what one or more models make of them at some attack levels."""

from dataclasses import dataclass
from math import prod
from numbers import Real

import numpy as np
import torch
from sklearn.utils import check_array, check_consistent_length, column_or_1d

from robustkit._tensors import as_array

__all__ = ["Run", "RunView", "View"]

# By so much float32 probabilities may exceed 1.
LARGEST_ERROR = 1e-5


@dataclass(frozen=True, eq=False)
class View:
    """What one model makes of the samples, attacked to some degree.

    Parameters
    ----------
    model : str
        Name of the model.

    level : float
        Size of the perturbation; 0 for the samples as they are.

    activations : array-like of shape (n_samples, n_units)
        What a layer of the model computes for each sample, for example its logits.

    prediction : array-like of shape (n_samples,)
        Labels that the model predicts.

    confidence : array-like of shape (n_samples,), default=None
        Probability of the predicted label. None if unknown.

    X : array-like of shape (n_samples, n_features), default=None
        The perturbed samples, as images with values from 0 to 1. None if they are those
        of the run.

    regions : array-like of shape (n_samples,), default=None
        Id of the populated region of each sample, as
        :meth:`robustkit.regions.PopulatedRegionScorer.transform` gives it.

    See Also
    --------
    make_views : Views of fitted models under an attack.
    save_run : Where views go.

    Examples
    --------
    >>> from robustkit.explorer import View
    >>> view = View("M_clean", 0.0, [[0.2, 1.3], [2.1, 0.4]], [1, 0])
    >>> view.model, view.level
    ('M_clean', 0.0)
    """

    model: str
    level: float
    activations: object
    prediction: object
    confidence: object = None
    X: object = None
    regions: object = None


@dataclass(frozen=True, eq=False)
class RunView:
    """A view as it is stored: predictions are indices of classes, images are bytes."""

    model: str
    level: float
    activations: np.ndarray
    prediction: np.ndarray
    confidence: np.ndarray
    images: np.ndarray | None = None
    regions: np.ndarray | None = None


@dataclass(frozen=True, eq=False)
class Run:
    """Samples and views of them.

    Parameters
    ----------
    title : str
        What the page is called.

    y : ndarray of shape (n_samples,), dtype=int32
        Index of each sample's class.

    class_names : list of str
        Name of each class.

    image_shape : tuple of int or None
        (channels, height, width), if the samples are images.

    images : ndarray of shape (n_samples, n_bytes) or None
        The samples as images.

    views : list of RunView
        At least one.
    """

    title: str
    y: np.ndarray
    class_names: list
    image_shape: tuple | None
    images: np.ndarray | None
    views: list

    @property
    def n_samples(self):
        """How many samples there are."""
        return len(self.y)

    @property
    def models(self):
        """Names of the models, in the order in which they come."""
        return list(dict.fromkeys(view.model for view in self.views))

    def accuracy(self, view):
        """Share of the samples that the model of a view is right about."""
        return float((self.views[view].prediction == self.y).mean())


def make_run(
    *, y, views, X=None, image_shape=None, class_names=None, title=None
):  # fmt: skip
    """Check samples and views, and bring them into the form that is stored.

    Parameters
    ----------
    y : array-like of shape (n_samples,)
        True labels.

    views : list of View
        At least one.

    X : array-like of shape (n_samples, n_features), default=None
        The samples, as images with values from 0 to 1.

    image_shape : tuple of int, default=None
        (height, width) or (channels, height, width). None shows no images.

    class_names : list of str, default=None
        Names of the classes in ascending order of their labels. None takes the labels.

    title : str, default=None
        What the page is called.

    Returns
    -------
    run : Run
        Checked.
    """
    y = _labels(y, "The 'y' parameter")
    if len(y) == 0:
        raise ValueError("The 'y' parameter must hold at least one label. Got [].")
    if len(views) == 0:
        raise ValueError("The 'views' parameter must hold at least one view. Got [].")
    known = [(str(view.model), check_level(view.level)) for view in views]
    if len(set(known)) < len(known):
        raise ValueError(
            f"The 'views' parameter must hold each model and level once. Got {known}."
        )
    predictions = [
        _labels(
            _one_each(view.prediction, "prediction", view, y),
            f"The 'prediction' of view {view.model!r}",
        )
        for view in views
    ]
    labels = np.unique(np.concatenate([y, *predictions]))
    images = None
    if X is not None and image_shape is not None:
        image_shape = _channels_first(image_shape)
        images = _as_bytes(X, image_shape, len(y), "X")
    else:
        image_shape = None
    return Run(
        title="robustkit" if title is None else str(title),
        y=_encode(y, labels),
        class_names=_name_classes(class_names, labels),
        image_shape=image_shape,
        images=images,
        views=[
            _make_view(view, _encode(predicted, labels), image_shape)
            for view, predicted in zip(views, predictions, strict=True)
        ],
    )


def _make_view(view, prediction, image_shape):
    n_samples = len(prediction)
    activations = view.activations
    if torch.is_tensor(activations):
        activations = as_array(activations)
    with np.errstate(over="ignore"):
        # What overflows is refused, with infinity.
        activations = check_array(
            activations, dtype=np.float32, order="C", input_name="activations"
        )
    check_consistent_length(activations, prediction)
    confidence, regions, images = view.confidence, view.regions, None
    if confidence is None:
        confidence = np.full(n_samples, np.nan)
    else:
        confidence = _one_each(confidence, "confidence", view, prediction)
        _refuse(
            (confidence < 0) | (confidence > 1 + LARGEST_ERROR), confidence,
            f"The 'confidence' of view {view.model!r} must hold numbers from 0 to 1",
        )  # fmt: skip
    if regions is not None:
        regions = _one_each(regions, "regions", view, prediction)
        _refuse(
            ~(np.equal(np.mod(regions, 1), 0)), regions,
            f"The 'regions' of view {view.model!r} must hold integers",
        )  # fmt: skip
        regions = regions.astype(np.int64)
    if view.X is not None and image_shape is not None:
        images = _as_bytes(view.X, image_shape, n_samples, "X of a view")
    return RunView(
        str(view.model), float(view.level), activations, prediction,
        confidence.astype(np.float32), images, regions,
    )  # fmt: skip


def check_level(level):
    """Refuse what is no size of a perturbation.

    Parameters
    ----------
    level : float
        As the user gave it.

    Returns
    -------
    level : float
        Finite, from 0.
    """
    if not (isinstance(level, Real) and np.isfinite(level) and level >= 0):
        raise ValueError(
            f"The 'level' of a view must be a number from 0. Got {level!r}."
        )
    return float(level)


def _labels(values, what):
    values = column_or_1d(values)
    if values.dtype.kind == "f":
        _refuse(np.isnan(values), values, f"{what} must hold labels")
    return values


def _refuse(is_wrong, values, what):
    if is_wrong.any():
        raise ValueError(f"{what}. Got {values[is_wrong.argmax()]!r}.")


def _one_each(values, name, view, y):
    values = column_or_1d(values)
    if len(values) != len(y):
        raise ValueError(
            f"The '{name}' of view {view.model!r} at level {view.level!r} must have "
            f"one entry for each of {len(y)} samples. Got {len(values)}."
        )
    return values


def _encode(values, labels):
    return np.searchsorted(labels, values).astype(np.int32)


def _name_classes(names, labels):
    if names is None:
        return [str(label) for label in labels]
    names = [str(name) for name in names]
    if len(names) < len(labels):
        raise ValueError(
            f"The 'class_names' parameter must name {len(labels)} classes. Got "
            f"{len(names)} names."
        )
    return names


def _channels_first(image_shape):
    shape = tuple(int(side) for side in image_shape)
    if len(shape) == 2:
        shape = (1, *shape)
    if len(shape) != 3 or shape[0] not in (1, 3) or min(shape) < 1:
        raise ValueError(
            "The 'image_shape' parameter must be (height, width) or (channels, height, "
            f"width) with 1 or 3 channels. Got {image_shape!r}."
        )
    return shape


def _as_bytes(X, image_shape, n_samples, name):
    X = np.asarray(X)
    X = X.reshape(len(X), prod(X.shape[1:]))
    if X.shape != (n_samples, prod(image_shape)):
        raise ValueError(
            f"{name} must have the shape ({n_samples}, {prod(image_shape)}) to show "
            f"images of shape {image_shape}. Got {X.shape}."
        )
    if X.dtype == np.uint8:
        return np.ascontiguousarray(X)
    is_number = X.dtype.kind in "biuf"
    if not is_number or np.isnan(X).any():
        got = "NaN" if is_number else f"an array of dtype {X.dtype}"
        raise ValueError(f"{name} must hold numbers from 0 to 1, or bytes. Got {got}.")
    return np.rint(np.clip(X, 0, 1) * 255).astype(np.uint8)
