r"""Lower bounds on the margins of a ReLU network over balls: intervals and CROWN.

CROWN [1]_ carries a linear function of the logits backward, layer by layer, and keeps
it below what it bounds. A rectifier whose argument z lies in [l, u] with l < 0 < u has
its upper line through both ends, and for its lower line 0 or z, whichever leaves the
smaller triangle. What arrives at the input is a linear function, whose smallest value
over the ball and the clip range is known. The intervals of the units come from the same
computation, or from interval arithmetic where that is better or leaves no doubt about
the sign.

Rounding. The bounds hold for what the module computes in its own precision, whatever
the order of its sums. With u the unit roundoff of that, a unit z of n terms computes
:math:`W a + b + e` with :math:`|e| \le \gamma_n (|W| |a| + |b|)`, :math:`\gamma_n = n u
/ (1 - n u)` [2]_, of the values a that were computed before it. So e is an unknown like
others, bounded with the intervals of a: a coefficient c of z costs :math:`|c|` times
that bound. Our own rounding costs the same: when coefficients c of the units of a layer
are multiplied by W, the coefficient of each argument a is off by at most
:math:`\gamma_m |c| |W|`, m the number of units that a feeds, and :math:`|c| |W| |a|` is
:math:`|c|` times what has just been bounded. Sums over units are in double precision.
At the input only the deviation from the sample is multiplied so, which allows single
precision there, where most of the work is; what the first layer makes of the sample
itself, and all of the other layers, are computed in double precision.

What is too small for the range of a precision is off by more than a share of itself: by
up to the smallest normal number, if such numbers become zero. That is so for a sample
and whatever its scaling computes, which the first layer multiplies by its weights; for
a weight, which a unit multiplies by its argument; and for every product.

.. [1] H. Zhang, T.-W. Weng, P.-Y. Chen, C.-J. Hsieh and L. Daniel. Efficient neural
   network robustness certification with general activation functions. NeurIPS 2018.
.. [2] N. J. Higham. Accuracy and Stability of Numerical Algorithms. SIAM 2002.
   :doi:`10.1137/1.9780898718027`
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numba import njit
from numpy.typing import NDArray

from robustkit.bounds._interval_bounds import LARGEST, gamma
from robustkit.bounds._patches import Places
from robustkit.bounds._relu_network import ReluNetwork

__all__ = [
    "DOUBLE",
    "SINGLE",
    "Anchors",
    "Bounds",
    "Region",
    "Split",
    "linear_distances",
    "margin_bounds",
    "margin_rows",
    "over_ball",
    "row_lengths",
]

# Rows of coefficients that are carried backward at once, and numbers in them at most:
# more leave the cache, or the memory.
_ROWS = 512
_NUMBERS = 2**22
SINGLE, DOUBLE = 2.0**-24, 2.0**-53
# More than what computing a bound of rounding in single precision is off.
_ROUND_UP = 1 + 2.0**-9
_FASTMATH = {"reassoc", "contract", "nsz"}


class Anchors:
    """Samples, and what the first layer makes of them.

    Parameters
    ----------
    network : ReluNetwork
        The network.

    X : ndarray of shape (n, n_features)
        Samples.

    roundoff : float
        Unit roundoff of the computation that the bounds are about, 2^-24 in single
        precision; 0 is the network in exact arithmetic.
    """

    def __init__(self, network: ReluNetwork, X: NDArray, roundoff: float = SINGLE):
        self.network, self.n = network, len(X)
        self.x = np.ascontiguousarray(X, dtype=np.float64)
        self.roundoff = roundoff
        # In which deviations from the samples are multiplied: little is lost there.
        self.own = DOUBLE if roundoff < SINGLE else SINGLE
        # Numbers that are smaller may become zero.
        self.tiny = float(
            np.finfo(np.float32 if self.own == SINGLE else np.float64).tiny
        )
        first = network.layers[0]
        with np.errstate(over="ignore", invalid="ignore"):
            value, size, lost = self._scaled()
            exact = network.first.forward(torch.from_numpy(value)).numpy()
            self.units = exact + first.bias
            both = np.concatenate([size, lost])
            both = network.first.magnitude(torch.from_numpy(both)).numpy()
            self.size = both[:-1] + np.abs(first.bias)
            # What the units lose as the samples are too small to be rounded well.
            self.lost = both[-1]
            self.sum_of_sizes = size.sum(axis=1)
        # One rounding of the input, and three of every scaling.
        self.n_terms = first.fan_in + 3 + 6 * len(network.scalings)

    def _scaled(self):
        """Scale samples; return also what is summed for it, and what may be lost."""
        network = self.network
        value, size, self.scale = self.x, np.abs(self.x), None
        lost = np.full((1, network.n_features), self.tiny)
        # How far features may move before a scaling in single precision overflows.
        self.room = None
        for center, scale, offset, is_single in network.scalings:
            if is_single:
                self._keep_in_range(size, center, scale, offset)
            value = (value - center) * scale + offset
            size = (size + np.abs(center)) * np.abs(scale) + np.abs(offset)
            lost = (lost + self.tiny) * np.abs(scale) + 2 * self.tiny
            self.scale = scale * (1.0 if self.scale is None else self.scale)
        return value, size, lost

    def _keep_in_range(self, size, center, scale, offset):
        growth = np.maximum(np.abs(scale), 1)
        largest = (size + np.abs(center)) * growth + np.abs(offset)
        before = 1.0 if self.scale is None else np.abs(self.scale)
        with np.errstate(divide="ignore"):
            room = (LARGEST - largest) / (before * growth)
        self.room = room if self.room is None else np.minimum(self.room, room)


class Region:
    """Balls around samples inside the clip range, one for each problem.

    Parameters
    ----------
    anchors : Anchors
        The samples.

    rows : ndarray of shape (n_problems,)
        Which sample each is around.

    eps : ndarray of shape (n_problems,)
        Radii.

    norm : {"linf", "l2"}
        Of the balls.

    clip : tuple of two floats or None
        The clip range.
    """

    is_cut = False
    """Whether only a part of every ball counts."""

    def __init__(self, anchors: Anchors, rows, eps, norm: str, clip=None):
        self.anchors, self.rows, self.norm = anchors, np.asarray(rows), norm
        self.eps = np.ascontiguousarray(eps, dtype=np.float64)
        low, high = map(float, clip or (-np.inf, np.inf))
        shape = len(rows), anchors.x.shape[1]
        self.low, self.high = np.empty(shape), np.empty(shape)
        _moves(anchors.x, self.rows, self.eps, (low, high), self.low, self.high)
        reach = np.maximum(-self.low, self.high)
        self.overflows = np.zeros(len(rows), dtype=bool)
        if anchors.room is not None:
            self.overflows = ~(reach <= anchors.room[self.rows]).all(axis=1)
        # How far what the first layer reads moves, and how far it moves at most.
        self.least, self.most, self.reach = self.low, self.high, reach
        if anchors.scale is not None:
            with np.errstate(over="ignore", invalid="ignore"):
                ends = self.low * anchors.scale, self.high * anchors.scale
                self.reach = reach * np.abs(anchors.scale)
            self.least, self.most = np.minimum(*ends), np.maximum(*ends)

    def take(self, problems: NDArray) -> Region:
        """Keep some problems."""
        part = object.__new__(Region)
        part.anchors, part.norm = self.anchors, self.norm
        for name in ("rows", "eps", "low", "high", "reach", "overflows"):
            setattr(part, name, getattr(self, name)[problems])
        part.least, part.most = part.low, part.high
        if part.anchors.scale is not None:
            part.least, part.most = self.least[problems], self.most[problems]
        return part

    def concretize(self, D, patch, problems, total):
        """Add the smallest value of rows of coefficients to their totals.

        They are those of a patch of the features.
        """
        if self.norm == "linf":
            ends = self.least, self.most
            _over_box(D, patch.where, problems, ends, total)
        else:
            scale = self.anchors.scale
            scale = np.ones(self.low.shape[1]) if scale is None else scale
            box = scale, self.low, self.high, self.eps
            over_ball(D, patch.where, problems, box, total)

    def first_interval(self):
        """Intervals of the units of the first layer, and two sizes.

        The sizes bound the absolute values that are summed: all of them, and those that
        come from moving.
        """
        anchors, chart = self.anchors, self.anchors.network.first
        low, high = self.least, self.most
        middle, half = (low + high) / 2, (high - low) / 2
        middle = chart.forward(torch.from_numpy(middle)).numpy()
        half = chart.magnitude(torch.from_numpy(half)).numpy()
        moved = chart.magnitude(torch.from_numpy(self.reach)).numpy()
        units = anchors.units[self.rows]
        lower, upper = units + (middle - half), units + (middle + half)
        if self.norm == "l2":
            # A feature at an end of the clip range moves to one side only.
            can_fall, can_rise = self.low < 0, self.high > 0
            for sign in (1, -1):
                squares, unit = chart.squares(sign, can_fall, anchors.scale)
                squares += chart.squares(-sign, can_rise, anchors.scale)[0]
                # Of the smallest numbers the square is zero.
                length = np.sqrt(squares) + can_fall.shape[1] * 2.0**-511
                length *= self.eps[:, None] * unit * _ROUND_UP
                if sign > 0:
                    lower = np.maximum(lower, units - length)
                else:
                    upper = np.minimum(upper, units + length)
        return lower, upper, anchors.size[self.rows] + moved, moved


@dataclass
class Lines:
    """Around every unit of every problem, two lines; and what rounding does to it."""

    up: NDArray
    """Slope of the upper line. That of the lower is 1 if it is more than half, or 0.

    All of them are in the order in which coefficients are carried.
    """

    at_zero: NDArray
    """Value of the upper line at zero."""

    slack: NDArray
    """Cost of a coefficient in rounding."""

    shift: NDArray
    """What is added: a bias, or for the first layer its value at the sample."""


@dataclass
class Split:
    """What is assumed of the units of problems, and what is known of them already."""

    signs: NDArray
    """1 or -1 where a unit is assumed to be positive or negative, else 0."""

    lower: NDArray
    upper: NDArray
    """Intervals of the units, without the latest assumption."""

    start: NDArray
    """For every problem, the first unit of the layer of the latest assumption: up to
    this layer nothing new can be learned."""


class Bounds:
    """Intervals and lines of all units over a region.

    Parameters
    ----------
    region : Region
        Problems.

    method : {"crown", "interval"}
        Where the intervals of hidden units come from.

    better : bool
        Whether intervals may replace what CROWN says where they are narrower.

    split : Split, default=None
        What is assumed of units.
    """

    def __init__(
        self,
        region: Region,
        method: str = "crown",
        better: bool = True,
        split: Split | None = None,
    ):
        self.region, self.network = region, region.anchors.network
        self.method, self.better = method, better
        network, n = self.network, len(region.rows)
        shape = n, network.n_units
        # Of the arguments of rectifiers; then of their results.
        self.lower, self.upper = (np.empty(shape) for _ in range(2))
        self.low, self.high = (np.empty(shape) for _ in range(2))
        self.lines = Lines(*(np.empty(shape) for _ in range(4)))
        # No point of the region is in the part of a problem whose units contradict.
        self.is_empty = np.zeros(n, dtype=bool)
        self._buffers: dict = {}
        self._single = region.anchors.own == SINGLE
        with np.errstate(over="ignore", invalid="ignore"):
            # What is lost where products are so small that they lose digits.
            self.lost = region.reach.sum(axis=1) * region.anchors.tiny
            for number, layer in enumerate(network.layers):
                self._bound_layer(number, layer, split)

    def _bound_layer(self, number, layer, split):
        here = slice(layer.start, layer.stop)
        lower, upper, slack, moves = self._interval(layer)
        self.lines.slack[:, here] = slack
        is_first, units = layer.inputs is not None, self.region.anchors.units
        self.lines.shift[:, here] = units[self.region.rows] if is_first else layer.bias
        fresh, signs = True, None if split is None else split.signs[:, here]
        if split is not None:
            fresh = split.start[:, None] < layer.start
            np.maximum(lower, split.lower[:, here], out=lower)
            np.minimum(upper, split.upper[:, here], out=upper)
        # Intervals of the first layer are hardly improved over whole balls.
        improves = layer.rectified and (not is_first or self.region.is_cut)
        if improves and self.method == "crown":
            # Of what moves by no more than rounding nothing is learned: differences of
            # zeros, of which a pooling has many.
            fresh = fresh & moves if self.better else fresh
            self._tighten(number, lower, upper, fresh)
        if signs is not None:
            lower[(signs > 0) & (lower < 0)] = 0
            upper[(signs < 0) & (upper > 0)] = 0
            self.is_empty |= (lower > upper).any(axis=1)
            np.maximum(upper, lower, out=upper)
        # What overflows bounds nothing.
        unknown = ~(np.isfinite(lower) & np.isfinite(upper) & np.isfinite(slack))
        lower[unknown], upper[unknown] = -np.inf, np.inf
        self.lower[:, here], self.upper[:, here] = lower, upper
        _draw_lines(
            (self.lower, self.upper, self.lines.up, self.lines.at_zero),
            layer.start,
            layer.stop,
            layer.rectified,
        )
        floor = 0 if layer.rectified else -np.inf
        if layer.order is not None:
            lines = self.lines
            for table in (lines.up, lines.at_zero, lines.slack, lines.shift):
                table[:, here] = layer.carried(table[:, here])
        self.low[:, here] = np.maximum(lower, floor)
        self.high[:, here] = np.maximum(upper, floor)
        # More than the sum of absolute values, and cheap.
        largest = np.maximum(
            upper.max(axis=1, initial=0), -lower.min(axis=1, initial=0)
        )
        self.lost += largest * (lower.shape[1] * np.finfo(np.float64).tiny)

    def _interval(self, layer):
        """Interval arithmetic, the cost of rounding, and what moves at all."""
        network, anchors = self.network, self.region.anchors
        n_terms, own = layer.fan_in + 2, DOUBLE
        if layer.inputs is not None:
            lower, upper, size, moved = self.region.first_interval()
            n_terms, own = anchors.n_terms, anchors.own
            self.lost += moved.sum(axis=1) * anchors.tiny
            terms = anchors.sum_of_sizes[self.region.rows] + self.region.reach.sum(
                axis=1
            )
        else:
            middle, half, size = layer.bias[None], 0.0, np.abs(layer.bias)[None]
            terms = 0.0
            for p, q, chart in layer.sources:
                low, high = self.low[:, p:q], self.high[:, p:q]
                largest = np.maximum(np.abs(low), np.abs(high))
                terms = terms + largest.sum(axis=1)
                mid, rad = (low + high) / 2, (high - low) / 2
                both = np.concatenate([rad, largest])
                middle = middle + chart.forward(torch.from_numpy(mid)).numpy()
                both = chart.magnitude(torch.from_numpy(both)).numpy()
                half = half + both[: len(rad)]
                size = size + both[len(rad) :]
            lower, upper, moved = middle - half, middle + half, size
        width = upper - lower
        slack = (gamma(n_terms, anchors.roundoff) + 16 * DOUBLE) * size
        slack += gamma(network.fan_out + 8, own) * moved
        slack += gamma(network.n_units + network.n_features + 16, DOUBLE) * size
        # These sums round too, and may lose digits; so may the module's.
        slack *= 1 + 2.0**-20
        slack += (n_terms + 4) * np.finfo(np.float32).tiny
        # So may weights, which are multiplied by terms.
        slack += terms[:, None] * anchors.tiny
        if layer.inputs is not None:
            slack += anchors.lost
            slack[self.region.overflows] = np.inf
        if anchors.roundoff == SINGLE:
            slack[size > LARGEST] = np.inf
        wider = slack + 3 * gamma(layer.fan_in + 8, DOUBLE) * moved
        return lower - wider, upper + wider, slack, ~(width <= 4 * slack)

    def _tighten(self, number, lower, upper, fresh):
        """Bound the units of a layer by CROWN where their sign is in doubt."""
        layer = self.network.layers[number]
        doubt = (lower < 0) & (upper > 0) if self.better else np.ones_like(lower, bool)
        doubt &= fresh
        problems, units = np.nonzero(doubt)
        if len(problems) == 0:
            return
        shift, slack = (
            table[problems, layer.start + units]
            for table in (self.lines.shift, self.lines.slack)
        )
        places = self._places(number, len(units), units)
        for sign, side, better in ((1, lower, np.maximum), (-1, upper, np.minimum)):

            def start(part, A, D, here, sign=sign):
                for p, q, chart in layer.sources:
                    here.write_rows(chart, units[part], sign, A, (p, q))
                if layer.inputs is not None:
                    here.write_rows(layer.inputs, units[part], sign, D, None)

            total = sign * shift - slack
            self._carry(start, total, problems, places)
            found = sign * total
            if self.better:
                found = better(side[problems, units], found)
            side[problems, units] = found

    def margins(self, C: NDArray) -> NDArray:
        """Bound linear functions of the logits from below.

        Parameters
        ----------
        C : ndarray of shape (n_problems, n_rows, n_outputs)
            Coefficients of the logits.

        Returns
        -------
        margins : ndarray of shape (n_problems, n_rows)
            No point of the region has a smaller value; infinite where there is none.
        """
        n, n_rows = C.shape[:2]
        problems = np.repeat(np.arange(n), n_rows)
        return self.values(problems, C.reshape(n * n_rows, -1)).reshape(n, n_rows)

    def values(self, problems: NDArray, C: NDArray, watch=None) -> NDArray:
        """Bound linear functions, one row each, of the logits of some problems."""
        last = self.network.layers[-1]
        rows = torch.from_numpy(np.ascontiguousarray(last.carried(C)))
        total = np.zeros(len(rows))

        def start(part, A, D, here):
            A[:, -self.network.n_outputs :] += rows[part]

        places = self._places(len(self.network.layers), len(rows))
        with np.errstate(over="ignore", invalid="ignore"):
            self._carry(start, total, problems, places, watch)
        total[np.isnan(total)] = -np.inf
        total[self.is_empty[problems]] = np.inf
        return total

    def _places(self, n_layers, n_rows, units=None):
        """Lay out rows of coefficients; those of a flat network are all alike."""
        network = self.network
        if network.has_images:
            return Places(network, n_layers, n_rows, units)
        if n_layers not in network.places:
            network.places[n_layers] = Places(network, n_layers, _ROWS, None)
        return network.places[n_layers]

    def _carry(self, start, total, problems, places, watch=None):
        """Carry rows of coefficients backward, from where they are started."""
        network, n_features = self.network, places.input.size
        n_rows = max(1, min(_ROWS, _NUMBERS // (places.width + n_features)))
        # What is compiled for other strides is compiled twice.
        problems = np.ascontiguousarray(problems)
        for begin in range(0, len(total), n_rows):
            part = slice(begin, begin + n_rows)
            ids, acc = problems[part], total[part]
            here = places.part(part) if network.has_images else places
            A = self._buffer("A", len(ids), max(here.width, 1), torch.float64).zero_()
            dtype = torch.float32 if self._single else torch.float64
            D = self._buffer("D", len(ids), n_features, dtype)
            if here.n_layers == 0:
                D.zero_()
            start(part, A, D, here)
            self._through_layers((A, D), ids, acc, here, watch)
            is_last = here.n_layers == len(network.layers) > 1
            if self.method == "interval" and is_last:
                self._over_intervals(A.numpy(), ids, acc, here)
            else:
                self.region.concretize(D.numpy(), here.input, ids, acc)
            acc -= (network.fan_out + 4) * self.lost[ids]

    def _through_layers(self, coefficients, ids, acc, here, watch):
        A, D = coefficients
        lines, units = self.lines, A.numpy()
        table = lines.up, lines.at_zero, lines.slack, lines.shift
        for number in reversed(range(here.n_layers)):
            layer, patch = self.network.layers[number], here.patches[number]
            if patch is None:
                continue
            columns = here.columns[number]
            a = A[:, columns]
            if watch is not None:
                watch(layer, ids, layer.by_unit(units[:, columns]))
            first = columns.start, layer.start
            _relax(units, first, patch.where, ids, table, acc)
            for p, q, chart in layer.sources:
                here.pull(chart, a, patch, A, (p, q))
            if layer.inputs is not None:
                here.pull(layer.inputs, a, patch, D, None)
            if self.method == "interval" and layer.stop == self.network.n_units:
                # The units behind it have their intervals.
                return

    def _over_intervals(self, A, ids, acc, here):
        """Add the smallest values of coefficients over the intervals of their units."""
        for p, q, _ in self.network.layers[-1].sources:
            a = here.by_unit(A, p, q)
            row = np.zeros(len(a), dtype=np.int64)
            where = (1, 1, q - p, 1, q - p), row, row
            _over_box(a, where, ids, (self.low[:, p:q], self.high[:, p:q]), acc)

    def _buffer(self, name, n_rows, width, dtype):
        """Give kept memory: fresh memory costs more than the arithmetic."""
        size = n_rows * width
        kept = self._buffers.get(name)
        if kept is None or kept.numel() < size:
            kept = self._buffers[name] = torch.empty(size, dtype=dtype)
        return kept[:size].view(n_rows, width)


def margin_rows(labels: NDArray, n_outputs: int) -> NDArray:
    """Coefficients of the label's logit minus every other, one row each."""
    eye = np.eye(n_outputs)
    others = (labels[:, None] + np.arange(1, n_outputs)) % n_outputs
    return eye[labels][:, None] - eye[others]


