"""The model that an attack or an analysis is given: an estimator or a bare module."""

import warnings
from collections.abc import Sequence
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.base import BaseEstimator
from sklearn.exceptions import NotFittedError
from sklearn.frozen import FrozenEstimator
from sklearn.utils import get_tags
from sklearn.utils.validation import check_is_fitted
from torch import nn

from robustkit._sklearn_private import (
    _check_feature_names,
    _clone_parametrized,
    _get_feature_names,
)
from robustkit._summary import HTMLSummaryMixin, facts_as_html
from robustkit._tensors import as_tensor, dtype_of, evaluating
from robustkit._validation import caller_depth
from robustkit.networks import flat_input

__all__ = [
    "TakesModel",
    "check_feature_names",
    "check_is_trained",
    "frozen",
    "image_shape_of",
    "is_frozen",
    "input_shape",
    "shaped_for",
    "takes_images",
    "thawed",
    "try_out",
    "warn_if_fitted",
]

# Where TorchClassifier is defined, and what holds one that it fits.
_LEARN_SHAPES = (
    "robustkit.classifiers._torch_classifier",
    "robustkit.classifiers._pruned_net_classifier",
    "robustkit.defenses._weak_region_refiner",
)

# Samples that a module is called with to see what it takes and returns.
_N_PROBES = 2


def thawed(model: Any) -> Any:
    """Take a model out of the FrozenEstimators around it, if there are any."""
    while isinstance(model, FrozenEstimator):
        model = model.estimator
    return model


def frozen(model: Any) -> Any:
    """Keep a trained model from being trained again; a bare module never is."""
    return model if is_frozen(model) else FrozenEstimator(model)


def is_frozen(model: Any) -> bool:
    """Whether `fit` leaves a model as it is, and `clone` returns the model itself."""
    is_wrapped = isinstance(model, FrozenEstimator | nn.Module)
    return is_wrapped or getattr(model, "_is_frozen", False)


def image_shape_of(model: Any) -> tuple[int, ...] | None:
    """Shape of the images that a model was fitted to; None for a table.

    A model around another one that was fitted to rows may hold one that was not.
    """
    while model is not None:
        model = thawed(model)
        for name in ("image_shape_", "_image_shape", "_shape_at_fit"):
            shape = getattr(model, name, None)
            if shape is not None:
                return tuple(shape)
        model = getattr(model, "estimator_", None)
    return None


def check_is_trained(model: Any) -> None:
    """Refuse an estimator that is not fitted; a bare module is trained."""
    if not isinstance(model, nn.Module):
        check_is_fitted(model)


def check_feature_names(model: Any, X: Any) -> None:
    """Refuse columns that a trained model knows by other names, or in another order.

    Its own `predict` would; but what is computed with its weights, or asked of it in
    rows, knows of no names. Samples without names are taken as they are.
    """
    model = thawed(model)
    has_names = getattr(model, "feature_names_in_", None) is not None
    if has_names and _get_feature_names(X) is not None:
        _check_feature_names(model, X, reset=False)


def takes_images(model: Any) -> bool:
    """Whether a model computes with images as they are, and not with rows.

    So do bare modules and skorch nets. All others, pipelines too, take rows.
    """
    model = thawed(model)
    return isinstance(model, nn.Module) or _comes_from(model, "skorch.classifier")


def shaped_for(model: Any, rows: Any, image_shape: Sequence[int] | None) -> Any:
    """Give rows the shape of the images that they were, if a model is to have these.

    So are models that compute with images, and those that learn from what they are
    fitted to in which shape a module takes samples.
    """
    learns = any(_comes_from(model, module) for module in _LEARN_SHAPES)
    if image_shape is None or not (
        (learns and not is_frozen(model)) or takes_images(model)
    ):
        return rows
    return np.reshape(rows, (len(rows), *image_shape))


def _comes_from(model: Any, module: str) -> bool:
    """Whether its class is defined in a module, which need not be imported here."""
    return module in {cls.__module__ for cls in type(model).__mro__}


