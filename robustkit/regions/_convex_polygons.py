"""Convex polygons, cut along the zeros of affine functions.

The compiled functions get polygons as their corners, one after the other, and where
each of them ends. They return polygons in that form, and of which each is a part.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numba import njit
from numpy.typing import NDArray

__all__ = ["NARROWEST", "NOISE", "Polygons"]

# Narrower polygons are not told from rounding errors: of the longer side of a rectangle
# that they divide.
NARROWEST = 1e-9

# So is a value that is smaller than this share of the largest one of its layer.
NOISE = 1e-13


@dataclass
class Polygons:
    """Convex polygons, counterclockwise."""

    vertices: NDArray
    offsets: NDArray
    narrowest: float = field(default=NARROWEST)

    def __len__(self):
        return len(self.offsets) - 1

    def __getitem__(self, part):
        offsets = self.offsets[part.start : part.stop + 1]
        vertices = self.vertices[offsets[0] : offsets[-1]]
        return Polygons(vertices, offsets - offsets[0], self.narrowest)

    def inside(self):
        sizes = np.diff(self.offsets)
        sums = np.add.reduceat(self.vertices, self.offsets[:-1], axis=0)
        return sums / sizes[:, np.newaxis]

    def cut(self, values):
        """Cut every polygon where one of its functions changes its sign."""
        return self._made(
            _cut_polygons(self.vertices, self.offsets, values, self.narrowest)
        )

    def cut_by_winner(self, values):
        """Cut it where another function of one of its groups becomes the largest."""
        return self._made(
            _divide_polygons(self.vertices, self.offsets, values, self.narrowest)
        )

    def _made(self, result):
        vertices, offsets, parent = result
        return Polygons(vertices, offsets, self.narrowest), parent


@njit(cache=True)
def _cut_polygons(vertices, offsets, values, narrowest):
    """Cut every polygon along the zeros of its functions, one after the other."""
    found = _empty(len(vertices), len(offsets))
    for i in range(len(offsets) - 1):
        whole = vertices[offsets[i] : offsets[i + 1]]
        own, bounds = whole, np.array([0, len(whole)])
        noise = NOISE * _largest(whole, values[i])
        for j in range(values.shape[2]):
            c, a, b = values[i, 0, j], values[i, 1, j], values[i, 2, j]
            near = max(noise, narrowest * np.sqrt(a * a + b * b))
            low, high = _range(whole, c, a, b)
            if low < -near and high > near:
                own, bounds = _cut_all(own, bounds, c, a, b, near)
        found = _append(found, own, bounds, i)
    return _finished(found)


@njit(cache=True)
def _divide_polygons(vertices, offsets, values, narrowest):
    """Cut every polygon where the largest function changes, group after group."""
    found = _empty(len(vertices), len(offsets))
    for i in range(len(offsets) - 1):
        whole = vertices[offsets[i] : offsets[i + 1]]
        own, bounds = whole, np.array([0, len(whole)])
        for g in range(values.shape[2]):
            group = values[i, :, g]
            noise = NOISE * _largest(whole, group)
            if not _has_winner(whole, group, noise, narrowest):
                own, bounds = _divide_all(own, bounds, group, noise, narrowest)
        found = _append(found, own, bounds, i)
    return _finished(found)


@njit(cache=True)
def _empty(n_vertices, n_polygons):
    """Make room for polygons: corners, ends and parents, and how many there are."""
    out = np.empty((2 * n_vertices + 16, 2))
    ends = np.empty(2 * n_polygons + 16, dtype=np.int64)
    parents = np.empty(2 * n_polygons + 16, dtype=np.int64)
    return out, ends, parents, 0, 0


@njit(cache=True)
def _append(found, own, bounds, parent):
    """Add polygons that came of one, in more room if they need it."""
    out, ends, parents, n_out, n_ends = found
    n_more, n_own = n_out + len(own), n_ends + len(bounds) - 1
    if n_more > len(out):
        grown = np.empty((2 * n_more, 2))
        _copy(out[:n_out], grown, 0)
        out = grown
    if n_own > len(ends):
        more_ends = np.empty(2 * n_own, dtype=np.int64)
        more_parents = np.empty(2 * n_own, dtype=np.int64)
        for i in range(n_ends):
            more_ends[i], more_parents[i] = ends[i], parents[i]
        ends, parents = more_ends, more_parents
    _copy(own, out, n_out)
    for i in range(n_ends, n_own):
        ends[i], parents[i] = bounds[i - n_ends + 1] + n_out, parent
    return out, ends, parents, n_more, n_own


@njit(cache=True)
def _finished(found):
    """Return the corners, the offsets and the parents that were added."""
    out, ends, parents, n_out, n_ends = found
    offsets = np.zeros(n_ends + 1, dtype=np.int64)
    for i in range(n_ends):
        offsets[i + 1] = ends[i]
    return out[:n_out], offsets, parents[:n_ends]


@njit(cache=True)
def _copy(polygon, out, n_out):
    """Write the corners of a polygon; return the new end."""
    for k in range(len(polygon)):
        out[n_out + k, 0], out[n_out + k, 1] = polygon[k, 0], polygon[k, 1]
    return n_out + len(polygon)


@njit(cache=True)
def _range(polygon, c, a, b):
    low, high = np.inf, -np.inf
    for k in range(len(polygon)):
        value = c + a * polygon[k, 0] + b * polygon[k, 1]
        low, high = min(low, value), max(high, value)
    return low, high


@njit(cache=True)
def _largest(polygon, functions):
    """Find the largest absolute value of some functions on a polygon."""
    largest = 0.0
    for j in range(functions.shape[1]):
        low, high = _range(polygon, functions[0, j], functions[1, j], functions[2, j])
        largest = max(largest, -low, high)
    return largest


@njit(cache=True)
def _cut_all(own, bounds, c, a, b, near):
    """Cut all polygons along one line; both sides are kept."""
    n = len(bounds) - 1
    # Two polygons of one have two corners each that it had not.
    out = np.empty((len(own) + 4 * n, 2))
    ends = np.zeros(2 * n + 1, dtype=np.int64)
    n_out = n_ends = 0
    for i in range(n):
        polygon = own[bounds[i] : bounds[i + 1]]
        low, high = _range(polygon, c, a, b)
        n_sides = 2 if low < -near and high > near else 1
        for side in range(n_sides):
            if n_sides == 1:
                n_out = _copy(polygon, out, n_out)
            else:
                sign = 1 - 2 * side
                n_out = _side(polygon, sign * c, sign * a, sign * b, near, out, n_out)
            n_ends += 1
            ends[n_ends] = n_out
    return out[:n_out], ends[: n_ends + 1]


@njit(cache=True)
def _side(polygon, c, a, b, near, out, n_out):
    """Write the side of a line on which a function is positive; return the new end.

    Corners that lie on the line, up to rounding, belong to both sides.
    """
    n = len(polygon)
    for k in range(n):
        here, there = polygon[k], polygon[(k + 1) % n]
        value = c + a * here[0] + b * here[1]
        following = c + a * there[0] + b * there[1]
        if value >= -near:
            out[n_out, 0], out[n_out, 1] = here[0], here[1]
            n_out += 1
        if min(value, following) < -near and max(value, following) > near:
            share = value / (value - following)
            out[n_out, 0] = here[0] + (there[0] - here[0]) * share
            out[n_out, 1] = here[1] + (there[1] - here[1]) * share
            n_out += 1
    return n_out


@njit(cache=True)
def _lead(functions, k, j, noise, narrowest):
    """How far one function is above another, and what counts as nothing."""
    c = functions[0, k] - functions[0, j]
    a = functions[1, k] - functions[1, j]
    b = functions[2, k] - functions[2, j]
    return c, a, b, max(noise, narrowest * np.sqrt(a * a + b * b))


@njit(cache=True)
def _has_winner(polygon, functions, noise, narrowest):
    """Whether one function is the largest at every corner, and so everywhere."""
    n = functions.shape[1]
    for k in range(n):
        wins = True
        for j in range(n):
            c, a, b, near = _lead(functions, k, j, noise, narrowest)
            if _range(polygon, c, a, b)[0] < -near:
                wins = False
                break
        if wins:
            return True
    return False


@njit(cache=True)
def _divide_all(own, bounds, functions, noise, narrowest):
    """Cut all polygons by which function is the largest; of equals, the first."""
    n, size = len(bounds) - 1, functions.shape[1]
    found = _empty(len(own), n)
    for i in range(n):
        polygon = own[bounds[i] : bounds[i + 1]]
        before = found[4]
        if not _has_winner(polygon, functions, noise, narrowest):
            for k in range(size):
                part = polygon
                for j in range(size):
                    c, a, b, near = _lead(functions, k, j, noise, narrowest)
                    low, high = _range(part, c, a, b)
                    if high <= near and (low < -near or j < k):
                        part = part[:0]
                        break
                    if low < -near:
                        room = np.empty((len(part) + 2, 2))
                        part = room[: _side(part, c, a, b, near, room, 0)]
                if len(part):
                    found = _append(found, part, np.array([0, len(part)]), i)
        if found[4] == before:
            found = _append(found, polygon, np.array([0, len(polygon)]), i)
    out, offsets, _ = _finished(found)
    return out, offsets
