"""Results of the rooms from the data to the attacks."""

import itertools
from pathlib import Path

import networkx as nx
import numpy as np
import scipy.sparse
import torch
from sklearn.decomposition import PCA
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.ensemble import RandomForestClassifier
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import (
    LogisticRegression,
    Perceptron,
    RidgeClassifier,
    SGDClassifier,
)
from sklearn.model_selection import GridSearchCV, cross_validate
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import (
    FunctionTransformer,
    MaxAbsScaler,
    MinMaxScaler,
    Normalizer,
    RobustScaler,
    StandardScaler,
)
from sklearn.svm import SVC, LinearSVC
from torch import nn

import robustkit as rk
from benchmarks.same_results.models import (
    digits,
    double_model,
    mlp_net,
    room,
    small,
    sparse_net,
    weights,
)


@room
def datasets():
    for split in (None, "train", "test"):
        bunch = rk.load_digits_images(split=split)
        yield f"digits/{split}", {k: bunch[k] for k in bunch if k != "DESCR"}
    yield "digits/frame", rk.load_digits_images(as_frame=True).frame
    home = _real_data()
    if home is None:
        return
    for fetch, split in itertools.product(
        (rk.fetch_mnist, rk.fetch_cifar10), ("train", "test")
    ):
        name = f"{fetch.__name__}/{split}"
        yield name, fetch(split, data_home=home, subset=50, return_X_y=True)
    bunch = rk.fetch_mnist("test", data_home=home)
    yield "mnist/bunch", {k: bunch[k] for k in ("data", "target", "image_shape")}


def _real_data():
    import os

    home = os.environ.get("ROBUSTKIT_DATA")
    return home if home and (Path(home) / "mnist").is_dir() else None


GENERATORS = (
    "watts_strogatz",
    "watts_strogatz_networkx",
    "erdos_renyi",
    "barabasi_albert",
    "random_regular",
    "stochastic_block",
    "geometric",
)


@room
def graphs():
    X, _ = digits(40)
    for generator, orientation in itertools.product(
        (*GENERATORS, lambda n, seed: nx.path_graph(n)), ("index", "random", "degree")
    ):
        name = generator if isinstance(generator, str) else "callable"
        prior = rk.GraphPrior(
            generator,
            n_nodes=40,
            n_neighbors=4,
            edge_probability=0.1,
            orientation=orientation,
            random_state=3,
        )
        path = f"prior/{name}/{orientation}"
        yield f"{path}/sample", prior.sample()
        yield f"{path}/second", prior.sample(random_state=11)
        prior.fit(X)
        yield f"{path}/properties", prior.properties_
        yield f"{path}/transform", prior.transform(X)
    yield from _graphs_given()


def _graphs_given():
    whole = nx.gnp_random_graph(30, 0.15, seed=2)
    parts = nx.disjoint_union(nx.cycle_graph(7), nx.star_graph(5))
    arrows = nx.gnp_random_graph(20, 0.1, seed=4, directed=True)
    for name, graph in {"whole": whole, "parts": parts, "arrows": arrows}.items():
        yield f"properties/{name}", rk.graph_properties(graph)
    for orientation in ("index", "random", "degree"):
        layered = rk.LayeredGraph.from_networkx(
            whole, orientation=orientation, random_state=0
        )
        yield f"from_networkx/{orientation}", layered
        yield f"layered_properties/{orientation}", layered.properties()
        yield f"directed_properties/{orientation}", layered.properties(directed=True)
        yield f"n_parameters/{orientation}", layered.n_parameters(64, 10)
    matrix = nx.to_numpy_array(parts)
    yield "from_adjacency", rk.LayeredGraph.from_adjacency(matrix)
    sparse = scipy.sparse.csr_array(matrix)
    yield "from_adjacency/sparse", rk.LayeredGraph.from_adjacency(sparse)


