"""How far the nearest errors are, as a band between proofs and attacks."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from robustkit._sklearn_private import check_matplotlib_support
from robustkit.attacks import robustness_bracket
from robustkit.plotting._robustness_curve_display import step_band

if TYPE_CHECKING:
    from typing import Any, Self

    from matplotlib.axes import Axes
    from matplotlib.collections import PolyCollection
    from matplotlib.figure import Figure, SubFigure
    from numpy.typing import ArrayLike

__all__ = ["RobustnessBracketDisplay"]


class RobustnessBracketDisplay:
    """How far the nearest errors are: a band from what is proved to what was found.

    Samples stand in the order of their distance. As that is not known, the lower and
    the upper ends are sorted separately: at any share of the samples, the band
    contains that quantile of the distances. Where no error was found, it reaches the
    top of the axes. It is recommended to use :meth:`from_estimator` to create a
    display.

    Parameters
    ----------
    lower : array-like of shape (n_samples,)
        Radii that are proved free of errors.

    upper : array-like of shape (n_samples,)
        Distances of errors that were found, infinite where none was.

    norm : str, default=None
        In which the distances are measured, for the label of the axis.

    name : str, default=None
        What the band is called in the legend.

    Attributes
    ----------
    ax_ : matplotlib Axes
        Where the band is.

    figure_ : matplotlib Figure
        The figure it belongs to.

    band_ : matplotlib PolyCollection
        The band.

    See Also
    --------
    robustkit.attacks.robustness_bracket : Computes both ends.
    RobustnessCurveDisplay : Accuracy as a function of the size of perturbation.

    Examples
    --------
    >>> import matplotlib.pyplot as plt
    >>> from sklearn.datasets import load_digits
    >>> from sklearn.linear_model import LogisticRegression
    >>> from robustkit.plotting import RobustnessBracketDisplay
    >>> X, y = load_digits(return_X_y=True)
    >>> X, y = X[:300] / 16, y[:300]
    >>> model = LogisticRegression().fit(X, y)
    >>> display = RobustnessBracketDisplay.from_estimator(model, X, y)
    >>> plt.show()
    """

    ax_: Axes
    figure_: Figure | SubFigure
    band_: PolyCollection

    def __init__(
        self,
        lower: ArrayLike,
        upper: ArrayLike,
        *,
        norm: str | None = None,
        name: str | None = None,
    ) -> None:
        self.lower = lower
        self.upper = upper
        self.norm = norm
        self.name = name

    @classmethod
    def from_estimator(
        cls,
        model: Any,
        X: ArrayLike,
        y: ArrayLike,
        *,
        norm: str = "linf",
        method: str = "crown",
        clip: str | tuple[float, float] | None = "auto",
        name: str | None = None,
        ax: Axes | None = None,
    ) -> Self:
        """Attack, prove and draw.

        Parameters
        ----------
        model : object
            A fitted classifier.

        X : array-like of shape (n_samples, n_features)
            Samples.

        y : array-like of shape (n_samples,)
            True labels.

        norm : {"linf", "l2"}, default="linf"
            In which distances are measured.

        method : {"crown", "interval", "split"}, default="crown"
            How radii are proved.

        clip : "auto", tuple of two floats or None, default="auto"
            Range of every feature.

        name : str, default=None
            What the band is called in the legend.

        ax : matplotlib axes, default=None
            Where to draw. By default a new figure. Several models may be drawn on one
            axes.

        Returns
        -------
        display : RobustnessBracketDisplay
            Plotted.
        """
        check_matplotlib_support(f"{cls.__name__}.from_estimator")
        bracket = robustness_bracket(model, X, y, norm=norm, method=method, clip=clip)
        ends = bracket["lower"], bracket["upper"]
        return cls(*ends, norm=norm, name=name).plot(ax)

    def plot(self, ax: Axes | None = None) -> Self:
        """Draw.

        Parameters
        ----------
        ax : matplotlib axes, default=None
            Where to draw. By default a new figure.

        Returns
        -------
        display : RobustnessBracketDisplay
            This display.
        """
        check_matplotlib_support(f"{type(self).__name__}.plot")
        lower, upper = (np.sort(np.asarray(e, float)) for e in (self.lower, self.upper))
        if (
            lower.shape != upper.shape
            or lower.ndim != 1
            or len(lower) == 0
            or (lower > upper).any()
        ):
            raise ValueError(
                "'lower' and 'upper' must be two lists of at least one number, of one "
                "length, and lower <= upper. Got shapes "
                f"{lower.shape} and {upper.shape}."
            )
        if ax is None:
            import matplotlib.pyplot as plt

            _, ax = plt.subplots(figsize=(5.5, 3.6), layout="constrained")
        self.ax_, self.figure_ = ax, ax.figure
        others = _highest_of(ax)
        self._draw(lower, upper)
        norm = "" if self.norm is None else f" ({self.norm})"
        ax.set(xlabel="share of the samples", ylabel=f"distance of nearest error{norm}")
        ax.set_xlim(0, 1)
        ends = np.append(lower, upper)
        # Room for this band, and for those that were drawn before.
        highest = ends[np.isfinite(ends)].max(initial=others)
        ax.set_ylim(0, 1.1 * highest or 1.0)
        for side in ("top", "right"):
            ax.spines[side].set_visible(False)
        if self.name is not None:
            ax.legend(frameon=False, loc="upper left")
        return self

    def _draw(self, lower, upper):
        ax = self.ax_
        shares = np.arange(len(lower) + 1) / len(lower)
        look = {"drawstyle": "steps-post", "lw": 1.2}
        (above,) = ax.plot([], [], **look)
        color = above.get_color()
        (below,) = ax.plot([], [], ls=(0, (3, 1.5)), c=color, **look)
        self.band_ = band = ax.fill_between(
            [], [], color=color, alpha=0.2, lw=0, label=self.name
        )
        # Each level lasts from its share to the next one.
        lower, upper = (np.append(end, end[-1]) for end in (lower, upper))

        def raise_to_top(ax):
            """Draw infinity at the top of the axes, wherever that is."""
            top = max(ax.get_ylim())
            low, high = (np.where(np.isinf(end), top, end) for end in (lower, upper))
            below.set_data(shares, low)
            above.set_data(shares, high)
            band.set_verts([step_band(shares, low, high)])

        ax.callbacks.connect("ylim_changed", raise_to_top)
        raise_to_top(ax)


def _highest_of(ax):
    """Return the largest finite distance that is drawn: infinity is at the top."""
    drawn = np.concatenate([[], *(line.get_ydata() for line in ax.lines)])
    return drawn[drawn != max(ax.get_ylim())].max(initial=0)
