"""The search of `_search` for a module on another device, which no step waits for.

Rows take the steps that `_paths` describes, all at once and as operations of torch, so
that nothing leaves the device on the way. How many rows still move decides how much is
computed, and has to be waited for: the host asks once in ten passes, and until then
rows that have left the race are computed with the others, and forgotten.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields

import numpy as np
import torch
from torch import Tensor

from robustkit._tensors import as_array
from robustkit.attacks._attacked_model import first_look, logits_at
from robustkit.attacks.minimal._paths import MOST_GROWTH, NEAR, STEEP
from robustkit.networks import NetworkUnion, of_rows

__all__ = ["draw_near", "search_along_gradients", "search_from"]

# The host asks no sooner how many rows go on, but for a few times: those that leave
# first are most of all.
_PASSES, _SOONER = 10, 3
# Rows that go through a module at once; through a union of small networks, more.
_AT_ONCE, _AT_ONCE_IN_UNION = 1024, 2**14


def search_along_gradients(margins, box, true, target, plan, found):
    """Do what :func:`robustkit.attacks.minimal._search.search_along_gradients` does."""
    there = _BoxThere.of(box, margins)
    rows, sample = _first_rows(margins, there, true, target, plan)
    found.n_queries += 1
    search = _Search(margins, there, rows, sample, plan, found)
    search.walk(plan.steps, plan.warm, race=True)
    for far, steps, keep in plan.restarts:
        search.keep_leaders(keep)
        search.again(far, steps)
    search.keep_leaders(plan.last)
    search.finish()


def search_from(margins, box, true, target, plan, found, known):
    """Do what :func:`robustkit.attacks.minimal._search.search_from` does."""
    if len(known) == 0:
        return
    there, asked = _BoxThere.of(box, margins), _Asked(margins, known)
    points, right = margins.there(found.points[known]), margins.there(true[known])
    wrong = asked.classes(points) if target is None else margins.there(target[known])
    values, slope = asked.at(points, right, wrong)
    sample = margins.there(known)
    moves = points - there.X[sample]
    offset = values - (moves * slope).sum(1, dtype=torch.float64)
    rows = _Rows.of(sample, right, wrong, slope, offset, torch.zeros_like(offset))
    search = _Search(margins, there, rows, known, plan, found)
    search.restart_at(1.0, slope, offset)
    search.walk(3 * plan.steps, plan.warm, race=False)
    search.finish()


def draw_near(margins, box, true, target, found, which):
    """Do what :func:`robustkit.attacks.minimal._search.draw_near` does."""
    there, asked = _BoxThere.of(box, margins), _Asked(margins, which)
    X, points = there.X[margins.there(which)], margins.there(found.points[which])
    classes = margins.there(true[which])
    goals = None if target is None else margins.there(target[which])
    known = margins.there(found.sizes[which])
    whole = torch.ones_like(known) if box.euclidean else known
    bracket, e = _Bracket(whole, margins.finest), whole
    lead = torch.full_like(e, 1e-3)
    for j in range(16):
        m = asked.values(_between(X, points, e, there), classes, goals)
        found.n_queries[which] += 1
        guess = bracket.next_levels(e, m, torch.ones_like(e), j)
        inwards = bracket.high * (1 - lead)
        e = torch.where(bracket.m_low.isinf(), inwards, guess)
        lead = (4 * lead).clamp(max=0.5)
        bracket.leave_out(bracket.high.isinf())
        if (j + 1) % _PASSES == 0 and not bool(bracket.goes_on.any()):
            break
    nearer = _between(X, points, bracket.high, there)
    sizes = _sizes(there, X, nearer)
    improves = (bracket.high < whole) & (sizes > 0)
    sizes = torch.where(improves, sizes, torch.inf)
    found.keep(which, as_array(nearer), as_array(sizes))


@dataclass
class _BoxThere:
    """Samples on the device, the range of every feature, and the norm."""

    X: Tensor
    low: float
    high: float
    euclidean: bool

    @classmethod
    def of(cls, box, margins):
        return cls(margins.there(box.X), box.low, box.high, box.euclidean)


@dataclass
class _Rows:
    """What `_paths.Rows` holds, on the device."""

    sample: Tensor
    true: Tensor
    wrong: Tensor
    slope: Tensor
    offset: Tensor
    level: Tensor
    moving: Tensor
    newest_size: Tensor
    best_slope: Tensor
    best_level: Tensor
    best_size: Tensor
    best_growth: Tensor

    @classmethod
    def of(cls, sample, true, wrong, slope, offset, level):
        nowhere = torch.full_like(level, torch.inf)
        return cls(
            sample, true, wrong, slope, offset, level,
            moving=torch.ones_like(level, dtype=torch.bool),
            newest_size=nowhere,
            best_slope=slope.clone(),
            best_level=level.clone(),
            best_size=nowhere.clone(),
            best_growth=torch.ones_like(level),
        )  # fmt: skip

    def take(self, index):
        """Copy some of the rows."""
        return _Rows(*(vars(self)[f.name].index_select(0, index) for f in fields(self)))

    def put(self, index, rows):
        """Write rows that were taken back to their places."""
        for field in fields(self):
            vars(self)[field.name].index_copy_(0, index, vars(rows)[field.name])


class _Asked:
    """Rows in the order of their samples, and how the module is asked about them.

    Of which sample a row is matters only to a union of networks: the host has to know.
    """

    def __init__(self, margins, sample):
        self.margins = margins
        is_union = isinstance(margins.module, NetworkUnion)
        at_once = _AT_ONCE_IN_UNION if is_union else _AT_ONCE
        self.parts = [
            (slice(start, start + at_once), sample[start : start + at_once])
            for start in range(0, len(sample), at_once)
        ]

    def _blocks(self, points) -> Iterator[tuple[slice, torch.nn.Module, Tensor]]:
        margins = self.margins
        for rows, sample in self.parts:
            images = points[rows].to(margins.dtype)
            images = images.view(len(images), *margins.shape)
            yield rows, of_rows(margins.module, sample), images

    def at(self, points, true, wrong):
        """Margins and their gradients."""
        values, slopes = [], []
        for rows, module, images in self._blocks(points):
            look = first_look(module, images)
            pair = self.margins.pair(look.logits, true[rows], wrong[rows])
            values.append(self._margin(look.logits, pair))
            slopes.append(self._slope(look, pair))
        return torch.cat(values), torch.cat(slopes)

    def values(self, points, true, wrong=None):
        """Margins alone; of the best wrong class if none is given."""
        values = []
        for rows, module, images in self._blocks(points):
            logits = logits_at(module, images)
            classes = None if wrong is None else wrong[rows]
            pair = self.margins.pair(logits, true[rows], classes)
            values.append(self._margin(logits, pair))
        return torch.cat(values)

    def around(self, points, true):
        """Return the likely wrong classes, and their margins and gradients."""
        found = []
        for rows, module, images in self._blocks(points):
            look = first_look(module, images)
            order = self.margins.likely(look.logits, true[rows])
            pairs = [(wrong, true[rows]) for wrong in order]
            values = [self._margin(look.logits, pair) for pair in pairs]
            slopes = [self._slope(look, pair, again=True) for pair in pairs]
            found.append((order, torch.stack(values), torch.stack(slopes)))
        return tuple(torch.cat(parts, dim=1) for parts in zip(*found, strict=True))

    def classes(self, points):
        """Return the classes that the module predicts."""
        logits = [logits_at(module, X) for _, module, X in self._blocks(points)]
        return torch.cat([some.argmax(dim=1) for some in logits])

    def _margin(self, logits, pair):
        return self.margins.margin_there(logits.detach(), *pair).double()

    def _slope(self, look, pair, again=False):
        slope = self.margins.gradient_there(look, slice(None), *pair, again)
        if slope is None:
            slope = torch.zeros_like(look.points)
        return slope.flatten(1).to(self.margins.work_dtype)


def _first_rows(margins, box, true, target, plan):
    """Linearize the margins of the likely classes at the samples; keep those near."""
    asked, right = _Asked(margins, np.arange(len(true))), margins.there(true)
    if margins.towards:
        classes = margins.there(target)
        values, slopes = asked.at(box.X, right, classes)
        classes, values, slopes = classes[None], values[None], slopes[None]
    else:
        classes, values, slopes = asked.around(box.X, right)
    found = [_begin(box, g, m) for g, m in zip(slopes, values, strict=True)]
    levels, sizes = (torch.stack(parts) for parts in zip(*found, strict=True))
    # How many rows there are, the host has to know.
    here = as_array(sizes)
    near = np.isfinite(here) & (here <= plan.within * here.min(axis=0))
    sample, k = (places.copy() for places in near.T.nonzero())
    which, rank = margins.there(sample), margins.there(k)
    rows = _Rows.of(
        which,
        right[which],
        classes[rank, which],
        slopes[rank, which],
        values[rank, which],
        levels[rank, which],
    )
    return rows, sample


class _Search:
    """The rows of one batch on their way.

    Computed are copies of the rows with the numbers `place`. Those that are not in
    `leads` have left since the host looked: what becomes of them counts for nothing.
    """

    def __init__(self, margins, box, rows, sample, plan, found):
        self.margins, self.box, self.plan, self.found = margins, box, plan, found
        self.all, self.sample = rows, sample
        self.n_passes, self.n_sooner = 0, _SOONER
        self._compute(np.arange(len(sample)))
        self.leads = torch.ones_like(rows.moving)

    def _compute(self, place):
        """Choose the rows that are computed."""
        self.place, self.index = place, self.margins.there(place)
        self.asked = _Asked(self.margins, self.sample[place])
        self.rows = self.all.take(self.index)
        self.X = self.box.X.index_select(0, self.rows.sample)

    def _go_on(self, goes_on, sooner):
        """Compute only the rows that go on, if the host may look; return their mask."""
        if self.n_passes < _PASSES:
            if not (sooner and self.n_sooner):
                return goes_on
            self.n_sooner -= 1
        self.n_passes = 0
        here = as_array(goes_on)
        if here.mean() >= 0.9:
            return goes_on
        self.all.put(self.index, self.rows)
        self._compute(self.place[here])
        return torch.ones_like(self.rows.moving)

    def _count(self):
        self.n_passes += 1
        np.add.at(self.found.n_queries, self.sample[self.place], 1)

    def _look(self, points):
        """Margins of the rows' own classes, and gradients."""
        self._count()
        return self.asked.at(points, self.rows.true, self.rows.wrong)

    def _best_of_samples(self, sizes):
        best = sizes.new_full((len(self.box.X),), torch.inf)
        best = best.scatter_reduce(0, self.rows.sample, sizes, "amin")
        return best[self.rows.sample]

    def keep_leaders(self, factor):
        """Go on with rows that are at most so many times as far as the best."""
        if len(self.place) == 0:
            return
        sizes = torch.where(self.leads, self.rows.best_size, torch.inf)
        # Of a sample none of whose rows has crossed anywhere, all do.
        near = self.rows.best_size <= factor * self._best_of_samples(sizes)
        self.leads = self._go_on(self.leads & near, sooner=True)

    def again(self, far, steps):
        """Start from beyond the boundary."""
        if len(self.place) == 0:
            return
        rows = self.rows
        points = _end(self.X, rows.best_slope, far * rows.best_level, self.box)
        m, new = self._look(points)
        self.restart_at(far, new, m)
        self.walk(steps, 0, race=False)

    def restart_at(self, far, new, m):
        """Forget the models; linearize at the best paths' points."""
        rows, box, X = self.rows, self.box, self.X
        level = far * rows.best_level
        gain, _, _ = _follow(X, rows.best_slope, new, level, box)
        start = torch.zeros_like(level) if box.euclidean else rows.best_level
        rows.offset, rows.slope = m - gain, new
        rows.level = _solve(X, new, -rows.offset, start, 4, box)
        rows.moving = gain.isfinite()

    def walk(self, steps, warm, race):
        """Average and jump; rows that leave the race come back where they lead."""
        plan, everyone = self.plan, self.place
        leads, stays = self.leads, self.leads
        tolerance = plan.tolerance if race else 0.0
        for j in range(steps):
            rows = self.rows
            if len(self.place) == 0:
                break
            m, new = self._look(_end(self.X, rows.slope, rows.level, self.box))
            share = 1.0 if j < warm else (j - warm + 2) ** plan.power
            ran = stays
            _advance(self.box, self.X, rows, ran, new, m, share, tolerance)
            stays = ran & rows.moving
            if race and j >= plan.prune_after:
                size = torch.minimum(rows.best_size, rows.newest_size)
                best = torch.where(ran, rows.best_size, torch.inf)
                stays = stays & (size <= plan.prune * self._best_of_samples(best))
                stays = self._go_on(stays, sooner=j == plan.prune_after)
        if len(self.place) < len(everyone):
            self.all.put(self.index, self.rows)
            self._compute(everyone)
        self.leads = leads

    def finish(self):
        """Find where the rows' best paths cross, and draw these points nearer."""
        if len(self.place) == 0:
            return
        points, crosses = self._cross()
        crosses = crosses & self.leads
        sizes = torch.where(crosses, _sizes(self.box, self.X, points), torch.inf)
        if self.plan.slides:
            points, errs = self._slide(points, sizes)
            sizes = _sizes(self.box, self.X, points)
            sizes = torch.where(errs & self.leads, sizes, torch.inf)
        self.found.keep(self.sample[self.place], as_array(points), as_array(sizes))

    def _cross(self):
        """Along each row's best path, the first level found where the class changes."""
        box, rows = self.box, self.rows
        bracket, e = _Bracket(rows.best_level, self.margins.finest), rows.best_level
        wrong = rows.wrong if self.margins.towards else None
        for j in range(20):
            points = _end(self.X, rows.best_slope, e, box)
            self._count()
            m = self.asked.values(points, rows.true, wrong)
            e = bracket.next_levels(e, m, rows.best_growth, j)
            if self.n_passes >= _PASSES:
                self.n_passes = 0
                if not bool((bracket.goes_on & self.leads).any()):
                    break
        crosses = bracket.high.isfinite()
        e = torch.where(crosses, bracket.high, e)
        return _end(self.X, rows.best_slope, e, box), crosses

    def _slide(self, points, best_sizes):
        """Take ever shorter steps in a ball that shrinks.

        Returns the best points, and which of them err.
        """
        plan, rows, box = self.plan, self.rows, self.box
        best = points
        first = torch.where(
            best_sizes.isfinite(), best_sizes, _sizes(box, self.X, points)
        )
        growth = rows.best_growth * rows.best_level / first.clamp(min=1e-300)
        growth = growth.clamp(min=1e-300)
        sizes, averages = first, torch.zeros_like(points)
        ratio = plan.sizes[1] / plan.sizes[0]
        move = _glide_to if box.euclidean else _slide_to
        for j in range(plan.slides + 1):
            m, new = self._look(points)
            better = (m > 0) & (sizes < best_sizes)
            best_sizes = torch.where(better, sizes, best_sizes)
            best = torch.where(better[:, None], points, best)
            momentum = plan.momentum if j else 0.0
            averages = averages + (1 - momentum) * (new - averages)
            rho = plan.sizes[0] * ratio ** (j / max(plan.slides - 1, 1))
            step = rho * first
            after = move(self.X, points, averages, step, sizes, box)
            gain = m + (new * (after - points)).sum(1, dtype=torch.float64)
            change = (1.0005 * gain / growth).clamp(min=-step).clamp(max=step)
            sizes = torch.minimum(sizes - change, best_sizes * 0.9998).clamp(min=0.0)
            points = move(self.X, points, averages, step, sizes, box)
        return best, best_sizes.isfinite()


