"""The estimator: order of the steps, names, selection, scores, errors, promises."""

import pickle
import re
import warnings

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose
from scipy import stats
from sklearn import config_context
from sklearn.exceptions import NotFittedError, UndefinedMetricWarning
from sklearn.linear_model import LinearRegression
from sklearn.model_selection import GroupKFold, cross_val_score
from sklearn.pipeline import make_pipeline

from robustkit.correlation import (
    Claim,
    RobustnessCorrelator,
    check_claims,
    correlate_given,
)
from robustkit.correlation._association import METHODS
from robustkit.correlation._significance import spearman_p_values
from tests.correlation.populations import with_confounder

# That few models say little is told: see test_few_models_are_told.
pytestmark = pytest.mark.filterwarnings("ignore:.*are few to correlate:UserWarning")

COLUMNS = [
    "property",
    "measure",
    "method",
    "coefficient",
    "p_value",
    "p_adjusted",
    "ci_low",
    "ci_high",
    "n",
    "n_outliers",
    "strength",
    "reliability",
    "verdict",
]
PLAIN = {"outliers": None, "aggregate": None, "correction": None, "n_bootstrap": 0}


def population(n=40, seed=2):
    """Three properties, two measures; the first of each go together."""
    rng = np.random.RandomState(seed)
    X = pd.DataFrame(rng.normal(size=(n, 3)), columns=["density", "depth", "width"])
    y = pd.DataFrame(rng.normal(size=(n, 2)), columns=["error rate", "confidence"])
    y["error rate"] += 2 * X["density"]
    return X, y


def row(correlator, prop, measure, method="spearman"):
    """One row of the table."""
    table = correlator.correlations_
    names = table[["property", "measure", "method"]]
    (found,) = table[(names == [prop, measure, method]).all(axis=1)].to_dict("records")
    return found


def test_table_has_a_row_a_pair_and_method():
    X, y = population()
    table = RobustnessCorrelator(n_bootstrap=0).fit(X, y).correlations_
    assert list(table.columns) == COLUMNS
    assert list(table["property"]) == np.repeat(list(X), 4).tolist()
    assert list(table["measure"]) == np.tile(np.repeat(list(y), 2), 3).tolist()
    assert list(table["method"]) == ["spearman", "kendall"] * 6
    assert table["n"].dtype == table["n_outliers"].dtype == int


@pytest.mark.parametrize(
    ("method", "function"),
    [
        ("spearman", stats.spearmanr),
        ("kendall", stats.kendalltau),
        ("pearson", stats.pearsonr),
        ("xi", stats.chatterjeexi),
    ],
)
def test_plain_equals_scipy_with_missing_values_left_out_by_pair(method, function):
    X, y = population()
    X.iloc[3, 0] = X.iloc[5, 1] = y.iloc[7, 0] = np.nan
    correlator = RobustnessCorrelator(methods=method, **PLAIN).fit(X, y)
    for prop in X:
        for measure in y:
            both = X[prop].notna() & y[measure].notna()
            expected = function(X[prop][both], y[measure][both])
            found = row(correlator, prop, measure, method)
            assert_allclose(found["coefficient"], expected.statistic)
            assert_allclose(found["p_value"], expected.pvalue, rtol=1e-6)
            assert found["p_adjusted"] == found["p_value"]
            assert found["n"] == both.sum()


def test_few_models_are_tested_exactly_with_missing_values_left_out_by_pair():
    X, y = population(n=9)
    X.iloc[[3, 4], 0] = y.iloc[7, 0] = np.nan
    correlator = RobustnessCorrelator(methods="spearman", **PLAIN).fit(X, y)
    for prop in X:
        for measure in y:
            both = X[prop].notna() & y[measure].notna()
            alone = (table[both].to_numpy() for table in (X[[prop]], y[[measure]]))
            expected = spearman_p_values(*alone, None)
            assert row(correlator, prop, measure)["p_value"] == expected.item()


def test_three_models_are_never_significant():
    x = np.arange(3.0)[:, None]
    correlator = RobustnessCorrelator(methods="spearman", **PLAIN).fit(x, -x)
    found = row(correlator, "x0", "y")
    assert found["coefficient"] == pytest.approx(-1)
    assert found["p_value"] == pytest.approx(1 / 3)
    assert not correlator.support_.any()


