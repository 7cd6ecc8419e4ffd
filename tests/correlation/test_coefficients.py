"""Each coefficient equals scipy's, or its definition, on every pair of columns."""

from itertools import permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose
from scipy import stats
from sklearn.feature_selection import mutual_info_regression

from robustkit.correlation._coefficients import (
    distance,
    kendall,
    mutual_info,
    n_controls,
    partial,
    pearson,
    spearman,
    xi,
)
from tests.correlation.populations import tables, with_confounder

BY_RANK = (spearman, kendall, xi, partial)
SYMMETRIC = (pearson, spearman, kendall, distance)


def pair_by_pair(function, X, Y):
    """The slow way: a call a pair."""
    return np.array([[function(x, y) for y in Y.T] for x in X.T])


def distance_correlation(x, y):
    """By the definition: products of doubly centred distance matrices."""
    a, b = (np.abs(v[:, None] - v[None, :]) for v in (x, y))
    A, B = (
        d - d.mean(axis=0) - d.mean(axis=1, keepdims=True) + d.mean() for d in (a, b)
    )
    squared = (A * B).mean() / np.sqrt((A * A).mean() * (B * B).mean())
    return np.sqrt(max(squared, 0))


def xi_over_all_orders(x, y):
    """The mean of scipy's coefficient over every order of the models that sorts x."""
    orders = [p for p in permutations(range(len(x))) if (np.diff(x[[*p]]) >= 0).all()]
    places = np.arange(len(x))
    return np.mean([stats.chatterjeexi(places, y[[*p]]).statistic for p in orders])


def partial_by_regression(X, y, j):
    """Ranks, two least-squares fits on the others, and the correlation of the rests."""
    ranks = stats.rankdata(X, axis=0)
    others = np.column_stack([np.ones(len(X)), np.delete(ranks, j, axis=1)])
    rests = [
        v - others @ np.linalg.lstsq(others, v)[0]
        for v in (ranks[:, j], stats.rankdata(y))
    ]
    # Of few models the others may explain all, but for rounding.
    if min(np.linalg.norm(rest) for rest in rests) < 1e-6:
        return np.nan
    return stats.pearsonr(*rests).statistic


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (pearson, lambda x, y: stats.pearsonr(x, y).statistic),
        (spearman, lambda x, y: stats.spearmanr(x, y).statistic),
        (kendall, lambda x, y: stats.kendalltau(x, y).statistic),
        (distance, distance_correlation),
    ],
    ids=["pearson", "spearman", "kendall", "distance"],
)
@given(tables())
def test_equals_scipy_or_the_definition(ours, theirs, table):
    # Where dCor is 0, its square root magnifies the rounding of its square.
    assert_allclose(ours(*table), pair_by_pair(theirs, *table), rtol=1e-9, atol=1e-7)


@given(tables(max_models=6))
@settings(max_examples=15)
def test_xi_is_the_mean_over_all_orders_of_ties(table):
    expected = pair_by_pair(xi_over_all_orders, *table)
    assert_allclose(xi(*table), expected, atol=1e-12)


def test_xi_equals_scipy_without_ties_in_the_property():
    rng = np.random.RandomState(0)
    X, Y = rng.normal(size=(50, 3)), rng.randint(5, size=(50, 2)).astype(float)
    expected = pair_by_pair(lambda x, y: stats.chatterjeexi(x, y).statistic, X, Y)
    assert_allclose(xi(X, Y), expected, atol=1e-12)


def test_mutual_information_is_that_of_scikit_learn():
    rng = np.random.RandomState(0)
    X, Y = rng.normal(size=(40, 3)), rng.normal(size=(40, 2))
    expected = [mutual_info_regression(X, y, random_state=7) for y in Y.T]
    assert_allclose(mutual_info(X, Y), np.transpose(expected), atol=1e-6)


@given(st.integers(0, 2**32 - 1), st.integers(1, 4), st.integers(0, 8))
def test_partial_is_the_correlation_of_the_rests(seed, n_properties, n_spare):
    rng = np.random.RandomState(seed)
    X = rng.normal(size=(n_properties + 2 + n_spare, n_properties))
    y = X.sum(axis=1) + rng.normal(size=len(X))
    expected = [partial_by_regression(X, y, j) for j in range(n_properties)]
    assert_allclose(partial(X, y[:, None])[:, 0], expected, atol=1e-9)


@given(tables(min_models=4))
def test_partial_without_others_is_spearman(table):
    X, Y = table
    assert_allclose(partial(X[:, :1], Y), spearman(X[:, :1], Y), atol=1e-12)


def test_partial_given_one_other_is_the_textbook_formula():
    rng = np.random.RandomState(1)
    X = rng.normal(size=(30, 2)) @ [[1, 0.7], [0, 1]]
    y = X[:, :1] - X[:, 1:] + rng.normal(size=(30, 1))
    xz, xy, zy = spearman(X, X)[0, 1], spearman(X, y)[0, 0], spearman(X, y)[1, 0]
    expected = (xy - xz * zy) / np.sqrt((1 - xz**2) * (1 - zy**2))
    assert_allclose(partial(X, y)[0, 0], expected)


