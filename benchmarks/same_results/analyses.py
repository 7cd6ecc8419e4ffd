"""Results of the rooms from the regions to the explorer."""

import itertools
import tempfile
from pathlib import Path

import networkx as nx
import numpy as np
import pandas as pd
import torch
from sklearn.cluster import AgglomerativeClustering
from sklearn.ensemble import RandomForestClassifier
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import (
    LogisticRegression,
    SGDClassifier,
)
from sklearn.neural_network import MLPClassifier

import robustkit as rk
from benchmarks.same_results.models import digits, mlp_net, room, small, sparse_net


@room
def regions():
    X, y = digits(200)
    rng = np.random.RandomState(0)
    signs = rng.randn(400, 1)[rng.randint(400, size=900)] + rng.randn(900, 5)
    for name, values in {
        "float": signs, "bool": signs > 0, "wide": rng.randn(300, 70),
        "tensor": torch.from_numpy(signs), "float32": signs.astype(np.float32),
    }.items():  # fmt: skip
        yield f"count_regions/{name}", rk.count_regions(values)
    models = {
        "sparse": sparse_net(),
        "mlp": mlp_net(),
        "sklearn": MLPClassifier((8, 6), max_iter=20, random_state=0),
        "cnn": rk.TorchClassifier("cnn6", image_shape=(1, 8, 8), **small(max_epochs=2)),
    }
    for (name, model), layer in itertools.product(
        models.items(), ("penultimate", "all", [0], "logits")
    ):
        scorer = rk.PopulatedRegionScorer(
            model, layer=layer, batch_size=64, device="cpu"
        )
        path = f"scorer/{name}/{layer}"
        yield path, lambda scorer=scorer: _region_results(scorer, X, y)
    model = FrozenEstimator(mlp_net().fit(X, y))
    stream = rk.PopulatedRegionScorer(model, layer="all", device="cpu")
    for part in (slice(0, 70), slice(70, 200)):
        stream.partial_fit(X[part], y[part])
    yield "partial_fit", _region_attributes(stream)
    yield "partial_fit/report", stream.report(X, y)


def _region_attributes(scorer):
    names = ("regions_", "prs_ratio_", "n_regions_", "major_regions_", "layers_")
    more = ("major_region_shares_", "major_region_vectors_", "n_samples_seen_")
    return {name: getattr(scorer, name) for name in (*names, *more)}


def _region_results(scorer, X, y):
    scorer.fit(X[:150], y[:150])
    return {
        **_region_attributes(scorer),
        "transform": scorer.transform(X),
        "score": [scorer.score(X), scorer(scorer.estimator_, X, y)],
        "report": scorer.report(X, y),
        "inclusion": scorer.inclusion_ratio(X),
        "layers": scorer.layer_report(X),
    }


def _points(n=400):
    rng = np.random.RandomState(0)
    angle = rng.rand(n) * 2 * np.pi
    circle = np.column_stack([np.cos(angle), np.sin(angle), np.sin(2 * angle)])
    return circle * (1 + rng.randint(2, size=(n, 1))) + rng.randn(n, 3) * 0.05


METRICS = ("euclidean", "manhattan", "chebyshev", "cosine", "minkowski", "seuclidean")


