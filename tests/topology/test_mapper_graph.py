"""The graph is the one of the definition, for any data, cover and clusterer."""

import warnings
from contextlib import contextmanager
from xml.etree import ElementTree

import networkx as nx
import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.cluster import DBSCAN, AgglomerativeClustering
from sklearn.datasets import load_digits, load_iris
from sklearn.frozen import FrozenEstimator
from sklearn.model_selection import GridSearchCV
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler

from robustkit.topology import BalancedCover, MapperGraph, UniformCover
from tests.topology.brute_force import mapper as brute_force
from tests.topology.brute_force import nodes_of
from tests.topology.strategies import covers, point_clouds

FILTERS = {
    "l2norm": lambda X: np.linalg.norm(X.astype(float), axis=1),
    0: lambda X: X[:, 0].astype(float),
}


@contextmanager
def empty_graphs_allowed():
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "No cluster was found", UserWarning)
        yield


def is_the_graph_of(nodes, edges, mapper):
    return (
        nodes_of(mapper.membership_) == nodes
        and [tuple(edge) for edge in mapper.edges_.tolist()] == edges
        and sorted(mapper.graph_.nodes) == list(range(len(nodes)))
        and sorted(mapper.graph_.edges) == edges
        and {edge: len(nodes[edge[0]] & nodes[edge[1]]) for edge in edges}
        == {(i, j): n for i, j, n in mapper.graph_.edges(data="weight")}
    )


@given(
    point_clouds(),
    covers(),
    st.sampled_from(list(FILTERS)),
    st.sampled_from([1.0, 2.0, 8.0]),
    st.integers(1, 5),
)
def test_dbscan_against_the_definition(X, cover, filter, eps, min_samples):
    mapper = MapperGraph(filter, cover=cover, eps=eps, min_samples=min_samples)
    with empty_graphs_allowed():
        mapper.fit(X)
    # The intervals are tested by themselves, and here make the same rounding.
    nodes, edges = brute_force(
        X, FILTERS[filter](X), mapper.intervals_,
        DBSCAN(eps=eps, min_samples=min_samples).fit_predict,
    )  # fmt: skip
    assert is_the_graph_of(nodes, edges, mapper)
    in_some_node = set().union(*nodes)
    assert set(mapper.noise_) == set(range(len(X))) - in_some_node
    assert mapper.n_noise_ == len(mapper.noise_)


@given(
    point_clouds(),
    covers(),
    st.sampled_from(["manhattan", "chebyshev"]),
    st.integers(1, 4),
)
def test_other_metrics_against_the_definition(X, cover, metric, min_samples):
    mapper = MapperGraph(cover=cover, metric=metric, eps=2.0, min_samples=min_samples)
    with empty_graphs_allowed():
        mapper.fit(X)
    clusterer = DBSCAN(eps=2.0, min_samples=min_samples, metric=metric)
    values = FILTERS["l2norm"](X)
    nodes, edges = brute_force(X, values, mapper.intervals_, clusterer.fit_predict)
    assert is_the_graph_of(nodes, edges, mapper)


# scipy's doubt whether a small symmetric array of samples is one of distances.
@pytest.mark.filterwarnings("ignore:The symmetric non-negative hollow observation")
@given(point_clouds(), covers())
def test_other_clusterers_against_the_definition(X, cover):
    clusterer = AgglomerativeClustering(None, distance_threshold=3.0)

    def cluster(some):
        return clusterer.fit_predict(some) if len(some) > 1 else np.zeros(1, int)

    mapper = MapperGraph(cover=cover, clusterer=clusterer).fit(X)
    values = FILTERS["l2norm"](X)
    assert is_the_graph_of(*brute_force(X, values, mapper.intervals_, cluster), mapper)
    assert mapper.eps_ == np.inf
    assert mapper.n_noise_ == 0


@given(point_clouds(), covers(), st.integers(1, 4), st.booleans())
def test_transform_of_the_training_samples_is_the_training_membership(
    X, cover, min_samples, other_path
):
    clusterer = DBSCAN(eps=2.0, min_samples=min_samples) if other_path else None
    mapper = MapperGraph(
        cover=cover, clusterer=clusterer, eps=2.0, min_samples=min_samples
    )
    with empty_graphs_allowed():
        at_once = mapper.fit_transform(X)
    assert (mapper.transform(X) != mapper.membership_).nnz == 0
    assert (at_once != mapper.membership_).nnz == 0
    if len(X) > 1:
        assert (mapper.transform(X[::2]) != mapper.membership_[::2]).nnz == 0


