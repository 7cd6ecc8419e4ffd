"""The one door to scikit-learn names that are private or experimental.

When a scikit-learn release moves one of them, this is the only file to change.
"""

from sklearn.base import _clone_parametrized, _fit_context
from sklearn.callback import CallbackSupportMixin, ProgressBar, with_callbacks
from sklearn.model_selection._search import BaseSearchCV
from sklearn.pipeline import _name_estimators
from sklearn.utils import _safe_indexing
from sklearn.utils._optional_dependencies import check_matplotlib_support
from sklearn.utils._param_validation import (
    HasMethods,
    Interval,
    Options,
    RealNotInt,
    StrOptions,
    validate_parameter_constraints,
    validate_params,
)
from sklearn.utils.metaestimators import _BaseComposition
from sklearn.utils.multiclass import _ovr_decision_function
from sklearn.utils.parallel import _get_threadpool_controller
from sklearn.utils.validation import _check_feature_names, _get_feature_names

__all__ = [
    "BaseSearchCV",
    "CallbackSupportMixin",
    "HasMethods",
    "Interval",
    "Options",
    "ProgressBar",
    "RealNotInt",
    "StrOptions",
    "_BaseComposition",
    "_check_feature_names",
    "_clone_parametrized",
    "_fit_context",
    "_get_feature_names",
    "_get_threadpool_controller",
    "_name_estimators",
    "_ovr_decision_function",
    "_safe_indexing",
    "check_matplotlib_support",
    "validate_parameter_constraints",
    "validate_params",
    "with_callbacks",
]
