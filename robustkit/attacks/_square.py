"""Square attack: random search in the ball, with nothing but the model's scores."""

from __future__ import annotations

import math
from dataclasses import dataclass
from numbers import Integral, Real
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike

from robustkit._randomness import draw_seed
from robustkit._sklearn_private import Interval, StrOptions
from robustkit._tensors import as_array, as_tensor
from robustkit.attacks._base import BaseAttack, Batch, Plan
from robustkit.attacks._geometry import keep_inside, sample_keys, uniform_noise
from robustkit.bridge import thawed

__all__ = ["SquareAttack"]

# Share of the image that a square covers at first, and the shares of the queries after
# which it is halved: the schedule of the authors.
_HALVED_AT = (0.001, 0.005, 0.02, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8)

# Moves that are compared at each step, from which share of the queries on: where most
# moves fail it costs nothing to try several at once, and one call of a forest with
# eight rows costs as much as with one.
_TOGETHER = ((0.0, 1), (0.005, 2), (0.05, 4), (0.2, 8))


class SquareAttack(BaseAttack):
    """Search the ball at random, one square of an image or few features at a time.

    It needs no gradient, only scores: any classifier with `decision_function` or
    `predict_proba` can be attacked, such as a forest, gradient boosting, nearest
    neighbors, or a pipeline that cannot be differentiated.

    Read more in the :ref:`User Guide <guide_attacks>`.

    Parameters
    ----------
    estimator : object, default=None
        The model: a classifier with `decision_function` or `predict_proba`. Wrapped in
        :class:`~sklearn.frozen.FrozenEstimator`, it is attacked as it is; otherwise
        `fit` fits a clone. None is
        :class:`~sklearn.linear_model.LogisticRegression`.

    norm : {"linf", "l2"}, default="linf"
        Which length of the perturbation is meant.

    eps : float or array-like, default=0.1
        Radius of the ball. An array has one number per feature (only in the maximum
        norm), or, in the shape (n_samples, 1), one per sample.

    max_queries : int, default=5000
        Maximum number of points per sample at which the model is asked.

    initial_share : float, default=0.05
        Share of the features that the first squares cover. They become smaller, down
        to one pixel, or one feature of a table.

    targeted : bool, default=False
        Whether the model shall predict the given `target`, instead of any wrong class.

    image_shape : tuple of int, default=None
        (height, width) or (channels, height, width) of an image. None is the shape of
        the images if `fit` gets images; where it gets a table, a "square" is a set of
        features drawn at random.

    clip : "auto", tuple of two floats or None, default="auto"
        Range of every feature. "auto" is (0, 1) if the training data lie in it, else
        no range.

    batch_size : int, default=1024
        Samples attacked at once.

    device : str or torch.device, default="auto"
        "auto" is CUDA where there is one, else the CPU.

    verbose : int, default=0
        Whether to print a line after each batch.

    random_state : int, RandomState instance or None, default=None
        Draws the moves. They depend on this and on the content of each sample, not on
        its place: order, subset and batch size change nothing.

    Attributes
    ----------
    estimator_ : object
        The fitted model.

    classes_ : ndarray of shape (n_classes,)
        Class labels of the model.

    clip_ : tuple of two floats or None
        The range that perturbed samples keep to.

    n_features_in_ : int
        Number of features seen during fit.

    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Names of features seen during fit. Defined only when `X` has feature names
        that are all strings.

    See Also
    --------
    PGDAttack : Follows the gradient, where there is one: stronger and faster.
    OnePixelAttack : Changes one pixel by any amount; needs no gradient either.

    Notes
    -----
    Where the model is a network its logits are compared, else its `decision_function`,
    else its `predict_proba`. Whether a point fools is always decided by `predict`.

    A move is kept if it does not raise the margin of the true class. The authors keep
    it only if it lowers the margin; but a forest is constant almost everywhere, and a
    search that never moves sideways is stuck there. With more and more queries, up to
    eight moves are compared at each step.

    References
    ----------
    .. [1] M. Andriushchenko, F. Croce, N. Flammarion and M. Hein. Square attack: a
       query-efficient black-box adversarial attack via random search. ECCV 2020.
       :doi:`10.1007/978-3-030-58592-1_29`

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from sklearn.ensemble import RandomForestClassifier
    >>> from robustkit.attacks import SquareAttack
    >>> X, y = load_digits(return_X_y=True)
    >>> X, y = X[:200] / 16, y[:200]
    >>> forest = RandomForestClassifier(10, random_state=0)
    >>> attack = SquareAttack(forest, max_queries=50, random_state=0).fit(X, y)
    >>> bool(attack.score(X, y) < forest.fit(X, y).score(X, y))
    True
    """

    _parameter_constraints: dict = {
        **BaseAttack._parameter_constraints,
        "norm": [StrOptions({"linf", "l2"})],
        "eps": [Interval(Real, 0, None, closed="left"), "array-like"],
        "max_queries": [Interval(Integral, 1, None, closed="left")],
        "initial_share": [Interval(Real, 0, 1, closed="right")],
        "targeted": ["boolean"],
        "image_shape": ["array-like", None],
        "random_state": ["random_state"],
    }

    _moves_alike = True

    def __init__(
        self,
        estimator: Any = None,
        *,
        norm: str = "linf",
        eps: float | ArrayLike = 0.1,
        max_queries: int = 5000,
        initial_share: float = 0.05,
        targeted: bool = False,
        image_shape: tuple[int, ...] | None = None,
        clip: str | tuple[float, float] | None = "auto",
        batch_size: int = 1024,
        device: str | torch.device = "auto",
        verbose: int = 0,
        random_state: int | np.random.RandomState | None = None,
    ) -> None:
        self.estimator = estimator
        self.norm = norm
        self.eps = eps
        self.max_queries = max_queries
        self.initial_share = initial_share
        self.targeted = targeted
        self.image_shape = image_shape
        self.clip = clip
        self.batch_size = batch_size
        self.device = device
        self.verbose = verbose
        self.random_state = random_state

    def _check_model(self, X, extent):
        self._check_shape_of_images(X.shape[1])
        scores = ("decision_function", "predict_proba")
        if not any(hasattr(self.estimator_, name) for name in scores):
            raise TypeError(
                "SquareAttack needs a model with decision_function or predict_proba. "
                f"{type(thawed(self.estimator_)).__name__} has neither; wrap it in "
                "CalibratedClassifierCV to give it probabilities."
            )

    def _plan(self) -> Plan:
        seed = draw_seed(self.random_state)
        return Plan(**self._ball(), norm=self.norm, seed=seed)

    def _search(self, module: torch.nn.Module, batch: Batch) -> torch.Tensor:
        assert batch.rows is not None, "not for training"
        target = None if batch.target is None else as_array(batch.target)
        margin = _Margin(batch.model, as_array(batch.y), target)
        ball = _Ball(batch.rows, batch.plan, batch.clip)
        image_shape = self._shape_of_images()
        if image_shape is None:
            windows = _FeatureSets(batch.rows.shape[1], self.initial_share, batch.seed)
        else:
            windows = _Squares(image_shape, self.initial_share, self.norm)
        moves = (_CubeMoves if self.norm == "linf" else _SphereMoves)(
            ball, windows, sample_keys(as_tensor(batch.rows, dtype=None), batch.seed)
        )
        points, n_queries = _search_at_random(moves, margin, self.max_queries)
        batch.trace.n_queries = torch.from_numpy(n_queries)
        return torch.from_numpy(points)


