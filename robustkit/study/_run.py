"""Carry out a study: hand the tasks out, and keep every row as it comes in."""

from __future__ import annotations

import time
import warnings
from collections.abc import (
    Callable,
    Generator,
    Iterable,
    Iterator,
    Mapping,
    Sequence,
)
from concurrent.futures import BrokenExecutor, CancelledError
from contextlib import closing
from dataclasses import dataclass
from itertools import islice
from math import ceil
from typing import Any

from joblib import Parallel, delayed, effective_n_jobs, parallel_config
from joblib.parallel import get_active_backend
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
)

from robustkit._tensors import resolve_device
from robustkit._validation import caller_depth
from robustkit.study._kept_models import keep_model
from robustkit.study._measure import Recipe, measure, send_to
from robustkit.study._plan import Data, Design, Task
from robustkit.study._store import Home, Store
from robustkit.study._train import (
    Trained,
    networks_that_fit,
    one_thread,
    small_groups,
    train_together,
)

__all__ = ["StudyProgress", "choose_engine", "execute", "finish"]

# So many for each go out at once, where a backend only gives lists of results, and as
# many there are at least of networks that are trained together.
_CHUNKS_PER_WORKER = 4

# Seconds that the tasks of a chunk take together, unless fewer are left.
_A_WHILE = 10.0

# Deaths of workers in a row without a model finished, after which there is no hope.
_PATIENCE = 2

# Networks that are measured together on a CPU, where more would gain nothing, and be
# lost if the study is killed meanwhile.
_MEASURED_TOGETHER = 32

# Seconds between two lines where there is no terminal.
_NOW_AND_THEN = 30

_MINUTE, _HOUR = 60, 3600


def finish(
    tasks: Sequence[Task],
    recipe: Recipe,
    data: Data,
    is_done: Callable[[int], bool] = lambda number: False,
) -> Iterator[tuple[int, list[dict[str, Any]]]]:
    """Train some tasks and measure every model: yield a task's number and its rows.

    Several tasks only if they have one seed, or are trained one by one. Those that were
    finished before, or are by another process in the meantime, are left out; where
    networks are trained and measured together, they take part all the same, so that
    the rows of the others do not depend on them.
    """
    population = recipe.population
    classifiers = [send_to(recipe.device, population.build(task)) for task in tasks]
    if recipe.engine != "batched":
        for task, classifier in zip(tasks, classifiers, strict=True):
            if is_done(task.number):
                continue
            with one_thread():
                trained = population.train(classifier, data)
                _keep(task, trained, recipe)
                rows = [measure([task], [one], recipe, data)[0] for one in trained]
            yield task.number, rows
        return
    if all(is_done(task.number) for task in tasks):
        return
    with one_thread():
        together = train_together(classifiers, data)
    on_gpu = resolve_device(recipe.device).type == "cuda"
    size = len(tasks) if on_gpu else _MEASURED_TOGETHER
    for start in range(0, len(tasks), size):
        some, models = tasks[start : start + size], together[start : start + size]
        left = [task.number for task in some if not is_done(task.number)]
        if not left:
            continue
        for task, one in zip(some, models, strict=True):
            if task.number in left:
                _keep(task, [one], recipe)
        with one_thread():
            found = measure(some, models, recipe, data)
        for task, row in zip(some, found, strict=True):
            if task.number in left:
                yield task.number, [row]


def _keep(task: Task, trained: Sequence[Trained], recipe: Recipe) -> None:
    """Write trained models into files, if the study keeps them."""
    if recipe.models is not None:
        for one in trained:
            keep_model(recipe.models, task, one)


@dataclass
class _Finished:
    """What comes back of a chunk."""

    n_tasks: int
    seconds: float
    rows: list[tuple[int, list[dict[str, Any]]]]
    """Of tasks that the worker could not write into the store itself."""


def _work(tasks: Sequence[Task], recipe: Recipe, data: Data, home: Home) -> _Finished:
    """Do all that `finish` does, in a process that writes to a shard of its own.

    Only where it does not share the folder of the store do the rows travel back.
    """
    start = time.perf_counter()
    store, rows = home.open(), []
    if store is None:
        rows = list(finish(tasks, recipe, data))
    else:
        for number, of_task in finish(tasks, recipe, data, store.is_done):
            store.add(number, of_task)
    return _Finished(len(tasks), time.perf_counter() - start, rows)


