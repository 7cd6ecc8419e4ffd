"""Study (e): both protocols on the same graphs, from the same initialisation.

The published protocol was carried out on more graphs and initialisations than the
mismatched one, so that their intervals cannot be compared. Here both keep the graphs
and the initialisation that the mismatched networks have. Every coefficient of table 1
stands beside the same under the other protocol, with the interval of the difference:
both are computed from the same graphs, drawn with replacement.

``python -m papers.random_graphs.protocols`` reads results/graphs.csv and
results/mismatched.csv, and writes results/tables/protocols.csv and
results/tables/protocols_means.csv.
"""

import numpy as np
import pandas as pd
from scipy import stats

from papers._results import write_table
from papers.random_graphs.published import HERE, TABLES
from papers.verdicts import finished
from robustkit.study.report import interval, label, number

RESULTS = HERE / "results"
N_BOOTSTRAP = 2000
MEANS = (
    "clean_accuracy",
    "f1_macro",
    "fgsm_error_rate",
    "growing_average_eps",
    "one_pixel_error_rate",
    "one_pixel_average_confidence",
)


def read(results=RESULTS):
    """Tables of the correct and of the mismatched protocol, one row per graph in both.

    The same graphs in the same order, each with the same initialisation.
    """
    cell = ["graph_seed", "init"]
    correct, mismatched = (
        finished(pd.read_csv(results / f"{name}.csv")).set_index(cell)
        for name in ("graphs", "mismatched")
    )
    for table in (correct, mismatched):
        if table.index.has_duplicates:
            twice = table.index[table.index.duplicated()][0]
            raise ValueError(
                "A graph and an initialisation must have one network under each "
                f"protocol. Got {twice} more than once."
            )
    both = correct.index.intersection(mismatched.index)
    return correct.loc[both], mismatched.loc[both]


def compare(correct, mismatched, x, y):
    """Spearman's coefficient under both protocols, and its difference with interval.

    Returns
    -------
    found : dict
        "correct", "mismatched" and "difference" (mismatched less correct), "low" and
        "high", the ends of the 95 % interval of the difference.
    """
    columns = [
        table[name].to_numpy(float)
        for table in (correct, mismatched)
        for name in (x, y)
    ]
    known = ~np.isnan(columns).any(axis=0)
    columns = [column[known] for column in columns]

    def difference(*columns, axis=-1):
        ours, theirs = columns[:2], columns[2:]
        return spearman(*theirs, axis) - spearman(*ours, axis)

    drawn = stats.bootstrap(
        columns,
        difference,
        n_resamples=N_BOOTSTRAP,
        paired=True,
        vectorized=True,
        method="BCa",
        rng=0,
    )
    low, high = drawn.confidence_interval
    return {
        "correct": spearman(*columns[:2]),
        "mismatched": spearman(*columns[2:]),
        "difference": difference(*columns),
        "low": low,
        "high": high,
    }


def spearman(x, y, axis=-1):
    """Spearman's coefficient along an axis."""
    x, y = (stats.zscore(stats.rankdata(a, axis=axis), axis=axis) for a in (x, y))
    return (x * y).mean(axis=axis)


def coefficient_rows(correct, mismatched):
    """Rows of table 1: published, and under both protocols."""
    for row in TABLES[0].rows:
        x = next(name for name in row.property_columns if name in correct)
        found = compare(correct, mismatched, x, row.measure_column)
        yield {
            "measure": row.measure,
            "property": row.property,
            "ρ published": number(row.rho),
            "correct": number(found["correct"]),
            "mismatched": number(found["mismatched"]),
            "difference": f"{number(found['difference'])} "
            f"{interval(found['low'], found['high'])}",
            "nearer to the published": _nearer(found, row.rho),
        }


def _nearer(found, published):
    """Which protocol's coefficient is nearer to the published one, if they differ."""
    if published is None:
        return number(None)
    if not (found["low"] > 0 or found["high"] < 0):
        return "not told apart"
    protocols = ("correct", "mismatched")
    return min(protocols, key=lambda name: abs(found[name] - published))


def mean_rows(correct, mismatched):
    """Rows of means: under both protocols, and the difference of the same graphs."""
    for name in MEANS:
        ours, theirs = correct[name].to_numpy(float), mismatched[name].to_numpy(float)
        change = (theirs - ours)[~np.isnan(theirs - ours)]
        half = stats.t.ppf(0.975, len(change) - 1) * stats.sem(change)
        yield {
            "measure": label(name),
            "networks": len(change),
            "correct": f"{np.nanmean(ours):.4f}",
            "mismatched": f"{np.nanmean(theirs):.4f}",
            "difference": f"{change.mean():+.4f} ± {half:.4f}".replace("-", "−"),
        }


def main():
    """Write both tables."""
    both = read()
    folder = RESULTS / "tables"
    write_table(list(coefficient_rows(*both)), folder / "protocols.csv")
    write_table(list(mean_rows(*both)), folder / "protocols_means.csv")


if __name__ == "__main__":
    main()