def _search_at_random(moves, margin, max_queries):
    """Keep every move that does not raise the margin, until the model is fooled.

    Returns the best point of every sample, and how often the model was asked.
    """
    best = moves.first()
    active = np.arange(len(best))
    margins, hit = margin.of(best, active)
    fooled = margin.confirm(best, active, hit, np.ones_like(hit))
    n_queries, asked = np.ones(len(best), dtype=np.int64), 1
    while asked < max_queries:
        active = active[~fooled[active]]
        if not len(active):
            break
        n = max(n for share, n in _TOGETHER if share <= asked / max_queries)
        n = min(n, max_queries - asked)
        repeated = np.repeat(active, n)
        numbers = moves.numbers(active, n, asked / max_queries, asked)
        tried = moves.next(best[repeated], repeated, numbers)
        values, hit = margin.of(tried, repeated)
        values, hit = values.reshape(-1, n), hit.reshape(-1, n)
        chosen = np.arange(len(active)) * n + margin.choose(values, hit)
        value, hit = values.ravel()[chosen], hit.ravel()[chosen]
        kept = np.flatnonzero(value <= margins[active])
        rows = active[kept]
        # A forest's prediction is as it was where its scores are.
        doubted = (hit | (value < margins[active]))[kept]
        best[rows], margins[rows] = tried[chosen[kept]], value[kept]
        fooled[rows] = margin.confirm(best[rows], rows, hit[kept], doubted)
        n_queries[active] += n
        asked += n
    return best, n_queries


