"""Three networks on MNIST: trained once, kept, and trained again if gone."""

from functools import cache
from pathlib import Path

import joblib
import torch

from robustkit.attacks import PGDAttack
from robustkit.classifiers import MLPNetClassifier, SparseNetClassifier
from robustkit.datasets import fetch_mnist
from robustkit.graphs import GraphPrior

KEPT = Path(__file__).parent / ".kept"
_HOW = {"max_epochs": 10, "device": "cpu", "random_state": 0}
NETWORKS = {
    "perceptron": lambda: MLPNetClassifier((100, 50, 20), **_HOW),
    "perceptron, adversarially trained": lambda: MLPNetClassifier(
        (100, 50, 20), adversary=PGDAttack(eps=0.1, max_iter=7), **_HOW
    ),
    "sparse net of 150 vertices": lambda: SparseNetClassifier(
        GraphPrior(n_nodes=150), **_HOW
    ),
}


@cache
def images(split):
    """Images as rows, and their labels."""
    return fetch_mnist(split=split, return_X_y=True)


@cache
def network(name):
    """Return the module of a trained classifier, which takes minutes the first time."""
    path = KEPT / f"{file_name(name)}.joblib"
    if not path.exists():
        KEPT.mkdir(exist_ok=True)
        joblib.dump(NETWORKS[name]().fit(*images("train")).module_, path)
    return joblib.load(path).cpu().eval()


def file_name(name):
    """Name the files that belong to a network."""
    return f"mnist_{name.replace(',', '').replace(' ', '_')}"


def recognized(name, start, n):
    """Return those of some test images that a network recognizes."""
    X, y = (torch.from_numpy(part[start : start + n]) for part in images("test"))
    with torch.no_grad():
        right = network(name)(X).argmax(1) == y
    return X[right], y[right].long()
