"""Search the closest point at which a model errs, for a batch of samples at once.

Rows race: every wrong class of a sample that looks nearly as close as its closest is
one (see `_paths`). A row jumps to where its affine model of the margin is zero, and
averages that model with the one it finds there: most minima lie on kinks of the
network, where the newest gradient alone jumps to and fro. Rows that fall behind leave;
the others start again from beyond the boundary, which finds other minima; steps that
become shorter and shorter find the last percent.

No decision looks at another sample, and a row's arithmetic is the same in every batch.
"""

import copy
from dataclasses import dataclass

import numpy as np
import torch

from robustkit._tensors import as_array, pad_rows
from robustkit.attacks._attacked_model import first_look, logits_at
from robustkit.attacks.minimal._corners import corners
from robustkit.attacks.minimal._paths import (
    Rows,
    advance,
    begin,
    place,
    place_between,
    restart,
    slide,
    take_up,
)
from robustkit.networks import NetworkUnion, of_rows

__all__ = [
    "Found",
    "Margins",
    "Schedule",
    "draw_near",
    "search_along_gradients",
    "search_from",
    "sizes_of",
    "turn_corners",
]

# A margin counts as positive if rounding in another batch cannot make it negative: by
# so many spacings of the numbers that a logit is computed in.
_SAFE = 32
# Wrong classes of a sample that may race.
_MOST_CLASSES = 9
# How often the margins of a wanted class are linearized where several of them meet, and
# how often the way back from there is halved.
_CORNERS, _HALVINGS = 3, 5
# A step inwards by a smaller share is not worth its cost.
_WORTH = 1e-5
# A row rounds the same in every batch if their number is a multiple of this.
_MULTIPLE = 16
# Rows that go through the module at once.
_AT_ONCE = 512


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
    # How far beyond the boundary a restart linearizes, its steps, and how many times as
    # far as the sample's best the rows may be that restart.
    restarts: tuple[tuple[float, int, float], ...] = ()
    # Rows up to so many times as far as the best are finished.
    last: float = 1.03
    # Sliding steps at the end: how many, the first and the last size, momentum.
    slides: int = 0
    sizes: tuple[float, float] = (0.2, 0.003)
    momentum: float = 0.9
    # Relative change of a level that does not matter.
    tolerance: float = 2e-4

    @classmethod
    def of(cls, norm: str, max_iter: int) -> "Schedule":
        """Share out the gradient steps of a row."""
        n = max_iter / 100
        if norm == "linf":
            far = (1.3, 2.0, 3.0, 1.5, 4.0)
            return cls(
                steps=_part(12, n),
                restarts=tuple((f, _part(9, n), 1.12) for f in far),
                slides=_part(45, n),
            )
        far, keep = (2.0, 4.0, 8.0, 1.3), (1.25, 1.1, 1.1, 1.06)
        return cls(
            steps=_part(12, n),
            restarts=tuple((f, _part(6, n), k) for f, k in zip(far, keep, strict=True)),
            slides=_part(20, n),
            sizes=(0.1, 0.01),
            momentum=0.6,
        )


def _part(steps, scale):
    return max(round(steps * scale), 2)


