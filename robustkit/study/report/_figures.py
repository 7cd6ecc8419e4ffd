"""The pictures of a report: SVG that follows the reader's light or dark page."""

import re
from base64 import b64encode
from collections.abc import Callable
from dataclasses import dataclass
from io import StringIO
from textwrap import fill

import numpy as np
import pandas as pd
from pandas.api.types import is_numeric_dtype

from robustkit.study.report._findings import (
    Evidence,
    Finding,
    by_strength,
    headline_measures,
)
from robustkit.study.report._labels import (
    SYMBOLS,
    label,
    number,
    robust_sign,
    split_measure,
)

__all__ = [
    "Picture",
    "boxes",
    "check_matplotlib",
    "coefficients",
    "draw_figures",
    "histogram",
    "scatter",
]

# Colours that matplotlib writes into the picture, in light and in dark.
_COLORS = {
    "#1b1f24": "#e3e6ea",
    "#1f6fb2": "#6cb4f0",
    "#c2570c": "#f0a267",
    "#d5dae1": "#444c55",
    "#f3f5f7": "#1e2328",
    "#fefefe": "#14171b",
}
_INK, _BLUE, _ORANGE, _LINE, _BAND, _GROUND = _COLORS

_STYLE = {
    "svg.fonttype": "none",
    "svg.hashsalt": "robustkit",
    # Names of columns may hold a dollar sign.
    "text.parse_math": False,
    "text.color": _INK,
    "axes.labelcolor": _INK,
    "axes.edgecolor": _INK,
    "axes.titlecolor": _INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "xtick.color": _INK,
    "ytick.color": _INK,
    "grid.color": _LINE,
}

_STRUCTURE = (
    "density",
    "diameter",
    "directed_path_length",
    "average_path_length",
    "average_eccentricity",
    "directed_betweenness",
    "average_clustering",
    "average_closeness",
)
_MOST_PROPERTIES = 12
_MOST_SCATTERS = 3


@dataclass(frozen=True)
class Picture:
    """A drawing, and what it shows in words."""

    svg: str
    alt: str

    @property
    def uri(self) -> str:
        """The drawing as an address, which loads nothing."""
        return f"data:image/svg+xml;base64,{b64encode(self.svg.encode()).decode()}"


def check_matplotlib() -> None:
    """Refuse to begin what cannot be finished."""
    try:
        import matplotlib  # noqa: F401
    except ImportError:
        raise ImportError(
            "A report needs matplotlib for its figures. Install it with "
            "pip install 'robustkit[plot]'."
        ) from None


def draw_figures(evidence: Evidence, findings: list[Finding]) -> dict:
    """Draw every figure of the page, by name.

    "coefficients" is a wide and a narrow picture, or None; the others are lists of
    small ones, empty where the study has no data for them.
    """
    e = evidence
    names = headline_measures(e)
    known = {*e.properties, *e.measures}
    structure = [name for name in _STRUCTURE if name in known]
    compared = [
        name
        for name in e.measures
        if split_measure(name)[1] in ("error_rate", "median_distance")
    ]
    compared += [name for name in ("growing_average_eps", "f1_macro") if name in known]
    # An attack without a radius finds an error of every sample.
    compared = [name for name in compared if e.n_unique(name) > 1]
    graphs = e.graphs()
    sizes = [*(name for name in ("n_parameters",) if name in known), *e.parameters]
    return {
        "coefficients": _both_widths(e, names) if names else None,
        "n_properties": min(_MOST_PROPERTIES, e.pairs["property"].nunique()),
        "strongest": _strongest(e, findings),
        "structure": [
            histogram(graphs[name], label(name)) for name in [*sizes, *structure]
        ],
        "initialisations": [
            boxes({str(init): _of_init(e, init, name) for init in e.inits}, label(name))
            for name in (compared if len(e.inits) > 1 else ())
        ],
    }


def _of_init(evidence, init, name):
    return evidence.results.loc[evidence.results["init"] == init, name]


def _both_widths(evidence, names):
    if evidence.pairs["coefficient"].isna().all():
        return None
    correlator = evidence.correlator
    draw = [
        coefficients(
            evidence.pairs,
            evidence.held,
            names,
            alpha=correlator.alpha,
            method=correlator.method_,
            is_narrow=is_narrow,
        )
        for is_narrow in (False, True)
    ]
    return dict(zip(("wide", "narrow"), draw, strict=True))


def _strongest(evidence, findings):
    """Points of the strongest associations that the controls do not explain."""
    chosen = {}
    for finding in findings:
        if finding.verdict == "independent":
            chosen.setdefault(finding.property, finding.measure)
    values = evidence.results
    if evidence.correlator is not None:
        # What was correlated: means over the repeats of a graph.
        values = evidence.correlator.values_
    return [
        scatter(values[x], values[y], label(x), label(y))
        for x, y in list(chosen.items())[:_MOST_SCATTERS]
        if {x, y} <= {*values}
    ]