def input_shape(
    module: nn.Module,
    rows: NDArray,
    image_shape: Sequence[int] | None,
    *,
    wants_images: bool,
) -> Sequence[int] | None:
    """Find out in which shape a module takes samples that were images; None is rows.

    That is the shape of the images for a module that wants them, also with the channel
    that images of (n, height, width) lack. Any other gets rows if it takes them.
    """
    if image_shape is None:
        return None
    shapes: list[Any] = [] if wants_images else [None]
    shapes.append(tuple(image_shape))
    if len(image_shape) == 2:
        shapes.append((1, *image_shape))
    errors = []
    for shape in shapes:
        try:
            try_out(module, rows, shape)
        except ValueError as error:
            errors.append(error)
        else:
            return shape
    raise errors[0]


def try_out(
    module: nn.Module, rows: Any, image_shape: Sequence[int] | None = None
) -> Any:
    """Call a module with the first samples, or say in which shape it refuses them."""
    rows = np.asarray(rows)[:_N_PROBES]
    weight = next(module.parameters(), torch.empty(0))
    samples = as_tensor(rows, device=weight.device, dtype=dtype_of(module))
    try:
        with torch.no_grad(), evaluating(module), torch.random.fork_rng(devices=[]):
            return flat_input(module, image_shape)(samples)
    except Exception as error:
        shape = ", ".join(map(str, image_shape or rows.shape[1:]))
        reason = str(error).strip().partition("\n")[0]
        raise ValueError(
            f"{type(module).__name__} cannot be called with X, in batches of shape (n, "
            f"{shape}): {reason}. Pass X in the shape that the module takes, such as "
            "(n, channels, height, width), or pass "
            "TorchClassifier.from_module(module, classes, image_shape=...)."
        ) from error


def warn_if_fitted(model: Any, owner: Any) -> None:
    """Warn of a fitted model that `fit` of its owner is about to train anew.

    A frozen one stays as it is, and so does one whose clone is itself.
    """
    if is_frozen(model) or not _is_trained(model):
        return
    name, inner = type(owner).__name__, type(model).__name__
    warnings.warn(
        f"{name}.fit trains a new {inner} on this X and y, though the one passed is "
        f"fitted already. Pass {name}(FrozenEstimator(model)) to use it as it is "
        "(sklearn.frozen.FrozenEstimator), or sklearn.base.clone(model) to train a new "
        "one without this warning.",
        UserWarning,
        stacklevel=caller_depth(),
    )


def _is_trained(model: Any) -> bool:
    if not get_tags(model).requires_fit:
        return False
    try:
        check_is_fitted(model)
    except NotFittedError:
        return False
    return True


class TakesModel(HTMLSummaryMixin, BaseEstimator):
    """What estimators have whose first parameter, `estimator`, is a model.

    A bare torch module is a trained model: `clone` hands it on as it is, and the text
    of the estimator shows its class only. In a notebook, what `_facts` says stands
    above the parameters once the estimator is fitted.
    """

    estimator: Any

    # Of the images that `fit` was given; None for a table.
    _image_shape: tuple[int, ...] | None = None

    def __sklearn_clone__(self) -> Self:
        if not isinstance(self.estimator, nn.Module):
            return _clone_parametrized(self)
        twin = _clone_parametrized(self._holding(None))
        twin.estimator = self.estimator
        return twin

    def __repr__(self, N_CHAR_MAX: int = 700) -> str:
        return BaseEstimator.__repr__(self._printable(), N_CHAR_MAX)

    def _html_repr(self) -> str:
        return HTMLSummaryMixin._html_repr(self._printable())

    def _html_summary(self) -> str:
        return facts_as_html(self._facts())

    def _printable(self):
        if not isinstance(self.estimator, nn.Module):
            return self
        return self._holding(_ClassOnly(self.estimator))

    def _holding(self, model):
        """Copy the estimator, with another model and all else the same."""
        twin = type(self).__new__(type(self))
        vars(twin).update(vars(self), estimator=model)
        return twin

    def _facts(self) -> dict[str, Any]:
        """Say what a notebook shows of the fitted estimator."""
        return {}


class _ClassOnly:
    """Stands for a module where it is printed, which can take a hundred lines."""

    def __init__(self, module: nn.Module) -> None:
        self.name = type(module).__name__

    def __repr__(self) -> str:
        return f"{self.name}(...)"
