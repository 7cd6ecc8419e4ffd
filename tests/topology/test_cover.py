"""Every value is covered, by intervals as long, or as full, as they should be."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.base import clone

from robustkit.topology import BalancedCover, MapperGraph, UniformCover
from robustkit.topology._cover import _balanced_windows, interval_slices
from tests.topology.strategies import covers, filter_values, overlaps


def how_often(values, intervals):
    """In how many intervals each value lies."""
    low, high = intervals.T
    return ((low <= values[:, None]) & (values[:, None] <= high)).sum(axis=1)


@given(filter_values(), covers(max_intervals=100))
def test_every_value_is_covered(values, cover):
    assert (how_often(values, cover.intervals(values)) >= 1).all()


@given(filter_values(), st.integers(1, 50), overlaps, st.booleans())
def test_no_value_lies_in_more_intervals_than_the_overlap_allows(
    values, n_intervals, overlap, kepler
):
    cover = UniformCover(n_intervals, overlap, "kepler" if kepler else "range")
    # Intervals that hold a point start within one length, a step of (1 - p) apart;
    # closed ends may add one.
    most = np.floor(1 / (1 - overlap)) + 1
    assert (how_often(values, cover.intervals(values)) <= most).all()


@pytest.mark.parametrize("convention", ["range", "kepler"])
@given(st.integers(2, 60), overlaps)
def test_uniform_intervals_have_one_length_and_overlap_by_p(
    convention, n_intervals, overlap
):
    low, high = (
        UniformCover(n_intervals, overlap, convention).intervals([3.0, 5.0, 11.0]).T
    )
    spread, n, p = 8.0, n_intervals, overlap
    length = {"range": spread / (n - (n - 1) * p), "kepler": spread / (n * (1 - p))}
    np.testing.assert_allclose(high - low, length[convention])
    np.testing.assert_allclose(high[:-1] - low[1:], p * length[convention], atol=1e-9)
    if convention == "range":
        assert (low[0], high[-1]) == (3.0, 11.0)
    else:
        # As much sticks out at both ends.
        np.testing.assert_allclose(3.0 - low[0], high[-1] - 11.0, atol=1e-9)


@given(st.integers(1, 200), st.integers(1, 60), overlaps)
def test_balanced_windows_hold_equally_many_up_to_one(n_samples, n_intervals, overlap):
    first, last = _balanced_windows(n_samples, n_intervals, overlap)
    counts = last - first + 1
    assert counts.max() - counts.min() <= 1
    assert (first[0], last[-1]) == (0, n_samples - 1)
    # Neighbours share at least one sample, and no window goes back.
    assert (first[1:] <= last[:-1]).all()
    assert (np.diff(first) >= 0).all()
    assert (np.diff(last) >= 0).all()


@given(st.integers(1, 200), st.integers(1, 60), overlaps)
def test_balanced_intervals_hold_the_windows_of_distinct_values(n, n_intervals, p):
    values = np.random.RandomState(n).permutation(n).astype(float)
    slices = interval_slices(
        np.sort(values), BalancedCover(n_intervals, p).intervals(values)
    )
    counts = slices[:, 1] - slices[:, 0]
    assert counts.max() - counts.min() <= 1


@given(filter_values(), st.integers(1, 60), overlaps)
def test_balanced_intervals_add_to_a_window_only_what_is_tied_with_its_ends(
    values, n_intervals, overlap
):
    ordered = np.sort(values)
    windows = np.transpose(_balanced_windows(len(values), n_intervals, overlap))
    intervals = BalancedCover(n_intervals, overlap).intervals(values)
    expected = {(ordered[first], ordered[last]) for first, last in windows}
    assert {tuple(interval) for interval in intervals} == expected


@pytest.mark.parametrize(
    "cover", [UniformCover(5, 0.4), UniformCover(5, 0.4, "kepler"), BalancedCover(5)]
)
def test_a_constant_filter_has_one_interval(cover):
    np.testing.assert_array_equal(cover.intervals([2.0, 2.0, 2.0]), [[2.0, 2.0]])


def test_one_interval_is_the_range():
    for cover in (UniformCover(1), BalancedCover(1)):
        np.testing.assert_array_equal(cover.intervals([4.0, 1.0, 2.0]), [[1.0, 4.0]])


def test_kepler_by_hand():
    # KeplerMapper 2.1: Cover(2, 0.5) of [0, 4] has the centres 1 and 3, radius 2.
    intervals = UniformCover(2, 0.5, "kepler").intervals([0.0, 4.0])
    np.testing.assert_allclose(intervals, [[-1.0, 3.0], [1.0, 5.0]])


@given(filter_values(), covers())
def test_slices_hold_the_values_of_the_intervals(values, cover):
    values = np.sort(values)
    intervals = cover.intervals(values)
    for (start, stop), (low, high) in zip(
        interval_slices(values, intervals), intervals, strict=True
    ):
        inside = np.flatnonzero((low <= values) & (values <= high))
        np.testing.assert_array_equal(np.arange(start, stop), inside)


@pytest.mark.parametrize("cover", [UniformCover, BalancedCover])
@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"n_intervals": 0}, "'n_intervals' parameter of .* in the range"),
        ({"overlap": 0.0}, "'overlap' parameter of .*Got 0.0 instead"),
        ({"overlap": 1.0}, "'overlap' parameter of .*Got 1.0 instead"),
    ],
)
def test_bad_parameters_are_named(cover, params, message):
    with pytest.raises(ValueError, match=message):
        cover(**params)
    with pytest.raises(ValueError, match=message):
        MapperGraph(**params).fit([[0.0], [1.0]])


def test_bad_convention_is_named():
    with pytest.raises(ValueError, match="'convention' parameter of Unif"):
        UniformCover(convention="giotto")


@pytest.mark.parametrize("cover", [UniformCover(3), BalancedCover(3)])
def test_the_largest_range_does_not_overflow(cover):
    intervals = cover.intervals([-1.7e308, 1.7e308])
    assert np.isfinite(intervals).all()
    assert (intervals[0, 0], intervals[-1, 1]) == (-1.7e308, 1.7e308)


def test_values_must_be_finite_numbers():
    with pytest.raises(ValueError, match="values contains NaN"):
        UniformCover().intervals([0.0, np.nan])


def test_a_cover_survives_clone():
    mapper = MapperGraph(cover=BalancedCover(7, 0.2))
    assert clone(mapper).cover == mapper.cover
