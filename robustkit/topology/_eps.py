"""The distance within which samples are neighbours, when the data shall choose it."""

import numpy as np
from sklearn.neighbors import NearestNeighbors


def neighbor_distances(X, n_neighbors, metric="euclidean", n_jobs=None):
    """Distance of every sample to its n-th nearest other one.

    Parameters
    ----------
    X : ndarray of shape (n_samples, n_features)
        The samples.

    n_neighbors : int
        Which neighbour; the last one, where there are fewer.

    metric : str or callable, default="euclidean"
        As in :class:`~sklearn.neighbors.NearestNeighbors`.

    n_jobs : int or None, default=None
        Threads.

    Returns
    -------
    distances : ndarray of shape (n_samples,)
        In the order of the samples.
    """
    n_neighbors = min(n_neighbors, len(X) - 1)
    if n_neighbors == 0:
        return np.zeros(len(X))
    search = NearestNeighbors(n_neighbors=n_neighbors, metric=metric, n_jobs=n_jobs)
    return search.fit(X).kneighbors()[0][:, -1]


def knee(distances):
    """Find where the sorted distances turn from flat to steep.

    Parameters
    ----------
    distances : ndarray of shape (n_samples,)
        In any order.

    Returns
    -------
    eps : float
        The distance at which the curve of the sorted distances is farthest from the
        straight line between its ends. Positive also where all distances are zero.
    """
    distances = np.sort(distances)
    chord = np.linspace(distances[0], distances[-1], len(distances))
    eps = distances[np.argmax(np.abs(chord - distances))]
    return float(max(eps, np.finfo(np.float64).tiny))