def margin_bounds(
    network: ReluNetwork,
    X: NDArray,
    labels: NDArray,
    eps: float,
    *,
    norm: str = "linf",
    clip: tuple[float, float] | None = None,
    method: str = "crown",
    roundoff: float = SINGLE,
    better: bool = True,
) -> NDArray:
    """Bound the margins of all samples over balls of one radius, a row per sample."""
    n = len(X)
    region = Region(
        Anchors(network, X, roundoff), np.arange(n), np.full(n, eps), norm, clip
    )
    return Bounds(region, method, better).margins(
        margin_rows(labels, network.n_outputs)
    )


def linear_distances(anchors: Anchors, labels: NDArray, norm: str) -> tuple:
    """Estimate how far errors are by the linear function that the network is nearby.

    Returns the distances, without regard to the clip range, and the margins of the
    samples as they are.
    """
    network, n = anchors.network, anchors.n
    region = Region(anchors, np.arange(n), np.zeros(n), norm)
    lengths = []

    def measure(D, patch, problems, total):
        D = D if anchors.scale is None else D * anchors.scale
        if norm == "linf":
            lengths.append(np.abs(D).sum(axis=1, dtype=np.float64))
        else:
            lengths.append(row_lengths(D))

    # At the samples nothing moves, and only the margins are measured, of all features.
    region.concretize = lambda D, patch, problems, total: None
    bounds = Bounds(region, "crown")
    region.concretize = measure
    C = margin_rows(labels, network.n_outputs)
    margins = bounds.margins(C)
    slopes = np.concatenate(lengths).reshape(margins.shape)
    with np.errstate(divide="ignore", invalid="ignore"):
        distances = np.where(margins > 0, margins / slopes, 0)
    return np.nan_to_num(distances, nan=0, posinf=np.inf).min(axis=1), margins.min(
        axis=1
    )


