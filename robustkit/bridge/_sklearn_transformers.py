"""Torch modules of scikit-learn's transformers."""

import warnings
from collections import OrderedDict
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from scipy.sparse import issparse
from scipy.special import ndtri
from sklearn.decomposition import PCA, FastICA, TruncatedSVD
from sklearn.preprocessing import (
    FunctionTransformer,
    MaxAbsScaler,
    MinMaxScaler,
    Normalizer,
    PolynomialFeatures,
    PowerTransformer,
    QuantileTransformer,
    RobustScaler,
    StandardScaler,
)
from sklearn.utils.validation import check_is_fitted
from torch import Tensor, nn

from robustkit._randomness import seeded_torch
from robustkit.bridge._as_module import as_module
from robustkit.graphs import GraphPrior
from robustkit.networks import SparseNetwork

__all__ = [
    "Clamp",
    "ElementwiseScale",
    "Interpolate",
    "Normalize",
    "dense",
    "in_double",
    "linear",
    "named_chain",
    "numpy_stream_kept",
    "probe",
    "two_logits",
]

# Of a power transform; smaller ones are logarithms.
_SMALLEST_EXPONENT = np.spacing(1.0)

# The smallest and largest share that a quantile transform to a normal variable knows.
_BOUND = 1e-7

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
    """Divide every sample by its norm; one of hardly any stays as it is."""

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
        smallest = 10 * torch.finfo(x.dtype).eps
        return x / torch.where(norms < smallest, 1.0, norms)


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


class Products(nn.Module):
    """Products of powers of the features.

    Each is one feature times a shorter product, as scikit-learn multiplies.

    Parameters
    ----------
    powers : ndarray of shape (n_products, n_features)
        Exponent of every feature in every product.
    """

    order: Tensor

    def __init__(self, powers: NDArray) -> None:
        super().__init__()
        wanted = [tuple(np.repeat(np.arange(len(row)), row)) for row in powers]
        # Every end of a product is needed, too: a dict keeps them in order.
        needed = {factors[k:] for factors in wanted for k in range(len(factors) + 1)}
        place: dict[tuple, int] = {(): 0}
        self.n_levels = max(map(len, needed), default=0)
        for level in range(1, self.n_levels + 1):
            products = sorted(product for product in needed if len(product) == level)
            pairs = [(product[0], place[product[1:]]) for product in products]
            place |= {product: len(place) + k for k, product in enumerate(products)}
            self._keep(f"level_{level}", np.array(pairs).reshape(-1, 2).T)
        self._keep("order", np.array([place[product] for product in wanted]))

    def _keep(self, name: str, values: NDArray) -> None:
        self.register_buffer(name, torch.from_numpy(values.astype(np.int64)))

    def forward(self, x: Tensor) -> Tensor:
        """Multiply the features of a batch."""
        products = torch.ones_like(x[:, :1])
        for level in range(1, self.n_levels + 1):
            feature, shorter = getattr(self, f"level_{level}")
            longer = x[:, feature] * products[:, shorter]
            products = torch.cat([products, longer], dim=1)
        return products[:, self.order]


class PowerTransform(nn.Module):
    """A power of every feature, each with an exponent of its own."""

    lambdas: Tensor

    def __init__(self, lambdas: NDArray) -> None:
        super().__init__()
        lambdas = np.array(lambdas, dtype=np.float64)
        self.register_buffer("lambdas", torch.from_numpy(lambdas))


class YeoJohnson(PowerTransform):
    """The power transform of numbers of both signs, feature by feature."""

    def forward(self, x: Tensor) -> Tensor:
        """Transform a batch."""
        # Both sides are computed of all numbers: where one does not count, of zero.
        # Not `clamp`, whose gradient at zero is half of what it should be.
        up = box_cox_of_log(torch.where(x >= 0, x, 0.0).log1p(), self.lambdas)
        down = torch.where(x < 0, -x, 0.0).log1p()
        return torch.where(x >= 0, up, -box_cox_of_log(down, 2 - self.lambdas))


class BoxCox(PowerTransform):
    """The power transform of positive numbers, feature by feature."""

    def forward(self, x: Tensor) -> Tensor:
        """Transform a batch."""
        return box_cox_of_log(x.log(), self.lambdas)


