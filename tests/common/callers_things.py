"""What belongs to a caller, and models that would not leave it as it is."""

from contextlib import contextmanager

import numpy as np
import torch
from sklearn.base import BaseEstimator, ClassifierMixin
from torch import nn


class WritingNet(nn.Module):
    """Writes to its input, and has parts whose mode matters."""

    def __init__(self, n_features, n_classes):
        super().__init__()
        self.hidden = nn.Linear(n_features, 8)
        self.norm = nn.BatchNorm1d(8)
        self.relu = nn.ReLU(inplace=True)
        self.dropout = nn.Dropout(0.2)
        self.output = nn.Linear(8, n_classes)

    def forward(self, x):
        x -= 0.3
        return self.output(self.dropout(self.relu(self.norm(self.hidden(x)))))


class WritingClassifier(ClassifierMixin, BaseEstimator):
    """Shifts what it is given, as StandardScaler(copy=False) does, then thresholds."""

    def fit(self, X, y):
        X -= 1
        self.classes_ = np.unique(y)
        return self

    def partial_fit(self, X, y):
        X -= 1
        return self

    def predict(self, X):
        return self.classes_[(self.decision_function(X)[:, 0] > 0).astype(int)]

    def decision_function(self, X):
        X -= 1
        return X[:, :1] * np.ones(len(self.classes_))


def state_of(module):
    """Weights, buffers, gradients, hooks and the mode of every part."""
    tensors = {**dict(module.named_parameters()), **dict(module.named_buffers())}
    return {
        "tensors": {name: tensor.detach().clone() for name, tensor in tensors.items()},
        "requires": {name: tensor.requires_grad for name, tensor in tensors.items()},
        "gradients": {name: tensor.grad for name, tensor in tensors.items()},
        "modes": {name: part.training for name, part in module.named_modules()},
        "hooks": {
            name: [list(hooks) for hooks in (
                part._forward_hooks, part._forward_pre_hooks, part._backward_hooks,
            )]
            for name, part in module.named_modules()
        },
    }  # fmt: skip


@contextmanager
def expect_unchanged(*arrays, module=None):
    """Assert that a block changes none of these, nor any random stream."""
    if module is not None:
        # One part in another mode than the rest, a gradient, and a hook.
        module.train()
        module.norm.eval()
        for weight in module.parameters():
            weight.grad = torch.ones_like(weight)
        module.register_forward_hook(lambda *_: None)
        state = state_of(module)
    copies = [np.asarray(array).copy() for array in arrays]
    numpy_stream, torch_stream = np.random.get_state()[1:3], torch.get_rng_state()
    yield
    for array, copy in zip(arrays, copies, strict=True):
        np.testing.assert_array_equal(np.asarray(array), copy)
    assert np.array_equal(np.random.get_state()[1], numpy_stream[0])
    assert np.random.get_state()[2] == numpy_stream[1]
    assert torch.equal(torch.get_rng_state(), torch_stream)
    if module is None:
        return
    after = state_of(module)
    for name, tensor in after["tensors"].items():
        assert torch.equal(tensor, state["tensors"][name]), name
        if tensor.is_floating_point() and after["requires"][name]:
            assert after["gradients"][name] is state["gradients"][name], name
            assert (after["gradients"][name] == 1).all(), name
    for aspect in ("requires", "modes", "hooks"):
        assert after[aspect] == state[aspect], aspect