class _Bracket:
    """What `_search.Bracket` is, of all rows at once."""

    def __init__(self, like, tolerance):
        self.low, self.high = torch.zeros_like(like), torch.full_like(like, torch.inf)
        self.m_low, self.m_high = -self.high, torch.ones_like(like)
        self.tolerance, self.goes_on = tolerance, torch.ones_like(like, dtype=bool)

    def leave_out(self, rows):
        """Look no further for some rows."""
        self.goes_on = self.goes_on & ~rows

    def next_levels(self, here, margin, growth, j):
        """Write down margins at some levels; say where to look at the next time."""
        tolerance, up = self.tolerance, (margin > 0) & self.goes_on
        down = ~(margin > 0) & self.goes_on
        self.high, self.m_high = (
            torch.where(up, new, old)
            for new, old in ((here, self.high), (margin, self.m_high))
        )
        self.low, self.m_low = (
            torch.where(down, new, old)
            for new, old in ((here, self.low), (margin, self.m_low))
        )
        low, high, m_low, m_high = self.low, self.high, self.m_low, self.m_high
        target = (here - margin / growth) * (1 + tolerance / 2)
        secant = low - m_low * (high - low) / (m_high - m_low)
        inside = (low + high) / 2 if j % 3 == 2 else secant + 0.3 * tolerance * high
        least = here * (1 + tolerance if j < 4 else 1.4)
        grown = torch.maximum(torch.minimum(target, here * 1.5), least)
        fallen = torch.minimum(
            torch.maximum(target, high * 0.9), high * (1 - tolerance)
        )
        found = torch.where(m_low.isinf(), fallen, inside)
        narrow = high.isfinite() & (high - low <= tolerance * high)
        there = torch.where(high.isinf(), grown, found)
        there = torch.where(self.goes_on, there, here)
        self.leave_out(narrow)
        return there


