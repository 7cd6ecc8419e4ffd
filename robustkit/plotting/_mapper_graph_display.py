"""A mapper graph as a picture: pies of labels, or nodes coloured by a number."""

from __future__ import annotations

from typing import TYPE_CHECKING

import networkx as nx
import numpy as np
from sklearn.base import clone
from sklearn.utils import column_or_1d
from sklearn.utils.validation import check_is_fitted

from robustkit._samples import flat_samples
from robustkit._sklearn_private import check_matplotlib_support
from robustkit.bridge import ActivationExtractor, check_is_trained, frozen
from robustkit.classifiers import as_classifier
from robustkit.topology import MapperGraph

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any, Self

    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure, SubFigure
    from numpy.typing import ArrayLike

__all__ = ["MapperGraphDisplay"]

# Colours of classes, here and in the explorer: seven of Okabe and Ito's eight (black is
# lost on a dark ground), and three that stay apart from them. Any two are at least 15
# apart (CIE 1976 colour difference) also as readers with protanopia, deuteranopia or
# tritanopia see them.
_OKABE_ITO = (
    "#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#F0E442",
)  # fmt: skip
_ON_LIGHT = (*_OKABE_ITO, "#5B2A86", "#5C5C5C", "#3B1F10")
_ON_DARK = (*_OKABE_ITO, "#8B3FD9", "#666666", "#F4F1E8")

# So many classes have colours that differ: the base, and twice nearer to the ground.
_MOST_COLORS = 3 * len(_ON_LIGHT)

# One ramp of lightness, so that it reads in grey as well.
_COLORMAP = "cividis"

_COLORINGS = (
    "pie", "majority", "purity", "accuracy", "size", "filter_mean", "stability",
)  # fmt: skip

# Opacity of what no resample has: it is still to be seen.
_FAINTEST = 0.12


