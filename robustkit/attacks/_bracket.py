"""The nearest error of every sample, between a proof and an attack."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from robustkit._samples import flat_samples
from robustkit.attacks._minimal_distance import MinimalDistanceAttack
from robustkit.bounds import CertifiedRadius, radii_from
from robustkit.bridge import frozen
from robustkit.exceptions import ViolatedBracketError

if TYPE_CHECKING:
    from typing import Any

    import torch
    from numpy.typing import ArrayLike

__all__ = ["robustness_bracket"]

# An interval of this relative width is as good as a number.
_EXACT = 2e-3
# CROWN's radius is about this share of the distance.
_USUAL_SHARE = 0.65


def robustness_bracket(
    model: Any,
    X: ArrayLike,
    y: ArrayLike,
    *,
    norm: str = "linf",
    method: str = "crown",
    max_subproblems: int = 16,
    max_seconds: float | None = None,
    max_iter: int = 100,
    clip: str | tuple[float, float] | None = "auto",
    device: str | torch.device = "auto",
) -> pd.DataFrame:
    """Enclose the distance of the nearest error of every sample from both sides.

    Read more in the :ref:`User Guide <guide_distances>`.

    Parameters
    ----------
    model : object
        A fitted classifier that :class:`~robustkit.bounds.CertifiedRadius` knows.

    X : array-like of shape (n_samples, n_features)
        Samples.

    y : array-like of shape (n_samples,)
        True labels.

    norm : {"linf", "l2"}, default="linf"
        In which distances are measured.

    method : {"crown", "interval", "split"}, default="crown"
        How radii are proved.

    max_subproblems : int, default=16
        For ``method="split"``: up to how many subproblems are made of one ball.

    max_seconds : float, default=None
        When this many seconds of proving are over, the lower ends are what is proved
        until then. None: no limit.

    max_iter : int, default=100
        How long the attack searches; see :class:`MinimalDistanceAttack`.

    clip : "auto", tuple of two floats or None, default="auto"
        Range of every feature: errors outside do not count. "auto" is (0, 1) if X lies
        in it, else no range.

    device : str or torch.device, default="auto"
        Where the attack computes. Proofs are computed on the CPU.

    Returns
    -------
    bracket : pandas.DataFrame
        One row per sample, with the index of X if it has one. `lower` is the radius
        that :class:`~robustkit.bounds.CertifiedRadius` proves, `upper` the distance
        that :class:`MinimalDistanceAttack` finds, infinite if it finds none. Both are
        zero where the model is wrong. `status` is "exact" where the two differ by less
        than 0.2 %, or no error exists at all; "bracketed"; or "not found".

    See Also
    --------
    robustkit.bounds.CertifiedRadius : The proofs alone.
    MinimalDistanceAttack : The attack alone.
    robustkit.plotting.RobustnessBracketDisplay : Draws brackets.

    Notes
    -----
    A radius that reaches an error that was found would show that the proof is wrong for
    this model, or this machine: a
    :class:`~robustkit.exceptions.ViolatedBracketError` says so. Nothing is corrected.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from sklearn.linear_model import LogisticRegression
    >>> from robustkit.attacks import robustness_bracket
    >>> X, y = load_digits(return_X_y=True)
    >>> X, y = X[:300] / 16, y[:300]
    >>> model = LogisticRegression().fit(X, y)
    >>> bracket = robustness_bracket(model, X, y)
    >>> bool((bracket["lower"] <= bracket["upper"]).all())
    True
    """
    model = frozen(model)
    proof = CertifiedRadius(
        model,
        norm=norm,
        method=method,
        max_subproblems=max_subproblems,
        max_seconds=max_seconds,
        clip=clip,
    ).fit(X, y)
    attack = MinimalDistanceAttack(
        model, norm=norm, max_iter=max_iter, clip=clip, device=device
    ).fit(X, y)
    upper = _distances(attack.perturb(X, y), X, norm)
    lower = radii_from(proof, X, y, _USUAL_SHARE * upper)
    violated = np.flatnonzero((lower >= upper) & (lower > 0) & np.isfinite(upper))
    if len(violated):
        i = violated[0]
        raise ViolatedBracketError(
            f"{len(violated)} of {len(upper)} samples have an error inside the radius "
            f"that was proved free of them, the first is sample {i} with a proved "
            f"radius of {lower[i]:.9g} and an error at {upper[i]:.9g}: the model "
            "computes less precisely than the proof allows for, or a bound is wrong."
        )
    found = np.isfinite(upper)
    exact = lower == upper
    exact[found] |= lower[found] >= (1 - _EXACT) * upper[found]
    status = np.where(found, "bracketed", "not found").astype(object)
    status[exact] = "exact"
    columns = {"lower": lower, "upper": upper, "status": status}
    index = X.index if isinstance(X, pd.DataFrame) else None
    return pd.DataFrame(columns, index=index)


def _distances(result, X, norm):
    """How far the errors are, rounded up."""
    X, X_adv = (np.asarray(flat_samples(part)[0]) for part in (X, result.X_adv))
    move = X_adv.astype(np.float64) - X.astype(X_adv.dtype)
    length = np.linalg.norm(move, np.inf if norm == "linf" else 2, axis=1)
    length *= 1 + (X.shape[1] + 8) * 2.0**-52
    right = result.clean_prediction == result.y
    return np.where(right, np.where(result.success, length, np.inf), 0.0)
