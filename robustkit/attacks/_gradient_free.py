"""Climb the margin without any gradient: for models that hide theirs."""

import torch

from robustkit.attacks._balls import L2Ball
from robustkit.attacks._descent import Memory, logits_at
from robustkit.attacks._random_starts import sample_keys, uniform_noise

__all__ = ["climb_blindly"]

# Pairs of opposite random moves from which the slope over the whole ball is estimated.
_N_PAIRS = 50

# Points that a sample is tried at, at most.
_N_QUERIES = 500

# No random start uses streams as large as this.
_FIRST_STREAM = 1_000_000


def climb_blindly(module, x, goal, ball, seed):
    """Search the ball by comparing margins.

    First an evolution strategy: the differences of the margin between opposite random
    corners of the ball say where it rises, as the gradient of a smoothed model would.
    Then that move is turned round in blocks of features that become smaller and
    smaller, and what raises the margin is kept.

    Parameters
    ----------
    module : torch.nn.Module
        The model.

    x : torch.Tensor of shape (n_samples, n_features)
        Clean samples.

    goal : Goal
        What is wanted. Its margin is climbed, whatever its loss is.

    ball : LinfBall or L2Ball
        Where points may be.

    seed : int
        Of the random moves. They depend on it and on the content of each sample.

    Returns
    -------
    points : torch.Tensor of the shape of `x`
        The first that reached the goal; else the best seen.

    n_queries : torch.Tensor of shape (n_samples,)
        Points at which the module was asked.
    """
    trial = _Trial(module, x, goal, ball)
    keys = sample_keys(x, seed)
    slope = torch.zeros_like(x)
    for k in range(_N_PAIRS):
        if trial.n_active == 0:
            break
        noise = uniform_noise(keys, x.shape[1], _FIRST_STREAM + k)
        corner = torch.where(noise < 0, -1.0, 1.0).to(x.dtype)
        rise = trial.margin_of(corner) - trial.margin_of(-corner)
        slope.addcmul_(corner, rise[:, None])
    # Where no corner differs from its opposite, any move will do.
    move = torch.where((slope == 0).all(dim=1, keepdim=True), corner, slope)
    if not isinstance(ball, L2Ball):
        move = torch.where(move < 0, -1.0, 1.0).to(x.dtype)
    _turn_blocks(trial, move)
    found = trial.memory.close(trial.points)
    found.n_queries[~found.reached] = trial.n_asked
    return found.points, found.n_queries


def _turn_blocks(trial, move):
    """Keep what raises the margin: halves first, then quarters, down to one feature."""
    n_features = move.shape[1]
    margin, size = trial.margin_of(move), n_features
    while size > 1:
        size = (size + 1) // 2
        for first in range(0, n_features, size):
            if trial.n_active == 0 or trial.n_asked >= _N_QUERIES:
                return
            turned = move.clone()
            turned[:, first : first + size].neg_()
            other = trial.margin_of(turned)
            better = other > margin
            margin = torch.where(better, other, margin)
            move = torch.where(better[:, None], turned, move)


class _Trial:
    """Moves to the edge of the ball, tried one after the other."""

    def __init__(self, module, x, goal, ball):
        self.module, self.x, self.goal, self.ball = module, x, goal, ball
        self.memory = Memory(x, _N_QUERIES)
        self.points, self.n_asked, self.n_active = None, 0, len(x)

    def margin_of(self, move):
        """Margin after a move, which is stretched to the edge of the ball."""
        order = 2 if isinstance(self.ball, L2Ball) else torch.inf
        length = torch.linalg.vector_norm(move, ord=order, dim=1, keepdim=True)
        step = move * (self.ball.radius / length.clamp_min(1e-30))
        previous, self.points = self.points, self.ball.project_(self.x + step)
        logits = logits_at(self.module, self.points)
        verdict = self.goal.judge(logits, self.points, self.memory.active)
        self.n_asked += 1
        self.n_active = self.memory.note(self.points, previous, *verdict, self.n_asked)
        return verdict[0]
