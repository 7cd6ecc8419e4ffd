"""Verdicts on claims: calibrated by simulation, with slow references for the parts."""

from collections import Counter
from fractions import Fraction
from math import asin, pi

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import f as f_distribution
from scipy.stats import f_oneway, spearmanr

from robustkit.correlation import Claim, check_claims
from robustkit.correlation._claims import _drawn, _without_each
from robustkit.correlation._partial import (
    correlate_given,
    n_directions,
    partial_of_tables,
)
from robustkit.correlation._significance import bca_intervals, jackknife
from robustkit.correlation._verdicts import (
    coefficient_given,
    reliability,
    without_the_strongest,
)

X_Y = Claim("x", "y", sign=1, smallest=0.3)


def reliability_of(values, labels, given=(), **factors):
    levels = pd.DataFrame(factors, index=np.arange(len(values)))
    given = np.reshape(given, (-1, len(values))).T
    return reliability(values, labels, given, levels)


def models(n, *, rho=0.0, repeats=1, noise=0.0, carried=0, seed=0):
    """Some graphs, each with repeated networks: x is of the graph, y of the network."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=n)
    y = rho * x + np.sqrt(1 - rho**2) * rng.normal(size=n)
    x[:carried], y[:carried] = 3 + rng.uniform(size=(2, carried))
    graph = np.repeat(np.arange(n), repeats)
    measured = y[graph] + noise * rng.normal(size=len(graph))
    return pd.DataFrame({"graph": graph, "x": x[graph], "y": measured})


def verdict_on(table, claim=X_Y, **options):
    options = {"groups": "graph", "n_bootstrap": 200, "random_state": 0} | options
    return check_claims(table, [claim], **options).iloc[0]


def verdicts_of_many(n_tables, claim=X_Y, **setting):
    return Counter(
        verdict_on(models(**setting, seed=seed), claim).verdict
        for seed in range(n_tables)
    )


def test_without_an_effect_a_claim_seldom_holds():
    seen = verdicts_of_many(60, n=40, repeats=3, noise=0.5)
    # Of 60 with a chance of .05, more than 9 come once in a thousand times.
    assert seen["holds"] + seen["reversed"] <= 9
    # Many graphs tell "absent" from "undecided".
    assert verdicts_of_many(10, n=150)["absent"] >= 8


def test_a_strong_effect_holds_with_a_hundred_graphs():
    assert verdicts_of_many(30, n=100, rho=0.6)["holds"] >= 27
    reverse = Claim("x", "y", sign=-1, smallest=0.3)
    assert verdicts_of_many(10, reverse, n=100, rho=0.6)["reversed"] >= 9


def test_an_effect_that_few_graphs_carry_does_not_hold():
    claim = Claim("x", "y", sign=1, smallest=0.2)
    tables = [models(100, carried=7, seed=seed) for seed in range(20)]
    found = [verdict_on(table, claim) for table in tables]
    # It is found, and often; without the graphs that carry it nothing is left.
    assert np.mean([row.estimate for row in found]) > 0.15
    assert np.mean([row.leverage for row in found]) < 0.05
    assert sum(row.verdict == "holds" for row in found) <= 2
    assert any("is left without 10% of the groups" in row.reason for row in found)


def test_an_effect_of_one_level_of_the_design_does_not_hold():
    rng = np.random.default_rng(0)
    level = np.repeat([2, 4], [80, 30])
    x = np.where(level == 4, 3, 0) + rng.normal(size=110)
    y = np.where(level == 4, 3, 0) + rng.normal(size=110)
    table = pd.DataFrame({"graph": np.arange(110), "x": x, "y": y, "degree": level})
    assert verdict_on(table).verdict == "holds"
    row = verdict_on(table, factors=["degree"])
    assert row.verdict == "undecided"
    assert row.left_out == "degree=4"
    assert "without degree=4" in row.reason


def repeated(relation_in, *, n=80, effect=0.0, seed=0):
    """Graphs with two initialisations, in some of which the measure follows x."""
    rng = np.random.default_rng(seed)
    x, other = rng.normal(size=(2, n))
    parts = [
        pd.DataFrame(
            {
                "graph": np.arange(n),
                "init": init,
                "x": x,
                "y": (2 * x if init in relation_in else 0)
                + other
                + 0.1 * rng.normal(size=n)
                + effect * (init == "b"),
            }
        )
        for init in "ab"
    ]
    return pd.concat(parts, ignore_index=True)


def test_a_factor_may_vary_within_groups():
    of_both, of_one = repeated("ab"), repeated("a")
    assert verdict_on(of_one).verdict == "holds"
    assert verdict_on(of_both, factors="init").verdict == "holds"
    row = verdict_on(of_one, factors="init")
    assert (row.verdict, row.left_out) == ("undecided", "init=a")
    # What is left are the means of the rows of the other level.
    alone = of_one[of_one["init"] == "b"]
    np.testing.assert_allclose(row.leverage, spearmanr(alone["x"], alone["y"])[0])


@pytest.mark.parametrize("of", ["few", "property", "missing"])
def test_a_claim_must_survive_without_every_level_that_there_is(of):
    table = models(60, rho=0.9, seed=3)
    if of == "few":
        # Without "many", five groups are left.
        table["factor"] = np.where(table["graph"] < 55, "many", "few")
    elif of == "property":
        # Without either size, the property is constant.
        table["factor"] = table["x"] = (table["x"] > 0).astype(float)
    else:
        # The groups that carry the claim have no label.
        carries = np.arange(60) < 30
        others = np.random.default_rng(0).normal(size=60)
        table["y"] = np.where(carries, table["x"], others)
        table["factor"] = np.where(carries, None, "labelled")
    assert verdict_on(table).verdict == "holds"
    row = verdict_on(table, factors=["factor"])
    assert row.verdict == "undecided"
    if of == "missing":
        assert row.left_out == "factor=nan"
    else:
        assert np.isnan(row.leverage)
        assert "too little is left, or varies, without factor=" in row.reason


def test_a_perfect_relation_holds():
    table = pd.DataFrame({"x": np.arange(12.0), "y": -(np.arange(12.0) ** 3)})
    row = verdict_on(table, Claim("x", "y", sign=-1, smallest=0.3), groups=None)
    assert (row.estimate, row.ci_low, row.ci_high) == (-1, -1, -1)
    assert row.p_value < 1e-12
    assert row.verdict == "holds"


def test_too_few_repeats_say_nothing_of_reliability():
    """One network that happens to have been trained twice."""
    table = models(60, rho=0.8, seed=4)
    again = table.iloc[[30]].assign(y=table["y"].max())
    row = verdict_on(pd.concat([table, again]))
    assert np.isnan(row.reliability)
    assert row.verdict == "holds"


def test_what_a_factor_adds_is_no_unreliability():
    """Two initialisations, one of which is always far better."""
    table = repeated("ab", effect=50.0)
    row = verdict_on(table, factors="init")
    without = verdict_on(table)
    assert without.reliability < 0.1 or np.isnan(without.reliability)
    assert row.reliability > 0.9
    assert row.verdict == "holds"


def test_reliability_is_that_of_what_the_columns_given_leave():
    """Accuracy repeats well, and the measure is accuracy and noise."""
    rng = np.random.default_rng(0)
    labels = np.repeat(np.arange(100), 5)
    accuracy = rng.normal(size=100)[labels]
    measure = accuracy + 0.5 * rng.normal(size=500)
    assert reliability_of(measure, labels) > 0.9
    assert reliability_of(measure, labels, given=accuracy) == 0


@given(st.integers(0, 2**32 - 1))
def test_reliability_with_factors_is_that_of_a_regression_on_all(seed):
    """Unbalanced: the factor's effects come from one least squares with all groups."""
    rng = np.random.default_rng(seed)
    labels = np.concatenate([np.arange(6), rng.integers(6, size=30)])
    factor = rng.integers(3, size=36)
    values = 9 * rng.normal(size=6)[labels] + 3 * factor + rng.normal(size=36)
    ranks = pd.Series(values).rank().to_numpy()
    groups = (labels[:, None] == np.arange(6)).astype(float)
    levels = (factor[:, None] == np.unique(factor)[1:]).astype(float)
    both = np.hstack([groups, levels])
    weights = np.linalg.lstsq(both, ranks, rcond=None)[0]
    adjusted = ranks - levels @ weights[6:]
    noise = ((ranks - both @ weights) ** 2).sum()
    noise /= 36 - np.linalg.matrix_rank(both)
    means = pd.Series(adjusted).groupby(labels).transform("mean")
    ratio = ((means - adjusted.mean()) ** 2).sum() / 5 / noise
    np.testing.assert_allclose(
        reliability_of(values, labels, factor=factor), 1 - 1 / ratio
    )


