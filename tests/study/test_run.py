"""Handing out tasks, what happens when workers die, and how far a study is."""

import os
import signal
import sys
from concurrent.futures import CancelledError
from itertools import islice
from pathlib import Path
from types import SimpleNamespace

import pytest
from joblib import parallel_config, register_parallel_backend
from joblib.parallel import ThreadingBackend
from sklearn.callback import ProgressBar

from robustkit.classifiers import SparseNetClassifier
from robustkit.study import _run
from robustkit.study._plan import Design, GraphPopulation, PrunedPopulation
from robustkit.study._run import StudyProgress, choose_engine
from robustkit.study._store import Store
from tests.processes import PATIENCE, started
from tests.study.studies import assert_same_table, is_first_at, small_data, small_study

DATA = small_data()


class Task:
    """A number and a seed."""

    def __init__(self, number, seed):
        self.number, self.seed = number, seed


def test_chunks_have_one_seed_and_hold_every_task_once():
    tasks = [Task(k, seed=k % 2) for k in range(10)]
    store = Store(None)
    store.add(3, [{"place": {"model": 3}}])
    chunks = list(_run._chunks(store, tasks, _run._Pace(1, n_together=3)))
    assert [[task.number for task in chunk] for chunk in chunks] == [
        [0, 2, 4],
        [1, 5, 7],
        [6, 8],
        [9],
    ]


def test_a_group_goes_out_whole_with_what_is_finished():
    """So that its rows have the same bits, whoever finished some of them before."""
    tasks = [Task(k, seed=k % 2) for k in range(8)]
    groups = {k: [tasks[i] for i in range(k % 4, 8, 4)] for k in range(8)}
    store = Store(None)
    store.add(5, [{"place": {"model": 5}}])
    for k in (2, 6):
        store.add(k, [{"place": {"model": k}}])
    chunks = _run._chunks(store, tasks, _run._Pace(1), groups)
    assert [[task.number for task in chunk] for chunk in chunks] == [
        [0, 4],
        [1, 5],
        [3, 7],
    ]


def finished_together(monkeypatch, done):
    """What `finish` trains, and what it yields, if some of four tasks are done."""
    trained, measured = [], []
    population = SimpleNamespace(build=lambda task: SparseNetClassifier())
    recipe = SimpleNamespace(
        population=population, device="cpu", engine="batched", models=None
    )

    def measure(tasks, *_):
        measured.extend(task.number for task in tasks)
        return [{"place": {"model": task.number}} for task in tasks]

    monkeypatch.setattr(_run, "measure", measure)
    monkeypatch.setattr(
        _run, "train_together", lambda them, data: trained.extend(them) or them
    )
    tasks = [Task(k, seed=0) for k in range(4)]
    found = list(_run.finish(tasks, recipe, DATA, lambda number: number in done))
    return len(trained), measured, [number for number, _ in found]


def test_of_a_group_only_what_is_left_is_handed_over(monkeypatch):
    assert finished_together(monkeypatch, {1}) == (4, [0, 1, 2, 3], [0, 2, 3])
    assert finished_together(monkeypatch, {0, 1, 2, 3}) == (0, [], [])


class KilledError(Exception):
    """In place of a signal."""


@pytest.mark.parametrize("n_before", [1, 5, 8])
def test_a_study_that_was_killed_has_every_bit_of_one_that_was_not(
    monkeypatch, tmp_path, n_before
):
    """Also of networks that are trained together with some that were finished."""
    add, added = Store.add, []

    def deadly(self, number, rows):
        if len(added) == n_before:
            raise KilledError("now")
        added.append(number)
        add(self, number, rows)

    study = small_study(tmp_path / "one.store", n_graphs=5)
    with monkeypatch.context() as until:
        until.setattr(Store, "add", deadly)
        with pytest.raises(KilledError, match="now"):
            study.fit(*DATA)
    table = study.fit(*DATA).results_
    assert table["engine"].unique().tolist() == ["batched"]
    assert_same_table(table, small_study(n_graphs=5).fit(*DATA).results_)


def test_only_the_task_that_another_process_has_done_is_left_out(monkeypatch):
    trained = []
    population = SimpleNamespace(
        build=lambda task: SparseNetClassifier(random_state=task.number),
        train=lambda classifier, data: trained.append(classifier) or [classifier],
    )
    recipe = SimpleNamespace(
        population=population, device="cpu", engine="single", models=None
    )
    monkeypatch.setattr(_run, "measure", lambda tasks, *_: [row_of(tasks[0])])
    tasks = [Task(k, seed=0) for k in range(3)]
    found = _run.finish(tasks, recipe, DATA, lambda number: number == 1)
    assert [number for number, _ in found] == [0, 2]
    assert [classifier.random_state for classifier in trained] == [0, 2]


