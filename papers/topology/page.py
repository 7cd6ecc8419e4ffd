"""Write the tables and figures of page.rst, from what the experiment kept.

``python -m papers.topology.page`` reads the CSV files in results/, complete or not.
"""

import argparse
from itertools import product

import numpy as np
import pandas as pd

from papers import verdicts
from papers._results import (
    ResultTable,
    read_published,
    signed,
    with_interval,
    write_table,
)
from papers.topology import experiment, figures
from papers.topology.experiment import RESULTS

TABLES, FIGURES, GRAPHS = (RESULTS / name for name in ("tables", "figures", "graphs"))

# Tables 1 and 2 of the paper, in percent: M_adv (M_clean at eps 0), and what refining
# with a uniform and with a balanced cover changes; mean and standard deviation of two
# seeds.
PUBLISHED = RESULTS.parent / "published.csv"

# A confusion persists if it is among so many of the commonest ones at every level.
N_COMMONEST = 10

GRAPH_KINDS = [
    f"{cover} {scale:g}"
    for cover, scale in product(experiment.COVERS, experiment.SCALES)
]


def percent(values):
    """Mean and interval, in percent."""
    return with_interval(100 * np.asarray(values, dtype=float))


def change(values):
    """Mean and interval of a difference, in points, with its sign."""
    return signed(percent(values))


def radius(eps):
    """Write an attack level as papers do."""
    return f"{eps:g}" if round(eps, 3) == eps else f"{255 * eps:.0f}/255"


def published(dataset, norm, eps, column, title="published"):
    """Return a figure of tables 1 and 2 under its title; nothing beside CIFAR-10."""
    if dataset != "mnist":
        return {}
    table = read_published(PUBLISHED)
    is_level = np.isclose(table["eps"].astype(float), eps) & (table["norm"] == norm)
    return {title: "".join(table.loc[is_level, column])}


def robust_rows(results, dataset, norm):
    """Rows of table 1 or 2: the clean network, then both attacks at every level."""
    clean = results[results["norm"] == "none"]
    row = {"eps": "0", **published(dataset, norm, 0, "M_adv")}
    yield row | {"n": len(clean), "clean": percent(clean["clean"])}
    for eps, level in results[results["norm"] == norm].groupby("eps"):
        full, short = (level[level["attack"] == name] for name in ("full", "short"))
        row = {
            "eps": radius(eps),
            **published(dataset, norm, eps, "M_adv"),
            "n": len(full),
            "clean": percent(full["clean"]),
            "full attack": percent(full["M_adv"]),
        }
        if norm == "linf":
            row["same networks, short attack"] = percent(full["M_adv, other"])
        if len(short):
            row["n (short)"] = len(short)
            row["trained and tested with the short attack"] = percent(short["M_adv"])
            row["those, full attack"] = percent(short["M_adv, other"])
        yield row


def gain_rows(results, dataset, attack, norm):
    """What refining changes, in points and paired by seed; last, over all levels."""
    chosen = results[(results["attack"] == attack) & (results["norm"] == norm)]
    n_levels = chosen["eps"].nunique()
    whole = chosen.groupby("seed").filter(lambda rows: len(rows) == n_levels)
    for cover in experiment.COVERS:
        for eps, level in chosen.groupby("eps"):
            theirs = published(dataset, norm, eps, f"gain, {cover}", "published gain")
            yield _gain_row(level, cover, radius(eps), theirs)
        if n_levels > 1 and len(whole):
            means = whole.groupby("seed").mean(numeric_only=True)
            yield _gain_row(means, cover, "mean", dict.fromkeys(theirs, ""))


