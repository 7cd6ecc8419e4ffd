"""One computation of a pane runs, one waits, and the newest wins."""

import asyncio
import threading

import pytest

from robustkit.explorer._newest import NewestOnly, SupersededError, in_thread
from tests.processes import PATIENCE


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


def test_of_twenty_quick_ones_the_first_and_the_last_run():
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


def test_one_that_waits_is_told_at_once():
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


def test_an_older_one_that_comes_late_is_refused():
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


def test_one_that_fails_makes_way():
    def fail(_):
        raise ValueError("no such thing")

    async def main():
        newest = NewestOnly()
        first = asyncio.create_task(newest.run("pane", 0, fail))
        with pytest.raises(ValueError, match="no such thing"):
            await first
        return await newest.run("pane", 1, lambda _: "fine")

    assert run(main()) == "fine"


def test_panes_of_long_ago_are_forgotten():
    async def main():
        newest = NewestOnly(n_panes=3)
        for i in range(10):
            await newest.run(i, 7, lambda _: None)
        return list(newest._panes), await outcome(newest.run(0, 1, lambda _: "new"))

    assert run(main()) == ([7, 8, 9], "new")


def test_a_thread_that_outlives_the_server_says_nothing():
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
