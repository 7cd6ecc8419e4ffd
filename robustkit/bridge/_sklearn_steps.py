"""Torch modules of scikit-learn's transformers, and of the pipelines around them."""

from collections import OrderedDict
from itertools import chain

import numpy as np
import torch
from sklearn.decomposition import PCA
from sklearn.frozen import FrozenEstimator
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import (
    FunctionTransformer,
    MaxAbsScaler,
    MinMaxScaler,
    Normalizer,
    RobustScaler,
    StandardScaler,
)
from sklearn.utils.validation import check_is_fitted
from torch import nn

from robustkit._sklearn_private import BaseSearchCV
from robustkit.bridge._as_module import as_module
from robustkit.bridge._functions import Apply, check_function

__all__ = ["Clamp", "ElementwiseScale", "Normalize", "in_double", "linear"]


class ElementwiseScale(nn.Module):
    """Compute ``(x - center) * scale + offset`` feature by feature, in its own dtype.

    The center is subtracted first, as the scalers do it: folding it into the offset
    would lose digits where the center is large and the spread small. Without any
    parameter it only brings its input to the dtype.
    """

    def __init__(self, center=0.0, scale=1.0, offset=0.0, dtype=torch.float64):
        super().__init__()
        parameters = {"center": (center, 0), "scale": (scale, 1), "offset": (offset, 0)}
        self.needed = []
        for name, (value, neutral) in parameters.items():
            self.register_buffer(name, torch.as_tensor(np.array(value), dtype=dtype))
            if np.ndim(value) or value != neutral:
                self.needed.append(name)

    def forward(self, x):
        """Scale a batch."""
        x = x.to(self.center.dtype)
        if "center" in self.needed:
            x = x - self.center
        if "scale" in self.needed:
            x = x * self.scale
        if "offset" in self.needed:
            x = x + self.offset
        return x


class Clamp(nn.Module):
    """Clip to a range."""

    def __init__(self, low, high):
        super().__init__()
        self.low, self.high = float(low), float(high)

    def forward(self, x):
        """Clip a batch."""
        return x.clamp(self.low, self.high)


class Normalize(nn.Module):
    """Divide every sample by its norm; one of norm zero stays as it is."""

    def __init__(self, norm):
        super().__init__()
        self.norm = norm

    def forward(self, x):
        """Normalize a batch."""
        if self.norm == "l1":
            norms = x.abs().sum(dim=1, keepdim=True)
        elif self.norm == "l2":
            # Not sqrt(0): its gradient is infinite.
            squares = x.square().sum(dim=1, keepdim=True)
            norms = torch.where(squares == 0, 1.0, squares).sqrt()
        else:
            norms = x.abs().amax(dim=1, keepdim=True)
        return x / torch.where(norms == 0, 1.0, norms)


def linear(weight, bias):
    """Make a linear layer of given weights, drawing no random numbers.

    Parameters
    ----------
    weight : ndarray of shape (n_outputs, n_inputs)
        Weights.

    bias : ndarray of shape (n_outputs,)
        Biases.

    Returns
    -------
    layer : torch.nn.Linear
        In float64, as scikit-learn computes.
    """
    n_outputs, n_inputs = weight.shape
    layer = nn.utils.skip_init(nn.Linear, n_inputs, n_outputs, dtype=torch.float64)
    with torch.no_grad():
        layer.weight.copy_(torch.from_numpy(np.array(weight)))
        layer.bias.copy_(torch.from_numpy(np.array(bias)))
    return layer


def in_double(*layers):
    """Chain layers of float64 after a cast, so that they take any floating dtype.

    Parameters
    ----------
    *layers : torch.nn.Module
        Called one after the other.

    Returns
    -------
    module : torch.nn.Sequential
        The layers keep the names "0", "1" and so on.
    """
    return _named_chain(("cast", ElementwiseScale()), *enumerate(layers))


def _named_chain(*parts):
    return nn.Sequential(OrderedDict((str(name), part) for name, part in parts))