def test_a_measure_without_reliability_is_undecided():
    table = models(60, rho=0.9, repeats=4, noise=20.0)
    row = verdict_on(table)
    assert row.reliability == 0
    assert row.verdict == "undecided"
    assert "repeats of the measure" in row.reason


def test_what_the_reliability_hides_is_not_absent():
    # With so much noise .3 cannot be seen, however many graphs there are.
    table = models(4000, rho=0.3, repeats=2, noise=4.7)
    row = verdict_on(table, Claim("x", "y", sign=1, smallest=0.3), n_bootstrap=50)
    assert 0 < row.max_possible < 0.3
    assert (row.verdict, "reliability" in row.reason) == ("undecided", True)


@pytest.mark.parametrize(("rho", "noise"), [(0.0, 0.0), (0.6, 1.0)])
def test_intervals_cover_and_repeats_do_not_narrow_them(rho, noise):
    n, repeats, covered, widths = 40, 5, 0, []
    # Of the means: noise hides a part of the relation.
    true = 6 / pi * asin(rho / np.sqrt(1 + noise**2 / repeats) / 2)
    for seed in range(100):
        table = models(n, rho=rho, repeats=repeats, noise=noise, seed=seed)
        means = table.groupby("graph")[["x", "y"]].mean().to_numpy()
        pair, each = (means[:, [0]], means[:, [1]]), np.arange(n)
        draws = _drawn(*pair, 200, seed)
        left_out = jackknife(coefficient_given, *pair, each, seed)
        low, high = bca_intervals(
            coefficient_given(*pair), draws, left_out, alpha=0.05
        ).ravel()
        covered += low <= true <= high
        widths.append(high - low)
    # .95 of 100, and three deviations.
    assert covered >= 88
    if noise == 0:
        row = verdict_on(table)
        once = verdict_on(table.iloc[::repeats])
        np.testing.assert_allclose(
            [row.ci_low, row.ci_high], [once.ci_low, once.ci_high]
        )


