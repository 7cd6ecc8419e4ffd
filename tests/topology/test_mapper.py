"""The steps of the mapper algorithm: filter, clusters, nerve; and new samples."""

import numpy as np
import pytest
from hypothesis import given
from scipy.spatial.distance import cdist, pdist
from sklearn.cluster import (
    DBSCAN,
    HDBSCAN,
    OPTICS,
    AgglomerativeClustering,
    KMeans,
    MeanShift,
)
from sklearn.decomposition import PCA

from robustkit.topology import MapperGraph, _mapper, fit_filter
from robustkit.topology import _filters as module
from robustkit.topology._mapper import (
    cluster_parts,
    find_known_rows,
    join_clusters,
    nearest_labels,
    nerve_graph,
    shared_samples,
)
from tests.topology.strategies import point_clouds

X = np.random.RandomState(0).normal(size=(40, 5)) * [3, 1, 1, 0.5, 0.1] + 7


def values_of(filter, X=X):
    return fit_filter(filter, X)[0](X)


def test_filter_l2norm_is_the_norm():
    np.testing.assert_allclose(values_of("l2norm"), np.linalg.norm(X, axis=1))


@pytest.mark.parametrize("shape", [(40, 5), (4, 5), (1, 5)])
def test_filter_pca_is_the_first_principal_component(shape):
    data = X[: shape[0]]
    values = values_of("pca", data)
    if shape[0] == 1:
        assert values.shape == (1,)
        return
    expected = PCA(1).fit_transform(data)[:, 0]
    np.testing.assert_allclose(values, expected, atol=1e-9)


def test_filter_column_is_the_column():
    np.testing.assert_array_equal(values_of(2), X[:, 2])


def test_callable_and_array_may_be_columns_of_one():
    np.testing.assert_array_equal(values_of(lambda X: X[:, :1]), X[:, 0])
    np.testing.assert_array_equal(values_of(X[:, 0].tolist()), X[:, 0])


@given(point_clouds())
def test_lipschitz_filters_change_no_more_than_the_distance(X):
    for filter in ("l2norm", "pca", 0):
        function, is_lipschitz = fit_filter(filter, X)
        assert is_lipschitz
        changes = pdist(function(X)[:, None])
        slack = 1e-9 * (1 + np.abs(X).max())
        assert (changes <= pdist(X.astype(float)) + slack).all()


def test_other_filters_are_not_lipschitz():
    assert not fit_filter(lambda X: X[:, 0], X)[1]
    assert not fit_filter(X[:, 0], X)[1]


@pytest.mark.parametrize("filter", ["l2norm", "pca", 1])
def test_value_of_a_sample_does_not_depend_on_the_others(filter, monkeypatch):
    function, _ = fit_filter(filter, X)
    one_by_one = np.concatenate([function(X[i : i + 1]) for i in range(len(X))])
    np.testing.assert_array_equal(one_by_one, function(X))
    monkeypatch.setattr(module, "_CHUNK", 12)
    np.testing.assert_array_equal(one_by_one, function(X))


def test_filter_pca_in_chunks(monkeypatch):
    expected = values_of("pca")
    monkeypatch.setattr(module, "_CHUNK", 12)
    np.testing.assert_allclose(values_of("pca"), expected)


@pytest.mark.parametrize(
    ("filter", "message"),
    [
        (5, "filter=5 asks for a column, but X has 5 features; the last column is 4"),
        (-1, "The 'filter' parameter of MapperGraph must be"),
        ("l1norm", "The 'filter' parameter of MapperGraph must be a str among"),
        (
            np.ones(3),
            "one number for each of 40 samples, or two. Got an array of shape \\(3,",
        ),
        (
            lambda X: X,
            "for each of 40 samples, or two. Got an array of shape",
        ),
        (lambda X: np.full(len(X), np.nan), "gave values that are NaN or infinite"),
    ],
)
def test_bad_filters_are_named(filter, message):
    with pytest.raises(ValueError, match=message):
        MapperGraph(filter, eps=1.0).fit(X)


