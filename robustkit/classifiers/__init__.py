"""scikit-learn classifiers around networks."""
# ruff: noqa: F401

# What is not in `__all__` is for other rooms, not for users.
from robustkit.classifiers._answers import (
    answers_in_double,
    answers_with_module,
    predicts_largest_logit,
)
from robustkit.classifiers._as_classifier import (
    as_classifier,
    fit_classifier,
    fit_on_stream,
    unfitted_classifier,
)
from robustkit.classifiers._base import (
    BaseNetClassifier,
    batch_size_for,
    check_classes,
    encode,
    most_epochs,
    seeded_clone,
)
from robustkit.classifiers._classifier_union import ClassifierUnion, unions_of
from robustkit.classifiers._fit_many import REFUSED, fit_many
from robustkit.classifiers._mlflow_callback import MLflowCallback
from robustkit.classifiers._mlp_net_classifier import MLPNetClassifier
from robustkit.classifiers._pruned_net_classifier import (
    PrunedNetClassifier,
    default_dense_network,
    describe_step,
    removable_layers,
)
from robustkit.classifiers._sparse_net_classifier import SparseNetClassifier
from robustkit.classifiers._stored import with_weights
from robustkit.classifiers._torch_classifier import TorchClassifier

__all__ = [
    "SparseNetClassifier",
    "MLPNetClassifier",
    "TorchClassifier",
    "PrunedNetClassifier",
    "fit_many",
    "MLflowCallback",
]
