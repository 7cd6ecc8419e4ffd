"""How mapper graphs change from level to level: in matched places, and as a number."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from sklearn.utils import column_or_1d

from robustkit._sklearn_private import check_matplotlib_support
from robustkit.plotting._mapper_graph_display import (
    MapperGraphDisplay,
    known_classes,
    lay_out,
)
from robustkit.topology import mapper_evolution

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any, Self

    from matplotlib.figure import Figure, SubFigure
    from numpy.typing import ArrayLike
    from sklearn.utils import Bunch

    from robustkit.topology import MapperGraph

__all__ = ["MapperEvolutionDisplay"]

# Graphs side by side in a row.
_MOST_COLUMNS = 4

# How far apart two nodes are to be, in lengths of an edge, and steps towards it.
_LEAST_GAP = 0.75
_N_STEPS = 60


class MapperEvolutionDisplay:
    """The mapper graphs of several attack levels, and how far apart they are.

    A node lies where the nodes lay that its samples come from, so that what stays is
    seen to stay. Below the graphs, lines show the distance of each level to the first
    one and to the one before.

    It is recommended to use :meth:`from_mappers` to create a display.

    Parameters
    ----------
    evolution : :class:`~sklearn.utils.Bunch`
        What :func:`robustkit.topology.mapper_evolution` returns.

    graphs : list of MapperGraphDisplay
        The graph of each level.

    Attributes
    ----------
    axes_ : ndarray of matplotlib Axes
        Those of the graphs, and last that of the distances.

    figure_ : matplotlib Figure
        The figure they belong to.

    See Also
    --------
    robustkit.topology.mapper_evolution : Computes it.
    MapperGraphDisplay : A picture of one graph.

    Examples
    --------
    >>> import matplotlib.pyplot as plt
    >>> from sklearn.datasets import load_iris
    >>> from robustkit.plotting import MapperEvolutionDisplay
    >>> from robustkit.topology import MapperGraph
    >>> X, y = load_iris(return_X_y=True)
    >>> mappers = [MapperGraph(n_intervals=8, eps=e).fit(X) for e in (0.5, 0.6, 0.9)]
    >>> display = MapperEvolutionDisplay.from_mappers(mappers, y)
    >>> plt.show()
    """

    axes_: np.ndarray
    figure_: Figure | SubFigure

    def __init__(self, evolution: Bunch, graphs: list[MapperGraphDisplay]) -> None:
        self.evolution = evolution
        self.graphs = graphs

    @classmethod
    def from_mappers(
        cls,
        mappers: Sequence[MapperGraph],
        y: ArrayLike | None = None,
        y_pred: Sequence[ArrayLike] | None = None,
        *,
        levels: Sequence[Any] | None = None,
        features: str = "samples",
        alpha: float = 0.5,
        color: str = "auto",
        classes: Sequence | np.ndarray | None = None,
        figure: Figure | SubFigure | None = None,
    ) -> Self:
        """Compare the graphs of several levels, and draw them.

        Parameters
        ----------
        mappers : sequence of MapperGraph
            Fitted, one for each level, in their order; row i of all is one sample.

        y : array-like of shape (n_samples,), default=None
            Labels of the samples.

        y_pred : sequence of arrays of shape (n_samples,), default=None
            Labels that are predicted for the samples, at each level.

        levels : sequence of length n_levels, default=None
            What the levels are called. None is 0, 1, 2 ...

        features : {"samples", "labels"}, default="samples"
            What makes two nodes alike, as in
            :func:`robustkit.topology.compare_mappers`.

        alpha : float, default=0.5
            Weight of the structure of the graphs, as there.

        color : {"auto", "pie", "majority", "purity", "accuracy", "size", \
                "filter_mean", "stability"}, default="auto"
            What the nodes show, as in :meth:`MapperGraphDisplay.from_mapper`; "auto"
            is "pie" with `y`, and "filter_mean" without.

        classes : array-like of shape (n_classes,), default=None
            All classes, as in :meth:`MapperGraphDisplay.from_mapper`.

        figure : matplotlib Figure, default=None
            Where to draw. None makes a new one.

        Returns
        -------
        display : MapperEvolutionDisplay
            Plotted.
        """
        check_matplotlib_support(f"{cls.__name__}.from_mappers")
        mappers = list(mappers)
        evolution = mapper_evolution(
            mappers, y, y_pred, levels=levels, features=features, alpha=alpha
        )
        places = _matched_places(mappers, evolution.steps)
        labels = () if y is None else np.unique(column_or_1d(y))
        classes = known_classes(labels, () if classes is None else classes)
        graphs = [
            MapperGraphDisplay(
                mapper.graph_,
                mapper.describe(y, None if y_pred is None else y_pred[k]),
                labels, places[k], classes=classes,
            )
            for k, mapper in enumerate(mappers)
        ]  # fmt: skip
        return cls(evolution, graphs).plot(figure, color=color)

    def plot(
        self, figure: Figure | SubFigure | None = None, *, color: str = "auto"
    ) -> Self:
        """Draw the graphs and the distances.

        Parameters
        ----------
        figure : matplotlib Figure, default=None
            Where to draw. None makes a new one.

        color : {"auto", "pie", "majority", "purity", "accuracy", "size", \
                "filter_mean", "stability"}, default="auto"
            What the nodes show, as in :meth:`from_mappers`.

        Returns
        -------
        display : MapperEvolutionDisplay
            This display.
        """
        check_matplotlib_support(f"{type(self).__name__}.plot")
        import matplotlib.pyplot as plt

        n_columns = min(len(self.graphs), _MOST_COLUMNS)
        n_rows = -(-len(self.graphs) // n_columns)
        if figure is None:
            size = (max(3.1 * n_columns + 1, 6), 3.1 * n_rows + 2.6)
            figure = plt.figure(figsize=size, layout="constrained")
        heights = [3.1] * n_rows + [2.3]
        grid = figure.add_gridspec(n_rows + 1, n_columns, height_ratios=heights)
        if color == "auto":
            color = "pie" if len(self.graphs[0].labels) else "filter_mean"
        axes = [
            figure.add_subplot(grid[k // n_columns, k % n_columns])
            for k in range(len(self.graphs))
        ]
        self.figure_ = figure
        for k, (graph, ax) in enumerate(zip(self.graphs, axes, strict=True)):
            graph.plot(ax, color=color)
            ax.set_title(f"{self.evolution.levels[k]}")
            # What is said of all is said once.
            legend = ax.get_legend()
            if legend is not None and k + 1 < len(axes):
                legend.remove()
            if k > 0:
                ax.set_xlabel("")
        self._same_limits(axes)
        lines = figure.add_subplot(grid[n_rows, :])
        self._draw_distances(lines)
        self.axes_ = np.array([*axes, lines], dtype=object)
        return self

    def _same_limits(self, axes):
        """Let what stays be seen in the same place of each picture."""
        placed = [ax for g, ax in zip(self.graphs, axes, strict=True) if len(g.nodes)]
        if placed:
            x = [ax.get_xlim() for ax in placed]
            y = [ax.get_ylim() for ax in placed]
            for ax in axes:
                ax.set(xlim=(np.min(x), np.max(x)), ylim=(np.min(y), np.max(y)))

    def _draw_distances(self, ax):
        levels, distances = self.evolution.levels, self.evolution.distances.to_numpy()
        at = np.arange(len(levels))
        ax.plot(at, distances[0], "o-", color="#0072B2", label="from the first level")
        ax.plot(
            at[1:], np.diagonal(distances, 1), "s--", color="#E69F00",
            label="from the level before",
        )  # fmt: skip
        ax.set_xticks(at, [str(level) for level in levels])
        ax.set(xlabel="level", ylabel="distance of graphs", ylim=(0, None))
        ax.legend(frameon=False)


def _matched_places(mappers, steps):
    """Lay out the first graph; place the nodes of others where their samples were."""
    radii = np.full(len(mappers[0].describe()), 0.4)
    places = [lay_out(mappers[0].graph_, radii)]
    for mapper, step in zip(mappers[1:], steps, strict=True):
        coupling = step.coupling
        if not coupling.size:
            places.append(lay_out(mapper.graph_, np.full(len(mapper.graph_), 0.4)))
            continue
        places.append(_apart(coupling.T @ places[-1] / coupling.sum(axis=0)[:, None]))
    return places


def _apart(places):
    """Push nodes apart that lie upon each other, as little as is needed."""
    places = places.copy()
    # Two in one place would have no direction to go.
    angles = np.arange(len(places)) * np.pi * (3 - np.sqrt(5))
    places += 1e-3 * np.column_stack([np.cos(angles), np.sin(angles)])
    for _ in range(_N_STEPS):
        apart = places[:, None] - places
        distances = np.linalg.norm(apart, axis=2)
        np.fill_diagonal(distances, np.inf)
        push = np.maximum(_LEAST_GAP - distances, 0) / 2
        places += 0.5 * (apart * (push / distances)[..., None]).sum(axis=1)
    return places