def test_outliers_go_first_then_repeats_are_averaged():
    """As the paper has it, step by step with pandas."""
    rng = np.random.RandomState(0)
    graphs = rng.permutation(np.repeat(np.arange(20), 6))
    X = pd.DataFrame({"density": rng.normal(size=20)[graphs]})
    y = pd.Series(X["density"] + rng.standard_t(2, 120), name="error rate")
    correlator = RobustnessCorrelator(n_bootstrap=0).fit(X, y, groups=graphs)

    low, high = y.quantile(0.25), y.quantile(0.75)
    inside = y.between(low - 1.5 * (high - low), high + 1.5 * (high - low))
    assert 0 < (~inside).sum() < 30
    means = y[inside].groupby(graphs[inside]).mean()
    density = X["density"].groupby(graphs).first()
    expected = stats.spearmanr(density[means.index], means)
    found = row(correlator, "density", "error rate")
    assert_allclose(found["coefficient"], expected.statistic)
    assert_allclose(found["p_value"], expected.pvalue)
    assert found["n"] == 20
    assert found["n_outliers"] == (~inside).sum()
    assert list(correlator.values_) == ["density", "error rate"]
    assert_allclose(correlator.values_["error rate"], means)


def test_a_property_of_graphs_keeps_its_ties_when_repeats_are_averaged():
    """Means of equal values in groups of different size must not differ in a digit."""
    graphs = np.repeat(np.arange(9), np.arange(1, 10))
    X = np.where(graphs < 5, 0.1, 0.7)[:, None]
    y = np.random.RandomState(0).normal(size=len(X))
    values = RobustnessCorrelator(n_bootstrap=0).fit(X, y, groups=graphs).values_
    assert values["x0"].nunique() == 2
    constant = RobustnessCorrelator(n_bootstrap=0).fit(X * 0 + 0.1, y, groups=graphs)
    assert constant.correlations_["coefficient"].isna().all()


def test_without_averaging_every_row_counts():
    X, y = population()
    groups = np.repeat(np.arange(10), 4)
    correlator = RobustnessCorrelator(**PLAIN).fit(X, y, groups=groups)
    assert (correlator.correlations_["n"] == 40).all()


def test_intervals_of_repeats_that_are_not_averaged_know_the_groups():
    """Six copies of a graph are no six graphs: the interval must stay as wide."""
    X, y = population(n=20)
    options = PLAIN | {"n_bootstrap": 400, "random_state": 0}
    alone = RobustnessCorrelator(**options).fit(X, y)
    X, y = (pd.concat([part] * 6, ignore_index=True) for part in (X, y))
    graphs = np.tile(np.arange(20), 6)
    copies = RobustnessCorrelator(**options).fit(X, y, groups=graphs)
    careless = RobustnessCorrelator(**options).fit(X, y)

    def widths(correlator):
        table = correlator.correlations_
        return (table["ci_high"] - table["ci_low"]).to_numpy()

    assert_allclose(widths(copies), widths(alone), rtol=0.35)
    assert (widths(careless) < 0.6 * widths(copies)).all()


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("fill", [1.0, np.nan])
def test_constant_and_empty_columns_are_nan_and_none(method, fill):
    X, y = population()
    X["depth"], y["confidence"] = fill, fill
    correlator = RobustnessCorrelator(
        methods=method, n_bootstrap=3, n_permutations=99, random_state=0
    ).fit(X, y)
    dead = row(correlator, "depth", "error rate", method)
    assert dead["strength"] == "none"
    for name in ("coefficient", "p_value", "p_adjusted", "ci_low", "ci_high"):
        assert np.isnan(dead[name])
        assert np.isnan(row(correlator, "density", "confidence", method)[name])
    alive = row(correlator, "density", "error rate", method)
    assert alive["strength"] == "large"
    # Two tests were made, not six.
    assert alive["p_adjusted"] <= 2 * alive["p_value"] + 1e-15
    assert correlator.get_feature_names_out().tolist() == ["density"]


