"""From class labels of any type to the indices that a network learns."""

import numpy as np
from sklearn.model_selection import train_test_split

__all__ = ["check_classes", "check_logits", "check_numbers", "encode", "hold_out"]


def check_classes(classifier, classes):
    """Check that there is something to tell apart.

    Parameters
    ----------
    classifier : estimator
        Named in the error.

    classes : ndarray of shape (n_classes,)
        Sorted and unique.

    Returns
    -------
    classes : ndarray of shape (n_classes,)
        The same.
    """
    if len(classes) < 2:
        raise ValueError(
            f"{type(classifier).__name__} needs at least 2 classes. Got {len(classes)} "
            f"class: {classes.tolist()!r}."
        )
    return classes


def check_logits(logits, n_samples, n_classes):
    """Check what a network returned.

    Parameters
    ----------
    logits : torch.Tensor
        The output of any module.

    n_samples, n_classes : int
        The shape it should have.
    """
    if tuple(logits.shape) != (n_samples, n_classes):
        raise ValueError(
            f"The network must return one logit for each of the {n_classes} classes. "
            f"It returned the shape {tuple(logits.shape)} for {n_samples} samples."
        )


def check_numbers(logits):
    """Check that a network says something of every sample.

    Minus infinity rules a class out and is an answer, unless all are ruled out. Of NaN
    no class is the most probable one.

    Parameters
    ----------
    logits : torch.Tensor of shape (n_samples, n_classes)
        The output of any module.
    """
    lost = ~logits.amax(dim=1).isfinite()
    if lost.any():
        raise ValueError(
            f"The network returned no number for {int(lost.sum())} of {len(logits)} "
            f"samples, but {logits[lost][0].tolist()}. Scale X, or look at the weights."
        )


def encode(classifier, y):
    """Turn labels into indices.

    Parameters
    ----------
    classifier : estimator
        With `classes_`, sorted.

    y : ndarray of shape (n_samples,)
        Labels.

    Returns
    -------
    indices : ndarray of shape (n_samples,)
        Where each label stands in `classes_`.
    """
    classes = classifier.classes_
    unknown = np.setdiff1d(y, classes)
    if len(unknown):
        raise ValueError(
            f"y holds {unknown.tolist()}, which {type(classifier).__name__} has not "
            f"been told of. Its classes are {classes.tolist()}."
        )
    return np.searchsorted(classes, y)


def hold_out(classifier, y, *, seed):
    """Choose the samples that decide when to stop.

    Parameters
    ----------
    classifier : estimator
        With the parameter `validation_fraction`.

    y : ndarray of shape (n_samples,)
        Labels; each class is held out in proportion.

    seed : int
        Draws the samples.

    Returns
    -------
    kept, held_out : ndarray of int
        Indices of the samples to train on, and of the others.
    """
    fraction = classifier.validation_fraction
    try:
        return train_test_split(
            np.arange(len(y)), test_size=fraction, stratify=y, random_state=seed
        )
    except ValueError as error:
        raise ValueError(
            f"early_stopping=True with validation_fraction={fraction} can not hold out "
            f"samples of every class of {len(y)} samples: {error}"
        ) from error
