"""Where new samples lie in a mapper graph."""

import numpy as np
from sklearn.neighbors import NearestNeighbors

# Words hashed at one time.
_CHUNK = 2**22


def find_known_rows(X, known):
    """Find rows that are equal to a known one.

    Parameters
    ----------
    X : ndarray of shape (n_samples, n_features)
        The rows looked for.

    known : ndarray of shape (n_known, n_features)
        The rows looked through, of the same dtype.

    Returns
    -------
    positions : ndarray of shape (n_samples,)
        Index of an equal known row; -1 where there is none.
    """
    keys, wanted = _hash_rows(known), _hash_rows(X)
    order = np.argsort(keys, kind="stable")
    place = np.searchsorted(keys[order], wanted)
    candidates = order[np.minimum(place, len(order) - 1)]
    is_hit = keys[candidates] == wanted
    # Two different rows may share a key.
    is_hit[is_hit] = (X[is_hit] == known[candidates[is_hit]]).all(axis=1)
    return np.where(is_hit, candidates, -1)


def _hash_rows(X):
    n_words = X.shape[1] * X.itemsize // 4
    # Odd multipliers lose no bit; any fixed ones will do.
    factors = np.random.RandomState(0).randint(2**62, size=n_words).astype(np.uint64)
    factors = 2 * factors + np.uint64(1)
    keys = np.empty(len(X), dtype=np.uint64)
    step = max(1, _CHUNK // n_words)
    for start in range(0, len(X), step):
        # Adding zero turns -0.0 into 0.0, which it is equal to.
        rows = np.ascontiguousarray(X[start : start + step] + X.dtype.type(0))
        keys[start : start + step] = rows.view(np.uint32).astype(np.uint64) @ factors
    return keys


def nearest_nodes(
    X, anchors, labels, eps, metric="euclidean", metric_params=None, n_jobs=None
):
    """Give every new sample the label of its nearest anchor within a distance.

    Parameters
    ----------
    X : ndarray of shape (n_samples, n_features)
        The new samples.

    anchors : ndarray of shape (n_anchors, n_features)
        Samples whose label is known; at least one.

    labels : ndarray of shape (n_anchors,)
        Their labels.

    eps : float
        Largest distance.

    metric : str or callable, default="euclidean"
        As in :class:`~sklearn.neighbors.NearestNeighbors`.

    metric_params : dict, default=None
        As in :class:`~sklearn.neighbors.NearestNeighbors`.

    n_jobs : int or None, default=None
        Threads.

    Returns
    -------
    nearest : ndarray of shape (n_samples,)
        Labels; -1 where no anchor is near enough.
    """
    search = NearestNeighbors(
        n_neighbors=1, metric=metric, metric_params=metric_params, n_jobs=n_jobs
    )
    distances, found = (column[:, 0] for column in search.fit(anchors).kneighbors(X))
    if metric == "euclidean":
        # Measured again: those of the search are rounded like products of the samples.
        differences = np.subtract(X, anchors[found], dtype=np.float64)
        distances = np.sqrt(np.einsum("ij,ij->i", differences, differences))
    return np.where(distances <= eps, labels[found], -1)
