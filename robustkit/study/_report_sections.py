"""What a report says, section by section."""

import pandas as pd

from robustkit.study._html import Html, join, table, tag
from robustkit.study._published import F1_SCORES, SOURCE, TABLES
from robustkit.study._report_figures import joint_figure, paper_figures
from robustkit.study._report_findings import SURENESS, findings_of, in_one_sentence
from robustkit.study._report_tables import (
    health_table,
    initialisation_table,
    joint_table,
    paper_table,
)
from robustkit.study._settings_text import describe
from robustkit.study._words import METHODS, listed, number, split_measure, words

__all__ = ["SECTIONS"]

_CORRECTIONS = {
    "holm": "Holm's correction",
    "benjamini-hochberg": "the correction of Benjamini and Hochberg",
    None: "no correction",
}
# Difference of two robust accuracies that a difference of losses does not explain.
_SUSPICIOUS = 0.1


def _paragraph(*text, **attributes):
    return tag("p", *text, **attributes)


def _what_was_done(e):
    facts = [
        (f"{len(e.results):,}", "models in the table"),
        (f"{_n_unique(e, 'graph'):,}", "networks pruned" if e.is_pruned else "graphs"),
        (f"{_n_unique(e, 'init'):,}", "initialisations"),
        (f"{len(_attacks(e)):,}", "attacks"),
        (f"{_n_unique(e, 'seed'):,}", "seeds"),
    ]
    items = [tag("li", tag("strong", value), name) for value, name in facts]
    how = (
        "Dense networks lost some of their inner weights at random, step by step, and "
        "were trained on after each step. Every step is a model."
        if e.is_pruned
        else "Random graphs were drawn, a sparse network was built from each, and "
        "trained once with each initialisation of its weights."
    )
    attacks = ", ".join(_attacks(e)) or "none"
    return join(
        [
            tag("ul", *items, class_="facts"),
            _paragraph(
                how,
                " Then every model was attacked, its structure was measured, and what "
                f"it does with the training images was looked at. Attacks: {attacks}. "
                "The question is which properties of a model go with how well it "
                "stands the attacks.",
            ),
            _paragraph(_performance(e)),
            _missing(e),
            _correlated(e),
        ]
    )


def _performance(e):
    parts = []
    if "clean_accuracy" in e.measures:
        values = e.results["clean_accuracy"] * 100
        parts.append(
            f"Without an attack the models get {number(values.mean(), 1)} % of the "
            f"test images right ({_span(values)})."
        )
    if "f1_macro" in e.measures:
        values = e.results["f1_macro"] * 100
        low, mean, high = F1_SCORES["pruning" if e.is_pruned else "graphs"]
        parts.append(
            f"Their macro F1 is {number(values.mean(), 1)} "
            f"({_span(values)}); the paper has {mean} ({low} to {high}) on MNIST."
        )
    return " ".join(parts)


def _span(values):
    return f"{number(values.min(), 1)} to {number(values.max(), 1)}"


def _missing(e):
    notes = []
    if e.n_failed:
        notes.append(
            f"{e.n_failed:,} of {e.n_rows:,} models failed, and are left out "
            "everywhere."
        )
    planned = e.settings.get("n_models")
    if isinstance(planned, int) and planned > e.n_rows:
        notes.append(
            f"{planned - e.n_rows:,} of {planned:,} planned models are missing: the "
            "study is not finished."
        )
    holes = {
        name: int(e.results[name].isna().sum()) for name in [*e.properties, *e.measures]
    }
    some = [f"{words(name)} ({n:,})" for name, n in holes.items() if n]
    if some:
        notes.append(f"Models without a value: {', '.join(some)}.")
    if not notes:
        return _paragraph("No model failed, and no value is missing.")
    return join([_paragraph(note, class_="alarm") for note in notes])


def _correlated(e):
    if e.correlator is None:
        return _paragraph(
            "There are too few models to correlate: at least three graphs are needed, "
            "and a hundred to see what is of medium size. So there are no findings.",
            class_="alarm",
        )
    n = len(e.correlator.values_)
    unit = "steps of pruning" if e.is_pruned else "graphs, each the mean of its repeats"
    text = f"What is correlated are {n:,} {unit}."
    if e.correlator.outliers is not None:
        text += " Values beyond the fences of a box plot were dropped first."
    return _paragraph(text)


