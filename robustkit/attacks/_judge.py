"""Ask a model what it says, and how sure it is of that."""

from contextlib import ExitStack, contextmanager

import numpy as np
import torch
from scipy.special import softmax
from sklearn.frozen import FrozenEstimator

from robustkit._tensors import as_array, as_tensor, threads_for
from robustkit.attacks._descent import first_look, logits_at
from robustkit.attacks._modes import dtypes_of, sparing_input, takes
from robustkit.classifiers import BaseNetClassifier

__all__ = ["Judge", "answers_with_module", "thawed"]


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
        self.dtype = torch.float32 if module is None else dtypes_of(module)[0]
        # Then what it says need not be confirmed by `predict`.
        self.is_the_model = answers_with_module(estimator, module)

    @contextmanager
    def at_work(self, X, batch_size):
        """Get the module ready for the samples of one run, for one block.

        It gets them in the precision that it computes in, on its own copy if it writes
        to its input, and if it is small on one thread.

        Parameters
        ----------
        X : ndarray of shape (n_samples, n_features)
            All samples of the run.

        batch_size : int
            Samples at once.
        """
        with ExitStack() as stack:
            if self.module is not None:
                n_rows = min(batch_size, len(X))
                stack.enter_context(threads_for(self.module, n_rows))
                probe = self._choose_dtype(X[:2])
                stack.enter_context(sparing_input(self.module, probe))
                if self.is_the_model:
                    self._check_classes_are_indices()
                else:
                    self._check_width(logits_at(self.module, probe))
            yield

    def _choose_dtype(self, X):
        dtypes = dtypes_of(self.module)
        if isinstance(thawed(self.estimator), BaseNetClassifier):
            # So does its `predict`, whatever the network makes of that.
            dtypes = [torch.float32, *dtypes]
        probes = [as_tensor(X, device=self.device, dtype=dtype) for dtype in dtypes]
        if len(set(dtypes)) > 1:
            probes = [p for p in probes if takes(self.module, p)] or probes
        self.dtype = probes[0].dtype
        return probes[0]

    def _check_width(self, logits):
        n_classes = len(self.classes)
        if logits.ndim != 2 or logits.shape[1] != n_classes:
            raise ValueError(
                f"The module must return one logit for each of the {n_classes} "
                f"classes. It returned shape {tuple(logits.shape)}."
            )

    def _check_classes_are_indices(self):
        # A skorch net answers with the index of a class, whatever the labels were.
        if not isinstance(thawed(self.estimator), BaseNetClassifier):
            self._known(np.arange(len(self.classes)))

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
        if self.is_the_model:
            return self._ask_the_module(X, keep_graph)
        prediction = self.predict(X)
        probabilities = self.probabilities(X)
        return prediction, probabilities[np.arange(len(X)), prediction], None

    def predict(self, X):
        """Ask the estimator itself for the class of every sample.

        Parameters
        ----------
        X : ndarray of shape (n_samples, n_features)
            Samples.

        Returns
        -------
        prediction : ndarray of shape (n_samples,)
            Indices into the classes.
        """
        # The data loader of a skorch net draws from torch's global stream.
        with torch.random.fork_rng(devices=[]):
            return self._known(self.estimator.predict(self._named(X)))

    def _known(self, labels):
        index = self.encode(labels)
        if (index < 0).any():
            name = type(thawed(self.estimator)).__name__
            raise ValueError(
                f"{name}.predict gives the label {labels[index < 0].tolist()[0]!r}, "
                f"which is not in its classes_, {self.classes.tolist()}. A network "
                "that answers with the index of a class needs the labels 0, 1, 2, ..."
            )
        return index

    def encode(self, labels):
        """Turn labels into indices of classes; -1 for one that is no class."""
        order = np.argsort(self.classes)
        place = np.searchsorted(self.classes, labels, sorter=order)
        index = order[np.minimum(place, len(order) - 1)]
        return np.where(self.classes[index] == labels, index, -1)

    def _ask_the_module(self, X, keep_graph):
        x = as_tensor(X, device=self.device, dtype=self.dtype)
        look = first_look(self.module, x) if keep_graph else None
        logits = as_array(look.logits if keep_graph else logits_at(self.module, x))
        self._check_width(logits)
        _check_finite(logits, "logits", X, self.dtype)
        prediction = logits.argmax(axis=1)
        best = logits[np.arange(len(X)), prediction]
        # The softmax of the largest logit.
        odds = np.exp(logits - best[:, None]).sum(axis=1, dtype=np.float64)
        return prediction, 1 / odds, look

    def _named(self, X):
        """Copy X, as some models write to it, with the names of its columns.

        Without them a model that was fitted on a table would warn.
        """
        X = X.copy()
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
        with torch.random.fork_rng(devices=[]):
            return self._probabilities(self._named(X))

    def _probabilities(self, X):
        if hasattr(self.estimator, "predict_proba"):
            probabilities = np.asarray(self.estimator.predict_proba(X))
            _check_finite(probabilities, "probabilities", X)
            return probabilities
        if hasattr(self.estimator, "decision_function"):
            scores = np.asarray(self.estimator.decision_function(X))
            _check_finite(scores, "decision function", X)
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


def answers_with_module(estimator, module):
    """Whether a network's `predict` is known to be the largest logit of its module.

    Parameters
    ----------
    estimator : object
        A fitted classifier.

    module : torch.nn.Module or None
        How torch sees it.

    Returns
    -------
    known : bool
        False for all that is no network, and where a method was overwritten.
    """
    estimator = thawed(estimator)
    if module is None or "predict" in vars(estimator):
        return False
    own = type(estimator)
    if isinstance(estimator, BaseNetClassifier):
        return all(
            getattr(own, name) is getattr(BaseNetClassifier, name)
            for name in ("predict", "_logits")
        )
    # A skorch net; not a subclass, nor one that turns its logits into something else.
    return (
        str(own.__module__) == "skorch.classifier"
        and getattr(estimator, "module_", None) is module
        and estimator.predict_nonlinearity in ("auto", None)
    )


def _check_finite(values, what, X, dtype=None):
    finite = np.isfinite(values)
    if not finite.all():
        n_bad = (~finite.reshape(len(finite), -1).all(axis=1)).sum()
        largest = np.abs(np.asarray(X)).max()
        of_type = "" if dtype is None else f" as {dtype}"
        raise ValueError(
            f"The {what} of the model must be finite. Got nan or infinity for "
            f"{n_bad} of {len(finite)} samples, where X has values up to {largest:.3g}"
            f"{of_type}."
        )
