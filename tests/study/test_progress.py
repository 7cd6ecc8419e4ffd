"""How far a study is, in words."""

import os
import signal
import sys
from pathlib import Path

import pytest

from robustkit.study._progress import StudyProgress, pace
from tests.processes import PATIENCE, started
from tests.study.studies import small_data, small_study

REPOSITORY = Path(__file__).parents[2]


class Clock:
    """Time that goes by when it is told to."""

    now = 0.0

    def __call__(self):
        return self.now


@pytest.mark.parametrize(
    ("n_new", "seconds", "n_left", "words"),
    [
        (10, 50, 10, "12.0 a minute, 50 s left"),
        (1, 60, 4, "1.0 a minute, 4 min left"),
        (1, 3600, 2, "0.0 a minute, 2 h 0 min left"),
        (3, 90, 0, "2.0 a minute, 90 s in all"),
    ],
)
def test_pace(n_new, seconds, n_left, words):
    assert pace(n_new, seconds, n_left) == words


def test_without_a_terminal_there_is_a_line_now_and_then(capsys):
    clock = Clock()
    with StudyProgress(600, 100, 1, clock) as progress:
        for n_new in range(1, 101):
            clock.now += 1
            progress.update(100 + n_new)
    lines = capsys.readouterr().out.splitlines()
    assert lines == [
        "600 models, 100 in the store",
        "130 of 600 models, 60.0 a minute, 8 min left",
        "160 of 600 models, 60.0 a minute, 7 min left",
        "190 of 600 models, 60.0 a minute, 7 min left",
        "200 of 600 models, 60.0 a minute, 7 min left",
    ]


def test_it_is_silent_unless_asked(capsys):
    with StudyProgress(600, 100, 0) as progress:
        progress.update(101)
    assert progress.n_done == 101
    assert not capsys.readouterr().out


def test_on_a_terminal_there_is_a_bar(capsys, monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "1")
    with StudyProgress(4, 0, 1) as progress:
        for n_done in range(1, 5):
            progress.update(n_done)
    out = capsys.readouterr().out
    assert "models" in out
    assert "━" in out
    assert "4/4" in out
    assert "in all" in out


@pytest.mark.parametrize("terminal", [False, True])
def test_asked_for_more_it_tells_every_model(capsys, monkeypatch, terminal):
    if terminal:
        monkeypatch.setenv("FORCE_COLOR", "1")
    with StudyProgress(4, 0, 2) as progress:
        for n_done in range(1, 5):
            progress.update(n_done)
    out = capsys.readouterr().out
    for n_done in range(1, 5):
        assert f"{n_done} of 4 models" in out


def test_a_study_shows_how_far_it_is(capsys):
    small_study(verbose=1).fit(*small_data())
    out = capsys.readouterr().out
    assert "8 models, 0 in the store" in out
    assert "8 of 8 models" in out


INTERRUPTED = """
import sys, time
from tests.processes import PATIENCE, started
from tests.study.studies import small_data, small_study

def slow(model, X, y, X_test, y_test):
    print("a model", flush=True)
    time.sleep(0.1)
    return {}

try:
    small_study(sys.argv[1], n_graphs=500, analyses={"slow": slow}).fit(*small_data())
except KeyboardInterrupt as error:
    print(error)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="sends a signal")
def test_ctrl_c_ends_cleanly_and_says_how_to_continue(tmp_path):
    store = tmp_path / "study.db"
    words = (sys.executable, "-c", INTERRUPTED, str(store))
    env = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(REPOSITORY)}
    with started(*words, cwd=REPOSITORY, env=env) as process:
        for _ in range(3):
            assert process.stdout.readline() == "a model\n"
        process.send_signal(signal.SIGINT)
        out, errors = process.communicate(timeout=PATIENCE)
    assert "Traceback" not in errors
    assert f"of 1,000 models are done and safe in {store}. To continue, call" in out


def test_ctrl_c_without_a_store_keeps_what_is_there():
    def interrupted(model, X, y, X_test, y_test):
        if len(seen) == 2:
            raise KeyboardInterrupt
        seen.append(model)
        return {}

    seen = []
    study = small_study(analyses={"interrupted": interrupted})
    with pytest.raises(KeyboardInterrupt, match="2 of 8 models are done and in res"):
        study.fit(*small_data())
    assert len(study.results_) == 2
