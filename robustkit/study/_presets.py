"""Studies with a name: a quick one for any images, and those of the papers."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from robustkit._validation import did_you_mean
from robustkit.attacks import (
    FGSMAttack,
    GrowingEpsilonAttack,
    OnePixelAttack,
    PGDAttack,
)
from robustkit.classifiers import (
    MLPNetClassifier,
    PrunedNetClassifier,
    SparseNetClassifier,
)
from robustkit.regions import PopulatedRegionScorer
from robustkit.study._measure import shape_of
from robustkit.study._robustness_study import RobustnessStudy
from robustkit.topology import MapperGraph

__all__ = ["PRESETS", "Preset", "find_preset"]

# Of MNIST, as most code normalises it.
_MNIST_MEAN, _MNIST_STD = 0.1307, 0.3081

# Of 60,000 training images: dense enough for clusters, too sparse to join them all.
_SCALED_EPS = 0.22

# The published space of Watts-Strogatz graphs, and the sizes kept of it.
_PAPER_SPACE = {
    "prior__n_nodes": [250, 300, 350, 400, 500],
    "prior__n_neighbors": [2, 4, 6, 8, 10, 20],
    "prior__rewiring": [0.5, 0.6, 0.7, 0.8, 0.9],
}
_PAPER_SIZES = (50_000, 91_000)

# Hidden layers of the dense networks that are pruned.
_PRUNED_SIZES = (50, 100, 100, 50)


@dataclass(frozen=True)
class Preset:
    """A study that needs nothing but images."""

    summary: str
    make: Callable
    """From images, as `load_dataset` gives them, to an unfitted RobustnessStudy."""

    dataset: str = "digits"
    n_train: int | None = None
    n_test: int | None = None


class _NormalizedFit:
    """Training on normalised images, of a classifier that is asked about others.

    The mistake of a published code base, kept so that its numbers can be explained.
    """

    def fit(self, X, y):
        """Fit to normalised images.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Images in [0, 1].

        y : array-like of shape (n_samples,)
            Their classes.

        Returns
        -------
        self : object
            The fitted classifier.
        """
        return super().fit((np.asarray(X) - _MNIST_MEAN) / _MNIST_STD, y)


class NormalizedInTrainingOnly(_NormalizedFit, SparseNetClassifier):
    """Sparse network that is trained on normalised images only."""


class DenseNormalizedInTrainingOnly(_NormalizedFit, MLPNetClassifier):
    """Dense network that is trained on normalised images only."""


def scaled_shape(model, X, y, X_test, y_test):
    """Describe the shape of the logits, in units of their median length.

    With a fixed `eps` a network whose logits are twice as large would have a cloud half
    as dense; with ``eps="auto"`` MNIST gives few big clusters of many classes.

    Parameters
    ----------
    model : classifier
        Fitted.

    X, y : ndarray
        Training samples.

    X_test, y_test : ndarray
        Not used.

    Returns
    -------
    properties : dict
        As of a MapperGraph.
    """
    logits = logits_of(model, X, y)
    logits /= np.median(np.linalg.norm(logits, axis=1))
    return shape_of(MapperGraph(eps=_SCALED_EPS), logits, y, model.predict(X))


def find_preset(name):
    """Look a preset up.

    Parameters
    ----------
    name : str
        Its name.

    Returns
    -------
    preset : Preset
        A study that needs nothing but images.
    """
    if name not in PRESETS:
        raise ValueError(
            f"The preset must be one of {', '.join(PRESETS)}. Got {name!r} instead"
            f"{did_you_mean(name, PRESETS)}"
        )
    return PRESETS[name]


def _quick(images):
    spread = float(np.ptp(images.X_train))
    eps = float(f"{0.1 * spread:.6g}")
    one_pixel = OnePixelAttack(method="certified", image_shape=images.image_shape)
    return RobustnessStudy(
        SparseNetClassifier(batch_size=32),
        {
            "prior__n_nodes": [60, 100, 150, 200, 300],
            "prior__n_neighbors": [1, 2, 3],
            "prior__rewiring": [0.5, 0.6, 0.7, 0.8, 0.9],
        },
        n_graphs=50,
        attacks={
            "fgsm": FGSMAttack(eps=eps),
            "pgd": PGDAttack(eps=eps, max_iter=10, random_state=0),
            "growing": GrowingEpsilonAttack(
                start=0.001 * spread, step=0.01 * spread, stop=0.26 * spread
            ),
            "one_pixel": (one_pixel, 100),
        },
        analyses={
            "regions": PopulatedRegionScorer(),
            "mapper": MapperGraph(n_intervals=15),
        },
    )


def _published_attacks(image_shape, clip="auto"):
    pixel = {"image_shape": image_shape, "random_state": 0, "clip": clip}
    return {
        "fgsm": FGSMAttack(eps=0.1),
        "growing": GrowingEpsilonAttack(),
        "one_pixel": (OnePixelAttack(pop_size=500, max_iter=500, **pixel), 100),
    }


def _published(images):
    proof = OnePixelAttack(method="certified", image_shape=images.image_shape)
    return RobustnessStudy(
        SparseNetClassifier(max_epochs=30, batch_size=128),
        _PAPER_SPACE,
        n_parameters=_PAPER_SIZES,
        attacks={
            **_published_attacks(images.image_shape),
            "one_pixel_proof": (proof, 100),
            "pgd": PGDAttack(eps=0.1, max_iter=20, loss="rotate", random_state=0),
        },
        analyses={
            "regions": PopulatedRegionScorer(),
            "mapper": scaled_shape,
        },
    )


def _mismatched_attacks(image_shape):
    # Its one-pixel attack writes what normalising makes of a white pixel.
    ends = tuple((end - _MNIST_MEAN) / _MNIST_STD for end in (0.0, 1.0))
    return _published_attacks(image_shape, clip=ends)


def _mismatched(images):
    return RobustnessStudy(
        NormalizedInTrainingOnly(max_epochs=30, batch_size=128),
        _PAPER_SPACE,
        n_parameters=_PAPER_SIZES,
        attacks=_mismatched_attacks(images.image_shape),
        analyses={},
    )


def _families(images):
    return _published(images).set_params(
        param_space={
            "prior__generator": [
                "watts_strogatz",
                "erdos_renyi",
                "barabasi_albert",
                "random_regular",
                "stochastic_block",
            ],
            "prior__n_nodes": [250, 300, 350, 400, 500],
            "prior__n_neighbors": [2, 3],
            "prior__rewiring": [0.5, 0.7, 0.9],
            "prior__edge_probability": [0.005, 0.01, 0.02],
            "prior__n_attachments": [1, 2, 3],
            # In the order of their making, vertices that attach to earlier ones would
            # have few sources, and no network would be as large as published.
            "prior__orientation": ["random"],
        }
    )


def _pruning(images):
    dense = MLPNetClassifier(_PRUNED_SIZES, max_epochs=30, batch_size=128)
    return _study_of_pruning(dense, _published_attacks(images.image_shape))


def _mismatched_pruning(images):
    dense = DenseNormalizedInTrainingOnly(_PRUNED_SIZES, max_epochs=30, batch_size=128)
    return _study_of_pruning(dense, _mismatched_attacks(images.image_shape))


def _study_of_pruning(dense, attacks):
    return RobustnessStudy(
        PrunedNetClassifier(dense, amount=0.1, n_steps=20),
        {},
        population="pruning",
        n_graphs=10,
        inits=("he_uniform",),
        attacks=attacks,
    )


PRESETS = {
    "quick": Preset(
        "50 small graphs on any images; on digits a matter of a minute or two",
        _quick,
        n_train=5000,
        n_test=1000,
    ),
    "random-graphs": Preset(
        "the published study of random graphs: 600 networks on MNIST",
        _published,
        "mnist",
    ),
    "random-graphs-mismatched": Preset(
        "the same, attacked outside the range that the networks were trained on",
        _mismatched,
        "mnist",
    ),
    "graph-families": Preset(
        "the same with five families of graphs",
        _families,
        "mnist",
    ),
    "pruning": Preset(
        "the published baseline: 10 dense networks on MNIST, pruned in 20 steps",
        _pruning,
        "mnist",
    ),
    "pruning-mismatched": Preset(
        "the same, attacked outside the range that the networks were trained on",
        _mismatched_pruning,
        "mnist",
    ),
}