class _Margin:
    """How far the model is from the answer that the attack wants."""

    def __init__(self, model, y, target):
        self.model, self.y, self.target = model, y, target

    def of(self, points, rows):
        """Score of the class to leave minus that of the class to reach.

        Also whether the largest score is what the attack wants.
        """
        scores = self.model.scores(points)
        hit = self._is_wanted(scores.argmax(axis=1), rows)
        own = self.y if self.target is None else self.target
        index = np.arange(len(rows)), own[rows]
        of_own = scores[index]
        scores[index] = -np.inf
        margin = of_own - scores.max(axis=1)
        return (margin if self.target is None else -margin), hit

    def choose(self, values, hit):
        """Return the best of the moves tried for each sample: the smallest margin.

        One that fools for certain comes first. Where `predict` may not be the largest
        score, a hit decides between equal margins only.
        """
        if self.model.is_the_model:
            return np.where(hit, -np.inf, values).argmin(axis=1)
        smallest = values == values.min(axis=1, keepdims=True)
        return (smallest * (1 + hit)).argmax(axis=1)

    def confirm(self, points, rows, hit, doubted):
        """See which points fool: `predict` decides, if it may not be the largest."""
        if self.model.is_the_model:
            return hit
        fooled = np.zeros_like(hit)
        if doubted.any():
            said = self.model.predict(points[doubted])
            fooled[doubted] = self._is_wanted(said, rows[doubted])
        return fooled

    def _is_wanted(self, said, rows):
        if self.target is None:
            return said != self.y[rows]
        return said == self.target[rows]


class _Ball:
    """Where the points may be: around the samples, inside the clip range."""

    def __init__(self, center, plan, clip):
        self.center, self.plan, self.clip = center, plan, clip

    @property
    def eps(self):
        """The radius: a number, or an array that broadcasts to the samples."""
        return self.plan.radius

    def eps_of(self, rows):
        """Radii of some samples."""
        return self.plan.take(rows).radius

    def inside(self, points, rows=slice(None)):
        """Bring points into the ball, as the template does in the end."""
        center, plan = self.center[rows], self.plan.take(rows)
        points = np.ascontiguousarray(points, dtype=center.dtype)
        out = np.empty_like(points)
        keep_inside(
            points, center, plan.radius, plan.norm, self.clip, out=out, unit=plan.unit
        )
        return out


@dataclass
class _Numbers:
    """Random numbers in [0, 1), one row per move, used up from left to right.

    They depend on the sample and on how often the model was asked about it.
    """

    values: np.ndarray
    # Part of the queries that are used up, and their number.
    share: float
    query: int
    n_used: int = 0

    def take(self, n: int) -> np.ndarray:
        """Use the next numbers of every move."""
        self.n_used += n
        return self.values[:, self.n_used - n : self.n_used]


class _Squares:
    """Squares of an image, all channels of it."""

    def __init__(self, image_shape, initial_share, norm):
        self.channels, self.height, self.width = (1, *image_shape)[-3:]
        self.share, self.norm = initial_share, norm
        self.n_features = self.channels * self.height * self.width

    def n_numbers(self, share):
        """How many random numbers a move needs at most."""
        return 5 + self.channels

    def side(self, share):
        """Side of the squares after a share of the queries."""
        side = math.sqrt(_shrunk(self.share, share) * self.height * self.width)
        # The smallest bump with a middle.
        least = 3 if self.norm == "l2" else 1
        return min(max(round(side), least), self.height, self.width)

    def draw(self, numbers):
        """Features of one square per move: (n_moves, channels, n_pixels)."""
        side = self.side(numbers.share)
        top, left = numbers.take(2).T
        top = (top * (self.height - side + 1)).astype(np.intp)
        left = (left * (self.width - side + 1)).astype(np.intp)
        first = (top * self.width + left)[:, None, None]
        place = (np.arange(side)[:, None] * self.width + np.arange(side)).ravel()
        channels = np.arange(self.channels)[:, None] * self.height * self.width
        return first + channels + place

    def signs(self, numbers, n_pixels):
        """One sign for each channel of a square."""
        return numbers.take(self.channels)[:, :, None] < 0.5

    def bumps(self, numbers, n_pixels):
        """Two hills of opposite sign beside each other, which fill a square."""
        side = math.isqrt(n_pixels)
        half = side // 2
        hills = np.concatenate([_hill(half, side), -_hill(side - half, side)])
        lying = numbers.take(1)[:, :, None] < 0.5
        hills = np.where(lying, hills.T.reshape(-1), hills.reshape(-1))
        return np.where(self.signs(numbers, n_pixels), hills, -hills)

    @property
    def tiles(self):
        """Vertical stripes, to which convolutions are sensitive; tiles in l2."""
        if self.norm == "linf":
            return self.channels, 1, self.width
        return self.channels, min(5, self.height), min(5, self.width)

    def spread(self, tiles):
        """Give every pixel the value of its tile."""
        down, across = self.tiles[1:]
        tiles = tiles.reshape(-1, *self.tiles)
        row = np.arange(self.height) * down // self.height
        column = np.arange(self.width) * across // self.width
        return tiles[:, :, row][..., column].reshape(len(tiles), -1)


