"""Metrics by name, and what some of them must know of the data."""

import numpy as np
from sklearn.neighbors import VALID_METRICS

# Those that DBSCAN takes. Between samples, that is: nobody has measured them before.
METRIC_NAMES = set(VALID_METRICS["brute"]) - {"precomputed"}

# Other names of the Euclidean distance; "minkowski" has the power 2.
_EUCLIDEAN = ("euclidean", "l2", "minkowski")


def learn_metric(metric, X):
    """Learn from all samples what a metric must know of them.

    Parameters
    ----------
    metric : str or callable
        As the user gave it.

    X : ndarray of shape (n_samples, n_features)
        The training samples.

    Returns
    -------
    metric : str or callable
        "euclidean" for each of its names.

    metric_params : dict or None
        What :class:`~sklearn.neighbors.NearestNeighbors` is to be told: the variances
        `V` of the features for "seuclidean", the inverse `VI` of their covariance for
        "mahalanobis".
    """
    if metric in _EUCLIDEAN:
        return "euclidean", None
    if metric == "seuclidean":
        return metric, {"V": _variances(X)}
    if metric == "mahalanobis":
        return metric, {"VI": _inverse_covariance(X)}
    if metric == "haversine" and X.shape[1] != 2:
        raise ValueError(
            "metric='haversine' needs 2 features, latitude and longitude. Got X with "
            f"{X.shape[1]} features."
        )
    return metric, None


# Squares of larger numbers overflow, and those of smaller ones vanish.
_LARGEST, _SMALLEST = 1e150, 1e-150


def bounding_diagonal(X):
    """Bound the Euclidean distances of samples, which must be neither huge nor tiny.

    Parameters
    ----------
    X : ndarray of shape (n_samples, n_features)
        The samples.

    Returns
    -------
    diagonal : float
        Of the smallest box that holds them; no distance is larger.
    """
    low, high = (bound.astype(np.float64) for bound in (X.min(axis=0), X.max(axis=0)))
    size = max(np.abs(low).max(), np.abs(high).max())
    if size > _LARGEST:
        raise ValueError(
            f"X holds values as large as {size:.3g}, whose squares overflow. Scale X, "
            f"so that none is above {_LARGEST:g}."
        )
    widest = (high - low).max()
    if 0 < widest < _SMALLEST:
        raise ValueError(
            f"No feature of X has values that differ by more than {widest:.3g}, so "
            f"the squares of all distances vanish. Scale X above {_SMALLEST:g}."
        )
    return float(np.linalg.norm(high - low))


def _variances(X):
    X = X.astype(np.float64)
    # A single sample has no variance.
    variances = X.var(axis=0, ddof=1) if len(X) > 1 else np.zeros(X.shape[1])
    is_bad = ~((variances > 0) & np.isfinite(variances))
    if is_bad.any():
        first = is_bad.argmax()
        raise ValueError(
            "metric='seuclidean' divides by the variance of each feature, but that of "
            f"feature {first} is {variances[first]:g} (X has {len(X)} sample(s)). Drop "
            "constant features, or use another metric."
        )
    return variances


def _inverse_covariance(X):
    n_samples, n_features = X.shape
    covariance = np.zeros((n_features, n_features))
    if n_samples > 1:
        covariance = np.atleast_2d(np.cov(X.astype(np.float64), rowvar=False))
    rank = np.linalg.matrix_rank(covariance, hermitian=True)
    if rank < n_features:
        raise ValueError(
            "metric='mahalanobis' inverts the covariance of the features, which has "
            f"rank {rank}, but X has {n_features} features and {n_samples} sample(s). "
            "Drop features that depend on others, or use another metric."
        )
    return np.linalg.inv(covariance)
