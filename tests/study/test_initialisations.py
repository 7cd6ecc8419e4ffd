"""Friedman's test, against ranks by hand, and its silence where it can not speak."""

import numpy as np
import pandas as pd
from numpy.testing import assert_allclose
from scipy import stats

from robustkit.study._initialisations import compare_initialisations
from tests.study import populations


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
