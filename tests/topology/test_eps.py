"""The distance that the data choose."""

import numpy as np
import pytest
from hypothesis import given
from scipy.spatial.distance import pdist, squareform

from robustkit.topology import MapperGraph
from robustkit.topology._eps import knee, neighbor_distances
from tests.topology.strategies import point_clouds


@given(point_clouds())
def test_distances_to_the_nth_other_sample(X):
    distances = np.sort(squareform(pdist(X.astype(float))), axis=1)
    for n in (1, 3):
        expected = distances[:, min(n, len(X) - 1)]
        scale = 1e-6 * (1 + np.abs(X).max())
        np.testing.assert_allclose(neighbor_distances(X, n), expected, atol=scale)


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
