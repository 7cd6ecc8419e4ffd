"""A graph as a ring, as a row of vertices and in its layers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from sklearn.utils.validation import check_is_fitted

from robustkit._sklearn_private import check_matplotlib_support
from robustkit.graphs import LayeredGraph

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Literal, Self

    import networkx as nx
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure, SubFigure
    from numpy.typing import ArrayLike
    from sklearn.base import BaseEstimator

    from robustkit.graphs import GraphPrior

__all__ = ["LayeredGraphDisplay"]

VIEWS = ("ring", "dag", "layers")

# Okabe and Ito's colours, which colour-blind readers tell apart; each kind of vertex
# has a shape of its own as well.
_SOURCE_COLOR, _SINK_COLOR = "#0072B2", "#D55E00"
_KINDS = {
    "inner": ("#7f7f7f", "o"),
    "source": (_SOURCE_COLOR, "s"),
    "sink": (_SINK_COLOR, "D"),
    "source and sink": ("#CC79A7", "^"),
}

# Up to here a vertex has room for its name, and an edge for an arrowhead.
_MOST_NAMED_VERTICES = 30
_MOST_ARROWHEADS = 60

_POINTS_ON_A_CURVE = 25


class LayeredGraphDisplay:
    """A graph as a ring, as a row of vertices and in its layers.

    Three views of one graph stand side by side: its vertices on a ring, as a small
    world is drawn; in a row, where every edge points to the right, so that there can be
    no cycle; and in the layers of the network that is built from it. Edges with a
    direction are blue where they leave and red where they arrive.

    It is recommended to use :meth:`from_estimator`, :meth:`from_graph` or
    :meth:`from_prior` to create a display.

    Parameters
    ----------
    graph : LayeredGraph
        The graph.

    order : array-like of shape (n_nodes,)
        The place of each vertex on the ring, from 0 to ``n_nodes - 1``. The row has the
        same order where all edges climb it, and the order by layers otherwise.

    Attributes
    ----------
    ax_ : ndarray of shape (n_views,)
        The matplotlib axes.

    figure_ : matplotlib Figure
        The figure they belong to.

    See Also
    --------
    robustkit.graphs.GraphPrior : Draws such graphs at random.

    Examples
    --------
    >>> import matplotlib.pyplot as plt
    >>> from robustkit.graphs import GraphPrior
    >>> from robustkit.plotting import LayeredGraphDisplay
    >>> display = LayeredGraphDisplay.from_prior(GraphPrior(n_nodes=20, random_state=0))
    >>> plt.show()
    """

    ax_: np.ndarray
    figure_: Figure | SubFigure

    def __init__(self, graph: LayeredGraph, order: ArrayLike) -> None:
        self.graph = graph
        self.order = order

    @classmethod
    def from_estimator(
        cls,
        estimator: BaseEstimator,
        *,
        views: Sequence[str] = VIEWS,
        ax: Axes | Sequence[Axes] | None = None,
    ) -> Self:
        """Draw the graph that a network was built from.

        Parameters
        ----------
        estimator : estimator
            Fitted, with a `structure_`: a
            :class:`~robustkit.classifiers.SparseNetClassifier` or a
            :class:`~robustkit.graphs.GraphPrior`.

        views : tuple of str, default=("ring", "dag", "layers")
            What to draw, from left to right.

        ax : matplotlib axes or array-like of them, default=None
            One for each view. By default a new figure.

        Returns
        -------
        display : LayeredGraphDisplay
            Plotted.
        """
        check_matplotlib_support(f"{cls.__name__}.from_estimator")
        check_is_fitted(estimator)
        if not hasattr(estimator, "structure_"):
            raise ValueError(
                f"{type(estimator).__name__} has no 'structure_': it was not built "
                "from a graph. Give a SparseNetClassifier or a GraphPrior."
            )
        return cls.from_graph(estimator.structure_, views=views, ax=ax)

    @classmethod
    def from_graph(
        cls,
        graph: LayeredGraph | nx.Graph,
        *,
        orientation: Literal["index", "random", "degree"] = "index",
        random_state: int | np.random.RandomState | None = None,
        views: Sequence[str] = VIEWS,
        ax: Axes | Sequence[Axes] | None = None,
    ) -> Self:
        """Draw a graph.

        Parameters
        ----------
        graph : LayeredGraph or networkx.Graph
            The graph. One of networkx is layered first.

        orientation : {"index", "random", "degree"}, default="index"
            What the edges of an undirected networkx graph climb.

        random_state : int, RandomState instance or None, default=None
            Draws the random order.

        views : tuple of str, default=("ring", "dag", "layers")
            What to draw, from left to right.

        ax : matplotlib axes or array-like of them, default=None
            One for each view. By default a new figure.

        Returns
        -------
        display : LayeredGraphDisplay
            Plotted.
        """
        check_matplotlib_support(f"{cls.__name__}.from_graph")
        if not isinstance(graph, LayeredGraph):
            vertices = {vertex: place for place, vertex in enumerate(graph)}
            graph = LayeredGraph.from_networkx(
                graph, orientation=orientation, random_state=random_state
            )
            order = np.array([vertices[label] for label in graph.labels])
        else:
            order = _order_of_labels(graph.labels)
        return cls(graph, order).plot(ax, views=views)

    @classmethod
    def from_prior(
        cls,
        prior: GraphPrior,
        *,
        random_state: int | np.random.RandomState | None = None,
        views: Sequence[str] = VIEWS,
        ax: Axes | Sequence[Axes] | None = None,
    ) -> Self:
        """Draw one draw of a prior.

        Parameters
        ----------
        prior : GraphPrior
            Any object with a method `sample`.

        random_state : int, RandomState instance or None, default=None
            Draws the graph. By default the prior's own.

        views : tuple of str, default=("ring", "dag", "layers")
            What to draw, from left to right.

        ax : matplotlib axes or array-like of them, default=None
            One for each view. By default a new figure.

        Returns
        -------
        display : LayeredGraphDisplay
            Plotted.
        """
        check_matplotlib_support(f"{cls.__name__}.from_prior")
        return cls.from_graph(prior.sample(random_state), views=views, ax=ax)

    def plot(
        self, ax: Axes | Sequence[Axes] | None = None, *, views: Sequence[str] = VIEWS
    ) -> Self:
        """Draw the views.

        Parameters
        ----------
        ax : matplotlib axes or array-like of them, default=None
            One for each view. By default a new figure.

        views : tuple of str, default=("ring", "dag", "layers")
            What to draw, from left to right: "ring", "dag" (the row) or "layers".

        Returns
        -------
        display : LayeredGraphDisplay
            This display.
        """
        check_matplotlib_support(f"{type(self).__name__}.plot")
        views = (views,) if isinstance(views, str) else tuple(views)
        if not views or not set(views) <= set(VIEWS):
            raise ValueError(f"views must be some of {list(VIEWS)}. Got {views!r}.")
        if ax is None:
            import matplotlib.pyplot as plt

            size = (4.4 * len(views), 4.6)
            _, ax = plt.subplots(1, len(views), figsize=size, layout="constrained")
        axes = np.atleast_1d(np.asarray(ax, dtype=object))
        if axes.shape != (len(views),):
            raise ValueError(
                f"ax must hold {len(views)} axes, one for each view. Got {axes.size}."
            )
        for view, one in zip(views, axes, strict=True):
            self._draw(view, one)
        handles, names = axes[0].get_legend_handles_labels()
        middle = axes[len(axes) // 2]
        legend = middle.legend(
            handles,
            names,
            loc="upper center",
            bbox_to_anchor=(0.5, 0),
            # Below the ticks and the name of the axis, whatever the size of the axes.
            borderaxespad=3.8,
            ncols=4,
            frameon=False,
            handletextpad=0.2,
            columnspacing=1.2,
        )
        for handle in legend.legend_handles:
            handle.set_sizes([40])
        self.ax_, self.figure_ = axes, axes[0].figure
        return self

    def _draw(self, view, ax):
        graph = self.graph
        if view == "ring":
            places = _on_a_ring(self.order)
            curves = _lines(places, graph.edges)
            title = (
                f"{graph.n_nodes} {'vertex' if graph.n_nodes == 1 else 'vertices'}, "
                f"{graph.n_edges} {'edge' if graph.n_edges == 1 else 'edges'}"
            )
        elif view == "dag":
            places = _in_a_row(graph, self.order)
            curves = _arcs(places, graph.edges)
            title = "every edge points to the right"
        else:
            places = _in_layers(graph)
            curves = _bent_lines(places, graph.edges)
            title = f"{graph.n_layers} {'layer' if graph.n_layers == 1 else 'layers'}"
        _draw_edges(ax, curves, directed=view != "ring")
        _draw_vertices(ax, graph, places)
        ax.set_title(title, fontsize="medium")
        ax.spines[:].set_visible(False)
        ax.set_yticks([])
        ax.margins(0.06)
        if view == "ring":
            ax.set_aspect("equal")
        if view == "layers":
            ax.set_xlabel("layer")
            ax.xaxis.get_major_locator().set_params(integer=True, min_n_ticks=1)
            ax.set_xlim(-0.5, graph.n_layers - 0.5)
            # A chain stays a line, and what skips its vertices a ripple on it.
            low, high = ax.get_ylim()
            ax.set_ylim(min(low, -1.5), max(high, 1.5))
        else:
            ax.set_xticks([])


def _order_of_labels(labels):
    """Rank the vertices by their labels, or leave them as they stand."""
    try:
        ranked = sorted(range(len(labels)), key=labels.__getitem__)
    except TypeError:
        return np.arange(len(labels))
    return np.argsort(ranked)


def _on_a_ring(order):
    angle = 2 * np.pi * np.asarray(order) / len(order)
    return np.stack([np.sin(angle), np.cos(angle)], axis=1)


def _in_a_row(graph, order):
    order = np.asarray(order)
    if not (order[graph.edges[0]] < order[graph.edges[1]]).all():
        order = np.arange(graph.n_nodes)
    return np.stack([order, np.zeros(graph.n_nodes)], axis=1).astype(float)


def _in_layers(graph, n_sweeps=8):
    """Stack each layer, a vertex near the mean of its neighbours: fewer crossings."""
    offsets = graph.layer_offsets
    height = np.concatenate([_stack(size) for size in np.diff(offsets)])
    by_source = graph.edges[::-1, np.argsort(graph.edges[0], kind="stable")]
    for sweep in range(n_sweeps):
        # To and fro: each layer follows the one that was stacked before it.
        there, here = by_source if sweep % 2 else graph.edges
        bounds = np.searchsorted(here, offsets)
        for layer in range(graph.n_layers)[:: -1 if sweep % 2 else 1]:
            start, stop = offsets[layer : layer + 2]
            edges = slice(bounds[layer], bounds[layer + 1])
            n_seen = np.bincount(here[edges] - start, minlength=stop - start)
            total = np.bincount(
                here[edges] - start, height[there[edges]], minlength=stop - start
            )
            wanted = np.where(n_seen, total / np.maximum(n_seen, 1), height[start:stop])
            stacked = start + np.argsort(wanted, kind="stable")
            height[stacked] = _stack(stop - start)
    return np.stack([graph.layer.astype(float), -height], axis=1)


def _stack(size):
    """Heights one apart, around zero."""
    return np.arange(size) - (size - 1) / 2


def _lines(places, edges):
    """Straight curves, of shape (n_edges, n_points, 2)."""
    step = np.linspace(0, 1, _POINTS_ON_A_CURVE)[:, None]
    source, target = places[edges][:, :, None]
    return (1 - step) * source + step * target


def _bent_lines(places, edges):
    """Lines that skip a layer bend outwards, past the vertices that they skip."""
    curves = _lines(places, edges)
    (start, low), (stop, high) = np.moveaxis(places[edges], 2, 1)
    largest = 0.5 + 0.05 * np.ptp(places[:, 1])
    bend = np.minimum(0.4 * (stop - start - 1), largest)
    bend *= np.where(low + high < 0, -1, 1)
    step = np.linspace(0, 1, _POINTS_ON_A_CURVE)
    curves[:, :, 1] += bend[:, None] * 4 * step * (1 - step)
    return curves


def _arcs(places, edges):
    """Half ellipses above the row, as high as their edge is long."""
    angle = np.linspace(np.pi, 0, _POINTS_ON_A_CURVE)
    start, stop = places[edges][:, :, :1]
    radius = (stop - start) / 2
    return np.stack(
        [(start + stop) / 2 + radius * np.cos(angle), radius * np.sin(angle)], axis=2
    )


def _draw_edges(ax, curves, *, directed):
    from matplotlib.collections import LineCollection
    from matplotlib.colors import LinearSegmentedColormap

    # The more edges, the fainter each, so that a dense graph stays a texture.
    opacity = np.clip(9 / np.sqrt(len(curves) + 1), 0.15, 0.9)
    style = {"alpha": opacity, "zorder": 1, "linewidths": 0.4 + opacity}
    if not directed:
        ax.add_collection(LineCollection(curves, colors="#555555", **style))
        return
    pieces = np.stack([curves[:, :-1], curves[:, 1:]], axis=2).reshape(-1, 2, 2)
    along = np.tile(np.linspace(0, 1, _POINTS_ON_A_CURVE - 1), len(curves))
    colors = LinearSegmentedColormap.from_list(
        "direction", [_SOURCE_COLOR, "#bdbdbd", _SINK_COLOR]
    )
    ax.add_collection(
        LineCollection(list(pieces), array=along, cmap=colors, capstyle="butt", **style)
    )
    if len(curves) <= _MOST_ARROWHEADS:
        _draw_arrowheads(ax, curves)


def _draw_arrowheads(ax, curves):
    """One at two thirds of each edge, away from the crowd at its ends."""
    at = 2 * _POINTS_ON_A_CURVE // 3
    places, along = curves[:, at], curves[:, at + 1] - curves[:, at - 1]
    ax.quiver(
        *places.T,
        *(along / np.linalg.norm(along, axis=1, keepdims=True)).T,
        angles="xy",
        pivot="mid",
        color="#555555",
        zorder=2,
        # A head, and nothing behind it.
        units="inches",
        scale_units="inches",
        scale=12,
        width=1 / 120,
        headwidth=8,
        headlength=10,
        headaxislength=10,
    )


def _draw_vertices(ax, graph, places):
    is_source, is_sink = np.zeros((2, graph.n_nodes), dtype=bool)
    is_source[graph.sources] = True
    is_sink[graph.sinks] = True
    kinds = {
        "inner": ~is_source & ~is_sink,
        "source": is_source & ~is_sink,
        "sink": is_sink & ~is_source,
        "source and sink": is_source & is_sink,
    }
    size = np.clip(3500 / graph.n_nodes, 8, 170)
    for kind, chosen in kinds.items():
        color, marker = _KINDS[kind]
        n_chosen = chosen.sum()
        if n_chosen:
            plural = "s" if kind in ("source", "sink") and n_chosen > 1 else ""
            ax.scatter(
                *places[chosen].T,
                s=size,
                c=color,
                marker=marker,
                linewidths=0.4,
                edgecolors="white",
                zorder=3,
                label=f"{n_chosen} {kind}{plural}",
            )
    if graph.n_nodes <= _MOST_NAMED_VERTICES:
        for place, label in zip(places, graph.labels, strict=True):
            ax.annotate(
                str(label),
                place,
                color="white",
                fontsize="x-small",
                ha="center",
                va="center",
                zorder=4,
            )