def _findings(e):
    if e.correlator is None or e.pairs.empty:
        return _paragraph(
            "None: there was nothing to correlate, or no measure of robustness.",
            class_="alarm",
        )
    found = findings_of(e)
    return join(
        [
            _paragraph(_how_sure(e)),
            *_dependent(e),
            _finding_list(found),
            *_silent(e, found),
            _hints(e, found),
            initialisation_table(e),
        ]
    )


def _how_sure(e):
    correlator = e.correlator
    n_tests = int(correlator.correlations_["p_value"].count())
    n_held = int(e.held["p_value"].count())
    correction = _CORRECTIONS[correlator.correction]
    return (
        f"{n_tests:,} tests were made (all properties, measures and methods), and "
        f"corrected for their number ({correction}, level "
        f"{correlator.alpha:g}); {n_held:,} more with {_controls(e)} held fixed, "
        "corrected in the same way. A finding “stands on its own” if it passes "
        "both and keeps its sign: models alike in what is held fixed show it too. If "
        "it passes only the first, it may come from there. Either way it says what "
        "goes together in these models, not what causes what."
    )


def _dependent(e):
    if e.is_pruned:
        yield _paragraph(
            "The steps of one network are not independent of each other, and were "
            "taken to be so: all p-values of pruning here are too small, and all "
            "intervals too narrow.",
            class_="alarm",
        )


def _controls(e):
    return listed([f"the {words(name)}" for name in e.controls] or ["nothing"])


def _finding_list(found):
    """Write an item a property and verdict; first what stands, the strongest first."""
    groups = {}
    for finding in sorted(found, key=lambda f: [*SURENESS].index(f.verdict)):
        groups.setdefault((finding.verdict, finding.property), []).append(finding)
    items = [
        tag(
            "li",
            sentence,
            " ",
            tag("span", f"({SURENESS[verdict]})", class_=_class_of(verdict)),
            tag("small", numbers),
        )
        for (verdict, _), some in groups.items()
        for sentence, numbers in (in_one_sentence(some),)
    ]
    return tag("ul", *items, class_="findings") if items else Html()


def _silent(e, found):
    for kind, which in (("property", "properties"), ("measure", "measures")):
        seen = {getattr(finding, kind) for finding in found}
        rest = [words(n) for n in dict.fromkeys(e.pairs[kind]) if n not in seen]
        if rest:
            yield _paragraph(f"Nothing was found for these {which}: {listed(rest)}.")


def _class_of(verdict):
    return "sure" if verdict == "stands" else "weak"


def _hints(e, found):
    alpha = e.correlator.alpha
    tested = e.pairs["p_value"].count()
    raw = (e.pairs["p_value"] <= alpha).sum()
    passed = (e.pairs["p_adjusted"] <= alpha).sum()
    start = "" if found else "No pair passed the correction. "
    return _paragraph(
        f"{start}Of {tested:,} pairs, {passed:,} passed after the correction and "
        f"{raw:,} before it. If no property had to do with anything, about "
        f"{number(alpha * tested, 0)} would pass before it by chance.",
        class_="note",
    )


def _published(e):
    notes = [
        f"Published: {SOURCE}. A dash: not published, or not taken in this study.",
        "Ours: outliers and repeats are treated as in the paper; the p-values are "
        "corrected for the tests of the one table, which were chosen in advance.",
        "Some published pairs have a ρ and a τ of different signs. They stand here as "
        "printed.",
    ]
    tables = [paper_table(e, published) for published in TABLES]
    return join([*(_paragraph(n, class_="note") for n in notes), *tables])


def _joint(e):
    if e.pairs.empty:
        return _paragraph("There was nothing to correlate.", class_="alarm")
    name = METHODS[e.correlator.method_]
    return join(
        [
            _paragraph(
                "Three ways of looking at the same models: the structure of the graph, "
                "the regions that the training images live in, and the shape of the "
                f"activations. {name}; “held” is Spearman's ρ with {_controls(e)} held "
                "fixed (a control is not held fixed against itself). Properties that "
                "are exact functions of others are left out.",
            ),
            joint_figure(e),
            joint_table(e),
        ]
    )