def coefficients(
    pairs: pd.DataFrame,
    held: pd.DataFrame,
    measures: list[str],
    *,
    alpha: float,
    method: str,
    is_narrow: bool = False,
) -> Picture:
    """Show coefficients with their intervals: one row per property.

    One panel per measure, side by side, or below each other if `is_narrow`. `held` are
    the coefficients given the controls, in the order of `pairs`. Symbols are filled
    where the adjusted p-value is at most `alpha`.
    """
    shown = pairs["measure"].isin(measures)
    held, pairs = held[shown], pairs[shown]
    # The strongest at the top.
    order = by_strength(pairs)[:_MOST_PROPERTIES][::-1]
    places = pd.Series(np.arange(len(order)), index=order)
    reach = pairs[["coefficient", "ci_low", "ci_high"]].abs().max(axis=None)
    reach = np.nanmax([reach, held["coefficient"].abs().max()])
    reach = np.ceil(10 * max(reach, 0.2)) / 10 + 0.04

    def draw(figure):
        shape = (len(measures), 1) if is_narrow else (1, len(measures))
        axes = figure.subplots(*shape, sharex=True, sharey=not is_narrow, squeeze=False)
        for ax, measure in zip(axes.flat, measures, strict=True):
            of_panel = pairs["measure"] == measure
            for k in range(0, len(places), 2):
                ax.axhspan(k - 0.5, k + 0.5, color=_BAND, linewidth=0, zorder=0)
            ax.axvline(0, color=_INK, linewidth=0.8, zorder=1)
            _draw_marks(ax, held[of_panel], places - 0.2, alpha, _ORANGE, "D")
            _draw_marks(ax, pairs[of_panel], places + 0.12, alpha, _BLUE, "o")
            title = label(measure) if is_narrow else fill(label(measure), 18)
            ax.set_title(title, fontsize=10, loc="left", fontweight="bold")
            ax.set_yticks(places, [label(name) for name in places.index])
            ax.tick_params("y", length=0)
            ax.spines["left"].set_visible(False)
            ax.set_ylim(-0.5, len(places) - 0.5)
            ax.set_xlim(-reach if method in SYMBOLS else -0.04, reach)
            ax.set_xlabel(_direction(measure, method))
        _draw_legend(figure, axes.flat[0], is_narrow)

    row = 0.29
    size = (9.2, 1.35 + row * len(places))
    if is_narrow:
        size = (4.4, 0.6 + len(measures) * (0.75 + row * len(places)))
    n_significant = int((pairs["p_adjusted"] <= alpha).sum())
    alt = (
        f"Coefficients with intervals of {len(places)} properties with "
        f"{len(measures)} measures of robustness; {n_significant} of {len(pairs)} are "
        "significant. The numbers are in the table below."
    )
    return Picture(_svg(draw, size), alt)


def _draw_marks(ax, rows, places, alpha, color, marker):
    rows = rows[rows["property"].isin(places.index)].dropna(subset="coefficient")
    heights = places[rows["property"]].to_numpy()
    if "ci_low" in rows:
        ax.hlines(heights, rows["ci_low"], rows["ci_high"], color=color, linewidth=1.6)
    faces = np.where(rows["p_adjusted"] <= alpha, color, _GROUND)
    size = 30 if marker == "o" else 15
    ax.scatter(
        rows["coefficient"],
        heights,
        s=size,
        c=faces.tolist() or _GROUND,
        edgecolors=color,
        linewidths=1.1,
        marker=marker,
        zorder=3,
    )


def _direction(measure, method):
    sign = robust_sign(measure) if method in SYMBOLS else 0
    return {1: "more robust →", -1: "← more robust", 0: ""}[sign]


def _draw_legend(figure, ax, is_narrow):
    marks = [
        ("coefficient, 95% interval", _BLUE, "o", _BLUE),
        ("controls held fixed", _ORANGE, "D", _ORANGE),
        ("not significant", _BLUE, "o", _GROUND),
    ]
    handles = [
        ax.plot(
            [],
            [],
            marker=marker,
            color=color,
            markerfacecolor=face,
            markersize=5.5 if marker == "o" else 4,
            linestyle="-" if name.startswith("coefficient") else "",
            label=name,
        )[0]
        for name, color, marker, face in marks
    ]
    figure.legend(
        handles=handles,
        loc="outside lower center",
        ncols=1 if is_narrow else 3,
        frameon=False,
    )


