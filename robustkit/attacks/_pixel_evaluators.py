"""Ask a model about many images that differ from a clean one in a single pixel.

Where the first thing a network does is a linear map, one pixel changes its result by a
rank-one term: the product over all pixels is computed once for each clean image, and
never again. What comes before it may treat every feature for itself, as scalers do.
"""

import numpy as np
import torch
from torch import nn

from robustkit._tensors import as_array, as_tensor
from robustkit.attacks._losses import margin_loss
from robustkit.bridge._sklearn_steps import Clamp, ElementwiseScale
from robustkit.networks import SparseNetwork

__all__ = ["FirstMap", "make_evaluator", "split_first_map"]

# Rows of one forward pass: of the part after the first map, and of a whole network on
# the CPU, where longer ones leave the cache.
_TAIL_ROWS = 8192
_WHOLE_ROWS = {"cpu": 256, "cuda": 8192}
# Numbers handed to `predict_proba` in one call.
_TABLE_SIZE = 2**23


class FirstMap:
    """A network seen as: feature by feature, one linear map, the rest.

    Parameters
    ----------
    scaling : list of torch.nn.Module
        Modules that treat every feature for itself.

    weight : torch.Tensor of shape (n_units, n_features)
        Of the linear map.

    bias : torch.Tensor of shape (n_units,)
        Of the linear map.

    rest : callable
        From the result of the linear map to the logits.

    modules : list of torch.nn.Module
        What `rest` consists of; the first may be the SparseNetwork whose sources are
        the units.
    """

    def __init__(self, scaling, weight, bias, rest, modules):
        self.scaling, self.weight, self.bias = scaling, weight.detach(), bias.detach()
        self.columns = self.weight.t().contiguous()
        self.rest, self.modules = rest, modules

    def scaled(self, values, features):
        """Scale values, each as a value of its feature."""
        for module in self.scaling:
            values = _scale_one(module, values, features)
        return values

    def scaled_size(self, values, features):
        """Sum of the absolute terms that make the scaled values: what rounding sees."""
        size = values.abs()
        for module in self.scaling:
            if isinstance(module, ElementwiseScale):
                size = _scale_size(module, size, features)
        return size

    def units(self, x):
        """Results of the linear map, of whole samples."""
        for module in self.scaling:
            x = module(x)
        return x @ self.weight.t() + self.bias


def split_first_map(module):
    """Find the first linear map of a network.

    Parameters
    ----------
    module : torch.nn.Module
        The network.

    Returns
    -------
    first : FirstMap or None
        None if there is no such map, or something before it mixes features.
    """
    parts = [part for part in _leaves(module) if not _does_nothing(part)]
    scaling = []
    while parts and isinstance(parts[0], ElementwiseScale | Clamp):
        scaling.append(parts.pop(0))
    if not parts:
        return None
    head, tail = parts[0], parts[1:]
    if isinstance(head, nn.Linear):
        bias = head.bias
        if bias is None:
            bias = head.weight.new_zeros(len(head.weight))
        return FirstMap(scaling, head.weight, bias, nn.Sequential(*tail), tail)
    if isinstance(head, SparseNetwork):
        after = nn.Sequential(*tail)

        def rest(units):
            return after(head.forward_from_sources(units))

        # The biases of the sources are added by the network itself.
        bias = head.bias.new_zeros(len(head.input_weight))
        return FirstMap(scaling, head.input_weight, bias, rest, parts)
    return None


def _leaves(module):
    if isinstance(module, nn.Sequential):
        for child in module:
            yield from _leaves(child)
    else:
        yield module


def _does_nothing(module):
    # Flat samples need no flattening, and dropout does nothing in eval mode.
    return isinstance(module, nn.Identity | nn.Dropout) or (
        isinstance(module, nn.Flatten) and module.start_dim == 1
    )


def _scale_one(module, values, features):
    if isinstance(module, Clamp):
        return module(values)
    center, scale, offset = _parameters_of(module, features)
    return (values - center) * scale + offset


def _scale_size(module, size, features):
    center, scale, offset = _parameters_of(module, features)
    return (size + center.abs()) * scale.abs() + offset.abs()


def _parameters_of(module, features):
    return (
        part[features] if part.ndim else part
        for part in (module.center, module.scale, module.offset)
    )


