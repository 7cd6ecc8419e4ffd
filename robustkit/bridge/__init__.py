"""How torch sees a scikit-learn model."""
# ruff: noqa: F401

# Imported for what they register.
from robustkit.bridge import _graph_features, _sklearn_models, _sklearn_steps

# What is not in `__all__` is for other rooms, not for users.
from robustkit.bridge._activation_extractor import ActivationExtractor
from robustkit.bridge._as_module import as_module
from robustkit.bridge._layers import (
    has_relu_units,
    head_parameters,
    layer_values,
    module_on,
    resolve_layers,
    steady_layer_values,
)
from robustkit.bridge._pairwise_votes import SecondWinsTies
from robustkit.bridge._sklearn_steps import Clamp, ElementwiseScale

__all__ = ["as_module", "ActivationExtractor"]
