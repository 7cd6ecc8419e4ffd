"""Find one pixel that fools, or prove that there is none: branch and bound."""

from typing import NamedTuple

import numpy as np
import torch

from robustkit._tensors import as_array, as_tensor, on_device
from robustkit.attacks._interval_bounds import (
    BoundedNetwork,
    described,
    lost_digits,
    slack_factor,
)
from robustkit.attacks._pixel_first_map import significant_parts, split_first_map
from robustkit.attacks._pixel_searches import Found
from robustkit.bridge import Clamp, ElementwiseScale
from robustkit.networks import is_plain, what_is_odd

__all__ = ["PixelCertifier"]

# Boxes bounded at once: more leave the cache.
_CHUNK = 1024
# Pixels asked about before anything is bounded: every so many.
_EVERY = 8
# A box that is still undecided when it is this small, in levels, stays so.
_SMALLEST = 2.0**-16
# An image counts as undecided when more boxes of it than this a pixel, on average, have
# been halved and bounded, and more than the second number in all. Hardly any image
# takes more than two a pixel.
_BOXES_A_PIXEL = 64
_BOXES_AT_LEAST = 2**14


class PixelCertifier:
    """Branch and bound over (pixel, interval of values).

    A box is a pixel and an interval of values in every channel. A box whose smallest
    possible margin is positive holds nothing that fools, for any real value in it. The
    others are halved, and the model is asked at the point where; first at the levels of
    the grid, then between them.

    Parameters
    ----------
    module : torch.nn.Module
        The network.

    space : PixelSpace
        Positions and values.
    """

    def __init__(self, module, space):
        # Bounds are computed with numpy.
        module = on_device(module, torch.device("cpu"))
        first = split_first_map(module)
        if first is None:
            raise TypeError(_has_no_first_map(module))
        self.space, self.first = space, first
        self.most_boxes = max(_BOXES_AT_LEAST, _BOXES_A_PIXEL * space.n_pixels)
        # Wide boxes are bounded in single precision; those that are as narrow as the
        # grid in double, where rounding does not keep them undecided.
        self.networks = {
            dtype: BoundedNetwork(first.modules, dtype)
            for dtype in (np.float32, np.float64)
        }
        columns = as_array(first.columns)
        self.columns = {dtype: columns.astype(dtype) for dtype in self.networks}
        # Of the values in single precision, and of every scaling: three parameters and
        # three operations.
        self.slack_of_scaling = (1 + 6 * len(first.scaling)) * 2.0**-23

    def __call__(self, evaluate, confirm, X, labels, device):
        """Decide about images.

        Parameters
        ----------
        evaluate : callable
            Asks the model.

        confirm : callable
            Asks `predict`.

        X : ndarray of shape (n_samples, n_features)
            Clean images.

        labels : ndarray of shape (n_samples,)
            Indices of the classes attacked.

        device : torch.device
            Where the model is asked.

        Returns
        -------
        found : Found
            Which images are fooled, and by what.

        certified : ndarray of shape (n_samples,) and dtype bool
            Which images cannot be fooled.
        """
        found = Found(len(X), self.space.n_channels, confirm)
        evaluate = _from_arrays(evaluate, device)
        clean = self._clean(X, labels)
        undecided = np.zeros(len(X), dtype=bool)
        n_boxes = np.zeros(len(X), dtype=np.int64)

        def that_may_fool(boxes):
            boxes = boxes.take(~found.fooled[boxes.image])
            return boxes.take(self._may_fool(clean, boxes))

        boxes = self._all_boxes(len(X))
        # A few pixels fool most images that can be fooled. For the others it is told
        # first where asking is worth it.
        few = boxes.take(boxes.pixel % _EVERY == 0)
        self._ask(evaluate, found, few.image, few.pixel, few.high)
        boxes = that_may_fool(boxes)
        self._ask_corners(evaluate, found, boxes)
        while len(boxes := boxes.take(~found.fooled[boxes.image])):
            boxes, middle = boxes.halve()
            self._ask(evaluate, found, boxes.image, boxes.pixel, middle)
            boxes = boxes.both()
            self._ask_grid_cells(evaluate, found, boxes)
            n_boxes += np.bincount(boxes.image, minlength=len(X))
            boxes = that_may_fool(boxes)
            stuck = self._is_stuck(clean, boxes)
            stuck |= n_boxes[boxes.image] > self.most_boxes
            undecided[boxes.image[stuck]] = True
            boxes = boxes.take(~stuck)
        return found, ~found.fooled & ~undecided

    def _is_stuck(self, clean, boxes):
        """Whether halving is of no use: the middle alone cannot be proved."""
        width = boxes.width().max(axis=1)
        stuck = width <= _SMALLEST
        narrow = np.flatnonzero((width <= 1) & ~stuck)
        stuck[narrow] = self._may_fool(clean, boxes.take(narrow).middles())
        return stuck

    def _clean(self, X, labels):
        """Results of the first map on clean images, and how far off they may be."""
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
        radius += lost_digits(X.shape[1])
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

    def _bound(self, dtype, clean, boxes):
        """Smallest possible margin of every box."""
        features = self.space.features[boxes.pixel]
        low, size = self._scaled(self.space.values(boxes.pixel, boxes.low), features)
        high, top = self._scaled(self.space.values(boxes.pixel, boxes.high), features)
        old, was = self._scaled(clean.X[boxes.image[:, None], features], features)
        middle, half = (low + high) / 2 - old, np.abs(high - low) / 2
        rounding = clean.slack[boxes.image] * (size + top + was)
        columns = self.columns[dtype][features.T]

        def along(lengths):
            return columns * lengths.T[..., None].astype(dtype)

        center = clean.units[dtype][boxes.image] + along(middle).sum(axis=0)
        radius = clean.radius[dtype][boxes.image] + np.abs(along(rounding)).sum(axis=0)
        return self.networks[dtype].margins(
            center, along(half), radius, clean.labels[boxes.image]
        )

    def _scaled(self, values, features):
        """Scale values of features; also bound the terms that were summed for it."""
        values = torch.from_numpy(values.astype(np.float64))
        features = torch.from_numpy(features)
        scaled = self.first.scaled(values, features)
        return as_array(scaled), as_array(self.first.scaled_size(values, features))

    def _ask_corners(self, evaluate, found, boxes):
        n_channels = self.space.n_channels
        # The bright ends first: on dark images the dark ones change little.
        for corner in np.ndindex((2,) * n_channels):
            boxes = boxes.take(~found.fooled[boxes.image])
            level = np.where(corner, boxes.low, boxes.high)
            self._ask(evaluate, found, boxes.image, boxes.pixel, level)

    def _ask_grid_cells(self, evaluate, found, boxes):
        """Ask at all corners of the boxes between neighbouring levels.

        With one channel they have been asked already, where the boxes were halved.
        """
        if self.space.n_channels > 1:
            cells = boxes.take((boxes.width() == 1).all(axis=1))
            self._ask_corners(evaluate, found, cells)

    def _ask(self, evaluate, found, image, pixel, level):
        if len(image) == 0:
            return
        fooled = evaluate(image, pixel, level)
        found.n_queries += np.bincount(image, minlength=len(found.n_queries))
        hit = np.flatnonzero(fooled)
        found.note(image[hit], pixel[hit], level[hit])


