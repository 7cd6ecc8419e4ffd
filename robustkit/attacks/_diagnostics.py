"""See whether a model is robust, or only hides its gradient."""

import warnings

import numpy as np
import torch

from robustkit._tensors import as_array, as_tensor, map_batches
from robustkit.attacks._descent import Goal, input_gradient
from robustkit.attacks._losses import margin_loss
from robustkit.exceptions import GradientMaskingWarning

__all__ = ["SUSPICIOUS", "gradient_health", "warn_of_masking"]

# Difference of two robust accuracies that a difference of losses does not explain, and
# share of samples without a gradient that no honest network has.
SUSPICIOUS = 0.1


def gradient_health(module, X, labels, correct, *, batch_size, device, dtype):
    """Look at the gradient at the clean samples.

    Parameters
    ----------
    module : torch.nn.Module
        The model.

    X : ndarray of shape (n_samples, n_features)
        Clean samples.

    labels : ndarray of shape (n_samples,)
        Indices of the true classes.

    correct : ndarray of shape (n_samples,) and dtype bool
        Which of them the model gets right.

    batch_size : int
        Samples at once.

    device : torch.device
        Where the module is.

    dtype : torch.dtype
        In which it computes.

    Returns
    -------
    health : dict
        `zero_gradient_share`: of the samples that the model gets right, the share whose
        cross-entropy has a gradient of exactly zero; `median_logit_margin`: median of
        true logit minus best other, of all samples.
    """

    def look(x, labels):
        # The cross-entropy itself: where it is flat, an attack climbs the margin.
        goal = Goal(labels, "ce", falls_back=False)
        logits, gradient = input_gradient(module, x, goal)
        return (gradient == 0).flatten(1).all(dim=1), -margin_loss(logits, labels)

    zero, margin = map_batches(
        look,
        as_tensor(X, device=device, dtype=dtype),
        as_tensor(labels, device=device, dtype=torch.int64),
        batch_size=batch_size,
    )
    zero = as_array(zero)[correct]
    return {
        "zero_gradient_share": zero.mean() if len(zero) else np.nan,
        "median_logit_margin": np.median(as_array(margin)),
    }


def warn_of_masking(report, stacklevel):
    """Warn if many samples have no gradient, or if the margin loss is much stronger.

    Parameters
    ----------
    report : pandas.Series
        With `zero_gradient_share` and the robust accuracies under both losses, and
        without a gradient if that was measured.

    stacklevel : int
        As in :func:`warnings.warn`.
    """
    ce, margin = report["robust_accuracy_ce"], report["robust_accuracy_margin"]
    # The other way round is no masking: a single step towards one class, the margin's,
    # is often the worse one.
    blind = report.get("robust_accuracy_gradient_free")
    if not (ce - margin > SUSPICIOUS or blind is not None):
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
