"""P-values equal scipy's; corrections and intervals keep what they promise."""

from itertools import permutations
from math import factorial

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.testing import assert_allclose, assert_array_equal
from scipy import stats

from robustkit.correlation._association import METHODS
from robustkit.correlation._coefficients import distance, spearman, xi
from robustkit.correlation._partial import partial, partial_p_values
from robustkit.correlation._significance import (
    correct,
    count_exceeding,
    spearman_p_values,
    xi_p_values,
)
from tests.correlation.populations import tables

p_values = arrays(
    float,
    st.integers(1, 8),
    elements=st.one_of(st.floats(0, 1), st.sampled_from([np.nan, 0.01, 0.5])),
)


def assert_p_values_are(name, function, X, Y):
    found = METHODS[name].test(X, Y, METHODS[name].coefficients(X, Y))
    expected = [[function(x, y).pvalue for y in Y.T] for x in X.T]
    # Near |r| = 1 the last digit of r decides on t.
    assert_allclose(found, expected, rtol=1e-6, atol=1e-6)


@given(tables())
def test_p_values_equal_scipy(table):
    assert_p_values_are("pearson", stats.pearsonr, *table)
    assert_p_values_are("kendall", stats.kendalltau, *table)


@given(tables(min_models=10))
def test_p_values_of_spearman_equal_scipy_for_ten_models_or_more(table):
    assert_p_values_are("spearman", stats.spearmanr, *table)


def share_of_orders(x, y):
    """The definition: how many orders of y agree with x as well, up or down."""

    def agreement(order):
        return abs(np.corrcoef(x, order)[0, 1])

    least = agreement(y) - 1e-9
    return np.mean([agreement(order) >= least for order in permutations(y)])


@given(tables(max_models=6, max_columns=2))
def test_p_values_of_spearman_are_shares_of_all_orders(table):
    xs, ys = (stats.rankdata(Z, axis=0).T for Z in table)
    expected = [[share_of_orders(x, y) for y in ys] for x in xs]
    assert_allclose(spearman_p_values(*table, spearman(*table)), expected)


@given(tables(max_models=8, max_columns=1))
def test_p_values_of_spearman_are_those_of_a_permutation_test_of_scipy(table):
    x, y = (stats.rankdata(Z[:, 0]) for Z in table)
    expected = stats.permutation_test(
        (y,),
        # Its own "two-sided" doubles the smaller tail; ties can make the tails differ.
        lambda orders, axis: np.abs(orders @ (x - x.mean())),
        permutation_type="pairings",
        vectorized=True,
        n_resamples=np.inf,
        alternative="greater",
    ).pvalue
    assert_allclose(spearman_p_values(*table, spearman(*table)), expected)


@pytest.mark.parametrize("n", range(3, 10))
def test_only_one_order_and_its_reverse_are_perfect(n):
    x = np.arange(n)[:, None]
    Y = np.exp(np.hstack([x, -x]))
    found = spearman_p_values(x, Y, spearman(x, Y))
    assert_array_equal(found, 2 / factorial(n))


def test_p_values_of_xi_equal_scipy_without_ties_in_the_property():
    rng = np.random.RandomState(0)
    X, Y = rng.normal(size=(50, 3)), rng.randint(5, size=(50, 2)).astype(float)
    expected = [[stats.chatterjeexi(x, y).pvalue for y in Y.T] for x in X.T]
    assert_allclose(xi_p_values(X, Y, xi(X, Y)), expected, rtol=1e-9)


def test_p_value_of_partial_is_that_of_least_squares():
    """For one property the t-test of its slope in a regression on all of them."""
    rng = np.random.RandomState(0)
    X, y = rng.normal(size=(40, 3)), rng.normal(size=(40, 1))
    ranks = stats.rankdata(X, axis=0)
    design = np.column_stack([np.ones(40), ranks])
    target = stats.rankdata(y)
    slopes, (error,), *_ = np.linalg.lstsq(design, target)
    spread = np.sqrt(np.diag(np.linalg.inv(design.T @ design)) * error / 36)
    expected = 2 * stats.t(36).sf(np.abs(slopes / spread))[1:]
    found = partial_p_values(X, y, partial(X, y))[:, 0]
    assert_allclose(found, expected, rtol=1e-6)


