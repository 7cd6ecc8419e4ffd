"""Projected gradient descent: many steps, random starts, several losses."""

from numbers import Integral, Real
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike

from robustkit._randomness import draw_seed
from robustkit._sklearn_private import Interval, StrOptions
from robustkit._tensors import as_array
from robustkit.attacks import functional
from robustkit.attacks._base import BaseAttack, Batch, Plan
from robustkit.attacks._geometry import sample_keys
from robustkit.attacks._losses import LOSSES
from robustkit.attacks._module_attack import ModuleAttack
from robustkit.attacks._report import GradientAttackMixin
from robustkit.networks import NetworkUnion

__all__ = ["PGDAttack"]

# Weights whose hash is the seed of a step of training.
_N_HASHED = 64


class PGDAttack(GradientAttackMixin, ModuleAttack):
    """Projected gradient descent inside a ball around each sample.

    The standard measure of robustness: many gradient steps, each followed by a
    projection onto the points allowed, from one or several random starts. A sample
    leaves as soon as one point fools the model.

    Read more in the :ref:`User Guide <guide_attacks>`.

    Parameters
    ----------
    estimator : object, default=None
        The model: a classifier that :func:`~robustkit.bridge.as_module` can see.
        Wrapped in :class:`~sklearn.frozen.FrozenEstimator`, it is attacked as it is, as
        is a bare torch.nn.Module of the classes 0, 1, 2, ...; otherwise `fit` fits a
        clone. None is :class:`~sklearn.linear_model.LogisticRegression`.

    norm : {"linf", "l2"}, default="linf"
        "linf": every feature may move by `eps`. "l2": the Euclidean length of the
        perturbation is at most `eps`.

    eps : float or array-like, default=0.1
        Radius of the ball. An array has one number per feature (with ``norm="linf"``),
        or, in the shape (n_samples, 1), one per sample.

    eps_unit : {"raw", "std"}, default="raw"
        What `eps` and `step_size` count in: the units of the features, or the standard
        deviations that they had in `fit`, for ``norm="linf"``.

    step_size : float, default=None
        Length of every step. None begins with ``2 * eps``, across the ball, and ends
        near zero: step k is ``eps * (1 + cos(pi * k / max_iter))``, k from 0.

    max_iter : int, default=40
        Maximum number of steps per restart.

    n_restarts : int, default=1
        Number of starts. Only samples not yet fooled start again.

    random_start : bool, default=True
        Whether to start from a random point of the ball, uniformly drawn, instead of
        the clean sample. The first climb of ``loss="rotate"`` always starts at the
        clean sample.

    targeted : bool, default=False
        Whether the model shall predict the `target` given to :meth:`perturb`, instead
        of any wrong class.

    loss : {"ce", "margin", "dlr", "rotate"}, default="ce"
        What is climbed. "ce": the cross-entropy, which has no gradient where the model
        is very sure of itself. "margin": best other logit minus that of the label.
        "dlr": this margin loss divided by the spread of the leading logits. "rotate":
        every start is one climb of the cross-entropy and then, for samples not yet
        fooled, one of the margin loss of each of three runner-up classes, at the next
        start of the next three; the strongest, and the one to report. With ten classes,
        ``n_restarts=3`` climbs towards all.

    clip : "auto", tuple of two floats or None, default="auto"
        Range of every feature. "auto" is (0, 1) if the training data lie in it, else
        no range.

    batch_size : int, default=1024
        Number of samples attacked at once.

    device : str or torch.device, default="auto"
        "auto" is CUDA where there is one, else the CPU.

    verbose : int, default=0
        Whether to print a line after each batch.

    random_state : int, RandomState instance or None, default=None
        Draws the random starts. They depend on this and on the content of each sample,
        not on its place: order, subset and batch size change nothing.

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
    FGSMAttack : A single step; the cheapest.
    BIMAttack : The same without random starts.

    References
    ----------
    .. [1] A. Madry, A. Makelov, L. Schmidt, D. Tsipras and A. Vladu. Towards deep
       learning models resistant to adversarial attacks. ICLR 2018.
       :doi:`10.48550/arXiv.1706.06083`

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from sklearn.frozen import FrozenEstimator
    >>> from sklearn.linear_model import LogisticRegression
    >>> from robustkit.attacks import PGDAttack
    >>> X, y = load_digits(return_X_y=True)
    >>> X, y = X[:300] / 16, y[:300]
    >>> model = LogisticRegression().fit(X, y)
    >>> attack = PGDAttack(FrozenEstimator(model), eps=0.05, random_state=0).fit(X, y)
    >>> result = attack.perturb(X, y)
    >>> bool(abs(result.X_adv - X).max() <= 0.05 + 1e-9)
    True
    >>> attack.score(X, y) < model.score(X, y)
    True
    """

    n_iter_: int

    _joins = True

    _parameter_constraints: dict = {
        **BaseAttack._parameter_constraints,
        "norm": [StrOptions({"linf", "l2"})],
        "eps": [Interval(Real, 0, None, closed="left"), "array-like"],
        "eps_unit": [StrOptions({"raw", "std"})],
        "step_size": [Interval(Real, 0, None, closed="neither"), None],
        "max_iter": [Interval(Integral, 1, None, closed="left")],
        "n_restarts": [Interval(Integral, 1, None, closed="left")],
        "random_start": ["boolean"],
        "targeted": ["boolean"],
        "loss": [StrOptions({*LOSSES, "rotate"})],
        "random_state": ["random_state"],
    }

    def __init__(
        self,
        estimator: Any = None,
        *,
        norm: str = "linf",
        eps: float | ArrayLike = 0.1,
        eps_unit: str = "raw",
        step_size: float | None = None,
        max_iter: int = 40,
        n_restarts: int = 1,
        random_start: bool = True,
        targeted: bool = False,
        loss: str = "ce",
        clip: str | tuple[float, float] | None = "auto",
        batch_size: int = 1024,
        device: str | torch.device = "auto",
        verbose: int = 0,
        random_state: int | np.random.RandomState | None = None,
    ) -> None:
        self.estimator = estimator
        self.norm = norm
        self.eps = eps
        self.eps_unit = eps_unit
        self.step_size = step_size
        self.max_iter = max_iter
        self.n_restarts = n_restarts
        self.random_start = random_start
        self.targeted = targeted
        self.loss = loss
        self.clip = clip
        self.batch_size = batch_size
        self.device = device
        self.verbose = verbose
        self.random_state = random_state

    def _plan(self) -> Plan:
        return Plan(
            **self._ball(),
            norm=self.norm,
            from_clean=not self.random_start or self.loss == "rotate",
            seed=draw_seed(self.random_state) if self.random_start else 0,
        )

    def _search(self, module: torch.nn.Module, batch: Batch) -> torch.Tensor:
        loss, seed, n_restarts = batch.loss or self.loss, batch.seed, self.n_restarts
        if batch.for_training:
            loss = "ce" if loss == "rotate" else loss
            seed, n_restarts = self._training_seed(module), 1
        return functional.pgd(
            module,
            batch.X,
            batch.y,
            eps=batch.radius,
            norm=self.norm,
            step_size=self._step_of(batch.X),
            max_iter=self.max_iter,
            n_restarts=n_restarts,
            random_start=self.random_start,
            loss=loss,
            clip=batch.clip,
            target=batch.target,
            seed=seed,
            early_stopping=not batch.for_training,
            trace=batch.trace,
        )

    def perturb_batch(
        self,
        module: torch.nn.Module,
        X: torch.Tensor,
        y: torch.Tensor,
        *,
        epoch: int,
        batch: int,
    ) -> torch.Tensor:
        """Perturb a batch as `perturb_module` does, with random starts of its own.

        They depend on `random_state`, on the two numbers and on the content of each
        sample, and no longer on the weights. Our classifiers call this when they train.

        Parameters
        ----------
        module : torch.nn.Module
            Takes a batch, returns logits.

        X : torch.Tensor of shape (n_samples, ...)
            Clean samples, on the device of the module.

        y : torch.Tensor of shape (n_samples,)
            Index of the true class.

        epoch : int
            Number of the epoch, from 0.

        batch : int
            Number of the batch in its epoch, from 0.

        Returns
        -------
        X_adv : torch.Tensor of the shape of `X`
            Perturbed samples.
        """
        self._place = epoch, batch
        try:
            return self.perturb_module(module, X, y)
        finally:
            del self._place

    def _training_seed(self, module):
        """Mix the seed with the place in the training, or with a hash of the weights.

        Training changes both with every batch. So the same sample starts elsewhere in
        every epoch, and at the same point in the same training. Only the place is the
        same where rounding differs.
        """
        is_union = isinstance(module, NetworkUnion)
        if self._place is not None:
            partners = self._partners if is_union else [self]
            seeds = [_mixed(_seed_of(one), *self._place) for one in partners]
            return np.array(seeds) if is_union else seeds[0]
        if is_union:
            seeds = [_seed_of(one) for one in self._partners]
            keys = sample_keys(module.output_biases()[:, :_N_HASHED], np.array(seeds))
            return as_array(keys % 2**31)
        seed, weights = _seed_of(self), list(module.parameters())
        if not weights:
            return seed
        last = weights[-1].detach().flatten()[None, :_N_HASHED]
        key = sample_keys(last, seed)[0] % 2**31
        # Nobody waits for a GPU to answer: the number can be used where it is.
        return int(key) if key.device.type == "cpu" else key


def _mixed(seed, *numbers):
    mixed = np.random.SeedSequence((seed, *numbers)).generate_state(1)
    return int(mixed[0]) % 2**31


def _seed_of(attack):
    random_state = attack.random_state
    return 0 if random_state is None else draw_seed(random_state)