def _direction(g, box):
    return g if box.euclidean else g.sign()


def _moves(X, g, level, box):
    """How far features move along a path, and which the range does not stop."""
    way = _direction(g, box)
    free = way * level[:, None].to(X.dtype)
    moves = torch.minimum(torch.maximum(free, box.low - X), box.high - X)
    return moves, way * (moves == free)


def _end(X, g, level, box):
    """Return the points of paths."""
    points = X + _direction(g, box) * level[:, None].to(X.dtype)
    return points.clamp(box.low, box.high)


def _follow(X, g, new, level, box):
    """Return what another gradient gains along a path, how fast, and its length."""
    moves, free = _moves(X, g, level, box)
    gain, growth, square = (
        (a * b).sum(1, dtype=torch.float64)
        for a, b in ((new, moves), (new, free), (moves, moves))
    )
    return gain, growth, square.sqrt()


def _solve(X, g, need, level, n_iter, box):
    """Newton's method for the level whose gain is `need`."""
    goes_on = torch.ones_like(level, dtype=bool)
    for _ in range(n_iter):
        gain, growth, _ = _follow(X, g, g, level, box)
        goes_on = goes_on & (growth > 0)
        after = (level + (need - gain) / growth).clamp(min=0.0)
        after = torch.where(goes_on, after, level)
        goes_on = goes_on & ~((after - level).abs() <= 1e-9 * after)
        level = after
    return level


