"""The attacks as functions: a torch module and a batch in, perturbed samples out.

Each takes any module that returns logits, on any device, and one batch of samples of
any shape. The module is called in eval mode; its modes, its weights, their gradients
and the samples are afterwards as they were. The estimators of :mod:`robustkit.attacks`
call these very functions: they add checks, batches, the model's own word, a report.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import ArrayLike

from robustkit.attacks._attacked_model import FirstLook, logits_at, undisturbed
from robustkit.attacks._geometry import (
    make_ball,
    radius_like,
    random_point,
    sign_step,
    take_radius,
)
from robustkit.attacks._losses import (
    Goal,
    class_indices,
    goals_of,
    input_gradient,
    least_likely_class,
)
from robustkit.attacks.minimal import minimal_distance
from robustkit.attacks.one_pixel import one_pixel
from robustkit.networks import of_rows

__all__ = ["Trace", "bim", "fgsm", "grow_epsilon", "least_likely", "one_pixel", "pgd"]
__all__ += ["minimal_distance"]

# Samples that are done leave the batch only once they are this share of it: copying the
# others costs about as much as carrying the done ones for one step.
_SHARE_DONE = 0.2

# On a GPU the host waits for no step to end but these: the first after which the batch
# may shrink, as most samples that fall fall soon, and then every tenth.
_FIRST_LOOK, _STEPS_BETWEEN_LOOKS = 3, 10


@dataclass(eq=False)
class Trace:
    """What a search may use besides its parameters, and what it writes down.

    Parameters
    ----------
    ask : callable, default=None
        ``ask(points, rows)`` returns the classes that the model itself predicts, where
        that may be something else than the largest logit of the module. It is asked
        only about points at which the module errs; `rows` are the numbers of their
        samples in the batch. None trusts the largest logit.

    look : object, default=None
        A look at the clean samples that was already taken; it saves the first pass.

    n_queries : torch.Tensor of shape (n_samples,), default=None
        Written: the number of points at which the module was asked.

    eps : torch.Tensor of shape (n_samples,), default=None
        Written by :func:`grow_epsilon`: the first eps that fools, NaN where none does;
        and by :func:`minimal_distance`: how far away the error found is, infinity where
        none was.

    certified : torch.Tensor of shape (n_samples,), default=None
        Written by a search that proves something: whether no allowed perturbation
        fools the module.

    Examples
    --------
    >>> import torch
    >>> from robustkit.attacks import functional
    >>> module, trace = torch.nn.Identity(), functional.Trace()
    >>> X, y = torch.tensor([[0.2, 0.0], [0.9, 0.1]]), torch.tensor([0, 0])
    >>> X_adv = functional.grow_epsilon(module, X, y, trace=trace)
    >>> trace.eps
    tensor([0.1010,    nan], dtype=torch.float64)
    """

    ask: Callable[[torch.Tensor, torch.Tensor], torch.Tensor] | None = None
    look: FirstLook | None = None
    n_queries: torch.Tensor | None = None
    eps: torch.Tensor | None = None
    certified: torch.Tensor | None = None


def fgsm(
    module: torch.nn.Module,
    X: torch.Tensor,
    y: torch.Tensor,
    *,
    eps: float | ArrayLike | torch.Tensor,
    clip: tuple[float, float] | None = None,
    target: int | torch.Tensor | None = None,
    loss: str = "ce",
    trace: Trace | None = None,
) -> torch.Tensor:
    """Take one step of length `eps` along the sign of the gradient.

    Parameters
    ----------
    module : torch.nn.Module
        The model. Takes a batch, returns logits.

    X : torch.Tensor of shape (n_samples, ...)
        Clean samples, on the device of the module.

    y : torch.Tensor of shape (n_samples,)
        Index of the true class of each sample.

    eps : float, or array-like of shape (n_samples,) or of the shape of a sample
        How far a feature may move.

    clip : tuple of two floats, default=None
        Range of every feature. None is no range.

    target : int or torch.Tensor of shape (n_samples,), default=None
        The class that the module shall predict. None is any wrong class.

    loss : {"ce", "margin", "dlr"}, default="ce"
        What is climbed; see :class:`~robustkit.attacks.PGDAttack`.

    trace : Trace, default=None
        To learn more about the search than its points.

    Returns
    -------
    X_adv : torch.Tensor of the shape of `X`
        Perturbed samples.

    See Also
    --------
    pgd : Many steps, random starts; much stronger.

    Examples
    --------
    >>> import torch
    >>> from robustkit.attacks import functional
    >>> module = torch.nn.Identity()
    >>> X, y = torch.tensor([[0.2, 0.1], [0.9, 0.1]]), torch.tensor([0, 0])
    >>> X_adv = functional.fgsm(module, X, y, eps=0.1, clip=(0, 1))
    >>> module(X_adv).argmax(dim=1)
    tensor([1, 0])
    """
    trace = Trace() if trace is None else trace
    with undisturbed(module, X) as X:
        y, target = class_indices(y, X, "y"), class_indices(target, X, "target")
        goal = Goal(y, loss, target)
        _, gradient = input_gradient(module, X, goal, trace.look)
        points = sign_step(X, gradient, radius_like(eps, X))
        trace.n_queries = torch.ones_like(y)
        return points if clip is None else points.clamp_(*clip)


def bim(
    module: torch.nn.Module,
    X: torch.Tensor,
    y: torch.Tensor,
    *,
    eps: float | ArrayLike | torch.Tensor,
    step_size: float | None = None,
    max_iter: int = 10,
    clip: tuple[float, float] | None = None,
    target: int | torch.Tensor | None = None,
    loss: str = "ce",
    early_stopping: bool = True,
    trace: Trace | None = None,
) -> torch.Tensor:
    """Take small steps along the sign of the gradient, from the clean samples.

    It is :func:`pgd` in the maximum norm without random starts.

    Parameters
    ----------
    module : torch.nn.Module
        The model. Takes a batch, returns logits.

    X : torch.Tensor of shape (n_samples, ...)
        Clean samples, on the device of the module.

    y : torch.Tensor of shape (n_samples,)
        Index of the true class of each sample.

    eps : float, or array-like of shape (n_samples,) or of the shape of a sample
        How far a feature may move.

    step_size : float, default=None
        Length of every step. None begins with ``2 * eps`` and ends near zero.

    max_iter : int, default=10
        Maximum number of steps.

    clip : tuple of two floats, default=None
        Range of every feature. None is no range.

    target : int or torch.Tensor of shape (n_samples,), default=None
        The class that the module shall predict. None is any wrong class.

    loss : {"ce", "margin", "dlr"}, default="ce"
        What is climbed; see :class:`~robustkit.attacks.PGDAttack`.

    early_stopping : bool, default=True
        Whether a sample stops at the first point that fools; see :func:`pgd`.

    trace : Trace, default=None
        To learn more about the search than its points.

    Returns
    -------
    X_adv : torch.Tensor of the shape of `X`
        Perturbed samples.

    Examples
    --------
    >>> import torch
    >>> from robustkit.attacks import functional
    >>> module = torch.nn.Identity()
    >>> X, y = torch.tensor([[0.2, 0.1], [0.9, 0.1]]), torch.tensor([0, 0])
    >>> X_adv = functional.bim(module, X, y, eps=0.1, clip=(0, 1))
    >>> module(X_adv).argmax(dim=1)
    tensor([1, 0])
    """
    return pgd(
        module,
        X,
        y,
        eps=eps,
        step_size=step_size,
        max_iter=max_iter,
        random_start=False,
        loss=loss,
        clip=clip,
        target=target,
        early_stopping=early_stopping,
        trace=trace,
    )


def least_likely(
    module: torch.nn.Module,
    X: torch.Tensor,
    y: torch.Tensor,
    *,
    eps: float | ArrayLike | torch.Tensor,
    step_size: float | None = None,
    max_iter: int = 10,
    clip: tuple[float, float] | None = None,
    target: int | torch.Tensor | None = None,
    loss: str = "ce",
    early_stopping: bool = True,
    trace: Trace | None = None,
) -> torch.Tensor:
    """Take small steps towards the class that the module finds least likely.

    Parameters
    ----------
    module : torch.nn.Module
        The model. Takes a batch, returns logits.

    X : torch.Tensor of shape (n_samples, ...)
        Clean samples, on the device of the module.

    y : torch.Tensor of shape (n_samples,)
        Index of the true class of each sample, which is never the target.

    eps : float, or array-like of shape (n_samples,) or of the shape of a sample
        How far a feature may move.

    step_size : float, default=None
        Length of every step. None begins with ``2 * eps`` and ends near zero.

    max_iter : int, default=10
        Maximum number of steps.

    clip : tuple of two floats, default=None
        Range of every feature. None is no range.

    target : int or torch.Tensor of shape (n_samples,), default=None
        The least likely classes, if they are known. None asks the module.

    loss : {"ce", "margin", "dlr"}, default="ce"
        What is climbed; see :class:`~robustkit.attacks.PGDAttack`.

    early_stopping : bool, default=True
        Whether a sample stops at the first point of the target; see :func:`pgd`.

    trace : Trace, default=None
        To learn more about the search than its points.

    Returns
    -------
    X_adv : torch.Tensor of the shape of `X`
        Perturbed samples.

    Examples
    --------
    >>> import torch
    >>> from robustkit.attacks import functional
    >>> module = torch.nn.Identity()
    >>> X, y = torch.tensor([[0.2, 0.1], [0.9, 0.1]]), torch.tensor([0, 0])
    >>> X_adv = functional.least_likely(module, X, y, eps=0.1, clip=(0, 1))
    >>> module(X_adv).argmax(dim=1)
    tensor([1, 0])
    """
    if target is None:
        with undisturbed(module, X) as points:
            target = least_likely_class(module, points, class_indices(y, points, "y"))
    return bim(
        module,
        X,
        y,
        eps=eps,
        step_size=step_size,
        max_iter=max_iter,
        clip=clip,
        target=target,
        loss=loss,
        early_stopping=early_stopping,
        trace=trace,
    )


def pgd(
    module: torch.nn.Module,
    X: torch.Tensor,
    y: torch.Tensor,
    *,
    eps: float | ArrayLike | torch.Tensor,
    norm: str = "linf",
    step_size: float | None = None,
    max_iter: int = 40,
    n_restarts: int = 1,
    random_start: bool = True,
    loss: str = "ce",
    clip: tuple[float, float] | None = None,
    target: int | torch.Tensor | None = None,
    seed: int = 0,
    early_stopping: bool = True,
    trace: Trace | None = None,
) -> torch.Tensor:
    """Climb a loss by projected gradient steps inside a ball around each sample.

    Parameters
    ----------
    module : torch.nn.Module
        The model. Takes a batch, returns logits.

    X : torch.Tensor of shape (n_samples, ...)
        Clean samples, on the device of the module.

    y : torch.Tensor of shape (n_samples,)
        Index of the true class of each sample.

    eps : float, or array-like of shape (n_samples,) or of the shape of a sample
        Radius of the ball; with ``norm="linf"`` also one per feature.

    norm : {"linf", "l2"}, default="linf"
        "linf": every feature may move by `eps`. "l2": the Euclidean length of the
        perturbation is at most `eps`.

    step_size : float, default=None
        Length of every step. None begins with ``2 * eps``, across the ball, and ends
        near zero: step k is ``eps * (1 + cos(pi * k / max_iter))``, k from 0.

    max_iter : int, default=40
        Maximum number of steps per restart.

    n_restarts : int, default=1
        Number of starts. Only samples not yet fooled start again.

    random_start : bool, default=True
        Whether to start from a random point of the ball instead of the clean sample.
        The first climb of ``loss="rotate"`` always starts at the clean sample.

    loss : {"ce", "margin", "dlr", "rotate"}, default="ce"
        What is climbed; see :class:`~robustkit.attacks.PGDAttack`.

    clip : tuple of two floats, default=None
        Range of every feature. None is no range.

    target : int or torch.Tensor of shape (n_samples,), default=None
        The class that the module shall predict. None is any wrong class.

    seed : int, default=0
        Of the random starts, which depend on it and on the content of each sample.

    early_stopping : bool, default=True
        True returns the first point that fools, or else the best point seen. False
        takes every step of one start with every sample and returns the last points,
        which is what adversarial training wants.

    trace : Trace, default=None
        To learn more about the search than its points.

    Returns
    -------
    X_adv : torch.Tensor of the shape of `X`
        Perturbed samples.

    See Also
    --------
    robustkit.attacks.PGDAttack : The same for estimators, in batches, with a report.

    Examples
    --------
    >>> import torch
    >>> from robustkit.attacks import functional
    >>> module = torch.nn.Flatten()
    >>> X, y = torch.eye(5).view(5, 1, 5, 1), torch.arange(5)
    >>> X_adv = functional.pgd(module, X, y, eps=0.1, clip=(0, 1))
    >>> X_adv.shape
    torch.Size([5, 1, 5, 1])
    """
    trace = Trace() if trace is None else trace
    with undisturbed(module, X) as X:
        eps, y = radius_like(eps, X), class_indices(y, X, "y")
        target, best = class_indices(target, X, "target"), best_seen(X)
        goals = goals_of(module, X, y, target, loss, n_restarts, trace.ask)
        for stream, goal in enumerate(goals):
            rows, clean, radius = best.start_climb(), X, eps
            if len(rows) == 0:
                break
            part = of_rows(module, rows)
            if len(rows) < len(X):
                clean, radius = X.index_select(0, rows), take_radius(eps, rows)
                goal = goal.take(rows)
            ball = make_ball(clean, radius, clip, norm)
            # Where the module is linear, the way from the clean sample is the best one.
            if random_start and (loss != "rotate" or stream > 0):
                start = random_point(clean, radius, norm, seed, stream)
                look, points, previous = None, ball.project_(start), None
            else:
                look, points, previous = trace.look, clean.clone(), None
                trace.look = None
            for step in range(max_iter + 1):
                if step < max_iter:
                    logits, gradient = input_gradient(part, points, goal, look)
                    look = None
                elif early_stopping:
                    logits = logits_at(part, points)
                else:
                    return points
                if early_stopping:
                    verdict = goal.judge(logits, points, best.active, best.rows)
                    best.note(points, previous, *verdict, n_asked=step + 1)
                    if step == max_iter or (n_active := best.count_active()) == 0:
                        break
                    if n_active <= (1 - _SHARE_DONE) * len(points):
                        keep = best.drop_done()
                        points = points.index_select(0, keep)
                        gradient = gradient.index_select(0, keep)
                        goal, part = goal.take(keep), of_rows(part, keep)
                        ball.take(keep)
                # By default the first step crosses the ball, and half a cosine wave
                # leads to zero: what a random start has beside the direction uphill
                # must vanish.
                size = step_size
                if step_size is None:
                    size = ball.radius * (1 + math.cos(math.pi * step / max_iter))
                previous, points = points, ball.step(points, gradient, size)
            best.end_climb(points)
        trace.n_queries = best.n_queries
        return best.points


def grow_epsilon(
    module: torch.nn.Module,
    X: torch.Tensor,
    y: torch.Tensor,
    *,
    start: float = 0.001,
    step: float = 0.01,
    stop: float = 0.26,
    clip: tuple[float, float] | None = None,
    loss: str = "ce",
    trace: Trace | None = None,
) -> torch.Tensor:
    """Try one eps after the other along the sign of the gradient at the clean sample.

    Parameters
    ----------
    module : torch.nn.Module
        The model. Takes a batch, returns logits.

    X : torch.Tensor of shape (n_samples, ...)
        Clean samples, on the device of the module.

    y : torch.Tensor of shape (n_samples,)
        Index of the true class of each sample.

    start : float, default=0.001
        First eps tried.

    step : float, default=0.01
        What is added each time.

    stop : float, default=0.26
        No eps above it is tried.

    clip : tuple of two floats, default=None
        Range of every feature. None is no range.

    loss : {"ce", "margin", "dlr"}, default="ce"
        Whose gradient is followed; see :class:`~robustkit.attacks.PGDAttack`.

    trace : Trace, default=None
        To learn more about the search than its points: the first eps that fools.

    Returns
    -------
    X_adv : torch.Tensor of the shape of `X`
        Samples at the first eps that fools, else at the last one.

    Examples
    --------
    >>> import torch
    >>> from robustkit.attacks import functional
    >>> module = torch.nn.Identity()
    >>> X, y = torch.tensor([[0.2, 0.1], [0.9, 0.1]]), torch.tensor([0, 0])
    >>> X_adv = functional.grow_epsilon(module, X, y, clip=(0, 1))
    >>> module(X_adv).argmax(dim=1)
    tensor([1, 0])
    """
    trace = Trace() if trace is None else trace
    lengths = epsilon_grid(start, step, stop)
    with undisturbed(module, X) as X:
        goal, left_X = Goal(class_indices(y, X, "y"), loss, ask=trace.ask), X
        _, direction = input_gradient(module, X, goal, trace.look)
        direction.sign_()
        if X.device.type != "cpu":
            found = _grow_masked(module, X, goal, direction, lengths, clip)
            points, trace.n_queries, trace.eps = found
            return points
        rows = torch.arange(len(X), device=X.device)
        points, n_queries = X.clone(), torch.full_like(rows, 1 + len(lengths))
        eps = torch.full_like(rows, torch.nan, dtype=torch.float64)
        left = torch.ones_like(rows, dtype=torch.bool)
        for k, length in enumerate(lengths):
            tried = torch.add(left_X, direction, alpha=float(length))
            if clip is not None:
                tried.clamp_(*clip)
            new = goal.is_fooled(module, tried, left, rows).nonzero().squeeze(1)
            found = rows[new]
            points.index_copy_(0, found, tried.index_select(0, new))
            eps[found], n_queries[found] = float(length), k + 2
            left[new] = False
            n_left = int(left.sum())
            if n_left == 0:
                break
            if n_left <= (1 - _SHARE_DONE) * len(rows):
                keep = left.nonzero().squeeze(1)
                left_X, direction = (
                    t.index_select(0, keep) for t in (left_X, direction)
                )
                rows, left, goal = rows[keep], left[keep], goal.take(keep)
                module = of_rows(module, keep)
                tried = tried.index_select(0, keep)
        last = left.nonzero().squeeze(1)
        points.index_copy_(0, rows[last], tried.index_select(0, last))
        trace.n_queries, trace.eps = n_queries, eps
        return points


def _grow_masked(module, X, goal, direction, lengths, clip):
    """Do the same on a GPU; see `MaskedBest`."""
    looks, rows = _Looks(), torch.arange(len(X), device=X.device)
    n_queries = torch.full_like(rows, 1 + len(lengths))
    eps = torch.full_like(rows, torch.nan, dtype=torch.float64)
    left, kept = torch.ones_like(rows, dtype=torch.bool), (X.clone(), n_queries, eps)
    found = tuple(values.clone() for values in kept)
    for k, length in enumerate(lengths):
        tried = torch.add(X, direction, alpha=float(length))
        if clip is not None:
            tried.clamp_(*clip)
        new, (points, n_queries, eps) = goal.is_fooled(module, tried, left, rows), kept
        # Of those that no eps fools the last point is kept.
        points = torch.where(_column(left, X), tried, points)
        n_queries = n_queries.masked_fill(new, k + 2)
        kept = points, n_queries, eps.masked_fill(new, float(length))
        left = left & ~new
        keep = looks.places_of(left)
        if keep is not None and len(keep) <= (1 - _SHARE_DONE) * len(rows):
            for whole, values in zip(found, kept, strict=True):
                whole.index_copy_(0, rows, values)
            if len(keep) == 0:
                return found
            X, direction, rows, left, *kept = (
                t.index_select(0, keep) for t in (X, direction, rows, left, *kept)
            )
            goal, module = goal.take(keep), of_rows(module, keep)
    for whole, values in zip(found, kept, strict=True):
        whole.index_copy_(0, rows, values)
    return found


def _column(mask, like):
    return mask.view(-1, *[1] * (like.ndim - 1))


class _Looks:
    """When to wait for a GPU: at a step in ten it is asked which samples go on."""

    def __init__(self):
        self._n_until = _FIRST_LOOK

    def places_of(self, active):
        """Return the places of samples that go on; None if it is not time to ask."""
        self._n_until -= 1
        if self._n_until > 0:
            return None
        self._n_until = _STEPS_BETWEEN_LOOKS
        return active.nonzero().squeeze(1)


def epsilon_grid(start: float, step: float, stop: float) -> np.ndarray:
    """Return every eps tried. Multiplied: adding up would drift from the grid."""
    if start > stop:
        raise ValueError(
            f"'start' must be at most 'stop'. Got start={start!r} and stop={stop!r}."
        )
    # A grid that ends at `stop` up to rounding contains it.
    return start + step * np.arange(int((stop - start) / step + 1e-9) + 1)


def best_seen(X):
    """Begin to keep the best points of samples, in the way of their device."""
    return BestSeen(X) if X.device.type == "cpu" else MaskedBest(X)


class BestSeen:
    """The best point of every sample, over all climbs, and the samples still climbing.

    While a sample climbs, its best point is mostly the current one. It is copied only
    when the climb leaves it: every step would cost a tenth of the whole attack.
    """

    def __init__(self, X):
        n_samples = len(X)
        # What is returned: the points, and how often the module was asked.
        self.points = torch.empty_like(X)
        self.n_queries = torch.zeros(n_samples, dtype=torch.int64, device=X.device)
        # Of every sample: the yardstick at its best point, whether the model errs
        # there, and whether the goal is reached. In float64: whatever the logits are.
        self._margin = X.new_full((n_samples,), -torch.inf, dtype=torch.float64)
        self._fooled = torch.zeros_like(self.n_queries, dtype=torch.bool)
        self._reached = torch.zeros_like(self._fooled)

    def start_climb(self):
        """Return the numbers of the samples that have not reached their goal."""
        self.rows = (~self._reached).nonzero().squeeze(1)
        self.active = torch.ones_like(self.rows, dtype=torch.bool)
        # Whether the current point of a climbing sample is its best one.
        self.at_best = torch.zeros_like(self.active)
        self.margin, self.fooled = self._margin[self.rows], self._fooled[self.rows]
        self._n_asked = 0
        return self.rows

    def note(self, points, previous, margin, fooled, reached, n_asked):
        """Compare the current points with the best ones.

        An error is better than none, and else the larger margin is.
        """
        better = (fooled & ~self.fooled) | (
            (fooled == self.fooled) & (margin > self.margin)
        )
        better = (reached | better) & self.active
        # Their best point is the one before: now it must be written down.
        left = (self.at_best & ~better & self.active).nonzero().squeeze(1)
        if len(left):
            self._write_points(previous, left)
        self.at_best, self._n_asked = better, n_asked
        self.margin = torch.where(better, margin, self.margin)
        self.fooled = torch.where(better, fooled, self.fooled)
        done = (reached & self.active).nonzero().squeeze(1)
        if len(done):
            self.active[done] = self.at_best[done] = False
            self._write_points(points, done)
            self._reached[self.rows[done]] = True
            self.n_queries[self.rows[done]] += n_asked

    def count_active(self):
        """Return how many samples go on."""
        return int(self.active.sum())

    def drop_done(self):
        """Forget samples that are done; return the places of the others."""
        keep = self.active.nonzero().squeeze(1)
        for name in ("rows", "active", "at_best", "margin", "fooled"):
            setattr(self, name, getattr(self, name)[keep])
        return keep

    def end_climb(self, points):
        """Write down what is still open."""
        # A sample without any comparable logits keeps its last point.
        open_ = self.at_best | (self.active & (self.margin == -torch.inf))
        self._write_points(points, open_.nonzero().squeeze(1))
        active = self.active.nonzero().squeeze(1)
        where = self.rows[active]
        self._margin[where] = self.margin[active]
        self._fooled[where] = self.fooled[active]
        self.n_queries[where] += self._n_asked

    def _write_points(self, points, which):
        where = self.rows[which]
        self.points.index_copy_(0, where, points.index_select(0, which))


class MaskedBest(BestSeen):
    """The same on a GPU, where a question costs more than a step.

    Samples that are done stay in the batch, masked, also when another climb begins, and
    the batch shrinks at one step in ten. What is known of samples is written down when
    they leave.
    """

    def __init__(self, X):
        super().__init__(X)
        self.rows = torch.arange(len(X), device=X.device)
        self._looks, self._keep = _Looks(), self.rows
        self.points.copy_(X)

    def start_climb(self):
        """Return the numbers of all samples that were not seen to be done."""
        self._best = self.points.index_select(0, self.rows)
        self.margin, self.fooled, self.reached = (
            whole.index_select(0, self.rows)
            for whole in (self._margin, self._fooled, self._reached)
        )
        self.active, self._asked = ~self.reached, torch.zeros_like(self.rows)
        return self.rows

    def note(self, points, previous, margin, fooled, reached, n_asked):
        """Compare the current points with the best ones."""
        better = (fooled & ~self.fooled) | (
            (fooled == self.fooled) & (margin > self.margin)
        )
        better = (reached | better) & self.active
        self._best = torch.where(_column(better, points), points, self._best)
        self.margin = torch.where(better, margin, self.margin)
        self.fooled = torch.where(better, fooled, self.fooled)
        self._asked = self._asked.masked_fill(self.active, n_asked)
        self.reached = self.reached | (reached & self.active)
        self.active = self.active & ~reached

    def count_active(self):
        """Return how many samples go on, as far as that was asked for."""
        keep = self._looks.places_of(self.active)
        if keep is None:
            return len(self.rows)
        self._keep = keep
        return len(keep)

    def drop_done(self):
        """Write down what is known; go on with those that were seen to go on."""
        self._write_down(self._asked.masked_fill(self.active, 0))
        keep = self._keep
        for name in (
            "rows",
            "active",
            "margin",
            "fooled",
            "reached",
            "_best",
            "_asked",
        ):
            setattr(self, name, getattr(self, name).index_select(0, keep))
        return keep

    def end_climb(self, points):
        """Write down what is still open."""
        # A sample without any comparable logits keeps its last point.
        blind = self.active & (self.margin == -torch.inf)
        self._best = torch.where(_column(blind, points), points, self._best)
        self._write_down(self._asked)

    def _write_down(self, n_asked):
        n_asked = n_asked + self.n_queries.index_select(0, self.rows)
        for whole, values in (
            (self.points, self._best),
            (self.n_queries, n_asked),
            (self._margin, self.margin),
            (self._fooled, self.fooled),
            (self._reached, self.reached),
        ):
            whole.index_copy_(0, self.rows, values)
