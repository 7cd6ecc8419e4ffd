"""Whether it matters how the weights of a graph were first drawn."""

import numpy as np
import pandas as pd
from scipy.stats import friedmanchisquare

from robustkit.correlation import correct

__all__ = ["compare_initialisations"]

# With fewer, the distribution of the statistic is too far from its limit.
_MIN_GRAPHS, _MIN_INITS = 10, 3


def compare_initialisations(results, measures):
    """Test by Friedman's ranks, graph by graph, whether initialisations differ.

    Parameters
    ----------
    results : DataFrame
        A row a model, with "graph" and "init".

    measures : list of str
        Columns to test.

    Returns
    -------
    table : DataFrame
        A row a measure that could be tested: "measure", "w" (Kendall's coefficient of
        concordance: 0 if the order of the initialisations changes from graph to graph
        at random, 1 if it is always the same), "p_value", "p_adjusted" (Holm) and "n",
        the graphs that have the measure with every initialisation.
    """
    rows = []
    for measure in measures:
        wide = results.pivot_table(
            index="graph", columns="init", values=measure, observed=True
        ).dropna()
        n, n_inits = wide.shape
        if n < _MIN_GRAPHS or n_inits < _MIN_INITS:
            continue
        values = wide.to_numpy()
        if (values == values[:, :1]).all():
            continue
        statistic, p_value = friedmanchisquare(*values.T)
        w = statistic / (n * (n_inits - 1))
        rows.append({"measure": measure, "w": w, "p_value": p_value, "n": n})
    table = pd.DataFrame(rows, columns=["measure", "w", "p_value", "n"])
    adjusted = correct(table["p_value"].to_numpy(float, np.nan), "holm")
    table.insert(3, "p_adjusted", adjusted)
    return table
