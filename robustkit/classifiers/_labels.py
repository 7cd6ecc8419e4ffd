"""From class labels of any type to the indices that a network learns."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.model_selection import train_test_split
from torch import Tensor

__all__ = ["check_classes", "check_logits", "check_numbers", "encode", "hold_out"]


def check_classes(classifier: Any, classes: NDArray) -> NDArray:
    """Return sorted, unique classes if there are at least two of them."""
    if len(classes) < 2:
        raise ValueError(
            f"{type(classifier).__name__} needs at least 2 classes. Got {len(classes)} "
            f"class: {classes.tolist()!r}."
        )
    return classes


def check_logits(logits: Tensor, n_samples: int, n_classes: int) -> None:
    """Check the shape of what a network returned."""
    if tuple(logits.shape) != (n_samples, n_classes):
        raise ValueError(
            f"The network must return one logit for each of the {n_classes} classes. "
            f"It returned the shape {tuple(logits.shape)} for {n_samples} samples."
        )


def check_numbers(logits: Tensor) -> None:
    """Check that the logits of every sample have a largest one.

    Minus infinity rules a class out and is valid, unless all are ruled out. NaN has no
    most probable class.
    """
    lost = ~logits.amax(dim=1).isfinite()
    if lost.any():
        raise ValueError(
            f"The network returned no number for {int(lost.sum())} of {len(logits)} "
            f"samples, but {logits[lost][0].tolist()}. Scale X, or look at the weights."
        )


def encode(classifier: Any, y: NDArray) -> NDArray:
    """Turn labels into their indices in `classes_`."""
    classes = classifier.classes_
    unknown = np.setdiff1d(y, classes)
    if len(unknown):
        raise ValueError(
            f"y holds {unknown.tolist()}, which {type(classifier).__name__} has not "
            f"been told of. Its classes are {classes.tolist()}."
        )
    return np.searchsorted(classes, y)


def hold_out(classifier: Any, y: NDArray, *, seed: int) -> tuple[NDArray, NDArray]:
    """Draw the indices of the samples to train on, and of those held out.

    Each class is held out in proportion.
    """
    fraction = classifier.validation_fraction
    try:
        return train_test_split(
            np.arange(len(y)), test_size=fraction, stratify=y, random_state=seed
        )
    except ValueError as error:
        raise ValueError(
            f"early_stopping=True with validation_fraction={fraction} cannot hold out "
            f"samples of every class of {len(y)} samples: {error}"
        ) from error
