"""Small pictures as text: SVG that follows the reader's light or dark page."""

from base64 import b64encode
from io import StringIO

import numpy as np
from pandas.api.types import is_numeric_dtype

from robustkit.study._words import number

__all__ = ["boxes", "check_matplotlib", "data_uri", "heat_map", "histogram", "scatter"]

# Colours that matplotlib writes into the picture, in light and in dark.
_COLORS = {"#1b1f24": "#e3e6ea", "#1f6fb2": "#6cb4f0", "#d5dae1": "#444c55"}
_INK, _BLUE, _LINE = _COLORS

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


def check_matplotlib():
    """Refuse to begin what can not be finished."""
    try:
        import matplotlib  # noqa: F401
    except ImportError:
        raise ImportError(
            "A report needs matplotlib for its figures. Install it with "
            "pip install 'robustkit[plot]'."
        ) from None


def data_uri(svg):
    """Put a picture into an address.

    Parameters
    ----------
    svg : str
        The picture.

    Returns
    -------
    uri : str
        Begins with ``data:image/svg+xml``.
    """
    return f"data:image/svg+xml;base64,{b64encode(svg.encode()).decode()}"


def histogram(values, label):
    """Show how a column is distributed.

    Parameters
    ----------
    values : Series
        NaN is left out.

    label : str
        What they are.

    Returns
    -------
    svg, alt : str
        The picture, and what it shows in words.
    """
    values = values.dropna()
    if not is_numeric_dtype(values):
        return _bars(values.value_counts(sort=False), label)
    counts = values.value_counts().sort_index()
    names = [f"{value:g}" for value in counts.index]
    # One bar a value, where there are few and they are short.
    if len(counts) <= min(8, len(values) - 1) and max(map(len, names)) <= 6:
        return _bars(counts.set_axis(names), label)

    def draw(ax):
        ax.hist(values, bins="auto", color=_BLUE, rwidth=0.94)
        ax.set(xlabel=label, ylabel="count")
        ax.yaxis.get_major_locator().set_params(integer=True)

    low, middle, high = (_short(q) for q in np.quantile(values, [0, 0.5, 1]))
    alt = (
        f"Histogram of {label}: {len(values)} values from {low} to {high}, "
        f"median {middle}."
    )
    return _svg(draw), alt


def _bars(counts, label):
    def draw(ax):
        # By place: two numbers may look alike when they are short.
        ax.bar(range(len(counts)), counts, color=_BLUE)
        ax.set_xticks(range(len(counts)), map(str, counts.index))
        if sum(map(len, map(str, counts.index))) > 30:
            ax.tick_params("x", rotation=30)
        ax.set(xlabel=label, ylabel="count")
        ax.yaxis.get_major_locator().set_params(integer=True)

    numbers = "; ".join(f"{value} {count}" for value, count in counts.items())
    return _svg(draw), f"Bar chart of {label}. Counts: {numbers}."


def boxes(groups, label):
    """Compare groups by the box plots of a column.

    Parameters
    ----------
    groups : dict of str to Series
        Name -> values; NaN is left out.

    label : str
        What they are.

    Returns
    -------
    svg, alt : str
        The picture, and what it shows in words.
    """
    groups = {name: values.dropna().to_numpy() for name, values in groups.items()}
    groups = {name: values for name, values in groups.items() if len(values)}

    def draw(ax):
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
        ax.set_ylabel(label)
        ax.grid(axis="y")
        ax.set_axisbelow(True)

    medians = "; ".join(
        f"{name} {_short(np.median(values))}" for name, values in groups.items()
    )
    return _svg(draw), f"Box plots of {label}. Medians: {medians}."


def scatter(x, y, x_label, y_label):
    """Show two columns as points.

    Parameters
    ----------
    x, y : Series
        Of the same models; those that lack one are left out.

    x_label, y_label : str
        What they are.

    Returns
    -------
    svg, alt : str
        The picture, and what it shows in words.
    """
    both = (x.notna() & y.notna()).to_numpy()
    x, y = x.to_numpy()[both], y.to_numpy()[both]

    def draw(ax):
        size = 9 if len(x) > 200 else 18
        ax.scatter(x, y, s=size, color=_BLUE, alpha=0.65, linewidths=0)
        ax.set(xlabel=x_label, ylabel=y_label)

    alt = (
        f"Scatter plot of {len(x)} points: {y_label}, {_range(y)}, against {x_label}, "
        f"{_range(x)}."
    )
    return _svg(draw), alt


def heat_map(pairs, alpha, method, words):
    """Show all pairs at once, by the display of the correlation room.

    Parameters
    ----------
    pairs : DataFrame
        A row a property and measure.

    alpha : float
        An adjusted p-value up to this gets a star.

    method : str
        Which coefficient.

    words : callable
        Says what a column is.

    Returns
    -------
    svg, alt : str
        The picture, and what it shows in words.
    """
    from robustkit.plotting import CorrelationDisplay

    named = pairs.assign(
        method=method,
        property=pairs["property"].map(words),
        measure=pairs["measure"].map(words),
    )
    rows, columns = named["property"].nunique(), named["measure"].nunique()
    display = CorrelationDisplay(named, values=None, alpha=alpha)
    # The display writes many cells small.
    font_size = 9 if len(named) <= 100 else 12
    svg = _svg(display.plot, (3.4 + 0.75 * columns, 1.9 + 0.3 * rows), font_size)
    alt = (
        f"Heat map of {rows} properties by {columns} measures of robustness; "
        f"{(pairs['p_adjusted'] <= alpha).sum()} of {len(pairs)} cells have a star. "
        "The numbers are in the table below."
    )
    return svg, alt


def _svg(draw, size=(3.5, 2.6), font_size=9):
    """Draw on new axes, away from pyplot and its global state."""
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    text = StringIO()
    with rc_context({**_STYLE, "font.size": font_size}):
        figure = Figure(figsize=size, layout="constrained")
        draw(figure.subplots())
        # Neither the time nor the version: the same data give the same picture.
        metadata = {"Date": None, "Creator": None}
        figure.savefig(text, format="svg", transparent=True, metadata=metadata)
    return _follow_the_page(text.getvalue())


def _follow_the_page(svg):
    """Name the colours, and give the names another meaning on a dark page."""
    for k, light in enumerate(_COLORS):
        svg = svg.replace(light, f"var(--c{k})")
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
    """Write so many digits as tell values of its size apart."""
    return number(value, 0 if abs(value) >= 100 else 2 if abs(value) >= 1 else 4)