def choose_engine(engine: str, design: Design) -> str:
    """Decide how a study trains: "single" or "batched"."""
    if engine == "single":
        return engine
    obstacle = design.population.why_not_together(design.param_space)
    if engine == "batched" and obstacle:
        raise ValueError(
            f"engine='batched' trains SparseNetClassifiers together, and {obstacle}. "
            "Use engine='single'."
        )
    return "single" if obstacle else "batched"


def execute(
    store: Store,
    tasks: Sequence[Task],
    recipe: Recipe,
    data: Data,
    *,
    n_jobs: int | None,
    in_small_groups: bool,
    watch: Callable[[], None],
) -> None:
    """Do what is left to do of a study; call `watch` whenever rows came in.

    Networks that are trained together are so in groups that are always the same ones,
    or as many as fit into memory.
    """
    n_workers = effective_n_jobs(n_jobs)
    n_together, groups = None, None
    if recipe.engine == "batched" and in_small_groups:
        groups = small_groups(tasks, recipe.population.estimator, len(data.X))
    elif recipe.engine == "batched":
        batch_size = recipe.population.estimator.batch_size
        n_together = networks_that_fit(tasks, batch_size, recipe.device)
        if n_workers > 1:
            # Networks that train together end together: leave some for every worker.
            largest = len(tasks) // (_CHUNKS_PER_WORKER * n_workers)
            n_together = min(n_together, max(1, largest))
    pace = _Pace(n_workers, n_together)
    # joblib, too, has the work of a single worker done here.
    if n_workers == 1:
        for chunk in _chunks(store, tasks, pace, groups):
            start = time.perf_counter()
            for number, rows in finish(chunk, recipe, data, store.is_done):
                store.add(number, rows)
                watch()
            pace.note(len(chunk), time.perf_counter() - start)
        return
    n_deaths_in_vain, reason = 0, ""
    while n_deaths_in_vain < _PATIENCE:
        n_before = store.n_models()
        work = delayed(_work)
        calls = (
            work(chunk, recipe, data, store.home())
            for chunk in _chunks(store, tasks, pace, groups)
        )
        try:
            with closing(_share_out(calls, data, n_jobs)) as finished:
                for chunk in finished:
                    pace.note(chunk.n_tasks, chunk.seconds)
                    for number, rows in chunk.rows:
                        store.add(number, rows)
                    watch()
            return
        except Exception as error:
            if not _is_death_of_a_worker(error):
                raise
            # Ray's goes on for a page.
            first_line, *_ = [*str(error).strip().splitlines(), ""]
            reason = f"{type(error).__name__}: {first_line}"
            warnings.warn(
                f"Worker processes died; others go on ({reason}).",
                stacklevel=caller_depth(),
            )
            n_deaths_in_vain = (
                n_deaths_in_vain + 1 if store.n_models() == n_before else 0
            )
    raise RuntimeError(
        f"Worker processes die before they finish a model ({reason}). They may lack "
        "memory: use fewer. What was finished is in the store, if there is one; call "
        "fit again with the same parameters and data to continue."
    )


class _Pace:
    """How many tasks go out at once: so many that they take a while.

    What it costs to hand out a chunk, and to claim it, is then little. The first ones,
    of which nobody knows how long they take, are of one task. With `n_together` it is
    that many, which are trained as one.
    """

    def __init__(self, n_workers: int, n_together: int | None = None):
        self.n_workers, self.n_together = n_workers, n_together
        self._seconds = _A_WHILE

    def note(self, n_tasks: int, seconds: float) -> None:
        """Learn from a chunk how long a task takes."""
        self._seconds = max(seconds, 1e-9) / n_tasks

    def chunk(self, n_left: int) -> int:
        """Say how many of the tasks that are left go out next."""
        if self.n_together is not None:
            return self.n_together
        # Every worker gets some of the last ones.
        return min(ceil(_A_WHILE / self._seconds), ceil(n_left / self.n_workers))


def _chunks(
    store: Store,
    tasks: Sequence[Task],
    pace: _Pace,
    groups: Mapping[int, list[Task]] | None = None,
) -> Iterator[list[Task]]:
    """Yield tasks that nobody does, then those that nobody has finished.

    Those that are trained together have one seed. With `groups`, number of a task ->
    its group, they are a whole group, with those of it that are finished.
    """
    done = store.done()
    left = {task.number: task for task in tasks if task.number not in done}
    if groups is not None:
        while numbers := store.claim(
            list(left), len(tasks), lambda number: groups[number][0].number
        ):
            group = groups[numbers[0]]
            for task in group:
                left.pop(task.number, None)
            yield group
        return
    seed_of = None if pace.n_together is None else lambda number: left[number].seed
    while numbers := store.claim(list(left), pace.chunk(len(left)), seed_of):
        yield [left.pop(number) for number in numbers]