def _gain_row(level, cover, eps, theirs):
    titles = {
        f"replay {experiment.REPLAY}": "refined",
        "replay 0": "with weak samples alone",
        "random": "with random samples",
    }
    # Where only some kinds of further training were done, the others have no column.
    gain = {
        name: level[f"{cover}, {name}"] - level["M_adv"]
        for name in titles
        if f"{cover}, {name}" in level
    }
    return {
        "cover": cover,
        "eps": eps,
        "n": len(level),
        "weak samples": f"{level[f'weak {cover}'].mean():.0f}",
        **theirs,
        **{titles[name]: change(values) for name, values in gain.items()},
        "refined - random": change(
            gain[f"replay {experiment.REPLAY}"] - gain["random"]
        ),
    }


def purity_rows(results):
    """Purity and size of the graphs of every level."""
    levels = results.groupby(["attack", "norm", "eps"])
    # The clean network first.
    for (attack, norm, eps), level in sorted(levels, key=lambda group: group[0][2] > 0):
        row = {
            "attack": "none" if eps == 0 else f"{attack}, {norm}",
            "eps": radius(eps),
            "n": len(level),
            "training accuracy": percent(level["train"]),
        }
        for kind in GRAPH_KINDS:
            row[f"purity, {kind}"] = percent(level[f"purity {kind}"])
        kind = f"uniform {experiment.SHOWN_SCALE:g}"
        row[f"nodes, {kind}"] = f"{level[f'nodes {kind}'].mean():.0f}"
        row[f"in no node, {kind}"] = f"{100 * level[f'noise {kind}'].mean():.0f} %"
        yield row


def fall_rows(results):
    """What purity changes from the clean network to the largest level, by seed."""
    for (attack, norm), part in results.groupby(["attack", "norm"]):
        if norm == "none":
            continue
        shown = with_clean(results, attack, norm)
        row = {"attack": f"{attack}, {norm}", "largest eps": radius(part["eps"].max())}
        for kind in GRAPH_KINDS:
            curves = shown.pivot(index="eps", columns="seed", values=f"purity {kind}")
            ends, whole = curves.iloc[[0, -1]].dropna(axis=1), curves.dropna(axis=1)
            falls = (whole.diff().iloc[1:] < 0).all().sum()
            row["n"] = ends.shape[1]
            fall = change(ends.iloc[1] - ends.iloc[0])
            row[kind] = f"{fall}; {falls}\u00a0of\u00a0{whole.shape[1]}"
        yield row


def with_clean(results, attack, norm):
    """Runs of one kind of attack, and before them the clean networks."""
    is_shown = (results["attack"] == attack) & (results["norm"] == norm)
    return results[is_shown | (results["eps"] == 0)]


def purity_curves(results, attack, norm):
    """Give eps and purity of each kind of graph, the clean network's at 0."""
    shown = with_clean(results, attack, norm)
    return {kind: (shown["eps"], shown[f"purity {kind}"]) for kind in GRAPH_KINDS}


def apart_rows(table):
    """Purity of each network shown each kind of data, and what each of them changes."""
    purity = table[[name for name in table if name.startswith("purity")]].mean(axis=1)
    table = table.assign(purity=purity)
    for eps, level in table.groupby("eps"):
        cells = level.pivot(index="seed", columns=["network", "data"], values="purity")
        cells = cells.dropna()
        row = {"eps": radius(eps), "n": len(cells)}
        for network, data in product(("clean", "adversarial"), ("clean", "attacked")):
            row[f"{network} network, {data} images"] = percent(cells[network, data])
        # Paired by seed, and averaged over what is held fixed.
        by_network = cells["adversarial"] - cells["clean"]
        by_data = cells.xs("attacked", axis=1, level="data") - cells.xs(
            "clean", axis=1, level="data"
        )
        row["changed by the network"] = change(by_network.mean(axis=1))
        row["changed by the images"] = change(by_data.mean(axis=1))
        yield row


def confusion_shares(confusions):
    """Share of all errors that each (class, predicted class) has at each level.

    Of adversarially trained networks, shown attacked images; averaged over seeds.
    """
    shown = confusions[
        (confusions["network"] == "adversarial") & (confusions["data"] == "attacked")
    ]
    of_all = shown.groupby(["eps", "seed"])["number"].transform("sum")
    shares = shown.assign(share=shown["number"] / of_all).pivot_table(
        index=["class", "predicted"],
        columns=["eps", "seed"],
        values="share",
        fill_value=0.0,
    )
    return shares.T.groupby("eps").mean().T


