"""Search the closest point at which a model errs, for a batch of samples at once.

Rows race: every wrong class of a sample that looks nearly as close as its closest is one
(see `_paths`). A row jumps to where its affine model of the margin is zero, and averages
that model with the one it finds there: most minima lie on kinks of the network, where
the newest gradient alone jumps to and fro. Rows that fall behind leave; the others start
again from beyond the boundary, which finds other minima; signed steps that become
shorter and shorter find the last percent in the maximum norm.

No decision looks at another sample, and a row's arithmetic is the same in every batch.
"""

from dataclasses import dataclass

import numpy as np
import torch

from robustkit._tensors import as_array, pad_rows
from robustkit.attacks._attacked_model import first_look, logits_at
from robustkit.attacks.minimal._paths import (
    Box,
    Rows,
    advance,
    begin,
    place,
    place_between,
    restart,
    slide,
    take_up,
)

__all__ = ["Margins", "Schedule", "nearest_errors"]

# A margin counts as positive if rounding in another batch cannot make it negative: by so
# many spacings of the numbers that a logit is computed in.
_SAFE = 32
# Wrong classes of a sample that may race.
_MOST_CLASSES = 9


@dataclass(frozen=True)
class Schedule:
    """How many steps go where, and which rows stay."""

    # Rows up to `within` times as far as the sample's closest race at all. After
    # `prune_after` steps those more than `prune` times as far leave.
    within: float = 2.2
    prune_after: int = 6
    prune: float = 1.2
    # Steps of the first search; whole jumps before averages begin.
    steps: int = 12
    warm: int = 3
    # Weight of the j-th model in the average: j to this power.
    power: float = -0.5
    # Pairs: how far beyond the boundary a restart linearizes, and its steps.
    restarts: tuple[tuple[float, int], ...] = ()
    # Rows up to so many times as far as the best restart, and are finished.
    keep: float = 1.12
    last: float = 1.03
    # Signed steps at the end: how many, the first and the last size, momentum.
    slides: int = 0
    sizes: tuple[float, float] = (0.1, 0.003)
    momentum: float = 0.8
    # Relative change of a level that does not matter.
    tolerance: float = 2e-4

    @classmethod
    def of(cls, norm: str, max_iter: int) -> "Schedule":
        """Share out the gradient steps of a row."""
        scale = max_iter / 100
        if norm == "linf":
            far = (1.3, 2.0, 3.0, 1.5, 4.0)
            return cls(
                steps=_part(12, scale),
                restarts=tuple((f, _part(9, scale)) for f in far),
                slides=_part(30, scale),
            )
        far = (1.3, 2.0, 3.0, 1.5)
        return cls(
            steps=_part(14, scale), restarts=tuple((f, _part(14, scale)) for f in far)
        )


def _part(steps, scale):
    return max(round(steps * scale), 2)


