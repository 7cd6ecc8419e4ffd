"""Correlate the table of a study."""

import numpy as np
from sklearn.base import clone

from robustkit.correlation import RobustnessCorrelator
from robustkit.study._table import independent

__all__ = ["correlate"]


def correlate(table, columns, correlator):
    """Correlate the properties of the models with their measures, graph by graph.

    Parameters
    ----------
    table : DataFrame
        A row a model.

    columns : Bunch
        Which columns are `properties` and `measures`.

    correlator : RobustnessCorrelator or None
        Not changed; None is one with 500 bootstrap samples.

    Returns
    -------
    correlator : RobustnessCorrelator
        A fitted clone.
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
        return clone(correlator).fit(
            table[properties].astype(float),
            table[measures].astype(float),
            groups=groups,
        )
    except ValueError as error:
        raise _error(table, str(error).rstrip(".")) from error


def _check_finite(table, names):
    """Before columns are compared with each other: infinity has no difference."""
    for name in names:
        is_infinite = np.isinf(table[name].to_numpy(dtype=float))
        # What is the same for all is left out anyway.
        if is_infinite.any() and table[name].nunique() > 1:
            model = table["model"][is_infinite].iloc[0]
            raise _error(table, f"{name} is infinite for model {model}")


def _error(table, reason):
    return ValueError(
        f"The {len(table)} models of the study can not be correlated: {reason}. All of "
        "them are in results_, and in the store if there is one."
    )