def test_words_of_cohen():
    """Pearson's coefficient of these columns is exact to the last digit or nearly."""
    x, z = np.repeat([-1.0, 1], 4), np.tile([-1.0, -1, 1, 1], 2)
    levels = [0.09, 0.11, 0.29, 0.31, 0.49, 0.51]
    y = np.column_stack([r * x + np.sqrt(1 - r * r) * z for r in [*levels, -0.31]])
    table = RobustnessCorrelator(methods="pearson", **PLAIN).fit(x[:, None], y)
    words = ["none", "small", "small", "medium", "medium", "large", "medium"]
    assert table.correlations_["strength"].tolist() == words
    assert_allclose(table.correlations_["coefficient"], [*levels, -0.31])


@pytest.mark.parametrize(
    ("y", "names"),
    [
        (np.arange(5.0), ["y"]),
        (np.arange(10.0).reshape(5, 2), ["y0", "y1"]),
        (pd.Series(np.arange(5.0)), ["y"]),
        (pd.Series(np.arange(5.0), name="eps"), ["eps"]),
        (pd.DataFrame({"eps": np.arange(5.0), 3: np.arange(5.0)}), ["eps", "3"]),
        ([1.0, 2.0, 3.0, 4.0, 5.0], ["y"]),
    ],
)
def test_names_of_measures_are_kept(y, names):
    X = np.arange(10.0).reshape(5, 2) ** 2
    correlator = RobustnessCorrelator(n_bootstrap=0).fit(X, y)
    assert correlator.measure_names_ == names
    assert correlator.correlations_["measure"].unique().tolist() == names
    assert correlator.correlations_["property"].unique().tolist() == ["x0", "x1"]


def test_keeps_properties_with_a_significant_effect():
    X, y = population()
    correlator = RobustnessCorrelator(n_bootstrap=0).fit(X, y)
    assert correlator.kept_pairs_.tolist() == [
        [True, False],
        [False, False],
        [False] * 2,
    ]
    assert list(correlator.set_output(transform="pandas").transform(X)) == ["density"]
    model = make_pipeline(RobustnessCorrelator(n_bootstrap=0), LinearRegression()).fit(
        X, y
    )
    assert model[-1].n_features_in_ == 1


def test_min_effect_asks_for_more_than_significance():
    X, y = population(n=400)
    y["confidence"] += 0.3 * X["depth"]
    assert RobustnessCorrelator(n_bootstrap=0).fit(X, y).support_.tolist() == [
        True,
        True,
        False,
    ]
    strict = RobustnessCorrelator(min_effect=0.5, n_bootstrap=0).fit(X, y)
    assert strict.support_.tolist() == [True, False, False]


@pytest.mark.parametrize("effect", [-0.1, 1.1])
def test_min_effect_is_the_size_of_a_coefficient(effect):
    X, y = population()
    with pytest.raises(ValueError, match=r"'min_effect' .* range \[0.0, 1.0\]"):
        RobustnessCorrelator(min_effect=effect, n_bootstrap=0).fit(X, y)


def test_spearman_selects_if_it_is_there_else_the_first():
    X, y = population()
    assert RobustnessCorrelator(methods=["xi", "spearman"], n_bootstrap=0).fit(
        X, y
    ).method_ == ("spearman")
    assert (
        RobustnessCorrelator(methods=["xi", "kendall"], n_bootstrap=0).fit(X, y).method_
        == "xi"
    )


def test_score_is_the_mean_effect_of_the_kept_pairs_on_new_models():
    X, y = population()
    new_X, new_y = population(seed=1)
    correlator = RobustnessCorrelator(outliers=None, n_bootstrap=0).fit(X, y)
    expected = stats.spearmanr(new_X["density"], new_y["error rate"]).statistic
    assert_allclose(correlator.score(new_X, new_y), abs(expected))
    # The order of named measures does not matter.
    assert_allclose(
        correlator.score(new_X, new_y[["confidence", "error rate"]]), expected
    )
    assert_allclose(correlator.score(new_X, new_y.to_numpy()), expected)
    new_X["density"] = 1.0
    assert correlator.score(new_X, new_y) == 0


def test_score_drops_outliers_by_the_bounds_of_fit():
    X, y = population()
    correlator = RobustnessCorrelator(n_bootstrap=0).fit(X, y)
    before = correlator.score(X, y)
    X, y = pd.concat([X, X[:1]]), pd.concat([y, y[:1] + 1000])
    assert correlator.score(X, y) == before


def test_score_is_zero_if_nothing_was_kept():
    X, y = population()
    correlator = RobustnessCorrelator(n_bootstrap=0).fit(X[["depth"]], y)
    assert correlator.score(X[["depth"]], y) == 0


