"""Filters: one number a sample, by which the samples are laid out along a line."""

import numpy as np
from scipy.linalg import eigh


def fit_filter(filter, X):
    """Turn the `filter` parameter into a function of rows.

    Parameters
    ----------
    filter : {"l2norm", "pca"}, int, callable or array-like of shape (n_samples,)
        As the user gave it.

    X : ndarray of shape (n_samples, n_features)
        The training samples.

    Returns
    -------
    function : callable
        Takes rows and returns their values, float64.

    is_lipschitz : bool
        Whether two values never differ by more than the Euclidean distance of the rows.
    """
    if isinstance(filter, str):
        if filter == "l2norm":
            return _l2norm, True
        return _Projection(*_first_principal_axis(X)), True
    if callable(filter):
        return _Checked(filter), False
    if np.ndim(filter) == 0:
        if filter >= X.shape[1]:
            raise ValueError(
                f"filter={filter} asks for a column, but X has {X.shape[1]} features; "
                f"the last column is {X.shape[1] - 1}."
            )
        return _Column(int(filter)), True
    return _OnlyTraining(filter, X), False


# Numbers that are float64 at one time: large float32 data are never copied whole.
_CHUNK = 2**22


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


def _first_principal_axis(X):
    mean = X.mean(axis=0, dtype=np.float64)
    n_samples, n_features = X.shape
    if n_features <= n_samples:
        step = max(1, _CHUNK // n_features)
        scatter = np.zeros((n_features, n_features))
        for start in range(0, n_samples, step):
            centered = X[start : start + step] - mean
            scatter += centered.T @ centered
        axis = eigh(scatter, subset_by_index=[n_features - 1] * 2)[1][:, 0]
    else:
        centered = X - mean
        scatter = centered @ centered.T
        weights = eigh(scatter, subset_by_index=[n_samples - 1] * 2)[1][:, 0]
        axis = centered.T @ weights
    norm = np.linalg.norm(axis)
    if norm == 0:
        # All samples are the same: every axis is as good.
        return np.eye(1, n_features)[0], mean
    # An axis has no sign; the largest coordinate is made positive, as in PCA.
    return axis / norm * np.sign(axis[np.argmax(np.abs(axis))]), mean


class _Projection:
    def __init__(self, axis, mean):
        self.axis, self.mean = axis, mean

    def __call__(self, X):
        return _in_float64(
            lambda rows: np.einsum("ij,j->i", rows - self.mean, self.axis), X
        )


class _Column:
    def __init__(self, column):
        self.column = column

    def __call__(self, X):
        return X[:, self.column].astype(np.float64)


class _Checked:
    """A function of the user's; what it returns is checked."""

    def __init__(self, function):
        self.function = function

    def __call__(self, X):
        # It may write to what it gets.
        return _check_filter_values(self.function(X.copy()), len(X))


class _OnlyTraining:
    """Values given for the training samples: nothing is known about others."""

    def __init__(self, values, X):
        self.values = _check_filter_values(values, len(X))
        self.X = X

    def __call__(self, X):
        if not np.array_equal(X, self.X):
            raise ValueError(
                "The 'filter' parameter is an array of values, so only the training "
                "samples can be transformed. Give a callable for new samples."
            )
        return self.values


def _check_filter_values(values, n_samples):
    values = np.asarray(values, dtype=np.float64)
    if values.shape == (n_samples, 1):
        values = values[:, 0]
    if values.shape != (n_samples,):
        raise ValueError(
            f"The 'filter' parameter must give one number for each of {n_samples} "
            f"samples. Got an array of shape {values.shape} instead."
        )
    if not np.isfinite(values).all():
        raise ValueError("The 'filter' parameter gave values that are NaN or infinite.")
    return values
