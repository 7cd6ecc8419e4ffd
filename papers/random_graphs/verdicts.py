"""The claims of the paper on random graphs, and the tables that decide them."""

from functools import partial
from pathlib import Path

import pandas as pd

from papers.random_graphs.published import TABLES
from papers.verdicts import Family, finished
from robustkit.correlation import Claim

RESULTS = Path(__file__).parent / "results"

# Cohen's small effect: the paper reads coefficients from there on.
SMALL = 0.1

# Measure and property of table 1 -> how a reader says what its published sign means.
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

# Initialisations whose weights have one size for all layers.
FIXED_SCALE = ("normal", "uniform")
INITIALISATION = "The initialisation matters: fixed scale, less robust to {attack}"


def graphs():
    """The networks of the paper's design."""
    return _with_scale(finished(pd.read_csv(RESULTS / "graphs.csv")))


def crossed():
    """The networks of the crossed design, whose sources and sinks are matched."""
    table = _with_scale(finished(pd.read_csv(RESULTS / "crossed.csv")))
    table["start"] = table["graph"].astype(str) + table["init"]
    return table


def retrained():
    """The networks of the paper's design, trained anew and measured by distances."""
    return finished(pd.read_csv(RESULTS / "retrained.csv"))


def ends():
    """The networks whose sources and sinks alone vary, and their degrees."""
    return finished(pd.read_csv(RESULTS / "ends.csv"))


def families():
    """The networks of five families of graphs that have the same size and degree."""
    table = finished(pd.read_csv(RESULTS / "matched_families.csv"))
    for family in ("watts_strogatz", "barabasi_albert"):
        table[family] = (table["prior__generator"] == family).astype(int)
    return table


def pruned():
    """The steps of pruned networks: early ones and late ones of each."""
    table = finished(pd.read_csv(RESULTS / "pruning.csv"))
    table["late"] = (table["step"] > table["step"].max() / 2).astype(int)
    table["part"] = table["graph"].astype(str) + "-" + table["late"].astype(str)
    return table


def controlled(other):
    """Pruned and retrained networks, and what they are compared with.

    The steps of a network follow from each other: it counts once, with their mean.
    """
    table = finished(pd.read_csv(RESULTS / "controls.csv"))
    table = table[table["kind"].isin(("pruned, retrained", other))].copy()
    table["pruned"] = (table["kind"] == "pruned, retrained").astype(int)
    table["network"] = table["kind"] + " " + table["seed"].astype(str)
    return table


def _with_scale(table):
    table["fixed_scale"] = table["init"].isin(FIXED_SCALE).astype(int)
    return table


def _relations():
    (published,) = (p for p in TABLES if p.population == "graphs")
    rows = {(row.measure, row.property): row for row in published.rows}
    for pair, sentence in RELATIONS.items():
        row = rows[pair]
        # The paper says "path length" of one kind; graphs have another, undirected.
        for column, kind in zip(
            row.property_columns, ("", " (undirected)"), strict=False
        ):
            yield Claim(
                column,
                row.measure_column,
                sign=1 if row.rho > 0 else -1,
                smallest=SMALL,
                name=f"{sentence}{kind}",
                source=f"ρ = {row.rho:.2f}".replace("-", "−"),
            )


def _distance(column, sign, sentence, given=(), measure="linf_median_distance"):
    return Claim(
        column,
        measure,
        sign=sign,
        smallest=SMALL,
        given=given,
        name=sentence,
        source="not measured",
    )


CROSSED = "python -m papers.random_graphs.crossed"

