"""Data and settings that the tests of all classifiers share."""

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits

from robustkit.classifiers import (
    MLPNetClassifier,
    PrunedNetClassifier,
    SparseNetClassifier,
    TorchClassifier,
)
from robustkit.graphs import GraphPrior

QUICK = {"max_epochs": 3, "lr": 0.01, "batch_size": 50, "random_state": 0}


def sparse(**params):
    return SparseNetClassifier(GraphPrior(n_nodes=40, n_neighbors=2), **QUICK | params)


def dense(**params):
    return MLPNetClassifier((20,), **QUICK | params)


def anything(**params):
    return TorchClassifier(**QUICK | params)


def pruned(**params):
    dense = MLPNetClassifier((20, 20), **QUICK | params)
    return PrunedNetClassifier(dense, n_steps=2, retrain_epochs=1, random_state=0)


TRAINED = [sparse, dense, anything]
every_kind = pytest.mark.parametrize("make", [*TRAINED, pruned])
every_trained_kind = pytest.mark.parametrize("make", TRAINED)


def weights(classifier):
    """All of a network's, in one row."""
    parameters = classifier.module_.parameters()
    return torch.cat([weight.detach().flatten() for weight in parameters])


class StopAfter:
    """A callback that has seen enough."""

    def __init__(self, n_epochs):
        self.n_epochs = n_epochs

    def setup(self, estimator, context):
        self.n_seen = 0

    def on_fit_task_begin(self, estimator, context):
        pass

    def on_fit_task_end(self, estimator, context):
        self.n_seen += 1
        return self.n_seen == self.n_epochs

    def teardown(self, estimator, context):
        pass


@pytest.fixture(scope="session")
def digits():
    """500 images of 8 by 8 pixels in [0, 1], and their digits."""
    X, y = load_digits(return_X_y=True)
    return (X[:500] / 16).astype(np.float32), y[:500]


@pytest.fixture(scope="session")
def two_digits(digits):
    """The zeros and ones among them, called by their names."""
    X, y = digits
    few = y < 2
    return X[few], np.array(["zero", "one"])[y[few]]
