"""From findings to sentences: one statement per property, or per group of them."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy.cluster.hierarchy import fcluster, linkage
from scipy.spatial.distance import squareform

from robustkit.study.report._findings import VERDICTS, Evidence, Finding
from robustkit.study.report._labels import interval, label, listed, number, p_value

__all__ = ["ALIKE", "Statement", "alike", "statements_of"]

# Properties that rank the models so much alike are one finding.
ALIKE = 0.9

# Measures in one sentence; the table has all.
_MOST_MEASURES = 4


class Statement(NamedTuple):
    """What was found of one property, with one verdict."""

    property: str
    sentence: str
    numbers: str

    reason: str
    """Why it is not settled, if it is not."""

    alike: list[str]
    """Other properties of which the same was found, or the opposite, and which rank the
    models alike, or in reverse."""

    likewise: str
    """Says which of them are which; "" if there are none."""


def alike(evidence: Evidence) -> list[set[str]]:
    """Put properties together that rank the models nearly alike, all of a set."""
    if evidence.correlator is None or evidence.pairs.empty:
        return []
    names = list(dict.fromkeys(evidence.pairs["property"]))
    values = evidence.correlator.values_[names]
    distances = 1 - values.corr("spearman").abs().fillna(0).to_numpy()
    if len(names) == 1:
        return [set(names)]
    tree = linkage(squareform(distances, checks=False), "complete")
    which = fcluster(tree, 1 - ALIKE, "distance")
    return [{names[i] for i in np.flatnonzero(which == k)} for k in np.unique(which)]


def statements_of(
    found: list[Finding], groups: Sequence[set[str]] = ()
) -> dict[str, list[Statement]]:
    """Turn findings into sentences: verdict -> one per property, the strongest first.

    Properties of one of the `groups` share a statement, if they were found to be
    associated with one measure at least, and with none in another way. A property that
    is associated with some measure whatever is held fixed is not listed as explained by
    the controls, or as unsettled, for another.
    """
    of_verdict = {verdict: {} for verdict in VERDICTS}
    for finding in found:
        of_verdict[finding.verdict].setdefault(finding.property, []).append(finding)
    for verdict in ("unsettled", "explained", "inseparable"):
        for name in of_verdict["independent"]:
            of_verdict[verdict].pop(name, None)
    return {
        verdict: _statements(by_property, groups)
        for verdict, by_property in of_verdict.items()
    }


def _statements(by_property, groups):
    said = []
    while by_property:
        name = next(iter(by_property))
        findings = by_property.pop(name)
        group = next((group for group in groups if name in group), {name})
        others = {other: by_property[other] for other in by_property if other in group}
        turns = {other: _turn(findings, same) for other, same in others.items()}
        others = {o: same for o, same in others.items() if turns[o] is not None}
        for other in others:
            del by_property[other]
        said.append(_statement(findings, others, turns))
    return said


def _turn(findings, others):
    """1 if others say the same of the measures they share, -1 if the opposite."""
    directions = {finding.measure: finding.direction for finding in findings}
    turns = {
        1 if finding.direction == directions[finding.measure] else -1
        for finding in others
        if finding.measure in directions
    }
    return turns.pop() if len(turns) == 1 else None


def _likewise(findings, others, turns):
    """Say of which other properties the same was found, and of which the opposite."""
    told = []
    for turn, what in ((1, "the same"), (-1, "the opposite")):
        names = [label(other) for other in others if turns[other] == turn]
        if names:
            told.append(f"{what} was found of the {listed(names)}")
    if not told:
        return ""
    how = {1: "alike", -1: "in reverse"}
    how = " or ".join(how[t] for t in (1, -1) if t in {turns[o] for o in others})
    measures = {finding.measure for finding in findings}
    is_all = all({f.measure for f in same} == measures for same in others.values())
    only = "" if is_all else ", if not for all the same measures"
    said = (
        f"{' and '.join(told)}{only}: {'they rank' if len(others) > 1 else 'it ranks'}"
    )
    return f"{said[0].upper()}{said[1:]} the models {how}."


def _statement(findings, others, turns):
    name = label(findings[0].property)
    parts = {}
    for finding in findings[:_MOST_MEASURES]:
        measure = f"the {label(finding.measure)}"
        parts.setdefault(finding.direction, []).append(measure)
    more = len(findings) - _MOST_MEASURES
    if "" in parts:
        said = f"the {name} is associated with {listed(parts[''])}"
    else:
        changes = [
            f"{listed(some)} {how}{'' if len(some) > 1 else 's'}"
            for how, some in parts.items()
        ]
        said = f"as the {name} increases, {', while '.join(changes)}"
    if more > 0:
        plural = "s" if more > 1 else ""
        said += f" ({more} more measure{plural} in the table of all pairs)"
    meanings = {finding.meaning for finding in findings} - {0}
    if len(meanings) == 1:
        said += f": models are {'more' if meanings == {1} else 'less'} robust"
    reason = findings[0].given.get("reason", "")
    sentence = f"{said[0].upper()}{said[1:]}."
    likewise = _likewise(findings, others, turns)
    names = [label(other) for other in others]
    return Statement(name, sentence, _numbers(findings), reason, names, likewise)


def _numbers(findings):
    given = [finding.given for finding in findings]
    given = [row for row in given if not np.isnan(row["coefficient"])]
    held = f"given the controls {_strength(given) if given else 'undefined'}"
    if findings[0].verdict == "suppressed":
        return f"ρ {held}"
    plain = _strength([finding.pair for finding in findings])
    return f"{findings[0].symbol} {plain}; {held}"


def _strength(rows):
    """Coefficient, interval and p-value of one pair, or the ranges of several."""
    worst = p_value(max(row["p_adjusted"] for row in rows))
    worst = worst if worst.startswith("<") else f"= {worst}"
    if len(rows) == 1:
        (row,) = rows
        bounds = interval(row.get("ci_low", np.nan), row.get("ci_high", np.nan))
        bounds = "" if bounds == "–" else f" {bounds}"
        return f"= {number(row['coefficient'])}{bounds}, adjusted p {worst}"
    # The signs are in the sentence.
    sizes = [abs(row["coefficient"]) for row in rows]
    ends = dict.fromkeys(number(end(sizes)) for end in (min, max))
    worst = worst if worst.startswith("<") else f"≤ {worst.removeprefix('= ')}"
    return f"of size {' to '.join(ends)}, adjusted p {worst}"
