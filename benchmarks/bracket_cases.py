"""Look for a violated bracket: a proof that reaches an error which was found.

``nice -n 19 python -m benchmarks.bracket_cases 1000000 cases.json &`` draws networks
and scikit-learn models, clip ranges and norms, and brackets samples of each, until so
many samples have been bracketed. It continues where it was stopped. A violation ends it
with the number of the model, which `draw` makes again.

Drawn are perceptrons, sparse networks of several priors, linear layers, stacks of
convolutions over images of several sizes and channels, with strides, paddings, groups
and pooling, and pipelines of scalers, PCA and linear models or perceptrons, fitted in
one precision and asked in another. Three in ten have features in units between 1e-30
and 1e30.
"""

import argparse
import json
import warnings
from copy import deepcopy
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from sklearn.decomposition import PCA, TruncatedSVD
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.linear_model import (
    LogisticRegression,
    Perceptron,
    RidgeClassifier,
    SGDClassifier,
)
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import (
    MaxAbsScaler,
    MinMaxScaler,
    RobustScaler,
    StandardScaler,
)
from sklearn.svm import SVC, LinearSVC
from torch import nn

from robustkit._randomness import seeded_torch
from robustkit.attacks import robustness_bracket
from robustkit.bridge import ElementwiseScale, as_module
from robustkit.classifiers import TorchClassifier
from robustkit.graphs import GraphPrior
from robustkit.networks import SparseNetwork, ToImages, initialize

# Samples of one model.
N_SAMPLES = 500
# Models between two notes of where it is.
N_BETWEEN = 4
KINDS = ("mlp", "sparse", "linear", "convolution", "convolution", "pipeline")
GENERATORS = ("watts_strogatz", "erdos_renyi", "barabasi_albert", "random_regular")
CLIPS = (None, "auto", (0.0, 1.0), (-0.1, 2.0))
SCALERS = (None, StandardScaler, MinMaxScaler, MaxAbsScaler, RobustScaler)
PROJECTIONS = (
    lambda n: None,
    lambda n: PCA(n, random_state=0),
    lambda n: PCA(n, whiten=True, random_state=0),
    lambda n: TruncatedSVD(n, random_state=0),
)
MODELS = (
    lambda: LogisticRegression(max_iter=50),
    lambda: MLPClassifier((8,), max_iter=20, random_state=0),
    lambda: MLPClassifier((6, 5), max_iter=20, random_state=0),
    lambda: LinearDiscriminantAnalysis(),
    lambda: LinearSVC(max_iter=50, random_state=0),
    lambda: RidgeClassifier(),
    lambda: SGDClassifier(max_iter=10, random_state=0),
    lambda: Perceptron(max_iter=10, random_state=0),
    lambda: SVC(kernel="linear", max_iter=1000, random_state=0),
)
# How far into a radius the steepest way is followed.
SHARES = (1 - 1e-9, 1 - 1e-6, 0.99)


def draw(number):
    """Draw a classifier, samples with what it predicts, and how to bracket them."""
    rng = np.random.default_rng(number)
    kind = rng.choice(KINDS)
    how = {
        "norm": str(rng.choice(["linf", "l2"])),
        "method": str(rng.choice(["crown", "interval", "split", "split"])),
        "clip": CLIPS[rng.integers(len(CLIPS))],
        # With many, parts are bounded over caps as well.
        "max_subproblems": int(rng.choice([4, 64])),
        "max_iter": int(rng.choice([10, 30])),
    }
    unit = 10.0 ** rng.uniform(-30, 30) if rng.random() < 0.3 else 1.0
    if unit != 1:
        how["clip"] = None if rng.random() < 0.5 else (0.0, float(np.float32(2 * unit)))
    if kind == "pipeline":
        model, X = _pipeline(rng, unit)
    else:
        model, X = _network(rng, number, kind, unit)
    return model, X, model.predict(X), how


