"""Filters: what one number, or two, a mapper graph takes of each sample."""

from collections.abc import Callable
from dataclasses import dataclass
from numbers import Integral
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import eigh

# A function of rows that returns one float64 value for each, or two.
FilterFunction = Callable[[NDArray], NDArray]

# Numbers that are float64 at one time: large float32 data are never copied whole.
_CHUNK = 2**22

# Of the largest number, times the root of the number of features: a component whose
# values differ by less is rounding.
_ROUNDINGS = 8


def fit_filter(filter: Any, X: NDArray) -> tuple[FilterFunction, bool]:
    """Turn the `filter` parameter of :class:`MapperGraph` into a function of rows.

    Also tells whether the values of two rows, the first ones if there are two, never
    differ by more than their Euclidean distance.
    """
    if is_pair_of_filters(filter):
        (first, is_lipschitz), (second, _) = (fit_filter(one, X) for one in filter)
        return _Pair(first, second), is_lipschitz
    if isinstance(filter, str):
        if filter == "l2norm":
            return _l2norm, True
        return _principal_component(X, 1 if filter == "pca" else 2), True
    if callable(filter):
        return _Checked(filter), False
    if np.ndim(filter) == 0:
        if filter >= X.shape[1]:
            raise ValueError(
                f"filter={filter} asks for a column, but X has {X.shape[1]} features; "
                f"the last column is {X.shape[1] - 1}."
            )
        return _Column(int(np.asarray(filter))), True
    return _OnlyTraining(_check_filter_values(filter, len(X)), X), False


def is_pair_of_filters(filter: Any) -> bool:
    """Whether a filter is two filters, and not a list of values."""
    return (
        isinstance(filter, list | tuple)
        and len(filter) == 2
        and all(
            isinstance(one, str | Integral) or callable(one) or np.ndim(one) > 0
            for one in filter
        )
    )


def filter_columns(values: NDArray) -> tuple[NDArray, ...]:
    """Return the values of each filter."""
    if values.ndim == 1:
        return (values,)
    return tuple(np.ascontiguousarray(column) for column in values.T)


def _in_float64(function, X):
    """Apply a function of float64 rows in chunks.

    It must be one whose value of a sample does not depend on the other samples, not
    even by rounding: no matrix product.
    """
    step = max(1, _CHUNK // X.shape[1])
    return np.concatenate(
        [
            function(np.ascontiguousarray(X[start : start + step], dtype=np.float64))
            for start in range(0, len(X), step)
        ]
    )


def _l2norm(X):
    with np.errstate(over="ignore"):
        # The norm of a new sample may be infinite: then it lies in no interval.
        return _in_float64(lambda rows: np.linalg.norm(rows, axis=1), X)


def _principal_component(X, rank):
    component = _Projection(*_principal_axis(X, rank))
    if rank == 1:
        return component
    # Of samples on a line the second one is rounding: no filter would tell them apart.
    largest = max(abs(float(X.min())), abs(float(X.max())))
    noise = _ROUNDINGS * np.sqrt(X.shape[1]) * np.finfo(X.dtype).eps * largest
    if np.ptp(component(X)) > noise:
        return component
    return _Projection(np.zeros_like(component.axis), component.mean)


def _principal_axis(X, rank):
    if rank > X.shape[1]:
        raise ValueError("filter='pc2' needs X with two features at least. Got one.")
    mean = X.mean(axis=0, dtype=np.float64)
    n_samples, n_features = X.shape
    if n_features <= n_samples:
        step = max(1, _CHUNK // n_features)
        scatter = np.zeros((n_features, n_features))
        for start in range(0, n_samples, step):
            centered = X[start : start + step] - mean
            scatter += centered.T @ centered
        axis = eigh(scatter, subset_by_index=[n_features - rank] * 2)[1][:, 0]
    elif rank > n_samples:
        axis = np.zeros(n_features)
    else:
        centered = X - mean
        scatter = centered @ centered.T
        weights = eigh(scatter, subset_by_index=[n_samples - rank] * 2)[1][:, 0]
        axis = centered.T @ weights
    norm = np.linalg.norm(axis)
    if norm == 0:
        # All samples are the same: every axis is as good.
        return np.eye(1, n_features, rank - 1)[0], mean
    # An axis has no sign; the largest coordinate is made positive, as in PCA.
    return axis / norm * np.sign(axis[np.argmax(np.abs(axis))]), mean


@dataclass(frozen=True, eq=False)
class _Pair:
    """Two filters, each of one number per sample."""

    first: FilterFunction
    second: FilterFunction

    def __call__(self, X):
        columns = self.first(X), self.second(X)
        if any(column.ndim == 2 for column in columns):
            raise ValueError(
                "The 'filter' parameter must give two numbers per sample at most: each "
                "filter of a pair one. One of them gave two."
            )
        return np.column_stack(columns)


@dataclass(frozen=True, eq=False)
class _Projection:
    axis: NDArray
    mean: NDArray

    def __call__(self, X):
        return _in_float64(
            lambda rows: np.einsum("ij,j->i", rows - self.mean, self.axis), X
        )


@dataclass(frozen=True, eq=False)
class _Column:
    column: int

    def __call__(self, X):
        return X[:, self.column].astype(np.float64)


@dataclass(frozen=True, eq=False)
class _Checked:
    """A function of the user's; what it returns is checked."""

    function: Callable

    def __call__(self, X):
        # It may write to what it gets.
        return _check_filter_values(self.function(X.copy()), len(X))


@dataclass(frozen=True, eq=False)
class _OnlyTraining:
    """Values given for the training samples: nothing is known about others."""

    values: NDArray
    X: NDArray

    def __call__(self, X):
        if not np.array_equal(X, self.X):
            raise ValueError(
                "The 'filter' parameter is an array of values, so only the training "
                "samples can be transformed. Give a callable for new samples."
            )
        return self.values


def _check_filter_values(values, n_samples):
    try:
        values = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError):
        raise ValueError(
            "The 'filter' parameter must be a filter, a pair of filters, or one number "
            f"for each sample, or two. Got {values!r:.100} instead."
        ) from None
    if values.shape == (n_samples, 1):
        values = values[:, 0]
    if values.shape not in ((n_samples,), (n_samples, 2)):
        raise ValueError(
            f"The 'filter' parameter must give one number for each of {n_samples} "
            f"samples, or two. Got an array of shape {values.shape} instead."
        )
    if not np.isfinite(values).all():
        raise ValueError("The 'filter' parameter gave values that are NaN or infinite.")
    return values
