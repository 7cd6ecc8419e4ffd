"""Findings say what the numbers say, and never more."""

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose
from scipy import stats

from robustkit.study.report._findings import (
    VERDICTS,
    attacks_of,
    coefficient_rows,
    compare_initialisations,
    correlation_lines,
    findings_of,
    gather,
    headline_measures,
    margin_gaps,
    measure_rows,
    seconds_rows,
    variance_shares,
)
from robustkit.study.report._statements import alike, statements_of
from tests.study import populations


def evidence_of(table, correlator="fit", **settings):
    if correlator == "fit":
        correlator = populations.correlate(table)
    return gather(table, populations.columns_of(table), correlator, settings)


def test_failed_models_are_counted_and_left_out():
    table = populations.with_failures(populations.graphs())
    evidence = evidence_of(table)
    assert (evidence.n_rows, evidence.n_failed) == (240, 2)
    assert not set(evidence.results["model"]) & {3, 50}
    # Without the column that says so, a model without any measure has failed.
    assert evidence_of(table.drop(columns="error")).n_failed == 2


def test_columns_that_are_not_there_or_empty_are_left_out():
    table = populations.graphs(10).assign(n_layers=np.nan, prior__generator="ring")
    columns = populations.columns_of(table)
    columns["properties"].append("radius")
    evidence = gather(table.drop(columns="fgsm_error_rate"), columns, None, None)
    assert not {"radius", "n_layers"} & set(evidence.properties)
    assert "fgsm_error_rate" not in evidence.measures
    assert "prior__generator" in evidence.parameters
    assert evidence.settings == {}


def test_pairs_are_those_of_robustness_by_the_method_that_selects():
    evidence = evidence_of(populations.graphs(15))
    assert evidence.pairs["measure"].unique().tolist() == evidence.robustness
    assert "clean_accuracy" not in evidence.robustness
    assert "pgd_zero_gradient_share" not in evidence.robustness
    table = evidence.correlator.correlations_.query("method == 'spearman'")
    table = table[table["measure"].isin(evidence.robustness)]
    assert evidence.pairs["coefficient"].tolist() == table["coefficient"].tolist()
    assert evidence.held[["property", "measure"]].equals(
        evidence.pairs[["property", "measure"]]
    )


def test_holds_size_density_and_accuracy_fixed():
    evidence = evidence_of(populations.graphs(60))
    assert evidence.controls == ["n_parameters", "density", "clean_accuracy"]
    plain, held = (
        part.set_index(["property", "measure"])["p_adjusted"].xs(
            "fgsm_error_rate", level="measure"
        )
        for part in (evidence.pairs, evidence.held)
    )
    alpha = 0.05
    # As planted: purity goes its own way, path length only with the size.
    assert plain["mapper_purity"] < alpha > held["mapper_purity"]
    assert plain["directed_path_length"] < alpha < held["directed_path_length"]
    assert plain["diameter"] > alpha < held["diameter"]


def test_controls_that_were_not_correlated_hold_nothing():
    table = populations.graphs(15).drop(columns=["density", "clean_accuracy"])
    assert evidence_of(table).controls == ["n_parameters"]


def test_one_row_a_graph_but_every_row_of_pruning():
    assert len(evidence_of(populations.graphs(15)).graphs()) == 15
    pruned = evidence_of(populations.pruning())
    assert pruned.is_pruned
    assert len(pruned.graphs()) == 84


def test_initialisations_keep_their_order_although_a_model_failed():
    table = populations.with_failures(populations.graphs())
    assert evidence_of(table).inits == list(populations.INITS)


def test_without_a_correlation_there_are_no_pairs():
    evidence = evidence_of(populations.graphs(2), None)
    assert evidence.pairs.empty
    assert evidence.held.empty
    assert evidence.correlator is None


def test_an_empty_table():
    evidence = gather(pd.DataFrame(), {}, None, None)
    assert evidence.n_rows == evidence.n_failed == 0
    assert evidence.robustness == []