def two_lines():
    """Two parallel lines of samples, 10 apart, 100 long."""
    along = np.repeat(np.arange(100.0), 2)
    return np.column_stack([along, np.tile([0.0, 10.0], 100)])


def test_new_samples_go_to_the_node_of_the_nearest_core_sample():
    mapper = MapperGraph(0, n_intervals=2, overlap=0.5, eps=2.0).fit(two_lines())
    # Intervals [0, 66] and [33, 99], two nodes each.
    assert len(mapper.graph_) == 4
    found = mapper.transform(
        [[10.0, 0.5], [50.0, 9.5], [50.0, 5.0], [90.0, 11.0], [100.0, 0.0], [-1.0, 0.0]]
    ).toarray()
    expected = [
        [1, 0, 0, 0],
        [0, 1, 0, 1],
        # Too far from both lines, and outside all intervals.
        [0, 0, 0, 0],
        [0, 0, 0, 1],
        [0, 0, 0, 0],
        [0, 0, 0, 0],
    ]
    np.testing.assert_array_equal(found, expected)


@given(point_clouds(), st.integers(0, 100))
def test_new_samples_against_the_definition(X, seed):
    mapper = MapperGraph(0, n_intervals=3, eps=2.0, min_samples=3)
    with empty_graphs_allowed():
        mapper.fit(X)
    # Off the lattice by less than any two distances of it can agree.
    new = X + 0.01 * np.random.RandomState(seed).uniform(-1, 1, size=X.shape)
    new = new.astype(X.dtype)
    found = mapper.transform(new).toarray()
    nodes = nodes_of(mapper.membership_)
    for row, x in zip(found, new.astype(float), strict=True):
        expected = set()
        for low, high in mapper.intervals_:
            if not low <= x[0] <= high:
                continue
            inside = np.flatnonzero((low <= X[:, 0]) & (X[:, 0] <= high))
            near = np.linalg.norm(X[inside].astype(float) - x, axis=1)
            pairs = np.linalg.norm(X[inside][:, None] - X[inside].astype(float), axis=2)
            is_core = (pairs <= 2.0).sum(axis=1) >= 3
            near[~is_core] = np.inf
            if len(near) and near.min() <= 2.0 - 0.05:
                core, k = inside[near.argmin()], mapper._mapper.node_intervals
                interval = np.flatnonzero((mapper.intervals_ == [low, high]).all(1))[0]
                expected |= {
                    node
                    for node, members in enumerate(nodes)
                    if core in members and k[node] == interval
                }
            elif len(near) and near.min() <= 2.0 + 0.05:
                # Too near to eps for a definition with rounded numbers.
                return
        # Two core samples may be nearly as near; both are then within eps.
        assert set(np.flatnonzero(row)) == expected


def test_order_of_samples_only_renames_nodes():
    X, _ = load_iris(return_X_y=True)
    params = {"n_intervals": 6, "eps": 0.6, "cover": "balanced"}
    order = np.random.RandomState(0).permutation(len(X))
    one = MapperGraph(**params).fit(X)
    other = MapperGraph(**params).fit(X[order])
    cores_decide = lambda mapper, back: sorted(  # noqa: E731
        map(sorted, ({back[i] for i in node} for node in nodes_of(mapper.membership_)))
    )
    assert len(one.graph_) == len(other.graph_)
    assert cores_decide(one, np.arange(len(X))) == cores_decide(other, order)


@pytest.mark.parametrize("clusterer", [None, DBSCAN(eps=0.5)])
def test_threads_change_nothing(clusterer):
    X, _ = load_iris(return_X_y=True)
    params = {"n_intervals": 6, "eps": 0.5, "clusterer": clusterer}
    one = MapperGraph(**params).fit(X)
    two = MapperGraph(n_jobs=2, **params).fit(X)
    assert (one.membership_ != two.membership_).nnz == 0


