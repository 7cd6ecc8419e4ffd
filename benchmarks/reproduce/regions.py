"""Does a low PRS ratio go with robustness? The paper's experiment, and its control.

Run ``python -m benchmarks.reproduce.regions --dataset digits`` (minutes), ``--dataset
mnist --network mlp --eps 0.05 --epochs 5 15 30`` (a quarter of an hour), or ``--dataset
mnist``, the convolutional network and the budget of the paper, which wants a GPU.

First, one architecture is trained at many batch sizes, with several seeds, and measured
after several numbers of epochs: the PRS ratio of its training samples, against accuracy
under PGD with the cross-entropy and with the margin loss. The slopes are computed over
all models, within one batch size, and with clean accuracy held fixed; their intervals
come from drawing whole trainings again, since the epochs of one are not independent.

Second, regularised networks are compared with the plain one, of the same seed, that is
nearest in clean accuracy.
"""

import argparse
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from sklearn.frozen import FrozenEstimator
from sklearn.model_selection import train_test_split

from benchmarks.reproduce import figures
from robustkit.attacks import PGDAttack
from robustkit.bridge import as_module
from robustkit.classifiers import TorchClassifier
from robustkit.datasets import fetch_mnist, load_digits_images
from robustkit.regions import PopulatedRegionRegularizer, PopulatedRegionScorer

MEASURES = ("robust_accuracy_ce", "robust_accuracy_margin")
N_BOOTSTRAP = 1000


NETWORKS = {
    "mlp": {"module": "mlp", "module_params": {"hidden_layer_sizes": (128, 64)}},
    "cnn6": {"module": "cnn6", "image_shape": (1, 28, 28)},
}
# The network and the budget of the attacks, where none are given; MNIST's as published.
DEFAULTS = {"digits": ("mlp", 0.1), "mnist": ("cnn6", 0.3)}


def load(dataset, n_train, n_test, data_home):
    """Training and test samples."""
    if dataset == "digits":
        X, y = load_digits_images(return_X_y=True)
        parts = train_test_split(X, y, test_size=0.33, stratify=y, random_state=0)
        X_train, X_test, y_train, y_test = parts
    else:
        kwargs = {"data_home": data_home, "return_X_y": True}
        X_train, y_train = fetch_mnist("train", **kwargs)
        X_test, y_test = fetch_mnist("test", **kwargs)
    return X_train[:n_train], y_train[:n_train], X_test[:n_test], y_test[:n_test]


def trained(classifier, checkpoints, X, y):
    """Yield (epochs, classifier) at each checkpoint of one training."""
    classifier = classifier.set_params(warm_start=True)
    done = 0
    for epochs in checkpoints:
        classifier.set_params(max_epochs=epochs - done).fit(X, y)
        done = epochs
        yield epochs, classifier


def measured(classifier, eps, data):
    """Everything that is known of one model."""
    X_train, y_train, X_test, y_test = data
    frozen = FrozenEstimator(classifier)
    attack = PGDAttack(frozen, eps=eps, max_iter=20, clip=(0, 1), random_state=0)
    scorer = PopulatedRegionScorer(frozen).fit(X_train, y_train)
    last = scorer.layer_report(X_test).iloc[-1]
    report = attack.fit(X_train, y_train).report(X_test, y_test)
    row = {
        "prs_ratio": scorer.prs_ratio_,
        "inclusion_ratio": scorer.inclusion_ratio(X_test),
        "active_units": last["active_units"],
        "alive_units": last["alive_units"],
        "clean_accuracy": report["clean_accuracy"],
    }
    wanted = (*MEASURES, "zero_gradient_share", "median_logit_margin")
    row |= {name: report[name] for name in wanted}
    strongest = attack.set_params(loss="rotate", n_restarts=4)
    row["robust_accuracy_rotate"] = strongest.score(X_test, y_test)
    return row | autoattack(classifier, eps, X_test, y_test)


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


def slope(table, measure, *, within, adjusted):
    """Slope of a measure on the PRS ratio, by least squares.

    `within` compares only models of one batch size and one number of epochs; `adjusted`
    holds clean accuracy fixed.
    """
    columns = ["prs_ratio", measure, "clean_accuracy"]
    values = table[columns]
    if within:
        cells = table.groupby(["batch_size", "epochs"])[columns]
        values = values - cells.transform("mean")
    else:
        values = values - values.mean()
    causes = ["prs_ratio", "clean_accuracy"] if adjusted else ["prs_ratio"]
    found, *_ = np.linalg.lstsq(values[causes], values[measure], rcond=None)
    return found[0]


def slopes(table):
    """Every slope with the interval of a bootstrap over trainings."""
    trainings = [part for _, part in table.groupby(["batch_size", "seed"])]
    rng = np.random.RandomState(0)
    draws = rng.randint(len(trainings), size=(N_BOOTSTRAP, len(trainings)))
    rows = []
    for measure in MEASURES:
        for within in (False, True):
            for adjusted in (False, True):
                kind = {"within": within, "adjusted": adjusted}
                drawn = [
                    slope(pd.concat([trainings[i] for i in draw]), measure, **kind)
                    for draw in draws
                ]
                low, high = np.quantile(drawn, [0.025, 0.975])
                rows.append(
                    {
                        "measure": measure,
                        "compared": "within a batch size" if within else "pooled",
                        "clean accuracy": "held fixed" if adjusted else "free",
                        "slope": slope(table, measure, **kind),
                        "low": low,
                        "high": high,
                    }
                )
    return pd.DataFrame(rows)


