"""What a report rests on is in the table, and nothing else is."""

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose
from scipy import stats

from robustkit.correlation import RobustnessCorrelator
from robustkit.study._evidence import correlate_published, gather
from robustkit.study._published import TABLES
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


def test_published_pairs_are_correlated_graph_by_graph():
    table = populations.graphs(30)
    found = correlate_published(evidence_of(table), TABLES[0])
    means = table.groupby("graph")[["density", "growing_average_eps"]].mean()
    row = found["density", "growing_average_eps", "kendall"]
    assert row["n"] == 30
    # Outliers are dropped before: only then do the two agree to the last digit.
    correlator = RobustnessCorrelator(methods="kendall")
    correlator.fit(
        table[["density"]], table["growing_average_eps"], groups=table["graph"]
    )
    assert_allclose(row["coefficient"], correlator.correlations_["coefficient"][0])
    assert_allclose(
        row["coefficient"], stats.kendalltau(*means.T.to_numpy())[0], atol=0.2
    )
    # A family of its own: four properties by five measures, two methods.
    columns = {key[0] for key in found}
    assert columns == {
        "n_parameters",
        "density",
        "average_path_length",
        "directed_path_length",
        "average_eccentricity",
    }


def test_published_pairs_take_the_settings_of_the_study():
    table = populations.graphs(30)
    correlator = populations.correlate(table, n_bootstrap=0, outliers=None)
    found = correlate_published(evidence_of(table, correlator), TABLES[0])
    row = found["density", "fgsm_error_rate", "spearman"]
    means = table.groupby("graph")[["density", "fgsm_error_rate"]].mean()
    assert_allclose(row["coefficient"], stats.spearmanr(means).statistic)
    assert np.isnan(row["ci_low"])


@pytest.mark.parametrize(
    "table",
    [
        populations.graphs(2),
        populations.graphs(10).drop(columns=["fgsm_error_rate"]).iloc[:, :5],
    ],
    ids=["two graphs", "no columns"],
)
def test_published_pairs_that_can_not_be_correlated_are_none(table):
    assert correlate_published(evidence_of(table, None), TABLES[0]) == {}


def test_without_a_correlation_there_are_no_pairs():
    evidence = evidence_of(populations.graphs(2), None)
    assert evidence.pairs.empty
    assert evidence.held.empty
    assert evidence.correlator is None


def test_an_empty_table():
    evidence = gather(pd.DataFrame(), {}, None, None)
    assert evidence.n_rows == evidence.n_failed == 0
    assert evidence.robustness == []
