"""Study (c): what pruning does, apart from retraining and from size.

Networks of five kinds, from the same dense network 784-50-100-100-50-10 of each seed:

- *dense*: as it was trained;
- *dense, retrained*: trained on for as many epochs as pruned networks are retrained;
- *pruned*: a share of the weights between hidden layers removed at random, not trained
  again;
- *pruned, retrained*: removed in steps, and trained after each, as in the paper;
- *small*: a dense network of the same depth with as many parameters as are left,
  trained for as many epochs.

So the effect of pruning is that of *pruned, retrained* over *dense, retrained*, and
*small* says whether it is the size.

``python -m papers.random_graphs.controls`` carries it out: every finished network is a
row of results/controls.csv; started again, it does what is missing. 1.5 hours on one
core. With ``--publish`` it trains nothing, and writes the tables and the picture of
what is finished.
"""

import argparse
import copy
import time
from itertools import pairwise
from pathlib import Path

import numpy as np
from sklearn.frozen import FrozenEstimator

from papers._data import load
from papers._results import (
    ResultTable,
    half_width,
    plt,
    save_figure,
    signed,
    with_interval,
    write_table,
)
from papers.random_graphs.measures import measures
from papers.random_graphs.tables import keep_amounts
from robustkit.classifiers import MLPNetClassifier, PrunedNetClassifier

RESULTS = Path(__file__).parent / "results"
KEYS = ["kind", "left", "seed"]
HIDDEN = (50, 100, 100, 50)
# Steps of 10 % after which networks are measured.
N_STEPS = (3, 7, 14, 20)
AMOUNT = 0.1
# Who gets fewer images right has a distance of few images, which is not shown.
LEAST = 0.4
DISTANCES = ("linf_median_distance", "l2_median_distance", "certified_median_radius")
# Networks of the same seed and share that are compared.
COMPARED = (
    ("retraining alone", "dense, retrained", "dense"),
    ("removing weights alone", "pruned", "dense"),
    ("removing and retraining", "pruned, retrained", "dense"),
    ("removing, beyond retraining", "pruned, retrained", "dense, retrained"),
    ("pruned instead of small", "pruned, retrained", "small"),
)
SETTINGS = {"epochs": 30, "batch_size": 128, "retrain_epochs": 5, "n_seeds": 8}
SIZES = {"n_distances": 300, "n_certified": 200, "n_pixel": 500}


def dense(seed, settings, sizes=HIDDEN):
    """A dense network that is not trained yet."""
    return MLPNetClassifier(
        sizes,
        max_epochs=settings["epochs"],
        batch_size=settings["batch_size"],
        random_state=seed,
        device="cpu",
    )


def trained_on(model, X, y, n_epochs):
    """A copy of a network, trained on."""
    model = copy.deepcopy(model).set_params(warm_start=True, max_epochs=n_epochs)
    return model.fit(X, y)


def pruned(model, X, y, n_steps, retrain_epochs, seed):
    """Remove weights at random, a tenth of those left in each step."""
    pruner = PrunedNetClassifier(
        FrozenEstimator(model),
        amount=AMOUNT,
        n_steps=n_steps,
        retrain_epochs=retrain_epochs,
        random_state=seed,
    )
    return [step.estimator for step in pruner.fit(X, y).steps_]


def without_training(model, n_steps, seed):
    """The same weights removed, and nothing trained."""
    twin = copy.deepcopy(model)
    layers = removable(twin)
    rng = np.random.RandomState(seed)
    for _ in range(n_steps):
        twin.n_parameters_ -= remove_at_random(layers, rng)
    return twin


def removable(model):
    """The layers between hidden layers, their weights as arrays that can be set."""
    linear = [part for part in model.module_ if hasattr(part, "weight")]
    return linear[1:-1]


def remove_at_random(layers, rng):
    """Set a tenth of the weights left to zero, over all layers; return how many."""
    weights = [layer.weight.detach().numpy() for layer in layers]
    left = [np.flatnonzero(weight) for weight in weights]
    owner = np.repeat(np.arange(len(left)), [len(places) for places in left])
    places = np.concatenate(left)
    gone = rng.permutation(len(places))[: round(AMOUNT * len(places))]
    for number, weight in enumerate(weights):
        weight.ravel()[places[gone[owner[gone] == number]]] = 0
    return len(gone)


