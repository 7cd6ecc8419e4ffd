"""What page.rst must say, word for word, as the tables have it."""

from functools import partial

import pandas as pd

from papers import _claims
from papers._claims import short, shortened
from papers.regions.experiment import RESULTS

Table = partial(_claims.Table, "regions")

MEASURES = ["PGD, cross-entropy", "PGD, margin", "PGD, rotating"]
ALL, SAME_SIZE = "all networks", "those of one batch size"
ALIKE = f"{SAME_SIZE} and number of epochs"


def claims():
    """Yield what the page must say of the perceptrons."""
    digits, mnist = (Table(f"{name}_mlp_slopes") for name in ("digits", "mnist"))
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
    published = -0.30
    assert min(alike)[0] > published
    yield f"reach down to {short(min(alike)[0], 2)}, and so leave"
    yield from layer_claims()
    yield from cnn6_claims()
    assert found_more("mnist", "margin", "plain") < 0
    assert found_more("mnist", "margin", "regularised") < 0
    both = {found_more("mnist", "rotate", kind) for kind in ("plain", "regularised")}
    yield f"both in turn find up to {max(both):.1f} points more"
    smoothed = (found_more("mnist", loss, "smoothed") for loss in ("margin", "rotate"))
    margin, rotating = smoothed
    yield f"the margin finds up to {margin:.1f} points more, and both in turn up to"
    yield f"in turn up to {rotating:.1f}: there"
    found = found_more("digits", "margin", "plain")
    yield f"On digits the margin finds up to {found:.1f} points"


def layer_claims():
    """Yield what the page must say of the layers of the perceptrons."""
    table = Table("digits_mlp_layers")
    first, second = table.rows[f"slope, {ALIKE}"]
    for pooled in (f"slope, {ALL}", f"slope, {SAME_SIZE}"):
        assert all(high < 0 for _, high in table.intervals(pooled))
    (_, high), (low, other_high) = table.intervals(f"slope, {ALIKE}")
    assert high < 0
    assert low < 0 < other_high
    mnist = Table("mnist_mlp_layers")
    assert all(low < 0 < high for low, high in mnist.intervals(f"slope, {ALIKE}"))
    ratio = mnist.one("PRS ratio", **{"hidden layer": "1"})
    yield f"On MNIST the ratio of the first layer is {short(ratio, 3)} on average"
    yield f"trained alike, {shortened(first)}. In the second layer"
    yield f"it does not, {shortened(second)}."


def cnn6_claims():
    """Yield what the page must say of the CNN-6."""
    table = Table("mnist_cnn6_slopes")
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
    sizes = Table("mnist_cnn6_batch_size").rows.set_index("batch size")
    first, largest = (sizes.loc[size, "PRS ratio"][:4] for size in ("64", "512"))
    yield f"from {shortened(first)} at 64 they rise to {shortened(largest)} at 512"
    pairs = Table("mnist_cnn6_matched").rows
    (rotating,) = pairs.loc[pairs["measure"] == MEASURES[2], "difference"]
    yield f"in every pair, by {shortened(rotating).lstrip('-')} under the rotating"


def found_more(dataset, loss, kind):
    """How many points more another loss than the cross-entropy finds at most."""
    models = pd.read_csv(RESULTS / f"{dataset}_mlp.csv")
    # Rows of before label smoothing was tried say nothing of it.
    smoothed, regularised = models["smoothing"].fillna(0) > 0, models["strength"] > 0
    kinds = {
        "plain": ~smoothed & ~regularised,
        "regularised": regularised,
        "smoothed": smoothed,
    }
    models = models[kinds[kind]]
    found = models["robust_accuracy_ce"] - models[f"robust_accuracy_{loss}"]
    return 100 * found.max()
