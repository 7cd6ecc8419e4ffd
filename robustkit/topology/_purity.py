"""How pure the nodes of a mapper graph are, how well predicted, and where weakest."""

from numbers import Integral
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy.sparse import csr_matrix, issparse, sparray, spmatrix
from scipy.special import entr
from sklearn.utils import check_array, check_consistent_length, column_or_1d
from sklearn.utils.multiclass import unique_labels

from robustkit._sklearn_private import (
    Interval,
    RealNotInt,
    validate_parameter_constraints,
)

# A share of the samples, or their number.
BUDGET_CONSTRAINT = [
    Interval(RealNotInt, 0, 1, closed="both"),
    Interval(Integral, 0, None, closed="left"),
]

Membership = ArrayLike | spmatrix | sparray


def node_purity(
    membership: Membership, y: ArrayLike, *, labels: ArrayLike | None = None
) -> NDArray:
    """Measure how far the labels in each node are from evenly mixed.

    The purity of a node is 1 - H / log(n_labels), where H is the entropy of the labels
    in it: 1 if they are all the same, 0 if all labels are equally frequent.

    Parameters
    ----------
    membership : {array-like, sparse matrix} of shape (n_samples, n_nodes)
        Which sample lies in which node, as :class:`MapperGraph` returns it.

    y : array-like of shape (n_samples,)
        Labels of the samples.

    labels : array-like of shape (n_labels,), default=None
        All labels there are, also those that no sample has. None takes those in `y`.

    Returns
    -------
    purity : ndarray of shape (n_nodes,)
        In [0, 1]; NaN for a node without samples.

    See Also
    --------
    weighted_average_purity : One number for all nodes.
    node_accuracy : The share of correct predictions in each node.

    Examples
    --------
    >>> from robustkit.topology import node_purity
    >>> node_purity([[1, 1], [1, 1], [1, 0], [1, 0]], ["a", "a", "b", "b"])
    array([0., 1.])
    """
    counts, _ = count_labels(membership, y, labels=labels)
    return purity_of_counts(counts)


def weighted_average_purity(
    membership: Membership, y: ArrayLike, *, labels: ArrayLike | None = None
) -> float:
    """Average the purity of the nodes, weighted by their sizes.

    Parameters
    ----------
    membership : {array-like, sparse matrix} of shape (n_samples, n_nodes)
        Which sample lies in which node, as :class:`MapperGraph` returns it.

    y : array-like of shape (n_samples,)
        Labels of the samples.

    labels : array-like of shape (n_labels,), default=None
        All labels there are, also those that no sample has. None takes those in `y`.

    Returns
    -------
    purity : float
        In [0, 1]; 0 if no sample lies in a node.

    See Also
    --------
    node_purity : The purity of every node.

    Examples
    --------
    >>> from robustkit.topology import weighted_average_purity
    >>> weighted_average_purity([[1, 1], [1, 1], [1, 0], [1, 0]], [0, 0, 1, 1])
    0.333...
    """
    counts, _ = count_labels(membership, y, labels=labels)
    sizes = counts.sum(axis=1)
    if not sizes.any():
        return 0.0
    return float(np.average(np.nan_to_num(purity_of_counts(counts)), weights=sizes))


def node_accuracy(membership: Membership, y: ArrayLike, y_pred: ArrayLike) -> NDArray:
    """Measure the share of correct predictions in each node.

    Parameters
    ----------
    membership : {array-like, sparse matrix} of shape (n_samples, n_nodes)
        Which sample lies in which node, as :class:`MapperGraph` returns it.

    y : array-like of shape (n_samples,)
        Labels of the samples.

    y_pred : array-like of shape (n_samples,)
        Predicted labels.

    Returns
    -------
    accuracy : ndarray of shape (n_nodes,)
        In [0, 1]; NaN for a node without samples.

    See Also
    --------
    node_purity : How mixed the labels of each node are.

    Examples
    --------
    >>> from robustkit.topology import node_accuracy
    >>> node_accuracy([[1, 0], [1, 1], [1, 1], [1, 0]], [0, 0, 1, 1], [0, 0, 1, 0])
    array([0.75, 1.  ])
    """
    membership = _check_membership(membership)
    y, y_pred = check_labels(y), check_labels(y_pred, "y_pred")
    check_same_kind(y, y_pred)
    check_consistent_length(membership, y, y_pred)
    n_right = membership.T @ (y == y_pred).astype(float)
    sizes = membership.T @ np.ones(len(y))
    return np.where(sizes > 0, n_right / np.maximum(sizes, 1), np.nan)


