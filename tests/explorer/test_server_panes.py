"""A pane gets the newest of what it asked for, and keeps what it shows."""

import threading
import time

import httpx
import pytest

from robustkit.explorer import _requests as requests_module
from tests.explorer.conftest import CURVE, ask_graph, expect_error
from tests.processes import PATIENCE


def test_nodes_keep_number_and_place_in_their_pane(client):
    def places(answer):
        nodes = answer["nodes"]
        return dict(
            zip(nodes["id"], zip(nodes["x"], nodes["y"], strict=True), strict=True)
        )

    first = places(ask_graph(client, tab="keep", seq=1).json())
    second = places(ask_graph(client, tab="keep", seq=2, eps=1.9).json())
    kept = set(first) & set(second)
    assert kept
    assert all(first[i] == second[i] for i in kept)
    # Another tab begins anew.
    fresh = ask_graph(client, tab="keep 2", seq=1).json()
    assert places(fresh) == first


def test_positions_of_a_link_are_used(client, answer):
    nodes = answer["nodes"]
    x, y = nodes["x"][::-1], nodes["y"][::-1]
    linked = ask_graph(client, tab="linked", x=x, y=y).json()["nodes"]
    assert (linked["x"], linked["y"]) == (x, y)
    message = expect_error(ask_graph(client, tab="linked", x=["a"], y=y), 400)
    assert "'x' must be a list of numbers" in message
    message = expect_error(ask_graph(client, tab="linked", x=x), 400)
    assert message == "the field 'y' is missing"


def test_a_pane_is_matched_with_the_graph_that_the_other_one_shows(client):
    left = ask_graph(client, tab="two").json()
    right = {"tab": "two", "pane": "right", "view": 1}
    asked = ask_graph(client, **right, seq=1, beside=left["graph"]).json()
    beside = asked["beside"]
    assert beside["graph"] == left["graph"]
    assert [asked["nodes"]["id"][j] for j in beside["nodes"]] == [
        left["nodes"]["id"][i] for i in beside["other_nodes"]
    ]
    # Of a graph that the other pane no longer shows, nothing is said.
    later = ask_graph(client, **right, seq=2, beside="what was there before").json()
    assert "beside" not in later
    assert later["nodes"]["id"] == asked["nodes"]["id"]
    message = expect_error(ask_graph(client, **right, seq=3, beside=3), 400)
    assert "'beside' must be a string" in message


def test_oldest_pane_is_dropped(client, monkeypatch):
    monkeypatch.setattr("robustkit.explorer._requests._MOST_PANES", 2)
    ids = [
        ask_graph(client, tab=tab, seq=seq, eps=eps).json()["nodes"]["id"]
        for seq, (tab, eps) in enumerate(
            [("a", 2.0), ("b", 2.0), ("c", 2.0), ("a", 1.5)]
        )
    ]
    assert ids[3] == list(range(len(ids[3])))


def test_newer_request_supersedes_in_the_same_tab_only(client, explorer, graphs):
    """The first computation hangs until it is told that it is not wanted."""
    begun, compute, answers = threading.Event(), graphs.compute, {}

    def hang(parameters, cancelled=None, **how):
        if parameters.n_intervals != 17:
            return compute(parameters, cancelled, **how)
        begun.set()
        assert cancelled.wait(PATIENCE)
        return compute(parameters, cancelled, **how)

    def ask(name, **params):
        with httpx.Client(base_url=explorer.url, timeout=PATIENCE) as own:
            answers[name] = ask_graph(own, **params)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(graphs, "compute", hang)
        thread = threading.Thread(
            target=ask, args=("old",), kwargs={"tab": "s", "seq": 1, "n_intervals": 17}
        )
        thread.start()
        assert begun.wait(PATIENCE)
        ask("tab", tab="other", seq=1)
        ask("pane", tab="s", pane="right", seq=1)
        assert thread.is_alive()
        ask("new", tab="s", seq=2)
        thread.join(PATIENCE)
    assert answers["old"].status_code == 409
    assert answers["old"].json() == {"superseded": True}
    assert {answers[n].status_code for n in ("tab", "pane", "new")} == {200}


def test_a_newer_curve_supersedes_an_older_one(client, explorer, graphs):
    """A pane's graphs do not: they are another computation."""
    begun, mean_purity, answers = threading.Event(), graphs.mean_purity, []

    def hang(parameters, cancelled=None):
        if parameters.n_intervals == 17:
            begun.set()
            assert cancelled.wait(PATIENCE)
        return mean_purity(parameters, cancelled)

    body = CURVE | {"tab": "curves"}

    def ask_old():
        with httpx.Client(base_url=explorer.url, timeout=PATIENCE) as own:
            old = body | {"seq": 1, "n_intervals": 17}
            answers.append(own.post("api/purities", json=old))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(graphs, "mean_purity", hang)
        thread = threading.Thread(target=ask_old)
        thread.start()
        assert begun.wait(PATIENCE)
        assert ask_graph(client, tab="curves", seq=2).status_code == 200
        assert client.post("api/purities", json=CURVE | {"tab": "x"}).status_code == 200
        assert thread.is_alive()
        assert client.post("api/purities", json=body | {"seq": 3}).status_code == 200
        thread.join(PATIENCE)
    assert [answer.status_code for answer in answers] == [409]


def test_twenty_quick_moves_leave_no_queue(client, explorer, graphs):
    """No more than one computation runs for the pane, and the last one is answered."""
    running, most, lock = [0], [0], threading.Lock()
    compute = graphs.compute

    def count(parameters, cancelled=None, **how):
        with lock:
            running[0] += 1
            most[0] = max(most[0], running[0])
        try:
            time.sleep(0.02)
            return compute(parameters, cancelled, **how)
        finally:
            with lock:
                running[0] -= 1

    statuses = {}

    def ask(seq):
        with httpx.Client(base_url=explorer.url, timeout=PATIENCE) as own:
            answer = ask_graph(own, tab="quick", seq=seq, n_intervals=20 + seq)
            statuses[seq] = answer.status_code

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(graphs, "compute", count)
        threads = [threading.Thread(target=ask, args=(seq,)) for seq in range(20)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(PATIENCE)
    assert statuses[19] == 200
    assert set(statuses.values()) <= {200, 409}
    assert most[0] == 1


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (ValueError("two\nlines"), "The computation failed: two lines"),
        (MemoryError(), "The computation failed: out of memory"),
        (ZeroDivisionError("oh"), "ZeroDivisionError: oh"),
    ],
)
def test_failed_computation_returns_its_reason(
    client, graphs, monkeypatch, error, message
):
    tab = f"fail {message}"
    before = ask_graph(client, tab=tab, seq=1).json()["graph"]

    def fail(*_, **__):
        raise error

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(graphs, "compute", fail)
        patch.setattr(requests_module._LOG, "exception", lambda *_: None)
        assert expect_error(ask_graph(client, tab=tab, seq=2), 500) == message
    # The last graph is still there, and the pane goes on.
    assert client.get(f"api/members?graph={before}").status_code == 200
    assert ask_graph(client, tab=tab, seq=3).status_code == 200
