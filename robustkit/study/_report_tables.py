"""The tables of a report: published beside ours, and the joint one."""

from robustkit.study._evidence import correlate_published
from robustkit.study._html import Html, join, table, tag
from robustkit.study._initialisations import compare_initialisations
from robustkit.study._words import interval, number, p_value, split_measure, words

__all__ = ["health_table", "initialisation_table", "joint_table", "paper_table"]

_DIAGNOSTICS = (
    "zero_gradient_share",
    "median_logit_margin",
    "robust_accuracy_ce",
    "robust_accuracy_margin",
)


def paper_table(evidence, published):
    """Put the study beside one of the paper's tables.

    Parameters
    ----------
    evidence : Evidence
        Of the study.

    published : PublishedTable
        Of the paper.

    Returns
    -------
    content : Html
        A row a pair of the paper.
    """
    is_ours = (published.population == "pruning") == evidence.is_pruned
    found = correlate_published(evidence, published) if is_ours else {}
    bodies = {}
    for row in published.rows:
        cells = _beside(row, found) if is_ours else [number(row.rho), number(row.tau)]
        bodies.setdefault(row.measure, []).append([row.property, *cells])
    header = ["ρ published", "τ published"]
    caption = f"Table {published.number}. {published.title}"
    if is_ours:
        header = [
            "ρ published",
            "ρ ours",
            "adjusted p",
            "τ published",
            "τ ours",
            "adjusted p",
            "n",
        ]
        caption += ": published, and ours with intervals"
    else:
        caption += ": published only, this study is of another population"
    return table(caption, ["Property", *header], list(bodies.items()))


def _beside(row, found):
    """Cells of one row; a dash for what was not taken."""
    cells, n = [], "–"
    for method, theirs in (("spearman", row.rho), ("kendall", row.tau)):
        keys = [(column, row.measure_column, method) for column in row.property_columns]
        ours = next((found[key] for key in keys if key in found), None)
        cells.append(number(theirs))
        if ours is None:
            cells += ["–", "–"]
            continue
        n = ours["n"]
        cells += [_with_interval(ours), p_value(ours["p_adjusted"])]
    return [*cells, n]


def _with_interval(row, plain=None):
    plain = number(row["coefficient"]) if plain is None else plain
    bounds = interval(row["ci_low"], row["ci_high"])
    return plain if bounds == "–" else join([plain, tag("small", bounds)])


def joint_table(evidence):
    """Put every property against every measure of robustness.

    Parameters
    ----------
    evidence : Evidence
        Of the study.

    Returns
    -------
    content : Html
        The matrix, and all its numbers in a part that opens.
    """
    pairs = evidence.pairs
    held = evidence.held.set_index(["property", "measure"])
    alpha = evidence.correlator.alpha
    measures = list(dict.fromkeys(pairs["measure"]))
    rows, details = {}, []
    for pair in pairs.to_dict("records"):
        given = held.loc[(pair["property"], pair["measure"])]
        rows.setdefault(pair["property"], []).append(_joint_cell(pair, given, alpha))
        details.append(_detail(pair, given))
    matrix = table(
        "Each cell: the coefficient, its bootstrap interval, and the coefficient with "
        "the controls held fixed. A star: significant after the correction.",
        ["Property", *map(words, measures)],
        [(None, [[words(name), *cells] for name, cells in rows.items()])],
    )
    header = [
        "Property",
        "Measure",
        "coefficient",
        "interval",
        "p",
        "adjusted p",
        "n",
        "strength",
        "held fixed",
        "p",
        "adjusted p",
        "n",
    ]
    everything = table("All numbers", header, [(None, details)], row_headers=2)
    summary = tag("summary", f"All numbers of the {len(pairs)} pairs")
    return join([matrix, tag("details", summary, everything)])


def _joint_cell(pair, given, alpha):
    def starred(row):
        star = " *" if row["p_adjusted"] <= alpha else ""
        return f"{number(row['coefficient'])}{star}"

    plain = starred(pair)
    plain = tag("b", plain) if plain.endswith("*") else plain
    return join([_with_interval(pair, plain), tag("small", f"held {starred(given)}")])


def _detail(pair, given):
    return [
        words(pair["property"]),
        words(pair["measure"]),
        number(pair["coefficient"], 3),
        interval(pair["ci_low"], pair["ci_high"]),
        p_value(pair["p_value"]),
        p_value(pair["p_adjusted"]),
        pair["n"],
        pair["strength"],
        number(given["coefficient"], 3),
        p_value(given["p_value"]),
        p_value(given["p_adjusted"]),
        int(given["n"]),
    ]


def health_table(evidence):
    """Show the signs of a hidden gradient.

    Parameters
    ----------
    evidence : Evidence
        Of the study.

    Returns
    -------
    content : Html
        Empty if no attack looked for them.
    """
    names = [m for m in evidence.measures if split_measure(m)[1] in _DIAGNOSTICS]
    if not names:
        return Html()
    rows = []
    for name in names:
        values = evidence.results[name].dropna()
        numbers = [values.min(), values.median(), values.max()]
        rows.append([words(name), *(number(v, 3) for v in numbers), len(values)])
    caption = "Signs of a hidden gradient, over the models"
    return table(
        caption, ["Column", "smallest", "median", "largest", "models"], [(None, rows)]
    )


def initialisation_table(evidence):
    """Test whether the initialisation moves a measure.

    Parameters
    ----------
    evidence : Evidence
        Of the study.

    Returns
    -------
    content : Html
        Empty for pruning, and with fewer than 3 initialisations or 10 graphs.
    """
    if evidence.is_pruned or not {"graph", "init"} <= {*evidence.results}:
        return Html()
    tests = compare_initialisations(evidence.results, evidence.robustness)
    if tests.empty:
        return Html()
    rows = [
        [words(t["measure"]), number(t["w"]), p_value(t["p_adjusted"]), t["n"]]
        for t in tests.to_dict("records")
    ]
    caption = (
        "Do the initialisations differ, graph by graph? Kendall's W is 0 if their "
        "order changes from graph to graph at random, and 1 if it is always the same "
        "(Friedman's test, Holm's correction)"
    )
    return table(caption, ["Measure", "W", "adjusted p", "graphs"], [(None, rows)])