PAIR = {
    "property": "density",
    "measure": "fgsm_error_rate",
    "coefficient": 0.6,
    "p_value": 0.001,
    "p_adjusted": 0.01,
    "ci_low": 0.4,
    "ci_high": 0.7,
    "n": 50,
    "strength": "large",
}
GIVEN = {
    "coefficient": 0.5,
    "p_value": 0.001,
    "p_adjusted": 0.02,
    "n": 50,
    "verdict": "holds",
    "reason": "",
}


class Correlator:
    """Of a correlator, what a finding needs."""

    alpha = 0.05

    def __init__(self, method):
        self.method_ = method


class Evidence:
    """Of the evidence, what a finding needs."""

    def __init__(self, *pairs, method="spearman"):
        self.correlator = Correlator(method)
        self.pairs = pd.DataFrame([PAIR | pair for pair, _ in pairs])
        self.held = pd.DataFrame([GIVEN | given for _, given in pairs])


def found(pair=(), given=(), method="spearman"):
    return findings_of(Evidence((dict(pair), dict(given)), method=method))


def statement(some):
    """The one sentence about the findings."""
    (said,) = (said for group in statements_of(some).values() for said in group)
    return said


@pytest.mark.parametrize(
    ("pair", "given", "verdict"),
    [
        ({}, {}, "independent"),
        ({}, {"verdict": "undecided"}, "unsettled"),
        ({}, {"verdict": "absent", "coefficient": -0.5}, "unsettled"),
        ({}, {"p_adjusted": 0.2}, "explained"),
        ({}, {"coefficient": -0.5}, "reversed"),
        ({}, {"coefficient": -0.1, "p_adjusted": 0.5}, "explained"),
        ({}, {"coefficient": np.nan, "p_adjusted": np.nan}, "inseparable"),
        ({"p_adjusted": 0.2}, {}, "suppressed"),
        ({"p_adjusted": 0.2}, {"p_adjusted": 0.2}, None),
        ({"p_adjusted": np.nan}, {"p_adjusted": np.nan}, None),
    ],
)
def test_verdicts(pair, given, verdict):
    verdicts = [finding.verdict for finding in found(pair, given)]
    assert verdicts == ([] if verdict is None else [verdict])
    assert verdict is None or verdict in VERDICTS


@pytest.mark.parametrize(
    ("measure", "coefficient", "sentence"),
    [
        (
            "fgsm_error_rate",
            0.6,
            "As the density increases, the FGSM error rate increases: models are less "
            "robust.",
        ),
        (
            "fgsm_error_rate",
            -0.6,
            "As the density increases, the FGSM error rate decreases: models are more "
            "robust.",
        ),
        (
            "pgd_robust_accuracy",
            0.6,
            "As the density increases, the PGD robust accuracy increases: models are "
            "more robust.",
        ),
        (
            "fgsm_average_confidence",
            0.6,
            "As the density increases, the FGSM confidence increases.",
        ),
    ],
)
def test_statement_says_what_it_means_for_robustness(measure, coefficient, sentence):
    some = found(
        {"measure": measure, "coefficient": coefficient}, {"coefficient": coefficient}
    )
    assert statement(some).sentence == sentence


def test_suppressed_finding_is_described_by_the_partial_coefficient():
    """The pair goes the other way here; what was found is with controls fixed."""
    said = statement(found({"coefficient": -0.1, "p_adjusted": 1.0}))
    assert "the FGSM error rate increases" in said.sentence
    assert said.numbers == "ρ given the controls = 0.50, adjusted p = 0.020"


