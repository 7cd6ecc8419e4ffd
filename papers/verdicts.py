"""Which claims hold, computed by `check_claims` from the rows of every model.

``python -m papers.verdicts`` writes, for every paper, results/verdicts.csv (all that
`check_claims` says), the table that opens its page, results/tables/verdicts.csv, and
the picture beside it; and for the overview, in papers/results, how many claims got
which verdict, those that are decided and those that are not. Each paper lists its
claims in papers/PAPER/verdicts.py, in families: claims about one table, whose p-values
are corrected together. A study that was not carried out yet leaves its claims
undecided, with the command that would decide them; when its rows are there, the same
command takes them.
"""

import argparse
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

import numpy as np
import pandas as pd

from papers._results import plt, save_figure, write_table
from robustkit.correlation import Claim, check_claims

HERE = Path(__file__).parent
PAPERS = ("random_graphs", "topology", "regions")
VERDICTS = ("holds", "reversed", "absent", "undecided")
COLORS = {
    "holds": "#2166ac",
    "reversed": "#b2182b",
    "absent": "#4d4d4d",
    "undecided": "#b0b0b0",
}
# Draws of the groups from which an interval is made.
N_BOOTSTRAP = 1000


class NotMeasuredError(LookupError):
    """A study has no rows yet."""


@dataclass(frozen=True)
class Family:
    """Claims about one table; their p-values are corrected together.

    In a claim, `name` is the sentence and `source` what was published.
    """

    rows: Callable[[], pd.DataFrame]
    """Reads the table: one row per model."""

    claims: Sequence[Claim]

    unit: str
    """What is counted by n, such as "graphs"."""

    command: str
    """What adds rows to the table."""

    groups: str | None = None
    factors: Sequence[str] = ()

    def check(self):
        """Rows of `check_claims`, with what it would take to decide the others."""
        try:
            table = self.rows()
        except (FileNotFoundError, NotMeasuredError):
            found = pd.DataFrame([_not_measured(claim) for claim in self.claims])
        else:
            found = check_claims(
                table,
                self.claims,
                groups=self.groups,
                factors=list(self.factors),
                n_bootstrap=N_BOOTSTRAP,
                random_state=0,
            )
        found["unit"] = self.unit
        found["to_decide"] = [self._to_decide(row) for row in found.to_dict("records")]
        return found

    def _to_decide(self, row):
        """What it would take to decide a claim; nothing if it is decided."""
        if row["verdict"] != "undecided":
            return ""
        if not row["n"]:
            return f"not measured yet: ``{self.command}``"
        needed, reason = row["n_needed"], row["reason"]
        if math.isinf(needed):
            return f"the estimate lies at the smallest effect, {row['smallest']:g}"
        if not math.isnan(needed):
            return f"about {needed:,.0f} {self.unit}"
        if reason.startswith("fewer than"):
            enough = reason.replace("fewer than", "at least")
            return f"{enough.replace('groups', self.unit)}; there are {row['n']}"
        if reason.startswith("the repeats of"):
            return f"more images: {reason}"
        if reason.startswith("a column is constant"):
            return f"a property and a measure that vary more: {reason}"
        factor, is_level, _ = str(row["left_out"]).partition("=")
        if is_level and factor in self.factors:
            return f"more {self.unit} of other levels: {reason}"
        return reason


def _not_measured(claim):
    return {
        "claim": claim.name,
        "property": claim.property,
        "measure": claim.measure,
        "given": ", ".join(claim.given),
        "sign": claim.sign,
        "smallest": claim.smallest,
        "source": claim.source,
        "n": 0,
        "n_needed": math.nan,
        "verdict": "undecided",
        "reason": "not measured",
    }


def finished(table):
    """The rows of models whose training did not fail; refuse a table without any."""
    if "error" in table:
        table = table[table["error"].isna() | (table["error"] == "")]
    if table.empty:
        raise NotMeasuredError("no model was measured")
    return table.copy()


def check(paper):
    """All verdicts of a paper."""
    families = import_module(f"papers.{paper}.verdicts").FAMILIES
    return pd.concat([family.check() for family in families], ignore_index=True)


def shown(verdicts):
    """Rows of the table that opens a page."""
    for row in verdicts.to_dict("records"):
        yield {
            "claim": row["claim"],
            "published": row["source"],
            "ours": _estimate(row),
            "verdict": row["verdict"],
            "what it would take": row["to_decide"],
        }


def _estimate(row):
    if not row["n"] or math.isnan(row["estimate"]):
        return ""
    numbers = (row["estimate"], row["ci_low"], row["ci_high"])
    middle, low, high = (f"{x:+.2f}".replace("-", "−") for x in numbers)
    interval = "" if math.isnan(row["ci_low"]) else f" [{low}, {high}]"
    return f"{middle}{interval}, {row['n']:.0f} {row['unit']}"


