"""Every metric gives the graph of DBSCAN; and the distance that the data choose."""

from functools import partial

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.distance import pdist, squareform
from sklearn.cluster import DBSCAN
from sklearn.metrics import pairwise_distances
from sklearn.neighbors import VALID_METRICS

from robustkit.topology import MapperGraph, UniformCover
from robustkit.topology.neighbors import _distance as module
from robustkit.topology.neighbors._distance import (
    fast_nearest,
    knee,
    neighbor_distances,
    typical_distance,
)
from tests.topology.brute_force import mapper as brute_force
from tests.topology.brute_force import nodes_of
from tests.topology.strategies import covers, point_clouds, seeds
from tests.topology.test_mapper_graph import empty_graphs_allowed

BOOLEAN = {
    "dice", "jaccard", "rogerstanimoto", "russellrao", "sokalsneath", "yule",
    "hamming",
}  # fmt: skip
METRICS = sorted(set(VALID_METRICS["brute"]) - {"precomputed"})


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


@pytest.mark.filterwarnings("ignore:Data was converted to boolean")
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


def test_seuclidean_uses_sample_variances():
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
        ("jaccard", X, "metric='jaccard' compares features that are 0 or 1, but X"),
        ("yule", 2 * (X > 0), "metric='yule' .* but X holds 2. Pass `X > threshold`"),
    ],
)
@pytest.mark.parametrize("eps", ["auto", 1.0])
def test_metric_refuses_data_for_which_it_is_not_defined(metric, X, message, eps):
    with pytest.raises(ValueError, match=message) as error:
        MapperGraph(metric=metric, eps=eps).fit(X)
    assert "\n" not in str(error.value)


def test_eps_auto_refuses_distances_that_are_nan():
    constant_rows = np.repeat(X[:, :1], 3, axis=1)
    message = "eps='auto' .* metric='correlation' gave distances that are NaN or inf"
    with pytest.raises(ValueError, match=message):
        MapperGraph(metric="correlation").fit(constant_rows)
    with empty_graphs_allowed():
        mapper = MapperGraph(metric="correlation", eps=1.0).fit(constant_rows)
    assert mapper.n_noise_ == 20


@given(point_clouds())
def test_distances_to_the_nth_other_sample(X):
    distances = np.sort(squareform(pdist(X.astype(float))), axis=1)
    for n in (1, 3):
        expected = distances[:, min(n, len(X) - 1)]
        scale = 1e-6 * (1 + np.abs(X).max())
        np.testing.assert_allclose(neighbor_distances(X, n), expected, atol=scale)


@pytest.mark.parametrize("filter", ["l2norm", "none"])
@pytest.mark.parametrize("n_neighbors", [1, 5])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_fast_way_finds_the_same_distances(filter, n_neighbors, dtype):
    rng = np.random.RandomState(0)
    X = 10 * rng.normal(size=(5, 4))[rng.randint(5, size=700)]
    # Some twins, and some samples far from all others.
    X = (X + rng.standard_exponential(size=X.shape)).astype(dtype)
    X[:30] = X[30:60]
    X[60:70] *= 20
    values = np.linalg.norm(X, axis=1) if filter == "l2norm" else rng.normal(size=700)
    found, nearest = fast_nearest(
        X, values.astype(float), filter == "l2norm", n_neighbors
    )
    distances = squareform(pdist(X.astype(float)))
    expected = np.sort(distances, axis=1)[:, 1 : n_neighbors + 1]
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-4)
    # The numbers are those of others at these distances, each only once.
    rows = np.arange(len(X))[:, None]
    np.testing.assert_allclose(found, distances[rows, nearest], rtol=1e-6, atol=1e-4)
    assert (nearest != rows).all()
    assert (np.diff(np.sort(nearest, axis=1), axis=1) > 0).all()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("fast", [True, False])
@pytest.mark.parametrize("n_features", [2, 30])
def test_neighbor_distances_do_not_depend_on_an_offset(fast, n_features, dtype):
    """Where squares of the samples are 10^10 times those of their distances."""
    rng = np.random.RandomState(0)
    # Whole sixteenths, so that the offset rounds nothing.
    near = (rng.randint(64, size=(300, n_features)) / 16).astype(dtype)
    near[0] *= 30
    for min_samples in (1, 4):
        expected = np.sort(squareform(pdist(near.astype(float))), axis=1)
        X = near + dtype(2.0**17)
        if fast:
            found = fast_nearest(X, X[:, 0].astype(float), True, min_samples)[0][:, -1]
        else:
            found = neighbor_distances(X, min_samples)
        np.testing.assert_allclose(found, expected[:, min_samples], rtol=1e-9)