def test_measures_of_a_property_share_a_sentence():
    eps = {"measure": "growing_average_eps", "coefficient": -0.7}
    pgd = {"measure": "pgd_error_rate", "coefficient": 0.65}
    evidence = Evidence(({}, {}), (eps, {"coefficient": -0.3}), (pgd, {}))
    said = statement(findings_of(evidence))
    assert said.property == "density"
    assert said.sentence == (
        "As the density increases, the growing FGSM average eps decreases, while the "
        "PGD error rate and the FGSM error rate increase: models are less robust."
    )
    assert said.numbers == (
        "ρ of size 0.60 to 0.70, adjusted p ≤ 0.010; given the controls of size 0.30 "
        "to 0.50, adjusted p ≤ 0.020"
    )


def test_many_measures_are_counted():
    names = [f"attack {k}_error_rate" for k in range(6)]
    some = findings_of(Evidence(*(({"measure": name}, {}) for name in names)))
    sentence = statement(some).sentence
    assert "attack 3 error rate increase (2 more measures" in sentence
    assert "attack 4" not in sentence
    some = findings_of(Evidence(*(({"measure": name}, {}) for name in names[:5])))
    assert "(1 more measure in the table" in statement(some).sentence


def test_measures_that_disagree_mean_nothing():
    other = {"measure": "pgd_error_rate", "coefficient": -0.6}
    some = findings_of(Evidence(({}, {}), (other, {"coefficient": -0.5})))
    assert "robust" not in statement(some).sentence


def test_coefficient_without_sign_has_no_direction():
    said = statement(found(method="distance"))
    assert said.sentence == "The density is associated with the FGSM error rate."
    assert said.numbers.startswith("Distance correlation = 0.60 [0.40, 0.70], ")
    (finding,) = found(given={"coefficient": -0.5}, method="distance")
    assert finding.verdict == "independent"


def test_numbers_of_one_finding_are_complete():
    said = statement(found({"p_adjusted": 0.0001}, {"coefficient": np.nan}))
    assert said.numbers == (
        "ρ = 0.60 [0.40, 0.70], adjusted p < 0.001; given the controls undefined"
    )
    said = statement(found({"ci_low": np.nan, "ci_high": np.nan}))
    assert said.numbers == (
        "ρ = 0.60, adjusted p = 0.010; given the controls = 0.50, adjusted p = 0.020"
    )


def test_independent_property_is_not_listed_as_explained():
    pgd = {"measure": "pgd_error_rate"}
    evidence = Evidence(({}, {}), (pgd, {"p_adjusted": 0.5}))
    statements = statements_of(findings_of(evidence))
    assert [said.property for said in statements["independent"]] == ["density"]
    assert statements["explained"] == []


def test_headline_measures_are_one_per_attack():
    table = populations.graphs(15)
    assert headline_measures(evidence_of(table)) == [
        "fgsm_error_rate",
        "pgd_robust_accuracy_margin",
        "growing_average_eps",
        "one_pixel_error_rate",
    ]
    assert headline_measures(evidence_of(table, None)) == []


def test_confidence_is_a_headline_only_where_there_is_room():
    names = ["first_average_confidence", *(f"a{k}_average_eps" for k in range(4))]
    evidence = Evidence(*(({"measure": name}, {}) for name in names))
    assert headline_measures(evidence) == names[1:]
    evidence = Evidence(*(({"measure": name}, {}) for name in names[:4]))
    assert headline_measures(evidence) == names[:4]


def test_headline_measures_have_a_coefficient():
    table = populations.graphs(15).assign(fgsm_error_rate=0.5)
    assert "fgsm_average_confidence" in headline_measures(evidence_of(table))


def test_rows_of_coefficients_are_ordered_by_strength_and_have_a_meaning():
    evidence = evidence_of(populations.graphs(60))
    rows = coefficient_rows(evidence, ["fgsm_error_rate"])
    sizes = [abs(pair["coefficient"]) for ((pair, _, _),) in rows.values()]
    assert sizes == sorted(sizes, reverse=True)
    ((pair, given, meaning),) = rows["mapper_purity"]
    assert pair["coefficient"] < 0 > given["coefficient"]
    assert meaning == 1
    assert rows["average_closeness"][0][2] is None
    every = coefficient_rows(evidence)
    assert sum(map(len, every.values())) == len(evidence.pairs)


