"""The distance to the nearest error: searched, tried elsewhere, judged.

`minimal_distance` searches along gradients, tries known samples and corners of the box
where no gradient leads to an error, and lets the model have the last word.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
import torch

from robustkit._tensors import as_array, as_tensor
from robustkit._validation import check_clip, check_range
from robustkit.attacks._attacked_model import undisturbed
from robustkit.attacks._losses import class_indices
from robustkit.attacks.minimal import _device_search, _search
from robustkit.attacks.minimal._paths import Box, place_between
from robustkit.attacks.minimal._search import (
    Found,
    Margins,
    Schedule,
    sizes_of,
    turn_corners,
)

if TYPE_CHECKING:
    from robustkit.attacks.functional import Trace

__all__ = ["minimal_distance", "push_out", "samples_at_once"]

# Features of all samples that are searched around at once: on a CPU, what its caches
# hold. Whatever the number of features, so many samples at least, and at most.
_FEATURES_ON_A_CPU, _FEATURES_ON_A_DEVICE = 256 * 784, 2**24
_FEWEST_AT_ONCE, _MOST_ON_A_CPU = 256, 4096
# Points of the box that are tried where no gradient leads to an error, how many of
# those that err are followed inwards, and known samples tried for each sample.
_N_CORNERS, _N_FOLLOWED, _N_KNOWN = 48, 8, 32
# Where there is no box: how far out, as multiples of a sample's largest feature.
_RADII = (1.0, 3.0, 10.0, 100.0)
# By how much a point is pushed out, as a share of its distance, until the model itself
# errs there: it may round in another way than the module.
_PUSHES = 1e-6 * 4.0 ** np.arange(10)


def minimal_distance(
    module: torch.nn.Module,
    X: torch.Tensor,
    y: torch.Tensor,
    *,
    norm: str = "linf",
    clip: tuple[float, float] | None = None,
    target: int | torch.Tensor | None = None,
    max_iter: int = 100,
    known: torch.Tensor | None = None,
    seed: int = 0,
    trace: Trace | None = None,
) -> torch.Tensor:
    """Search, for every sample, the nearest point at which the module errs.

    Parameters
    ----------
    module : torch.nn.Module
        The model. Takes a batch, returns logits.

    X : torch.Tensor of shape (n_samples, ...)
        Clean samples, on the device of the module.

    y : torch.Tensor of shape (n_samples,)
        Index of the true class of each sample.

    norm : {"linf", "l2"}, default="linf"
        Which length of the perturbation is minimized: the largest change of a feature,
        or the Euclidean length.

    clip : tuple of two floats, default=None
        Range of every feature. None is no range.

    target : int or torch.Tensor of shape (n_samples,), default=None
        The class that the module shall predict. None is any wrong class.

    max_iter : int, default=100
        How long the search is. On a small network of ten classes 100 takes about 140
        gradients per sample in the maximum norm, 300 about 350, and 10 or less 45: no
        search is shorter. Hard samples take twice as many.

    known : torch.Tensor of shape (n_known, ...), default=None
        Other samples, such as some of the training data: where no gradient leads to an
        error, the way to those that the module predicts as another class may.

    seed : int, default=0
        Draws the points that are tried where neither leads to one.

    trace : Trace, default=None
        To learn more about the search than its points. Its `eps` becomes the distance
        of every sample: 0 where the module errs from the start, or predicts the target
        already, and infinity where no error was found.

    Returns
    -------
    X_adv : torch.Tensor of the shape of `X`
        The nearest points found; the samples themselves where the module errs from the
        start, and where nothing was found.

    See Also
    --------
    robustkit.attacks.MinimalDistanceAttack : The same for estimators, with a report.
    pgd : Errors within a given distance.

    Examples
    --------
    >>> import torch
    >>> from robustkit.attacks import functional
    >>> module, trace = torch.nn.Identity(), functional.Trace()
    >>> X, y = torch.tensor([[0.2, 0.1], [0.9, 0.1]]), torch.tensor([0, 0])
    >>> X_adv = functional.minimal_distance(module, X, y, clip=(0, 1), trace=trace)
    >>> trace.eps.round(decimals=4)
    tensor([0.0500, 0.4000], dtype=torch.float64)
    """
    if norm not in ("linf", "l2"):
        raise ValueError(f"'norm' must be 'linf' or 'l2'. Got {norm!r}.")
    if max_iter < 1:
        raise ValueError(f"'max_iter' must be at least 1. Got {max_iter!r}.")
    with undisturbed(module, X) as X:
        low, high = _range_of(clip, X)
        true = as_array(class_indices(y, X, "y"))
        goals = None
        if target is not None:
            goals = as_array(class_indices(target, X, "target"))
        margins = Margins(module, X, towards=goals is not None)
        flat = as_array(X.flatten(1).to(margins.work_dtype))
        ask = _Judge(margins, trace.ask if trace is not None else None, X.device)
        points, sizes = flat.copy(), np.zeros(len(X))
        n_queries = np.ones(len(X), dtype=np.int64)
        others = _known_points(known, flat, margins)
        attacked = np.flatnonzero(_are_right(ask, flat, true, goals))
        at_once = samples_at_once(flat.shape[1], X.device.type)
        for start in range(0, len(attacked), at_once):
            rows = attacked[start : start + at_once]
            box = Box(flat[rows], low, high, norm == "l2")
            goal = None if goals is None else goals[rows]
            asked = ask.of(rows)
            task = _Task(asked.margins, box, true[rows], goal, asked)
            found = task.solve(Schedule.of(norm, max_iter), others, seed)
            points[rows], sizes[rows] = found.points, found.sizes
            n_queries[rows] += found.n_queries
        if trace is not None:
            trace.eps = torch.from_numpy(sizes).to(X.device)
            trace.n_queries = torch.from_numpy(n_queries).to(X.device)
        X_adv = as_tensor(points, device=X.device, dtype=X.dtype).view(X.shape)
        # All others keep every digit that they had.
        moved = torch.from_numpy(np.isfinite(sizes) & (sizes > 0)).to(X.device)
        return torch.where(moved.view(-1, *[1] * (X.ndim - 1)), X_adv, X)


def samples_at_once(n_features: int, device_type: str) -> int:
    """How many samples are searched around at once."""
    if device_type != "cpu":
        return max(_FEWEST_AT_ONCE, _FEATURES_ON_A_DEVICE // max(1, n_features))
    most = min(_MOST_ON_A_CPU, _FEATURES_ON_A_CPU // max(1, n_features))
    return max(_FEWEST_AT_ONCE, most)


def _known_points(known, flat, margins):
    """Return known samples as rows; of each network, where there are several."""
    if isinstance(known, list):
        return [_known_points(some, flat, margins) for some in known]
    if known is None:
        return flat[:0]
    return as_array(known.flatten(1).to(margins.work_dtype))


def _range_of(clip, X):
    """Return the ends of the range, rounded as the samples are, or infinities."""
    if clip is None:
        return -np.inf, np.inf
    low, high = torch.tensor(check_clip(clip), dtype=X.dtype).tolist()
    if X.numel():
        check_range(float(X.min()), float(X.max()), low, high)
    return low, high


def _are_right(ask, flat, y, goals):
    if len(flat) == 0:
        return np.zeros(0, dtype=bool)
    answer = ask(flat, np.arange(len(flat)))
    right = answer == y
    return right if goals is None else right & (goals != y)


class _Judge:
    """Who has the last word on what a point is predicted as."""

    def __init__(self, margins, ask, device, rows=None):
        self.margins, self.ask, self.device, self.rows = margins, ask, device, rows

    def of(self, rows):
        """Judge some samples only."""
        return _Judge(self.margins.of(rows), self.ask, self.device, rows)

    def __call__(self, points, which):
        """Classes predicted at points of the samples `which`."""
        if self.ask is None:
            return self.margins.classes(points, which)
        rows = which if self.rows is None else self.rows[which]
        images = torch.from_numpy(points).to(self.device, self.margins.dtype)
        images = images.view(len(points), *self.margins.shape)
        return as_array(self.ask(images, torch.from_numpy(rows).to(self.device)))


def _search_for(device):
    """Compiled for the CPU, or as operations of torch."""
    return _search if device.type == "cpu" else _device_search


class _Task:
    """One batch of samples, all predicted correctly."""

    def __init__(self, margins, box, true, target, ask):
        self.margins, self.box, self.true, self.target = margins, box, true, target
        self.ask = ask
        self.search = _search_for(margins.device)

    def solve(self, plan, known, seed):
        """Search along gradients, then wherever else an error may be."""
        box, n = self.box, len(self.box.X)
        found = Found(box.X.copy(), np.full(n, np.inf), np.zeros(n, dtype=np.int64))
        task = self.margins, box, self.true, self.target
        self.search.search_along_gradients(*task, plan, found)
        if self.target is not None:
            turn_corners(*task, found)
        self._settle(found, np.flatnonzero(np.isfinite(found.sizes)))
        missing = np.flatnonzero(np.isinf(found.sizes))
        if len(missing):
            for some, points in self._with_known(missing, known):
                self._try_elsewhere(found, some, points, seed)
            hit = missing[np.isfinite(found.sizes[missing])]
            points, sizes = found.points[hit], found.sizes[hit]
            self.search.search_from(*task, plan, found, hit)
            self._settle(found, hit)
            # What the model itself takes for an error stays one.
            found.keep(hit, points, sizes)
        return found

    def _with_known(self, missing, known):
        """Yield samples with the known ones that are tried for them."""
        if not isinstance(known, list):
            yield missing, known
            return
        owners = self.margins.module.owners()[missing]
        for network in np.unique(owners):
            yield missing[owners == network], known[network]

    def _errs(self, points, which):
        answer = self.ask(points, which)
        if self.target is None:
            return answer != self.true[which]
        return answer == self.target[which]

    def _values(self, points, which):
        wrong = None if self.target is None else self.target[which]
        return self.margins.values(points, which, self.true[which], wrong)

    def _surely_errs(self, points, which):
        """Whether the model errs, and would in another batch too."""
        errs = self._values(points, which) > 0
        if self.ask.ask is not None and errs.any():
            errs[errs] = self._errs(points[errs], which[errs])
        return errs

    def _settle(self, found, which):
        """Draw points as near as the module still errs, and let the model judge."""
        if len(which) == 0:
            return
        self.search.draw_near(
            self.margins, self.box, self.true, self.target, found, which
        )
        failed = which[~self._errs(found.points[which], which)]
        if len(failed):
            nearer, errs = push_out(
                lambda points, some: self._errs(points, failed[some]),
                self.box.X[failed],
                found.points[failed],
                (self.box.low, self.box.high),
            )
            found.points[failed] = nearer
            sizes = sizes_of(self.box, failed, nearer)
            found.sizes[failed] = np.where(errs, sizes, np.inf)

    def _try_elsewhere(self, found, missing, known, seed):
        """Where no gradient leads: known samples, corners of the box, then inwards."""
        distances, far = [], []
        for points in self._far_points(missing, known, seed):
            found.n_queries[missing] += 1
            errs = self._surely_errs(points, missing)
            size = sizes_of(self.box, missing, points)
            distances.append(np.where(errs, size, np.inf))
            far.append(points)
        distances = np.stack(distances)
        order = distances.argsort(axis=0, kind="stable")[:_N_FOLLOWED]
        for places in order:
            here = np.arange(len(missing))
            hit = np.flatnonzero(np.isfinite(distances[places, here]))
            if len(hit):
                points = np.stack([far[places[i]][i] for i in hit])
                self._bisect(found, missing[hit], points)

    def _bisect(self, found, which, far):
        """Go inwards until the class changes."""
        box = self.box
        whole = np.ones(len(which)) if box.euclidean else sizes_of(box, which, far)
        low, high, points = np.zeros(len(which)), whole.copy(), np.empty_like(far)
        for _ in range(20):
            middle = (low + high) / 2
            place_between(box, which, far, middle, points)
            found.n_queries[which] += 1
            errs = self._surely_errs(points, which)
            low, high = np.where(errs, low, middle), np.where(errs, middle, high)
        points = far.copy()
        inside = np.flatnonzero(high < whole)
        nearer = np.empty_like(points[inside])
        place_between(box, which[inside], far[inside], high[inside], nearer)
        points[inside] = nearer
        found.keep(which, points, sizes_of(box, which, points))

    def _nearest_errors(self, missing, known):
        """Find known samples of another class, the nearest ones first."""
        # Of several networks, that of these samples.
        sample = np.full(len(known), missing[0])
        classes, order = self.margins.classes(known, sample), []
        for i in missing:
            sizes = sizes_of(self.box, np.full(len(known), i), known)
            fits = classes != self.true[i]
            if self.target is not None:
                fits = classes == self.target[i]
            order.append(np.where(fits, sizes, np.inf).argsort(kind="stable"))
        return np.stack(order, axis=1)[:_N_KNOWN]

    def _far_points(self, missing, known, seed):
        """Yield points all over the box, one for each sample."""
        X, low, high = self.box.X[missing], self.box.low, self.box.high
        kind, random = X.dtype.type, np.random.default_rng(seed)
        if len(known):
            known = np.clip(known, kind(low), kind(high))
            for places in self._nearest_errors(missing, known):
                yield known[places]
        corners = random.integers(2, size=(_N_CORNERS, X.shape[1])).astype(X.dtype)
        if np.isfinite(low):
            for share in (0.0, 1.0, 0.5):
                yield np.full_like(X, low + share * (high - low))
            yield kind(low + high) - X
            for corner in corners:
                yield np.repeat(kind(low) + kind(high - low) * corner[None], len(X), 0)
            return
        size = np.abs(X).max(axis=1, keepdims=True)
        size[size == 0] = 1
        signs = np.concatenate([[np.ones(X.shape[1])], 2 * corners[::4] - 1])
        for radius in _RADII:
            for sign in signs.astype(X.dtype):
                yield X + kind(radius) * size * sign
                yield X - kind(radius) * size * sign


def push_out(
    errs: Callable[[np.ndarray, np.ndarray], np.ndarray],
    X: np.ndarray,
    points: np.ndarray,
    clip: tuple[float, float],
) -> tuple[np.ndarray, np.ndarray]:
    """Move points away from their samples, ever further, until the model errs there.

    ``errs(points, rows)`` says where it does. Returns the points, and which of them do.
    """
    kind = X.dtype.type
    pushed, done = points.copy(), np.zeros(len(X), dtype=bool)
    for push in _PUSHES:
        left = np.flatnonzero(~done)
        if len(left) == 0:
            break
        moved = points[left] + kind(push) * (points[left] - X[left])
        moved = np.clip(moved, kind(clip[0]), kind(clip[1]))
        pushed[left] = moved
        done[left] = errs(moved, left)
    return pushed, done
