"""Handing out tasks, and what happens when those who do them die."""

import os
import signal
from concurrent.futures import CancelledError
from itertools import islice

import pytest
from joblib import parallel_config, register_parallel_backend
from joblib.parallel import ThreadingBackend

from robustkit.study import _execution
from robustkit.study._store import Store
from tests.study.studies import assert_same_table, is_first_at, small_data, small_study

DATA = small_data()


class Task:
    """A number and a seed."""

    def __init__(self, number, seed):
        self.number, self.seed = number, seed


def test_chunks_have_one_seed_and_hold_every_task_once():
    tasks = [Task(k, seed=k % 2) for k in range(10)]
    with Store(None) as store:
        store.plan(range(10))
        store.add(3, [{"place": {"model": 3}}])
        chunks = list(_execution._chunks(store, tasks, 3))
    assert [[task.number for task in chunk] for chunk in chunks] == [
        [0, 2, 4],
        [1, 5, 7],
        [6, 8],
        [9],
    ]


def share_out_badly(errors, n_rows):
    """In place of the real one: add some rows, then raise."""

    def share_out(store, chunks, recipe, data, n_jobs, watch):
        for _ in range(n_rows):
            for task in next(chunks, []):
                store.add(task.number, [{"place": {"model": task.number}}])
        if errors:
            raise errors.pop(0)

    return share_out


def execute(store):
    tasks = [Task(k, seed=0) for k in range(9)]
    store.plan(range(9))
    how = {"n_jobs": 2, "n_together": 1, "watch": lambda: None}
    _execution.execute(store, tasks, None, DATA, **how)


def test_after_a_death_the_others_go_on(monkeypatch):
    errors = [CancelledError("data lost"), CancelledError("data lost")]
    monkeypatch.setattr(_execution, "_share_out", share_out_badly(errors, 3))
    with Store(None) as store:
        with pytest.warns(UserWarning, match="CancelledError: data lost"):
            execute(store)
        assert store.n_models() == 9


# In place of what Ray and Dask raise, which need not be installed.
RayActorError = type("RayActorError", (Exception,), {})
ActorDiedError = type("ActorDiedError", (RayActorError,), {})
KilledWorker = type("KilledWorker", (Exception,), {})


@pytest.mark.parametrize("kind", [RayActorError, ActorDiedError, KilledWorker])
def test_a_death_is_known_by_the_name_that_a_cluster_gives_it(monkeypatch, kind):
    errors = [kind("its worker died\nOn node 3")]
    monkeypatch.setattr(_execution, "_share_out", share_out_badly(errors, 5))
    with Store(None) as store:
        with pytest.warns(UserWarning, match=rf"\({kind.__name__}: its worker died\)"):
            execute(store)
        assert store.n_models() == 9


def test_one_death_before_anything_is_finished_is_not_the_end(monkeypatch):
    """It may have taken a whole round of results with it."""
    n_calls = []

    def die_at_once(store, chunks, *args):
        n_calls.append(len(store.done()))
        if len(n_calls) == 1:
            raise CancelledError("data lost")
        return share_out_badly([], 9)(store, chunks, *args)

    monkeypatch.setattr(_execution, "_share_out", die_at_once)
    with Store(None) as store:
        with pytest.warns(UserWarning, match="others go on"):
            execute(store)
        assert store.n_models() == 9


def test_when_nothing_is_finished_any_more_the_study_ends(monkeypatch):
    errors = [CancelledError("data lost")] * 2
    monkeypatch.setattr(_execution, "_share_out", share_out_badly(errors, 0))
    with (
        Store(None) as store,
        pytest.warns(UserWarning, match="others go on"),
        pytest.raises(RuntimeError, match="call fit again with the same parameters"),
    ):
        execute(store)


def test_a_mistake_in_a_task_is_not_tried_again(monkeypatch):
    errors = [ValueError("my mistake")]
    monkeypatch.setattr(_execution, "_share_out", share_out_badly(errors, 1))
    with Store(None) as store, pytest.raises(ValueError, match="my mistake"):
        execute(store)


# What loky says if it sees the death before anybody else does.
@pytest.mark.filterwarnings("ignore:A worker stopped while some jobs:UserWarning")
@pytest.mark.slow
def test_processes_change_nothing_even_if_one_is_killed(tmp_path):
    log = tmp_path / "log"

    def deadly(model, X, y, X_test, y_test):
        with open(log, "a") as file:
            file.write(".\n")
        if is_first_at(log, 4):
            os.kill(os.getpid(), signal.SIGKILL)
        return {}

    study = small_study(n_jobs=2, analyses={"deadly": deadly})
    with pytest.warns(UserWarning, match="others go on"):
        study.fit(*DATA)
    assert_same_table(study.results_, small_study().fit(*DATA).results_)


