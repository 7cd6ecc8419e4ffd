"""The mapper graphs of all layers of a network, above the purity of each."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from robustkit._sklearn_private import check_matplotlib_support
from robustkit.plotting._mapper_graph_display import MapperGraphDisplay
from robustkit.topology import mapper_graphs

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any, Self

    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure, SubFigure
    from numpy.typing import ArrayLike

    from robustkit.topology import MapperGraph

__all__ = ["MapperLayersDisplay"]

# As many graphs stand in one row.
_N_COLUMNS = 5


class MapperLayersDisplay:
    """The mapper graph of every layer of a network, above the purity of each.

    It is recommended to use :meth:`from_estimator` to create a display, or
    :meth:`from_graphs` where the graphs are there already.

    Parameters
    ----------
    mappers : dict of str to MapperGraph
        The fitted mapper of every layer, by its name.

    table : DataFrame
        One row per layer, as :func:`~robustkit.topology.mapper_graphs` returns it.

    y : array-like of shape (n_samples,), default=None
        Labels of the samples, for the pies.

    classes : array-like of shape (n_classes,), default=None
        All classes, as in :class:`MapperGraphDisplay`.

    Attributes
    ----------
    axes_ : list of matplotlib Axes
        The graphs, from the first layer to the last.

    purity_ax_ : matplotlib Axes or None
        The purity of the layers; None where the table has none.

    figure_ : matplotlib Figure
        The figure they belong to.

    displays_ : list of MapperGraphDisplay
        The display of each layer.

    See Also
    --------
    robustkit.topology.mapper_graphs : Builds the graphs.
    MapperGraphDisplay : One graph.

    Examples
    --------
    >>> import matplotlib.pyplot as plt
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.neural_network import MLPClassifier
    >>> from robustkit.plotting import MapperLayersDisplay
    >>> from robustkit.topology import MapperGraph
    >>> X, y = load_iris(return_X_y=True)
    >>> model = MLPClassifier((16, 8), max_iter=1000, random_state=0).fit(X, y)
    >>> mapper = MapperGraph(n_intervals=8)
    >>> display = MapperLayersDisplay.from_estimator(model, X, y, mapper=mapper)
    >>> plt.show()
    """

    axes_: list[Axes]
    purity_ax_: Axes | None
    figure_: Figure | SubFigure
    displays_: list[MapperGraphDisplay]

    def __init__(
        self,
        mappers: dict[str, MapperGraph],
        table: pd.DataFrame,
        y: ArrayLike | None = None,
        *,
        classes: Sequence | np.ndarray | None = None,
    ) -> None:
        self.mappers = mappers
        self.table = table
        self.y = y
        self.classes = classes

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        X: ArrayLike,
        y: ArrayLike | None = None,
        *,
        mapper: MapperGraph | None = None,
        layers: str | int | Sequence[str | int] = "all",
        spatial: str = "random",
        random_state: int | np.random.RandomState | None = 0,
        color: str = "auto",
        figure: Figure | SubFigure | None = None,
    ) -> Self:
        """Build and draw the graph of every layer of a trained network.

        Parameters
        ----------
        estimator : estimator or torch.nn.Module
            A fitted classifier, or a trained module.

        X : array-like of shape (n_samples, n_features) or images
            Samples, whose activations are drawn.

        y : array-like of shape (n_samples,), default=None
            Their labels.

        mapper : MapperGraph, default=None
            Its parameters are those of every graph. None is
            :class:`~robustkit.topology.MapperGraph` with its defaults.

        layers : str, int or list of these, default="all"
            Which layers, as in :func:`~robustkit.topology.mapper_graphs`.

        spatial : {"random", "mean", "flatten"}, default="random"
            How a layer of channels x height x width is reduced.

        random_state : int, RandomState instance or None, default=0
            Seeds the positions of `spatial="random"`.

        color : {"auto", "pie", "majority", "purity", "size", "filter_mean"}, \
                default="auto"
            What the nodes show, as in :meth:`MapperGraphDisplay.from_mapper`.

        figure : matplotlib Figure, default=None
            Where to draw. None makes a new one.

        Returns
        -------
        display : MapperLayersDisplay
            Plotted.
        """
        check_matplotlib_support(f"{cls.__name__}.from_estimator")
        graphs = mapper_graphs(
            estimator, X, y, mapper=mapper, layers=layers, spatial=spatial,
            random_state=random_state,
        )  # fmt: skip
        classes = getattr(estimator, "classes_", None)
        return cls.from_graphs(graphs, y, color=color, classes=classes, figure=figure)

    @classmethod
    def from_graphs(
        cls,
        graphs: Any,
        y: ArrayLike | None = None,
        *,
        color: str = "auto",
        classes: Sequence | np.ndarray | None = None,
        figure: Figure | SubFigure | None = None,
    ) -> Self:
        """Draw graphs that are there already.

        Parameters
        ----------
        graphs : Bunch
            What :func:`~robustkit.topology.mapper_graphs` returned.

        y : array-like of shape (n_samples,), default=None
            Labels of the samples.

        color : {"auto", "pie", "majority", "purity", "size", "filter_mean"}, \
                default="auto"
            What the nodes show, as in :meth:`MapperGraphDisplay.from_mapper`.

        classes : array-like of shape (n_classes,), default=None
            All classes, as in :meth:`MapperGraphDisplay.from_mapper`.

        figure : matplotlib Figure, default=None
            Where to draw. None makes a new one.

        Returns
        -------
        display : MapperLayersDisplay
            Plotted.
        """
        check_matplotlib_support(f"{cls.__name__}.from_graphs")
        display = cls(graphs["mappers"], graphs["table"], y, classes=classes)
        return display.plot(figure, color=color)

    def plot(
        self, figure: Figure | SubFigure | None = None, *, color: str = "auto"
    ) -> Self:
        """Draw the graphs, and the purity of the layers below them.

        Parameters
        ----------
        figure : matplotlib Figure, default=None
            Where to draw. None makes a new one.

        color : {"auto", "pie", "majority", "purity", "size", "filter_mean"}, \
                default="auto"
            What the nodes show, as in :meth:`MapperGraphDisplay.from_mapper`.

        Returns
        -------
        display : MapperLayersDisplay
            This display.
        """
        check_matplotlib_support(f"{type(self).__name__}.plot")
        import matplotlib.pyplot as plt

        has_purity = "purity" in self.table
        n_columns = min(len(self.mappers), _N_COLUMNS)
        n_rows = -(-len(self.mappers) // n_columns)
        if figure is None:
            size = 2.2 + 2.4 * n_columns, 2.5 * n_rows + 2.2 * has_purity
            figure = plt.figure(figsize=size, layout="constrained")
        grid = figure.add_gridspec(
            n_rows + has_purity, n_columns,
            height_ratios=[1.0] * n_rows + [0.7] * has_purity,
        )  # fmt: skip
        self.figure_, self.axes_, self.displays_ = figure, [], []
        for k, (name, mapper) in enumerate(self.mappers.items()):
            ax = figure.add_subplot(grid[divmod(k, n_columns)])
            shown = MapperGraphDisplay.from_mapper(
                mapper, self.y, color=color, classes=self.classes, ax=ax
            )
            ax.set_title(f"{name}\n{self.table['n_units'].loc[name]} units", size=9)
            # Titles stand side by side, however tall the graphs are.
            ax.set_anchor("N")
            self.axes_.append(ax)
            self.displays_.append(shown)
        self._keep_one_legend(n_columns)
        self.purity_ax_ = figure.add_subplot(grid[-1, :]) if has_purity else None
        if self.purity_ax_ is not None:
            self._draw_purity(self.purity_ax_)
        return self

    def _keep_one_legend(self, n_columns):
        """Keep the legend at the end of the first row, where there is room."""
        for k, ax in enumerate(self.axes_):
            legend = ax.get_legend()
            if legend is not None and k != min(n_columns, len(self.axes_)) - 1:
                legend.remove()

    def _draw_purity(self, ax):
        places = np.arange(len(self.table))
        for column, style in (("purity", "o-"), ("pure_nodes", "s--"), ("noise", "x:")):
            ax.plot(places, self.table[column], style, label=column.replace("_", " "))
        ax.set(xticks=places, ylim=(-0.03, 1.03), ylabel="share")
        ax.set_xticklabels(self.table.index, rotation=15 if len(places) > 6 else 0)
        ax.legend(frameon=False, loc="center left", bbox_to_anchor=(1, 0.5))
