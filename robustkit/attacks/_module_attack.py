"""The base of every attack on a torch module, also of those that users write."""

import math
import warnings
from abc import ABCMeta, abstractmethod
from contextlib import contextmanager
from numbers import Integral, Real

import numpy as np
import torch

from robustkit._sklearn_private import Interval, StrOptions
from robustkit._tensors import as_array, as_tensor, on_device, resolve_device
from robustkit.attacks._balls import keep_inside
from robustkit.attacks._base import BaseAttack
from robustkit.attacks._judge import Judge
from robustkit.bridge import as_module
from robustkit.exceptions import InputRoundingWarning

__all__ = ["ModuleAttack"]

# With fewer representable points in a radius a move is mostly rounding.
_FEW = 8


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
        Samples attacked at once.

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
        "clip": [StrOptions({"auto"}), "array-like", None],
        "batch_size": [Interval(Integral, 1, None, closed="left")],
        "device": [str, torch.device],
    }

    def __init__(
        self,
        estimator=None,
        *,
        eps=0.1,
        norm="linf",
        clip="auto",
        batch_size=1024,
        device="auto",
        verbose=0,
    ):
        self.estimator = estimator
        self.eps = eps
        self.norm = norm
        self.clip = clip
        self.batch_size = batch_size
        self.device = device
        self.verbose = verbose

    @abstractmethod
    def perturb_module(self, module, X, y):
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

    def _radius(self):
        """Return the radius of the ball, and the name of its norm."""
        return math.inf if self.eps is None else self.eps, self.norm

    def _check_resolution(self, judge, X):
        radius, norm = self._finest_move()
        if norm == "l2":
            radius = radius / math.sqrt(X.shape[1])
        if not 0 < radius < math.inf:
            return
        mine, its = np.finfo(X.dtype), torch.finfo(judge.dtype)
        coarser = max(mine, its, key=lambda numbers: numbers.eps)
        # A known range saves a pass over X.
        bound = math.inf if self.clip_ is None else max(map(abs, self.clip_))
        if radius >= _FEW * coarser.eps * bound:
            return
        largest = float(np.abs(X).max())
        spacing = coarser.eps * 2.0 ** math.floor(math.log2(max(largest, 1e-300)))
        if radius < _FEW * spacing:
            warnings.warn(
                f"A move of {radius:.3g} a feature is less than {_FEW} times "
                f"{spacing:.3g}, the spacing of {coarser.dtype} numbers near "
                f"{largest:.3g}: the result is mostly rounding. Center X first, or "
                "give it as float64 to a model that computes in float64.",
                InputRoundingWarning,
                stacklevel=6,
            )

    def _finest_move(self):
        """Return the smallest move that matters to the result, and the norm's name."""
        return self._radius()

    def _check_model(self):
        as_module(self.estimator_)

    def _judge(self):
        device = resolve_device(self.device)
        module = on_device(as_module(self.estimator_), device)
        return Judge(self.estimator_, module, device)

    def _start_search(self, judge):
        def search(X, labels, wanted, look):
            # A copy: what a subclass writes in place must not reach the caller's X.
            x = as_tensor(X, device=judge.device, dtype=judge.dtype).clone()
            y = as_tensor(labels, device=judge.device, dtype=None)
            with _rows_counted(judge.module) as rows:
                points = self.perturb_module(judge.module, x, y)
            self._check_points(points, X)
            n_queries = np.full(len(X), math.ceil(sum(rows) / len(X)))
            # An array of its own, whatever the subclass keeps of its tensor.
            return np.array(as_array(points), X.dtype), {"n_queries": n_queries}

        return search

    def _check_points(self, points, X):
        if not isinstance(points, torch.Tensor) or points.shape != X.shape:
            shape = getattr(points, "shape", None)
            got = type(points).__name__
            got = got if shape is None else f"{got} of shape {tuple(shape)}"
            raise ValueError(
                f"{type(self).__name__}.perturb_module must return a tensor of the "
                f"shape of its X, {X.shape}. Got {got}."
            )

    def _project(self, candidates, X, out):
        eps, norm = self._radius()
        return keep_inside(candidates, X, eps, norm, self.clip_, out)


@contextmanager
def _rows_counted(module):
    """Give a list of the sizes of the batches that the module is called with."""
    rows = []
    hook = module.register_forward_hook(lambda _, given, said: rows.append(len(said)))
    try:
        yield rows
    finally:
        hook.remove()
