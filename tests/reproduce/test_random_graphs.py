"""What is said of several families of graphs."""

import numpy as np
import pandas as pd
import pytest

from benchmarks.reproduce.random_graphs import (
    MEASURES,
    family_rows,
    within_families_rows,
)
from robustkit.correlation import RobustnessCorrelator
from robustkit.study._evidence import gather
from robustkit.study._words import words

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
    correlator = RobustnessCorrelator(outliers=None)
    correlator.fit(
        results[columns["properties"]], results[list(MEASURES)], groups=results["graph"]
    )
    return gather(results, columns, correlator, {})


def test_families_one_by_one(evidence):
    rows = {row["family"]: row for row in family_rows(evidence)}
    assert set(rows) == {name.replace("_", " ") for name in FAMILIES}
    for row in rows.values():
        assert row["graphs"] == N_PER_FAMILY
    assert float(rows["watts strogatz"][words("density")].split(" ")[0]) < 1
    assert 19 < float(rows["barabasi albert"][words("density")].split(" ")[0]) < 21


def test_within_families_what_only_families_differ_in_is_gone(evidence):
    rows = {row["property"]: row for row in within_families_rows(evidence)}
    column = words(MEASURES[0])

    def read(row):
        pooled, within = row[column].replace("\\*", "").rstrip(")").split(" (")
        return tuple(float(text.replace("−", "-")) for text in (pooled, within))

    pooled, within = read(rows[words("density")])
    assert pooled > 0.8
    assert abs(within) < 0.25
    pooled, within = read(rows[words("radius")])
    assert pooled < 0.7
    assert within > 0.85
