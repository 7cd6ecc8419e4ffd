"""A trained classifier as arrays alone, without code: how skops stores it.

The network is built again by the parameters of the classifier, and given its weights.
That brings back only what these parameters build, so a network is compared with such a
twin before it is stored.
"""

import copy
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from robustkit._randomness import seeded_torch
from robustkit._tensors import as_array, dtype_of, evaluating
from robustkit.networks import MaskedLinear, mask_hidden_layers

__all__ = ["network_from_arrays", "state_of_arrays", "to_cpu", "with_weights"]

# Samples on which a network is compared with its twin.
_N_SAMPLES = 16


def state_of_arrays(classifier: Any, state: dict[str, Any]) -> dict[str, Any]:
    """Replace the network in a state by arrays, and all tensors of the optimizer."""
    module = state.pop("module_", None)
    if module is not None:
        _check_rebuilds(classifier, module)
        weights = module.state_dict()
        state["_weights_of_module"] = {n: as_array(w) for n, w in weights.items()}
        state["_optimizer_state"] = _swap(state.get("_optimizer_state"), as_array)
    return state


def network_from_arrays(classifier: Any, weights: dict[str, Any]) -> nn.Module:
    """Build the network of a classifier again; its optimizer gets tensors."""
    classifier._optimizer_state = _swap(classifier._optimizer_state, torch.from_numpy)
    tensors = {name: torch.as_tensor(w) for name, w in weights.items()}
    is_pruned = any(name.endswith(".kept") for name in weights)
    module = classifier._rebuild_module()
    return _given_weights(module, tensors, is_pruned=is_pruned).eval()


def with_weights(
    classifier: Any, X: NDArray, y: NDArray, weights: dict[str, Any]
) -> Any:
    """Make a classifier the fitted one that has these weights, without training.

    `X` and `y` are what it was fitted to, or anything with the same features and
    classes.
    """
    X, y = classifier._validate(X, y, reset=True)
    classifier._start(X, np.unique(y), y)
    tensors = {name: torch.as_tensor(w) for name, w in weights.items()}
    kept = [w for name, w in tensors.items() if name.endswith(".kept")]
    try:
        module = _given_weights(classifier.module_, tensors, is_pruned=bool(kept))
    except RuntimeError as error:
        raise ValueError(
            f"The weights are not those of this {type(classifier).__name__}: "
            f"{' '.join(str(error).split())}"
        ) from error
    classifier.module_ = module.eval()
    n_lost = sum(int((~mask.bool()).sum()) for mask in kept)
    classifier.n_parameters_ -= n_lost
    return classifier


def _given_weights(module, weights, *, is_pruned):
    if is_pruned:
        mask_hidden_layers(module)
    # With `assign` their precision is that of what was stored.
    module.load_state_dict(weights, assign=True)
    return module


def _check_rebuilds(classifier, module):
    twin = copy.copy(classifier)
    is_pruned = any(isinstance(part, MaskedLinear) for part in module.modules())
    weight = next(module.parameters(), torch.empty(0))
    built = twin._rebuild_module().to(weight.device)
    try:
        twin.module_ = _given_weights(built, module.state_dict(), is_pruned=is_pruned)
        is_same = _parameters_of(twin) == _parameters_of(classifier)
        # Weights alone do not tell a ReLU from a tanh.
        is_same = is_same and torch.allclose(
            _logits_of(twin), _logits_of(classifier), rtol=1e-4, equal_nan=True
        )
        error = None
    except Exception as failure:
        # Of other shapes, or on another device: such weights cannot be used.
        is_same, error = False, failure
    if not is_same:
        raise ValueError(
            f"The network of this {type(classifier).__name__} is not the one that its "
            "parameters build, and its weights alone cannot bring it back. Store it "
            "with pickle or joblib, or its weights with torch.save."
        ) from error


def _parameters_of(classifier):
    """List them in order. One that is used twice stands there once."""
    return [(w.shape, w.requires_grad) for w in classifier.module_.parameters()]


def _logits_of(classifier):
    """Call the network with some samples, always the same ones."""
    network = classifier._network()
    weight = next(network.parameters(), torch.empty(0))
    with seeded_torch(0), evaluating(network), torch.no_grad():
        samples = torch.rand(_N_SAMPLES, classifier.n_features_in_)
        return network(samples.to(weight.device, dtype_of(network)))


def _swap(state: Any, convert: Callable[[Any], Any]) -> Any:
    """Convert the tensors, or the arrays, of nested dictionaries."""
    if isinstance(state, dict):
        return {key: _swap(value, convert) for key, value in state.items()}
    return convert(state) if isinstance(state, torch.Tensor | np.ndarray) else state


def to_cpu(state: Any) -> Any:
    """Bring the tensors of nested dictionaries to the CPU."""
    if torch.is_tensor(state):
        return state.cpu()
    if isinstance(state, dict):
        return {key: to_cpu(value) for key, value in state.items()}
    return state
