"""What every method does with columns and names that are not as they should be."""

import numpy as np
import pytest

from robustkit.correlation._methods import METHODS, check_methods


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


def test_names():
    assert check_methods("xi") == ["xi"]
    assert check_methods(("xi", "kendall", "xi")) == ["xi", "kendall"]


def test_an_unknown_name_gets_the_nearest_known_one():
    with pytest.raises(ValueError, match="'spearmen' instead, did you mean 'spearman'"):
        check_methods(("kendall", "spearmen"))


def test_no_name_is_refused():
    with pytest.raises(ValueError, match="'methods' parameter must name at least one"):
        check_methods(())
