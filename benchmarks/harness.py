"""Time two callables in turn, in one process, at one size or at sizes that grow."""

import gc
import math
import statistics
import time
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, field
from itertools import pairwise


class PeerError(Exception):
    """A peer is there, but does not do the work."""


@dataclass(frozen=True)
class Case:
    """One comparison: the same work, done by us and by a peer."""

    name: str
    """The work, with its sizes."""

    peer: str
    """Who does the same work, with version where it has one."""

    ours: Callable[[], object]
    theirs: Callable[[], object]

    limit: float | None = None
    """The ratio ours / theirs that we promise not to exceed."""

    same: Callable[[object, object], bool] | None = None
    """Whether both results are the same; asked once, before anything is timed."""

    repeats: int = 7
    seconds: float = 0.2
    """Each repeat calls a callable again and again for about this long."""

    at_most: float = 20.0
    """Seconds of all repeats; work that takes longer is repeated only twice."""

    clock: Callable[[], float] = time.process_time
    """CPU time of this process, unless the work is done somewhere else."""

    note: str = ""


@dataclass(frozen=True)
class Growth:
    """One comparison at sizes that grow by a factor."""

    name: str
    """The work; growths of one name are drawn in one picture."""

    peer: str
    along: str
    """What grows."""

    sizes: Iterable[int]
    """From the smallest one, each the same factor times the one before."""

    sides: Callable[[int], Iterable[Callable]]
    """Of a size, makes `ours`, `theirs` and, if results can be compared, `same`."""

    repeats: int = 3
    seconds: float = 0.05
    clock: Callable[[], float] = time.process_time

    patience: float = 10.0
    """Seconds of one call. A peer that would take longer grows no further."""

    own_patience: float | None = None
    """Seconds of one call of ours; None for those of the peer."""

    note: str = ""


@dataclass(frozen=True)
class Result:
    """What came out of one case. Times are seconds a call."""

    name: str
    peer: str
    ours: float
    theirs: float
    ratio: float
    ratio_low: float
    ratio_high: float
    limit: float | None
    same: bool | None
    note: str

    def as_dict(self):
        """Everything, for JSON."""
        return asdict(self)

    @property
    def kept(self):
        """Whether the promise holds; None without a promise."""
        return None if self.limit is None else self.ratio <= self.limit


@dataclass
class Grown:
    """What came out of a growth: `theirs` is shorter if the peer was stopped."""

    name: str
    peer: str
    along: str
    sizes: list[int] = field(default_factory=list)
    ours: list[float] = field(default_factory=list)
    theirs: list[float] = field(default_factory=list)
    same: bool | None = None
    note: str = ""

    def as_dict(self):
        """Everything, for JSON."""
        return asdict(self)

    @property
    def exponents(self):
        """Of our time and of theirs, as `exponent` returns them."""
        return tuple(exponent(self.sizes, times) for times in (self.ours, self.theirs))


def exponent(sizes, times):
    """How the times grow: b, where they are closest to a * sizes ** b.

    Returns
    -------
    fitted, low, high : float or None
        By least squares of the logarithms; and the least and the greatest of what any
        two neighbouring sizes say. None if there are fewer than two times.
    """
    points = [(math.log(n), math.log(t)) for n, t in zip(sizes, times, strict=False)]
    if len(points) < 2:
        return None, None, None
    between = [(t1 - t0) / (n1 - n0) for (n0, t0), (n1, t1) in pairwise(points)]
    return statistics.linear_regression(*zip(*points, strict=True)).slope, *(
        choose(between) for choose in (min, max)
    )


def clock_of(device):
    """A clock for what is done on a device.

    A processor's is the CPU time of this process: the other users of a machine wait,
    not work. Work on a GPU goes on while this process waits, so that what counts is
    when it is done.
    """
    if device == "cpu":
        return time.process_time
    import torch

    def clock():
        torch.cuda.synchronize(device)
        return time.perf_counter()

    return clock


