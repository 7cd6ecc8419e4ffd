"""Every estimator keeps scikit-learn's conventions."""

import inspect
from numbers import Integral

import numpy as np
import pytest
from sklearn.base import BaseEstimator
from sklearn.utils.estimator_checks import (
    check_dataframe_column_names_consistency,
    check_param_validation,
    check_set_output_transform,
    check_set_output_transform_pandas,
    check_transformer_get_feature_names_out,
    check_transformer_get_feature_names_out_pandas,
    parametrize_with_checks,
)

from tests.common.instances import (
    EXPECTED_FAILED_CHECKS,
    INSTANCES,
    all_instances,
    expected_failed_checks,
)
from tests.common.public_api import estimator_classes

ESTIMATORS = all_instances()

# `parametrize_with_checks` leaves these out.
FURTHER_CHECKS = [check_param_validation, check_dataframe_column_names_consistency]
TRANSFORMER_CHECKS = [
    check_set_output_transform,
    check_set_output_transform_pandas,
    check_transformer_get_feature_names_out,
    check_transformer_get_feature_names_out_pandas,
]


@pytest.fixture(autouse=True)
def numpy_stream_is_put_back(global_random_streams_stay_put):
    """Some of scikit-learn's own checks draw from numpy's global stream."""
    state = np.random.get_state()
    yield
    np.random.set_state(state)


def name_of(thing):
    return thing.__name__ if inspect.isfunction(thing) else type(thing).__name__


@parametrize_with_checks(
    ESTIMATORS, expected_failed_checks=expected_failed_checks, xfail_strict=True
)
def test_keeps_the_conventions(estimator, check):
    check(estimator)


@pytest.mark.parametrize("check", FURTHER_CHECKS, ids=name_of)
@pytest.mark.parametrize("estimator", ESTIMATORS, ids=name_of)
def test_keeps_the_further_conventions(estimator, check):
    check(type(estimator).__name__, estimator)


# A check itself fits on a frame and transforms an array, and the other way round.
@pytest.mark.filterwarnings("ignore:X (has|does not have valid) feature names")
@pytest.mark.parametrize("check", TRANSFORMER_CHECKS, ids=name_of)
@pytest.mark.parametrize(
    "estimator", [e for e in ESTIMATORS if hasattr(e, "transform")], ids=name_of
)
def test_transformer_keeps_the_further_conventions(estimator, check):
    check(type(estimator).__name__, estimator)


def test_no_estimator_is_forgotten():
    checked = {type(estimator) for estimator in ESTIMATORS}
    # And what functions such as best_of return.
    assert checked >= set(estimator_classes())


def test_no_entry_outlives_its_estimator():
    names = {cls.__name__ for cls in estimator_classes()}
    assert set(INSTANCES) <= names
    assert set(EXPECTED_FAILED_CHECKS) <= names


def test_guard_sees_an_estimator_that_breaks_the_conventions():
    class Careless(BaseEstimator):
        _parameter_constraints: dict = {"depth": [Integral]}

        def __init__(self, depth=1):
            self.depth = depth

        def fit(self, X, y=None):
            return self

    # It declares a constraint and never validates it.
    with pytest.raises(AssertionError, match="does not raise an informative error"):
        check_param_validation("Careless", Careless())
