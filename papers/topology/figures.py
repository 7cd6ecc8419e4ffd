"""Draw the mapper graphs that the experiment kept, and their purity."""

import json

import matplotlib.pyplot as plt
import networkx as nx
import pandas as pd

from papers._results import save_figure
from robustkit.plotting import MapperGraphDisplay


def stored_graph(path):
    """Read (graph, nodes, labels) of a mapper graph that an experiment kept."""
    kept = json.loads(path.read_text("utf-8"))
    graph = nx.Graph()
    graph.add_nodes_from(range(len(kept["size"])))
    graph.add_weighted_edges_from(kept["edges"])
    columns = [f"count_{label}" for label in kept["labels"]]
    nodes = pd.DataFrame(kept["counts"], columns=columns)
    return (
        graph,
        nodes.assign(size=kept["size"], accuracy=kept["accuracy"]),
        kept["labels"],
    )


def without_crumbs(graph, nodes, smallest):
    """Keep the components of some size only, and number their nodes anew."""
    parts = [c for c in nx.connected_components(graph) if len(c) >= smallest]
    kept = sorted(set().union(*parts))
    graph = nx.convert_node_labels_to_integers(graph.subgraph(kept), ordering="sorted")
    return graph, nodes.loc[kept].reset_index(drop=True)


def mapper_graph(source, title, path):
    """One graph twice: with the classes of its nodes, and with their accuracy."""
    graph, nodes, labels = stored_graph(source)
    graph, nodes = without_crumbs(graph, nodes, smallest=10)
    figure, axes = plt.subplots(1, 2, figsize=(14, 6), layout="constrained")
    shown = MapperGraphDisplay(graph, nodes, labels).plot(axes[0], color="pie")
    MapperGraphDisplay(graph, nodes, labels, shown.positions_).plot(
        axes[1], color="accuracy"
    )
    figure.suptitle(title)
    save_figure(figure, path, dpi=90)


def growing_eps(sources, path):
    """Draw the graph of each level, three side by side."""
    n_rows = -(-len(sources) // 3)
    figure, axes = plt.subplots(
        n_rows, 3, figsize=(12, 3.6 * n_rows), layout="constrained", squeeze=False
    )
    for ax in axes.flat[len(sources) :]:
        ax.remove()
    for ax, (title, source) in zip(axes.flat, sources.items(), strict=False):
        graph, nodes, labels = stored_graph(source)
        graph, nodes = without_crumbs(graph, nodes, smallest=5)
        MapperGraphDisplay(graph, nodes, labels).plot(ax, color="pie")
        ax.set_title(title)
        if ax is not axes[0, -1]:
            ax.get_legend().remove()
    save_figure(figure, path, dpi=90)


def purity_against_eps(panels, path):
    """A panel a data set: the mean over the seeds, and every seed as a point."""
    figure, axes = plt.subplots(
        1, len(panels), figsize=(5 * len(panels), 3.6), layout="constrained",
        squeeze=False, sharey=True,
    )  # fmt: skip
    for ax, (title, curves) in zip(axes[0], panels.items(), strict=True):
        for color, (label, (eps, purity)) in enumerate(curves.items()):
            mean = purity.groupby(eps).mean()
            ax.plot(mean.index, mean, "-", color=f"C{color}", label=label)
            ax.plot(eps, purity, "o", ms=4, color=f"C{color}", alpha=0.5)
        ax.set(xlabel="eps", title=title, ylim=(0, 1))
        ax.spines[["top", "right"]].set_visible(False)
        ax.legend(frameon=False)
    axes[0, 0].set_ylabel("weighted average purity")
    save_figure(figure, path)
