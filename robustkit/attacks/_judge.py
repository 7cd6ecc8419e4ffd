"""Ask a model what it says, and how sure it is of that."""

from contextlib import nullcontext

import numpy as np
import torch
from scipy.special import softmax
from sklearn.frozen import FrozenEstimator

from robustkit._tensors import as_array, as_tensor, threads_for
from robustkit.attacks._descent import FirstLook
from robustkit.attacks._modes import dtype_of
from robustkit.classifiers._base import BaseNetClassifier

__all__ = ["Judge", "thawed"]


class Judge:
    """The model itself, as the last word on what an attack claims.

    A model that is a torch module is asked directly; any other through `predict`, in
    its own precision: what a float32 copy of it says of a point near the boundary is
    not what it says itself.

    Parameters
    ----------
    estimator : object
        A fitted classifier.

    module : torch.nn.Module or None
        How torch sees it, if it does; what a gradient attack follows.

    device : torch.device
        Where the module is.
    """

    def __init__(self, estimator, module, device):
        self.estimator = estimator
        self.classes = np.asarray(estimator.classes_)
        self.module, self.device = module, device
        self.dtype = torch.float32 if module is None else dtype_of(module)
        self._is_the_model = _is_the_model(estimator, module)

    def __call__(self, X, keep_graph=False):
        """Ask for the class of every sample, and its probability.

        Parameters
        ----------
        X : ndarray of shape (n_samples, n_features)
            Samples.

        keep_graph : bool, default=False
            Whether a gradient at these samples will be asked for next. Only a model
            that is a torch module can save the second forward pass.

        Returns
        -------
        prediction : ndarray of shape (n_samples,)
            Indices into the classes.

        confidence : ndarray of shape (n_samples,)
            In [0, 1].

        look : FirstLook or None
            What was kept.
        """
        if len(X) == 0:
            return np.zeros(0, dtype=np.intp), np.zeros(0), None
        if self._is_the_model:
            return self._ask_the_module(X, keep_graph)
        prediction = self.encode(self.estimator.predict(self._named(X)))
        probabilities = self.probabilities(X)
        return prediction, probabilities[np.arange(len(X)), prediction], None

    def fitting_threads(self, n_rows):
        """Let a small module run on one thread, for one block."""
        return (
            nullcontext() if self.module is None else threads_for(self.module, n_rows)
        )

    def encode(self, labels):
        """Turn labels into indices of classes; -1 for one that is no class."""
        order = np.argsort(self.classes)
        place = np.searchsorted(self.classes, labels, sorter=order)
        index = order[np.minimum(place, len(order) - 1)]
        return np.where(self.classes[index] == labels, index, -1)

    def _ask_the_module(self, X, keep_graph):
        x = as_tensor(X, device=self.device, dtype=self.dtype)
        x.requires_grad_(keep_graph)
        with torch.set_grad_enabled(keep_graph):
            logits = self.module(x)
        look = FirstLook(x, logits) if keep_graph else None
        logits = as_array(logits)
        _check_finite(logits, "logits")
        prediction = logits.argmax(axis=1)
        best = logits[np.arange(len(X)), prediction]
        # The softmax of the largest logit.
        odds = np.exp(logits - best[:, None]).sum(axis=1, dtype=np.float64)
        return prediction, 1 / odds, look

    def _named(self, X):
        """Give columns their names back, or a model fitted on a table would warn."""
        names = getattr(self.estimator, "feature_names_in_", None)
        if names is None:
            return X
        import pandas as pd

        return pd.DataFrame(X, columns=names)

    def probabilities(self, X):
        """Probability of every class, or the softmax of the decision function.

        Parameters
        ----------
        X : ndarray of shape (n_samples, n_features)
            Samples.

        Returns
        -------
        probabilities : ndarray of shape (n_samples, n_classes)
            nan if the model knows neither.
        """
        X = self._named(X)
        if hasattr(self.estimator, "predict_proba"):
            probabilities = np.asarray(self.estimator.predict_proba(X))
            _check_finite(probabilities, "probabilities")
            return probabilities
        if hasattr(self.estimator, "decision_function"):
            scores = np.asarray(self.estimator.decision_function(X))
            _check_finite(scores, "decision function")
            if scores.ndim == 1:
                scores = np.column_stack([np.zeros(len(scores)), scores])
            return softmax(scores, axis=1)
        return np.full((len(X), len(self.classes)), np.nan)


def thawed(estimator):
    """Take an estimator out of the FrozenEstimator around it, if there is one.

    Parameters
    ----------
    estimator : object
        Frozen or not, once or more often.

    Returns
    -------
    estimator : object
        What answers in its place.
    """
    while isinstance(estimator, FrozenEstimator):
        estimator = estimator.estimator
    return estimator


def _is_the_model(estimator, module):
    estimator = thawed(estimator)
    # Both answer with the largest logit of the module.
    return module is not None and (
        isinstance(estimator, BaseNetClassifier)
        or getattr(estimator, "module_", None) is module
    )


def _check_finite(values, what):
    finite = np.isfinite(values)
    if not finite.all():
        n_bad = (~finite.reshape(len(finite), -1).all(axis=1)).sum()
        raise ValueError(
            f"The {what} of the model must be finite. Got nan or infinity for "
            f"{n_bad} of {len(finite)} samples."
        )
