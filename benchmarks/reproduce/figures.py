"""What the experiments of this folder draw."""

import matplotlib as mpl
import numpy as np

mpl.use("Agg")

import matplotlib.pyplot as plt

from robustkit.plotting import MapperGraphDisplay


def robustness_against_ratio(table, measures, path):
    """A point a model; a line through all, and one within each batch size."""
    figure, axes = plt.subplots(
        1, len(measures), figsize=(5 * len(measures), 4), layout="constrained",
        sharey=True, squeeze=False,
    )  # fmt: skip
    for ax, measure in zip(axes[0], measures, strict=True):
        for batch_size, part in table.groupby("batch_size"):
            (dots,) = ax.plot(part["prs_ratio"], part[measure], "o", label=batch_size)
            _draw_line(ax, part["prs_ratio"], part[measure], color=dots.get_color())
        _draw_line(ax, table["prs_ratio"], table[measure], fmt="k--", label="all")
        ax.set(xlabel="PRS ratio", title=measure)
        ax.spines[["top", "right"]].set_visible(False)
    axes[0, 0].set_ylabel("robust accuracy")
    axes[0, -1].legend(title="batch size", frameon=False, bbox_to_anchor=(1, 1))
    figure.savefig(path, dpi=120)
    plt.close(figure)


def _draw_line(ax, x, y, fmt="-", **style):
    ends = np.array([x.min(), x.max()])
    ax.plot(ends, np.polyval(np.polyfit(x, y, 1), ends), fmt, **style)


def mapper_graph(mapper, y, y_pred, title, path):
    """One graph twice: with the classes of its nodes, and with their accuracy."""
    figure, axes = plt.subplots(1, 2, figsize=(14, 6), dpi=120, layout="constrained")
    shown = MapperGraphDisplay.from_mapper(mapper, y, ax=axes[0])
    MapperGraphDisplay.from_mapper(
        mapper, y, y_pred, color="accuracy", positions=shown.positions_, ax=axes[1]
    )
    figure.suptitle(title)
    figure.savefig(path)
    plt.close(figure)


def purity_against_eps(results, path):
    """Mean over the seeds, and every seed as a point."""
    figure, ax = plt.subplots(layout="constrained")
    mean = results.groupby("eps")["purity"].mean()
    ax.plot(mean.index, mean, "-")
    ax.plot(results["eps"], results["purity"], "o", color="C0", alpha=0.5)
    ax.set(xlabel="eps", ylabel="weighted average purity", ylim=(0, 1))
    ax.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=120)
    plt.close(figure)