class Margins:
    """The module, asked for margins, and for their gradients, at rows of points.

    Of which sample a row is matters only to the union of several networks, each of
    which has samples of its own. Rows stand in the order of the samples.

    A margin is the logit of a wrong class minus that of the true one: positive where
    the module errs. With `towards` it is the logit of the wanted class minus the best
    other one.
    """

    def __init__(self, module, X, towards=False):
        self.module, self.towards = module, towards
        self.shape, self.device, self.dtype = X.shape[1:], X.device, X.dtype
        # Numbers of less precision have no compiled arithmetic.
        exact = self.dtype in (torch.float32, torch.float64)
        self.work_dtype = self.dtype if exact else torch.float32
        self.spacing = torch.finfo(self.dtype).eps
        # Relative change of a distance that is hardly more than rounding.
        self.finest = max(_SAFE * self.spacing, 1e-10)
        self._kept = None

    def of(self, samples):
        """Ask about some of the samples only."""
        module = of_rows(self.module, samples)
        if module is self.module:
            return self
        twin = copy.copy(self)
        twin.module = module
        return twin

    def buffer(self, n_rows, n_features):
        """Return memory for points, always the same: new memory is slow."""
        if self._kept is None or len(self._kept) < n_rows:
            size = (n_rows + -n_rows % _MULTIPLE, n_features)
            self._kept = torch.empty(size, dtype=self.work_dtype)
        return self._kept[:n_rows].numpy()

    def at(self, points, sample, true, wrong):
        """Margins and their gradients."""
        found = []
        for rows, block in self._blocks(points, sample):
            look = first_look(block.module, block.images)
            logits = look.logits.detach()[block.real]
            pair = self.pair(logits, true[rows], wrong[rows])
            margin = self._margin(logits, *pair)
            found.append((margin, self._gradient(look, block.real, *pair)))
        if len(found) == 0:
            return np.empty(0), np.empty_like(points)
        margin, gradient = _joined(found, axis=0)
        return margin, np.ascontiguousarray(gradient, dtype=points.dtype)

    def values(self, points, sample, true, wrong=None):
        """Margins alone; of the best wrong class if none is given."""
        margins = np.empty(len(points))
        for rows, block in self._blocks(points, sample):
            logits = logits_at(block.module, block.images)[block.real]
            classes = None if wrong is None else wrong[rows]
            pair = self.pair(logits, true[rows], classes)
            margins[rows] = self._margin(logits, *pair)
        return margins

    def around(self, points, sample, true):
        """Margins and gradients of the likely classes: one pass forward, many back.

        With `towards`, of how far the wanted class `true` is ahead of each of them.
        """
        found = [
            self._around(block, true[rows])
            for rows, block in self._blocks(points, sample)
        ]
        return _joined(found, axis=1)

    def classes(self, points, sample):
        """Return the classes that the module predicts."""
        found = np.empty(len(points), dtype=np.int64)
        for rows, block in self._blocks(points, sample):
            logits = logits_at(block.module, block.images)[block.real]
            found[rows] = as_array(logits.argmax(dim=1))
        return found

    def _blocks(self, points, sample):
        """Yield points for the module; padded, to round a row alike in any batch."""
        n_rows = len(points)
        if isinstance(self.module, NetworkUnion):
            yield from self._blocks_of_networks(points, sample)
            return
        if self._kept is not None and points.ctypes.data == self._kept.data_ptr():
            n_padded = n_rows + -n_rows % _MULTIPLE
            self._kept[n_rows:n_padded] = self._kept[n_rows - 1]
            padded = self._kept[:n_padded]
        else:
            padded = pad_rows(torch.from_numpy(points), _MULTIPLE)
        for start in range(0, n_rows, _AT_ONCE):
            images = padded[start : start + _AT_ONCE]
            images = images.to(self.device, self.dtype, non_blocking=True)
            rows = slice(start, min(start + _AT_ONCE, n_rows))
            real = slice(0, rows.stop - start)
            images = images.view(len(images), *self.shape)
            yield rows, _Block(self.module, images, real)

    def _blocks_of_networks(self, points, sample):
        """Do the same where the rows of each network are padded."""
        for start in range(0, len(points), _AT_ONCE):
            rows = slice(start, start + _AT_ONCE)
            module, index, real = self.module.take(sample[rows]).padded(_MULTIPLE)
            images = torch.from_numpy(points[rows]).index_select(0, index)
            real = real.to(self.device)
            yield rows, _Block(module, images.to(self.device, self.dtype), real)

    def _around(self, block, true):
        look, n = first_look(block.module, block.images), len(true)
        logits = look.logits.detach()[block.real]
        true = self.there(true)
        order = self.likely(logits, true)
        n_classes = len(order)
        values = np.empty((n_classes, n))
        gradients = np.empty((n_classes, n, block.images[0].numel()), self._kind)
        for k, wrong in enumerate(order):
            pair = (true, wrong) if self.towards else (wrong, true)
            values[k] = self._margin(logits, *pair)
            again = k < n_classes - 1
            gradients[k] = self._gradient(look, block.real, *pair, again)
        return as_array(order.contiguous()), values, gradients

    def likely(self, logits, true):
        """Order the classes other than `true`, the likeliest first."""
        others = logits.detach().scatter(1, true[:, None], -torch.inf)
        n_classes = min(logits.shape[1] - 1, _MOST_CLASSES)
        return others.argsort(dim=1, descending=True, stable=True)[:, :n_classes].T

    @property
    def _kind(self):
        return np.float64 if self.work_dtype == torch.float64 else np.float32

    def there(self, numbers):
        """Bring numbers to the device, which is not waited for."""
        if torch.is_tensor(numbers):
            return numbers
        return torch.from_numpy(numbers).to(self.device, non_blocking=True)

    def pair(self, logits, true, wrong):
        """Choose the class that is to lead, and the one that is to lag behind."""
        logits, true = logits.detach(), self.there(true)
        if wrong is not None:
            wrong = self.there(wrong)
        if self.towards:
            return wrong, logits.scatter(1, wrong[:, None], -torch.inf).argmax(dim=1)
        if wrong is None:
            wrong = logits.scatter(1, true[:, None], -torch.inf).argmax(dim=1)
        return wrong, true

    def _margin(self, logits, leading, lagging):
        return as_array(self.margin_there(logits, leading, lagging).double())

    def margin_there(self, logits, leading, lagging):
        """Subtract from the margin what rounding may take in another batch."""
        margin = _logit_of(logits, leading) - _logit_of(logits, lagging)
        unsure = _SAFE * self.spacing * logits.abs().amax(dim=1)
        return margin - unsure

    def _gradient(self, look, real, leading, lagging, again=False):
        gradient = self.gradient_there(look, real, leading, lagging, again)
        # Without a gradient the search goes on from points that are tried.
        if gradient is None:
            gradient = torch.zeros_like(look.points)
        return as_array(gradient[real].flatten(1).to(self.work_dtype))

    def gradient_there(self, look, real, leading, lagging, again=False):
        """Return the gradient of the margin; None if the module has none."""
        logits, gradient = look.logits, None
        if logits.requires_grad:
            weights, here = torch.zeros_like(logits), real
            if isinstance(real, slice):
                here = torch.arange(len(leading), device=self.device)
            weights[here, leading], weights[here, lagging] = 1, -1
            (gradient,) = torch.autograd.grad(
                logits, look.points, weights, retain_graph=again, allow_unused=True
            )
        return gradient