@room
def networks():
    structure = rk.GraphPrior(n_nodes=30, n_neighbors=4, random_state=0).sample()
    inits = ("glorot_normal", "glorot_uniform", "he_normal", "he_uniform")
    for init, fan in itertools.product((*inits, "normal", "uniform"), _fans()):
        network = rk.SparseNetwork(structure, 8, 3)
        rk.initialize(network, init, fan=fan, random_state=5)
        yield f"initialize/{init}/{fan}", weights(network)
    X = torch.from_numpy(np.random.RandomState(0).rand(37, 8))
    for dtype in (torch.float32, torch.float64):
        network = rk.SparseNetwork(structure, 8, 3).to(dtype)
        rk.initialize(network, random_state=5)
        x = X.to(dtype).requires_grad_()
        logits = network(x)
        logits.square().sum().backward()
        path = f"network/{str(dtype)[6:]}"
        yield f"{path}/logits", logits
        yield f"{path}/input_gradient", x.grad
        yield (
            f"{path}/gradients",
            {name: value.grad for name, value in network.named_parameters()},
        )
        yield f"{path}/preactivations", network.vertex_preactivations(x)
        with torch.no_grad():
            yield f"{path}/no_grad", network(x)
    plain = nn.Sequential(nn.Linear(5, 4), nn.ReLU(), nn.Linear(4, 2))
    rk.initialize(plain, "he_normal", random_state=1)
    yield "initialize/module", weights(plain)


def _fans():
    # What a redesign may not lose; a name unknown to a version is recorded as refused.
    return ("degree", "block")


def _models():
    """Yield (name, fitted model) of every kind that as_module knows."""
    X, y = digits(200, np.float64)
    plain = {
        "logistic": LogisticRegression(max_iter=200),
        "binary": LogisticRegression(max_iter=200),
        "ridge": RidgeClassifier(),
        "perceptron": Perceptron(random_state=0),
        "sgd": SGDClassifier(random_state=0, max_iter=20, tol=None),
        "lda": LinearDiscriminantAnalysis(),
        "linear_svc": LinearSVC(random_state=0),
        "svc": SVC(kernel="linear"),
        "mlp_tanh": MLPClassifier((6, 5), activation="tanh", max_iter=20),
        "search": GridSearchCV(LogisticRegression(max_iter=50), {"C": [0.1, 1]}, cv=2),
        "frozen": FrozenEstimator(RidgeClassifier().fit(X, y)),
    }
    for name, model in plain.items():
        if "random_state" in model.get_params() and name != "frozen":
            model.set_params(random_state=0)
        yield name, model.fit(X, y % 2 if name == "binary" else y)
    steps = {
        "standard": StandardScaler(),
        "minmax": MinMaxScaler(),
        "maxabs": MaxAbsScaler(),
        "robust": RobustScaler(),
        "normalizer": Normalizer(),
        "pca": PCA(10, random_state=0),
        "prior": rk.GraphPrior(n_nodes=30, random_state=0),
        "function": FunctionTransformer(),
        "passthrough": "passthrough",
    }
    for name, step in steps.items():
        head = LogisticRegression(max_iter=100)
        yield f"pipeline/{name}", make_pipeline(step, head).fit(X, y)
    for name, net in _nets().items():
        yield name, net.fit(X.astype(np.float32), y)
    scaled = make_pipeline(StandardScaler(), sparse_net())
    yield "pipeline/sparse", scaled.fit(X.astype(np.float32), y)


def _nets():
    nets = {
        "sparse": sparse_net(),
        "mlp": mlp_net(),
        "torch_mlp": rk.TorchClassifier(**small()),
        "cnn6": rk.TorchClassifier(
            "cnn6", image_shape=(1, 8, 8), **small(max_epochs=2)
        ),
        "pruned": rk.PrunedNetClassifier(
            mlp_net(12, 10, 8), n_steps=2, retrain_epochs=1, random_state=0
        ),
    }
    try:
        import skorch
    except ImportError:
        return nets
    net = skorch.NeuralNetClassifier(
        _SkorchModule, max_epochs=2, lr=0.1, train_split=None, verbose=0
    )
    return {**nets, "skorch": _SeededSkorch(net)}


