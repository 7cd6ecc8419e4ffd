"""Whoever else measures: nothing that was measured is lost."""

import json
from concurrent.futures import ThreadPoolExecutor

from benchmarks import report, store
from tests.benchmarks.examples import BARE, ENTRY


def test_rooms_measured_before_are_kept(tmp_path):
    store.merge("sorting", ENTRY, tmp_path)
    store.merge("counting", BARE, tmp_path)
    found = json.loads((tmp_path / "results.json").read_text("utf-8"))
    assert found == {"counting": BARE, "sorting": ENTRY}
    assert (tmp_path / "RESULTS.md").read_text("utf-8") == report.markdown(found)


def test_a_room_measured_again_replaces_itself(tmp_path):
    store.merge("sorting", ENTRY, tmp_path)
    store.merge("sorting", BARE, tmp_path)
    assert json.loads((tmp_path / "results.json").read_text("utf-8")) == {
        "sorting": BARE
    }


def test_runs_that_end_at_once_do_not_overwrite_each_other(tmp_path):
    names = [f"room {i}" for i in range(24)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda name: store.merge(name, ENTRY, tmp_path), names))
    found = json.loads((tmp_path / "results.json").read_text("utf-8"))
    assert sorted(found) == sorted(names)
    assert (tmp_path / "RESULTS.md").read_text("utf-8") == report.markdown(found)


def test_no_half_written_file_is_left(tmp_path):
    store.merge("sorting", ENTRY, tmp_path)
    found = {path.name for path in tmp_path.iterdir()}
    assert found - {".lock"} == {"results.json", "RESULTS.md"}
