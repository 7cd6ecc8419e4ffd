"""Fitting a whole classifier, against those who train the same network."""

import copy
import warnings
from functools import partial

import numpy as np
import sklearn
import torch
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning
from sklearn.neural_network import MLPClassifier

from benchmarks import peers
from benchmarks.harness import Case, Growth, clock_of
from robustkit.classifiers import MLPNetClassifier, SparseNetClassifier, TorchClassifier
from robustkit.graphs import GraphPrior

PEERS = ("skorch",)
# Small steps, so that the order of the samples hardly matters to the losses.
SETTINGS = {"max_epochs": 3, "batch_size": 128, "lr": 1e-4}
HIDDEN = (50, 100, 100, 50)
PERCEPTRON = f"fit a perceptron {HIDDEN}"
SPARSE = "fit a sparse network (500, 2, 0.7)"
OTHER_WEIGHTS = "theirs begins with other weights"
OUR_MODULE = "theirs trains our module by its autograd"


def cases(device="cpu"):
    """Three epochs of Adam in batches of 128, from the array to the estimator."""
    torch.set_num_threads(1)
    options = {"device": device, "random_state": 0, **SETTINGS}
    dense = MLPNetClassifier(HIDDEN, **options)
    graph = GraphPrior(n_nodes=500, rewiring=0.7).sample(0)
    sparse = SparseNetClassifier(graph, **options)
    cnn = TorchClassifier("cnn6", image_shape=(1, 8, 8), **options)
    many, few = (6000, 784), (300, 64)
    yield _case(PERCEPTRON, many, dense, _scikit_learn_sides, None, OTHER_WEIGHTS)
    if peers.load("skorch") is not None:
        yield _case(PERCEPTRON, many, dense, _skorch_sides, 1.0)
        yield _case(SPARSE, many, sparse, _skorch_sides, 1.0, OUR_MODULE)
        yield _case("fit cnn6", few, cnn, _skorch_sides, 1.1)
    yield _growth(PERCEPTRON, dense, _scikit_learn_sides, OTHER_WEIGHTS)
    if peers.load("skorch") is not None:
        yield _growth(PERCEPTRON, dense, _skorch_sides)
        yield _growth(SPARSE, sparse, _skorch_sides, OUR_MODULE)


def _case(name, shape, classifier, make_sides, limit, note=""):
    ours, theirs, *same = make_sides(classifier, *shape)
    return Case(
        f"{name}, {shape[0]:,} x {shape[1]}",
        _title(make_sides),
        ours,
        theirs,
        limit if classifier.device == "cpu" else None,
        *same,
        clock=clock_of(classifier.device),
        note=note,
    )


def _growth(name, classifier, make_sides, note=""):
    return Growth(
        name=f"{name}, samples x 784",
        peer=_title(make_sides),
        along="samples",
        sizes=(750, 3000, 12_000),
        sides=partial(make_sides, classifier),
        clock=clock_of(classifier.device),
        note=note,
    )


def _title(make_sides):
    if make_sides is _skorch_sides:
        return peers.title("skorch")
    return f"scikit-learn {sklearn.__version__} MLPClassifier"


def _scikit_learn_sides(classifier, n_samples, n_features=784):
    X, y = _images(n_samples, n_features)
    return lambda: classifier.fit(X, y).loss_curve_, lambda: _fit_scikit_learn(X, y)


def _skorch_sides(classifier, n_samples, n_features=784):
    X, y = _images(n_samples, n_features)
    # Both begin with the same weights: steps as small as these do not change them.
    unchanged = clone(classifier).set_params(lr=1e-30, max_epochs=1).fit(X, y)
    return (
        lambda: classifier.fit(X, y).loss_curve_,
        lambda: _fit_skorch(unchanged.module_, X, y, classifier.device),
        _same,
    )


def _fit_skorch(module, X, y, device):
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
        device=device,
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