class _SkorchModule(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(64, 8), nn.ReLU(), nn.Linear(8, 10))

    def forward(self, X):
        return self.layers(X)


class _SeededSkorch:
    """skorch draws from torch's global stream."""

    def __init__(self, net):
        self.net = net

    def fit(self, X, y):
        with torch.random.fork_rng():
            torch.manual_seed(0)
            return self.net.fit(X, y)


@room
def bridge():
    X, _ = digits(60, np.float64)
    for name, model in _models():
        module = rk.as_module(model)
        dtype = next(
            (p.dtype for p in (*module.parameters(), *module.buffers())), torch.float32
        )
        x = torch.from_numpy(X).to(dtype).requires_grad_()
        logits = module(x)
        logits.square().sum().backward()
        yield f"as_module/{name}/logits", logits
        yield f"as_module/{name}/gradient", x.grad
    X, y = digits(200)
    for name, net in _nets().items():
        net = net.fit(X, y)
        for layer in ("logits", "penultimate", 0):
            extractor = rk.ActivationExtractor(
                FrozenEstimator(net),
                layer=layer,
                batch_size=64,
                device="cpu",
                random_state=0,
            )
            extractor.fit(X, y)
            path = f"activations/{name}/{layer}"
            yield path, extractor.transform(X)
            yield f"{path}/names", list(extractor.get_feature_names_out())
    net = _nets()["cnn6"].fit(X, y)
    for spatial in ("random", "mean", "flatten"):
        extractor = rk.ActivationExtractor(
            FrozenEstimator(net), layer=0, spatial=spatial, device="cpu", random_state=0
        )
        yield f"activations/spatial/{spatial}", extractor.fit_transform(X[:50], y[:50])


@room
def classifiers():
    X, y = digits(200)
    variants = {
        "sparse": sparse_net(),
        "sparse_regularized": sparse_net(weight_decay=0.01, label_smoothing=0.1),
        "sparse_early": sparse_net(early_stopping=True),
        "sparse_glorot": sparse_net(init="glorot_uniform", fan="block"),
        "sparse_adversary": sparse_net(adversary=rk.FGSMAttack(eps=0.05)),
        "sparse_pgd": sparse_net(
            adversary=rk.PGDAttack(eps=0.05, max_iter=2, random_state=0)
        ),
        "sparse_regions": sparse_net(regularizer=rk.PopulatedRegionRegularizer()),
        "mlp": mlp_net(),
        "mlp_smoothed": mlp_net(label_smoothing=0.2, weight_decay=0.1),
        "mlp_adversary": mlp_net(adversary=rk.BIMAttack(eps=0.05, max_iter=2)),
        "mlp_regions": mlp_net(regularizer=rk.PopulatedRegionRegularizer(warm_up=0.3)),
        "mlp_early": mlp_net(early_stopping=True),
        "torch": rk.TorchClassifier(**small()),
        "torch_sgd": rk.TorchClassifier(optimizer="sgd", **small()),
        "torch_cnn6": rk.TorchClassifier(
            "cnn6", image_shape=(1, 8, 8), **small(max_epochs=2)
        ),
    }
    for name, model in variants.items():
        yield name, _fitted(model.fit(X, y), X)
        if name in ("sparse", "mlp", "torch"):
            yield f"{name}/strings", _fitted(model.fit(X, y.astype(str)), X)
            yield f"{name}/binary", _fitted(model.fit(X, y % 2), X)
            yield f"{name}/double", _fitted(model.fit(X.astype(float), y), X)
    yield from _streams(X, y)
    yield from _many(X, y)
    yield from _pruned(X, y)


def _fitted(model, X):
    found = {
        "predict": model.predict(X),
        "proba": model.predict_proba(X),
        "decision": model.decision_function(X),
        "weights": weights(rk.as_module(model)),
    }
    learned = ("loss_curve_", "n_iter_", "n_parameters_", "validation_scores_")
    for name in (*learned, "classes_", "structure_", "properties_"):
        if hasattr(model, name):
            found[name] = getattr(model, name)
    return found


