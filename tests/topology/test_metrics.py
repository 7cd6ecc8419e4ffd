"""Every metric: the graph is that of DBSCAN, or one line says what is wrong."""

from functools import partial

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.cluster import DBSCAN
from sklearn.metrics import pairwise_distances
from sklearn.neighbors import VALID_METRICS

from robustkit.topology import MapperGraph
from tests.topology.brute_force import mapper as brute_force
from tests.topology.brute_force import nodes_of
from tests.topology.strategies import covers, seeds
from tests.topology.test_mapper_graph import empty_graphs_allowed

BOOLEAN = {
    "dice", "jaccard", "rogerstanimoto", "russellrao", "sokalsneath", "yule",
    "hamming",
}  # fmt: skip
METRICS = sorted(set(VALID_METRICS["brute"]) - {"precomputed"})

pytestmark = pytest.mark.filterwarnings("ignore:Data was converted to boolean")


def largest_difference(a, b):
    return np.abs(a - b).max()


def samples_for(metric, seed, n_samples=40, n_features=3):
    """Samples for which the metric is defined, with twins and ties."""
    rng = np.random.RandomState(seed)
    if metric in BOOLEAN:
        # The first feature keeps patterns from being empty.
        X = rng.randint(2, size=(n_samples, 5)).astype(float)
        X[:, 0] = 1
        return X
    if metric == "haversine":
        return rng.uniform(-1.5, 1.5, size=(n_samples, 2))
    X = rng.normal(size=(n_samples, n_features))
    X[: n_samples // 4] = np.round(2 * X[: n_samples // 4]) + 0.25 * np.arange(3)
    X[-5:] = X[:5]
    return X


def params_learned(metric, X):
    """What the metric needs to know, of all samples."""
    X = X.astype(float)
    if metric == "minkowski":
        return {"p": 2}
    if metric == "seuclidean":
        return {"metric_params": {"V": X.var(axis=0, ddof=1)}}
    if metric == "mahalanobis":
        return {"metric_params": {"VI": np.linalg.inv(np.cov(X.T))}}
    return {}


@pytest.mark.parametrize("metric", [*METRICS, largest_difference])
@given(
    seeds, covers(4), st.integers(1, 5), st.sampled_from([np.float32, np.float64]),
    st.sampled_from(["auto", 0.3, 1.1]),
)  # fmt: skip
def test_every_metric_gives_the_graph_of_dbscan(
    metric, seed, cover, min_samples, dtype, eps
):
    X = samples_for(metric, seed).astype(dtype)
    mapper = MapperGraph(0, cover=cover, metric=metric, eps=eps)
    with empty_graphs_allowed():
        mapper.set_params(min_samples=min_samples).fit(X)
    clusterer = DBSCAN(
        eps=mapper.eps_, min_samples=min_samples, metric=metric,
        **params_learned(metric, X),
    )  # fmt: skip
    values = X[:, 0].astype(float)
    nodes, edges = brute_force(X, values, mapper.intervals_, clusterer.fit_predict)
    assert nodes_of(mapper.membership_) == nodes
    assert mapper.edges_.tolist() == [list(edge) for edge in edges]
    assert (mapper.transform(X[1:]) != mapper.membership_[1:]).nnz == 0


@pytest.mark.parametrize("metric", ["seuclidean", "mahalanobis", "minkowski"])
def test_new_samples_are_measured_as_the_training_samples_were(metric):
    X = samples_for(metric, 0, 60) * [1, 20, 300]
    new = samples_for(metric, 1, 25) * [1, 20, 300]
    eps = 40.0 if metric == "minkowski" else 0.8
    mapper = MapperGraph(0, metric=metric, eps=eps, min_samples=2, n_intervals=1).fit(X)
    of_euclid = {"minkowski": "euclidean"}.get(metric, metric)
    learned = params_learned(metric, X).get("metric_params", {})
    distances = partial(pairwise_distances, metric=of_euclid, **learned)
    is_core = (distances(X) <= eps).sum(axis=1) >= 2
    to_cores = np.where(is_core, distances(new, X), np.inf)
    inside = (new[:, 0] >= X[:, 0].min()) & (new[:, 0] <= X[:, 0].max())
    expected = mapper.membership_.toarray()[to_cores.argmin(axis=1)]
    expected[~inside | (to_cores.min(axis=1) > eps)] = 0
    assert 0 < expected.sum() < len(new)
    np.testing.assert_array_equal(mapper.transform(new).toarray(), expected)


def test_variances_are_those_of_a_sample():
    """0, 2 and 4 have the variance 4, with n - 1: neighbours are one standardized."""
    X = [[0.0], [2.0], [4.0]]
    mapper = MapperGraph(0, n_intervals=1, metric="seuclidean", min_samples=2)
    assert nodes_of(mapper.set_params(eps=1.0).fit(X).membership_) == [{0, 1, 2}]
    with empty_graphs_allowed():
        assert mapper.set_params(eps=0.99).fit(X).n_noise_ == 3
    mapper.set_params(metric="mahalanobis")
    assert nodes_of(mapper.set_params(eps=1.01).fit(X).membership_) == [{0, 1, 2}]
    with empty_graphs_allowed():
        assert mapper.set_params(eps=0.99).fit(X).n_noise_ == 3


@pytest.mark.parametrize("metric", ["precomputed", "pyfunc", "infinity", "l3"])
def test_a_metric_that_dbscan_does_not_take_is_refused(metric):
    with pytest.raises(ValueError, match="'metric' parameter of MapperGraph must be a"):
        MapperGraph(metric=metric, eps=1.0).fit([[0.0], [1.0]])


X = np.random.RandomState(0).normal(size=(20, 3))


@pytest.mark.parametrize(
    ("metric", "X", "message"),
    [
        ("haversine", X, "metric='haversine' needs 2 features.*Got X with 3 features"),
        ("seuclidean", X * [1, 0, 1], "metric='seuclidean' divides .* of feature 1 is"),
        ("seuclidean", X[:1], "metric='seuclidean' .* of feature 0 is .* 1 sample"),
        ("mahalanobis", X[:, [0, 1, 0]], "metric='mahalanobis' .* rank 2, but X has 3"),
        ("mahalanobis", X[:1], "metric='mahalanobis' .* rank 0, but X has 3"),
    ],
)
@pytest.mark.parametrize("eps", ["auto", 1.0])
def test_data_for_which_a_metric_is_not_defined(metric, X, message, eps):
    with pytest.raises(ValueError, match=message) as error:
        MapperGraph(metric=metric, eps=eps).fit(X)
    assert "\n" not in str(error.value)


def test_a_distance_can_not_be_chosen_among_such_as_are_no_numbers():
    constant_rows = np.repeat(X[:, :1], 3, axis=1)
    message = "eps='auto' .* metric='correlation' gave distances that are NaN or inf"
    with pytest.raises(ValueError, match=message):
        MapperGraph(metric="correlation").fit(constant_rows)
    with empty_graphs_allowed():
        mapper = MapperGraph(metric="correlation", eps=1.0).fit(constant_rows)
    assert mapper.n_noise_ == 20
