"""Torch modules of scikit-learn's transformers, and of the pipelines around them."""

import warnings
from collections import OrderedDict
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from itertools import chain
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
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
from torch import Tensor, nn

from robustkit._randomness import seeded_torch
from robustkit._sklearn_private import BaseSearchCV
from robustkit.bridge._as_module import as_module
from robustkit.graphs import GraphPrior
from robustkit.networks import SparseNetwork

__all__ = ["Clamp", "ElementwiseScale", "Normalize", "in_double", "linear"]

# A function is tried with numbers of these sizes,
_SCALES = (1e-3, 1.0, 1e3)
# with as many features, where its transformer does not know how many,
_WIDTHS = (3, 1, 2, 4, 8, 16, 64)
# and as many rows of each size and sign.
_N_PROBES = 4


class ElementwiseScale(nn.Module):
    """Compute ``(x - center) * scale + offset`` feature by feature, in its own dtype.

    The center is subtracted first, as the scalers do: folding it into the offset would
    lose digits where the center is large and the spread small. Without any parameter it
    only casts its input to the dtype.
    """

    center: Tensor
    scale: Tensor
    offset: Tensor

    def __init__(
        self,
        center: ArrayLike = 0.0,
        scale: ArrayLike = 1.0,
        offset: ArrayLike = 0.0,
        dtype: torch.dtype = torch.float64,
    ) -> None:
        super().__init__()
        parameters = {"center": (center, 0), "scale": (scale, 1), "offset": (offset, 0)}
        self.needed = []
        for name, (value, neutral) in parameters.items():
            self.register_buffer(name, torch.as_tensor(np.array(value), dtype=dtype))
            if np.ndim(value) or value != neutral:
                self.needed.append(name)

    def forward(self, x: Tensor) -> Tensor:
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

    def __init__(self, low: float, high: float) -> None:
        super().__init__()
        self.low, self.high = float(low), float(high)

    def forward(self, x: Tensor) -> Tensor:
        """Clip a batch."""
        return x.clamp(self.low, self.high)


class Normalize(nn.Module):
    """Divide every sample by its norm; one of norm zero stays as it is."""

    def __init__(self, norm: str) -> None:
        super().__init__()
        self.norm = norm

    def forward(self, x: Tensor) -> Tensor:
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


class Apply(nn.Module):
    """A function as a module."""

    def __init__(
        self, function: Callable[..., Tensor], arguments: dict[str, Any]
    ) -> None:
        super().__init__()
        self.function = function
        self.arguments = arguments

    def forward(self, x: Tensor) -> Tensor:
        """Call it on a batch."""
        return self.function(x, **self.arguments)


def linear(weight: NDArray, bias: NDArray) -> nn.Linear:
    """Make a float64 layer of given weights, drawing no random numbers."""
    n_outputs, n_inputs = weight.shape
    layer = nn.utils.skip_init(nn.Linear, n_inputs, n_outputs, dtype=torch.float64)
    with torch.no_grad():
        layer.weight.copy_(torch.from_numpy(np.array(weight)))
        layer.bias.copy_(torch.from_numpy(np.array(bias)))
    return layer


def in_double(*layers: nn.Module) -> nn.Sequential:
    """Chain float64 layers after a cast, so that they take any floating dtype.

    The layers are named "0", "1" and so on.
    """
    return _named_chain(("cast", ElementwiseScale()), *enumerate(layers))


def _named_chain(*parts: tuple[str | int, nn.Module]) -> nn.Sequential:
    return nn.Sequential(OrderedDict((str(name), part) for name, part in parts))


@as_module.register(FrozenEstimator)
def _frozen(frozen: FrozenEstimator) -> nn.Module:
    return as_module(frozen.estimator)


@as_module.register(BaseSearchCV)
def _search(search: BaseSearchCV) -> nn.Module:
    if not search.refit:
        name = type(search).__name__
        raise TypeError(
            f"{name}(refit=False) keeps no fitted model. "
            "Use refit=True, or fit the best parameters yourself."
        )
    check_is_fitted(search)
    return as_module(search.best_estimator_)


@as_module.register(Pipeline)
def _pipeline(pipeline: Pipeline) -> nn.Module:
    check_is_fitted(pipeline)
    parts = [
        _step(name, step)
        for name, step in pipeline.steps
        if step is not None and step != "passthrough"
    ]
    if len(parts) == 1:
        return parts[0]
    return _named_chain(*_joined(parts))


def _joined(parts: list[nn.Module]) -> Iterator[tuple[str | int, nn.Module]]:
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


def _casts(part: nn.Module) -> bool:
    first = next(m for m in part.modules() if not isinstance(m, nn.Sequential))
    return isinstance(first, ElementwiseScale)


def _without_cast(part: nn.Module) -> nn.Module:
    if not isinstance(part, nn.Sequential) or "cast" not in dict(part.named_children()):
        return part
    kept = [child for child in part.named_children() if child[0] != "cast"]
    return kept[0][1] if len(kept) == 1 else _named_chain(*kept)


def _tensors(module: nn.Module) -> Iterator[Tensor]:
    return chain(module.parameters(), module.buffers())


def _step(name: str, step: Any) -> nn.Module:
    try:
        return as_module(step)
    except TypeError as error:
        raise TypeError(f"Step {name!r} of the pipeline: {error}") from error


@as_module.register(StandardScaler)
def _standard_scaler(scaler: StandardScaler) -> nn.Module:
    check_is_fitted(scaler)
    return ElementwiseScale(
        center=scaler.mean_ if scaler.with_mean else 0.0,
        scale=1.0 / scaler.scale_ if scaler.with_std else 1.0,
    )


