"""What goes with what among models that are alike in some columns."""

import numpy as np
import pandas as pd

from robustkit.correlation._coefficients import n_directions, partial_given
from robustkit.correlation._significance import correct, rests_t_test

__all__ = ["correlate_given"]

_NOT_FOUND = {"coefficient": np.nan, "p_value": np.nan}


def correlate_given(values, properties, measures, controls, *, correction="holm"):
    """Spearman's coefficient of every pair, with chosen columns held fixed.

    Columns are replaced by their ranks; what the ranks of the controls explain (by
    least squares) is taken out of both sides, and the rests are correlated. The test is
    Student's t with n - 2 - k degrees of freedom, k the rank of the controls; there is
    none below five of them.

    Parameters
    ----------
    values : DataFrame
        A row a model, or a group of them; NaN is a missing value. As `values_` of a
        :class:`~robustkit.correlation.RobustnessCorrelator`.

    properties, measures, controls : list of str
        Columns of `values`. A control does not control itself, and one that is constant
        or empty holds nothing fixed.

    correction : {"holm", "benjamini-hochberg"} or None, default="holm"
        Over the whole table.

    Returns
    -------
    table : DataFrame
        A row a pair: "property", "measure", "coefficient", "p_value", "p_adjusted" and
        "n", the models that have the pair and all its controls. NaN where the controls
        explain one side fully, and where models are too few.
    """
    controls = [name for name in controls if values[name].nunique() > 1]
    rows = []
    for name in properties:
        for measure in measures:
            held = [control for control in controls if control not in (name, measure)]
            found = _one_pair(values[[name, measure, *held]].dropna().to_numpy(float))
            rows.append({"property": name, "measure": measure, **found})
    columns = ["property", "measure", "coefficient", "p_value", "n"]
    table = pd.DataFrame(rows, columns=columns)
    p_adjusted = correct(table["p_value"].to_numpy(float), correction)
    table.insert(columns.index("n"), "p_adjusted", p_adjusted)
    return table


def _one_pair(values):
    """First column with the second, given the rest; the models are complete."""
    n = len(values)
    if n < 3:
        return {**_NOT_FOUND, "n": n}
    varying = values.max(axis=0) > values.min(axis=0)
    if not varying[:2].all():
        return {**_NOT_FOUND, "n": n}
    x, y, held = values[:, :1], values[:, 1:2], values[:, 2:][:, varying[2:]]
    coefficient = partial_given(x, y, held)
    p_value = rests_t_test(x, y, coefficient, n_directions(held))
    return {"coefficient": coefficient.item(), "p_value": p_value.item(), "n": n}