@pytest.mark.parametrize("n_intervals", [1, 500])
def test_one_interval_and_more_than_samples(n_intervals):
    X, _ = load_iris(return_X_y=True)
    for cover in ("uniform", "balanced"):
        mapper = MapperGraph(
            cover=cover, n_intervals=n_intervals, min_samples=1, eps=0.5
        ).fit(X)
        assert mapper.n_noise_ == 0
        if n_intervals == 1:
            labels = DBSCAN(eps=0.5, min_samples=1).fit_predict(X)
            assert len(mapper.graph_) == labels.max() + 1


def test_a_constant_filter_is_clustering():
    X = two_lines()
    mapper = MapperGraph(np.ones(len(X)), eps=2.0).fit(X)
    assert len(mapper.intervals_) == 1
    assert nodes_of(mapper.membership_) == [
        set(range(0, 200, 2)),
        set(range(1, 200, 2)),
    ]


def test_an_instance_brings_its_own_intervals():
    X, _ = load_iris(return_X_y=True)
    mapper = MapperGraph(cover=UniformCover(3, 0.2), n_intervals=9, eps=1.0).fit(X)
    assert len(mapper.intervals_) == 3


def test_all_noise_is_an_empty_graph_with_a_warning():
    X = np.arange(20.0)[:, None]
    mapper = MapperGraph(eps=0.25, n_intervals=2, min_samples=3)
    message = "No cluster was found.*eps is 0.25.*to neighbour number 3 is 2. Try"
    with pytest.warns(UserWarning, match=message) as seen:
        mapper.fit(X)
    assert seen[0].filename == __file__
    assert len(mapper.graph_) == 0
    assert mapper.membership_.shape == (20, 0)
    assert mapper.n_noise_ == 20
    assert mapper.transform(X).shape == (20, 0)
    assert mapper.score(X, np.arange(20) % 2) == 0
    assert len(mapper.describe(np.zeros(20), np.zeros(20))) == 0
    assert len(mapper.weak_samples(np.zeros(20), np.ones(20))) == 0


def test_all_noise_to_a_clusterer_names_it():
    clusterer = DBSCAN(eps=0.25)
    with pytest.warns(
        UserWarning, match=r"every sample is noise to DBSCAN\(eps=0.25\)"
    ):
        MapperGraph(clusterer=clusterer).fit(np.arange(20.0)[:, None])


def test_twins_with_other_filter_values_keep_their_nodes():
    X = np.repeat([[0.0], [1.0]], 4, axis=0)
    mapper = MapperGraph(np.arange(8.0), n_intervals=4, eps=0.5, min_samples=1).fit(X)
    assert (mapper.transform(X) != mapper.membership_).nnz == 0


def test_mapper_graph_refuses_nan():
    with pytest.raises(ValueError, match="Input X contains NaN"):
        MapperGraph().fit([[np.nan], [1.0]])


@pytest.mark.parametrize("n_samples", [1, 4])
def test_fewer_samples_than_make_a_cluster(n_samples):
    X = np.arange(float(n_samples))[:, None]
    with pytest.warns(
        UserWarning, match=rf"X has {n_samples} .* min_samples is 5. Try"
    ):
        mapper = MapperGraph().fit(X)
    assert mapper.n_noise_ == n_samples
    assert len(MapperGraph(min_samples=1, n_intervals=1).fit(X).graph_) >= 1


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("filter", ["l2norm", "pca", 0])
@pytest.mark.parametrize("power", [-100, 100])
def test_mapper_graph_does_not_depend_on_scale(filter, power, dtype):
    X = load_iris().data.astype(dtype)
    params = {"n_intervals": 4, "min_samples": 3}
    expected = MapperGraph(filter, **params).fit(X)
    factor = 2.0**power
    found = MapperGraph(filter, **params).fit(X * dtype(factor))
    assert found.eps_ == pytest.approx(expected.eps_ * factor, rel=1e-5)
    assert (found.membership_ != expected.membership_).nnz == 0


@pytest.mark.parametrize(
    ("scale", "message"),
    [
        (1e160, "X holds values as large as .*, whose squares overflow. Scale X"),
        (1e-160, "No feature of X has values that differ by more than .*. Scale X"),
    ],
)
@pytest.mark.parametrize("metric", ["euclidean", "manhattan"])
@pytest.mark.parametrize("eps", ["auto", 1.0])
def test_mapper_graph_refuses_unsquarable_numbers(scale, message, metric, eps):
    with pytest.raises(ValueError, match=message):
        MapperGraph(metric=metric, eps=eps).fit(scale * load_iris().data)