@pytest.mark.parametrize("offset", [2.0**20, 2.0**30, 2.0**36])
def test_the_fast_ways_do_not_depend_on_a_large_offset(offset):
    """Where squares of the samples are rounded by more than their distances."""
    rng = np.random.RandomState(0)
    near = rng.randint(640, size=(700, 9)) / 16
    near[:40] *= 30
    expected = np.sort(squareform(pdist(near)), axis=1)
    X = near + offset
    found, _ = fast_nearest(X, X[:, 0], True, 12)
    np.testing.assert_allclose(found, expected[:, 1:13], rtol=1e-9)


def test_the_fast_way_with_few_samples():
    X = np.random.RandomState(0).normal(size=(100, 3))
    for n in (1, 2, 3, 5, 6, 100):
        found, nearest = fast_nearest(X[:n], X[:n, 0], True, 4)
        assert found.shape == nearest.shape == (n, min(4, n - 1))
        last = found[:, -1] if n > 1 else np.zeros(1)
        np.testing.assert_allclose(last, neighbor_distances(X[:n], 4))


@pytest.mark.parametrize("n_jobs", [None, 3])
@given(point_clouds(), st.integers(1, 7), st.booleans(), st.booleans())
def test_the_nearest_of_all_in_their_order(n_jobs, X, n_neighbors, few, by_norm):
    """Equally near ones come in the order of their values, and of their numbers."""
    values = np.linalg.norm(X.astype(float), axis=1)
    if not by_norm:
        values = np.arange(len(X)) % 3.0
    with pytest.MonkeyPatch.context() as patch:
        if few:
            # Hardly any is near in the order.
            patch.setattr(module, "_REACH", 0)
            patch.setattr(module, "_N_ROWS", 2)
        found, nearest = fast_nearest(X, values, by_norm, n_neighbors, n_jobs)
    places = np.argsort(np.argsort(values, kind="stable"), kind="stable")
    for i, x in enumerate(X.astype(np.float64)):
        squared = [sum(d * d for d in x - y) for y in X.astype(float)]
        others = sorted(set(range(len(X))) - {i}, key=lambda j: (squared[j], places[j]))
        others = others[:n_neighbors]
        np.testing.assert_array_equal(nearest[i], others)
        np.testing.assert_array_equal(found[i], np.sqrt([squared[j] for j in others]))


def test_the_nearest_of_many_twins():
    rng = np.random.RandomState(0)
    X = rng.normal(size=(9, 4))[rng.randint(9, size=3000)]
    values = np.linalg.norm(X, axis=1)
    found, nearest = fast_nearest(X, values, True, 5, 2)
    assert (found == 0).all()
    np.testing.assert_array_equal(X[nearest[:, -1]], X)
    order = np.argsort(values, kind="stable")
    for x in X[:9]:
        twins = order[(X[order] == x).all(axis=1)]
        np.testing.assert_array_equal(nearest[twins[-1]], twins[:5])


def test_large_data_take_the_fast_way_to_the_same_eps(monkeypatch):
    X = np.random.RandomState(0).normal(size=(300, 3))
    slow = MapperGraph(n_intervals=3).fit(X).eps_
    monkeypatch.setattr(module, "_LARGE", 10)
    assert MapperGraph(n_intervals=3).fit(X).eps_ == pytest.approx(slow, rel=1e-12)


def test_compiled_loops_as_python(monkeypatch):
    X = np.random.RandomState(0).normal(size=(30, 2))
    expected = fast_nearest(X, X[:, 0], True, 3)
    names = "_keep_around", "_scan", "_is_any_near", "_keep", "_insert", "_is_before"
    for name in names:
        monkeypatch.setattr(module, name, getattr(module, name).py_func)
    for one, other in zip(fast_nearest(X, X[:, 0], True, 3), expected, strict=True):
        np.testing.assert_array_equal(one, other)


def test_typical_distance():
    X = np.arange(5000.0)[:, None]
    assert typical_distance(X, 4) == 2
    assert typical_distance(X[:3], 9) == 2


def test_knee_by_hand():
    # Below the line from (0, 1) to (4, 9) by 0, 2, 4, 4.5 and 0.
    assert knee(np.array([9.0, 1.0, 1.0, 1.0, 2.5])) == 2.5


def farthest_from_the_chord(distances):
    """The plain definition of the knee, point by point."""
    curve = sorted(distances)
    slope = (curve[-1] - curve[0]) / max(len(curve) - 1, 1)
    gaps = [abs(curve[0] + slope * i - curve[i]) for i in range(len(curve))]
    return curve[gaps.index(max(gaps))]


@given(st.lists(st.integers(0, 64), min_size=1, max_size=33))
def test_knee_is_farthest_from_the_chord(distances):
    # On a chord with whole steps no rounding decides between equals.
    slope = len(distances) - 1
    distances = np.array(distances, dtype=float) * max(slope, 1)
    assert knee(distances) == farthest_from_the_chord(distances)


