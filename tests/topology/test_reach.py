"""As many pairs as can be kept, all of those within some distance."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from robustkit.topology import _reach as reach_module
from robustkit.topology._ordered_samples import OrderedSamples
from robustkit.topology._pairs import find_pairs
from robustkit.topology._reach import find_within_reach
from tests.topology.strategies import point_clouds


@pytest.mark.parametrize(("n_counted", "stride"), [(20, 2), (10**6, 1)])
@given(point_clouds(), st.integers(0, 4000), st.sampled_from([1.0, 4.0]))
def test_all_pairs_within_reach_and_no_others(n_counted, stride, X, most, look_ahead):
    samples, ends = OrderedSamples(X, X[:, 0].astype(float)), np.full(len(X), len(X))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reach_module, "_N_COUNTED", n_counted)
        patch.setattr(reach_module, "_STRIDE", stride)
        reach, pairs = find_within_reach(samples, 2.0, 2.0 * look_ahead, ends, most)
    assert len(pairs.indices) <= most
    assert len(pairs.rows) == len(X)
    assert reach <= 2.0 * look_ahead
    if reach < 0:
        assert len(pairs.indices) == 0
        return
    expected = find_pairs(samples, reach, ends)
    np.testing.assert_array_equal(pairs.indices, expected.indices)
    if stride == 1 and reach < 2.0 * look_ahead:
        # Where all pairs are counted, nothing is given up without need.
        assert len(find_pairs(samples, 2.0 * look_ahead, ends).indices) > 0.5 * most


@pytest.mark.parametrize("ahead", [0.5, 0.8])
def test_part_of_the_room_is_used_for_what_lies_beyond(ahead, monkeypatch):
    X = np.random.RandomState(0).normal(size=(1000, 3))
    samples, ends = OrderedSamples(X, X[:, 0]), np.full(1000, 1000)
    monkeypatch.setattr(reach_module, "_SHARE_AHEAD", ahead)
    reach, pairs = find_within_reach(samples, 0.1, 9.0, ends, 50_000)
    assert 0.9 * ahead * 50_000 < len(pairs.indices) < 1.1 * ahead * 50_000
    assert 0.1 < reach < 9.0


@pytest.mark.parametrize("room", [1.02, 1.5])
def test_the_distance_that_matters_is_kept_where_there_is_room(room, monkeypatch):
    X = np.random.RandomState(0).normal(size=(1000, 3))
    samples, ends = OrderedSamples(X, X[:, 0]), np.full(1000, 1000)
    n_pairs = len(find_pairs(samples, 1.0, ends).indices)
    # Every pair is counted: no estimate is wrong by chance.
    monkeypatch.setattr(reach_module, "_STRIDE", 1)
    reach, _ = find_within_reach(samples, 1.0, 4.0, ends, int(room * n_pairs))
    assert reach == pytest.approx(1.0, abs=1e-3)
    assert reach >= 1.0


def test_where_there_is_no_room_nearly_all_of_it_is_used():
    X = np.random.RandomState(0).normal(size=(1000, 3))
    samples, ends = OrderedSamples(X, X[:, 0]), np.full(1000, 1000)
    reach, pairs = find_within_reach(samples, 9.0, 9.0, ends, 50_000)
    assert 40_000 < len(pairs.indices) <= 50_000
    assert reach < 9.0


def test_nothing_is_kept_of_too_many_twins():
    samples, ends = OrderedSamples(np.ones((50, 2)), np.ones(50)), np.full(50, 50)
    reach, pairs = find_within_reach(samples, 1.0, 1.0, ends, 100)
    assert reach < 0
    assert len(pairs.indices) == 0


def test_rounding_reaches_no_farther_than_asked(monkeypatch):
    """Without distances, pairs farther than `eps` could not be told apart later."""
    X = np.round(2 * np.random.RandomState(4).normal(size=(70, 4)))
    samples, ends = OrderedSamples(X, X[:, 0]), np.full(70, 70)
    monkeypatch.setattr(reach_module, "_STRIDE", 1)
    for eps in (1.0, 2.0, 3.0**0.5):
        assert find_within_reach(samples, eps, eps, ends, 50)[0] <= eps
