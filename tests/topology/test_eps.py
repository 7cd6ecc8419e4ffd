"""The distance that the data choose."""

import numpy as np
import pytest
from hypothesis import given
from scipy.spatial.distance import pdist, squareform

from robustkit.topology import MapperGraph
from robustkit.topology import _eps as eps_module
from robustkit.topology._eps import (
    fast_neighbor_distances,
    knee,
    neighbor_distances,
    typical_distance,
)
from tests.topology.strategies import point_clouds


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
    found = fast_neighbor_distances(
        X, values.astype(float), filter == "l2norm", n_neighbors
    )
    expected = np.sort(squareform(pdist(X.astype(float))), axis=1)[:, n_neighbors]
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-4)


def test_the_fast_way_with_too_many_pairs_or_few_samples(monkeypatch):
    X = np.random.RandomState(0).normal(size=(100, 3))
    expected = neighbor_distances(X, 4)
    monkeypatch.setattr(eps_module, "LARGEST_N_PAIRS", 3)
    found = fast_neighbor_distances(X, X[:, 0], True, 4)
    np.testing.assert_allclose(found, expected)
    few = fast_neighbor_distances(X[:3], X[:3, 0], True, 4)
    np.testing.assert_allclose(few, neighbor_distances(X[:3], 4))


def test_large_data_take_the_fast_way_to_the_same_eps(monkeypatch):
    X = np.random.RandomState(0).normal(size=(300, 3))
    slow = MapperGraph(n_intervals=3).fit(X).eps_
    monkeypatch.setattr(eps_module, "_LARGE", 10)
    assert MapperGraph(n_intervals=3).fit(X).eps_ == pytest.approx(slow, rel=1e-12)


def test_compiled_loops_as_python(monkeypatch):
    X = np.random.RandomState(0).normal(size=(30, 2))
    expected = fast_neighbor_distances(X, X[:, 0], True, 3)
    for name in ("_keep_smallest", "_insert"):
        monkeypatch.setattr(eps_module, name, getattr(eps_module, name).py_func)
    np.testing.assert_array_equal(
        fast_neighbor_distances(X, X[:, 0], True, 3), expected
    )


def test_typical_distance():
    X = np.arange(5000.0)[:, None]
    assert typical_distance(X, 4) == 2
    assert typical_distance(X[:3], 9) == 2


def test_knee_by_hand():
    # Below the line from (0, 1) to (4, 9) by 0, 2, 4, 4.5 and 0.
    assert knee(np.array([9.0, 1.0, 1.0, 1.0, 2.5])) == 2.5


def test_knee_is_never_zero():
    assert knee(np.zeros(5)) > 0


def test_auto_is_the_knee_of_all_samples():
    X = np.random.RandomState(0).normal(size=(200, 3))
    mapper = MapperGraph(n_intervals=3, min_samples=4).fit(X)
    assert mapper.eps_ == knee(neighbor_distances(X, 4))
    assert MapperGraph(eps=0.75, n_intervals=2).fit(X).eps_ == 0.75


def test_eps_must_be_positive():
    with pytest.raises(ValueError, match="The 'eps' parameter of MapperGraph must be"):
        MapperGraph(eps=0.0).fit([[0.0], [1.0]])
