"""Whatever model a user has, as a fitted classifier that takes rows."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.base import clone
from torch import nn

from robustkit._tensors import as_tensor, dtype_of, evaluating
from robustkit.bridge import as_module, takes_images, thawed, warn_if_fitted
from robustkit.classifiers._torch_classifier import TorchClassifier
from robustkit.networks import flat_input

__all__ = ["as_classifier", "fit_classifier", "unfitted_classifier"]

# Samples that a bare module is called with to see what it takes and returns.
_N_PROBES = 2


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
    model = clone(model)
    is_told = image_shape is None or not isinstance(model, TorchClassifier)
    if not is_told and not model._is_frozen and model.image_shape is None:
        model.set_params(image_shape=tuple(image_shape))
    return model


def fit_classifier(
    classifier: Any, rows: Any, y: Any, *, image_shape: Sequence[int] | None = None
) -> Any:
    """Fit what `unfitted_classifier` returned; the result takes rows.

    Skorch nets are fitted to images, all other models to rows.
    """
    X = rows
    if image_shape is not None and takes_images(classifier):
        X = np.reshape(rows, (len(rows), *image_shape))
    return as_classifier(classifier.fit(X, y), rows, y, image_shape=image_shape)


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
    if isinstance(inner, nn.Module):
        image_shape, logits = _shape_that_fits(inner, rows, image_shape)
        classes = _check_labels(inner, y, logits.shape[1])
        return _wrap(inner, classes, image_shape)
    if image_shape is None:
        return model
    if takes_images(inner):
        module = as_module(inner)
        image_shape, logits = _shape_that_fits(module, rows, image_shape)
        classes = getattr(inner, "classes_", None)
        classes = np.arange(logits.shape[1]) if classes is None else np.asarray(classes)
        return _wrap(module, classes, image_shape)
    if isinstance(inner, TorchClassifier) and inner._is_frozen:
        return _told_image_shape(inner, rows, image_shape)
    return model


def _wrap(module, classes, image_shape):
    classifier = TorchClassifier.from_module(module, classes)
    if image_shape is not None:
        # The very shape that the module was tried with; a batch of (n, height, width)
        # need not have a channel.
        classifier.n_features_in_ = int(np.prod(image_shape))
        classifier._image_shape = tuple(image_shape)
    return classifier


def _told_image_shape(classifier, rows, image_shape):
    """Tell the shape of its images to a wrapped module that was never told it."""
    if classifier._image_shape is not None:
        return classifier
    try:
        image_shape, _ = _shape_that_fits(classifier.module_, rows, image_shape)
    except ValueError:
        # A module that takes rows.
        return classifier
    return _wrap(classifier.module_, classifier.classes_, image_shape)


def _shape_that_fits(
    module: nn.Module, rows: NDArray, image_shape: Sequence[int] | None
) -> tuple[Sequence[int] | None, torch.Tensor]:
    """Call a module; add the channel that images of (n, height, width) may lack."""
    try:
        return image_shape, _probe(module, rows, image_shape)
    except ValueError:
        if image_shape is None or len(image_shape) != 2:
            raise
        with_channel = (1, *image_shape)
        return with_channel, _probe(module, rows, with_channel)


def _probe(module: nn.Module, rows: Any, image_shape: Sequence[int] | None):
    """Logits of the first samples."""
    rows = np.asarray(rows)[:_N_PROBES]
    weight = next(module.parameters(), torch.empty(0))
    samples = as_tensor(rows, device=weight.device, dtype=dtype_of(module))
    shape = tuple(rows.shape if image_shape is None else (len(rows), *image_shape))
    name = type(module).__name__
    try:
        with torch.no_grad(), evaluating(module), torch.random.fork_rng(devices=[]):
            logits = flat_input(module, image_shape)(samples)
    except (RuntimeError, ValueError, TypeError, IndexError) as error:
        reason = str(error).strip().partition("\n")[0]
        raise ValueError(
            f"{name} cannot be called with X, in batches of shape (n, "
            f"{', '.join(map(str, shape[1:]))}): {reason}. Pass X in the shape that "
            "the module takes, such as (n, channels, height, width), or pass "
            "TorchClassifier.from_module(module, classes, image_shape=...)."
        ) from error
    is_matrix = torch.is_tensor(logits) and logits.ndim == 2
    if not is_matrix or len(logits) != len(rows) or logits.shape[1] < 2:
        got = tuple(logits.shape) if torch.is_tensor(logits) else type(logits).__name__
        raise ValueError(
            f"{name} must return one logit for each of at least two classes, of shape "
            f"({len(rows)}, n_classes) for {len(rows)} samples. It returned {got}."
        )
    return logits


def _check_labels(module, y, n_classes):
    classes = np.arange(n_classes)
    labels = [] if y is None else np.unique(np.asarray(y)).tolist()
    unknown = [label for label in labels if label not in range(n_classes)]
    if unknown:
        raise ValueError(
            f"The classes of a bare {type(module).__name__} with {n_classes} outputs "
            f"are 0 to {n_classes - 1}. Got y with {unknown[:5]}. Name them in the "
            "order of the outputs: TorchClassifier.from_module(module, classes=[...])."
        )
    return classes