@room
def topology():
    X = _points()
    y = (X[:, 0] > 0).astype(int) + 2 * (X[:, 1] > 0.3)
    predicted = np.where(np.arange(len(y)) % 7 == 0, (y + 1) % 4, y)
    covers = {
        "uniform": "uniform",
        "balanced": "balanced",
        "kepler": rk.UniformCover(12, 0.4, convention="kepler"),
        "balanced_own": rk.BalancedCover(7, 0.2),
    }
    filters = {
        "l2norm": "l2norm", "pca": "pca", "column": 1,
        "callable": _first_two, "array": X @ [1.0, 2.0, 0.5],
    }  # fmt: skip
    for (c, cover), (f, filter) in itertools.product(covers.items(), filters.items()):
        mapper = rk.MapperGraph(filter, cover=cover, n_intervals=10)
        yield f"mapper/{c}/{f}", _mapped(mapper, X, y, predicted)
    for metric in (*METRICS, "mahalanobis", "correlation"):
        mapper = rk.MapperGraph(1, metric=metric, n_intervals=6, min_samples=4)
        yield f"metric/{metric}", _mapped(mapper, X, y, predicted)
    for dtype in (np.float32, np.float64):
        mapper = rk.MapperGraph("pca", n_intervals=15, eps=0.3, n_jobs=1)
        name = np.dtype(dtype).name
        yield f"eps/{name}", _mapped(mapper, X.astype(dtype), y, predicted)
    other = rk.MapperGraph(
        "pca", n_intervals=5, clusterer=AgglomerativeClustering(n_clusters=3)
    )
    yield "clusterer", _mapped(other, X, y, predicted)
    warm = rk.MapperGraph("pca", warm_start=True, n_intervals=10)
    for n, overlap, least in ((10, 0.3, 5), (14, 0.5, 5), (6, 0.2, 3), (6, 0.2, 8)):
        warm.set_params(n_intervals=n, overlap=overlap, min_samples=least)
        yield f"warm/{n}-{overlap}-{least}", _mapped(warm, X, y, predicted)
    wide = np.random.RandomState(1).randn(150, 40)
    yield "wide", _mapped(rk.MapperGraph(n_intervals=4), wide, y[:150], predicted[:150])


def _first_two(X):
    return X[:, 0] + X[:, 1]


def _mapped(mapper, X, y, predicted):
    mapper.fit(X)
    found = {
        "membership": mapper.membership_,
        "edges": mapper.edges_,
        "intervals": mapper.intervals_,
        "eps": mapper.eps_,
        "noise": mapper.noise_,
        "n_noise": mapper.n_noise_,
        "graph": mapper.graph_,
        "describe": mapper.describe(y, predicted),
        "score": mapper.score(X, y),
        "purity": rk.node_purity(mapper.membership_, y),
        "average": rk.weighted_average_purity(mapper.membership_, y),
        "accuracy": rk.node_accuracy(mapper.membership_, y, predicted),
        "weak": [mapper.weak_samples(y, predicted, budget=b) for b in (0.1, 20)],
    }
    # A filter of given values knows no new samples.
    if not isinstance(mapper.filter, np.ndarray):
        found["transform"] = mapper.transform(X[::3] + 0.01)
    return found


@room
def defenses():
    X, y = digits(250)
    mapper = rk.MapperGraph(n_intervals=6, min_samples=2)
    models = {
        "sparse": sparse_net(),
        "mlp": mlp_net(),
        "sgd": SGDClassifier(loss="log_loss", max_iter=5, tol=None, random_state=0),
        "forest": RandomForestClassifier(5, max_depth=2, random_state=0),
    }
    for name, model in models.items():
        for kind, params in {
            "plain": {},
            "no_replay": {"replay": 0.0, "budget": 30},
            "attack": {"attack": rk.FGSMAttack(eps=0.05, device="cpu")},
        }.items():
            if name == "forest" and kind == "attack":
                continue
            refiner = rk.WeakRegionRefiner(
                model, mapper, max_epochs=2, random_state=0, **params
            ).fit(X, y)
            yield (
                f"{name}/{kind}",
                {
                    "predict": refiner.predict(X),
                    "proba": refiner.predict_proba(X),
                    "refined": refiner.refined_indices_,
                    "membership": refiner.mapper_.membership_,
                    "before": refiner.base_estimator_.predict(X),
                },
            )


def _table(n=60, seed=0):
    rng = np.random.RandomState(seed)
    X = pd.DataFrame(rng.randn(n, 4), columns=["a", "b", "c", "d"])
    X["b"] = X["a"] + X["b"] * 0.3
    X["e"] = rng.randint(4, size=n).astype(float)
    y = pd.DataFrame({"up": X["a"] + rng.randn(n) * 0.2, "curve": X["a"] ** 2})
    y["noise"] = rng.randn(n)
    y.loc[3, "up"] = 40.0
    y.loc[5, "curve"] = np.nan
    return X, y, np.arange(n) // 2


