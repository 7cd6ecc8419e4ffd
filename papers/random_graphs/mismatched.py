"""The studies of the paper with the mistake of its code, which TOML cannot say.

Its networks are trained on normalised images and attacked on images in [0, 1]. ``python
-m papers.random_graphs.mismatched`` trains and attacks random graphs in that way, with
``--pruning`` dense networks that are pruned. Every finished network is kept in a store;
the same command continues it.
"""

import argparse
from pathlib import Path

import numpy as np

from robustkit import MLPNetClassifier, RobustnessStudy, SparseNetClassifier
from robustkit.datasets import load_dataset

# Of MNIST, as most code normalises it.
MEAN, STD = 0.1307, 0.3081

HERE = Path(__file__).parent


class _NormalizedFit:
    """Training on normalised images, of a classifier that is asked about others."""

    def fit(self, X, y):
        """Fit to normalised images."""
        return super().fit((np.asarray(X) - MEAN) / STD, y)


class NormalizedInTrainingOnly(_NormalizedFit, SparseNetClassifier):
    """Sparse network that is trained on normalised images only."""


class DenseNormalizedInTrainingOnly(_NormalizedFit, MLPNetClassifier):
    """Dense network that is trained on normalised images only."""


def mismatched(*, pruning=False):
    """Make the study: the design, with networks and attacks that do not match."""
    study = RobustnessStudy.from_config(
        HERE / ("design_pruning.toml" if pruning else "design.toml")
    )
    if pruning:
        right = study.estimator.estimator
        wrong = DenseNormalizedInTrainingOnly(**right.get_params(deep=False))
        study.estimator.set_params(estimator=wrong)
    else:
        wrong = NormalizedInTrainingOnly(**study.estimator.get_params(deep=False))
        # Only the attacks of the paper, and its lens: the graph.
        study.set_params(estimator=wrong, analyses={})
    published = ("fgsm", "growing", "one_pixel")
    attacks = {name: study.attacks[name] for name in published}
    # The one-pixel attack writes what normalising makes of a black or a white pixel.
    one_pixel, _ = attacks["one_pixel"]
    one_pixel.set_params(clip=tuple((end - MEAN) / STD for end in (0.0, 1.0)))
    return study.set_params(attacks=attacks)


def main(argv=None):
    """Carry a study out, and write its table and its report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pruning", action="store_true")
    parser.add_argument("--n-graphs", type=int)
    parser.add_argument("--inits", nargs="+")
    parser.add_argument("--dataset", default="mnist", help="or a .npz file")
    parser.add_argument("--data-home")
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args(argv)
    study = mismatched(pruning=arguments.pruning)
    for name in ("n_graphs", "inits"):
        if getattr(arguments, name) is not None:
            study.set_params(**{name: getattr(arguments, name)})
    kind = "pruning" if arguments.pruning else "random-graphs"
    folder = arguments.out or Path(f"study-{kind}-mismatched")
    folder.mkdir(parents=True, exist_ok=True)
    study.set_params(store=folder / "study.store", n_jobs=-1, random_state=0, verbose=1)
    images = load_dataset(arguments.dataset, data_home=arguments.data_home)
    study.fit(images.X_train, images.y_train, images.X_test, images.y_test)
    study.results_.to_csv(folder / "results.csv", index=False)
    study.report(folder / "report.html")


if __name__ == "__main__":
    main()
