"""Write the tables and figures of page.rst, from what the experiment kept.

``python -m papers.regions.page`` reads the CSV files in results/, complete or not.
"""

import argparse

from papers import verdicts
from papers._results import (
    ResultTable,
    around,
    read_published,
    signed,
    with_interval,
    write_table,
)
from papers.regions import experiment
from papers.regions.experiment import RESULTS
from papers.regions.figures import robustness_against_ratio

TABLES, FIGURES = RESULTS / "tables", RESULTS / "figures"

# PRS ratio of the CNN-6 by batch size, and the slopes of robust accuracy.
PUBLISHED = RESULTS.parent / "published.csv"

MEASURES = {
    "robust_accuracy_ce": "PGD, cross-entropy",
    "robust_accuracy_margin": "PGD, margin",
    "robust_accuracy_rotate": "PGD, rotating",
}
STRONGEST = "robust_accuracy_rotate"
CAUSES = {"prs_ratio": "PRS ratio", "inclusion_ratio": "test inclusion ratio"}
COMPARED = {
    (): "all networks",
    ("batch_size",): "those of one batch size",
    ("batch_size", "epochs"): "those of one batch size and number of epochs",
}


def slope_rows(plain, published):
    """Slopes of all measures, on both causes."""
    found = experiment.slopes(plain)
    for kind, slopes in found.groupby(["cause", "within", "adjusted"], sort=False):
        cause, within, adjusted = kind
        row = {"on": CAUSES[cause], "networks compared": COMPARED[within]}
        row["clean accuracy"] = "held fixed" if adjusted else "free"
        theirs = published.loc[published["quantity"] == f"slope on {cause}", "value"]
        if len(theirs):
            is_theirs = not within and not adjusted
            row["published (CNN-6)"] = theirs.item() if is_theirs else ""
        for _, one in slopes.iterrows():
            row[MEASURES[one["measure"]]] = signed(
                around(one["slope"], one["half_width"])
            )
        yield row


def batch_size_rows(plain, published):
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
        if len(published):
            is_theirs = published["batch_size"] == str(batch_size)
            row["published ratio"] = "".join(published.loc[is_theirs, "value"])
        for title, name in shown.items():
            digits = 1 if name in ("active_units", "median_logit_margin") else 3
            row[title] = with_interval(part[name], digits)
        yield row


def layer_rows(plain):
    """Ratios of each hidden layer when training ended, and slopes on each of them."""
    layers = [name for name in plain if name.startswith(experiment.LAYER)]
    # Of networks that were trained before each layer was measured there is none.
    plain = plain.dropna(subset=layers)
    if not layers or plain.empty:
        return
    found = experiment.slopes(plain, layers)
    found = found[~found["adjusted"] & (found["measure"] == STRONGEST)]
    ended = plain[plain["epochs"] == plain["epochs"].max()]
    for layer, slopes in found.groupby("cause", sort=False):
        row = {"hidden layer": layer.removeprefix(experiment.LAYER), "n": len(ended)}
        row["PRS ratio"] = with_interval(ended[layer], 3)
        for _, one in slopes.iterrows():
            slope = around(one["slope"], one["half_width"])
            row[f"slope, {COMPARED[one['within']]}"] = signed(slope)
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


def main():
    """Write the tables and figures of the populated experiment."""
    argparse.ArgumentParser(description=__doc__).parse_args()
    published = read_published(PUBLISHED)
    for (dataset, network), settings in experiment.SETTINGS.items():
        name = f"{dataset}_{network}"
        path = RESULTS / f"{name}.csv"
        results = ResultTable(path, experiment.KEYS, experiment.DEFAULTS).read()
        # Those with label smoothing have claims, and no table here.
        results = results[results["smoothing"] == 0]
        is_plain = results["strength"] == 0
        compared = is_plain & results["epochs"].isin(settings["epochs"])
        plain = results[compared]
        if len(plain) == 0:
            continue
        theirs = published[published["dataset"] == dataset]
        write_table(slope_rows(plain, theirs), TABLES / f"{name}_slopes.csv")
        # The published ratios are those of the CNN-6.
        theirs = theirs[(theirs["quantity"] == "prs_ratio") & (network == "cnn6")]
        write_table(batch_size_rows(plain, theirs), TABLES / f"{name}_batch_size.csv")
        if layers := list(layer_rows(plain)):
            write_table(layers, TABLES / f"{name}_layers.csv")
        robustness_against_ratio(plain, CAUSES, MEASURES, FIGURES / f"{name}.png")
        if (~is_plain).any():
            pairs = experiment.matched(results[is_plain], results[~is_plain])
            write_table(matched_rows(pairs), TABLES / f"{name}_matched.csv")
    verdicts.update("regions")


if __name__ == "__main__":
    main()