def row_lengths(rows: NDArray) -> NDArray:
    """Compute Euclidean lengths, also of rows whose squares are zero or infinite."""
    with np.errstate(over="ignore", invalid="ignore"):
        squares = np.einsum("ij,ij->i", rows, rows, dtype=np.float64, casting="safe")
        lengths = np.sqrt(squares)
        odd = ~((squares > 1e-280) & (squares < 1e280))
        if odd.any():
            largest = np.abs(rows[odd]).max(axis=1, initial=0).astype(np.float64)
            unit = np.where((largest > 0) & np.isfinite(largest), largest, 1)
            lengths[odd] = np.linalg.norm(rows[odd] / unit[:, None], axis=1) * unit
    return lengths


@njit(cache=True)
def _moves(x, rows, eps, clip, low, high):
    """Find how far features may move, rounded outward."""
    outward, tiny = 1 + 2.0**-51, 2.0**-1022
    for i in range(len(rows)):
        for j in range(x.shape[1]):
            center = x[rows[i], j]
            down = max(-eps[i], clip[0] - center) * outward
            up = min(eps[i], clip[1] - center) * outward
            low[i, j] = min(down, -tiny) if down < 0 else 0
            high[i, j] = max(up, tiny) if up > 0 else 0


@njit(cache=True, fastmath=_FASTMATH)
def _relax(A, first, where, ids, table, acc):
    """Replace coefficients of rectified units by those of their arguments, in place.

    What the lines, rounding and what is added amount to goes to `acc`. `first` are the
    first column of the layer in the rows, and its first unit in the table.
    """
    (channels, height, width, n_lines, n_columns), top, left = where
    up, at_zero, slack, shift = table
    for r in range(A.shape[0]):
        s = ids[r]
        total = 0.0
        column = first[0]
        for y in range(top[r], top[r] + n_lines):
            for x in range(left[r], left[r] + n_columns):
                a = A[r, column : column + channels]
                column += channels
                if y < 0 or y >= height or x < 0 or x >= width:
                    a[:] = 0
                    continue
                k = first[1] + (y * width + x) * channels
                slopes, zeros = up[s, k : k + channels], at_zero[s, k : k + channels]
                costs, adds = slack[s, k : k + channels], shift[s, k : k + channels]
                for c in range(channels):
                    slope = slopes[c]
                    lower = 1.0 if slope > 0.5 else 0.0
                    new = a[c] * (slope if a[c] < 0 else lower)
                    down = a[c] if a[c] < 0 else 0.0
                    total += down * zeros[c] + new * adds[c] - abs(new) * costs[c]
                    a[c] = new
        acc[r] += total


