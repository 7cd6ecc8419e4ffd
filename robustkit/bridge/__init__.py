"""How torch sees a scikit-learn model."""

# Imported for what they register.
from robustkit.bridge import _graph_features, _sklearn_models, _sklearn_steps  # noqa: F401
from robustkit.bridge._activation_extractor import ActivationExtractor
from robustkit.bridge._as_module import as_module

__all__ = ["as_module", "ActivationExtractor"]
