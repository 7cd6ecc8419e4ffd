"""Products of distances, against looking at every pair."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose

from robustkit.correlation import _distance as distance_module
from robustkit.correlation._distance import _insert, distances
from tests.correlation.populations import tables

COMPILED = ("_mean_distances", "_weighted_distances", "_weighted_sum", "_insert")


def by_pairs(X, Y):
    a, b = (np.abs(Z[:, None] - Z) for Z in (X, Y))
    products = np.einsum("ijk,ijl->kl", a, b) / len(X) ** 2
    return products, a.mean(axis=0), b.mean(axis=0)


def check(X, Y):
    X, Y = X - X.mean(axis=0), Y - Y.mean(axis=0)
    x, y = (np.abs(Z).max(axis=0) for Z in (X, Y))
    sizes = (np.multiply.outer(x, y), x, y)
    for found, expected, size in zip(
        distances(X, Y), by_pairs(X, Y), sizes, strict=True
    ):
        assert (np.abs(found - expected) <= 1e-13 * size).all()


@given(tables(min_models=2))
def test_every_pair_of_rows_is_seen(table):
    check(*table)


@given(
    st.integers(1, 17) | st.sampled_from([31, 32, 33, 127, 128, 129]),
    st.sampled_from([2, 5, 1000]),
    st.integers(0, 2**32 - 1),
)
def test_with_few_and_with_many_ties(n_rows, n_values, seed):
    """Every number of leaves that the tree may lack, and ties in one or in both."""
    rng = np.random.RandomState(seed)
    check(
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
def test_numbers_of_all_sizes(n_rows, draw):
    rng = np.random.RandomState(0)
    check(draw(rng, (n_rows, 2)), rng.normal(size=(n_rows, 1)))
    check(rng.normal(size=(n_rows, 1)), draw(rng, (n_rows, 2)))


@pytest.mark.parametrize("insert", [_insert, _insert.py_func])
@given(st.integers(0, 5).flatmap(lambda k: st.permutations(range(2**k))))
def test_what_lies_before_a_place_is_counted_and_added(insert, order):
    tree, values = np.zeros((len(order), 2)), 10.0 ** np.arange(len(order))
    for k, place in enumerate(order):
        before = [other for other in order[:k] if other < place]
        expected = (len(before), values[before].sum())
        assert_allclose(insert(tree, place, values[place]), expected)


def test_compiled_loops_as_python(monkeypatch):
    for name in COMPILED:
        function = getattr(distance_module, name).py_func
        monkeypatch.setattr(distance_module, name, function)
    assert not hasattr(distance_module._weighted_distances, "py_func")
    test_every_pair_of_rows_is_seen()
    test_with_few_and_with_many_ties()
