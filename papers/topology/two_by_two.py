"""Purity of mapper graphs: what the network does, and what the data do.

In the paper, a clean network is shown clean samples, and a network trained against an
attack is shown attacked ones: both change at once. Here each network is shown both:
clean or adversarially trained, by clean or attacked training samples. ``python -m
papers.topology.two_by_two`` carries it out on MNIST; every network is two rows of
results/two_by_two.csv; started again, it does what is missing. It also counts, for each
network and kind of data, which pairs of classes are confused (confusions.csv), to see
which confusions persist across levels. One hour on one core.
"""

import argparse
import time
from pathlib import Path

import numpy as np
from sklearn.metrics import confusion_matrix

from papers._data import load
from papers._results import ResultTable
from papers.topology.experiment import (
    RESULTS,
    SETTINGS,
    activations,
    mapper_graphs,
    measuring,
    train,
)

KEYS = ["dataset", "norm", "eps", "network", "data", "seed"]
NORM = "linf"


def purities(model, X, y, settings, seed):
    """Purity of each kind of mapper graph of one network, shown some samples."""
    cloud = activations(model, X, settings, seed)
    return {
        f"purity {cover} {scale:g}": mapper.score(cloud, y)
        for cover, scale, mapper in mapper_graphs(cloud, settings["n_intervals"])
    }


def confusions(y, y_pred):
    """Rows (class, predicted class, number) of the samples that are misclassified."""
    classes = np.unique(y)
    counts = confusion_matrix(y, y_pred, labels=classes)
    np.fill_diagonal(counts, 0)
    return [
        {"class": classes[i], "predicted": classes[j], "number": int(counts[i, j])}
        for i, j in zip(*counts.nonzero(), strict=True)
    ]


def run(dataset, settings, data, n_seeds, folder):
    """Train and measure what is missing."""
    table = ResultTable(folder / "two_by_two.csv", KEYS)
    confused = ResultTable(folder / "confusions.csv", [*KEYS, "class", "predicted"])
    X, y = data.X_train, data.y_train
    for seed in range(n_seeds):
        clean = None
        for eps in settings[NORM]:
            level = ("full", NORM, eps)
            key = {"dataset": dataset, "norm": NORM, "eps": eps, "seed": seed}
            if table.has(**key, network="adversarial", data="attacked"):
                continue
            if clean is None:
                none = ("none", "none", 0.0)
                clean = train("mlp", data, settings, none, seed)
            start, rows, pairs = time.process_time(), [], []
            models = {
                "clean": clean,
                "adversarial": train("mlp", data, settings, level, seed),
            }
            for network, model in models.items():
                attack = measuring(model, data, settings, level, seed)
                shown = {"clean": X, "attacked": attack.perturb(X, y).X_adv}
                for kind, samples in shown.items():
                    cell = key | {"network": network, "data": kind}
                    y_pred = model.predict(samples)
                    rows.append(
                        cell
                        | {"accuracy": np.mean(y_pred == y)}
                        | purities(model, samples, y, settings, seed)
                    )
                    pairs += [cell | pair for pair in confusions(y, y_pred)]
            seconds = {"seconds": time.process_time() - start}
            if pairs:
                confused.add(pairs)
            table.add([row | seconds for row in rows])
            print(rows[-1], flush=True)


def main():
    """Do what is missing."""
    parser = argparse.ArgumentParser(
        prog="python -m papers.topology.two_by_two",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--dataset", choices=["mnist", "digits"], default="mnist")
    parser.add_argument("--data-home", help="where MNIST is kept")
    parser.add_argument("--n-seeds", type=int, default=5)
    parser.add_argument("--epochs", type=int)
    parser.add_argument(
        "--out", type=Path, default=RESULTS, help="default: results/ beside the code"
    )
    given = parser.parse_args()
    settings = dict(SETTINGS[given.dataset, "mlp"])
    if given.epochs:
        settings["epochs"] = given.epochs
    data = load(given.dataset, settings, given.data_home)
    run(given.dataset, settings, data, given.n_seeds, given.out)


if __name__ == "__main__":
    main()
