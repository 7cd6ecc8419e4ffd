"""What an attack climbs: one number a sample, larger where the model errs more.

Every loss takes logits, the labels attacked and, for an attack that wants one special
answer, the classes it wants (None else). `margin_loss` is also the yardstick by which
points are compared: it is positive exactly where the attack has what it wants.
"""

import torch
from torch.nn.functional import cross_entropy

__all__ = ["LOSSES", "cross_entropy_loss", "dlr_loss", "margin_loss"]


def cross_entropy_loss(logits, labels, wanted=None):
    """Cross-entropy of the labels, or minus that of the wanted classes.

    Parameters
    ----------
    logits : torch.Tensor of shape (n_samples, n_classes)
        What the model says.

    labels : torch.Tensor of shape (n_samples,)
        Classes attacked.

    wanted : torch.Tensor of shape (n_samples,), default=None
        Classes wanted.

    Returns
    -------
    loss : torch.Tensor of shape (n_samples,)
        One number a sample.
    """
    if wanted is None:
        return cross_entropy(logits, labels, reduction="none")
    return -cross_entropy(logits, wanted, reduction="none")


def margin_loss(logits, labels, wanted=None):
    """Best other logit minus that of the label, or wanted logit minus best other.

    It does not saturate: a model that is very sure of itself still has a gradient.

    Parameters
    ----------
    logits : torch.Tensor of shape (n_samples, n_classes)
        What the model says.

    labels : torch.Tensor of shape (n_samples,)
        Classes attacked.

    wanted : torch.Tensor of shape (n_samples,), default=None
        Classes wanted.

    Returns
    -------
    loss : torch.Tensor of shape (n_samples,)
        One number a sample.
    """
    if wanted is None:
        return _best_other(logits, labels) - _at(logits, labels)
    return _at(logits, wanted) - _best_other(logits, wanted)


def dlr_loss(logits, labels, wanted=None):
    """Difference of logits ratio: the margin, made independent of the logits' scale.

    It needs three classes, and four with wanted classes; below that it is the margin.

    Parameters
    ----------
    logits : torch.Tensor of shape (n_samples, n_classes)
        What the model says.

    labels : torch.Tensor of shape (n_samples,)
        Classes attacked.

    wanted : torch.Tensor of shape (n_samples,), default=None
        Classes wanted.

    Returns
    -------
    loss : torch.Tensor of shape (n_samples,)
        One number a sample.

    References
    ----------
    .. [1] F. Croce and M. Hein. Reliable evaluation of adversarial robustness with an
       ensemble of diverse parameter-free attacks. ICML 2020.
    """
    if logits.shape[1] < (3 if wanted is None else 4):
        return margin_loss(logits, labels, wanted)
    ordered = logits.sort(dim=1, descending=True).values
    if wanted is None:
        spread = ordered[:, 0] - ordered[:, 2]
        difference = margin_loss(logits, labels)
    else:
        spread = ordered[:, 0] - (ordered[:, 2] + ordered[:, 3]) / 2
        difference = _at(logits, wanted) - _at(logits, labels)
    # Where the leading logits are equal there is no scale to divide by.
    return difference / spread.clamp_min(1e-12)


LOSSES = {"ce": cross_entropy_loss, "margin": margin_loss, "dlr": dlr_loss}


def _at(logits, classes):
    return logits.gather(1, classes[:, None]).squeeze(1)


def _best_other(logits, classes):
    others = logits.scatter(1, classes[:, None], -torch.inf)
    return others.max(dim=1).values
