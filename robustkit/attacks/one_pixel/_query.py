"""How a model is queried about images that differ from a clean one in a single pixel.

A candidate is a clean image, a pixel of it and a level for each of its channels. Where
the first thing a network does is a linear map, one pixel changes its result by a
rank-one term: the product over all pixels is computed once for each clean image, and
never again. What comes before it may treat every feature for itself, as scalers do.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from itertools import zip_longest

import numpy as np
import torch
from torch import nn

from robustkit._tensors import as_array, as_tensor
from robustkit._validation import check_image_shape
from robustkit.bounds import LARGEST
from robustkit.bridge import Clamp, ElementwiseScale, SecondWinsTies
from robustkit.networks import (
    MaskedLinear,
    SparseNetwork,
    ToImages,
    is_plain,
    leaves,
    linear_weights,
)

__all__ = [
    "FirstMap",
    "Found",
    "PixelModel",
    "PixelSpace",
    "Query",
    "query_about",
    "significant_parts",
    "split_first_map",
]

# Rows of one forward pass: of the part after the first map, and of a whole network on
# the CPU, where longer ones leave the cache.
_TAIL_ROWS = 8192
_WHOLE_ROWS = {"cpu": 256, "cuda": 8192}
# Numbers handed to an estimator in one call.
_TABLE_SIZE = 2**23
# A margin of this share of the logits may be rounding: `predict` decides.
_NEAR = 2.0**-12
# In which a result does not depend on how it is computed, up to little.
_PRECISE = (torch.float32, torch.float64)


class PixelSpace:
    """Positions and values of a single pixel.

    A value is written as a level: level 0 is the smallest value, ``levels - 1`` the
    largest, and every real number in between is a value too. With an image shape of
    (channels, height, width) a pixel has a value in every channel; without one, every
    feature is a pixel. `low` and `high` are the smallest and largest value of every
    feature.
    """

    def __init__(
        self,
        n_features: int,
        image_shape: tuple[int, ...] | None,
        low: np.ndarray,
        high: np.ndarray,
        levels: int,
    ):
        if image_shape is None:
            self.grid, n_channels = (n_features,), 1
        else:
            shape = check_image_shape(image_shape, n_features)
            self.grid = shape[-2:]
            n_channels = shape[0] if len(shape) == 3 else 1
        self.n_pixels = n_features // n_channels
        self.n_channels, self.levels = n_channels, levels
        # Row p holds the features of pixel p, channel by channel.
        self.features = np.arange(n_features).reshape(n_channels, -1).T.copy()
        self.low, self.high = low.astype(np.float64), high.astype(np.float64)

    def values(self, pixel: np.ndarray, level: np.ndarray) -> np.ndarray:
        """Return the values that levels (one column per channel) stand for."""
        features = self.features[pixel]
        share = level / (self.levels - 1)
        # Both ends exactly: low + (high - low) need not be high after rounding.
        return self.low[features] * (1 - share) + self.high[features] * share

    def write(
        self, X: np.ndarray, pixel: np.ndarray, level: np.ndarray, out: np.ndarray
    ) -> None:
        """Write X to `out`, with one pixel of every row changed; pixel -1 is none."""
        out[...] = X
        rows = np.flatnonzero(pixel >= 0)
        features = self.features[pixel[rows]]
        out[rows[:, None], features] = self.values(pixel[rows], level[rows])


@dataclass(frozen=True)
class PixelModel:
    """A model as One Pixel sees it: flat samples in, indices of classes out."""

    predict: Callable[[np.ndarray], np.ndarray]
    """Classes of whole samples. Its word is the last one."""

    predict_and_score: Callable[[np.ndarray], tuple[np.ndarray, torch.Tensor]]
    """The same, and scores of all classes: logits or probabilities."""

    module: nn.Module | None
    """Queried in its place: its largest logit is what `predict` answers, up to
    rounding. None where that is not known."""

    device: torch.device
    dtype: torch.dtype
    """Where the module is, and what it takes."""


class Query:
    """Queries about some clean samples, each with one pixel changed.

    A subclass is called with the row, the pixel and the levels of every candidate, all
    tensors, and returns two tensors: by how much the label leads, and whether the model
    may err. `confirm` must have the last word on that.
    """

    def __init__(
        self, model: PixelModel, space: PixelSpace, X: np.ndarray, labels: np.ndarray
    ):
        self.model, self.space, self.device = model, space, model.device
        self.X, self.labels = X, labels

    @abstractmethod
    def __call__(
        self, rows: torch.Tensor, pixel: torch.Tensor, level: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the margin of every candidate, and whether the model may err."""

    def images(
        self, rows: np.ndarray, pixel: np.ndarray, level: np.ndarray
    ) -> np.ndarray:
        """Write candidates as whole samples, as the attack would return them."""
        X = self.X[rows]
        images = np.empty_like(X)
        self.space.write(X, pixel, level, images)
        return images

    def perturbed(self, found: Found) -> np.ndarray:
        """Write every sample, with the pixel that was found for it."""
        return self.images(np.arange(len(self.X)), found.pixel, found.level)

    def confirm(
        self, rows: np.ndarray, pixel: np.ndarray, level: np.ndarray
    ) -> np.ndarray:
        """Ask `predict` itself whether candidates fool."""
        return self.model.predict(self.images(rows, pixel, level)) != self.labels[rows]