def _joined(found, axis):
    """Join what blocks gave; that of one is not copied, which costs like a layer."""
    if len(found) == 1:
        return found[0]
    return tuple(np.concatenate(parts, axis) for parts in zip(*found, strict=True))


def _logit_of(logits, classes):
    return logits.gather(1, classes[:, None]).squeeze(1)


@dataclass
class _Block:
    """Padded rows of points, what they go through, and where those asked about are."""

    module: torch.nn.Module
    images: torch.Tensor
    real: slice | torch.Tensor


@dataclass
class Found:
    """Of every sample: the nearest point that errs, its distance, and the cost."""

    points: np.ndarray
    sizes: np.ndarray
    n_queries: np.ndarray

    def keep(self, sample, points, sizes):
        """Write down points that are nearer than those known."""
        best = self.sizes.copy()
        np.minimum.at(best, sample, sizes)
        nearest = np.flatnonzero((sizes == best[sample]) & (sizes < self.sizes[sample]))
        # The first of several that are equally near.
        nearest = nearest[np.unique(sample[nearest], return_index=True)[1]]
        self.points[sample[nearest]] = points[nearest]
        self.sizes[sample[nearest]] = sizes[nearest]


def search_along_gradients(margins, box, true, target, plan, found):
    """Search around samples that the model predicts correctly; write to `found`."""
    rows = _first_rows(margins, box, true, target, plan)
    found.n_queries += 1
    search = _Search(margins, box, rows, plan, found)
    which = np.arange(len(rows.sample))
    search.run(which, plan.steps, plan.warm, race=True)
    for far, steps, keep in plan.restarts:
        which = search.leaders(which, keep)
        search.again(which, far, steps)
    search.finish(search.leaders(which, plan.last))


