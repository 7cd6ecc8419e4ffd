"""The one door to scikit-learn names that are private or experimental.

When a scikit-learn release moves one of them, this is the only file to change.
"""

from sklearn.base import _fit_context
from sklearn.callback import CallbackSupportMixin, ProgressBar
from sklearn.utils._param_validation import (
    HasMethods,
    Interval,
    Options,
    StrOptions,
    validate_params,
)

__all__ = [
    "CallbackSupportMixin",
    "HasMethods",
    "Interval",
    "Options",
    "ProgressBar",
    "StrOptions",
    "_fit_context",
    "validate_params",
]