def test_groups_are_routed_through_a_cross_validation():
    X, y = population(n=120)
    graphs = np.repeat(np.arange(24), 5)
    with config_context(enable_metadata_routing=True):
        correlator = (
            RobustnessCorrelator(n_bootstrap=0)
            .set_fit_request(groups=True)
            .set_score_request(groups=True)
        )
        scores = cross_val_score(
            correlator, X, y, params={"groups": graphs}, cv=GroupKFold(3)
        )
    correlator = RobustnessCorrelator(n_bootstrap=0)
    expected = [
        correlator.fit(X.iloc[train], y.iloc[train], groups=graphs[train]).score(
            X.iloc[test], y.iloc[test], groups=graphs[test]
        )
        for train, test in GroupKFold(3).split(X, y, graphs)
    ]
    assert_allclose(scores, expected)


def test_partial_finds_the_planted_relation_and_spearman_the_confounder():
    X, y = with_confounder(200, np.random.RandomState(0))
    X = pd.DataFrame(X, columns=["size", "depth", "width"])
    misled = RobustnessCorrelator(methods="spearman", n_bootstrap=0).fit(X, y)
    assert misled.get_feature_names_out().tolist() == ["size", "depth"]
    told = RobustnessCorrelator(methods="partial", n_bootstrap=0).fit(X, y)
    assert told.get_feature_names_out().tolist() == ["size", "width"]


@pytest.mark.parametrize("correction", ["holm", "benjamini-hochberg"])
def test_under_independence_false_discoveries_stay_at_alpha(correction):
    """All hypotheses are true here, so both corrections bound the same chance."""
    n_tables, alpha = 300, 0.1
    rng = np.random.RandomState(0)
    correlator = RobustnessCorrelator(alpha=alpha, correction=correction, n_bootstrap=0)
    fooled = raw = 0
    for _ in range(n_tables):
        X, y = rng.normal(size=(25, 4)), rng.normal(size=(25, 3))
        table = correlator.fit(X, y).correlations_
        fooled += (table["p_adjusted"] <= alpha).any()
        raw += (table["p_value"] <= alpha).any()
    assert fooled <= stats.binom(n_tables, alpha).ppf(0.999)
    # Without the correction most tables hold a discovery.
    assert raw > n_tables / 2


def test_shuffled_tests_keep_their_level_under_independence():
    n_tables, alpha = 200, 0.1
    rng = np.random.RandomState(0)
    correlator = RobustnessCorrelator(
        methods="distance", n_permutations=19, random_state=0, **PLAIN
    )
    rejected = [
        correlator.fit(rng.normal(size=(12, 1)), rng.normal(size=12))
        .correlations_["p_value"]
        .le(alpha)
        .all()
        for _ in range(n_tables)
    ]
    low, high = stats.binom(n_tables, alpha).interval(0.999)
    assert low <= np.sum(rejected) <= high


def test_one_seed_one_table():
    X, y = population(n=20)
    options = {
        "methods": ["spearman", "distance"],
        "n_bootstrap": 20,
        "n_permutations": 150,
    }
    first, again, other = (
        RobustnessCorrelator(random_state=seed, **options).fit(X, y).correlations_
        for seed in (0, 0, 1)
    )
    pd.testing.assert_frame_equal(first, again)
    assert not first.equals(other)


@pytest.mark.parametrize("method", METHODS)
def test_names_and_places_do_not_matter_to_the_numbers(method):
    X, y = population(n=20)
    correlator = RobustnessCorrelator(
        methods=method, n_permutations=1, random_state=0, **PLAIN
    )
    table = correlator.fit(X, y).correlations_
    turned = correlator.fit(X.iloc[:, ::-1], y.iloc[:, ::-1]).correlations_
    key = ["property", "measure"]
    assert_allclose(
        table.sort_values(key)["coefficient"],
        turned.sort_values(key)["coefficient"],
        atol=1e-6,
    )


def test_too_few_models():
    with pytest.raises(
        ValueError, match=r"2 sample\(s\) .* a minimum of 3 is required"
    ):
        RobustnessCorrelator(n_bootstrap=0).fit([[1.0], [2.0]], [1.0, 2.0])
    with pytest.raises(
        ValueError, match="Got 2 groups of models; at least 3 are needed"
    ):
        RobustnessCorrelator(n_bootstrap=0).fit(
            np.eye(4), np.arange(4.0), groups=[0, 0, 1, 1]
        )


