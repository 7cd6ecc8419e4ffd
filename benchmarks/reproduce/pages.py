"""Tables and figures of the pages of results, from what the experiments kept.

``python -m benchmarks.reproduce.pages topology`` (or ``regions``) reads the CSV files
of an experiment in docs/results, whole or not, and writes docs/results/tables and
docs/results/figures anew.
"""

import argparse
from itertools import product

import numpy as np
import pandas as pd

from benchmarks.reproduce import figures, regions, topology
from benchmarks.reproduce.results import RESULTS, around, with_interval

TABLES, FIGURES, GRAPHS = (RESULTS / name for name in ("tables", "figures", "graphs"))

# Tables 1 and 2 of the paper, in percent: M_adv (M_clean at eps 0), and what refining
# with a uniform and with a balanced cover changes; mean and standard deviation of two
# seeds.
PUBLISHED = {
    "linf": {
        0: ("97.48", "", ""),
        0.05: ("93.24 (0.35)", "+0.25 (0.11)", "+0.21 (0.02)"),
        0.1: ("90.18 (1.70)", "+0.27 (0.30)", "+0.36 (0.21)"),
        0.15: ("88.73 (1.51)", "+0.26 (0.18)", "+0.28 (0.16)"),
        0.2: ("86.51 (2.86)", "+0.15 (0.11)", "+0.04 (0.01)"),
        0.25: ("84.25 (3.66)", "+0.51 (0.10)", "+0.51 (0.52)"),
        0.3: ("81.68 (5.21)", "+0.37 (0.28)", "+0.34 (0.13)"),
    },
    "l2": {
        0: ("97.48", "", ""),
        0.05: ("97.16 (0.30)", "", "+0.02 (0.11)"),
        0.1: ("96.75 (0.06)", "", "+0.09 (0.21)"),
        0.2: ("94.15 (2.86)", "", "+0.22 (0.47)"),
        0.3: ("92.15 (4.83)", "", "+0.11 (0.24)"),
    },
}

# PRS ratio of the CNN-6 by batch size, and the slopes of robust accuracy.
PUBLISHED_RATIOS = {
    "mnist": {128: "0.037", 2048: "0.392"},
    "cifar10": {128: "0.007", 2048: "0.9998"},
}
PUBLISHED_SLOPES = {
    "mnist": {"prs_ratio": "-0.30", "inclusion_ratio": "-0.72"},
    "cifar10": {"prs_ratio": "-0.23", "inclusion_ratio": "-0.80"},
}

MEASURES = {
    "robust_accuracy_ce": "PGD, cross-entropy",
    "robust_accuracy_margin": "PGD, margin",
    "robust_accuracy_rotate": "PGD, rotating",
}
GRAPH_KINDS = [
    f"{cover} {scale:g}" for cover, scale in product(topology.COVERS, topology.SCALES)
]
CAUSES = {"prs_ratio": "PRS ratio", "inclusion_ratio": "test inclusion ratio"}
COMPARED = {
    (): "all networks",
    ("batch_size",): "those of one batch size",
    ("batch_size", "epochs"): "those of one batch size and number of epochs",
}


def percent(values):
    """Mean and interval, in percent."""
    return with_interval(100 * np.asarray(values, dtype=float))


def change(values):
    """Mean and interval of a difference, in points, with its sign."""
    return signed(percent(values))


def signed(text):
    """Put a plus before a number that is not negative."""
    return text if text.startswith("-") or not text else f"+{text}"


def write_table(rows, name):
    """Keep a table for the directive that puts it on a page."""
    TABLES.mkdir(parents=True, exist_ok=True)
    # As objects, whole numbers stay whole where others are missing.
    pd.DataFrame(rows, dtype=object).to_csv(TABLES / f"{name}.csv", index=False)


def radius(eps):
    """Write an attack level as papers do."""
    return f"{eps:g}" if round(eps, 3) == eps else f"{255 * eps:.0f}/255"


def published(dataset, norm, eps, number, title="published"):
    """Return a figure of tables 1 and 2 under its title; nothing beside CIFAR-10."""
    if dataset != "mnist":
        return {}
    levels = PUBLISHED[norm].items()
    found = [figures[number] for level, figures in levels if np.isclose(level, eps)]
    return {title: found[0] if found else ""}