def share_out_badly(errors, n_rows):
    """In place of the real one: yield some rows, then raise."""

    def share_out(calls, *_):
        yield from islice(map(worked, calls), n_rows)
        if errors:
            raise errors.pop(0)

    return share_out


def row_of(task):
    """What is found of a task: its number and one row."""
    return task.number, [{"place": {"model": task.number}}]


def worked(call):
    """What comes back of a chunk from a worker that does not share the store."""
    chunk = call[1][0]
    return _run._Finished(len(chunk), 20.0 * len(chunk), list(map(row_of, chunk)))


def execute(store, n_tasks=9, n_jobs=2, n_together=None, watch=lambda: None):
    """Carry out tasks of one seed, several together if a number is given."""
    tasks = [Task(k, seed=0) for k in range(n_tasks)]
    recipe = SimpleNamespace(engine="single")
    if n_together is not None:
        estimator = SparseNetClassifier()
        population = SimpleNamespace(estimator=estimator)
        recipe = SimpleNamespace(engine="batched", population=population, device="cpu")
    _run.execute(
        store, tasks, recipe, DATA, n_jobs=n_jobs, in_small_groups=False, watch=watch
    )


def test_after_a_death_the_others_go_on(monkeypatch):
    errors = [CancelledError("data lost"), CancelledError("data lost")]
    monkeypatch.setattr(_run, "_share_out", share_out_badly(errors, 3))
    store = Store(None)
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
    monkeypatch.setattr(_run, "_share_out", share_out_badly(errors, 5))
    store = Store(None)
    with pytest.warns(UserWarning, match=rf"\({kind.__name__}: its worker died\)"):
        execute(store)
    assert store.n_models() == 9


def test_one_death_before_anything_is_finished_is_not_the_end(monkeypatch):
    """It may have taken a whole round of results with it."""
    n_calls = []

    def die_at_once(calls, *args):
        n_calls.append(1)
        if len(n_calls) == 1:
            raise CancelledError("data lost")
        yield from share_out_badly([], 9)(calls, *args)

    monkeypatch.setattr(_run, "_share_out", die_at_once)
    store = Store(None)
    with pytest.warns(UserWarning, match="others go on"):
        execute(store)
    assert store.n_models() == 9


def test_when_nothing_is_finished_any_more_the_study_ends(monkeypatch):
    errors = [CancelledError("data lost")] * 2
    monkeypatch.setattr(_run, "_share_out", share_out_badly(errors, 0))
    store = Store(None)
    with (
        pytest.warns(UserWarning, match="others go on"),
        pytest.raises(RuntimeError, match="call fit again with the same parameters"),
    ):
        execute(store)


def test_a_mistake_in_a_task_is_not_tried_again(monkeypatch):
    errors = [ValueError("my mistake")]
    monkeypatch.setattr(_run, "_share_out", share_out_badly(errors, 1))
    store = Store(None)
    with pytest.raises(ValueError, match="my mistake"):
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
    n_unclaimed = []

    def finish(chunk, *_):
        yield from map(row_of, chunk)

    def watch():
        n_unclaimed.append(50 - len(store.done() | set(store._claims)))

    monkeypatch.setattr(_run, "finish", finish)
    # However fast they are.
    monkeypatch.setattr(_run._Pace, "note", lambda *_: None)
    store = Store(None)
    with parallel_config(only_lists):
        execute(store, n_tasks=50, watch=watch)
        assert store.done() == set(range(50))
    # Four for each worker; the last round is of two.
    assert (
        n_unclaimed
        == [42] * 8 + [34] * 8 + [26] * 8 + [18] * 8 + [10] * 8 + [2] * 8 + [0] * 2
    )


