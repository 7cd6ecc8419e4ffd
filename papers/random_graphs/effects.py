"""Effects of a crossed design: graph, initialisation and seed as random factors.

The design factors (vertices, degree, rewiring) belong to graphs, and every graph has
every initialisation with every seed. In so balanced a design the mixed model has a
closed form: the effect of a design factor is that of least squares on the means of the
graphs, what graphs of one cell differ in is its error, and the shares of the variance
follow from the mean squares. Beside each linear effect stands Spearman's coefficient,
and the curved part that it does not see.
"""

from pathlib import Path

import numpy as np
import pandas as pd
from scipy import stats

from papers._results import plt, save_figure, write_table

RESULTS = Path(__file__).parent / "results"
FACTORS = {
    "prior__n_nodes": "vertices",
    "prior__n_neighbors": "neighbours on each side",
    "prior__rewiring": "rewiring",
}
RANDOM = ("graph", "init", "seed")
# Graphs below which nothing is said of effects.
FEWEST = 8
MEASURES = {
    "linf_median_distance": "median distance, maximum norm",
    "l2_median_distance": "median distance, Euclidean norm",
    "certified_median_radius": "certified radius",
    "fgsm_error_rate": "FGSM error rate at .1",
    "one_pixel_error_rate": "One Pixel error rate",
}
# What makes a small world: much clustering, and short paths nevertheless.
STRUCTURE = {
    "average_clustering": "clustering",
    "average_path_length": "path length",
    "small_world_sigma": "small-world sigma",
}


def linear_and_curved(table, measure, factors=tuple(FACTORS)):
    """Linear and curved effect of every factor on the means of the graphs.

    Levels count as steps: 0, 1, 2, ... The linear part is that from the lowest to the
    highest level; the curved part is how far the middle of the levels lies above the
    line through their ends. Each with half the width of its 95 % interval (Student).
    """
    graphs = table.groupby("graph")[[*factors, measure]].mean()
    columns, names = [np.ones(len(graphs))], [None]
    for factor in factors:
        levels = np.unique(graphs[factor])
        step = np.searchsorted(levels, graphs[factor]) / max(len(levels) - 1, 1)
        columns.append(step - 0.5)
        names.append((factor, "linear"))
        if len(levels) > 2:
            # Zero at both ends, one in the middle.
            columns.append(4 * step * (1 - step))
            names.append((factor, "curved"))
    X, y = np.stack(columns, axis=1), graphs[measure].to_numpy(float)
    freedom = len(y) - np.linalg.matrix_rank(X)
    if freedom < 1:
        raise ValueError(
            f"The table must have more graphs than the {X.shape[1]} effects. Got "
            f"{len(y)}."
        )
    weights, *_ = np.linalg.lstsq(X, y)
    noise = np.square(y - X @ weights).sum() / freedom
    spread = np.sqrt(noise * np.diag(np.linalg.pinv(X.T @ X)))
    reach = stats.t.ppf(0.975, freedom)
    rows = [
        {
            "factor": name[0],
            "part": name[1],
            "effect": weights[k],
            "half": reach * spread[k],
            "spearman": stats.spearmanr(graphs[name[0]], y).statistic,
        }
        for k, name in enumerate(names)
        if name is not None
    ]
    return pd.DataFrame(rows)


def variance_components(table, measure, factors=RANDOM):
    """Share of the variance of each random factor, and of what they leave.

    Method of moments in a balanced design with one row per cell: the mean square of a
    factor exceeds that of the rest by its variance, times the rows of a level. A
    negative estimate counts as zero.
    """
    values = table[measure].to_numpy(float)
    codes = [np.unique(table[name], return_inverse=True)[1] for name in factors]
    sizes = [code.max() + 1 for code in codes]
    if len(values) != np.prod(sizes):
        raise ValueError(
            f"The design must have one row per combination of {', '.join(factors)}, "
            f"{np.prod(sizes)} in all. Got {len(values)}."
        )
    middle, left = values.mean(), values - values.mean()
    squares = {}
    for name, code, size in zip(factors, codes, sizes, strict=True):
        means = np.bincount(code, values) / np.bincount(code) - middle
        left = left - means[code]
        n_rows = len(values) / size
        squares[name] = (n_rows * np.square(means).sum() / max(size - 1, 1), n_rows)
    freedom = len(values) - 1 - sum(size - 1 for size in sizes)
    noise = np.square(left).sum() / freedom
    found = {
        name: max((square - noise) / n_rows, 0.0)
        for name, (square, n_rows) in squares.items()
    }
    found["the rest"] = noise
    total = sum(found.values())
    return {name: value / total for name, value in found.items()}