def search_from(margins, box, true, target, plan, found, known):
    """Search on from points that err, of the samples `known`."""
    points, sample = found.points[known], known
    wrong = target[known] if margins.towards else margins.classes(points, known)
    values, slope = margins.at(points, known, true[known], wrong)
    # Rows write to their models, and this may be memory of the module.
    slope = slope.copy()
    offset = values - ((points - box.X[known]) * slope).sum(axis=1, dtype=float)
    rows = _make_rows(sample, true[known], wrong, slope, offset, np.zeros(len(known)))
    search = _Search(margins, box, rows, plan, found)
    which = np.arange(len(known))
    restart(box, rows, which, 1.0, slope, offset, np.empty_like(points))
    search.run(which, 3 * plan.steps, plan.warm, race=False)
    search.finish(which)


def draw_near(margins, box, true, target, found, which):
    """Find the last point on the way inwards at which the module errs."""
    points = found.points[which]
    # Levels of `place_between`: a share, or the largest move.
    whole = np.ones(len(which)) if box.euclidean else found.sizes[which]
    bracket = Bracket(len(which), margins.finest)
    e, left = whole.copy(), np.arange(len(which))
    lead = np.full(len(which), 1e-3)
    for j in range(16):
        some = which[left]
        between = np.empty((len(left), box.X.shape[1]), dtype=box.X.dtype)
        place_between(box, some, points[left], e[left], between)
        np.add.at(found.n_queries, some, 1)
        goal = None if target is None else target[some]
        m = margins.values(between, some, true[some], goal)
        guess = bracket.next_levels(left, e[left], m, np.ones(len(left)), j)
        # As long as all err, ever longer steps inwards.
        inwards = bracket.high[left] * (1 - lead[left])
        e[left] = np.where(np.isinf(bracket.m_low[left]), inwards, guess)
        lead[left] = np.minimum(4 * lead[left], 0.5)
        left = left[np.isfinite(bracket.high[left]) & ~bracket.is_narrow(left)]
        if len(left) == 0:
            break
    nearer = np.isfinite(bracket.high) & (bracket.high < whole)
    which, points = which[nearer], points[nearer]
    place_between(box, which, points, bracket.high[nearer], points)
    sizes = sizes_of(box, which, points)
    found.keep(which, points, np.where(sizes > 0, sizes, np.inf))


def turn_corners(margins, box, true, target, found):
    """Draw points of a wanted class nearer, to where it meets several other ones.

    The affine models of all its margins have a nearest point at which all are positive:
    exactly the one that is sought, where the module is linear.
    """
    which, at = np.arange(len(target)), found.points.copy()
    ahead = max(margins.finest, _WORTH / 10)
    for _ in range(_CORNERS):
        _, values, slopes = margins.around(at, which, target[which])
        found.n_queries[which] += 1
        points = np.empty_like(at)
        corners(box, which, at, slopes, values, ahead, points)
        before = found.sizes[which].copy()
        worth = sizes_of(box, which, points) < before * (1 - _WORTH)
        which, points, before = which[worth], points[worth], before[worth]
        _go_back(margins, box, true, target, found, which, points)
        # Where nothing was found yet, the next models are those of this point.
        at = np.where(
            np.isinf(found.sizes[which])[:, None], points, found.points[which]
        )
        goes_on = ~(found.sizes[which] > before * (1 - _WORTH))
        which, at = which[goes_on], at[goes_on]
        if len(which) == 0:
            return


def _go_back(margins, box, true, target, found, which, near):
    """Keep points that err; of the others, those halfway to the known ones that do."""

    def try_points(which, points):
        errs = margins.values(points, which, true[which], target[which]) > 0
        found.n_queries[which] += 1
        hit = which[errs]
        found.keep(hit, points[errs], sizes_of(box, hit, points[errs]))
        return errs

    back = ~try_points(which, near) & np.isfinite(found.sizes[which])
    which, near = which[back], near[back]
    far = found.points[which]
    for _ in range(_HALVINGS if len(which) else 0):
        middle = (near + far) / 2
        errs = try_points(which, middle)[:, None]
        near, far = np.where(errs, near, middle), np.where(errs, middle, far)