class MapperGraphDisplay:
    """A mapper graph whose nodes are pies of labels, or coloured by a number.

    Larger nodes hold more samples. The nodes and edges of a mapper with `n_bootstrap`
    are the fainter the fewer of its resamples have them. Nodes are laid out by the
    stress of the graph (Kamada and Kawai), each component by itself, the largest first:
    the same graph always gets the same picture.

    It is recommended to use :meth:`from_estimator` or :meth:`from_mapper` to create a
    display.

    Parameters
    ----------
    graph : networkx.Graph
        The graph; its nodes are numbered from 0.

    nodes : DataFrame of shape (n_nodes, n_columns)
        One row per node: `size`, the columns it may be coloured by, and
        `count_<label>` for the pies. If there is a column `stability`, from 0 to 1, it
        is the opacity of the nodes, and that of the edges is theirs in the graph.

    labels : array-like of shape (n_labels,), default=()
        The labels, in the order of their columns.

    positions : ndarray of shape (n_nodes, 2), default=None
        Where the nodes lie. None lays them out.

    classes : array-like of shape (n_classes,), default=()
        All classes, also those that are not shown: a label has the colour of its place
        among them, in ascending order. Without classes, label k has the k-th colour.

    Attributes
    ----------
    ax_ : matplotlib Axes
        Where the graph is.

    figure_ : matplotlib Figure
        The figure it belongs to.

    positions_ : ndarray of shape (n_nodes, 2)
        Where the nodes lie. Pass them on to draw another attack level, or another
        colouring, in the same places.

    See Also
    --------
    robustkit.topology.MapperGraph : Builds such graphs.

    Examples
    --------
    >>> import matplotlib.pyplot as plt
    >>> from sklearn.datasets import load_iris
    >>> from robustkit.plotting import MapperGraphDisplay
    >>> from robustkit.topology import MapperGraph
    >>> X, y = load_iris(return_X_y=True)
    >>> mapper = MapperGraph(n_intervals=8, eps=0.6).fit(X)
    >>> display = MapperGraphDisplay.from_estimator(mapper, y=y)
    >>> plt.show()
    """

    ax_: Axes
    figure_: Figure | SubFigure
    positions_: np.ndarray

    def __init__(
        self,
        graph: nx.Graph,
        nodes: pd.DataFrame,
        labels: Sequence | np.ndarray = (),
        positions: ArrayLike | None = None,
        *,
        classes: Sequence | np.ndarray = (),
    ) -> None:
        self.graph = graph
        self.nodes = nodes
        self.labels = labels
        self.positions = positions
        self.classes = classes

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        X: ArrayLike | None = None,
        y: ArrayLike | None = None,
        *,
        layer: str | int = "logits",
        mapper: MapperGraph | None = None,
        color: str = "auto",
        classes: Sequence | np.ndarray | None = None,
        positions: ArrayLike | None = None,
        ax: Axes | None = None,
    ) -> Self:
        """Draw the graph of a model's activations, or that of a fitted mapper.

        Parameters
        ----------
        estimator : estimator or torch.nn.Module
            A fitted classifier, a trained module, or a fitted
            :class:`~robustkit.topology.MapperGraph`.

        X : array-like of shape (n_samples, n_features), default=None
            Samples, whose activations are drawn. None for a mapper, which has its own.

        y : array-like of shape (n_samples,), default=None
            Their labels.

        layer : str or int, default="logits"
            The layer of a classifier, as in
            :class:`~robustkit.bridge.ActivationExtractor`.

        mapper : MapperGraph, default=None
            Its parameters are those of the graph of a classifier. None is
            :class:`~robustkit.topology.MapperGraph` with its defaults.

        color : {"auto", "pie", "majority", "purity", "accuracy", "size", \
                "filter_mean", "stability"}, default="auto"
            What the nodes show, as in :meth:`from_mapper`; accuracy is that of the
            classifier.

        classes : array-like of shape (n_classes,), default=None
            All classes, as in :meth:`from_mapper`. None is those of the classifier.

        positions : ndarray of shape (n_nodes, 2), default=None
            Where the nodes lie. None lays them out.

        ax : matplotlib Axes, default=None
            Where to draw. None makes a new figure.

        Returns
        -------
        display : MapperGraphDisplay
            Plotted.
        """
        check_matplotlib_support(f"{cls.__name__}.from_estimator")
        check_is_trained(estimator)
        look: dict[str, Any] = {"color": color, "positions": positions, "ax": ax}
        if isinstance(estimator, MapperGraph):
            if X is not None or mapper is not None:
                raise ValueError(
                    "The 'X' and 'mapper' parameters go with a classifier; a "
                    "MapperGraph is drawn with the samples that it was fitted to."
                )
            return cls.from_mapper(estimator, y, classes=classes, **look)
        if X is None:
            raise ValueError(
                "The 'X' parameter must hold samples, whose activations are drawn. Got "
                "None."
            )
        model = frozen(estimator)
        activations = ActivationExtractor(model, layer=layer, random_state=0)
        mapper = MapperGraph() if mapper is None else clone(mapper)
        mapper.fit(activations.fit(X, y).transform(X))
        predicted = None
        if y is not None:
            rows, image_shape = flat_samples(X)
            model = as_classifier(model, rows, y, image_shape=image_shape)
            predicted = model.predict(rows)
            classes = getattr(model, "classes_", None) if classes is None else classes
        return cls.from_mapper(mapper, y, predicted, classes=classes, **look)

    @classmethod
    def from_mapper(
        cls,
        mapper: MapperGraph,
        y: ArrayLike | None = None,
        y_pred: ArrayLike | None = None,
        *,
        color: str = "auto",
        classes: Sequence | np.ndarray | None = None,
        positions: ArrayLike | None = None,
        ax: Axes | None = None,
    ) -> Self:
        """Draw the graph of a fitted mapper.

        Parameters
        ----------
        mapper : MapperGraph
            Fitted.

        y : array-like of shape (n_samples,), default=None
            Labels of its training samples.

        y_pred : array-like of shape (n_samples,), default=None
            Predicted labels of its training samples.

        color : {"auto", "pie", "majority", "purity", "accuracy", "size", \
                "filter_mean", "stability"}, default="auto"
            What the nodes show: a pie of the labels in it, the most frequent one, or a
            number of :meth:`robustkit.topology.MapperGraph.describe`. "auto" is
            "accuracy" with `y_pred`, "pie" with `y` alone, and "filter_mean" without.

        classes : array-like of shape (n_classes,), default=None
            All classes, also those that no sample has: class k has the k-th colour,
            whichever others are shown, here and in the explorer. None is those of `y`
            and `y_pred`; so it is with more than 30, whose colours would repeat.

        positions : ndarray of shape (n_nodes, 2), default=None
            Where the nodes lie. None lays them out.

        ax : matplotlib Axes, default=None
            Where to draw. None makes a new figure.

        Returns
        -------
        display : MapperGraphDisplay
            Plotted.
        """
        check_matplotlib_support(f"{cls.__name__}.from_mapper")
        check_is_fitted(mapper)
        nodes = mapper.describe(y, y_pred)
        labels = () if y is None else np.unique(column_or_1d(y))
        seen = labels if y_pred is None else np.union1d(labels, column_or_1d(y_pred))
        classes = known_classes(seen, () if classes is None else classes)
        display = cls(mapper.graph_, nodes, labels, positions, classes=classes)
        return display.plot(ax, color=color)

    def plot(self, ax: Axes | None = None, *, color: str = "auto") -> Self:
        """Draw the graph.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Where to draw. None makes a new figure.

        color : {"auto", "pie", "majority", "purity", "accuracy", "size", \
                "filter_mean", "stability"}, default="auto"
            What the nodes show, as in :meth:`from_mapper`.

        Returns
        -------
        display : MapperGraphDisplay
            This display.
        """
        check_matplotlib_support(f"{type(self).__name__}.plot")
        import matplotlib.pyplot as plt

        color = self._color = self._check_color(color)
        if ax is None:
            _, ax = plt.subplots(figsize=(8, 6.5), layout="constrained")
        self.ax_, self.figure_ = ax, ax.figure
        self.positions_ = (
            lay_out(self.graph, self._radii()) if self.positions is None
            else np.asarray(self.positions, dtype=float)
        )  # fmt: skip
        self._draw_edges()
        if color in ("pie", "majority"):
            self._draw_labels(color)
        else:
            self._draw_numbers(color)
        ax.set(aspect="equal", xticks=[], yticks=[])
        ax.set_frame_on(False)
        if self._opacities() is not None and len(self.nodes):
            ax.set_xlabel("opacity: share of resamples that have it")
        return self

    def _check_color(self, color):
        if color == "auto":
            if "accuracy" in self.nodes:
                return "accuracy"
            return "pie" if len(self.labels) else "filter_mean"
        if color not in _COLORINGS:
            raise ValueError(
                f"The 'color' parameter must be 'auto' or one of {_COLORINGS}. Got "
                f"{color!r} instead."
            )
        needs = {
            "pie": "y", "majority": "y", "purity": "y", "accuracy": "y_pred",
            "stability": "n_bootstrap",
        }  # fmt: skip
        is_there = len(self.labels) > 0 if color == "pie" else color in self.nodes
        if not is_there:
            raise ValueError(f"color={color!r} needs {needs.get(color, color)!r}.")
        return color

    def _radii(self):
        """Radii in units of the layout; areas grow with the root of the sizes."""
        sizes = self.nodes["size"].to_numpy(dtype=float)
        radii = (sizes / sizes.max(initial=1)) ** 0.25
        # Not smaller, or the smallest pies could not be read.
        return 0.42 * np.maximum(radii, 0.4)

    def _draw_edges(self):
        from matplotlib.collections import LineCollection

        edges = list(self.graph.edges(data="weight", default=1))
        shared = np.array([weight for *_, weight in edges], dtype=float)
        widths = 0.6 + 1.6 * np.sqrt(shared / shared.max(initial=1))
        segments = [self.positions_[[i, j]] for i, j, _ in edges]
        lines = LineCollection(segments, linewidths=widths, colors="0.72", zorder=1)
        if self._opacities() is not None:
            stability = [s for *_, s in self.graph.edges(data="stability", default=1)]
            # More ink than where all are drawn: the faint ones are to be told apart.
            lines.set(color="0.45", alpha=_opacity(stability))
        self.ax_.add_collection(lines)

    def _opacities(self):
        """Return the opacity of each node; None if all are opaque."""
        if "stability" not in self.nodes or self._color == "stability":
            return None
        return _opacity(self.nodes["stability"])

    def _draw_labels(self, color):
        colors = self._label_colors()
        counts = self._counts()
        if color == "majority":
            counts = np.eye(len(self.labels))[counts.argmax(axis=1)]
        wedges, faces, owners = [], [], []
        for node, (place, radius, row) in enumerate(
            zip(self.positions_, self._radii(), counts, strict=True)
        ):
            for label, wedge in _pie(place, radius, row):
                wedges.append(wedge)
                faces.append(colors[label])
                owners.append(node)
        self._add_nodes(wedges, owners, facecolors=faces)
        self._draw_outlines()
        self._draw_legend(colors)

    def _label_colors(self):
        """Return the colour of each label: that of its place among all classes."""
        if not len(self.classes):
            return class_colors(len(self.labels))
        classes = np.union1d(self.labels, self.classes)
        palette = class_colors(len(classes))
        return [palette[k] for k in np.searchsorted(classes, self.labels)]

    def _counts(self):
        return self.nodes[[f"count_{label}" for label in self.labels]].to_numpy()

    def _draw_outlines(self):
        from matplotlib.patches import Circle

        circles = [
            Circle(place, radius)
            for place, radius in zip(self.positions_, self._radii(), strict=True)
        ]
        outlines = {"facecolors": "none", "edgecolors": "0.25", "linewidths": 0.5}
        self._add_nodes(circles, range(len(circles)), **outlines)

    def _draw_numbers(self, column):
        from matplotlib.patches import Circle

        circles = [
            Circle(place, radius)
            for place, radius in zip(self.positions_, self._radii(), strict=True)
        ]
        style = {"edgecolors": "0.25", "linewidths": 0.5}
        nodes = self._add_nodes(circles, range(len(circles)), **style)
        nodes.set(array=self.nodes[column].to_numpy(dtype=float), cmap=_COLORMAP)
        if column == "stability":
            nodes.set_clim(0, 1)
        if column in ("purity", "accuracy"):
            # Most nodes are near 1, and the others are those that matter.
            lowest = self.nodes[column].min() if len(self.nodes) else 0
            nodes.set_clim(min(np.floor(10 * lowest) / 10, 0.9), 1)
        self.figure_.colorbar(
            nodes, ax=self.ax_, label=column.replace("_", " "), shrink=0.7
        )

    def _add_nodes(self, patches, owners, **style):
        """Add patches, each of which is a part of the node that owns it."""
        from matplotlib.collections import PatchCollection

        opacities = self._opacities()
        if opacities is not None and patches:
            # Nothing shines through a faint node but the ground.
            ground = self.ax_.get_facecolor()
            self.ax_.add_collection(
                PatchCollection(patches, facecolors=[ground], zorder=1.5)
            )
            style["alpha"] = opacities[list(owners)]
        nodes = PatchCollection(patches, zorder=2, **style)
        self.ax_.add_collection(nodes)
        self.ax_.autoscale_view()
        return nodes

    def _draw_legend(self, colors):
        from matplotlib.patches import Patch

        self.ax_.legend(
            handles=[
                Patch(facecolor=face, edgecolor="0.25", linewidth=0.5, label=str(label))
                for label, face in zip(self.labels, colors, strict=True)
            ],
            loc="center left",
            bbox_to_anchor=(1, 0.5),
            frameon=False,
            ncols=1 + (len(self.labels) - 1) // 20,
        )