def test_distributions_leave_out_missing_values():
    evidence = evidence_of(populations.with_failures(populations.graphs()), None)
    (row,) = measure_rows(evidence, ["one_pixel_average_confidence"])
    values = evidence.results["one_pixel_average_confidence"].dropna()
    assert row["n"] == len(values) == 238 - 11
    assert (row["low"], row["high"]) == (values.min(), values.max())
    assert row["middle"] == values.median()


def test_models_with_a_hidden_gradient_are_counted():
    table = populations.graphs(10)
    table["pgd_robust_accuracy_margin"] = table["pgd_robust_accuracy_ce"] - 0.05
    table.loc[:2, "pgd_robust_accuracy_margin"] -= 0.06
    assert list(margin_gaps(evidence_of(table, None))) == [("PGD", 3, 60)]
    table = table.drop(columns="pgd_robust_accuracy_ce")
    assert list(margin_gaps(evidence_of(table, None))) == []


def test_attacks_and_seconds_are_named():
    evidence = evidence_of(populations.graphs(4), None)
    assert attacks_of(evidence) == ["FGSM", "PGD", "growing FGSM", "One Pixel"]
    (row,) = seconds_rows(evidence)
    assert row["part"] == "train"
    assert_allclose(row["hours"], evidence.results["seconds_train"].sum() / 3600)


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        ([{"robustkit.FGSMAttack": {"eps": 0.1}}, None], "FGSM (eps 0.1)"),
        (
            [{"PGDAttack": {"eps": 8 / 255, "norm": "linf", "max_iter": 7}}, 20],
            "FGSM (l∞, eps 0.0313725, 7 steps, 20 images)",
        ),
        ([{"FGSMAttack": {"eps": [0.1, 0.2]}}, None], "FGSM (eps per feature)"),
        ([{"GrowingEpsilonAttack": {"start": 0.1, "stop": 2}}, None],
         "FGSM (eps from 0.1, to 2)"),
        ({"FGSMAttack": {"eps": 0.1}}, "FGSM (eps 0.1)"),
        ([{"OnePixelAttack": {"method": "certified", "max_iter": 500}}, 100],
         "FGSM (certified, 100 images)"),
        ([{"OnePixelAttack": {"method": "differential_evolution", "max_iter": 9}}, 5],
         "FGSM (9 steps, differential_evolution, 5 images)"),
        ([{"FGSMAttack": {}}, None], "FGSM"),
        ("anything", "FGSM"),
        (None, "FGSM"),
    ],
)  # fmt: skip
def test_attacks_are_told_with_their_settings(asked, told):
    evidence = evidence_of(populations.graphs(4), None, attacks={"fgsm": asked})
    assert attacks_of(evidence)[0] == told


def test_properties_that_rank_the_models_alike_share_a_statement():
    table = populations.graphs(60)
    table["n_layers"] = -np.exp(50 * table["mapper_purity"])
    evidence = evidence_of(table)
    groups = alike(evidence)
    names = [name for group in groups for name in group]
    assert sorted(names) == sorted(set(evidence.pairs["property"]))
    (group,) = (group for group in groups if "n_layers" in group)
    assert group == {"n_layers", "mapper_purity"}
    statements = statements_of(findings_of(evidence), groups)["independent"]
    (said,) = (s for s in statements if "layers" in s.property + str(s.alike))
    assert {said.property, *said.alike} == {"number of layers", "mapper purity"}
    (other,) = said.alike
    assert said.likewise == (
        f"The opposite was found of the {other}: it ranks the models in reverse."
    )
    alone = statements_of(findings_of(evidence))["independent"]
    assert [s.alike for s in alone] == [[]] * len(alone)
    assert len(alone) == len(statements) + 1