def test_deaths_in_vain_count_anew_after_a_model_is_finished(monkeypatch):
    """Dead, a row and dead, dead, a row and dead, dead twice."""
    n_rows = iter([0, 1, 0, 1, 0, 0, 9])

    def die(calls, *_):
        yield from islice(map(worked, calls), next(n_rows))
        raise CancelledError("data lost")

    monkeypatch.setattr(_run, "_share_out", die)
    store = Store(None)
    with (
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
        yield from map(row_of, chunk)

    def share_out(calls, *_):
        for call in calls:
            sizes.append(len(call[1][0]))
            yield worked(call)

    monkeypatch.setattr(_run, "finish", finish)
    monkeypatch.setattr(_run, "_share_out", share_out)
    monkeypatch.setattr(_run, "networks_that_fit", lambda *_: n_together)
    store = Store(None)
    execute(store, n_tasks, n_jobs, n_together)
    assert store.done() == set(range(n_tasks))
    assert max(sizes) == largest


def test_a_death_is_told_where_the_study_is_called(monkeypatch):
    errors = [CancelledError("data lost")] * 2
    monkeypatch.setattr(_run, "_share_out", share_out_badly(errors, 0))
    with (
        pytest.warns(UserWarning, match="others go on") as caught,
        pytest.raises(RuntimeError, match="Worker processes die"),
    ):
        small_study(n_jobs=2, verbose=0).fit(*DATA)
    assert {warning.filename for warning in caught} == {__file__}


class Own(SparseNetClassifier):
    """Trains in a way that nobody knows."""

    def fit(self, X, y):
        return super().fit(X + 1, y)


PLAIN = GraphPopulation(None)


def design(population=PLAIN, space=None):
    """A design of which only the estimator and the space matter."""
    return Design(
        population,
        param_space=space or {},
        n_graphs=1,
        inits=["normal"],
        n_seeds=1,
        n_parameters=None,
        extra=False,
        walls=0,
        attacks={},
        analyses={},
    )


def test_the_engine_is_the_one_asked_for():
    assert choose_engine("single", design()) == "single"
    assert choose_engine("batched", design()) == "batched"


def test_auto_trains_together_what_can_be():
    stopping = SparseNetClassifier(early_stopping=True)
    watched = SparseNetClassifier().set_callbacks(ProgressBar())
    assert choose_engine("auto", design()) == "batched"
    for estimator in (stopping, watched, Own()):
        assert choose_engine("auto", design(GraphPopulation(estimator))) == "single"


@pytest.mark.parametrize(
    ("population", "space", "message"),
    [
        (GraphPopulation(Own()), {}, "the estimator is a Own"),
        (PrunedPopulation(None), {}, "prunes each network by itself"),
        (PLAIN, {"early_stopping": [True]}, "has 'early_stopping'"),
        (
            GraphPopulation(SparseNetClassifier().set_callbacks(ProgressBar())),
            {},
            "the estimator has callbacks",
        ),
    ],
)
def test_what_cannot_be_batched_is_refused(population, space, message):
    with pytest.raises(ValueError, match=f"{message}.*Use engine='single'"):
        choose_engine("batched", design(population, space))


REPOSITORY = Path(__file__).parents[2]


class Clock:
    """Time that goes by when it is told to."""

    now = 0.0

    def __call__(self):
        return self.now


@pytest.mark.parametrize(
    ("n_new", "seconds", "n_left", "words"),
    [
        (10, 50, 10, "12.0 per minute, 50 s left"),
        (1, 60, 4, "1.0 per minute, 4 min left"),
        (1, 3600, 2, "0.0 per minute, 2 h 0 min left"),
        (3, 90, 0, "2.0 per minute, 90 s in total"),
    ],
)
def test_progress_tells_the_pace(capsys, n_new, seconds, n_left, words):
    clock = Clock()
    with StudyProgress(n_new + n_left, 0, 1, clock) as progress:
        clock.now += seconds
        progress.update(n_new)
    line = f"{n_new} of {n_new + n_left} models, {words}"
    assert capsys.readouterr().out.splitlines()[1] == line


def test_without_a_terminal_there_is_a_line_now_and_then(capsys):
    clock = Clock()
    with StudyProgress(600, 100, 1, clock) as progress:
        for n_new in range(1, 101):
            clock.now += 1
            progress.update(100 + n_new)
    lines = capsys.readouterr().out.splitlines()
    assert lines == [
        "600 models, 100 in the store",
        "130 of 600 models, 60.0 per minute, 8 min left",
        "160 of 600 models, 60.0 per minute, 7 min left",
        "190 of 600 models, 60.0 per minute, 7 min left",
        "200 of 600 models, 60.0 per minute, 7 min left",
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
    assert "0:00:00" in out


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
    modules = os.pathsep.join([str(REPOSITORY), os.environ.get("PYTHONPATH", "")])
    env = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": modules}
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
    study = small_study(analyses={"interrupted": interrupted}, engine="single")
    with pytest.raises(KeyboardInterrupt, match="2 of 8 models are done and in res"):
        study.fit(*small_data())
    assert len(study.results_) == 2