def _first_rows(margins, box, true, target, plan):
    """Linearize the margins of the likely classes at the samples; keep those near."""
    everyone = np.arange(len(true))
    if margins.towards:
        classes = target[None]
        found = margins.at(box.X, everyone, true, target)
        values, gradients = (v[None] for v in found)
    else:
        classes, values, gradients = margins.around(box.X, everyone, true)
    levels, sizes = np.empty(values.shape), np.empty(values.shape)
    begin(box, gradients, values, levels, sizes)
    near = np.isfinite(sizes) & (sizes <= plan.within * sizes.min(axis=0))
    sample, k = near.T.nonzero()
    return _make_rows(
        sample,
        true[sample],
        classes[k, sample],
        gradients[k, sample],
        values[k, sample],
        levels[k, sample],
    )


def _make_rows(sample, true, wrong, slope, offset, level):
    n_rows = len(sample)
    return Rows(
        # Whatever is compiled for other strides is compiled twice.
        np.ascontiguousarray(sample),
        true,
        wrong,
        slope,
        offset,
        level,
        moving=np.ones(n_rows, dtype=bool),
        newest_size=np.full(n_rows, np.inf),
        best_slope=slope.copy(),
        best_level=level.copy(),
        best_size=np.full(n_rows, np.inf),
        best_growth=np.ones(n_rows),
    )


class _Search:
    """The rows of one batch on their way."""

    def __init__(self, margins, box, rows, plan, found):
        self.margins, self.box, self.rows, self.plan = margins, box, rows, plan
        self.found = found

    def _buffer(self, which):
        return self.margins.buffer(len(which), self.box.X.shape[1])

    def _look(self, which, points):
        """Margins of the rows' own classes, and gradients."""
        rows, sample = self.rows, self.rows.sample[which]
        np.add.at(self.found.n_queries, sample, 1)
        return self.margins.at(points, sample, rows.true[which], rows.wrong[which])

    def _check(self, which, points):
        """Margins of whatever class is wrong, or wanted."""
        rows, sample = self.rows, self.rows.sample[which]
        np.add.at(self.found.n_queries, sample, 1)
        wrong = rows.wrong[which] if self.margins.towards else None
        return self.margins.values(points, sample, rows.true[which], wrong)

    def _best_of_samples(self, which):
        sample, sizes = self.rows.sample[which], self.rows.best_size[which]
        best = np.full(len(self.box.X), np.inf)
        np.minimum.at(best, sample, sizes)
        return best

    def leaders(self, which, factor):
        """Rows that are at most `factor` times as far as their sample's best."""
        best = self._best_of_samples(which)[self.rows.sample[which]]
        return which[self.rows.best_size[which] <= factor * best]

    def run(self, which, steps, warm, race):
        """Average and jump, from where the rows' models are zero."""
        take_up(self.box, self.rows, which, self._buffer(which))
        self._walk(which, steps, warm, race)

    def again(self, which, far, steps):
        """Start from beyond the boundary."""
        points = self._buffer(which)
        place(self.box, self.rows, which, far * self.rows.best_level[which], points)
        m, new = self._look(which, points)
        restart(self.box, self.rows, which, far, new, m, points)
        self._walk(which, steps, 0, race=False)

    def _walk(self, which, steps, warm, race):
        plan, rows = self.plan, self.rows
        tolerance = plan.tolerance if race else 0.0
        for j in range(steps):
            if len(which) == 0:
                return
            points = self._buffer(which)
            m, new = self._look(which, points)
            share = 1.0 if j < warm else (j - warm + 2) ** plan.power
            ran = which[rows.moving[which]]
            advance(self.box, rows, which, new, m, share, tolerance, points)
            stay = rows.moving[which]
            if race and j >= plan.prune_after:
                # A row that is nowhere near its crossing may come to lead.
                size = np.minimum(rows.best_size, rows.newest_size)[which]
                best = self._best_of_samples(ran)[rows.sample[which]]
                stay &= size <= plan.prune * best
                # Out of the race, whether there is room for others or not.
                rows.moving[which[~stay]] = False
            if stay.mean() < 0.9:
                which = which[stay]
                take_up(self.box, rows, which, self._buffer(which))

    def finish(self, which):
        """Find where the rows' best paths cross, and draw these points nearer."""
        points, found = self._cross(which)
        sample = self.rows.sample[which]
        sizes = np.where(found, sizes_of(self.box, sample, points), np.inf)
        if self.plan.slides and len(which):
            self._slide(which, points, sizes)
            sizes = np.where(
                np.isfinite(sizes), sizes_of(self.box, sample, points), np.inf
            )
        self.found.keep(sample, points, sizes)

    def _cross(self, which):
        """Along each row's best path, the first level found where the class changes.

        Secants in a bracket; while there is none, the level grows.
        """
        box, rows, n = self.box, self.rows, len(which)
        e, growth = rows.best_level[which].copy(), rows.best_growth[which]
        bracket = Bracket(n, self.margins.finest)
        left = np.arange(n)
        for j in range(20):
            if len(left) == 0:
                break
            points = self._buffer(left)
            place(box, rows, which[left], e[left], points)
            m = self._check(which[left], points)
            e[left] = bracket.next_levels(left, e[left], m, growth[left], j)
            left = left[~bracket.is_narrow(left)]
        found = np.isfinite(bracket.high)
        points = np.empty((n, box.X.shape[1]), dtype=box.X.dtype)
        place(box, rows, which, np.where(found, bracket.high, e), points)
        return points, found

    def _slide(self, which, best, best_sizes):
        """Take ever shorter steps in a ball that shrinks; `best` is improved in place.

        A row that has crossed nowhere begins where its path ends.
        """
        plan, rows = self.plan, self.rows
        points = self._buffer(which)
        points[:] = best
        first = np.where(
            np.isfinite(best_sizes),
            best_sizes,
            sizes_of(self.box, rows.sample[which], best),
        )
        growth = rows.best_growth[which] * rows.best_level[which]
        growth = np.maximum(growth / np.maximum(first, 1e-300), 1e-300)
        sizes, averages = first.copy(), np.zeros_like(points)
        ratio = plan.sizes[1] / plan.sizes[0]
        for j in range(plan.slides + 1):
            m, new = self._look(which, points)
            rho = plan.sizes[0] * ratio ** (j / max(plan.slides - 1, 1))
            state = (points, averages, sizes, best, best_sizes, first, growth)
            momentum = plan.momentum if j else 0.0
            slide(self.box, rows, which, state, new, m, rho, momentum)


