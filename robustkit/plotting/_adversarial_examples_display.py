"""What single samples look like before and after an attack."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from sklearn.base import clone

from robustkit._samples import flat_samples
from robustkit._sklearn_private import check_matplotlib_support
from robustkit._validation import check_image_shape
from robustkit.attacks import PGDAttack
from robustkit.bridge import check_is_trained, frozen

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any, Self

    from matplotlib.figure import Figure, SubFigure
    from numpy.typing import ArrayLike
    from sklearn.base import BaseEstimator

    from robustkit.attacks import AttackResult

__all__ = ["AdversarialExamplesDisplay"]


class AdversarialExamplesDisplay:
    """What single images look like before and after an attack.

    One row per image: the original, the perturbation, the adversarial image; above them
    what the model predicts.

    It is recommended to use :meth:`from_estimator` or :meth:`from_result` to create a
    display.

    Parameters
    ----------
    X : ndarray of shape (n_examples, n_features)
        Original images.

    X_adv : ndarray of shape (n_examples, n_features)
        Adversarial images.

    before : sequence
        What the model predicts for the originals.

    after : sequence
        What the model predicts for the adversarial images.

    confidence : sequence of float, default=None
        Probability that the model gives to the latter.

    image_shape : tuple of int, default=None
        (height, width) or (channels, height, width). None: a square.

    Attributes
    ----------
    axes_ : ndarray of matplotlib Axes of shape (n_examples, 3)
        One row per image.

    figure_ : matplotlib Figure
        The figure they belong to.

    See Also
    --------
    RobustnessCurveDisplay : How accuracy falls as an attack may do more.
    robustkit.attacks.AttackResult : What is drawn.

    Examples
    --------
    >>> import matplotlib.pyplot as plt
    >>> from sklearn.datasets import load_digits
    >>> from robustkit.attacks import FGSMAttack
    >>> from robustkit.plotting import AdversarialExamplesDisplay
    >>> X, y = load_digits(return_X_y=True)
    >>> X, y = X[:300] / 16, y[:300]
    >>> attack = FGSMAttack(eps=0.15).fit(X, y)
    >>> display = AdversarialExamplesDisplay.from_estimator(attack, X, y)
    >>> plt.show()
    """

    axes_: np.ndarray
    figure_: Figure | SubFigure

    def __init__(
        self,
        X: ArrayLike,
        X_adv: ArrayLike,
        before: Sequence | np.ndarray,
        after: Sequence | np.ndarray,
        *,
        confidence: Sequence[float] | np.ndarray | None = None,
        image_shape: tuple[int, ...] | None = None,
    ) -> None:
        self.X = X
        self.X_adv = X_adv
        self.before = before
        self.after = after
        self.confidence = confidence
        self.image_shape = image_shape

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        X: ArrayLike,
        y: ArrayLike,
        *,
        attack: BaseEstimator | None = None,
        n_examples: int = 4,
        image_shape: tuple[int, ...] | None = None,
    ) -> Self:
        """Attack samples, and draw the first ones that fooled the model.

        Parameters
        ----------
        estimator : object
            A fitted attack, or a fitted classifier.

        X : array-like of shape (n_samples, n_features) or (n_samples, channels, \
                height, width)
            Clean images.

        y : array-like of shape (n_samples,)
            True labels.

        attack : attack, default=None
            What a classifier is attacked with. None is
            :class:`~robustkit.attacks.PGDAttack` with its defaults.

        n_examples : int, default=4
            Maximum number of images drawn.

        image_shape : tuple of int, default=None
            (height, width) or (channels, height, width). None: that of X or of the
            attack, or a square.

        Returns
        -------
        display : AdversarialExamplesDisplay
            Plotted.
        """
        check_matplotlib_support(f"{cls.__name__}.from_estimator")
        attack = attack_of(estimator, attack, X, y)
        if image_shape is None:
            image_shape = getattr(attack, "image_shape", None)
        result = attack.perturb(X, y)
        return cls.from_result(
            result, X, n_examples=n_examples, image_shape=image_shape
        )

    @classmethod
    def from_result(
        cls,
        result: AttackResult,
        X: ArrayLike,
        *,
        n_examples: int = 4,
        image_shape: tuple[int, ...] | None = None,
    ) -> Self:
        """Draw the first samples that fooled the model.

        Parameters
        ----------
        result : AttackResult
            What the attack found.

        X : array-like of shape (n_samples, n_features)
            The clean images that were attacked.

        n_examples : int, default=4
            Maximum number of images drawn.

        image_shape : tuple of int, default=None
            (height, width) or (channels, height, width). None: a square.

        Returns
        -------
        display : AdversarialExamplesDisplay
            Plotted.
        """
        check_matplotlib_support(f"{cls.__name__}.from_result")
        rows = np.flatnonzero(result.success)[:n_examples]
        if len(rows) == 0:
            raise ValueError(
                "There is nothing to draw: the attack fooled the model on none of "
                f"{len(result.success)} samples."
            )
        X, shape = flat_samples(X)
        X_adv, _ = flat_samples(result.X_adv)
        image_shape = shape if image_shape is None else image_shape
        display = cls(
            np.asarray(X)[rows],
            X_adv[rows],
            result.clean_prediction[rows],
            result.prediction[rows],
            confidence=result.confidence[rows],
            image_shape=image_shape,
        )
        return display.plot()

    def plot(self, axes: np.ndarray | None = None) -> Self:
        """Draw.

        Parameters
        ----------
        axes : ndarray of matplotlib Axes of shape (n_examples, 3), default=None
            Where to draw. By default a new figure.

        Returns
        -------
        display : AdversarialExamplesDisplay
            This display.
        """
        check_matplotlib_support(f"{type(self).__name__}.plot")
        flat, image_shape = flat_samples(self.X)
        X = np.asarray(flat, float)
        X_adv = np.asarray(flat_samples(self.X_adv)[0], float)
        image_shape = image_shape if self.image_shape is None else self.image_shape
        shape = _shape_of(image_shape, X.shape[1])
        if axes is None:
            import matplotlib.pyplot as plt

            size = (4.8, 1.7 * len(X) + 0.3)
            _, axes = plt.subplots(
                len(X), 3, figsize=size, squeeze=False, layout="constrained"
            )
        self.axes_, self.figure_ = axes, axes[0, 0].figure
        low, high = min(X.min(), X_adv.min()), max(X.max(), X_adv.max())
        largest = np.abs(X_adv - X).max()
        for i, row in enumerate(axes):
            _show(row[0], X[i], shape, low, high)
            _show_difference(row[1], X_adv[i] - X[i], shape, largest)
            _show(row[2], X_adv[i], shape, low, high)
            self._write_titles(row, i, np.abs(X_adv[i] - X[i]).max())
        return self

    def _write_titles(self, row, i, largest):
        after = f"“{self.after[i]}”"
        if self.confidence is not None and np.isfinite(self.confidence[i]):
            after += f" ({self.confidence[i]:.0%})"
        titles = f"“{self.before[i]}”", f"± {largest:.2g}", after
        for ax, title in zip(row, titles, strict=True):
            ax.set_title(title, fontsize=10)
        if i == 0:
            heads = "original", "perturbation", "adversarial"
            for ax, head, title in zip(row, heads, titles, strict=True):
                ax.set_title(f"{head}\n{title}", fontsize=10)


def attack_of(estimator, attack, X, y):
    """Return the fitted attack that is given, or one on the fitted classifier given."""
    check_is_trained(estimator)
    if hasattr(estimator, "perturb"):
        if attack is not None:
            raise ValueError(
                "The 'attack' parameter goes with a classifier; got a "
                f"{type(estimator).__name__}, which is an attack itself."
            )
        return estimator
    attack = PGDAttack(random_state=0) if attack is None else clone(attack)
    return attack.set_params(estimator=frozen(estimator)).fit(X, y)


def _shape_of(image_shape, n_features):
    if image_shape is not None:
        return check_image_shape(image_shape, n_features)
    side = math.isqrt(n_features)
    if side**2 != n_features:
        raise ValueError(
            f"{n_features} features are no square image: give 'image_shape', "
            "(height, width) or (channels, height, width)."
        )
    return side, side


def _show(ax, image, shape, low, high):
    if len(shape) == 3 and shape[0] == 3:
        ax.imshow((image.reshape(shape).transpose(1, 2, 0) - low) / (high - low))
    else:
        ax.imshow(image.reshape(shape[-2:]), cmap="gray", vmin=low, vmax=high)
    ax.set_axis_off()


def _show_difference(ax, move, shape, largest):
    # A model may be fooled by nothing at all only if nothing was asked of the attack.
    largest = largest or 1.0
    if len(shape) == 3 and shape[0] == 3:
        ax.imshow(0.5 + move.reshape(shape).transpose(1, 2, 0) / (2 * largest))
    else:
        move = move.reshape(shape[-2:])
        ax.imshow(move, cmap="RdBu_r", vmin=-largest, vmax=largest)
    ax.set_axis_off()