@pytest.mark.parametrize("power", [0.25, 0.5, 2.0, 4.0])
def test_knee_of_concave_and_convex_curves(power):
    t = np.linspace(0, 1, 1001)
    # t ** p is farthest from t where its slope is 1.
    expected = power ** (power / (1 - power))
    assert knee(3 + t**power) == pytest.approx(3 + expected, abs=0.002)
    assert knee(np.zeros(5)) == 0
    assert knee(np.array([7.0])) == 7


def test_eps_auto_is_a_little_above_the_knee():
    X = np.random.RandomState(0).normal(size=(200, 3))
    mapper = MapperGraph(n_intervals=3, min_samples=4).fit(X)
    distances = np.sort(squareform(pdist(X)), axis=1)[:, 4]
    expected = farthest_from_the_chord(distances)
    assert 1 + 1e-7 < mapper.eps_ / expected < 1 + 1e-5
    assert MapperGraph(eps=0.75, n_intervals=2).fit(X).eps_ == 0.75


@pytest.mark.parametrize("n_features", [2, 30])
@pytest.mark.parametrize("offset", [0.0, 1.0, 1000.0])
def test_eps_auto_where_the_knee_is_at_twins(n_features, offset):
    """Sums of different order give twins a distance above zero."""
    rng = np.random.RandomState(0)
    X = np.repeat(rng.normal(size=(8, n_features)), 6, axis=0) + offset
    X = np.concatenate([X, 10 + offset + rng.normal(size=(2, n_features))])
    mapper = MapperGraph(n_intervals=1).fit(X)
    assert nodes_of(mapper.membership_) == [{*range(k, k + 6)} for k in range(0, 48, 6)]
    assert 0 < mapper.eps_ < 0.01 * (1 + offset)
    found = DBSCAN(eps=mapper.eps_).fit_predict(X)
    np.testing.assert_array_equal(found, [*np.repeat(np.arange(8), 6), -1, -1])


@pytest.mark.parametrize("gap", [1e-6, 1e-3])
def test_eps_auto_at_twins_reaches_no_other_sample(gap):
    """Not even a sample nearer than a millionth of the largest of all."""
    X = np.concatenate([np.repeat([[5000.0]], 8, axis=0), [[5000 + gap]]])
    mapper = MapperGraph(0, cover=UniformCover(1)).fit(X)
    assert nodes_of(mapper.membership_) == [set(range(8))]
    assert mapper.noise_.tolist() == [8]
    assert 0 < mapper.eps_ < gap


@pytest.mark.parametrize("value", [0.0, 0.1, 1e6, 1e150])
def test_eps_auto_where_all_samples_are_the_same(value):
    mapper = MapperGraph().fit(np.full((9, 20), value))
    assert nodes_of(mapper.membership_) == [set(range(9))]
    assert mapper.eps_ > 0
    assert (DBSCAN(eps=mapper.eps_).fit_predict(np.full((9, 20), value)) == 0).all()


@st.composite
def tied_clouds(draw):
    """Points of a grid with steps that are no binary fractions; many are twins."""
    rng = np.random.RandomState(draw(seeds))
    shape = draw(st.integers(2, 120)), draw(st.sampled_from([1, 2, 3, 20]))
    X = rng.randint(draw(st.integers(2, 12)), size=shape)
    step, offset = draw(st.sampled_from([0.1, 0.7, 1e-8, 3e12])), rng.randint(1000)
    return (step * (X + offset)).astype(draw(st.sampled_from([np.float64, np.float32])))


@given(tied_clouds(), covers(), st.integers(1, 6), st.booleans(), seeds)
def test_eps_auto_does_not_depend_on_rounding(X, cover, min_samples, fast, seed):
    """Any way to measure in float64, and any order of the samples, gives the same.

    (Of float32 data scikit-learn's brute search rounds distances to float32, for which
    there is no safe eps: some pair is nearly always within its rounding.)
    """
    mapper = MapperGraph(0, cover=cover, min_samples=min_samples)
    with empty_graphs_allowed(), pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_LARGE", 2 if fast else 10**6)
        mapper.fit(X)
    values, eps = X[:, 0].astype(float), mapper.eps_
    for algorithm in ("brute", "kd_tree"):
        clusterer = DBSCAN(eps=eps, min_samples=min_samples, algorithm=algorithm)
        expected = brute_force(
            X.astype(float), values, mapper.intervals_, clusterer.fit_predict
        )
        assert nodes_of(mapper.membership_) == expected[0]
    order = np.random.RandomState(seed).permutation(len(X))
    with empty_graphs_allowed():
        shuffled = MapperGraph(0, cover=cover, min_samples=min_samples).fit(X[order])
    assert shuffled.eps_ == pytest.approx(eps, rel=1e-9)
    assert shuffled.n_noise_ == mapper.n_noise_


def test_eps_must_be_positive():
    with pytest.raises(ValueError, match="The 'eps' parameter of MapperGraph must be"):
        MapperGraph(eps=0.0).fit([[0.0], [1.0]])
