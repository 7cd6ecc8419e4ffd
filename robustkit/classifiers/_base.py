"""What all classifiers that hold a network share: fit, go on, predict."""

import copy
from abc import ABC, abstractmethod
from contextlib import nullcontext
from numbers import Integral, Real

import numpy as np
import torch
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils import check_random_state
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, validate_data

from robustkit._randomness import draw_seeds, seeded_torch, torch_generator
from robustkit._sklearn_private import (
    CallbackSupportMixin,
    HasMethods,
    Interval,
    _fit_context,
)
from robustkit._tensors import (
    as_array,
    as_tensor,
    dtype_of,
    evaluating,
    map_batches,
    resolve_device,
)
from robustkit.bridge import as_module
from robustkit.classifiers._hooks import seeded_clone
from robustkit.classifiers._labels import (
    check_classes,
    check_logits,
    check_numbers,
    encode,
    hold_out,
)
from robustkit.classifiers._watcher import Watcher
from robustkit.networks import AutogradStep, train

__all__ = ["BaseNetClassifier"]

# Rows that go through the network at once in `predict`.
_PREDICT_BATCH = 4096


class BaseNetClassifier(ClassifierMixin, CallbackSupportMixin, BaseEstimator, ABC):
    """Base class of the classifiers that train a network.

    A subclass stores the training parameters in its `__init__` and says how its
    network is made.
    """

    _doc_link_module = "robustkit"

    _parameter_constraints: dict = {
        "max_epochs": [Interval(Integral, 1, None, closed="left")],
        "batch_size": [Interval(Integral, 1, None, closed="left")],
        "lr": [Interval(Real, 0, None, closed="neither")],
        "weight_decay": [Interval(Real, 0, None, closed="left")],
        "label_smoothing": [Interval(Real, 0, 1, closed="left")],
        "adversary": [HasMethods("perturb_module"), None],
        "regularizer": [HasMethods("penalty"), None],
        "early_stopping": ["boolean"],
        "validation_fraction": [Interval(Real, 0, 1, closed="neither")],
        "n_iter_no_change": [Interval(Integral, 1, None, closed="left")],
        "warm_start": ["boolean"],
        "device": [str, torch.device],
        "verbose": ["verbose"],
        "random_state": ["random_state"],
    }

    # What the optimizer remembers between calls.
    _optimizer_state = None

    @abstractmethod
    def _make_module(self, n_features, n_classes, seed):
        """Build the untrained network, on the CPU."""

    def _network(self):
        """Return the module that takes samples as they are in X."""
        return self.module_

    def _make_stepper(self, network, regularizer):
        """Return the engine that trains the network."""
        return AutogradStep(
            network,
            lr=self.lr,
            weight_decay=self.weight_decay,
            label_smoothing=self.label_smoothing,
            regularizer=regularizer,
        )

    def _draws_from_torch(self):
        """Whether building or training may draw from torch's global stream.

        If not, that stream is left alone, and fits in several threads need not wait
        for each other to seed it.
        """
        return self.adversary is not None or self.regularizer is not None

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X, y):
        """Train the network.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Training samples.

        y : array-like of shape (n_samples,)
            Their classes, of any type.

        Returns
        -------
        self : object
            The fitted classifier.
        """
        goes_on = self.warm_start and hasattr(self, "module_")
        X, y = self._validate(X, y, reset=not goes_on)
        classes = check_classes(self, np.unique(y))
        if not goes_on:
            self._start(X, classes)
        elif not np.array_equal(classes, self.classes_):
            raise ValueError(
                "warm_start=True goes on with the classes of the first fit, "
                f"{self.classes_.tolist()}. Got {classes.tolist()} in y instead."
            )
        self._train(X, y, self.max_epochs, early_stopping=self.early_stopping)
        return self

    @_fit_context(prefer_skip_nested_validation=True)
    def partial_fit(self, X, y, classes=None):
        """Train for one epoch on a chunk of the data, going on from the last call.

        `early_stopping` has no say here.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Training samples.

        y : array-like of shape (n_samples,)
            Their classes.

        classes : array-like of shape (n_classes,), default=None
            All classes that may occur in any call. Needed on the first call only.

        Returns
        -------
        self : object
            The fitted classifier.
        """
        is_first = not hasattr(self, "module_")
        X, y = self._validate(X, y, reset=is_first)
        if is_first:
            if classes is None:
                raise ValueError(
                    "classes must be passed on the first call to partial_fit."
                )
            self._start(X, check_classes(self, np.unique(classes)))
        elif classes is not None and not np.array_equal(
            np.unique(classes), self.classes_
        ):
            raise ValueError(
                f"classes={np.asarray(classes).tolist()} are not those of the first "
                f"call, {self.classes_.tolist()}."
            )
        self._train(X, y, max_epochs=1, early_stopping=False)
        return self

    def _validate(self, X, y, *, reset):
        # Before any work is done: the device may not be there.
        resolve_device(self.device)
        X, y = validate_data(self, X, y, dtype=np.float32, order="C", reset=reset)
        check_classification_targets(y)
        return X, y

    def _start(self, X, classes):
        """Forget all that was learned and build a new network."""
        self._rng = check_random_state(self.random_state)
        module_seed, self._validation_seed = draw_seeds(self._rng, 2)
        self.module_ = self._make_module(X.shape[1], len(classes), module_seed)
        self.classes_ = classes
        self.n_parameters_ = sum(w.numel() for w in self.module_.parameters())
        self.n_iter_, self.loss_curve_ = 0, []
        self._optimizer_state = None
        for name in ("validation_scores_", "adversary_", "regularizer_"):
            vars(self).pop(name, None)

    def _train(self, X, y, max_epochs, *, early_stopping):
        order_seed, stream_seed, *hook_seeds = draw_seeds(self._rng, 4)
        device = resolve_device(self.device)
        network = self._network().to(device)
        hooks = self._prepare_hooks(hook_seeds)
        stepper = self._make_stepper(network, hooks["regularizer"])
        if self._optimizer_state is not None:
            stepper.load_state_dict(self._optimizer_state)
        samples = as_tensor(X, device=device, dtype=dtype_of(network))
        targets = as_tensor(encode(self, y), device=device, dtype=torch.int64)
        validation = None
        if early_stopping:
            kept, held_out = hold_out(self, y, seed=self._validation_seed)
            validation = samples[held_out], targets[held_out]
            samples, targets = samples[kept], targets[kept]
        draws = self._draws_from_torch()
        with (
            Watcher(self, X, y, max_epochs) as watcher,
            seeded_torch(stream_seed) if draws else nullcontext(),
        ):
            train(
                network,
                samples,
                targets,
                stepper=stepper,
                max_epochs=max_epochs,
                batch_size=self.batch_size,
                generator=torch_generator(order_seed, device),
                validation=validation,
                n_iter_no_change=self.n_iter_no_change,
                watcher=watcher,
                **hooks,
            )
        self._optimizer_state = stepper.state_dict()

    def _prepare_hooks(self, seeds):
        """Clone the adversary and the regularizer, as they may learn in the loop."""
        hooks = {}
        for name, seed in zip(("adversary", "regularizer"), seeds, strict=True):
            hooks[name] = seeded_clone(getattr(self, name), seed)
            if hooks[name] is not None:
                setattr(self, f"{name}_", hooks[name])
        return hooks

    def _logits(self, X):
        check_is_fitted(self)
        network = self._network()
        dtype = dtype_of(network)
        wide = np.float64 if dtype == torch.float64 else np.float32
        X = validate_data(self, X, reset=False, dtype=wide, order="C")
        weight = next(network.parameters(), torch.empty(0))

        def logits_of(rows):
            tensor = as_tensor(rows, device=weight.device, dtype=dtype)
            return network(_fill_up(tensor))[: len(rows)]

        with evaluating(network), torch.no_grad():
            logits = map_batches(logits_of, X, batch_size=_PREDICT_BATCH)
        check_logits(logits, len(X), len(self.classes_))
        check_numbers(logits)
        # Numpy knows no bfloat16, which a module has, or is made to have by autocast.
        return as_array(logits.to(torch.promote_types(logits.dtype, torch.float32)))

    def decision_function(self, X):
        """Logit of each class.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Samples.

        Returns
        -------
        logits : ndarray of shape (n_samples, n_classes) or (n_samples,)
            Columns are in the order of `classes_`. With two classes it is, as always
            in scikit-learn, one number a sample: the logit of the second class minus
            that of the first.
        """
        logits = self._logits(X)
        return logits[:, 1] - logits[:, 0] if logits.shape[1] == 2 else logits

    def predict_proba(self, X):
        """Probability of each class.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Samples.

        Returns
        -------
        probabilities : ndarray of shape (n_samples, n_classes)
            Columns are in the order of `classes_`.
        """
        # In double precision the rows sum to one as closely as users expect.
        logits = self._logits(X).astype(np.float64)
        odds = np.exp(logits - logits.max(axis=1, keepdims=True))
        return odds / odds.sum(axis=1, keepdims=True)

    def predict(self, X):
        """Most probable class.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Samples.

        Returns
        -------
        labels : ndarray of shape (n_samples,)
            One class a sample.
        """
        logits = self._logits(X)
        return self.classes_[logits.argmax(axis=1)]

    # A copy stays on its device, while a pickle goes through `__getstate__`.
    def __copy__(self):
        twin = type(self).__new__(type(self))
        vars(twin).update(vars(self))
        return twin

    def __deepcopy__(self, memo):
        twin = memo[id(self)] = type(self).__new__(type(self))
        vars(twin).update(copy.deepcopy(vars(self), memo))
        return twin

    def __getstate__(self):
        # A copy: Python hands out the attributes themselves.
        state = dict(super().__getstate__())
        if any(w.device.type != "cpu" for w in self._weights()):
            # So that a model trained on a GPU can be loaded where there is none.
            state["module_"] = copy.deepcopy(self.module_).cpu()
            state["_optimizer_state"] = _to_cpu(self._optimizer_state)
        return state

    def _weights(self):
        return self.module_.parameters() if hasattr(self, "module_") else ()


def _fill_up(rows, multiple=16):
    """Copy rows and repeat the last one until their number is round.

    Matrix products round otherwise for a few rows than for many, and in memory that is
    not aligned, as that of numpy is by chance only. With round numbers in memory of
    torch a sample's logits hardly ever depend on its neighbours.
    """
    filled = rows.new_empty(len(rows) + -len(rows) % multiple, *rows.shape[1:])
    filled[: len(rows)] = rows
    filled[len(rows) :] = rows[-1]
    return filled


def _to_cpu(state):
    """Bring the tensors of nested dictionaries to the CPU."""
    if torch.is_tensor(state):
        return state.cpu()
    if isinstance(state, dict):
        return {key: _to_cpu(value) for key, value in state.items()}
    return state


@as_module.register(BaseNetClassifier)
def _network_of(classifier):
    check_is_fitted(classifier)
    return classifier._network()
