"""One step along the sign of the gradient."""

from numbers import Real
from typing import Any

import torch
from numpy.typing import ArrayLike

from robustkit._sklearn_private import Interval, StrOptions
from robustkit.attacks import functional
from robustkit.attacks._base import BaseAttack, Batch, Plan
from robustkit.attacks._module_attack import ModuleAttack
from robustkit.attacks._report import GradientAttackMixin

__all__ = ["FGSMAttack"]


class FGSMAttack(GradientAttackMixin, ModuleAttack):
    """Fast gradient sign method: one step of length `eps` for every feature.

    The cheapest attack there is: one gradient per sample. A model that withstands it
    may still fall to many small steps, :class:`PGDAttack`.

    Read more in the :ref:`User Guide <guide_attacks>`.

    Parameters
    ----------
    estimator : object, default=None
        The model: a classifier that :func:`~robustkit.bridge.as_module` can see.
        Wrapped in :class:`~sklearn.frozen.FrozenEstimator`, it is attacked as it is, as
        is a bare torch.nn.Module of the classes 0, 1, 2, ...; otherwise `fit` fits a
        clone. None is :class:`~sklearn.linear_model.LogisticRegression`.

    eps : float or array-like, default=0.1
        How far every feature may move. An array has one number per feature, or, in the
        shape (n_samples, 1), one per sample.

    eps_unit : {"raw", "std"}, default="raw"
        What `eps` counts in: the units of the features, or the standard deviations that
        they had in `fit`.

    clip : "auto", tuple of two floats or None, default="auto"
        Range of every feature. "auto" is (0, 1) if the training data lie in it, else
        no range.

    batch_size : int, default=2048
        Number of samples attacked at once.

    device : str or torch.device, default="auto"
        "auto" is CUDA where there is one, else the CPU.

    verbose : int, default=0
        Whether to print a line after each batch.

    Attributes
    ----------
    estimator_ : object
        The fitted model.

    classes_ : ndarray of shape (n_classes,)
        Class labels of the model.

    clip_ : tuple of two floats or None
        The range that perturbed samples keep to.

    feature_std_ : ndarray of shape (n_features,)
        Standard deviations of the features. Only with ``eps_unit="std"``.

    n_features_in_ : int
        Number of features seen during fit.

    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Names of features seen during fit. Defined only when `X` has feature names
        that are all strings.

    See Also
    --------
    PGDAttack : Many steps, random starts; much stronger.
    GrowingEpsilonAttack : The same step, with the smallest `eps` that fools.

    References
    ----------
    .. [1] I. Goodfellow, J. Shlens and C. Szegedy. Explaining and harnessing
       adversarial examples. ICLR 2015. :doi:`10.48550/arXiv.1412.6572`

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from robustkit.attacks import FGSMAttack
    >>> X, y = load_digits(return_X_y=True)
    >>> X, y = X[:300] / 16, y[:300]
    >>> attack = FGSMAttack(eps=0.1).fit(X, y)
    >>> report = attack.report(X, y)
    >>> bool(report["robust_accuracy"] < report["clean_accuracy"])
    True
    """

    _joins = True

    _parameter_constraints: dict = {
        **BaseAttack._parameter_constraints,
        "eps": [Interval(Real, 0, None, closed="left"), "array-like"],
        "eps_unit": [StrOptions({"raw", "std"})],
    }

    def __init__(
        self,
        estimator: Any = None,
        *,
        eps: float | ArrayLike = 0.1,
        eps_unit: str = "raw",
        clip: str | tuple[float, float] | None = "auto",
        batch_size: int = 2048,
        device: str | torch.device = "auto",
        verbose: int = 0,
    ) -> None:
        self.estimator = estimator
        self.eps = eps
        self.eps_unit = eps_unit
        self.clip = clip
        self.batch_size = batch_size
        self.device = device
        self.verbose = verbose

    def _plan(self) -> Plan:
        return Plan(**self._ball(), from_clean=True)

    def _search(self, module: torch.nn.Module, batch: Batch) -> torch.Tensor:
        # The template clips what it measures; a second time would cost a pass over X.
        return functional.fgsm(
            module,
            batch.X,
            batch.y,
            eps=batch.radius,
            clip=batch.clip if batch.for_training else None,
            loss=batch.loss or "ce",
            trace=batch.trace,
        )
