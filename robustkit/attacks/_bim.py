"""The iterated attacks of Kurakin et al.: away from a class, or towards another."""

from numbers import Integral, Real
from typing import Any

import torch
from numpy.typing import ArrayLike

from robustkit._sklearn_private import Interval, StrOptions
from robustkit._tensors import as_array, as_tensor
from robustkit.attacks import functional
from robustkit.attacks._base import BaseAttack, Batch, Plan
from robustkit.attacks._losses import least_likely_class
from robustkit.attacks._module_attack import ModuleAttack
from robustkit.attacks._report import GradientAttackMixin

__all__ = ["BIMAttack", "LeastLikelyAttack"]


class BIMAttack(GradientAttackMixin, ModuleAttack):
    """Basic iterative method: small sign steps from the clean sample.

    It is :class:`PGDAttack` in the maximum norm without random starts, so it draws no
    random numbers at all.

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
        What `eps` and `step_size` count in: the units of the features, or the standard
        deviations that they had in `fit`.

    step_size : float, default=None
        Length of every step. None begins with ``2 * eps``, across the ball, and ends
        near zero: step k is ``eps * (1 + cos(pi * k / max_iter))``, k from 0.

    max_iter : int, default=10
        Maximum number of steps.

    clip : "auto", tuple of two floats or None, default="auto"
        Range of every feature. "auto" is (0, 1) if the training data lie in it, else
        no range.

    batch_size : int, default=1024
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

    n_iter_ : int
        Number of steps that a sample takes unless it is fooled earlier.

    feature_std_ : ndarray of shape (n_features,)
        Standard deviations of the features. Only with ``eps_unit="std"``.

    n_features_in_ : int
        Number of features seen during fit.

    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Names of features seen during fit. Defined only when `X` has feature names
        that are all strings.

    See Also
    --------
    PGDAttack : Random starts, other norms and losses.
    LeastLikelyAttack : The same steps, towards the least likely class.

    References
    ----------
    .. [1] A. Kurakin, I. Goodfellow and S. Bengio. Adversarial examples in the
       physical world. ICLR workshop 2017. :doi:`10.48550/arXiv.1607.02533`

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from robustkit.attacks import BIMAttack, FGSMAttack
    >>> X, y = load_digits(return_X_y=True)
    >>> X, y = X[:300] / 16, y[:300]
    >>> one_step = FGSMAttack(eps=0.1).fit(X, y).score(X, y)
    >>> ten_steps = BIMAttack(eps=0.1).fit(X, y).score(X, y)
    >>> ten_steps <= one_step
    True
    """

    n_iter_: int

    _joins = True

    _parameter_constraints: dict = {
        **BaseAttack._parameter_constraints,
        "eps": [Interval(Real, 0, None, closed="left"), "array-like"],
        "eps_unit": [StrOptions({"raw", "std"})],
        "step_size": [Interval(Real, 0, None, closed="neither"), None],
        "max_iter": [Interval(Integral, 1, None, closed="left")],
    }

    def __init__(
        self,
        estimator: Any = None,
        *,
        eps: float | ArrayLike = 0.1,
        eps_unit: str = "raw",
        step_size: float | None = None,
        max_iter: int = 10,
        clip: str | tuple[float, float] | None = "auto",
        batch_size: int = 1024,
        device: str | torch.device = "auto",
        verbose: int = 0,
    ) -> None:
        self.estimator = estimator
        self.eps = eps
        self.eps_unit = eps_unit
        self.step_size = step_size
        self.max_iter = max_iter
        self.clip = clip
        self.batch_size = batch_size
        self.device = device
        self.verbose = verbose

    def _plan(self) -> Plan:
        return Plan(**self._ball(), from_clean=True)

    def _search(self, module: torch.nn.Module, batch: Batch) -> torch.Tensor:
        return functional.bim(
            module,
            batch.X,
            batch.y,
            eps=batch.radius,
            step_size=self._step_of(batch.X),
            max_iter=self.max_iter,
            clip=batch.clip,
            loss=batch.loss or "ce",
            early_stopping=not batch.for_training,
            trace=batch.trace,
        )


