"""Correlation of the ranks of two columns, with other columns held fixed.

Columns are replaced by their ranks; what the ranks of the controls explain (by least
squares) is taken out of both sides, and the residuals are correlated. The test is
Student's t with n - 2 - k degrees of freedom, k the rank of the controls.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from scipy.stats import rankdata

from robustkit.correlation._coefficients import centred, cosines
from robustkit.correlation._significance import correct, t_test

# Below this length, a column of length one is what rounding left of nothing.
_NOTHING = 1e-8

# Of residuals of independent ranks, t is below .0001 in up to 10 % of draws with one
# degree of freedom, in up to 1.7 % with two, and in .1 % with five.
_LEAST_FREEDOM = 5

_NOT_FOUND = {"coefficient": np.nan, "p_value": np.nan}


def partial(X: np.ndarray, Y: np.ndarray) -> np.ndarray:
    """Spearman's coefficient of a property given all the other properties.

    A property that the others explain fully has no residual, hence no coefficient.
    """
    X, Y = _unit_ranks(X), _unit_ranks(Y)
    return np.vstack(
        [_partial(X[:, [j]], Y, np.delete(X, j, axis=1)) for j in range(X.shape[1])]
    )


def partial_given(X: np.ndarray, Y: np.ndarray, Z: np.ndarray) -> np.ndarray:
    """Spearman's coefficient of every pair given all columns of `Z`: as `partial`."""
    return _partial(*map(_unit_ranks, (X, Y, Z)))


def partial_of_tables(X: np.ndarray, Y: np.ndarray) -> np.ndarray:
    """As `partial_given` of the first column of X and Y, for a stack of tables at once.

    The other columns of X are given. Ten times as fast as one after the other.
    """
    ranks = [rankdata(tables, axis=1) for tables in (X, Y)]
    X, Y = (table - table.mean(axis=1, keepdims=True) for table in ranks)
    pair = np.concatenate([X[:, :, :1], Y], axis=2)
    # A constant column has no direction.
    lengths = np.linalg.norm(X[:, :, 1:], axis=1, keepdims=True)
    given = X[:, :, 1:] / np.where(lengths > 0, lengths, 1)
    if given.shape[2]:
        basis, spans, _ = np.linalg.svd(given, full_matrices=False)
        basis *= spans[:, None] > _NOTHING
        pair = pair - basis @ (basis.transpose(0, 2, 1) @ pair)
    length = np.linalg.norm(pair, axis=1)
    nothing = _NOTHING * np.linalg.norm([X[:, :, 0], Y[:, :, 0]], axis=2).T
    product = np.where(length > nothing, length, np.nan).prod(axis=1)
    return (pair[:, :, 0] * pair[:, :, 1]).sum(axis=1) / product


def influence_given(x: np.ndarray, y: np.ndarray, Z: np.ndarray) -> np.ndarray:
    """How much each row carries of the coefficient of two columns given others.

    The influence function of a correlation, of the residuals of the ranks.
    """
    basis = _basis(_unit_ranks(Z))
    return influence(*(_residual(_unit_ranks(column), basis) for column in (x, y)))


def influence(x: np.ndarray, y: np.ndarray, Z: np.ndarray | None = None) -> np.ndarray:
    """How much each row carries of Pearson's coefficient; nothing is held fixed."""
    x, y = (centred(column)[:, 0] for column in (x, y))
    with np.errstate(invalid="ignore"):
        # NaN of a constant column.
        x, y = (column / np.linalg.norm(column) for column in (x, y))
    return x * y - (x @ y) / 2 * (x**2 + y**2)


def partial_p_values(
    X: np.ndarray, Y: np.ndarray, coefficients: np.ndarray
) -> np.ndarray:
    """As `residual_t_test`, for each property with all others held fixed."""
    return residual_t_test(X, Y, coefficients, n_controls(X)[:, None])


def residual_t_test(
    X: np.ndarray, Y: np.ndarray, coefficients: np.ndarray, n_controls: np.ndarray | int
) -> np.ndarray:
    """As `t_test`, for residuals of ranks, with some directions held fixed.

    NaN where few degrees of freedom are left: such ranks often fit each other perfectly
    by chance, and t would be sure of it.
    """
    p_values = t_test(X, Y, coefficients, n_controls)
    return np.where(len(X) - 2 - n_controls < _LEAST_FREEDOM, np.nan, p_values)


def n_controls(X: np.ndarray) -> np.ndarray:
    """How many independent directions the other properties span, for each property."""
    return np.array([n_directions(np.delete(X, j, axis=1)) for j in range(X.shape[1])])


def n_directions(Z: np.ndarray) -> np.ndarray:
    """How many independent directions the ranks of these columns span."""
    return _basis(_unit_ranks(Z)).shape[1]


def correlate_given(
    values: pd.DataFrame,
    properties: Sequence[str],
    measures: Sequence[str],
    controls: Sequence[str],
    *,
    correction: str | None = "holm",
) -> pd.DataFrame:
    """Spearman's coefficient of every pair, with chosen columns held fixed.

    `values` has one row per model, or group of them, as `values_` of a
    RobustnessCorrelator; NaN is a missing value. A control does not control itself, and
    one that is constant or empty holds nothing fixed. The correction is over the whole
    table.

    Returned is one row per pair: "property", "measure", "coefficient", "p_value",
    "p_adjusted" and "n", the models that have the pair and all its controls. NaN where
    the controls explain one side fully, and where models are too few.
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
    p_value = residual_t_test(x, y, coefficient, n_directions(held))
    return {"coefficient": coefficient.item(), "p_value": p_value.item(), "n": n}


def _partial(X, Y, others):
    """Cosines of what the others leave; all are ranks of mean 0 and length 1."""
    basis = _basis(others)
    # With fewer models the residuals lie on a line, and any two of them agree.
    if len(X) < basis.shape[1] + 3:
        return np.full((X.shape[1], Y.shape[1]), np.nan)
    return cosines(_residual(X, basis), _residual(Y, basis))


def _unit_ranks(X):
    ranks = centred(rankdata(X, axis=0))
    return ranks / np.linalg.norm(ranks, axis=0)


def _basis(columns):
    """Orthonormal basis of what the columns span."""
    if columns.shape[1] == 0:
        return columns
    basis, lengths, _ = np.linalg.svd(columns, full_matrices=False)
    return basis[:, lengths > _NOTHING]


def _residual(X, basis):
    """Take out what the basis explains; leave 0 where it is only rounding."""
    residual = X - basis @ (basis.T @ X)
    return np.where(np.linalg.norm(residual, axis=0) > _NOTHING, residual, 0)
