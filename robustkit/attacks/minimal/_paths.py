"""Paths from a sample to where a linear model of the margin says that the model errs.

A *row* is one sample with one wrong class. It has an affine model of its margin (logit
of the wrong class minus that of the true one), ``c + g . (z - x)``, and with it a path
through the box of allowed values: ``z(e) = clip(x + e * sign(g))`` in the maximum norm
and ``z(e) = clip(x + e * g)`` in the Euclidean one. Along it the model's margin grows
as fast as a perturbation of that length allows: where it reaches zero is the closest
point of the box with a margin of zero, exactly. The gain ``g . (z(e) - x)`` is concave
and piecewise linear in the level `e`, so that Newton's method finds that point.

All of it is one pass over the features of each row, compiled. A row's numbers are
summed in the same order whatever the other rows are: it becomes the same, to the bit,
in every batch.
"""

from typing import NamedTuple

import numpy as np
from numba import njit

__all__ = [
    "MOST_GROWTH",
    "NEAR",
    "STEEP",
    "Box",
    "Rows",
    "advance",
    "begin",
    "place",
    "place_between",
    "restart",
    "slide",
    "solve",
    "take_up",
]

# Sums may be reordered, which is what makes them fast; infinite bounds must stay.
_FAST = {"reassoc", "contract", "nsz"}
# By how much a level may grow at once: a flat model would send it to infinity.
MOST_GROWTH = 8.0
# A crossing is believed if it is at most this share of the level away.
NEAR = 0.15
# A feature takes a whole sliding step from this share of the mean gradient on.
STEEP = 0.3


class Box(NamedTuple):
    """Samples, the range of every feature, and the norm."""

    X: np.ndarray
    low: float
    high: float
    euclidean: bool


class Rows(NamedTuple):
    """The state of all rows: sample, classes, affine model, and best path so far."""

    sample: np.ndarray
    true: np.ndarray
    wrong: np.ndarray
    # The affine model, the level where it is zero, and whether the row is still moving.
    slope: np.ndarray
    offset: np.ndarray
    level: np.ndarray
    moving: np.ndarray
    # The size of the perturbation where the row's newest path would cross.
    newest_size: np.ndarray
    # The best path: its direction, where it is expected to cross, the size of the
    # perturbation there, and how fast the margin grows by the level.
    best_slope: np.ndarray
    best_level: np.ndarray
    best_size: np.ndarray
    best_growth: np.ndarray


@njit(cache=True, fastmath=_FAST)
def _gain(x, g, level, box):
    """Gain of a level, and its derivative by the level."""
    kind = x.dtype.type
    low, high, e, nothing = kind(box.low), kind(box.high), kind(level), kind(0)
    gain, growth = 0.0, 0.0
    for j in range(len(x)):
        # Comparisons, not branches: so that many features are computed at once.
        w = g[j] if box.euclidean else kind(g[j] > 0) - kind(g[j] < 0)
        u, least, most = w * e, low - x[j], high - x[j]
        d = least if u < least else u
        d = most if d > most else d
        gain += np.float64(g[j] * d)
        growth += np.float64(g[j] * (w if d == u else nothing))
    return gain, growth


@njit(cache=True)
def solve(x, g, need, level, n_iter, box):
    """Newton's method for the level whose gain is `need`."""
    for _ in range(n_iter):
        gain, growth = _gain(x, g, level, box)
        if not growth > 0:
            break
        before = level
        level = max(level + (need - gain) / growth, 0.0)
        if abs(level - before) <= 1e-9 * level:
            break
    return level


@njit(cache=True, fastmath=_FAST)
def _follow(x, g, new, level, box):
    """Return what another gradient gains along a path, how fast, and its length."""
    kind = x.dtype.type
    low, high, e, nothing = kind(box.low), kind(box.high), kind(level), kind(0)
    gain, growth, square = 0.0, 0.0, 0.0
    for j in range(len(x)):
        w = g[j] if box.euclidean else kind(g[j] > 0) - kind(g[j] < 0)
        u, least, most = w * e, low - x[j], high - x[j]
        d = least if u < least else u
        d = most if d > most else d
        gain += np.float64(new[j] * d)
        growth += np.float64(new[j] * (w if d == u else nothing))
        square += np.float64(d * d)
    return gain, growth, np.sqrt(square)


