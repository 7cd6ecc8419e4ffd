"""The shortest step along the sign of the gradient that fools."""

from numbers import Real
from typing import Any

import numpy as np
import torch

from robustkit._sklearn_private import Interval
from robustkit._tensors import as_array, as_tensor
from robustkit.attacks import functional
from robustkit.attacks._base import BaseAttack, Batch, Plan
from robustkit.attacks._geometry import keep_inside
from robustkit.attacks._losses import Goal, input_gradient
from robustkit.attacks._module_attack import ModuleAttack
from robustkit.attacks._report import GradientAttackMixin

__all__ = ["GrowingEpsilonAttack"]


class GrowingEpsilonAttack(GradientAttackMixin, ModuleAttack):
    """The smallest step along the sign of the gradient that fools the model.

    The direction is that of :class:`FGSMAttack`, taken once at the clean sample; `eps`
    grows from `start` in steps of `step`. Instead of one robust accuracy it gives every
    sample a distance, the `eps` of the result.

    Read more in the :ref:`User Guide <guide_attacks>`.

    Parameters
    ----------
    estimator : object, default=None
        The model: a classifier that :func:`~robustkit.bridge.as_module` can see.
        Wrapped in :class:`~sklearn.frozen.FrozenEstimator`, it is attacked as it is, as
        is a bare torch.nn.Module of the classes 0, 1, 2, ...; otherwise `fit` fits a
        clone. None is :class:`~sklearn.linear_model.LogisticRegression`.

    start : float, default=0.001
        First `eps` tried.

    step : float, default=0.01
        What is added each time.

    stop : float, default=0.26
        No `eps` above it is tried.

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
    FGSMAttack : The same step of a given length.
    robustkit.plotting.RobustnessCurveDisplay : Accuracy as a function of `eps`.

    Notes
    -----
    Every `eps` is tried in turn, not by bisection: a longer step does not always fool
    where a shorter one did. A sample that no `eps` fools has NaN for its `eps`, and the
    point at the largest `eps` for its perturbed sample.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from robustkit.attacks import GrowingEpsilonAttack
    >>> X, y = load_digits(return_X_y=True)
    >>> X, y = X[:300] / 16, y[:300]
    >>> attack = GrowingEpsilonAttack().fit(X, y)
    >>> result = attack.perturb(X, y)
    >>> bool((result.eps[result.success] >= 0.001).all())
    True
    """

    _joins = True

    _parameter_constraints: dict = {
        **BaseAttack._parameter_constraints,
        "start": [Interval(Real, 0, None, closed="left")],
        "step": [Interval(Real, 0, None, closed="neither")],
        "stop": [Interval(Real, 0, None, closed="left")],
    }

    def __init__(
        self,
        estimator: Any = None,
        *,
        start: float = 0.001,
        step: float = 0.01,
        stop: float = 0.26,
        clip: str | tuple[float, float] | None = "auto",
        batch_size: int = 1024,
        device: str | torch.device = "auto",
        verbose: int = 0,
    ) -> None:
        self.estimator = estimator
        self.start = start
        self.step = step
        self.stop = stop
        self.clip = clip
        self.batch_size = batch_size
        self.device = device
        self.verbose = verbose

    def _grid(self):
        if self.start > self.stop:
            raise ValueError(
                "The 'start' parameter of GrowingEpsilonAttack must be at most 'stop'. "
                f"Got start={self.start!r} and stop={self.stop!r} instead."
            )
        return functional.epsilon_grid(self.start, self.step, self.stop)

    def _plan(self) -> Plan:
        smallest = min(size for size in (self.start, self.step) if size > 0)
        return Plan(self._grid()[-1], smallest_move=smallest, from_clean=True)

    def _search(self, module: torch.nn.Module, batch: Batch) -> torch.Tensor:
        return functional.grow_epsilon(
            module,
            batch.X,
            batch.y,
            start=self.start,
            step=self.step,
            stop=self.stop,
            clip=batch.clip,
            loss=batch.loss or "ce",
            trace=batch.trace,
        )

    def _attack_batch(self, model, plan, X, y, target, loss, out):
        found = super()._attack_batch(model, plan, X, y, target, loss, out)
        # Near a tie the model may predict something else for a point among others.
        right = found["clean_prediction"] == found["y"]
        doubtful = right & ~found["success"] & np.isfinite(found["eps"])
        for i in np.flatnonzero(doubtful):
            one = slice(i, i + 1)
            out[one], more = self._go_on(
                model.take(one), plan, X[one], found["y"][one], found["eps"][i], loss
            )
            for name, value in more.items():
                found[name][i] = value
        return found

    def _go_on(self, model, plan, X, y, eps, loss):
        """Try the lengths from `eps` on, and believe the model alone."""
        x = as_tensor(X, device=model.device, dtype=model.dtype)
        goal = Goal(as_tensor(y, device=model.device, dtype=None), loss or "ce")
        _, direction = input_gradient(model.module, x, goal)
        direction, inside = as_array(direction.sign()).astype(X.dtype), X.copy()
        grid = self._grid()
        for k in range(np.searchsorted(grid, eps), len(grid)):
            moved = X + X.dtype.type(grid[k]) * direction
            keep_inside(moved, X, plan.radius, plan.norm, self.clip_, out=inside)
            prediction, confidence, _ = model.classify(inside)
            fooled = prediction[0] != y[0]
            if fooled:
                break
        return inside, {
            "prediction": prediction[0],
            "confidence": confidence[0],
            "eps": grid[k] if fooled else np.nan,
            "n_queries": k + 2,
            "success": fooled,
        }
