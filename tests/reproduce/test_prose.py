"""What the pages of results say in words is what their tables hold."""

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from benchmarks.reproduce.results import RESULTS
from benchmarks.reproduce.topology import COVERS, SCALES

DOCS = Path(__file__).parents[2]


class Table:
    """Numbers of a table: of "0.24 ± 1.92" the first, or the other if it is meant."""

    def __init__(self, name):
        self.rows = pd.read_csv(
            DOCS / RESULTS / "tables" / f"{name}.csv", dtype=str, keep_default_na=False
        )

    def of(self, column, number=0, **row):
        """All numbers of a column, in the rows whose other columns are as given."""
        rows = self.rows
        for name, value in row.items():
            rows = rows[rows[name] == value]
        found = [re.findall(r"[-+]?\d+(?:\.\d+)?", text) for text in rows[column]]
        return [float(numbers[number]) for numbers in found if numbers]

    def one(self, column, number=0, **row):
        """The one number that is meant."""
        (value,) = self.of(column, number, **row)
        return value

    def intervals(self, column, **row):
        """(low, high) of every cell."""
        middles, halves = self.of(column, **row), self.of(column, 1, **row)
        pairs = zip(middles, halves, strict=True)
        return [(middle - half, middle + half) for middle, half in pairs]


def short(value, digits=1):
    """Write a number without the zero before the point, as the pages do."""
    return re.sub(r"^(-?)0\.", r"\1.", f"{value:.{digits}f}")


def words(page):
    """Text of a page, without line breaks and marks of emphasis."""
    text = (DOCS / RESULTS / f"{page}.rst").read_text(encoding="utf-8")
    return " ".join(text.replace("*", "").split())


NUMBERS = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight")
NUMBERS += ("nine", "ten")


def topology_claims():
    """Yield what the page must say."""
    linf, l2 = (Table(f"topology_mnist_{norm}") for norm in ("linf", "l2"))
    theirs = linf.of("published")[1:]
    robust = linf.one("full attack", eps="0.3")
    yield f"{robust:.0f} % at .30, where {theirs[-1]:.0f} % was published"
    above = np.subtract(linf.of("same networks, short attack"), theirs)
    yield f"between {min(above):.0f} and {max(above):.0f} points above"
    trained = linf.of("trained and tested with the short attack")
    more = np.subtract(trained, theirs)
    yield f"from {short(max(more))} points more to {short(-min(more))} less"
    left = [linf.one("those, full attack", eps=eps) for eps in ("0.15", "0.3")]
    yield f"the full attack leaves them {left[0]:.0f} % at .15, and {left[1]:.1f} %"
    above = np.subtract(l2.of("full attack"), l2.of("published")[1:])
    yield f"by {short(above[0])} points at .05 and by {above[-1]:.1f} at .3"
    yield from refining_claims()
    fall = Table("topology_mnist_fall")
    kinds = [f"{cover} {scale:g}" for cover in COVERS for scale in SCALES]
    falls = [-fall.one(kind, attack="full, linf") for kind in kinds]
    yield f"for both covers and both distances, by {min(falls):.0f} to {max(falls):.0f}"
    falls = [-fall.one(kind, attack="full, l2") for kind in kinds]
    yield f"weak, it falls by {min(falls):.0f} to {max(falls):.0f} points"
    purity = Table("topology_mnist_purity")
    clean = [purity.one(f"purity, {kind}", attack="none") for kind in kinds]
    yield f"lies between {min(clean):.0f} % and {max(clean):.0f} %"
    right = purity.one("training accuracy", attack="full, linf", eps="0.3")
    yield f"falls from 100 to {right:.0f} %"
    yield from cifar10_claims(kinds)


def refining_claims():
    """Yield what the page must say of refining on MNIST."""
    gain = Table("topology_mnist_linf_full_gain")
    means = {name: gain.of(name, eps="mean") for name in gain.rows.columns[5:]}
    assert {short(value) for value in means["refined"]} == {".2"}
    assert {short(value) for value in means["with random samples"]} == {".4"}
    assert {short(value) for value in means["refined - random"]} == {"-.2"}
    halves = gain.of("refined - random", 1, eps="mean")
    assert {short(value) for value in halves} == {".6"}
    yield "refining brings about .2 points, as published"
    yield "random samples brings .4"
    yield "The difference between the two, which varies less, is -.2 ± .6."
    levels = gain.rows["eps"] != "mean"
    gain.rows = gain.rows[levels]
    intervals = gain.intervals("refined - random")
    n_above = sum(low > 0 for low, _ in intervals)
    n_below = sum(high < 0 for _, high in intervals)
    n_held = len(intervals) - n_above - n_below
    held, above, below = (NUMBERS[n] for n in (n_held, n_above, n_below))
    yield f"{held} hold zero, {above} lies above it and {below} below"
    small = [*gain.of("refined", eps="0.05"), *gain.of("refined", eps="0.1")]
    euclid = Table("topology_mnist_l2_full_gain")
    harm = euclid.of("refined")
    yield f"by {short(-max(small))} to {short(-min(small))} points, with three of four"
    yield f"Euclidean norm by {short(-max(harm))} to {-min(harm):.0f}."
    alone = gain.of("with weak samples alone") + euclid.of("with weak samples alone")
    yield f"costs {-max(alone):.0f} to {-min(alone):.0f} points under the full attack"
    brief = Table("topology_mnist_linf_short_gain")
    assert {short(-value) for value in brief.of("refined", eps="mean")} == {".6"}
    assert max(brief.of("refined")) < 0
    yield "refining costs .6 points on average, and brings a gain at no level"