def box_cox_of_log(log: Tensor, exponent: Tensor) -> Tensor:
    """Compute ``(exp(log * exponent) - 1) / exponent``, whose limit at 0 is log."""
    is_log = exponent.abs() < _SMALLEST_EXPONENT
    exponent = torch.where(is_log, 1.0, exponent)
    return torch.where(is_log, log, torch.expm1(exponent * log) / exponent)


class Interpolate(nn.Module):
    """Interpolate linearly between points, as `numpy.interp` does; constant outside.

    Parameters
    ----------
    x : ndarray of shape (n_points, ...)
        Where the values are known, in rising order along the first axis.

    y : ndarray of shape (n_points, ...)
        The values.
    """

    x: Tensor
    y: Tensor
    slope: Tensor

    def __init__(self, x: NDArray, y: NDArray) -> None:
        super().__init__()
        x, y = np.array(x, dtype=np.float64), np.array(y, dtype=np.float64)
        widths = np.diff(x, axis=0)
        slope = np.zeros_like(y)
        slope[:-1] = np.diff(y, axis=0) / np.where(widths > 0, widths, 1)
        # Along the last axis: one row of points per feature.
        for name, values in {"x": x, "y": y, "slope": slope}.items():
            self.register_buffer(name, torch.from_numpy(values.T.copy()))

    def forward(self, x: Tensor) -> Tensor:
        """Interpolate a batch of shape (n_samples, ...)."""
        start, level, slope = self.pieces(x)
        return slope * (x - start) + level

    def pieces(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return start, level and slope of the piece in which each number lies."""
        where, n_points = x.detach().movedim(0, -1).contiguous(), self.x.shape[-1]
        after = torch.searchsorted(self.x, where, right=True).movedim(-1, 0)
        place = (after - 1).clamp(0, n_points - 1)
        start, level = _taken(self.x, place), _taken(self.y, place)
        # Outside there is a piece without slope at either end.
        outside = (after == 0) | (after == n_points)
        slope = _taken(self.slope, place)
        return start, level, torch.where(outside, 0.0, slope)


def _taken(values: Tensor, place: Tensor) -> Tensor:
    """Take for each feature its value of each place."""
    values = values.expand(*place.shape, values.shape[-1])
    return values.gather(-1, place[..., None]).squeeze(-1)


class Quantiles(nn.Module):
    """The share of a distribution below each value, feature by feature.

    Parameters
    ----------
    quantiles : ndarray of shape (n_quantiles, n_features)
        The values whose share is known.

    references : ndarray of shape (n_quantiles,)
        Their shares.

    margin : float, default=0.0
        What comes as near as this to the first or last quantile counts as beyond it.
    """

    def __init__(
        self, quantiles: NDArray, references: NDArray, margin: float = 0.0
    ) -> None:
        super().__init__()
        self.margin = margin
        levels = np.repeat(references[:, None], quantiles.shape[1], axis=1)
        # The mean of both directions: of equal quantiles neither the first nor the
        # last counts.
        self.rising = Interpolate(quantiles, levels)
        self.falling = Interpolate(-quantiles[::-1], -levels[::-1])

    def forward(self, x: Tensor) -> Tensor:
        """Transform a batch."""
        shares = 0.5 * (self.rising(x) - self.falling(-x))
        # Of a constant feature, say, the ends have the last word.
        low, high, margin = self.rising.x[:, 0], self.rising.x[:, -1], self.margin
        is_above = x + margin > high if margin else x >= high
        is_below = x - margin < low if margin else x <= low
        # Of a single quantile the share is 0, but what is clearly above it has 1.
        top = torch.ones_like(high) if margin else self.rising.y[:, -1]
        return torch.where(is_below, 0.0, torch.where(is_above, top, shares))


class NormalQuantile(nn.Module):
    """The value below which a normal variable has a given probability."""

    def forward(self, x: Tensor) -> Tensor:
        """Transform a batch."""
        # As scikit-learn: not to infinity.
        most = ndtri(1 - (_BOUND - np.spacing(1)))
        least = ndtri(_BOUND - np.spacing(1))
        inside = x.clamp(_BOUND / 2, 1 - _BOUND / 2)
        return torch.special.ndtri(inside).clamp(least, most)


def linear(weight: NDArray, bias: NDArray) -> nn.Linear:
    """Make a float64 layer of given weights, drawing no random numbers."""
    n_outputs, n_inputs = weight.shape
    layer = nn.utils.skip_init(nn.Linear, n_inputs, n_outputs, dtype=torch.float64)
    with torch.no_grad():
        layer.weight.copy_(torch.from_numpy(np.array(weight)))
        layer.bias.copy_(torch.from_numpy(np.array(bias)))
    return layer


def dense(coef: Any) -> NDArray:
    """Undo `sparsify`, and give a single row its second axis."""
    return np.atleast_2d(coef.toarray() if issparse(coef) else coef)


def two_logits(weight: NDArray, bias: NDArray) -> tuple[NDArray, NDArray]:
    """Turn a single output f into (0, f), whose softmax is (1 - p, p)."""
    if len(weight) > 1:
        return weight, bias
    return np.vstack([np.zeros_like(weight), weight]), np.array([0.0, bias[0]])


def in_double(*layers: nn.Module) -> nn.Sequential:
    """Chain float64 layers after a cast, so that they take any floating dtype.

    The layers are named "0", "1" and so on.
    """
    return named_chain(("cast", ElementwiseScale()), *enumerate(layers))


def named_chain(*parts: tuple[str | int, nn.Module]) -> nn.Sequential:
    return nn.Sequential(OrderedDict((str(name), part) for name, part in parts))


@as_module.register(StandardScaler)
def _standard_scaler(scaler: StandardScaler) -> nn.Module:
    check_is_fitted(scaler)
    return ElementwiseScale(
        center=scaler.mean_ if scaler.with_mean else 0.0,
        scale=1.0 / scaler.scale_.astype(np.float64) if scaler.with_std else 1.0,
    )


@as_module.register(RobustScaler)
def _robust_scaler(scaler: RobustScaler) -> nn.Module:
    check_is_fitted(scaler)
    return ElementwiseScale(
        center=scaler.center_ if scaler.with_centering else 0.0,
        scale=1.0 / scaler.scale_.astype(np.float64) if scaler.with_scaling else 1.0,
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
    scale = ElementwiseScale(scale=1.0 / scaler.scale_.astype(np.float64))
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
        project.append(ElementwiseScale(scale=1.0 / spread.astype(np.float64)))
    return project


@as_module.register(TruncatedSVD)
def _truncated_svd(svd: TruncatedSVD) -> nn.Module:
    check_is_fitted(svd)
    return in_double(linear(svd.components_, np.zeros(len(svd.components_))))


@as_module.register(FastICA)
def _fast_ica(ica: FastICA) -> nn.Module:
    check_is_fitted(ica)
    center = ica.mean_ if ica.whiten else 0.0
    unmix = linear(ica.components_, np.zeros(len(ica.components_)))
    return nn.Sequential(ElementwiseScale(center=center), unmix)


@as_module.register(PolynomialFeatures)
def _polynomial_features(features: PolynomialFeatures) -> nn.Module:
    check_is_fitted(features)
    return in_double(Products(features.powers_))


@as_module.register(PowerTransformer)
def _power_transformer(transformer: PowerTransformer) -> nn.Module:
    check_is_fitted(transformer)
    of_method = {"yeo-johnson": YeoJohnson, "box-cox": BoxCox}[transformer.method]
    power = in_double(of_method(transformer.lambdas_))
    if transformer.standardize:
        power.append(_standard_scaler(transformer._scaler))
    return power


@as_module.register(QuantileTransformer)
def _quantile_transformer(transformer: QuantileTransformer) -> nn.Module:
    check_is_fitted(transformer)
    points = transformer.quantiles_, transformer.references_
    if transformer.output_distribution == "uniform":
        return in_double(Quantiles(*points))
    return in_double(Quantiles(*points, margin=_BOUND), NormalQuantile())


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
    with seeded_torch(0), numpy_stream_kept(), warnings.catch_warnings():
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
        X = probe(width)
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


def probe(width: int) -> NDArray:
    """Rows of both signs, positive rows for a logarithm, and one of zeros."""
    rng = np.random.RandomState(0)
    rows = [np.zeros((1, width))]
    for scale in _SCALES:
        values = scale * rng.normal(size=(_N_PROBES, width))
        rows += [values, np.abs(values)]
    return np.concatenate(rows)


@contextmanager
def numpy_stream_kept() -> Generator[None, None, None]:
    """Restore numpy's global stream, which a function may draw from."""
    state = np.random.get_state()
    try:
        yield
    finally:
        np.random.set_state(state)
