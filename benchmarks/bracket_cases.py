"""Look for a violated bracket: a proof that reaches an error which was found.

``nice -n 19 python -m benchmarks.bracket_cases 1000000 cases.json &`` draws networks of
every kind, priors, clip ranges and norms, and brackets samples of each, until so many
samples have been bracketed. It continues where it was stopped. A violation ends it with
the number of the network, which `draw` makes again.
"""

import argparse
import json
import warnings
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from torch import nn

from robustkit._randomness import seeded_torch
from robustkit.attacks import robustness_bracket
from robustkit.bridge import ElementwiseScale
from robustkit.classifiers import TorchClassifier
from robustkit.graphs import GraphPrior
from robustkit.networks import SparseNetwork, ToImages, initialize

# Samples of one network.
N_SAMPLES = 500
# Networks between two notes of where it is.
N_BETWEEN = 4
GENERATORS = ("watts_strogatz", "erdos_renyi", "barabasi_albert", "random_regular")
CLIPS = (None, "auto", (0.0, 1.0), (-0.1, 2.0))


def draw(number):
    """Draw a classifier, samples with what it predicts, and how to bracket them."""
    rng = np.random.default_rng(number)
    n_features, n_classes = int(rng.integers(1, 20)), int(rng.integers(2, 6))
    kind = rng.choice(["mlp", "sparse", "linear", "convolution"])
    with torch.no_grad(), seeded_torch(number):
        if kind == "convolution":
            n_features = 16
            parts = [ToImages((1, 4, 4)), nn.Conv2d(1, 3, 3, padding=1), nn.ReLU()]
            if rng.random() < 0.5:
                parts.append(nn.MaxPool2d(2))
            width = 48 if len(parts) == 3 else 12
            module = nn.Sequential(*parts, nn.Flatten(), nn.Linear(width, n_classes))
        elif kind == "sparse":
            module = _sparse(rng, number, n_features, n_classes)
        else:
            n_hidden = 0 if kind == "linear" else int(rng.integers(1, 5))
            sizes = [n_features, *rng.integers(1, 30, size=n_hidden), n_classes]
            parts = []
            for n_inputs, n_outputs in pairwise(map(int, sizes)):
                parts += [nn.Linear(n_inputs, n_outputs), nn.ReLU()]
            module = nn.Sequential(*parts[:-1])
        size = 10.0 ** rng.uniform(-0.5, 0.7)
        for weight in module.parameters():
            weight.mul_(size)
        if rng.random() < 0.3 and kind != "convolution":
            center, scale = rng.normal(size=(2, n_features))
            scaled = ElementwiseScale(center, scale, dtype=torch.float32)
            module = nn.Sequential(scaled, module)
        X = rng.random((N_SAMPLES, n_features)).astype(np.float32)
        X[rng.random(X.shape) < 0.2] = rng.integers(2)
        # Every class is predicted somewhere.
        last = list(module.modules())[-1]
        bias = last.output_bias if isinstance(last, SparseNetwork) else last.bias
        bias -= module(torch.from_numpy(X)).mean(dim=0)
    model = TorchClassifier.from_module(module.eval(), classes=np.arange(n_classes))
    how = {
        "norm": str(rng.choice(["linf", "l2"])),
        "method": str(rng.choice(["crown", "crown", "interval", "split"])),
        "clip": CLIPS[rng.integers(len(CLIPS))],
        "max_subproblems": 4,
        "max_iter": int(rng.choice([10, 30])),
    }
    if rng.random() < 0.2:
        X = X.astype(np.float64) + rng.normal(size=X.shape) * 1e-9
        X = X.clip(0, 1)
    return model, X, model.predict(X), how


def _sparse(rng, number, n_features, n_classes):
    prior = GraphPrior(
        generator=str(rng.choice(GENERATORS)),
        n_nodes=int(rng.integers(10, 40)),
        n_neighbors=4,
        edge_probability=0.2,
        n_attachments=2,
    )
    graph = prior.sample(number)
    module = SparseNetwork(graph, n_features, n_classes)
    module = initialize(module, random_state=number)
    module.bias.normal_(std=0.3)
    return module


def main(arguments=None):
    """Bracket until so many cases are done."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("cases", type=int, help="samples to bracket in all")
    parser.add_argument("store", type=Path, help="JSON file that notes where it is")
    chosen = parser.parse_args(arguments)
    done = {"networks": 0, "cases": 0, "exact": 0, "not found": 0, "kinds": {}}
    if chosen.store.exists():
        done = json.loads(chosen.store.read_text("utf-8"))
    while done["cases"] < chosen.cases:
        model, X, y, how = draw(done["networks"])
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            bracket = robustness_bracket(model, X, y, **how)
        if not (bracket["lower"] <= bracket["upper"]).all():
            raise AssertionError(f"network {done['networks']} violates its bracket")
        done["networks"] += 1
        done["cases"] += len(bracket)
        for status in ("exact", "not found"):
            done[status] += int((bracket["status"] == status).sum())
        kind = f"{how['norm']} {how['method']}"
        done["kinds"][kind] = done["kinds"].get(kind, 0) + len(bracket)
        if done["networks"] % N_BETWEEN == 0 or done["cases"] >= chosen.cases:
            chosen.store.write_text(json.dumps(done, indent=2), "utf-8")
    print(f"{done['cases']:,} samples of {done['networks']:,} networks: none violated.")


if __name__ == "__main__":
    main()