def persisting_rows(confusions):
    """Pairs of classes that are among the commonest confusions of every level."""
    shares = confusion_shares(confusions)
    ranks = shares.rank(ascending=False, method="min")
    # Where a level has few confusions, those it lacks share the next rank.
    persists = ((ranks <= N_COMMONEST) & (shares > 0)).all(axis=1)
    kept = shares[persists]
    for pair in kept.mean(axis=1).sort_values(ascending=False).index:
        yield {
            "class": pair[0],
            "taken for": pair[1],
            **{
                f"eps {radius(eps)}": f"{100 * share:.1f} %"
                for eps, share in kept.loc[pair].items()
            },
        }


def write_apart():
    """Write the tables of network and data apart, as far as they are measured."""
    for name, source, rows in (
        ("two_by_two", "two_by_two", apart_rows),
        ("persisting", "confusions", persisting_rows),
    ):
        path, found = RESULTS / f"{source}.csv", []
        if path.exists():
            found = list(rows(pd.read_csv(path)))
        write_table(
            found or [{"eps": "nothing is measured so far"}], TABLES / f"{name}.csv"
        )


def main():
    """Write the tables and figures of the mapper graphs."""
    argparse.ArgumentParser(description=__doc__).parse_args()
    panels = {}
    for dataset, network in experiment.SETTINGS:
        name = experiment.name_of(dataset, network)
        path = RESULTS / f"{name}.csv"
        if not path.exists():
            continue
        results = ResultTable(path, experiment.KEYS).read()
        write_table(purity_rows(results), TABLES / f"{name}_purity.csv")
        write_table(fall_rows(results), TABLES / f"{name}_fall.csv")
        for norm in results.loc[results["norm"] != "none", "norm"].drop_duplicates():
            write_accuracies(results, dataset, norm, f"{name}_{norm}")
            panels[f"{name}, {norm}"] = purity_curves(results, "full", norm)
    write_apart()
    figures.purity_against_eps(panels, FIGURES / "purity.png")
    draw_graphs()
    verdicts.update("topology")


def write_accuracies(results, dataset, norm, name):
    """Tables 1 and 2."""
    write_table(robust_rows(results, dataset, norm), TABLES / f"{name}.csv")
    for attack in ("full", "short"):
        rows = list(gain_rows(results, dataset, attack, norm))
        if rows:
            write_table(rows, TABLES / f"{name}_{attack}_gain.csv")


def draw_graphs():
    """Figures 3 to 6: one graph a figure for MNIST, one figure for CIFAR-10."""
    for eps in (0, 0.05, 0.3):
        name = f"full_linf_{eps:g}" if eps else "none_none_0"
        source = GRAPHS / f"mnist_{name}.json"
        if source.exists():
            title = f"M_adv, eps {eps:g}" if eps else "M_clean"
            figures.mapper_graph(source, title, FIGURES / f"{name}.png")
    for (dataset, network), settings in experiment.SETTINGS.items():
        name = experiment.name_of(dataset, network)
        if dataset == "cifar10" and (GRAPHS / f"{name}_none_none_0.json").exists():
            figures.growing_eps(_sources(name, settings), FIGURES / f"{name}.png")


def _sources(name, settings):
    """Title and file of the graphs of all levels, as far as they are there."""
    levels = {
        level
        for part in settings["parts"]
        for level in experiment.levels(part, settings)
    }
    sources = {}
    for attack, norm, eps in sorted(levels, key=lambda level: (level[2] > 0, level)):
        path = GRAPHS / f"{name}_{attack}_{norm}_{eps:.4g}.json"
        if path.exists():
            sources[f"M_adv, {norm}, eps {radius(eps)}" if eps else "M_clean"] = path
    return sources


if __name__ == "__main__":
    main()