def small_sizes(n_parameters, n_features=784, n_classes=10):
    """Widths in the proportions of the dense network, nearest in parameters."""
    scales = np.linspace(0.05, 1, 400)
    candidates = [tuple(max(1, round(s * width)) for width in HIDDEN) for s in scales]
    return min(
        candidates,
        key=lambda sizes: abs(count(sizes, n_features, n_classes) - n_parameters),
    )


def count(sizes, n_features, n_classes):
    """Number of weights and biases of a dense network."""
    widths = (n_features, *sizes, n_classes)
    return sum((a + 1) * b for a, b in pairwise(widths))


def networks(seed, settings, data):
    """Yield (kind, share of the hidden weights left, network) of one seed."""
    X, y = data.X_train, data.y_train
    whole = dense(seed, settings).fit(X, y)
    yield "dense", 1.0, whole
    steps = pruned(whole, X, y, max(N_STEPS), settings["retrain_epochs"], seed)
    longest = trained = 0
    longer = whole
    for n_steps in N_STEPS:
        left = (1 - AMOUNT) ** n_steps
        longest = n_steps * settings["retrain_epochs"]
        longer = trained_on(longer, X, y, longest - trained)
        trained = longest
        yield "dense, retrained", left, longer
        yield "pruned", left, without_training(whole, n_steps, seed)
        yield "pruned, retrained", left, steps[n_steps - 1]
        sizes = small_sizes(steps[n_steps - 1].n_parameters_)
        # As many epochs as the pruned network had.
        as_long = settings | {"epochs": settings["epochs"] + trained}
        yield "small", left, dense(seed, as_long, sizes).fit(X, y)


def measured(model, data, sizes):
    """Clean accuracy and all that the attacks report of one network."""
    X, y = data.X_test, data.y_test
    right = np.flatnonzero(model.predict(X) == y)
    row = {
        "n_parameters": model.n_parameters_,
        "clean_accuracy": len(right) / len(y),
    }
    for name, entry in measures(**sizes).items():
        attack, n_images = entry if isinstance(entry, tuple) else (entry, len(y))
        rows = right[:n_images] if isinstance(entry, tuple) else slice(None)
        attack.set_params(estimator=FrozenEstimator(model))
        report = attack.fit(data.X_train, data.y_train).report(X[rows], y[rows])
        wanted = ("distance", "radius", "robust", "error_rate", "certified_accuracy")
        row |= {
            f"{name}_{key}": float(value)
            for key, value in report.items()
            if any(word in key for word in wanted) and np.isscalar(value)
        }
    return row


def run(data, settings, sizes, table):
    """Train and measure the networks that are missing in the table."""
    last = {"kind": "small", "left": (1 - AMOUNT) ** max(N_STEPS)}
    for seed in range(settings["n_seeds"]):
        if table.has(**last, seed=seed):
            continue
        for kind, left, model in networks(seed, settings, data):
            key = {"kind": kind, "left": left, "seed": seed}
            # Training again what is there costs less than keeping networks.
            if table.has(**key):
                continue
            start = time.process_time()
            row = key | measured(model, data, sizes)
            table.add([row | {"seconds": time.process_time() - start}])
            print(row, flush=True)


def known(table):
    """The table without the distances of networks that get few images right."""
    accuracy = table.groupby(["kind", "left"])["clean_accuracy"].transform("mean")
    columns = [*DISTANCES, "one_pixel_error_rate"]
    return table.assign(**table[columns].where(accuracy > LEAST))


def kind_rows(table):
    """Means of the seeds of every kind, with 95 % intervals."""
    for (kind, left), group in table.groupby(["kind", "left"], sort=False):
        yield {
            "network": kind,
            "hidden weights left": f"{100 * left:.0f} %",
            "parameters": f"{group['n_parameters'].mean():,.0f}",
            "accuracy": _percent(100 * group["clean_accuracy"]),
            "median distance, maximum norm": with_interval(
                group["linf_median_distance"], 4
            ),
            "Euclidean norm": with_interval(group["l2_median_distance"], 3),
            "certified radius": with_interval(group["certified_median_radius"], 4),
            "One Pixel fools": _percent(100 * group["one_pixel_error_rate"]),
            "n": len(group),
        }