class LeastLikelyAttack(GradientAttackMixin, ModuleAttack):
    """Iterative least likely class method: small sign steps towards one class.

    The class wanted is the one that the model finds least likely for the clean sample,
    the true class left out. It makes mistakes that nobody could call understandable; as
    a measure of robustness it is weaker than :class:`PGDAttack`.

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
        What `eps` and `step_size` count in: the units of the features, or the standard
        deviations that they had in `fit`.

    step_size : float, default=None
        Length of every step. None begins with ``2 * eps``, across the ball, and ends
        near zero: step k is ``eps * (1 + cos(pi * k / max_iter))``, k from 0.

    max_iter : int, default=10
        Maximum number of steps.

    clip : "auto", tuple of two floats or None, default="auto"
        Range of every feature. "auto" is (0, 1) if the training data lie in it, else
        no range.

    batch_size : int, default=1024
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

    n_iter_ : int
        Number of steps that a sample takes unless it is fooled earlier.

    feature_std_ : ndarray of shape (n_features,)
        Standard deviations of the features. Only with ``eps_unit="std"``.

    n_features_in_ : int
        Number of features seen during fit.

    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Names of features seen during fit. Defined only when `X` has feature names
        that are all strings.

    See Also
    --------
    BIMAttack : The same steps, away from the true class.
    PGDAttack : With ``targeted=True``, towards a class of your choice.

    Notes
    -----
    A sample counts as fooled if the model predicts any wrong class for it. How many
    were led to the class wanted is `target_rate` in :meth:`report`; which class that
    was is `target` of the result.

    References
    ----------
    .. [1] A. Kurakin, I. Goodfellow and S. Bengio. Adversarial examples in the
       physical world. ICLR workshop 2017. :doi:`10.48550/arXiv.1607.02533`

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from robustkit.attacks import LeastLikelyAttack
    >>> X, y = load_digits(return_X_y=True)
    >>> X, y = X[:300] / 16, y[:300]
    >>> attack = LeastLikelyAttack(eps=0.3).fit(X, y)
    >>> result = attack.perturb(X, y)
    >>> bool((result.target != y).all())
    True
    """

    n_iter_: int

    _joins = True

    _parameter_constraints: dict = {
        **BaseAttack._parameter_constraints,
        "eps": [Interval(Real, 0, None, closed="left"), "array-like"],
        "eps_unit": [StrOptions({"raw", "std"})],
        "step_size": [Interval(Real, 0, None, closed="neither"), None],
        "max_iter": [Interval(Integral, 1, None, closed="left")],
    }

    def __init__(
        self,
        estimator: Any = None,
        *,
        eps: float | ArrayLike = 0.1,
        eps_unit: str = "raw",
        step_size: float | None = None,
        max_iter: int = 10,
        clip: str | tuple[float, float] | None = "auto",
        batch_size: int = 1024,
        device: str | torch.device = "auto",
        verbose: int = 0,
    ) -> None:
        self.estimator = estimator
        self.eps = eps
        self.eps_unit = eps_unit
        self.step_size = step_size
        self.max_iter = max_iter
        self.clip = clip
        self.batch_size = batch_size
        self.device = device
        self.verbose = verbose

    def _plan(self) -> Plan:
        return Plan(**self._ball(), from_clean=True)

    def _choose_target(self, model, X, y):
        x = as_tensor(X, device=model.device, dtype=model.dtype)
        labels = as_tensor(y, device=model.device, dtype=torch.int64)
        return as_array(least_likely_class(model.module, x, labels))

    def _search(self, module: torch.nn.Module, batch: Batch) -> torch.Tensor:
        return functional.least_likely(
            module,
            batch.X,
            batch.y,
            eps=batch.radius,
            step_size=self._step_of(batch.X),
            max_iter=self.max_iter,
            clip=batch.clip,
            target=batch.target,
            loss=batch.loss or "ce",
            early_stopping=not batch.for_training,
            trace=batch.trace,
        )
