"""The claims of the paper on populated regions, and the tables that decide them."""

from functools import partial

from papers._results import ResultTable, read_published
from papers.regions import experiment
from papers.regions.experiment import RESULTS
from papers.verdicts import Family, NotMeasuredError
from robustkit.correlation import Claim

NETWORKS = {
    "mnist_cnn6": "CNN-6 on MNIST",
    "mnist_mlp": "perceptron on MNIST",
    "digits_mlp": "perceptron on digits",
}
CAUSES = {
    "prs_ratio": "the PRS ratio rises",
    "inclusion_ratio": "the test inclusion ratio rises",
}

# Cohen's medium effect.
MEDIUM = 0.3


def published(quantity, batch_size=""):
    """A number of the paper, on MNIST with its CNN-6, as printed."""
    table = read_published(RESULTS.parent / "published.csv")
    table = table[(table["dataset"] == "mnist") & (table["quantity"] == quantity)]
    return table.loc[table["batch_size"] == batch_size, "value"].item()


def runs(network):
    """All rows of an experiment."""
    path = RESULTS / f"{network}.csv"
    table = ResultTable(path, experiment.KEYS, experiment.DEFAULTS).read()
    if table.empty:
        raise NotMeasuredError(f"no run of {network}")
    return table


def finished_networks(network):
    """Networks at the end of their training, as the paper compares them."""
    table = runs(network)
    is_plain = (table["strength"] == 0) & (table["smoothing"] == 0)
    return table[is_plain & (table["epochs"] == table["epochs"].max())]


def pairs(network):
    """Regularised networks, and plain ones of the same seed, batch size and epochs."""
    table = runs(network)
    at_the_end = table["epochs"] == table["epochs"].max()
    table = table[at_the_end & (table["smoothing"] == 0)].copy()
    table["regularised"] = (table["strength"] > 0).astype(int)
    sizes = table.loc[table["regularised"] == 1, "batch_size"].unique()
    if not len(sizes):
        raise NotMeasuredError(f"no regularised network of {network}")
    return table[table["batch_size"].isin(sizes)]


def smoothed(network):
    """Networks with label smoothing, and plain ones trained alike."""
    table = runs(network)
    at_the_end = table["epochs"] == table["epochs"].max()
    table = table[at_the_end & (table["strength"] == 0)].copy()
    table["smoothed"] = (table["smoothing"] > 0).astype(int)
    sizes = table.loc[table["smoothed"] == 1, "batch_size"].unique()
    if not len(sizes):
        raise NotMeasuredError(f"no network of {network} with label smoothing")
    return table[table["batch_size"].isin(sizes)]


def slopes(network):
    """Whether robust accuracy falls as the ratio rises, over finished networks."""
    claims = [
        Claim(
            cause,
            measure,
            sign=-1,
            smallest=MEDIUM,
            name=f"Robust accuracy falls as {event}{attack}: {NETWORKS[network]}",
            source=f"slope {published(f'slope on {cause}')}".replace("-", "−"),
        )
        for cause, event in CAUSES.items()
        for measure, attack in (
            ("robust_accuracy_ce", ""),
            ("robust_accuracy_published", " (published attack)"),
        )
    ]
    return Family(
        partial(finished_networks, network),
        claims,
        unit="networks",
        command=_command(network),
        factors=["batch_size", "seed"],
    )


def large_batches(network):
    """Whether the ratio rises with the batch size."""
    low, high = (float(published("prs_ratio", size)) for size in ("128", "2048"))
    claim = Claim(
        "batch_size",
        "prs_ratio",
        sign=1,
        smallest=MEDIUM,
        name=f"Larger batches end with larger ratios: {NETWORKS[network]}",
        source=f"+{high - low:.2f} from 128 to 2048",
    )
    return Family(
        partial(finished_networks, network),
        [claim],
        unit="networks",
        command=_command(network),
        factors=["seed"],
    )


def regularizer(network):
    """Whether a network is more robust if the regularizer lowers its ratio."""
    claim = Claim(
        "regularised",
        "robust_accuracy_rotate",
        sign=1,
        smallest=MEDIUM,
        name=f"The regularizer makes networks more robust: {NETWORKS[network]}",
        source="higher robust accuracy",
    )
    return Family(
        partial(pairs, network),
        [claim],
        unit="networks",
        command=_command(network),
        factors=["seed"],
    )


def label_smoothing(network):
    """Whether plain label smoothing makes networks more robust: a baseline."""
    claim = Claim(
        "smoothed",
        "robust_accuracy_rotate",
        sign=1,
        smallest=MEDIUM,
        name=f"Label smoothing makes networks more robust: {NETWORKS[network]}",
        source="not measured",
    )
    return Family(
        partial(smoothed, network),
        [claim],
        unit="networks",
        command=f"{_command(network)} --smoothings .1",
        factors=["seed"],
    )


def _command(network):
    dataset, kind = network.split("_")
    return f"python -m papers.regions --dataset {dataset} --network {kind}"


FAMILIES = [
    question(network)
    for question in (slopes, large_batches, regularizer, label_smoothing)
    for network in NETWORKS
]