def _caveats(e):
    items = [
        "Robust accuracy is what one attack with one budget left. A stronger attack "
        "may leave less; no attack proves that a model is robust.",
        "An attack that follows the gradient fails on a model that hides it. Where the "
        "margin loss finds many errors that the cross-entropy does not, or many "
        "gradients are exactly zero, the robustness is not real.",
        "The confidence and the average eps are means over the images that were "
        "turned, which differ from model to model.",
        "PRS ratios can be compared only between models seen with the same number of "
        "images and of units.",
        "A correlation over models of one data set and one way of training holds for "
        "these. It may be another for others.",
        "A partial correlation holds fixed only what is named, and only along ranks.",
    ]
    if _n_unique(e, "seed") == _n_unique(e, "init"):
        items.append(
            "Each initialisation has one seed: a difference between initialisations "
            "may be one between seeds."
        )
    return join(
        [tag("ul", *(tag("li", i) for i in items)), _masking(e), health_table(e)]
    )


def _masking(e):
    attacks = {
        split_measure(m)[0]
        for m in e.measures
        if split_measure(m)[1] == "robust_accuracy_margin"
    }
    notes = []
    for attack in sorted(attacks):
        columns = [f"{attack}_robust_accuracy_{loss}" for loss in ("ce", "margin")]
        if columns[0] not in e.measures:
            continue
        ce, margin = (e.results[column] for column in columns)
        name = words(f"{attack}_error_rate").removesuffix(" error rate")
        notes.append(
            f"{name}: in {(ce - margin > _SUSPICIOUS).sum():,} of "
            f"{(ce - margin).count():,} models the margin loss leaves a robust "
            f"accuracy more than {_SUSPICIOUS:.0%} below that of the cross-entropy."
        )
    if not notes:
        notes = [
            "No attack of this study looked for a hidden gradient with both losses."
        ]
    return join([_paragraph(note) for note in notes])


def _how_it_was_made(e):
    rows = [
        [name, tag("code", describe(value))]
        for name, value in e.settings.items()
        if name not in ("command", "title")
    ]
    rows += [
        [name, ", ".join(map(str, e.results[name].dropna().unique()))]
        for name in e.results
        if name.startswith("version_") or name in ("device", "engine")
    ]
    command = e.settings.get("command")
    again = (
        [_paragraph("To make this study again:"), tag("pre", tag("code", str(command)))]
        if command
        else [
            _paragraph(
                "To make this study again, fit ",
                tag("code", "robustkit.study.RobustnessStudy"),
                " with these parameters to the same data. ",
                tag("code", "robustkit report STORE"),
                " writes this page again from the store.",
            )
        ]
    )
    caption = "What was asked for, and with what it was made"
    made = table(caption, ["Setting", "Value"], [(None, rows)]) if rows else Html()
    return join([*again, tag("div", made, class_="settings"), _times(e)])


def _times(e):
    names = [name for name in e.results if name.startswith("seconds_")]
    if not names:
        return Html()
    rows = []
    for name in names:
        values = pd.to_numeric(e.results[name], errors="coerce").dropna()
        if len(values):
            total = number(values.sum() / 3600, 2)
            rows.append([name, number(values.mean(), 2), total])
    header = ["Column", "seconds a model", "hours in all"]
    return table("Time", header, [(None, rows)])


def _n_unique(e, column):
    return e.results[column].nunique() if column in e.results else 0


def _attacks(e):
    names = dict.fromkeys(split_measure(name)[0] for name in e.measures)
    return [
        words(f"{name}_error_rate").removesuffix(" error rate")
        for name in names
        if name is not None
    ]


# Anchor, heading, and what makes the content.
SECTIONS = (
    ("done", "What was done", _what_was_done),
    ("findings", "What was found, and how sure it is", _findings),
    ("figures", "The paper's figures, from this study", paper_figures),
    ("published", "The paper's tables, beside this study", _published),
    ("joint", "Structure, regions and shape in one table", _joint),
    ("caveats", "What these numbers do not tell", _caveats),
    ("made", "How it was made", _how_it_was_made),
)
