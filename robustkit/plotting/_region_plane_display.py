"""The regions of a network in a plane, with what is predicted in them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from robustkit._samples import flat_samples, places_of
from robustkit._sklearn_private import check_matplotlib_support
from robustkit.plotting._mapper_graph_display import class_colors
from robustkit.regions import regions_in_plane

if TYPE_CHECKING:
    from typing import Any, Self

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure, SubFigure
    from numpy.typing import ArrayLike, NDArray
    from sklearn.utils import Bunch

__all__ = ["RegionPlaneDisplay"]

# Of the largest logit: so near to each other two classes are equally likely.
_TIE = 1e-7


class RegionPlaneDisplay:
    """The regions of a network in a plane, coloured by what is predicted there.

    Thin lines are the walls between regions, thick ones the decision boundary. Samples
    are drawn where they lie in the plane, or nearest to it.

    It is recommended to use :meth:`from_estimator` to create a display.

    Parameters
    ----------
    regions : Bunch
        What :func:`~robustkit.regions.regions_in_plane` returns.

    classes : array-like of shape (n_classes,), default=None
        All classes of the model, in order. By default those that are predicted.

    points : array-like of shape (n_points, 2), default=None
        Samples, by their coordinates in the plane.

    labels : array-like of shape (n_points,), default=None
        Their classes.

    Attributes
    ----------
    ax_ : matplotlib Axes
        The axes.

    figure_ : matplotlib Figure
        The figure they belong to.

    See Also
    --------
    robustkit.regions.regions_in_plane : Finds the regions.

    Examples
    --------
    >>> import matplotlib.pyplot as plt
    >>> from sklearn.datasets import make_moons
    >>> from robustkit.classifiers import MLPNetClassifier
    >>> from robustkit.plotting import RegionPlaneDisplay
    >>> X, y = make_moons(200, noise=0.1, random_state=0)
    >>> model = MLPNetClassifier((20, 10), max_epochs=50, random_state=0)
    >>> model = model.fit(X, y)
    >>> display = RegionPlaneDisplay.from_estimator(
    ...     model, [0.5, 0.25], [1, 0], [0, 1], extent=(-2, 2, -1.5, 1.5), X=X, y=y
    ... )
    >>> plt.show()
    """

    ax_: Axes
    figure_: Figure | SubFigure

    def __init__(
        self,
        regions: Bunch,
        *,
        classes: ArrayLike | None = None,
        points: ArrayLike | None = None,
        labels: ArrayLike | None = None,
    ) -> None:
        self.regions = regions
        self.classes = classes
        self.points = points
        self.labels = labels

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        origin: ArrayLike,
        u: ArrayLike,
        v: ArrayLike,
        *,
        extent: tuple[float, float, float, float] = (-1, 1, -1, 1),
        X: ArrayLike | None = None,
        y: ArrayLike | None = None,
        max_regions: int = 1_000_000,
        ax: Axes | None = None,
    ) -> Self:
        """Find the regions of a model in a plane, and draw.

        Parameters
        ----------
        estimator : estimator or torch.nn.Module
            A fitted classifier or a trained module, as in
            :func:`~robustkit.regions.regions_in_plane`.

        origin : array-like of shape (n_features,), or an image
            A point of the plane.

        u : array-like of the same shape
            First direction, drawn to the right.

        v : array-like of the same shape
            Second direction, drawn upwards, at a right angle whatever the angle is.

        extent : tuple of four floats, default=(-1, 1, -1, 1)
            Least and largest coordinate along `u`, then along `v`.

        X : array-like of shape (n_samples, n_features), default=None
            Samples to draw, each at the point of the plane that is nearest to it.

        y : array-like of shape (n_samples,), default=None
            Their classes.

        max_regions : int, default=1000000
            More polygons are refused.

        ax : matplotlib axes, default=None
            Where to draw. By default a new figure.

        Returns
        -------
        display : RegionPlaneDisplay
            Plotted.
        """
        check_matplotlib_support(f"{cls.__name__}.from_estimator")
        regions = regions_in_plane(
            estimator, origin, u, v, extent=extent, max_regions=max_regions
        )
        n_classes = regions.intercept.shape[1]
        classes = getattr(estimator, "classes_", np.arange(n_classes))
        points = None if X is None else _projected(X, origin, u, v)
        display = cls(regions, classes=classes, points=points, labels=y)
        return display.plot(ax)

    def plot(self, ax: Axes | None = None) -> Self:
        """Draw.

        Parameters
        ----------
        ax : matplotlib axes, default=None
            Where to draw. By default a new figure.

        Returns
        -------
        display : RegionPlaneDisplay
            This display.
        """
        check_matplotlib_support(f"{type(self).__name__}.plot")
        from matplotlib.collections import LineCollection, PolyCollection

        if ax is None:
            import matplotlib.pyplot as plt

            _, ax = plt.subplots(figsize=(5, 4.2), layout="constrained")
        self.ax_, self.figure_ = ax, ax.figure
        regions = self.regions
        classes = self._all_classes()
        colors = np.array(class_colors(len(classes)))
        polygons = np.split(regions.vertices, regions.offsets[1:-1])
        predicted = _places(regions.prediction, classes)
        # A wall is thinner where there are many.
        width = float(np.clip(12 / np.sqrt(len(polygons)), 0.1, 0.6))
        ax.add_collection(
            PolyCollection(
                polygons,
                facecolors=[f"{color}66" for color in colors[predicted]],
                edgecolors="#00000055",
                linewidths=width,
            )
        )
        ax.add_collection(
            LineCollection(list(_boundary(regions)), colors="black", linewidths=1.6)
        )
        self._draw_points(ax, classes, colors)
        low, high = regions.vertices.min(axis=0), regions.vertices.max(axis=0)
        ax.set(
            xlim=(low[0], high[0]),
            ylim=(low[1], high[1]),
            xlabel="along u",
            ylabel="along v",
        )
        ax.locator_params(nbins=5)
        self._draw_legend(ax, classes, colors, np.unique(predicted))
        return self

    def _all_classes(self):
        if self.classes is not None:
            return np.asarray(self.classes)
        predicted = self.regions.prediction
        labels = predicted if self.labels is None else self.labels
        return np.union1d(predicted, np.asarray(labels))

    def _draw_points(self, ax, classes, colors):
        if self.points is None:
            return
        points = np.asarray(self.points)
        color = "white"
        if self.labels is not None:
            color = colors[_places(np.asarray(self.labels), classes)]
        ax.scatter(
            *points.T, c=color, s=22, edgecolors="black", linewidths=0.7, zorder=3
        )

    def _draw_legend(self, ax, classes, colors, predicted):
        from matplotlib.patches import Patch

        handles = [
            Patch(facecolor=f"{colors[k]}66", edgecolor="#00000055", label=classes[k])
            for k in predicted
        ]
        # Beside the picture, which has no empty corner.
        ax.legend(
            handles=handles,
            title="predicted",
            frameon=False,
            loc="upper left",
            bbox_to_anchor=(1, 1),
        )


def _projected(X: ArrayLike, origin: ArrayLike, u: ArrayLike, v: ArrayLike) -> NDArray:
    """Find the coordinates of the points of the plane that are nearest to samples."""
    rows, _ = flat_samples(X)
    start, first, second = (np.asarray(x, dtype=float).ravel() for x in (origin, u, v))
    directions = np.stack([first, second], axis=1)
    away = (np.asarray(rows, dtype=float) - start).T
    return np.linalg.lstsq(directions, away, rcond=None)[0].T


def _places(labels: NDArray, classes: NDArray) -> NDArray:
    """Find the number of the class of every label."""
    found = places_of(labels, classes)
    if (found < 0).any():
        raise ValueError(
            f"The labels must be classes of the model, which are {classes.tolist()}. "
            f"Got {np.asarray(labels)[found < 0].tolist()[0]!r}."
        )
    return found


def _boundary(regions: Bunch) -> NDArray:
    """Find the edges of polygons along which two classes are equally likely."""
    sizes = np.diff(regions.offsets)
    owner = np.repeat(np.arange(len(sizes)), sizes)
    vertices = regions.vertices
    logits = regions.intercept[owner] + np.einsum(
        "va,vac->vc", vertices, regions.slope[owner]
    )
    best = logits.max(axis=1, keepdims=True)
    is_best = best - logits <= _TIE * np.abs(logits).max()
    following = np.arange(1, len(vertices) + 1)
    following[regions.offsets[1:] - 1] = regions.offsets[:-1]
    # Of the same two at both ends.
    is_edge = (is_best & is_best[following]).sum(axis=1) > 1
    return np.stack([vertices[is_edge], vertices[following[is_edge]]], axis=1)
