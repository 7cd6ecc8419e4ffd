"""Measure what a GPU is for: many networks trained, attacked and bounded as one.

``python -m benchmarks.gpu`` runs all parts within eight minutes and keeps what came out
of each as soon as it ends; started again, it goes on with the parts that are missing.
``python -m benchmarks.gpu --dry-run`` does the same on the CPU with very little of
everything and keeps nothing: it shows that the parts run, and measures nothing.

MNIST and CIFAR-10 are read from the folder that `robustkit datasets` names.
"""

import argparse
import json
import os
import time
from dataclasses import dataclass
from datetime import date
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from sklearn.frozen import FrozenEstimator

from benchmarks import report, rooms, store
from robustkit import (
    GraphPrior,
    GrowingEpsilonAttack,
    MLPNetClassifier,
    PGDAttack,
    SparseNetClassifier,
    TorchClassifier,
    attacks,
    fetch_cifar10,
    fetch_mnist,
    load_digits_images,
    robustness_bracket,
)
from robustkit.classifiers import fit_many

__all__ = ["PARTS", "main", "measure", "write_table"]

TABLE = store.HERE.parent / "docs" / "how_to" / "gpu_measured.txt"

# Seconds of the whole script, and of what is done to one network after the other.
_SECONDS, _SECONDS_ONE_BY_ONE = 450, 60


@dataclass(frozen=True)
class Size:
    """How much of everything."""

    device: str
    n_networks: int
    n_nodes: int
    n_epochs: int
    n_attacked: int
    n_many: int
    is_dry: bool

    @cached_property
    def data(self):
        """Images to train on, and others to attack."""
        if self.is_dry:
            X, y = load_digits_images(return_X_y=True)
            return (X[:256], y[:256]), (X[-self.n_attacked :], y[-self.n_attacked :])
        X, y = fetch_mnist(split="train", return_X_y=True)
        tested, labels = fetch_mnist(split="test", return_X_y=True)
        return (X, y), (tested[: self.n_attacked], labels[: self.n_attacked])

    def networks(self, n=None, **settings):
        """Classifiers of different graphs."""
        settings = {"max_epochs": self.n_epochs, "batch_size": 128} | settings
        rewirings = np.linspace(0.3, 1, self.n_networks if n is None else n)
        return [
            SparseNetClassifier(
                GraphPrior(n_nodes=self.n_nodes, rewiring=rewiring),
                device=self.device,
                random_state=0,
                **settings,
            )
            for rewiring in rewirings
        ]

    def seconds(self, function):
        """Time a function until the device is done; returns what it gave, too."""
        self.wait()
        start = time.perf_counter()
        result = function()
        self.wait()
        return time.perf_counter() - start, result

    def wait(self):
        """Wait for the device."""
        if self.device == "cuda":
            torch.cuda.synchronize()


FULL = Size("cuda", 600, 100, 30, 1000, 10_000, is_dry=False)
DRY = Size("cpu", 3, 30, 1, 20, 6, is_dry=True)


def equal(size):
    """The device gives what the CPU gives: weights, attacks, radii up to rounding."""
    (X, y), (tested, labels) = size.data
    X, y = X[:2000], y[:2000]
    kinds = {
        "MLPNetClassifier": lambda d: [
            MLPNetClassifier((32,), max_epochs=2, device=d, random_state=0).fit(X, y)
        ],
        "fit_many": lambda d: fit_many(
            [net.set_params(device=d, max_epochs=2) for net in size.networks(3)], X, y
        ),
    }
    for name, fit in kinds.items():
        here, there = fit("cpu"), fit(size.device)
        gap = max(
            np.abs(a.predict_proba(tested) - b.predict_proba(tested)).max()
            for a, b in zip(here, there, strict=True)
        )
        yield f"largest difference of a probability, {name}", f"{gap:.1e}", "", ""
    model = FrozenEstimator(kinds["fit_many"]("cpu")[0])
    for attack in (
        PGDAttack(model, max_iter=10, random_state=0),
        GrowingEpsilonAttack(model),
    ):
        found = [
            attack.set_params(device=device).fit(X, y).perturb(tested, labels)
            for device in ("cpu", size.device)
        ]
        share = np.mean(found[0].success == found[1].success)
        name = type(attack).__name__
        yield f"samples with the same answer, {name}", f"{share:.2%}", "", ""