def effect_rows(table):
    """Rows of the page: each factor's effect on each measure."""
    for measure, title in MEASURES.items():
        n_graphs = table["graph"].nunique()
        if n_graphs < FEWEST:
            yield {"measure": title, "factor": f"too few graphs so far: {n_graphs}"}
            continue
        for row in linear_and_curved(table, measure).to_dict("records"):
            numbers = f"{row['effect']:+.3g} ± {row['half']:.2g}".replace("-", "−")
            yield {
                "measure": title,
                "factor": FACTORS[row["factor"]],
                "part": row["part"],
                "lowest to highest level": numbers,
                "Spearman's ρ": f"{row['spearman']:+.2f}".replace("-", "−"),
            }


def component_rows(table):
    """Rows of the page: shares of the variance in percent."""
    for measure, title in MEASURES.items():
        n_graphs = table["graph"].nunique()
        cells = {"graph": "too few so far"}
        if n_graphs >= FEWEST:
            shares = variance_components(table, measure)
            cells = {name: f"{100 * share:.0f} %" for name, share in shares.items()}
        yield {"measure": title, "graphs": n_graphs, **cells}


def levels(table, factor, measure):
    """Means of the graphs at every level of a factor, with 95 % intervals (Student)."""
    graphs = table.groupby("graph")[[factor, measure]].mean()
    found = graphs.groupby(factor)[measure].agg(["mean", "sem", "size"])
    found["half"] = found["sem"] * stats.t.ppf(0.975, found["size"] - 1)
    return found[["mean", "half", "size"]]


def level_rows(table, factors=FACTORS):
    """Rows of the page: every level of every factor, its graphs and their distances."""
    measured = ("linf_median_distance", "l2_median_distance", "certified_median_radius")
    for factor, title in factors.items():
        structure = {name: levels(table, factor, name)["mean"] for name in STRUCTURE}
        found = {name: levels(table, factor, name) for name in measured}
        for level, n_graphs in found[measured[0]]["size"].items():
            yield {
                "factor": title,
                "level": f"{level:g}",
                "graphs": n_graphs,
                **{
                    name: f"{structure[column][level]:.3g}"
                    for column, name in STRUCTURE.items()
                },
                **{
                    MEASURES[name]: "{mean:.4f} ± {half:.4f}".format(**rows.loc[level])
                    for name, rows in found.items()
                },
            }


def draw(table):
    """Draw the distances and the structure of the graphs against every factor."""
    figure, axes = plt.subplots(
        2, len(FACTORS), figsize=(9, 5), sharey="row", layout="constrained"
    )
    for (factor, title), (above, below) in zip(FACTORS.items(), axes.T, strict=True):
        found = levels(table, factor, "linf_median_distance")
        names = [f"{level:g}" for level in found.index]
        above.errorbar(names, found["mean"], found["half"], fmt="o-", capsize=3)
        styles = {"average_clustering": "s-", "average_path_length": "^-"}
        for column, style in styles.items():
            means = levels(table, factor, column)["mean"]
            below.plot(names, means / means.max(), style, label=STRUCTURE[column])
        below.set_xlabel(title)
    axes[0, 0].set_ylabel("median distance to\nthe nearest error (max. norm)")
    axes[1, 0].set_ylabel("share of the largest level")
    axes[1, 0].set_ylim(0, 1.05)
    axes[1, -1].legend(frameon=False)
    save_figure(figure, RESULTS / "figures" / "crossed.png")


def write(table):
    """Keep the tables and the picture for the page."""
    folder = RESULTS / "tables"
    if table["graph"].nunique() >= FEWEST:
        write_table(list(level_rows(table)), folder / "crossed_levels.csv")
        draw(table)
    write_table(list(effect_rows(table)), folder / "crossed_effects.csv")
    write_table(list(component_rows(table)), folder / "crossed_variance.csv")
