"""How long components and loops of a mapper graph last: bars over eps, or curves."""

from __future__ import annotations

from typing import TYPE_CHECKING

import networkx as nx
import numpy as np
import pandas as pd
from sklearn.base import clone

from robustkit._sklearn_private import check_matplotlib_support
from robustkit.topology import (
    MapperGraph,
    count_loops,
    filled_triangles,
    mapper_persistence,
)

if TYPE_CHECKING:
    from typing import Any, Self

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure, SubFigure
    from numpy.typing import ArrayLike

__all__ = ["MapperPersistenceDisplay"]

# Components, loops.
_NAMES = ("components", "loops")
_COLORS = ("#0072B2", "#D55E00")

# More bars of one kind are too thin to be seen; the shortest are left out.
_MOST_BARS = 40


class MapperPersistenceDisplay:
    """Components and loops of mapper graphs over many scales.

    Over `eps`, a bar for each component and each loop, from the distance at which it
    appears to the one at which it is gone: what lasts long is there, what is short is
    chance. Over the number of intervals, curves of how many there are: what stays the
    same over many numbers does not depend on the choice.

    Parameters
    ----------
    bars : DataFrame, default=None
        As :func:`~robustkit.topology.mapper_persistence` returns them.

    counts : DataFrame, default=None
        One row for each number of intervals, the index, with the columns `components`
        and `loops`. Exactly one of the two is given.

    chosen : float, default=None
        The `eps` or number of intervals of the mapper, which is marked.

    Attributes
    ----------
    ax_ : matplotlib Axes
        The axes that hold the picture.

    figure_ : matplotlib Figure
        Their figure.

    See Also
    --------
    MapperGraphDisplay : One of the graphs.

    Examples
    --------
    >>> import numpy as np
    >>> from robustkit.plotting import MapperPersistenceDisplay
    >>> from robustkit.topology import MapperGraph
    >>> angle = np.linspace(0, 2 * np.pi, 200, endpoint=False)
    >>> circle = np.column_stack([np.cos(angle), np.sin(angle)])
    >>> MapperPersistenceDisplay.from_mapper(MapperGraph("pca"), circle)
    <...MapperPersistenceDisplay object at ...>
    """

    ax_: Axes
    figure_: Figure | SubFigure

    def __init__(
        self,
        bars: pd.DataFrame | None = None,
        counts: pd.DataFrame | None = None,
        *,
        chosen: float | None = None,
    ) -> None:
        self.bars = bars
        self.counts = counts
        self.chosen = chosen

    @classmethod
    def from_mapper(
        cls,
        mapper: MapperGraph,
        X: ArrayLike,
        *,
        eps: ArrayLike | None = None,
        n_intervals: ArrayLike | None = None,
        ax: Axes | None = None,
    ) -> Self:
        """Build the graphs and draw.

        Parameters
        ----------
        mapper : MapperGraph
            Its parameters say what graphs to build; it is not changed.

        X : array-like of shape (n_samples, n_features)
            The point cloud.

        eps : array-like of shape (n_scales,), default=None
            Distances, ascending, as for :func:`~robustkit.topology.mapper_persistence`.

        n_intervals : array-like of shape (n_scales,), default=None
            Numbers of intervals. Then the curves over these are drawn, with the `eps`
            that the mapper uses for `X`.

        ax : matplotlib Axes, default=None
            Where to draw; None makes a figure.

        Returns
        -------
        display : MapperPersistenceDisplay
            The display, drawn.
        """
        check_matplotlib_support(f"{cls.__name__}.from_mapper")
        if n_intervals is None:
            fitted = clone(mapper).fit(X)
            bars = mapper_persistence(mapper, X, eps=eps)
            return cls(bars, chosen=fitted.eps_).plot(ax=ax)
        if eps is not None:
            raise ValueError(
                "Give one of the parameters 'eps' and 'n_intervals', not both."
            )
        covers = (
            mapper.cover if isinstance(mapper.cover, list | tuple) else [mapper.cover]
        )
        if not all(isinstance(cover, str) for cover in covers):
            raise ValueError(
                "To vary 'n_intervals', the mapper must have a 'cover' by name. Got "
                f"cover={mapper.cover!r}, which has a number of its own."
            )
        counts, chosen = _count(mapper, X, np.unique(np.asarray(n_intervals)))
        return cls(counts=counts, chosen=chosen).plot(ax=ax)

    def plot(self, ax: Axes | None = None) -> Self:
        """Draw the bars or the curves.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Where to draw; None makes a figure.

        Returns
        -------
        display : MapperPersistenceDisplay
            This display.
        """
        check_matplotlib_support(f"{type(self).__name__}.plot")
        import matplotlib.pyplot as plt

        if (self.bars is None) == (self.counts is None):
            raise ValueError(
                "Give one of the parameters 'bars' and 'counts', not both."
            )
        if ax is None:
            _, ax = plt.subplots(figsize=(7, 4), layout="constrained")
        self.ax_, self.figure_ = ax, ax.figure
        if self.bars is not None:
            self._draw_bars(self.bars)
        else:
            self._draw_curves(self.counts)
        if self.chosen is not None:
            ax.axvline(self.chosen, color="0.3", linestyle=":", label="this mapper")
        ax.spines[["top", "right"]].set_visible(False)
        ax.legend(frameon=False, loc="center left", bbox_to_anchor=(1, 0.5))
        return self

    def _draw_bars(self, bars):
        from matplotlib.ticker import LogLocator, NullLocator

        ends = bars[["birth", "death"]].to_numpy()
        finite = ends[np.isfinite(ends)]
        low, high = (finite.min(), finite.max()) if len(finite) else (0.5, 1.0)
        if self.chosen is not None:
            low, high = min(low, self.chosen / 2), max(high, 2 * self.chosen)
        # What is there at the last distance goes on to the edge.
        edge = high * max(high / low, 2) ** 0.1
        y = 0
        for dimension, (name, color) in enumerate(zip(_NAMES, _COLORS, strict=True)):
            some = bars[bars["dimension"] == dimension].head(_MOST_BARS)
            heights = -(y + np.arange(len(some)))
            self.ax_.hlines(
                heights, some["birth"], some["death"].clip(upper=edge), color=color,
                linewidth=2.5, label=name,
            )  # fmt: skip
            y += len(some) + 1
        self.ax_.set(xscale="log", xlim=(low / (edge / high), edge), yticks=[])
        self.ax_.set_xlabel("eps")
        self.ax_.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        self.ax_.xaxis.set_major_formatter("{x:g}")
        self.ax_.xaxis.set_minor_locator(NullLocator())

    def _draw_curves(self, counts):
        for name, color, marker in zip(_NAMES, _COLORS, "os", strict=True):
            self.ax_.plot(
                counts.index, counts[name], marker, linestyle="-", color=color,
                markersize=4, label=name,
            )  # fmt: skip
        self.ax_.set_xlabel("number of intervals")
        self.ax_.set_ylabel("how many")
        self.ax_.yaxis.get_major_locator().set_params(integer=True)
        self.ax_.set_ylim(bottom=-0.3)


def _count(mapper: MapperGraph, X: Any, numbers: np.ndarray):
    """Count components and loops for numbers of intervals, with one distance."""
    fitted = clone(mapper).fit(X)
    varied = clone(mapper).set_params(warm_start=True)
    if mapper.clusterer is None:
        varied.set_params(eps=fitted.eps_)
    rows = []
    for number in numbers:
        graph = varied.set_params(n_intervals=int(number)).fit(X)
        n_nodes = graph.membership_.shape[1]
        triangles = filled_triangles(graph.membership_)
        n_loops = count_loops(graph.edges_, n_nodes, triangles)
        rows.append((nx.number_connected_components(graph.graph_), n_loops))
    counts = pd.DataFrame(rows, columns=_NAMES, index=pd.Index(numbers))
    # Of two filters, the intervals of the first.
    intervals = fitted.intervals_.reshape(len(fitted.intervals_), -1)[:, :2]
    return counts.rename_axis("n_intervals"), len(np.unique(intervals, axis=0))
