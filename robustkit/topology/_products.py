"""Distances by float32 matrix products, and what their rounding may hide."""

import numpy as np
from numba import njit

_UNIT_ROUNDOFF = 2.0**-24


class Products:
    """Products of some rows with columns, and which of them tell of near samples.

    Parameters
    ----------
    samples : OrderedSamples
        The samples.

    eps : float
        Largest distance of a pair.

    rows : ndarray
        Positions.
    """

    def __init__(self, samples, eps, rows):
        self.norms = samples.norms[rows]
        self._block = samples.rows(rows) * np.float32(-2)
        self._limit = (float(eps) * samples.scale) ** 2
        self._n_features = samples.X.shape[1]

    def thresholds(self, column_norms):
        """Return limits for |y|^2 - 2 x.y: sure up to the first, out above the second.

        Parameters
        ----------
        column_norms : ndarray
            Squared norms of the columns.

        Returns
        -------
        sure, possible : ndarray, dtype=float32
            Two limits a row.
        """
        largest = max(self.norms.max(), column_norms.max(initial=0))
        tolerance = rounding_bound(self._n_features, largest)
        limits = self._limit - tolerance, self._limit + tolerance
        return tuple((limit - self.norms).astype(np.float32) for limit in limits)

    def with_columns(self, vectors, norms):
        """Return |y|^2 - 2 x.y for all rows x and columns y.

        Parameters
        ----------
        vectors : ndarray of shape (n_columns, n_features), dtype=float32
            The columns.

        norms : ndarray of shape (n_columns,), dtype=float32
            Their squared norms.

        Returns
        -------
        products : ndarray of shape (n_rows, n_columns), dtype=float32
            A new array.
        """
        products = self._block @ vectors.T
        products += norms
        return products


def rounding_bound(n_features, largest):
    """Bound the error of a squared distance that was computed in float32.

    A product of vectors of squared norm at most R is off by n_features u R, whatever
    the order of its sums (and a little more, to second order); twice that enters. The
    rest holds the rounding of samples, norms and thresholds, and of a few sums.

    Parameters
    ----------
    n_features : int
        Length of the vectors.

    largest : float
        Largest squared norm, R.

    Returns
    -------
    bound : float
        Of the absolute error.
    """
    return (2.2 * n_features + 32) * _UNIT_ROUNDOFF * largest


@njit(cache=True, nogil=True)
def squared_distance(X, i, j):
    """Measure the squared distance of two samples in float64."""
    total = 0.0
    for k in range(X.shape[1]):
        difference = np.float64(X[i, k]) - np.float64(X[j, k])
        total += difference * difference
    return total


@njit(cache=True, nogil=True)
def is_within(X, i, j, limit):
    """Tell whether the squared distance of two samples is not above a limit."""
    return squared_distance(X, i, j) <= limit
