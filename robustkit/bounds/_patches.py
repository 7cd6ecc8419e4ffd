"""Which parts of the layers of a network rows of coefficients are about, and where.

A unit of a convolutional network depends on a patch of every earlier layer, not on all
of it. Only the coefficients of patches are carried backward: of a network of six
convolutions that is a small part of the work. A layer that is no image has one pixel
with as many channels as units, so that a patch is all of it.

The coefficients of a layer are in the order height, width, channels: those of a pixel
are computed together. Those of the input are in the order of its features.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from numba import njit
from numpy.typing import NDArray

__all__ = ["Patch", "Places", "add_groups", "add_tile"]


@dataclass
class Patch:
    """Which part of the images of a layer the coefficients of every row are of."""

    images: tuple[int, int, int]
    """Channels, height and width of the layer."""

    height: int
    width: int

    top: NDArray
    """First line of every row. Outside of the images there is nothing."""

    left: NDArray

    @classmethod
    def whole(cls, images: tuple[int, int, int], n_rows: int) -> Patch:
        """Take all of the images."""
        zero = np.zeros(n_rows, dtype=np.int64)
        return cls(images, images[1], images[2], zero, zero)

    @property
    def size(self) -> int:
        """How many coefficients there are."""
        return self.images[0] * self.height * self.width

    def __post_init__(self) -> None:
        # What compiled functions want to know.
        shape = *self.images, self.height, self.width
        self.where = shape, self.top, self.left

    def part(self, rows: slice) -> Patch:
        """Keep some rows."""
        top, left = self.top[rows], self.left[rows]
        return Patch(self.images, self.height, self.width, top, left)

    def united(self, other: Patch | None) -> Patch:
        """Return a patch that holds both, and no more than the images."""
        other = other or self
        top, height = _cover(
            (self.top, self.height), (other.top, other.height), self.images[1]
        )
        left, width = _cover(
            (self.left, self.width), (other.left, other.width), self.images[2]
        )
        return Patch(self.images, height, width, top, left)


def _cover(one, other, length):
    """Find the first line, and the number of lines, that hold both."""
    (start, n), (start_, n_) = one, other
    first = np.minimum(start, start_)
    n_lines = int((np.maximum(start + n, start_ + n_) - first).max(initial=1))
    if n_lines < length:
        return first, n_lines
    return np.zeros_like(first), length


class Places:
    """Where rows of coefficients keep those of each layer, and of which patches.

    Parameters
    ----------
    network : ReluNetwork
        The network.

    n_layers : int
        How many of its layers coefficients are carried through.

    n_rows : int
        Number of rows.

    units : ndarray of shape (n_rows,) or None
        Which units of the next layer rows begin at. None: everything is needed.
    """

    def __init__(self, network, n_layers: int, n_rows: int, units: NDArray | None):
        self.layers, self.n_layers = network.layers, n_layers
        self.input = Patch.whole(network.images, n_rows)
        # What a matrix computes is carried through it as a whole.
        self.patches: list[Patch | None] = [
            Patch.whole(layer.images, n_rows)
            if units is None or layer.order is None or not layer.is_local
            else None
            for layer in network.layers[:n_layers]
        ]
        if units is not None:
            self._follow(units)
        # Of units that are no images, neighbours are neighbours here.
        stops = np.cumsum([0] + [0 if p is None else p.size for p in self.patches])
        starts = stops.tolist()
        self.columns = [slice(*ends) for ends in pairwise(starts)]
        self.width = starts[-1]
        self._sources = {
            (p, q): self._find(p, q)
            for layer in network.layers[: n_layers + 1]
            for p, q, _ in layer.sources
            if p < (network.layers[n_layers - 1].stop if n_layers else 0)
        }

    def _follow(self, units):
        """Find the patches that single units depend on."""
        for number in reversed(range(self.n_layers + 1)):
            layer, patch = self.layers[number], None
            if number < self.n_layers:
                patch = self.patches[number]
                if patch is None:
                    continue
            for chart, read in self._read_by(layer):
                seen = Patch.whole(self._images(read), len(units))
                if chart.is_local:
                    seen = chart.reach(chart.at(units) if patch is None else patch)
                if read is None:
                    self.input = seen.united(None)
                else:
                    self.patches[read] = seen.united(self.patches[read])

    def _read_by(self, layer):
        """Yield the maps that lead to a layer, and the numbers of what they read."""
        if layer.inputs is not None:
            yield layer.inputs, None
        for p, q, chart in layer.sources:
            for number, other in enumerate(self.layers):
                if p < other.stop and other.start < q:
                    yield chart, number

    def _images(self, number):
        return self.input.images if number is None else self.layers[number].images

    def _find(self, p, q):
        """Return the number of a layer, and the columns of some of its units.

        Of images all columns; units that are no images may be of several layers.
        """
        number = next(i for i, layer in enumerate(self.layers) if p < layer.stop)
        if self.layers[number].order is not None:
            return number, self.columns[number]
        begin = self.columns[number].start + p - self.layers[number].start
        return number, slice(begin, begin + q - p)

    def part(self, rows: slice) -> Places:
        """Keep some rows."""
        part = object.__new__(Places)
        part.__dict__.update(self.__dict__)
        part.input = self.input.part(rows)
        part.patches = [patch and patch.part(rows) for patch in self.patches]
        return part

    def by_unit(self, A: NDArray, p: int, q: int) -> NDArray:
        """Return the coefficients of a range of units, all of which are there."""
        number, columns = self._sources[p, q]
        return np.ascontiguousarray(self.layers[number].by_unit(A[:, columns]))

    def pull(self, chart, a, patch, out, where) -> None:
        """Add what coefficients of a patch of results are for the arguments.

        `where` are the units that are read; None is the input, whose coefficients are
        written over.
        """
        if chart.is_local:
            self._write(chart.pull, (a.numpy(), patch), out, where)
        elif where is None:
            chart.pull(a, out, keep=False)
        else:
            chart.pull(a, out[:, self._sources[where][1]])

    def write_rows(self, chart, units, sign, out, where) -> None:
        """Write coefficients of some results, times a sign."""
        if chart.is_local:
            self._write(chart.rows, (units, sign), out, where)
        else:
            target = out if where is None else out[:, self._sources[where][1]]
            rows = chart.rows(torch.from_numpy(units), target.dtype)
            target.add_(rows, alpha=sign)

    def _write(self, write, given, out, where):
        if where is not None:
            number, columns = self._sources[where]
            write(*given, (out.numpy(), columns.start), self.patches[number])
            return
        # The features are in another order.
        patch = self.input
        channels, n_pixels = patch.images[0], patch.height * patch.width
        found = np.zeros((len(out), n_pixels * channels), dtype=out.numpy().dtype)
        write(*given, (found, 0), patch)
        found = torch.from_numpy(found).view(len(out), n_pixels, channels)
        out.view(len(out), channels, n_pixels).copy_(found.transpose(1, 2))


@njit(cache=True)
def add_tile(tile, first, how, out, base):
    """Add up what some pixels of all rows, from the first one on, are worth.

    A row of the tile has what one pixel is worth to each pixel of its kernel.
    """
    (n_high, n_wide, height, width), stride, kernel, shift = how
    n_lines, n_columns, spread, apart, _n_groups = kernel
    channels = tile.shape[1] // (n_lines * n_columns)
    for k in range(len(tile)):
        row, pixel = divmod(first + k, n_high * n_wide)
        y0 = pixel // n_wide * stride[0] + shift[0][row]
        x0 = pixel % n_wide * stride[1] + shift[1][row]
        for i in range(n_lines):
            y = y0 + i * spread
            if y < 0 or y >= height:
                continue
            for j in range(n_columns):
                x = x0 + j * apart
                if x < 0 or x >= width:
                    continue
                begin = (i * n_columns + j) * channels
                source = tile[k, begin : begin + channels]
                begin = base + (y * width + x) * channels
                target = out[row, begin : begin + channels]
                for c in range(channels):
                    target[c] += source[c]


@njit(cache=True)
def add_groups(a, weight, how, out, base):
    """Add what all pixels are worth where channels are convolved in groups."""
    (n_high, n_wide, height, width), stride, kernel, shift = how
    n_lines, n_columns, spread, apart, n_groups = kernel
    n_out, n_in = weight.shape[:2]
    channels, n_own = n_in * n_groups, n_out // n_groups
    for i in range(n_lines):
        for j in range(n_columns):
            taps = weight[:, :, i, j].copy()
            if not taps.any():
                continue
            for row in range(len(a)):
                for pixel in range(n_high * n_wide):
                    y = pixel // n_wide * stride[0] + i * spread + shift[0][row]
                    x = pixel % n_wide * stride[1] + j * apart + shift[1][row]
                    if y < 0 or y >= height or x < 0 or x >= width:
                        continue
                    source = a[row, pixel * n_out : (pixel + 1) * n_out]
                    begin = base + (y * width + x) * channels
                    target = out[row, begin : begin + channels]
                    for o in range(n_out):
                        for q in range(n_in):
                            target[o // n_own * n_in + q] += source[o] * taps[o, q]
