"""Requests are checked, and of those of one pane the newest wins."""

import asyncio
import threading

import pytest

from robustkit.explorer._graphs import SupersededError
from robustkit.explorer._requests import Fields, NewestOnly, RequestError, in_thread
from tests.processes import PATIENCE


def fields(**values):
    return Fields(values, ["a", "view"])


@pytest.mark.parametrize("given", [3, "3", "0003"])
def test_an_integer_comes_as_number_or_text(given):
    assert fields(a=given).integer("a", 0, 9) == 3


@pytest.mark.parametrize(
    "given",
    [-1, 10, "10", 10**30, "9" * 30, "9" * 5000, 1.0, True, None, "", "-1", "+1", " 1",
     "1_0", "0x1", "٣", [], {}, "1e3", float("nan")],
)  # fmt: skip
def test_invalid_integer_is_rejected(given):
    message = "field 'a' must be an integer from 0 to 9. Got"
    with pytest.raises(RequestError, match=message) as error:
        fields(a=given).integer("a", 0, 9)
    assert len(str(error.value)) < 200


@pytest.mark.parametrize("given", [0, 0.5, 1])
def test_number_in_range_is_accepted(given):
    assert fields(a=given).number("a", 0, 1) == given


@pytest.mark.parametrize(
    "given", [-0.1, 1.1, float("nan"), float("inf"), True, "0.5", None, [0.5], 10**400]
)
def test_invalid_number_is_rejected(given):
    with pytest.raises(RequestError, match="'a' must be a number from 0 to 1"):
        fields(a=given).number("a", 0, 1)


@pytest.mark.parametrize("given", ["z", "", None, 1, ["x"], {}])
def test_choice_accepts_listed_strings_only(given):
    assert fields(a="x").choice("a", ["x", "y"]) == "x"
    with pytest.raises(RequestError, match="'a' must be one of x, y"):
        fields(a=given).choice("a", ["x", "y"])


@pytest.mark.parametrize("given", ["", "1234", 1, None])
def test_text_is_limited_in_length(given):
    assert fields(a="123").text("a", 3) == "123"
    with pytest.raises(RequestError, match="'a' must be a string of 1 to 3 char"):
        fields(a=given).text("a", 3)


@pytest.mark.parametrize(
    ("given", "expected"),
    [([], []), ("", []), ("1", [1]), ("2,0,2", [2, 0, 2]), ([0, 3], [0, 3])],
)
def test_integers_come_as_list_or_text(given, expected):
    assert fields(a=given).integers("a", 4, 3) == expected


@pytest.mark.parametrize(
    "given",
    ["4", "0,1,2,3", [4], [-1], [True], [1.0], "1,", ",", "1,,2", "-1", "a", None, 3,
     [[1]], "0," * 9999, [10**30]],
)  # fmt: skip
def test_invalid_indices_are_rejected(given):
    with pytest.raises(RequestError, match="'a' must be at most 3 integers from 0 to"):
        fields(a=given).integers("a", 4, 3)


def test_numbers_accepts_a_list_of_numbers():
    assert fields(a=[1, -0.5]).numbers("a", 2) == [1.0, -0.5]
    assert fields(a=[]).numbers("a", 2) == []


@pytest.mark.parametrize(
    "given",
    [None, 1, "1,2", {}, [3], ["1"], [None], [True], [10**400], [float("nan")], [[1]]],
)
def test_invalid_list_of_numbers_is_rejected(given):
    with pytest.raises(RequestError, match="'a' must be a list of numbers from -2 to"):
        fields(a=given).numbers("a", 2)


def test_missing_and_unknown_fields_are_named():
    with pytest.raises(RequestError, match="the field 'a' is missing"):
        fields().integer("a", 0, 1)
    with pytest.raises(RequestError, match="unknown field 'veiw', did you mean 'view'"):
        fields(veiw=1)
    with pytest.raises(RequestError, match="must be a JSON object"):
        Fields([1], [])


