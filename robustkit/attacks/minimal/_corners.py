"""The nearest point at which several affine margins are positive at once.

A wanted class must pass every other one, so that the nearest point of it often lies
where the boundaries of several classes meet. No path of one affine model leads there in
the maximum norm: as many features as boundaries stop inside the cube.

In the Euclidean norm the point is found by turns: each margin in turn gets the weight
at which it is zero (Hildreth's method). In the maximum norm it is a linear program: the
dual simplex method finds the largest least margin in a cube and the weights of the
margins with which it is a bound, and the cube grows to where that bound is zero.
"""

import numpy as np
from numba import njit

from robustkit.attacks.minimal._paths import Box, solve

__all__ = ["corners"]

# Turns of all margins, cubes, and vertices of one cube: at most.
_TURNS, _CUBES, _VERTICES = 300, 12, 200
# Relative change that does not matter.
_CLOSE = 1e-7


@njit(cache=True)
def corners(box, samples, at, gradients, margins, ahead, out):
    """Write the nearest points at which the linearized margins are all positive.

    Class k of row i has ``margins[k, i]`` at the point ``at[i]``, and a gradient there.
    They become positive by the share `ahead` of the largest one. Where the box has no
    such point, the one written is of no use.
    """
    m, n = gradients.shape[0], gradients.shape[2]
    models, offsets = np.empty((m, n)), np.empty(m)
    for i in range(len(samples)):
        x = box.X[samples[i]].astype(np.float64)
        for k in range(m):
            offset = margins[k, i]
            for j in range(n):
                models[k, j] = gradients[k, i, j]
                offset -= models[k, j] * (at[i, j] - x[j])
            offsets[k] = offset
        aim = ahead * _largest(offsets)
        for k in range(m):
            offsets[k] -= aim
        # In double precision whatever the samples are: all below is compiled once.
        own = Box(x.reshape((1, n)), box.low, box.high, box.euclidean)
        if box.euclidean:
            move = _corner_of_ball(x, models, offsets, own)
        else:
            move = _corner_of_cube(x, models, offsets, own)
        for j in range(n):
            out[i, j] = min(max(x[j] + move[j], box.low), box.high)


# Loops, where arrays would say the same but take longer to compile.


@njit(cache=True)
def _largest(values):
    """Find the largest absolute value."""
    largest = 0.0
    for value in values:
        largest = max(largest, abs(value))
    return largest


@njit(cache=True)
def _mix(weights, rows, out):
    """Write the weighted sum of some rows."""
    for j in range(len(out)):
        out[j] = 0.0
    for k in range(len(weights)):
        for j in range(len(out)):
            out[j] += weights[k] * rows[k, j]


@njit(cache=True)
def _corner_of_ball(x, models, offsets, box):
    """Take turns: the move is a weighted sum of gradients, cut to the box."""
    m, n = models.shape
    weights, pull, move = np.zeros(m), np.zeros(n), np.zeros(n)
    least, most = box.low - x, box.high - x
    scale = _largest(offsets)
    for _ in range(_TURNS):
        worst = 0.0
        for k in range(m):
            margin, growth = offsets[k], 0.0
            for j in range(n):
                g, d = models[k, j], min(max(pull[j], least[j]), most[j])
                margin += g * d
                growth += g * g * (d == pull[j])
            if not growth > 0:
                continue
            step = max(-margin / growth, -weights[k])
            worst = max(worst, abs(step) * growth)
            weights[k] += step
            for j in range(n):
                pull[j] += step * models[k, j]
        if worst <= _CLOSE * scale:
            break
    for j in range(n):
        move[j] = min(max(pull[j], least[j]), most[j])
    return move