def test_p_values_are_corrected_within_the_family():
    table = models(30, rho=0.45, seed=6)
    rng = np.random.default_rng(0)
    others = [f"z{k}" for k in range(20)]
    table[others] = rng.normal(size=(30, 20))
    family = [X_Y, *(Claim(name, "y", sign=1, smallest=0.3) for name in others)]
    options = {"groups": "graph", "n_bootstrap": 100, "random_state": 0}
    alone = check_claims(table, [X_Y], **options).iloc[0]
    among = check_claims(table, family, **options).iloc[0]
    assert alone.p_adjusted == alone.p_value == among.p_value
    assert among.p_adjusted == min(1, 21 * among.p_value)
    assert alone.verdict == "holds"
    assert among.verdict == "undecided"


@given(st.integers(0, 2**32 - 1), st.integers(0, 2))
def test_estimate_is_that_of_the_means_with_columns_held_fixed(seed, n_given):
    rng = np.random.default_rng(seed)
    table = pd.DataFrame(
        rng.integers(12, size=(60, 2 + n_given)), columns=list("xyab")[: 2 + n_given]
    )
    table["graph"] = rng.integers(20, size=60)
    names = list("ab")[:n_given]
    claim = Claim("x", "y", sign=1, smallest=0.2, given=names)
    row = verdict_on(table, claim, n_bootstrap=20)
    # Exactly, so that equal means are tied.
    fractions = table.map(Fraction).groupby("graph").agg(lambda c: sum(c) / len(c))
    means = fractions.astype(float)
    expected = correlate_given(means, ["x"], ["y"], names).iloc[0]
    np.testing.assert_allclose(row.estimate, expected.coefficient)
    np.testing.assert_allclose(row.p_value, expected.p_value)
    assert row.n == len(means)
    if not names:
        np.testing.assert_allclose(row.estimate, spearmanr(means["x"], means["y"])[0])


