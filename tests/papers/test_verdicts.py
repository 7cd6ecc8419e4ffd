"""A verdict is what the stated rule makes of the tables, and nothing else."""

import pytest

from papers import _claims, verdicts
from papers._claims import Estimate
from papers.verdicts import (
    OPEN,
    OPPOSITE,
    PAPERS,
    YES,
    holds_in_level,
    holds_in_sign,
    rows_of,
)

ABOVE, BELOW, AROUND, ALONE = "+0.3 ± 0.1", "−0.3 [−0.4, −0.2]", "0.1 ± 0.1", "0.9"


def read(*cells):
    """Estimates of some cells."""
    return [Estimate.read(cell) for cell in cells]


@pytest.mark.parametrize(
    ("cell", "middle", "low", "high"),
    [
        ("−0.82 [−0.89, −0.73]", -0.82, -0.89, -0.73),
        ("-9.25\u00a0±\u00a00.75; 0\u00a0of\u00a03", -9.25, -10.0, -8.5),
        ("+0.5 ± 0.25", 0.5, 0.25, 0.75),
        ("97.1 (96.3 to 97.7)", 97.1, None, None),
        ("29 %", 29.0, None, None),
    ],
)
def test_estimate_is_read_as_the_tables_write_it(cell, middle, low, high):
    (estimate,) = read(cell)
    assert (estimate.middle, estimate.low, estimate.high) == (middle, low, high)


@pytest.mark.parametrize("cell", ["", "–"])
def test_empty_cell_is_no_estimate(cell):
    assert Estimate.read(cell) is None


@pytest.mark.parametrize(
    ("cells", "above", "below"),
    [
        ([ABOVE], YES, OPPOSITE),
        ([BELOW], OPPOSITE, YES),
        ([AROUND], OPEN, OPEN),
        ([ALONE], OPEN, OPEN),
        ([ABOVE, ABOVE, AROUND], "in 2 of 3", f"{OPEN}; the opposite in 2 of 3"),
        (
            [ABOVE, BELOW],
            "in 1 of 2; the opposite in 1",
            "in 1 of 2; the opposite in 1",
        ),
        (
            [ABOVE, ABOVE, AROUND, BELOW],
            "in 2 of 4; the opposite in 1",
            "in 1 of 4; the opposite in 2",
        ),
    ],
)
def test_sign_holds_where_the_interval_excludes_zero(cells, above, below):
    assert holds_in_sign(1, read(*cells)) == above
    assert holds_in_sign(-1, read(*cells)) == below


def test_intervals_of_a_table_are_those_of_its_estimates(tmp_path, monkeypatch):
    folder = tmp_path / "some" / "results" / "tables"
    folder.mkdir(parents=True)
    cells = ["+0.3 ± 0.1", "", '"−0.3 [−0.4, −0.2]"', "0.5 ± 0.25"]
    rows = [f"{kind},{cell}" for kind, cell in zip("aabb", cells, strict=True)]
    (folder / "one.csv").write_text("\n".join(["kind,ours", *rows]), "utf-8")
    monkeypatch.setattr(_claims, "HERE", tmp_path)
    intervals = _claims.Table("some", "one").intervals
    assert intervals("ours") == [(0.3 - 0.1, 0.3 + 0.1), (-0.4, -0.2), (0.25, 0.75)]
    assert intervals("ours", kind="b") == [(-0.4, -0.2), (0.25, 0.75)]


@pytest.mark.parametrize(
    ("ours", "verdict"),
    [
        (["92 ± 1", "88"], YES),
        (["92.1 ± 9", "88"], "at 1 of 2 levels"),
        (["93", "95"], "no, ours is higher"),
        (["93", "70"], "no"),
        (["80", "70"], "no, ours is lower"),
    ],
)
def test_level_holds_within_two_points(ours, verdict):
    assert holds_in_level([90, 90], read(*ours)) == verdict


@pytest.mark.parametrize("paper", PAPERS)
def test_page_shows_the_verdicts_of_its_tables(paper):
    shown = _claims.Table(paper, "verdicts").rows.to_dict("records")
    assert shown == rows_of(paper)
    claims = verdicts.import_module(f"papers.{paper}.verdicts").CLAIMS
    assert len(shown) == len(claims)
    page = (_claims.HERE / paper / "page.rst").read_text("utf-8")
    assert page.index("results/tables/verdicts.csv") < 1200


def test_verdict_changes_with_its_table(tmp_path, monkeypatch):
    names = ("graphs_paper", "graphs_figures", "pruning_within", "pruning_paper")
    folder = tmp_path / "random_graphs" / "results" / "tables"
    folder.mkdir(parents=True)
    for name in names:
        path = _claims.HERE / "random_graphs" / "results" / "tables" / f"{name}.csv"
        text = path.read_text("utf-8").replace("[−0.89, −0.73]", "[−0.89, 0.73]")
        (folder / f"{name}.csv").write_text(text, "utf-8")
    before = {row["claim"]: row["holds?"] for row in rows_of("random_graphs")}
    monkeypatch.setattr(_claims, "HERE", tmp_path)
    after = {row["claim"]: row["holds?"] for row in rows_of("random_graphs")}
    claim = "FGSM fools larger networks less"
    assert before == after | {claim: YES}
    assert after[claim] == OPEN


def test_study_that_is_not_finished_has_fewer_verdicts(tmp_path, monkeypatch):
    tables = _claims.HERE / "topology" / "results" / "tables"
    folder = tmp_path / "topology" / "results" / "tables"
    folder.mkdir(parents=True)
    monkeypatch.setattr(_claims, "HERE", tmp_path)
    assert rows_of("random_graphs") == rows_of("topology") == []
    for name, n_lines in (("mnist_fall", None), ("mnist_linf", 4), ("cifar10_fall", 1)):
        lines = (tables / f"{name}.csv").read_text("utf-8").splitlines()
        (folder / f"{name}.csv").write_text("\n".join(lines[:n_lines]), "utf-8")
    verdict = {row["claim"]: row["holds?"] for row in rows_of("topology")}
    assert list(verdict.values()) == [YES, "in 3 of 4"]
    assert all("Purity falls" in claim and "MNIST" in claim for claim in verdict)