def test_array_filter_refuses_new_samples():
    mapper = MapperGraph(X[:, 0], eps=5.0, n_intervals=3).fit(X)
    assert (mapper.transform(X) != mapper.membership_).nnz == 0
    with pytest.raises(
        ValueError, match="only the training samples can be transformed"
    ):
        mapper.transform(X[:5])


def test_a_filter_that_writes_to_its_input():
    def shifted(X):
        X -= 1
        return X[:, 0]

    given = X.copy()
    mapper = MapperGraph(shifted, n_intervals=3, eps=2.0).fit(given)
    mapper.transform(given[:7])
    np.testing.assert_array_equal(given, X)
    expected = MapperGraph(0, n_intervals=3, eps=2.0).fit(X)
    assert (mapper.membership_ != expected.membership_).nnz == 0


def test_a_new_sample_whose_norm_overflows_lies_nowhere():
    mapper = MapperGraph(n_intervals=3, eps=5.0).fit(X)
    assert mapper.transform([[1e200] * 5, X[0]]).getnnz(axis=1).tolist()[0] == 0


def clusters_of(clusterer, X):
    (cluster,), (anchor,) = cluster_parts(clusterer, X, [np.arange(len(X))])
    return cluster, anchor


CLUSTERERS = [
    DBSCAN(eps=1.0, min_samples=3),
    HDBSCAN(min_cluster_size=4, copy=True),
    OPTICS(min_samples=3),
    AgglomerativeClustering(3),
    AgglomerativeClustering(None, distance_threshold=2.0),
    KMeans(3, n_init=1, random_state=0),
    MeanShift(bandwidth=2.0),
]


@pytest.mark.parametrize("clusterer", CLUSTERERS, ids=repr)
def test_labels_are_those_of_the_clusterer(clusterer):
    X = np.random.RandomState(0).normal(size=(40, 2))
    (samples, labels), (anchors, _) = clusters_of(clusterer, X)
    expected = clusterer.fit_predict(X)
    np.testing.assert_array_equal(samples, np.flatnonzero(expected >= 0))
    np.testing.assert_array_equal(labels, expected[expected >= 0])
    if isinstance(clusterer, DBSCAN):
        np.testing.assert_array_equal(anchors, clusterer.core_sample_indices_)
    else:
        np.testing.assert_array_equal(anchors, samples)


@pytest.mark.parametrize("clusterer", CLUSTERERS, ids=repr)
@pytest.mark.parametrize("n_samples", [1, 2])
def test_a_few_samples_are_noise_or_clusters_of_their_own(clusterer, n_samples):
    X = 100.0 * np.arange(n_samples)[:, None]
    (samples, labels), _ = clusters_of(clusterer, X)
    if isinstance(clusterer, DBSCAN | HDBSCAN | OPTICS):
        assert len(samples) == 0
    else:
        np.testing.assert_array_equal(np.sort(labels), np.arange(n_samples))


def test_the_clusterer_given_is_not_fitted():
    clusterer = KMeans(2, n_init=1, random_state=0)
    X = np.random.RandomState(0).normal(size=(40, 2))
    MapperGraph(clusterer=clusterer, n_intervals=3).fit(X)
    assert not hasattr(clusterer, "labels_")


def test_what_is_no_clusterer_is_refused():
    with pytest.raises(ValueError, match="The 'clusterer' parameter of MapperGraph"):
        MapperGraph(clusterer="dbscan").fit([[0.0], [1.0]])


def pairs(*numbers):
    return np.array(numbers, dtype=int)