class Margins:
    """The module, asked for margins and their gradients at rows of points.

    A margin is the logit of a wrong class minus that of the true one. With `towards` it
    is the logit of the wanted class minus the best other one.
    """

    def __init__(self, module, X, towards=False):
        self.module, self.towards = module, towards
        self.shape, self.device, self.dtype = X.shape[1:], X.device, X.dtype
        # Half precision has no compiled arithmetic.
        exact = self.dtype in (torch.float32, torch.float64)
        self.work_dtype = self.dtype if exact else torch.float32
        self.safe = _SAFE * torch.finfo(self.dtype).eps
        self._points = None

    def buffer(self, n_rows, n_features):
        """Memory for points, kept from call to call: new memory costs more than sums."""
        if self._points is None or len(self._points) < n_rows:
            self._points = torch.empty(-(-n_rows // 16) * 16, n_features, dtype=self.work_dtype)
        return self._points[:n_rows].numpy()

    def _images(self, points):
        """Points as the module wants them; padded, so that no row feels the others."""
        n_rows = len(points)
        whole = -(-n_rows // 16) * 16
        if self._points is not None and points.ctypes.data == self._points.data_ptr():
            padded = self._points[:whole]
            padded[n_rows:] = padded[n_rows - 1 : n_rows]
        else:
            padded = pad_rows(torch.from_numpy(points))
        return padded.to(self.device, self.dtype).view(whole, *self.shape)

    def at(self, points, true, wrong, gradient=True):
        """Margins, and their gradients if wanted; with no `wrong` of the best class."""
        images, n = self._images(points), len(points)
        if gradient:
            look = first_look(self.module, images)
            logits = look.logits
        else:
            logits = logits_at(self.module, images)
        known = logits.detach()[:n].double()
        true, wrong = torch.from_numpy(true).to(self.device), None if wrong is None else torch.from_numpy(wrong).to(self.device)
        ahead, behind = self._pair(known, true, wrong)
        margin = _pick(known, ahead) - _pick(known, behind) - self.safe * known.abs().amax(1)
        margin = as_array(margin)
        if not gradient:
            return margin
        weights = torch.zeros_like(logits)
        here = torch.arange(n, device=self.device)
        weights[here, ahead] = 1
        weights[here, behind] = -1
        with torch.enable_grad():
            slopes = look.gradient_of((logits * weights).sum())
        return margin, self._flat(slopes)[:n]

    def _flat(self, slopes):
        return as_array(slopes.flatten(1).to(self.work_dtype))

    def _pair(self, logits, true, wrong):
        """The classes whose logits are compared."""
        if self.towards:
            return wrong, logits.scatter(1, wrong[:, None], -torch.inf).argmax(1)
        if wrong is None:
            wrong = logits.scatter(1, true[:, None], -torch.inf).argmax(1)
        return wrong, true


def _pick(logits, classes):
    return logits.gather(1, classes[:, None]).squeeze(1)


@dataclass
class Found:
    """Of every sample: the nearest point that errs, its distance, and the cost."""

    points: np.ndarray
    sizes: np.ndarray
    n_queries: np.ndarray


def nearest_errors(margins, box, true, target, plan):
    """Search around samples that the model predicts correctly.

    Returns points with the size infinity where no gradient led to an error.
    """
    n = len(box.X)
    found = Found(box.X.copy(), np.full(n, np.inf), np.zeros(n, dtype=np.int64))
    rows = _first_rows(margins, box, true, target, plan, found)
    search = _Search(margins, box, rows, plan, found)
    which = np.arange(len(rows.sample))
    search.run(which, plan.steps, plan.warm, prune=True)
    for far, steps in plan.restarts:
        which = search.leaders(which, plan.keep)
        search.again(which, far, steps)
    which = search.leaders(which, plan.last)
    points, levels = search.cross(which)
    if plan.slides and not box.euclidean:
        search.slide(which, points, levels)
    search.settle(which, points)
    return found


def _first_rows(margins, box, true, target, plan, found):
    """Linearize the margins of the likely classes at the samples; keep those near."""
    n, n_features = box.X.shape
    if margins.towards:
        classes = target[None, :]
        values, gradients = _look_at(margins, box, true, classes)
    else:
        classes, values, gradients = _look_around(margins, box, true)
    levels, sizes = np.empty(values.shape), np.empty(values.shape)
    begin(box, gradients, values, levels, sizes)
    found.n_queries += 1
    near = np.isfinite(sizes) & (sizes <= plan.within * sizes.min(axis=0))
    sample, k = near.T.nonzero()
    slope = gradients[k, sample]
    level, n_rows = levels[k, sample], len(sample)
    return Rows(
        sample=sample,
        true=true[sample],
        wrong=classes[k, sample],
        slope=slope,
        offset=values[k, sample],
        level=level,
        moving=np.ones(n_rows, dtype=bool),
        best_slope=slope.copy(),
        best_level=level.copy(),
        best_size=np.full(n_rows, np.inf),
        best_growth=np.ones(n_rows),
    )


def _look_at(margins, box, true, classes):
    m, g = margins.at(box.X, true, classes[0])
    return m[None], g[None]


def _look_around(margins, box, true):
    """Margins and gradients of all likely classes: one pass forward, many back."""
    n = len(box.X)
    images = margins._images(box.X)
    with torch.enable_grad():
        images = images.detach().requires_grad_(True)
        try:
            logits = margins.module(images)
        except RuntimeError as error:
            if "in-place operation" not in str(error):
                raise
            logits = margins.module(images.clone())
        known = logits.detach()[:n].double()
        t = torch.from_numpy(true).to(margins.device)
        others = known.scatter(1, t[:, None], -torch.inf)
        n_classes = min(logits.shape[1] - 1, _MOST_CLASSES)
        order = others.argsort(dim=1, descending=True, stable=True)[:, :n_classes].T
        safe = margins.safe * known.abs().amax(1)
        here = torch.arange(n, device=margins.device)
        values, gradients = [], []
        for k, wrong in enumerate(order):
            weights = torch.zeros_like(logits)
            weights[here, wrong], weights[here, t] = 1, -1
            (slopes,) = torch.autograd.grad(
                logits, images, weights, retain_graph=k < n_classes - 1
            )
            values.append(as_array(_pick(known, wrong) - _pick(known, t) - safe))
            gradients.append(margins._flat(slopes)[:n])
    return as_array(order.contiguous()), np.stack(values), np.stack(gradients)


class _Search:
    """The rows of one batch on their way."""

    def __init__(self, margins, box, rows, plan, found):
        self.margins, self.box, self.rows, self.plan = margins, box, rows, plan
        self.found = found

    def _ask(self, which, points, gradient=True, own_class=True):
        rows = self.rows
        np.add.at(self.found.n_queries, rows.sample[which], 1)
        wrong = rows.wrong[which] if own_class or self.margins.towards else None
        return self.margins.at(points, rows.true[which], wrong, gradient)

    def _buffer(self, which):
        return self.margins.buffer(len(which), self.box.X.shape[1])

    def _best_of_samples(self, which, sizes):
        best = np.full(len(self.box.X), np.inf)
        np.minimum.at(best, self.rows.sample[which], sizes)
        return best[self.rows.sample[which]]

    def leaders(self, which, factor):
        """Rows that are at most `factor` times as far as their sample's best."""
        sizes = self.rows.best_size[which]
        return which[sizes <= factor * self._best_of_samples(which, sizes)]

    def run(self, which, steps, warm, prune):
        """Average and jump."""
        take_up(self.box, self.rows, which, self._buffer(which))
        self._walk(which, steps, warm, prune)

    def again(self, which, far, steps):
        """Start from beyond the boundary."""
        if len(which) == 0:
            return
        points = self._buffer(which)
        place(self.box, self.rows, which, far * self.rows.best_level[which], points)
        m, new = self._ask(which, points)
        restart(self.box, self.rows, which, far, new, m, points)
        self._walk(which, steps, 0, prune=False)

    def _walk(self, which, steps, warm, prune):
        plan, rows = self.plan, self.rows
        tolerance = plan.tolerance if prune else 0.0
        for j in range(steps):
            if len(which) == 0:
                return
            points = self._buffer(which)
            m, new = self._ask(which, points)
            share = 1.0 if j < warm else (j - warm + 2) ** plan.power
            advance(self.box, rows, which, new, m, share, tolerance, points)
            stay = rows.moving[which]
            if prune and j >= plan.prune_after:
                # The rows' own size now, or the best that they have seen.
                sizes = rows.best_size[which]
                stay &= sizes <= plan.prune * self._best_of_samples(which, sizes)
            if stay.mean() < 0.9:
                which = which[stay]
                take_up(self.box, rows, which, self._buffer(which))

    def cross(self, which):
        """Along each row's best path, the first level found where the class changes.

        Secants in a bracket; while there is none, the level grows.
        """
        box, rows, tolerance = self.box, self.rows, self.plan.tolerance
        n = len(which)
        e, growth = rows.best_level[which].copy(), rows.best_growth[which]
        low, high = np.zeros(n), np.full(n, np.inf)
        m_low, m_high = np.full(n, -np.inf), np.ones(n)
        left = np.arange(n)
        for j in range(20):
            if len(left) == 0:
                break
            points = self._buffer(left)
            place(box, rows, which[left], e[left], points)
            m = self._ask(which[left], points, gradient=False, own_class=False)
            here, up = e[left], m > 0
            high[left[up]], m_high[left[up]] = here[up], m[up]
            low[left[~up]], m_low[left[~up]] = here[~up], m[~up]
            e[left] = _next_level(
                here, m / growth[left], (low[left], high[left], m_low[left], m_high[left]), j, tolerance
            )
            done = np.isfinite(high[left]) & (high[left] - low[left] <= tolerance * high[left])
            left = left[~done]
        points = np.empty((n, box.X.shape[1]), dtype=box.X.dtype)
        place(box, rows, which, np.where(np.isfinite(high), high, 0.0), points)
        return points, high

    def slide(self, which, best, best_levels):
        """Signed steps inside a ball that shrinks; `best` is improved in place."""
        if len(which) == 0:
            return
        plan, rows = self.plan, self.rows
        points = self._buffer(which)
        first = np.where(np.isfinite(best_levels), best_levels, rows.best_level[which])
        levels = first.copy()
        place(self.box, rows, which, levels, points)
        averages = None
        ratio = plan.sizes[1] / plan.sizes[0]
        for j in range(plan.slides + 1):
            m, new = self._ask(which, points)
            averages = new.copy() if averages is None else averages
            rho = plan.sizes[0] * ratio ** (j / max(plan.slides - 1, 1))
            state = (points, averages, levels, best, best_levels, first)
            slide(self.box, rows, which, state, new, m, rho, plan.momentum)

    def settle(self, which, points):
        """Draw every row's point as near as it still errs; keep each sample's nearest."""
        box, found = self.box, self.found
        sample = self.rows.sample[which]
        sizes = _sizes(box, sample, points)
        best = np.full(len(box.X), np.inf)
        np.minimum.at(best, sample, sizes)
        first = np.flatnonzero(np.isfinite(sizes) & (sizes == best[sample]))
        found.points[sample[first]] = points[first]
        found.sizes[sample[first]] = sizes[first]


def _sizes(box, sample, points):
    moves = points - box.X[sample]
    sizes = np.linalg.norm(moves, ord=2 if box.euclidean else np.inf, axis=1)
    return np.where(sizes > 0, sizes, np.inf).astype(float)


def _next_level(here, step, bracket, j, tolerance):
    low, high, m_low, m_high = bracket
    target = here - step
    with np.errstate(all="ignore"):
        secant = low - m_low * (high - low) / (m_high - m_low) + 0.3 * tolerance * high
    inside = (low + high) / 2 if j % 3 == 2 else secant
    slower = here * (1 + tolerance if j < 4 else 1.4)
    grown = np.maximum(np.minimum(target * (1 + tolerance / 2), here * 1.5), slower)
    fallen = np.minimum(np.maximum(target * (1 + tolerance / 2), high * 0.9), high * (1 - tolerance))
    return np.where(np.isinf(high), grown, np.where(np.isinf(m_low), fallen, inside))
