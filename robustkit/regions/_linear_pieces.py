"""Where the regions of a network lie, exactly: along segments, and in planes.

On a segment or a plane every unit is an affine function of one or two coordinates as
long as no earlier unit changes its sign. So the layers are gone through one after the
other: each cuts the pieces that the earlier ones have left, at the zeros of its units,
and sets to zero what is not active in the piece. All is computed in double precision.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import torch
from numba import njit
from numpy.typing import ArrayLike, NDArray
from sklearn.utils import Bunch, check_array

from robustkit._samples import flat_samples
from robustkit.bounds import ReluNetwork
from robustkit.bridge import (
    check_feature_names,
    check_is_trained,
    input_shape,
    module_on,
    takes_images,
)
from robustkit.regions._convex_polygons import NARROWEST, NOISE, Polygons

__all__ = ["regions_along", "regions_in_plane", "regions_to", "wall_distances"]

# Narrower intervals are not told from rounding errors: of the length of a segment.
_NARROWEST = 1e-12

# Numbers held of one layer at a time: 64 MiB.
_AT_ONCE = 2**23


def regions_along(
    model: Any, a: ArrayLike, b: ArrayLike, *, max_regions: int = 1_000_000
) -> Bunch:
    """Find every region that the segments from `a` to `b` cross, exactly.

    A region is a set of inputs with the same active units, of all layers, and the same
    largest pixel in every window of a max-pooling. On a segment it is an interval, and
    the logits are affine there.

    Read more in the :ref:`User Guide <guide_regions_exact>`.

    Parameters
    ----------
    model : estimator or torch.nn.Module
        A fitted classifier, also in a pipeline after scalers, a trained module or a
        skorch net: linear layers, convolutions, ReLU and max-pooling of two by two, or
        a sparse network.

    a : array-like of shape (n_features,) or (n_segments, n_features), or images
        Where the segments begin. Images have the shape (n_segments, ...).

    b : array-like of the same shape
        Where they end.

    max_regions : int, default=1000000
        More are refused, since all of them are held in memory.

    Returns
    -------
    regions : Bunch
        One entry per region in each of these arrays, in the order of the segments and
        from `a` to `b`:

        - `segment`: number of the segment;
        - `start` and `stop`: the region is ``a + t (b - a)`` for ``start <= t <=
          stop``, from 0 to 1;
        - `intercept` and `slope` of shape (n_regions, n_classes): the logits there are
          ``intercept + t * slope``.

    See Also
    --------
    regions_in_plane : The same for a part of a plane.
    PopulatedRegionScorer : Counts the regions of samples.

    Notes
    -----
    Regions narrower than 1e-12 of the segment may be missing, for they cannot be told
    from rounding errors.

    Examples
    --------
    >>> import torch
    >>> from robustkit.regions import regions_along
    >>> linear = torch.nn.utils.skip_init(torch.nn.Linear, 1, 2)
    >>> module = torch.nn.Sequential(linear, torch.nn.ReLU())
    >>> with torch.no_grad():
    ...     _ = linear.weight.copy_(torch.tensor([[4.0], [-2.0]]))
    ...     _ = linear.bias.copy_(torch.tensor([-1.0, 1.0]))
    >>> regions = regions_along(module, [0.0], [1.0])
    >>> regions.start.tolist(), regions.stop.tolist()
    ([0.0, 0.25, 0.5], [0.25, 0.5, 1.0])
    >>> regions.slope.tolist()
    [[0.0, -2.0], [4.0, -2.0], [4.0, 0.0]]
    """
    _check_max_regions(max_regions)
    starts, image_shape = _rows(a, "a", model)
    ends, other_shape = _rows(b, "b", model)
    if starts.shape != ends.shape or image_shape != other_shape:
        raise ValueError(
            "'a' and 'b' must have one shape. Got "
            f"{np.shape(a)} and {np.shape(b)} instead."
        )
    directions = ends - starts
    is_point = ~directions.any(axis=1)
    if is_point.any():
        raise ValueError(
            f"A segment must have a length. 'a' and 'b' are equal in row "
            f"{int(is_point.argmax())}."
        )
    network = _network(model, starts, image_shape)
    n = len(starts)
    cells = _Intervals(np.arange(n), np.zeros(n), np.ones(n))
    found = list(
        _pieces(network, cells, np.stack([starts, directions], 1), max_regions)
    )
    logits = np.concatenate([values for _, values in found])
    names = ("segment", "start", "stop")
    return Bunch(
        **{n: np.concatenate([getattr(cells, n) for cells, _ in found]) for n in names},
        intercept=np.ascontiguousarray(logits[:, 0]),
        slope=np.ascontiguousarray(logits[:, 1]),
    )


def regions_in_plane(
    model: Any,
    origin: ArrayLike,
    u: ArrayLike,
    v: ArrayLike,
    *,
    extent: tuple[float, float, float, float] = (-1, 1, -1, 1),
    max_regions: int = 1_000_000,
) -> Bunch:
    """Find every region in a rectangle of a plane, exactly, as polygons.

    The plane is ``origin + s u + t v``. A region, as of :func:`regions_along`, is a
    convex polygon there; where the model predicts more than one class in it, it is cut
    into one polygon for each.

    Read more in the :ref:`User Guide <guide_regions_exact>`.

    Parameters
    ----------
    model : estimator or torch.nn.Module
        As in :func:`regions_along`.

    origin : array-like of shape (n_features,), or an image
        A point of the plane.

    u : array-like of the same shape
        First direction.

    v : array-like of the same shape
        Second direction, not parallel to `u`. They need not be orthogonal.

    extent : tuple of four floats, default=(-1, 1, -1, 1)
        Least and largest `s`, least and largest `t`.

    max_regions : int, default=1000000
        More polygons are refused, since all of them are held in memory.

    Returns
    -------
    regions : Bunch
        - `vertices` of shape (n_vertices, 2): the corners (s, t) of all polygons, one
          after the other, counterclockwise;
        - `offsets` of shape (n_polygons + 1,): polygon ``i`` has the corners
          ``vertices[offsets[i] : offsets[i + 1]]``;
        - `region` of shape (n_polygons,): number of the region that it belongs to;
        - `prediction` of shape (n_polygons,): the class that is predicted there;
        - `intercept` of shape (n_polygons, n_classes) and `slope` of shape (n_polygons,
          2, n_classes): the logits are ``intercept + s * slope[:, 0] + t * slope[:,
          1]``.

    See Also
    --------
    robustkit.plotting.RegionPlaneDisplay : Draws them.
    regions_along : The same for segments.

    Notes
    -----
    Regions narrower than 1e-9 of the rectangle may be missing, for they cannot be told
    from rounding errors.

    Examples
    --------
    >>> import torch
    >>> from robustkit.regions import regions_in_plane
    >>> linear = torch.nn.utils.skip_init(torch.nn.Linear, 2, 2)
    >>> module = torch.nn.Sequential(linear, torch.nn.ReLU())
    >>> with torch.no_grad():
    ...     _ = linear.weight.copy_(torch.eye(2))
    ...     _ = linear.bias.zero_()
    >>> regions = regions_in_plane(module, [0.0, 0.0], [1.0, 0.0], [0.0, 1.0])
    >>> len(set(regions.region)), len(regions.prediction)
    (4, 5)
    """
    _check_max_regions(max_regions)
    points = [np.asarray(x) for x in (origin, u, v)]
    if len({x.shape for x in points}) > 1:
        shapes = ", ".join(str(x.shape) for x in points)
        raise ValueError(
            f"'origin', 'u' and 'v' must have one shape. Got {shapes} instead."
        )
    names = ("origin", "u", "v")
    rows = [_rows(x[np.newaxis], n, model) for x, n in zip(points, names, strict=True)]
    plane = np.concatenate([row for row, _ in rows])
    _check_plane(plane[1], plane[2])
    left, right, bottom, top = _check_extent(extent)
    network = _network(model, plane[:1], rows[0][1])
    corners = [[left, bottom], [right, bottom], [right, top], [left, top]]
    cells = Polygons(np.array(corners, dtype=float), np.array([0, 4]))
    cells.narrowest = NARROWEST * max(right - left, top - bottom)
    found, region, n_regions = [], [], 0
    for cells_, logits in _pieces(network, cells, plane[np.newaxis], max_regions):
        cut, parent = cells_.cut_by_winner(logits[:, :, np.newaxis])
        found.append((cut, logits[parent]))
        region.append(n_regions + parent)
        n_regions += len(cells_)
        _check_number(sum(len(part) for part, _ in found), max_regions)
    every = np.concatenate([values for _, values in found])
    at = np.concatenate([_at(cut.inside(), values) for cut, values in found])
    classes = getattr(model, "classes_", np.arange(every.shape[2]))
    sizes = np.concatenate([np.diff(cut.offsets) for cut, _ in found])
    return Bunch(
        vertices=np.concatenate([cut.vertices for cut, _ in found]),
        offsets=np.concatenate([[0], np.cumsum(sizes)]),
        region=np.concatenate(region),
        prediction=np.asarray(classes)[at.argmax(axis=1)],
        intercept=np.ascontiguousarray(every[:, 0]),
        slope=np.ascontiguousarray(every[:, 1:]),
    )


def wall_distances(
    model: Any, X: ArrayLike, X_adv: ArrayLike | None = None
) -> pd.DataFrame:
    r"""Measure how far every sample is from the nearest wall of its region.

    No smaller perturbation changes a unit's sign, or the largest pixel of a window:
    within that distance the model is one affine map.

    Read more in the :ref:`User Guide <guide_regions_exact>`.

    Parameters
    ----------
    model : estimator or torch.nn.Module
        As in :func:`regions_along`.

    X : array-like of shape (n_samples, n_features) or images
        Samples.

    X_adv : array-like of the same shape, default=None
        A point of interest for every sample, such as the nearest adversarial example.

    Returns
    -------
    table : DataFrame
        One row per sample: `linf` and `l2`, the distance of the nearest wall in either
        norm, infinite if there is none. With `X_adv`, also `n_regions`, how many
        regions the segment to that point crosses; 1 if the point lies in the region of
        the sample, or is the sample itself.

    See Also
    --------
    regions_along : The regions between two points.
    robustkit.attacks.MinimalDistanceAttack : Finds the nearest adversarial examples.

    Notes
    -----
    The nearest of all hyperplanes on which a unit would change its sign is a wall: the
    ball that reaches it crosses no other. So the distance is the least of :math:`|z| /
    \|\nabla z\|_*` over all units, with the dual norm of the gradient.

    The gradients of all units take as many passes through the network as there are
    features: some ten milliseconds a sample for a perceptron on images of 28 by 28
    pixels, but about a minute, and 2.5 GB, for ``cnn6``.

    Examples
    --------
    >>> import torch
    >>> from robustkit.regions import wall_distances
    >>> linear = torch.nn.utils.skip_init(torch.nn.Linear, 2, 1)
    >>> module = torch.nn.Sequential(linear, torch.nn.ReLU())
    >>> with torch.no_grad():
    ...     _ = linear.weight.copy_(torch.tensor([[3.0, 4.0]]))
    ...     _ = linear.bias.fill_(-5.0)
    >>> wall_distances(module, [[1.0, 4.0]]).round(3)
       linf   l2
    0   2.0  2.8
    """
    rows, image_shape = _rows(X, "X", model)
    network = _network(model, rows, image_shape)
    n, n_features = rows.shape
    cells = _Points(rows, *np.full((2, n), np.inf))
    # The same for all samples: 0, and a slope of 1 along each feature.
    inputs = np.concatenate([np.zeros((1, n_features)), np.eye(n_features)])
    for _ in _pieces(network, cells, inputs[np.newaxis], n):
        pass
    # A list has an "index", too.
    index = X.index if isinstance(X, pd.DataFrame) else None
    table = pd.DataFrame({"linf": cells.linf, "l2": cells.l2}, index=index)
    if X_adv is None:
        return table
    others, other_shape = _rows(X_adv, "X_adv", model)
    if others.shape != rows.shape or other_shape != image_shape:
        raise ValueError(
            "'X_adv' must have the shape of 'X'. Got "
            f"{np.shape(X_adv)} and {np.shape(X)} instead."
        )
    shape = (-1, *(image_shape or rows.shape[1:]))
    table["n_regions"] = regions_to(model, rows.reshape(shape), others.reshape(shape))
    return table


def regions_to(model: Any, X: NDArray, X_adv: NDArray) -> NDArray:
    """Count the regions on the way from every sample to another; 1 for itself."""
    n_regions = np.ones(len(X), dtype=np.int64)
    moved = np.flatnonzero((X_adv != X).reshape(len(X), -1).any(axis=1))
    if len(moved):
        found = regions_along(model, X[moved], X_adv[moved])
        n_regions[moved] = np.bincount(found.segment, minlength=len(moved))
    return n_regions


def describe_walls(
    model: Any, X: NDArray, X_adv: NDArray | None = None, turned: Any = None
) -> dict[str, float]:
    """Summarize how far samples are from walls, and where their nearest errors lie.

    The medians `wall_linf` and `wall_l2`; with `X_adv`, over the samples that `turned`
    names, the median `regions_to_error` and the share `error_in_own_region`, NaN where
    there are none.
    """
    table = wall_distances(model, X)
    entries = {f"wall_{norm}": float(table[norm].median()) for norm in table.columns}
    if X_adv is None:
        return entries
    places = np.flatnonzero(turned)
    crossed = np.array([np.nan])
    is_own = np.nan
    if len(places):
        crossed = regions_to(model, X[places], X_adv[places])
        is_own = float(np.mean(crossed == 1))
    return {
        **entries,
        "regions_to_error": float(np.median(crossed)),
        "error_in_own_region": is_own,
    }


def _check_max_regions(max_regions):
    if not (isinstance(max_regions, int | np.integer) and max_regions >= 1):
        raise ValueError(
            "The 'max_regions' parameter must be an int of at least 1. Got "
            f"{max_regions!r} instead."
        )


def _check_number(n_found, max_regions):
    if n_found > max_regions:
        raise ValueError(
            f"There are more than max_regions={max_regions:,} regions. Raise it, or "
            "look at a smaller part."
        )


def _check_plane(u, v):
    lengths = np.linalg.norm(u), np.linalg.norm(v)
    for name, length in zip("uv", lengths, strict=True):
        if length == 0:
            raise ValueError(f"{name!r} must not be zero: it is a direction.")
    u, v = u / lengths[0], v / lengths[1]
    if np.linalg.norm(v - (u @ v) * u) < 1e-9:
        raise ValueError(
            "'u' and 'v' must span a plane. Got parallel directions instead."
        )


def _check_extent(extent):
    try:
        left, right, bottom, top = map(float, extent)
    except (TypeError, ValueError):
        left = right = bottom = top = 0.0
    if not (np.isfinite([left, right, bottom, top]).all()):
        left = right
    if not (left < right and bottom < top):
        raise ValueError(
            "The 'extent' parameter must be (left, right, bottom, top) with left < "
            f"right and bottom < top. Got {extent!r} instead."
        )
    return left, right, bottom, top


def _rows(X, name, model):
    """Turn one sample, rows or images into rows of double precision."""
    if np.ndim(X) == 1:
        X = np.asarray(X)[np.newaxis]
    given, image_shape = flat_samples(X)
    check_feature_names(model, given)
    rows = check_array(given, dtype=np.float64, input_name=name)
    return rows, image_shape


def _network(model, rows, image_shape):
    check_is_trained(model)
    cpu = torch.device("cpu")
    module = module_on(model, rows, cpu)
    shape = input_shape(module, rows, image_shape, wants_images=takes_images(model))
    if shape is not None:
        module = module_on(model, rows, cpu, shape)
    return ReluNetwork(module, rows.shape[1], "Exact regions are known")


def _pieces(
    network: ReluNetwork, cells: _Cells, inputs: NDArray, max_regions: int
) -> Iterator[tuple[_Cells, NDArray]]:
    """Cut cells at every layer; yield the pieces, with their logits.

    The inputs are affine functions on the cells, and so are the logits: of shape
    (n_cells, 1 + n_coordinates, n_outputs), first the values at the coordinate 0, then
    a slope along each. A layer is carried on for some pieces at a time, so that what is
    held does not grow with the number of pieces.
    """
    for center, scale, offset, *_ in network.scalings:
        inputs = inputs.copy()
        inputs[:, 0] -= center
        inputs *= scale
        inputs[:, 0] += offset
    readers = _last_readers(network)
    # The next layer, the pieces, and what layers computed there.
    waiting = [(0, cells, {-1: inputs})]
    n_done = 0
    while waiting:
        index, cells, held = waiting.pop()
        layer = network.layers[index]
        if layer.windows is not None:
            values = _in_windows(network, held, layer.windows)
            cells, parent = cells.cut_by_winner(values)
            # Two layers on is the result, which may have a rectifier of its own.
            index = done = index + 2
        else:
            values = held.pop(index) if index in held else _affine(network, layer, held)
            parent = _own_rows(cells, values)
            if layer.rectified:
                cells, parent = cells.cut(values)
            done = index + 1
        n_waiting = sum(len(other[1]) for other in waiting)
        _check_number(n_done + n_waiting + len(cells), max_regions)
        if done == len(network.layers):
            n_done += len(cells)
            yield cells, values
            continue
        held = {i: v for i, v in held.items() if readers[i] > index}
        width = network.layers[index].bias.size + network.layers[done].bias.size
        width += sum(v.shape[2] for v in held.values())
        step = max(1, _AT_ONCE // (width * values.shape[1]))
        parts = []
        for start in range(0, len(cells), step):
            part = slice(start, min(len(cells), start + step))
            rows, own = parent[part], cells[part]
            there = {i: v[rows] for i, v in held.items()}
            there[index] = _passed_on(layer, values, rows, own.inside())
            parts.append((done, own, there))
        waiting += parts[::-1]


def _own_rows(cells, values):
    """Which functions are those of a cell: its own, or the only ones there are."""
    n = len(cells)
    return np.arange(n) if len(values) == n else np.zeros(n, dtype=np.int64)


def _last_readers(network):
    """For every layer, and -1 for the input, the last layer that reads it."""
    last = {-1: 0, **{i: i + 1 for i in range(len(network.layers))}}
    for reader, layer in enumerate(network.layers):
        for low, high, _ in layer.sources:
            for i, read in enumerate(network.layers):
                if low < read.stop and read.start < high:
                    last[i] = max(last[i], reader)
    return last


def _affine(network, layer, held):
    """Pass affine functions through a layer, up to its rectifier."""
    total = 0.0
    inputs = [] if layer.inputs is None else [(held[-1], layer.inputs)]
    sources = ((_units(network, held, p, q), chart) for p, q, chart in layer.sources)
    for values, chart in (*inputs, *sources):
        flat = torch.from_numpy(np.ascontiguousarray(values)).flatten(0, 1)
        total = total + chart.forward(flat).numpy().reshape(*values.shape[:2], -1)
    total[:, 0] += layer.bias
    return total


def _units(network, held, low, high):
    """Gather a range of units from the layers that hold them."""
    parts = []
    for i, layer in enumerate(network.layers):
        if i in held and low < layer.stop and layer.start < high:
            first = layer.start
            parts.append(held[i][:, :, max(low - first, 0) : high - first])
    return parts[0] if len(parts) == 1 else np.concatenate(parts, axis=2)


def _in_windows(network, held, windows):
    """Gather the units of every window of a max-pooling."""
    first = windows.min()
    return _units(network, held, first, windows.max() + 1)[:, :, windows - first]


def _passed_on(layer, values, rows, points):
    """Take the winners, or what is active, or everything, of the rows of the pieces.

    Signs do not change in a piece: they are read at a point inside it.
    """
    if layer.windows is not None:
        values = values[rows]
        best = _at(points, values).argmax(axis=2)
        return np.take_along_axis(values, best[:, np.newaxis, :, np.newaxis], 3)[..., 0]
    if layer.rectified:
        return _rectified(values, rows, points)
    return values[rows]


def _at(points, values):
    """Evaluate the affine functions of every cell at a point of it."""
    found = values[:, 0].copy()
    for axis in range(points.shape[1]):
        factor = points[:, axis].reshape(-1, *[1] * (values.ndim - 2))
        found += factor * values[:, 1 + axis]
    return found


@dataclass
class _Intervals:
    """Parts of segments, in order."""

    segment: NDArray
    start: NDArray
    stop: NDArray

    def __len__(self):
        return len(self.segment)

    def __getitem__(self, part):
        return _Intervals(self.segment[part], self.start[part], self.stop[part])

    def inside(self):
        return ((self.start + self.stop) / 2)[:, np.newaxis]

    def cut(self, values):
        """Cut every interval where one of its functions changes its sign."""
        return self._cut_at(*_zeros(values, self.start, self.stop))

    def cut_by_winner(self, values):
        """Cut it where another function of one of its groups becomes the largest."""
        return self._cut_at(*_changes(values, self.start, self.stop))

    def _cut_at(self, cuts, parent):
        order = np.lexsort((cuts, parent))
        cuts, parent = cuts[order], parent[order]
        # From the one before, or the beginning, and from the end.
        gaps = np.diff(cuts, prepend=0.0)
        is_first = np.diff(parent, prepend=-1) > 0
        gaps[is_first] = (cuts - self.start[parent])[is_first]
        gaps = np.minimum(gaps, self.stop[parent] - cuts)
        cuts, parent = cuts[gaps > _NARROWEST], parent[gaps > _NARROWEST]
        n_parts = 1 + np.bincount(parent, minlength=len(self))
        parent = np.repeat(np.arange(len(self)), n_parts)
        inner = np.ones(len(parent), dtype=bool)
        inner[np.cumsum(n_parts) - n_parts] = False
        start, stop = self.start[parent], self.stop[parent]
        start[inner] = cuts
        stop[:-1][inner[1:]] = cuts
        return _Intervals(self.segment[parent], start, stop), parent


@dataclass
class _Points:
    """Single points, which nothing cuts; what would have is the nearest wall so far."""

    x: NDArray
    linf: NDArray
    l2: NDArray

    def __len__(self):
        return len(self.x)

    def __getitem__(self, part):
        # Views: what is found out of a part is found out of the whole.
        return _Points(self.x[part], self.linf[part], self.l2[part])

    def inside(self):
        return self.x

    def cut(self, values):
        """See how far the zeros of the functions are."""
        self._see(self._at(values), values[:, 1:])
        return self, _own_rows(self, values)

    def cut_by_winner(self, values):
        """See how far from here another function of a group becomes the largest."""
        n, n_parts, n_groups, size = values.shape
        at = self._at(values.reshape(n, n_parts, -1)).reshape(-1, n_groups, size)
        best = at.argmax(axis=2)[..., np.newaxis]
        rows = _own_rows(self, values)
        own = values[rows]
        lead = np.take_along_axis(own, best[:, np.newaxis], 3) - own
        flat = lead.reshape(len(self), n_parts, -1)
        self._see(self._at(flat), flat[:, 1:])
        return self, rows

    def _at(self, values):
        return values[:, 0] + (self.x[:, np.newaxis] @ values[:, 1:])[:, 0]

    def _see(self, at, slopes):
        for nearest, size in (
            (self.linf, np.abs(slopes).sum(axis=1)),
            (self.l2, np.sqrt(np.square(slopes).sum(axis=1))),
        ):
            distance = np.full(at.shape, np.inf)
            np.divide(np.abs(at), size, out=distance, where=size > 0)
            np.minimum(nearest, distance.min(axis=1, initial=np.inf), out=nearest)


_Cells = _Intervals | Polygons | _Points


@njit(cache=True)
def _rectified(values, rows, points):
    """Set to zero the functions that are not positive at the point of a piece."""
    n_parts, n_units = values.shape[1:]
    out = np.zeros((len(rows), n_parts, n_units))
    for i in range(len(rows)):
        own = values[rows[i]]
        for j in range(n_units):
            value = own[0, j]
            for axis in range(n_parts - 1):
                value += points[i, axis] * own[1 + axis, j]
            if value > 0:
                for part in range(n_parts):
                    out[i, part, j] = own[part, j]
    return out


@njit(cache=True)
def _zeros(values, start, stop):
    """Find the zeros of the functions of every interval; return where, and of which."""
    n, _, n_units = values.shape
    cuts, parents = np.empty(1024), np.empty(1024, dtype=np.int64)
    n_found = 0
    for i in range(n):
        low, high = start[i], stop[i]
        noise = NOISE * _largest_coefficients(values[i])
        if n_found + n_units > len(cuts):
            cuts, parents = _longer(cuts, parents, n_found, n_units)
        for j in range(n_units):
            at_low = values[i, 0, j] + values[i, 1, j] * low
            at_high = values[i, 0, j] + values[i, 1, j] * high
            if min(at_low, at_high) < -noise and max(at_low, at_high) > noise:
                cuts[n_found] = low + (high - low) * (at_low / (at_low - at_high))
                parents[n_found] = i
                n_found += 1
    return cuts[:n_found], parents[:n_found]


@njit(cache=True)
def _largest_coefficients(functions):
    """Bound the absolute values of some functions on the whole segment."""
    largest = 0.0
    for j in range(functions.shape[1]):
        largest = max(largest, abs(functions[0, j]) + abs(functions[1, j]))
    return largest


@njit(cache=True)
def _longer(cuts, parents, n_found, n_more):
    """Copy what was found into arrays with room for more."""
    more_cuts = np.empty(2 * n_found + n_more)
    more_parents = np.empty(2 * n_found + n_more, dtype=np.int64)
    for i in range(n_found):
        more_cuts[i], more_parents[i] = cuts[i], parents[i]
    return more_cuts, more_parents


@njit(cache=True)
def _changes(values, start, stop):
    """Find where the largest function of a group changes; where, and of which.

    Along the upper envelope of a group: from the one that is the largest at the
    beginning to the first that overtakes it, and so on.
    """
    n, _, n_groups, size = values.shape
    cuts, parents = np.empty(1024), np.empty(1024, dtype=np.int64)
    n_found = 0
    for i in range(n):
        if n_found + n_groups * size > len(cuts):
            cuts, parents = _longer(cuts, parents, n_found, n_groups * size)
        for g in range(n_groups):
            f = values[i, :, g]
            noise = NOISE * _largest_coefficients(f)
            best, t = _first_winner(f, start[i], noise), start[i]
            while True:
                best, t = _overtaken(f, best, t, stop[i], noise)
                if best < 0:
                    break
                cuts[n_found], parents[n_found] = t, i
                n_found += 1
    return cuts[:n_found], parents[:n_found]


@njit(cache=True)
def _first_winner(f, low, noise):
    """Find the largest function at the beginning; of equals, the steepest."""
    best = 0
    for k in range(1, f.shape[1]):
        ahead = f[0, k] - f[0, best] + (f[1, k] - f[1, best]) * low
        if ahead > noise or (ahead >= -noise and f[1, k] > f[1, best]):
            best = k
    return best


@njit(cache=True)
def _overtaken(f, best, t, high, noise):
    """Find who is the first to overtake the largest function, and where; -1 if none.

    Only who is ahead at the end does.
    """
    nearest, following = high, -1
    for k in range(f.shape[1]):
        faster, behind = f[1, k] - f[1, best], f[0, best] - f[0, k]
        if faster > 0 and faster * high - behind > noise:
            crossing = max(behind / faster, t)
            if crossing < nearest or (
                crossing == nearest and following >= 0 and f[1, k] > f[1, following]
            ):
                nearest, following = crossing, k
    return following, nearest
