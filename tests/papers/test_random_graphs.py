"""What is said of several families of graphs."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from papers.random_graphs import tables as page
from papers.random_graphs.figures import figure_rows
from papers.random_graphs.published import TABLES
from papers.random_graphs.tables import (
    MEASURES,
    amount,
    family_rows,
    keep_amounts,
    within_families_rows,
    within_nets_rows,
)
from robustkit.correlation import RobustnessCorrelator
from robustkit.study.report import gather, label

N_PER_FAMILY = 40
FAMILIES = ("watts_strogatz", "erdos_renyi", "barabasi_albert")


@pytest.fixture(scope="module")
def evidence():
    """Density differs between families only by what they are, radius within them."""
    rng = np.random.RandomState(0)
    n_graphs = N_PER_FAMILY * len(FAMILIES)
    family = np.repeat(np.arange(len(FAMILIES)), N_PER_FAMILY)
    radius = rng.normal(size=n_graphs)
    results = pd.DataFrame(
        {
            "graph": np.arange(n_graphs),
            "prior__generator": np.array(FAMILIES)[family],
            "density": 10 * family + rng.normal(size=n_graphs),
            "radius": radius,
            "n_parameters": rng.permutation(n_graphs),
            "average_path_length": rng.normal(size=n_graphs),
            "average_clustering": rng.normal(size=n_graphs),
            "degree_std": rng.normal(size=n_graphs),
            "clean_accuracy": rng.normal(size=n_graphs),
        }
        | dict.fromkeys(MEASURES, 20.0 * family + radius)
    )
    columns = {
        "parameters": ["prior__generator"],
        "properties": ["density", "radius"],
        "measures": list(MEASURES),
    }
    correlator = RobustnessCorrelator(outliers=None, n_bootstrap=50, random_state=0)
    correlator.fit(
        results[columns["properties"]], results[list(MEASURES)], groups=results["graph"]
    )
    return gather(results, columns, correlator, {})


def test_families_one_by_one(evidence):
    rows = {row["family"]: row for row in family_rows(evidence)}
    assert set(rows) == {name.replace("_", " ") for name in FAMILIES}
    for row in rows.values():
        assert row["graphs"] == N_PER_FAMILY
    assert float(rows["watts strogatz"][label("density")].split(" ")[0]) < 1
    assert 19 < float(rows["barabasi albert"][label("density")].split(" ")[0]) < 21


def test_within_families_what_only_families_differ_in_is_gone(evidence):
    rows = {row["property"]: row for row in within_families_rows(evidence)}
    column = label(MEASURES[0])

    def read(row):
        pooled, within = row[column].replace("\\*", "").rstrip(")").split(" (")
        return tuple(float(text.replace("−", "-")) for text in (pooled, within))

    pooled, within = read(rows[label("density")])
    assert pooled > 0.8
    assert abs(within) < 0.25
    pooled, within = read(rows[label("radius")])
    assert pooled < 0.7
    assert within > 0.85


def pruned(n_nets=3, n_steps=6):
    """Error rates fall with size in every net; between nets they do the reverse."""
    nets = np.repeat(np.arange(n_nets), n_steps)
    size = np.tile(np.arange(n_steps), n_nets) + 100.0 * nets
    results = pd.DataFrame(
        {
            "graph": nets,
            "step": np.tile(np.arange(n_steps), n_nets),
            "n_parameters": size,
            "fgsm_error_rate": 1000.0 * nets - size,
            "fgsm_average_confidence": np.where(nets % 2 == 0, size, -size),
            "growing_average_eps": size,
            "one_pixel_error_rate": -size,
            "one_pixel_average_confidence": 0.5,
        }
    )
    columns = {
        "properties": ["n_parameters"],
        "measures": [c for c in results if "_a" in c or "_e" in c],
    }
    settings = {"n_graphs": 10, "inits": ["he_uniform"]}
    return gather(results, columns, None, settings)


def test_nets_are_looked_into_one_by_one():
    rows = {row["measure"]: row for row in within_nets_rows(pruned())}
    assert rows["FGSM: error rate"]["ρ within a net, mean"] == "−1.00\u00a0±\u00a00.00"
    assert rows["FGSM: eps"]["of the published sign"] == 3
    assert rows["FGSM: confidence"]["of the published sign"] == 1
    # What does not vary goes with nothing.
    assert rows["One Pixel: confidence"]["nets"] == 0


def test_amounts_of_other_studies_are_kept(tmp_path, monkeypatch):
    monkeypatch.setattr(page, "RESULTS", tmp_path)
    keep_amounts([amount(pruned(), "pruning"), {"study": "random-graphs"}])
    keep_amounts([amount(pruned(n_nets=4), "pruning")])
    kept = pd.read_csv(tmp_path / "tables" / "amounts.csv")
    assert kept["study"].tolist() == ["random-graphs", "pruning"]
    (last,) = kept[kept["study"] == "pruning"].to_dict("records")
    assert (last["networks"], last["asked for"], last["graphs"]) == (4, 10, 24)


def test_the_whole_joint_table_is_kept(evidence, tmp_path, monkeypatch):
    monkeypatch.setattr(page, "RESULTS", tmp_path)
    page.keep_joint(evidence)
    kept = pd.read_csv(tmp_path / "joint.csv")
    pairs = {(p, m) for p in ("density", "radius") for m in MEASURES}
    assert set(zip(kept["property"], kept["measure"], strict=True)) == pairs
    assert kept["coefficient"].between(kept["ci_low"], kept["ci_high"]).all()
    # With density held fixed, the radius tells more of all measures.
    radius = kept[kept["property"] == "radius"]
    assert (radius["coefficient_held"] > radius["coefficient"] + 0.2).all()


@pytest.fixture(scope="module")
def repeated():
    """Twelve graphs, four initialisations: what depends on which is known."""
    rng = np.random.RandomState(0)
    graph, init = np.repeat(np.arange(12), 4), np.tile(np.arange(4), 12)
    size = np.linspace(50_000, 90_000, 12)[graph]
    noise = rng.normal(size=(12, 5))[graph]
    results = pd.DataFrame(
        {
            "graph": graph,
            "init": np.array(["a", "b", "c", "d"])[init],
            "prior__n_neighbors": np.where(graph < 3, 4, 2),
            "n_parameters": size,
            "density": noise[:, 0],
            "average_eccentricity": noise[:, 1],
            "diameter": np.where(graph == 0, 1, 5),
            "directed_path_length": noise[:, 2],
            # All but one in the first quarter of the range, then all but three.
            "average_closeness": np.where(graph == 11, 1.0, 0.01 * graph),
            "directed_betweenness": np.where(graph >= 9, 1.0, 0.01 * graph),
            "f1_macro": 0.9 + 0.01 * (graph % 2),
            "fgsm_error_rate": init.astype(float),
            "one_pixel_error_rate": -size,
            "fgsm_average_confidence": noise[:, 3],
            "one_pixel_average_confidence": noise[:, 4],
            "growing_average_eps": size,
        }
    )
    columns = {
        "parameters": ["prior__n_neighbors"],
        "properties": [
            "n_parameters",
            "density",
            "average_eccentricity",
            "directed_path_length",
        ],
        "measures": list(results.columns[-6:]),
    }
    correlator = RobustnessCorrelator(outliers=None, n_bootstrap=50, random_state=0)
    correlator.fit(
        results[columns["properties"]].astype(float),
        results[columns["measures"]],
        groups=results["graph"],
    )
    return gather(results, columns, correlator, {})


def test_what_the_text_tells_of_each_figure_stands_beside_ours(repeated):
    rows = list(figure_rows(repeated, TABLES[0]))
    ours = {row["what it shows"]: row["ours"].replace("\u00a0", " ") for row in rows}
    assert [row["figure"] for row in rows] == sorted(row["figure"] for row in rows)
    assert ours["graphs with fewer than 60,000 parameters"] == "25 %"
    assert ours["graphs with 2 neighbours on each side"] == "75 %"
    quarter = "graphs in the first quarter of the range: "
    assert ours[quarter + label("average_closeness")] == "92 %"
    assert ours[quarter + label("directed_betweenness")] == "75 %"
    assert ours["macro F1 in percent: mean, and range"] == "90.5 (90.0 to 91.0)"
    assert ours["skewness: diameter"].startswith("−")
    between = "share of the variance between initialisations: "
    assert ours[between + "FGSM: error rate"] == "100 %"
    assert ours[between + "One Pixel: error rate"] == "0 %"
    rho = "ρ of number of parameters and "
    assert ours[rho + "growing FGSM: eps"].startswith("1.00")
    assert ours[rho + "One Pixel: error rate"].startswith("−1.00")


def test_one_initialisation_has_nothing_between(repeated):
    rows = repeated.results
    once = replace(repeated, results=rows[rows["init"] == "a"])
    shown = [row["what it shows"] for row in figure_rows(once, TABLES[0])]
    assert not any("between initialisations" in what for what in shown)
    assert "interquartile range: One Pixel: error rate" in shown
