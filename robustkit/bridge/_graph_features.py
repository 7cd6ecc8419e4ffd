"""The torch module of the random features of a graph prior."""

import numpy as np
import torch
from sklearn.utils.validation import check_is_fitted

from robustkit.bridge._as_module import as_module
from robustkit.bridge._sklearn_steps import in_double
from robustkit.graphs import GraphPrior
from robustkit.networks import SparseNetwork

__all__ = []


@as_module.register(GraphPrior)
def _graph_prior(prior):
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
