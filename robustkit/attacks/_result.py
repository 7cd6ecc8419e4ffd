"""What an attack found, sample by sample."""

from dataclasses import dataclass

import numpy as np

__all__ = ["AttackResult"]


@dataclass(frozen=True, eq=False)
class AttackResult:
    """What an attack found, one entry for every sample it was given.

    Parameters
    ----------
    X_adv : ndarray of shape (n_samples, n_features)
        The samples after the attack. A sample that was misclassified from the start is
        unchanged; where the attack failed, it is the best point found.

    y : ndarray of shape (n_samples,)
        The labels attacked.

    clean_prediction : ndarray of shape (n_samples,)
        What the model says of the clean samples.

    prediction : ndarray of shape (n_samples,)
        What the model says of `X_adv`: it was asked again, about the very points that
        are returned.

    success : ndarray of shape (n_samples,) and dtype bool
        Whether the model was right and now is wrong. Of a targeted attack: whether it
        was right and now says the target.

    confidence : ndarray of shape (n_samples,)
        Probability of `prediction`. Of a model without probabilities: the softmax of
        its decision function.

    eps : ndarray of shape (n_samples,)
        Size of the perturbation: its length in the norm of the attack, or for
        :class:`~robustkit.attacks.GrowingEpsilonAttack` the smallest eps that fools,
        nan where none does.

    n_queries : ndarray of shape (n_samples,)
        Points at which the model was asked while searching.

    target : ndarray of shape (n_samples,), default=None
        The labels wanted by a targeted attack; else None.

    certified : ndarray of shape (n_samples,) and dtype bool, default=None
        Whether it is proved that no allowed perturbation fools the model; None if the
        attack proves nothing.

    See Also
    --------
    robustkit.attacks.PGDAttack : An attack that returns one.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from robustkit.attacks import FGSMAttack
    >>> X, y = load_digits(return_X_y=True)
    >>> X, y = X[:300] / 16, y[:300]
    >>> result = FGSMAttack(eps=0.1).fit(X, y).perturb(X, y)
    >>> result.X_adv.shape
    (300, 64)
    >>> bool((result.prediction[result.success] != y[result.success]).all())
    True
    """

    X_adv: np.ndarray
    y: np.ndarray
    clean_prediction: np.ndarray
    prediction: np.ndarray
    success: np.ndarray
    confidence: np.ndarray
    eps: np.ndarray
    n_queries: np.ndarray
    target: np.ndarray | None = None
    certified: np.ndarray | None = None
