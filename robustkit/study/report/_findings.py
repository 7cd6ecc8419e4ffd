"""What the numbers of a study say: data for the page, no HTML.

`gather` computes everything once, from the table of a study to an `Evidence`; the
other functions each answer one question that the page asks of it.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from numbers import Real

import numpy as np
import pandas as pd
from scipy.stats import friedmanchisquare

from robustkit.attacks import SUSPICIOUS_GAP
from robustkit.correlation import (
    Claim,
    RobustnessCorrelator,
    check_claims,
    correct,
    correlate_given,
)
from robustkit.study.report._labels import (
    METHODS,
    SYMBOLS,
    attack_label,
    interval,
    is_robustness,
    label,
    number,
    p_value,
    robust_sign,
    split_measure,
)

__all__ = [
    "CONTROLS",
    "SMALLEST",
    "SUSPICIOUS_GAP",
    "VERDICTS",
    "Evidence",
    "Finding",
    "attacks_of",
    "by_strength",
    "coefficient_rows",
    "compare_initialisations",
    "correlation_lines",
    "diagnostic_rows",
    "findings_of",
    "gather",
    "headline_measures",
    "margin_gaps",
    "measure_rows",
    "missing_values",
    "seconds_rows",
    "unrelated",
    "variance_shares",
]

# Width, density and accuracy: what partial coefficients hold fixed.
CONTROLS = ("n_parameters", "density", "clean_accuracy")

# How sure a finding is, in the order of the page.
VERDICTS = (
    "independent",
    "unsettled",
    "explained",
    "reversed",
    "suppressed",
    "inseparable",
)

# The smallest coefficient that matters: Cohen's medium.
SMALLEST = 0.3

# Of one attack, the measure that is shown first.
_HEADLINES = (
    "median_distance",
    "error_rate",
    "robust_accuracy",
    "robust_accuracy_worst",
    "robust_accuracy_margin",
    "robust_accuracy_rotate",
    "robust_accuracy_ce",
    "certified_accuracy",
    "average_eps",
    "target_rate",
    "average_confidence",
    "robust_accuracy_gradient_free",
    "not_found",
    "mean_distance",
)
# An attack whose eps grows until it succeeds: how large it had to be says more.
_HEADLINE_OF = {"growing": "average_eps"}
_MOST_HEADLINES = 4

# What says how strong an attack was, and how it is written.
_STRENGTHS = {
    "norm": lambda norm: {"linf": "l∞", "l2": "l2"}.get(norm, str(norm)),
    "eps": lambda eps: f"eps {eps:g}" if isinstance(eps, Real) else "eps per feature",
    "start": lambda start: f"eps from {start:g}",
    "stop": lambda stop: f"to {stop:g}",
    "max_iter": lambda n: f"{n} steps",
    "n_restarts": lambda n: f"{n} start{'s' if n != 1 else ''}",
    "method": str,
}

_EXACT = ("exhaustive", "certified")

# Signs of a hidden gradient.
_DIAGNOSTICS = (
    "zero_gradient_share",
    "median_logit_margin",
    "robust_accuracy_ce",
    "robust_accuracy_margin",
)

# Draws for the interval of a claim.
_N_BOOTSTRAP = 400

# With fewer, the distribution of Friedman's statistic is too far from its limit.
_MIN_GRAPHS, _MIN_INITS = 10, 3

_PAIR_COLUMNS = [
    "property",
    "measure",
    "coefficient",
    "p_value",
    "p_adjusted",
    "ci_low",
    "ci_high",
    "n",
    "strength",
    "verdict",
]


@dataclass(frozen=True)
class Evidence:
    """The table of a study, and what was found in it."""

    results: pd.DataFrame
    """One row per model that did not fail and is not under-trained."""

    undertrained: pd.DataFrame
    """The models that were left out for their clean accuracy."""

    n_rows: int
    """Rows of the table, failed and under-trained models included."""

    parameters: list
    properties: list
    measures: list
    """Columns of `results` that are there and hold a number; a parameter may hold a
    name."""

    inits: list
    """In the order of the study."""

    correlator: RobustnessCorrelator | None
    """None if there was too little to correlate."""

    pairs: pd.DataFrame
    """Every property with every measure of robustness, by the correlator's method."""

    controls: list
    held: pd.DataFrame
    """The same pairs with the controls held fixed. Of those that are significant with
    and without, also the "verdict" of a claim, and its "reason"."""

    settings: dict

    @property
    def is_pruned(self) -> bool:
        """Whether the rows are steps of pruning."""
        return "step" in self.results

    @property
    def n_failed(self) -> int:
        """Number of models that could not be trained or measured."""
        return self.n_rows - len(self.results) - len(self.undertrained)

    @property
    def robustness(self) -> list:
        """Measures that quantify how robust a model is to an attack."""
        return [name for name in self.measures if is_robustness(name)]

    def n_unique(self, column: str) -> int:
        """Count the different values of a column; 0 if there is no such column."""
        return self.results[column].nunique() if column in self.results else 0

    def graphs(self) -> pd.DataFrame:
        """One row per graph; every row of a pruned network has a structure."""
        if self.is_pruned or "graph" not in self.results:
            return self.results
        return self.results.drop_duplicates("graph")


