"""Draw the picture of the home page: ``python docs/make_home_picture.py``.

A graph drawn from a prior, the network built from it, trained with and without attacks;
how accuracy falls under attack; and what shape the activations of the training samples
have.
"""

from pathlib import Path

import matplotlib as mpl

mpl.use("Agg")

import matplotlib.pyplot as plt
import torch
from sklearn.frozen import FrozenEstimator

from robustkit import (
    ActivationExtractor,
    GraphPrior,
    LayeredGraphDisplay,
    MapperGraph,
    MapperGraphDisplay,
    PGDAttack,
    RobustnessCurveDisplay,
    SparseNetClassifier,
    load_digits_images,
)

HERE = Path(__file__).parent


def main():
    """Train the two networks and draw."""
    torch.set_num_threads(1)
    X, y = load_digits_images(split="train", return_X_y=True)
    X_test, y_test = load_digits_images(split="test", return_X_y=True)
    prior = GraphPrior(n_nodes=120, rewiring=0.9, random_state=1)
    settings = {"max_epochs": 30, "batch_size": 128, "lr": 0.005, "random_state": 0}
    plain = SparseNetClassifier(prior, **settings).fit(X, y)
    hardened = SparseNetClassifier(
        prior, adversary=PGDAttack(eps=0.1, max_iter=7), **settings
    ).fit(X, y)

    figure, axes = plt.subplots(
        1, 3, figsize=(13, 3.8), dpi=150, layout="constrained", width_ratios=(4, 3, 4)
    )
    LayeredGraphDisplay.from_graph(plain.structure_, views=("layers",), ax=axes[0])
    axes[0].set_title("a random graph, in layers, is a network")
    for name, net in (("trained plainly", plain), ("trained under attack", hardened)):
        attack = PGDAttack(FrozenEstimator(net), random_state=0).fit(X, y)
        RobustnessCurveDisplay.from_estimator(
            attack,
            X_test,
            y_test,
            eps=(0, 0.02, 0.05, 0.1, 0.15, 0.2),
            name=name,
            ax=axes[1],
        )
    axes[1].set_title("how it stands up to attacks")
    activations = ActivationExtractor(FrozenEstimator(plain)).fit(X, y).transform(X)
    mapper = MapperGraph(n_intervals=12).fit(activations)
    MapperGraphDisplay.from_mapper(mapper, y, ax=axes[2])
    axes[2].set_title("the shape of what it computes")
    figure.savefig(HERE / "_static" / "home.png")


if __name__ == "__main__":
    main()