def _streams(X, y):
    for name, make in {"sparse": sparse_net, "mlp": mlp_net}.items():
        model = make()
        for part in (slice(0, 100), slice(100, 200)):
            model.partial_fit(X[part], y[part], classes=np.arange(10))
        yield f"partial_fit/{name}", _fitted(model, X)
        model = make(warm_start=True).fit(X, y).fit(X, y)
        yield f"warm_start/{name}", _fitted(model, X)
    module = rk.as_module(mlp_net().fit(X, y))
    wrapped = rk.TorchClassifier.from_module(module, np.arange(10))
    yield "from_module", wrapped.decision_function(X)
    drawn = rk.SparseNetClassifier(nx.cycle_graph(12), **small(max_epochs=2))
    yield "given/networkx", _fitted(drawn.fit(X, y), X)
    matrix = nx.to_numpy_array(nx.path_graph(9))
    drawn = rk.SparseNetClassifier(matrix, **small(max_epochs=2))
    yield "given/adjacency", _fitted(drawn.fit(X, y), X)


def _many(X, y):
    nets = [
        rk.SparseNetClassifier(
            rk.GraphPrior(n_nodes=n, random_state=n), **small(init=init, random_state=7)
        )
        for n, init in ((15, "he_uniform"), (25, "glorot_normal"), (40, "normal"))
    ]
    nets[2].set_params(weight_decay=0.01)
    for number, net in enumerate(rk.fit_many(nets, X, y)):
        yield f"fit_many/{number}", _fitted(net, X)


def _pruned(X, y):
    for method in ("random", "magnitude"):
        model = rk.PrunedNetClassifier(
            mlp_net(14, 12, 10),
            method=method,
            amount=0.3,
            n_steps=3,
            retrain_epochs=1,
            random_state=0,
        ).fit(X, y)
        for number, step in enumerate(model.steps_):
            path = f"pruned/{method}/{number}"
            yield path, _fitted(step.estimator, X)
            yield f"{path}/structure", step.structure
            yield (
                f"{path}/record",
                [step.density, step.n_parameters, step.accuracy],
            )


class Darken(rk.ModuleAttack):
    """An attack as a user would write it."""

    def perturb_module(self, module, X, y):
        """Darken every pixel."""
        return X - 2 * self.eps


@room
def attacks():
    X, y = digits(120)
    models = {"sparse": sparse_net().fit(X, y), "linear": None, "double": None}
    models["linear"] = LogisticRegression(max_iter=100).fit(X, y)
    models["double"] = double_model(X.astype(float), y).estimator
    models["pipeline"] = make_pipeline(StandardScaler(), PCA(20), mlp_net()).fit(X, y)
    models["mlp"] = mlp_net().fit(X, y)
    models["cnn"] = _nets()["cnn6"].fit(X, y)
    for name, model in models.items():
        for path, attack in _gradient_attacks(thorough=name in ("sparse", "double")):
            attack.set_params(estimator=FrozenEstimator(model))
            dtypes = (np.float32, np.float64) if name in ("sparse", "double") else ()
            for dtype in dtypes or (np.float32,):
                data = X[:40].astype(dtype)
                kind = np.dtype(dtype).name
                yield from _attacked(f"{path}/{name}/{kind}", attack, data, y[:40])
    yield from _attacks_on_batches(models["sparse"], X, y)
    yield from _one_pixel(models, X, y)
    yield from _scored(X, y)