def histogram(values: pd.Series, name: str) -> Picture:
    """Show how a column is distributed; NaN is left out."""
    values = values.dropna()
    if not is_numeric_dtype(values):
        return _bars(values.value_counts(sort=False), name)
    counts = values.value_counts().sort_index()
    names = [f"{value:g}" for value in counts.index]
    # One bar per value, where there are few and they are short.
    if len(counts) <= min(8, len(values) - 1) and max(map(len, names)) <= 6:
        return _bars(counts.set_axis(names), name)

    def draw(figure):
        ax = figure.subplots()
        ax.hist(values, bins="auto", color=_BLUE, rwidth=0.94)
        ax.set(xlabel=name, ylabel="count")
        ax.locator_params("x", nbins=5)
        ax.yaxis.get_major_locator().set_params(integer=True)

    low, middle, high = (_short(q) for q in np.quantile(values, [0, 0.5, 1]))
    alt = (
        f"Histogram of {name}: {len(values)} values from {low} to {high}, "
        f"median {middle}."
    )
    return Picture(_svg(draw), alt)


def _bars(counts, name):
    def draw(figure):
        ax = figure.subplots()
        # By place: two numbers may look alike when they are short.
        ax.bar(range(len(counts)), counts, color=_BLUE)
        ax.set_xticks(range(len(counts)), map(str, counts.index))
        if sum(map(len, map(str, counts.index))) > 30:
            ax.tick_params("x", rotation=30)
        ax.set(xlabel=name, ylabel="count")
        ax.yaxis.get_major_locator().set_params(integer=True)

    numbers = "; ".join(f"{value} {count}" for value, count in counts.items())
    return Picture(_svg(draw), f"Bar chart of {name}. Counts: {numbers}.")


def boxes(groups: dict[str, pd.Series], name: str) -> Picture:
    """Compare groups by the box plots of a column; NaN is left out."""
    groups = {group: values.dropna().to_numpy() for group, values in groups.items()}
    groups = {group: values for group, values in groups.items() if len(values)}

    def draw(figure):
        ax = figure.subplots()
        line = {"color": _INK}
        ax.boxplot(
            list(groups.values()),
            widths=0.6,
            patch_artist=True,
            boxprops={"facecolor": _BLUE, "alpha": 0.55, "edgecolor": _INK},
            medianprops={"color": _INK, "linewidth": 1.6},
            whiskerprops=line,
            capprops=line,
            flierprops={"marker": ".", "markersize": 4, "markeredgecolor": _INK},
        )
        ax.set_xticks(
            range(1, len(groups) + 1),
            list(groups),
            rotation=30,
            ha="right",
            rotation_mode="anchor",
        )
        ax.set_ylabel(name)
        ax.grid(axis="y")
        ax.set_axisbelow(True)

    medians = "; ".join(
        f"{group} {_short(np.median(values))}" for group, values in groups.items()
    )
    return Picture(_svg(draw), f"Box plots of {name}. Medians: {medians}.")


def scatter(x: pd.Series, y: pd.Series, x_name: str, y_name: str) -> Picture:
    """Show two columns of the same models as points; gaps are left out."""
    both = (x.notna() & y.notna()).to_numpy()
    x, y = x.to_numpy()[both], y.to_numpy()[both]

    def draw(figure):
        ax = figure.subplots()
        size = 9 if len(x) > 200 else 18
        ax.scatter(x, y, s=size, color=_BLUE, alpha=0.65, linewidths=0)
        ax.set(xlabel=x_name, ylabel=y_name)
        ax.locator_params("x", nbins=5)

    alt = (
        f"Scatter plot of {len(x)} points: {y_name}, {_range(y)}, against {x_name}, "
        f"{_range(x)}."
    )
    return Picture(_svg(draw), alt)


def _svg(draw: Callable, size: tuple[float, float] = (3.5, 2.6)) -> str:
    """Draw on a new figure, away from pyplot and its global state."""
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    text = StringIO()
    with rc_context({**_STYLE, "font.size": 9}):
        figure = Figure(figsize=size, layout="constrained")
        draw(figure)
        # Neither the time nor the version: the same data give the same picture.
        metadata = {"Date": None, "Creator": None}
        figure.savefig(text, format="svg", transparent=True, metadata=metadata)
    return _follow_the_page(text.getvalue())


def _follow_the_page(svg):
    """Give names to the colours, which change on a dark page, and the page's font."""
    for k, light in enumerate(_COLORS):
        svg = svg.replace(light, f"var(--c{k})")
    svg = re.sub(r"'DejaVu Sans'[^;\"]*sans-serif", "system-ui, sans-serif", svg)
    light, dark = (
        "".join(f"--c{k}: {color};" for k, color in enumerate(colors))
        for colors in (_COLORS, _COLORS.values())
    )
    start = '<style type="text/css">'
    style = (
        f"svg {{{light}}} @media screen and (prefers-color-scheme: dark) "
        f"{{svg {{{dark}}}}} "
    )
    return svg[svg.index("<svg") :].replace(start, start + style, 1)


def _range(values):
    return f"from {_short(values.min())} to {_short(values.max())}"


def _short(value):
    """Write as many digits as distinguish values of its size."""
    return number(value, 0 if abs(value) >= 100 else 2 if abs(value) >= 1 else 4)