def query_about(
    model: PixelModel, space: PixelSpace, X: np.ndarray, labels: np.ndarray
) -> Query:
    """Choose the cheapest way to query a model about samples and their labels."""
    if model.module is None:
        return _QueryPredict(model, space, X, labels)
    first = split_first_map(model.module)
    if first is None:
        return _QueryModule(model, space, X, labels)
    return _QueryAfterFirstMap(model, space, X, labels, first)


class _QueryModule(Query):
    """Whole images through a torch module, few enough at once to stay in the cache."""

    def __init__(self, model, space, X, labels):
        super().__init__(model, space, X, labels)
        device, dtype = model.device, model.dtype
        self.n_rows = _WHOLE_ROWS.get(device.type, 8192)
        self.x = as_tensor(X, device=device, dtype=dtype)
        self.y = as_tensor(labels, device=device, dtype=torch.int64)
        self.features = torch.from_numpy(space.features).to(device)
        self.low, self.high = (
            torch.from_numpy(end).to(device, dtype) for end in (space.low, space.high)
        )

    @torch.no_grad()
    def __call__(self, rows, pixel, level):
        given = (part.split(self.n_rows) for part in (rows, pixel, level))
        pieces = []
        for rows, *change in zip(*given, strict=True):
            logits = self._logits(rows, *self._features_and_values(*change))
            margin = _margin(logits, self.y[rows])
            may_err = ~(margin > _NEAR * logits.abs().amax(dim=1))
            pieces.append((margin, may_err))
        return _join(pieces)

    def _features_and_values(self, pixel, level):
        features = self.features[pixel]
        share = level.to(self.low.dtype) / (self.space.levels - 1)
        values = self.low[features] * (1 - share) + self.high[features] * share
        return features, values

    def _logits(self, rows, features, values):
        images = self.x.index_select(0, rows)
        images.scatter_(1, features, values)
        return self.model.module(images)


class _QueryAfterFirstMap(_QueryModule):
    """Rank-one: only what comes after the first map is computed for a candidate."""

    def __init__(self, model, space, X, labels, first):
        super().__init__(model, space, X, labels)
        self.first, self.n_rows = first, _TAIL_ROWS
        with torch.no_grad():
            # A column per sample, the layout in which a sparse network computes.
            self.units = first.units(self.x).t().contiguous()

    def _logits(self, rows, features, values):
        units = self.units.index_select(1, rows)
        old = self.x[rows[:, None], features]
        change = self.first.scaled(values, features) - self.first.scaled(old, features)
        for channel in range(features.shape[1]):
            column = self.first.weight.index_select(1, features[:, channel])
            units.addcmul_(column, change[:, channel])
        return self.first.rest(units.t())


