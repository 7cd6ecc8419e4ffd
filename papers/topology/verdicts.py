"""The claims of the paper on the topology of activations, and what decides them."""

from functools import partial

import numpy as np

from papers._claims import Estimate
from papers.topology.experiment import COVERS, SCALES
from papers.topology.page import PUBLISHED, read_published
from papers.verdicts import cells, level_claim, signed_claim

NORMS = {"linf": "maximum norm", "l2": "Euclidean norm"}
KINDS = [f"{cover} {scale:g}" for cover in COVERS for scale in SCALES]


def published(norm, column):
    """The mean of a column of tables 1 and 2 at each level above 0, as a number."""
    table = read_published(PUBLISHED)
    texts = table.loc[(table["norm"] == norm) & (table["eps"] != "0"), column]
    return [Estimate.read(text).middle for text in texts if text]


def robust_accuracy(norm):
    """Whether the levels are those of the paper."""
    table = cells("topology", f"mnist_{norm}", "full attack")
    theirs = published(norm, "M_adv")
    return level_claim(
        f"Robust accuracy in percent, smallest to largest eps ({NORMS[norm]})",
        theirs,
        table,
    )


def purity(dataset, norm):
    """Whether purity falls from the clean network to the largest eps."""
    attack = f"full, {norm}"
    falls = [
        cells("topology", f"{dataset}_fall", kind, attack=attack)[0] for kind in KINDS
    ]
    name = {"mnist": "MNIST", "cifar10": "CIFAR-10, small version"}[dataset]
    return signed_claim(
        f"Purity falls as eps grows, four kinds of graph: {name} ({NORMS[norm]})",
        "falls with eps",
        -1,
        falls,
    )


def refining(norm):
    """Whether refining with weak regions raises robust accuracy."""
    cover = {"linf": "uniform", "l2": "balanced"}[norm]
    name = f"mnist_{norm}_full_gain"
    return signed_claim(
        f"Refining raises robust accuracy, in points over all levels ({NORMS[norm]})",
        f"+{np.mean(published(norm, f'gain, {cover}')):.2f}",
        1,
        cells("topology", name, "refined", cover=cover, eps="mean"),
    )


def weak_regions(norm):
    """Whether it raises it more than as many random samples do; not in the paper."""
    cover = {"linf": "uniform", "l2": "balanced"}[norm]
    name = f"mnist_{norm}_full_gain"
    return signed_claim(
        f"Refining raises it more than random samples do ({NORMS[norm]}; our question)",
        "not measured",
        1,
        cells("topology", name, "refined - random", cover=cover, eps="mean"),
    )


CLAIMS = [
    *(partial(robust_accuracy, norm) for norm in NORMS),
    *(
        partial(purity, dataset, norm)
        for dataset in ("mnist", "cifar10")
        for norm in NORMS
    ),
    *(
        partial(question, norm)
        for norm in NORMS
        for question in (refining, weak_regions)
    ),
]