def test_too_few_models_for_partial_are_told():
    X, y = np.random.RandomState(0).normal(size=(2, 5, 4))
    with pytest.warns(UndefinedMetricWarning, match="5 models or groups are too few"):
        correlator = RobustnessCorrelator(methods="partial", n_bootstrap=0).fit(X, y)
    assert correlator.correlations_["coefficient"].isna().all()


def test_shuffles_too_few_to_pass_the_correction_are_told():
    X, y = population(n=10)
    correlator = RobustnessCorrelator(
        methods="distance", n_permutations=99, random_state=0
    )
    # Six tests of at best .01 each cannot pass .05; of .05 / 6 they can.
    with pytest.warns(UserWarning, match="Use n_permutations=120 or more") as told:
        correlator.fit(X, y)
    assert told[0].filename == __file__
    correlator.set_params(n_permutations=119).fit(X, y)
    assert correlator.correlations_["p_adjusted"].min() == pytest.approx(0.05)
    correlator.set_params(n_permutations=99, correction="benjamini-hochberg").fit(X, y)
    assert len(correlator.correlations_) == 6


def test_unknown_method():
    X, y = population()
    with pytest.raises(ValueError, match="'pearsen' instead, did you mean 'pearson'"):
        RobustnessCorrelator(methods=["pearsen"]).fit(X, y)


def test_missing_columns():
    X, y = population()
    correlator = RobustnessCorrelator(n_bootstrap=0).fit(X, y)
    with pytest.raises(ValueError, match=r"(?s)yet now missing.*- density"):
        correlator.transform(X[["depth", "width"]])
    with pytest.raises(ValueError, match=r"measures \['confidence'\] seen at fit time"):
        correlator.score(X, y[["error rate"]])
    with pytest.raises(ValueError, match="missing in y, which has 1 columns"):
        correlator.score(X, y["confidence"].to_numpy())


def test_groups_that_do_not_fit():
    X, y = population()
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        RobustnessCorrelator(n_bootstrap=0).fit(X, y, groups=[0, 1])
    with pytest.raises(ValueError, match="groups must have one entry per model"):
        RobustnessCorrelator(n_bootstrap=0).fit(X, y, groups=np.zeros((40, 2)))
    with pytest.raises(ValueError, match="Input groups contains NaN"):
        RobustnessCorrelator(n_bootstrap=0).fit(X, y, groups=np.full(40, np.nan))


def test_infinite_measures_are_refused():
    X, y = population()
    y.iloc[0, 0] = np.inf
    with pytest.raises(ValueError, match="Input y contains infinity"):
        RobustnessCorrelator(n_bootstrap=0).fit(X, y)


def test_unfitted():
    with pytest.raises(NotFittedError, match="is not fitted yet"):
        RobustnessCorrelator(n_bootstrap=0).score(*population())
    with pytest.raises(NotFittedError, match="is not fitted yet"):
        RobustnessCorrelator(n_bootstrap=0).get_support()


def test_few_models_are_told():
    X, y = population(5)
    with pytest.warns(UserWarning, match="^5 models or groups are few .* of 0.017, "):
        RobustnessCorrelator(n_bootstrap=0).fit(X, y)
    # Groups count, not rows.
    X, y = population(40)
    with pytest.warns(UserWarning, match="^4 models or groups are few .* of 0.083, "):
        RobustnessCorrelator(n_bootstrap=0).fit(X, y, groups=np.arange(40) % 4)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        RobustnessCorrelator(n_bootstrap=0).fit(X, y, groups=np.arange(40) % 6)


def test_a_column_of_words_is_named():
    X, y = population()
    words = pd.DataFrame(X).assign(generator=["watts_strogatz", "geometric"] * 20)
    correlator = RobustnessCorrelator(n_bootstrap=0)
    told = "^X must hold numbers. Column 'generator' holds 'watts_strogatz'; drop"
    with pytest.raises(ValueError, match=told):
        correlator.fit(words, y)
    with pytest.raises(ValueError, match=r"^X must hold numbers\. Column 1 holds 'a'"):
        correlator.fit(np.array([[1, "a"], [2, 3], [4, 5]], dtype=object), [1, 2, 3])
    measures = pd.Series(["weak", "strong"] * 20, name="verdict")
    with pytest.raises(ValueError, match=r"^y must hold .* Column 'verdict' holds"):
        correlator.fit(X, measures)
    correlator.fit(X, y)
    with pytest.raises(ValueError, match=r"^X must hold .* Column 'generator'"):
        correlator.score(words, y)
    # What is wrong in another way is told as it was.
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        correlator.fit(X, y[:-1])
    with pytest.raises(ValueError, match="contains infinity"):
        correlator.fit(np.full((4, 2), np.inf), [1, 2, 3, 4])