@as_module.register(FrozenEstimator)
def _frozen(frozen):
    return as_module(frozen.estimator)


@as_module.register(BaseSearchCV)
def _search(search):
    if not search.refit:
        name = type(search).__name__
        raise TypeError(
            f"{name}(refit=False) keeps no fitted model, so there is nothing to see. "
            "Use refit=True, or fit the best parameters yourself."
        )
    check_is_fitted(search)
    return as_module(search.best_estimator_)


@as_module.register(Pipeline)
def _pipeline(pipeline):
    check_is_fitted(pipeline)
    parts = [
        _step(name, step)
        for name, step in pipeline.steps
        if step is not None and step != "passthrough"
    ]
    if len(parts) == 1:
        return parts[0]
    return _named_chain(*_joined(parts))


def _joined(parts):
    """Name the steps, with a cast before one that computes in another dtype."""
    dtype = None
    for position, part in enumerate(parts):
        dtypes = [t.dtype for t in _tensors(part) if t.is_floating_point()]
        if dtypes and dtypes[0] == dtype:
            part = _without_cast(part)
        elif dtypes and position > 0 and not _casts(part):
            yield f"cast_{position}", ElementwiseScale(dtype=dtypes[0])
        yield position, part
        dtype = dtypes[-1] if dtypes else dtype


def _casts(part):
    first = next(m for m in part.modules() if not isinstance(m, nn.Sequential))
    return isinstance(first, ElementwiseScale)


def _without_cast(part):
    if not isinstance(part, nn.Sequential) or "cast" not in dict(part.named_children()):
        return part
    kept = [child for child in part.named_children() if child[0] != "cast"]
    return kept[0][1] if len(kept) == 1 else _named_chain(*kept)


def _tensors(module):
    return chain(module.parameters(), module.buffers())


def _step(name, step):
    try:
        return as_module(step)
    except TypeError as error:
        raise TypeError(f"Step {name!r} of the pipeline: {error}") from error


@as_module.register(StandardScaler)
def _standard_scaler(scaler):
    check_is_fitted(scaler)
    return ElementwiseScale(
        center=scaler.mean_ if scaler.with_mean else 0.0,
        scale=1.0 / scaler.scale_ if scaler.with_std else 1.0,
    )


@as_module.register(RobustScaler)
def _robust_scaler(scaler):
    check_is_fitted(scaler)
    return ElementwiseScale(
        center=scaler.center_ if scaler.with_centering else 0.0,
        scale=1.0 / scaler.scale_ if scaler.with_scaling else 1.0,
    )


@as_module.register(MinMaxScaler)
def _min_max_scaler(scaler):
    check_is_fitted(scaler)
    low, high = scaler.feature_range
    scale = ElementwiseScale(scale=scaler.scale_, offset=scaler.min_)
    return nn.Sequential(scale, Clamp(low, high)) if scaler.clip else scale


@as_module.register(MaxAbsScaler)
def _max_abs_scaler(scaler):
    check_is_fitted(scaler)
    scale = ElementwiseScale(scale=1.0 / scaler.scale_)
    return nn.Sequential(scale, Clamp(-1, 1)) if scaler.clip else scale


@as_module.register(Normalizer)
def _normalizer(normalizer):
    return Normalize(normalizer.norm)


@as_module.register(PCA)
def _pca(pca):
    check_is_fitted(pca)
    # Centered after the product, as scikit-learn does it, so as to round alike.
    center = pca.mean_.reshape(1, -1) @ pca.components_.T
    project = in_double(linear(pca.components_, -center[0]))
    if pca.whiten:
        spread = np.sqrt(pca.explained_variance_)
        spread = np.maximum(spread, np.finfo(spread.dtype).eps)
        project.append(ElementwiseScale(scale=1.0 / spread))
    return project


@as_module.register(FunctionTransformer)
def _function_transformer(transformer):
    if transformer.func is None:
        return nn.Identity()
    check_function(transformer)
    return Apply(transformer.func, transformer.kw_args or {})
