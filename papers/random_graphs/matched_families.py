"""Study (d): what the family of a graph does when nothing else differs.

Five families of graphs, 200 vertices with 2, 4 or 8 neighbours on each side on average,
between 64 sources and 64 sinks (papers/random_graphs/prior.py): families of as many
vertices, edges and parameters. Four graphs of each family and degree, each trained from
the six initialisations of the paper: 360 networks.

``python -m papers.random_graphs.matched_families STORE`` carries it out, and continues
it where it was stopped: one and a half hours on one core. With ``--publish`` it trains
nothing, and writes results/matched_families.csv, the rows of all graphs that are
finished; then ``python -m papers.verdicts`` takes them. With ``--continue-published``
it begins with those rows, where the store is gone.
"""

from functools import partial
from pathlib import Path

import numpy as np

from papers._results import half_width, write_table
from papers.random_graphs import crossed, effects, tables
from papers.random_graphs.prior import MatchedFamilyPrior
from robustkit.networks import INITS

SPACE = {
    "prior__generator": [
        "watts_strogatz",
        "erdos_renyi",
        "barabasi_albert",
        "random_regular",
        "stochastic_block",
    ],
    "prior__n_neighbors": [2, 4, 8],
}
N_GRAPHS = 60

RESULTS = Path(__file__).parent / "results"
STRUCTURE = {
    "n_edges": "edges",
    "average_clustering": "clustering",
    "degree_std": "spread of degrees",
    "average_path_length": "path length",
}

make = partial(
    crossed.make,
    prior=MatchedFamilyPrior(),
    n_graphs=N_GRAPHS,
    param_space=SPACE,
    inits=list(INITS),
    n_seeds=1,
)


def publish(rows):
    """Write the results of the graphs that are finished."""
    table = crossed.whole_graphs(rows, len(INITS))
    table.to_csv(RESULTS / "matched_families.csv", index=False)
    write(table)
    tables.keep_amount_of_rows("matched_families", table, N_GRAPHS, INITS)


def write(table, folder=RESULTS / "tables"):
    """Keep the tables for the page."""
    name = "matched_families"
    write_table(list(family_rows(table)), folder / f"{name}.csv")
    write_table(list(init_rows(table)), folder / f"{name}_inits.csv")
    write_table(list(variance_rows(table)), folder / f"{name}_variance.csv")


def family_rows(table):
    """Rows of the page: what the graphs of each family are like, and what they do."""
    columns = [*STRUCTURE, *effects.MEASURES]
    graphs = table.groupby(["prior__generator", "graph"])[columns].mean()
    for family, rows in graphs.groupby("prior__generator"):
        means = {name: rows[name].mean() for name in STRUCTURE}
        structure = {
            title: f"{means[name]:,.0f}" if means[name] > 100 else f"{means[name]:.3g}"
            for name, title in STRUCTURE.items()
        }
        yield {
            "family": family.replace("_", " "),
            "graphs": len(rows),
            **structure,
            **_measured(rows),
        }


def init_rows(table):
    """Rows of the page: the networks of each initialisation."""
    for init, rows in table.groupby("init"):
        yield {"initialisation": init.replace("_", " "), **_measured(rows)}


def _measured(rows):
    return {
        title: f"{rows[name].mean():.4f} ± {half_width(rows[name]):.4f}"
        for name, title in effects.MEASURES.items()
    }


def variance_rows(table):
    """Rows of the page: shares of the variance in percent."""
    for name, title in effects.MEASURES.items():
        if table["graph"].nunique() < effects.FEWEST:
            yield {"measure": title, "graph": "too few so far"}
            continue
        shares = effects.variance_components(table, name, ("graph", "init"))
        yield {
            "measure": title,
            **{factor: f"{100 * share:.0f} %" for factor, share in shares.items()},
            **{
                f"of the graphs' means: {factor}": f"{100 * share:.0f} %"
                for factor, share in between(table, name).items()
            },
        }


def between(table, measure):
    """Share of the variance of the graphs' means between families, and degrees.

    Each less what as many groups would have by chance (epsilon squared); an estimate
    below zero counts as zero.
    """
    means = table.groupby("graph")[measure].mean()
    first = table.drop_duplicates("graph").set_index("graph").loc[means.index]
    factors = {"family": "prior__generator", "degree": "prior__n_neighbors"}
    effects_of = {
        title: means.groupby(first[name]).transform("mean") - means.mean()
        for title, name in factors.items()
    }
    left = means - means.mean() - sum(effects_of.values())
    freedom = {title: first[name].nunique() - 1 for title, name in factors.items()}
    noise = np.square(left).sum() / (len(means) - 1 - sum(freedom.values()))
    total = np.square(means - means.mean()).sum()
    return {
        title: max((np.square(effect).sum() - freedom[title] * noise) / total, 0.0)
        for title, effect in effects_of.items()
    }


if __name__ == "__main__":
    crossed.run(
        make, publish, "python -m papers.random_graphs.matched_families", __doc__
    )
