"""The published numbers, read once more from the paper, and the same of a study."""

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy import stats

from papers.random_graphs.published import F1_SCORES, TABLES, correlate_published
from robustkit.correlation import RobustnessCorrelator
from robustkit.study.report import gather, label
from robustkit.study.report._labels import is_robustness
from tests.study import populations

# Of table 1 and 2, the values of rho in the words of the paper.
BY_HAND = {
    (1, "n_parameters", "one_pixel_error_rate"): (-0.58, -0.40),
    (1, "density", "fgsm_average_confidence"): (-0.66, -0.52),
    (1, "directed_path_length", "growing_average_eps"): (-0.30, -0.22),
    (1, "average_eccentricity", "one_pixel_average_confidence"): (0.21, 0.14),
    (1, "average_eccentricity", "fgsm_error_rate"): (None, None),
    (2, "n_parameters", "growing_average_eps"): (0.66, 0.46),
    (2, "directed_path_length", "fgsm_average_confidence"): (0.64, 0.45),
    (2, "average_eccentricity", "one_pixel_error_rate"): (-0.34, -0.22),
}


def rows():
    return {
        (table.number, row.property_columns[0], row.measure_column): row
        for table in TABLES
        for row in table.rows
    }


@pytest.mark.parametrize("place", BY_HAND)
def test_published_cells(place):
    row = rows()[place]
    assert (row.rho, row.tau) == BY_HAND[place]


def test_every_table_has_four_properties_by_five_measures():
    assert len(rows()) == 2 * 4 * 5
    assert [table.population for table in TABLES] == ["graphs", "pruning"]
    empty = [place for place, row in rows().items() if row.rho is None]
    assert len(empty) == (2 + 3) + 3
    for row in rows().values():
        assert (row.rho is None) == (row.tau is None)
        assert row.rho is None or abs(row.tau) < abs(row.rho) or row.tau * row.rho < 0


def test_signs_that_contradict_each_other_are_printed_as_published():
    contradicted = {
        place
        for place, row in rows().items()
        if row.rho is not None and row.rho * row.tau < 0
    }
    assert contradicted == {
        (2, "n_parameters", "one_pixel_average_confidence"),
        (2, "density", "growing_average_eps"),
    }


def test_columns_are_ones_that_a_study_knows():
    for row in rows().values():
        assert is_robustness(row.measure_column)
        for column in row.property_columns:
            assert label(column) != column or column in ("density",)


def test_scores_are_low_mean_and_high():
    for low, mean, high in F1_SCORES.values():
        assert low < mean < high


def evidence_of(table, correlator="fit", **settings):
    if correlator == "fit":
        correlator = populations.correlate(table)
    return gather(table, populations.columns_of(table), correlator, settings)


def test_published_pairs_are_correlated_graph_by_graph():
    table = populations.graphs(30)
    found = correlate_published(evidence_of(table), TABLES[0])
    means = table.groupby("graph")[["density", "growing_average_eps"]].mean()
    row = found["density", "growing_average_eps", "kendall"]
    assert row["n"] == 30
    # Outliers are dropped before: only then do the two agree to the last digit.
    correlator = RobustnessCorrelator(methods="kendall", n_bootstrap=0)
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
def test_published_pairs_that_cannot_be_correlated_are_none(table):
    assert correlate_published(evidence_of(table, None), TABLES[0]) == {}