def test_intervals_come_by_default():
    X, y = population()
    table = RobustnessCorrelator(random_state=0).fit(X, y).correlations_
    assert (table["ci_low"] <= table["coefficient"]).all()
    assert (table["coefficient"] <= table["ci_high"]).all()


def test_a_notebook_shows_the_strongest_pairs():
    X, y = population()
    correlator = RobustnessCorrelator(random_state=0).fit(X, y)
    table = correlator.correlations_.query("method == 'spearman'")
    strongest = table.loc[table["coefficient"].abs().sort_values().index[::-1]]
    html = correlator._html_summary()
    places = []
    for row in strongest.head(5).itertuples():
        cells = [row.property, row.measure, f"{row.coefficient:+.2f}"]
        told = "".join(f">{cell}</td><td" for cell in cells)
        texts = re.sub(r' style="[^"]*"', "", html)
        places.append(texts.index(told))
        assert f">{row.ci_low:+.2f} to {row.ci_high:+.2f}</td>" in texts
    assert places == sorted(places)
    n_kept = correlator.kept_pairs_.sum()
    assert f"{n_kept} of {correlator.kept_pairs_.size} pairs are significant" in html


def related(n, rho, *, repeats=1, noise=0.0, seed=0):
    """A property, a measure, and the graph of each model."""
    rng = np.random.default_rng(seed)
    x, y = rng.multivariate_normal([0, 0], [[1, rho], [rho, 1]], size=n).T
    graphs = np.repeat(np.arange(n), repeats)
    y = y[graphs] + noise * rng.normal(size=len(graphs))
    return x[graphs, None], y, graphs


def verdicts(X, y, graphs=None, **options):
    options = {"methods": "spearman", "outliers": None, "random_state": 0} | options
    return RobustnessCorrelator(**options).fit(X, y, graphs).correlations_


@pytest.mark.parametrize("method", ["spearman", "kendall", "pearson", "partial"])
def test_verdict_is_that_what_holds_is_not_carried_by_few(method):
    X, y, _ = related(100, 0.7)
    # "partial" needs another property.
    X = np.column_stack([X, np.random.default_rng(1).normal(size=100)])
    table = verdicts(X, y, methods=method, min_effect=0.3)
    assert table["verdict"][0] == "holds"
    assert verdicts(-X, y, methods=method, min_effect=0.3)["verdict"][0] == "holds"
    # Nineteen models of two hundred carry it: the others are on a parabola.
    X = np.random.default_rng(1).normal(size=(200, 2))
    x = np.append(np.linspace(-1, 1, 181), np.linspace(2, 3, 19))
    X[:, 0], y = x, np.where(x < 2, x**2, x)
    table = verdicts(X, y, methods=method, min_effect=0.1)
    assert table["p_adjusted"][0] < 0.05
    assert table["ci_low"][0] > 0
    assert table["coefficient"][0] > 0.1
    assert table["verdict"][0] == "undecided"


@pytest.mark.parametrize("seed", range(6))
def test_verdict_is_that_of_a_claim_of_the_same_pair(seed):
    rho = [0, 0.05, 0.8][seed % 3]
    X, y, graphs = related(300, rho, repeats=3, noise=0.5, seed=seed)
    (found,) = verdicts(X, y, graphs, min_effect=0.3).to_dict("records")
    table = pd.DataFrame({"x": X[:, 0], "y": y, "graph": graphs})
    claims = [Claim("x", "y", sign=1, smallest=0.3)]
    row = check_claims(table, claims, groups="graph", random_state=0).iloc[0]
    assert found["verdict"] == row.verdict == ["absent", "absent", "holds"][seed % 3]
    assert found["reliability"] == row.reliability
    assert_allclose(found["coefficient"], row.estimate)