def cifar10_claims(kinds):
    """Yield what the page must say of the small version of CIFAR-10."""
    fall, purity = Table("topology_cifar10_fall"), Table("topology_cifar10_purity")
    falls = [-fall.one(kind, attack="full, linf") for kind in kinds]
    widths = [fall.intervals(kind, attack="full, linf")[0] for kind in kinds]
    assert all(low < 0 < high for low, high in widths)
    yield f"both seeds, by {min(falls):.0f} to {max(falls):.0f} points on average"
    right = [purity.one("training accuracy", eps=eps) for eps in ("0", "8/255")]
    yield f"network gets {right[0]:.0f} % right, the one at 8/255 {right[1]:.0f} %"
    falls = [-fall.one(kind, attack="full, l2") for kind in kinds]
    yield f"by {min(falls):.0f} to {max(falls):.0f} points, though not from each level"
    euclid = Table("topology_cifar10_l2_full_gain")
    uniform, balanced = euclid.of("refined", eps="mean")
    others = set(euclid.of("with random samples", eps="mean"))
    yield f"{short(uniform, 2)} and {short(balanced, 2)} points, random samples"
    yield f"random samples {short(*others, 2)}."
    gain = Table("topology_cifar10_linf_full_gain")
    means = [gain.of(name, eps="mean") for name in ("refined", "with random samples")]
    assert all(np.ptp(values) == 0 for values in means)
    yield f"which one seed has, {short(means[0][0], 2)} points for either cover"
    yield f"where random samples bring {means[1][0]:.1f}"


MEASURES = ["PGD, cross-entropy", "PGD, margin", "PGD, rotating"]
ALL, SAME_SIZE = "all networks", "those of one batch size"
KINDS = ("plain", "regularised")
ALIKE = f"{SAME_SIZE} and number of epochs"


def regions_claims():
    """Yield what the page must say of the perceptrons."""
    digits, mnist = (
        Table(f"regions_{name}_mlp_slopes") for name in ("digits", "mnist")
    )
    for table in (digits, mnist):
        table.rows = table.rows[table.rows["on"] == "PRS ratio"]
    free = {"clean accuracy": "free"}
    ours = digits.rows[digits.rows["networks compared"] == ALL].iloc[0]
    yield f"{shortened(ours[MEASURES[0]])} with the cross-entropy, steeper than"
    loose, fixed = mnist.rows[mnist.rows["networks compared"] == ALL][MEASURES[0]]
    yield f"it is {shortened(loose)}, and turns to {shortened(fixed)} once"
    within = [
        slope
        for table in (digits, mnist)
        for measure in MEASURES
        for slope in table.of(measure, **{"networks compared": SAME_SIZE}, **free)
    ]
    yield f"steep fall, from {short(max(within))} to {short(min(within))}"
    alike = [
        interval
        for table in (digits, mnist)
        for measure in MEASURES
        for interval in table.intervals(measure, **{"networks compared": ALIKE}, **free)
    ]
    assert all(low < 0 < high for low, high in alike)
    yield f"reach down to {short(min(alike)[0], 2)}"
    yield from cnn6_claims()
    yield f"at most {short(found_more('mnist', 'margin', plain=True))} points more"
    regularised = found_more("mnist", "margin", plain=False)
    yield f"up to {regularised:.1f} points more, and both in turn up to "
    yield f"in turn up to {found_more('mnist', 'rotate', plain=False):.1f}: there"
    yield f"margin finds up to {found_more('digits', 'margin', plain=True):.1f} points"