class _QueryPredict(Query):
    """Whole images through `predict`, as many in one call as memory allows."""

    def __call__(self, rows, pixel, level):
        n_rows = max(1, _TABLE_SIZE // self.X.shape[1])
        pieces = []
        for start in range(0, len(rows), n_rows):
            piece = slice(start, start + n_rows)
            row, *change = (as_array(part[piece]) for part in (rows, pixel, level))
            prediction, scores = self.model.predict_and_score(self.images(row, *change))
            labels = self.labels[row]
            errs = torch.from_numpy(prediction != labels)
            pieces.append((_margin(scores, torch.from_numpy(labels)), errs))
        return _join(pieces)


def _margin(scores, labels):
    others = scores.scatter(1, labels[:, None], -torch.inf).max(dim=1).values
    return scores.gather(1, labels[:, None]).squeeze(1) - others


def _join(pieces):
    if len(pieces) == 1:
        return pieces[0]
    return tuple(map(torch.cat, zip(*pieces, strict=True)))


class Found:
    """What is known of every sample while the search goes on.

    A candidate counts as a find only when `confirm`, which queries `predict` itself,
    says so. `certified` is None where nothing is proved.
    """

    def __init__(
        self,
        n_samples: int,
        n_channels: int,
        confirm: Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray],
    ):
        self.confirm = confirm
        self.fooled = np.zeros(n_samples, dtype=bool)
        self.pixel = np.full(n_samples, -1)
        self.level = np.zeros((n_samples, n_channels))
        self.n_queries = np.zeros(n_samples, dtype=np.int64)
        self.certified: np.ndarray | None = None

    @classmethod
    def nothing(cls, query: Query) -> Found:
        """Begin with no find for any of the samples that a query is about."""
        return cls(len(query.X), query.space.n_channels, query.confirm)

    def note(
        self,
        rows: np.ndarray,
        pixel: np.ndarray,
        level: np.ndarray,
        *,
        most: int | None = None,
    ) -> None:
        """Of each sample that had none, keep the first candidate that is confirmed.

        `predict` is asked about at most `most` candidates of one sample.
        """
        order = np.argsort(rows, kind="stable")
        rows, pixel, level = rows[order], pixel[order], level[order]
        # How many candidates of the same sample come before.
        rank = np.arange(len(rows)) - np.searchsorted(rows, rows)
        most = len(rows) if most is None else most
        start, stop = 0, 1
        while (start < most) and ((rank >= start) & ~self.fooled[rows]).any():
            asked = (rank >= start) & (rank < min(stop, most)) & ~self.fooled[rows]
            self._confirm_and_keep(rows[asked], pixel[asked], level[asked])
            start, stop = stop, 4 * stop

    def _confirm_and_keep(self, rows, pixel, level):
        hit = np.flatnonzero(self.confirm(rows, pixel, level))
        rows, first = np.unique(rows[hit], return_index=True)
        self.fooled[rows] = True
        self.pixel[rows], self.level[rows] = pixel[hit[first]], level[hit[first]]