FAMILIES = [
    Family(
        graphs,
        list(_relations()),
        unit="graphs",
        command="robustkit study --preset random-graphs",
        groups="graph",
        factors=["init", "prior__n_neighbors"],
    ),
    # One seed for all networks of an initialisation: these are the replicates.
    Family(
        graphs,
        [
            Claim(
                "fixed_scale",
                f"{column}_error_rate",
                sign=1,
                smallest=SMALL,
                name=INITIALISATION.format(attack=attack),
                source="no influence",
            )
            for attack, column in (("FGSM", "fgsm"), ("One Pixel", "one_pixel"))
        ],
        unit="initialisations",
        command="robustkit study --preset random-graphs",
        groups="init",
    ),
    Family(
        pruned,
        [
            Claim(
                "late",
                column,
                sign=1,
                smallest=SMALL,
                name=sentence,
                source=source,
            )
            for column, sentence, source in (
                (
                    "fgsm_error_rate",
                    "The more is pruned and retrained, the more FGSM fools",
                    "with size ρ = −0.51",
                ),
                (
                    "one_pixel_error_rate",
                    "The more is pruned and retrained, the more One Pixel fools",
                    "with size ρ = −0.62",
                ),
                (
                    "one_pixel_average_confidence",
                    "The more is pruned and retrained, the higher One Pixel's "
                    "confidence",
                    "with size ρ = 0.36, τ = −0.39",
                ),
            )
        ],
        unit="halves of networks",
        command="robustkit study --preset pruning",
        groups="part",
    ),
    *(
        Family(
            partial(controlled, other),
            [_distance("pruned", -1, sentence)],
            unit="networks",
            command="python -m papers.random_graphs.controls",
            groups="network",
            factors=["seed"],
        )
        for other, sentence in (
            ("dense, retrained", "Pruning brings errors nearer than retraining alone"),
            ("small", "Pruned networks have nearer errors than dense ones as small"),
        )
    ),
    Family(
        retrained,
        [
            _distance("n_parameters", 1, "Larger networks, farther errors"),
            _distance("density", -1, "Denser networks, nearer errors"),
            _distance("directed_path_length", 1, "Longer paths, farther errors"),
            _distance(
                "n_parameters",
                1,
                "Larger networks, larger proved radii",
                measure="certified_median_radius",
            ),
            _distance(
                "n_parameters",
                -1,
                "One Pixel, by proof, fools larger networks less",
                measure="one_pixel_error_rate",
            ),
        ],
        unit="graphs",
        command="python -m papers.random_graphs.retrained",
        groups="graph",
        factors=["init", "prior__n_neighbors"],
    ),
    Family(
        crossed,
        [
            _distance("prior__n_nodes", 1, "More vertices, farther errors"),
            _distance("prior__n_neighbors", 1, "A higher degree, farther errors"),
            _distance("prior__rewiring", 1, "More rewiring, farther errors"),
            _distance(
                "average_clustering",
                -1,
                "More clustering at equal size and degree, nearer errors",
                given=("prior__n_nodes", "prior__n_neighbors"),
            ),
            _distance(
                "directed_path_length",
                1,
                "Longer paths at equal size and degree, farther errors",
                given=("prior__n_nodes", "prior__n_neighbors"),
            ),
        ],
        unit="graphs",
        command=CROSSED,
        groups="graph",
        factors=["init", "seed"],
    ),
    Family(
        ends,
        [
            _distance("prior__n_ends", 1, "More sources and sinks, farther errors"),
            _distance(
                "prior__n_ends",
                1,
                "More sources and sinks, larger proved radii",
                measure="certified_median_radius",
            ),
        ],
        unit="graphs",
        command="python -m papers.random_graphs.ends",
        groups="graph",
        factors=["seed", "prior__n_neighbors"],
    ),
    Family(
        families,
        [
            _distance(
                "watts_strogatz", 1, "Small worlds, farther errors than other families"
            ),
            _distance(
                "barabasi_albert",
                1,
                "Scale-free graphs, farther errors than other families",
            ),
            _distance(
                "average_clustering",
                -1,
                "More clustering in any family of equal degree, nearer errors",
                given=("prior__n_neighbors",),
            ),
            _distance(
                "average_path_length",
                1,
                "Longer paths (undirected) in any family of equal degree, farther "
                "errors",
                given=("prior__n_neighbors",),
            ),
        ],
        unit="graphs",
        command="python -m papers.random_graphs.matched_families",
        groups="graph",
        factors=["init", "prior__n_neighbors"],
    ),
    Family(
        crossed,
        [_distance("fixed_scale", -1, "Fixed-scale initialisation, nearer errors")],
        unit="graphs and initialisations",
        command=CROSSED,
        groups="start",
        factors=["seed"],
    ),
]
