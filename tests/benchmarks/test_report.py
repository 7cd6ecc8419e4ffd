"""A table says what the store holds."""

import json
from pathlib import Path

import pytest

from benchmarks import report
from benchmarks.store import equivalent_mutants
from tests.benchmarks.examples import BARE, ENTRY, GROWN, RESULT

BENCHMARKS = Path(report.__file__).parent


@pytest.mark.parametrize(
    ("value", "text"),
    [(2, "2 s"), (0.0123, "12.3 ms"), (4.5e-6, "4.5 µs"), (1e-9, "1 ns")],
)
def test_a_time_has_a_unit_that_reads_well(value, text):
    assert report.seconds(value) == text


def test_cells_of_a_case():
    cells = dict(zip(report.CASE_HEADINGS, report.case_cells(RESULT), strict=True))
    assert cells["ours"] == "1.2 ms"
    assert cells["ours / theirs (middle half)"] == "0.01 (0.009 to 0.011)"
    assert (cells["promised"], cells["kept"], cells["same result"]) == (
        "0.5",
        "yes",
        "yes",
    )


def test_a_broken_promise_stands_out():
    cells = report.case_cells(RESULT | {"ratio": 0.6})
    assert "**no**" in cells


def test_cells_of_a_growth():
    cells = dict(zip(report.GROWTH_HEADINGS, report.growth_cells(GROWN), strict=True))
    assert cells["grows"] == "numbers 100, 1,000, 10,000"
    assert cells["ours, first to last"] == "1 ms to 100 ms"
    assert cells["ours / theirs, first to last"] == "1 to 0.1"
    assert cells["exponent of ours"] == "1.00 (1.00 to 1.00)"
    assert cells["exponent of theirs"] == "2.00 (2.00 to 2.00)"
    assert cells["same result"] == "**no**"


def test_page_has_every_room_and_who_is_left_out():
    page = report.markdown({"sorting": ENTRY, "counting": BARE})
    assert page.index("## counting") < page.index("## sorting")
    assert page.count("Abacus, 4 cores; python 3.11.7, numpy 2.4.6; 2026-11-21.") == 2
    assert page.count("Left out: quick is not installed") == 1


def test_page_says_when_there_was_no_gpu():
    said = "There was no GPU"
    assert said in report.markdown({"sorting": BARE})
    assert said not in report.markdown({"sorting": BARE, "sorting on a GPU": BARE})


def test_rows_are_as_wide_as_their_headings():
    lines = report.markdown({"sorting": ENTRY}).splitlines()
    tables = [line.count("|") for line in lines if line.startswith("|")]
    assert (
        tables
        == [len(report.CASE_HEADINGS) + 1] * 3 + [len(report.GROWTH_HEADINGS) + 1] * 3
    )


def test_the_page_in_the_repository_is_that_of_its_measurements():
    results = json.loads((BENCHMARKS / "results.json").read_text("utf-8"))
    mutants = json.loads((BENCHMARKS / "mutants.json").read_text("utf-8"))
    page = report.markdown(results, mutants, equivalent_mutants(BENCHMARKS))
    assert (BENCHMARKS / "RESULTS.md").read_text("utf-8") == page