@dataclass(frozen=True)
class FirstMap:
    """A network seen as: feature by feature, one linear map, the rest."""

    scaling: list[nn.Module]
    """Modules that treat every feature for itself."""

    weight: torch.Tensor
    bias: torch.Tensor
    """Of the linear map."""

    rest: Callable[[torch.Tensor], torch.Tensor]
    """From the result of the linear map to the logits."""

    modules: list[nn.Module]
    """What `rest` consists of; the first may be the SparseNetwork whose sources are the
    units."""

    def units(self, x: torch.Tensor) -> torch.Tensor:
        """Compute the results of the linear map for whole samples."""
        for module in self.scaling:
            x = module(x)
        return x @ self.weight.t() + self.bias

    def scaled(self, values: torch.Tensor, features: torch.Tensor) -> torch.Tensor:
        """Scale values, each as a value of its feature."""
        for module in self.scaling:
            values = _scale_one(module, values, features)
        return values

    def scaled_size(self, values: torch.Tensor, features: torch.Tensor) -> torch.Tensor:
        """Sum the absolute terms that make the scaled values: what rounding sees."""
        size = values.abs()
        for module in self.scaling:
            values = _scale_one(module, values, features)
            if type(module) is ElementwiseScale:
                center, scale, offset = _scale_parameters(module, features)
                if center.dtype != torch.float64:
                    # Where a difference may overflow, nothing is known.
                    size = torch.where(size + center.abs() > LARGEST, torch.inf, size)
                size = (size + center.abs()) * scale.abs() + offset.abs()
            # The end of a range can be larger than what is clipped to it.
            size = torch.maximum(size, values.abs())
        return size

    def scaled_loss(self, features: torch.Tensor) -> torch.Tensor:
        """Bound what scaled values lose as they are too small to be rounded well."""
        tiny = torch.finfo(torch.float32).tiny
        loss = torch.full(features.shape, tiny, dtype=torch.float64)
        for module in self.scaling:
            if type(module) is ElementwiseScale:
                _, scale, _ = _scale_parameters(module, features)
                loss = (loss + tiny) * scale.abs() + 2 * tiny
        return loss


def _scale_one(module, values, features):
    if type(module) is Clamp:
        return module(values)
    center, scale, offset = _scale_parameters(module, features)
    return (values - center) * scale + offset


def _scale_parameters(module, features):
    return (
        part[features] if part.ndim else part
        for part in (module.center, module.scale, module.offset)
    )


def split_first_map(module: nn.Module) -> FirstMap | None:
    """Find the first linear map of a network that takes flat samples.

    None if there is no such map, or if something before it mixes features.
    """
    parts = significant_parts(module)
    if not all(map(_is_precise, parts)):
        return None
    scaling = []
    while parts and is_plain(parts[0], ElementwiseScale, Clamp):
        scaling.append(parts.pop(0))
    if not parts:
        return None
    head, tail = parts[0], parts[1:]
    after = nn.Sequential(*tail)
    if isinstance(head, nn.Linear) and is_plain(head, nn.Linear, MaskedLinear):
        weight, bias = linear_weights(head)
        return FirstMap(scaling, weight.detach(), bias.detach(), after, tail)
    if isinstance(head, SparseNetwork) and is_plain(head, SparseNetwork):

        def rest(units):
            return after(head.forward_from_sources(units))

        # The biases of the sources are added by the network itself.
        bias = head.bias.detach().new_zeros(len(head.input_weight))
        return FirstMap(scaling, head.input_weight.detach(), bias, rest, parts)
    return None


def significant_parts(module: nn.Module) -> list[nn.Module]:
    """List what a network does to flat samples, in order; not what does nothing."""
    parts = list(leaves(module))
    pairs = zip_longest(parts, parts[1:])
    return [
        part
        for part, after in pairs
        # Rows that become images and rows again are what they were.
        if not (_does_nothing(part) or (is_plain(part, ToImages) and _flattens(after)))
    ]


def _does_nothing(part):
    # Flat samples need no flattening, and dropout does nothing in eval mode.
    return (
        # Where no two logits are equal, or `predict` is asked.
        is_plain(part, nn.Identity, SecondWinsTies)
        or (is_plain(part, nn.Dropout) and not part.training)
        or _flattens(part)
    )


def _flattens(part):
    return is_plain(part, nn.Flatten) and part.start_dim == 1 and part.end_dim == -1


def _is_precise(part):
    tensors = [*part.parameters(), *part.buffers()]
    return all(t.dtype in _PRECISE for t in tensors if t.is_floating_point())
