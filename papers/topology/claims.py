"""What page.rst must say, word for word, as the tables have it."""

from functools import partial

import numpy as np
import pandas as pd

from papers import _claims
from papers._claims import NUMBERS, short, shortened
from papers.topology.experiment import COVERS, RESULTS, SCALES
from papers.topology.page import confusion_shares

Table = partial(_claims.Table, "topology")


def claims():
    """Yield what the page must say."""
    linf, l2 = (Table(f"mnist_{norm}") for norm in ("linf", "l2"))
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
    fall = Table("mnist_fall")
    kinds = [f"{cover} {scale:g}" for cover in COVERS for scale in SCALES]
    falls = [-fall.one(kind, attack="full, linf") for kind in kinds]
    yield f"for both covers and both distances, by {min(falls):.0f} to {max(falls):.0f}"
    seeds = [int(fall.one(kind, 2, attack="full, linf")) for kind in kinds]
    few, most = NUMBERS[min(seeds)], NUMBERS[max(seeds)]
    n_seeds = NUMBERS[int(fall.one("n", attack="full, linf"))]
    yield f"in {few} to {most} of the {n_seeds} seeds"
    falls = [-fall.one(kind, attack="full, l2") for kind in kinds]
    yield f"weak, it falls by {min(falls):.0f} to {max(falls):.0f} points"
    purity = Table("mnist_purity")
    clean = [purity.one(f"purity, {kind}", attack="none") for kind in kinds]
    yield f"lies between {min(clean):.0f} % and {max(clean):.0f} %"
    right = purity.one("training accuracy", attack="full, linf", eps="0.3")
    yield f"falls from 100 to {right:.0f} %"
    yield from apart_claims()
    yield from cifar10_claims(kinds)


def apart_claims():
    """Yield what the page must say of network and images apart."""
    table = Table("two_by_two")
    by_images = table.of("changed by the images")
    assert max(high for _, high in table.intervals("changed by the images")) < 0
    yield f"takes {-max(by_images):.0f} to {-min(by_images):.0f} points from it"
    clean, own = (
        np.array(table.of(f"{network} network, clean images"))
        for network in ("clean", "adversarial")
    )
    more = own - clean
    assert all(more[:5] > 0)
    yield f"by {more[0]:.0f} points at .05 and still by {more[3]:.0f} at .20"
    yield f"at .30 are they less pure, by {-more[5]:.0f} points"
    n_persisting = len(Table("persisting").rows)
    shares = confusion_shares(pd.read_csv(RESULTS / "confusions.csv"))
    ranks = shares.rank(ascending=False).loc[(3, 7)].astype(int)
    yield f"{NUMBERS[n_persisting].capitalize()} of the ten commonest confusions"
    yield f"is the {ranks.iloc[0]}th at .05 and the {ranks.iloc[-1]}th at .30"


def refining_claims():
    """Yield what the page must say of refining on MNIST."""
    gain = Table("mnist_linf_full_gain")
    means = {name: gain.of(name, eps="mean") for name in gain.rows.columns[5:]}
    assert {short(value) for value in means["refined"]} == {".2"}
    assert {short(value) for value in means["with random samples"]} == {".4"}
    assert all(low < 0 < high for low, high in gain.intervals("refined", eps="mean"))
    (n_seeds,) = {int(n) for n in gain.of("n", eps="mean")}
    yield (
        "refining brings about .2 points, as published, which "
        f"{NUMBERS[n_seeds]} seeds do not tell from zero"
    )
    yield "random samples brings .4"
    of_means = gain.rows.loc[gain.rows["eps"] == "mean", "refined - random"]
    uniform, balanced = map(shortened, of_means)
    yield f"is {uniform} with the uniform cover and {balanced} with the"
    levels = gain.rows["eps"] != "mean"
    gain.rows = gain.rows[levels]
    intervals = gain.intervals("refined - random")
    n_above = sum(low > 0 for low, _ in intervals)
    n_below = sum(high < 0 for _, high in intervals)
    n_held = len(intervals) - n_above - n_below
    held, below = NUMBERS[n_held], NUMBERS[n_below]
    above = NUMBERS[n_above] if n_above else "none"
    yield f"{held} include zero, {above} lies above it and {below} below"
    small = [*gain.of("refined", eps="0.05"), *gain.of("refined", eps="0.1")]
    at_small = [
        interval
        for eps in ("0.05", "0.1")
        for interval in gain.intervals("refined", eps=eps)
    ]
    n_harmful = NUMBERS[sum(high < 0 for _, high in at_small)]
    euclid = Table("mnist_l2_full_gain")
    harm = euclid.of("refined")
    harmed = f"{short(-max(small))} to {short(-min(small))} points"
    yield f"by {harmed}, with {n_harmful} of four"
    yield f"Euclidean norm by {short(-max(harm))} to {-min(harm):.0f}."
    alone = gain.of("with weak samples alone") + euclid.of("with weak samples alone")
    yield f"costs {-max(alone):.0f} to {-min(alone):.0f} points under the full attack"
    brief = Table("mnist_linf_short_gain")
    assert {short(-value) for value in brief.of("refined", eps="mean")} == {".6"}
    assert max(brief.of("refined")) < 0
    yield "refining costs .6 points on average, and brings a gain at no level"


def cifar10_claims(kinds):
    """Yield what the page must say of the small version of CIFAR-10."""
    fall, purity = Table("cifar10_fall"), Table("cifar10_purity")
    falls = [-fall.one(kind, attack="full, linf") for kind in kinds]
    widths = [fall.intervals(kind, attack="full, linf")[0] for kind in kinds]
    assert all(low < 0 < high for low, high in widths)
    yield f"both seeds, by {min(falls):.0f} to {max(falls):.0f} points on average"
    right = [purity.one("training accuracy", eps=eps) for eps in ("0", "8/255")]
    yield f"network gets {right[0]:.0f} % right, the one at 8/255 {right[1]:.0f} %"
    falls = [-fall.one(kind, attack="full, l2") for kind in kinds]
    yield f"by {min(falls):.0f} to {max(falls):.0f} points, though not from each level"
    euclid = Table("cifar10_l2_full_gain")
    uniform, balanced = euclid.of("refined", eps="mean")
    others = set(euclid.of("with random samples", eps="mean"))
    yield f"{short(uniform, 2)} and {short(balanced, 2)} points, random samples"
    yield f"random samples {short(*others, 2)}."
    gain = Table("cifar10_linf_full_gain")
    means = [gain.of(name, eps="mean") for name in ("refined", "with random samples")]
    assert all(np.ptp(values) == 0 for values in means)
    yield f"which one seed has, {short(means[0][0], 2)} points for either cover"
    yield f"where random samples bring {means[1][0]:.1f}"