def count_labels(
    membership: Membership, y: ArrayLike, *, labels: ArrayLike | None = None
) -> tuple[NDArray, NDArray]:
    """Count the labels in every node.

    Returns the counts, of shape (n_nodes, n_labels), and the labels, sorted: those in
    `y`, if they are not given.
    """
    membership = _check_membership(membership)
    y = check_labels(y)
    check_consistent_length(membership, y)
    known: NDArray = unique_labels(y)
    if labels is not None:
        known = np.unique(check_labels(labels, "labels"))
    unknown = np.setdiff1d(y, known)
    if len(unknown):
        raise ValueError(
            f"The 'labels' parameter must hold every label of y. Got {known!r}, but "
            f"y has {unknown[0]!r}."
        )
    rows = np.arange(len(y)), np.searchsorted(known, y)
    one_hot = csr_matrix((np.ones(len(y)), rows), shape=(len(y), len(known)))
    return (membership.T @ one_hot).toarray(), known


def purity_of_counts(counts: NDArray) -> NDArray:
    """Return the purity of each row of label counts; NaN where there are none."""
    sizes = counts.sum(axis=1)
    shares = counts / np.maximum(sizes, 1)[:, None]
    # With a single label there is nothing to mix.
    uniform = np.log(counts.shape[1]) if counts.shape[1] > 1 else 1.0
    purity = np.clip(1 - entr(shares).sum(axis=1) / uniform, 0, 1)
    return np.where(sizes > 0, purity, np.nan)


def weak_samples(
    membership: csr_matrix, y: ArrayLike, y_pred: ArrayLike, budget: Any
) -> NDArray:
    """Collect the misclassified samples of the least accurate nodes.

    Those of the least accurate node come first; the budget is their maximum number, or
    share of all samples.
    """
    y, y_pred = check_labels(y), check_labels(y_pred, "y_pred")
    check_consistent_length(membership, y, y_pred)
    n_wanted = _number_of_samples(budget, len(y))
    accuracy = node_accuracy(membership, y, y_pred)
    rank = np.empty(len(accuracy), dtype=int)
    rank[np.argsort(accuracy, kind="stable")] = np.arange(len(accuracy))
    samples, nodes = membership.nonzero()
    is_wrong = (y != y_pred)[samples]
    samples, ranks = samples[is_wrong], rank[nodes[is_wrong]]
    samples = samples[np.lexsort((samples, ranks))]
    # The first time that a sample appears is in its weakest node.
    _, first = np.unique(samples, return_index=True)
    return samples[np.sort(first)][:n_wanted]


def _number_of_samples(budget, n_samples):
    validate_parameter_constraints(
        {"budget": BUDGET_CONSTRAINT}, {"budget": budget}, "weak_samples"
    )
    if isinstance(budget, Integral):
        return budget
    # A share that is a whole number of samples but for rounding is that number.
    return int(np.floor(budget * n_samples + 1e-9))


def _check_membership(membership):
    if issparse(membership):
        if np.isnan(membership.data).any():
            raise ValueError("The 'membership' parameter contains NaN.")
        # A graph without nodes is one, too; check_array would refuse it.
        return csr_matrix(membership) != 0
    membership = check_array(membership, ensure_min_features=0, input_name="membership")
    return csr_matrix(membership != 0)


def check_labels(y: Any, name: str = "y") -> NDArray:
    """Refuse labels that are missing."""
    y = column_or_1d(y, warn=True)
    is_missing = pd.isna(y)
    if is_missing.any():
        first = y[is_missing.argmax()]
        what = "NaN" if isinstance(first, float) else first
        raise ValueError(f"The {name!r} parameter contains {what}, which is no label.")
    return y


def check_same_kind(
    y: NDArray, others: NDArray, which: str = "The 'y' and 'y_pred' parameters"
) -> None:
    """Refuse labels that are strings where the others are numbers."""
    kinds = [_are_strings(labels) for labels in (y, others)]
    if set(kinds) == {True, False}:
        raise ValueError(
            f"{which} must hold labels of one kind. Got {y[0]!r} and {others[0]!r}."
        )


def _are_strings(labels):
    """Whether labels are strings; None of no labels, and of some that are."""
    if labels.dtype != object:
        return labels.dtype.kind in "US" if len(labels) else None
    kinds = {isinstance(label, str) for label in labels}
    return kinds.pop() if len(kinds) == 1 else None