def robust_rows(results, dataset, norm):
    """Rows of table 1 or 2: the clean network, then both attacks at every level."""
    clean = results[results["norm"] == "none"]
    row = {"eps": "0", **published(dataset, norm, 0, 0)}
    yield row | {"n": len(clean), "clean": percent(clean["clean"])}
    for eps, level in results[results["norm"] == norm].groupby("eps"):
        full, short = (level[level["attack"] == name] for name in ("full", "short"))
        row = {
            "eps": radius(eps),
            **published(dataset, norm, eps, 0),
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
    for number, cover in enumerate(topology.COVERS, start=1):
        for eps, level in chosen.groupby("eps"):
            theirs = published(dataset, norm, eps, number, "published gain")
            yield _gain_row(level, cover, radius(eps), theirs)
        if n_levels > 1 and len(whole):
            means = whole.groupby("seed").mean(numeric_only=True)
            yield _gain_row(means, cover, "mean", dict.fromkeys(theirs, ""))


def _gain_row(level, cover, eps, theirs):
    titles = {
        f"replay {topology.REPLAY}": "refined",
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
        "refined - random": change(gain[f"replay {topology.REPLAY}"] - gain["random"]),
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
        kind = f"uniform {topology.SHOWN_SCALE:g}"
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


def draw_topology():
    """Tables and figures of the mapper graphs."""
    panels = {}
    for dataset, network in topology.SETTINGS:
        name = topology.name_of(dataset, network)
        path = RESULTS / f"topology_{name}.csv"
        if not path.exists():
            continue
        results = topology.ResultTable(path, topology.KEYS).read()
        write_table(purity_rows(results), f"topology_{name}_purity")
        write_table(fall_rows(results), f"topology_{name}_fall")
        for norm in results.loc[results["norm"] != "none", "norm"].drop_duplicates():
            write_accuracies(results, dataset, norm, f"topology_{name}_{norm}")
            panels[f"{name}, {norm}"] = purity_curves(results, "full", norm)
    figures.purity_against_eps(panels, FIGURES / "topology_purity.png")
    draw_graphs()


def write_accuracies(results, dataset, norm, name):
    """Tables 1 and 2."""
    write_table(robust_rows(results, dataset, norm), name)
    for attack in ("full", "short"):
        rows = list(gain_rows(results, dataset, attack, norm))
        if rows:
            write_table(rows, f"{name}_{attack}_gain")


def draw_graphs():
    """Figures 3 to 6: one graph a figure for MNIST, one figure for CIFAR-10."""
    for eps in (0, 0.05, 0.3):
        name = f"full_linf_{eps:g}" if eps else "none_none_0"
        source = GRAPHS / f"mnist_{name}.json"
        if source.exists():
            title = f"M_adv, eps {eps:g}" if eps else "M_clean"
            figures.mapper_graph(source, title, FIGURES / f"topology_{name}.png")
    for (dataset, network), settings in topology.SETTINGS.items():
        name = topology.name_of(dataset, network)
        if dataset == "cifar10" and (GRAPHS / f"{name}_none_none_0.json").exists():
            figures.growing_eps(
                _sources(name, settings), FIGURES / f"topology_{name}.png"
            )


def _sources(name, settings):
    """Title and file of the graphs of all levels, as far as they are there."""
    levels = {
        level for part in settings["parts"] for level in topology.levels(part, settings)
    }
    sources = {}
    for attack, norm, eps in sorted(levels, key=lambda level: (level[2] > 0, level)):
        path = GRAPHS / f"{name}_{attack}_{norm}_{eps:.4g}.json"
        if path.exists():
            sources[f"M_adv, {norm}, eps {radius(eps)}" if eps else "M_clean"] = path
    return sources


def slope_rows(plain, published_slopes):
    """Slopes of all measures, on both causes."""
    found = regions.slopes(plain)
    for kind, slopes in found.groupby(["cause", "within", "adjusted"], sort=False):
        cause, within, adjusted = kind
        row = {"on": CAUSES[cause], "networks compared": COMPARED[within]}
        row["clean accuracy"] = "held fixed" if adjusted else "free"
        if published_slopes:
            is_theirs = not within and not adjusted
            row["published (CNN-6)"] = published_slopes[cause] if is_theirs else ""
        for _, one in slopes.iterrows():
            row[MEASURES[one["measure"]]] = signed(
                around(one["slope"], one["half_width"])
            )
        yield row


def batch_size_rows(plain, published_ratios):
    """What networks of one batch size have in common, when training ended."""
    shown = {
        "PRS ratio": "prs_ratio",
        "inclusion ratio": "inclusion_ratio",
        "active units": "active_units",
        "clean": "clean_accuracy",
        **{title: name for name, title in MEASURES.items()},
        "PGD as published": "robust_accuracy_published",
        "zero gradients": "zero_gradient_share",
        "median logit margin": "median_logit_margin",
    }
    for batch_size, part in plain[plain["epochs"] == plain["epochs"].max()].groupby(
        "batch_size"
    ):
        row = {"batch size": batch_size, "n": len(part)}
        if published_ratios:
            row["published ratio"] = published_ratios.get(batch_size, "")
        for title, name in shown.items():
            digits = 1 if name in ("active_units", "median_logit_margin") else 3
            row[title] = with_interval(part[name], digits)
        yield row


def matched_rows(pairs):
    """Regularised networks beside plain ones, with the paired difference."""
    for strength, part in pairs.groupby("strength"):
        for name in ("prs_ratio", "clean_accuracy", *MEASURES, "zero_gradient_share"):
            plain, other = part[f"{name} (plain)"], part[f"{name} (regularised)"]
            yield {
                "strength": f"{strength:g}",
                "n": len(part),
                "measure": MEASURES.get(name, name.replace("_", " ")),
                "plain": f"{plain.mean():.3f}",
                "regularised": f"{other.mean():.3f}",
                "difference": signed(with_interval(other - plain, 3)),
            }


def draw_regions():
    """Tables and figures of the populated regions."""
    for (dataset, network), settings in regions.SETTINGS.items():
        name = f"regions_{dataset}_{network}"
        results = regions.ResultTable(RESULTS / f"{name}.csv", regions.KEYS).read()
        is_plain = results["strength"] == 0
        compared = is_plain & results["epochs"].isin(settings["epochs"])
        plain = results[compared]
        if len(plain) == 0:
            continue
        slopes = PUBLISHED_SLOPES.get(dataset, {})
        ratios = PUBLISHED_RATIOS[dataset] if network == "cnn6" else {}
        write_table(slope_rows(plain, slopes), f"{name}_slopes")
        write_table(batch_size_rows(plain, ratios), f"{name}_batch_size")
        figures.robustness_against_ratio(
            plain, CAUSES, MEASURES, FIGURES / f"{name}.png"
        )
        if (~is_plain).any():
            pairs = regions.matched(results[is_plain], results[~is_plain])
            write_table(matched_rows(pairs), f"{name}_matched")


def main():
    """Draw the pages that are named."""
    pages = {"topology": draw_topology, "regions": draw_regions}
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("pages", nargs="+", choices=list(pages))
    for page in parser.parse_args().pages:
        pages[page]()


if __name__ == "__main__":
    main()