def _share_out(
    calls: Iterable[tuple], data: Data, n_jobs: int | None
) -> Generator[_Finished]:
    """Have other processes do the work, and yield what comes back of each chunk."""
    with _data_everywhere(data):
        if not get_active_backend()[0].supports_return_generator:
            # Of Ray, for one, results come when all are there.
            at_once = _CHUNKS_PER_WORKER * effective_n_jobs(n_jobs)
            calls = iter(calls)
            while some := list(islice(calls, at_once)):
                yield from Parallel(n_jobs=n_jobs, batch_size=1)(some)
            return
        parallel = Parallel(
            n_jobs=n_jobs, return_as="generator_unordered", batch_size=1
        )
        # Parallel asks for the next chunk when a worker is free.
        with closing(parallel(calls)) as results:
            yield from results


def _is_death_of_a_worker(error: BaseException) -> bool:
    """Whether it was no mistake in a task: what is left can be done by others.

    dask gives the tasks of a dead worker to others by itself, and cancels all when the
    last one that had the data is gone.
    """
    if isinstance(error, (BrokenExecutor, CancelledError)):
        return True
    names = {kind.__name__ for kind in type(error).__mro__}
    # Of Dask, and of Ray.
    return not names.isdisjoint({"KilledWorker", "RayActorError"})


def _data_everywhere(data: Data) -> Any:
    """Send the data to every worker of a cluster, once.

    Else joblib sends them to one worker when the first task comes, the others copy
    them from there, and if that one dies before, they are lost. Processes on this
    machine map one file into their memory, which joblib sees to.
    """
    backend, n_jobs = get_active_backend()
    # Of the Dask cluster that the caller chose, if any.
    client = getattr(backend, "client", None)
    if client is None:
        return parallel_config()
    return parallel_config(
        "dask", n_jobs=n_jobs, client=client, scatter=[data], **backend.submit_kwargs
    )


class StudyProgress:
    """Tells the user how far a study is: a bar on a terminal, else a line now and then.

    Of `n_models`, `n_done` were in the store before. `verbose` of 0 is silent, of 2
    tells every model. `clock` says what time it is.
    """

    def __init__(
        self,
        n_models: int,
        n_done: int,
        verbose: int | bool,
        clock: Callable[[], float] = time.monotonic,
    ):
        self.n_models, self.n_before, self.n_done = n_models, n_done, n_done
        self.clock = clock
        self._start = self._last_line = clock()
        console = Console()
        self._console = console if verbose else None
        self._bar = None
        self._tells_all = verbose > 1
        if verbose and console.is_terminal:
            self._bar = Progress(
                TextColumn("models"),
                BarColumn(),
                MofNCompleteColumn(),
                TimeRemainingColumn(elapsed_when_finished=True),
                console=console,
                # A model may take minutes.
                speed_estimate_period=_HOUR,
            )
            self._task = self._bar.add_task("", total=n_models, completed=n_done)

    def __enter__(self) -> StudyProgress:
        if self._bar:
            self._bar.start()
        elif self._console:
            self._say(f"{self.n_models:,} models, {self.n_before:,} in the store")
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar:
            self._bar.stop()
        elif self.n_done > self.n_before:
            self._say(self._line())

    def update(self, n_done: int) -> None:
        """Note how many models are finished, with those of before."""
        self.n_done = n_done
        if self._bar:
            self._bar.update(self._task, completed=n_done)
        is_time = not self._bar and self.clock() - self._last_line >= _NOW_AND_THEN
        if self._tells_all or is_time:
            self._last_line = self.clock()
            self._say(self._line())

    def _say(self, line: str) -> None:
        if self._console:
            # Short lines may be wrapped where the width of the output is not known.
            self._console.print(line, soft_wrap=True, highlight=False)

    def _line(self) -> str:
        n_new, n_left = self.n_done - self.n_before, self.n_models - self.n_done
        seconds = max(self.clock() - self._start, 1e-9)
        left = (
            f"{_duration(seconds * n_left / n_new)} left"
            if n_left > 0
            else f"{_duration(seconds)} in total"
        )
        done = f"{self.n_done:,} of {self.n_models:,} models"
        return f"{done}, {_MINUTE * n_new / seconds:.1f} per minute, {left}"


def _duration(seconds: float) -> str:
    minutes = round(seconds / _MINUTE)
    if seconds < 100:
        return f"{seconds:.0f} s"
    if minutes < 100:
        return f"{minutes} min"
    return f"{minutes // 60} h {minutes % 60} min"