def likewise(*pairs, names=("density", "n_layers", "diameter")):
    """Statements about properties that rank the models alike."""
    pairs = [
        ({"property": name, "measure": measure, "coefficient": size},
         {"coefficient": size})
        for name, measure, size in pairs
    ]  # fmt: skip
    said = statements_of(findings_of(Evidence(*pairs)), [set(names)])["independent"]
    return [(one.property, one.alike, one.likewise) for one in said]


def test_the_same_is_said_only_of_the_same():
    assert likewise(
        ("density", "fgsm_error_rate", 0.9),
        ("n_layers", "fgsm_error_rate", -0.8),
        ("diameter", "fgsm_error_rate", 0.7),
    ) == [
        (
            "density",
            ["number of layers", "diameter"],
            "The same was found of the diameter and the opposite was found of the "
            "number of layers: they rank the models alike or in reverse.",
        )
    ]
    assert likewise(
        ("density", "fgsm_error_rate", 0.9),
        ("density", "pgd_error_rate", 0.9),
        ("n_layers", "fgsm_error_rate", 0.8),
    ) == [
        (
            "density",
            ["number of layers"],
            "The same was found of the number of layers, if not for all the same "
            "measures: it ranks the models alike.",
        )
    ]


def test_what_was_found_of_other_measures_is_said_by_itself():
    apart = [("density", [], ""), ("number of layers", [], "")]
    assert apart == likewise(
        ("density", "fgsm_error_rate", 0.9), ("n_layers", "fgsm_average_eps", 0.8)
    )
    assert apart == likewise(
        ("density", "fgsm_error_rate", 0.9),
        ("density", "pgd_error_rate", 0.9),
        ("n_layers", "fgsm_error_rate", 0.8),
        ("n_layers", "pgd_error_rate", -0.8),
    )


def test_a_perfect_order_of_few_models_is_not_the_strongest():
    table = populations.graphs(60)
    rare = "pgd_robust_accuracy_gradient_free"
    table[rare] = np.nan
    for graph in range(4):
        of_graph = table["graph"] == graph
        table.loc[of_graph, rare] = table.loc[of_graph, "average_closeness"]
    evidence = evidence_of(table)
    perfect = evidence.pairs.query(
        "measure == @rare and property == 'average_closeness'"
    )
    assert_allclose(perfect["coefficient"], 1)
    assert next(iter(coefficient_rows(evidence))) != "average_closeness"
    lines = correlation_lines(evidence.correlator)[1:]
    assert not any("without gradient" in line for line in lines)


def test_variance_shares_of_noise_are_small():
    rng = np.random.default_rng(0)
    table = pd.DataFrame(
        {"graph": np.repeat(np.arange(400), 3), "init": np.tile(list("abc"), 400)}
    )
    shares = variance_shares(table.assign(error=rng.normal(size=1200)), ["error"])
    assert_allclose(shares[["graph", "init"]], 0, atol=0.06)
    assert (shares[["graph", "init"]] >= 0).all(axis=None)


def test_variance_shares_are_those_of_an_analysis_of_variance():
    """With random effects: the mean squares less the one of the residuals."""
    n_graphs, n_inits = 6, 4
    rng = np.random.default_rng(1)
    error = rng.normal(size=(n_graphs, n_inits))
    error += 2 * rng.normal(size=(n_graphs, 1)) + rng.normal(size=n_inits)
    table = pd.DataFrame(
        {
            "graph": np.repeat(np.arange(n_graphs), n_inits),
            "init": np.tile(list("abcd"), n_graphs),
            "error": error.ravel(),
        }
    )
    mean, of_graph, of_init = error.mean(), error.mean(axis=1), error.mean(axis=0)
    rest = error - of_graph[:, None] - of_init + mean
    freedom = (n_graphs - 1) * (n_inits - 1)
    noise = (rest**2).sum() / freedom
    squares = n_inits * of_graph.var(ddof=1), n_graphs * of_init.var(ddof=1)
    # The variance of the effects that were drawn, not of all that might have been.
    graph = (squares[0] - noise) / n_inits * (n_graphs - 1) / n_graphs
    init = (squares[1] - noise) / n_graphs * (n_inits - 1) / n_inits
    (row,) = variance_shares(table, ["error"]).to_dict("records")
    assert_allclose(row["graph"], graph / error.var())
    assert_allclose(row["init"], init / error.var())


