"""Time two callables in turn, in one process, and compare them pair by pair."""

import gc
import statistics
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass


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

    clock: Callable[[], float] = time.process_time
    """CPU time of this process, unless the work is done somewhere else."""

    note: str = ""


@dataclass(frozen=True)
class Result:
    """What came out of one case. Times are CPU seconds a call."""

    room: str
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


def measure(case, room=""):
    """Run one case: check that the results agree, warm up, time in turn.

    The ratio is the median over pairs of neighbours in time, so that a machine that
    slows down slows both; its spread is the range of the middle half of the pairs.
    CPU time is what is measured: the other users of a machine wait, not work.
    """
    same = None if case.same is None else bool(case.same(case.ours(), case.theirs()))
    calls = [_calls_for(side, case) for side in (case.ours, case.theirs)]
    pairs = []
    for _ in range(case.repeats):
        gc.collect()
        ours = _seconds_per_call(case.ours, calls[0], case.clock)
        theirs = _seconds_per_call(case.theirs, calls[1], case.clock)
        pairs.append((ours, theirs))
    ratios = [ours / theirs for ours, theirs in pairs]
    low, middle, high = (
        statistics.quantiles(ratios, n=4) if len(ratios) > 1 else ratios * 3
    )
    return Result(
        room=room,
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


def _calls_for(function, case):
    function()
    once = _seconds_per_call(function, 1, case.clock)
    return max(1, round(case.seconds / max(once, 1e-9)))


def _seconds_per_call(function, n_calls, clock):
    start = clock()
    for _ in range(n_calls):
        function()
    return (clock() - start) / n_calls