METHODS = (
    "spearman", "kendall", "pearson", "distance", "xi", "mutual_info", "partial",
)  # fmt: skip


@room
def correlation():
    X, y, groups = _table()
    later = _table(40, seed=1)
    for method, outliers in itertools.product(METHODS, ("iqr", None)):
        correlator = rk.RobustnessCorrelator(
            methods=(method,), outliers=outliers, n_bootstrap=20, n_permutations=49,
            random_state=0,
        )  # fmt: skip
        path = f"{method}/{outliers}"
        yield path, lambda c=correlator: _correlated(c, X, y, None, later)
        yield f"{path}/groups", lambda c=correlator: _correlated(c, X, y, groups, later)
    for correction in ("holm", "benjamini-hochberg", None):
        correlator = rk.RobustnessCorrelator(
            correction=correction, aggregate=None, min_effect=0.3, alpha=0.1
        )
        yield f"correction/{correction}", _correlated(correlator, X, y, None, later)
        yield f"no_aggregate/{correction}", _correlated(correlator, X, y, groups, later)
    everything = rk.RobustnessCorrelator(
        methods=METHODS, n_bootstrap=10, n_permutations=19, random_state=3
    )
    yield "all_methods", _correlated(everything, X, y, groups, later)


def _correlated(correlator, X, y, groups, later):
    correlator.fit(X, y, groups=groups)
    found = {"table": correlator.correlations_, "support": correlator.get_support()}
    if correlator.get_support().any():
        found["transform"] = correlator.transform(X)
        found["score"] = correlator.score(later[0], later[1])
    return found


@room
def plotting():
    X, y = digits(150)
    net = sparse_net(early_stopping=True).fit(X, y)
    frozen = FrozenEstimator(net)
    yield "loss", _artists(rk.LossCurveDisplay.from_estimator(net))
    prior = rk.GraphPrior(n_nodes=20, random_state=0)
    display = rk.LayeredGraphDisplay.from_prior(prior)
    yield "graph/prior", _artists(display)
    graph = nx.gnp_random_graph(12, 0.3, seed=0)
    display = rk.LayeredGraphDisplay.from_graph(graph, views=("dag",))
    yield "graph/networkx", _artists(display)
    attack = rk.FGSMAttack(frozen, eps=0.1, device="cpu").fit(X, y)
    curve = rk.RobustnessCurveDisplay.from_estimator(attack, X, y, eps=[0, 0.05, 0.1])
    yield "curve", _artists(curve)
    yield "curve/data", [curve.eps, curve.robust_accuracy]
    examples = rk.AdversarialExamplesDisplay.from_estimator(
        attack, X, y, n_examples=3, image_shape=(8, 8)
    )
    yield "examples", _artists(examples)
    mapper = rk.MapperGraph(n_intervals=6, min_samples=3).fit(X)
    predicted = net.predict(X)
    for color in ("auto", "accuracy", "purity"):
        display = rk.MapperGraphDisplay.from_mapper(mapper, y, predicted, color=color)
        yield f"mapper/{color}", _artists(display)
    scorer = rk.PopulatedRegionScorer(frozen, layer="all", device="cpu").fit(X, y)
    yield "regions/sizes", _artists(rk.PopulatedRegionsDisplay.from_scorer(scorer))
    for kind in ("layers", "classes"):
        yield (
            f"regions/{kind}",
            lambda kind=kind: _artists(
                rk.PopulatedRegionsDisplay.from_scorer(scorer, X, kind=kind)
            ),
        )
    table, measures, _ = _table()
    correlator = rk.RobustnessCorrelator(n_bootstrap=0).fit(table, measures)
    yield (
        "correlation/heat",
        _artists(rk.CorrelationDisplay.from_correlator(correlator)),
    )
    scatter = rk.CorrelationDisplay.from_correlator(
        correlator, kind="scatter", pair=("a", "up")
    )
    yield "correlation/scatter", _artists(scatter)


