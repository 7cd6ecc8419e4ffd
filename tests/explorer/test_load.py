"""Many points, many nodes, many moves: nothing queues up, nothing is left behind."""

import gc
import threading
import time
import tracemalloc

import httpx
import numpy as np
import pytest

from benchmarks.explorer_page import crowded_run
from robustkit.explorer._graphs import Graph, Graphs
from robustkit.explorer._requests import NewestOnly
from tests.explorer.conftest import CROWDED, ask_graph, served
from tests.processes import PATIENCE

# 60,000 points lie so near each other that this joins the twelve nearest.
EPS = 0.1


class Watched(Graphs):
    """Notes when a computation that a request asks for begins and ends."""

    def __init__(self, run, mapper=None):
        super().__init__(run, mapper)
        self.log, self._log_lock = [], threading.Lock()

    def prepare(self):
        """On a busy machine, that of the start would still run during the moves."""

    def _note(self, what, parameters):
        with self._log_lock:
            self.log.append((what, parameters.n_intervals))

    def compute(self, parameters, cancelled=None, *, soon=False):
        self._note("begin", parameters)
        try:
            return super().compute(parameters, cancelled, soon=soon)
        finally:
            self._note("end", parameters)

    def most_at_once(self):
        """How many computations ran at the same time."""
        steps = [{"begin": 1, "end": -1, "ask": 0}[what] for what, _ in self.log]
        return max(np.cumsum(steps))


@pytest.fixture(scope="module")
def large(large_run):
    """A server of 60,000 points, whose first graph is there, and its watched graphs."""
    graphs = Watched(large_run)
    with served(large_run, graphs) as client:
        answer = ask_graph(client, **CROWDED | {"eps": EPS}).json()
        assert len(answer["nodes"]["id"]) == 2000
        yield client, graphs, answer


def test_twenty_quick_moves_over_60_000_points(large, monkeypatch):
    """They come as a hand moves a slider: sooner, mostly, than a graph is computed."""
    client, graphs, _ = large
    statuses = {}

    def ask(n_intervals):
        with httpx.Client(base_url=client.base_url, timeout=PATIENCE) as own:
            body = CROWDED | {"eps": EPS, "n_intervals": n_intervals}
            answer = ask_graph(own, tab="moves", seq=n_intervals, **body)
            statuses[n_intervals] = answer.status_code

    async def noted(self, key, seq, function):
        graphs.log.append(("ask", seq))
        return await run(self, key, seq, function)

    run = NewestOnly.run
    monkeypatch.setattr(NewestOnly, "run", noted)
    graphs.log.clear()
    moves = range(180, 200)
    threads = [threading.Thread(target=ask, args=(n,)) for n in moves]
    for thread in threads:
        thread.start()
        time.sleep(0.03)
    for thread in threads:
        thread.join(PATIENCE)
    assert statuses[199] == 200
    assert set(statuses.values()) <= {200, 409}
    assert graphs.most_at_once() == 1
    # When the last move arrives, one that was asked before may have just begun.
    begun = [n for what, n in graphs.log if what == "begin"]
    after = graphs.log[graphs.log.index(("ask", 199)) :]
    behind = {n for what, n in after if what != "ask"} - {199}
    assert len(behind) <= 1
    assert begun.count(199) == 1
    assert begun[-1] == 199


def test_members_of_2_000_nodes_come_at_once(large):
    client, graphs, answer = large
    response = client.get(f"api/members?graph={answer['graph']}")
    members = np.frombuffer(response.content, "<i4")
    assert len(members) > 59_000
    np.testing.assert_array_equal(members, graphs.find(answer["graph"]).members)


@pytest.mark.slow
def test_many_recomputations_leave_nothing_behind():
    """Of 400 points: graphs and traced bytes are counted, whatever their size."""
    run = crowded_run(400)
    graphs = Graphs(run)

    def n_graphs():
        gc.collect()
        return sum(type(thing) is Graph for thing in gc.get_objects())

    n_elsewhere, sizes = n_graphs(), []
    with served(run, graphs) as client:
        tracemalloc.start()
        try:
            for k in range(200):
                # Each of 120 is computed, and only 32 are kept. The last 80 answers
                # cost what a request costs: some tools keep notes of every thread.
                body = CROWDED | {"n_intervals": 12, "eps": 5 + min(k, 119) / 1000}
                answer = ask_graph(client, tab="many", seq=k, **body)
                assert answer.status_code == 200
                if k in (39, 119, 199):
                    gc.collect()
                    sizes.append(tracemalloc.get_traced_memory()[0])
        finally:
            tracemalloc.stop()
        assert n_graphs() - n_elsewhere == graphs.n_kept
    graph = graphs.find(answer.json()["graph"])
    one = sum(v.nbytes for v in vars(graph).values() if isinstance(v, np.ndarray))
    by_graphs, by_requests = np.diff(sizes)
    # 80 graphs lie between; a leak of one in ten would show.
    assert by_graphs - max(by_requests, 0) < 8 * one
