"""Data, models and the table of rooms that the recorded results share."""

import numpy as np
from sklearn.frozen import FrozenEstimator
from sklearn.neural_network import MLPClassifier

import robustkit as rk

ROOMS = {}


def room(record):
    """Enter a function that yields (path, value) under the name of its room."""
    ROOMS[record.__name__] = record
    return record


def digits(n=300, dtype=np.float32):
    X, y = rk.load_digits_images(return_X_y=True)
    return X[:n].astype(dtype), y[:n]


def small(**params):
    return {
        "max_epochs": 12,
        "batch_size": 16,
        "lr": 0.01,
        "device": "cpu",
        "random_state": 0,
        **params,
    }


def sparse_net(**params):
    prior = rk.GraphPrior(n_nodes=60, random_state=1)
    return rk.SparseNetClassifier(prior, **small(**params))


def mlp_net(*sizes, **params):
    return rk.MLPNetClassifier(sizes or (16, 12), **small(**params))


def double_model(X, y):
    """A trained module that computes in float64."""
    model = MLPClassifier((12,), max_iter=30, random_state=0).fit(X, y)
    return FrozenEstimator(model)


def weights(module):
    return dict(module.state_dict())