class Bracket:
    """The levels between which margins become positive, and where to look next."""

    def __init__(self, n, tolerance):
        self.low, self.high = np.zeros(n), np.full(n, np.inf)
        self.m_low, self.m_high = np.full(n, -np.inf), np.ones(n)
        self.tolerance = tolerance

    def next_levels(self, left, here, margin, growth, j):
        """Write down margins at some levels; say where to look at the next time."""
        up, tolerance = margin > 0, self.tolerance
        self.high[left[up]], self.m_high[left[up]] = here[up], margin[up]
        self.low[left[~up]], self.m_low[left[~up]] = here[~up], margin[~up]
        low, high = self.low[left], self.high[left]
        m_low, m_high = self.m_low[left], self.m_high[left]
        with np.errstate(all="ignore"):
            target = (here - margin / growth) * (1 + tolerance / 2)
            secant = low - m_low * (high - low) / (m_high - m_low)
            secant = secant + 0.3 * tolerance * high
            inside = (low + high) / 2 if j % 3 == 2 else secant
            least = here * (1 + tolerance if j < 4 else 1.4)
            grown = np.maximum(np.minimum(target, here * 1.5), least)
            fallen = np.clip(target, high * 0.9, high * (1 - tolerance))
        return np.where(
            np.isinf(high), grown, np.where(np.isinf(m_low), fallen, inside)
        )

    def is_narrow(self, left):
        """Whether the level is known well enough."""
        low, high = self.low[left], self.high[left]
        return np.isfinite(high) & (high - low <= self.tolerance * high)


def sizes_of(box, sample, points):
    """How far away from their samples points are."""
    moves = (points - box.X[sample]).astype(float)
    return np.linalg.norm(moves, ord=2 if box.euclidean else np.inf, axis=1)