def gather(
    results: pd.DataFrame,
    columns: Mapping,
    correlator: RobustnessCorrelator | None,
    settings: Mapping | None,
    undertrained: Sequence[bool] | None = None,
) -> Evidence:
    """Compute what the page rests on, once.

    `columns` has the names of `parameters`, `properties` and `measures`; those that
    the table does not have are left out, and so are models that failed, or that are
    `undertrained`.
    """
    listed_columns = {
        kind: [name for name in columns.get(kind, ()) if name in results]
        for kind in ("parameters", "properties", "measures")
    }
    failed = _failed(results, listed_columns["measures"])
    left_out = np.zeros(len(results), dtype=bool)
    if undertrained is not None:
        left_out = np.asarray(undertrained, dtype=bool) & ~failed
    kept = results[~failed & ~left_out]
    numbers = {
        name: pd.to_numeric(kept[name], errors="coerce").astype(float)
        for name in [*listed_columns["properties"], *listed_columns["measures"]]
    }
    kept = kept.assign(**numbers)
    known = {
        kind: [name for name in names if kept[name].notna().any()]
        for kind, names in listed_columns.items()
    }
    pairs, controls, held = _pairs(correlator, kept)
    return Evidence(
        results=kept,
        undertrained=results[left_out],
        n_rows=len(results),
        **known,
        inits=list(dict.fromkeys(results.get("init", ()))),
        correlator=correlator if hasattr(correlator, "correlations_") else None,
        pairs=pairs,
        controls=controls,
        held=held,
        settings=dict(settings or {}),
    )


def _failed(results, measures):
    """Models with an error, or without a single measure."""
    failed = np.zeros(len(results), dtype=bool)
    if "error" in results:
        error = results["error"]
        failed |= (error.notna() & error.astype(str).ne("")).to_numpy()
    if measures:
        failed |= results[measures].isna().all(axis=1).to_numpy()
    return failed


def _pairs(correlator, results):
    """Pairs with a measure of robustness: plain, and with the controls held fixed."""
    if not hasattr(correlator, "correlations_"):
        empty = pd.DataFrame(columns=[*_PAIR_COLUMNS, "reason"])
        return empty, [], empty
    table = correlator.correlations_
    table = table[table["method"] == correlator.method_]
    pairs = table.loc[table["measure"].map(is_robustness), _PAIR_COLUMNS]
    values = correlator.values_
    controls = [name for name in CONTROLS if name in values]
    held = correlate_given(
        values,
        list(dict.fromkeys(pairs["property"])),
        list(dict.fromkeys(pairs["measure"])),
        controls,
        correction=correlator.correction,
    )
    pairs = pairs.reset_index(drop=True)
    judged = _judge(pairs, held, controls, correlator.alpha, results)
    return pairs, controls, held.assign(**judged)


def _judge(pairs, held, controls, alpha, results):
    """Check as claims the pairs that are significant with and without the controls.

    One family. A significant coefficient is only a beginning: it must not be carried by
    few graphs, or by one initialisation.
    """
    is_candidate = (pairs["p_adjusted"] <= alpha) & (held["p_adjusted"] <= alpha)
    claims = [
        Claim(
            row["property"],
            row["measure"],
            sign=1 if row["coefficient"] > 0 else -1,
            smallest=SMALLEST,
            given=[
                name
                for name in controls
                if name not in (row["property"], row["measure"])
            ],
        )
        for row in held[is_candidate].to_dict("records")
    ]
    has_repeats = {"graph", "init"} <= {*results} and "step" not in results
    checked = check_claims(
        results,
        claims,
        groups="graph" if has_repeats else None,
        factors=["init"] if has_repeats and results["init"].nunique() > 1 else [],
        alpha=alpha,
        n_bootstrap=_N_BOOTSTRAP,
        random_state=0,
    )
    return {
        name: pd.Series("", index=held.index, dtype=object).mask(
            is_candidate, pd.Series(checked[name].to_numpy(), held.index[is_candidate])
        )
        for name in ("verdict", "reason")
    }