@as_module.register(RobustScaler)
def _robust_scaler(scaler: RobustScaler) -> nn.Module:
    check_is_fitted(scaler)
    return ElementwiseScale(
        center=scaler.center_ if scaler.with_centering else 0.0,
        scale=1.0 / scaler.scale_ if scaler.with_scaling else 1.0,
    )


@as_module.register(MinMaxScaler)
def _min_max_scaler(scaler: MinMaxScaler) -> nn.Module:
    check_is_fitted(scaler)
    low, high = scaler.feature_range
    scale = ElementwiseScale(scale=scaler.scale_, offset=scaler.min_)
    return nn.Sequential(scale, Clamp(low, high)) if scaler.clip else scale


@as_module.register(MaxAbsScaler)
def _max_abs_scaler(scaler: MaxAbsScaler) -> nn.Module:
    check_is_fitted(scaler)
    scale = ElementwiseScale(scale=1.0 / scaler.scale_)
    return nn.Sequential(scale, Clamp(-1, 1)) if scaler.clip else scale


@as_module.register(Normalizer)
def _normalizer(normalizer: Normalizer) -> nn.Module:
    return Normalize(normalizer.norm)


@as_module.register(PCA)
def _pca(pca: PCA) -> nn.Module:
    check_is_fitted(pca)
    # Centered after the product, as scikit-learn does it, so as to round alike.
    center = pca.mean_.reshape(1, -1) @ pca.components_.T
    project = in_double(linear(pca.components_, -center[0]))
    if pca.whiten:
        spread = np.sqrt(pca.explained_variance_)
        spread = np.maximum(spread, np.finfo(spread.dtype).eps)
        project.append(ElementwiseScale(scale=1.0 / spread))
    return project


@as_module.register(GraphPrior)
def _graph_prior(prior: GraphPrior) -> nn.Module:
    check_is_fitted(prior)
    structure = prior.structure_
    n_sinks = len(structure.sinks)
    network = SparseNetwork(structure, prior.n_features_in_, n_sinks).double()
    parameters = {
        "input_weight": prior.input_weights_.T,
        "edge_weight": prior.edge_weights_,
        "bias": prior.biases_,
        # The features are the sinks themselves.
        "output_weight": np.eye(n_sinks),
    }
    with torch.no_grad():
        for name, values in parameters.items():
            getattr(network, name).copy_(torch.from_numpy(np.array(values)))
    return in_double(network)


@as_module.register(FunctionTransformer)
def _function_transformer(transformer: FunctionTransformer) -> nn.Module:
    if transformer.func is None:
        return nn.Identity()
    check_function(transformer)
    return Apply(transformer.func, transformer.kw_args or {})


def check_function(transformer: FunctionTransformer) -> None:
    """Refuse a FunctionTransformer whose function computes something else of a tensor.

    It is tried with numbers of several sizes and signs, as an array and as a tensor.
    That is no proof: a function may still treat the two differently at other numbers.
    """
    function = Apply(transformer.func, transformer.kw_args or {})
    name = getattr(transformer.func, "__name__", repr(transformer.func))
    with seeded_torch(0), _numpy_stream_kept(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        X, expected = _result_of_numpy(function, transformer, name)
        found = _result_of_torch(function, X)
    if found is None:
        raise TypeError(
            f"the function {name!r} of FunctionTransformer does not take a torch "
            "tensor and return one with a gradient. Write it in torch, or use an "
            "attack that needs no gradient, such as OnePixelAttack."
        )
    if found.shape != expected.shape or not np.allclose(
        found, expected, rtol=1e-6, atol=1e-13, equal_nan=True
    ):
        raise TypeError(
            f"the function {name!r} of FunctionTransformer computes something else of "
            "a torch tensor than of a numpy array. A method of one name may differ, as "
            "var and std do in their ddof: name such arguments, or write it in torch."
        )


def _result_of_numpy(
    function: Apply, transformer: FunctionTransformer, name: str
) -> tuple[NDArray, NDArray]:
    known = getattr(transformer, "n_features_in_", None)
    for width in _WIDTHS if known is None else (known,):
        X = _probe(width)
        try:
            return X, np.asarray(function(X.copy()), dtype=np.float64)
        except Exception as error:
            reason = error
    raise TypeError(
        f"the function {name!r} of FunctionTransformer could not be tried with an "
        f"array of shape {X.shape}: {reason}"
    ) from reason


def _result_of_torch(function: Apply, X: NDArray) -> NDArray | None:
    probe = torch.tensor(X, requires_grad=True)
    try:
        # Also where the caller needs no gradient now. Any error means that this
        # function does not take tensors.
        with torch.enable_grad():
            result = function(probe)
    except Exception:
        return None
    if not torch.is_tensor(result) or not result.requires_grad:
        return None
    return result.detach().numpy()


def _probe(width: int) -> NDArray:
    """Rows of both signs, positive rows for a logarithm, and one of zeros."""
    rng = np.random.RandomState(0)
    rows = [np.zeros((1, width))]
    for scale in _SCALES:
        values = scale * rng.normal(size=(_N_PROBES, width))
        rows += [values, np.abs(values)]
    return np.concatenate(rows)


@contextmanager
def _numpy_stream_kept() -> Generator[None, None, None]:
    """Restore numpy's global stream, which a function may draw from."""
    state = np.random.get_state()
    try:
        yield
    finally:
        np.random.set_state(state)
