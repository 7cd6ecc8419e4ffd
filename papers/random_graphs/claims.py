"""What page.rst must say, word for word, as the tables have it."""

from collections import Counter
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
    yield from family_claims()
    yield from protocol_claims()
    yield from pruning_claims()


def family_claims():
    """Yield what the page must say of families of the same size."""
    variance = Table("matched_families_variance")
    most = max(variance.of("of the graphs' means: family"))
    yield f"at most {most:.0f} % of what the graphs' means differ in"
    share = variance.one("init", measure="certified radius")
    yield f"{share:.0f} % of the variance of the certified radius"
    assert share > variance.one("graph", measure="certified radius")
    degree = variance.one("of the graphs' means: degree", measure="certified radius")
    yield f"degrees lie {degree:.0f} % of what the graphs' means of that radius"
    found = "median distance, maximum norm", "median distance, Euclidean norm"
    assert min(variance.one("the rest", measure=name) for name in found) > 80
    inits = Table("matched_families_inits")
    radii = {name: inits.one("certified radius", initialisation=name)
             for name in inits.rows["initialisation"]}  # fmt: skip
    assert {*sorted(radii, key=radii.get)[-2:]} == {"normal", "uniform"}
    yield "which is largest where all weights begin at one size (normal and uniform)"


def protocol_claims():
    """Yield what the page must say of both protocols on the same graphs."""
    nearer = Counter(Table("protocols").rows["nearer to the published"])
    n_published = sum(nearer.values()) - nearer["–"]
    wrong, right = nearer["mismatched"], nearer["correct"]
    # Intervals of 95 %.
    by_chance = NUMBERS[round(0.05 * n_published)]
    yield (
        f"the protocols differ in {NUMBERS[wrong + right]}, where chance alone would "
        f"give {by_chance}"
    )
    assert (n_published, wrong, right) == (15, 4, 1)
    yield "Of the fifteen coefficients that were published"
    yield "four times the mismatched one is nearer to the published coefficient, once "
    means = Table("protocols_means")
    theirs, ours = (
        100 * means.one(name, measure="One Pixel error rate")
        for name in ("mismatched", "correct")
    )
    yield f"fools {theirs:.0f} % of the images instead of {ours:.0f} %"


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