@njit(cache=True, fastmath=_FAST)
def _write(x, g, level, box, out):
    """Write the point of a path."""
    kind = x.dtype.type
    low, high, e = kind(box.low), kind(box.high), kind(level)
    for j in range(len(x)):
        w = g[j] if box.euclidean else kind(g[j] > 0) - kind(g[j] < 0)
        z = x[j] + w * e
        z = low if z < low else z
        out[j] = high if z > high else z


@njit(cache=True)
def _copy(source, out):
    """Do what ``out[:] = source`` does, which takes numba seconds to compile."""
    for j in range(len(out)):
        out[j] = source[j]


@njit(cache=True)
def begin(box, gradients, margins, levels, sizes):
    """Find levels and sizes by the margins and gradients at the samples themselves.

    `gradients` has an entry per class and sample. A margin that cannot be reached in
    the box has the size infinity.
    """
    for k in range(len(gradients)):
        for i in range(len(box.X)):
            x, g = box.X[i], gradients[k, i]
            need = -margins[k, i]
            level = solve(x, g, need, 0.0, 20, box)
            gain, _, length = _follow(x, g, g, level, box)
            reached = level > 0 and np.isfinite(level) and gain > 0.9 * need
            levels[k, i] = level if reached else 0.0
            sizes[k, i] = (length if box.euclidean else level) if reached else np.inf


@njit(cache=True)
def place(box, rows, which, levels, out):
    """Write the points of the best paths at some levels."""
    for i in range(len(which)):
        r = which[i]
        _write(box.X[rows.sample[r]], rows.best_slope[r], levels[i], box, out[i])


@njit(cache=True)
def take_up(box, rows, which, out):
    """Write the points where the models of some rows are zero."""
    for i in range(len(which)):
        r = which[i]
        _write(box.X[rows.sample[r]], rows.slope[r], rows.level[r], box, out[i])


@njit(cache=True)
def restart(box, rows, which, far, new, margins, out):
    """Forget the model; linearize at the best path's point `far` times its level."""
    for i in range(len(which)):
        r = which[i]
        x, g = box.X[rows.sample[r]], rows.slope[r]
        level = far * rows.best_level[r]
        gain, _, _ = _follow(x, rows.best_slope[r], new[i], level, box)
        rows.offset[r] = margins[i] - gain
        _copy(new[i], g)
        start = 0.0 if box.euclidean else rows.best_level[r]
        rows.level[r] = solve(x, g, -rows.offset[r], start, 4, box)
        rows.moving[r] = np.isfinite(gain)
        _write(x, g, rows.level[r], box, out[i])


@njit(cache=True, fastmath=_FAST)
def _blend(old, new, share):
    weight = old.dtype.type(share)
    for j in range(len(old)):
        old[j] += weight * (new[j] - old[j])


@njit(cache=True)
def advance(box, rows, which, new, margins, share, tolerance, out):
    """Learn from the gradients at the paths' ends, and write where to look next.

    The new affine model has the weight `share` in the average. A row whose end is where
    the model errs, up to `tolerance`, stops moving.
    """
    for i in range(len(which)):
        r = which[i]
        x, g, e, m = box.X[rows.sample[r]], rows.slope[r], rows.level[r], margins[i]
        gain, growth, length = _follow(x, g, new[i], e, box)
        if not np.isfinite(gain):
            rows.moving[r] = False
        if not rows.moving[r]:
            continue
        crossing = e - m / growth if growth > 0 else np.inf
        size = length * crossing / max(e, 1e-300) if box.euclidean else crossing
        rows.newest_size[r] = size
        if abs(crossing - e) < NEAR * e and size < rows.best_size[r]:
            rows.best_size[r], rows.best_level[r] = size, crossing
            rows.best_growth[r] = growth
            _copy(g, rows.best_slope[r])
        offset = m - gain
        if share == 1:
            _copy(new[i], g)
            rows.offset[r] = offset
        else:
            _blend(g, new[i], share)
            rows.offset[r] += share * (offset - rows.offset[r])
        level = solve(x, g, -rows.offset[r], e, 1, box)
        if e > 0:
            level = min(level, MOST_GROWTH * e)
        rows.level[r] = level
        if share == 1:
            still = abs(level - e) < tolerance * e
            rows.moving[r] = not (still and abs(crossing - e) < tolerance * e)
        _write(x, g, level, box, out[i])


