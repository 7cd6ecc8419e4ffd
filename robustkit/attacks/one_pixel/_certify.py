"""Find one pixel that fools, or prove that there is none: branch and bound.

A box is a pixel of an image and an interval of levels in every channel. A box whose
smallest possible margin is positive holds nothing that fools, for any real value in it.
The others are halved, and the model is queried at the point where; first at the levels
of the grid, then between them.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from robustkit._tensors import as_array, as_tensor, on_device
from robustkit.attacks.one_pixel._query import (
    Found,
    PixelSpace,
    Query,
    significant_parts,
    split_first_map,
)
from robustkit.bounds import (
    LARGEST,
    BoundedNetwork,
    described,
    lost_digits,
    refuse_imprecise,
    slack_factor,
)
from robustkit.bridge import Clamp, ElementwiseScale
from robustkit.networks import is_plain, what_is_odd

__all__ = ["PixelCertifier"]

# Smaller numbers of single precision may become zero.
_TINY = float(np.finfo(np.float32).tiny)
# Boxes bounded at once: more leave the cache.
_CHUNK = 1024
# Pixels queried before anything is bounded: every so many.
_EVERY = 8
# A box that is still undecided when it is this small, in levels, stays so.
_SMALLEST = 2.0**-16
# An image counts as undecided when more boxes of it than this per pixel, on average,
# have been halved and bounded, and more than the second number in all. Hardly any image
# takes more than two per pixel.
_BOXES_PER_PIXEL = 64
_BOXES_AT_LEAST = 2**14


class PixelCertifier:
    """Decide about images: called with a query about them, it returns what it found.

    `certified` of the find are the images that no pixel with any real value fools. The
    module must be one that bounds are known for; it is refused by name otherwise.
    """

    def __init__(self, module: nn.Module, space: PixelSpace):
        refuse_imprecise(module, "method='certified'")
        # Bounds are computed with numpy.
        module = on_device(module, torch.device("cpu"))
        first = split_first_map(module)
        if first is None:
            raise TypeError(_has_no_first_map(module))
        self.space, self.first = space, first
        self.most_boxes = max(_BOXES_AT_LEAST, _BOXES_PER_PIXEL * space.n_pixels)
        # Wide boxes are bounded in single precision; those that are as narrow as the
        # grid in double, where rounding does not keep them undecided.
        self.networks = {
            dtype: _bounded(first.modules, dtype) for dtype in (np.float32, np.float64)
        }
        columns = np.ascontiguousarray(as_array(first.weight).T)
        self.columns = {dtype: columns.astype(dtype) for dtype in self.networks}
        # Of the values in single precision, and of every scaling: three parameters and
        # three operations.
        self.slack_of_scaling = (1 + 6 * len(first.scaling)) * 2.0**-23
        # Of every feature, as it may be too small to be rounded well.
        everywhere = torch.arange(columns.shape[0])
        self.loss = as_array(first.scaled_loss(everywhere))

    def __call__(self, query: Query) -> Found:
        """Query and bound, box by box, until every image is decided or given up."""
        found = Found.nothing(query)
        clean = self._clean(query.X, query.labels)
        undecided = np.zeros(len(query.X), dtype=bool)
        n_boxes = np.zeros(len(query.X), dtype=np.int64)
        boxes = self._all_boxes(len(query.X))
        # A few pixels fool most images that can be fooled. For the others, bounds tell
        # first where a query is worth it.
        few = boxes.take(boxes.pixel % _EVERY == 0)
        _query_at(query, found, few, few.high)
        boxes = self._that_may_fool(clean, boxes.of_others(found))
        _query_corners(query, found, boxes)
        while len(boxes := boxes.of_others(found)):
            middle, halves = boxes.halve()
            _query_at(query, found, boxes, middle)
            _query_grid_cells(query, found, halves)
            n_boxes += np.bincount(halves.image, minlength=len(query.X))
            boxes = self._that_may_fool(clean, halves.of_others(found))
            stuck = self._is_stuck(clean, boxes)
            stuck |= n_boxes[boxes.image] > self.most_boxes
            undecided[boxes.image[stuck]] = True
            boxes = boxes.take(~stuck)
        found.certified = ~found.fooled & ~undecided
        return found

    def _that_may_fool(self, clean, boxes):
        return boxes.take(self._may_fool(clean, boxes))

    def _is_stuck(self, clean, boxes):
        """Whether halving is of no use: the middle alone cannot be proved."""
        width = boxes.width().max(axis=1)
        stuck = width <= _SMALLEST
        narrow = np.flatnonzero((width <= 1) & ~stuck)
        stuck[narrow] = self._may_fool(clean, boxes.take(narrow).middles())
        return stuck

    # What overflows is not a number, and bounds nothing.
    @np.errstate(over="ignore", invalid="ignore")
    def _clean(self, X, labels):
        """Compute the first map of clean images, and how far off it may be."""
        everywhere = np.arange(X.shape[1])[None]
        x, size = self._scaled(X.astype(np.float64), everywhere)
        weight, bias = (
            as_array(part).astype(np.float64)
            for part in (self.first.weight, self.first.bias)
        )
        units = x @ weight.T + bias
        # How far off the model is, in single precision, and this product.
        slack = slack_factor(self._n_terms(size), np.float64)[:, None]
        slack = slack + self.slack_of_scaling
        radius = slack * (size @ np.abs(weight).T + np.abs(bias))
        radius += lost_digits(X.shape[1]) + self.loss @ np.abs(weight).T
        # So may weights be, which are multiplied by values.
        radius += _TINY * size.sum(axis=1, keepdims=True)
        clean = _Clean(X, labels, slack, {}, {})
        for dtype in self.networks:
            clean.units[dtype] = units.astype(dtype)
            # Of the rounding to this type, and of adding something to it.
            rounding = slack_factor(4, dtype) * (np.abs(units) + radius)
            clean.radius[dtype] = (radius + rounding).astype(dtype)
        return clean

    def _n_terms(self, size):
        """Count the products that are not zero, also where a pixel has changed.

        What a changed pixel adds is computed apart, by the model and here.
        """
        return np.count_nonzero(size, axis=1) + 2 * self.space.n_channels

    def _all_boxes(self, n_samples):
        n_pixels, n_channels = self.space.n_pixels, self.space.n_channels
        shape = (n_samples * n_pixels, n_channels)
        return _Boxes(
            np.repeat(np.arange(n_samples), n_pixels),
            np.tile(np.arange(n_pixels), n_samples),
            np.zeros(shape),
            np.full(shape, self.space.levels - 1.0),
        )

    def _may_fool(self, clean, boxes):
        narrow = boxes.width().max(axis=1) <= 1
        may = np.empty(len(boxes), dtype=bool)
        for dtype, rows in ((np.float32, ~narrow), (np.float64, narrow)):
            rows = np.flatnonzero(rows)
            for start in range(0, len(rows), _CHUNK):
                piece = rows[start : start + _CHUNK]
                bound = self._bound(dtype, clean, boxes.take(piece))
                may[piece] = bound <= 0
        return may

    @np.errstate(over="ignore", invalid="ignore")
    def _bound(self, dtype, clean, boxes):
        """Compute the smallest possible margin of every box."""
        features = self.space.features[boxes.pixel]
        low, size = self._scaled(self.space.values(boxes.pixel, boxes.low), features)
        high, top = self._scaled(self.space.values(boxes.pixel, boxes.high), features)
        old, was = self._scaled(clean.X[boxes.image[:, None], features], features)
        middle, half = (low + high) / 2 - old, np.abs(high - low) / 2
        sizes, slack = size + top + was, clean.slack[boxes.image]
        rounding = slack * sizes + 2 * self.loss[features]
        columns = self.columns[dtype][features.T]

        def along(lengths):
            return columns * lengths.T[..., None].astype(dtype)

        center = clean.units[dtype][boxes.image] + along(middle).sum(axis=0)
        radius = clean.radius[dtype][boxes.image] + np.abs(along(rounding)).sum(axis=0)
        radius += (_TINY * sizes.sum(axis=1, keepdims=True)).astype(dtype)
        # In single precision what is larger may have overflowed.
        radius[radius > (slack * LARGEST).astype(dtype)] = np.inf
        return self.networks[dtype].margins(
            center, along(half), radius, clean.labels[boxes.image]
        )

    def _scaled(self, values, features):
        """Scale values of features; also bound the terms that were summed for it."""
        values = torch.from_numpy(values.astype(np.float64))
        features = torch.from_numpy(features)
        scaled = self.first.scaled(values, features)
        return as_array(scaled), as_array(self.first.scaled_size(values, features))


def _query_corners(query, found, boxes):
    # The bright ends first: on dark images the dark ones change little.
    for corner in np.ndindex((2,) * query.space.n_channels):
        boxes = boxes.of_others(found)
        _query_at(query, found, boxes, np.where(corner, boxes.low, boxes.high))


def _query_grid_cells(query, found, boxes):
    """Query all corners of the boxes between neighbouring levels.

    With one channel that has been done already, where the boxes were halved.
    """
    if query.space.n_channels > 1:
        _query_corners(query, found, boxes.take((boxes.width() == 1).all(axis=1)))


def _query_at(query, found, boxes, level):
    """Query one point of every box, and note the candidates that fool."""
    if len(boxes) == 0:
        return
    candidates = boxes.image, boxes.pixel, level
    tensors = [as_tensor(part, device=query.device, dtype=None) for part in candidates]
    fooled = as_array(query(*tensors)[1])
    found.n_queries += np.bincount(boxes.image, minlength=len(found.n_queries))
    hit = np.flatnonzero(fooled)
    found.note(boxes.image[hit], boxes.pixel[hit], level[hit])


_CURE = "use method='exhaustive' or 'differential_evolution'."


def _bounded(modules, dtype):
    try:
        return BoundedNetwork(modules, dtype)
    except TypeError as error:
        raise TypeError(
            f"method='certified' does not know this network. {error}: {_CURE}"
        ) from error


def _has_no_first_map(module):
    parts = significant_parts(module)
    odd = [part for part in parts if what_is_odd(part)] or [
        part for part in parts if not is_plain(part, ElementwiseScale, Clamp)
    ]
    has = f"a {described(odd[0])}" if odd else "no linear map"
    return (
        "method='certified' needs a model that begins with a linear map, after scalers "
        f"at most, and computes in float32 or float64. This one has {has}: {_CURE}"
    )


@dataclass(frozen=True)
class _Clean:
    """What is known of clean images."""

    X: np.ndarray
    labels: np.ndarray

    slack: np.ndarray
    """How far off a product of the first map may be, relative to its terms."""

    units: dict[type, np.ndarray]
    """For every dtype: results of the first map, one image per row."""

    radius: dict[type, np.ndarray]
    """For every dtype: how far off these may be."""


@dataclass(frozen=True)
class _Boxes:
    """Pixels of images, each with an interval of levels in every channel."""

    image: np.ndarray
    pixel: np.ndarray
    low: np.ndarray
    high: np.ndarray

    def __len__(self):
        return len(self.image)

    def width(self):
        """Levels between the two ends."""
        return self.high - self.low

    def take(self, rows):
        """Keep some boxes."""
        return _Boxes(
            self.image[rows], self.pixel[rows], self.low[rows], self.high[rows]
        )

    def of_others(self, found):
        """Keep the boxes of images that are not fooled yet."""
        return self.take(~found.fooled[self.image])

    def middles(self):
        """Return the points in the middle, as boxes without a width."""
        middle = (self.low + self.high) / 2
        return _Boxes(self.image, self.pixel, middle, middle)

    def halve(self):
        """Cut every box in its widest channel, at a level while there is one.

        Returns the point of each box where it is cut, and the lower halves followed by
        the upper ones.
        """
        width, rows = self.width(), np.arange(len(self))
        channel = width.argmax(axis=1)
        middle = (self.low + self.high) / 2
        cut = middle[rows, channel]
        cut = np.where(width[rows, channel] > 1, np.floor(cut), cut)
        middle = np.where(width > 1, np.floor(middle), middle)
        middle[rows, channel] = cut
        high, low = self.high.copy(), self.low.copy()
        high[rows, channel] = low[rows, channel] = cut
        halves = _Boxes(
            np.concatenate([self.image, self.image]),
            np.concatenate([self.pixel, self.pixel]),
            np.concatenate([self.low, low]),
            np.concatenate([high, self.high]),
        )
        return middle, halves
