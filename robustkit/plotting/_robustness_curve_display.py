"""How accuracy falls as an attack may do more."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING

import numpy as np
from sklearn.utils.validation import check_is_fitted, column_or_1d

from robustkit._sklearn_private import check_matplotlib_support
from robustkit.attacks import GrowingEpsilonAttack, warn_of_rise

if TYPE_CHECKING:
    from typing import Any, Self

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure, SubFigure
    from matplotlib.lines import Line2D
    from numpy.typing import ArrayLike

__all__ = ["RobustnessCurveDisplay"]


class RobustnessCurveDisplay:
    """How accuracy falls as an attack may do more.

    It is recommended to use :meth:`from_estimator` to create a display.

    Parameters
    ----------
    eps : array-like of shape (n_eps,)
        Sizes of perturbation, in ascending order. 0 is the clean accuracy.

    robust_accuracy : array-like of shape (n_eps,)
        Share of samples that the model gets right before and after the attack.

    n_samples : int, default=None
        Samples attacked: gives the curve a band, Wilson's interval of 95 %.

    name : str, default=None
        What the curve is called in the legend.

    in_steps : bool, default=False
        Whether `eps` holds every size at which the curve falls: it is constant between.

    Attributes
    ----------
    ax_ : matplotlib Axes
        Where the curve is.

    figure_ : matplotlib Figure
        The figure it belongs to.

    line_ : matplotlib Line2D
        The curve.

    See Also
    --------
    robustkit.attacks.PGDAttack : The attack to draw it with.
    AdversarialExamplesDisplay : What single samples look like after an attack.

    Examples
    --------
    >>> import matplotlib.pyplot as plt
    >>> from sklearn.datasets import load_digits
    >>> from robustkit.attacks import PGDAttack
    >>> from robustkit.plotting import RobustnessCurveDisplay
    >>> X, y = load_digits(return_X_y=True)
    >>> X, y = X[:300] / 16, y[:300]
    >>> attack = PGDAttack(max_iter=10, random_state=0).fit(X, y)
    >>> display = RobustnessCurveDisplay.from_estimator(
    ...     attack, X, y, eps=[0.02, 0.05, 0.1]
    ... )
    >>> plt.show()
    """

    ax_: Axes
    figure_: Figure | SubFigure
    line_: Line2D

    def __init__(
        self,
        eps: ArrayLike,
        robust_accuracy: ArrayLike,
        *,
        n_samples: int | None = None,
        name: str | None = None,
        in_steps: bool = False,
    ) -> None:
        self.eps = eps
        self.robust_accuracy = robust_accuracy
        self.n_samples = n_samples
        self.name = name
        self.in_steps = in_steps

    @classmethod
    def from_estimator(
        cls,
        attack: Any,
        X: ArrayLike,
        y: ArrayLike,
        *,
        eps: ArrayLike | None = None,
        name: str | None = None,
        ax: Axes | None = None,
    ) -> Self:
        """Attack with one size after the other, and draw.

        A sample that a smaller perturbation fools counts as fooled by a larger one: it
        is allowed there too. So the curve never rises, and only those left are attacked
        again. In the end the largest size is tried on the others too: if it alone
        leaves a higher robust accuracy than a smaller one did, the attack fails there,
        and a :class:`~robustkit.exceptions.GradientMaskingWarning` names both.

        Parameters
        ----------
        attack : object
            A fitted attack with a parameter `eps`, or a
            :class:`~robustkit.attacks.GrowingEpsilonAttack`.

        X : array-like of shape (n_samples, n_features)
            Clean samples.

        y : array-like of shape (n_samples,)
            True labels.

        eps : array-like of shape (n_eps,), default=None
            Sizes of perturbation. None is ten from 0 to twice that of the attack, or
            the grid of a growing one.

        name : str, default=None
            What the curve is called in the legend.

        ax : matplotlib axes, default=None
            Where to draw. By default a new figure. Several models may be drawn on one
            axes.

        Returns
        -------
        display : RobustnessCurveDisplay
            Plotted.
        """
        check_matplotlib_support(f"{cls.__name__}.from_estimator")
        check_is_fitted(attack)
        if isinstance(attack, GrowingEpsilonAttack):
            sizes, accuracy = _grown(attack, X, y, eps)
        elif hasattr(attack, "eps"):
            sizes, accuracy = _one_by_one(attack, X, y, eps)
        else:
            raise TypeError(
                f"{type(attack).__name__} has no parameter 'eps' to draw a curve over. "
                "Use a gradient attack, such as PGDAttack."
            )
        return cls(sizes, accuracy, n_samples=np.size(y), name=name).plot(ax)

    @classmethod
    def from_distances(
        cls,
        distances: ArrayLike,
        *,
        name: str | None = None,
        ax: Axes | None = None,
    ) -> Self:
        """Draw the robust accuracy at every size of perturbation at once.

        A sample is fooled by a perturbation that is as large as its distance, so that
        the curve is the share of larger distances.

        Parameters
        ----------
        distances : array-like of shape (n_samples,)
            Distances to the nearest error: the `distance` of a result of
            :class:`~robustkit.attacks.MinimalDistanceAttack`. 0 is a sample that is
            wrong from the start, infinity one of which no error is known; NaN is left
            out.

        name : str, default=None
            What the curve is called in the legend.

        ax : matplotlib axes, default=None
            Where to draw. By default a new figure. Several models may be drawn on one
            axes.

        Returns
        -------
        display : RobustnessCurveDisplay
            Plotted.

        Examples
        --------
        >>> import matplotlib.pyplot as plt
        >>> from robustkit.plotting import RobustnessCurveDisplay
        >>> display = RobustnessCurveDisplay.from_distances([0, 0.1, 0.1, 0.3])
        >>> display.eps, display.robust_accuracy
        (array([0. , 0.1, 0.3]), array([0.75, 0.25, 0.  ]))
        >>> plt.show()
        """
        check_matplotlib_support(f"{cls.__name__}.from_distances")
        distances = column_or_1d(distances, dtype=float)
        distances = np.sort(distances[~np.isnan(distances)])
        if len(distances) == 0 or distances[0] < 0:
            raise ValueError(
                "'distances' must hold at least one number, none of them negative. Got "
                f"{distances.tolist()[:3]}."
            )
        sizes = np.union1d([0.0], distances[np.isfinite(distances)])
        smaller = np.searchsorted(distances, sizes, side="right")
        accuracy = 1 - smaller / len(distances)
        display = cls(
            sizes, accuracy, n_samples=len(distances), name=name, in_steps=True
        )
        return display.plot(ax)

    def plot(self, ax: Axes | None = None) -> Self:
        """Draw.

        Parameters
        ----------
        ax : matplotlib axes, default=None
            Where to draw. By default a new figure.

        Returns
        -------
        display : RobustnessCurveDisplay
            This display.
        """
        check_matplotlib_support(f"{type(self).__name__}.plot")
        if ax is None:
            import matplotlib.pyplot as plt

            _, ax = plt.subplots(figsize=(5.5, 3.6), layout="constrained")
        self.ax_, self.figure_ = ax, ax.figure
        eps, accuracy = np.asarray(self.eps), np.asarray(self.robust_accuracy)
        style = {"drawstyle": "steps-post"} if self.in_steps else {"marker": "o"}
        (self.line_,) = ax.plot(eps, accuracy, ms=4, label=self.name, **style)
        if self.n_samples is not None:
            low, high = _wilson(accuracy, self.n_samples)
            color = self.line_.get_color()
            between = {"step": "post"} if self.in_steps else {}
            band = {"color": color, "alpha": 0.15, "linewidth": 0}
            ax.fill_between(eps, low, high, **band, **between)
        ax.set(xlabel="size of perturbation, eps", ylabel="robust accuracy")
        ax.set_ylim(0, 1.02)
        ax.set_xlim(left=0)
        for side in ("top", "right"):
            ax.spines[side].set_visible(False)
        if self.name is not None:
            ax.legend(frameon=False)
        return self


def _one_by_one(attack, X, y, eps):
    if eps is None and np.ndim(attack.eps):
        raise ValueError(
            f"'eps' must be given, since {type(attack).__name__} has one per feature. "
            "Use eps_unit='std' for one number in standard deviations."
        )
    sizes = np.linspace(0, 2 * attack.eps, 10) if eps is None else _ascending(eps)
    # Before any attack: size zero.
    sizes = np.union1d([0.0], sizes)
    X, y = np.asarray(X), column_or_1d(y)
    twin = copy.copy(attack)
    left, fallen = np.arange(len(y)), np.empty(0, dtype=int)
    accuracy = []
    for size in sizes:
        if len(left):
            twin.eps = float(size)
            result = twin.perturb(X[left], y[left])
            withstood = (result.prediction == result.y) & _was_right(result)
            fallen = np.append(fallen, left[_was_right(result) & ~withstood])
            left = left[withstood]
        accuracy.append(len(left) / len(y))
    if len(fallen):
        # Alone, the largest size must fool whom a smaller one fools.
        twin.eps = float(sizes[-1])
        result = twin.perturb(X[fallen], y[fallen])
        alone = accuracy[-1] + np.sum(result.prediction == result.y) / len(y)
        warn_of_rise(sizes, [*accuracy[:-1], alone], stacklevel=4)
    return sizes, np.array(accuracy)


def _grown(attack, X, y, eps):
    result = attack.perturb(X, y)
    if eps is None:
        fooled = result.eps[result.success]
        eps = np.unique(np.append(fooled, attack.stop))
    sizes = np.union1d([0.0], _ascending(eps))
    # nan: no size fools it.
    distance = np.where(np.isnan(result.eps), np.inf, result.eps)
    stands = _was_right(result) & (distance > sizes[:, None])
    return sizes, stands.mean(axis=1)


def _was_right(result):
    return result.clean_prediction == result.y


def _ascending(eps):
    eps = np.unique(np.asarray(eps, dtype=float))
    if len(eps) == 0 or not (eps >= 0).all():
        raise ValueError(
            f"'eps' must hold numbers that are at least 0. Got {eps.tolist()}."
        )
    return eps


def _wilson(share, n_samples):
    """Wilson's interval of a share, which stays in [0, 1] at the ends too."""
    z = 1.96
    middle = (share + z**2 / (2 * n_samples)) / (1 + z**2 / n_samples)
    half = z / (1 + z**2 / n_samples)
    half = half * np.sqrt(share * (1 - share) / n_samples + (z / (2 * n_samples)) ** 2)
    return middle - half, middle + half
