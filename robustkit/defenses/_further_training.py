"""Train a fitted classifier further, whatever its way to say so."""

import copy

import numpy as np
from sklearn.base import clone
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.frozen import FrozenEstimator

# Parameters that say how long one more call of a warm-started `fit` trains.
_LENGTHS = ("max_epochs", "max_iter")


def train_first(estimator, X, y):
    """Fit a clone, or copy a model that is frozen, so that it can be trained further.

    Parameters
    ----------
    estimator : estimator
        As the user gave it.

    X : ndarray of shape (n_samples, n_features)
        Training samples.

    y : ndarray of shape (n_samples,)
        Class labels.

    Returns
    -------
    model : estimator
        Fitted, and nobody else's.
    """
    if isinstance(estimator, FrozenEstimator):
        model = copy.deepcopy(estimator.estimator)
    else:
        # A copy: some models write to what they are given.
        model = clone(estimator).fit(X.copy(), y)
    if not hasattr(model, "partial_fit") and "warm_start" not in model.get_params():
        raise ValueError(
            "The 'estimator' parameter must be a classifier that can be trained "
            "further: with the method partial_fit or the parameter warm_start. Got "
            f"{estimator!r} instead."
        )
    return model


def train_further(model, X, y, n_epochs):
    """Train a fitted classifier with some samples, from where it is.

    Parameters
    ----------
    model : estimator
        Fitted; it is changed.

    X : ndarray of shape (n_samples, n_features)
        The samples.

    y : ndarray of shape (n_samples,)
        Their labels.

    n_epochs : int
        Passes over the samples; iterations or new trees, for a model without
        `partial_fit`.
    """
    if hasattr(model, "partial_fit"):
        for _ in range(n_epochs):
            model.partial_fit(X.copy(), y)
        return
    before = model.get_params(deep=False)
    model.set_params(**_going_on(model, n_epochs)).fit(X, y)
    model.set_params(**{name: before[name] for name in _going_on(model, n_epochs)})


def _going_on(model, n_epochs):
    """Parameters with which one more `fit` goes on for so long."""
    params = {"warm_start": True}
    for name, value in model.get_params(deep=False).items():
        if name == "n_estimators":
            params[name] = value + n_epochs
        elif name == "max_iter" and isinstance(model, HistGradientBoostingClassifier):
            # It counts the iterations of all calls.
            params[name] = model.n_iter_ + n_epochs
        elif name in _LENGTHS:
            params[name] = n_epochs
    return params


def with_every_class(chosen, y):
    """Add the first sample of each class that is missing among those chosen."""
    classes, first = np.unique(y, return_index=True)
    missing = ~np.isin(classes, y[chosen])
    return np.concatenate([chosen, first[missing]])
