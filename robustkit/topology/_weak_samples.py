"""The samples on which a model is weak: those it gets wrong where it often is wrong."""

from numbers import Integral

import numpy as np
from sklearn.utils import check_consistent_length

from robustkit._sklearn_private import (
    Interval,
    RealNotInt,
    validate_parameter_constraints,
)
from robustkit.topology._purity import check_labels, node_accuracy

# A share of the samples, or their number.
BUDGET_CONSTRAINT = [
    Interval(RealNotInt, 0, 1, closed="both"),
    Interval(Integral, 0, None, closed="left"),
]


def weak_samples(membership, y, y_pred, budget):
    """Collect the misclassified samples of the least accurate nodes.

    Parameters
    ----------
    membership : csr_matrix of shape (n_samples, n_nodes)
        Which sample lies in which node.

    y : array-like of shape (n_samples,)
        Labels.

    y_pred : array-like of shape (n_samples,)
        Predicted labels.

    budget : float or int
        How many samples at most: a share, or a number.

    Returns
    -------
    indices : ndarray of shape (n_selected,)
        Samples, those of the least accurate node first.
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