@njit(cache=True, fastmath=_FASTMATH)
def _over_box(D, where, ids, ends, acc):
    """Add the smallest value of linear functions of patches of features over boxes."""
    (channels, height, width, n_lines, n_columns), top, left = where
    low, high = ends
    for r in range(D.shape[0]):
        s = ids[r]
        total = 0.0
        first, last = max(0, -left[r]), min(n_columns, width - left[r])
        for line in range(channels * n_lines):
            channel, y = line // n_lines, line % n_lines + top[r]
            if y < 0 or y >= height or last <= first:
                continue
            begin = (channel * height + y) * width + left[r]
            row = D[r, line * n_columns + first : line * n_columns + last]
            lows, highs = (
                low[s, begin + first : begin + last],
                high[s, begin + first : begin + last],
            )
            for j in range(len(row)):
                # Both are loaded: one or the other would be a branch.
                d, lowest, highest = row[j], lows[j], highs[j]
                total += d * (lowest if d > 0 else highest)
        acc[r] += total


@njit(cache=True, fastmath=_FASTMATH)
def over_ball(D, where, ids, box, acc):
    """Add a bound on the smallest value of linear functions over ball and box.

    A coefficient is multiplied by the scale of its feature. Everything is computed in
    double precision and measured in the radius of the ball: there squares of numbers
    that matter are neither zero nor infinite.
    """
    (channels, height, width, n_lines, n_columns), top, left = where
    scale, low, high, eps = box
    n = D.shape[1]
    d, room = np.zeros(n), np.zeros(n)
    for r in range(D.shape[0]):
        s = ids[r]
        radius = eps[s] if 1e-290 < eps[s] < 1e290 else 1.0
        share = 1 / radius
        total, squares = 0.0, 0.0
        first, last = max(0, -left[r]), min(n_columns, width - left[r])
        if n_lines < height or n_columns < width:
            d[:], room[:] = 0, 0
        for line in range(channels * n_lines):
            channel, y = line // n_lines, line % n_lines + top[r]
            if y < 0 or y >= height or last <= first:
                continue
            begin = (channel * height + y) * width + left[r]
            here = slice(line * n_columns + first, line * n_columns + last)
            there = slice(begin + first, begin + last)
            row, owns, moves = D[r, here], d[here], room[here]
            scales, lows, highs = scale[there], low[s, there], high[s, there]
            for j in range(len(row)):
                # Not in the precision of D.
                own, lowest, highest = row[j] * scales[j], lows[j], highs[j]
                move = (lowest if own > 0 else highest) * share
                total += own * move
                squares += own * own if move != 0 else 0.0
                owns[j], moves[j] = own, move
        # The ball may hold the whole box, whose bound is negative.
        best = total * (1 + (n + 12) * 2.0**-52)
        # Not where there is nothing to gain, nor with what is no number.
        if total < 0 and radius == eps[s]:
            unit = 1.0
            if not 1e-200 < squares < 1e200:
                unit, squares = _rescale(d, room)
            best = max(best, _over_unit_ball(d, room, squares) * unit)
        acc[r] += best * radius