class OnlyLists(ThreadingBackend):
    """As Ray's: it gives results when all are there, and no generator of them."""

    supports_return_generator = False


@pytest.fixture(scope="module")
def only_lists():
    """The name of such a backend."""
    register_parallel_backend("only_lists", OnlyLists)
    return "only_lists"


def test_a_backend_without_generators_changes_nothing(only_lists):
    study = small_study(n_graphs=6, engine="single")
    expected = small_study(n_graphs=6, engine="single").fit(*DATA).results_
    with parallel_config(only_lists, n_jobs=2):
        assert_same_table(study.fit(*DATA).results_, expected)


def test_a_backend_without_generators_keeps_some_results_often(only_lists, monkeypatch):
    """A process that is killed loses little, one that shares the store finds work."""
    n_unclaimed, tasks = [], [Task(k, seed=0) for k in range(50)]

    def finish(chunk, *_):
        return [(task.number, [{"place": {"model": task.number}}]) for task in chunk]

    def watch():
        query = "SELECT count(*) FROM claims WHERE n_claims = 0"
        n_unclaimed.append(store._connection.execute(query).fetchone()[0])

    monkeypatch.setattr(_execution, "run_to_end", finish)
    with Store(None) as store, parallel_config(only_lists):
        store.plan(range(50))
        how = {"n_jobs": 2, "n_together": 1, "watch": watch}
        _execution.execute(store, tasks, None, DATA, **how)
        assert store.done() == set(range(50))
    # Four for each worker; the last round is of two.
    assert (
        n_unclaimed
        == [42] * 8 + [34] * 8 + [26] * 8 + [18] * 8 + [10] * 8 + [2] * 8 + [0] * 2
    )


def test_deaths_in_vain_count_anew_after_a_model_is_finished(monkeypatch):
    """Dead, a row and dead, dead, a row and dead, dead twice."""
    n_rows = iter([0, 1, 0, 1, 0, 0, 9])

    def die(store, chunks, *_):
        for (task,) in islice(chunks, next(n_rows)):
            store.add(task.number, [{"place": {"model": task.number}}])
        raise CancelledError("data lost")

    monkeypatch.setattr(_execution, "_share_out", die)
    with (
        Store(None) as store,
        pytest.warns(UserWarning, match="others go on") as caught,
        pytest.raises(RuntimeError, match="Worker processes die before"),
    ):
        execute(store)
    assert len(caught) == 6
    assert next(n_rows) == 9


@pytest.mark.parametrize(
    ("n_tasks", "n_together", "n_jobs", "largest"),
    [(24, 10, 2, 3), (5, 10, 2, 1), (40, 3, 2, 3), (24, 10, 1, 10), (6, 10, 1, 6)],
)
def test_a_chunk_is_small_enough_for_every_worker_to_have_four(
    monkeypatch, n_tasks, n_together, n_jobs, largest
):
    sizes = []

    def finish(chunk, *_):
        sizes.append(len(chunk))
        for task in chunk:
            yield task.number, [{"place": {"model": task.number}}]

    def share_out(store, chunks, recipe, data, n_jobs, watch):
        _execution._keep(store, (pair for c in chunks for pair in finish(c)), watch)

    monkeypatch.setattr(_execution, "run", finish)
    monkeypatch.setattr(_execution, "_share_out", share_out)
    tasks = [Task(k, seed=0) for k in range(n_tasks)]
    how = {"n_jobs": n_jobs, "n_together": n_together, "watch": lambda: None}
    with Store(None) as store:
        store.plan(range(n_tasks))
        _execution.execute(store, tasks, None, DATA, **how)
        assert store.done() == set(range(n_tasks))
    assert max(sizes) == largest


def test_a_death_is_told_where_the_study_is_called(monkeypatch):
    errors = [CancelledError("data lost")] * 2
    monkeypatch.setattr(_execution, "_share_out", share_out_badly(errors, 0))
    with (
        pytest.warns(UserWarning, match="others go on") as caught,
        pytest.raises(RuntimeError, match="Worker processes die"),
    ):
        small_study(n_jobs=2, verbose=0).fit(*DATA)
    assert {warning.filename for warning in caught} == {__file__}