@dataclass(frozen=True)
class Finding:
    """One pair that passed a test."""

    property: str
    measure: str
    coefficient: float
    meaning: int
    """1 if more of the property is more robust, -1 if it is less so, 0 if neither."""

    verdict: str
    """One of `VERDICTS`."""

    direction: str
    """What the measure does: "increase" or "decrease"; "" for a method without sign."""

    symbol: str
    """Of the coefficient."""

    pair: dict
    """The row of the pair."""

    given: dict
    """The same with the controls held fixed."""


def findings_of(evidence: Evidence) -> list[Finding]:
    """Judge every pair; those that passed a test, the strongest first."""
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


def _verdict(pair, given, alpha, method):
    """How sure a pair is; None if nothing was found."""
    # Without a p-value there was no test, and nothing was found.
    is_found = pair["p_adjusted"] <= alpha
    is_found_given = given["p_adjusted"] <= alpha
    if not is_found:
        return "suppressed" if is_found_given else None
    if np.isnan(given["coefficient"]):
        return "inseparable"
    if not is_found_given:
        return "explained"
    if given["verdict"] != "holds":
        return "unsettled"
    turns = method in SYMBOLS and given["coefficient"] * pair["coefficient"] < 0
    return "reversed" if turns else "independent"


def _finding(pair, given, verdict, method):
    source = given if verdict == "suppressed" else pair
    sign = np.sign(source["coefficient"])
    # A coefficient without a sign says that two columns are related, not how. What
    # only the controls reveal is a partial ρ, which has one.
    has_sign = verdict == "suppressed" or method in SYMBOLS
    return Finding(
        property=pair["property"],
        measure=pair["measure"],
        coefficient=source["coefficient"],
        meaning=int(sign) * robust_sign(pair["measure"]) if has_sign else 0,
        verdict=verdict,
        direction={1: "increase", -1: "decrease"}[sign] if has_sign else "",
        symbol=SYMBOLS.get(method, METHODS[method]),
        pair=pair,
        given=given,
    )


def unrelated(evidence: Evidence, found: list[Finding], kind: str) -> list[str]:
    """Labels of properties, or measures, for which nothing was found."""
    seen = {getattr(finding, kind) for finding in found}
    names = dict.fromkeys(evidence.pairs[kind])
    return [label(name) for name in names if name not in seen]


def headline_measures(evidence: Evidence) -> list[str]:
    """Choose the measures of the first figure: one per attack."""
    best = {}
    # A measure that is constant over the graphs has no coefficient.
    for name in dict.fromkeys(evidence.pairs.dropna(subset="coefficient")["measure"]):
        attack, measure = split_measure(name)
        rank = _HEADLINES.index(measure)
        if attack is not None and _HEADLINE_OF.get(attack) == measure:
            rank = -1
        if attack not in best or rank < best[attack][0]:
            best[attack] = rank, name
    names = [name for _, name in best.values()]
    # Confidence in a wrong class only where there is room for it.
    chosen = sorted(names, key=lambda name: robust_sign(name) == 0)[:_MOST_HEADLINES]
    return [name for name in names if name in chosen]


def coefficient_rows(evidence: Evidence, measures: list[str] | None = None) -> dict:
    """Map every property to (pair, pair given the controls, meaning) per measure.

    The meaning is 1 if more of the property is significantly more robust, -1 if it is
    less so, 0 if the measure is neither, and None if the pair is not significant.
    """
    correlator = evidence.correlator
    rows = {name: [] for name in by_strength(evidence.pairs, measures)}
    for pair, given in zip(
        evidence.pairs.to_dict("records"), evidence.held.to_dict("records"), strict=True
    ):
        if measures is not None and pair["measure"] not in measures:
            continue
        meaning = None
        if correlator is not None and pair["p_adjusted"] <= correlator.alpha:
            has_sign = correlator.method_ in SYMBOLS
            sign = int(np.sign(pair["coefficient"])) if has_sign else 0
            meaning = sign * robust_sign(pair["measure"])
        rows[pair["property"]].append((pair, given, meaning))
    return rows


