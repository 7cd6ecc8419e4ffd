"""Studies on real backends, killed at random moments, again and again.

``python -m tests.study.backends BACKEND FOLDER N_KILLS`` kills a study so many times,
with all its processes, lets it end and prints how far it was each time. BACKEND is
loky, dask, ray or slurm, which is submitit with its executor for one machine.
"""

import json
import random
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import psutil
from joblib import parallel_config

from robustkit.study import Store
from tests.processes import PATIENCE
from tests.study.lives import n_models
from tests.study.studies import small_data, small_study

REPOSITORY = Path(__file__).parents[2]

# Networks of one seed are trained together: many seeds are more groups than twenty
# lives of at most a few models each can finish.
GROUPS = {"n_graphs": 3, "n_seeds": 30}


def study_in(folder, **params):
    """The study that is killed; its store is in the folder."""
    return small_study(folder / "study.store", **GROUPS, **params)


def on_loky(folder):
    study_in(folder, n_jobs=2).fit(*small_data())


def on_dask(folder):
    from distributed import Client, LocalCluster

    settings = {"threads_per_worker": 1, "dashboard_address": "127.0.0.1:0"}
    with (
        LocalCluster(n_workers=2, processes=True, **settings) as cluster,
        Client(cluster),
        parallel_config("dask"),
    ):
        study_in(folder).fit(*small_data())


def on_ray(folder):
    import ray
    from ray.util.joblib import register_ray

    # Small: a machine that runs tests does other things as well.
    memory = {"object_store_memory": 100_000_000}
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, **memory)
    register_ray()
    with parallel_config("ray", n_jobs=2):
        study_in(folder).fit(*small_data())
    ray.shutdown()


def on_slurm(folder):
    """Two jobs on one store."""
    import submitit

    executor = submitit.LocalExecutor(folder / "jobs")
    executor.update_parameters(timeout_min=60)
    fit = study_in(folder).fit
    for job in [executor.submit(fit, *small_data()) for _ in range(2)]:
        job.result()


BACKENDS = {"loky": on_loky, "dask": on_dask, "ray": on_ray, "slurm": on_slurm}


def begin(backend, folder):
    """Start a study in a process of its own; what it prints goes to a file."""
    words = [sys.executable, "-m", "tests.study.backends", backend, str(folder)]
    with (folder / "log").open("a") as log:
        return subprocess.Popen(words, cwd=REPOSITORY, stdout=log, stderr=log)


def kill(process):
    """Kill a process and all that it started, and that these started."""
    family = []
    with suppress(psutil.NoSuchProcess):
        family = psutil.Process(process.pid).children(recursive=True)
    process.kill()
    for member in family:
        with suppress(psutil.NoSuchProcess):
            member.kill()
    process.wait(PATIENCE)
    psutil.wait_procs(family, PATIENCE)


def live_and_die(backend, folder, n_kills, seed=0):
    """Kill a study so many times, then let it end; return how far it was each time."""
    rng, counts = random.Random(seed), []
    store = folder / "study.store"
    while len(counts) < n_kills:
        wanted = n_models(store) + rng.randint(0, 4)
        process = begin(backend, folder)
        while process.poll() is None and n_models(store) < wanted:
            time.sleep(0.01)
        time.sleep(rng.uniform(0, 0.1))
        has_ended = process.poll() is not None
        kill(process)
        if has_ended:
            break
        counts.append(n_models(store))
    last = begin(backend, folder)
    status = last.wait(PATIENCE)
    kill(last)
    return {"counts": counts, "status": status, "n_models": Store(store).n_models()}


if __name__ == "__main__":
    backend, folder, *numbers = sys.argv[1:]
    folder = Path(folder)
    if numbers:
        folder.mkdir(exist_ok=True)
        told = live_and_die(backend, folder, *map(int, numbers))
        sys.stdout.write(f"{json.dumps(told)}\n")
    else:
        BACKENDS[backend](folder)
