"""A room is measured whole, whatever its peers do."""

import sys
from functools import partial
from itertools import count
from types import SimpleNamespace

import numpy as np
import pytest

from benchmarks import (
    bench_correlation,
    bench_explorer,
    bench_graphs,
    bench_networks,
    peers,
    report,
    rooms,
    store,
)
from benchmarks.__main__ import main
from benchmarks.harness import Case, Growth


def answer():
    return 42


def fail():
    raise ValueError("not today")


def cases(device="cpu"):
    # No work at all takes as long as it takes to look at the clock.
    options = {"repeats": 2, "seconds": 0, "clock": count().__next__}
    yield Case("work", f"a peer on {device}", answer, fail, **options)
    yield Case("work", "another", answer, answer, same=np.array_equal, **options)
    yield Growth(
        "work", "another", "numbers", (1, 2), lambda n: (answer, answer), **options
    )


@pytest.fixture
def room(monkeypatch):
    """A room of our own, with a peer that is not there."""
    absent = peers.Peer("Nobody", "nobody-at-all", ("nobody-at-all==1.0",))
    monkeypatch.setitem(peers.PEERS, "nobody_at_all", absent)
    module = SimpleNamespace(cases=cases, PEERS=("nobody_at_all",))
    monkeypatch.setitem(sys.modules, "benchmarks.bench_ours", module)
    return "ours"


def test_the_others_are_measured_though_one_fails_and_one_is_missing(room, capsys):
    entry = rooms.run(room)
    assert [result["peer"] for result in entry["results"]] == ["another"]
    assert [grown["sizes"] for grown in entry["growths"]] == [[1, 2]]
    missing, failed = entry["left_out"]
    assert missing.startswith("Nobody is not installed")
    assert failed == "a peer on cpu, work: `ValueError: not today`"
    printed = capsys.readouterr().out
    assert missing in printed
    assert failed in printed


def test_a_room_says_on_what_it_was_measured(room):
    entry = rooms.run(room)
    assert entry["versions"]["numpy"] == np.__version__
    assert entry["machine"].endswith("cores")
    assert report.provenance(entry).startswith(entry["machine"])


def test_a_gpu_has_a_room_of_its_own(room, monkeypatch, tmp_path):
    entries = {}
    monkeypatch.setattr(store, "merge", entries.__setitem__)
    monkeypatch.setattr(rooms, "machine", lambda device: f"a {device}")
    for device in ("cpu", "cuda"):
        rooms.record(room, device, tmp_path)
    assert [entry["machine"] for entry in entries.values()] == ["a cpu", "a cuda"]
    assert list(entries) == ["ours", "ours on a GPU"]
    assert entries["ours on a GPU"]["left_out"][1].startswith("a peer on cuda")


@pytest.mark.parametrize(("name", "does"), [("networks", True), ("graphs", False)])
def test_only_rooms_that_take_a_device_are_measured_on_a_gpu(name, does):
    assert rooms.works_on(name, "cpu")
    assert rooms.works_on(name, "cuda") is does


def test_a_room_that_is_not_there_is_refused(capsys):
    with pytest.raises(SystemExit, match="2"):
        main(["cellar"])
    assert "no benchmark called ['cellar']; there are" in capsys.readouterr().err


def test_a_gpu_that_is_not_there_is_refused(monkeypatch, capsys):
    monkeypatch.setattr(rooms, "devices", lambda: ["cpu"])
    with pytest.raises(SystemExit, match="2"):
        main(["networks", "--device", "cuda"])
    assert "no cuda here; torch sees ['cpu']" in capsys.readouterr().err


def test_every_device_is_measured_unless_one_is_chosen(monkeypatch):
    measured = []
    monkeypatch.setattr(rooms, "devices", lambda: ["cpu", "cuda"])
    monkeypatch.setattr(rooms, "record_alone", lambda *what: not measured.append(what))
    main(["networks", "graphs"])
    main(["networks", "--device", "cuda"])
    assert measured == [
        ("networks", "cpu", None),
        ("graphs", "cpu", None),
        ("networks", "cuda", None),
        ("networks", "cuda", None),
    ]


def test_a_room_that_fails_does_not_stop_the_others(monkeypatch, capsys):
    measured = []

    def record(room, device, folder):
        measured.append(room)
        return room != "graphs"

    monkeypatch.setattr(rooms, "record_alone", record)
    with pytest.raises(SystemExit, match="1"):
        main(["graphs", "import", "--device", "cpu"])
    assert measured == ["graphs", "import"]
    assert "These rooms failed: graphs on cpu." in capsys.readouterr().err


@pytest.mark.parametrize(
    "make",
    [
        partial(bench_graphs._growths, directed=True),
        partial(bench_networks._more_nodes, "cpu"),
        bench_correlation._growths,
    ],
    ids=["graphs", "networks", "correlation"],
)
def test_growing_work_is_the_same_work(make):
    for growth in make():
        ours, theirs, *same = growth.sides(growth.sizes[0])
        results = ours(), theirs()
        assert not any(same) or same[0](*results)


def test_a_graph_of_the_benchmark_is_laid_out_as_one_of_the_explorer():
    ours, theirs = bench_explorer._layout(bench_explorer._graph(60, n_intervals=8))
    layout = ours()
    assert np.isfinite(np.concatenate([layout.x, layout.y])).all()
    assert len(theirs()) == 60