def _gradient_attacks(thorough):
    device = {"device": "cpu"}
    yield "fgsm", rk.FGSMAttack(eps=0.07, **device)
    yield "bim", rk.BIMAttack(eps=0.06, max_iter=4, **device)
    yield "least_likely", rk.LeastLikelyAttack(eps=0.1, max_iter=4, **device)
    yield "growing", rk.GrowingEpsilonAttack(step=0.03, **device)
    yield "darken", Darken(eps=0.1, **device)
    yield "darken_l2", Darken(eps=0.5, norm="l2", clip=None, **device)
    kinds = itertools.product(
        ("linf", "l2"), ("ce", "margin", "dlr", "rotate"), (False, True)
    )
    for norm, loss, targeted in kinds:
        if not thorough and (loss, targeted) != ("ce", False):
            continue
        yield (
            f"pgd/{norm}/{loss}/{'targeted' if targeted else 'untargeted'}",
            rk.PGDAttack(
                norm=norm,
                eps=0.06 if norm == "linf" else 0.5,
                loss=loss,
                targeted=targeted,
                max_iter=4,
                n_restarts=3,
                random_state=0,
                **device,
            ),
        )
    if thorough:
        plain = {"eps": 0.05, "max_iter": 3, **device}
        yield "pgd/no_start", rk.PGDAttack(random_start=False, **plain)
        yield "pgd/step", rk.PGDAttack(step_size=0.01, random_state=1, **plain)
        yield "pgd/no_clip", rk.PGDAttack(clip=None, random_state=1, **plain)
        yield "bim/clip", rk.BIMAttack(clip=(-0.5, 1.5), step_size=0.02, **plain)
        yield "fgsm/small_batches", rk.FGSMAttack(batch_size=7, eps=0.05, **device)


def _attacked(path, attack, X, y):
    attack.fit(X, y)
    if getattr(attack, "targeted", False):
        target = (y + 3) % 10
        yield f"{path}/perturb", attack.perturb(X, y, target)
        return
    yield f"{path}/perturb", attack.perturb(X, y)
    yield f"{path}/report", attack.report(X, y)
    yield f"{path}/transform", attack.transform(X[:10])
    yield f"{path}/score", attack.score(X, y)
    yield f"{path}/clip", attack.clip_


def _attacks_on_batches(model, X, y):
    module = rk.as_module(model)
    x, labels = torch.from_numpy(X[:30]), torch.from_numpy(y[:30].astype(np.int64))
    for path, attack in _gradient_attacks(thorough=True):
        yield f"module/{path}", attack.perturb_module(module, x, labels)
    refitted = rk.FGSMAttack(sparse_net(), eps=0.05, device="cpu")
    yield "fit_transform", refitted.fit_transform(X, y)
    yield "default_estimator", rk.BIMAttack(device="cpu").fit(X, y).report(X, y)


def _one_pixel(models, X, y):
    few = slice(0, 12)
    kinds = {
        "evolution": {"pop_size": 12, "max_iter": 6, "random_state": 0},
        "exhaustive": {"method": "exhaustive", "levels": 5},
        "certified": {"method": "certified", "max_iter": 30},
        "certified_pixels": {
            "method": "certified", "image_shape": (8, 8), "max_iter": 30,
        },
        "pixels": {
            "pop_size": 10, "max_iter": 4, "image_shape": (8, 8), "random_state": 1,
        },
        "binary_levels": {"method": "exhaustive", "levels": 2, "image_shape": (8, 8)},
    }  # fmt: skip
    forest = RandomForestClassifier(5, max_depth=4, random_state=0).fit(X, y)
    for name, model in {**models, "forest": forest}.items():
        for path, params in kinds.items():
            attack = rk.OnePixelAttack(
                FrozenEstimator(model), device="cpu", clip=(0.0, 1.0), **params
            )
            yield (
                f"one_pixel/{path}/{name}",
                lambda attack=attack: _pixel_results(attack, X[few], y[few]),
            )


def _pixel_results(attack, X, y):
    attack.fit(X, y)
    return {"perturb": attack.perturb(X, y), "report": attack.report(X, y)}


def _scored(X, y):
    scoring = {
        metric: rk.robust_scorer(rk.FGSMAttack(eps=0.05, device="cpu"), metric)
        for metric in ("robust_accuracy", "clean_accuracy", "neg_error_rate")
    }
    scores = cross_validate(
        LogisticRegression(max_iter=100), X, y, cv=2, scoring=scoring
    )
    yield "robust_scorer", {k: v for k, v in scores.items() if k.startswith("test")}
