"""From rows to a table, and to the columns worth correlating."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from robustkit.graphs import GraphPrior
from robustkit.study._table import columns_of, correlate, independent, table_of


def row(model, **groups):
    empty = {"parameters": {}, "properties": {}, "measures": {}, "seconds": {}}
    return {"place": {"model": model}, **empty, "made": {"error": ""}, **groups}


def test_columns_are_the_union_in_order_of_appearance():
    rows = [
        row(0, properties={"size": 3}, measures={"a": 0.5, "a_n_queries": 7}),
        row(1, properties={"size": 4, "more": 1}, seconds={"train": 2.0}),
    ]
    table = table_of(rows)
    assert list(table) == [
        "model",
        "size",
        "more",
        "a",
        "a_n_queries",
        "seconds_train",
        "error",
    ]
    assert np.isnan(table.loc[1, "a"])
    assert columns_of(rows) == {
        "parameters": [],
        "properties": ["size", "more"],
        "measures": ["a"],
    }


def test_no_row_makes_an_empty_table():
    assert len(table_of([])) == 0
    assert columns_of([]).measures == []


@given(
    factor=st.floats(0.01, 100).map(lambda x: x * np.sign(x - 1) or 1.0),
    shift=st.floats(-100, 100),
)
def test_a_column_in_other_units_is_left_out(factor, shift):
    first = np.array([3.0, 1.0, np.nan, 4.0, 1.5])
    table = pd.DataFrame({"first": first, "again": factor * first + shift})
    assert independent(table, ["first", "again"]) == ["first"]


def test_of_distances_only_the_median_is_correlated():
    names = ["median_distance", "mean_distance", "average_eps", "distance_q10"]
    values = np.random.default_rng(0).normal(size=(9, 5))
    table = pd.DataFrame(values, columns=[*(f"a_{n}" for n in names), "b_average_eps"])
    assert independent(table, list(table)) == ["a_median_distance", "b_average_eps"]


def test_other_distances_are_correlated_if_their_median_is_the_same_for_all():
    names = ["a_median_distance", "a_mean_distance", "a_distance_q75"]
    values = np.random.default_rng(0).normal(size=(9, 3))
    values[:, 0] = 1.0
    table = pd.DataFrame(values, columns=names)
    assert independent(table, names) == names[1:]
    # Some other measure with such a name has no median.
    assert independent(table[names[2:]], names[2:]) == names[2:]


def test_a_column_of_the_same_order_is_kept():
    """Three graphs are easily in one order."""
    table = pd.DataFrame({"first": [1.0, 2.0, 3.0], "other": [1.0, 2.0, 3.5]})
    assert independent(table, ["first", "other"]) == ["first", "other"]


@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e6])
def test_rounding_makes_no_column_and_a_millionth_does(scale):
    first = np.array([1.0, 2.0, 3.0, 5.0])
    nudge = np.array([0.0, 1.0, 0.0, 0.0])
    table = pd.DataFrame(
        {
            "first": first * scale,
            "rounded": (first + 1e-11 * nudge) * scale,
            "other": (first + 1e-6 * nudge) * scale,
        }
    )
    assert independent(table, list(table)) == ["first", "other"]


def test_other_gaps_are_another_column():
    table = pd.DataFrame({"a": [1.0, 2.0, np.nan, 4.0], "b": [1.0, np.nan, 3.0, 4.0]})
    assert independent(table, ["a", "b"]) == ["a", "b"]


def test_constants_go_unless_nothing_is_left():
    table = pd.DataFrame({"one": [1.0, 1.0], "none": [np.nan, np.nan], "x": [1.0, 2.0]})
    assert independent(table, ["one", "none", "x"]) == ["x"]
    assert independent(table, ["one", "none"]) == ["one"]


def test_functions_of_other_columns_go():
    table = pd.DataFrame(
        np.random.RandomState(0).uniform(size=(5, 4)),
        columns=["density", "n_edges", "fgsm_error_rate", "fgsm_robust_accuracy"],
    )
    assert independent(table, list(table)) == ["density", "fgsm_error_rate"]


@pytest.mark.parametrize("seed", range(5))
def test_what_is_left_out_is_a_function_of_what_is_kept(seed):
    """The identities behind the list, on graphs that hang together."""
    graph = GraphPrior(n_nodes=60, n_neighbors=4, rewiring=0.3).sample(seed)
    found = graph.properties()
    assert found["n_components"] == 1
    n, d, length = found["n_nodes"], found["density"], found["average_path_length"]
    n_edges = d * n * (n - 1) / 2
    parameters = graph.n_parameters(64, 10)
    rest = parameters - n - n_edges - 10 * found["n_sinks"]
    assert found["n_edges"] == pytest.approx(n_edges)
    assert found["degree_mean"] == pytest.approx(d * (n - 1))
    assert found["average_betweenness"] == pytest.approx((length - 1) / (n - 2))
    assert found["average_edge_betweenness"] == pytest.approx(length / n_edges)
    # Every output unit has a bias, too.
    assert found["n_sources"] == pytest.approx((rest - 10) / 64)


def row_with(model, v, error_rate):
    return row(
        model,
        place={"model": model, "graph": model},
        properties={"size": float(model), "own_v": v},
        measures={"fgsm_error_rate": error_rate},
    )


@pytest.mark.parametrize("infinity", [np.inf, -np.inf])
def test_an_infinite_number_is_named_when_it_comes_to_correlations(infinity):
    rows = [
        row_with(k, [1.0, infinity][k >= 2], [0.3, 0.1, 0.5, 0.2][k]) for k in range(4)
    ]
    message = r"cannot be correlated: own_v is infinite for model 2\. All of them"
    with pytest.raises(ValueError, match=message):
        correlate(table_of(rows), columns_of(rows), None)


def test_a_property_that_is_infinite_for_all_says_nothing_and_goes():
    rows = [row_with(k, np.inf, [0.3, 0.1, 0.5, 0.2][k]) for k in range(4)]
    correlator = correlate(table_of(rows), columns_of(rows), None)
    assert set(correlator.correlations_["property"]) == {"size"}


def test_a_missing_number_is_left_out_of_correlations():
    rows = [
        row_with(k, [k**2.0, np.nan][k == 2], [0.3, 0.1, 0.5, 0.2][k]) for k in range(4)
    ]
    correlator = correlate(table_of(rows), columns_of(rows), None)
    assert set(correlator.correlations_["property"]) == {"size", "own_v"}
