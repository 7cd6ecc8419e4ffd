"""From raw rows to the values that are correlated: outliers, repeats, missing ones."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

__all__ = ["Block", "blocks", "drop_outside", "fences", "mean_of_groups"]


def fences(Y):
    """Q1 - 1.5 IQR and Q3 + 1.5 IQR of every column.

    Parameters
    ----------
    Y : ndarray of shape (n_models, n_measures)
        NaN is left out.

    Returns
    -------
    bounds : ndarray of shape (n_measures, 2)
        NaN for a column without values.
    """
    low, high = pd.DataFrame(Y).quantile([0.25, 0.75]).to_numpy()
    reach = 1.5 * (high - low)
    return np.column_stack([low - reach, high + reach])


def drop_outside(Y, bounds):
    """Put NaN in place of the values outside the bounds of their column."""
    low, high = bounds.T
    return np.where((low > Y) | (high < Y), np.nan, Y)


def mean_of_groups(values, groups):
    """Average the rows of each group, column by column, leaving NaN out.

    Parameters
    ----------
    values : ndarray of shape (n_models, n_columns)
        What was measured.

    groups : ndarray of shape (n_models,), dtype=int
        Numbers from 0 on.

    Returns
    -------
    means : ndarray of shape (n_groups, n_columns)
        NaN where a group has no value.
    """
    frame = pd.DataFrame(values)
    # Means of deviations: the mean of equal values is then that very value, whatever
    # the size of the group. Rounding would break ties, and make constants vary.
    first = frame.groupby(groups).first()
    deviations = frame - first.to_numpy()[groups]
    return (first + deviations.groupby(groups).mean()).to_numpy()


@dataclass(frozen=True)
class Block:
    """Some properties and measures, and the models for which all of them are known."""

    properties: np.ndarray
    measures: np.ndarray
    X: np.ndarray
    Y: np.ndarray
    groups: np.ndarray

    @property
    def pairs(self):
        """Where the block's pairs stand in a table of properties times measures."""
        return np.ix_(self.properties, self.measures)


def blocks(X, Y, groups, *, listwise=False):
    """Yield the pairs of columns in blocks that lack values in the same models.

    Parameters
    ----------
    X, Y : ndarray of shape (n_models, n_properties) and (n_models, n_measures)
        NaN where a value is missing.

    groups : ndarray of shape (n_models,)
        Carried along.

    listwise : bool, default=False
        Whether a model must have all the properties, not only the pair's. A property
        that no model has is left out.

    Yields
    ------
    block : Block
        Every pair is in one block at most.
    """
    for measures, with_measures in _columns_by_presence(~np.isnan(Y)):
        present = ~np.isnan(X[with_measures])
        if listwise:
            known = np.flatnonzero(present.any(axis=0))
            by_presence = [(known, present[:, known].all(axis=1))]
        else:
            by_presence = _columns_by_presence(present)
        for properties, with_properties in by_presence:
            rows = np.flatnonzero(with_measures)[with_properties]
            yield Block(
                properties,
                measures,
                X[np.ix_(rows, properties)],
                Y[np.ix_(rows, measures)],
                groups[rows],
            )


def _columns_by_presence(present):
    patterns, which = np.unique(present, axis=1, return_inverse=True)
    for k, pattern in enumerate(patterns.T):
        yield np.flatnonzero(which == k), pattern