@njit(cache=True)
def _corner_of_cube(x, models, offsets, box):
    """Grow the cube to the bound that the best weights give, until it has a point."""
    m, n = models.shape
    mixed, level = np.zeros(n), 0.0
    weights, sides, move = np.zeros(m), np.zeros(n), np.zeros(n)
    # Each vertex is where so many weights or mixed gradients are zero: a feature by its
    # number, the weight of class k by -1 - k.
    active = np.empty(m - 1, dtype=np.int64)
    first = offsets.argmin()
    for i in range(m - 1):
        active[i] = -1 - i - (i >= first)
    weights[first] = 1.0
    for j in range(n):
        sides[j] = np.sign(models[first, j])
    for _ in range(_CUBES):
        _mix(weights, models, mixed)
        before, need = level, 0.0
        for k in range(m):
            need -= weights[k] * offsets[k]
        level = max(level, solve(x, mixed, need, level, 20, box))
        if level <= before * (1 + _CLOSE):
            break
        least = np.maximum(box.low - x, -level)
        most = np.minimum(box.high - x, level)
        _best_vertex(models, offsets, least, most, weights, active, sides, move)
    return move


@njit(cache=True)
def _best_vertex(models, offsets, least, most, weights, active, sides, move):
    """Find the largest least margin between bounds: everything is written in place."""
    m, n = models.shape
    margins, values = np.empty(m), np.empty(m)
    for _ in range(_VERTICES):
        normals = np.ones((m, m))
        for i in range(m - 1):
            a = active[i]
            if a >= 0:
                for k in range(m):
                    normals[i, k] = models[k, a]
            else:
                normals[i] = 0
                normals[i, -1 - a] = 1
        for j in range(n):
            move[j] = most[j] if sides[j] > 0 else least[j] if sides[j] < 0 else 0.0
        for a in active:
            if a >= 0:
                move[a] = 0.0
        for k in range(m):
            margins[k] = offsets[k]
            for j in range(n):
                margins[k] += models[k, j] * move[j]
        inverse = np.linalg.inv(normals)
        # What features and margins beyond the least one would have to be.
        _mix(margins, inverse, values)
        noise = _CLOSE * _largest(margins)
        leaving, steepest, sign = -1, 0.0, 1.0
        for i in range(m - 1):
            a = active[i]
            if a < 0:
                violation, towards, size = -values[i], 1.0, 1.0
            else:
                d = move[a] = -values[i]
                over, under = d - most[a], least[a] - d
                violation, towards = max(over, under), 1.0 if over > under else -1.0
                size = _largest(models[:, a])
            if violation * size > max(steepest, noise):
                leaving, steepest, sign = i, violation * size, towards
        if leaving < 0:
            return
        _next_vertex(
            models, least, most, weights, active, sides,
            leaving, sign * inverse[:, leaving], steepest,
        )  # fmt: skip


@njit(cache=True)
def _next_vertex(models, least, most, weights, active, sides, leaving, way, descent):
    """Go along an edge as long as the bound falls, over whatever features turn."""
    m, n = models.shape
    out = active[leaving]
    mixed, change = np.empty(n), np.empty(n)
    _mix(weights, models, mixed)
    _mix(way, models, change)
    if out >= 0:
        sides[out] = np.sign(change[out])
        descent /= _largest(models[:, out])
    steps, who = np.empty(n + m), np.empty(n + m, dtype=np.int64)
    n_turns, nothing = 0, 0.0
    for k in range(m):
        nothing = max(nothing, 1e-12 * _largest(models[k]))
    for j in range(n):
        if sides[j] * change[j] < -nothing and j != out:
            steps[n_turns], who[n_turns] = max(-mixed[j] / change[j], 0.0), j
            n_turns += 1
    for k in range(m):
        if way[k] < -1e-12:
            steps[n_turns], who[n_turns] = weights[k] / -way[k], -1 - k
            n_turns += 1
    order = np.argsort(steps[:n_turns])
    for place in order:
        a = who[place]
        if a >= 0:
            descent -= (most[a] - least[a]) * abs(change[a])
        if a < 0 or descent <= 0:
            active[leaving] = a
            for k in range(m):
                weights[k] += steps[place] * way[k]
            return
        sides[a] = -sides[a]