def test_few_models_carry_nothing_although_no_size_is_too_small():
    """In half of such relations, chance leaves something of the same direction."""
    options = {"methods": "pearson", "n_bootstrap": 1}
    held = {"few": 0, "all": 0}
    for seed in range(24):
        x, y = np.random.default_rng(seed).normal(size=(2, 50))
        (all_,) = verdicts(x[:, None], x + y, **options)["verdict"]
        x[:5] += 6
        y[:5] += 6
        (few,) = verdicts(x[:, None], y, **options).to_dict("records")
        assert few["p_adjusted"] < 1e-3
        held["few"] += few["verdict"] == "holds"
        held["all"] += all_ == "holds"
    assert held["few"] <= 1
    assert held["all"] >= 23


def test_reliability_is_that_of_the_repeats():
    X, y, graphs = related(50, 0.9, repeats=4, noise=0.4)
    ranks = pd.Series(y).rank()
    statistic = stats.f_oneway(*(ranks[graphs == k] for k in range(50))).statistic
    (found,) = verdicts(X, y, graphs).to_dict("records")
    assert_allclose(found["reliability"], 1 - 1 / statistic)
    assert found["verdict"] == "holds"
    # Without groups nothing is known of it.
    (alone,) = verdicts(X[::4], y[::4]).to_dict("records")
    assert np.isnan(alone["reliability"])
    assert alone["verdict"] == "holds"
    # A measure that is noise explains nothing, whatever its p-value.
    X, y, graphs = related(60, 0.9, repeats=4, noise=20.0)
    (noise,) = verdicts(X, y, graphs, min_effect=0.5).to_dict("records")
    assert (noise["reliability"], noise["verdict"]) == (0, "undecided")


def test_nothing_holds_without_an_interval_or_where_repeats_are_counted():
    X, y, graphs = related(30, 0.9, repeats=2, noise=0.1)
    kept = {"aggregate": None, "correction": None}
    assert verdicts(X, y, graphs)["verdict"].tolist() == ["holds"]
    for table in (
        verdicts(X, y, graphs, **kept),
        verdicts(X, y, graphs, n_bootstrap=0),
        verdicts(X, y, graphs, methods="distance"),
        verdicts(X[:14], y[:14], graphs[:14]),
        verdicts(np.ones_like(X), y, graphs),
    ):
        assert table["verdict"].tolist() == ["undecided"]


def test_verdicts_of_columns_of_one_name_are_those_of_their_places():
    X, y, _ = related(40, 0.9)
    other = np.random.default_rng(5).normal(size=40)
    X = pd.DataFrame({"a": X[:, 0], "b": other})
    y = pd.DataFrame({"b": y, "a": other})
    table = verdicts(X, y, min_effect=0.1)
    assert table["verdict"].tolist() == ["holds", "undecided", "undecided", "holds"]


def test_a_fitted_correlator_can_be_stored():
    X, y = population()
    correlator = RobustnessCorrelator(n_bootstrap=0).fit(X, y)
    again = pickle.loads(pickle.dumps(correlator))
    pd.testing.assert_frame_equal(again.correlations_, correlator.correlations_)
    pd.testing.assert_frame_equal(again.values_, correlator.values_)


def test_a_notebook_names_the_level_of_its_intervals():
    X, y = population()
    correlator = RobustnessCorrelator(n_bootstrap=20, alpha=0.1, random_state=0).fit(
        X, y
    )
    assert ">90% interval<" in correlator._repr_html_()


def test_warning_of_few_models_names_the_line_of_the_user():
    X, y = population(n=4)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        RobustnessCorrelator(n_bootstrap=0).fit(X, y)
    (few,) = (w for w in caught if "are few to correlate" in str(w.message))
    assert few.filename == __file__


def test_a_control_of_two_values_is_held_fixed():
    rng = np.random.default_rng(0)
    which = np.repeat([0.0, 1.0], 30)
    x, y = 5 * which + rng.normal(size=60), 5 * which + rng.normal(size=60)
    table = pd.DataFrame({"x": x, "y": y, "which": which})
    free = correlate_given(table, ["x"], ["y"], [])["coefficient"][0]
    held = correlate_given(table, ["x"], ["y"], ["which"])["coefficient"][0]
    assert free > 0.6
    assert abs(held) < 0.4
