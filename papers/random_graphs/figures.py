"""Figures 3 to 8 of the paper on random graphs: ours, and what its text tells of each.

The published figures are pictures without numbers; what can be compared are the
sentences about them. Each becomes a row, with the same quantity of our networks.
"""

from itertools import product

import matplotlib.pyplot as plt
import numpy as np
from scipy.stats import skew

from papers._results import save_figure
from papers.random_graphs.published import F1_SCORES, HERE, correlate_published
from robustkit.study.report import interval, label, number

FIGURES = HERE / "results" / "figures"

ERRORS = {
    "fgsm_error_rate": "FGSM: error rate",
    "one_pixel_error_rate": "One Pixel: error rate",
    "f1_macro": "macro F1",
}
CONFIDENCES = {
    "fgsm_average_confidence": "FGSM: confidence",
    "one_pixel_average_confidence": "One Pixel: confidence",
    "growing_average_eps": "growing FGSM: eps",
}
# Properties of graphs whose distributions are shown.
STRUCTURE = (
    "n_parameters",
    "density",
    "directed_path_length",
    "diameter",
    "average_eccentricity",
    "average_closeness",
    "directed_betweenness",
)
# Pairs of figures 7 and 8, with the coefficient that the text gives beside them.
SCATTER = (
    ("7a", "density", "one_pixel_error_rate", "−0.26; 0.29 in the table"),
    ("7b", "density", "one_pixel_average_confidence", "−0.64; −0.63 in the table"),
    ("8a", "n_parameters", "growing_average_eps", "0.42; 0.43 in the table"),
    ("8b", "n_parameters", "one_pixel_error_rate", "0.55; −0.58 in the table"),
)


def coefficient(pair):
    """A coefficient with its interval; a dash where a column is constant."""
    if pair is None:
        return number(None)
    bounds = interval(pair["ci_low"], pair["ci_high"])
    return f"{number(pair['coefficient'])} {bounds}"


def figure_rows(evidence, published):
    """What the text says of each figure, and what ours shows in its place.

    Parameters
    ----------
    evidence : Evidence
        Of a study of random graphs.

    published : PublishedTable
        Table 1, whose pairs figures 7 and 8 draw.

    Yields
    ------
    row : dict
        "figure", "what it shows", "published" and "ours".
    """
    found = [
        *_structure_rows(evidence),
        *_initialisation_rows(evidence),
        *_scatter_rows(evidence, published),
    ]
    titles = ("figure", "what it shows", "published", "ours")
    for cells in sorted(found, key=lambda cells: cells[0]):
        yield dict(zip(titles, cells, strict=True))


def _structure_rows(evidence):
    graphs = evidence.graphs()
    small = np.mean(graphs["n_parameters"] < 60_000)
    what = "graphs with fewer than 60,000 parameters"
    yield "3a", what, "about 30 %", _percent(small)
    near = graphs["prior__n_neighbors"].astype(float).eq(2).mean()
    yield "3b", "graphs with 2 neighbours on each side", "(nearly) all", _percent(near)
    for name in STRUCTURE:
        figure = "3a" if name == "n_parameters" else "4"
        values = graphs[name].dropna()
        yield figure, f"skewness: {label(name)}", "above 0", number(skew(values))
    for name in ("directed_betweenness", "average_closeness"):
        values = graphs[name].dropna()
        share = np.mean(values < values.min() + np.ptp(values) / 4)
        what = f"graphs in the first quarter of the range: {label(name)}"
        yield "4d", what, "62 %", _percent(share)


def _initialisation_rows(evidence):
    low, mean, high = F1_SCORES["graphs"]
    ours = 100 * evidence.results["f1_macro"]
    yield (
        "5b", "macro F1 in percent: mean, and range", f"{mean} ({low} to {high})",
        f"{ours.mean():.1f} ({ours.min():.1f} to {ours.max():.1f})",
    )  # fmt: skip
    for name in (*list(ERRORS)[:2], *CONFIDENCES):
        figure = "5a" if name in ERRORS else "6"
        shown = (ERRORS | CONFIDENCES)[name]
        by_init = evidence.results.groupby("init")[name]
        if by_init.ngroups > 1:
            share = by_init.transform("mean").var() / evidence.results[name].var()
            theirs = "“no influence”" if figure == "5a" else "not said"
            what = f"share of the variance between initialisations: {shown}"
            yield figure, what, theirs, _percent(share)
        if figure == "5a":
            width = (by_init.quantile(0.75) - by_init.quantile(0.25)).mean()
            yield (
                figure,
                f"interquartile range: {shown}",
                "about 5 %",
                _percent(width, 1),
            )


def _scatter_rows(evidence, published):
    found = correlate_published(evidence, published)
    for figure, name, measure, theirs in SCATTER:
        shown = (ERRORS | CONFIDENCES)[measure]
        ours = coefficient(found.get((name, measure, "spearman")))
        yield figure, f"ρ of {label(name)} and {shown}", theirs, ours


def _percent(share, digits=0):
    return f"{100 * share:.{digits}f}\u00a0%"


def draw_structure(evidence, name):
    """Figures 3 and 4: what the graphs are like."""
    graphs = evidence.graphs()
    figure, axes = panels(6)
    for ax, column in zip(axes, STRUCTURE[:6], strict=True):
        ax.hist(graphs[column].dropna(), bins=12, color="#0072b2", rwidth=0.9)
        ax.set(xlabel=label(column), ylabel="graphs")
    save_figure(figure, FIGURES / f"{name}_structure.png", dpi=110)


def draw_initialisations(evidence, name):
    """Figures 5 and 6: what the initialisation does."""
    labels = ERRORS | CONFIDENCES
    figure, axes = panels(len(labels))
    for ax, column in zip(axes, labels, strict=True):
        values = evidence.results.groupby("init")[column]
        ax.boxplot(
            [values.get_group(init).dropna() for init in evidence.inits],
            tick_labels=[init.replace("_", "\n") for init in evidence.inits],
            flierprops={"markersize": 3},
            medianprops={"color": "#d55e00"},
        )
        ax.tick_params(axis="x", labelsize=7)
        ax.set_ylabel(labels[column])
    save_figure(figure, FIGURES / f"{name}_initialisations.png", dpi=110)


def draw_scatter(evidence, name):
    """Figures 7 and 8: robustness against density and size."""
    labels = ERRORS | CONFIDENCES
    means = evidence.results.groupby(
        ["graph", "step"] if evidence.is_pruned else "graph"
    )
    means = means.mean(numeric_only=True)
    measures = [*list(ERRORS)[:2], *list(CONFIDENCES)[1:]]
    pairs = list(product(("density", "n_parameters"), measures))
    figure, axes = panels(len(pairs), n_columns=len(measures))
    for ax, (x, y) in zip(axes, pairs, strict=True):
        ax.plot(means[x], means[y], "o", ms=4, alpha=0.7, color="#0072b2")
        ax.set(xlabel=label(x), ylabel=labels[y])
    save_figure(figure, FIGURES / f"{name}_scatter.png", dpi=110)


def panels(n_panels, n_columns=3):
    """Make a figure of so many panels."""
    figure, axes = plt.subplots(
        n_panels // n_columns, n_columns, layout="constrained", squeeze=False,
        figsize=(3.4 * n_columns, 2.9 * (n_panels // n_columns)),
    )  # fmt: skip
    for ax in axes.flat:
        ax.spines[["top", "right"]].set_visible(False)
    return figure, axes.flat