@pytest.mark.parametrize("eps", [1e10, 1e40, 1e200])
@pytest.mark.parametrize("warm_start", [True, False])
def test_eps_larger_than_any_distance(eps, warm_start):
    mapper = MapperGraph(n_intervals=3, eps=eps, warm_start=warm_start)
    for _ in range(2):
        mapper.fit(load_iris().data)
        assert mapper.n_noise_ == 0
        assert len(mapper.graph_) == 3
        assert mapper.eps_ == eps


def test_describe_nodes():
    X = two_lines()
    mapper = MapperGraph(0, n_intervals=2, overlap=0.5, eps=2.0).fit(X)
    y = np.where(X[:, 1] == 0, "low", "high").astype(object)
    y[:20:2] = "other"
    y_pred = np.where(X[:, 1] == 0, "low", "high")
    nodes = mapper.describe(y, y_pred)
    assert list(nodes.columns) == [
        "interval", "size", "filter_mean", "purity", "accuracy", "majority",
        "count_high", "count_low", "count_other",
    ]  # fmt: skip
    assert nodes["interval"].tolist() == [0, 0, 1, 1]
    assert nodes["size"].tolist() == [67, 67, 67, 67]
    assert nodes["filter_mean"].tolist() == [33, 33, 66, 66]
    assert nodes["majority"].tolist() == ["low", "high", "low", "high"]
    assert nodes["count_other"].tolist() == [10, 0, 0, 0]
    np.testing.assert_allclose(nodes["accuracy"], [57 / 67, 1, 1, 1])
    p = np.array([57 / 67, 10 / 67])
    np.testing.assert_allclose(
        nodes["purity"][0], 1 + (p * np.log(p)).sum() / np.log(3)
    )
    assert list(mapper.describe().columns) == ["interval", "size", "filter_mean"]
    assert isinstance(mapper.describe(), pd.DataFrame)
    with pytest.raises(ValueError, match="The 'y_pred' parameter needs 'y'"):
        mapper.describe(y_pred=y_pred)


def test_labels_must_be_as_many_as_training_samples():
    mapper = MapperGraph(0, n_intervals=2, eps=2.0).fit(two_lines())
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        mapper.weak_samples(np.zeros(7), np.ones(7))
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        mapper.describe(np.zeros(7))


def test_parameters_can_be_searched_after_an_activation_extractor():
    from robustkit.bridge import ActivationExtractor

    X, y = load_digits(return_X_y=True)
    X, y = X[:400] / 16, y[:400]
    model = MLPClassifier((16,), solver="lbfgs", tol=1e-2, random_state=0)
    extractor = ActivationExtractor(FrozenEstimator(model.fit(X, y)))
    steps = [("activations", extractor), ("mapper", MapperGraph(eps=60.0))]
    grid = {"mapper__n_intervals": [3, 6], "mapper__cover": ["uniform", "balanced"]}
    search = GridSearchCV(Pipeline(steps), grid, cv=2).fit(X, y)
    assert 0 < search.best_score_ <= 1
    activations = search.best_estimator_[0].transform(X)
    best = MapperGraph(eps=60.0, **{k[8:]: v for k, v in search.best_params_.items()})
    expected = best.fit(activations).score(activations, y)
    assert search.score(X, y) == pytest.approx(expected)


def test_nodes_as_features_of_a_classifier():
    X, y = load_iris(return_X_y=True)
    pipeline = make_pipeline(
        StandardScaler(),
        MapperGraph(n_intervals=5, eps=1.0),
        FunctionTransformer(lambda M: M.toarray(), accept_sparse=True),
        MLPClassifier((5,), solver="lbfgs", random_state=0),
    )
    assert pipeline.fit(X, y).score(X, y) > 0.5
    names = pipeline[1].get_feature_names_out()
    assert names[0] == "mappergraph0"
    assert len(names) == pipeline[1].membership_.shape[1]


def test_float32_gives_the_graph_of_the_same_numbers_in_float64():
    X = load_iris().data.astype(np.float32)
    params = {"cover": BalancedCover(5, 0.4), "eps": 0.55}
    one, other = (MapperGraph(**params).fit(data) for data in (X, X.astype(float)))
    assert (one.membership_ != other.membership_).nnz == 0