def overview(found):
    """The claims of all papers: those that are decided, and those that are not."""
    decided, undecided = [], []
    for paper, verdicts in found.items():
        for row in shown(verdicts):
            row = {"paper": paper.replace("_", " "), **row}
            if row["verdict"] == "undecided":
                del row["verdict"]
                undecided.append(row)
            else:
                del row["what it would take"]
                decided.append(row)
    return decided, undecided


def counts(found):
    """How many claims of each paper got each verdict; `found` is paper -> verdicts."""
    for paper, verdicts in found.items():
        number = verdicts["verdict"].value_counts()
        yield {
            "paper": paper.replace("_", " "),
            "claims": len(verdicts),
            **{name: int(number.get(name, 0)) for name in VERDICTS},
        }


def draw(verdicts, path):
    """Estimates and intervals of all claims that were measured, by verdict."""
    rows = [
        row
        for row in verdicts.to_dict("records")
        if row["n"] and not math.isnan(row["estimate"])
    ]
    figure, axes = plt.subplots(
        figsize=(9, 0.8 + 0.27 * len(rows)), layout="constrained"
    )
    for place, row in enumerate(rows):
        color = COLORS[row["verdict"]]
        axes.plot([row["ci_low"], row["ci_high"]], [place, place], color=color, lw=2)
        axes.plot(row["estimate"], place, "o", color=color, ms=6)
        published = _published_coefficient(row["source"])
        if published is not None:
            axes.plot(published, place, "D", mfc="none", color="black", ms=6)
    axes.axvline(0, color="black", lw=0.8)
    axes.set(
        yticks=range(len(rows)),
        xlim=(-1.02, 1.02),
        xlabel="Spearman's coefficient, with its 95 % interval",
    )
    axes.set_yticklabels([row["claim"] for row in rows], fontsize=8)
    axes.invert_yaxis()
    for name in VERDICTS:
        if any(row["verdict"] == name for row in rows):
            axes.plot([], [], "o-", color=COLORS[name], label=name)
    if any(_published_coefficient(row["source"]) is not None for row in rows):
        axes.plot([], [], "D", mfc="none", color="black", label="published", ls="none")
    if rows:
        axes.legend(loc="upper left", bbox_to_anchor=(1, 1), frameon=False)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.tick_params(axis="y", length=0)
    save_figure(figure, path)


def _published_coefficient(source):
    text = (source or "").replace("−", "-")
    if not text.startswith("ρ = "):
        return None
    return float(text.removeprefix("ρ = ").split()[0].rstrip(","))


def draw_counts(rows, path):
    """How many claims got each verdict, one bar per paper."""
    figure, axes = plt.subplots(figsize=(8, 1.9), layout="constrained")
    names = [row["paper"] for row in rows]
    start = np.zeros(len(rows))
    for verdict in VERDICTS:
        number = np.array([row[verdict] for row in rows])
        bars = axes.barh(
            names, number, left=start, color=COLORS[verdict], label=verdict
        )
        labels = [str(n) if n else "" for n in number]
        axes.bar_label(bars, labels, label_type="center", color="white")
        start += number
    axes.invert_yaxis()
    axes.set(xlabel="number of claims")
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.legend(loc="upper left", bbox_to_anchor=(1, 1), frameon=False)
    axes.spines[["top", "right"]].set_visible(False)
    save_figure(figure, path)


def write(paper, verdicts):
    """Keep the verdicts, the table for the page and its picture."""
    results = HERE / paper / "results"
    results.mkdir(parents=True, exist_ok=True)
    verdicts.to_csv(results / "verdicts.csv", index=False)
    write_table(list(shown(verdicts)), results / "tables" / "verdicts.csv")
    draw(verdicts, results / "figures" / "verdicts.png")


def update(paper):
    """Write the verdicts of one paper anew, and the overview of all."""
    write(paper, check(paper))
    write_overview()


def write_overview():
    """Write how many claims got each verdict, and which."""
    paths = {paper: HERE / paper / "results" / "verdicts.csv" for paper in PAPERS}
    found = {paper: pd.read_csv(path) for paper, path in paths.items() if path.exists()}
    rows = list(counts(found))
    write_table(rows, HERE / "results" / "verdicts.csv")
    decided, undecided = overview(found)
    write_table(decided, HERE / "results" / "decided.csv")
    write_table(undecided, HERE / "results" / "undecided.csv")
    draw_counts(rows, HERE / "results" / "verdicts.png")


def main():
    """Write the tables and pictures of all papers."""
    parser = argparse.ArgumentParser(
        prog="python -m papers.verdicts",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.parse_args()
    for paper in PAPERS:
        write(paper, check(paper))
    write_overview()


if __name__ == "__main__":
    main()