def by_strength(pairs: pd.DataFrame, measures: list[str] | None = None) -> list[str]:
    """Order properties by their strongest pair with some measures, or with any."""
    if measures is not None:
        pairs = pairs[pairs["measure"].isin(measures)]
    return list(dict.fromkeys(_strongest_first(pairs)["property"]))


def _strongest_first(pairs):
    """Sort pairs by p-value, then by coefficient.

    Over one number of models the largest coefficient is the first; over a handful of
    them, the largest says nothing.
    """
    keys = pairs["p_value"].fillna(1), -pairs["coefficient"].abs().fillna(0)
    return pairs.iloc[np.lexsort([key.to_numpy(float) for key in keys[::-1]])]


def attacks_of(evidence: Evidence) -> list[str]:
    """Labels of the attacks, with the settings that say how strong they are."""
    names = dict.fromkeys(split_measure(name)[0] for name in evidence.measures)
    asked = evidence.settings.get("attacks")
    asked = asked if isinstance(asked, Mapping) else {}
    return [
        attack_label(name) + _strength_of_attack(asked.get(name))
        for name in names
        if name is not None
    ]


def _strength_of_attack(asked):
    """Write " (eps 0.1, 10 steps)", or nothing where the settings are not known."""
    n_images = None
    if isinstance(asked, list | tuple) and len(asked) == 2:
        asked, n_images = asked
    if not isinstance(asked, Mapping) or len(asked) != 1:
        return ""
    (params,) = asked.values()
    if not isinstance(params, Mapping):
        return ""
    # An exact search takes as many steps as it needs.
    unused = {"max_iter"} if params.get("method") in _EXACT else set()
    told = [
        write(params[name])
        for name, write in _STRENGTHS.items()
        if params.get(name) is not None and name not in unused
    ]
    if n_images is not None:
        told.append(f"{n_images} images")
    return f" ({', '.join(told)})" if told else ""


def measure_rows(evidence: Evidence, names: list[str]) -> Iterator[dict]:
    """Yield how measures are distributed over the models."""
    for name in names:
        values = evidence.results[name].dropna()
        yield {
            "measure": name,
            "low": values.min(),
            "middle": values.median(),
            "high": values.max(),
            "n": len(values),
        }


def diagnostic_rows(evidence: Evidence) -> list[dict]:
    """Summarise the signs of a hidden gradient, if an attack looked for them."""
    names = [m for m in evidence.measures if split_measure(m)[1] in _DIAGNOSTICS]
    return list(measure_rows(evidence, names))


def margin_gaps(evidence: Evidence) -> Iterator[tuple[str, int, int]]:
    """Yield attack, models in which the margin loss finds far more, and all models."""
    for name in evidence.measures:
        attack, measure = split_measure(name)
        other = f"{attack}_robust_accuracy_ce"
        if (
            attack is not None
            and measure == "robust_accuracy_margin"
            and other in evidence.measures
        ):
            gap = evidence.results[other] - evidence.results[name]
            yield attack_label(attack), int((gap > SUSPICIOUS_GAP).sum()), gap.count()


def missing_values(evidence: Evidence) -> list[str]:
    """Columns with gaps: label and number of models without a value."""
    names = [*evidence.properties, *evidence.measures]
    gaps = {name: int(evidence.results[name].isna().sum()) for name in names}
    return [f"{label(name)} ({n:,})" for name, n in gaps.items() if n]


def seconds_rows(evidence: Evidence) -> Iterator[dict]:
    """Yield what each part cost: seconds per model, and hours in total."""
    for name in evidence.results:
        if str(name).startswith("seconds_"):
            values = pd.to_numeric(evidence.results[name], errors="coerce").dropna()
            if len(values):
                yield {
                    "part": name.removeprefix("seconds_"),
                    "mean": values.mean(),
                    "hours": values.sum() / 3600,
                }