def test_nerve_by_hand():
    clusters = [
        (pairs(0, 1, 2), pairs(0, 0, 1)),
        (pairs(), pairs()),
        (pairs(1, 2, 3), pairs(0, 0, 0)),
    ]
    membership, intervals = join_clusters(clusters, 5)
    expected = [[1, 0, 0], [1, 0, 1], [0, 1, 1], [0, 0, 1], [0, 0, 0]]
    np.testing.assert_array_equal(membership.toarray(), expected)
    np.testing.assert_array_equal(intervals, [0, 0, 2])
    edges, n_shared = shared_samples(membership)
    np.testing.assert_array_equal(edges, [[0, 2], [1, 2]])
    np.testing.assert_array_equal(n_shared, [1, 1])
    graph = nerve_graph(intervals, [2, 1, 3], edges, n_shared)
    assert dict(graph.nodes(data=True)) == {
        0: {"interval": 0, "size": 2},
        1: {"interval": 0, "size": 1},
        2: {"interval": 2, "size": 3},
    }
    # Nodes of 2 and 3 samples that share one hold 4 in all; those of 1 and 3, 3.
    assert list(graph.edges(data=True)) == [
        (0, 2, {"weight": 1, "jaccard": 1 / 4}),
        (1, 2, {"weight": 1, "jaccard": 1 / 3}),
    ]


def test_nerve_of_no_cluster():
    membership, intervals = join_clusters([(pairs(), pairs())], 4)
    assert membership.shape == (4, 0)
    assert len(intervals) == 0
    edges, n_shared = shared_samples(membership)
    assert edges.shape == (0, 2)
    assert len(nerve_graph(intervals, [], edges, n_shared)) == 0


@given(point_clouds())
def test_known_rows_are_found(X):
    known, new = X[::2], X.copy()
    new[1::4] += X.dtype.type(0.125)
    found = find_known_rows(new, known)
    for i, row in enumerate(new):
        equal = np.flatnonzero((known == row).all(axis=1))
        assert found[i] in equal if len(equal) else found[i] == -1


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_two_zeros_are_equal(dtype):
    known = np.array([[0.0, 1.0]], dtype=dtype)
    assert find_known_rows(np.array([[-0.0, 1.0]], dtype=dtype), known) == [0]


def test_rows_that_share_a_key_are_told_apart(monkeypatch):
    monkeypatch.setattr(_mapper, "hash_rows", lambda X: np.zeros(len(X), np.uint64))
    found = find_known_rows(np.array([[1.0], [2.0]]), np.array([[2.0], [3.0]]))
    # A known row may be missed among those of its key, but never mistaken.
    np.testing.assert_array_equal(found, [-1, 0])


def test_nearest_anchor_within_eps():
    rng = np.random.RandomState(0)
    anchors, X = rng.normal(size=(30, 2)), rng.normal(size=(50, 2))
    labels = rng.randint(5, size=30)
    distances = cdist(X, anchors)
    expected = np.where(
        distances.min(axis=1) <= 0.3, labels[distances.argmin(axis=1)], -1
    )
    found = nearest_labels(X, anchors, labels, 0.3)
    assert {-1, 0} < set(found.tolist())
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("n_features", [2, 40])
@pytest.mark.parametrize("offset", [2.0**20, 2.0**30, 2.0**36])
def test_nearest_anchor_does_not_depend_on_an_offset(offset, n_features):
    """Where squares of the samples are rounded by more than their distances."""
    rng = np.random.RandomState(0)
    # Whole sixteenths, so that the offset rounds nothing.
    anchors, X = (rng.randint(64, size=(n, n_features)) / 16 for n in (60, 90))
    labels, eps = np.arange(60), 1.5 * np.sqrt(n_features)
    distances = cdist(X, anchors)
    nearest = distances.min(axis=1)
    found = nearest_labels(X + offset, anchors + offset, labels, eps)
    assert (nearest <= eps).any()
    np.testing.assert_array_equal(found >= 0, nearest <= eps)
    some = found >= 0
    np.testing.assert_array_equal(distances[some, found[some]], nearest[some])
