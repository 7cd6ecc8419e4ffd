"""All properties with all measures: what is missing, repeated, constant or too few."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.testing import assert_allclose, assert_array_equal

from robustkit.correlation import _association
from robustkit.correlation._association import (
    METHODS,
    associate,
    blocks,
    check_methods,
    coefficients_of,
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


@pytest.mark.parametrize("name", METHODS)
def test_constant_columns_have_no_coefficient_and_disturb_no_other(name):
    rng = np.random.RandomState(0)
    X, Y = rng.normal(size=(20, 3)), rng.normal(size=(20, 2))
    X[:, 1], Y[:, 0] = 0.1, 7.0
    method = METHODS[name]
    found = method.coefficients(X, Y)
    assert np.isnan(found[1]).all()
    assert np.isnan(found[:, 0]).all()
    alone = method.coefficients(X[:, [0, 2]], Y[:, 1:])
    np.testing.assert_allclose(found[[0, 2], 1], alone[:, 0], atol=1e-9)
    if method.p_values is not None:
        p_values = method.test(X, Y, found)
        np.testing.assert_array_equal(np.isnan(p_values), np.isnan(found))


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("n_models", [0, 1, 2])
def test_too_few_models_have_no_coefficient(name, n_models):
    X = np.arange(2.0 * n_models).reshape(n_models, 2)
    found = METHODS[name].coefficients(X, X)
    assert found.shape == (2, 2)
    assert np.isnan(found).all()


@pytest.mark.parametrize("name", METHODS)
def test_the_fewest_models_that_a_method_takes(name):
    x = np.arange(float(METHODS[name].min_models))[:, None]
    assert np.isfinite(METHODS[name].coefficients(x, x)).all()


def test_effects_are_on_the_scale_of_a_correlation():
    rho = 0.6
    information = -0.5 * np.log(1 - rho**2)
    assert METHODS["mutual_info"].effect(information) == pytest.approx(rho)
    assert METHODS["xi"].effect(-0.3) == 0
    assert METHODS["spearman"].effect(-0.3) == 0.3


def test_check_methods_keeps_order_without_repeats():
    assert check_methods("xi") == ["xi"]
    assert check_methods(("xi", "kendall", "xi")) == ["xi", "kendall"]


def test_an_unknown_name_gets_the_nearest_known_one():
    with pytest.raises(ValueError, match="'spearmen' instead, did you mean 'spearman'"):
        check_methods(("kendall", "spearmen"))


def test_no_name_is_refused():
    with pytest.raises(ValueError, match="'methods' parameter must name at least one"):
        check_methods(())


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


def test_associate_is_the_same_for_every_n_jobs():
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


@pytest.mark.parametrize("total", [0, 1, 99, 100, 101, 250])
def test_jobs_make_as_many_draws_as_were_asked_for(total):
    portions = _association._portions(total)
    assert sum(portions) == total
    assert all(0 < portion <= 100 for portion in portions)


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
