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
from benchmarks.reproduce.results import RESULTS, with_interval

TABLES, FIGURES, GRAPHS = (RESULTS / name for name in ("tables", "figures", "graphs"))

# Tables 1 and 2 of the paper, in percent: M_adv, refined with a uniform and with a
# balanced cover; mean and standard deviation of two seeds.
PUBLISHED = {
    "linf": {
        0.05: ("93.24 (0.35)", "+0.25 (0.11)", "+0.21 (0.02)"),
        0.1: ("90.18 (1.70)", "+0.27 (0.30)", "+0.36 (0.21)"),
        0.15: ("88.73 (1.51)", "+0.26 (0.18)", "+0.28 (0.16)"),
        0.2: ("86.51 (2.86)", "+0.15 (0.11)", "+0.04 (0.01)"),
        0.25: ("84.25 (3.66)", "+0.51 (0.10)", "+0.51 (0.52)"),
        0.3: ("81.68 (5.21)", "+0.37 (0.28)", "+0.34 (0.13)"),
    },
    "l2": {
        0.05: ("97.16 (0.30)", "", "+0.02 (0.11)"),
        0.1: ("96.75 (0.06)", "", "+0.09 (0.21)"),
        0.2: ("94.15 (2.86)", "", "+0.22 (0.47)"),
        0.3: ("92.15 (4.83)", "", "+0.11 (0.24)"),
    },
}

# PRS ratio of CNN-6 on MNIST by batch size, and the slopes of robust accuracy.
PUBLISHED_RATIOS = {128: "0.037", 2048: "0.392"}
PUBLISHED_SLOPES = {"prs_ratio": "-0.30", "inclusion_ratio": "-0.72"}

MEASURES = {
    "robust_accuracy_ce": "PGD, cross-entropy",
    "robust_accuracy_margin": "PGD, margin",
    "robust_accuracy_rotate": "PGD, rotating",
}
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
    pd.DataFrame(rows).fillna("").to_csv(TABLES / f"{name}.csv", index=False)


def robust_rows(results, norm):
    """Rows of table 1 or 2: robust accuracy under both attacks."""
    for eps, published in PUBLISHED[norm].items():
        level = results[(results["norm"] == norm) & np.isclose(results["eps"], eps)]
        full, short = (level[level["attack"] == name] for name in ("full", "short"))
        row = {
            "eps": f"{eps:g}",
            "published": published[0],
            "n": len(full),
            "clean": percent(full["clean"]),
            "full attack": percent(full["M_adv"]),
        }
        if norm == "linf":
            row["same networks, short attack"] = percent(full["M_adv, other"])
            row["n (short)"] = len(short)
            row["trained and tested with the short attack"] = percent(short["M_adv"])
            row["those, full attack"] = percent(short["M_adv, other"])
        yield row


def gain_rows(results, attack, norm):
    """What refining changes, in points and paired by seed; last, over all levels."""
    chosen = results[(results["attack"] == attack) & (results["norm"] == norm)]
    whole = chosen.groupby("seed").filter(
        lambda rows: len(rows) == len(PUBLISHED[norm])
    )
    for number, cover in enumerate(topology.COVERS, start=1):
        for eps, published in PUBLISHED[norm].items():
            level = chosen[np.isclose(chosen["eps"], eps)]
            if len(level):
                yield _gain_row(level, cover, f"{eps:g}", published[number])
        if len(whole):
            means = whole.groupby("seed").mean(numeric_only=True)
            yield _gain_row(means, cover, "mean", "")


def _gain_row(level, cover, eps, published):
    gain = {
        name: level[f"{cover}, {name}"] - level["M_adv"]
        for name in (f"replay {topology.REPLAY}", "replay 0", "random")
    }
    refined = gain[f"replay {topology.REPLAY}"]
    return {
        "cover": cover,
        "eps": eps,
        "n": len(level),
        "weak samples": f"{level[f'weak {cover}'].mean():.0f}",
        "published gain": published,
        "refined": change(refined),
        "with weak samples alone": change(gain["replay 0"]),
        "with random samples": change(gain["random"]),
        "refined - random": change(refined - gain["random"]),
    }