def measure(case):
    """Run one case: check that the results agree, warm up, time in turn.

    The ratio is the median over pairs of neighbours in time, so that a machine that
    slows down slows both; its spread is the range of the middle half of the pairs.
    """
    same, calls = _warm_up(case)
    pairs, start = [], case.clock()
    while len(pairs) < case.repeats:
        if len(pairs) >= 2 and case.clock() - start > case.at_most:
            break
        gc.collect()
        ours = _seconds_per_call(case.ours, calls[0], case.clock)
        theirs = _seconds_per_call(case.theirs, calls[1], case.clock)
        pairs.append((ours, theirs))
    ratios = [ours / theirs for ours, theirs in pairs]
    low, middle, high = (
        statistics.quantiles(ratios, n=4, method="inclusive")
        if len(ratios) > 1
        else ratios * 3
    )
    return Result(
        name=case.name,
        peer=case.peer,
        ours=statistics.median(ours for ours, _ in pairs),
        theirs=statistics.median(theirs for _, theirs in pairs),
        ratio=middle,
        ratio_low=low,
        ratio_high=high,
        limit=case.limit,
        same=same,
        note=case.note,
    )


def measure_growth(growth):
    """Measure at each size, in turn, as long as it does not take too long.

    Returns
    -------
    grown : Grown
        Its note says where the peer was stopped.
    """
    grown = Grown(growth.name, growth.peer, growth.along, note=growth.note)
    own_patience = growth.patience
    if growth.own_patience is not None:
        own_patience = growth.own_patience
    for size in growth.sizes:
        if _next_time(grown.ours) > own_patience:
            break
        ours, theirs, *same = growth.sides(size)
        case = Case(
            growth.name, growth.peer, ours, theirs, None, *same,
            repeats=growth.repeats, seconds=growth.seconds, at_most=growth.patience,
            clock=growth.clock,
        )  # fmt: skip
        goes_on = len(grown.theirs) == len(grown.sizes)
        if goes_on and _next_time(grown.theirs) > growth.patience:
            stop = f"theirs stopped before {size:,}: more than {growth.patience:g} s"
            grown.note = "; ".join(filter(None, (grown.note, stop)))
            goes_on = False
        if goes_on:
            result = measure(case)
            grown.theirs.append(result.theirs)
            if result.same is not None:
                grown.same = result.same and grown.same is not False
        grown.sizes.append(size)
        grown.ours.append(result.ours if goes_on else _alone(case))
    return grown


def _alone(case):
    """Measure ours, where theirs takes too long to be called."""
    n_calls = _calls(case.ours, case)[1]
    times = []
    for _ in range(case.repeats):
        gc.collect()
        times.append(_seconds_per_call(case.ours, n_calls, case.clock))
    return statistics.median(times)


def _next_time(times):
    """What the next size will take if times go on growing as they did."""
    if not times:
        return 0.0
    return times[-1] * max(1.0, times[-1] / times[-2] if len(times) > 1 else 1.0)


def _warm_up(case):
    """Compare what both return, and find how many calls make up a repeat."""
    returned, calls = [], []
    for side in (case.ours, case.theirs):
        try:
            result, n_calls = _calls(side, case)
        except Exception as error:
            if side is case.ours:
                raise
            reason = f"{type(error).__name__}: {error}".splitlines()[0]
            reason = reason.replace("`", "'")
            raise PeerError(f"{case.peer}, {case.name}: `{reason}`") from error
        returned.append(result)
        calls.append(n_calls)
    return None if case.same is None else bool(case.same(*returned)), calls


def _calls(side, case):
    """Call one side once; return what it returns, and how many calls are a repeat."""
    start = case.clock()
    result = side()
    first = case.clock() - start
    # What is slow, though it was cold, is called once a repeat in any case.
    once = first if first > 1 else _seconds_per_call(side, 1, case.clock)
    return result, max(1, round(case.seconds / max(once, 1e-9)))


def _seconds_per_call(function, n_calls, clock):
    start = clock()
    for _ in range(n_calls):
        function()
    return (clock() - start) / n_calls
