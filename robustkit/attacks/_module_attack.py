"""The base class of attacks that users write."""

import math
from abc import ABCMeta, abstractmethod
from contextlib import contextmanager
from numbers import Real
from typing import Any

import torch
from sklearn.base import BaseEstimator

from robustkit._sklearn_private import Interval, StrOptions
from robustkit.attacks._base import BaseAttack, Batch, Plan

__all__ = ["ModuleAttack"]


class ModuleAttack(BaseAttack, metaclass=ABCMeta):
    """Base class of an attack of your own: write `perturb_module`.

    A subclass is an attack like any other: it has `perturb`, `score` and `report`, can
    be a step of a pipeline, be searched over, take part in a study, and be the
    `adversary` that a classifier is trained against.

    Read more in :doc:`/how_to/own_attack`.

    Parameters
    ----------
    estimator : object, default=None
        The model: a classifier that :func:`~robustkit.bridge.as_module` can see.
        Wrapped in :class:`~sklearn.frozen.FrozenEstimator`, it is attacked as it is;
        otherwise `fit` fits a clone. None is
        :class:`~sklearn.linear_model.LogisticRegression`.

    eps : float or None, default=0.1
        Radius of the ball that a perturbed sample may not leave. None is no ball, for
        an attack that knows by itself how far it may go.

    norm : {"linf", "l2"}, default="linf"
        Which length of the perturbation is meant.

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

    n_features_in_ : int
        Number of features seen during fit.

    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Names of features seen during fit. Defined only when `X` has feature names
        that are all strings.

    See Also
    --------
    PGDAttack : What an attack of your own should be compared with.
    robustkit.attacks.functional.pgd : A search that yours may build on.

    Notes
    -----
    Of what :meth:`perturb_module` returns to :meth:`perturb`, the base brings every
    point back into the ball and the clip range, asks the model again, and counts in
    `n_queries` how often the module was called with a sample. Samples that the model
    gets wrong anyway are left out.

    A subclass with parameters of its own has an `__init__` that names all its
    parameters, as every estimator of scikit-learn, and hands those above on to
    ``super().__init__``.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from robustkit.attacks import ModuleAttack
    >>> class Darken(ModuleAttack):
    ...     def perturb_module(self, module, X, y):
    ...         return X - self.eps
    >>> X, y = load_digits(return_X_y=True)
    >>> X, y = X[:300] / 16, y[:300]
    >>> report = Darken(eps=0.2).fit(X, y).report(X, y)
    >>> bool(report["robust_accuracy"] < report["clean_accuracy"])
    True
    """

    _parameter_constraints: dict = {
        **BaseAttack._parameter_constraints,
        "eps": [Interval(Real, 0, None, closed="left"), None],
        "norm": [StrOptions({"linf", "l2"})],
    }

    _moves_alike = True

    # A number for attacks that cannot do without a ball.
    eps: Any

    def __init__(
        self,
        estimator: BaseEstimator | None = None,
        *,
        eps: float | None = 0.1,
        norm: str = "linf",
        clip: str | tuple[float, float] | None = "auto",
        batch_size: int = 1024,
        device: str | torch.device = "auto",
        verbose: int = 0,
    ) -> None:
        self.estimator = estimator
        self.eps = eps
        self.norm = norm
        self.clip = clip
        self.batch_size = batch_size
        self.device = device
        self.verbose = verbose

    @abstractmethod
    def perturb_module(
        self, module: torch.nn.Module, X: torch.Tensor, y: torch.Tensor
    ) -> torch.Tensor:
        """Perturb a batch against a bare module.

        What a sample becomes must not depend on the others of its batch, nor on a
        global random stream: draw from a generator that you seed.

        Parameters
        ----------
        module : torch.nn.Module
            Takes a batch, returns logits. It is in eval mode; leave no gradient in it.

        X : torch.Tensor of shape (n_samples, n_features)
            Clean samples, on the device of the module.

        y : torch.Tensor of shape (n_samples,)
            Index of the true class.

        Returns
        -------
        X_adv : torch.Tensor of the shape of `X`
            Perturbed samples.
        """

    def _plan(self) -> Plan:
        return Plan(**self._ball(), norm=self.norm)

    def _search(self, module: torch.nn.Module, batch: Batch) -> torch.Tensor:
        # A copy: what a subclass writes in place must not reach the caller's X.
        with _rows_counted(module) as rows:
            points = self.perturb_module(module, batch.X.clone(), batch.y)
        if not isinstance(points, torch.Tensor) or points.shape != batch.X.shape:
            shape = getattr(points, "shape", None)
            got = type(points).__name__
            got = got if shape is None else f"{got} of shape {tuple(shape)}"
            raise ValueError(
                f"{type(self).__name__}.perturb_module must return a tensor of the "
                f"shape of its X, {tuple(batch.X.shape)}. Got {got}."
            )
        n_queries = math.ceil(sum(rows) / len(batch.X))
        batch.trace.n_queries = torch.full_like(batch.y, n_queries)
        # A tensor of its own, whatever the subclass keeps of it.
        return points.detach().clone()


@contextmanager
def _rows_counted(module):
    """Give a list of the sizes of the batches that the module is called with."""
    rows = []
    hook = module.register_forward_hook(lambda _, given, said: rows.append(len(said)))
    try:
        yield rows
    finally:
        hook.remove()
