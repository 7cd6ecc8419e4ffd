"""Tables of studies that never ran: every kind of column, holes, planted relations."""

import numpy as np
import pandas as pd
from sklearn.utils import Bunch

from robustkit.correlation import RobustnessCorrelator

INITS = (
    "glorot_normal",
    "glorot_uniform",
    "he_normal",
    "he_uniform",
    "normal",
    "uniform",
)


def columns_of(table):
    """What the study keeps beside its table."""
    kinds = {"parameters": [], "properties": [], "measures": []}
    for name in table:
        if name.startswith("prior__"):
            kinds["parameters"].append(name)
        elif name.startswith(
            (
                "n_",
                "average_",
                "regions_",
                "mapper_",
                "directed_",
                "density",
                "diameter",
            )
        ):
            kinds["properties"].append(name)
        elif name in ("clean_accuracy", "f1_macro") or name.startswith(
            ("fgsm_", "pgd_", "growing_", "one_pixel_")
        ):
            kinds["measures"].append(name)
    return Bunch(**kinds)


def graphs(n_graphs=40, inits=INITS, seed=0):
    """A study of graphs.

    Planted: the error rates fall with the number of parameters; the purity of the
    mapper goes with them whatever is held fixed; the path length goes with them only
    because it goes with the number of parameters; the diameter has no say.
    """
    rng = np.random.RandomState(seed)
    n_nodes = rng.choice([250, 300, 350, 400, 500], n_graphs)
    size = (n_nodes - 360) / 90 + rng.normal(0, 0.3, n_graphs)
    path = size + rng.normal(0, 0.7, n_graphs)
    purity = rng.normal(size=n_graphs)
    density = -size + rng.normal(0, 0.5, n_graphs)
    of_graph = pd.DataFrame(
        {
            "graph": np.arange(n_graphs),
            "graph_seed": rng.randint(1000, size=n_graphs),
            "prior__n_nodes": n_nodes,
            "prior__rewiring": rng.choice([0.5, 0.6, 0.7, 0.8, 0.9], n_graphs),
            "n_parameters": (70_000 + 9_000 * size).round(),
            "n_nodes": n_nodes,
            "density": 0.012 + 0.002 * density,
            "diameter": rng.randint(6, 12, n_graphs),
            "average_path_length": 4 + 0.2 * path,
            "average_eccentricity": 8 + 0.3 * rng.normal(size=n_graphs),
            "average_closeness": 0.2 + 0.01 * rng.normal(size=n_graphs),
            "directed_path_length": 3 + 0.2 * path + 0.05 * rng.normal(size=n_graphs),
            "directed_betweenness": 0.01 * np.exp(rng.normal(size=n_graphs)),
        }
    )
    table = of_graph.loc[of_graph.index.repeat(len(inits))].reset_index(drop=True)
    table.insert(0, "model", np.arange(len(table)))
    table.insert(2, "init", np.tile(inits, n_graphs))
    table.insert(3, "seed", table["init"].map({k: i for i, k in enumerate(inits)}))
    n = len(table)
    purity = np.repeat(purity, len(inits))
    harm = -0.8 * np.repeat(size, len(inits)) - purity
    table["regions_prs_ratio"] = 1 / (1 + np.exp(-rng.normal(size=n)))
    table["mapper_purity"] = 0.9 + 0.02 * purity
    table["clean_accuracy"] = 0.973 + 0.002 * rng.normal(size=n)
    table["f1_macro"] = table["clean_accuracy"] - 0.0005

    def measure(mean, spread, goes):
        return mean + spread * (goes * harm + 0.6 * rng.normal(size=n))

    table["fgsm_error_rate"] = measure(0.6, 0.05, 1)
    table["fgsm_average_confidence"] = measure(0.7, 0.02, 0.5)
    table["pgd_robust_accuracy_ce"] = measure(0.3, 0.05, -1)
    table["pgd_robust_accuracy_margin"] = measure(0.25, 0.05, -1)
    table["pgd_zero_gradient_share"] = np.abs(measure(0.0, 0.01, 0))
    table["pgd_median_logit_margin"] = measure(8, 0.5, 0)
    table["growing_average_eps"] = measure(0.09, 0.01, -1)
    table["one_pixel_error_rate"] = measure(0.3, 0.04, 1)
    table["one_pixel_average_confidence"] = measure(0.55, 0.02, 0)
    table["seconds_train"] = rng.uniform(1, 2, n)
    return table.assign(
        version_robustkit="0.1", version_torch="2.13", device="cpu", engine="single"
    ).assign(error=None)


def with_failures(table):
    """The same table with holes: models that failed, and a measure not always there."""
    table = table.copy()
    measures = columns_of(table)["measures"]
    table.loc[[3, 50], measures] = np.nan
    table.loc[[3, 50], "error"] = "the weights are not finite"
    table.loc[10:20, "one_pixel_average_confidence"] = np.nan
    return table


def pruning(n_nets=4, n_steps=20, seed=0):
    """A study of pruning: the fewer weights, the more errors."""
    rng = np.random.RandomState(seed)
    left = np.tile(0.9 ** np.arange(n_steps + 1), n_nets)
    n = len(left)
    table = pd.DataFrame(
        {
            "model": np.arange(n),
            "graph": np.repeat(np.arange(n_nets), n_steps + 1),
            "init": "he_uniform",
            "seed": np.repeat(np.arange(n_nets), n_steps + 1),
            "step": np.tile(np.arange(n_steps + 1), n_nets),
            "n_parameters": (40_000 + 20_000 * left).round(),
            "density": left,
            "average_path_length": 2 - left + 0.01 * rng.normal(size=n),
            "average_eccentricity": 3.0,
            "clean_accuracy": 0.977 + 0.001 * rng.normal(size=n),
        }
    )
    noise = rng.normal(size=(3, n))
    table["fgsm_error_rate"] = 0.8 - 0.2 * left + 0.05 * noise[0]
    table["fgsm_average_confidence"] = 0.8 - 0.2 * left + 0.05 * noise[1]
    table["growing_average_eps"] = 0.06 + 0.03 * left + 0.005 * noise[2]
    return table


def correlate(table, n_bootstrap=20, **params):
    """What the study does with its table."""
    columns = columns_of(table)
    correlator = RobustnessCorrelator(n_bootstrap=n_bootstrap, random_state=0, **params)
    return correlator.fit(
        table[columns.properties].astype(float),
        table[columns.measures].astype(float),
        groups=None if "step" in table else table["graph"],
    )
