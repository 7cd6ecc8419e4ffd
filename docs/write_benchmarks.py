"""Write the tables and pictures of the benchmark page from its measurements."""

import json
import textwrap
from pathlib import Path

from matplotlib.figure import Figure

from benchmarks import report
from benchmarks.harness import Grown

# Of the columns that `benchmarks/RESULTS.md` has, with their widths on the page.
CASES = {
    "work": 36,
    "peer": 20,
    "ours": 8,
    "theirs": 8,
    "ours / theirs (middle half)": 16,
    "promised": 7,
    "kept": 5,
    "same result": 7,
}
GROWTHS = {
    "work": 28,
    "peer": 18,
    "ours, first to last": 14,
    "theirs, first to last": 14,
    "exponent of ours": 13,
    "exponent of theirs": 13,
    "same result": 7,
}
PANELS_IN_A_ROW = 2


def rows(headings, all_cells, columns):
    """Some columns of a table; what stands in its last one, a note, joins the first."""
    yield list(columns)
    for cells in all_cells:
        named = dict(zip(headings, cells, strict=True))
        if "grows" in named:
            named["work"] += f"; {named['grows']}"
        if named["note"]:
            named["work"] += f" ({named['note']})"
        yield [named[column] for column in columns]


def list_table(table, widths):
    """A table in reStructuredText."""
    lines = [".. list-table::", "   :header-rows: 1"]
    lines += [f"   :widths: {' '.join(map(str, widths))}", ""]
    for row in table:
        lines += [
            f"   {'* -' if i == 0 else '  -'} {cell}" for i, cell in enumerate(row)
        ]
    return "\n".join(lines)


def section(room, entry, picture=None):
    """What was measured in a room: on what, the pictures, the tables."""
    parts = [f"{room}\n{'-' * len(room)}", report.provenance(entry)]
    if entry["left_out"]:
        parts.append(report.left_out(entry))
    if entry["results"]:
        cells = map(report.case_cells, entry["results"])
        table = rows(report.CASE_HEADINGS, cells, CASES)
        parts.append(list_table(table, CASES.values()))
    if entry["growths"]:
        parts.append(
            f".. image:: {picture}\n"
            f"   :alt: {room}: time against size, both logarithmic, "
            "of robustkit and of peers"
        )
        cells = map(report.growth_cells, entry["growths"])
        table = rows(report.GROWTH_HEADINGS, cells, GROWTHS)
        parts.append(list_table(table, GROWTHS.values()))
    return "\n\n".join(parts) + "\n"


def draw(growths):
    """Time against size, a panel for each work, a line for each who does it."""
    panels = {}
    for grown in growths:
        panels.setdefault(grown["name"], []).append(Grown(**grown))
    peers = dict.fromkeys(grown["peer"].partition(",")[0] for grown in growths)
    colors = {peer: f"C{i}" for i, peer in enumerate(peers)}
    n_columns = min(len(panels), PANELS_IN_A_ROW)
    n_rows = -(-len(panels) // n_columns)
    figure = Figure(figsize=(4.2 * n_columns, 4.4 * n_rows), layout="constrained")
    axes = figure.subplots(n_rows, n_columns, squeeze=False).ravel()
    for ax, (name, panel) in zip(axes, panels.items(), strict=False):
        ours = max(panel, key=lambda grown: len(grown.sizes))
        lines = [("robustkit", ours.ours, ours.exponents[0], "black")]
        lines += [
            (peer, grown.theirs, grown.exponents[1], colors[peer])
            for grown in panel
            for peer in [grown.peer.partition(",")[0]]
        ]
        for who, times, (fitted, _, _), color in lines:
            label = who if fitted is None else f"{who}: {fitted:.2f}"
            ax.loglog(
                ours.sizes[: len(times)],
                times,
                marker="o",
                markersize=4,
                linewidth=2.5 if who == "robustkit" else 1.2,
                color=color,
                label=textwrap.shorten(label, 60),
            )
        ax.set_xticks(ours.sizes, [f"{size:,}" for size in ours.sizes])
        ax.minorticks_off()
        ax.set_title(textwrap.fill(name, 46), fontsize=9.5)
        ax.set_xlabel(ours.along)
        ax.set_ylabel("seconds per call")
        below = {"loc": "upper center", "bbox_to_anchor": (0.5, -0.18)}
        ax.legend(**below, title="exponent", fontsize=8, frameon=False)
        ax.grid(alpha=0.3)
    for ax in axes[len(panels) :]:
        ax.remove()
    return figure


def write(source, target, pictures):
    """One section per room, and the pictures beside the page."""
    store = json.loads(Path(source).read_text("utf-8"))
    parts = [f"{report.INTRODUCTION} {report.GROWTHS_SAY} {report.gpu(store)}\n"]
    pictures.mkdir(exist_ok=True)
    for room, entry in store.items():
        picture = f"{pictures.name}/{room.replace(' ', '_')}.svg"
        if entry["growths"]:
            draw(entry["growths"]).savefig(pictures.parent / picture)
        parts.append(section(room, entry, picture))
    Path(target).write_text("\n".join(parts), "utf-8")