def _has_no_first_map(module):
    parts = significant_parts(module)
    odd = [part for part in parts if what_is_odd(part)] or [
        part for part in parts if not is_plain(part, ElementwiseScale, Clamp)
    ]
    has = described(odd[0]) if odd else "no linear map"
    return (
        "method='certified' needs a model that begins with a linear map, after scalers "
        f"at most, and computes in float32 or float64. This one has a {has}: use "
        "method='exhaustive' or 'differential_evolution'."
    )


def _from_arrays(evaluate, device):
    """Let arrays in, and only what fools out."""

    def ask(*arrays):
        tensors = [as_tensor(array, device=device, dtype=None) for array in arrays]
        return as_array(evaluate(*tensors)[1])

    return ask


class _Clean(NamedTuple):
    """What is known of clean images."""

    X: np.ndarray
    labels: np.ndarray
    slack: np.ndarray
    """How far off a product of the first map may be, relative to its terms."""

    units: dict
    """For every dtype: results of the first map, an image a row."""

    radius: dict
    """For every dtype: how far off these may be."""


class _Boxes:
    """Pixels of images, each with an interval of levels in every channel."""

    def __init__(self, image, pixel, low, high):
        self.image, self.pixel, self.low, self.high = image, pixel, low, high

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

    def middles(self):
        """Give the points in the middle, as boxes without a width."""
        middle = (self.low + self.high) / 2
        return _Boxes(self.image, self.pixel, middle, middle)

    def halve(self):
        """Cut every box in its widest channel, at a level while there is one."""
        width = self.width()
        self.channel = width.argmax(axis=1)
        rows = np.arange(len(self))
        middle = (self.low + self.high) / 2
        cut = middle[rows, self.channel]
        cut = np.where(width[rows, self.channel] > 1, np.floor(cut), cut)
        self.cut = cut
        middle = np.where(width > 1, np.floor(middle), middle)
        middle[rows, self.channel] = cut
        return self, middle

    def both(self):
        """Return the lower and the upper half of every box that was cut."""
        rows = np.arange(len(self))
        high, low = self.high.copy(), self.low.copy()
        high[rows, self.channel] = self.cut
        low[rows, self.channel] = self.cut
        return _Boxes(
            np.concatenate([self.image, self.image]),
            np.concatenate([self.pixel, self.pixel]),
            np.concatenate([self.low, low]),
            np.concatenate([high, self.high]),
        )