@given(st.integers(0, 2**32 - 1), st.integers(0, 2), st.integers(3, 9))
def test_a_stack_of_tables_has_the_coefficients_of_each(seed, n_given, n):
    rng = np.random.default_rng(seed)
    # Few values, so that columns are constant, or equal, now and then.
    X = rng.integers(3, size=(10, n, 1 + n_given)).astype(float)
    Y = rng.integers(3, size=(10, n, 1)).astype(float)
    one_by_one = [coefficient_given(x, y).item() for x, y in zip(X, Y, strict=True)]
    freedom = np.array([n - 3 - n_directions_of(x[:, 1:]) for x in X])
    expected = np.where(freedom < 0, np.nan, one_by_one)
    stacked = np.where(freedom < 0, np.nan, partial_of_tables(X, Y))
    np.testing.assert_allclose(stacked, expected, atol=1e-12)


@pytest.mark.parametrize("n_given", [0, 2])
def test_each_group_is_left_out_once(n_given):
    rng = np.random.default_rng(n_given)
    X, Y = rng.normal(size=(30, 1 + n_given)), rng.normal(size=(30, 1))
    one_by_one = jackknife(coefficient_given, X, Y, np.arange(30), seed=0)
    found = _without_each(X, Y, seed=0)
    one_by_one = one_by_one[:, :1]
    np.testing.assert_allclose(np.sort(found, axis=0), np.sort(one_by_one, axis=0))


def test_many_groups_with_a_column_given():
    table = models(400, rho=0.6).assign(a=np.random.default_rng(9).normal(size=400))
    row = verdict_on(table, Claim("x", "y", sign=1, smallest=0.3, given="a"))
    assert row.ci_low < row.estimate < row.ci_high
    assert row.ci_high - row.ci_low < 0.2
    assert row.verdict == "holds"


def n_directions_of(columns):
    varying = columns[:, np.ptp(columns, axis=0) > 0]
    return n_directions(varying)


@given(st.integers(0, 2**32 - 1))
def test_reliability_is_that_of_an_analysis_of_variance(seed):
    rng = np.random.default_rng(seed)
    labels = np.concatenate([np.arange(6), rng.integers(6, size=20)])
    values = rng.normal(size=6)[labels] * 2 + rng.normal(size=26)
    ranks = pd.Series(values).rank()
    statistic, p_value = f_oneway(*(ranks[labels == g] for g in range(6)))
    found = reliability_of(values, labels)
    if p_value <= 0.05:
        np.testing.assert_allclose(found, 1 - 1 / statistic)
    else:
        # The largest ratio of variances that 95 % of such tables allow.
        largest = statistic / f_distribution.ppf(0.025, 5, 20)
        assert found == 0 if largest < 2 else np.isnan(found)


def test_the_strongest_groups_are_found():
    rng = np.random.default_rng(0)
    means = rng.normal(size=(30, 2))
    means[:3] = [[3, 3], [4, 4], [-4, -4]]
    left = without_the_strongest(means[:, [0]], means[:, [1]], 1.0)
    # No three others weaken it as much, of many tried.
    for _ in range(300):
        kept = rng.permutation(30)[3:]
        assert left <= spearmanr(*means[kept].T)[0] + 1e-12


@given(st.integers(0, 2**32 - 1))
def test_groups_of_equal_values_are_tied_whatever_their_size(seed):
    """The mean of three times .1 is .1."""
    rng = np.random.default_rng(seed)
    labels = np.repeat(np.arange(20), rng.integers(1, 8, size=20))
    x = np.array([0.1, 0.3, 0.7])[rng.integers(3, size=20)]
    y = rng.normal(size=20)
    table = pd.DataFrame({"graph": labels, "x": x[labels], "y": y[labels]})
    expected = spearmanr(x, y)[0]
    row = verdict_on(table, n_bootstrap=20)
    np.testing.assert_allclose(row.estimate, expected, rtol=1e-12)


