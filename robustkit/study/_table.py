"""From the rows of a store to a table, and to the columns worth correlating."""

import numpy as np
import pandas as pd
from sklearn.utils import Bunch

__all__ = ["columns_of", "independent", "table_of"]

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

_NOT_MEASURED = ("n_samples", "n_queries")


def table_of(rows):
    """Put rows side by side.

    Parameters
    ----------
    rows : list of dict
        As a store keeps them.

    Returns
    -------
    table : DataFrame
        A row a model. What a row does not have is NaN.
    """
    frames = []
    for group in ("place", "parameters", "properties", "measures", "seconds", "made"):
        prefix = "seconds_" if group == "seconds" else ""
        names = [f"{prefix}{name}" for name in _names(rows, group)]
        frame = pd.DataFrame([row[group] for row in rows])
        frame.columns = [f"{prefix}{name}" for name in frame.columns]
        frames.append(frame.reindex(columns=names))
    return pd.concat(frames, axis=1)


def _names(rows, group):
    """All names that occur, in the order in which they first do."""
    return list(dict.fromkeys(name for row in rows for name in row[group]))


def columns_of(rows):
    """Say which columns of the table are what.

    Parameters
    ----------
    rows : list of dict
        As a store keeps them.

    Returns
    -------
    columns : Bunch
        Lists of names: `parameters`, `properties`, `measures`.
    """
    return Bunch(
        parameters=_names(rows, "parameters"),
        properties=_names(rows, "properties"),
        measures=[
            name
            for name in _names(rows, "measures")
            if not name.endswith(_NOT_MEASURED)
        ],
    )


def independent(table, names):
    """Leave out columns that say nothing, or nothing new.

    A finding counted twice looks like two, and makes the correction for many tests
    stricter for all others. So these go: columns without two different values, an
    earlier column in other units, and what is a function of other columns.

    Parameters
    ----------
    table : DataFrame
        A row a model.

    names : list of str
        Columns.

    Returns
    -------
    kept : list of str
        Those that are left, in the same order; the first if none is.
    """
    kept = {}
    for name in names:
        values = table[name].to_numpy(dtype=float)
        if (
            np.nanmin(values, initial=np.inf) < np.nanmax(values, initial=-np.inf)
            and name not in _FUNCTIONS
            and not name.endswith(_FUNCTION_OF_ERROR_RATE)
            and not any(_is_affine(values, other) for other in kept.values())
        ):
            kept[name] = values
    return list(kept) or names[:1]


def _is_affine(one, other):
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