class Work:
    """Computations that run until they are told to end, and count themselves."""

    def __init__(self):
        self.n_running = self.most_running = 0
        self.started, self.go_on = [], threading.Event()
        self._lock = threading.Lock()

    def step(self, name):
        def work(cancelled):
            with self._lock:
                self.started.append(name)
                self.n_running += 1
                self.most_running = max(self.most_running, self.n_running)
            try:
                while not self.go_on.wait(0.001):
                    if cancelled.is_set():
                        raise SupersededError
                return name
            finally:
                with self._lock:
                    self.n_running -= 1

        return work


def run(main):
    """Run a test; one that waits for ever fails."""
    return asyncio.run(asyncio.wait_for(main, PATIENCE))


async def outcome(awaitable):
    try:
        return await awaitable
    except SupersededError:
        return "superseded"


async def start(newest, key, seq, function):
    task = asyncio.create_task(outcome(newest.run(key, seq, function)))
    await asyncio.sleep(0.01)
    return task


def test_of_20_quick_requests_the_first_and_last_run():
    async def main():
        newest, work = NewestOnly(), Work()
        tasks = [await start(newest, "pane", 0, work.step(0))]
        tasks += [
            asyncio.create_task(outcome(newest.run("pane", i, work.step(i))))
            for i in range(1, 20)
        ]
        # The first makes way when its thread has time to see that it is not wanted.
        while len(work.started) < 2:
            await asyncio.sleep(0.001)
        work.go_on.set()
        return work, await asyncio.gather(*tasks)

    work, results = run(main())
    assert results == ["superseded"] * 19 + [19]
    assert work.started == [0, 19]
    assert work.most_running == 1


def test_superseded_waiting_request_is_answered_immediately():
    async def main():
        newest = NewestOnly()
        stubborn, end = threading.Event(), threading.Event()

        def never_looks(cancelled):
            stubborn.set()
            end.wait()
            return "too late"

        first = await start(newest, "pane", 0, never_looks)
        waiting = await start(newest, "pane", 1, lambda _: 1)
        newer = await start(newest, "pane", 2, lambda _: 2)
        told = waiting.done() and not first.done() and not newer.done()
        end.set()
        return told, await asyncio.gather(first, waiting, newer)

    told, results = run(main())
    assert told
    assert results == ["superseded", "superseded", 2]


def test_older_request_that_arrives_late_is_rejected():
    async def main():
        newest = NewestOnly()
        assert await newest.run("pane", 5, lambda _: "new") == "new"
        return [
            await outcome(newest.run("pane", seq, lambda _: "again")) for seq in (4, 5)
        ]

    assert run(main()) == ["superseded", "again"]


def test_panes_do_not_disturb_each_other():
    async def main():
        newest, work = NewestOnly(), Work()
        tasks = [await start(newest, pane, 0, work.step(pane)) for pane in "ab"]
        # Threads begin when the machine has time.
        while len(work.started) < 2:
            await asyncio.sleep(0.001)
        both = list(work.started)
        third = await start(newest, "c", 0, work.step("c"))
        work.go_on.set()
        return both, await asyncio.gather(*tasks, third), work.most_running

    both, results, most = run(main())
    assert (sorted(both), results, most) == (["a", "b"], ["a", "b", "c"], 2)


def test_failed_computation_frees_its_pane():
    def fail(_):
        raise ValueError("no such thing")

    async def main():
        newest = NewestOnly()
        first = asyncio.create_task(newest.run("pane", 0, fail))
        with pytest.raises(ValueError, match="no such thing"):
            await first
        return await newest.run("pane", 1, lambda _: "fine")

    assert run(main()) == "fine"


def test_oldest_panes_are_dropped():
    async def main():
        newest = NewestOnly(n_panes=3)
        for i in range(10):
            await newest.run(i, 7, lambda _: None)
        return list(newest._panes), await outcome(newest.run(0, 1, lambda _: "new"))

    assert run(main()) == ([7, 8, 9], "new")


def test_thread_that_outlives_the_event_loop_is_silent():
    end, threads = threading.Event(), []

    def outlive():
        threads.append(threading.current_thread())
        return end.wait()

    async def main():
        task = asyncio.create_task(in_thread(outlive))
        while not threads:
            await asyncio.sleep(0.001)
        task.cancel()

    run(main())
    end.set()
    threads[0].join(PATIENCE)
    assert not threads[0].is_alive()