class _FeatureSets:
    """Sets of features of a table, drawn at random."""

    def __init__(self, n_features, initial_share, seed):
        self.n_features, self.share, self.seed = n_features, initial_share, seed
        self.tiles = (n_features,)

    def n_numbers(self, share):
        """How many random numbers a move needs at most."""
        return 2 + self.size(share)

    def size(self, share):
        """Features in a set after a share of the queries."""
        return max(round(_shrunk(self.share, share) * self.n_features), 1)

    def draw(self, numbers):
        """Features of one set per move: (n_moves, 1, n_features of the set)."""
        # A run of a random order costs less than a random set for every move.
        random = np.random.RandomState([self.seed, numbers.query])
        order = random.permutation(self.n_features)
        start = (numbers.take(1) * self.n_features).astype(np.intp)
        run = start + np.arange(self.size(numbers.share))
        return order[run % self.n_features][:, None]

    def signs(self, numbers, n_features):
        """One sign for each feature."""
        return numbers.take(n_features)[:, None] < 0.5

    def bumps(self, numbers, n_features):
        """Draw moves of equal size, up or down."""
        return np.where(self.signs(numbers, n_features), 1.0, -1.0)

    def spread(self, tiles):
        """Give every feature its own value."""
        return tiles


def _shrunk(initial_share, share):
    return initial_share / 2 ** sum(start <= share for start in _HALVED_AT)


def _hill(height, width):
    """Concentric rectangles that add up to a hill."""
    i, j = np.ogrid[:height, :width]
    depth = np.minimum(np.minimum(i, height - 1 - i), np.minimum(j, width - 1 - j))
    n = min(height, width) // 2
    return (1 / (n + 1 - np.arange(n + 1.0)) ** 2).cumsum()[depth]


class _Moves:
    """Moves of squares or feature sets, drawn from the content of every sample."""

    def __init__(self, ball, windows, keys):
        self.ball, self.windows, self.keys = ball, windows, keys

    def first_signs(self):
        numbers = self._draw(slice(None), math.prod(self.windows.tiles), 0)
        return self.windows.spread(numbers < 0.5)

    def numbers(self, rows, n_moves, share, query):
        """Draw the numbers for some moves of each of some samples."""
        width = self.windows.n_numbers(share)
        values = self._draw(rows, n_moves * width, query)
        return _Numbers(values.reshape(-1, width), share, query)

    def _draw(self, rows, size, query):
        noise = as_array(uniform_noise(self.keys[rows], size, query))
        # Below one, so that a place drawn with it exists.
        return np.clip((noise + 1) / 2, 0, 1 - 2.0**-24)


class _CubeMoves(_Moves):
    """Every feature is moved as far as it may, up or down."""

    def __init__(self, ball, windows, keys):
        super().__init__(ball, windows, keys)
        eps = np.asarray(ball.eps, dtype=ball.center.dtype)
        self.low = ball.inside(ball.center - eps)
        self.high = ball.inside(ball.center + eps)

    def first(self):
        return np.where(self.first_signs(), self.high, self.low)

    def next(self, points, rows, numbers):
        window = self.windows.draw(numbers)
        up = self.windows.signs(numbers, window.shape[2])
        place, own = np.arange(len(points))[:, None, None], rows[:, None, None]
        low, high = self.low[own, window], self.high[own, window]
        moved = np.where(up, high, low)
        # A move that changes nothing is turned round.
        idle = (moved == points[place, window]).all(axis=(1, 2), keepdims=True)
        points[place, window] = np.where(idle, np.where(up, low, high), moved)
        return points


class _SphereMoves(_Moves):
    """The length of the move is kept: what one place gains another one loses."""

    def first(self):
        signs = np.where(self.first_signs(), 1.0, -1.0)
        length = self.ball.eps / math.sqrt(self.windows.n_features)
        return self.ball.inside(self.ball.center + length * signs)

    def next(self, points, rows, numbers):
        gains, loses = self.windows.draw(numbers), self.windows.draw(numbers)
        place = np.arange(len(points))[:, None, None]
        center = self.ball.center[rows]
        move = points.astype(np.float64) - center
        of_gainer = move[place, gains]
        move[place, gains] = 0
        move[place, loses] = 0
        spent = np.square(move).sum(axis=1, keepdims=True)
        left = self.ball.eps_of(rows) ** 2 - spent
        length = np.sqrt(np.maximum(left, 0) / gains.shape[1])[..., None]
        bump = _unit(self.windows.bumps(numbers, gains.shape[2]))
        move[place, gains] = length * _unit(bump + _unit(of_gainer))
        return self.ball.inside(center + move, rows)


def _unit(values):
    length = np.linalg.norm(values, axis=2, keepdims=True)
    return values / np.where(length > 0, length, 1)