def make_evaluator(judge, space, X, labels):
    """Choose how a model is asked.

    Parameters
    ----------
    judge : Judge
        Of the model.

    space : PixelSpace
        Positions and values.

    X : ndarray of shape (n_samples, n_features)
        Clean samples.

    labels : ndarray of shape (n_samples,)
        Indices of the classes attacked.

    Returns
    -------
    evaluate : callable
        ``evaluate(rows, pixel, level)``, all tensors, gives for every candidate how
        sure the model still is of the label, and whether it errs.
    """
    if judge.module is None:
        return _AskTheEstimator(judge, space, X, labels)
    first = split_first_map(judge.module)
    cls = _AskTheModule if first is None else _AskTheRest
    return cls(judge, space, X, labels, first)


class _AskTheRest:
    """Rank-one: only what comes after the first map is computed for a candidate."""

    def __init__(self, judge, space, X, labels, first):
        self.space = space.to(judge.device, judge.dtype)
        self.first = first
        self.x = as_tensor(X, device=judge.device, dtype=judge.dtype)
        self.labels = as_tensor(labels, device=judge.device, dtype=torch.int64)
        with torch.no_grad():
            # A column a sample, the layout in which a sparse network computes.
            self.units = first.units(self.x).t().contiguous()

    @torch.no_grad()
    def __call__(self, rows, pixel, level):
        pieces = [
            self._ask(*piece)
            for piece in zip(
                rows.split(_TAIL_ROWS),
                pixel.split(_TAIL_ROWS),
                level.split(_TAIL_ROWS),
                strict=True,
            )
        ]
        return _join(pieces)

    def _ask(self, rows, pixel, level):
        features, values = self.space.features_and_values(pixel, level)
        units = self.units.index_select(1, rows)
        old = self.x[rows[:, None], features]
        change = self.first.scaled(values, features) - self.first.scaled(old, features)
        for channel in range(features.shape[1]):
            column = self.first.weight.index_select(1, features[:, channel])
            units.addcmul_(column, change[:, channel])
        return _judge_logits(self.first.rest(units.t()), self.labels[rows])


class _AskTheModule:
    """Whole images through a torch module, few enough at once to stay in the cache."""

    def __init__(self, judge, space, X, labels, first):
        self.module = judge.module
        self.space = space.to(judge.device, judge.dtype)
        self.x = as_tensor(X, device=judge.device, dtype=judge.dtype)
        self.labels = as_tensor(labels, device=judge.device, dtype=torch.int64)
        self.n_rows = _WHOLE_ROWS.get(judge.device.type, 8192)

    @torch.no_grad()
    def __call__(self, rows, pixel, level):
        pieces = []
        for start in range(0, len(rows), self.n_rows):
            piece = slice(start, start + self.n_rows)
            features, values = self.space.features_and_values(
                pixel[piece], level[piece]
            )
            images = self.x.index_select(0, rows[piece])
            images.scatter_(1, features, values)
            pieces.append(_judge_logits(self.module(images), self.labels[rows[piece]]))
        return _join(pieces)


class _AskTheEstimator:
    """Whole images through `predict_proba`, as many in one call as memory allows."""

    def __init__(self, judge, space, X, labels):
        self.judge, self.space, self.X = judge, space, X
        self.labels = torch.from_numpy(labels)
        self.n_rows = max(1, _TABLE_SIZE // X.shape[1])

    def __call__(self, rows, pixel, level):
        pieces = []
        for start in range(0, len(rows), self.n_rows):
            piece = slice(start, start + self.n_rows)
            clean = self.X[as_array(rows[piece])]
            images = np.empty_like(clean)
            self.space.write(
                clean, as_array(pixel[piece]), as_array(level[piece]), images
            )
            probabilities = torch.from_numpy(self.judge.probabilities(images))
            pieces.append(_judge_logits(probabilities, self.labels[rows[piece]]))
        return _join(pieces)


def _judge_logits(logits, labels):
    return -margin_loss(logits, labels), logits.max(dim=1).indices != labels


def _join(pieces):
    return (
        pieces[0]
        if len(pieces) == 1
        else tuple(map(torch.cat, zip(*pieces, strict=True)))
    )