def cnn6_claims():
    """Yield what the page must say of the CNN-6."""
    table = Table("regions_mnist_cnn6_slopes")
    table.rows = table.rows[table.rows["clean accuracy"] == "free"]
    kinds = table.rows.set_index(["networks compared", "on"])[MEASURES[0]]
    slope, inclusion = (
        {kind: shortened(kinds[kind, on]) for kind in (ALL, SAME_SIZE)}
        for on in ("PRS ratio", "test inclusion ratio")
    )
    yield f"Over all networks its slope is {slope[ALL]}, an interval that decides"
    yield f"of one batch size have a slope of {slope[SAME_SIZE]}, which leaves"
    within = {"networks compared": SAME_SIZE, "on": "PRS ratio"}
    assert table.intervals(MEASURES[0], **within)[0][0] > -0.30
    yield f"the published sign, {inclusion[ALL]} over all networks and"
    yield f"{inclusion[SAME_SIZE]} within a batch size."
    sizes = Table("regions_mnist_cnn6_batch_size").rows.set_index("batch size")
    first, largest = (sizes.loc[size, "PRS ratio"][:4] for size in ("64", "512"))
    yield f"from {shortened(first)} at 64 they rise to {shortened(largest)} at 512"
    pairs = Table("regions_mnist_cnn6_matched").rows
    (rotating,) = pairs.loc[pairs["measure"] == MEASURES[2], "difference"]
    yield f"in every pair, by {shortened(rotating).lstrip('-')} under the rotating"


def found_more(dataset, loss, *, plain):
    """How many points more another loss than the cross-entropy finds at most."""
    models = pd.read_csv(DOCS / RESULTS / f"regions_{dataset}_mlp.csv")
    models = models[(models["strength"] == 0) == plain]
    found = models["robust_accuracy_ce"] - models[f"robust_accuracy_{loss}"]
    return 100 * found.max()


def shortened(cell):
    """Write the numbers of a cell without the zeros before their points."""
    return re.sub(r"\b0\.", ".", cell.replace("\u00a0", " "))


def random_graphs_claims():
    """Yield what the page must say of random graphs, and of pruned networks."""
    amounts = Table("random_graphs_amounts")
    n_networks = amounts.one("networks", study="random-graphs")
    yield f"in every one of the {n_networks:.0f} networks"
    yield f"{amounts.one('graphs', study='random-graphs'):.0f} graphs: intervals"
    summary = Table("random_graphs_graphs_summary")
    ours = 100 * summary.one("mean", measure="macro F1")
    yield f"Macro F1 is {ours:.1f} % on average; 97.3 % was published"
    right = 100 * summary.one("mean", measure="FGSM robust accuracy")
    assert summary.one("mean", measure="PGD robust accuracy") < 0.01
    yield f"leaves {right:.0f} % of the images right, PGD within the same eps"
    figures = Table("random_graphs_graphs_figures")
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
    theirs = Table("random_graphs_mismatched_summary")
    theirs = 100 * theirs.one("mean", measure="macro F1")
    yield f"Macro F1 is {theirs:.1f} % on average, and no network reaches"
    yield from pruning_claims()


def pruning_claims():
    """Yield what the page must say of networks one by one."""
    within = {
        name: Table(f"random_graphs_{name}_within")
        for name in ("pruning", "pruning_mismatched")
    }
    for name, table in within.items():
        number = Table("random_graphs_amounts").one(
            "networks", study=name.replace("_", "-")
        )
        assert set(table.of("nets")) == {number}
    signs = within["pruning"].one("of the published sign", measure="FGSM: confidence")
    yield f"FGSM's confidence has the published sign in {NUMBERS[int(signs)]} of ten"
    yield f"Under the mismatched protocol, with {NUMBERS[int(number)]} networks"
    found = within["pruning_mismatched"]
    # The published sign of its coefficient contradicts those of the others.
    against = found.one("of the published sign", measure="One Pixel: confidence")
    falls = NUMBERS[int(number - against)]
    theirs = Table("random_graphs_pruning_mismatched_summary")
    theirs = 100 * theirs.one("mean", measure="macro F1")
    yield f"and not that of this one, {theirs:.1f} %"
    yield f"{falls} of {NUMBERS[int(number)]} under the mismatched protocol"


PAGES = {
    "topology": topology_claims,
    "regions": regions_claims,
    "random_graphs": random_graphs_claims,
}


@pytest.mark.parametrize("page", PAGES)
def test_page_says_what_the_tables_hold(page):
    text = words(page)
    assert [claim for claim in PAGES[page]() if claim not in text] == []


@pytest.mark.parametrize("network", ["digits_mlp", "mnist_mlp", "mnist_cnn6"])
def test_regularised_networks_have_a_seventh_of_the_ratio(network):
    pairs = Table(f"regions_{network}_matched")
    plain, other = (pairs.of(kind, measure="prs ratio") for kind in KINDS)
    assert np.all(np.divide(other, plain) < 1 / 7)
    clean = np.abs(pairs.of("difference", measure="clean accuracy"))
    assert np.all(clean < 0.01)


@pytest.mark.parametrize("network", ["digits_mlp", "mnist_mlp"])
def test_regularised_perceptrons_are_less_robust(network):
    pairs = Table(f"regions_{network}_matched")
    falls = [pairs.intervals("difference", measure=name) for name in MEASURES]
    assert np.max(falls) < 0