def train(size):
    """Many networks trained as one, and the time of their first product alone."""
    (X, y), _ = size.data
    nets = size.networks()
    # The first steps load libraries, and are recorded.
    fit_many(
        [net.set_params(max_epochs=1) for net in size.networks(2)], X[:256], y[:256]
    )
    if size.device == "cuda":
        torch.cuda.reset_peak_memory_stats()
    taken, _ = size.seconds(lambda: fit_many(nets, X, y))
    work = f"{len(nets)} networks of {size.n_nodes} vertices, {size.n_epochs} epochs"
    yield f"fit_many: {work} of {len(X):,} images", report.seconds(taken), "< 60 s", ""
    n_sources = sum(len(net.structure_.sources) for net in nets)
    one, n_steps = _time_of_input(size, n_sources, X), -(-len(X) // 128)
    whole = one * n_steps * size.n_epochs
    note = "the limit: forward and for the gradient of its weights"
    yield (
        f"of it, the product with the input ({n_sources:,} rows)",
        report.seconds(whole),
        "",
        note,
    )
    if size.device == "cuda":
        most = torch.cuda.max_memory_allocated() / 2**30
        each = 1024 * most / len(nets)
        yield "memory at most", f"{most:.2f} GiB", "", f"{each:.2f} MiB a network"


def _time_of_input(size, n_sources, X):
    weight = torch.zeros(n_sources, X.shape[1], device=size.device)
    batch = torch.as_tensor(X[:128], device=size.device)
    rows, gradient = weight @ batch.t(), torch.empty_like(weight)

    def once():
        torch.mm(weight, batch.t(), out=rows)
        torch.mm(rows, batch, out=gradient)

    once()
    n = 3 if size.is_dry else 50
    return size.seconds(lambda: [once() for _ in range(n)])[0] / n


def attack(size):
    """The networks attacked, and brackets of their distances."""
    (X, y), tested = size.data
    nets = size.networks(max_epochs=min(size.n_epochs, 3))
    fit_many(nets, X, y)
    images = f"{len(tested[0])} images"
    for kind in (
        PGDAttack(max_iter=10, random_state=0),
        GrowingEpsilonAttack(),
    ):
        name = type(kind).__name__
        if hasattr(attacks, "attack_many"):
            kind.set_params(device=size.device)
            taken, _ = size.seconds(
                lambda k=kind: attacks.attack_many(k, nets, *tested)
            )
            found = report.seconds(taken), "<= training", "attack_many"
        else:
            found = _one_by_one(size, nets, lambda net, k=kind: _attack(size, k, net))
        yield f"{name}: {len(nets)} networks, {images}", *found
    few = tested[0][:100], tested[1][:100]
    found = _one_by_one(
        size, nets, lambda net: robustness_bracket(net, *few, device=size.device)
    )
    yield f"robustness_bracket: {len(nets)} networks, {len(few[0])} images", *found


def _attack(size, kind, net):
    kind = kind.set_params(estimator=FrozenEstimator(net), device=size.device)
    (X, y), tested = size.data
    return kind.fit(X[:256], y[:256]).perturb(*tested)


def _one_by_one(size, nets, function):
    """Do it to as many networks as there is time for, and reckon the rest."""
    start, n_done = time.perf_counter(), 0
    for net in nets:
        function(net)
        n_done += 1
        taken = time.perf_counter() - start
        if taken > _SECONDS_ONE_BY_ONE / 3:
            break
    note = f"one by one; reckoned from {n_done}" if n_done < len(nets) else "one by one"
    return report.seconds(taken / n_done * len(nets)), "<= training", note


def many(size):
    """Ten thousand networks, reckoned from a part of them and of the epochs."""
    (X, y), _ = size.data
    part, n_epochs = min(1000, size.n_many // 2), min(2, size.n_epochs)
    nets = size.networks(part, max_epochs=n_epochs)
    taken, _ = size.seconds(lambda: fit_many(nets, X, y))
    whole = taken / part / n_epochs * size.n_many * size.n_epochs
    yield (
        f"fit_many: {size.n_many:,} networks, {size.n_epochs} epochs",
        f"{whole / 60:.1f} min",
        "< 20 min",
        f"reckoned from {part:,} networks and {n_epochs} epochs",
    )


def resnet(size):
    """ResNet-18 on CIFAR-10: an epoch, its steps recorded or not."""
    if size.is_dry:
        X, y = size.data[0]
        shape, params = (1, 8, 8), {"width": 2}
    else:
        X, y = fetch_cifar10(split="train", return_X_y=True)
        shape, params = (3, 32, 32), None
    net = TorchClassifier(
        "resnet18",
        module_params=params,
        image_shape=shape,
        optimizer="sgd",
        batch_size=128,
        max_epochs=1,
        device=size.device,
        random_state=0,
    )
    taken, _ = size.seconds(lambda: net.fit(X, y))
    yield f"ResNet-18, an epoch of {len(X):,} images", report.seconds(taken), "", ""


# Each with the seconds that it may need: it begins only if so many are left.
PARTS = {equal: 40, train: 100, attack: 150, many: 120, resnet: 60}


def measure(size, entries, seconds, keep):
    """Run the parts that are not in `entries`, and hand each to `keep` as it ends."""
    start = time.perf_counter()
    for part, needed in PARTS.items():
        name = part.__name__
        if name in entries:
            print(f"{name}: measured before, on {entries[name]['date']}")
            continue
        if time.perf_counter() - start + needed > seconds:
            print(f"{name}: no time left; start again to go on with it")
            continue
        print(f"{name}: {part.__doc__}", flush=True)
        entries[name] = {
            "rows": [list(row) for row in part(size)],
            "machine": rooms.machine(size.device),
            "versions": rooms.versions(),
            "date": str(date.today()),
        }
        for row in entries[name]["rows"]:
            print(report.markdown_row(row), flush=True)
        keep(entries)
    return entries


def write_table(entries, target=TABLE):
    """Write the table of the documentation."""
    store.replace(Path(target), report.gpu_as_rst(entries))


def main(arguments=None):
    """Measure, and keep what was measured before."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.gpu",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--dry-run",
        action="store_true",
        help="very little, on the CPU; nothing is kept",
    )
    parser.add_argument(
        "--out",
        type=Path,
        metavar="FILE",
        help="keep what is measured in this file, and write no page",
    )
    parser.add_argument(
        "--write", action="store_true", help="only write the pages, from what was kept"
    )
    parser.add_argument(
        "--seconds", type=float, default=_SECONDS, help="stop before (default: 450)"
    )
    options = parser.parse_args(arguments)
    kept = store.HERE / "gpu.json" if options.out is None else options.out
    if options.write:
        entries = json.loads(kept.read_text("utf-8")) if kept.exists() else {}
        store.write_page()
        write_table(entries)
        return
    if not options.dry_run and not torch.cuda.is_available():
        parser.error("torch sees no CUDA device here; --dry-run needs none")
    resumes = not options.dry_run or options.out is not None
    entries = json.loads(kept.read_text("utf-8")) if resumes and kept.exists() else {}

    def keep(entries):
        if resumes:
            store.replace(kept, json.dumps(entries, indent=1) + "\n")
        if resumes and options.out is None:
            store.write_page()
            write_table(entries)

    measure(DRY if options.dry_run else FULL, entries, options.seconds, keep)


if __name__ == "__main__":
    # One thread feeds the device.
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    main()