def matched(plain, regularised):
    """Beside each regularised model, the plain one nearest in clean accuracy.

    Of equally near ones it is the one trained longest, which is like it in this too.
    """
    rows, plain = [], plain.sort_values("epochs", ascending=False, ignore_index=True)
    for _, model in regularised.iterrows():
        rivals = plain[plain["seed"] == model["seed"]]
        distance = (rivals["clean_accuracy"] - model["clean_accuracy"]).abs()
        rival = rivals.loc[distance.idxmin()]
        row = {"strength": model["strength"], "seed": int(model["seed"])}
        for name in plain.columns.difference(["seed", "strength"], sort=False):
            row[f"{name} (plain)"] = rival[name]
            row[f"{name} (regularised)"] = model[name]
        rows.append(row)
    return pd.DataFrame(rows)


def show(row):
    """Print a model on one line."""
    print(", ".join(f"{key} {value:.4g}" for key, value in row.items()), flush=True)


def main():
    """Run both parts, print the tables and keep them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--dataset", choices=["digits", "mnist"], default="digits")
    parser.add_argument("--data-home", default=None)
    parser.add_argument("--network", choices=list(NETWORKS), default=None)
    parser.add_argument("--eps", type=float, default=None)
    parser.add_argument("--n-train", type=int, default=None)
    parser.add_argument("--n-test", type=int, default=1000)
    parser.add_argument("--n-seeds", type=int, default=5)
    parser.add_argument("--epochs", type=int, nargs="+", default=[10, 30, 100])
    parser.add_argument("--strengths", type=float, nargs="+", default=[5e-4, 0.05, 0.8])
    parser.add_argument(
        "--batch-sizes", type=int, nargs="+", default=[64, 128, 256, 512, 1024, 2048]
    )
    parser.add_argument("--out", type=Path, default=Path("regions"))
    arguments = parser.parse_args()
    network, eps = DEFAULTS[arguments.dataset]
    network = NETWORKS[arguments.network or network]
    eps, checkpoints = arguments.eps or eps, sorted(arguments.epochs)
    data = load(
        arguments.dataset, arguments.n_train, arguments.n_test, arguments.data_home
    )
    arguments.out.mkdir(parents=True, exist_ok=True)
    plain = by_batch_size(network, eps, checkpoints, data, arguments)
    plain.to_csv(arguments.out / "by_batch_size.csv", index=False)
    figures.robustness_against_ratio(
        plain, MEASURES, arguments.out / "by_batch_size.png"
    )
    print(slopes(plain).round(3).to_string(index=False), end="\n\n")
    pairs = regularised_against_plain(network, eps, checkpoints, data, arguments)
    pairs.to_csv(arguments.out / "matched.csv", index=False)
    means = pairs.drop(columns="seed").groupby("strength").mean().T
    print(means.round(3).to_string())


def by_batch_size(network, eps, checkpoints, data, arguments):
    """Plain networks: a row for each batch size, seed and number of epochs."""
    rows = []
    for batch_size in arguments.batch_sizes:
        for seed in range(arguments.n_seeds):
            classifier = TorchClassifier(
                **network, batch_size=batch_size, random_state=seed
            )
            for epochs, model in trained(classifier, checkpoints, *data[:2]):
                place = {"batch_size": batch_size, "seed": seed, "epochs": epochs}
                rows.append(place | measured(model, eps, data))
                show(rows[-1])
    return pd.DataFrame(rows)


def regularised_against_plain(network, eps, checkpoints, data, arguments):
    """Pairs of equal clean accuracy, at the first batch size."""
    rows = []
    for seed in range(arguments.n_seeds):
        plain = TorchClassifier(
            **network, batch_size=arguments.batch_sizes[0], random_state=seed
        )
        every = np.unique(np.linspace(1, checkpoints[-1], 11).astype(int)).tolist()
        for epochs, model in trained(plain, every, *data[:2]):
            place = {"strength": 0.0, "seed": seed, "epochs": epochs}
            rows.append(place | measured(model, eps, data))
        for strength in arguments.strengths:
            model = TorchClassifier(
                **network,
                batch_size=arguments.batch_sizes[0],
                max_epochs=checkpoints[-1],
                regularizer=PopulatedRegionRegularizer(strength),
                random_state=seed,
            ).fit(*data[:2])
            place = {"strength": strength, "seed": seed, "epochs": checkpoints[-1]}
            rows.append(place | measured(model, eps, data))
            show(rows[-1])
    table = pd.DataFrame(rows)
    return matched(table[table["strength"] == 0], table[table["strength"] > 0])


if __name__ == "__main__":
    main()
