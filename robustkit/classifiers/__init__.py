"""scikit-learn classifiers around networks."""

from robustkit.classifiers._fit_many import fit_many
from robustkit.classifiers._mlp_net_classifier import MLPNetClassifier
from robustkit.classifiers._pruned_net_classifier import PrunedNetClassifier
from robustkit.classifiers._sparse_net_classifier import SparseNetClassifier
from robustkit.classifiers._torch_classifier import TorchClassifier

__all__ = [
    "SparseNetClassifier",
    "MLPNetClassifier",
    "TorchClassifier",
    "PrunedNetClassifier",
    "fit_many",
]