@njit(cache=True)
def _rescale(d, room):
    """Divide coefficients by the largest; return it and the sum of squares."""
    largest, squares = 0.0, 0.0
    for j in range(len(d)):
        if room[j] != 0:
            largest = max(largest, abs(d[j]))
    if not 0 < largest < np.inf:
        return 1.0, 0.0
    for j in range(len(d)):
        d[j] /= largest
        squares += d[j] * d[j] if room[j] != 0 else 0.0
    return largest, squares


@njit(cache=True, fastmath=_FASTMATH)
def _over_unit_ball(d, room, squares):
    r"""Bound a linear function from below over the unit ball and a box.

    For any :math:`\lambda > 0` it is at least the sum of the smallest :math:`d_i t +
    \lambda t^2 / 2` of each feature's moves t, minus :math:`\lambda / 2`. The best
    :math:`\lambda` is found in a few steps, from the root of the sum of squares.
    """
    n = len(d)
    # Any strength gives a bound, unless it is so small that half of it loses digits.
    strength, best = np.sqrt(squares), -np.inf
    if not strength > 1e-150:
        return best
    for _ in range(4):
        value, size, free, clipped = 0.0, 0.0, 0.0, 0.0
        for j in range(n):
            move = -d[j] / strength
            is_free = abs(move) < abs(room[j])
            move = move if is_free else room[j]
            square = move * move
            half = 0.5 * strength * square
            value += d[j] * move + half
            size += abs(d[j] * move) + half
            free += d[j] * d[j] if is_free else 0.0
            clipped += 0.0 if is_free else square
        half = 0.5 * strength
        value -= half
        # What rounding does to this sum, and to what it is multiplied by.
        value -= (n + 24) * 2.0**-52 * (size + half)
        if value > best:
            best = value
        left = 1 - clipped
        if left <= 0 or free == 0:
            break
        new = np.sqrt(free / left)
        if not abs(new - strength) > 1e-4 * strength or not new > 1e-150:
            break
        strength = new
    return best


@njit(cache=True)
def _draw_lines(tables, start, stop, rectified):
    """Draw the upper line of every unit through the ends of its interval."""
    lower, upper, up, at_zero = tables
    for i in range(lower.shape[0]):
        for k in range(start, stop):
            low, high = lower[i, k], upper[i, k]
            if not rectified or low >= 0:
                up[i, k], at_zero[i, k] = 1, 0
            elif high <= 0:
                up[i, k], at_zero[i, k] = 0, 0
            elif not (low > -np.inf and high < np.inf):
                # Nothing is known, and nothing follows.
                up[i, k], at_zero[i, k] = 1, np.inf
            else:
                slope = high / (high - low)
                value = max(-slope * low, high - slope * high)
                up[i, k], at_zero[i, k] = slope, value * (1 + 2.0**-50) + 2.0**-1000
