"""What was found, in plain words, and how sure it is."""

from dataclasses import dataclass

import numpy as np

from robustkit.study._words import (
    METHODS,
    SYMBOLS,
    interval,
    listed,
    number,
    p_value,
    robust_sign,
    words,
)

__all__ = ["SURENESS", "Finding", "findings_of", "in_one_sentence"]


@dataclass(frozen=True)
class Finding:
    """One pair that passed a test."""

    property: str
    measure: str
    coefficient: float
    meaning: int
    """1 if more of the property is more robust, -1 if it is less so, 0 if neither."""

    verdict: str
    """A key of `SURENESS`."""

    goes: str
    """How the measure goes: "higher", "lower", or "" where that can not be said."""

    symbol: str
    """Of the coefficient."""

    pair: dict
    """The row of the pair."""

    given: dict
    """The same with the controls held fixed."""


# In one sentence; the tables name all.
_MOST_MEASURES = 4

SURENESS = {
    "stands": "stands on its own",
    "shared": "may come from what is held fixed",
    "inseparable": "can not be told from what is held fixed",
    "turns": "turns around with the rest held fixed",
    "hidden": "seen only with the rest held fixed",
}


def findings_of(evidence):
    """Turn the pairs that passed into sentences.

    Parameters
    ----------
    evidence : Evidence
        Of the study.

    Returns
    -------
    findings : list of Finding
        The strongest first.
    """
    if evidence.correlator is None:
        return []
    alpha, method = evidence.correlator.alpha, evidence.correlator.method_
    found = []
    pairs, held = evidence.pairs, evidence.held
    for pair, given in zip(
        pairs.to_dict("records"), held.to_dict("records"), strict=True
    ):
        verdict = _verdict(pair, given, alpha, method)
        if verdict is not None:
            found.append(_finding(pair, given, verdict, method))
    return sorted(found, key=lambda finding: -abs(finding.coefficient))


def in_one_sentence(findings):
    """Say what was found of one property, with one verdict.

    Parameters
    ----------
    findings : list of Finding
        Of the same property and verdict.

    Returns
    -------
    sentence : str
        Ends with what it means for robustness, if all of them agree.

    numbers : str
        How strong and how sure.
    """
    name = words(findings[0].property)
    parts = {}
    for finding in findings[:_MOST_MEASURES]:
        parts.setdefault(finding.goes, []).append(f"the {words(finding.measure)}")
    if "" in parts:
        # A coefficient without a sign; what only the controls show still has one.
        measures = [measure for some in parts.values() for measure in some]
        said = f"The {name} goes with {listed(measures)}"
    else:
        how = "; ".join(f"the {goes} {listed(some)}" for goes, some in parts.items())
        said = f"The larger the {name}, {how}"
    meanings = {finding.meaning for finding in findings} - {0}
    meaning = {(1,): ": more robust", (-1,): ": less robust"}.get((*meanings,), "")
    more = len(findings) - _MOST_MEASURES
    if more > 0:
        said += f" (and {more} more)"
    return f"{said}{meaning}.", _numbers(findings)


def _verdict(pair, given, alpha, method):
    """How sure a pair is; None if nothing was found."""
    # Without a p-value there was no test, and nothing was found.
    plain = pair["p_adjusted"] <= alpha
    stands = given["p_adjusted"] <= alpha
    if not plain:
        return "hidden" if stands else None
    if np.isnan(given["coefficient"]):
        return "inseparable"
    if not stands:
        return "shared"
    turns = method in SYMBOLS and given["coefficient"] * pair["coefficient"] < 0
    return "turns" if turns else "stands"


def _finding(pair, given, verdict, method):
    of = given if verdict == "hidden" else pair
    sign = np.sign(of["coefficient"])
    # A coefficient without a sign says that two columns go together, not how.
    has_sign = verdict == "hidden" or method in SYMBOLS
    return Finding(
        property=pair["property"],
        measure=pair["measure"],
        coefficient=of["coefficient"],
        meaning=int(sign) * robust_sign(pair["measure"]) if has_sign else 0,
        verdict=verdict,
        goes={1: "higher", -1: "lower"}[sign] if has_sign else "",
        symbol=SYMBOLS.get(method, METHODS[method]),
        pair=pair,
        given=given,
    )


def _numbers(findings):
    pairs = [finding.pair for finding in findings]
    given = [finding.given for finding in findings]
    given = [row for row in given if not np.isnan(row["coefficient"])]
    return (
        f"{findings[0].symbol} {_strength(pairs)}; with the controls held fixed "
        f"{_strength(given) if given else 'there is none'}"
    )


def _strength(rows):
    """Coefficient, interval and p-value of one pair, or the ranges of several."""
    worst = p_value(max(row["p_adjusted"] for row in rows))
    if len(rows) == 1:
        (row,) = rows
        bounds = interval(row.get("ci_low", np.nan), row.get("ci_high", np.nan))
        bounds = "" if bounds == "–" else f" {bounds}"
        is_worst = worst if worst.startswith("<") else f"= {worst}"
        return f"= {number(row['coefficient'])}{bounds}, adjusted p {is_worst}"
    # The signs are in the sentence.
    sizes = [abs(row["coefficient"]) for row in rows]
    ends = dict.fromkeys(number(end(sizes)) for end in (min, max))
    is_worst = worst if worst.startswith("<") else f"up to {worst}"
    return f"of size {' to '.join(ends)}, adjusted p {is_worst}"
