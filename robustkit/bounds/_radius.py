"""The largest radius proved: secants in a bracket, and branch and bound.

Over a part of a ball where a unit is known to be positive, or negative, its rectifier
is linear. Branch and bound halves what is not yet proved by the sign of the unit that
costs the worst margin most, until all parts are proved or there are too many. Once all
that is left of a ball is nearly proved, each part is bounded again, over no more than
where CROWN leaves room for an error.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from robustkit.bounds._cuts import Caps, joined, margin_functions
from robustkit.bounds._linear_bounds import (
    Anchors,
    Bounds,
    Region,
    Split,
    linear_distances,
    margin_rows,
    row_lengths,
)
from robustkit.bounds._relu_network import ReluNetwork

__all__ = ["Search", "certified_radii", "proved_by_splitting"]

# The relative width of the bracket at which a radius is settled; branch and bound costs
# more for each.
_WIDTH, _WIDTH_OF_SPLITS = 1e-3, 8e-3
# Of a linear model the radius is exact up to rounding, and cheap.
_WIDTH_OF_LINEAR = 1e-9
# Without a clip range nothing bounds how far one may go.
_MOST_STEPS = 100
# Numbers of one kind at most that are kept of the units of all samples of a batch, and
# of their features, of which there are fewer kinds.
_NUMBERS, _NUMBERS_OF_FEATURES = 2**20, 2**22
# Subproblems bounded at once: more leave the cache.
_CHUNK = 128
# How often at most a subproblem is bounded again over caps, and by what share less must
# be missing each time to go on.
_CUTS, _GAIN = 4, 0.3
# The number of subproblems for which caps are worth it where as much is missing as the
# smallest value is below that in the middle; for others, by the square. They cost more
# than a split, and pay near a proof: the nearer, the fewer splits there may be. Where
# more is missing than the last number, little is cut off.
_WORTH, _MISSING = 64, 1.4
# A margin that the softmax does not round away, in units of roundoff.
_SMALLEST = 16


@dataclass
class Search:
    """How radii are searched for."""

    norm: str = "linf"
    method: str = "crown"
    clip: tuple[float, float] | None = None
    max_subproblems: int = 16
    batch_size: int = 512
    deadline: float = np.inf
    """Of `time.perf_counter`."""

    def is_late(self) -> bool:
        """Whether time is up."""
        return time.perf_counter() > self.deadline


def certified_radii(
    network: ReluNetwork,
    X: NDArray,
    labels: NDArray,
    search: Search,
    roundoff: float,
    guess: NDArray | None = None,
) -> tuple[NDArray, NDArray]:
    """Find for every sample a radius within which no error is possible.

    Parameters
    ----------
    network : ReluNetwork
        The model.

    X : ndarray of shape (n, n_features)
        Samples.

    labels : ndarray of shape (n,)
        Indices of their true classes.

    search : Search
        What is searched for, and how.

    roundoff : float
        Unit roundoff of the model.

    guess : ndarray of shape (n,), default=None
        Radii that are tried first. None begins with what the linear function of each
        sample says.

    Returns
    -------
    radii : ndarray of shape (n,)
        Zero where nothing could be proved, infinite where no point of the clip range
        is an error.

    settled : ndarray of shape (n,) and dtype bool
        Whether the method cannot prove a radius much larger. False where time was up.
    """
    radii, settled = np.zeros(len(X)), np.zeros(len(X), dtype=bool)
    room = min(_NUMBERS // network.n_units, _NUMBERS_OF_FEATURES // network.n_features)
    at_once = max(1, min(search.batch_size, room))
    for start in range(0, len(X), at_once):
        rows = slice(start, start + at_once)
        if search.is_late():
            break
        first = None if guess is None else guess[rows]
        anchors = Anchors(network, X[rows], roundoff)
        bracket = _Bracket(anchors, labels[rows], search, first)
        bracket.close_by_secants()
        if search.method == "split":
            bracket.raise_by_splitting()
        radii[rows], settled[rows] = bracket.low, bracket.settled
    return radii, settled


class _Bracket:
    """Between a radius that is proved and one that is not, for every sample."""

    def __init__(self, anchors, labels, search, guess):
        self.anchors, self.labels, self.search = anchors, labels, search
        n = anchors.n
        self.C = margin_rows(labels, anchors.network.n_outputs)
        distance, margin = linear_distances(anchors, labels, search.norm)
        # The margins of both ends; NaN where the upper end was not tried.
        self.low, self.at_low = np.zeros(n), margin
        self.high, self.at_high = np.full(n, np.inf), np.full(n, np.nan)
        # A point that one of them has replaced.
        self.old, self.at_old = np.full(n, np.nan), np.full(n, np.nan)
        # Farther than all of the clip range nobody need go.
        self.limit = _farthest(anchors.x, search)
        is_linear = len(anchors.network.layers) == 1
        self.width = _WIDTH_OF_LINEAR if is_linear else _WIDTH
        self.least = _SMALLEST * anchors.roundoff
        self.settled = ~(margin > self.least)
        # CROWN's radius is about half of the distance of the linear function.
        first = 0.7 * distance
        if guess is not None:
            first = np.where((guess > 0) & np.isfinite(guess), guess, first)
        first = np.minimum(first, 0.6 * self.limit)
        # In the units of the features.
        size = np.abs(anchors.x).max(axis=1, initial=0)
        size = np.where(size > 0, size, 1.0)
        anywhere = np.where(np.isfinite(self.limit), self.limit, size)
        self.first = np.where((first > 0) & np.isfinite(first), first, anywhere)

    def close_by_secants(self):
        """Prove or fail at one radius after another; who is settled leaves."""
        search = self.search
        method = "interval" if search.method == "interval" else "crown"
        e, live = self.first.copy(), np.flatnonzero(~self.settled)
        for step in range(_MOST_STEPS):
            if len(live) == 0 or search.is_late():
                return
            region = Region(self.anchors, live, e[live], search.norm, search.clip)
            margin = Bounds(region, method).margins(self.C[live]).min(axis=1)
            proved = margin > self.least
            self._note(live[proved], e, margin[proved], proved=True)
            self._note(live[~proved], e, margin[~proved], proved=False)
            self.settled[live] = self._is_narrow(live, self.width)
            live = live[~self.settled[live]]
            e[live] = self._next(live, step)
        # Only where nothing bounds how far one may go.
        self.settled[live] = True

    def _note(self, rows, e, margin, *, proved):
        ends = ("low", "at_low") if proved else ("high", "at_high")
        for old, end in zip(("old", "at_old"), ends, strict=True):
            getattr(self, old)[rows] = getattr(self, end)[rows]
        if proved:
            self.low[rows], self.at_low[rows] = e[rows], margin
            everywhere = rows[e[rows] >= self.limit[rows]]
            self.low[everywhere] = self.high[everywhere] = np.inf
        else:
            self.high[rows], self.at_high[rows] = e[rows], margin

    def _is_narrow(self, rows, width):
        low, high = self.low[rows], np.minimum(self.high[rows], self.limit[rows])
        return np.isfinite(high) & (high - low <= width * high) | (low >= high)

    def _next(self, rows, step):
        low, high, limit = self.low[rows], self.high[rows], self.limit[rows]
        at_low, at_high = self.at_low[rows], self.at_high[rows]
        old, at_old = self.old[rows], self.at_old[rows]
        with np.errstate(invalid="ignore", over="ignore", divide="ignore"):
            root = low + (high - low) * at_low / (at_low - at_high)
            curved = _root_of_three((low, high, old), (at_low, at_high, at_old))
            fits = (curved > low) & (curved < high)
            root = np.where(fits, curved, root)
            # A little beyond, so that the far end moves too.
            lean = 0.4 * self.width * high
            inner = np.where(root - low < high - root, root + lean, root - lean)
            middle = (low + high) / 2
            known = np.isfinite(inner) & (inner > low) & (inner < high)
            # Halving, should all else fail.
            inner = np.where(known & (step < 8 or step % 2), inner, middle)
            # Margins fall faster and faster, so a line ends beyond.
            outer = low + (low - old) * at_low / (at_old - at_low)
            outer = np.where(outer > 1.1 * low, np.minimum(outer, 3 * low), 2 * low)
            # Near the limit, the limit itself.
            outer = np.where(outer >= 0.7 * limit, limit, outer)
        return np.where(
            np.isfinite(high), inner, np.where(np.isnan(outer), limit, outer)
        )

    def raise_by_splitting(self):
        """Try larger radii by branch and bound, in steps that halve or double."""
        n, search, longer = self.anchors.n, self.search, 1
        share, done = np.full(n, 0.12), ~(self.at_low > self.least) | np.isinf(self.low)
        high = self.limit.copy()
        self.settled = done.copy()
        while not search.is_late():
            live = np.flatnonzero(~done)
            if len(live) == 0:
                return
            low = self.low[live]
            e = np.where(
                low > 0, low * (1 + share[live]), self.first[live] * share[live]
            )
            e = np.where(e < high[live], e, (low + high[live]) / 2)
            proved, finished = proved_by_splitting(
                self.anchors, live, e, self.labels[live], search
            )
            if not finished:
                return
            self.low[live[proved]] = e[proved]
            high[live[~proved]] = e[~proved]
            # Most often the second step fails. Farther ones are longer, until something
            # fails; then each is half as long.
            failed_before = high[live] < self.limit[live]
            share[live] *= np.where(proved & ~failed_before, longer, 0.5)
            longer = 2
            width = high[live] - self.low[live]
            done[live] = width <= _WIDTH_OF_SPLITS * high[live]
            self.settled[live] = done[live]


def _root_of_three(x, f):
    """Where the quadratic function of the value through three points is zero."""
    (a, b, c), (fa, fb, fc) = x, f
    return (
        a * fb * fc / ((fa - fb) * (fa - fc))
        + b * fa * fc / ((fb - fa) * (fb - fc))
        + c * fa * fb / ((fc - fa) * (fc - fb))
    )


def _farthest(x, search):
    """How far the farthest point of the clip range is."""
    if search.clip is None:
        return np.full(len(x), np.inf)
    low, high = search.clip
    # Rounded up: beyond it there is nothing.
    room = np.maximum(x - low, high - x) * (1 + 2.0**-50)
    if search.norm == "linf":
        return room.max(axis=1)
    return row_lengths(room) * (1 + 2.0**-40)


def proved_by_splitting(
    anchors: Anchors, rows: NDArray, eps: NDArray, labels: NDArray, search: Search
) -> tuple[NDArray, bool]:
    """Try to prove balls free of errors by branch and bound.

    Parameters
    ----------
    anchors : Anchors
        The samples.

    rows : ndarray of shape (n,)
        Which samples the balls are around.

    eps : ndarray of shape (n,)
        Radii of the balls.

    labels : ndarray of shape (n,)
        Indices of the true classes.

    search : Search
        The norm, the clip range and the limits.

    Returns
    -------
    proved : ndarray of shape (n,) and dtype bool
        Whether there is no error in the ball.

    finished : bool
        False if time was up before all were decided.
    """
    everywhere = Region(anchors, rows, eps, search.norm, search.clip)
    n, network = len(rows), anchors.network
    C = margin_rows(labels, network.n_outputs)
    # Of every subproblem: its ball, the signs assumed, and the rows still to be proved.
    ball = np.arange(n)
    shape = n, network.n_units
    split = Split(
        signs=np.zeros(shape, dtype=np.int8),
        lower=np.full(shape, -np.inf),
        upper=np.full(shape, np.inf),
        start=np.full(n, -1),
    )
    left = np.ones(C.shape[:2], dtype=bool)
    first_of_layer = np.concatenate(
        [np.full(layer.stop - layer.start, layer.start) for layer in network.layers]
    )
    used, given_up = np.zeros(n, dtype=np.int64), np.zeros(n, dtype=bool)
    while True:
        unit, left, *found = _bound_parts(everywhere, ball, split, left, C, search)
        _bound_in_caps(everywhere, ball, split, left, C, (unit, *found), search)
        open_ = left.any(axis=1)
        # Nothing to split, and not proved.
        given_up[ball[open_ & (unit < 0)]] = True
        used += 2 * np.bincount(ball[open_], minlength=n)
        given_up |= used > search.max_subproblems
        kept = open_ & ~given_up[ball]
        ball, left, unit = ball[kept], left[kept], unit[kept]
        if len(ball) == 0:
            return ~given_up, True
        if search.is_late():
            given_up[ball] = True
            return ~given_up, False
        signs = split.signs[kept]
        positive, negative, rows_ = signs.copy(), signs.copy(), np.arange(len(signs))
        positive[rows_, unit], negative[rows_, unit] = 1, -1
        split = Split(
            signs=np.concatenate([positive, negative]),
            lower=np.tile(split.lower[kept], (2, 1)),
            upper=np.tile(split.upper[kept], (2, 1)),
            start=np.tile(first_of_layer[unit], 2),
        )
        ball, left = np.tile(ball, 2), np.tile(left, (2, 1))


def _bound_in_caps(everywhere, ball, split, left, C, found, search):
    """Bound again what is left of balls that are nearly proved.

    What was found before is the units, which are written to like the split and what is
    left to prove, and what is missing, with the functions of the margins.
    """
    unit, missing, known = found
    most = np.zeros(len(everywhere.rows))
    np.maximum.at(most, ball, missing)
    near = most[ball] <= min((search.max_subproblems / _WORTH) ** 2, _MISSING)
    again = np.flatnonzero(left.any(axis=1) & near)
    if len(again) == 0:
        return
    place = np.full(len(ball), -1)
    place[again] = np.arange(len(again))
    parts, rows, margins = known
    kept = place[parts] >= 0
    known = place[parts[kept]], rows[kept], margins[kept]
    # Intervals of all layers may be improved.
    start = np.full(len(again), -1)
    some = Split(split.signs[again], split.lower[again], split.upper[again], start)
    unit[again], left[again], _, _ = _bound_parts(
        everywhere, ball[again], some, left[again], C, search, known
    )
    split.lower[again], split.upper[again] = some.lower, some.upper


def _bound_parts(everywhere, ball, split, left, C, search, known=None):
    """Bound subproblems; over caps, and more than once, where functions are known.

    Returns the unit to split next, or -1 where there is none, what is left to prove,
    how much is missing, and of which part and row what functions are known then. The
    intervals of the split are written to.
    """
    unit, still = np.full(len(ball), -1), left.copy()
    missing, found = np.full(len(ball), np.inf), []
    least = _SMALLEST * everywhere.anchors.roundoff
    at_once = max(1, min(_CHUNK, _NUMBERS // split.signs.shape[1]))
    for start in range(0, len(ball), at_once):
        part = np.arange(start, min(start + at_once, len(ball)))
        region, begin = everywhere.take(ball[part]), split.start[part]
        problems, rows = np.nonzero(left[part])
        if known is not None:
            here = slice(*np.searchsorted(known[0], (start, start + at_once)))
            problems, rows = known[0][here] - start, known[1][here]
            region = Caps(region, problems, known[2][here])
        for n_left in reversed(range(1 if known is None else _CUTS)):
            signs = split.signs[part]
            so_far = split.lower[part], split.upper[part]
            bounds = Bounds(region, split=Split(signs, *so_far, begin))
            split.lower[part], split.upper[part] = bounds.lower, bounds.upper
            margins = margin_functions(
                bounds, problems, C[ball[part[problems]], rows], least
            )
            open_ = ~(margins.smallest > 0)
            still[part[problems], rows] = open_
            # In every problem, those that are cut least first.
            order = np.lexsort((margins.smallest, problems))
            order = order[open_[order]]
            problems, rows, margins = problems[order], rows[order], margins[order]
            lacks, before = np.zeros(len(part)), missing[part]
            np.maximum.at(lacks, problems, margins.missing(region, problems))
            missing[part] = lacks
            some, first = np.unique(problems, return_index=True)
            goes_on = (lacks > 0) & (lacks < (1 - _GAIN) * before) & (n_left > 0)
            if search.is_late():
                goes_on[:] = False
            ends = ~goes_on[some]
            if ends.any():
                worst = C[ball[part[some[ends]]], rows[first[ends]]]
                unit[part[some[ends]]] = _costliest(bounds, some[ends], worst, signs)
            if not goes_on.any():
                break
            kept = goes_on[problems]
            problems, rows = (np.cumsum(goes_on) - 1)[problems[kept]], rows[kept]
            part, margins = part[goes_on], margins[kept]
            region = Caps(everywhere.take(ball[part]), problems, margins)
            begin = np.full(len(part), -1)
        if known is None:
            found.append((part[problems], rows, margins))
    if known is None:
        parts, rows, margins = zip(*found, strict=True)
        known = np.concatenate(parts), np.concatenate(rows), joined(margins)
    return unit, still, missing, known


def _costliest(bounds, problems, rows, signs):
    """Find the unit whose lines cost these rows most."""
    lines, cost = bounds.lines, np.zeros((len(problems), signs.shape[1]))
    place = np.empty(len(signs), dtype=np.int64)
    place[problems] = np.arange(len(problems))

    def watch(layer, ids, a):
        here = slice(layer.start, layer.stop)
        at_zero = layer.by_unit(lines.at_zero[ids, here])
        gap = np.minimum(-bounds.lower[ids, here], bounds.upper[ids, here])
        gap = np.where(at_zero > 0, np.maximum(gap, 0), 0)
        cost[place[ids], here] = (
            np.maximum(-a, 0) * at_zero + np.maximum(a, 0) * gap / 2
        )

    bounds.values(problems, rows, watch)
    cost[signs[problems] != 0] = 0
    unit = cost.argmax(axis=1)
    return np.where(cost[np.arange(len(unit)), unit] > 0, unit, -1)