def test_what_one_initialisation_carries_is_unsettled():
    table = populations.graphs(60)
    rng = np.random.default_rng(0)
    for name in populations.columns_of(table)["measures"]:
        if name.startswith(("fgsm", "pgd", "growing", "one_pixel")):
            table[name] = rng.normal(size=len(table))
    purity = (table["mapper_purity"] - 0.9) / 0.02
    of_one = table["init"] == "normal"
    table.loc[of_one, "fgsm_error_rate"] = -4 * purity[of_one]
    # Such values are not outliers here.
    correlator = populations.correlate(table, outliers=None)
    (finding,) = (
        finding
        for finding in findings_of(evidence_of(table, correlator))
        if finding.property == "mapper_purity"
    )
    assert finding.verdict == "unsettled"
    assert finding.given["reason"]


def test_variance_shares_are_those_that_were_planted():
    rng = np.random.default_rng(0)
    of_graph, of_init = 3 * rng.normal(size=400), np.array([-1.0, 0.0, 1.0])
    table = pd.DataFrame(
        {"graph": np.repeat(np.arange(400), 3), "init": np.tile(list("abc"), 400)}
    )
    planted = np.repeat(of_graph, 3) + 2 * np.tile(of_init, 400)
    table["error"] = planted + rng.normal(size=1200)
    (row,) = variance_shares(table, ["error"]).to_dict("records")
    total = 9 + 4 * 2 / 3 + 1
    assert_allclose(row["graph"], 9 / total, atol=0.06)
    assert_allclose(row["init"], 4 * 2 / 3 / total, atol=0.04)
    assert_allclose(row["graph"] + row["init"] + row["rest"], 1)
    exact = variance_shares(table.assign(error=planted), ["error"])
    assert_allclose(exact["rest"], 0, atol=1e-12)
    assert variance_shares(table.assign(error=1.0), ["error"]).empty
    assert variance_shares(table[table["init"] == "a"], ["error"]).empty
    assert variance_shares(table.drop(columns="init"), ["error"]).empty


def test_planted_relations_are_found_and_confounded_ones_explained():
    table = populations.graphs(60)
    evidence = gather(
        table, populations.columns_of(table), populations.correlate(table), None
    )
    verdicts = {}
    for finding in findings_of(evidence):
        verdicts.setdefault(finding.property, set()).add(finding.verdict)
    assert verdicts["mapper_purity"] == {"independent"}
    assert verdicts["directed_path_length"] == {"explained"}
    assert not {"diameter", "regions_prs_ratio"} & set(verdicts)
    sizes = [abs(finding.coefficient) for finding in findings_of(evidence)]
    assert sizes == sorted(sizes, reverse=True)


def test_without_a_correlation_nothing_is_found():
    table = populations.graphs(2)
    assert findings_of(gather(table, populations.columns_of(table), None, None)) == []


def population(n_graphs=20, n_inits=4, effect=0.0, seed=0):
    rng = np.random.RandomState(seed)
    table = pd.DataFrame(
        {
            "graph": np.repeat(np.arange(n_graphs), n_inits),
            "init": np.tile(np.arange(n_inits), n_graphs),
        }
    )
    of_graph = np.repeat(10 * rng.normal(size=n_graphs), n_inits)
    table["error"] = of_graph + effect * table["init"] + rng.normal(size=len(table))
    return table


