"""Fitting a whole classifier, against those who train the same network."""

import copy
import warnings
from importlib.util import find_spec

import numpy as np
import sklearn
import torch
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning
from sklearn.neural_network import MLPClassifier

from benchmarks.harness import Case
from robustkit.classifiers import MLPNetClassifier, SparseNetClassifier, TorchClassifier
from robustkit.graphs import GraphPrior

# Small steps, so that the order of the samples hardly matters to the losses.
SETTINGS = {"max_epochs": 3, "batch_size": 128, "lr": 1e-4}
HIDDEN = (50, 100, 100, 50)


def cases():
    """Three epochs of Adam in batches of 128, from the array to the estimator."""
    torch.set_num_threads(1)
    X, y = _images(6000, 784)
    dense = MLPNetClassifier(HIDDEN, device="cpu", random_state=0, **SETTINGS)
    name = f"fit a perceptron {HIDDEN}, 6,000 x 784"
    yield Case(
        name=name,
        peer=f"scikit-learn {sklearn.__version__} MLPClassifier",
        ours=lambda: dense.fit(X, y).loss_curve_,
        theirs=lambda: _fit_scikit_learn(X, y),
        note="theirs begins with other weights",
    )
    if find_spec("skorch") is None:
        return
    yield _against_skorch(name, dense, X, y, limit=1.0)

    graph = GraphPrior(n_nodes=500, rewiring=0.7).sample(0)
    sparse = SparseNetClassifier(graph, device="cpu", random_state=0, **SETTINGS)
    yield _against_skorch(
        "fit a sparse network (500, 2, 0.7), 6,000 x 784",
        sparse,
        X,
        y,
        limit=1.0,
        note="theirs trains our module by its autograd",
    )
    few, labels = _images(300, 64)
    yield _against_skorch(
        "fit cnn6, 300 x 64",
        TorchClassifier(
            "cnn6", image_shape=(1, 8, 8), device="cpu", random_state=0, **SETTINGS
        ),
        few,
        labels,
        limit=1.1,
    )


def _against_skorch(name, classifier, X, y, **options):
    import skorch

    # Both begin with the same weights: steps as small as these do not change them.
    unchanged = clone(classifier).set_params(lr=1e-30, max_epochs=1).fit(X, y)

    return Case(
        name=name,
        peer=f"skorch {skorch.__version__}",
        ours=lambda: classifier.fit(X, y).loss_curve_,
        theirs=lambda: _fit_skorch(unchanged.module_, X, y),
        same=_same,
        **options,
    )


def _fit_skorch(module, X, y):
    from skorch import NeuralNetClassifier

    torch.manual_seed(0)
    net = NeuralNetClassifier(
        copy.deepcopy(module),
        criterion=torch.nn.CrossEntropyLoss,
        optimizer=torch.optim.Adam,
        # Both sides use torch's fastest Adam.
        optimizer__fused=True,
        iterator_train__shuffle=True,
        train_split=None,
        callbacks="disable",
        verbose=0,
        **SETTINGS,
    ).fit(X, y)
    losses = []
    for epoch in net.history:
        sizes = [batch["train_batch_size"] for batch in epoch["batches"]]
        of_batches = [batch["train_loss"] for batch in epoch["batches"]]
        losses.append(np.average(of_batches, weights=sizes))
    return losses


def _fit_scikit_learn(X, y):
    theirs = MLPClassifier(
        HIDDEN,
        batch_size=128,
        learning_rate_init=1e-4,
        alpha=0,
        max_iter=3,
        random_state=0,
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return theirs.fit(X, y).loss_curve_


def _same(ours, theirs):
    # The order of the samples differs.
    return np.allclose(ours, theirs, rtol=0.05)


def _images(n_samples, n_features):
    """Ten classes, each a random image and noise."""
    rng = np.random.RandomState(0)
    y = rng.randint(10, size=n_samples)
    X = rng.uniform(size=(10, n_features))[y] * 0.3
    X += 0.7 * rng.uniform(size=X.shape)
    return X.astype(np.float32), y.astype(np.int64)
