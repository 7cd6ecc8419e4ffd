"""Which claims of the papers hold, computed from the tables of their results.

``python -m papers.verdicts`` writes results/tables/verdicts.csv of every paper. Three
rules decide. A claim about a *sign* holds if the 95 % interval of our estimate lies
entirely on the published side of zero. A claim about a *level* holds if our mean
differs from the published one by at most two points. A claim of *no influence* holds if
the cause explains less than 5 % of the variance (papers/random_graphs/verdicts.py). A
claim about several estimates holds if all of them do; otherwise the verdict says for
how many it holds, and for how many the opposite does.
"""

import argparse
from importlib import import_module
from pathlib import Path

from papers._claims import Table
from papers._results import write_table

HERE = Path(__file__).parent
PAPERS = ("random_graphs", "topology", "regions")

YES, OPPOSITE, OPEN = "yes", "no, the opposite", "not shown"
# A level agrees with a published one that is no farther away, in percentage points.
POINTS = 2.0


class NotMeasuredError(LookupError):
    """A table has no estimate of what a claim is about, or not of all of it."""


def holds_in_sign(published, estimates):
    """Verdict on a claim whose published sign is 1 or -1."""
    sides = [published * estimate.side() for estimate in estimates]
    n, n_same, n_opposite = len(sides), sides.count(1), sides.count(-1)
    if n_same == n:
        return YES
    if n_opposite == n:
        return OPPOSITE
    if not n_opposite:
        return f"in {n_same} of {n}" if n_same else OPEN
    if n_same:
        return f"in {n_same} of {n}; the opposite in {n_opposite}"
    return f"{OPEN}; the opposite in {n_opposite} of {n}"


def holds_in_level(published, estimates):
    """Verdict on published levels in percent, one for each of our means."""
    pairs = list(zip(published, (e.middle for e in estimates), strict=True))
    n_near = sum(abs(ours - theirs) <= POINTS for theirs, ours in pairs)
    if n_near == len(pairs):
        return YES
    if n_near:
        return f"at {n_near} of {len(pairs)} levels"
    sides = {ours > theirs for theirs, ours in pairs}
    return {(True,): "no, ours is higher", (False,): "no, ours is lower"}.get(
        tuple(sides), "no"
    )


def cells(paper, name, column, **row):
    """Estimates of a column of a table, in the rows whose others are as given."""
    row = {key.replace("_", " "): value for key, value in row.items()}
    found = Table(paper, name).estimates(column, **row)
    if not found:
        raise NotMeasuredError(f"nothing in {column!r} of {name!r}, where {row}")
    return found


def signed_claim(claim, published, sign, estimates):
    """One row of the table: a claim about a sign."""
    return _row(claim, published, estimates, holds_in_sign(sign, estimates))


def level_claim(claim, published, estimates, digits=1):
    """One row of the table: a claim about levels in percent."""
    if len(published) != len(estimates):
        raise NotMeasuredError(f"{len(estimates)} of {len(published)} levels")
    verdict = holds_in_level(published, estimates)
    theirs = _span([f"{level:.{digits}f}" for level in published])
    ours = _span([f"{estimate.middle:.{digits}f}" for estimate in estimates])
    return {"claim": claim, "published": theirs, "ours": ours, "holds?": verdict}


def _row(claim, published, estimates, verdict):
    # Of many estimates the least and the greatest.
    if len(estimates) > 2:
        ordered = sorted(estimates, key=lambda estimate: abs(estimate.middle))
        ours = f"{ordered[0].text} to {ordered[-1].text}"
    else:
        ours = "; ".join(estimate.text for estimate in estimates)
    return {"claim": claim, "published": published, "ours": ours, "holds?": verdict}


def _span(texts):
    return texts[0] if len(texts) == 1 else f"{texts[0]} to {texts[-1]}"


def rows_of(paper):
    """All rows of a paper whose estimates are there: a study may not be finished."""
    rows = []
    for claim in import_module(f"papers.{paper}.verdicts").CLAIMS:
        try:
            rows.append(claim())
        except (FileNotFoundError, LookupError):
            # A table that was not made, or has no such column or row.
            continue
    return rows


def write(paper):
    """Keep the table for the page."""
    write_table(rows_of(paper), HERE / paper / "results" / "tables" / "verdicts.csv")


def main():
    """Write the tables of all papers."""
    argparse.ArgumentParser(description=__doc__).parse_args()
    for paper in PAPERS:
        write(paper)


if __name__ == "__main__":
    main()
