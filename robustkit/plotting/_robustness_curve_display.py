"""How accuracy falls as an attack may do more."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING

import numpy as np
from sklearn.utils.validation import column_or_1d

from robustkit._samples import flat_samples
from robustkit._sklearn_private import _safe_indexing, check_matplotlib_support
from robustkit.attacks import (
    GrowingEpsilonAttack,
    MinimalDistanceAttack,
    warn_of_rise,
)
from robustkit.bridge import image_shape_of
from robustkit.plotting._adversarial_examples_display import attack_of

if TYPE_CHECKING:
    from typing import Any, Self

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure, SubFigure
    from matplotlib.lines import Line2D
    from numpy.typing import ArrayLike, NDArray
    from sklearn.base import BaseEstimator

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
        Whether `eps` holds every size at which the curve falls: it is constant between
        them, and after the last one up to the right end of the axes.

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
        estimator: Any,
        X: ArrayLike,
        y: ArrayLike,
        *,
        attack: BaseEstimator | None = None,
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
        estimator : object
            A fitted attack with a parameter `eps`, or one that searches for distances:
            :class:`~robustkit.attacks.GrowingEpsilonAttack` or
            :class:`~robustkit.attacks.MinimalDistanceAttack`; or a fitted classifier.

        X : array-like of shape (n_samples, n_features) or images
            Clean samples.

        y : array-like of shape (n_samples,)
            True labels.

        attack : attack, default=None
            What a classifier is attacked with. None is
            :class:`~robustkit.attacks.PGDAttack` with its defaults.

        eps : array-like of shape (n_eps,), default=None
            Sizes of perturbation. None is ten from 0 to twice that of the attack, the
            grid of a growing one, or every size for one that searches for distances, as
            in :meth:`from_distances`.

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
        n_samples = len(column_or_1d(y))
        if n_samples == 0:
            raise ValueError("'X' and 'y' must hold at least one sample. Got none.")
        attack = attack_of(estimator, attack, X, y)
        if _searches_distance(attack):
            distance = attack.perturb(X, y).distance
            if eps is None:
                return cls.from_distances(distance, name=name, ax=ax)
            sizes = np.union1d([0.0], _ascending(eps))
            accuracy = (distance > sizes[:, None]).mean(axis=1)
        elif isinstance(attack, GrowingEpsilonAttack):
            sizes, accuracy = _grown(attack, X, y, eps)
        elif hasattr(attack, "eps"):
            sizes, accuracy = _one_by_one(attack, X, y, eps)
        else:
            use = (
                "Draw a curve for each of its attacks, on the same axes."
                if hasattr(attack, "attacks_")
                else "Use an attack with a radius, such as PGDAttack, or "
                "MinimalDistanceAttack, which finds the whole curve."
            )
            raise TypeError(
                f"{type(attack).__name__} has no parameter 'eps' to draw a curve over. "
                f"{use}"
            )
        return cls(sizes, accuracy, n_samples=n_samples, name=name).plot(ax)

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
        known = np.asarray(column_or_1d(distances, dtype=float))
        known = np.sort(known[~np.isnan(known)])
        if len(known) == 0 or known[0] < 0:
            raise ValueError(
                "'distances' must hold at least one number, none of them negative. Got "
                f"{known.tolist()[:3]}."
            )
        sizes = np.union1d([0.0], known[np.isfinite(known)])
        accuracy = 1 - np.searchsorted(known, sizes, side="right") / len(known)
        display = cls(sizes, accuracy, n_samples=len(known), name=name, in_steps=True)
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
        (self.line_,) = ax.plot(
            eps,
            accuracy,
            marker="" if self.in_steps else "o",
            ms=4,
            drawstyle="steps-post" if self.in_steps else "default",
            label=self.name,
            # At 0 it lies on the axis, and is not to be hidden by it.
            zorder=3,
        )
        band = None
        if self.n_samples is not None:
            band = ax.fill_between(
                eps,
                *_wilson(accuracy, self.n_samples),
                step="post" if self.in_steps else None,
                color=self.line_.get_color(),
                alpha=0.15,
                linewidth=0,
            )
        # The axes still grow with the curves that are added.
        ax.set_xlim(left=0, auto=None)
        if self.in_steps and len(eps):
            self._reach_right_end(band)
        ax.set(xlabel="size of perturbation, eps", ylabel="robust accuracy")
        ax.set_ylim(0, 1.02)
        for side in ("top", "right"):
            ax.spines[side].set_visible(False)
        if self.name is not None:
            ax.legend(frameon=False)
        return self

    def _reach_right_end(self, band):
        """Carry the last level to the right end of the axes, wherever that is."""
        line, n_samples = self.line_, self.n_samples
        eps, accuracy = (np.append(values, values[-1]) for values in line.get_data())

        def stretch(ax):
            x = np.append(eps[:-1], max(eps[-1], *ax.get_xlim()))
            line.set_data(x, accuracy)
            if band is not None:
                band.set_verts([step_band(x, *_wilson(accuracy, n_samples))])

        self.ax_.callbacks.connect("xlim_changed", stretch)
        stretch(self.ax_)


def step_band(x: NDArray, low: NDArray, high: NDArray) -> NDArray[np.float64]:
    """Return the corners of a band between two step functions, which change at `x`."""
    x = np.repeat(x, 2)[1:]
    low, high = np.repeat(low, 2)[:-1], np.repeat(high, 2)[:-1]
    return np.column_stack([np.append(x, x[::-1]), np.append(low, high[::-1])])


def _searches_distance(attack):
    """Whether it is a minimal-distance attack, or several of them joined."""
    parts = [part for _, part in getattr(attack, "attacks_", [(None, attack)])]
    return all(isinstance(part, MinimalDistanceAttack) for part in parts)


def _one_by_one(attack, X, y, eps):
    if eps is None and np.ndim(attack.eps):
        raise ValueError(
            f"'eps' must be given, since {type(attack).__name__} has one per feature. "
            "Use eps_unit='std' for one number in standard deviations."
        )
    sizes = np.linspace(0, 2 * attack.eps, 10) if eps is None else _ascending(eps)
    # Before any attack: size zero.
    sizes = np.union1d([0.0], sizes)
    X, y = flat_samples(X, image_shape_of(attack))[0], column_or_1d(y)
    twin = copy.copy(attack)
    left, fallen = np.arange(len(y)), np.empty(0, dtype=int)
    accuracy = []
    for size in sizes:
        if len(left):
            twin.eps = float(size)
            result = twin.perturb(_safe_indexing(X, left), y[left])
            withstood = (result.prediction == result.y) & _was_right(result)
            fallen = np.append(fallen, left[_was_right(result) & ~withstood])
            left = left[withstood]
        accuracy.append(len(left) / len(y))
    if len(fallen):
        # Alone, the largest size must fool whom a smaller one fools.
        twin.eps = float(sizes[-1])
        result = twin.perturb(_safe_indexing(X, fallen), y[fallen])
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
