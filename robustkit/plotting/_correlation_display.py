"""Correlations: a heat map of all pairs, or a scatter plot of one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from sklearn.utils.validation import check_is_fitted

from robustkit._sklearn_private import check_matplotlib_support
from robustkit._validation import did_you_mean

if TYPE_CHECKING:
    from typing import Literal, Self

    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure, SubFigure
    from sklearn.base import BaseEstimator

    from robustkit.correlation import RobustnessCorrelator

__all__ = ["CorrelationDisplay"]

KINDS = ("heatmap", "scatter")

_NAMES = {
    "spearman": "Spearman's ρ",
    "kendall": "Kendall's τ",
    "pearson": "Pearson's r",
    "distance": "distance correlation",
    "xi": "Chatterjee's ξ",
    "mutual_info": "mutual information",
    "partial": "Spearman's ρ, other properties fixed",
}
# These have no sign: their colours begin at 0.
_UNSIGNED = ("distance", "xi", "mutual_info")


class CorrelationDisplay:
    """Correlations: a heat map of all pairs, or a scatter plot of one.

    It is recommended to use :meth:`from_estimator` to create a display.

    Parameters
    ----------
    correlations : DataFrame
        One row for each property, measure and method, as `correlations_` of a
        :class:`~robustkit.correlation.RobustnessCorrelator`.

    values : DataFrame
        What was correlated, as its `values_`.

    alpha : float, default=0.05
        An adjusted p-value up to this gets a star.

    Attributes
    ----------
    ax_ : matplotlib Axes
        The axes.

    figure_ : matplotlib Figure
        The figure they belong to.

    See Also
    --------
    robustkit.correlation.RobustnessCorrelator : Correlates properties with measures.

    Examples
    --------
    >>> import matplotlib.pyplot as plt
    >>> import numpy as np
    >>> from robustkit.correlation import RobustnessCorrelator
    >>> from robustkit.plotting import CorrelationDisplay
    >>> rng = np.random.RandomState(0)
    >>> X = rng.normal(size=(50, 3))
    >>> y = X[:, :2] + rng.normal(size=(50, 2))
    >>> correlator = RobustnessCorrelator(random_state=0).fit(X, y)
    >>> display = CorrelationDisplay.from_estimator(correlator)
    >>> plt.show()
    """

    ax_: Axes
    figure_: Figure | SubFigure

    def __init__(
        self, correlations: pd.DataFrame, values: pd.DataFrame, *, alpha: float = 0.05
    ) -> None:
        self.correlations = correlations
        self.values = values
        self.alpha = alpha

    @classmethod
    def from_estimator(
        cls,
        estimator: BaseEstimator,
        *,
        kind: Literal["heatmap", "scatter"] = "heatmap",
        method: str | None = None,
        pair: tuple[str, str] | None = None,
        ax: Axes | None = None,
    ) -> Self:
        """Draw what a correlator, or that of a study, found.

        Parameters
        ----------
        estimator : estimator
            A fitted :class:`~robustkit.correlation.RobustnessCorrelator`, or one that
            has fitted a `correlator_`: a :class:`~robustkit.study.RobustnessStudy`.

        kind : {"heatmap", "scatter"}, default="heatmap"
            All pairs, or the models as points for one pair.

        method : str, default=None
            One of the correlator's methods. None is the one that it selects by.

        pair : tuple of str, default=None
            (property, measure) to scatter. None is the one with the largest coefficient
            in absolute value.

        ax : matplotlib axes, default=None
            Where to draw. By default a new figure.

        Returns
        -------
        display : CorrelationDisplay
            Plotted.
        """
        check_matplotlib_support(f"{cls.__name__}.from_estimator")
        check_is_fitted(estimator)
        correlator = getattr(estimator, "correlator_", estimator)
        if not hasattr(correlator, "correlations_"):
            raise ValueError(
                f"{type(estimator).__name__} has no correlations to draw: give a "
                "fitted RobustnessCorrelator, or a study of at least three models."
            )
        return cls.from_correlator(
            correlator, kind=kind, method=method, pair=pair, ax=ax
        )

    @classmethod
    def from_correlator(
        cls,
        correlator: RobustnessCorrelator,
        *,
        kind: Literal["heatmap", "scatter"] = "heatmap",
        method: str | None = None,
        pair: tuple[str, str] | None = None,
        ax: Axes | None = None,
    ) -> Self:
        """Draw what a correlator found.

        Parameters
        ----------
        correlator : RobustnessCorrelator
            Fitted.

        kind : {"heatmap", "scatter"}, default="heatmap"
            All pairs, or the models as points for one pair.

        method : str, default=None
            One of the correlator's methods. None is the one that it selects by.

        pair : tuple of str, default=None
            (property, measure) to scatter. None is the one with the largest coefficient
            in absolute value.

        ax : matplotlib axes, default=None
            Where to draw. By default a new figure.

        Returns
        -------
        display : CorrelationDisplay
            Plotted.
        """
        check_matplotlib_support(f"{cls.__name__}.from_correlator")
        check_is_fitted(correlator)
        display = cls(
            correlator.correlations_, correlator.values_, alpha=correlator.alpha
        )
        method = correlator.method_ if method is None else method
        return display.plot(ax, kind=kind, method=method, pair=pair)

    def plot(
        self,
        ax: Axes | None = None,
        *,
        kind: Literal["heatmap", "scatter"] = "heatmap",
        method: str | None = None,
        pair: tuple[str, str] | None = None,
    ) -> Self:
        """Draw.

        Parameters
        ----------
        ax : matplotlib axes, default=None
            Where to draw. By default a new figure.

        kind : {"heatmap", "scatter"}, default="heatmap"
            All pairs, or the models as points for one pair.

        method : str, default=None
            A method of the table. None is its first.

        pair : tuple of str, default=None
            (property, measure) to scatter. None is the one with the largest coefficient
            in absolute value.

        Returns
        -------
        display : CorrelationDisplay
            This display.
        """
        check_matplotlib_support(f"{type(self).__name__}.plot")
        if kind not in KINDS:
            raise ValueError(
                f"kind must be one of {list(KINDS)}. Got {kind!r} instead"
                f"{did_you_mean(kind, KINDS)}"
            )
        table = self._table_of(method)
        if kind == "heatmap":
            self.ax_ = self._draw_heatmap(ax, table)
        else:
            self.ax_ = self._draw_scatter(ax, _find(table, pair))
        self.figure_ = self.ax_.figure
        return self

    def _table_of(self, method):
        methods = list(dict.fromkeys(self.correlations["method"]))
        method = methods[0] if method is None else method
        if method not in methods:
            raise ValueError(
                f"method must be one of {methods}, which were fitted. Got {method!r} "
                f"instead{did_you_mean(method, methods)}"
            )
        return self.correlations[self.correlations["method"] == method]

    def _draw_heatmap(self, ax, table):
        properties = list(dict.fromkeys(table["property"]))
        measures = list(dict.fromkeys(table["measure"]))
        shape = (len(properties), len(measures))
        coefficients = table["coefficient"].to_numpy().reshape(shape)
        significant = (table["p_adjusted"].to_numpy() <= self.alpha).reshape(shape)
        ax = _new_axes(2.8 + 1.0 * shape[1], 1.4 + 0.4 * shape[0]) if ax is None else ax

        method = table["method"].iloc[0]
        colors, low, high = _colors_of(method, coefficients)
        image = ax.imshow(coefficients, cmap=colors, vmin=low, vmax=high, aspect="auto")
        ax.set_facecolor("#d9d9d9")
        _write_cells(ax, image, coefficients, significant)
        ax.set_xticks(
            range(shape[1]), measures, rotation=30, ha="right", rotation_mode="anchor"
        )
        ax.set_yticks(range(shape[0]), properties)
        ax.spines[:].set_visible(False)
        ax.tick_params(length=0)
        ax.set_title(f"* adjusted p ≤ {self.alpha:g}", fontsize="small", loc="right")
        ax.figure.colorbar(image, ax=ax, label=_NAMES.get(method, method))
        return ax

    def _draw_scatter(self, ax, row):
        ax = _new_axes(4.8, 3.8) if ax is None else ax
        # By place: a property may have been correlated with itself, under one name.
        columns = list(self.values)
        x = columns.index(row["property"])
        y = len(columns) - 1 - columns[::-1].index(row["measure"])
        points = self.values.iloc[:, [x, y]].dropna()
        many = len(points) > 200
        ax.scatter(*points.to_numpy().T, s=12 if many else 28, alpha=0.6, linewidths=0)
        ax.set(xlabel=row["property"], ylabel=row["measure"])
        ax.set_title(_in_words(row, self.alpha), fontsize="medium")
        ax.spines[["top", "right"]].set_visible(False)
        return ax


def _find(table, pair):
    """Find the row of a pair; by default that with the largest coefficient."""
    if pair is None:
        sizes = table["coefficient"].abs()
        if sizes.isna().all():
            raise ValueError("No pair has a coefficient, so there is none to scatter.")
        return table.loc[sizes.idxmax()]
    for name, column in zip(pair, ("property", "measure"), strict=True):
        known = list(dict.fromkeys(table[column]))
        if name not in known:
            raise ValueError(
                f"pair must be (property, measure). Got {name!r} for the {column}, but "
                f"there are {known}{did_you_mean(name, known)}"
            )
    return table[(table["property"] == pair[0]) & (table["measure"] == pair[1])].iloc[0]


def _new_axes(width, height):
    import matplotlib.pyplot as plt

    return plt.subplots(figsize=(width, height), layout="constrained")[1]


def _colors_of(method, coefficients):
    """Colour map and its range: symmetric if the coefficient has a sign."""
    if method not in _UNSIGNED:
        return "RdBu_r", -1, 1
    return "Blues", 0, np.nanmax([1, *coefficients.ravel()])


def _write_cells(ax, image, coefficients, significant):
    size = "small" if coefficients.size <= 100 else "xx-small"
    for (i, j), coefficient in np.ndenumerate(coefficients):
        if np.isnan(coefficient):
            ax.text(j, i, "–", ha="center", va="center", fontsize=size)
            continue
        red, green, blue, _ = image.cmap(image.norm(coefficient))
        dark = 0.299 * red + 0.587 * green + 0.114 * blue < 0.5
        ax.text(
            j,
            i,
            f"{_number(coefficient)}{'*' if significant[i, j] else ''}",
            ha="center",
            va="center",
            fontsize=size,
            fontweight="bold" if significant[i, j] else "normal",
            color="white" if dark else "black",
        )


def _number(value):
    """Write two digits with a true minus sign, and never a minus zero."""
    return f"{round(value, 2) + 0.0:.2f}".replace("-", "−")


def _in_words(row, alpha):
    """Say what a pair's row of the table says."""
    name = _NAMES.get(row["method"], row["method"])
    text = f"{name} = {_number(row['coefficient'])}"
    if not np.isnan(row["ci_low"]):
        text += f" [{_number(row['ci_low'])}, {_number(row['ci_high'])}]"
    p_value = row["p_adjusted"]
    if np.isnan(p_value):
        return text
    p_in_words = "p < 0.001" if p_value < 0.001 else f"p = {p_value:.3f}"
    return f"{text}, {p_in_words}{' *' if p_value <= alpha else ''}"
