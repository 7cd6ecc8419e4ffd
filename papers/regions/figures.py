"""Draw robust accuracy against the ratio of regions, one point per model."""

import matplotlib.pyplot as plt
import numpy as np

from papers._results import save_figure


def robustness_against_ratio(table, causes, measures, path):
    """Draw one point per model; a line through all, and one within each batch size."""
    figure, axes = plt.subplots(
        len(causes), len(measures), layout="constrained", sharey=True, sharex="row",
        squeeze=False, figsize=(3.6 * len(measures), 3 * len(causes)),
    )  # fmt: skip
    for (cause, x_label), row in zip(causes.items(), axes, strict=True):
        for ax, (measure, title) in zip(row, measures.items(), strict=True):
            _draw_models(ax, table, cause, measure)
            ax.set(xlabel=x_label, title=title)
    for ax in axes[:, 0]:
        ax.set_ylabel("robust accuracy")
    axes[0, -1].legend(title="batch size", frameon=False, bbox_to_anchor=(1, 1))
    save_figure(figure, path)


def _draw_models(ax, table, cause, measure):
    for batch_size, part in table.groupby("batch_size"):
        (dots,) = ax.plot(part[cause], part[measure], "o", ms=4, label=batch_size)
        _draw_line(ax, part[cause], part[measure], color=dots.get_color())
    _draw_line(ax, table[cause], table[measure], fmt="k--", label="all")
    ax.spines[["top", "right"]].set_visible(False)


def _draw_line(ax, x, y, fmt="-", **style):
    ends = np.array([x.min(), x.max()])
    if ends[0] < ends[1]:
        ax.plot(ends, np.polyval(np.polyfit(x, y, 1), ends), fmt, **style)
