"""How samples share the regions of a network."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from sklearn.utils.validation import check_is_fitted

from robustkit._sklearn_private import check_matplotlib_support
from robustkit._validation import did_you_mean
from robustkit.bridge import check_is_trained, frozen
from robustkit.regions import PopulatedRegionScorer

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any, Literal, Self

    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure, SubFigure
    from numpy.typing import ArrayLike

__all__ = ["PopulatedRegionsDisplay"]


class PopulatedRegionsDisplay:
    """How samples share the regions of a network.

    Three pictures: the "sizes" of all regions by rank, a point for each; for each of
    the "classes" the share of its samples in its major region; and for each of the
    "layers" the PRS ratio, beside the share of units that one sample activates.

    It is recommended to use :meth:`from_estimator` or :meth:`from_scorer` to create a
    display.

    Parameters
    ----------
    counts : array-like of shape (n_regions,)
        Samples in each region.

    classes : array-like of shape (n_classes,)
        Names of the classes.

    major_shares : array-like of shape (n_classes,)
        Share of each class's samples that live in its major region.

    layers : DataFrame, default=None
        One row per layer with columns `prs_ratio`, `active_units` and `n_units`, as
        ``PopulatedRegionScorer.layer_report`` returns it. Needed for "layers" only.

    name : str, default=None
        What the model is called in the legend.

    Attributes
    ----------
    ax_ : matplotlib Axes
        The axes.

    figure_ : matplotlib Figure
        The figure they belong to.

    See Also
    --------
    robustkit.regions.PopulatedRegionScorer : Counts the regions.

    Examples
    --------
    >>> import matplotlib.pyplot as plt
    >>> from sklearn.datasets import load_digits
    >>> from robustkit.classifiers import MLPNetClassifier
    >>> from robustkit.plotting import PopulatedRegionsDisplay
    >>> from robustkit.regions import PopulatedRegionScorer
    >>> X, y = load_digits(return_X_y=True)
    >>> model = MLPNetClassifier(max_epochs=5, random_state=0)
    >>> scorer = PopulatedRegionScorer(model).fit(X / 16, y)
    >>> display = PopulatedRegionsDisplay.from_estimator(scorer)
    >>> plt.show()
    """

    ax_: Axes
    figure_: Figure | SubFigure

    def __init__(
        self,
        counts: ArrayLike,
        classes: Sequence | np.ndarray,
        major_shares: ArrayLike,
        *,
        layers: pd.DataFrame | None = None,
        name: str | None = None,
    ) -> None:
        self.counts = counts
        self.classes = classes
        self.major_shares = major_shares
        self.layers = layers
        self.name = name

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        X: ArrayLike | None = None,
        y: ArrayLike | None = None,
        *,
        layer: str | int = "penultimate",
        kind: Literal["sizes", "classes", "layers"] = "sizes",
        name: str | None = None,
        ax: Axes | None = None,
    ) -> Self:
        """Count the regions of a model that samples live in, and draw.

        Parameters
        ----------
        estimator : estimator or torch.nn.Module
            A fitted classifier, a trained module, or a fitted
            :class:`~robustkit.regions.PopulatedRegionScorer`.

        X : array-like of shape (n_samples, n_features), default=None
            Samples, whose regions are counted. A scorer has counted already, and needs
            them for kind="layers" only.

        y : array-like of shape (n_samples,), default=None
            Their labels, for a classifier.

        layer : str or int, default="penultimate"
            The layer of a classifier, as in
            :class:`~robustkit.regions.PopulatedRegionScorer`.

        kind : {"sizes", "classes", "layers"}, default="sizes"
            Which picture.

        name : str, default=None
            What the model is called in the legend.

        ax : matplotlib axes, default=None
            Where to draw. By default a new figure. Several models may be drawn on one
            axes.

        Returns
        -------
        display : PopulatedRegionsDisplay
            Plotted.
        """
        check_matplotlib_support(f"{cls.__name__}.from_estimator")
        check_is_trained(estimator)
        if not isinstance(estimator, PopulatedRegionScorer):
            if X is None or y is None:
                missing = "X" if X is None else "y"
                raise ValueError(
                    f"The '{missing}' parameter is needed to count the regions of a "
                    f"{type(estimator).__name__}. Got None."
                )
            scorer = PopulatedRegionScorer(frozen(estimator), layer=layer)
            estimator = scorer.fit(X, y)
        samples = X if kind == "layers" else None
        return cls.from_scorer(estimator, samples, kind=kind, name=name, ax=ax)

    @classmethod
    def from_scorer(
        cls,
        scorer: PopulatedRegionScorer,
        X: ArrayLike | None = None,
        *,
        kind: Literal["sizes", "classes", "layers"] = "sizes",
        name: str | None = None,
        ax: Axes | None = None,
    ) -> Self:
        """Draw what a scorer counted.

        Parameters
        ----------
        scorer : PopulatedRegionScorer
            Fitted.

        X : array-like of shape (n_samples, n_features), default=None
            Samples that the layers are measured on; kind="layers" needs them.

        kind : {"sizes", "classes", "layers"}, default="sizes"
            Which picture.

        name : str, default=None
            What the model is called in the legend.

        ax : matplotlib axes, default=None
            Where to draw. By default a new figure. Several models may be drawn on one
            axes.

        Returns
        -------
        display : PopulatedRegionsDisplay
            Plotted.
        """
        check_matplotlib_support(f"{cls.__name__}.from_scorer")
        check_is_fitted(scorer)
        layers = None if X is None else scorer.layer_report(X)
        display = cls(
            scorer.regions_["count"].to_numpy(),
            scorer.classes_,
            scorer.major_region_shares_,
            layers=layers,
            name=name,
        )
        return display.plot(ax, kind=kind)

    def plot(
        self,
        ax: Axes | None = None,
        *,
        kind: Literal["sizes", "classes", "layers"] = "sizes",
    ) -> Self:
        """Draw.

        Parameters
        ----------
        ax : matplotlib axes, default=None
            Where to draw. By default a new figure.

        kind : {"sizes", "classes", "layers"}, default="sizes"
            Which picture.

        Returns
        -------
        display : PopulatedRegionsDisplay
            This display.
        """
        check_matplotlib_support(f"{type(self).__name__}.plot")
        pictures = {
            "sizes": self._plot_sizes,
            "classes": self._plot_classes,
            "layers": self._plot_layers,
        }
        if kind not in pictures:
            raise ValueError(
                f"kind={kind!r} is unknown{did_you_mean(kind, pictures)} There are "
                f"{list(pictures)}."
            )
        if kind == "layers" and self.layers is None:
            raise ValueError("kind='layers' needs the samples X, or a table of layers.")
        if ax is None:
            import matplotlib.pyplot as plt

            _, ax = plt.subplots(figsize=(5, 3.6), layout="constrained")
        self.ax_, self.figure_ = ax, ax.figure
        pictures[kind](ax)
        ax.spines[["top", "right"]].set_visible(False)
        if ax.get_legend_handles_labels()[1]:
            # Above, where neither points nor bars can run through it.
            ax.legend(frameon=False, loc="lower left", bbox_to_anchor=(0, 1), ncols=2)
        return self

    def _plot_sizes(self, ax):
        sizes = np.sort(np.asarray(self.counts))[::-1]
        ranks = np.arange(1, len(sizes) + 1)
        ax.plot(ranks, sizes, ".-", label=self.name)
        ax.set(
            xscale="log",
            yscale="log",
            xlabel="rank of the region",
            ylabel="samples in it",
        )
        ax.set_ybound(lower=0.8)

    def _plot_classes(self, ax):
        places = np.arange(len(self.classes))
        ax.plot(self.major_shares, places, "o", label=self.name)
        ax.set(
            xlim=(0, 1),
            xlabel="share of the class in its major region",
            ylabel="class",
            yticks=places,
            yticklabels=list(self.classes),
        )
        ax.grid(axis="x", alpha=0.3)

    def _plot_layers(self, ax):
        layers = self.layers
        assert layers is not None, "`plot` refuses"
        places = np.arange(len(layers))
        active = layers["active_units"] / layers["n_units"]
        prefix = "" if self.name is None else f"{self.name}: "
        (line,) = ax.plot(places, layers["prs_ratio"], "o-", label=f"{prefix}PRS ratio")
        ax.plot(
            places,
            active,
            "o--",
            color=line.get_color(),
            markerfacecolor="none",
            label=f"{prefix}active units",
        )
        ax.set(ylim=(0, 1.03), xlabel="layer", ylabel="ratio, share", xticks=places)
        ax.set_xticklabels(
            layers.index, rotation=45 if len(places) > 6 else 0, ha="center"
        )
