"""Many fitted classifiers as one, for whoever asks all of them about the same samples.

Only classifiers that are what they seem: networks of graphs whose predictions are those
of their modules, with the same classes, on one device, in single precision.
"""

from collections.abc import Sequence
from typing import Any, Self

import numpy as np
import torch
from sklearn.base import BaseEstimator, ClassifierMixin
from torch import nn

from robustkit._tensors import on_device
from robustkit.bridge import as_module, thawed
from robustkit.classifiers._sparse_net_classifier import SparseNetClassifier
from robustkit.networks import NetworkUnion, SparseNetwork, is_plain

__all__ = ["ClassifierUnion", "unions_of"]


class ClassifierUnion(ClassifierMixin, BaseEstimator):
    """Fitted classifiers side by side: samples stand classifier by classifier.

    Parameters
    ----------
    classifiers : list of SparseNetClassifier
        Fitted; see `unions_of`.

    module : NetworkUnion
        Of their networks, for so many samples of each.
    """

    def __init__(self, classifiers: Any, module: NetworkUnion) -> None:
        self.classifiers = classifiers
        self.module = module
        self.classes_ = classifiers[0].classes_
        self.n_features_in_ = classifiers[0].n_features_in_

    def fit(self, X: Any, y: Any) -> Self:
        """Do nothing: the classifiers are fitted."""
        return self

    def predict(self, X: Any) -> np.ndarray:
        """Ask each classifier for the classes of its samples."""
        pieces = zip(self.classifiers, self.module.slices(), strict=True)
        return np.concatenate([c.predict(X[rows]) for c, rows in pieces])

    def take(self, rows: Any) -> "ClassifierUnion":
        """Keep some of the samples, in ascending order."""
        return ClassifierUnion(self.classifiers, self.module.take(rows))


@as_module.register(ClassifierUnion)
def _module_of(union: ClassifierUnion) -> nn.Module:
    return union.module


def unions_of(
    classifiers: Sequence[Any],
    counts: Sequence[int],
    n_at_once: int,
    device: torch.device | None,
) -> list[tuple[list[int], ClassifierUnion | None]]:
    """Put classifiers together that can be asked as one about some samples.

    Parameters
    ----------
    classifiers : sequence of objects
        Fitted classifiers of any kind, or frozen ones.

    counts : sequence of int
        Samples of each.

    n_at_once : int
        Samples of all classifiers of a union, at most.

    device : torch.device or None
        Where the union is. None only finds out which would be put together.

    Returns
    -------
    groups : list of (list of int, ClassifierUnion or None)
        The places of the classifiers of each union; None for one that is by itself.
    """
    kinds: dict[tuple, list[int]] = {}
    for i, classifier in enumerate(classifiers):
        kinds.setdefault(_kind_of(thawed(classifier)) or (i,), []).append(i)
    groups: list[tuple[list[int], ClassifierUnion | None]] = []
    for places in kinds.values():
        for some in _full_groups(places, counts, n_at_once):
            if len(some) == 1 or device is None:
                groups.append((some, None))
                continue
            members = [thawed(classifiers[i]) for i in some]
            modules: list[Any] = [on_device(one.module_, device) for one in members]
            module = NetworkUnion(modules, [counts[i] for i in some]).eval()
            groups.append((some, ClassifierUnion(members, module)))
    return groups


def _full_groups(
    places: list[int], counts: Sequence[int], n_at_once: int
) -> list[list[int]]:
    """Cut a list where a group would have too many samples."""
    groups: list[list[int]] = []
    n_samples = 0
    for i in places:
        n_samples += counts[i]
        if not groups or n_samples > n_at_once:
            groups.append([])
            n_samples = counts[i]
        groups[-1].append(i)
    return groups


def _kind_of(classifier: Any) -> tuple | None:
    """Return what classifiers share that are put together; None for one by itself."""
    own = type(classifier)
    module: Any = getattr(classifier, "module_", None)
    if (
        not isinstance(classifier, SparseNetClassifier)
        or "predict" in vars(classifier)
        or any(
            getattr(own, name) is not getattr(SparseNetClassifier, name)
            for name in ("predict", "_logits", "_network")
        )
        or not is_plain(module, SparseNetwork)
        or any(w.dtype != torch.float32 for w in module.parameters())
    ):
        return None
    shape = classifier._shape_at_fit
    return (
        tuple(classifier.classes_.tolist()),
        str(classifier.classes_.dtype),
        classifier.n_features_in_,
        None if shape is None else tuple(shape),
        getattr(classifier, "feature_names_in_", np.empty(0)).astype(str).tobytes(),
    )
