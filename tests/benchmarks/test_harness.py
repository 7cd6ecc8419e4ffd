"""Times, ratios and exponents are those of the work that was done."""

from dataclasses import replace

import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st

from benchmarks.harness import (
    Case,
    Growth,
    PeerError,
    clock_of,
    exponent,
    measure,
    measure_growth,
)
from tests.benchmarks.clock import Clock

SIZES = [10, 40, 160, 640]


@pytest.fixture
def clock():
    return Clock()


def case(clock, ours=2.0, theirs=8.0, **options):
    both = clock.work(ours), clock.work(theirs)
    return Case("work", "peer", *both, clock=clock, repeats=3, **options)


def growth(clock, ours, theirs, **options):
    def sides(n):
        return clock.work(ours(n)), clock.work(theirs(n))

    defaults = {"sizes": SIZES, "sides": sides, "clock": clock}
    return Growth("work", "peer", "samples", **defaults | options)


def fail():
    raise RuntimeError("no `idea`\nat all")


def test_ratio_is_that_of_the_times(clock):
    result = measure(case(clock))
    assert (result.ours, result.theirs) == (2, 8)
    assert (result.ratio_low, result.ratio, result.ratio_high) == (0.25,) * 3


@pytest.mark.parametrize(("limit", "kept"), [(None, None), (0.25, True), (0.2, False)])
def test_a_promise_is_kept_up_to_its_limit(clock, limit, kept):
    assert measure(case(clock, limit=limit)).kept is kept


def test_slow_work_is_called_once_to_warm_up_and_once_a_repeat(clock):
    measure(case(clock))
    assert clock.calls.count(8.0) == 1 + 3


def test_fast_work_is_called_until_the_repeat_is_long_enough(clock):
    result = measure(case(clock, ours=0.01, seconds=0.2))
    assert result.ours == pytest.approx(0.01)
    assert clock.calls.count(0.01) == 2 + 3 * 20


def test_very_slow_work_is_repeated_only_twice(clock):
    measure(case(clock, theirs=30.0))
    assert clock.calls.count(30.0) == 1 + 2


def test_middle_half_lies_within_what_was_seen(clock):
    # Two calls to warm up, two that are timed.
    turns = iter([clock.work(seconds) for seconds in (1, 1, 1, 3)])
    uneven = replace(case(clock, theirs=4.0), ours=lambda: next(turns)(), repeats=2)
    result = measure(uneven)
    assert 0.25 < result.ratio_low < result.ratio == 0.5 < result.ratio_high < 0.75


@pytest.mark.parametrize("same", [True, False])
def test_results_are_compared(clock, same):
    both = clock.work(2, returned="a"), clock.work(2, returned="b")
    result = measure(
        Case("work", "peer", *both, clock=clock, same=lambda a, b: (a != b) == same)
    )
    assert result.same is same


def test_a_peer_that_fails_is_named(clock):
    broken = replace(case(clock), theirs=fail)
    with pytest.raises(PeerError, match=r"^peer, work: `RuntimeError: no 'idea'`$"):
        measure(broken)


def test_our_own_failure_is_not_blamed_on_the_peer(clock):
    with pytest.raises(RuntimeError, match="idea"):
        measure(replace(case(clock), ours=fail))


@given(st.floats(1e-6, 1), st.floats(-1, 4))
def test_exponent_of_a_power_is_found(factor, power):
    times = [factor * n**power for n in SIZES]
    assert exponent(SIZES, times) == pytest.approx((power,) * 3, abs=1e-6)


@given(st.lists(st.floats(1e-6, 1e3), min_size=2, max_size=4))
def test_fitted_exponent_lies_between_those_of_neighbours(times):
    assume(max(times) / min(times) < 1e6)
    fitted, low, high = exponent(SIZES[: len(times)], times)
    assert low - 1e-9 <= fitted <= high + 1e-9


def test_exponent_needs_two_times():
    assert exponent(SIZES, [1.0]) == (None, None, None)


def test_growth_finds_both_exponents(clock):
    grown = measure_growth(growth(clock, lambda n: 1e-4 * n, lambda n: 1e-6 * n**2))
    ours, theirs = grown.exponents
    assert grown.sizes == SIZES
    assert ours == pytest.approx((1,) * 3)
    assert theirs == pytest.approx((2,) * 3)
    assert grown.note == ""


def test_a_slow_peer_is_stopped_and_we_go_on(clock):
    grown = measure_growth(
        growth(clock, lambda n: 1e-3, lambda n: 0.01 * n, patience=2.0, note="hm")
    )
    # Of 160 samples, 1.6 s; four times as many would take 6.4 s.
    assert grown.sizes == SIZES
    assert len(grown.ours) == 4
    assert len(grown.theirs) == 3
    assert grown.note == "hm; theirs stopped before 640: more than 2 s"
    assert 6.4 not in clock.calls


def test_growth_ends_where_we_are_too_slow(clock):
    grown = measure_growth(
        growth(clock, lambda n: 0.01 * n, lambda n: 1e-3, patience=2.0)
    )
    assert grown.sizes == SIZES[:3]


def test_we_may_take_longer_than_the_peer(clock):
    def seconds(n):
        return 0.01 * n

    grown = measure_growth(
        growth(clock, seconds, seconds, patience=2.0, own_patience=9.0, repeats=1)
    )
    assert grown.sizes == SIZES
    assert grown.ours == pytest.approx([seconds(n) for n in SIZES])
    assert len(grown.theirs) == 3
    # Once to warm up, and once that is timed: nobody else is called.
    assert clock.calls.count(6.4) == 2


def test_results_must_be_the_same_at_every_size(clock):
    def sides(n):
        return clock.work(0.1), clock.work(0.1), lambda a, b: n != 40

    assert measure_growth(growth(clock, None, None, sides=sides)).same is False


def test_a_processor_is_timed_by_its_own_time():
    assert clock_of("cpu").__name__ == "process_time"


def test_a_gpu_is_waited_for(monkeypatch):
    waited_for = []
    monkeypatch.setattr(torch.cuda, "synchronize", waited_for.append)
    clock = clock_of("cuda:1")
    assert clock() <= clock()
    assert waited_for == ["cuda:1", "cuda:1"]