def purity_rows(results):
    """Purity and size of the graphs of every level."""
    for (attack, norm, eps), level in results.groupby(["attack", "norm", "eps"]):
        row = {
            "attack": "none" if eps == 0 else f"{attack}, {norm}",
            "eps": f"{eps:g}",
            "n": len(level),
            "training accuracy": percent(level["train"]),
        }
        for cover, scale in product(topology.COVERS, topology.SCALES):
            kind = f"{cover} {scale:g}"
            row[f"purity, {kind}"] = percent(level[f"purity {kind}"])
        kind = f"uniform {topology.SHOWN_SCALE:g}"
        row[f"nodes, {kind}"] = f"{level[f'nodes {kind}'].mean():.0f}"
        row[f"in no node, {kind}"] = f"{100 * level[f'noise {kind}'].mean():.0f} %"
        yield row


def purity_curves(results, attack, norm):
    """Give eps and purity of each kind of graph, the clean network's at 0."""
    is_shown = (results["attack"] == attack) & (results["norm"] == norm)
    shown = results[is_shown | (results["eps"] == 0)]
    return {
        f"{cover}, {scale:g}": (shown["eps"], shown[f"purity {cover} {scale:g}"])
        for cover, scale in product(topology.COVERS, topology.SCALES)
    }


def draw_topology():
    """Tables and figures of the mapper graphs."""
    panels = {}
    for dataset in topology.SETTINGS:
        path = RESULTS / f"topology_{dataset}.csv"
        if not path.exists():
            continue
        results = topology.ResultTable(path, topology.KEYS).read()
        write_table(purity_rows(results), f"topology_{dataset}_purity")
        if topology.SETTINGS[dataset]["further_epochs"]:
            write_accuracies(results, dataset)
        for norm in results["norm"].drop_duplicates():
            if norm != "none":
                panels[f"{dataset}, {norm}"] = purity_curves(results, "full", norm)
    figures.purity_against_eps(panels, FIGURES / "topology_purity.png")
    draw_graphs()


def write_accuracies(results, dataset):
    """Tables 1 and 2."""
    for norm in PUBLISHED:
        write_table(robust_rows(results, norm), f"topology_{dataset}_{norm}")
        for attack in ("full", "short"):
            rows = list(gain_rows(results, attack, norm))
            if rows:
                write_table(rows, f"topology_{dataset}_{norm}_{attack}_gain")


def draw_graphs():
    """Figures 3 to 6: one graph a figure for MNIST, one figure for CIFAR-10."""
    for eps in (0, 0.05, 0.3):
        name = f"full_linf_{eps:g}" if eps else "none_none_0"
        source = GRAPHS / f"mnist_{name}.json"
        if source.exists():
            title = f"M_adv, eps {eps:g}" if eps else "M_clean"
            figures.mapper_graph(source, title, FIGURES / f"topology_{name}.png")
    sources = {"M_clean": GRAPHS / "cifar10_none_none_0.json"}
    for eps in topology.L2:
        sources[f"eps {eps:g}"] = GRAPHS / f"cifar10_full_l2_{eps:g}.json"
    sources = {title: path for title, path in sources.items() if path.exists()}
    if sources:
        figures.growing_eps(sources, FIGURES / "topology_cifar10.png")


def slope_rows(plain):
    """Slopes of all measures, on both causes."""
    found = regions.slopes(plain)
    for kind, slopes in found.groupby(["cause", "within", "adjusted"], sort=False):
        cause, within, adjusted = kind
        row = {"on": CAUSES[cause], "networks compared": COMPARED[within]}
        row["clean accuracy"] = "held fixed" if adjusted else "free"
        is_theirs = not within and not adjusted
        row["published"] = PUBLISHED_SLOPES[cause] if is_theirs else ""
        for _, one in slopes.iterrows():
            row[MEASURES[one["measure"]]] = (
                f"{one['slope']:.2f} ({one['low']:.2f} to {one['high']:.2f})"
            )
        yield row


def batch_size_rows(plain):
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
        row["published ratio"] = PUBLISHED_RATIOS.get(batch_size, "")
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
        if len(results) == 0:
            continue
        is_plain = results["strength"] == 0
        compared = is_plain & results["epochs"].isin(settings["epochs"])
        plain = results[compared]
        write_table(slope_rows(plain), f"{name}_slopes")
        write_table(batch_size_rows(plain), f"{name}_batch_size")
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
