"""Partial correlation given chosen columns: definition, closed form, promises."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose
from scipy import stats

from robustkit.correlation import RobustnessCorrelator
from robustkit.correlation._coefficients import spearman
from robustkit.correlation._partial import (
    correlate_given,
    influence_given,
    n_controls,
    partial,
)
from tests.correlation.populations import tables, with_confounder


def given_by_regression(frame, name, measure, controls):
    """Correlation of the residuals of two least-squares fits of ranks."""
    ranks = frame[[name, measure, *controls]].dropna().rank()
    design = np.column_stack([np.ones(len(ranks)), ranks[controls]])
    residuals = [
        ranks[column] - design @ np.linalg.lstsq(design, ranks[column])[0]
        for column in (name, measure)
    ]
    # The ranks of a control may happen to be those of one side, but for rounding.
    if min(np.linalg.norm(residual) for residual in residuals) < 1e-6:
        return np.nan
    return stats.pearsonr(*residuals).statistic


def population(n, seed, holes=0):
    rng = np.random.RandomState(seed)
    values = rng.normal(size=(n, 5)) @ rng.normal(size=(5, 5))
    values[rng.randint(n, size=holes), rng.randint(5, size=holes)] = np.nan
    return pd.DataFrame(values, columns=list("abxyz"))


def test_a_constant_control_with_missing_values_leaves_out_no_model():
    frame = population(20, 0)
    frame["z"] = 1.0
    frame.loc[:7, "z"] = np.nan
    found = correlate_given(frame, ["a"], ["y"], ["x", "z"])
    expected = correlate_given(frame, ["a"], ["y"], ["x"])
    assert found["n"].tolist() == [20]
    pd.testing.assert_frame_equal(found, expected)


@given(st.integers(0, 2**32 - 1), st.integers(12, 30), st.integers(0, 6))
def test_correlate_given_is_the_correlation_of_residuals(seed, n, holes):
    frame = population(n, seed, holes)
    table = correlate_given(frame, ["a", "b"], ["x"], ["y", "z"])
    for row in table.to_dict("records"):
        pair = [row["property"], row["measure"]]
        assert row["n"] == frame[[*pair, "y", "z"]].notna().all(axis=1).sum()
        expected = given_by_regression(frame, *pair, ["y", "z"])
        assert_allclose(row["coefficient"], expected, atol=1e-9)


def test_given_one_column_is_the_textbook_formula():
    frame = population(40, 0)
    ab, az, bz = (
        stats.spearmanr(frame[i], frame[j]).statistic for i, j in ("ab", "az", "bz")
    )
    (found,) = correlate_given(frame, ["a"], ["b"], ["z"])["coefficient"]
    assert_allclose(found, (ab - az * bz) / np.sqrt((1 - az**2) * (1 - bz**2)))


@pytest.mark.parametrize("controls", [["y"], ["y", "z"], ["x", "y", "z"]])
def test_given_several_is_an_entry_of_the_inverse_of_the_correlations(controls):
    frame = population(40, 1)
    columns = ["a", "b", *controls]
    inverse = np.linalg.inv(frame[columns].corr(method="spearman"))
    expected = -inverse[0, 1] / np.sqrt(inverse[0, 0] * inverse[1, 1])
    table = correlate_given(frame, ["a"], ["b"], controls, correction=None)
    assert_allclose(table["coefficient"], expected)
    # The p-value of the slope in a regression of ranks on all of them.
    dof = 40 - 2 - len(controls)
    t = expected * np.sqrt(dof / (1 - expected**2))
    assert_allclose(table["p_value"], 2 * stats.t(dof).sf(abs(t)))
    assert_allclose(table["p_adjusted"], table["p_value"])


def test_given_all_others_is_the_method_partial():
    frame = population(30, 2)
    names = ["a", "b", "z"]
    correlator = RobustnessCorrelator(methods="partial", outliers=None, n_bootstrap=0)
    expected = correlator.fit(frame[names], frame[["x", "y"]]).correlations_
    table = correlate_given(frame, names, ["x", "y"], names)
    for column in ("coefficient", "p_value", "p_adjusted", "n"):
        assert_allclose(table[column], expected[column])


def test_correlate_given_nothing_is_spearman():
    frame = population(30, 3)
    table = correlate_given(frame, ["a", "b"], ["x", "y"], [])
    expected = spearman(frame[["a", "b"]].to_numpy(), frame[["x", "y"]].to_numpy())
    assert_allclose(table["coefficient"], expected.ravel())


def test_finds_what_is_planted_where_the_plain_one_is_misled():
    """Means over populations, to within three of their standard errors of .02."""

    def mean_coefficients(controls):
        found = []
        for seed in range(20):
            X, y = with_confounder(150, np.random.RandomState(seed))
            values = pd.DataFrame(X, columns=["size", "depth", "width"])
            table = correlate_given(
                values.assign(error=y), ["depth", "width"], ["error"], controls
            )
            found.append(table["coefficient"])
        return np.mean(found, axis=0)

    depth, width = mean_coefficients([])
    assert depth > 0.3 > 0.06 > abs(width)
    depth, width = mean_coefficients(["size"])
    assert abs(depth) < 0.06 < 0.75 < -width


def test_a_rising_map_changes_nothing():
    frame = population(25, 4, holes=3)
    arguments = (["a", "b"], ["x"], ["y", "z"])
    expected = correlate_given(frame, *arguments)
    found = correlate_given(np.exp(frame / 5), *arguments)
    assert_allclose(found["coefficient"], expected["coefficient"])


def test_a_control_that_can_hold_nothing_is_left_out():
    frame = population(25, 5)
    expected = correlate_given(frame, ["a"], ["x"], ["y"])
    more = frame.assign(constant=1.0, empty=np.nan)
    controls = ["y", "constant", "empty", "a", "x"]
    pd.testing.assert_frame_equal(
        correlate_given(more, ["a"], ["x"], controls), expected
    )
    # Constant only among the models that have the pair.
    more["z"] = np.where(np.arange(25) < 24, 1.0, 2.0)
    more.loc[24, "a"] = np.nan
    (found,) = correlate_given(more, ["a"], ["x"], ["y", "z"])["coefficient"]
    (expected,) = correlate_given(more, ["a"], ["x"], ["y"])["coefficient"]
    assert_allclose(found, expected)


def test_what_can_not_be_told_is_nan_and_no_test():
    frame = population(25, 6).assign(constant=1.0, empty=np.nan)
    frame["twin"] = np.exp(frame["z"] / 5)
    names = ["a", "constant", "empty", "twin"]
    table = correlate_given(frame, names, ["x"], ["y", "z"]).set_index("property")
    assert table["coefficient"].notna().to_dict() == {
        "a": True,
        "constant": False,
        "empty": False,
        "twin": False,
    }
    assert table["p_adjusted"]["a"] == table["p_value"]["a"]
    assert table["n"]["empty"] == 0
    few = correlate_given(frame[:4], ["a"], ["x"], ["y", "z"])
    assert few["coefficient"].isna().all()
    assert few["p_adjusted"].isna().all()


def test_false_discoveries_stay_at_alpha_under_independence_given_the_controls():
    """Size moves both sides; given it, no property has to do with any measure."""
    rng, n_tables, alpha = np.random.RandomState(0), 200, 0.1
    names, measures = list("abc"), list("xy")
    fooled = 0
    for _ in range(n_tables):
        size = rng.normal(size=(30, 1))
        values = np.hstack([size, size + rng.normal(size=(30, 5))])
        frame = pd.DataFrame(values, columns=["size", *names, *measures])
        table = correlate_given(frame, names, measures, ["size"])
        fooled += (table["p_adjusted"] <= alpha).any()
    # Ranks make the relation to size a little bent, so the level is only near alpha.
    assert fooled <= stats.binom(n_tables, 1.5 * alpha).ppf(0.999)


def partial_by_regression(X, y, j):
    """Correlation of the residuals of two least-squares fits of ranks."""
    ranks = stats.rankdata(X, axis=0)
    others = np.column_stack([np.ones(len(X)), np.delete(ranks, j, axis=1)])
    residuals = [
        v - others @ np.linalg.lstsq(others, v)[0]
        for v in (ranks[:, j], stats.rankdata(y))
    ]
    # Of few models the others may explain all, but for rounding.
    if min(np.linalg.norm(residual) for residual in residuals) < 1e-6:
        return np.nan
    return stats.pearsonr(*residuals).statistic


@given(st.integers(0, 2**32 - 1), st.integers(1, 4), st.integers(0, 8))
def test_partial_is_the_correlation_of_the_residuals(seed, n_properties, n_spare):
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


@pytest.mark.parametrize("given_too", [False, True])
def test_no_row_carries_the_coefficient_of_a_constant_column(given_too):
    """As a property is without a level of a factor; that warns of nothing."""
    y = np.random.default_rng(0).normal(size=(20, 2))
    constant = np.full((20, 1), 3.0)
    carried = influence_given(constant, y[:, :1], y[:, 1:] if given_too else y[:, :0])
    assert np.isnan(carried).all()
