"""Studies that are killed, or shared, end with the same table."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from robustkit.study._store import Store
from robustkit.study._table import table_of
from tests.processes import PATIENCE
from tests.study.studies import assert_same_table

REPOSITORY = Path(__file__).parents[2]

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork"),
]


def live(how, folder, *numbers):
    """Run lives.py; return what it tells, and the table."""
    folder.mkdir()
    words = ["-m", "tests.study.lives", how, str(folder), *map(str, numbers)]
    done = subprocess.run(
        [sys.executable, *words],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr
    store = Store(folder / "study.store")
    told = json.loads(done.stdout.splitlines()[-1])
    return {**told, "errors": done.stderr}, table_of(store.rows())


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """The table of a study that nobody killed."""
    told, table = live("once", tmp_path_factory.mktemp("once") / "study")
    assert told["status"] == 0, told["errors"]
    return table


def test_killed_twenty_times_it_ends_with_the_same_table(undisturbed, tmp_path):
    told, table = live("killed", tmp_path / "study", 20, 0)
    assert len(told["counts"]) == 20
    # Not all at the beginning, and not all after the end.
    assert len(set(told["counts"])) > 5
    assert told["counts"][-1] < len(undisturbed)
    assert told["status"] == 0, told["errors"]
    assert_same_table(table, undisturbed)


def test_two_processes_share_a_store(undisturbed, tmp_path):
    told, table = live("together", tmp_path / "study")
    assert told["status"] == [0, 0], told["errors"]
    assert_same_table(table, undisturbed)
    who = (tmp_path / "study" / "log").read_text().split()
    assert len(set(who)) == 2
    # Only what one of them was about to finish in the end is done twice.
    assert len(who) <= len(table) + 2
