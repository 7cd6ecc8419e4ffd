"""Activations of a network as a scikit-learn transformer."""

from collections.abc import Callable, Sequence
from numbers import Integral
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from sklearn.base import (
    ClassNamePrefixFeaturesOutMixin,
    MetaEstimatorMixin,
    TransformerMixin,
    clone,
)
from sklearn.utils import get_tags
from sklearn.utils.validation import check_is_fitted, validate_data
from torch import Tensor, nn

from robustkit._randomness import draw_seed, hash_rows
from robustkit._samples import check_layout, flat_samples
from robustkit._sklearn_private import HasMethods, Interval, StrOptions, _fit_context
from robustkit._tensors import (
    as_array,
    as_tensor,
    dtype_of,
    map_batches,
    resolve_device,
)
from robustkit.bridge._as_module import as_module
from robustkit.bridge._given_model import (
    TakesModel,
    check_feature_names,
    image_shape_of,
    input_shape,
    shaped_for,
    takes_images,
    warn_if_fitted,
)
from robustkit.bridge._layers import (
    layer_names,
    module_on,
    resolve_layers,
    steady_layer_values,
)

__all__ = ["ActivationExtractor"]


class ActivationExtractor(
    ClassNamePrefixFeaturesOutMixin, TransformerMixin, MetaEstimatorMixin, TakesModel
):
    """Transform samples into the activations of a layer of a network.

    Parameters
    ----------
    estimator : estimator or torch.nn.Module
        A classifier that :func:`as_module` understands. It is cloned and fitted; a
        model already trained is passed as ``FrozenEstimator(model)``, or as the bare
        module, which is used as it is.

    layer : str or int, default="logits"
        "logits", "penultimate" (the input of the last affine map), a name as in
        `named_modules()` of the network or of your own module in it, or an index into
        its hidden layers.

    spatial : {"random", "mean", "flatten"}, default="random"
        How a layer of channels x height x width is reduced: "random" keeps the channels
        at one position, drawn for each image; "mean" averages each channel; "flatten"
        keeps all.

    batch_size : int, default=4096
        Samples that pass through the network at a time. It does not affect results.

    device : str or torch.device, default="auto"
        Where the network runs; "auto" is CUDA where there is one, else the CPU.

    random_state : int, RandomState instance or None, default=None
        Seeds the positions of `spatial="random"`. They depend on it and on the content
        of the image only, not on its position among the others.

    Attributes
    ----------
    estimator_ : estimator
        The fitted classifier, or the module.

    n_features_in_ : int
        Number of features seen during `fit`.

    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Names of the features, if X had names.

    See Also
    --------
    as_module : The network that the layers belong to.
    robustkit.regions.PopulatedRegionScorer : Counts the linear regions of a layer.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.neural_network import MLPClassifier
    >>> from robustkit.bridge import ActivationExtractor
    >>> X, y = load_iris(return_X_y=True)
    >>> model = MLPClassifier((16, 8), max_iter=1000, random_state=0)
    >>> ActivationExtractor(model, layer="penultimate").fit_transform(X, y).shape
    (150, 8)
    """

    _parameter_constraints: dict = {
        "estimator": [HasMethods(["fit", "predict"]), nn.Module],
        "layer": [str, Integral],
        "spatial": [StrOptions({"random", "mean", "flatten"})],
        "batch_size": [Interval(Integral, 1, None, closed="left")],
        "device": [str, torch.device],
        "random_state": ["random_state"],
    }

    estimator_: Any
    n_features_in_: int
    feature_names_in_: NDArray

    def __init__(
        self,
        estimator: Any,
        *,
        layer: str | int = "logits",
        spatial: str = "random",
        batch_size: int = 4096,
        device: str | torch.device = "auto",
        random_state: int | np.random.RandomState | None = None,
    ) -> None:
        self.estimator = estimator
        self.layer = layer
        self.spatial = spatial
        self.batch_size = batch_size
        self.device = device
        self.random_state = random_state

    # The classifier validates its own parameters.
    @_fit_context(prefer_skip_nested_validation=False)
    def fit(self, X: ArrayLike, y: ArrayLike | None = None) -> Self:
        """Fit a clone of the classifier.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features) or images
            Training samples. Images are an array or tensor of shape (n_samples,
            channels, height, width); those of uint8 are divided by 255.

        y : array-like of shape (n_samples,), default=None
            Their classes. Not needed by a frozen classifier.

        Returns
        -------
        self : object
            The fitted extractor.
        """
        given, image_shape = flat_samples(X)
        self._image_shape = image_shape
        samples = validate_data(self, given, dtype=[np.float32, np.float64])
        self.estimator_ = self._fit_model(given, y, image_shape)
        check_feature_names(self.estimator_, given)
        check_layout(image_shape, image_shape_of(self.estimator_))
        self._input_shape = image_shape and input_shape(
            as_module(self.estimator_),
            samples,
            image_shape,
            wants_images=takes_images(self.estimator_),
        )
        _, (one,) = self._run(samples[:1], [self.layer], lambda values, _: values)
        self._position_seed = None
        if one.ndim > 2 and self.spatial == "random":
            self._position_seed = draw_seed(self.random_state)
        self._n_features_out = self._as_rows(one, as_tensor(samples[:1])).shape[1]
        return self

    def _fit_model(self, given, y, image_shape):
        if isinstance(self.estimator, nn.Module):
            return self.estimator
        warn_if_fitted(self.estimator, self)
        # The classifier gets the original data, with the names of their columns.
        given = shaped_for(self.estimator, given, image_shape)
        return clone(self.estimator).fit(given, y)

    def transform(self, X: ArrayLike) -> NDArray:
        """Compute the activations.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features) or images
            Samples; see :meth:`fit`.

        Returns
        -------
        activations : ndarray of shape (n_samples, n_units), dtype=float32
            Outputs of the layer.
        """
        return self._extract(self._checked(X))

    def transform_layers(
        self, X: ArrayLike, layers: str | int | Sequence[str | int] = "all"
    ) -> dict[str, NDArray]:
        """Compute the activations of several layers, all of them in one pass.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features) or images
            Samples; see :meth:`fit`.

        layers : str, int or list of these, default="all"
            Layers as for `layer`. "all" is every hidden layer and the logits, from
            first to last.

        Returns
        -------
        activations : dict of str to ndarray of shape (n_samples, n_units)
            Outputs of each layer, float32, by its name.
        """
        samples = self._checked(X)
        names, values = self._run(samples, layers, self._as_rows)
        return dict(zip(names, map(as_array, values), strict=True))

    def _checked(self, X: ArrayLike) -> NDArray:
        check_is_fitted(self)
        samples, _ = flat_samples(X, image_shape_of(self))
        return validate_data(self, samples, dtype=[np.float32, np.float64], reset=False)

    def _extract(self, X: NDArray) -> NDArray:
        return as_array(self._run(X, [self.layer], self._as_rows)[1][0])

    def _run(
        self,
        X: NDArray,
        layers: str | int | Sequence[str | int],
        finish: Callable[[Tensor, Tensor], Tensor],
    ) -> tuple[list[str], tuple[Tensor, ...]]:
        """Run the network once; return the names of layers, and what they compute."""
        device = resolve_device(self.device)
        module = module_on(self.estimator_, X, device, self._input_shape)
        if isinstance(layers, str) and layers == "all":
            names = [*layer_names(module), "logits"]
        else:
            names = resolve_layers(module, layers)

        def run(batch):
            values = steady_layer_values(module, batch.to(device), names)
            return tuple(
                finish(values[name].activation, batch).cpu().float() for name in names
            )

        samples = as_tensor(X, dtype=dtype_of(module))
        return names, map_batches(run, samples, batch_size=self.batch_size)

    def _as_rows(self, values: Tensor, samples: Tensor) -> Tensor:
        if values.ndim <= 2 or self.spatial == "flatten":
            return values.flatten(1)
        values = values.flatten(2)
        if self.spatial == "mean":
            return values.mean(dim=2)
        if self._position_seed is None:
            # The layer of `fit` has no positions, but another one has.
            self._position_seed = draw_seed(self.random_state)
        positions = _drawn_by_content(samples, values.shape[2], self._position_seed)
        return values[torch.arange(len(values)), :, positions]

    def _facts(self) -> dict[str, Any]:
        return {
            "layer": self.layer,
            "features": self.n_features_in_,
            "units": self._n_features_out,
        }

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        # A bare module has no tags, and needs no labels.
        has_tags = hasattr(self.estimator, "__sklearn_tags__")
        needs_y = has_tags and get_tags(self.estimator).target_tags.required
        tags.target_tags.required = needs_y
        tags.transformer_tags.preserves_dtype = ["float32"]
        return tags


def _drawn_by_content(samples: Tensor, n_outcomes: int, seed: int) -> Tensor:
    """Draw an integer below `n_outcomes` for each sample from its content."""
    mixed = hash_rows(as_array(samples.flatten(1).float()), seed)
    # The high bits are the well mixed ones.
    return torch.from_numpy((mixed >> np.uint64(33)).astype(np.int64) % n_outcomes)
