"""See whether a model is robust, or only hides its gradient."""

import warnings

import torch

from robustkit._tensors import as_array, as_tensor, map_batches
from robustkit.attacks._descent import Goal, input_gradient
from robustkit.attacks._losses import margin_loss
from robustkit.exceptions import GradientMaskingWarning

__all__ = ["SUSPICIOUS", "gradients_and_margins", "warn_of_masking"]

# Difference of two robust accuracies that a difference of losses does not explain, and
# share of samples without a gradient that no honest network has.
SUSPICIOUS = 0.1


def gradients_and_margins(judge, X, labels, batch_size):
    """Look at the cross-entropy and the margin of samples.

    Parameters
    ----------
    judge : Judge
        Of the model, at work.

    X : ndarray of shape (n_samples, n_features)
        Samples.

    labels : ndarray of shape (n_samples,)
        Indices of the true classes.

    batch_size : int
        Samples at once.

    Returns
    -------
    zero : ndarray of shape (n_samples,) and dtype bool
        Whether the gradient of the cross-entropy is exactly zero.

    margin : ndarray of shape (n_samples,)
        True logit minus best other.
    """

    def look(x, labels):
        # The cross-entropy itself: where it is flat, an attack climbs the margin.
        goal = Goal(labels, "ce", falls_back=False)
        logits, gradient = input_gradient(judge.module, x, goal)
        return (gradient == 0).flatten(1).all(dim=1), -margin_loss(logits, labels)

    found = map_batches(
        look,
        as_tensor(X, device=judge.device, dtype=judge.dtype),
        as_tensor(labels, device=judge.device, dtype=torch.int64),
        batch_size=batch_size,
    )
    return tuple(map(as_array, found))


def warn_of_masking(report, hidden_share, stacklevel):
    """Warn if many gradients are hidden, or if the margin loss is much stronger.

    Parameters
    ----------
    report : pandas.Series
        With `zero_gradient_share` and the robust accuracies under both losses, and
        without a gradient if that was measured.

    hidden_share : float
        Share of the samples that have no gradient though their margin can be changed.

    stacklevel : int
        As in :func:`warnings.warn`.
    """
    ce, margin = report["robust_accuracy_ce"], report["robust_accuracy_margin"]
    # The other way round is no masking: a single step towards one class, the margin's,
    # is often the worse one.
    blind = report.get("robust_accuracy_gradient_free")
    if not (ce - margin > SUSPICIOUS or hidden_share > SUSPICIOUS):
        return
    without = (
        "" if blind is None else f", and {blind:.3f} for a search without gradients"
    )
    warnings.warn(
        f"Robust accuracy is {report['robust_accuracy']:.3f}: {ce:.3f} under the "
        f"cross-entropy, {margin:.3f} under the margin loss{without}. "
        f"The gradient of the cross-entropy is exactly zero for "
        f"{report['zero_gradient_share']:.0%} of the samples. The model hides its "
        "gradient: believe the smallest figure, and attack with "
        "PGDAttack(loss='rotate') or without a gradient.",
        GradientMaskingWarning,
        stacklevel=stacklevel,
    )
