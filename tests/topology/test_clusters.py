"""Any clusterer, also where an interval holds too few samples for it."""

import numpy as np
import pytest
from sklearn.cluster import (
    DBSCAN,
    HDBSCAN,
    OPTICS,
    AgglomerativeClustering,
    KMeans,
    MeanShift,
)

from robustkit.topology import MapperGraph
from robustkit.topology._clusters import cluster_with


def clusters_of(clusterer, X):
    slices = np.array([[0, len(X)]])
    (cluster,), (anchor,) = cluster_with(clusterer, X, np.arange(len(X)), slices)
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


def test_anything_else_is_refused():
    with pytest.raises(ValueError, match="The 'clusterer' parameter of MapperGraph"):
        MapperGraph(clusterer="dbscan").fit([[0.0], [1.0]])
