"""The claims of the paper on random graphs, and the estimates that decide them."""

from functools import partial

from papers.random_graphs.published import F1_SCORES
from papers.verdicts import YES, cells, level_claim, signed_claim

# Measure and property of table 1 -> how a reader says it. A published sign of the
# coefficient is what the sentence claims.
RELATIONS = {
    ("FGSM: error rate", "Number of parameters"): "FGSM fools larger networks less",
    ("FGSM: error rate", "Density"): "FGSM fools denser networks more",
    ("FGSM: error rate", "Average path length"): (
        "FGSM fools networks with longer paths less"
    ),
    ("One Pixel: error rate", "Number of parameters"): (
        "One Pixel fools larger networks less"
    ),
    ("One Pixel: error rate", "Density"): "One Pixel fools denser networks more",
    ("One Pixel: error rate", "Average eccentricity"): (
        "One Pixel fools networks of larger eccentricity more"
    ),
    ("One Pixel: confidence", "Number of parameters"): (
        "One Pixel leaves larger networks more confident in the wrong class"
    ),
    ("One Pixel: confidence", "Density"): (
        "One Pixel leaves denser networks less confident in the wrong class"
    ),
}
WITHIN = {
    "FGSM: error rate": "The more is pruned, the more FGSM fools",
    "One Pixel: error rate": "The more is pruned, the more One Pixel fools",
    "One Pixel: confidence": "The more is pruned, the higher One Pixel's confidence",
}
# A share of the variance that counts as no influence.
NO_INFLUENCE = 5.0


def accuracy():
    """Whether the networks are as accurate as published."""
    _, theirs, _ = F1_SCORES["graphs"]
    shown = {"what_it_shows": "macro F1 in percent: mean, and range"}
    ours = cells("random_graphs", "graphs_figures", "ours", **shown)
    return level_claim("Macro F1 in percent", [theirs], ours)


def relation(measure, name):
    """Whether a coefficient of table 1 has its published sign."""
    pair = {"measure": measure, "property": name}
    (theirs,) = cells("random_graphs", "graphs_paper", "ρ published", **pair)
    return signed_claim(
        RELATIONS[measure, name],
        f"ρ = {theirs.text}",
        1 if theirs.middle > 0 else -1,
        cells("random_graphs", "graphs_paper", "ρ ours", **pair),
    )


def initialisation(measure):
    """Whether the initialisation matters for an error rate."""
    shown = f"share of the variance between initialisations: {measure}: error rate"
    (share,) = cells("random_graphs", "graphs_figures", "ours", what_it_shows=shown)
    is_small = share.middle < NO_INFLUENCE
    return {
        "claim": f"The initialisation has no influence on {measure}'s error rate",
        "published": "no influence",
        "ours": f"{share.middle:.0f} % of the variance",
        "holds?": YES if is_small else "no",
    }


def pruning(measure):
    """Whether a coefficient with size has its published sign within pruned networks.

    The published sign is that of tau: the one of rho contradicts it, and the paper's
    text, for the confidence of One Pixel.
    """
    row = {"measure": measure}
    pair = {**row, "property": "Number of parameters"}
    (rho,), (theirs,) = (
        cells("random_graphs", "pruning_paper", f"{letter} published", **pair)
        for letter in "ρτ"
    )
    return signed_claim(
        WITHIN[measure],
        f"with size ρ = {rho.text}, τ = {theirs.text}",
        1 if theirs.middle > 0 else -1,
        cells("random_graphs", "pruning_within", "ρ within a net, mean", **row),
    )


CLAIMS = [
    accuracy,
    *(partial(relation, *pair) for pair in RELATIONS),
    *(partial(initialisation, measure) for measure in ("FGSM", "One Pixel")),
    *(partial(pruning, measure) for measure in WITHIN),
]