def _percent(values):
    text = with_interval(values, 1)
    return f"{text}\u00a0%" if text else ""


def difference_rows(table):
    """What becomes of the median distance of the same seed from kind to kind."""
    is_whole = table["kind"] == "dense"
    wide = table[~is_whole].pivot(
        index=["left", "seed"], columns="kind", values="linf_median_distance"
    )
    dense = table[is_whole].set_index("seed")["linf_median_distance"]
    wide["dense"] = dense.loc[wide.index.get_level_values("seed")].to_numpy()
    for what, one, other in COMPARED:
        change = 100 * (wide[one] / wide[other] - 1)
        yield {"from one to the other": what} | {
            f"{100 * left:.0f} % left": signed(_percent(values))
            for left, values in reversed(list(change.groupby("left")))
        }


def draw(table):
    """Draw the median distance against the share of the hidden weights that is left."""
    figure, axes = plt.subplots(figsize=(6.5, 4), layout="constrained")
    for kind, group in table.groupby("kind", sort=False):
        distances = group.groupby("left")["linf_median_distance"]
        middle, half = distances.mean(), distances.apply(half_width)
        if kind == "dense":
            around_it = middle.iloc[0] - half.iloc[0], middle.iloc[0] + half.iloc[0]
            axes.axhspan(*around_it, color="0.9", label="dense (95 %)")
            continue
        axes.errorbar(100 * middle.index, middle, half, fmt="o-", capsize=3, label=kind)
    axes.set_xlabel("hidden weights left (%)")
    axes.set_ylabel("median distance to\nthe nearest error (max. norm)")
    axes.invert_xaxis()
    axes.set_ylim(bottom=0)
    axes.legend(frameon=False)
    save_figure(figure, RESULTS / "figures" / "controls.png")


def publish(table):
    """Write the tables and the picture of whole seeds for the page."""
    n_networks = 1 + 4 * len(N_STEPS)
    n_of_seed = table.groupby("seed")["seed"].transform("size")
    table = table[n_of_seed == n_networks]
    table.to_csv(RESULTS / "controls.csv", index=False)
    table = known(table)
    write_table(list(kind_rows(table)), RESULTS / "tables" / "controls.csv")
    rows = list(difference_rows(table))
    write_table(rows, RESULTS / "tables" / "controls_differences.csv")
    draw(table)
    keep_amounts(
        [
            {
                "study": "controls",
                "networks": len(table),
                "asked for": n_networks * SETTINGS["n_seeds"],
                "graphs": 1,
                "initialisations": "he_uniform",
            }
        ]
    )


def main():
    """Do what is missing, or publish what is there."""
    parser = argparse.ArgumentParser(
        prog="python -m papers.random_graphs.controls",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--data-home", help="where MNIST is kept")
    parser.add_argument("--n-seeds", type=int, default=SETTINGS["n_seeds"])
    parser.add_argument("--epochs", type=int, default=SETTINGS["epochs"])
    parser.add_argument("--n-train", type=int, help="training samples")
    parser.add_argument("--n-test", type=int, help="test samples")
    parser.add_argument(
        "--out", type=Path, default=RESULTS, help="default: results/ beside the code"
    )
    parser.add_argument(
        "--publish", action="store_true", help="only write what is finished"
    )
    given = parser.parse_args()
    if given.publish:
        publish(ResultTable(given.out / "controls.csv", KEYS).read())
        return
    size = {"n_train": given.n_train, "n_test": given.n_test, "side": None}
    data = load("mnist", size, given.data_home)
    settings = SETTINGS | {"n_seeds": given.n_seeds, "epochs": given.epochs}
    run(data, settings, SIZES, ResultTable(given.out / "controls.csv", KEYS))


if __name__ == "__main__":
    main()
