"""The distance at which a shape is connected, and how far the filter steps there."""

import tracemalloc

import networkx as nx
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.distance import cdist
from sklearn.neighbors import NearestNeighbors

from robustkit.topology.neighbors import (
    connection_distance,
    is_too_coarse,
    longest_steps,
)
from robustkit.topology.neighbors._connection import _N_KEPT
from robustkit.topology.neighbors._distance import fast_nearest
from tests.topology.strategies import point_clouds, seeds


def longest_step(X, values, radius, metric="euclidean"):
    return longest_steps(X, [values], [radius], metric)[0, 0]


def reference(X, min_samples):
    """Add vertices and edges in order, and see which groups have become one."""
    n_neighbors = min(3 * min_samples, len(X) - 1)
    search = NearestNeighbors(n_neighbors=n_neighbors, algorithm="brute")
    distances, nearest = search.fit(X).kneighbors()
    cores = distances[:, min(min_samples, n_neighbors) - 1]
    edges = [
        (max(cores[i], cores[j], d), i, j)
        for i in range(len(X))
        for d, j in zip(distances[i], nearest[i], strict=True)
    ]
    last, before = 0.0, []
    for t in sorted({*cores, *(weight for weight, *_ in edges)}):
        graph = nx.Graph()
        graph.add_nodes_from(np.flatnonzero(cores <= t))
        graph.add_edges_from((i, j) for weight, i, j in edges if weight <= t)
        now = list(nx.connected_components(graph))
        if any(sum(old <= group for old in before) > 1 for group in now):
            last = t
        before = now
    return max(last, np.median(cores))


@given(seeds, st.integers(2, 40), st.integers(1, 3), st.integers(1, 4))
def test_the_connection_against_groups_counted_at_every_distance(seed, n, d, k):
    X = np.random.RandomState(seed).normal(size=(n, d))
    found = connection_distance(X, X[:, 0], True, k)
    np.testing.assert_allclose(found, reference(X, k), rtol=1e-9)


def test_the_connection_of_a_line_with_a_gap_is_the_gap():
    """Steps of 1, and a gap of 3, which is crossed; one sample far away is not."""
    line = np.concatenate([np.arange(40.0), 42.0 + np.arange(40.0), [1000.0]])
    X = np.column_stack([line, np.zeros(81)])
    assert connection_distance(X, line, True, 2) == 3.0
    # Groups of more samples than the graph has neighbours are pieces of their own.
    pieces = np.column_stack([np.append(line[:80], 500 + np.arange(40.0)),
                              np.zeros(120)])  # fmt: skip
    assert connection_distance(pieces, pieces[:, 0], True, 2) == 3.0


def test_twins_alone_are_connected_at_no_distance():
    X = np.repeat([[0.0, 0.0], [5.0, 5.0]], 40, axis=0)
    assert connection_distance(X, X[:, 0], True, 5) == 0.0
    assert connection_distance(X[:1], X[:1, 0], True, 5) == 0.0


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("is_lipschitz", [True, False])
def test_fast_neighbours_are_the_nearest(dtype, is_lipschitz):
    rng = np.random.RandomState(0)
    X = np.concatenate([rng.normal(size=(600, 9)), 9 * rng.normal(size=(60, 9))])
    # Twins, whose nearest is not their own number.
    X = np.concatenate([X, X[:40]]).astype(dtype)
    values = np.linalg.norm(X, axis=1).astype(np.float64)
    distances, nearest = fast_nearest(X, values, is_lipschitz, 12)
    exact = cdist(X.astype(np.float64), X.astype(np.float64))
    np.fill_diagonal(exact, np.inf)
    np.testing.assert_allclose(distances, np.sort(exact, axis=1)[:, :12], atol=1e-6)
    assert (nearest != np.arange(len(X))[:, None]).all()
    np.testing.assert_allclose(
        np.take_along_axis(exact, nearest, axis=1), distances, atol=1e-6
    )


def test_both_searches_give_one_connection(monkeypatch):
    X = np.random.RandomState(0).normal(size=(700, 9))
    values = np.linalg.norm(X, axis=1)
    slow = connection_distance(X, values, True, 3)
    monkeypatch.setattr("robustkit.topology.neighbors._connection._LARGE", 1)
    np.testing.assert_allclose(connection_distance(X, values, True, 3), slow)


@given(point_clouds(), st.sampled_from([0.5, 1.0, 2.0, 8.0]))
def test_the_longest_step_against_all_pairs(X, radius):
    values = np.linalg.norm(X.astype(float), axis=1) ** 2
    distances = cdist(X.astype(float), X.astype(float))
    steps = np.abs(values[:, None] - values)
    # Radii at which rounding decides are no matter.
    if (np.abs(distances - radius) < 1e-6 * (1 + np.abs(X).max())).any():
        assert longest_step(X, values, radius) >= 0
        return
    expected = steps[distances <= radius].max()
    np.testing.assert_allclose(longest_step(X, values, radius), expected)


def test_longest_steps_of_several_filters_and_radii_are_those_of_each():
    X = np.random.RandomState(0).normal(size=(100, 3))
    columns, radii = [X[:, 0], X[:, 1] ** 2], [0.3, 0.7, 5.0]
    expected = [[longest_step(X, c, r) for c in columns] for r in radii]
    np.testing.assert_array_equal(longest_steps(X, columns, radii), expected)
    assert (np.diff(expected, axis=0) > 0).all()


@pytest.mark.parametrize("metric", ["manhattan", "chebyshev"])
def test_the_longest_step_of_other_metrics(metric):
    X = np.random.RandomState(0).normal(size=(120, 3))
    names = {"manhattan": "cityblock"}
    near = cdist(X, X, names.get(metric, metric)) <= 1.0
    expected = np.abs(X[:, :1] - X[:, 0])[near].max()
    assert longest_step(X, X[:, 0], 1.0, metric) == expected


def test_many_samples_are_compared_as_far_as_time_allows(monkeypatch):
    X = np.random.RandomState(0).uniform(size=(3000, 2))
    full = longest_step(X, X[:, 0], 0.05)
    monkeypatch.setattr("robustkit.topology.neighbors._connection._MOST_MEASURED", 1)
    some = longest_step(X, X[:, 0], 0.05)
    assert 0.9 * full <= some <= full


@pytest.mark.slow
def test_large_data_are_not_copied():
    X = np.random.RandomState(0).normal(size=(40_000, 250)).astype(np.float32)
    for measure in (
        lambda: is_too_coarse(X, X[:, 0], 1, 1e9),
        lambda: longest_step(X, X[:, 0], 1.0),
    ):
        tracemalloc.start()
        try:
            measure()
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
        # In float64 they are 80 MB; some distances and some samples are kept.
        assert peak < 5.5 * 8 * _N_KEPT


@given(seeds, st.integers(1, 6), st.floats(0.01, 3))
def test_what_is_too_coarse_has_a_longer_step(seed, min_samples, limit):
    X = np.random.RandomState(seed).normal(size=(60, 2))
    if is_too_coarse(X, X[:, 0], min_samples, limit):
        radius = connection_distance(X, X[:, 0], True, min_samples)
        assert longest_step(X, X[:, 0], radius) > limit
