"""What the attacks share that take many steps."""

import math
from abc import abstractmethod
from dataclasses import replace
from numbers import Integral, Real

import torch

from robustkit._sklearn_private import Interval
from robustkit.attacks._balls import make_ball
from robustkit.attacks._descent import climb, climb_to_the_end
from robustkit.attacks._gradient_attack import GradientAttack

__all__ = ["IteratedAttack"]


class IteratedAttack(GradientAttack):
    """An attack that climbs, perhaps several times. A subclass writes `_goals`."""

    _parameter_constraints: dict = {
        **GradientAttack._parameter_constraints,
        "eps": [Interval(Real, 0, None, closed="left")],
        "step_size": [Interval(Real, 0, None, closed="neither"), None],
        "max_iter": [Interval(Integral, 1, None, closed="left")],
    }

    def _check_model(self):
        super()._check_model()
        self.n_iter_ = self.max_iter

    @abstractmethod
    def _goals(self, module, x, labels, wanted):
        """Yield the goal of one climb after the other; each has a start of its own."""

    def _start(self, x, clip, seed, stream):
        """Return the points from which a climb starts."""
        return x.clone()

    def _steps(self):
        """Return the lengths of the steps of one climb.

        By default the first crosses the ball, and half a cosine wave leads to zero:
        what a random start has beside the direction uphill must vanish.
        """
        n_steps = self.max_iter
        if self.step_size is not None:
            return [self.step_size] * n_steps
        return [
            self.eps * (1 + math.cos(math.pi * k / n_steps)) for k in range(n_steps)
        ]

    def _starts_clean(self):
        return True

    def _search_batch(self, module, x, labels, wanted, seed, look, ask):
        best, everything = None, torch.arange(len(x), device=x.device)
        for stream, goal in enumerate(self._goals(module, x, labels, wanted)):
            goal = replace(goal, ask=ask, rows=everything)
            rows = everything
            if best is not None:
                rows = (~best.reached).nonzero().squeeze(1)
            if len(rows) == 0:
                break
            clean = x if len(rows) == len(x) else x.index_select(0, rows)
            starts_clean = stream == 0 and self._starts_clean()
            found = climb(
                module,
                clean.clone()
                if starts_clean
                else self._start(clean, self.clip_, seed, stream),
                goal if len(rows) == len(x) else goal.take(rows),
                make_ball(clean, *self._ball(self.clip_)),
                self._steps(),
                look=look,
            )
            look = None
            best = found if best is None else best.merge(found, rows)
        return best.points, best.n_queries

    def _ball(self, clip):
        eps, norm = self._radius()
        return eps, clip, norm

    def _perturb_batch(self, module, x, labels, clip):
        goal = next(iter(self._goals(module, x, labels, None)))
        return climb_to_the_end(
            module,
            self._start(x, clip, *self._fresh(module)),
            goal,
            make_ball(x, *self._ball(clip)),
            self._steps(),
        )

    def _fresh(self, module):
        """Return a seed and a stream for random starts during training."""
        return 0, 0