def test_shuffles_agree_with_all_permutations():
    rng = np.random.RandomState(3)
    x, y = rng.normal(size=(2, 6, 1))
    y += 0.7 * x
    exact = stats.permutation_test(
        (y[:, 0],),
        lambda shuffled: distance(x, shuffled[:, None])[0, 0],
        permutation_type="pairings",
        alternative="greater",
    ).pvalue
    n = 4000
    (count,) = count_exceeding(distance, x, y, distance(x, y), n, seed=0)[0]
    low, high = stats.binom(n, exact).interval(0.999)
    assert low <= count <= high


def test_a_shuffle_that_ties_with_the_truth_counts():
    x = np.array([[0.0], [0.0], [1.0]])
    y = np.array([[0.1], [0.2], [0.3]])
    # One shuffle in three leaves the largest in its place, and one puts the smallest.
    n = 3000
    (count,) = count_exceeding(spearman, x, y, spearman(x, y), n, seed=0)[0]
    low, high = stats.binom(n, 1 / 3).interval(0.999)
    assert low <= count <= high


def rejected_by_holm(p, alpha):
    """The procedure in the words of its author."""
    rejected = np.zeros(len(p), dtype=bool)
    for step, index in enumerate(np.argsort(p, kind="stable")):
        if not p[index] <= alpha / (len(p) - step):
            break
        rejected[index] = True
    return rejected


@given(arrays(float, st.integers(1, 8), elements=st.floats(0, 1)))
def test_holm_rejects_what_the_procedure_rejects(p):
    adjusted = correct(p, "holm")
    for alpha in (0.01, 0.05, 0.2, 0.7):
        # Rounding may decide where a p-value lies exactly on its bound.
        clear = np.abs(adjusted - alpha) > 1e-12
        rejected = rejected_by_holm(p, alpha)
        assert_array_equal((adjusted <= alpha)[clear], rejected[clear])


@given(p_values)
def test_benjamini_hochberg_is_that_of_scipy(p):
    tested = ~np.isnan(p)
    adjusted = correct(p, "benjamini-hochberg")
    if tested.any():
        assert_allclose(adjusted[tested], stats.false_discovery_control(p[tested]))
    assert np.isnan(adjusted[~tested]).all()


@pytest.mark.parametrize("correction", ["holm", "benjamini-hochberg", None])
@given(p=p_values)
def test_adjusted_is_never_below_raw_and_keeps_the_order(correction, p):
    adjusted = correct(p, correction)
    tested = ~np.isnan(p)
    assert_array_equal(np.isnan(adjusted), ~tested)
    p, adjusted = p[tested], adjusted[tested]
    assert (adjusted >= p - 1e-15).all()
    assert (adjusted <= 1).all()
    assert (np.diff(adjusted[np.argsort(p)]) >= -1e-15).all()


def test_no_test_counts_for_nothing():
    p = np.array([[0.01, np.nan], [0.04, np.nan]])
    assert_allclose(correct(p, "holm")[:, 0], [0.02, 0.04])


@pytest.mark.parametrize("n_models", range(4, 12))
def test_with_few_models_beside_the_controls_ranks_are_not_tested(n_models):
    rng = np.random.RandomState(0)
    X, Y = rng.normal(size=(n_models, 2)), rng.normal(size=(n_models, 3))
    found = METHODS["partial"].test(X, Y, partial(X, Y))
    # One property is held fixed.
    assert np.isnan(found).all() == (n_models - 3 < 5)
    assert np.isnan(found).any() == np.isnan(found).all()


def test_with_the_fewest_models_that_are_tested_the_level_is_kept():
    rng = np.random.RandomState(0)
    draws = (rng.normal(size=(2, 8, 20)) for _ in range(100))
    found = [partial_p_values(X[:, :2], Y, partial(X[:, :2], Y)) for X, Y in draws]
    # Of 4,000 p-values, in groups of 40, some 5 % and hardly any below .0001.
    assert 0.03 < np.mean(np.array(found) < 0.05) < 0.07
    assert np.mean(np.array(found) < 1e-4) < 0.005
