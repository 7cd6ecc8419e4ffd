"""What becomes of mutants is counted right, and none is excused for nothing."""

import json

import pytest

from benchmarks import mutation, report, store


def entry(*outcomes):
    mutants = [
        {"file": "a.py", "line": k, "before": f"x = {k}", "after": f"x = {k + 1}"}
        | {"outcome": outcome}
        for k, outcome in enumerate(outcomes)
    ]
    return {
        "date": "2026-01-01",
        "command": "python -m benchmarks.mutation sorting",
        "n_places": 1234,
        "n_tests": 10,
        "mutants": mutants,
    }


def test_equivalent_mutants_count_neither_way():
    found = entry("caught", "caught: for ever", "survived", "survived", "caught")
    excused = {("a.py", "x = 2", "x = 3"): "x is not read."}
    cells = report.mutant_cells("sorting", found, excused)
    assert cells[:6] == ("sorting", "1,234", "5", "3", "1", "75% of 4")


def test_an_excuse_for_a_caught_mutant_changes_nothing():
    excused = {("a.py", "x = 0", "x = 1"): "x is not read."}
    cells = report.mutant_cells("sorting", entry("caught", "survived"), excused)
    assert cells[4:6] == ("0", "50% of 2")


def test_mutants_stand_on_the_page_beside_what_was_measured(tmp_path):
    store.merge_mutants("sorting", entry("caught"), tmp_path)
    store.merge_mutants("counting", entry("survived"), tmp_path)
    found = json.loads((tmp_path / "mutants.json").read_text("utf-8"))
    page = (tmp_path / "RESULTS.md").read_text("utf-8")
    assert list(found) == ["counting", "sorting"]
    assert page == report.markdown({}, found)
    assert "100% of 1" in page
    assert "0% of 1" in page


def test_every_excuse_is_for_a_line_that_is_there_and_gives_a_reason():
    # A line that was rewritten needs a new look.
    for (file, before, after), reason in store.equivalent_mutants().items():
        lines = (mutation.ROOT / file).read_text("utf-8").splitlines()
        assert before in [line.strip() for line in lines], (file, before)
        assert after != before
        assert len(reason) > 20


def test_only_the_changed_line_is_named():
    old = "a = 1\nb = 2\nc = 3\n"
    assert mutation.changed_line(old, "a = 1\nb = 3\nc = 3\n") == ("b = 2", "b = 3")


def test_annotations_are_told_from_code():
    source = "def f(x: int | str, y=1 | 2) -> int | None:\n    z: int | str = x | y\n"
    is_annotation = mutation.annotated(source)
    lines = source.splitlines()
    bars = [
        (row, column)
        for row, line in enumerate(lines, start=1)
        for column, sign in enumerate(line)
        if sign == "|"
    ]
    assert [is_annotation(*bar) for bar in bars] == [True, False, True, True, False]


def test_a_seed_draws_the_same_mutants_and_each_changes_its_file():
    pytest.importorskip("cosmic_ray", reason="cosmic-ray makes the mutants")
    first, n_places = mutation.draw("defenses", 12, seed=0)
    again, _ = mutation.draw("defenses", 12, seed=0)
    other, _ = mutation.draw("defenses", 12, seed=1)
    assert first == again != other
    assert n_places > 12
    for mutant in first:
        source = (mutation.ROOT / mutant["file"]).read_text("utf-8")
        assert mutant["code"] != source
        assert mutant["before"] != mutant["after"]
        # What starts on this line may go on below it.
        place = source.splitlines()[mutant["line"] - 1 :][:6]
        assert mutant["before"] in [line.strip() for line in place]


def test_only_survivors_are_tried_again(monkeypatch):
    last = entry("caught", "survived", "caught: for ever")["mutants"]
    monkeypatch.setattr(store, "mutants_of", lambda room: last)
    drawn = [{"line": k} for k in range(3)]
    known = mutation.caught_before("sorting", drawn)
    assert known == ["caught", None, None]
    with pytest.raises(SystemExit, match="holds other mutants of sorting"):
        mutation.caught_before("sorting", drawn[:2])


def test_an_interrupted_second_try_continues_from_its_log(tmp_path, monkeypatch):
    last = entry("caught", "survived", "survived")["mutants"]
    monkeypatch.setattr(store, "mutants_of", lambda room: last)
    drawn = [
        {"file": "a.py", "line": k, "code": str(k), "before": "x", "after": "y"}
        for k in range(3)
    ]
    log = mutation.Log(tmp_path / "log")
    log.note(drawn[1], "caught")
    log = mutation.Log(tmp_path / "log")
    known = [mutation.known_of("sorting", drawn, log, again) for again in (True, False)]
    assert known == [["caught", "caught", None], [None, "caught", None]]


def test_an_interrupted_run_continues_from_its_log(tmp_path):
    drawn = [
        {"file": "a.py", "line": 1, "code": code, "before": "x", "after": code}
        for code in ("y", "z")
    ]
    log = mutation.Log(tmp_path / "log")
    assert log.outcome_of(drawn[0]) is None
    log.note(drawn[0], "survived")
    later = mutation.Log(tmp_path / "log")
    assert [later.outcome_of(m) for m in drawn] == ["survived", None]
    # Of other code nothing is known, nor of the same code in another file.
    assert later.outcome_of(drawn[0] | {"file": "b.py"}) is None
    mutation.Log(None).note(drawn[0], "survived")
