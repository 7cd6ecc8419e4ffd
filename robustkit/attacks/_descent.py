"""Climb a loss inside a ball, step by step: the engine of the gradient attacks."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch

from robustkit.attacks._losses import LOSSES, margin_loss

__all__ = [
    "SHARE_DONE",
    "FirstLook",
    "Goal",
    "Memory",
    "climb",
    "climb_to_the_end",
    "first_look",
    "input_gradient",
    "logits_at",
]

# Samples that are done leave the batch only once they are this share of it: copying the
# others costs about as much as carrying the done ones for one step.
SHARE_DONE = 0.2


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

    ask : callable, default=None
        What the model itself says, where that may be something else than the largest
        logit of the module: takes points and the numbers of their samples, and returns
        classes. None is the largest logit.

    rows : torch.Tensor of shape (n_samples,), default=None
        Numbers of the samples, for `ask`.

    falls_back : bool, default=True
        Whether samples climb the margin where the cross-entropy is flat.
    """

    labels: torch.Tensor
    loss: str = "ce"
    wanted: torch.Tensor | None = None
    must_hit: bool = False
    ask: Callable | None = None
    rows: torch.Tensor | None = None
    falls_back: bool = True

    def climbed(self, logits):
        """One number a sample, to be climbed.

        Where the cross-entropy is zero after rounding, its gradient is zero or lacks
        the label's part: such samples climb the margin.
        """
        loss = LOSSES[self.loss](logits, self.labels, self.wanted)
        if self.loss == "ce" and self.falls_back:
            flat = loss == 0
            if bool(flat.any()):
                margin = margin_loss(logits, self.labels, self.wanted)
                loss = torch.where(flat, margin, loss)
        return loss

    def judge(self, logits, points, active):
        """Yardstick, whether the model errs, and whether the goal is reached.

        The model itself is asked only about active samples that the module is wrong
        about.
        """
        answer = logits.argmax(dim=1)
        margin = margin_loss(
            logits, self.labels, self.wanted if self.must_hit else None
        )
        if self.ask is not None:
            said = self.labels.clone()
            rows = ((answer != self.labels) & active).nonzero().squeeze(1)
            if len(rows):
                said[rows] = self.ask(points.index_select(0, rows), self.rows[rows])
            answer = said
        fooled = answer != self.labels
        return margin, fooled, answer == self.wanted if self.must_hit else fooled

    def is_fooled(self, module, points, active):
        """Whether the model errs; False where a sample is not active."""
        if self.ask is None:
            answer = logits_at(module, points).argmax(dim=1)
        else:
            answer = self.labels.clone()
            rows = active.nonzero().squeeze(1)
            answer[rows] = self.ask(points.index_select(0, rows), self.rows[rows])
        return (answer != self.labels) & active

    def take(self, rows):
        """Keep the goals of some samples only."""
        parts = {
            name: None if (part := getattr(self, name)) is None else part[rows]
            for name in ("labels", "wanted", "rows")
        }
        return replace(self, **parts)


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
        gradient = None
        if loss.requires_grad:
            (gradient,) = torch.autograd.grad(loss, self.points, allow_unused=True)
        if gradient is None:
            raise ValueError(
                "The output of the module has no gradient with respect to its input: "
                "its forward detaches it, runs inside torch.no_grad() or ignores it. "
                "Use an attack that needs no gradient, such as OnePixelAttack."
            )
        if 0 in gradient.stride():
            # Of a sum, say: one number for many entries, and steps write to each.
            gradient = gradient.contiguous()
        if self.rows is not None:
            gradient = gradient.index_select(0, self.rows)
        return self.logits.detach(), gradient


def first_look(module, points):
    """Call a module so that the gradient with respect to its input can follow.

    Parameters
    ----------
    module : torch.nn.Module
        The model.

    points : torch.Tensor of shape (n_samples, ...)
        Where. Never written to: torch refuses a module that does, and it is called
        again with a copy.

    Returns
    -------
    look : FirstLook
        The logits, and what their gradient needs.
    """
    # Also inside a caller's `no_grad`.
    with torch.enable_grad():
        points = points.detach().requires_grad_(True)
        try:
            logits = module(points)
        except RuntimeError as error:
            if "in-place operation" not in str(error):
                raise
            logits = module(points.clone())
        return FirstLook(points, logits)


