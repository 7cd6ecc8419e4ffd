"""The clusters are those of scikit-learn's DBSCAN, numbers and borders included."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.cluster import DBSCAN

from robustkit.topology import _dbscan as dbscan_module
from robustkit.topology import _neighbor_graphs as graphs_module
from robustkit.topology._dbscan import NOISE, cluster_windows
from robustkit.topology._neighbor_graphs import FarGraph, KnownGraph
from robustkit.topology._ordered_samples import OrderedSamples
from robustkit.topology._windows import Windows
from tests.topology.brute_force import as_pairs, near_pairs
from tests.topology.strategies import point_clouds, windows

EPS = st.sampled_from([1.0, 2.0, 8.0])


def as_labels(roots):
    """Number the clusters by their first core sample."""
    labels = np.full(len(roots), -1)
    labels[roots != NOISE] = np.unique(roots[roots != NOISE], return_inverse=True)[1]
    return labels


def known_graph(X, samples, eps):
    ends = np.full(len(X), len(X))
    return KnownGraph(as_pairs(near_pairs(X, samples.order, eps, ends), len(X)))


def far_graph(X, samples, eps, known_eps):
    ends = np.full(len(X), len(X))
    known = near_pairs(X, samples.order, known_eps, ends)
    return FarGraph(as_pairs(known, len(X)), samples, eps, ends)


def check(graph, X, samples, eps, windows, min_samples):
    found = cluster_windows(graph, windows, samples.order, min_samples)
    for (start, stop), (roots, is_core) in zip(windows.slices, found, strict=True):
        inside = samples.order[start:stop]
        if len(inside) == 0:
            continue
        order = np.argsort(inside)
        expected = DBSCAN(eps=eps, min_samples=min_samples).fit(X[inside[order]])
        np.testing.assert_array_equal(as_labels(roots)[order], expected.labels_)
        np.testing.assert_array_equal(
            np.flatnonzero(is_core[order]), expected.core_sample_indices_
        )


@given(point_clouds(), EPS, st.integers(1, 6), st.data())
def test_clusters_of_all_windows(X, eps, min_samples, data):
    samples = OrderedSamples(X, X[:, 0].astype(float))
    several = data.draw(windows(len(X)))
    check(known_graph(X, samples, eps), X, samples, eps, several, min_samples)


@given(
    point_clouds(),
    EPS,
    st.sampled_from([-1.0, 0.0, 0.5, 1.0]),
    st.integers(1, 6),
    st.sampled_from([0, 40, 10**6]),
    st.data(),
)
def test_clusters_of_all_windows_where_pairs_are_too_many(
    X, eps, known_share, min_samples, largest, data
):
    """Whatever is known, and whether the rest fits into one list, several or none."""
    samples = OrderedSamples(X, X[:, 0].astype(float))
    several = data.draw(windows(len(X)))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(graphs_module, "LARGEST_N_PAIRS", largest)
        patch.setattr(graphs_module, "_FEW", 2)
        graph = far_graph(X, samples, eps, known_share * eps)
        check(graph, X, samples, eps, several, min_samples)


def both_graphs(X, samples, eps):
    return known_graph(X, samples, eps), far_graph(X, samples, eps, -1.0)


def test_a_border_sample_goes_to_the_first_cluster_that_reaches_it():
    # Two triples, and between them a sample that both reach.
    X = np.array([[4.0], [4.5], [5.0], [0.0], [0.5], [1.0], [2.5]])
    samples = OrderedSamples(X, X[:, 0])
    for graph in both_graphs(X, samples, 1.5):
        window = Windows([[0, 7]], 7)
        ((roots, is_core),) = cluster_windows(graph, window, samples.order, 4)
        by_sample = dict(zip(samples.order.tolist(), roots.tolist(), strict=True))
        assert by_sample == {0: 0, 1: 0, 2: 0, 6: 0, 3: 5, 4: 5, 5: 5}
        assert samples.order[is_core].tolist() == [5, 0]


def test_compiled_loops_as_python(monkeypatch):
    for name in ("_join_cores", "_name_clusters", "_reach_borders"):
        function = getattr(dbscan_module, name).py_func
        monkeypatch.setattr(dbscan_module, name, function)
    monkeypatch.setattr(graphs_module, "_choose", graphs_module._choose.py_func)
    assert not hasattr(dbscan_module._join_cores, "py_func")
    test_clusters_of_all_windows()
