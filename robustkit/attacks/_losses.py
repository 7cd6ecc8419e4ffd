"""What is climbed: losses of logits, and when an attack has what it wants."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch.nn.functional import cross_entropy

from robustkit.attacks._attacked_model import first_look, logits_at

__all__ = [
    "LOSSES",
    "Goal",
    "class_indices",
    "goals_of",
    "input_gradient",
    "least_likely_class",
    "margin_loss",
]


def class_indices(classes: Any, X: torch.Tensor, name: str) -> Any:
    """Return classes as a tensor: one per sample, also if there is one for all."""
    if classes is None:
        return None
    classes = torch.as_tensor(classes, device=X.device, dtype=torch.int64)
    if classes.ndim == 0:
        classes = classes.repeat(len(X))
    if classes.shape != X.shape[:1]:
        raise ValueError(
            f"'{name}' must have one class per sample. Got shape "
            f"{tuple(classes.shape)} for X of shape {tuple(X.shape)}."
        )
    return classes


# Wrong classes that a start of "rotate" climbs towards.
_N_AIMS = 3


@dataclass
class Goal:
    """What is climbed, and when an attack has what it wants.

    `loss` is away from the classes `y`, or towards the classes `aim`. If `must_hit`,
    only a sample that is predicted as its aim has reached the goal; otherwise any wrong
    class will do, and the aim is just the direction. `ask` is that of a Trace.
    """

    y: torch.Tensor
    loss: str = "ce"
    aim: torch.Tensor | None = None
    must_hit: bool = False
    ask: Callable[[torch.Tensor, torch.Tensor], torch.Tensor] | None = None

    def judge(self, logits, points, active, rows):
        """Return the margin, whether the model errs, and whether the goal is reached.

        The model itself is asked only about active samples that the module is wrong
        about.
        """
        answer = logits.argmax(dim=1)
        margin = margin_loss(logits, self.y, self.aim if self.must_hit else None)
        if self.ask is not None:
            answer = self._asked(points, (answer != self.y) & active, rows)
        fooled = answer != self.y
        return margin, fooled, answer == self.aim if self.must_hit else fooled

    def is_fooled(self, module, points, active, rows):
        """Whether the model errs; False where a sample is not active."""
        if self.ask is None:
            answer = logits_at(module, points).argmax(dim=1)
        else:
            answer = self._asked(points, active, rows)
        return (answer != self.y) & active

    def _asked(self, points, which, rows):
        answer, which = self.y.clone(), which.nonzero().squeeze(1)
        if len(which):
            answer[which] = self.ask(points.index_select(0, which), rows[which])
        return answer

    def take(self, rows):
        """Keep the goals of some samples only."""
        aim = None if self.aim is None else self.aim[rows]
        return replace(self, y=self.y[rows], aim=aim)


def goals_of(module, X, y, target, loss, n_restarts, ask):
    """Yield the goal of one climb after the other; "rotate" changes it every time.

    Each start of "rotate" climbs the cross-entropy and then the margin towards the
    target, or towards three wrong classes: the most likely ones at first, the next ones
    at the next start, since the same ones again seldom find anything new.
    """
    hit = target is not None
    if loss != "rotate":
        for _ in range(n_restarts):
            yield Goal(y, loss, target, hit, ask)
        return
    aims = [target]
    if not hit:
        others = logits_at(module, X).scatter(1, y[:, None], -torch.inf)
        # The label comes last.
        aims = others.argsort(dim=1, descending=True)[:, :-1].unbind(dim=1)
    for start in range(n_restarts):
        yield Goal(y, "ce", target, hit, ask)
        for k in range(min(_N_AIMS, len(aims))):
            aim = aims[(_N_AIMS * start + k) % len(aims)]
            yield Goal(y, "margin", aim, hit, ask)


def cross_entropy_loss(logits, y, aim=None):
    """Cross-entropy of the classes `y`, or minus that of the classes `aim`.

    Where it is zero after rounding, its gradient is zero or lacks the label's part:
    such samples climb the margin.
    """
    if aim is None:
        loss = cross_entropy(logits, y, reduction="none")
    else:
        loss = -cross_entropy(logits, aim, reduction="none")
    flat = loss == 0
    # Nobody waits for a GPU to answer.
    if loss.device.type != "cpu" or bool(flat.any()):
        loss = torch.where(flat, margin_loss(logits, y, aim), loss)
    return loss


def margin_loss(logits, y, aim=None):
    """Best other logit minus that of `y`, or logit of `aim` minus the best other.

    It does not saturate: a model that is very sure of itself still has a gradient. It
    is also the yardstick by which points are compared, as it is positive exactly where
    the attack has what it wants.
    """
    if aim is None:
        return _best_other(logits, y) - _logit_of(logits, y)
    return _logit_of(logits, aim) - _best_other(logits, aim)


def dlr_loss(logits, y, aim=None):
    """Difference of logits ratio: the margin, made independent of the logits' scale.

    It needs three classes, and four with an aim; below that it is the margin. From
    Croce and Hein, Reliable evaluation of adversarial robustness, ICML 2020.
    """
    if logits.shape[1] < (3 if aim is None else 4):
        return margin_loss(logits, y, aim)
    ordered = logits.sort(dim=1, descending=True).values
    if aim is None:
        spread = ordered[:, 0] - ordered[:, 2]
        difference = margin_loss(logits, y)
    else:
        spread = ordered[:, 0] - (ordered[:, 2] + ordered[:, 3]) / 2
        difference = _logit_of(logits, aim) - _logit_of(logits, y)
    # Where the leading logits are equal there is no scale to divide by.
    return difference / spread.clamp_min(1e-12)


# One number per sample, larger where the model errs more.
LOSSES = {"ce": cross_entropy_loss, "margin": margin_loss, "dlr": dlr_loss}


def _logit_of(logits, classes):
    return logits.gather(1, classes[:, None]).squeeze(1)


def _best_other(logits, classes):
    others = logits.scatter(1, classes[:, None], -torch.inf)
    return others.max(dim=1).values


def input_gradient(module, points, goal, look=None):
    """Return the logits, and the gradient of the loss with respect to the points.

    A `look` at these very points that was already taken saves a pass. No parameter of
    the module gets a gradient.
    """
    if look is None:
        look = first_look(module, points)
    # Also inside a caller's `no_grad`. The sum, not the mean: a gradient must not
    # depend on the size of the batch.
    with torch.enable_grad():
        loss = LOSSES[goal.loss](look.logits, goal.y, goal.aim).sum()
    return look.logits.detach(), look.gradient_of(loss)


def least_likely_class(module, X, y):
    """Return the class that the module finds least likely, the true one left out."""
    return logits_at(module, X).scatter(1, y[:, None], torch.inf).argmin(dim=1)
