"""How a training went: the loss of every epoch, and the validation accuracy."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sklearn.utils.validation import check_is_fitted

from robustkit._sklearn_private import check_matplotlib_support

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Self

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure, SubFigure
    from matplotlib.lines import Line2D
    from sklearn.base import BaseEstimator

__all__ = ["LossCurveDisplay"]


class LossCurveDisplay:
    """How a training went: the loss of every epoch, and the validation accuracy.

    It is recommended to use :meth:`from_estimator` to create a display.

    Parameters
    ----------
    loss_curve : sequence of float
        Loss of each epoch.

    validation_scores : sequence of float, default=None
        Accuracy of each epoch on samples held out.

    name : str, default=None
        What the curve is called in the legend.

    Attributes
    ----------
    ax_ : matplotlib Axes
        The axes of the loss.

    validation_ax_ : matplotlib Axes or None
        The axes of the accuracy, which share the epochs.

    figure_ : matplotlib Figure
        The figure they belong to.

    line_ : matplotlib Line2D
        The curve of the loss.

    See Also
    --------
    robustkit.classifiers.SparseNetClassifier : Has such curves.
    sklearn.model_selection.LearningCurveDisplay : Scores against the number of samples.

    Examples
    --------
    >>> import matplotlib.pyplot as plt
    >>> from sklearn.datasets import load_digits
    >>> from robustkit.classifiers import MLPNetClassifier
    >>> from robustkit.plotting import LossCurveDisplay
    >>> X, y = load_digits(return_X_y=True)
    >>> classifier = MLPNetClassifier(early_stopping=True, random_state=0)
    >>> display = LossCurveDisplay.from_estimator(classifier.fit(X / 16, y))
    >>> plt.show()
    """

    ax_: Axes
    validation_ax_: Axes | None
    figure_: Figure | SubFigure
    line_: Line2D

    def __init__(
        self,
        loss_curve: Sequence[float],
        *,
        validation_scores: Sequence[float] | None = None,
        name: str | None = None,
    ) -> None:
        self.loss_curve = loss_curve
        self.validation_scores = validation_scores
        self.name = name

    @classmethod
    def from_estimator(
        cls,
        estimator: BaseEstimator,
        *,
        name: str | None = None,
        ax: Axes | None = None,
    ) -> Self:
        """Draw the curves of a fitted estimator.

        Parameters
        ----------
        estimator : estimator
            Any with a `loss_curve_`: the classifiers of robustkit, or scikit-learn's
            :class:`~sklearn.neural_network.MLPClassifier`.

        name : str, default=None
            What the curve is called in the legend.

        ax : matplotlib axes, default=None
            Where to draw. By default a new figure. Several estimators may be drawn on
            one axes.

        Returns
        -------
        display : LossCurveDisplay
            Plotted.
        """
        check_matplotlib_support(f"{cls.__name__}.from_estimator")
        check_is_fitted(estimator)
        if not hasattr(estimator, "loss_curve_"):
            raise ValueError(
                f"{type(estimator).__name__} has no 'loss_curve_': it was not trained "
                "in epochs."
            )
        scores = getattr(estimator, "validation_scores_", None)
        display = cls(estimator.loss_curve_, validation_scores=scores, name=name)
        return display.plot(ax)

    def plot(self, ax: Axes | None = None) -> Self:
        """Draw.

        Parameters
        ----------
        ax : matplotlib axes, default=None
            Where to draw. By default a new figure.

        Returns
        -------
        display : LossCurveDisplay
            This display.
        """
        check_matplotlib_support(f"{type(self).__name__}.plot")
        if ax is None:
            import matplotlib.pyplot as plt

            _, ax = plt.subplots(figsize=(5.5, 3.6), layout="constrained")
        self.ax_, self.figure_, self.validation_ax_ = ax, ax.figure, None
        (self.line_,) = _draw(ax, self.loss_curve, label=self.name)
        ax.set(xlabel="epoch", ylabel="training loss")
        ax.spines["right"].set_visible(False)
        # Unlike a limit, it lets a further curve widen the view.
        ax.set_ybound(lower=0)
        if self.validation_scores is not None:
            self.validation_ax_ = self._draw_validation_scores(self.validation_scores)
        if self.name is not None:
            # Above, where neither kind of curve can run through it.
            ax.legend(frameon=False, loc="lower left", bbox_to_anchor=(0, 1), ncols=4)
        return self

    def _draw_validation_scores(self, scores: Sequence[float]) -> Axes:
        ax = _twin_of(self.ax_) or self.ax_.twinx()
        color = self.line_.get_color()
        _draw(ax, scores, linestyle="--", color=color)
        best = max(range(len(scores)), key=scores.__getitem__)
        ax.plot(best + 1, scores[best], "o", color=color)
        ax.set(ylabel="validation accuracy (dashed, best marked)")
        return ax


def _draw(ax, values, **style):
    ax.spines["top"].set_visible(False)
    ax.xaxis.get_major_locator().set_params(integer=True)
    return ax.plot(range(1, len(values) + 1), values, **style)


def _twin_of(ax):
    """Axes of an earlier curve: same epochs, same place."""
    for other in ax.get_shared_x_axes().get_siblings(ax):
        if other is not ax and other.bbox.bounds == ax.bbox.bounds:
            return other
    return None