def _begin(box, g, margin):
    """Find levels and sizes by the margins and gradients at the samples."""
    X, need = box.X, -margin
    level = _solve(X, g, need, torch.zeros_like(need), 20, box)
    gain, _, length = _follow(X, g, g, level, box)
    reached = (level > 0) & level.isfinite() & (gain > 0.9 * need)
    sizes = torch.where(reached, length if box.euclidean else level, torch.inf)
    return torch.where(reached, level, 0.0), sizes


def _advance(box, X, rows, stays, new, margin, share, tolerance):
    """Learn from the gradients at the paths' ends; only rows that move do."""
    g, e = rows.slope, rows.level
    gain, growth, length = _follow(X, g, new, e, box)
    rows.moving = rows.moving & (gain.isfinite() | ~stays)
    moves = rows.moving & stays
    crossing = torch.where(growth > 0, e - margin / growth, torch.inf)
    size = length * crossing / e.clamp(min=1e-300) if box.euclidean else crossing
    better = moves & ((crossing - e).abs() < NEAR * e) & (size < rows.best_size)
    for name, value, where in (
        ("newest_size", size, moves),
        ("best_size", size, better),
        ("best_level", crossing, better),
        ("best_growth", growth, better),
    ):
        setattr(rows, name, torch.where(where, value, vars(rows)[name]))
    rows.best_slope = torch.where(better[:, None], g, rows.best_slope)
    offset = margin - gain
    if share != 1:
        new = g + share * (new - g)
        offset = rows.offset + share * (offset - rows.offset)
    rows.slope = torch.where(moves[:, None], new, g)
    rows.offset = torch.where(moves, offset, rows.offset)
    level = _solve(X, rows.slope, -rows.offset, e, 1, box)
    level = torch.where(e > 0, torch.minimum(level, MOST_GROWTH * e), level)
    rows.level = torch.where(moves, level, e)
    if share == 1:
        still = (level - e).abs() < tolerance * e
        rests = still & ((crossing - e).abs() < tolerance * e)
        rows.moving = rows.moving & ~(rests & moves)


