"""From the rows of a store to a table, and to correlations between its columns."""

from __future__ import annotations

import re
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.base import clone
from sklearn.utils import Bunch

from robustkit.correlation import RobustnessCorrelator

__all__ = ["columns_of", "correlate", "independent", "is_undertrained", "table_of"]

# What other properties of a graph say already, exactly where it is connected: property
# -> of which it is a function. See `graph_properties`.
_FUNCTIONS = {
    "n_edges": "n_nodes and density",
    "degree_mean": "n_nodes and density",
    "average_betweenness": "n_nodes and average_path_length",
    "average_edge_betweenness": "n_edges and average_path_length",
    "n_sources": "n_parameters, n_nodes, density and n_sinks",
}

# Likewise: what a model gets right before and after is what it gets right, less the
# share of it that the attack turns.
_FUNCTION_OF_ERROR_RATE = "_robust_accuracy"

# What else is said of distances whose median says something.
_BESIDE_THE_MEDIAN = re.compile("_(average_eps|mean_distance|distance_q[0-9]+)$")

_NOT_MEASURED = ("n_samples", "n_queries")


def table_of(rows: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """Put rows, as a store keeps them, under each other: one row per model.

    What a row does not have is NaN.
    """
    frames = []
    for group in ("place", "parameters", "properties", "measures", "seconds", "made"):
        prefix = "seconds_" if group == "seconds" else ""
        names = [f"{prefix}{name}" for name in _names(rows, group)]
        frame = pd.DataFrame([row[group] for row in rows])
        frame.columns = [f"{prefix}{name}" for name in frame.columns]
        frames.append(frame.reindex(columns=names))
    return pd.concat(frames, axis=1)


def _names(rows: Sequence[Mapping[str, Any]], group: str) -> list[str]:
    """All names that occur, in the order in which they first do."""
    return list(dict.fromkeys(name for row in rows for name in row[group]))


def columns_of(rows: Sequence[Mapping[str, Any]]) -> Bunch:
    """Say which columns of the table are `parameters`, `properties` and `measures`."""
    return Bunch(
        parameters=_names(rows, "parameters"),
        properties=_names(rows, "properties"),
        measures=[
            name
            for name in _names(rows, "measures")
            if not name.endswith(_NOT_MEASURED)
        ],
    )


def is_undertrained(table: pd.DataFrame, max_gap: float | None) -> pd.Series:
    """Say of each model whether its clean accuracy is too far below the median."""
    if max_gap is None or "clean_accuracy" not in table:
        return pd.Series(False, index=table.index)
    accuracy = pd.to_numeric(table["clean_accuracy"], errors="coerce")
    return accuracy < accuracy.median() - max_gap


def correlate(
    table: pd.DataFrame, columns: Bunch, correlator: RobustnessCorrelator | None
) -> RobustnessCorrelator:
    """Correlate the properties of the models with their measures, graph by graph.

    Return a fitted clone of `correlator`; None is one with 500 bootstrap samples.
    """
    if not columns.measures:
        reasons = "; ".join(table["error"].unique()) if len(table) else "there is none"
        raise ValueError(f"No model of the study could be measured: {reasons}.")
    _check_finite(table, [*columns.properties, *columns.measures])
    if correlator is None:
        correlator = RobustnessCorrelator(n_bootstrap=500, random_state=0)
    properties = independent(table, columns.properties)
    measures = independent(table, columns.measures)
    # Every step of a pruned network is a graph of its own.
    groups = None if "step" in table else table["graph"]
    try:
        with warnings.catch_warnings():
            # The study itself tells how many graphs there are.
            warnings.filterwarnings("ignore", ".* are few to correlate", UserWarning)
            return clone(correlator).fit(
                table[properties].astype(float),
                table[measures].astype(float),
                groups=groups,
            )
    except ValueError as error:
        raise _error(table, str(error).rstrip(".")) from error


def _check_finite(table: pd.DataFrame, names: Sequence[str]) -> None:
    """Before columns are compared with each other: infinity has no difference."""
    for name in names:
        is_infinite = np.isinf(table[name].to_numpy(dtype=float))
        # What is the same for all is left out anyway.
        if is_infinite.any() and table[name].nunique() > 1:
            model = table["model"][is_infinite].iloc[0]
            raise _error(table, f"{name} is infinite for model {model}")


def _error(table: pd.DataFrame, reason: str) -> ValueError:
    return ValueError(
        f"The {len(table)} models of the study cannot be correlated: {reason}. All of "
        "them are in results_, and in the store if there is one."
    )


def independent(table: pd.DataFrame, names: Sequence[str]) -> list[str]:
    """Leave out columns that say nothing, or nothing new; the first if none is left.

    A finding counted twice looks like two, and makes the correction for many tests
    stricter for all others. So these go: columns without two different values, an
    earlier column in other units, and what is a function of other columns.
    """
    kept = {}
    for name in names:
        values = table[name].to_numpy(dtype=float)
        if (
            _varies(values)
            and name not in _FUNCTIONS
            and not name.endswith(_FUNCTION_OF_ERROR_RATE)
            and not _is_beside_the_median(name, table, names)
            and not any(_is_affine(values, other) for other in kept.values())
        ):
            kept[name] = values
    return list(kept) or list(names[:1])


def _varies(values):
    return np.nanmin(values, initial=np.inf) < np.nanmax(values, initial=-np.inf)


def _is_beside_the_median(name, table, names):
    median, n_endings = _BESIDE_THE_MEDIAN.subn("_median_distance", name)
    # Counted in pixels, the median may be the same for all models.
    return n_endings and median in names and _varies(table[median].to_numpy(float))


def _is_affine(one: NDArray, other: NDArray) -> bool:
    """Whether two columns with the same gaps lie on one line, up to rounding."""
    if not np.array_equal(np.isnan(one), np.isnan(other)):
        return False
    one, other = one[~np.isnan(one)], other[~np.isnan(other)]
    one, other = one - one[0], other - other[0]
    scale = np.abs(one).max() * np.abs(other).max()
    # Three models: two differences, which must be in one ratio.
    farthest = np.abs(other).argmax()
    return bool(
        (np.abs(one * other[farthest] - one[farthest] * other) <= 1e-9 * scale).all()
    )
