"""The clusters of every interval, by any clusterer of scikit-learn."""

import numpy as np
from sklearn.base import clone
from sklearn.utils.parallel import Parallel, delayed


def cluster_with(clusterer, X, order, slices, n_jobs=None):
    """Fit a clone of a clusterer to the samples of each interval.

    Parameters
    ----------
    clusterer : estimator
        Any with `fit_predict`; a negative label is noise.

    X : ndarray of shape (n_samples, n_features)
        The samples.

    order : ndarray of shape (n_samples,)
        The sample at each position.

    slices : ndarray of shape (n_intervals, 2)
        The positions of each interval.

    n_jobs : int or None, default=None
        Threads.

    Returns
    -------
    clusters : list of (samples, labels)
        One entry an interval, without the noise.

    anchors : list of (samples, labels)
        The samples that draw new ones into their cluster: DBSCAN's core samples, or
        else all.
    """
    results = Parallel(n_jobs=n_jobs, prefer="threads")(
        delayed(_cluster_with)(clusterer, X, np.sort(order[start:stop]))
        for start, stop in slices
    )
    return [cluster for cluster, _ in results], [anchor for _, anchor in results]


def _cluster_with(clusterer, X, samples):
    # A clone, also where it is not fitted: the one given may be fitted to other data.
    clusterer = clone(clusterer)
    if len(samples) < _fewest_for_noise(clusterer):
        labels = np.full(len(samples), -1)
    elif len(samples) < max(2, _as_int(clusterer, "n_clusters")):
        # Fewer samples than clusters asked for, or a single one: nothing to join.
        labels = np.arange(len(samples))
    else:
        labels = np.asarray(clusterer.fit_predict(X[samples]))
    is_member = labels >= 0
    _, labels = np.unique(labels[is_member], return_inverse=True)
    samples = samples[is_member]
    cores = getattr(clusterer, "core_sample_indices_", None)
    if cores is None:
        return (samples, labels), (samples, labels)
    is_core = np.zeros(len(is_member), dtype=bool)
    is_core[cores] = True
    is_core = is_core[is_member]
    return (samples, labels), (samples[is_core], labels[is_core])


def _as_int(clusterer, name):
    value = clusterer.get_params().get(name) if hasattr(clusterer, "get_params") else 0
    return value if isinstance(value, int | np.integer) else 0


def _fewest_for_noise(clusterer):
    """Below it, a density-based clusterer finds only noise, or refuses to work."""
    return max(
        _as_int(clusterer, "min_samples"), _as_int(clusterer, "min_cluster_size")
    )