def test_order_of_rows_and_unit_of_columns_do_not_matter():
    table = models(30, rho=0.5, seed=1)
    row = verdict_on(table)
    moved = table.assign(x=np.exp(table["x"]), y=10 * table["y"] - 3)
    shuffled = moved.sample(frac=1, random_state=0)
    same = ["estimate", "p_value", "leverage", "power"]
    np.testing.assert_allclose(
        verdict_on(shuffled)[same].astype(float), row[same].astype(float)
    )


def test_a_missing_repeat_costs_the_repeat_and_no_more():
    table = models(30, rho=0.8, repeats=3, noise=0.1)
    table.loc[[0, 5, 6, 7, 8], "y"] = np.nan
    row = verdict_on(table)
    # The third graph has no value left (rows 6 to 8).
    assert row.n == 29
    assert row.verdict == "holds"


def test_infinity_is_a_rank_like_any_other():
    """A distance is infinite where no error was found."""
    table = models(40, rho=0.7, seed=2)
    endless = table["y"].where(table["y"] < table["y"].max(), np.inf)
    row, same = verdict_on(table.assign(y=endless)), verdict_on(table)
    assert row.n == 40
    columns = ["estimate", "ci_low", "ci_high", "p_value", "leverage", "verdict"]
    assert row[columns].equals(same[columns])
    # Where several are infinite, they are tied.
    many = table["y"].where(table["y"] < table["y"].quantile(0.7), np.inf)
    expected = spearmanr(table["x"], many)[0]
    np.testing.assert_allclose(verdict_on(table.assign(y=many)).estimate, expected)


def test_what_is_constant_holds_nothing_fixed():
    table = models(40, rho=0.7, seed=2).assign(**{"a, b": 1.0})
    given = Claim("x", "y", sign=1, smallest=0.3, given=["a, b"])
    columns = ["estimate", "ci_low", "p_value", "power", "verdict"]
    assert verdict_on(table, given)[columns].equals(verdict_on(table)[columns])


def test_too_little_is_undecided_with_a_reason():
    few = verdict_on(models(7, rho=0.99))
    assert (few.verdict, few.reason) == ("undecided", "fewer than 8 groups")
    constant = verdict_on(models(30).assign(x=1.0))
    assert constant.verdict == "undecided"
    assert "constant" in constant.reason


def test_what_one_group_alone_makes_vary_has_no_interval_and_more_do_not_help():
    """As a robust accuracy that is zero for all networks but one."""
    row = verdict_on(models(30).assign(y=[0.0] * 29 + [0.01]))
    assert np.isnan([row.ci_low, row.ci_high, row.n_needed]).all()
    assert row.verdict == "undecided"
    assert row.reason == "a column is constant without one of the groups"
    explained = models(30).assign(a=lambda t: 2 * t["x"])
    row = verdict_on(explained, Claim("x", "y", sign=1, smallest=0.3, given="a"))
    assert (row.verdict, np.isnan(row.estimate)) == ("undecided", True)


