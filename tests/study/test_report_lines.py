"""The table for a terminal: short lines, the strongest first, nothing invented."""

import numpy as np
import pytest

from robustkit.study._report_lines import correlation_lines
from tests.study import populations


@pytest.fixture(scope="module")
def correlator():
    return populations.correlate(populations.graphs(40))


def test_fits_a_terminal_and_names_each_property_once(correlator):
    lines = correlation_lines(correlator)
    assert max(map(len, lines)) <= 80
    names = [line[:22].strip() for line in lines[1:-2]]
    assert names[0] == "mapper purity"
    assert len(names) == len(set(names)) == 11


def test_each_property_has_its_strongest_measure_and_its_numbers(correlator):
    table = correlator.correlations_.query("method == 'spearman'")
    purity = table[table["property"] == "mapper_purity"]
    purity = purity[purity["measure"].str.contains("error|eps|robust|confidence")]
    best = purity.loc[purity["coefficient"].abs().idxmax()]
    line = correlation_lines(correlator)[1]
    assert f"{abs(best['coefficient']):.2f}*" in line
    assert f"{abs(best['ci_low']):.2f}" in line
    assert line.endswith("<0.001")


def test_says_how_many_tests_were_made(correlator):
    n_tests = correlator.correlations_["p_value"].count()
    assert f"the correction for {n_tests} tests" in correlation_lines(correlator)[-1]
    assert "n = 40" in correlation_lines(correlator)[-2]


def test_as_many_lines_as_asked_for(correlator):
    assert len(correlation_lines(correlator, n_lines=3)) == 1 + 3 + 2


def test_long_names_are_cut():
    table = populations.graphs(10)
    table["mapper_" + "x" * 50] = np.arange(len(table))
    lines = correlation_lines(populations.correlate(table), n_lines=100)
    assert max(map(len, lines)) <= 80
    assert any("xxx…" in line for line in lines)


def test_nothing_to_show():
    assert correlation_lines(None) == ["Too few models to correlate."]
    table = populations.graphs(10)
    for name in populations.columns_of(table)["properties"]:
        table[name] = 1.0
    (line,) = correlation_lines(populations.correlate(table))
    assert line == "No property varies together with a measure of robustness."
