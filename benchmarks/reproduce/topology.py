"""Mapper graphs of adversarially trained networks, and what refining them brings.

``python -m benchmarks.reproduce.topology`` trains a clean network and, for each attack
level, an adversarially trained one; measures the purity of the mapper graphs of their
activations (figure 7 of the paper); refines each with the samples of its weak regions,
found with a uniform and with a balanced cover; and compares robust test accuracies
(table 1). Two controls that the paper lacks stand beside: the same further training
with samples drawn at random, and the weak regions without other samples (`replay=0`).
"""

import argparse
import copy
import os
from pathlib import Path

for variable in ("OMP_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(variable, "1")

import numpy as np
import pandas as pd
from scipy import stats
from sklearn.frozen import FrozenEstimator

from benchmarks.reproduce import figures
from robustkit.attacks import PGDAttack
from robustkit.bridge import ActivationExtractor
from robustkit.classifiers import MLPNetClassifier
from robustkit.datasets import fetch_mnist, load_digits_images
from robustkit.defenses import WeakRegionRefiner
from robustkit.topology import MapperGraph

CLEAN = "M_clean"


def load(dataset, data_home, n_train):
    """Training and test images with labels, and what suits their number."""
    if dataset == "digits":
        parts = [load_digits_images(split=part) for part in ("train", "test")]
        settings = {"hidden": (100,), "batch_size": 32, "epochs": 60, "n_intervals": 20}
    else:
        parts = [fetch_mnist(part, data_home=data_home) for part in ("train", "test")]
        settings = {"hidden": (256,), "batch_size": 128, "epochs": 20}
        settings["n_intervals"] = 40
    (X, y), (X_test, y_test) = [(part.data, part.target) for part in parts]
    n_train = len(X) if n_train is None else n_train
    return (X[:n_train], y[:n_train], X_test, y_test), settings


def train(data, settings, eps, seed):
    """A network trained on clean samples, or against projected gradient descent."""
    adversary = None if eps == 0 else PGDAttack(eps=eps, max_iter=7, random_state=seed)
    return MLPNetClassifier(
        settings["hidden"], max_epochs=settings["epochs"], random_state=seed,
        batch_size=settings["batch_size"], adversary=adversary,
    ).fit(*data[:2])  # fmt: skip


def attack(eps, seed, model=None):
    """What measures robustness: more steps than in training."""
    model = None if model is None else FrozenEstimator(model)
    return PGDAttack(model, eps=eps, max_iter=20, random_state=seed)


def robust_accuracy(model, data, eps, seed):
    X, y, X_test, y_test = data
    if eps == 0:
        return model.score(X_test, y_test)
    return attack(eps, seed, model).fit(X, y).score(X_test, y_test)


def graph_measures(model, data, settings, eps, seed, folder):
    """Purity and size of the mapper graph of the (perturbed) training activations."""
    X, y = data[:2]
    if eps:
        X = attack(eps, seed, model).fit(X, y).perturb(X, y).X_adv
    activations = ActivationExtractor(FrozenEstimator(model)).fit_transform(X)
    mapper = MapperGraph(n_intervals=settings["n_intervals"]).fit(activations)
    if folder and seed == 0:
        name = f"eps {eps:g}" if eps else CLEAN
        path = folder / f"graph_{name.replace(' ', '_')}.png"
        figures.mapper_graph(mapper, y, model.predict(X), name, path)
    return {
        "purity": mapper.score(activations, y),
        "nodes": len(mapper.graph_),
        "noise": mapper.n_noise_ / len(X),
    }


def refined(model, data, settings, eps, seed, cover, replay):
    mapper = MapperGraph(n_intervals=settings["n_intervals"], cover=cover)
    return WeakRegionRefiner(
        FrozenEstimator(model), mapper, replay=replay, attack=attack(eps, seed),
        random_state=seed,
    ).fit(*data[:2])  # fmt: skip


def trained_on(model, data, n_samples, n_epochs, seed):
    """The control: as many samples, drawn at random."""
    X, y = data[:2]
    chosen = np.random.RandomState(seed).permutation(len(X))[:n_samples]
    model = copy.deepcopy(model)
    for _ in range(n_epochs):
        model.partial_fit(X[chosen], y[chosen])
    return model


def one_level(data, settings, eps, seed, folder):
    """Everything measured at one attack level."""
    model = train(data, settings, eps, seed)
    row = {"eps": eps, "seed": seed, "clean": model.score(*data[2:])}
    row |= graph_measures(model, data, settings, eps, seed, folder)
    row["M_adv"] = robust_accuracy(model, data, eps, seed)
    if eps == 0:
        return row
    for cover in ("uniform", "balanced"):
        for replay in (4.0, 0.0):
            refiner = refined(model, data, settings, eps, seed, cover, replay)
            name = f"{cover}, replay {replay:g}"
            row[name] = robust_accuracy(refiner.estimator_, data, eps, seed)
    n_weak = len(refiner.refined_indices_)
    n_samples = min(5 * n_weak, len(data[0]))
    more = trained_on(model, data, n_samples, refiner.max_epochs, seed)
    row |= {"weak": n_weak, "random samples": robust_accuracy(more, data, eps, seed)}
    return row


def with_interval(values):
    """Mean, and half the width of its 95 % interval (Student)."""
    values = np.asarray(values, dtype=float)
    if len(values) < 2:
        return f"{values.mean():.2f}"
    half = stats.t.ppf(0.975, len(values) - 1) * stats.sem(values)
    return f"{values.mean():.2f} ± {half:.2f}"


def summary(results):
    """One row a level; differences are paired by seed, all in percent."""
    table = {}
    others = [name for name in results if "replay" in name or "random" in name]
    for eps, rows in results.groupby("eps"):
        row = {
            "purity": with_interval(100 * rows["purity"]),
            "nodes": f"{rows['nodes'].mean():.0f}",
            "clean": with_interval(100 * rows["clean"]),
            "M_adv": with_interval(100 * rows["M_adv"]),
        }
        for name in others if eps else ():
            row[f"{name} - M_adv"] = with_interval(100 * (rows[name] - rows["M_adv"]))
        table[CLEAN if eps == 0 else f"{eps:g}"] = row
    return pd.DataFrame.from_dict(table, orient="index").fillna("")


def main():
    """Run the experiment and print its table."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.reproduce.topology", description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    parser.add_argument("--dataset", choices=["digits", "mnist"], default="digits")
    parser.add_argument("--data-home", help="where MNIST is kept")
    parser.add_argument("--n-train", type=int, help="training samples; default: all")
    parser.add_argument("--epochs", type=int, help="default: 60 (digits), 20 (mnist)")
    parser.add_argument("--n-seeds", type=int, default=5, help="how many; default: 5")
    parser.add_argument(
        "--eps", type=float, nargs="+", default=[0.05, 0.1, 0.15, 0.2, 0.25, 0.3]
    )
    parser.add_argument("--out", help="a CSV file for every single result")
    parser.add_argument(
        "--figures", type=Path, help="a folder for the graphs of seed 0 and the purity"
    )
    chosen = parser.parse_args()
    data, settings = load(chosen.dataset, chosen.data_home, chosen.n_train)
    if chosen.epochs:
        settings["epochs"] = chosen.epochs
    if chosen.figures:
        chosen.figures.mkdir(parents=True, exist_ok=True)
    rows = []
    for seed in range(chosen.n_seeds):
        for eps in (0.0, *chosen.eps):
            rows.append(one_level(data, settings, eps, seed, chosen.figures))
            print(f"seed {seed}, eps {eps:g}: {rows[-1]}", flush=True)
            if chosen.out:
                pd.DataFrame(rows).to_csv(chosen.out, index=False)
    if chosen.figures:
        figures.purity_against_eps(pd.DataFrame(rows), chosen.figures / "purity.png")
    with pd.option_context("display.width", 200, "display.max_columns", None):
        print(summary(pd.DataFrame(rows)))


if __name__ == "__main__":
    main()
