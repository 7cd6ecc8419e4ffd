"""A network as one list of layers of units, each affine in earlier ones.

A stack of linear layers, a graph with edges that skip layers and a convolutional
network are then one case. A unit is rectified or not; the last layer's units are the
logits. Only modules that are what their type says are taken apart.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import chain, pairwise

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from robustkit._tensors import as_array, why_imprecise
from robustkit.bounds._interval_bounds import refusal
from robustkit.bounds._patches import Patch, add_groups, add_tile
from robustkit.bridge import ElementwiseScale, SecondWinsTies
from robustkit.networks import (
    MaskedLinear,
    SparseNetwork,
    ToImages,
    is_plain,
    leaves,
    linear_weights,
)

__all__ = ["Layer", "ReluNetwork", "refuse_imprecise"]

_DROPOUTS = (nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d, nn.AlphaDropout)


# Numbers that a product writes before they are added up: more leave the cache.
_TILE = 2**16


class _Map:
    """A linear map, in double precision and in single."""

    is_local = False
    """Whether what a result reads is a patch of images."""

    weight: Tensor
    absolute: Tensor
    carried: Tensor
    """As coefficients are multiplied by it."""

    def _in_range(self, scale: NDArray | None) -> tuple[Tensor, NDArray | None, float]:
        """Return weights and scales whose products can be squared, and their unit."""
        largest = float(self.absolute.max()) if self.absolute.numel() else 0.0
        most = 1.0 if scale is None else float(np.abs(scale).max(initial=0))
        unit = largest * most
        if 2.0**-300 < unit < 2.0**300 or largest == 0 or most == 0:
            return self.weight, scale, 1.0
        return self.weight / largest, None if scale is None else scale / most, unit

    def in_type(self, dtype: torch.dtype) -> Tensor:
        """Return the weights in a type; those in single precision are kept."""
        if dtype == self.carried.dtype:
            return self.carried
        if not hasattr(self, "_single"):
            self._single = self.carried.to(dtype)
        return self._single


class _Dense(_Map):
    """A matrix."""

    def __init__(self, weight: Tensor):
        self.weight = self.carried = weight.double().contiguous()
        self.absolute = self.weight.abs()
        nonzero = weight != 0
        self.fan_in = int(nonzero.sum(dim=1).max()) if weight.numel() else 0
        self.fan_out = nonzero.sum(dim=0).numpy()
        self.shape = tuple(weight.shape)

    def forward(self, X: Tensor) -> Tensor:
        """Map rows of values."""
        return X @ self.weight.t()

    def magnitude(self, X: Tensor) -> Tensor:
        """Map rows of absolute values by the absolute values of the weights."""
        return X @ self.absolute.t()

    def order(self, results: NDArray | None, arguments: NDArray | None) -> None:
        """Learn in which orders coefficients are carried, None for that of units."""
        if results is not None:
            self.carried = self.carried[torch.from_numpy(results)]
        if arguments is not None:
            self.carried = self.carried[:, torch.from_numpy(arguments)]
        self._rows = self.weight
        if arguments is not None:
            self._rows = self.weight[:, torch.from_numpy(arguments)]
        self._typed_rows: dict = {}

    def pull(self, a: Tensor, out: Tensor, keep: bool = True) -> None:
        """Write what coefficients of the results amount to for the arguments.

        It is added to what is there already, if that is to be kept.
        """
        out.addmm_(a.to(out.dtype), self.in_type(out.dtype), beta=int(keep))

    def rows(self, units: Tensor, dtype: torch.dtype) -> Tensor:
        """Coefficients of some results, in a type."""
        if dtype not in self._typed_rows:
            self._typed_rows[dtype] = self._rows.to(dtype)
        return self._typed_rows[dtype].index_select(0, units)

    def squares(
        self, sign: int, features: NDArray, scale: NDArray | None
    ) -> tuple[NDArray, float]:
        """Sum the squares of weights of a sign, over some features of every sample.

        Returns also the unit of the weights.
        """
        weight, scale, unit = self._in_range(scale)
        if scale is not None:
            weight = weight * torch.from_numpy(scale)
        squares = (sign * weight).clamp(min=0).square_()
        return (torch.from_numpy(features).double() @ squares.t()).numpy(), unit


class _Convolution(_Map):
    """A convolution of images, given and returned as flat rows."""

    is_local = True

    def __init__(self, weight: Tensor, shape: tuple[int, int, int], **how):
        self.weight, self.how, self.images = weight.double().contiguous(), how, shape
        self.absolute = self.weight.abs()
        there = functional.conv2d(torch.zeros(1, *shape).double(), self.weight, **how)
        channels, height, width = there.shape[1:]
        self.out_images = channels, height, width
        n_in, n_out = int(np.prod(shape)), int(np.prod(self.out_images))
        self.shape = n_out, n_in
        self.fan_in = int((weight != 0).flatten(1).sum(dim=1).max())
        n_reached = len(weight) // how["groups"] * weight[0, 0].numel()
        self.fan_out = np.full(n_in, n_reached)
        # For every pixel of the kernel, what goes from a result to each argument.
        self.carried = self.weight.permute(0, 2, 3, 1).flatten(1).contiguous()
        self.stride, self.padding, dilation = (
            _pair(how.get(name, default))
            for name, default in (("stride", 1), ("padding", 0), ("dilation", 1))
        )
        self.kernel = *weight.shape[2:], *dilation, how["groups"]

    def _apply(self, X: Tensor, weight: Tensor) -> Tensor:
        images = X.reshape(len(X), *self.images)
        return functional.conv2d(images, weight, **self.how).flatten(1)

    def forward(self, X: Tensor) -> Tensor:
        return self._apply(X, self.weight)

    def magnitude(self, X: Tensor) -> Tensor:
        return self._apply(X, self.absolute)

    def at(self, units: NDArray) -> Patch:
        """Return the patches that have single results as their only pixels."""
        _, height, width = self.out_images
        line, column = units // width % height, units % width
        return Patch(self.out_images, 1, 1, line, column)

    def reach(self, patch: Patch) -> Patch:
        """Return the patches of the arguments that patches of the results read."""
        height, width = (
            (n - 1) * stride + (size - 1) * dilation + 1
            for n, stride, size, dilation in zip(
                (patch.height, patch.width),
                self.stride,
                self.kernel[:2],
                self.kernel[2:4],
                strict=True,
            )
        )
        top = patch.top * self.stride[0] - self.padding[0]
        left = patch.left * self.stride[1] - self.padding[1]
        return Patch(self.images, height, width, top, left)

    def pull(self, a: NDArray, patch: Patch, out: tuple, into: Patch) -> None:
        """Add what coefficients of a patch amount to for a patch of the arguments.

        Rows of both are in the order height, width, channels. `out` is what is added
        to, and the first of its columns.
        """
        how = self._how(patch, into)
        if self.how["groups"] > 1:
            add_groups(a, self.weight.numpy(), how, *out)
            return
        single = out[0].dtype == np.float32
        weight = self.in_type(torch.float32 if single else torch.float64)
        pixels = torch.from_numpy(a).reshape(-1, self.out_images[0])
        step = max(16, _TILE // weight.shape[1])
        for start in range(0, len(pixels), step):
            tile = pixels[start : start + step].to(weight.dtype) @ weight
            add_tile(tile.numpy(), start, how, *out)

    def rows(self, units: NDArray, sign: float, out: tuple, into: Patch) -> None:
        """Add coefficients of some results, times a sign."""
        how = self._how(self.at(units), into)
        channels = units // np.prod(self.out_images[1:])
        if self.how["groups"] > 1:
            one = np.zeros((len(units), self.out_images[0]))
            one[np.arange(len(units)), channels] = sign
            add_groups(one, self.weight.numpy(), how, *out)
            return
        tile = self.carried[torch.from_numpy(channels)] * sign
        add_tile(tile.numpy(), 0, how, *out)

    def _how(self, patch, into):
        """Say where the pixels of a patch, and those that they read, are in another."""
        seen = self.reach(patch)
        shift = seen.top - into.top, seen.left - into.left
        sides = patch.height, patch.width, into.height, into.width
        return sides, self.stride, self.kernel, shift

    def squares(
        self, sign: int, features: NDArray, scale: NDArray | None
    ) -> tuple[NDArray, float]:
        weights, scale, unit = self._in_range(scale)
        X = np.broadcast_to(1.0 if scale is None else scale, features.shape)
        # Where the scale is negative, weights change their sign.
        total = np.zeros((len(features), self.shape[0]))
        for side in (1, -1):
            chosen = torch.from_numpy(features * np.where(side * X > 0, X**2, 0))
            weight = (sign * side * weights).clamp(min=0)
            total = total + self._apply(chosen, weight.square_()).numpy()
        return total, unit


Map = _Dense | _Convolution


@dataclass
class Layer:
    """Units that are affine in the input or in earlier units."""

    start: int
    stop: int
    bias: NDArray
    inputs: Map | None = None
    """From the input; only the first layer has one."""

    sources: list[tuple[int, int, Map]] = field(default_factory=list)
    """From ranges of earlier units, as they are after their rectifier."""

    rectified: bool = False

    images: tuple[int, int, int] = (0, 1, 1)
    """Channels, height and width; of what is no image, units and one pixel."""

    order: NDArray | None = None
    """Of units, where coefficients are carried in another order."""

    windows: NDArray | None = None
    """Of a max-pooling, which this and the next two layers compute: earlier units, one
    row for each of its results. None elsewhere."""

    def carried(self, values: NDArray) -> NDArray:
        """Put what belongs to units into the order of coefficients."""
        return values if self.order is None else values[..., self.order]

    def by_unit(self, values: NDArray) -> NDArray:
        """Put coefficients into the order of units."""
        return values if self.order is None else values[..., np.argsort(self.order)]

    def maps(self) -> list[Map]:
        """Return all maps that lead here."""
        own = [] if self.inputs is None else [self.inputs]
        return own + [source[2] for source in self.sources]

    @property
    def is_local(self) -> bool:
        """Whether what every unit reads is a patch of images."""
        return all(chart.is_local for chart in self.maps())

    @property
    def fan_in(self) -> int:
        """Most terms that a unit sums."""
        return sum(m.fan_in for m in self.maps()) + 1


class ReluNetwork:
    """A module taken apart.

    A part that is not known, or is not what its type says, is refused by name with a
    TypeError.

    Parameters
    ----------
    module : torch.nn.Module
        On the CPU, in eval mode.

    n_features : int
        Length of a sample.

    known : str, default="Bounds are known"
        How the error of a part that is not known begins.
    """

    def __init__(
        self, module: nn.Module, n_features: int, known: str = "Bounds are known"
    ):
        self.n_features = n_features
        self._known = known
        self._names = {id(part): name for name, part in module.named_modules()}
        self.layers: list[Layer] = []
        # Center, scale and offset, and whether they are in single precision.
        self.scalings: list[tuple[NDArray, NDArray, NDArray, bool]] = []
        self._images: tuple[int, ...] | None = None
        self._dtypes: list[torch.dtype] = []
        for part in leaves(module):
            self._take(part)
        if not self.layers or self.layers[-1].rectified:
            self._append(_Dense(torch.eye(self._width())), np.zeros(self._width()))
        self._order_coefficients()
        # Of rows of coefficients, where nothing is an image.
        self.places: dict = {}
        self.is_double = all(t == torch.float64 for t in self._dtypes)
        self.n_units = self.layers[-1].stop
        self.n_outputs = self.layers[-1].stop - self.layers[-1].start
        out = np.zeros(self.n_units, dtype=np.int64)
        self.fan_out = 0
        for layer in self.layers:
            for p, q, chart in layer.sources:
                out[p:q] += chart.fan_out
            if layer.inputs is not None:
                self.fan_out = int(np.max(layer.inputs.fan_out, initial=0))
        self.fan_out = max(self.fan_out, int(out.max(initial=0)))

    def _order_coefficients(self):
        """Tell dense maps in which orders coefficients are carried."""
        self.images = (1, 1, self.n_features)
        self.has_images = False
        for layer in self.layers:
            if np.prod(layer.images[1:]) > 1:
                grid = np.arange(np.prod(layer.images)).reshape(layer.images)
                layer.order = grid.transpose(1, 2, 0).ravel()
            for chart in layer.maps():
                self.has_images |= chart.is_local
                if isinstance(chart, _Dense):
                    sources = self.read_by(layer)
                    arguments = sources[0].order if len(sources) == 1 else None
                    chart.order(layer.order, arguments)
            if isinstance(layer.inputs, _Convolution):
                self.images = layer.inputs.images

    def read_by(self, layer: Layer) -> list[Layer]:
        """List the layers that a layer reads."""
        return [
            other
            for p, q, _ in layer.sources
            for other in self.layers
            if p < other.stop and other.start < q
        ]

    @property
    def first(self) -> Map:
        """The map that the input goes through."""
        inputs = self.layers[0].inputs
        assert inputs is not None, "the first layer reads the input"
        return inputs

    def _width(self):
        if not self.layers:
            return self.n_features
        return self.layers[-1].stop - self.layers[-1].start

    def _append(self, chart, bias, before=None):
        """Append a layer that reads the last one, or another one before it."""
        start = self.layers[-1].stop if self.layers else 0
        layer = Layer(start, start + len(bias), np.asarray(bias, dtype=np.float64))
        layer.images = (len(bias), 1, 1)
        if isinstance(chart, _Convolution):
            layer.images = chart.out_images
        if not self.layers:
            layer.inputs = chart
        else:
            before = before or self.layers[-1]
            layer.sources.append((before.start, before.stop, chart))
            if isinstance(chart, _Convolution):
                before.images = chart.images
        self.layers.append(layer)
        return layer

    def _take(self, part):
        for types, take in _READERS.items():
            if is_plain(part, *types):
                if not take(self, part):
                    break
                self._dtypes += [
                    t.dtype
                    for t in (*part.parameters(), *part.buffers())
                    if t.is_floating_point()
                ]
                return
        raise refusal(
            part,
            "linear layers, convolutions and ReLU",
            self._called(part) + self._where(part),
            self._known,
        )

    def _called(self, part):
        name = self._names.get(id(part))
        return f" (layer {name!r})" if name else ""

    def _where(self, part):
        if isinstance(part, nn.Conv2d | nn.MaxPool2d | nn.Linear):
            images = "flat samples" if self._images is None else f"{self._images}"
            return f" on {images}: {part!r}"
        return f": {part!r}" if isinstance(part, nn.Flatten) else ""

    def _linear(self, part):
        if self._images is not None or part.in_features != self._width():
            return False
        weight, bias = (t.detach() for t in linear_weights(part))
        self._append(_Dense(weight), as_array(bias))
        return True

    def _relu(self, part):
        if not self.layers:
            self._append(_Dense(torch.eye(self._width())), np.zeros(self._width()))
        self.layers[-1].rectified = True
        return True

    def _nothing(self, part):
        # In training mode it would do something.
        return not part.training or not isinstance(part, _DROPOUTS)

    def _flatten(self, part):
        self._images = None
        return part.start_dim == 1 and part.end_dim == -1

    def _to_images(self, part):
        if len(part.image_shape) != 3 or np.prod(part.image_shape) != self._width():
            return False
        self._images = tuple(part.image_shape)
        last = self.layers[-1] if self.layers else None
        if last and last.is_local and last.images != self._images:
            # Coefficients of a layer are of images of one shape.
            self._append(_Dense(torch.eye(self._width())), np.zeros(self._width()))
        return True

    def _scale(self, part):
        center, scale, offset = (
            np.broadcast_to(as_array(t).astype(np.float64), self._width())
            for t in (part.center, part.scale, part.offset)
        )
        if not part.needed:
            return True
        if self._images is not None:
            return False
        if not self.layers:
            is_single = part.center.dtype != torch.float64
            self.scalings.append((center, scale, offset, is_single))
            return True
        # As two maps, so that the rounding of the center is that of a bias.
        eye = torch.eye(self._width(), dtype=torch.float64)
        self._append(_Dense(eye), -center)
        self._append(_Dense(eye * torch.from_numpy(scale.copy())), offset)
        return True

    def _sparse(self, part):
        structure = part.structure
        if self._images is not None or part.n_features != self._width():
            return False
        base = self._append(
            _Dense(part.input_weight.detach()),
            as_array(part.bias)[: len(structure.sources)],
        )
        base.rectified = True
        first, n = base.start, structure.n_nodes
        source, target = (torch.from_numpy(np.array(e)) for e in structure.edges)
        weight = torch.zeros(n, n, dtype=part.edge_weight.dtype)
        weight[target, source] = part.edge_weight.detach()
        bias = as_array(part.bias)
        for start, stop in pairwise(map(int, structure.layer_offsets[1:])):
            self._append_rows(weight[start:stop, :start], bias[start:stop], first)
            self.layers[-1].rectified = True
        out = torch.zeros(part.n_outputs, n, dtype=part.output_weight.dtype)
        out[:, torch.from_numpy(np.array(structure.sinks))] = (
            part.output_weight.detach()
        )
        self._append_rows(out, as_array(part.output_bias), first)
        return True

    def _append_rows(self, weight, bias, first):
        """Append units of a graph whose first vertex is the unit `first`."""
        used = weight.any(dim=0).nonzero()
        low, high = (int(used.min()), int(used.max()) + 1) if len(used) else (0, 1)
        layer = Layer(
            self.layers[-1].stop,
            self.layers[-1].stop + len(bias),
            np.asarray(bias, dtype=np.float64),
            sources=[(first + low, first + high, _Dense(weight[:, low:high]))],
            images=(len(bias), 1, 1),
        )
        self.layers.append(layer)

    def _convolution(self, part):
        if self._images is None or part.padding_mode != "zeros":
            return False
        if len(self._images) != 3 or self._images[0] != part.in_channels:
            return False
        if isinstance(part.padding, str):
            return False
        how = {
            "stride": part.stride,
            "padding": part.padding,
            "dilation": part.dilation,
            "groups": part.groups,
        }
        chart = _Convolution(part.weight.detach(), self._images, **how)
        n_pixels = chart.out_images[1] * chart.out_images[2]
        bias = torch.zeros(len(part.weight)) if part.bias is None else part.bias
        self._append(chart, np.repeat(as_array(bias), n_pixels))
        self._images = chart.out_images
        return True

    def _max_pool(self, part):
        r"""Write the largest of four as rectifiers.

        With :math:`m(a, b) = b + \max(a - b, 0)` it is m(m(a, b), m(c, d)).
        """
        how = part.kernel_size, part.stride, part.padding, part.dilation
        if [_pair(n) for n in how] != [(2, 2), (2, 2), (0, 0), (1, 1)]:
            return False
        if part.ceil_mode or part.return_indices or self._images is None:
            return False
        if not self.layers:
            return False
        before, channels = self.layers[-1], self._images[0]

        def chart(kernels, images):
            kernels = torch.tensor(kernels, dtype=torch.float64)
            size = kernels.shape[-1]
            weight = kernels.view(-1, 1, size, size).repeat(channels, 1, 1, 1)
            how = {"padding": 0, "dilation": 1, "groups": channels}
            return _Convolution(weight, images, stride=size, **how)

        halves = chart([[[1, -1], [0, 0]], [[0, 0], [1, -1]]], self._images)
        first = self._append(halves, np.zeros(halves.shape[0]))
        first.rectified = True
        first.windows = _windows(self._images) + before.start
        pairs = halves.out_images
        difference = self._append(
            chart([[[0, 1], [0, -1]]], self._images),
            np.zeros(halves.shape[0] // 2),
            before,
        )
        # Of one channel of the halves come two, next to each other.
        fold = _grouped([1.0, -1.0], pairs)
        difference.sources.append((first.start, first.stop, fold))
        difference.rectified = True
        images = (channels, *pairs[1:])
        last = self._append(chart([[[1.0]]], images), np.zeros(difference.bias.size))
        last.sources += [
            (first.start, first.stop, _grouped([0.0, 1.0], pairs)),
            (before.start, before.stop, chart([[[0, 0], [0, 1]]], self._images)),
        ]
        self._images = images
        return True


def _pair(number):
    return tuple(number) if isinstance(number, tuple) else (number, number)


def _windows(images):
    """List the four pixels of every window of two by two, in order."""
    pixels = np.arange(np.prod(images)).reshape(images)
    height, width = (side // 2 * 2 for side in images[1:])
    corners = [pixels[:, i:height:2, j:width:2] for i in (0, 1) for j in (0, 1)]
    return np.stack([corner.ravel() for corner in corners], axis=1)


def _grouped(factors, images):
    """Add up every two neighbouring channels, times factors."""
    groups = images[0] // 2
    weight = torch.tensor(factors, dtype=torch.float64).view(1, 2, 1, 1)
    how = {"stride": 1, "padding": 0, "dilation": 1, "groups": groups}
    return _Convolution(weight.repeat(groups, 1, 1, 1), images, **how)


_READERS = {
    (nn.Linear, MaskedLinear): ReluNetwork._linear,
    (nn.ReLU,): ReluNetwork._relu,
    # Ties, which the last one decides, have no positive margin.
    (nn.Identity, SecondWinsTies, *_DROPOUTS): ReluNetwork._nothing,
    (nn.Flatten,): ReluNetwork._flatten,
    (ToImages,): ReluNetwork._to_images,
    (ElementwiseScale,): ReluNetwork._scale,
    (SparseNetwork,): ReluNetwork._sparse,
    (nn.Conv2d,): ReluNetwork._convolution,
    (nn.MaxPool2d,): ReluNetwork._max_pool,
}


# Proofs hold for sums of products in any order, in single precision or better. Some of
# what torch may do is less precise: products of numbers that were rounded to TF32 or
# bfloat16, and convolutions by transforms, whose error is relative to the largest
# number of a tile and not to what an output sums.
_CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)


def refuse_imprecise(module: nn.Module, owner: str) -> None:
    """Refuse a module that torch may compute less precisely than proofs assume.

    It is where it computes; how torch computes at the moment counts.
    """
    reason = _what_is_imprecise(module)
    if reason is not None:
        raise TypeError(
            f"{owner} proves what sums in single precision or better compute, and "
            f"{reason}."
        )


def _what_is_imprecise(module):
    tensors = chain(module.parameters(), module.buffers())
    devices = {t.device.type for t in tensors if t.dtype == torch.float32}
    for part in module.modules():
        if isinstance(part, _CONVOLUTIONS):
            reason = _what_is_imprecise_in_convolution(part.weight)
            if reason is not None:
                return reason
    reasons = map(why_imprecise, sorted(devices))
    return next((reason for reason in reasons if reason is not None), None)


def _what_is_imprecise_in_convolution(weight):
    if weight.device.type != "cpu":
        return (
            f"convolutions on {str(weight.device)!r} may be computed by transforms or "
            "in TF32: put the model on the CPU"
        )
    mkldnn, nnpack = torch.backends.mkldnn, torch.backends.nnpack
    if weight.dtype == torch.float64 or (mkldnn.is_available() and mkldnn.enabled):
        return None
    if nnpack.is_available() and torch._C._get_nnpack_enabled():
        return (
            "NNPACK computes convolutions by transforms where oneDNN is off: call "
            "torch.backends.nnpack.set_flags(False), or module.double()"
        )
    return None
