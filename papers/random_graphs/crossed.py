"""Study (b): what size, degree and rewiring do when nothing else differs.

Every combination of 100, 200 and 400 vertices, 2, 4 and 8 neighbours on each side, and
rewiring 0, .01, .1, .5, .9 and 1 gives a graph between 64 sources and 64 sinks
(papers/random_graphs/prior.py): 54 graphs, each trained from two initialisations (one
that scales with the number of inputs, one that does not) with three seeds, which are
the same for both. So 324 networks, each trained on MNIST for 30 epochs.

``python -m papers.random_graphs.crossed STORE`` carries it out, and continues it where
it was stopped. About one and a half hours on one core. With ``--publish`` it trains
nothing, and writes results/crossed.csv, the rows of all graphs that are finished, and
the tables of effects.py; then ``python -m papers.verdicts`` takes them. With
``--continue-published`` it begins with those rows, where the store is gone, and with
results/crossed_begun.csv: models of graphs that are not finished, which are in no
table.
"""

import argparse
from pathlib import Path

import pandas as pd

from papers._data import load
from papers.random_graphs import effects, tables
from papers.random_graphs.measures import measures
from papers.random_graphs.prior import MatchedPrior
from robustkit.classifiers import SparseNetClassifier
from robustkit.study import RobustnessStudy, Store
from robustkit.study._plan import check_design

RESULTS = Path(__file__).parent / "results"

SPACE = {
    "prior__n_nodes": [100, 200, 400],
    "prior__n_neighbors": [2, 4, 8],
    "prior__rewiring": [0.0, 0.01, 0.1, 0.5, 0.9, 1.0],
}
N_GRAPHS = 54
INITS = ["he_uniform", "normal"]
N_SEEDS = 3
EPOCHS = 30


def rows_of_store(store):
    """One row per model that is finished, whatever part of a study that is."""
    rows = Store(store, must_exist=True).rows()
    groups = ("place", "parameters", "properties", "measures")
    return pd.DataFrame(
        [
            {name: value for group in groups for name, value in row[group].items()}
            | {f"seconds_{name}": value for name, value in row["seconds"].items()}
            | {"error": row["made"]["error"]}
            for row in rows
        ]
    )


def whole_graphs(table, n_models):
    """Leave out the graphs of which some models are not trained yet."""
    return table[table.groupby("graph")["model"].transform("size") == n_models]


def adopt(study, data, table):
    """Take rows of a table as finished, as if the store of a study had them already.

    What was published without its store is continued so; networks that the study keeps
    are those that it trains from then on. Models of other machines end with other last
    digits, as those of another seed would.
    """
    store, design = Store(study.store), check_design(study)
    study._begin(store, design, study._check_data(*data))
    done, tasks = store.done(), {task.number: task for task in study._tasks}
    names = list(table.columns)
    first = {
        "place": names.index("model"),
        "parameters": names.index("graph_seed") + 1,
        "properties": names.index("n_parameters"),
        "measures": names.index("clean_accuracy"),
        "seconds": names.index("seconds_train"),
        "made": names.index("error"),
    }
    ends = [*first.values(), len(names)][1:]
    for values in table.astype(object).where(table.notna(), None).to_numpy():
        named = dict(zip(names, values, strict=True))
        row = {
            group: {name: named[name] for name in names[start:end]}
            for (group, start), end in zip(first.items(), ends, strict=True)
        }
        row["seconds"] = {
            name.removeprefix("seconds_"): value
            for name, value in row["seconds"].items()
        }
        row["made"]["error"] = row["made"]["error"] or ""
        place = row["place"]
        task = tasks.get(place["model"])
        if task is None or (place["seed"], place["graph_seed"]) != (
            task.seed,
            task.graph_seed,
        ):
            raise ValueError(
                f"Model {place['model']} of the table is of another study: its seeds "
                "are not those of this one."
            )
        if task.number not in done:
            store.add(task.number, [row])


def keep_begun(rows, name, results=RESULTS):
    """Keep the models that were left out of what is published, for a new machine."""
    published = pd.read_csv(results / f"{name}.csv")["model"]
    begun, path = rows[~rows["model"].isin(published)], results / f"{name}_begun.csv"
    if len(begun) > 0:
        begun.to_csv(path, index=False)
    else:
        path.unlink(missing_ok=True)


def read_published(name, results=RESULTS):
    """Read the rows of a study that are kept here, those of begun graphs as well."""
    paths = [results / f"{name}.csv", results / f"{name}_begun.csv"]
    return pd.concat([pd.read_csv(path) for path in paths if path.exists()])


def make(
    store, *, n_graphs=N_GRAPHS, epochs=EPOCHS, attacks=None, prior=None, **params
):
    """The study, not carried out yet; `params` replace those of a RobustnessStudy."""
    estimator = SparseNetClassifier(
        MatchedPrior() if prior is None else prior,
        max_epochs=epochs,
        batch_size=128,
        device="cpu",
    )
    params = {
        "param_space": SPACE,
        "n_graphs": n_graphs,
        "inits": INITS,
        "n_seeds": N_SEEDS,
        "extra": True,
        "attacks": measures() if attacks is None else attacks,
        "analyses": {},
        "device": "cpu",
        "random_state": 0,
        **params,
    }
    return RobustnessStudy(estimator, store=store, **params)


def run(make, publish, prog, description):
    """Carry out a study on MNIST as the command line asks, or publish it."""
    parser = argparse.ArgumentParser(
        prog=prog,
        description=description,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("store", help="folder of the study, made or continued")
    parser.add_argument("--data-home", help="where MNIST is kept")
    parser.add_argument(
        "--publish", action="store_true", help="only write what is finished"
    )
    parser.add_argument(
        "--continue-published",
        action="store_true",
        help="take the rows that are published as finished: on a new machine",
    )
    given = parser.parse_args()
    name = prog.rpartition(".")[2]
    if given.publish:
        rows = rows_of_store(given.store)
        publish(rows)
        keep_begun(rows, name)
        return
    size = {"n_train": None, "n_test": None, "side": None}
    data = load("mnist", size, given.data_home)
    study = make(given.store, verbose=1)
    data = data.X_train, data.y_train, data.X_test, data.y_test
    if given.continue_published:
        adopt(study, data, read_published(name))
    study.fit(*data)


def publish(rows):
    """Write the results of the graphs that are finished, and their effects."""
    table = whole_graphs(rows, len(INITS) * N_SEEDS)
    table.to_csv(RESULTS / "crossed.csv", index=False)
    effects.write(table)
    tables.keep_amount_of_rows("crossed", table, N_GRAPHS, INITS, N_SEEDS)


if __name__ == "__main__":
    run(make, publish, "python -m papers.random_graphs.crossed", __doc__)