@njit(cache=True, fastmath=_FAST)
def _slide_to(x, z, g, rho, level, box, out):
    """One step from `z`, cut to the cube around `x` and to the box.

    A feature that is inside the cube at the minimum lies on a kink, where its averaged
    gradient is small: it moves by less than a step, and comes to rest. The more pieces
    a network has, the more of them there are.
    """
    kind = x.dtype.type
    low, high, e, one = kind(box.low), kind(box.high), kind(level), kind(1)
    total = 0.0
    for j in range(len(x)):
        total += np.float64(abs(g[j]))
    step = kind(rho)
    # No gradient so small that its inverse is infinite.
    per_gradient = kind(min(len(x) / max(STEEP * total, 1e-30), 1e30))
    for j in range(len(x)):
        w = per_gradient * g[j]
        w = -one if w < -one else w
        w = one if w > one else w
        q = z[j] + w * step
        least, most = x[j] - e, x[j] + e
        least = low if least < low else least
        most = high if most > high else most
        q = least if q < least else q
        out[j] = most if q > most else q


@njit(cache=True, fastmath=_FAST)
def _glide_to(x, z, g, rho, level, box, out):
    """One step along `g` from `z`, cut to the ball around `x` and to the box."""
    kind = x.dtype.type
    low, high = kind(box.low), kind(box.high)
    square = 0.0
    for j in range(len(x)):
        square += np.float64(g[j]) * np.float64(g[j])
    if square == 0:
        _copy(z, out)
        return
    step, square = kind(rho / np.sqrt(square)), 0.0
    for j in range(len(x)):
        d = z[j] + step * g[j] - x[j]
        out[j] = d
        square += np.float64(d * d)
    share = kind(min(level / np.sqrt(square), 1.0)) if square > 0 else kind(1)
    for j in range(len(x)):
        q = x[j] + share * out[j]
        q = low if q < low else q
        out[j] = high if q > high else q


@njit(cache=True, fastmath=_FAST)
def _gain_of(new, z, after):
    gain = 0.0
    for j in range(len(z)):
        gain += np.float64(new[j] * (after[j] - z[j]))
    return gain


@njit(cache=True)
def slide(box, rows, which, state, new, margins, rho, momentum):
    """Step along an averaged gradient, in a ball that a linear model resizes.

    `state` is (points, averages, sizes, best points, best sizes, first sizes, growth of
    the margin by the size); all but the last two are written in place.
    """
    Z, G, sizes, best, best_sizes, first, growth = state
    other = np.empty_like(Z[0])
    for i in range(len(which)):
        x, z, m, e = box.X[rows.sample[which[i]]], Z[i], margins[i], sizes[i]
        if m > 0 and e < best_sizes[i]:
            best_sizes[i] = e
            _copy(z, best[i])
        _blend(G[i], new[i], 1 - momentum)
        step = rho * first[i]
        if box.euclidean:
            _glide_to(x, z, G[i], step, e, box, other)
        else:
            _slide_to(x, z, G[i], step, e, box, other)
        gain = m + _gain_of(new[i], z, other)
        change = 1.0005 * gain / growth[i]
        e = e - min(max(change, -step), step)
        e = max(min(e, best_sizes[i] * 0.9998), 0.0)
        sizes[i] = e
        if box.euclidean:
            _glide_to(x, z, G[i], step, e, box, other)
        else:
            _slide_to(x, z, G[i], step, e, box, other)
        _copy(other, z)


@njit(cache=True)
def place_between(box, samples, points, levels, out):
    """Write points on the way from a sample to another point.

    In the maximum norm the level is the largest move of a feature; in the Euclidean one
    it is the share of the way.
    """
    for i in range(len(samples)):
        x, p = box.X[samples[i]], points[i]
        e = x.dtype.type(levels[i])
        for j in range(len(x)):
            d = p[j] - x[j]
            if box.euclidean:
                out[i, j] = x[j] + e * d
            else:
                out[i, j] = x[j] + (min(d, e) if d > 0 else max(d, -e))
