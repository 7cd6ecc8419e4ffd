"""Known rows are found, and only they; new ones go to the nearest anchor."""

import numpy as np
import pytest
from hypothesis import given
from scipy.spatial.distance import cdist

from robustkit.topology import _placement as placement
from robustkit.topology._placement import find_known_rows, nearest_nodes
from tests.topology.strategies import point_clouds


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
    monkeypatch.setattr(placement, "_hash_rows", lambda X: np.zeros(len(X), np.uint64))
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
    found = nearest_nodes(X, anchors, labels, 0.3)
    assert {-1, 0} < set(found.tolist())
    np.testing.assert_array_equal(found, expected)
