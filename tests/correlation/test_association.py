"""The resampling below the table: seeded, and the same for any number of processes."""

import numpy as np
import pytest

from robustkit.correlation._association import associate, coefficients_of
from robustkit.correlation._methods import METHODS

OPTIONS = {
    "n_bootstrap": 120,
    "n_permutations": 120,
    "alpha": 0.1,
    "random_state": 0,
    "n_jobs": None,
}


def population(n=25):
    rng = np.random.RandomState(0)
    X, Y = rng.normal(size=(n, 3)), rng.normal(size=(n, 2))
    Y[:, 0] += X[:, 0]
    Y[3, 1] = X[5, 2] = np.nan
    return X, Y, np.arange(n)


def test_the_same_for_every_number_of_processes():
    methods = ["spearman", "distance"]
    one, two = (
        associate(*population(), methods, **OPTIONS | {"n_jobs": n}) for n in (1, 2)
    )
    for name in one:
        np.testing.assert_array_equal(one[name], two[name])


@pytest.mark.parametrize("name", METHODS)
def test_has_the_coefficients_and_tests_of_the_complete_pairs(name):
    X, Y, groups = population()
    found = associate(X, Y, groups, [name], **OPTIONS | {"n_bootstrap": 0})
    assert found["coefficient"].shape == (3, 2, 1)
    np.testing.assert_array_equal(
        found["coefficient"][..., 0], coefficients_of(name, X, Y, groups)
    )
    listwise = METHODS[name].listwise
    expected = (
        [[24, 23], [24, 23], [24, 23]] if listwise else [[25, 24]] * 2 + [[24, 23]]
    )
    np.testing.assert_array_equal(found["n"][..., 0], expected)
    assert (found["p_value"] <= 1).all()
    assert np.isnan(found["ci_low"]).all()


def test_shuffled_p_values_are_never_zero():
    X, Y, groups = population()
    found = associate(X, Y, groups, ["distance"], **OPTIONS)
    assert found["p_value"].min() == pytest.approx(1 / 121)


@pytest.mark.parametrize("name", METHODS)
def test_intervals_where_they_keep_their_promise(name):
    found = associate(*population(), [name], **OPTIONS | {"n_permutations": 1})
    low, high = found["ci_low"], found["ci_high"]
    if name in ("spearman", "kendall", "pearson", "partial"):
        assert ((low <= found["coefficient"]) & (found["coefficient"] <= high)).all()
    else:
        assert np.isnan(low).all()
        assert np.isnan(high).all()


def test_nothing_to_resample_draws_nothing():
    rng = np.random.RandomState(0)
    before = rng.get_state()[1].copy(), rng.get_state()[2]
    associate(
        *population(), ["kendall"], **OPTIONS | {"n_bootstrap": 0, "random_state": rng}
    )
    np.testing.assert_array_equal(rng.get_state()[1], before[0])
    assert rng.get_state()[2] == before[1]


def test_a_column_constant_but_for_missing_values_is_left_alone():
    X, Y, groups = population()
    X[:, 1] = 0.1
    X[4, 1] = np.nan
    X[:, 2] = np.nan
    found = associate(X, Y, groups, ["distance", "partial"], **OPTIONS)
    for name in ("coefficient", "p_value", "ci_low", "ci_high"):
        assert np.isnan(found[name][1:]).all()
    assert np.isfinite(found["p_value"][0]).all()