def _artists(display):
    """What the pictures show, as numbers; words may be written better."""
    import matplotlib.pyplot as plt

    found = []
    for ax in display.figure_.axes:
        found.append([*ax.get_xlim(), *ax.get_ylim()])
        found += [line.get_xydata() for line in ax.get_lines()]
        found += [image.get_array() for image in ax.get_images()]
        found += [patch.get_path().vertices for patch in ax.patches]
        found += [patch.get_facecolor() for patch in ax.patches]
        for drawn in ax.collections:
            found += [drawn.get_offsets(), drawn.get_array(), drawn.get_facecolor()]
            found += [path.vertices for path in drawn.get_paths()]
        found += [_number(text.get_text()) for text in ax.texts]
    plt.close(display.figure_)
    return found


def _number(text):
    try:
        return float(text.replace("\N{MINUS SIGN}", "-"))
    except ValueError:
        return None


@room
def study():
    X, y = digits(160)
    graphs = {"prior__n_nodes": [40, 50, 60, 70]}
    for engine in ("single", "batched"):
        yield (
            f"graphs/{engine}",
            _studied(X, y, sparse_net(), graphs, engine=engine, n_graphs=4),
        )
    yield "defaults", _studied(X, y, None, None, n_graphs=4, inits=["normal"])
    pruned = rk.PrunedNetClassifier(mlp_net(12, 10, 8), n_steps=3, retrain_epochs=1)
    yield (
        "pruning",
        _studied(
            X, y, pruned, {"amount": [0.2, 0.3]}, population="pruning", n_graphs=3
        ),
    )
    yield (
        "own_parts",
        _studied(
            X,
            y,
            sparse_net(),
            {"prior__rewiring": [0.1, 0.9], "lr": [0.01, 0.02]},
            n_graphs=3,
            n_parameters=(100, 100_000),
            inits=["he_normal"],
            attacks={
                "pgd": (rk.PGDAttack(eps=0.05, max_iter=2), 20),
                "pixel": (rk.OnePixelAttack(method="exhaustive", levels=2), 3),
            },
            analyses={
                "regions": rk.PopulatedRegionScorer(layer="all"),
                "mapper": rk.MapperGraph(n_intervals=5),
                "own": _own_analysis,
            },
        ),
    )


def _own_analysis(model, X, y, X_test, y_test):
    return {"train_accuracy": model.score(X, y)}


def _studied(X, y, estimator, space, **params):
    settings = {"inits": ["he_uniform", "uniform"], "random_state": 0, **params}
    with tempfile.TemporaryDirectory() as folder:
        store = Path(folder) / "study.sqlite"
        study = rk.RobustnessStudy(
            estimator, space, store=store, device="cpu", **settings
        ).fit(X, y)
        again = rk.RobustnessStudy.from_store(store)
        found = {"again": _timeless(again.results_)}
    found["results"] = _timeless(study.results_)
    found["columns"] = {name: list(value) for name, value in study.columns_.items()}
    if study.correlator_ is not None:
        found["correlations"] = study.correlator_.correlations_
    last = study.results_["model"].iloc[-1]
    model = study.rebuild(last)
    found["rebuilt"] = model.fit(X, y).predict(X)
    return found


def _timeless(results):
    gone = results.filter(regex="^(seconds_|version_)").columns
    return results.drop(columns=gone)


@room
def explorer():
    X, y = digits(120)
    models = {
        "linear": LogisticRegression(max_iter=100).fit(X, y),
        "sparse": sparse_net().fit(X, y),
    }
    attack = rk.FGSMAttack(device="cpu")
    views = rk.make_views(models, X, y, attack, (0.0, 0.1), layer="logits")
    yield "views", [vars(view) for view in views]
    with tempfile.TemporaryDirectory() as folder:
        path = rk.save_run(
            Path(folder) / "run", y=y, views=views, X=X, image_shape=(8, 8), title="t"
        )
        run = rk.load_run(path)
        yield "run", [run.n_samples, run.models]
