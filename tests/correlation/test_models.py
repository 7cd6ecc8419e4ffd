"""Outliers, repeats and missing values, against their plain definitions."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.testing import assert_allclose, assert_array_equal

from robustkit.correlation._models import (
    blocks,
    drop_outside,
    fences,
    mean_of_groups,
)

values = arrays(
    float,
    st.tuples(st.integers(1, 9), st.integers(1, 3)),
    elements=st.sampled_from([np.nan, 0.0, 0.1, 0.3, 1.0, 50.0]),
)
groups_of = st.lists(st.integers(0, 3), min_size=9, max_size=9)


def numbered(groups, n):
    return np.unique(groups[:n], return_inverse=True)[1]


@given(values)
def test_fences_are_those_of_a_box_plot(Y):
    for column, bounds in zip(Y.T, fences(Y), strict=True):
        known = column[~np.isnan(column)]
        if len(known) == 0:
            assert np.isnan(bounds).all()
            continue
        low, high = np.percentile(known, [25, 75])
        reach = 1.5 * (high - low)
        assert_allclose(bounds, [low - reach, high + reach])


@given(values)
def test_what_lies_outside_is_dropped_and_nothing_else(Y):
    bounds = fences(Y)
    kept = drop_outside(Y, bounds)
    for before, after, (low, high) in zip(Y.T, kept.T, bounds, strict=True):
        inside = (low <= before) & (before <= high)
        assert_array_equal(after, np.where(inside, before, np.nan))


@given(values, groups_of)
def test_mean_of_groups_is_the_mean_of_what_is_known(X, groups):
    groups = numbered(groups, len(X))
    means = mean_of_groups(X, groups)
    for group, row in enumerate(means):
        for column, mean in zip(X[groups == group].T, row, strict=True):
            known = column[~np.isnan(column)]
            assert_allclose(mean, known.mean() if len(known) else np.nan)


@given(st.floats(-1e6, 1e6), st.lists(st.integers(1, 9), min_size=1))
def test_the_mean_of_equal_values_is_that_value_in_groups_of_any_size(value, sizes):
    groups = np.repeat(np.arange(len(sizes)), sizes)
    means = mean_of_groups(np.full((len(groups), 1), value), groups)
    assert_array_equal(means[:, 0], value)


@given(values, st.data())
def test_a_pair_has_the_models_that_have_both(X, data):
    shape = (len(X), data.draw(st.integers(1, 3)))
    Y = data.draw(arrays(float, shape, elements=st.sampled_from([np.nan, 1.0, 2.0])))
    groups = np.arange(len(X))
    seen = set()
    for block in blocks(X, Y, groups):
        for k, p in enumerate(block.properties):
            for j, m in enumerate(block.measures):
                both = ~np.isnan(X[:, p]) & ~np.isnan(Y[:, m])
                assert_array_equal(block.X[:, k], X[both, p])
                assert_array_equal(block.Y[:, j], Y[both, m])
                assert_array_equal(block.groups, groups[both])
                seen.add((p, m))
    assert len(seen) == X.shape[1] * Y.shape[1]


@given(values)
def test_listwise_a_model_has_all_properties_that_any_has(X):
    Y = np.ones((len(X), 1))
    (block,) = blocks(X, Y, np.arange(len(X)), listwise=True)
    known = ~np.isnan(X).all(axis=0)
    complete = ~np.isnan(X[:, known]).any(axis=1)
    assert_array_equal(block.properties, np.flatnonzero(known))
    assert_array_equal(block.X, X[complete][:, known])
    assert_array_equal(block.groups, np.flatnonzero(complete))
