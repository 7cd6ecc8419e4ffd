r"""Bounds over the part of a ball where an error is possible.

CROWN says that a margin is at least :math:`m \cdot x + c`, x what the input moves. At
an error some margin is not positive, and so is that function: of the ball only a cap
counts, which is small where the margin is nearly proved. Whatever is bounded over the
cap is larger than over the ball: the intervals of units, and through them the margins,
whose functions cut off more. If nothing is left, or a margin is positive over all of
its cap, there is no error. The same idea, for the inputs that lead to given outputs, is
that of [1]_.

Over the cap, for any multiplier :math:`\gamma \ge 0`, a function :math:`d \cdot x + b`
is at least the smallest value of :math:`(d + \gamma m) \cdot x + b + \gamma c` over the
ball. The best multiplier is looked for in single precision; any of them gives a bound.
Where more than one margin is not proved, the smallest of their bounds counts.

Rounding. The functions hold for what the module computes: what is lost is in their
constants, and a margin so small that it may count as an error is none that is positive.
The sums of the products of d and of m are in double precision; of n terms they are off
by less than :math:`2 n u` times the sum of the absolute values, which is subtracted. In
linf they are taken at the vertex where the rounded d + γ m is smallest, which costs no
more than twice the rounding of each coefficient times its move. Products too
small for all of their digits cost a number that is larger than what they lose.

.. [1] S. Kotha, C. Brix, Z. Kolter, K. Dvijotham and H. Zhang. Provably bounding neural
   network preimages. NeurIPS 2023.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numba import njit
from numpy.typing import NDArray

from robustkit.bounds._linear_bounds import Bounds, Region, over_ball

__all__ = ["Caps", "Functions", "joined", "margin_functions"]

# How many multipliers are tried for each function, and how near its best value is
# enough, in units of the largest slope.
_TRIES, _NEAR = 5, 0.02
_FASTMATH = {"reassoc", "contract", "nsz"}


@dataclass
class Functions:
    """Linear functions of what the first layer reads, below margins."""

    smallest: NDArray
    """Of the values over the region."""

    slopes: NDArray
    """Coefficients, one row for each function."""

    constants: NDArray
    """Values at the sample."""

    def __getitem__(self, rows: NDArray) -> Functions:
        """Keep some functions."""
        return Functions(self.smallest[rows], self.slopes[rows], self.constants[rows])

    def missing(self, region: Region, problems: NDArray) -> NDArray:
        """Say how far each is from being positive everywhere.

        How far its smallest value is below zero, in units of how far that is below its
        value in the middle.
        """
        below = self.constants - self.smallest
        if region.norm == "linf":
            middle = (region.least + region.most) / 2
            below = below + np.einsum("ij,ij->i", self.slopes, middle[problems])
        share, fits = np.full(len(below), np.inf), (below > 0) & np.isfinite(below)
        return np.divide(np.maximum(-self.smallest, 0), below, out=share, where=fits)


def joined(parts: Sequence[Functions]) -> Functions:
    """Put functions behind each other."""
    return Functions(
        *(
            np.concatenate([getattr(part, name) for part in parts])
            for name in ("smallest", "slopes", "constants")
        )
    )


class Caps(Region):
    """The parts of balls where margins may not be positive.

    Parameters
    ----------
    region : Region
        The balls.

    problems : ndarray of shape (n_functions,)
        Which of them every function is about, in ascending order.

    functions : Functions
        One for each margin.
    """

    is_cut = True

    def __init__(self, region: Region, problems: NDArray, functions: Functions):
        self.__dict__.update(region.__dict__)
        self.first = np.searchsorted(problems, np.arange(len(self.rows) + 1))
        self.slopes, self.constants = functions.slopes, functions.constants
        scale = self.anchors.scale
        self._scale = np.ones(self.low.shape[1]) if scale is None else scale
        if self.norm == "linf":
            self._middle = (self.least + self.most) / 2
            self._half = (self.most - self.least) / 2
        else:
            # A feature that moves to one side only counts half.
            self._middle = np.zeros_like(self.low)
            sides = (self.low < 0) * 0.5 + (self.high > 0) * 0.5
            self._half = np.sqrt(sides) * np.abs(self._scale)
        with np.errstate(over="ignore", invalid="ignore"):
            reach = np.maximum(-self.least, self.most)[problems]
            scaled = self.slopes * self._half[problems]
            self._scaled = scaled.astype(np.float32)
            self._sizes = np.einsum("ij,ij->i", np.abs(self.slopes), reach)
            self._centers = np.einsum("ij,ij->i", self.slopes, self._middle[problems])

    def concretize(self, D, patch, problems, total, own=None):
        """Add the smallest value of rows of coefficients over the caps to their totals.

        `own` are the only functions that rows are cut by. None cuts by one or another
        of all functions of their problem.
        """
        before = total.copy()
        super().concretize(D, patch, problems, total)
        if own is None:
            ends = self.first[problems], self.first[problems + 1]
        else:
            ends = own, own + 1
        is_ball = self.norm != "linf"
        low, high = (self.low, self.high) if is_ball else (self.least, self.most)
        box = is_ball, self._scale, low, high, self.eps, self._middle, self._half
        cuts = self.slopes, self.constants, self._scaled, self._sizes, self._centers
        _over_caps(D, patch.where, problems, ends, box, cuts, before, total)


def margin_functions(
    bounds: Bounds, problems: NDArray, C: NDArray, least: float
) -> Functions:
    """Bound margins, and keep the functions that are below them.

    Parameters
    ----------
    bounds : Bounds
        Of all problems. If the region are caps, these margins are what they are of, in
        the same order.

    problems : ndarray of shape (n_rows,)
        Which of them every margin is of, in ascending order.

    C : ndarray of shape (n_rows, n_outputs)
        Coefficients of the logits.

    least : float
        What is no error for certain: it is subtracted from all margins.

    Returns
    -------
    functions : Functions
        One for each margin.
    """
    region, network = bounds.region, bounds.network
    lost = (network.fan_out + 4) * bounds.lost
    slopes, constants = [], []
    concretize, n = region.concretize, 0

    def note(D, patch, problems, total):
        nonlocal n
        slopes.append(D.copy())
        constants.append(total - lost[problems] - least)
        # An error of one class is in the cap of its own margin.
        own = {"own": np.arange(n, n + len(D))} if region.is_cut else {}
        concretize(D, patch, problems, total, **own)
        n += len(D)

    region.concretize = note
    smallest = bounds.values(problems, C) - least
    del region.concretize
    return Functions(smallest, np.concatenate(slopes), np.concatenate(constants))


@njit(cache=True, fastmath=_FASTMATH)
def _over_caps(D, where, ids, ends, box, cuts, before, total):
    """Raise bounds over balls to what they are over one or another cap."""
    is_ball, scale, low, high, eps, middle, half = box
    slopes, constants, scaled, sizes, centers = cuts
    n = low.shape[1]
    row, part = np.zeros(n), np.zeros(n, dtype=np.float32)
    for r in range(len(D)):
        s, plain = ids[r], total[r]
        # Also where there is nothing to gain: the sign is known.
        if not -np.inf < plain <= 0 or not np.isfinite(before[r]):
            continue
        _spread(D[r], where, r, row)
        size, center, extent, farthest = 0.0, 0.0, 0.0, 0.0
        mids, halves, lows, highs = middle[s], half[s], low[s], high[s]
        for j in range(n):
            d, lowest, highest = row[j], lows[j], highs[j]
            center += d * mids[j]
            reach = max(-lowest, highest)
            size += abs(d) * reach
            farthest += reach
        for j in range(n):
            own = row[j] * halves[j]
            part[j] = own
            extent += abs(own)
        if is_ball:
            size = 0.0
            for j in range(n):
                size += abs(row[j] * scale[j]) * max(-low[s, j], high[s, j])
        worst = np.inf
        for k in range(ends[0][r], ends[1][r]):
            value = plain
            at_zero = before[r] + center, constants[k] + centers[k]
            strength = _strength(
                part, scaled[k], at_zero, extent, (is_ball, eps[s]), worst
            )
            if 1e-100 < strength < 1e100:
                m = slopes[k]
                found = before[r] + strength * constants[k]
                if is_ball:
                    found += _least_over_ball(
                        row, m, strength, (scale, low, high, eps), s
                    )
                else:
                    found += _least_over_box(row, m, strength, low[s], high[s])
                sum_of_sizes = size + abs(before[r])
                sum_of_sizes += strength * (sizes[k] + abs(constants[k]))
                found -= (2 * n + 64) * 2.0**-52 * sum_of_sizes
                # What products lose that are too small for all of their digits.
                found -= (1 + strength) * 2.0**-1000 * (n + farthest)
                value = max(value, found)
            worst = min(worst, value)
            if not worst > plain:
                break
        if plain < worst < np.inf:
            total[r] = worst


@njit(cache=True)
def _spread(coefficients, where, r, out):
    """Write the coefficients of a patch to their features, and zeros elsewhere."""
    (channels, height, width, n_lines, n_columns), tops, lefts = where
    top, left = tops[r], lefts[r]
    if n_lines < height or n_columns < width:
        out[:] = 0
    first, last = max(0, -left), min(n_columns, width - left)
    for line in range(channels * n_lines):
        channel, y = line // n_lines, line % n_lines + top
        if y < 0 or y >= height or last <= first:
            continue
        begin = (channel * height + y) * width + left
        out[begin + first : begin + last] = coefficients[
            line * n_columns + first : line * n_columns + last
        ]


@njit(cache=True, fastmath=_FASTMATH)
def _strength(d, m, at_zero, extent, ball, enough):
    """Look for the multiplier whose bound is best, or good enough; 0 is no gain.

    The bound falls on either side of the best one, and its slope says on which.
    """
    is_ball, eps = ball
    constant, rise = at_zero
    spread = 0.0
    for j in range(len(m)):
        spread += abs(m[j])
    if not (spread > 0 and extent > 0 and np.isfinite(spread + extent)):
        return 0.0
    strength, best, found = 0.0, -np.inf, 0.0
    left, right = 0.0, np.inf
    at_left, at_right = 0.0, 0.0
    for trial in range(_TRIES + 1):
        g = np.float32(strength)
        value, slope = np.float32(0), np.float32(0)
        if is_ball:
            for j in range(len(d)):
                e = d[j] + g * m[j]
                value += e * e
                slope += e * m[j]
            length = np.sqrt(value)
            slope = slope / length if length > 0 else np.float32(0)
            bound = constant + strength * rise - eps * length
            change = rise - eps * slope
        else:
            for j in range(len(d)):
                e = d[j] + g * m[j]
                value += abs(e)
                slope += m[j] if e > 0 else -m[j]
            bound = constant + strength * rise - value
            change = rise - slope
        if not np.isfinite(bound + change):
            return found
        if trial > 0 and bound > best:
            best, found = bound, strength
            if best > enough:
                return found
        if change > 0:
            left, at_left = strength, change
        elif trial == 0:
            # At its smallest value the function is not in the way.
            return 0.0
        else:
            right, at_right = strength, change
        if trial > 0 and abs(change) < _NEAR * spread:
            return found
        if right < np.inf:
            share = at_left / (at_left - at_right)
            strength = left + (right - left) * min(max(share, 0.1), 0.9)
        else:
            strength = 3 * strength if trial > 0 else 0.5 * extent / spread
    return found


@njit(cache=True, fastmath=_FASTMATH)
def _least_over_box(d, m, strength, low, high):
    """Smallest value of d + strength m over a box."""
    value, other = 0.0, 0.0
    for j in range(len(d)):
        own, rise, lowest, highest = d[j], m[j], low[j], high[j]
        move = lowest if own + strength * rise > 0 else highest
        value += own * move
        other += rise * move
    return value + strength * other


@njit(cache=True)
def _least_over_ball(d, m, strength, box, s):
    """Bound d + strength m from below over ball and box."""
    rows, total = np.zeros((1, len(d))), np.zeros(1)
    for j in range(len(d)):
        rows[0, j] = d[j] + strength * m[j]
    one, none = np.ones(1, dtype=np.int64), np.zeros(1, dtype=np.int64)
    where = (1, 1, len(d), 1, len(d)), none, none
    over_ball(rows, where, one * s, box, total)
    return total[0]
