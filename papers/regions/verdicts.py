"""The claims of the paper on populated regions, and the estimates that decide them."""

from functools import partial

import numpy as np

from papers._claims import Estimate
from papers._results import ResultTable, read_published, signed, with_interval
from papers.regions import experiment
from papers.regions.experiment import RESULTS
from papers.verdicts import NotMeasuredError, cells, signed_claim

NETWORKS = {
    "mnist_cnn6": "CNN-6 on MNIST",
    "mnist_mlp": "perceptron on MNIST",
    "digits_mlp": "perceptron on digits",
}
SLOPES = {
    "PRS ratio": ("the PRS ratio rises", "slope on prs_ratio"),
    "test inclusion ratio": (
        "the test inclusion ratio rises",
        "slope on inclusion_ratio",
    ),
}
CROSS_ENTROPY, STRONGEST = "PGD, cross-entropy", "PGD, rotating"


def published(quantity, batch_size=""):
    """A number of the paper, on MNIST with its CNN-6, as printed."""
    table = read_published(RESULTS.parent / "published.csv")
    table = table[(table["dataset"] == "mnist") & (table["quantity"] == quantity)]
    return table.loc[table["batch_size"] == batch_size, "value"].item()


def slope(network, cause):
    """Whether robust accuracy falls as the ratio rises, over all networks."""
    event, quantity = SLOPES[cause]
    kind = {"on": cause, "networks_compared": "all networks", "clean_accuracy": "free"}
    return signed_claim(
        f"Robust accuracy falls as {event}: {NETWORKS[network]}",
        f"slope {published(quantity)}".replace("-", "−"),
        -1,
        cells("regions", f"{network}_slopes", CROSS_ENTROPY, **kind),
    )


def small_batches(network):
    """Whether the ratio is smaller with batches of 128 than with those of 2048."""
    runs = ResultTable(RESULTS / f"{network}.csv", experiment.KEYS).read()
    runs = runs[(runs["strength"] == 0) & (runs["epochs"] == runs["epochs"].max())]
    ratios = runs.pivot(index="seed", columns="batch_size", values="prs_ratio")
    difference = np.subtract(ratios[2048], ratios[128]).dropna()
    if difference.empty:
        raise NotMeasuredError("no seed has both batch sizes")
    low, high = (float(published("prs_ratio", size)) for size in ("128", "2048"))
    return signed_claim(
        f"Batches of 2048 end with larger ratios than 128: {NETWORKS[network]}",
        f"+{high - low:.2f}",
        1,
        [Estimate.read(signed(with_interval(difference)))],
    )


def regularizer(network):
    """Whether a network is more robust if the regularizer lowers its ratio."""
    return signed_claim(
        f"The regularizer makes networks more robust: {NETWORKS[network]}",
        "higher robust accuracy",
        1,
        cells("regions", f"{network}_matched", "difference", measure=STRONGEST),
    )


CLAIMS = [
    *(partial(slope, network, cause) for cause in SLOPES for network in NETWORKS),
    *(partial(small_batches, network) for network in NETWORKS),
    *(partial(regularizer, network) for network in NETWORKS),
]
