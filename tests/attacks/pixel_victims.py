"""Small images on which one pixel can matter, and models of every kind."""

from functools import cache

import numpy as np
import torch
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import (
    MaxAbsScaler,
    MinMaxScaler,
    Normalizer,
    RobustScaler,
    StandardScaler,
)
from torch import nn

from robustkit._randomness import seeded_torch
from robustkit.classifiers import SparseNetClassifier, TorchClassifier
from robustkit.graphs import GraphPrior


@cache
def images(n_samples=150, side=5, seed=0):
    """Three classes, told apart by one bright pixel up to a whole bright row."""
    rng = np.random.default_rng(seed)
    y = rng.integers(3, size=n_samples)
    X = 0.3 * rng.random((n_samples, side, side))
    for i, label in enumerate(y):
        bright = rng.permutation(side)[: rng.integers(1, side + 1)]
        X[i, label + 1, bright] += 0.6
    return X.reshape(n_samples, -1).astype(np.float32), y


def _mlp(activation="relu"):
    return MLPClassifier(
        (12, 8),
        activation=activation,
        learning_rate_init=0.02,
        n_iter_no_change=5,
        tol=0.01,
        random_state=0,
    )


def _sparse_net():
    return SparseNetClassifier(
        GraphPrior(n_nodes=60),
        max_epochs=30,
        batch_size=16,
        lr=0.01,
        random_state=0,
        device="cpu",
    )


MODELS = {
    "linear": lambda: LogisticRegression(C=10),
    "mlp": _mlp,
    "sparse": _sparse_net,
    "scaled mlp": lambda: make_pipeline(StandardScaler(), _mlp()),
    "scaled linear": lambda: make_pipeline(
        MinMaxScaler(clip=True), RobustScaler(), LogisticRegression(C=10)
    ),
    "scaled sparse": lambda: make_pipeline(MaxAbsScaler(), _sparse_net()),
    "random features": lambda: make_pipeline(
        GraphPrior(n_nodes=200, random_state=0), LogisticRegression(max_iter=1000)
    ),
}
WITHOUT_PROOF = {
    "tanh": lambda: _mlp("tanh"),
    "normalized": lambda: make_pipeline(Normalizer(), LogisticRegression(C=10)),
    "forest": lambda: RandomForestClassifier(15, max_depth=4, random_state=0),
}


@cache
def fitted(name):
    X, y = images()
    return (MODELS | WITHOUT_PROOF)[name]().fit(X, y)


@cache
def convolutional(n_channels=1):
    """An untrained convolutional network, and data that it gets right."""
    with seeded_torch(0):
        module = nn.Sequential(
            nn.Unflatten(1, (n_channels, 4, 4)),
            nn.Conv2d(n_channels, 6, 3),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(24, 3),
        ).eval()
    X = np.random.default_rng(0).random((400, 16 * n_channels)).astype(np.float32)
    with torch.no_grad():
        # So that no class is the answer to everything.
        module[-1].bias.sub_(module(torch.from_numpy(X)).mean(dim=0))
        logits = module(torch.from_numpy(X)).sort(dim=1).values
        # From those nearest to the boundary to those farthest from it.
        order = (logits[:, -1] - logits[:, -2]).argsort().numpy()
        X = X[order[np.linspace(0, 399, 12).astype(int)]]
        y = module(torch.from_numpy(X)).argmax(dim=1).numpy()
    return TorchClassifier.from_module(module, classes=np.arange(3)), X, y
