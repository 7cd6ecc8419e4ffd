"""What page.rst must say, word for word, as the tables have it."""

from functools import partial

from papers import _claims
from papers._claims import NUMBERS

Table = partial(_claims.Table, "random_graphs")


def claims():
    """Yield what the page must say of random graphs, and of pruned networks."""
    amounts = Table("amounts")
    n_networks = amounts.one("networks", study="random-graphs")
    yield f"in every one of the {n_networks:.0f} networks"
    summary = Table("graphs_summary")
    ours = 100 * summary.one("mean", measure="macro F1")
    yield f"Macro F1 is {ours:.1f} % on average; 97.3 % was published"
    right = 100 * summary.one("mean", measure="FGSM robust accuracy")
    assert summary.one("mean", measure="PGD robust accuracy") < 0.01
    yield f"leaves {right:.0f} % of the images right, PGD within the same eps"
    figures = Table("graphs_figures")
    f1 = {"what it shows": "macro F1 in percent: mean, and range"}
    low, high = (figures.one("ours", number, **f1) for number in (1, 2))
    yield f"all networks lie between {low} and {high} %"
    share = "share of the variance between initialisations: "
    error, confidence, pixel = (
        figures.one("ours", **{"what it shows": share + name})
        for name in ("FGSM: error rate", "FGSM: confidence", "One Pixel: error rate")
    )
    yield f"{error:.0f} % of the variance of FGSM's error rate and {confidence:.0f} %"
    yield f"For One Pixel it explains {pixel:.0f} %"
    theirs = Table("mismatched_summary")
    theirs = 100 * theirs.one("mean", measure="macro F1")
    yield f"Macro F1 is {theirs:.1f} % on average, and no network reaches"
    yield from pruning_claims()


def pruning_claims():
    """Yield what the page must say of networks one by one."""
    within = {
        name: Table(f"{name}_within") for name in ("pruning", "pruning_mismatched")
    }
    for name, table in within.items():
        number = Table("amounts").one("networks", study=name.replace("_", "-"))
        assert set(table.of("nets")) == {number}
    signs = within["pruning"].one("of the published sign", measure="FGSM: confidence")
    yield f"FGSM's confidence has the published sign in {NUMBERS[int(signs)]} of ten"
    yield f"Under the mismatched protocol, with {NUMBERS[int(number)]} networks"
    theirs = Table("pruning_mismatched_summary")
    theirs = 100 * theirs.one("mean", measure="macro F1")
    yield f"and not that of this one, {theirs:.1f} %"
