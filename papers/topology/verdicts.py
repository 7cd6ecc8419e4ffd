"""The claims of the paper on the topology of activations, and what decides them."""

from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd

from papers._claims import Estimate
from papers.topology.experiment import COVERS, SCALES
from papers.topology.page import PUBLISHED, read_published
from papers.verdicts import Family, NotMeasuredError
from robustkit.correlation import Claim

RESULTS = Path(__file__).parent / "results"
NORMS = {"linf": "maximum norm", "l2": "Euclidean norm"}
DATASETS = {"mnist": "MNIST", "cifar10": "CIFAR-10, small version"}
KINDS = [f"purity {cover} {scale:g}" for cover in COVERS for scale in SCALES]
# The kind of graph whose weak regions the paper uses in each norm.
COVER = {"linf": "uniform", "l2": "balanced"}

# Cohen's medium effect.
MEDIUM = 0.3


def published(norm, column):
    """The mean of a column of tables 1 and 2 at each level above 0, as a number."""
    table = read_published(PUBLISHED)
    texts = table.loc[(table["norm"] == norm) & (table["eps"] != "0"), column]
    return [Estimate.read(text).middle for text in texts if text]


def networks(dataset, norm):
    """Clean and adversarially trained networks, with the mean of their purities."""
    table = pd.read_csv(
        RESULTS / f"{dataset}.csv", keep_default_na=False, na_values=[""]
    )
    table = table[
        (table["attack"] == "none")
        | ((table["attack"] == "full") & (table["norm"] == norm))
    ].copy()
    if table.empty:
        raise NotMeasuredError(f"no network of {dataset}")
    table["purity"] = table[KINDS].mean(axis=1)
    return table


def refined(norm, baseline):
    """Robust accuracies of refined networks, and of those they are compared with."""
    table = networks("mnist", norm)
    table = table[table["attack"] == "full"]
    parts = []
    columns = (baseline.format(COVER[norm]), f"{COVER[norm]}, replay 4")
    for is_refined, column in enumerate(columns):
        part = table[["eps", "seed"]].copy()
        part["refined"], part["accuracy"] = is_refined, table[column]
        parts.append(part)
    return pd.concat(parts, ignore_index=True).dropna()


def purity(dataset, norm):
    """Whether purity falls from the clean network to the largest eps."""
    claim = Claim(
        "eps",
        "purity",
        sign=-1,
        smallest=MEDIUM,
        name=f"Purity falls as eps grows: {DATASETS[dataset]} ({NORMS[norm]})",
        source="falls with eps",
    )
    return Family(
        partial(networks, dataset, norm),
        [claim],
        unit="networks",
        command=f"python -m papers.topology --dataset {dataset}",
        factors=["seed"],
    )


def refining(norm, baseline, sentence, source):
    """Whether refining with weak regions raises robust accuracy above another's."""
    claim = Claim(
        "refined",
        "accuracy",
        sign=1,
        smallest=MEDIUM,
        given=["eps"],
        name=f"{sentence} ({NORMS[norm]})",
        source=source,
    )
    return Family(
        partial(refined, norm, baseline),
        [claim],
        unit="networks",
        command="python -m papers.topology --dataset mnist",
        factors=["eps", "seed"],
    )


FAMILIES = [
    *(purity(dataset, norm) for dataset in DATASETS for norm in NORMS),
    *(
        family
        for norm in NORMS
        for family in (
            refining(
                norm,
                "M_adv",
                "Refining raises robust accuracy",
                f"+{np.mean(published(norm, f'gain, {COVER[norm]}')):.2f} points",
            ),
            refining(
                norm,
                "{}, random",
                "Refining raises it more than random samples do",
                "not measured",
            ),
        )
    ),
]
