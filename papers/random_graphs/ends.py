"""Study (f): what sources and sinks do when nothing else differs.

In the published population the number of parameters is that of the sources, the width
through which the image is seen: the two rank its graphs alike. The crossed design holds
it fixed, and varies vertices, degree and rewiring. Here it varies, and the degree: 32,
64 or 128 sources, and as many sinks, around small worlds of 200 vertices with 2, 4
or 8 neighbours on each side. Three graphs of each, each trained with two seeds: 54
networks.

``python -m papers.random_graphs.ends STORE`` carries it out, and continues it where it
was stopped: a quarter of an hour on one core. With ``--publish`` it trains nothing, and
writes results/ends.csv, the rows of all graphs that are finished; then ``python -m
papers.verdicts`` takes them.
"""

from functools import partial
from pathlib import Path

from papers._results import write_table
from papers.random_graphs import crossed, effects, tables

SPACE = {
    "prior__n_ends": [32, 64, 128],
    "prior__n_neighbors": [2, 4, 8],
    "prior__n_nodes": [200],
}
N_GRAPHS = 27
INITS = ["he_uniform"]
N_SEEDS = 2

RESULTS = Path(__file__).parent / "results"
FACTORS = {
    "prior__n_ends": "sources, and sinks",
    "prior__n_neighbors": "neighbours on each side",
}

make = partial(
    crossed.make, n_graphs=N_GRAPHS, param_space=SPACE, inits=INITS, n_seeds=N_SEEDS
)


def publish(rows):
    """Write the results of the graphs that are finished."""
    table = crossed.whole_graphs(rows, len(INITS) * N_SEEDS)
    table.to_csv(RESULTS / "ends.csv", index=False)
    rows = list(effects.level_rows(table, FACTORS))
    write_table(rows, RESULTS / "tables" / "ends_levels.csv")
    tables.keep_amount_of_rows("ends", table, N_GRAPHS, INITS, N_SEEDS)


if __name__ == "__main__":
    crossed.run(make, publish, "python -m papers.random_graphs.ends", __doc__)
