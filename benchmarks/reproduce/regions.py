"""Does a low PRS ratio go with robustness? The paper's experiment, and its control.

Run ``python -m benchmarks.reproduce.regions``, with ``--dataset mnist --network mlp``
(half an hour on one core) or ``--dataset mnist --network cnn6``, the paper's network on
a part of the images (an hour; more with ``--n-train``, which wants a GPU).

First, one architecture is trained at many batch sizes, with several seeds, and measured
after several numbers of epochs: the PRS ratio of its training samples, against accuracy
under PGD

Second, regularised networks are compared with the plain one, of the same seed, that is
nearest in clean accuracy.

Every finished training adds its rows to a CSV file; started again, the command does
what is missing. ``python -m benchmarks.reproduce.pages regions`` draws tables and
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

from benchmarks.reproduce.results import RESULTS, ResultTable
from robustkit.attacks import PGDAttack
from robustkit.bridge import as_module
from robustkit.classifiers import TorchClassifier
from robustkit.datasets._catalogue import load_dataset
from robustkit.regions import PopulatedRegionRegularizer, PopulatedRegionScorer

CAUSES = ("prs_ratio", "inclusion_ratio")
MEASURES = (
    "robust_accuracy_ce",
    "robust_accuracy_margin",
    "robust_accuracy_rotate",
)
# Models are compared with all others, or only where they have these in common.
WITHIN = ((), ("batch_size",), ("batch_size", "epochs"))
N_BOOTSTRAP = 1000
KEYS = ["dataset", "network", "batch_size", "strength", "seed", "epochs"]

NETWORKS = {
    "mlp": {"module": "mlp", "module_params": {"hidden_layer_sizes": (128, 64)}},
    "cnn6": {"module": "cnn6"},
}
# What a core or a GPU can do; every entry can be given on the command line.
SETTINGS = {
    ("digits", "mlp"): {
        "eps": 0.1, "epochs": [10, 30, 100], "n_seeds": 5, "n_rivals": 11,
        "batch_sizes": [64, 128, 256, 512, 1024, 2048], "strengths": [5e-4, 0.05, 0.8],
        "n_train": None, "n_test": None,
    },
    ("mnist", "mlp"): {
        "eps": 0.05, "epochs": [5, 15, 40], "n_seeds": 5, "n_rivals": 11,
        "batch_sizes": [64, 128, 256, 512, 1024, 2048], "strengths": [5e-4, 0.8],
        "n_train": None, "n_test": 2000,
    },
    ("mnist", "cnn6"): {
        "eps": 0.1, "epochs": [8, 20], "n_seeds": 3, "n_rivals": 0,
        "batch_sizes": [64, 256, 1024], "strengths": [5e-4],
        "n_train": 2000, "n_test": 150,
    },
}  # fmt: skip


def make(dataset, network, batch_size, seed, **params):
    """Return a classifier that is not trained yet."""
    params |= NETWORKS[network]
    if network == "cnn6":
        params["image_shape"] = {"mnist": (1, 28, 28)}[dataset]
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
    report = attack.fit(data.X_train, data.y_train).report(X, y)
    row = {
        "prs_ratio": scorer.prs_ratio_,
        "inclusion_ratio": scorer.inclusion_ratio(X),
        "active_units": last["active_units"],
        "alive_units": last["alive_units"],
        "train_accuracy": classifier.score(data.X_train, data.y_train),
        "clean_accuracy": report["clean_accuracy"],
    }
    wanted = (*MEASURES[:2], "zero_gradient_share", "median_logit_margin")
    row |= {name: report[name] for name in wanted}
    row["robust_accuracy_rotate"] = attack.set_params(loss="rotate").score(X, y)
    # As in the paper: its steps add up to .157, about half of the radius.
    published = attack.set_params(eps=0.3, step_size=2 / 255, loss="ce")
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


def slopes(table):
    """Slopes of all measures, with the interval of a bootstrap over trainings.

    Parameters
    ----------
    table : DataFrame
        A row for each model.

    Returns
    -------
    slopes : DataFrame
        A row for each of `CAUSES`, each of `MEASURES`, each way to compare only models
        that have some columns in common (`within`), and with clean accuracy held fixed
        or not (`adjusted`): `slope`, `low` and `high`.
    """
    trainings = [part for _, part in table.groupby(["batch_size", "seed"])]
    rng = np.random.RandomState(0)
    draws = rng.randint(len(trainings), size=(N_BOOTSTRAP, len(trainings)))
    samples = [pd.concat([trainings[i] for i in draw]) for draw in draws]
    rows = []
    for within in WITHIN:
        values = centred(table, within)
        drawn = [centred(sample, within) for sample in samples]
        for cause, adjusted in product(CAUSES, (False, True)):
            found = slopes_of(values, cause, adjusted)
            others = [slopes_of(other, cause, adjusted) for other in drawn]
            low, high = np.quantile(others, [0.025, 0.975], axis=0)
            for k, measure in enumerate(MEASURES):
                kind = {"cause": cause, "measure": measure, "within": within}
                numbers = {"slope": found[k], "low": low[k], "high": high[k]}
                rows.append(kind | {"adjusted": adjusted} | numbers)
    return pd.DataFrame(rows)


def centred(table, within):
    """Subtract the mean of all models, or of those that have some columns in common."""
    values = table[[*CAUSES, *MEASURES, "clean_accuracy"]]
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
    """Yield (batch size, strength, seed, epochs to measure at), one a training."""
    checkpoints = sorted(settings["epochs"])
    rivals = np.linspace(1, checkpoints[-1], settings["n_rivals"]).astype(int).tolist()
    first = settings["batch_sizes"][0]
    for seed in range(settings["n_seeds"]):
        for batch_size in settings["batch_sizes"]:
            # Those at the first batch size are what regularised ones are compared with.
            more = rivals if batch_size == first else []
            yield batch_size, 0.0, seed, sorted({*checkpoints, *more})
        for strength in settings["strengths"]:
            yield first, strength, seed, checkpoints[-1:]


def run(dataset, network, settings, data, table):
    """Do the trainings that are missing in the table."""
    for batch_size, strength, seed, epochs in trainings(settings):
        key = {"dataset": dataset, "network": network, "batch_size": batch_size}
        key |= {"strength": strength, "seed": seed}
        if table.has(**key, epochs=epochs[-1]):
            continue
        start, params = time.process_time(), {}
        if strength:
            # In one go, since the penalty sets in after half of it.
            params["regularizer"] = PopulatedRegionRegularizer(strength)
        model = make(dataset, network, batch_size, seed, **params)
        rows = [
            key | {"epochs": done} | measured(model, settings["eps"], data)
            for done, model in trained(model, epochs, data)
        ]
        seconds = time.process_time() - start
        table.add([row | {"seconds": seconds} for row in rows])
        print(rows[-1], flush=True)


def main():
    """Do what is missing of the grid."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.reproduce.regions",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--dataset", choices=["digits", "mnist"], default="digits")
    parser.add_argument("--network", choices=list(NETWORKS), default="mlp")
    parser.add_argument("--data-home", help="where MNIST is kept")
    parser.add_argument("--eps", type=float)
    parser.add_argument("--n-train", type=int)
    parser.add_argument("--n-test", type=int)
    parser.add_argument("--n-seeds", type=int)
    parser.add_argument("--n-rivals", type=int, help="plain models to choose from")
    parser.add_argument("--epochs", type=int, nargs="+")
    parser.add_argument("--strengths", type=float, nargs="+")
    parser.add_argument("--batch-sizes", type=int, nargs="+")
    parser.add_argument("--out", type=Path, default=RESULTS, help=f"default: {RESULTS}")
    chosen = parser.parse_args()
    dataset, network = chosen.dataset, chosen.network
    if (dataset, network) not in SETTINGS:
        parser.error(f"the network {network} is too large for the images of {dataset}")
    settings = dict(SETTINGS[dataset, network])
    given = {name: getattr(chosen, name) for name in settings}
    settings |= {name: value for name, value in given.items() if value is not None}
    data = load_dataset(
        dataset,
        data_home=chosen.data_home,
        n_train=settings["n_train"],
        n_test=settings["n_test"],
    )
    table = ResultTable(chosen.out / f"regions_{dataset}_{network}.csv", KEYS)
    run(dataset, network, settings, data, table)


if __name__ == "__main__":
    main()
