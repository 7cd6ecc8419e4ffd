"""A study of very many models opens, resumes and begins at once; what a model costs."""

import atexit
import json
import shutil
import sqlite3
import tempfile
from contextlib import closing
from functools import partial
from pathlib import Path

import numpy as np

from benchmarks.harness import Case
from robustkit.correlation import RobustnessCorrelator
from robustkit.datasets import load_dataset
from robustkit.study import find_preset
from robustkit.study._plan import GraphPopulation, check_design
from robustkit.study._robustness_study import RobustnessStudy
from robustkit.study._store import Store, _as_line

N_ROWS, N_SHARDS = 1_000_000, 50
# What a model of the study `quick` takes, about.
ROW = {
    "place": {"model": 0, "graph": 0, "init": "he_normal", "seed": 123456789},
    "parameters": {"prior__n_nodes": 100, "prior__rewiring": 0.5},
    "properties": {f"property_{k}": 0.1234567890123456 for k in range(30)},
    "measures": {f"measure_{k}": 0.1234567890123456 for k in range(20)},
    "seconds": {"train": 0.5},
    "made": {"error": ""},
}


def cases():
    folder = Path(tempfile.mkdtemp())
    atexit.register(shutil.rmtree, folder)
    shards = _shards(folder / "study.store")
    database = _sqlite(folder / "study.sqlite")
    yield Case(
        name=f"open a store of {N_ROWS:,} rows in {N_SHARDS} shards, and claim a task",
        peer="SQLite, as before",
        ours=lambda: _resume(shards),
        theirs=lambda: _resume_sqlite(database),
        at_most=60,
        note="goal: under 5 s",
    )
    design = check_design(RobustnessStudy(n_graphs=100_000, inits=["he_uniform"]))
    population = GraphPopulation(None)
    yield Case(
        name="plan 100,000 models: from the parameters to the first task",
        peer="drawing 2,000 of their graphs",
        ours=lambda: population.tasks(design, (64, 10), 0)[0],
        theirs=lambda: [
            population.build(task).prior
            for task in population.tasks(design, (64, 10), 0)[:2000]
        ],
        at_most=60,
        note="goal: under 10 s",
    )

    images = load_dataset("digits")
    yield Case(
        name="the study `quick`, one initialisation, 16 graphs: train and measure",
        peer="one network after the other",
        ours=partial(_main_job, images, "auto"),
        theirs=partial(_main_job, images, "single"),
        same=_same_figures,
        at_most=60,
    )


def _main_job(images, engine):
    """What ``robustkit study`` does, of fewer graphs and without its report."""
    params = find_preset("quick").params(images) | {
        "n_graphs": 16,
        "inits": ["he_uniform"],
        "correlator": RobustnessCorrelator(n_bootstrap=0),
        "random_state": 0,
    }
    study = RobustnessStudy(**params, engine=engine)
    data = (images.X_train, images.y_train, images.X_test, images.y_test)
    return study.fit(*data).results_


def _same_figures(ours, theirs):
    """Rounding grows in 90 epochs, hence means."""
    names = ["clean_accuracy", "pgd_robust_accuracy", "nearest_median_distance"]
    return bool(np.allclose(ours[names].mean(), theirs[names].mean(), rtol=0.01))


def _shards(path):
    """Write the files that so many processes would have written."""
    row = json.dumps(ROW)
    for k in range(N_SHARDS):
        store = Store(path)
        store.open_study(identity={"n_graphs": N_ROWS})
        lines, entries = [store._header()], []
        stop = len(lines[0])
        for task in range(k, N_ROWS, N_SHARDS):
            line = _as_line(f'{{"task": {task}, "rows": [{row}]}}')
            entries += [(task, 0, 0, 0), (task, 1, stop, stop + len(line))]
            stop += len(line)
            lines.append(line)
        store._file(".rows").write_bytes(b"".join(lines))
        store._file(".index").write_bytes(np.array(entries, "<i8").tobytes())
    return path


def _resume(path):
    store = Store(path)
    left = [task for task in range(N_ROWS + 10) if not store.is_done(task)]
    return store.claim(left, 5)


def _sqlite(path):
    with closing(sqlite3.connect(path)) as connection, connection:
        run = connection.execute
        run("CREATE TABLE models (model INTEGER PRIMARY KEY, task, record TEXT)")
        run("CREATE INDEX tasks_done ON models (task)")
        record = json.dumps(ROW)
        rows = ((task, task, record) for task in range(N_ROWS))
        connection.executemany("INSERT INTO models VALUES (?, ?, ?)", rows)
    return path


def _resume_sqlite(path):
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA quick_check(1)").fetchone()
        done = {t for (t,) in connection.execute("SELECT DISTINCT task FROM models")}
        return [task for task in range(N_ROWS + 10) if task not in done][:5]
