"""Climb a loss inside a ball, step by step: the engine of the gradient attacks."""

from dataclasses import dataclass

import torch

from robustkit.attacks._losses import LOSSES, margin_loss

__all__ = ["FirstLook", "Goal", "climb", "climb_to_the_end", "input_gradient"]

# Samples that are done leave the batch only once they are this share of it: copying the
# others costs about as much as carrying the done ones for one step.
_SHARE_DONE = 0.2


@dataclass
class Goal:
    """What an attack wants of every sample.

    Parameters
    ----------
    labels : torch.Tensor of shape (n_samples,)
        Classes attacked.

    loss : {"ce", "margin", "dlr"}, default="ce"
        What is climbed.

    wanted : torch.Tensor of shape (n_samples,), default=None
        Classes towards which is climbed. None is away from the labels.

    must_hit : bool, default=False
        Whether only the wanted class is a success. Otherwise any wrong class is.
    """

    labels: torch.Tensor
    loss: str = "ce"
    wanted: torch.Tensor | None = None
    must_hit: bool = False

    def climbed(self, logits):
        """One number a sample, to be climbed."""
        return LOSSES[self.loss](logits, self.labels, self.wanted)

    def judge(self, logits):
        """Yardstick, whether the model errs, and whether the goal is reached."""
        answer = logits.argmax(dim=1)
        fooled = answer != self.labels
        if self.must_hit:
            margin = margin_loss(logits, self.labels, self.wanted)
            return margin, fooled, answer == self.wanted
        return margin_loss(logits, self.labels), fooled, fooled

    def take(self, rows):
        """Keep the goals of some samples only."""
        wanted = None if self.wanted is None else self.wanted[rows]
        return Goal(self.labels[rows], self.loss, wanted, self.must_hit)


class FirstLook:
    """Logits at the clean samples, kept with what is needed for a gradient there.

    Parameters
    ----------
    points : torch.Tensor of shape (n_samples, ...)
        Clean samples, requiring a gradient.

    logits : torch.Tensor of shape (n_samples, n_classes)
        What the module made of them.
    """

    def __init__(self, points, logits):
        self.points, self.logits, self.rows = points, logits, None

    def take(self, rows):
        """Look at some samples only."""
        if len(rows) < len(self.points):
            self.rows = torch.from_numpy(rows).to(self.points.device)
            self.logits = self.logits.index_select(0, self.rows)
        return self

    def gradient(self, goal):
        """Return logits, and the gradient of the loss; can be asked for once."""
        # The sum, not the mean: a gradient must not depend on the size of the batch.
        loss = goal.climbed(self.logits).sum()
        (gradient,) = torch.autograd.grad(loss, self.points)
        if self.rows is not None:
            gradient = gradient.index_select(0, self.rows)
        return self.logits.detach(), gradient


def input_gradient(module, points, goal, look=None):
    """Logits, and the gradient of the loss with respect to the points.

    Parameters
    ----------
    module : torch.nn.Module
        The model. Its parameters get no gradient.

    points : torch.Tensor of shape (n_samples, ...)
        Where.

    goal : Goal
        What is climbed.

    look : FirstLook, default=None
        A look at these very points that was already taken.

    Returns
    -------
    logits : torch.Tensor of shape (n_samples, n_classes)
        At the points.

    gradient : torch.Tensor of the shape of `points`
        Not a number counts as zero: such a sample stays where it is.
    """
    # Also inside a caller's `no_grad`.
    with torch.enable_grad():
        if look is None:
            points = points.detach().requires_grad_(True)
            look = FirstLook(points, module(points))
        logits, gradient = look.gradient(goal)
    if not bool(torch.isfinite(gradient.sum())):
        gradient = torch.nan_to_num(gradient)
    return logits, gradient