def test_partial_finds_what_is_planted_and_the_plain_one_is_misled():
    X, y = with_confounder(400, np.random.RandomState(0))
    plain, given_others = (f(X, y[:, None])[:, 0] for f in (spearman, partial))
    # Depth seems to matter and does not; width seems not to matter and does.
    assert plain[1] > 0.3 > 0.12 > abs(given_others[1])
    assert abs(plain[2]) < 0.12 < 0.7 < -given_others[2]


def test_partial_of_what_the_others_explain_is_nan():
    rng = np.random.RandomState(0)
    x, z, y = rng.normal(size=(3, 20))
    # The first and the last have the same ranks.
    result = partial(np.column_stack([x, z, np.exp(x)]), y[:, None])
    np.testing.assert_array_equal(np.isnan(result[:, 0]), [True, False, True])
    assert n_controls(np.column_stack([x, z, np.exp(x)])).tolist() == [2, 1, 2]


def test_partial_of_a_measure_that_the_others_explain_is_nan():
    rng = np.random.RandomState(0)
    X = rng.normal(size=(20, 2))
    assert np.isnan(partial(X, np.exp(X[:, 1:]))[0, 0])


def test_partial_of_too_few_models_is_nan():
    X = np.random.RandomState(0).normal(size=(5, 4))
    assert np.isnan(partial(X, X[:, :1] ** 2)).all()


@pytest.mark.parametrize("function", BY_RANK, ids=lambda f: f.__name__)
@given(table=tables(min_models=7))
def test_a_rising_map_of_the_properties_changes_nothing(function, table):
    X, Y = table
    assert_allclose(function(np.exp(X / 3), Y), function(X, Y), atol=1e-9)


@pytest.mark.parametrize("function", [spearman, kendall], ids=lambda f: f.__name__)
@given(table=tables())
def test_a_falling_map_turns_the_sign(function, table):
    X, Y = table
    assert_allclose(function(-(X**3), Y), -function(X, Y), atol=1e-12)


@pytest.mark.parametrize("function", [pearson, distance], ids=lambda f: f.__name__)
@given(tables(), st.floats(1e-150, 1e150), st.integers(-5, 5))
def test_units_change_nothing(function, table, scale, origin):
    X, Y = table
    expected = function(X, Y)
    assert_allclose(function((X + origin) * scale, Y), expected, atol=1e-7)


@pytest.mark.parametrize("function", SYMMETRIC, ids=lambda f: f.__name__)
@given(table=tables())
def test_swapping_properties_and_measures_transposes(function, table):
    X, Y = table
    assert_allclose(function(Y, X), function(X, Y).T, atol=1e-7)


@given(tables())
def test_bounds(table):
    for function in SYMMETRIC:
        assert (np.abs(function(*table)) <= 1 + 1e-9).all()
    assert (distance(*table) >= 0).all()
    # Chatterjee's is at most 1, and above -1/2 up to a term that falls with n.
    assert (xi(*table) <= 1).all()


@given(tables())
def test_a_column_goes_with_itself(table):
    X, _ = table
    for function in SYMMETRIC:
        assert_allclose(np.diag(function(X, X)), 1)


@pytest.mark.parametrize(
    "function", [*SYMMETRIC, xi, partial], ids=lambda f: f.__name__
)
@given(table=tables(min_models=7), seed=st.integers(0, 99))
def test_the_order_of_the_models_is_irrelevant(function, table, seed):
    X, Y = table
    order = np.random.RandomState(seed).permutation(len(X))
    assert_allclose(function(X[order], Y[order]), function(X, Y), atol=1e-7)


@pytest.mark.parametrize("n_values", [2, 10, None], ids="{} values".format)
def test_distance_of_many_models_keeps_its_digits(n_values):
    """Differences of sums over a million pairs: here of what is nearly 0."""
    rng = np.random.RandomState(0)
    x, y = (
        rng.normal(size=(2, 1000))
        if n_values is None
        else rng.randint(n_values, size=(2, 1000))
    )
    expected = distance_correlation(*(v.astype(np.longdouble) for v in (x, y))) ** 2
    assert expected < 0.02
    assert abs(distance(x[:, None], y[:, None])[0, 0] ** 2 - expected) < 1e-12


def test_distance_and_xi_see_what_rho_does_not():
    x = np.arange(-50.0, 51)[:, None]
    assert abs(spearman(x, x**2)[0, 0]) < 1e-12
    assert distance(x, x**2)[0, 0] > 0.4
    assert xi(x, x**2)[0, 0] > 0.9
    # It is y that is a function of x, not x of y.
    assert xi(x**2, x)[0, 0] < 0.5
