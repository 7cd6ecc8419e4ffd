"""Hand the tasks out, and keep every row as it comes in."""

import warnings
from concurrent.futures import BrokenExecutor, CancelledError
from contextlib import closing
from itertools import chain, islice

from joblib import Parallel, delayed, effective_n_jobs, parallel_config
from joblib.parallel import get_active_backend

from robustkit.study._job import run, run_to_end

__all__ = ["execute"]

# Between two writings to the store, where a backend only gives lists of results.
_CHUNKS_A_WORKER = 4

# Deaths of workers in a row without a model finished, after which there is no hope.
_PATIENCE = 2


def execute(store, tasks, recipe, data, *, n_jobs, n_together, watch):
    """Do what is left to do of a study.

    Parameters
    ----------
    store : Store
        Says which tasks are left, and gets the rows.

    tasks : list of Task
        All of the study.

    recipe : Recipe
        What they have in common.

    data : tuple of ndarray
        X, y, X_test, y_test.

    n_jobs : int or None
        Processes.

    n_together : int
        How many tasks of one seed are trained together at most.

    watch : callable
        Called whenever rows came in.
    """
    # joblib, too, has the work of a single worker done here.
    n_workers = effective_n_jobs(n_jobs)
    if n_workers == 1:
        chunks = _chunks(store, tasks, n_together)
        finished = (pair for chunk in chunks for pair in run(chunk, recipe, *data))
        _keep(store, finished, watch)
        return None
    # Rows leave another process when the whole chunk is done: not too large a one.
    n_together = min(n_together, max(1, len(tasks) // (4 * n_workers)))
    n_deaths_in_vain = 0
    while n_deaths_in_vain < _PATIENCE:
        n_before = store.n_models()
        chunks = _chunks(store, tasks, n_together)
        try:
            return _share_out(store, chunks, recipe, data, n_jobs, watch)
        except Exception as error:
            if not _is_death_of_a_worker(error):
                raise
            # Ray's goes on for a page.
            first_line, *_ = [*str(error).strip().splitlines(), ""]
            reason = f"{type(error).__name__}: {first_line}"
            warnings.warn(
                f"Worker processes died; others go on ({reason}).", stacklevel=5
            )
            n_deaths_in_vain = (
                n_deaths_in_vain + 1 if store.n_models() == n_before else 0
            )
    raise RuntimeError(
        f"Worker processes die before they finish a model ({reason}). They may lack "
        "memory: use fewer. What was finished is in the store, if there is one; call "
        "fit again with the same parameters and data to continue."
    )


def _share_out(store, chunks, recipe, data, n_jobs, watch):
    """Have other processes do the work, and keep each row as it comes in."""
    work = (delayed(run_to_end)(chunk, recipe, *data) for chunk in chunks)
    with _data_everywhere(data):
        if not get_active_backend()[0].supports_return_generator:
            # Of Ray, for one, results come when all are there: keep some of them often.
            at_once = _CHUNKS_A_WORKER * effective_n_jobs(n_jobs)
            while some := list(islice(work, at_once)):
                results = Parallel(n_jobs=n_jobs, batch_size=1)(some)
                _keep(store, chain.from_iterable(results), watch)
            return
        parallel = Parallel(
            n_jobs=n_jobs, return_as="generator_unordered", batch_size=1
        )
        # Parallel asks for the next chunk when a worker is free.
        results = parallel(work)
        with closing(results):
            _keep(store, chain.from_iterable(results), watch)


def _is_death_of_a_worker(error):
    """Whether it was no mistake in a task: what is left can be done by others.

    dask gives the tasks of a dead worker to others by itself, and cancels all when the
    last one that had the data is gone.
    """
    if isinstance(error, (BrokenExecutor, CancelledError)):
        return True
    names = {kind.__name__ for kind in type(error).__mro__}
    # Of Dask, and of Ray.
    return not names.isdisjoint({"KilledWorker", "RayActorError"})


def _keep(store, finished, watch):
    for number, rows in finished:
        store.add(number, rows)
        watch()


def _chunks(store, tasks, n_together):
    """Yield tasks that nobody does, then those that nobody has finished."""
    handed_out = set()
    seeds = {task.seed for task in tasks}
    numbers = {seed: [] for seed in seeds}
    for task in tasks:
        numbers[task.seed].append(task.number)
    while (first := store.claim(handed_out)) is not None:
        handed_out.add(first)
        chunk = [first]
        kin = set(numbers[tasks[first].seed])
        while len(chunk) < n_together:
            another = store.claim(handed_out, among=kin)
            if another is None:
                break
            handed_out.add(another)
            chunk.append(another)
        yield [tasks[number] for number in sorted(chunk)]


def _dask_client():
    """Return the client of the cluster that the caller chose, if any."""
    return getattr(get_active_backend()[0], "client", None)


def _data_everywhere(data):
    """Send the data to every worker of a cluster, once.

    Else joblib sends them to one worker when the first task comes, the others copy
    them from there, and if that one dies before, they are lost. Processes on this
    machine map one file into their memory, which joblib sees to.
    """
    backend, n_jobs = get_active_backend()
    client = _dask_client()
    if client is None:
        return parallel_config()
    return parallel_config(
        "dask",
        n_jobs=n_jobs,
        client=client,
        scatter=list(data),
        **backend.submit_kwargs,
    )
