"""Studies on a cluster of processes, some of which die."""

import os
import random
import signal
import time
from collections import Counter
from pathlib import Path

import pytest
from joblib import parallel_config

from tests.processes import PATIENCE
from tests.study.studies import assert_same_table, is_first_at, small_data, small_study

distributed = pytest.importorskip(
    "distributed", reason="dask is not installed: pip install robustkit[distributed]"
)

DATA = small_data()
# Networks of one seed go to one worker: four groups of eight networks.
SIZE = {"n_graphs": 4, "n_seeds": 4}


@pytest.fixture(autouse=True)
def stream_of_dask_is_put_back(global_random_streams_stay_put):
    """Dask itself draws from Python's global stream."""
    state = random.getstate()
    yield
    random.setstate(state)


class Noting:
    """An analysis that notes who looks at which copy of the data, and may be deadly.

    Worker processes import this file by its path, not as a part of a package, so that
    it travels by value.
    """

    def __init__(self, log, dies_at=None):
        self.log, self.dies_at = log, dies_at

    def __call__(self, model, X, y, X_test, y_test):
        with open(self.log, "a") as log:
            log.write(f"{os.getpid()} {X.ctypes.data}\n")
        if self.dies_at and is_first_at(self.log, self.dies_at):
            os.kill(os.getpid(), signal.SIGKILL)
        self._wait_for_the_other()
        return {}

    def _wait_for_the_other(self):
        """Let no worker do everything before the other has begun."""
        end = time.monotonic() + PATIENCE
        while len(notes(self.log)) < 2 and time.monotonic() < end:
            time.sleep(0.01)


@pytest.fixture(scope="module")
def cluster():
    """Two worker processes."""
    # Any port that is free: without a dashboard Dask insists on one, and warns.
    settings = {"threads_per_worker": 1, "dashboard_address": "127.0.0.1:0"}
    with (
        distributed.LocalCluster(n_workers=2, processes=True, **settings) as cluster,
        distributed.Client(cluster) as client,
    ):
        yield client


@pytest.fixture(scope="module")
def undisturbed():
    """The table of a study in this process."""
    return small_study(**SIZE).fit(*DATA).results_


def notes(log):
    """Process -> the copies of the data that it saw."""
    seen = {}
    for line in Path(log).read_text().splitlines():
        process, copy = line.split()
        seen.setdefault(process, Counter())[copy] += 1
    return seen


@pytest.mark.slow
def test_the_data_travel_to_each_worker_once(cluster, undisturbed, tmp_path):
    log = tmp_path / "log"
    study = small_study(**SIZE, analyses={"noting": Noting(log)})
    with parallel_config("dask"):
        study.fit(*DATA)
    assert_same_table(study.results_, undisturbed)
    seen = notes(log)
    assert len(seen) == 2
    # One object a process, kept between tasks: not unpacked again for each.
    assert [len(copies) for copies in seen.values()] == [1, 1]
    assert sum(copies.total() for copies in seen.values()) == 32


# Either Dask moves the task to another worker, or the data that it needs died with the
# worker, and the study begins again with what is left.
@pytest.mark.filterwarnings("ignore:Worker processes died:UserWarning")
@pytest.mark.slow
def test_a_worker_that_is_killed_changes_nothing(cluster, undisturbed, tmp_path):
    store, log = tmp_path / "study.db", tmp_path / "log"
    deadly = Noting(log, dies_at=6)
    study = small_study(store, **SIZE, analyses={"noting": deadly})
    with parallel_config("dask"):
        study.fit(*DATA)
    assert_same_table(study.results_, undisturbed)
    # The dead, the other, and perhaps the one in the place of the dead.
    assert len(notes(log)) in (2, 3)