def _network(rng, number, kind, unit):
    n_features, n_classes = int(rng.integers(1, 20)), int(rng.integers(2, 6))
    X = rng.random((N_SAMPLES, n_features)).astype(np.float32)
    with torch.no_grad(), seeded_torch(number):
        if kind == "convolution":
            module, n_features = _convolutions(rng, n_classes)
            X = rng.random((N_SAMPLES // 5, n_features)).astype(np.float32)
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
        X[rng.random(X.shape) < 0.2] = rng.integers(2)
        # Every class is predicted somewhere.
        last = list(module.modules())[-1]
        bias = last.output_bias if isinstance(last, SparseNetwork) else last.bias
        bias -= module(torch.from_numpy(X)).mean(dim=0)
    X = X.astype(np.float64) if rng.random() < 0.2 else X
    if X.dtype == np.float64:
        X = (X + rng.normal(size=X.shape) * 1e-9).clip(0, 1)
    if unit != 1:
        module, X = _in_units(rng, module, X, unit)
    module.eval()
    return TorchClassifier.from_module(module, classes=np.arange(n_classes)), X


def _in_units(rng, module, X, unit):
    """Let the features be larger, by a scaling or by the weights that read them."""
    names = ("weight", "input_weight")
    first = next(w for name, w in module.named_parameters() if name.endswith(names))
    is_scaled = any(isinstance(part, ElementwiseScale) for part in module.modules())
    if rng.random() < 0.5 and not is_scaled:
        with torch.no_grad():
            first /= unit
    else:
        dtype = torch.float32 if rng.random() < 0.5 else torch.float64
        parts = [ElementwiseScale(scale=1 / unit, dtype=dtype)]
        # Behind it the network computes in its own precision.
        if dtype == torch.float64:
            module = module.double()
        images = [part for part in module.modules() if isinstance(part, ToImages)]
        if images:
            # Between images and a convolution nothing is known to be scaled.
            with torch.no_grad():
                first /= unit
            return module, (X * unit).astype(X.dtype)
        module = nn.Sequential(*parts, module)
    return module, (X * unit).astype(X.dtype)


def _convolutions(rng, n_classes):
    """Draw a stack of convolutions, and how many pixels it reads."""
    while True:
        shape = (
            int(rng.integers(1, 4)),
            int(rng.integers(2, 8)),
            int(rng.integers(2, 8)),
        )
        parts, channels = [ToImages(shape)], shape[0]
        for _ in range(int(rng.integers(1, 3))):
            groups = channels if rng.random() < 0.3 else 1
            wide = groups * int(rng.integers(1, 4))
            parts.append(
                nn.Conv2d(
                    channels,
                    wide,
                    tuple(map(int, rng.integers(1, 4, size=2))),
                    stride=int(rng.integers(1, 3)),
                    padding=tuple(map(int, rng.integers(0, 3, size=2))),
                    dilation=int(rng.integers(1, 3)),
                    groups=groups,
                    bias=bool(rng.random() < 0.7),
                )
            )
            channels = wide
            if rng.random() < 0.7:
                parts.append(nn.ReLU())
            if rng.random() < 0.4:
                parts.append(nn.MaxPool2d(2))
        parts.append(nn.Flatten())
        n_features = int(np.prod(shape))
        try:
            width = nn.Sequential(*parts)(torch.zeros(1, n_features)).shape[1]
        except RuntimeError:
            # The image is smaller than a kernel.
            continue
        if 0 < width <= 100:
            return nn.Sequential(*parts, nn.Linear(width, n_classes)), n_features


def _pipeline(rng, unit):
    """Draw a pipeline of scikit-learn, fitted on samples of some precision."""
    n_features, n_classes = int(rng.integers(2, 12)), int(rng.integers(2, 4))
    Z = rng.normal(size=(N_SAMPLES, n_features)) + rng.choice([0, 0.5, 100])
    direction = rng.normal(size=n_features)
    score = Z @ direction + 0.3 * rng.normal(size=N_SAMPLES)
    ends = np.quantile(score, np.arange(1, n_classes) / n_classes)
    y = np.digitize(score, ends)
    Z = (Z - Z.min()) / (Z.max() - Z.min()) * unit
    scaler = SCALERS[rng.integers(len(SCALERS))]
    if unit != 1 and scaler is None:
        scaler = StandardScaler
    projection = PROJECTIONS[rng.integers(len(PROJECTIONS))]
    steps = [
        None if scaler is None else scaler(),
        projection(int(rng.integers(1, n_features))),
        StandardScaler() if rng.random() < 0.3 else None,
        MODELS[rng.integers(len(MODELS))](),
    ]
    model = make_pipeline(*[step for step in steps if step is not None])
    fitted, asked = (str(rng.choice(["float32", "float64"])) for _ in range(2))
    try:
        model.fit(Z.astype(fitted), y)
    except IndexError as error:
        raise ValueError("Discriminant analysis finds nothing that varies.") from error
    return model, Z.astype(asked)


def err_inside(model, X, y, lower, how):
    """Whether the model errs inside a radius, where a margin falls fastest."""
    order = np.inf if how["norm"] == "linf" else 2
    clip = (0, 1) if how["clip"] == "auto" else how["clip"]
    if how["clip"] == "auto" and not (X.min() >= 0 and X.max() <= 1):
        clip = None
    module = deepcopy(as_module(model)).cpu().double()
    label = torch.from_numpy(np.searchsorted(model.classes_, y))
    size = np.abs(X).max()
    radius = np.where(np.isfinite(lower), lower, size)[:, None]
    rows, exact = torch.arange(len(X)), X.astype(np.float64)
    for other in range(1, len(model.classes_)):
        x = torch.from_numpy(exact).requires_grad_()
        logits = module(x)
        margin = logits[rows, label] - logits[rows, (label + other) % logits.shape[1]]
        (gradient,) = torch.autograd.grad(margin.sum(), x)
        down = -gradient.numpy()
        down /= np.maximum(np.abs(down).max(axis=1, keepdims=True), 1e-300)
        if order == 2:
            down /= np.maximum(np.linalg.norm(down, axis=1, keepdims=True), 1e-300)
        else:
            down = np.sign(down)
        for share in SHARES:
            moved = exact + share * radius * down
            if clip is not None:
                moved = moved.clip(*clip)
            moved = moved.astype(X.dtype)
            move = (moved.astype(np.float64) - exact) / size
            far = np.linalg.norm(move, order, axis=1) * size
            inside = (lower > 0) & (far <= lower * (1 - 1e-14))
            if (model.predict(moved) != y)[inside].any():
                return True
    return False


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
    done = {"models": 0, "refused": 0, "cases": 0, "proved": 0, "exact": 0}
    done |= {"not found": 0, "kinds": {}}
    if chosen.store.exists():
        done = json.loads(chosen.store.read_text("utf-8"))
    while done["cases"] < chosen.cases:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                model, X, y, how = draw(done["models"])
                bracket = robustness_bracket(model, X, y, **how)
            except (TypeError, ValueError):
                # A network that overflows, or support vectors that cancel.
                done["refused"] += 1
                done["models"] += 1
                continue
            lower = bracket["lower"].to_numpy()
            violated = not (lower <= bracket["upper"]).all()
            if violated or err_inside(model, X, y, lower, how):
                raise AssertionError(f"model {done['models']} violates its bracket")
        done["models"] += 1
        done["cases"] += len(bracket)
        done["proved"] += int((lower > 0).sum())
        for status in ("exact", "not found"):
            done[status] += int((bracket["status"] == status).sum())
        kind = f"{how['norm']} {how['method']}"
        done["kinds"][kind] = done["kinds"].get(kind, 0) + len(bracket)
        if done["models"] % N_BETWEEN == 0 or done["cases"] >= chosen.cases:
            chosen.store.write_text(json.dumps(done, indent=2), "utf-8")
    print(f"{done['cases']:,} samples of {done['models']:,} models: none violated.")


if __name__ == "__main__":
    main()