@dataclass
class Climb:
    """What came out of a climb, one entry a sample.

    Parameters
    ----------
    points : torch.Tensor of shape (n_samples, ...)
        The first that reached the goal; else the best seen.

    margin : torch.Tensor of shape (n_samples,)
        The yardstick there.

    fooled : torch.Tensor of shape (n_samples,) and dtype bool
        Whether the model errs there.

    reached : torch.Tensor of shape (n_samples,) and dtype bool
        Whether the goal is reached there.

    n_queries : torch.Tensor of shape (n_samples,) and dtype int64
        Points at which the model was asked.
    """

    points: torch.Tensor
    margin: torch.Tensor
    fooled: torch.Tensor
    reached: torch.Tensor
    n_queries: torch.Tensor

    def merge(self, other, rows):
        """Take what is better in a further climb of some of the samples."""
        self.n_queries[rows] += other.n_queries
        everyone = torch.ones_like(other.reached)
        _keep_better(
            self,
            other.points,
            other.margin,
            other.fooled,
            other.reached,
            rows,
            everyone,
        )
        return self


def climb(module, start, goal, ball, *, step_size, max_iter, look=None):
    """Take projected gradient steps until the goal is reached.

    A sample leaves at the first point that reaches its goal, so the work shrinks with
    the samples that are left.

    Parameters
    ----------
    module : torch.nn.Module
        The model.

    start : torch.Tensor of shape (n_samples, ...)
        First points, inside the balls. Overwritten.

    goal : Goal
        What is wanted.

    ball : LinfBall or L2Ball
        Where points may be. Overwritten.

    step_size : float
        Length of a step, in the ball's norm.

    max_iter : int
        Steps at most.

    look : FirstLook, default=None
        A look at the first points that was already taken.

    Returns
    -------
    result : Climb
        The best point of every sample, and what is known of it.
    """
    points, rows = start, torch.arange(len(start), device=start.device)
    active = torch.ones_like(rows, dtype=torch.bool)
    best = None
    for step in range(max_iter + 1):
        if step < max_iter:
            logits, gradient = input_gradient(module, points, goal, look)
            look = None
        else:
            with torch.no_grad():
                logits = module(points)
        margin, fooled, reached = goal.judge(logits)
        if best is None:
            n_queries = torch.full_like(rows, max_iter + 1)
            best = Climb(points.clone(), margin, fooled, reached, n_queries)
        else:
            _keep_better(best, points, margin, fooled, reached, rows, active)
        active &= ~reached
        best.n_queries[rows[reached]] = best.n_queries[rows[reached]].clamp(
            max=step + 1
        )
        n_active = int(active.sum())
        if step == max_iter or n_active == 0:
            break
        if n_active <= (1 - _SHARE_DONE) * len(points):
            keep = active.nonzero().squeeze(1)
            points = points.index_select(0, keep)
            gradient, rows = gradient.index_select(0, keep), rows[keep]
            goal, active = goal.take(keep), active[keep]
            ball.take(keep)
        points = ball.step_(points.detach(), gradient, step_size)
    return best


def _keep_better(best, points, margin, fooled, reached, rows, active):
    """Remember points that beat the best: an error first, then a larger margin."""
    was_fooled = best.fooled[rows]
    better = (margin > best.margin[rows]) & (fooled == was_fooled)
    better = ((better | (fooled & ~was_fooled) | reached) & active).nonzero().squeeze(1)
    where = rows[better]
    best.points.index_copy_(0, where, points.index_select(0, better))
    best.margin[where] = margin[better]
    best.fooled[where] = fooled[better]
    best.reached[where] = reached[better]


def climb_to_the_end(module, start, goal, ball, *, step_size, max_iter):
    """Take every step with every sample, and return the last points.

    This is what adversarial training wants: points that a model finds hard, not the
    first that it gets wrong.

    Parameters
    ----------
    module : torch.nn.Module
        The model.

    start : torch.Tensor of shape (n_samples, ...)
        First points, inside the balls. Overwritten.

    goal : Goal
        What is climbed.

    ball : LinfBall or L2Ball
        Where points may be.

    step_size : float
        Length of a step, in the ball's norm.

    max_iter : int
        Number of steps.

    Returns
    -------
    points : torch.Tensor of the shape of `start`
        The last ones.
    """
    points = start
    for _ in range(max_iter):
        _, gradient = input_gradient(module, points, goal)
        points = ball.step_(points, gradient, step_size)
    return points