def test_w_is_the_concordance_of_ranks():
    table = population(effect=0.5)
    (found,) = compare_initialisations(table, ["error"]).to_dict("records")
    n, k = 20, 4
    ranks = stats.rankdata(table["error"].to_numpy().reshape(n, k), axis=1)
    deviations = ranks.sum(axis=0) - n * (k + 1) / 2
    w = 12 * (deviations**2).sum() / (n**2 * (k**3 - k))
    assert_allclose(found["w"], w)
    assert_allclose(found["p_value"], stats.chi2(k - 1).sf(n * (k - 1) * w))
    assert found["n"] == n


def test_an_initialisation_that_matters_is_seen_and_no_other():
    assert compare_initialisations(population(effect=2), ["error"])["p_value"][0] < 1e-6
    # The graphs differ much more than that, and must not hide or make it.
    fooled = [
        compare_initialisations(population(seed=s), ["error"])["p_value"][0] <= 0.1
        for s in range(100)
    ]
    assert np.sum(fooled) <= stats.binom(100, 0.1).ppf(0.999)


def test_graphs_without_some_initialisation_are_left_out():
    table = population()
    table.loc[5, "error"] = np.nan
    expected = compare_initialisations(table[table["graph"] != 1], ["error"])
    pd.testing.assert_frame_equal(compare_initialisations(table, ["error"]), expected)


def test_several_measures_are_corrected():
    table = populations.graphs(12)
    found = compare_initialisations(table, ["fgsm_error_rate", "one_pixel_error_rate"])
    smallest = found["p_value"].min()
    assert_allclose(found["p_adjusted"].min(), min(2 * smallest, 1))


def test_too_few_graphs_or_initialisations_and_constants_are_not_tested():
    assert compare_initialisations(population(n_graphs=9), ["error"]).empty
    assert compare_initialisations(population(n_inits=2), ["error"]).empty
    assert compare_initialisations(population().assign(error=1.0), ["error"]).empty
    assert compare_initialisations(population(), []).empty


@pytest.fixture(scope="module")
def correlator():
    return populations.correlate(populations.graphs(40))


def test_lines_fit_a_terminal_and_name_each_property_once(correlator):
    lines = correlation_lines(correlator)
    assert max(map(len, lines)) <= 80
    names = [line[:22].strip() for line in lines[1:-2]]
    assert names[0] == "mapper purity"
    assert len(names) == len(set(names)) == 11


def test_lines_have_the_strongest_measure_of_each_property(correlator):
    table = correlator.correlations_.query("method == 'spearman'")
    purity = table[table["property"] == "mapper_purity"]
    purity = purity[purity["measure"].str.contains("error|eps|robust|confidence")]
    best = purity.loc[purity["coefficient"].abs().idxmax()]
    line = correlation_lines(correlator)[1]
    assert f"{abs(best['coefficient']):.2f}*" in line
    assert f"{abs(best['ci_low']):.2f}" in line
    assert line.endswith("<0.001")


def test_lines_say_how_many_tests_were_made(correlator):
    n_tests = correlator.correlations_["p_value"].count()
    assert f"after correction for {n_tests} tests" in correlation_lines(correlator)[-1]
    assert "n = 40" in correlation_lines(correlator)[-2]


def test_number_of_lines(correlator):
    assert len(correlation_lines(correlator, n_lines=3)) == 1 + 3 + 2


def test_lines_cut_long_names():
    table = populations.graphs(10)
    table["mapper_" + "x" * 50] = np.arange(len(table))
    lines = correlation_lines(populations.correlate(table), n_lines=100)
    assert max(map(len, lines)) <= 80
    assert any("xxx…" in line for line in lines)


def test_lines_without_any_correlation():
    assert correlation_lines(None) == ["Too few models to correlate."]
    table = populations.graphs(10)
    for name in populations.columns_of(table)["properties"]:
        table[name] = 1.0
    (line,) = correlation_lines(populations.correlate(table))
    assert line == "No property varies together with a measure of robustness."