def logits_at(module, points):
    """Logits without a gradient, of a copy that the module may write to.

    Parameters
    ----------
    module : torch.nn.Module
        The model.

    points : torch.Tensor of shape (n_samples, ...)
        Where.

    Returns
    -------
    logits : torch.Tensor of shape (n_samples, n_classes)
        At the points.
    """
    with torch.no_grad():
        return module(points.clone())


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
        Of the sum of all losses.
    """
    if look is None:
        look = first_look(module, points)
    with torch.enable_grad():
        return look.gradient(goal)


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
        better = other.reached | _beats(
            other.margin, other.fooled, self.margin[rows], self.fooled[rows]
        )
        better = better.nonzero().squeeze(1)
        self.save(other, rows[better], better)
        return self

    def save(self, found, where, rows):
        """Copy some rows of what was found."""
        self.points.index_copy_(0, where, found.points.index_select(0, rows))
        for name in ("margin", "fooled", "reached"):
            getattr(self, name)[where] = getattr(found, name)[rows]


def climb(module, start, goal, ball, steps, look=None):
    """Take projected gradient steps until the goal is reached.

    A sample leaves at the first point that reaches its goal, so the work shrinks with
    the samples that are left.

    Parameters
    ----------
    module : torch.nn.Module
        The model.

    start : torch.Tensor of shape (n_samples, ...)
        First points, inside the balls.

    goal : Goal
        What is wanted.

    ball : LinfBall or L2Ball
        Where points may be. Overwritten.

    steps : sequence of float
        Lengths of the steps, in the ball's norm.

    look : FirstLook, default=None
        A look at the first points that was already taken.

    Returns
    -------
    result : Climb
        The best point of every sample, and what is known of it.
    """
    memory = Memory(start, len(steps) + 1)
    points, previous = start, None
    for step in range(len(steps) + 1):
        if step < len(steps):
            logits, gradient = input_gradient(module, points, goal, look)
            look = None
        else:
            logits = logits_at(module, points)
        verdict = goal.judge(logits, points, memory.active)
        n_active = memory.note(points, previous, *verdict, step + 1)
        if step == len(steps) or n_active == 0:
            break
        if n_active <= (1 - SHARE_DONE) * len(points):
            keep = memory.drop_done()
            points = points.index_select(0, keep)
            gradient = gradient.index_select(0, keep)
            goal = goal.take(keep)
            ball.take(keep)
        previous, points = points, ball.step(points, gradient, steps[step])
    return memory.close(points)


class Memory:
    """The best point of every sample, written down only when the climb leaves it.

    While a sample climbs, its best point is the current one, and copying it at every
    step would cost a tenth of the whole attack.

    Parameters
    ----------
    start : torch.Tensor of shape (n_samples, ...)
        First points; only their shape counts.

    most_queries : int
        Queries of a sample that never reaches its goal.
    """

    def __init__(self, start, most_queries):
        n_samples, device = len(start), start.device
        self.rows = torch.arange(n_samples, device=device)
        self.active = torch.ones_like(self.rows, dtype=torch.bool)
        self.at_best = torch.zeros_like(self.active)
        # Whatever precision the logits come in.
        nothing = start.new_full((n_samples,), -torch.inf, dtype=torch.float64)
        self.margin, self.fooled = nothing, torch.zeros_like(self.active)
        self.best = Climb(
            torch.empty_like(start),
            nothing.clone(),
            torch.zeros_like(self.active),
            torch.zeros_like(self.active),
            torch.full_like(self.rows, most_queries),
        )

    def note(self, points, previous, margin, fooled, reached, n_queries):
        """Compare the current points; return how many samples go on."""
        better = reached | _beats(margin, fooled, self.margin, self.fooled)
        better &= self.active
        # Their best point is the one before: now it must be written down.
        left = (self.at_best & ~better & self.active).nonzero().squeeze(1)
        if len(left):
            self._write_points(previous, left)
        self.at_best = better
        self.margin = torch.where(better, margin, self.margin)
        self.fooled = torch.where(better, fooled, self.fooled)
        done = (reached & self.active).nonzero().squeeze(1)
        if len(done):
            self.active[done] = self.at_best[done] = False
            self._write_points(points, done)
            self._write_facts(done)
            where = self.rows[done]
            self.best.reached[where], self.best.n_queries[where] = True, n_queries
        return int(self.active.sum())

    def drop_done(self):
        """Forget samples that are done; return the places of the others."""
        keep = self.active.nonzero().squeeze(1)
        for name in ("rows", "active", "at_best", "margin", "fooled"):
            setattr(self, name, getattr(self, name)[keep])
        return keep

    def close(self, points):
        """Write down what is still open, and return everything."""
        self._write_points(points, self.at_best.nonzero().squeeze(1))
        self._write_facts(self.active.nonzero().squeeze(1))
        return self.best

    def _write_points(self, points, which):
        where = self.rows[which]
        self.best.points.index_copy_(0, where, points.index_select(0, which))

    def _write_facts(self, which):
        where = self.rows[which]
        self.best.margin[where] = self.margin[which]
        self.best.fooled[where] = self.fooled[which]


def _beats(margin, fooled, other_margin, other_fooled):
    """Compare: an error beats none, and else the larger margin beats the smaller."""
    return (fooled & ~other_fooled) | (
        (fooled == other_fooled) & (margin > other_margin)
    )


def climb_to_the_end(module, start, goal, ball, steps):
    """Take every step with every sample, and return the last points.

    This is what adversarial training wants: points that a model finds hard, not the
    first that it gets wrong.

    Parameters
    ----------
    module : torch.nn.Module
        The model.

    start : torch.Tensor of shape (n_samples, ...)
        First points, inside the balls.

    goal : Goal
        What is climbed.

    ball : LinfBall or L2Ball
        Where points may be.

    steps : sequence of float
        Lengths of the steps, in the ball's norm.

    Returns
    -------
    points : torch.Tensor of the shape of `start`
        The last ones.
    """
    points = start
    for length in steps:
        _, gradient = input_gradient(module, points, goal)
        points = ball.step(points, gradient, length)
    return points