def _opacity(stability):
    return _FAINTEST + (1 - _FAINTEST) * np.asarray(stability, dtype=float)


def class_colors(n_classes: int, *, dark: bool = False) -> list[str]:
    """Return the colour of each class, for a light or a dark ground.

    Class k has the same colour however many classes there are. Beyond ten, the colours
    come again, nearer to the ground.
    """
    base, ground = (_ON_DARK, "#000000") if dark else (_ON_LIGHT, "#FFFFFF")
    return [
        _mix(base[k % len(base)], ground, min(0.7, 0.35 * (k // len(base))))
        for k in range(n_classes)
    ]


def known_classes(seen: ArrayLike, classes: Sequence | np.ndarray = ()) -> np.ndarray:
    """Return all classes, ascending: those of the samples, and those of the model.

    Only those of the samples if more would have to share colours.
    """
    seen = np.unique(np.asarray(seen))
    # Their union with an empty list would be of floats.
    known = np.union1d(seen, classes) if len(classes) else seen
    return known if len(known) <= _MOST_COLORS else seen


def _mix(color, other, share):
    channels = [
        [int(text[i : i + 2], 16) for i in (1, 3, 5)] for text in (color, other)
    ]
    mixed = [round(a + (b - a) * share) for a, b in zip(*channels, strict=True)]
    return "#" + "".join(f"{value:02X}" for value in mixed)


def _pie(center, radius, counts):
    """Yield (label, patch) for every label in a node, clockwise from the top."""
    from matplotlib.patches import Circle, Wedge

    present = np.flatnonzero(counts)
    if len(present) == 1:
        # A full wedge has a seam.
        yield present[0], Circle(center, radius)
        return
    ends = 90 - 360 * np.cumsum(counts[present]) / counts.sum()
    starts = np.concatenate([[90], ends[:-1]])
    for label, start, end in zip(present, starts, ends, strict=True):
        yield label, Wedge(center, radius, end, start)


def lay_out(graph, radii):
    """Place the nodes of a graph, the same way each time.

    Parameters
    ----------
    graph : networkx.Graph
        Its nodes are numbered from 0.

    radii : ndarray of shape (n_nodes,)
        Of the nodes, for the room they need.

    Returns
    -------
    positions : ndarray of shape (n_nodes, 2)
        Neighbours are about 1 apart.
    """
    positions = np.zeros((len(graph), 2))
    components = sorted(nx.connected_components(graph), key=lambda c: (-len(c), min(c)))
    boxes = []
    for component in map(sorted, components):
        places = _lay_out_component(graph.subgraph(component), component)
        margin = radii[component].max()
        low = (places - margin).min(axis=0)
        positions[component] = places - low
        boxes.append((component, (places + margin).max(axis=0) - low))
    _pack(positions, boxes)
    return positions


def _lay_out_component(graph, nodes):
    if len(nodes) == 1:
        return np.zeros((1, 2))
    # Fixed starts and no randomness. The graph is built anew, because the layout
    # depends on the order in which nodes and edges are listed.
    ordered = nx.Graph()
    ordered.add_nodes_from(nodes)
    ordered.add_edges_from(sorted(map(tuple, map(sorted, graph.edges))))
    start = nx.circular_layout(ordered)
    places = nx.kamada_kawai_layout(ordered, pos=start, weight=None)
    places = np.array([places[node] for node in nodes])
    lengths = [
        np.linalg.norm(places[nodes.index(i)] - places[nodes.index(j)])
        for i, j in ordered.edges
    ]
    places = places / np.median(lengths)
    # Along its longest axis from left to right.
    centered = places - places.mean(axis=0)
    _, _, axes = np.linalg.svd(centered, full_matrices=False)
    axes *= np.sign(axes[:, :1] + (axes[:, :1] == 0))
    return centered @ axes.T


def _pack(positions, boxes, gap=0.7):
    """Move the components into rows, like words into lines."""
    area = sum((width + gap) * (height + gap) for _, (width, height) in boxes)
    widest = max((width for _, (width, _) in boxes), default=0)
    line = max(1.25 * np.sqrt(area), widest)
    x = y = tallest = 0.0
    for component, (width, height) in boxes:
        if x > 0 and x + width > line:
            x, y, tallest = 0.0, y - tallest - gap, 0.0
        positions[component] += [x, y - height]
        x += width + gap
        tallest = max(tallest, height)
