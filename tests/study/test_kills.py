"""Studies that are killed, or shared, end with the same table."""

import json
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from robustkit.study._store import Store
from robustkit.study._table import table_of
from tests.processes import PATIENCE
from tests.study import backends
from tests.study.studies import assert_same_table, small_data, small_study

REPOSITORY = Path(__file__).parents[2]

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")


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


@pytest.mark.slow
def test_killed_twenty_times_it_ends_with_the_same_table(undisturbed, tmp_path):
    told, table = live("killed", tmp_path / "study", 20, 0)
    assert len(told["counts"]) == 20
    # Not all at the beginning, and not all after the end.
    assert len(set(told["counts"])) > 5
    assert told["counts"][-1] < len(undisturbed)
    assert told["status"] == 0, told["errors"]
    assert_same_table(table, undisturbed)


def test_killed_a_few_times_it_ends_with_the_same_table(tmp_path):
    told, table = live("killed", tmp_path / "study", 3, 0, 4)
    assert told["status"] == 0, told["errors"]
    assert len(told["counts"]) == 3
    expected = small_study(n_graphs=3, n_seeds=4).fit(*small_data()).results_
    assert_same_table(table, expected)


# Backend -> the package that it needs.
BACKENDS = {"loky": "joblib", "dask": "distributed", "ray": "ray", "slurm": "submitit"}


@pytest.mark.slow
@pytest.mark.parametrize("backend", BACKENDS)
def test_killed_twenty_times_on_a_backend_it_ends_with_the_same_table(
    backend, tmp_path
):
    """The whole study with all its workers, each time."""
    if find_spec(BACKENDS[backend]) is None:
        pytest.skip(f"{BACKENDS[backend]} is missing")
    told = backends.live_and_die(backend, tmp_path, 20)
    assert told["status"] == 0, (tmp_path / "log").read_text()
    assert len(told["counts"]) == 20
    expected = small_study(**backends.GROUPS).fit(*small_data()).results_
    found = table_of(Store(tmp_path / "study.store").rows())
    assert_same_table(found, expected)


@pytest.mark.slow
def test_two_processes_share_a_store(undisturbed, tmp_path):
    told, table = live("together", tmp_path / "study")
    assert told["status"] == [0, 0], told["errors"]
    assert_same_table(table, undisturbed)
    who = (tmp_path / "study" / "log").read_text().split()
    assert len(set(who)) == 2
    # A claim is no lock: where they begin, and where one comes to what the other is
    # about to finish, a model is made twice. Side by side, it would be every one.
    assert len(table) <= len(who) <= 1.25 * len(table)