def test_a_notebook_shows_the_graph():
    X, _ = load_iris(return_X_y=True)
    mapper = MapperGraph(n_intervals=8, eps=0.6)
    assert "<svg" not in mapper._repr_html_()
    html = mapper.fit(X)._repr_html_()
    picture = ElementTree.fromstring(
        html[html.index("<svg") : html.index("</svg>") + 6]
    )
    space = "{http://www.w3.org/2000/svg}"
    discs = list(picture.iter(f"{space}circle"))
    lines = list(picture.iter(f"{space}line"))
    assert (len(discs), len(lines)) == (mapper.membership_.shape[1], len(mapper.edges_))
    titles = [disc.find(f"{space}title").text for disc in discs]
    sizes = mapper.describe()["size"]
    assert titles == [f"node {i}: {n} samples" for i, n in enumerate(sizes)]
    # Discs lie within the picture and not on one another; lines join their middles.
    places = np.array([[float(d.get(k)) for k in ("cx", "cy", "r")] for d in discs])
    _, _, width, height = map(float, picture.get("viewBox").split())
    x, y, r = places.T
    assert (x - r >= 0).all()
    assert (x + r <= width).all()
    assert (y - r >= 0).all()
    assert (y + r <= height).all()
    apart = np.hypot(x[:, None] - x, y[:, None] - y) - (r[:, None] + r)
    np.fill_diagonal(apart, 1)
    assert (apart >= 0).all()
    for (i, j), line in zip(mapper.edges_, lines, strict=True):
        ends = [float(line.get(k)) for k in ("x1", "y1", "x2", "y2")]
        assert ends == [x[i], y[i], x[j], y[j]]
    share = f"{mapper.n_noise_} of 150 ({mapper.n_noise_ / 150:.1%})"
    n_components = nx.number_connected_components(mapper.graph_)
    for fact in (len(discs), len(lines), n_components, share, "0.6"):
        assert f">{fact}</td>" in html


def test_a_notebook_shows_no_picture_of_a_graph_that_is_large_or_empty():
    X = np.arange(500.0)[:, None]
    mapper = MapperGraph(0, n_intervals=450, eps=3.0, min_samples=1).fit(X)
    assert mapper.membership_.shape[1] > 400
    assert "<svg" not in mapper._html_summary()
    with pytest.warns(UserWarning, match="every sample is noise"):
        mapper.set_params(eps=0.1, min_samples=3).fit(X)
    assert "500 of 500 (100.0%)" in mapper._html_summary()
    assert "<svg" not in mapper._html_summary()


@given(point_clouds(), covers())
def test_edges_are_weighed_by_what_their_nodes_share(X, cover):
    mapper = MapperGraph(cover=cover, eps=2.0, min_samples=2)
    with empty_graphs_allowed():
        mapper.fit(X)
    nodes = nodes_of(mapper.membership_)
    edges = mapper.describe_edges()
    assert len(edges) == len(mapper.edges_)
    for source, target, weight, jaccard in edges.itertuples(index=False):
        shared, whole = nodes[source] & nodes[target], nodes[source] | nodes[target]
        assert weight == len(shared)
        assert jaccard == len(shared) / len(whole)
        assert mapper.graph_.edges[source, target] == {
            "weight": weight, "jaccard": jaccard
        }  # fmt: skip


@pytest.mark.parametrize("kind", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("mode", ["r", "c", None])
def test_halves_and_memory_maps_have_the_graph_of_float64(kind, mode, tmp_path):
    X = load_iris().data.astype(kind)
    expected = MapperGraph(n_intervals=6, eps=0.7).fit(X.astype(np.float64))
    if mode is not None:
        np.save(tmp_path / "X.npy", X)
        X = np.load(tmp_path / "X.npy", mmap_mode=mode)
    mapper = MapperGraph(n_intervals=6, eps=0.7).fit(X)
    assert len(mapper.graph_) > 0
    assert (mapper.membership_ != expected.membership_).nnz == 0
    np.testing.assert_array_equal(mapper.intervals_, expected.intervals_)
    assert (mapper.transform(X) != mapper.membership_).nnz == 0
    new = X[::7] + kind(0.125)
    assert (mapper.transform(new) != expected.transform(new.astype(float))).nnz == 0
    is_copied = not np.shares_memory(mapper._fit_X, X)
    assert is_copied == (kind is np.float16)
