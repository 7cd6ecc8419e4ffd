"""Studies as jobs of a queue, here of submitit's executor for one machine."""

import signal
import time

import pytest

from robustkit.study import RobustnessStudy, Store
from tests.processes import PATIENCE
from tests.study.studies import assert_same_table, small_data, small_study

submitit = pytest.importorskip("submitit", reason="submitit is missing")

DATA = small_data()


def wait_for_models(store, n_models, job):
    """Until so many are in the store."""
    end = time.monotonic() + PATIENCE
    while not store.exists() or Store(store).n_models() < n_models:
        if time.monotonic() > end:
            raise TimeoutError(job.stderr())
        time.sleep(0.01)


@pytest.mark.slow
def test_a_job_that_is_preempted_is_queued_again(monkeypatch, tmp_path):
    # Slurm says SIGTERM, which submitit passes over unless it is told.
    monkeypatch.setenv("SUBMITIT_PREEMPT_SIGNAL", "TERM")
    store = tmp_path / "study.store"
    executor = submitit.LocalExecutor(tmp_path / "jobs")
    executor.update_parameters(timeout_min=60)
    job = executor.submit(small_study(store, n_graphs=100).fit, *DATA)
    wait_for_models(store, 3, job)
    job._process.send_signal(signal.SIGTERM)
    job.result()
    assert "Requeued job" in job.stderr() + job.stdout()
    # Two lives, two shards; what the first had finished was not done again.
    lives = [shard.read_bytes().count(b"\n") - 1 for shard in store.glob("*.rows")]
    assert len(lives) == 2
    assert sum(lives) == 200
    found = RobustnessStudy.from_store(store).results_
    assert_same_table(found, small_study(n_graphs=100).fit(*DATA).results_)
