"""The nearest point that one decision tree gives another class: exactly."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.tree import DecisionTreeClassifier

__all__ = ["nearest_in_other_leaf"]

_LEAF = -1


def nearest_in_other_leaf(
    tree: DecisionTreeClassifier,
    X: NDArray,
    y: NDArray,
    *,
    norm: str = "linf",
    clip: tuple[float, float] | None = None,
    target: NDArray | None = None,
) -> tuple[NDArray, NDArray]:
    """Find, for every sample, the nearest point in a leaf of another class.

    A leaf is a box, whose nearest point is known in closed form, so the answer is
    exact, up to the spacing of single precision, in which trees compare.

    Parameters
    ----------
    tree : DecisionTreeClassifier
        A fitted tree with one output.

    X : ndarray of shape (n_samples, n_features)
        Samples.

    y : ndarray of shape (n_samples,)
        Index of the class to leave.

    norm : {"linf", "l2"}, default="linf"
        What is smallest.

    clip : tuple of two floats, default=None
        Range of every feature.

    target : ndarray of shape (n_samples,), default=None
        Index of the class to reach; None is any but `y`.

    Returns
    -------
    X_adv : ndarray of the shape and dtype of `X`
        The nearest points; the sample itself where there is none.

    distance : ndarray of shape (n_samples,)
        Infinity where no point within the clip range is in such a leaf.
    """
    nearest, distance = X.copy(), np.full(len(X), np.inf)
    compared = X.astype(np.float32)
    for leaf in _leaves(tree, clip):
        wanted = leaf.label != y if target is None else leaf.label == target
        rows = np.flatnonzero(wanted)
        if not len(rows):
            continue
        of_leaf = np.ix_(rows, leaf.features)
        old = compared[of_leaf]
        new = np.clip(old, leaf.low, leaf.high)
        # What need not move keeps all its digits.
        point = np.where(new == old, X[of_leaf], new).astype(X.dtype)
        if clip is not None:
            # Rounding to single precision may have left it.
            point = np.clip(point, *map(X.dtype.type, clip))
        move = np.abs(point.astype(np.float64) - X[of_leaf])
        if norm == "linf":
            length = move.max(axis=1, initial=0.0)
        else:
            length = np.sqrt(np.square(move).sum(axis=1))
        nearer = length < distance[rows]
        rows = rows[nearer]
        distance[rows] = length[nearer]
        nearest[rows] = X[rows]
        nearest[np.ix_(rows, leaf.features)] = point[nearer]
    return nearest, distance


@dataclass
class _Leaf:
    """The box of a leaf: the features that it bounds, and its class."""

    label: int
    features: NDArray
    low: NDArray
    high: NDArray


def _leaves(tree, clip):
    """Yield the leaves that have a point within the clip range."""
    inner = tree.tree_
    labels = inner.value[:, 0].argmax(axis=1)
    least, most = (-math.inf, math.inf) if clip is None else clip
    stack: list = [(0, {})]
    while stack:
        node, bounds = stack.pop()
        left, right = inner.children_left[node], inner.children_right[node]
        if left == _LEAF:
            features = np.array(sorted(bounds), dtype=np.intp)
            box = np.array([bounds[f] for f in features], np.float32).reshape(-1, 2)
            yield _Leaf(int(labels[node]), features, *box.T)
            continue
        feature, threshold = int(inner.feature[node]), inner.threshold[node]
        low, high = bounds.get(feature, (least, most))
        at_most, above = _neighbors(threshold)
        if low <= min(high, at_most):
            stack.append((left, {**bounds, feature: (low, min(high, at_most))}))
        if max(low, above) <= high:
            stack.append((right, {**bounds, feature: (max(low, above), high)}))


def _neighbors(threshold):
    """Largest number in single precision that goes left, smallest that goes right."""
    at_most = np.float32(threshold)
    if at_most > threshold:
        at_most = np.nextafter(at_most, np.float32(-np.inf))
    return float(at_most), float(np.nextafter(at_most, np.float32(np.inf)))
