"""The claims of the paper on the topology of activations, and what decides them."""

from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd

from papers._claims import Estimate
from papers.topology.experiment import COVERS, REFINING_SCALE, SCALES
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


def gains(norm):
    """What refining changes, beside the purity of the graph it is refined by."""
    table = networks("mnist", norm)
    table = table[table["attack"] == "full"].copy()
    cover = COVER[norm]
    table["gain"] = table[f"{cover}, replay 4"] - table["M_adv"]
    table["own_purity"] = table[f"purity {cover} {REFINING_SCALE:g}"]
    return table


def two_by_two(**shown):
    """Clean and adversarial networks, shown clean and attacked samples."""
    table = pd.read_csv(RESULTS / "two_by_two.csv")
    table["purity"] = table[KINDS].mean(axis=1)
    table["attacked"] = (table["data"] == "attacked").astype(int)
    # The clean network is the same at all levels, and so are the clean samples.
    is_clean = (table["network"] == "clean") & (table["attacked"] == 0)
    table["trained_at"] = table["eps"].where(table["network"] == "adversarial", 0.0)
    eps = table["eps"].where(~is_clean, 0.0).astype(str)
    table["cell"] = table["seed"].astype(str) + table["network"] + table["data"] + eps
    for name, value in shown.items():
        table = table[table[name] == value]
    return table


def conjecture(norm):
    """Whether refining helps more where purity is higher, as the paper supposes."""
    claim = Claim(
        "own_purity",
        "gain",
        sign=1,
        smallest=MEDIUM,
        name=f"Refining helps more where purity is higher ({NORMS[norm]})",
        source="conjectured",
    )
    return Family(
        partial(gains, norm),
        [claim],
        unit="networks",
        command="python -m papers.topology --dataset mnist",
        factors=["seed"],
    )


def apart(cause, sentence, given=(), **shown):
    """Whether purity falls for one reason while the other is held fixed."""
    claim = Claim(
        cause,
        "purity",
        sign=-1,
        smallest=MEDIUM,
        given=given,
        name=sentence,
        source="not measured",
    )
    return Family(
        partial(two_by_two, **shown),
        [claim],
        unit="networks",
        command="python -m papers.topology.two_by_two",
        groups="cell",
        factors=["seed"],
    )


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
    apart(
        "trained_at",
        "Purity falls with the network, shown clean samples",
        data="clean",
    ),
    apart(
        "attacked",
        "Purity falls with the samples, network trained against the attack",
        given=["eps"],
        network="adversarial",
    ),
    *(conjecture(norm) for norm in NORMS),
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
