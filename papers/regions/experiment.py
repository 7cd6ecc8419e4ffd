"""Does a low PRS ratio go with robustness? The paper's experiment, and its control.

Run ``python -m papers.regions``, with ``--dataset mnist --network mlp``
(half an hour on one core) or ``--dataset mnist --network cnn6``, the paper's network
(four hours on one core that has instructions for bfloat16). ``--dataset cifar10
--network cnn6`` wants a GPU; ``--n-train``, ``--side`` and ``--epochs`` make any of
them smaller.

First, one architecture is trained at many batch sizes, with several seeds, and measured
after several numbers of epochs: the PRS ratio of its training samples, against accuracy
under PGD.

Second, regularised networks are compared with the plain one, of the same seed, that is
nearest in clean accuracy.

Every finished training adds its rows to a CSV file; started again, the command does
what is missing. ``python -m papers.regions.page`` draws tables and
figures.
"""

import argparse
import os
import time
from itertools import product
from pathlib import Path

for variable in ("OMP_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(variable, "1")

import numpy as np
import pandas as pd
import torch
from sklearn.frozen import FrozenEstimator

from papers._data import load
from papers._results import ResultTable, half_width
from papers.regions.half_precision import half_precision_cnn6
from robustkit.attacks import PGDAttack
from robustkit.bridge import as_module
from robustkit.classifiers import TorchClassifier
from robustkit.regions import PopulatedRegionRegularizer, PopulatedRegionScorer

RESULTS = Path(__file__).parent / "results"
CAUSES = ("prs_ratio", "inclusion_ratio")
# And the number of a hidden layer, counted from the input: its ratio by itself.
LAYER = "prs_ratio_layer_"
MEASURES = (
    "robust_accuracy_ce",
    "robust_accuracy_margin",
    "robust_accuracy_rotate",
)
# Models are compared with all others, or only where they have these in common.
WITHIN = ((), ("batch_size",), ("batch_size", "epochs"))
KEYS = ["dataset", "network", "batch_size", "strength", "smoothing", "seed", "epochs"]
# Of rows that are older than the column.
DEFAULTS = {"smoothing": 0.0}

NETWORKS = {
    "mlp": {"module": "mlp", "module_params": {"hidden_layer_sizes": (128, 64)}},
    "cnn6": {"module": half_precision_cnn6},
}
# What a core can do, or a GPU the last; every entry can be given on the command line.
SETTINGS = {
    ("digits", "mlp"): {
        "eps": 0.1, "epochs": [10, 30, 100], "n_seeds": 5, "n_rivals": 11,
        "batch_sizes": [64, 128, 256, 512, 1024, 2048], "strengths": [5e-4, 0.05, 0.8],
        "n_train": None, "n_test": None, "side": None,
    },
    ("mnist", "mlp"): {
        "eps": 0.05, "epochs": [5, 15, 40], "n_seeds": 5, "n_rivals": 11,
        "batch_sizes": [64, 128, 256, 512, 1024, 2048], "strengths": [5e-4, 0.8],
        "n_train": None, "n_test": 2000, "side": None,
    },
    ("mnist", "cnn6"): {
        "eps": 0.1, "epochs": [2, 6], "n_seeds": 3, "n_rivals": 0,
        "batch_sizes": [64, 128, 256, 512, 1024, 2048], "strengths": [5e-4],
        "n_train": None, "n_test": 300, "side": None,
    },
    ("cifar10", "cnn6"): {
        "eps": 8 / 255, "epochs": [10, 30, 100], "n_seeds": 5, "n_rivals": 11,
        "batch_sizes": [64, 128, 256, 512, 1024, 2048], "strengths": [5e-4, 0.8],
        "n_train": None, "n_test": 2000, "side": None,
    },
}  # fmt: skip


# The radii of the paper, whose attacks have steps of 2/255.
PUBLISHED_EPS = {"digits": 0.3, "mnist": 0.3, "cifar10": 8 / 255}


def make(network, batch_size, seed, image_shape, **params):
    """Return a classifier that is not trained yet."""
    params |= NETWORKS[network]
    if network == "cnn6":
        params["module_params"] = {"image_shape": (1, *image_shape)[-3:]}
    return TorchClassifier(batch_size=batch_size, random_state=seed, **params)


def trained(classifier, checkpoints, data):
    """Yield (epochs, classifier) at each checkpoint of one training."""
    classifier = classifier.set_params(warm_start=True)
    done = 0
    for epochs in checkpoints:
        classifier.set_params(max_epochs=epochs - done).fit(data.X_train, data.y_train)
        done = epochs
        yield epochs, classifier


def measured(classifier, eps, data):
    """Everything that is known of one model."""
    X, y = data.X_test, data.y_test
    frozen = FrozenEstimator(classifier)
    attack = PGDAttack(frozen, eps=eps, max_iter=20, clip=(0, 1), random_state=0)
    scorer = PopulatedRegionScorer(frozen).fit(data.X_train, data.y_train)
    last = scorer.layer_report(X).iloc[-1]
    layers = scorer.layer_report(data.X_train)
    report = attack.fit(data.X_train, data.y_train).report(X, y)
    row = {
        "prs_ratio": scorer.prs_ratio_,
        "inclusion_ratio": scorer.inclusion_ratio(X),
        "active_units": last["active_units"],
        "alive_units": last["alive_units"],
        "clean_accuracy": report["clean_accuracy"],
    }
    wanted = (*MEASURES[:2], "zero_gradient_share", "median_logit_margin")
    row |= {name: report[name] for name in wanted}
    row |= {f"{LAYER}{i}": ratio for i, ratio in enumerate(layers["prs_ratio"], 1)}
    row["robust_accuracy_rotate"] = attack.set_params(loss="rotate").score(X, y)
    # On MNIST its steps add up to .157, about half of the radius.
    params = {"eps": PUBLISHED_EPS[data.name], "step_size": 2 / 255, "loss": "ce"}
    published = attack.set_params(**params)
    row["robust_accuracy_published"] = published.score(X, y)
    return row | autoattack(classifier, eps, X, y)


def autoattack(classifier, eps, X, y):
    """Add AutoAttack's figure, where it is installed."""
    try:
        from autoattack import AutoAttack
    except ImportError:
        return {}
    module = as_module(classifier)
    attack = AutoAttack(
        module,
        eps=eps,
        version="custom",
        attacks_to_run=["apgd-ce", "apgd-t"],
        verbose=False,
        device=next(module.parameters()).device.type,
        seed=0,
    )
    X, y = torch.as_tensor(X), torch.as_tensor(np.searchsorted(classifier.classes_, y))
    with torch.random.fork_rng():
        X_adv = attack.run_standard_evaluation(X, y, bs=1000)
    with torch.no_grad():
        right = module(X_adv).argmax(dim=1) == y
    return {"robust_accuracy_autoattack": right.double().mean().item()}


def slopes(table, causes=CAUSES):
    """Slopes of all measures, with an interval over the seeds.

    Networks of one seed start from the same weights, whatever their batch size, and are
    no independent draws. So the interval is that of the jackknife which leaves out one
    seed at a time, with Student's quantile for as many seeds.

    Parameters
    ----------
    table : DataFrame
        A row for each model.

    causes : sequence of str, default=CAUSES
        Columns of which the slopes are wanted.

    Returns
    -------
    slopes : DataFrame
        A row for each cause, each of `MEASURES`, each way to compare only models that
        have some columns in common (`within`), and with clean accuracy held fixed or
        not (`adjusted`): `slope` and `half_width`, half the width of its 95 % interval.
    """
    seeds = table["seed"].unique()
    rest = [table[table["seed"] != seed] for seed in seeds]
    rows = []
    for within, cause, adjusted in product(WITHIN, causes, (False, True)):
        whole, *left = (
            slopes_of(centred(part, within, cause), cause, adjusted)
            for part in (table, *rest)
        )
        pseudo = len(seeds) * whole - (len(seeds) - 1) * np.array(left)
        for k, measure in enumerate(MEASURES):
            # Of two seeds one is left, which tells nothing of how seeds differ.
            half = half_width(pseudo[:, k]) if len(seeds) > 2 else np.nan
            rows.append(
                {"cause": cause, "measure": measure, "within": within}
                | {"adjusted": adjusted, "slope": whole[k], "half_width": half}
            )
    return pd.DataFrame(rows)


def centred(table, within, cause):
    """Subtract the mean of all models, or of those that have some columns in common."""
    values = table[[cause, *MEASURES, "clean_accuracy"]]
    if within:
        keys = [table[name] for name in within]
        return values - values.groupby(keys).transform("mean")
    return values - values.mean()


def slopes_of(values, cause, adjusted):
    """Slope of each measure on one cause, by least squares."""
    causes = [cause, "clean_accuracy"] if adjusted else [cause]
    found, *_ = np.linalg.lstsq(values[causes], values[list(MEASURES)])
    return found[0]


def matched(plain, regularised):
    """Beside each regularised model, the plain one nearest in clean accuracy.

    It is one of the same seed and batch size. Of equally near ones it is the one
    trained longest, which is like it in this too.
    """
    rows, plain = [], plain.sort_values("epochs", ascending=False, ignore_index=True)
    for _, model in regularised.iterrows():
        alike = plain[["seed", "batch_size"]] == model[["seed", "batch_size"]]
        rivals = plain[alike.all(axis=1)]
        distance = (rivals["clean_accuracy"] - model["clean_accuracy"]).abs()
        rival = rivals.loc[distance.idxmin()]
        row = {"strength": model["strength"], "seed": int(model["seed"])}
        for name in plain.columns.difference(["seed", "strength"], sort=False):
            row[f"{name} (plain)"] = rival[name]
            row[f"{name} (regularised)"] = model[name]
        rows.append(row)
    return pd.DataFrame(rows)


def trainings(settings):
    """Yield (batch size, strength, smoothing, seed, epochs to measure at) of each."""
    checkpoints = sorted(settings["epochs"])
    rivals = np.linspace(1, checkpoints[-1], settings["n_rivals"]).astype(int).tolist()
    first = settings["batch_sizes"][0]
    for seed in range(settings["n_seeds"]):
        for batch_size in settings["batch_sizes"]:
            # Those at the first batch size are what regularised ones are compared with.
            more = rivals if batch_size == first else []
            yield batch_size, 0.0, 0.0, seed, sorted({*checkpoints, *more})
        for strength in settings["strengths"]:
            yield first, strength, 0.0, seed, checkpoints[-1:]
        for smoothing in settings.get("smoothings") or []:
            yield first, 0.0, smoothing, seed, checkpoints[-1:]


def run(dataset, network, settings, data, table):
    """Do the trainings that are missing in the table."""
    for batch_size, strength, smoothing, seed, epochs in trainings(settings):
        key = {"dataset": dataset, "network": network, "batch_size": batch_size}
        key |= {"strength": strength, "smoothing": smoothing, "seed": seed}
        if table.has(**key, epochs=epochs[-1]):
            continue
        start, params = time.process_time(), {"label_smoothing": smoothing}
        if strength:
            # In one go, since the penalty sets in after half of it.
            params["regularizer"] = PopulatedRegionRegularizer(strength)
        model = make(network, batch_size, seed, data.image_shape, **params)
        rows = [
            key | {"epochs": done} | measured(model, settings["eps"], data)
            for done, model in trained(model, epochs, data)
        ]
        size = {"n_train": len(data.X_train), "n_test": len(data.X_test)}
        size |= {"seconds": time.process_time() - start}
        table.add([row | size for row in rows])
        print(rows[-1], flush=True)


def main():
    """Do what is missing of the grid."""
    parser = argparse.ArgumentParser(
        prog="python -m papers.regions",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--dataset", choices=list(PUBLISHED_EPS), default="digits")
    parser.add_argument("--network", choices=list(NETWORKS), default="mlp")
    parser.add_argument("--data-home", help="where MNIST and CIFAR-10 are kept")
    parser.add_argument("--eps", type=float)
    parser.add_argument("--n-train", type=int)
    parser.add_argument("--n-test", type=int)
    parser.add_argument("--side", type=int, help="rows that images are shrunk to")
    parser.add_argument("--n-seeds", type=int)
    parser.add_argument("--n-rivals", type=int, help="plain models to choose from")
    parser.add_argument("--epochs", type=int, nargs="+")
    parser.add_argument("--strengths", type=float, nargs="*")
    parser.add_argument(
        "--smoothings", type=float, nargs="*",
        help="label smoothing of networks beside the regularised ones",
    )  # fmt: skip
    parser.add_argument("--batch-sizes", type=int, nargs="+")
    parser.add_argument(
        "--out", type=Path, default=RESULTS, help="default: results/ beside the code"
    )
    chosen = parser.parse_args()
    dataset, network = chosen.dataset, chosen.network
    if (dataset, network) not in SETTINGS:
        parser.error(f"the network {network} is too large for the images of {dataset}")
    settings = {"smoothings": [], **SETTINGS[dataset, network]}
    given = {name: getattr(chosen, name) for name in settings}
    settings |= {name: value for name, value in given.items() if value is not None}
    data = load(dataset, settings, chosen.data_home)
    table = ResultTable(chosen.out / f"{dataset}_{network}.csv", KEYS, DEFAULTS)
    run(dataset, network, settings, data, table)