def compare_initialisations(results: pd.DataFrame, measures: list[str]) -> pd.DataFrame:
    """Test by Friedman's ranks, graph by graph, whether initialisations differ.

    One row per measure that could be tested: "measure", "w" (Kendall's coefficient of
    concordance: 0 if the order of the initialisations changes at random from graph to
    graph, 1 if it is always the same), "p_value", "p_adjusted" (Holm) and "n", the
    number of graphs that have the measure with every initialisation.
    """
    rows = []
    has_repeats = {"graph", "init"} <= {*results} and "step" not in results
    for measure in measures if has_repeats else ():
        wide = results.pivot_table(
            index="graph", columns="init", values=measure, observed=True
        ).dropna()
        n, n_inits = wide.shape
        if n < _MIN_GRAPHS or n_inits < _MIN_INITS:
            continue
        values = wide.to_numpy()
        if (values == values[:, :1]).all():
            continue
        statistic, p = friedmanchisquare(*values.T)
        w = statistic / (n * (n_inits - 1))
        rows.append({"measure": measure, "w": w, "p_value": p, "n": n})
    table = pd.DataFrame(rows, columns=["measure", "w", "p_value", "n"])
    adjusted = correct(table["p_value"].to_numpy(float, np.nan), "holm")
    table.insert(3, "p_adjusted", adjusted)
    return table


def variance_shares(results: pd.DataFrame, measures: list[str]) -> pd.DataFrame:
    """Split the variance of measures into shares of graph, initialisation and the rest.

    Means over a few models differ by chance, too: what the rest alone would make of
    them is taken off (epsilon squared), and nothing is below 0. One row per measure
    that varies, over the graphs that have it with every initialisation: "measure",
    "graph", "init" and "rest". Each initialisation has one seed, so that its share is
    also that of the seed.
    """
    rows = []
    has_repeats = {"graph", "init"} <= {*results} and "step" not in results
    for measure in measures if has_repeats else ():
        wide = results.pivot_table(
            index="graph", columns="init", values=measure, observed=True
        ).dropna()
        values = wide.to_numpy()
        if min(values.shape) < 2 or values.max() == values.min():
            continue
        deviations = values - values.mean()
        total = (deviations**2).mean()
        of_graph, of_init = (deviations.mean(axis=k, keepdims=True) for k in (1, 0))
        chance = ((deviations - of_graph - of_init) ** 2).mean() / total
        n_others = np.array(values.shape) - 1
        graph, init = (
            max(0.0, (of_one**2).mean() / total - chance / n)
            for of_one, n in zip((of_graph, of_init), n_others[::-1], strict=True)
        )
        shares = {"graph": graph, "init": init, "rest": 1 - graph - init}
        rows.append({"measure": measure, **shares})
    return pd.DataFrame(rows, columns=["measure", "graph", "init", "rest"])


def correlation_lines(
    correlator: RobustnessCorrelator | None, *, n_lines: int = 12
) -> list[str]:
    """Write the strongest correlation of each property, in lines of 80 characters.

    `n_lines` is the largest number of properties.
    """
    if correlator is None:
        return ["Too few models to correlate."]
    pairs = _pairs_of_robustness(correlator)
    if pairs.empty:
        return ["No property varies together with a measure of robustness."]
    line = "{:<22} {:<28} {:>6} {:>14} {:>6}".format
    lines: list[str] = [line("property", "measure", "coef.", "interval", "adj. p")]
    for name, measure, *numbers in strongest_rows(correlator, n_lines):
        lines.append(line(_fit(name, 22), _fit(measure, 28), *numbers))
    n_significant = (pairs["p_adjusted"] <= correlator.alpha).sum()
    n_tests = correlator.correlations_["p_value"].count()
    lines += [
        f"{METHODS[correlator.method_]}, n = {pairs['n'].max():,} models or graphs.",
        f"* significant after correction for {n_tests:,} tests: {n_significant:,} of "
        f"{len(pairs):,} pairs.",
    ]
    return [text.rstrip() for text in lines]


def strongest_rows(
    correlator: RobustnessCorrelator, n_rows: int
) -> list[tuple[str, str, str, str, str]]:
    """Return the strongest correlation of each property with robustness, as texts.

    Property, measure, coefficient (with a star where it is significant), interval and
    adjusted p-value.
    """
    pairs = _pairs_of_robustness(correlator)
    strongest = _strongest_first(pairs).drop_duplicates("property")[:n_rows]
    return [
        (
            label(pair["property"]),
            label(pair["measure"]),
            number(pair["coefficient"])
            + ("*" if pair["p_adjusted"] <= correlator.alpha else " "),
            interval(pair["ci_low"], pair["ci_high"]),
            p_value(pair["p_adjusted"]).replace("< ", "<"),
        )
        for pair in strongest.to_dict("records")
    ]


def _pairs_of_robustness(correlator):
    table = correlator.correlations_
    return table[
        (table["method"] == correlator.method_)
        & table["measure"].map(is_robustness)
        & table["coefficient"].notna()
    ]


def _fit(text, width):
    return text if len(text) <= width else f"{text[: width - 1]}…"
