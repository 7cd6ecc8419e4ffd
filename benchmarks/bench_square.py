"""Attacks without a gradient: the same models, digits and queries, ours and ART's."""

from functools import partial

import numpy as np
import torch
from sklearn.datasets import load_digits
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.frozen import FrozenEstimator
from sklearn.neural_network import MLPClassifier

from benchmarks import peers
from benchmarks.harness import Case
from robustkit.attacks import SquareAttack

PEERS = ("art",)


def cases():
    """A forest, boosted trees and a perceptron of scikit-learn."""
    torch.set_num_threads(1)
    if peers.load("art") is not None:
        yield from _square_art()


def _square_art():
    """Models without a gradient, which ART sees through a function."""
    from art.attacks.evasion import SquareAttack as TheirSquareAttack
    from art.estimators.classification import BlackBoxClassifierNeuralNetwork

    X, y = load_digits(return_X_y=True)
    X = (X / 16).astype(np.float32)
    X_test, y_test = X[1000:1200], y[1000:1200]
    for model in (
        RandomForestClassifier(30, random_state=0),
        HistGradientBoostingClassifier(max_iter=30, random_state=0),
        MLPClassifier(max_iter=60, random_state=0),
    ):
        frozen = FrozenEstimator(model.fit(X[:1000], y[:1000]))
        attack = SquareAttack(
            frozen, max_queries=500, image_shape=(8, 8), random_state=0
        ).fit(X_test, y_test)
        seen = BlackBoxClassifierNeuralNetwork(
            lambda x, model=model: model.predict_proba(x.reshape(len(x), -1)),
            (1, 8, 8),
            10,
            clip_values=(0, 1),
        )
        attacker = TheirSquareAttack(
            seen, eps=0.1, max_iter=500, p_init=0.05, batch_size=200, verbose=False
        )
        images, one_hot = X_test.reshape(-1, 1, 8, 8), np.eye(10)[y_test]
        theirs = partial(attacker.generate, images, one_hot)
        found = model.predict(theirs().reshape(len(X_test), -1))
        yield Case(
            name=f"square, 500 queries, 200 digits, {type(model).__name__}",
            peer=peers.title("art"),
            ours=partial(attack.perturb, X_test, y_test),
            theirs=theirs,
            limit=1 / 2,
            same=partial(_stronger_than_art, model, y_test),
            repeats=3,
            seconds=0.1,
            note=f"robust accuracy {attack.score(X_test, y_test):.3f}, "
            f"theirs {np.mean(found == y_test):.3f}",
        )


def _stronger_than_art(model, y, result, theirs):
    ours = np.mean(result.prediction == y)
    return ours <= np.mean(model.predict(theirs.reshape(len(y), -1)) == y) + 0.02
