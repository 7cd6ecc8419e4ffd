"""Whatever model a user has, as a fitted classifier that takes rows."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from sklearn.base import clone
from torch import nn

from robustkit._samples import check_layout
from robustkit.bridge import (
    as_module,
    check_feature_names,
    image_shape_of,
    input_shape,
    is_frozen,
    shaped_for,
    takes_images,
    thawed,
    try_out,
    warn_if_fitted,
)
from robustkit.classifiers._base import BaseNetClassifier
from robustkit.classifiers._torch_classifier import TorchClassifier, with_channels

__all__ = ["as_classifier", "fit_classifier", "fit_on_stream", "unfitted_classifier"]


def unfitted_classifier(
    model: Any,
    rows: Any,
    y: Any = None,
    *,
    owner: Any,
    image_shape: Sequence[int] | None = None,
) -> Any:
    """Return what `fit` of a meta-estimator fits: mostly a clone of its `estimator`.

    A bare module becomes a frozen classifier, as `as_classifier` makes it, and so it
    stays one; frozen models are themselves. A fitted model that is not frozen gives a
    warning: `owner` is about to train a new one.
    """
    if isinstance(thawed(model), nn.Module):
        return as_classifier(model, rows, y, image_shape=image_shape)
    warn_if_fitted(model, owner)
    return clone(model)


def fit_classifier(
    classifier: Any, rows: Any, y: Any, *, image_shape: Sequence[int] | None = None
) -> Any:
    """Fit what `unfitted_classifier` returned; the result takes rows.

    Skorch nets and a `TorchClassifier` are fitted to images, all other models to rows.
    """
    classifier = classifier.fit(shaped_for(classifier, rows, image_shape), y)
    return as_classifier(classifier, rows, y, image_shape=image_shape)


def fit_on_stream(
    classifier: Any,
    stream: Any,
    rows: Any,
    y: Any,
    *,
    image_shape: Sequence[int] | None = None,
) -> Any:
    """Do what `fit_classifier` does where the samples come in batches.

    `rows` and `y` are the first few. Only networks train on a stream.
    """
    if is_frozen(classifier):
        return fit_classifier(classifier, rows, y, image_shape=image_shape)
    if isinstance(classifier, BaseNetClassifier):
        return classifier.fit(stream)
    raise TypeError(
        f"{type(classifier).__name__} cannot be trained on a {type(stream).__name__}. "
        "Pass a trained model, as FrozenEstimator(model) or a torch.nn.Module, or a "
        "TorchClassifier."
    )


def as_classifier(
    model: Any,
    rows: Any,
    y: Any = None,
    *,
    image_shape: Sequence[int] | None = None,
) -> Any:
    """Turn a fitted model of any kind into a classifier that takes rows.

    Parameters
    ----------
    model : object
        A fitted classifier, which is returned as it is; a fitted skorch net; or a
        torch.nn.Module. The module must return one logit per class, and its classes are
        0, 1, 2, ... It is neither trained nor copied.

    rows : array-like of shape (n_samples, n_features)
        Samples of the kind that the model will be asked about.

    y : array-like, default=None
        Labels, to be checked against the classes of a module.

    image_shape : tuple of int, default=None
        What the samples were before they became rows. Modules and skorch nets are given
        them in that shape.

    Returns
    -------
    classifier : object
        A fitted classifier.
    """
    inner = thawed(model)
    check_feature_names(inner, rows)
    if isinstance(inner, nn.Module):
        image_shape = input_shape(inner, rows, image_shape, wants_images=True)
        classes = np.arange(_n_outputs(inner, rows, image_shape))
        _check_labels(inner, y, classes)
        return _wrap(inner, classes, image_shape)
    if image_shape is None:
        return model
    check_layout(image_shape, image_shape_of(inner))
    if takes_images(inner):
        module = as_module(inner)
        image_shape = input_shape(module, rows, image_shape, wants_images=True)
        classes = getattr(inner, "classes_", None)
        if classes is None:
            classes = range(_n_outputs(module, rows, image_shape))
        return _wrap(module, classes, image_shape)
    if getattr(inner, "_is_frozen", False) and inner._image_shape is None:
        # A wrapped module that was never told the shape of its images.
        module = inner.module_
        image_shape = input_shape(module, rows, image_shape, wants_images=False)
        if image_shape is not None:
            return _wrap(module, inner.classes_, image_shape)
    return model


def _wrap(module, classes, image_shape):
    classifier = TorchClassifier.from_module(module, classes)
    if image_shape is not None:
        # The very shape that the module was tried with; a batch of (n, height, width)
        # need not have a channel.
        classifier.n_features_in_ = int(np.prod(image_shape))
        classifier._image_shape = tuple(image_shape)
        classifier.image_shape_ = with_channels(image_shape)
    return classifier


def _n_outputs(module, rows, image_shape):
    logits = try_out(module, rows, image_shape)
    n_rows = min(len(rows), 2)
    is_matrix = torch.is_tensor(logits) and logits.ndim == 2
    if not is_matrix or len(logits) != n_rows or logits.shape[1] < 2:
        got = tuple(logits.shape) if torch.is_tensor(logits) else type(logits).__name__
        raise ValueError(
            f"{type(module).__name__} must return one logit for each of at least two "
            f"classes, of shape ({n_rows}, n_classes) for {n_rows} samples. It "
            f"returned {got}."
        )
    return logits.shape[1]


def _check_labels(module, y, classes):
    known = classes.tolist()
    labels = [] if y is None else np.unique(np.asarray(y)).tolist()
    unknown = [label for label in labels if label not in known]
    if unknown:
        raise ValueError(
            f"The classes of a bare {type(module).__name__} with {len(known)} outputs "
            f"are 0 to {known[-1]}. Got y with {unknown[:5]}. Name them in the order "
            "of the outputs: TorchClassifier.from_module(module, classes=[...])."
        )
