"""What a user's own analysis may give, and what it may not."""

from fractions import Fraction
from types import SimpleNamespace

import numpy as np
import pytest

from robustkit.study import _measures
from robustkit.study._correlate import correlate
from robustkit.study._measures import analyse, timed
from robustkit.study._table import columns_of, table_of

NO_DATA = tuple(np.empty(0) for _ in range(4))


def found(value):
    return analyse("own", lambda *_: {"v": value}, None, NO_DATA, "cpu")


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (3, 3),
        (True, True),
        (np.int8(3), 3),
        (np.float16(0.5), 0.5),
        (np.longdouble(1) / 4, 0.25),
        (Fraction(1, 4), 0.25),
        (-np.inf, -np.inf),
        (2**80, 2**80),
    ],
)
def test_any_real_number_becomes_a_plain_one(value, expected):
    assert found(value) == {"own_v": expected}
    assert type(found(value)["own_v"]) is type(expected)


def test_nan_is_a_number():
    assert np.isnan(found(np.float32("nan"))["own_v"])


@pytest.mark.parametrize("value", ["good", None, 1j, [1], np.ones(1), 10**400])
def test_anything_else_is_told_at_once(value):
    with pytest.raises(TypeError, match=r"\['own'\] must return a dict of names and"):
        found(value)


def test_a_block_takes_as_long_as_the_clock_says(monkeypatch):
    clock = iter([10.0, 13.5])
    fake = SimpleNamespace(perf_counter=lambda: next(clock))
    monkeypatch.setattr(_measures, "time", fake)
    seconds = {}
    with timed(seconds, "it"):
        assert seconds == {}
    assert seconds == {"it": 3.5}


def row(model, v, error_rate):
    place = {"model": model, "graph": model}
    groups = {"parameters": {}, "seconds": {}, "made": {"error": ""}}
    properties = {"size": float(model), "own_v": v}
    measures = {"fgsm_error_rate": error_rate}
    return {"place": place, **groups, "properties": properties, "measures": measures}


@pytest.mark.parametrize("infinity", [np.inf, -np.inf])
def test_an_infinite_number_is_named_when_it_comes_to_correlations(infinity):
    rows = [row(k, [1.0, infinity][k >= 2], [0.3, 0.1, 0.5, 0.2][k]) for k in range(4)]
    message = r"can not be correlated: own_v is infinite for model 2\. All of them"
    with pytest.raises(ValueError, match=message):
        correlate(table_of(rows), columns_of(rows), None)


def test_a_property_that_is_infinite_for_all_says_nothing_and_goes():
    rows = [row(k, np.inf, [0.3, 0.1, 0.5, 0.2][k]) for k in range(4)]
    correlator = correlate(table_of(rows), columns_of(rows), None)
    assert set(correlator.correlations_["property"]) == {"size"}


def test_a_missing_number_is_left_out_of_correlations():
    rows = [row(k, [k**2.0, np.nan][k == 2], [0.3, 0.1, 0.5, 0.2][k]) for k in range(4)]
    correlator = correlate(table_of(rows), columns_of(rows), None)
    assert set(correlator.correlations_["property"]) == {"size", "own_v"}
