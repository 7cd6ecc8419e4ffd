"""A verdict is what `check_claims` makes of the rows, and nothing else."""

import numpy as np
import pandas as pd
import pytest

from papers import _claims, verdicts
from papers._claims import Estimate
from papers.verdicts import PAPERS, Family, counts, overview, shown
from robustkit.correlation import Claim, check_claims

CLAIM = Claim("size", "distance", sign=1, smallest=0.3, name="It grows", source="ρ = 1")


def table(slope=1.0, n=40, seed=0):
    """Rows of models whose distance grows with their size, or does not."""
    rng = np.random.default_rng(seed)
    size = rng.normal(size=n)
    return pd.DataFrame(
        {"size": size, "distance": slope * size + rng.normal(scale=0.3, size=n)}
    )


def family(rows, claims=(CLAIM,), **params):
    params = {"unit": "graphs", "command": "python -m papers.some", **params}
    return Family(rows, claims, **params)


def missing():
    raise FileNotFoundError


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
    ("slope", "verdict"), [(1.0, "holds"), (-1.0, "reversed"), (0.05, "undecided")]
)
def test_verdict_is_that_of_check_claims(slope, verdict):
    found = family(lambda: table(slope)).check()
    theirs = check_claims(table(slope), [CLAIM], n_bootstrap=1000, random_state=0)
    assert found["verdict"].tolist() == theirs["verdict"].tolist() == [verdict]
    pd.testing.assert_frame_equal(found[theirs.columns], theirs)


def test_what_is_decided_needs_nothing_and_what_is_not_says_what():
    found = [family(lambda s=slope: table(s)).check() for slope in (1.0, 0.1)]
    assert found[0]["to_decide"].item() == ""
    number = found[1]["n_needed"].item()
    assert found[1]["to_decide"].item() == f"about {number:,.0f} graphs"


def test_few_groups_ask_for_more():
    found = family(lambda: table(n=5)).check()
    assert found["to_decide"].item() == "at least 8 graphs; there are 5"


def test_level_without_which_nothing_is_left_asks_for_other_levels():
    rows = table().assign(init=["a"] * 37 + ["b"] * 3)
    found = family(lambda: rows, factors=["init"]).check()
    assert found["verdict"].item() == "undecided"
    assert found["to_decide"].item().startswith("more graphs of other levels: ")
    assert "without init=a" in found["to_decide"].item()


def test_study_that_was_not_carried_out_names_its_command():
    (row,) = shown(family(missing).check())
    assert row == {
        "claim": "It grows",
        "published": "ρ = 1",
        "ours": "",
        "verdict": "undecided",
        "what it would take": "not measured yet: ``python -m papers.some``",
    }


def test_estimate_is_shown_with_its_interval_and_number():
    found = family(lambda: table(-1.0)).check()
    (row,) = shown(found)
    middle, low, high = found[["estimate", "ci_low", "ci_high"]].iloc[0]
    text = f"{middle:+.2f} [{low:+.2f}, {high:+.2f}], 40 graphs".replace("-", "−")
    assert row["ours"] == text


def test_every_claim_is_counted_once():
    found = {
        "a_b": pd.concat([family(lambda: table()).check(), family(missing).check()])
    }
    (row,) = counts(found)
    assert row == {
        "paper": "a b", "claims": 2, "holds": 1, "reversed": 0, "absent": 0,
        "undecided": 1,
    }  # fmt: skip


def test_without_an_interval_the_estimate_stands_alone_and_no_number_is_enough():
    flat = table().assign(distance=lambda t: (t["size"] == t["size"].max()) * 0.1)
    found = family(lambda: flat).check()
    (row,) = shown(found)
    assert row["ours"].endswith(f", {len(flat)} graphs")
    assert "[" not in row["ours"]
    assert row["what it would take"] == (
        "a property and a measure that vary more: a column is constant without one of "
        "the groups"
    )


def test_pictures_are_drawn(tmp_path):
    found = family(lambda: table(), [CLAIM, CLAIM]).check()
    verdicts.draw(found, tmp_path / "one.png")
    verdicts.draw(family(missing).check(), tmp_path / "none.png")
    verdicts.draw_counts(list(counts({"some": found})), tmp_path / "two.png")
    assert (tmp_path / "one.png").stat().st_size > 1000
    assert (tmp_path / "two.png").stat().st_size > 1000


@pytest.fixture(scope="module")
def all_found():
    """The verdicts of all papers, from their rows."""
    return {paper: verdicts.check(paper) for paper in PAPERS}


@pytest.mark.parametrize("paper", PAPERS)
def test_page_opens_with_the_verdicts_of_its_rows(paper, all_found):
    kept = _claims.Table(paper, "verdicts").rows.to_dict("records")
    assert kept == list(shown(all_found[paper]))
    page = (_claims.HERE / paper / "page.rst").read_text("utf-8")
    assert page.index("results/tables/verdicts.csv") < 1200
    assert page.index("results/figures/verdicts.png") < 1700


def test_overview_counts_the_verdicts_of_all_papers(all_found):
    kept = pd.read_csv(_claims.HERE / "results" / "verdicts.csv")
    assert kept.to_dict("records") == list(counts(all_found))


def test_overview_has_every_claim_once_decided_or_not(all_found):
    kept = []
    for name, rows in zip(("decided", "undecided"), overview(all_found), strict=True):
        path = _claims.HERE / "results" / f"{name}.csv"
        table = pd.read_csv(path, dtype=str, keep_default_na=False)
        assert table.to_dict("records") == rows
        kept += [(row["paper"], row["claim"]) for row in rows]
    assert sorted(kept) == sorted(
        (paper.replace("_", " "), claim)
        for paper, found in all_found.items()
        for claim in found["claim"]
    )


@pytest.mark.parametrize("paper", PAPERS)
def test_claims_of_a_paper_have_names_of_their_own(paper, all_found):
    assert all_found[paper]["claim"].is_unique
