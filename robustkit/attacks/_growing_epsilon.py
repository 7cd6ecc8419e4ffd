"""The shortest step along the sign of the gradient that fools."""

from numbers import Real

import numpy as np
import torch

from robustkit._sklearn_private import Interval
from robustkit._tensors import as_array, as_tensor
from robustkit.attacks._descent import SHARE_DONE, Goal, input_gradient
from robustkit.attacks._gradient_attack import GradientAttack

__all__ = ["GrowingEpsilonAttack", "grow"]


class GrowingEpsilonAttack(GradientAttack):
    """The smallest step along the sign of the gradient that fools the model.

    The direction is that of :class:`FGSMAttack`, taken once at the clean sample; `eps`
    grows from `start` in steps of `step`. Instead of one robust accuracy it gives every
    sample a distance, the `eps` of the result.

    Read more in the :ref:`User Guide <guide_attacks>`.

    Parameters
    ----------
    estimator : object, default=None
        The model: a classifier that :func:`~robustkit.bridge.as_module` can see.
        Wrapped in :class:`~sklearn.frozen.FrozenEstimator`, it is attacked as it is;
        otherwise `fit` fits a clone. None is
        :class:`~sklearn.linear_model.LogisticRegression`.

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
    FGSMAttack : The same step of a given length.
    robustkit.plotting.RobustnessCurveDisplay : Accuracy as a function of `eps`.

    Notes
    -----
    Every `eps` is tried in turn, not by bisection: a longer step does not always fool
    where a shorter one did. A sample that no `eps` fools has nan for its `eps`, and the
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

    _parameter_constraints: dict = {
        **GradientAttack._parameter_constraints,
        "start": [Interval(Real, 0, None, closed="left")],
        "step": [Interval(Real, 0, None, closed="neither")],
        "stop": [Interval(Real, 0, None, closed="left")],
    }

    _learns = ("n_queries", "eps")

    def __init__(
        self,
        estimator=None,
        *,
        start=0.001,
        step=0.01,
        stop=0.26,
        clip="auto",
        batch_size=1024,
        device="auto",
        verbose=0,
    ):
        self.estimator = estimator
        self.start = start
        self.step = step
        self.stop = stop
        self.clip = clip
        self.batch_size = batch_size
        self.device = device
        self.verbose = verbose

    def _lengths(self):
        """Every eps tried, by multiplication: adding up would drift from the grid."""
        if self.start > self.stop:
            raise ValueError(
                "The 'start' parameter of GrowingEpsilonAttack must be at most 'stop'. "
                f"Got start={self.start!r} and stop={self.stop!r} instead."
            )
        # A grid that ends at `stop` up to rounding contains it.
        n_lengths = int((self.stop - self.start) / self.step + 1e-9) + 1
        return self.start + self.step * np.arange(n_lengths)

    def _radius(self):
        return self._lengths()[-1], "linf"

    def _finest_move(self):
        positive = [size for size in (self.start, self.step) if size > 0]
        return min(positive), "linf"

    def _starts_clean(self):
        return True

    def _search_batch(self, module, x, labels, wanted, seed, look, ask):
        rows = torch.arange(len(x), device=x.device)
        goal = Goal(labels, self._loss(), ask=ask, rows=rows)
        return grow(module, x, goal, self._lengths(), self.clip_, look)

    def _attack_rows(self, judge, search, X, labels, wanted, look, attacked, out):
        about = super()._attack_rows(
            judge, search, X, labels, wanted, look, attacked, out
        )
        rows = np.flatnonzero(attacked)
        if len(rows) and self._follows_gradient:
            stood = about["prediction"] == labels[rows]
            # Near a tie the model may say something else of a point among others.
            for i in np.flatnonzero(stood & np.isfinite(about["eps"])):
                one = slice(rows[i], rows[i] + 1)
                found = self._go_on(judge, X[one], labels[one], about["eps"][i])
                out[one], more = found
                for name, value in more.items():
                    about[name][i] = value
        return about

    def _go_on(self, judge, X, labels, eps):
        """Try the lengths from `eps` on, and believe the judge alone."""
        x = as_tensor(X, device=judge.device, dtype=judge.dtype)
        goal = Goal(as_tensor(labels, device=judge.device, dtype=None), self._loss())
        _, direction = input_gradient(judge.module, x, goal)
        direction, inside = as_array(direction.sign()).astype(X.dtype), X.copy()
        lengths = self._lengths()
        for k in range(np.searchsorted(lengths, eps), len(lengths)):
            self._project(X + X.dtype.type(lengths[k]) * direction, X, out=inside)
            prediction, confidence, _ = judge(inside)
            fooled = prediction[0] != labels[0]
            if fooled:
                break
        return inside, {
            "prediction": prediction[0],
            "confidence": confidence[0],
            "eps": lengths[k] if fooled else np.nan,
            "n_queries": k + 2,
        }

    def _perturb_batch(self, module, x, labels, clip):
        return grow(module, x, Goal(labels, self._loss()), self._lengths(), clip)[0]


def grow(module, x, goal, lengths, clip, look=None):
    """Try one length after the other along the sign of the gradient.

    Parameters
    ----------
    module : torch.nn.Module
        The model.

    x : torch.Tensor of shape (n_samples, ...)
        Clean samples.

    goal : Goal
        What is climbed, and when a sample is fooled.

    lengths : ndarray of shape (n_lengths,)
        In ascending order.

    clip : tuple of two floats or None
        Range of every feature.

    look : FirstLook, default=None
        A look at the clean samples that was already taken.

    Returns
    -------
    points : torch.Tensor of the shape of `x`
        At the first length that fools, else at the last one.

    n_queries : torch.Tensor of shape (n_samples,)
        The gradient, and lengths tried.

    eps : torch.Tensor of shape (n_samples,)
        The first length that fools, else nan. In float64.
    """
    _, direction = input_gradient(module, x, goal, look)
    direction.sign_()
    rows = torch.arange(len(x), device=x.device)
    points, n_queries = x.clone(), torch.full_like(rows, 1 + len(lengths))
    eps = torch.full_like(rows, torch.nan, dtype=torch.float64)
    left = torch.ones_like(rows, dtype=torch.bool)
    for k, length in enumerate(lengths):
        tried = torch.add(x, direction, alpha=float(length))
        if clip is not None:
            tried.clamp_(*clip)
        new = goal.is_fooled(module, tried, left).nonzero().squeeze(1)
        found = rows[new]
        points.index_copy_(0, found, tried.index_select(0, new))
        eps[found], n_queries[found] = float(length), k + 2
        left[new] = False
        n_left = int(left.sum())
        if n_left == 0:
            break
        if n_left <= (1 - SHARE_DONE) * len(rows):
            keep = left.nonzero().squeeze(1)
            x, direction = x.index_select(0, keep), direction.index_select(0, keep)
            rows, left, goal = rows[keep], left[keep], goal.take(keep)
            tried = tried.index_select(0, keep)
    last = left.nonzero().squeeze(1)
    points.index_copy_(0, rows[last], tried.index_select(0, last))
    return points, n_queries, eps
