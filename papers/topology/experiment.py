"""Mapper graphs of adversarially trained networks, and what refining them brings.

``python -m papers.topology --dataset mnist`` trains a clean network and,
for each attack level, an adversarially trained one; measures the purity of the mapper
graphs of their activations (figure 7 of the paper); refines each with the samples of
its weak regions, found with a uniform and with a balanced cover; and measures robust
test accuracies (tables 1 and 2). Two controls that the paper lacks stand beside: the
same further training with as many samples drawn at random, and the weak regions without
other samples (`replay 0`).

``--dataset cifar10`` takes a part of CIFAR-10 at half its size and a small
convolutional network; with ``--network resnet18`` it takes all of it and the paper's
network, on a GPU where there is one.

Every finished run is a row of a CSV file; started again, the command does what is
missing. ``python -m papers.topology.page`` draws tables and figures.
"""

import argparse
import copy
import json
import os
import time
from itertools import product
from pathlib import Path

for variable in ("OMP_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(variable, "1")

import numpy as np
from sklearn.frozen import FrozenEstimator

from papers._data import load
from papers._results import ResultTable
from robustkit.attacks import PGDAttack
from robustkit.bridge import ActivationExtractor
from robustkit.classifiers import MLPNetClassifier, TorchClassifier
from robustkit.topology import MapperGraph

RESULTS = Path(__file__).parent / "results"
KEYS = ["dataset", "attack", "norm", "eps", "seed"]

# Attack levels of each part. Of CIFAR-10 the Euclidean ones are published, the others
# the radii in use for it; the largest first: a study cut short has both ends.
LINF, L2 = (0.05, 0.1, 0.15, 0.2, 0.25, 0.3), (0.05, 0.1, 0.2, 0.3)
LINF_CIFAR10, L2_CIFAR10 = (8 / 255, 2 / 255, 4 / 255), (0.3, 0.01, 0.1, 0.05, 0.2)

# What suits each data set and network; those of the paper are not published. "steps"
# are those of attacks in training, "measure_steps" of those that measure.
SETTINGS = {
    ("digits", "mlp"): {
        "n_train": None, "n_test": None, "side": None, "epochs": 60, "batch_size": 32,
        "parts": ["linf", "l2"], "linf": LINF, "l2": L2,
        "n_intervals": 20, "layer": "logits", "steps": 5, "measure_steps": 20,
        "further_epochs": 2, "further": ["replay 4", "replay 0", "random"],
    },
    ("mnist", "mlp"): {
        "n_train": None, "n_test": None, "side": None, "epochs": 16, "batch_size": 128,
        "parts": ["linf", "l2", "short"], "linf": LINF, "l2": L2,
        "n_intervals": 40, "layer": "logits", "steps": 5, "measure_steps": 20,
        "further_epochs": 2, "further": ["replay 4", "replay 0", "random"],
    },
    ("cifar10", "cnn6"): {
        "n_train": 10_000, "n_test": 2000, "side": 16, "epochs": 10, "batch_size": 64,
        "parts": ["linf", "l2"], "linf": LINF_CIFAR10, "l2": L2_CIFAR10,
        "n_intervals": 20, "layer": "conv_relu6", "steps": 2, "measure_steps": 10,
        "further_epochs": 1, "further": ["replay 4", "random"],
    },
    ("cifar10", "resnet18"): {
        "n_train": None, "n_test": None, "side": None, "epochs": 30, "batch_size": 128,
        "parts": ["l2", "linf"], "linf": LINF_CIFAR10, "l2": L2_CIFAR10,
        "n_intervals": 40, "layer": "layer4", "steps": 5, "measure_steps": 20,
        "further_epochs": 2, "further": ["replay 4", "replay 0", "random"],
    },
}  # fmt: skip

# As many steps of 2/255 have the attacks of libraries by default.
SHORT_STEPS = 10

# In units of the distance that MapperGraph(eps="auto") chooses. At 1 nearly all samples
# of a large set hang together.
SCALES = (1.0, 0.8)
SHOWN_SCALE = 0.8
# Samples that a network gets wrong are often noise of a finer graph.
REFINING_SCALE = 1.0
COVERS = ("uniform", "balanced")
REPLAY = 4
BUDGET = 0.2


def levels(part, settings):
    """(attack, norm, eps) of the networks of a part, which all seeds finish in turn."""
    if part == "short":
        # The largest first: there the two attacks differ most.
        return [("short", "linf", eps) for eps in reversed(settings["linf"])]
    return [("none", "none", 0.0), *(("full", part, eps) for eps in settings[part])]


def pgd(attack, norm, eps, seed, max_iter, model=None):
    """Projected gradient descent, from a random point of the ball.

    "full" crosses the ball: its steps add up to 2.5 times the radius. "short" has the
    steps of 2/255 that libraries use by default, and so hardly leaves the place where
    it starts if the ball is large.
    """
    return PGDAttack(
        None if model is None else FrozenEstimator(model),
        norm=norm, eps=eps, step_size=2 / 255 if attack == "short" else None,
        max_iter=max_iter, random_state=seed,
    )  # fmt: skip


def measuring(model, data, settings, level, seed):
    """Return the attack that measures a network, which has more steps than training."""
    steps = SHORT_STEPS if level[0] == "short" else settings["measure_steps"]
    # No attack needs more than the range of the training samples.
    return pgd(*level, seed, steps, model).fit(data.X_train, data.y_train)


def make(network, data, **params):
    """Return a classifier that is not trained yet."""
    if network == "mlp":
        return MLPNetClassifier((100,) if data.name == "digits" else (256,), **params)
    return TorchClassifier(network, image_shape=data.image_shape, **params)


def train(network, data, settings, level, seed):
    """Train a network on clean samples, or against an attack that grows to its size.

    From the first step on at full size, an attack of .25 or more leaves no class to be
    told from another, and the network learns to say one class for all.
    """
    eps = level[-1]
    params = {
        "batch_size": settings["batch_size"], "random_state": seed, "max_epochs": 1,
        "warm_start": True,
    }  # fmt: skip
    model = make(network, data, **params)
    if eps:
        model.set_params(adversary=pgd(*level, seed, settings["steps"]))
    for epoch in range(settings["epochs"]):
        if eps:
            share = min(1, 2 * (epoch + 1) / settings["epochs"])
            model.set_params(adversary__eps=share * eps)
        model.fit(data.X_train, data.y_train)
    return model


def robust_accuracy(model, data, settings, level, seed):
    """Share of the test samples that are classified right before and after."""
    attack = measuring(model, data, settings, level, seed)
    return attack.score(data.X_test, data.y_test)


def activations(model, X, settings, seed):
    """Return the point cloud of a layer, one position of the image each."""
    extractor = ActivationExtractor(
        FrozenEstimator(model), layer=settings["layer"], random_state=seed
    )
    return extractor.fit_transform(X)


def mapper_graphs(cloud, n_intervals):
    """Yield (cover, scale, fitted graph)."""
    knee = MapperGraph(n_intervals=n_intervals).fit(cloud).eps_
    for cover in COVERS:
        for scale in SCALES:
            mapper = MapperGraph(n_intervals=n_intervals, cover=cover, eps=scale * knee)
            yield cover, scale, mapper.fit(cloud)


def save_graph(path, mapper, y, y_pred):
    """Write what a picture needs: the nodes with their labels, and the edges."""
    nodes = mapper.describe(y, y_pred)
    labels = np.unique(y).tolist()
    edges = mapper.graph_.edges(data="weight")
    graph = {
        "labels": labels,
        "interval": nodes["interval"].tolist(),
        "size": nodes["size"].tolist(),
        "accuracy": nodes["accuracy"].round(4).tolist(),
        "counts": nodes[[f"count_{label}" for label in labels]].to_numpy().tolist(),
        "edges": [[int(number) for number in edge] for edge in edges],
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(graph, separators=(",", ":")) + "\n")


def refined(model, data, chosen, n_epochs):
    """Train a copy of a network further with some of the training samples, if any."""
    if len(chosen) == 0:
        return model
    model = copy.deepcopy(model)
    for _ in range(n_epochs):
        model.partial_fit(data.X_train[chosen], data.y_train[chosen])
    return model


def refinements(model, data, settings, level, seed, graphs, y_pred):
    """Robust accuracy of what a network is refined to."""
    row, known = {}, {}
    for cover, mapper in graphs.items():
        weak = mapper.weak_samples(data.y_train, y_pred, BUDGET)
        row[f"weak {cover}"] = len(weak)
        chosen = further_samples(weak, len(y_pred), seed)
        for name in settings["further"]:
            # Of as many weak samples, both covers have the same ones drawn at random.
            samples = chosen[name].tobytes()
            if samples not in known:
                better = refined(model, data, chosen[name], settings["further_epochs"])
                known[samples] = robust_accuracy(better, data, settings, level, seed)
            row[f"{cover}, {name}"] = known[samples]
    return row


def further_samples(weak, n_samples, seed):
    """What a network is trained further with: weak samples, and as many at random."""
    rng = np.random.RandomState(seed)
    others = np.setdiff1d(np.arange(n_samples), weak)
    replayed = rng.permutation(others)[: REPLAY * len(weak)]
    n_all = len(weak) + len(replayed)
    return {
        f"replay {REPLAY}": np.concatenate([weak, replayed]),
        "replay 0": weak,
        "random": rng.permutation(n_samples)[:n_all],
    }


def one_level(name, network, data, settings, level, seed, folder):
    """Everything measured of one network; for the first seed, keep a graph too."""
    attack, norm, eps = level
    model = train(network, data, settings, level, seed)
    row = {"clean": model.score(data.X_test, data.y_test)}
    X, y = data.X_train, data.y_train
    if eps:
        X = measuring(model, data, settings, level, seed).perturb(X, y).X_adv
    y_pred = model.predict(X)
    row["train"] = np.mean(y_pred == y)
    cloud, graphs = activations(model, X, settings, seed), {}
    for cover, scale, mapper in mapper_graphs(cloud, settings["n_intervals"]):
        row |= {
            f"purity {cover} {scale:g}": mapper.score(cloud, y),
            f"nodes {cover} {scale:g}": len(mapper.graph_),
            f"noise {cover} {scale:g}": mapper.n_noise_ / len(X),
        }
        graphs[cover, scale] = mapper
    if seed == 0:
        shown = graphs["uniform", SHOWN_SCALE]
        file = f"{name}_{attack}_{norm}_{eps:.4g}.json"
        save_graph(folder / "graphs" / file, shown, y, y_pred)
    if eps:
        row["M_adv"] = robust_accuracy(model, data, settings, level, seed)
    if norm == "linf":
        other = ({"full": "short", "short": "full"}[attack], norm, eps)
        row["M_adv, other"] = robust_accuracy(model, data, settings, other, seed)
    if eps:
        graphs = {cover: graphs[cover, REFINING_SCALE] for cover in COVERS}
        row |= refinements(model, data, settings, level, seed, graphs, y_pred)
    return row


def own_network(dataset):
    """Network of a data set where none is named."""
    return next(network for name, network in SETTINGS if name == dataset)


def name_of(dataset, network):
    """What the files of a data set and a network are called after."""
    return dataset if network == own_network(dataset) else f"{dataset}_{network}"


def run(dataset, network, settings, data, n_seeds, folder):
    """Train and measure the networks that are missing in the table."""
    name = name_of(dataset, network)
    table = ResultTable(folder / f"{name}.csv", KEYS)
    for part, seed in product(settings["parts"], range(n_seeds)):
        for level in levels(part, settings):
            key = dict(zip(KEYS, (dataset, *level, seed), strict=True))
            if table.has(**key):
                continue
            start = time.process_time()
            row = one_level(name, network, data, settings, level, seed, folder)
            row |= {
                "n_train": len(data.X_train),
                "epochs": settings["epochs"],
                "seconds": time.process_time() - start,
            }
            table.add([key | row])
            print(key | row, flush=True)


def main():
    """Do what is missing of the grid."""
    parser = argparse.ArgumentParser(
        prog="python -m papers.topology", description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    datasets = list(dict.fromkeys(dataset for dataset, _ in SETTINGS))
    networks = list(dict.fromkeys(network for _, network in SETTINGS))
    parser.add_argument("--dataset", choices=datasets, default="digits")
    parser.add_argument("--network", choices=networks, help="default: what fits")
    parser.add_argument("--data-home", help="where MNIST and CIFAR-10 are kept")
    parser.add_argument("--n-train", type=int, help="training samples")
    parser.add_argument("--n-test", type=int, help="test samples")
    parser.add_argument("--epochs", type=int)
    parser.add_argument("--parts", choices=["linf", "l2", "short"], nargs="+")
    parser.add_argument("--n-seeds", type=int, default=3, help="default: 3")
    parser.add_argument(
        "--out", type=Path, default=RESULTS, help="default: results/ beside the code"
    )
    chosen = parser.parse_args()
    network = chosen.network or own_network(chosen.dataset)
    if (chosen.dataset, network) not in SETTINGS:
        parser.error(f"there are no settings of {network} for {chosen.dataset}")
    settings = dict(SETTINGS[chosen.dataset, network])
    for name in ("n_train", "n_test", "epochs", "parts"):
        if getattr(chosen, name) is not None:
            settings[name] = getattr(chosen, name)
    data = load(chosen.dataset, settings, chosen.data_home)
    run(chosen.dataset, network, settings, data, chosen.n_seeds, chosen.out)