def _slide_to(X, points, g, step, level, box):
    """One step, cut to the cube around each sample and to the box."""
    total = g.abs().sum(1, dtype=torch.float64)
    per_gradient = (X.shape[1] / (STEEP * total).clamp(min=1e-30)).clamp(max=1e30)
    way = (per_gradient[:, None].to(X.dtype) * g).clamp(-1, 1)
    after = points + way * step[:, None].to(X.dtype)
    e = level[:, None].to(X.dtype)
    after = torch.minimum(torch.maximum(after, X - e), X + e)
    return after.clamp(box.low, box.high)


def _glide_to(X, points, g, step, level, box):
    """One step along `g`, cut to the ball around each sample and to the box."""
    square = (g.double() ** 2).sum(1)
    length = (step / square.sqrt())[:, None].to(X.dtype)
    moves = points + length * g - X
    far = (moves * moves).sum(1, dtype=torch.float64)
    share = torch.where(far > 0, (level / far.sqrt()).clamp(max=1.0), 1.0)
    after = (X + share[:, None].to(X.dtype) * moves).clamp(box.low, box.high)
    return torch.where((square == 0)[:, None], points, after)


def _between(X, points, level, box):
    """Points on the way from samples to other points, as `place_between` writes."""
    moves, e = points - X, level[:, None].to(X.dtype)
    if box.euclidean:
        return X + e * moves
    return X + torch.minimum(torch.maximum(moves, -e), e)


def _sizes(box, X, points):
    """How far away from their samples points are."""
    moves = (points - X).double()
    if box.euclidean:
        return moves.square().sum(1).sqrt()
    return moves.abs().amax(1)
