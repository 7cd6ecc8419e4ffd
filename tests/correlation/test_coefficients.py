"""Each coefficient equals scipy's, or its definition, on every pair of columns."""

from itertools import permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose
from scipy import stats
from scipy.stats import rankdata
from sklearn.feature_selection import mutual_info_regression

from robustkit.correlation import _coefficients as coefficients_module
from robustkit.correlation._coefficients import (
    _count_bits,
    _insert,
    agreements,
    distance,
    distances,
    kendall,
    mutual_info,
    pearson,
    spearman,
    xi,
)
from robustkit.correlation._partial import partial
from tests.correlation.populations import tables

BY_RANK = (spearman, kendall, xi, partial)
SYMMETRIC = (pearson, spearman, kendall, distance)


def pair_by_pair(function, X, Y):
    """The slow way: one call per pair."""
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
def test_coefficients_equal_scipy_or_the_definition(ours, theirs, table):
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
def test_coefficients_stay_within_their_bounds(table):
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


def agreements_by_pairs(x, y):
    signs_x, signs_y = (np.sign(z[:, None] - z) for z in (x, y))
    return (signs_x * signs_y).sum() // 2


@given(
    st.integers(2, 17) | st.sampled_from([63, 64, 65, 129]),
    st.sampled_from([1, 2, 5, 1000]),
    st.integers(0, 2**32 - 1),
)
def test_agreements_count_every_pair_of_rows(n_rows, n_values, seed):
    """With few values there are ties in one column, in both, and nothing else."""
    rng = np.random.RandomState(seed)
    ranks = rng.randint(n_values, size=(2, n_rows, 2))
    X, Y = (rankdata(Z, "dense", axis=0) - 1 for Z in ranks)
    counts, untied_x, untied_y = agreements(X, Y)
    assert counts.tolist() == [[agreements_by_pairs(x, y) for y in Y.T] for x in X.T]
    for untied, Z in ((untied_x, X), (untied_y, Y)):
        assert untied.tolist() == [agreements_by_pairs(z, z) for z in Z.T]


@given(st.integers(0, 2**64 - 1))
def test_count_bits_equals_bit_count(word):
    for count_bits in (_count_bits, _count_bits.py_func):
        with np.errstate(over="ignore"):
            assert count_bits(np.uint64(word)) == word.bit_count()


def test_agreements_of_equal_and_reversed_orders():
    x = np.arange(50)[:, None]
    n_pairs = 50 * 49 // 2
    assert agreements(x, x)[0] == n_pairs
    assert agreements(x, x[::-1])[0] == -n_pairs


def test_compiled_agreements_equal_python(monkeypatch):
    for name in ("_agreements", "_sort_ties", "_count_swaps"):
        function = getattr(coefficients_module, name).py_func
        monkeypatch.setattr(coefficients_module, name, function)
    assert not hasattr(coefficients_module._agreements, "py_func")
    test_agreements_count_every_pair_of_rows()


COMPILED = ("_mean_distances", "_weighted_distances", "_weighted_sum", "_insert")


def distances_by_pairs(X, Y):
    a, b = (np.abs(Z[:, None] - Z) for Z in (X, Y))
    products = np.einsum("ijk,ijl->kl", a, b) / len(X) ** 2
    return products, a.mean(axis=0), b.mean(axis=0)


def check_distances(X, Y):
    X, Y = X - X.mean(axis=0), Y - Y.mean(axis=0)
    x, y = (np.abs(Z).max(axis=0) for Z in (X, Y))
    sizes = (np.multiply.outer(x, y), x, y)
    for found, expected, size in zip(
        distances(X, Y), distances_by_pairs(X, Y), sizes, strict=True
    ):
        assert (np.abs(found - expected) <= 1e-13 * size).all()


@given(tables(min_models=2))
def test_distances_average_over_every_pair_of_rows(table):
    check_distances(*table)


@given(
    st.integers(1, 17) | st.sampled_from([31, 32, 33, 127, 128, 129]),
    st.sampled_from([2, 5, 1000]),
    st.integers(0, 2**32 - 1),
)
def test_distances_with_few_and_with_many_ties(n_rows, n_values, seed):
    """Every number of leaves that the tree may lack, and ties in one or in both."""
    rng = np.random.RandomState(seed)
    check_distances(
        rng.randint(n_values, size=(n_rows, 2)), rng.randint(n_values, size=(n_rows, 3))
    )


@pytest.mark.parametrize("n_rows", [2, 3, 700])
@pytest.mark.parametrize(
    "draw",
    [
        lambda rng, size: rng.standard_cauchy(size),
        lambda rng, size: np.exp(8 * rng.normal(size=size)),
        lambda rng, size: 1e8 + rng.normal(size=size),
        lambda rng, size: 1e-200 * rng.normal(size=size),
    ],
    ids=["outliers", "many magnitudes", "far from 0", "tiny"],
)
def test_distances_of_numbers_of_all_sizes(n_rows, draw):
    rng = np.random.RandomState(0)
    check_distances(draw(rng, (n_rows, 2)), rng.normal(size=(n_rows, 1)))
    check_distances(rng.normal(size=(n_rows, 1)), draw(rng, (n_rows, 2)))


@pytest.mark.parametrize("insert", [_insert, _insert.py_func])
@given(st.integers(0, 5).flatmap(lambda k: st.permutations(range(2**k))))
def test_what_lies_before_a_place_is_counted_and_added(insert, order):
    tree, values = np.zeros((len(order), 2)), 10.0 ** np.arange(len(order))
    for k, place in enumerate(order):
        before = [other for other in order[:k] if other < place]
        expected = (len(before), values[before].sum())
        assert_allclose(insert(tree, place, values[place]), expected)


def test_compiled_distances_equal_python(monkeypatch):
    for name in COMPILED:
        function = getattr(coefficients_module, name).py_func
        monkeypatch.setattr(coefficients_module, name, function)
    assert not hasattr(coefficients_module._weighted_distances, "py_func")
    test_distances_average_over_every_pair_of_rows()
    test_distances_with_few_and_with_many_ties()
