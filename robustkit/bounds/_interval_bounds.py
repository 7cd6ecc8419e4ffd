r"""Bounds on the logits of a network whose first units move along a few lines.

What a unit can be is written as :math:`c + \sum_k s_k t_k + e` with any :math:`t_k` in
:math:`[-1, 1]`, shared by all units, and any :math:`|e| \le r`: center, slopes and
radius. A linear map :math:`W` takes center and slopes to :math:`W c` and :math:`W s_k`,
and the radius to :math:`|W| r`. A rectifier keeps a unit that cannot be negative and
silences one that cannot be positive; over an interval :math:`[l, h]` around zero it
lies in the band from :math:`\lambda x` to :math:`\lambda (x - l)` with :math:`\lambda =
h / (h - l)` [1]_. Units that move together are so known to, which plain intervals
forget.

Rounding. The bounds hold for the network in exact arithmetic, for any network whose
weights differ from it by a relative :math:`2^{-24}`, one float32 rounding, and for what
either of them computes in single precision or better. A product of n terms in
arithmetic of unit roundoff u has an error of at most :math:`\gamma_{n} = n u / (1 - n
u)` times the product of the absolute values, in whatever order it is summed [2]_. Every
radius is widened by more than that, for the network and for the bounds: :math:`|W| (r +
g (|c| + \sum_k |s_k| + r)) + g |b|` with :math:`g = \gamma_{n+4}(2^{-24}) + 3
\gamma_{n+4}(u)`. Numbers so small that they lose digits are covered by n times the
smallest normal one, and weights so small by a larger :math:`|W|`. Where a sum might
overflow in single precision, the radius is infinite.

.. [1] G. Singh, T. Gehr, M. Mirman, M. Püschel and M. Vechev. Fast and effective
   robustness certification. NeurIPS 2018.
.. [2] N. J. Higham. Accuracy and Stability of Numerical Algorithms. SIAM 2002.
   :doi:`10.1137/1.9780898718027`
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
from scipy import sparse
from torch import nn

from robustkit._tensors import as_array
from robustkit.networks import (
    MaskedLinear,
    SparseNetwork,
    is_plain,
    linear_weights,
    what_is_odd,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Float = type[np.float32] | type[np.float64]

__all__ = [
    "LARGEST",
    "BoundedNetwork",
    "described",
    "gamma",
    "lost_digits",
    "refusal",
    "slack_factor",
]

# Unit roundoff of single precision, in which a model may compute.
_SINGLE = 2.0**-24
# What a sum in single precision may amount to without overflowing on the way.
LARGEST = 2.0**126
# Taken for smaller weights where rounding is bounded. Times the slack, it is more than
# a weight can be that has lost its digits, or has become zero.
_LEAST_WEIGHT = 2.0**-102


def slack_factor(n_terms: int | NDArray, dtype: Float) -> float | NDArray:
    """Bound how far off a sum of products can be, relative to the absolute values.

    That is more than the rounding of weights to float32, of the sum where the model
    computes it, in float32, and of the sum computed here, in `dtype`.
    """
    here = float(np.finfo(dtype).eps / 2)
    # Beside the terms: a bias, and the rounding of weights. Three times, as center,
    # slopes and radius are sums of that length.
    return gamma(n_terms + 4, _SINGLE) + 3 * gamma(n_terms + 4, here)


def gamma(n: int | NDArray, roundoff: float) -> float | NDArray:
    """Bound the relative error of a sum of n terms, in arithmetic of some roundoff."""
    share = n * roundoff
    # Beyond that nothing is known.
    return np.where(share < 0.5, share / np.maximum(1 - share, 0.5), np.inf)[()]


def lost_digits(n_terms: int) -> np.float32:
    """Bound how far off a sum can be as its terms are too small to be rounded well."""
    return (n_terms + 4) * np.finfo(np.float32).tiny


class BoundedNetwork:
    """The part of a network behind its first linear map, ready to be bounded.

    Bounds are computed in `dtype`. A module that no bounds are known for is refused by
    name, with a TypeError.
    """

    def __init__(self, modules: Sequence[nn.Module], dtype: Float):
        self.dtype = dtype
        self.steps = [step for module in modules for step in _steps(module, dtype)]
        self.last = None
        if self.steps and isinstance(self.steps[-1], _Affine):
            self.last = self.steps.pop()

    def margins(
        self, center: NDArray, slope: NDArray, radius: NDArray, labels: NDArray
    ) -> NDArray:
        """Bound the margin: logit of the label minus the largest other one.

        Parameters
        ----------
        center, radius : ndarray of shape (n, n_units)
            Of the results of the first map.

        slope : ndarray of shape (n_lines, n, n_units)
            How far the results move along each line, to either side.

        labels : ndarray of shape (n,)
            Indices of classes.

        Returns
        -------
        margin : ndarray of shape (n,)
            No point that is meant has a smaller one.
        """
        units = center, slope, radius
        margin = np.empty(len(center))
        # What overflows is not a number, and bounds nothing.
        with np.errstate(over="ignore", invalid="ignore"):
            for step in self.steps:
                units = step(*units)
            for label in np.unique(labels):
                rows = np.flatnonzero(labels == label)
                of_label = (part[..., rows, :] for part in units)
                margin[rows] = self._margins_of(label, *of_label)
        return np.where(np.isnan(margin), -np.inf, margin)

    def _margins_of(self, label, center, slope, radius):
        last = self.last
        if last is None:
            last = _Affine(
                np.eye(center.shape[1]), np.zeros(center.shape[1]), self.dtype
            )
        # Bounding the difference of two logits is sharper than both logits' bounds.
        center, slope, radius = _Difference(last, label)(center, slope, radius)
        lower = center - _reach(slope, radius)
        lower[:, label] = np.inf
        return lower.min(axis=1)


class _Affine:
    """A linear map with a bias."""

    def __init__(self, weight, bias, dtype):
        self.weight, self.bias, self.dtype = weight, bias, dtype
        # Transposed copies, as products of many rows are fastest so.
        self.forward = np.ascontiguousarray(weight.T, dtype=dtype)
        self.absolute = np.maximum(np.abs(self.forward), dtype(_LEAST_WEIGHT))
        self.shift = np.asarray(bias, dtype=dtype)
        self.slack = dtype(slack_factor(weight.shape[1], dtype))
        self.lost = dtype(lost_digits(weight.shape[1]))

    def __call__(self, center, slope, radius):
        wider = _widen(center, slope, radius, self.slack)
        center = center @ self.forward
        center += self.shift
        radius = wider @ self.absolute
        radius += self.slack * np.abs(self.shift)
        radius += self.lost
        return center, slope @ self.forward, _in_range(radius, self.slack)


class _Difference(_Affine):
    """By how much one result of a linear map exceeds each of the others.

    The radius is widened as much as those of the results themselves would have been.
    """

    def __init__(self, affine, label):
        weight, bias = affine.weight, affine.bias
        super().__init__(weight[label] - weight, bias[label] - bias, affine.dtype)
        size = np.abs(weight[label]) + np.abs(weight)
        size = np.maximum(size.T, _LEAST_WEIGHT)
        self.size = np.ascontiguousarray(size, dtype=affine.dtype)
        self.bias_size = (np.abs(bias[label]) + np.abs(bias)).astype(affine.dtype)

    def __call__(self, center, slope, radius):
        largest = np.abs(center) + _reach(slope, radius)
        rounding = self.slack * (largest @ self.size + self.bias_size)
        center = center @ self.forward + self.shift
        rounding = _in_range(rounding, self.slack)
        radius = radius @ self.absolute + rounding + 2 * self.lost
        return center, slope @ self.forward, radius


def _in_range(radius, slack):
    """Make the radius infinite where what it is a share of may overflow."""
    limit = radius.dtype.type(slack * LARGEST)
    if radius.max(initial=0) > limit:
        radius[radius > limit] = np.inf
    return radius


def _reach(slope, radius):
    """Bound the distance from the center."""
    reach = np.abs(slope).sum(axis=0)
    reach += radius
    # Every sum rounds; one more covers this product.
    reach *= 1 + (len(slope) + 1) * np.finfo(radius.dtype).eps
    return reach


def _widen(center, slope, radius, slack):
    """Add a share of the largest absolute value to the radius."""
    wider = np.abs(center)
    wider += _reach(slope, radius)
    wider *= slack
    wider += radius
    return wider


def _rectify(center, slope, radius):
    dtype = np.finfo(center.dtype)
    reach = _reach(slope, radius)
    # The sign of a rounded sum is exact.
    low, high = np.minimum(center - reach, 0), np.maximum(center + reach, 0)
    share = high / np.maximum(high - low, dtype.tiny)
    half_band = share * low
    half_band *= -0.5
    # What rounding does to the share, the band and the middle of it is less than 16
    # units of roundoff of the upper end.
    rounding = np.multiply(high, 8 * dtype.eps, out=high)
    rounding += 4 * np.finfo(np.float32).tiny
    return (
        share * center + half_band,
        share * slope,
        share * radius + (half_band + rounding),
    )


class _Graph:
    """The hidden part of a sparse network: from its sources to its rectified sinks."""

    def __init__(self, network, dtype):
        structure = network.structure
        self.structure, self.dtype = structure, dtype
        self.bias = as_array(network.bias).astype(dtype)
        source, target = structure.edges
        shape = (structure.n_nodes, structure.n_nodes)
        weight = as_array(network.edge_weight).astype(dtype)
        matrix = sparse.csr_array((weight, (target, source)), shape=shape)
        size = np.maximum(np.abs(weight), dtype(_LEAST_WEIGHT))
        sizes = sparse.csr_array((size, (target, source)), shape=shape)
        self.layers = [
            (start, stop, matrix[start:stop, :start], sizes[start:stop, :start])
            for start, stop in pairwise(structure.layer_offsets[1:])
        ]
        # Sums have as many terms as a vertex has predecessors, and a bias.
        most = np.bincount(target, minlength=1).max(initial=0) + 1
        self.slack = dtype(slack_factor(most, dtype))
        self.lost = dtype(lost_digits(most))

    def __call__(self, center, slope, radius):
        n_sources, n_lines = center.shape[1], len(slope)
        shape = self.structure.n_nodes, len(center)
        c, r, wider = (np.empty(shape, dtype=self.dtype) for _ in range(3))
        s = np.empty((n_lines, *shape), dtype=self.dtype)

        def fire(rows, *units):
            fired = _rectify(*self._add_bias(rows, *units))
            c[rows], s[:, rows], r[rows] = fired
            wider[rows] = _widen(*fired, self.slack)

        fire(slice(n_sources), center.T, slope.swapaxes(1, 2), radius.T)
        for start, stop, weight, absolute in self.layers:
            fire(
                slice(start, stop),
                weight @ c[:start],
                np.stack([weight @ line[:start] for line in s]),
                absolute @ wider[:start] + self.lost,
            )
        sinks = self.structure.sinks
        return tuple(
            np.ascontiguousarray(part.swapaxes(-1, -2))
            for part in (c[sinks], s[:, sinks], r[sinks])
        )

    def _add_bias(self, rows, center, slope, radius):
        bias = self.bias[rows, None]
        center = center + bias
        radius = radius + self.slack * (np.abs(bias) + np.abs(center))
        return center, slope, _in_range(radius, self.slack)


def _steps(module, dtype):
    """Turn a module into what bounds pass through."""
    if is_plain(module, nn.Linear, MaskedLinear):
        weight, bias = map(_doubles, linear_weights(module))
        return [_Affine(weight, bias, dtype)]
    if is_plain(module, nn.ReLU):
        return [_rectify]
    if is_plain(module, SparseNetwork):
        weight, bias = map(_doubles, (module.output_weight, module.output_bias))
        return [_Graph(module, dtype), _Affine(weight, bias, dtype)]
    raise refusal(module, "linear layers and ReLU")


def refusal(
    module: nn.Module, known: str, where: str = "", what: str = "Bounds are known"
) -> TypeError:
    """Say which part of a network no bounds, or whatever, are known for."""
    return TypeError(
        f"{what} for networks of {known}, and for sparse networks. This one has a "
        f"{described(module)}{where}"
    )


def described(module: nn.Module) -> str:
    """Name a part of a module, and what is odd about it."""
    reason = what_is_odd(module)
    return type(module).__name__ + ("" if reason is None else f" with {reason}")


def _doubles(tensor):
    return as_array(tensor).astype(np.float64)
