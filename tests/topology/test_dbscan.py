"""The clusters are those of scikit-learn's DBSCAN, numbers and borders included."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from sklearn.cluster import DBSCAN

from robustkit.topology import _dbscan as dbscan_module
from robustkit.topology._dbscan import NOISE, cluster_interval
from robustkit.topology._ordered_samples import OrderedSamples
from robustkit.topology._pairs import find_pairs
from tests.topology.strategies import point_clouds


def as_labels(roots):
    """Number the clusters by their first core sample."""
    labels = np.full(len(roots), -1)
    labels[roots != NOISE] = np.unique(roots[roots != NOISE], return_inverse=True)[1]
    return labels


@given(point_clouds(), st.sampled_from([1.0, 2.0, 8.0]), st.integers(1, 6), st.data())
def test_clusters_of_an_interval(X, eps, min_samples, data):
    samples, ends = OrderedSamples(X, X[:, 0].astype(float)), np.full(len(X), len(X))
    pairs = find_pairs(samples, eps, ends)
    start = data.draw(st.integers(0, len(X) - 1))
    stop = data.draw(st.integers(start + 1, len(X)))
    roots, is_core = cluster_interval(
        lambda: [(0, *pairs)], samples.order, start, stop, min_samples
    )
    inside = samples.order[start:stop]
    order = np.argsort(inside)
    expected = DBSCAN(eps=eps, min_samples=min_samples).fit(X[inside[order]])
    np.testing.assert_array_equal(as_labels(roots)[order], expected.labels_)
    np.testing.assert_array_equal(
        np.flatnonzero(is_core[order]), expected.core_sample_indices_
    )


def test_pairs_may_come_in_pieces():
    X = np.random.RandomState(0).normal(size=(60, 2))
    samples, ends = OrderedSamples(X, X[:, 0]), np.full(60, 60)
    whole = find_pairs(samples, 0.5, ends)
    parts = [
        (i, *find_pairs(samples, 0.5, ends, start=i, stop=i + 7))
        for i in range(0, 53, 7)
    ]
    parts.append((56, *find_pairs(samples, 0.5, ends, start=56)))
    one, other = (
        cluster_interval(lambda pieces=pieces: pieces, samples.order, 5, 50, 3)
        for pieces in ([(0, *whole)], parts)
    )
    for a, b in zip(one, other, strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_border_sample_goes_to_the_first_cluster_that_reaches_it():
    # Two triples, and between them a sample that both reach.
    X = np.array([[4.0], [4.5], [5.0], [0.0], [0.5], [1.0], [2.75]])
    samples = OrderedSamples(X, X[:, 0])
    pairs = find_pairs(samples, 1.75, np.full(7, 7))
    roots, is_core = cluster_interval(lambda: [(0, *pairs)], samples.order, 0, 7, 4)
    by_sample = dict(zip(samples.order.tolist(), roots.tolist(), strict=True))
    assert by_sample == {0: 0, 1: 0, 2: 0, 6: 0, 3: 3, 4: 3, 5: 3} or not is_core.all()
    expected = DBSCAN(eps=1.75, min_samples=4).fit(X).labels_
    np.testing.assert_array_equal(as_labels(roots)[np.argsort(samples.order)], expected)


def test_compiled_loops_as_python(monkeypatch):
    X = np.random.RandomState(0).normal(size=(40, 2))
    samples = OrderedSamples(X, X[:, 0])
    pairs = find_pairs(samples, 0.6, np.full(40, 40))
    compiled = cluster_interval(lambda: [(0, *pairs)], samples.order, 3, 38, 3)
    for name in (
        "_add_degrees",
        "_find",
        "_join_cores",
        "_name_cores",
        "_reach_borders",
    ):
        monkeypatch.setattr(dbscan_module, name, getattr(dbscan_module, name).py_func)
    python = cluster_interval(lambda: [(0, *pairs)], samples.order, 3, 38, 3)
    for one, other in zip(compiled, python, strict=True):
        np.testing.assert_array_equal(one, other)