def test_an_undecided_claim_says_how_many_groups_would_decide():
    row = verdict_on(
        models(20, rho=0.35, seed=5), Claim("x", "y", sign=1, smallest=0.2)
    )
    assert row.verdict == "undecided"
    assert 20 < row.n_needed < 400
    # With so many, a relation like this one is found in most tables.
    n = int(row.n_needed)
    rho = 2 * np.sin(pi * row.estimate / 6)
    claim = Claim("x", "y", sign=1, smallest=0.2)
    found = [
        spearmanr(*models(n, rho=rho, seed=s)[["x", "y"]].T.to_numpy())
        for s in range(60)
    ]
    assert 0.6 <= np.mean([p <= 0.05 for _, p in found]) <= 0.95
    assert claim.smallest == row.smallest


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: Claim("x", "y", sign=0, smallest=0.3), "'sign' must be"),
        (lambda: Claim("x", "y", sign=1, smallest=0), "'smallest' is"),
        (lambda: Claim("x", "y", sign=1, smallest=0.3, given=["x"]), "'given' cannot"),
        (
            lambda: verdict_on(models(20), Claim("xx", "y", sign=1, smallest=0.3)),
            "'xx', which is no column of the table, did you mean 'x'",
        ),
        (lambda: verdict_on(models(20), groups="graphs"), "did you mean 'graph'"),
        (lambda: verdict_on(models(20), factors=["gaph"]), "did you mean 'graph'"),
        (lambda: verdict_on(models(20), groups=[1, 2]), "one label per row"),
        (lambda: verdict_on(models(20), n_bootstrap=19), "'n_bootstrap' parameter"),
        (
            lambda: verdict_on(models(20)[["graph", "x", "y", "y"]]),
            "'y', but 2 columns",
        ),
        (
            lambda: verdict_on(models(20)[["graph", "x", "y", "graph"]]),
            "'graph', but 2 columns",
        ),
        (lambda: verdict_on(models(20), alpha=1), "'alpha' parameter"),
        (lambda: verdict_on(models(20).assign(x="a")), "must be real numbers"),
        (lambda: verdict_on(models(20).assign(x=1j)), "must be real numbers"),
    ],
)
def test_a_claim_that_cannot_be_checked_is_refused(make, words):
    with pytest.raises(ValueError, match=words):
        make()


def test_what_is_no_claim_is_refused():
    with pytest.raises(TypeError, match="list of Claim"):
        check_claims(models(20), ["x ~ y"])


def test_no_claims_give_an_empty_table():
    verdicts = check_claims(models(20), [], groups="graph")
    assert len(verdicts) == 0
    assert {"estimate", "verdict"} <= set(verdicts)


def test_names_of_claims_tell_their_direction():
    claims = [Claim("x", "y", sign=sign, smallest=0.3) for sign in (1, -1)]
    options = {"groups": "graph", "n_bootstrap": 20, "random_state": 0}
    found = check_claims(models(20), claims, **options)
    assert found["claim"].tolist() == ["x ~ +y", "x ~ -y"]
    assert repr(claims[1]) == "Claim(x ~ -y, at least 0.3)"


def test_only_what_more_groups_would_decide_says_how_many():
    absent = verdict_on(models(200), Claim("x", "y", sign=1, smallest=0.5))
    assert (absent.verdict, np.isnan(absent.n_needed)) == ("absent", True)
    holds = verdict_on(models(100, rho=0.9))
    assert (holds.verdict, np.isnan(holds.n_needed)) == ("holds", True)


@given(st.integers(0, 2**32 - 1))
def test_reliability_given_a_column_is_that_of_a_regression(seed):
    """With an intercept, over all rows."""
    rng = np.random.default_rng(seed)
    labels = np.concatenate([np.arange(8), rng.integers(8, size=40)])
    column = rng.normal(size=8)[labels] + rng.normal(size=48)
    values = 9 * rng.normal(size=8)[labels] + 2 * column + rng.normal(size=48)
    ranks, fixed = pd.Series(values).rank(), pd.Series(column).rank()
    slope, intercept = np.polyfit(fixed, ranks, 1)
    left = ranks - slope * fixed - intercept
    means = left.groupby(labels).transform("mean")
    noise = ((left - means) ** 2).sum() / (48 - 8)
    ratio = ((means - left.mean()) ** 2).sum() / (8 - 2) / noise
    found = reliability_of(values, labels, given=column)
    np.testing.assert_allclose(found, 1 - 1 / ratio)


def test_a_claim_without_a_complete_row_is_undecided():
    table = pd.DataFrame(
        {"x": [1.0, np.nan, 2.0], "y": [np.nan, 1.0, np.nan], "z": 1.0}
    )
    found = check_claims(
        table, [Claim("x", "y", sign=1, smallest=0.3, given=("z",))], random_state=0
    )
    assert found.loc[0, "n"] == 0
    assert found.loc[0, "verdict"] == "undecided"
    assert found.loc[0, "reason"]
