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
    how = " and ".join(f"{goes} {listed(some)}".strip() for goes, some in parts.items())
    said = f"The {name} goes with {how}"
    if "" not in parts:
        how = "; ".join(f"the {goes} {listed(some)}" for goes, some in parts.items())
        said = f"The larger the {name}, {how}"
    meanings = {finding.meaning for finding in findings} - {0}
    meaning = {(1,): ": more robust", (-1,): ": less robust"}.get((*meanings,), "")
    more = len(findings) - _MOST_MEASURES
    if more > 0:
        said += f" (and {more} more measures)"
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
    worst = p_value(max(pair["p_adjusted"] for pair in pairs))
    sure = f"adjusted p {worst if worst.startswith('<') else f'up to {worst}'}"
    if len(pairs) == 1:
        plain = " ".join(["=", number(pairs[0]["coefficient"]), _bounds(pairs[0])])
        held = number(given[0]["coefficient"])
    else:
        plain, held = f"of size {_sizes(pairs)}", f"of size {_sizes(given)}"
    if all(np.isnan(row["coefficient"]) for row in given):
        held = "there is none"
    return (
        f"{findings[0].symbol} {plain.strip()}; with the controls held fixed {held}; "
        f"{sure}"
    )


def _bounds(pair):
    text = interval(pair["ci_low"], pair["ci_high"])
    return "" if text == "–" else text


def _sizes(rows):
    """Range of the coefficients without their signs, which the sentence tells."""
    sizes = [abs(row["coefficient"]) for row in rows]
    sizes = [size for size in sizes if not np.isnan(size)] or [np.nan]
    ends = dict.fromkeys(number(end(sizes)) for end in (min, max))
    return " to ".join(ends)
