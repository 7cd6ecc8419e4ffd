"""Scikit-learn models as torch modules, and the activations of their layers."""
# ruff: noqa: F401

# Imported for what they register.
from robustkit.bridge import (
    _calibrations,
    _compositions,
    _ensembles,
    _kernels,
    _sklearn_classifiers,
    _sklearn_transformers,
)

# What is not in `__all__` is for other rooms, not for users.
from robustkit.bridge._activation_extractor import ActivationExtractor
from robustkit.bridge._as_module import as_module
from robustkit.bridge._ensembles import register_delegate
from robustkit.bridge._given_model import (
    TakesModel,
    check_feature_names,
    check_is_trained,
    frozen,
    image_shape_of,
    input_shape,
    is_frozen,
    shaped_for,
    takes_images,
    thawed,
    try_out,
    warn_if_fitted,
)
from robustkit.bridge._layers import (
    has_relu_units,
    head_parameters,
    layer_values,
    module_on,
    resolve_layers,
    steady_layer_values,
)
from robustkit.bridge._sklearn_transformers import Clamp, ElementwiseScale
from robustkit.bridge._votes import SecondWinsTies

__all__ = ["as_module", "ActivationExtractor"]
