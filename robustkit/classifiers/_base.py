"""The base of all classifiers around a network: fit, continue, predict."""

import copy
import warnings
from abc import ABC, abstractmethod
from contextlib import nullcontext
from math import isfinite
from numbers import Integral, Real
from typing import Any, Self, cast

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, ClassifierMixin, clone
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import train_test_split
from sklearn.utils import check_random_state
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, validate_data
from torch import nn

from robustkit._randomness import draw_seeds, seeded_torch, torch_generator
from robustkit._sklearn_private import (
    CallbackSupportMixin,
    HasMethods,
    Interval,
    StrOptions,
    _fit_context,
)
from robustkit._tensors import (
    as_array,
    as_tensor,
    dtype_of,
    evaluating,
    map_batches,
    pad_rows,
    resolve_device,
)
from robustkit.bridge import as_module
from robustkit.networks import (
    AutogradStep,
    Epoch,
    PerceptronStep,
    Plateau,
    Schedule,
    train,
)

__all__ = [
    "BaseNetClassifier",
    "batch_size_for",
    "check_classes",
    "check_logits",
    "encode",
    "hold_out",
    "most_epochs",
    "seeded_clone",
    "warn_of_no_convergence",
]

# Rows that go through the network at once in `predict`.
_PREDICT_BATCH = 4096

# What "auto" means for `max_epochs`, and for `batch_size`: steps of an epoch, and the
# least and the largest number of samples of a step.
_MOST_EPOCHS = 90
_STEPS, _SMALLEST, _LARGEST = 20, 36, 128


class BaseNetClassifier(ClassifierMixin, CallbackSupportMixin, BaseEstimator, ABC):
    """Base class of the classifiers that train a network.

    A subclass stores the training parameters in its `__init__` and defines how its
    network is built.
    """

    _doc_link_module = "robustkit"

    _parameter_constraints: dict = {
        "max_epochs": [
            Interval(Integral, 1, None, closed="left"),
            StrOptions({"auto"}),
        ],
        "batch_size": [
            Interval(Integral, 1, None, closed="left"),
            StrOptions({"auto"}),
        ],
        "tol": [Interval(Real, 0, None, closed="left")],
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

    max_epochs: int | str
    batch_size: int | str
    tol: float
    lr: float
    weight_decay: float
    label_smoothing: float
    adversary: Any
    regularizer: Any
    early_stopping: bool
    validation_fraction: float
    n_iter_no_change: int
    warm_start: bool
    device: str | torch.device
    verbose: int
    random_state: int | np.random.RandomState | None

    module_: nn.Module
    classes_: NDArray
    n_parameters_: int
    n_iter_: int
    loss_curve_: list[float]
    validation_scores_: list[float]
    adversary_: Any
    regularizer_: Any
    n_features_in_: int
    feature_names_in_: NDArray

    # State of the optimizer between calls.
    _optimizer_state: dict | None = None

    @abstractmethod
    def _make_module(self, n_features: int, n_classes: int, seed: int) -> nn.Module:
        """Build the untrained network, on the CPU."""

    def _network(self) -> nn.Module:
        """Return the module that takes samples as they are in X."""
        return self.module_

    def _make_stepper(self, network: nn.Module, regularizer: Any) -> Any:
        """Return the step that trains the network."""
        settings = {
            "lr": self.lr,
            "weight_decay": self.weight_decay,
            "label_smoothing": self.label_smoothing,
            "regularizer": regularizer,
            **self._optimizer_settings(),
        }
        suits = PerceptronStep.suits(network, **settings)
        return (PerceptronStep if suits else AutogradStep)(network, **settings)

    def _optimizer_settings(self) -> dict[str, Any]:
        """Return what the step is told of the optimizer, if it is not Adam."""
        return {}

    def _draws_from_torch(self) -> bool:
        """Whether building or training may draw from torch's global stream.

        If not, that stream is left alone, and fits in several threads need not wait
        for each other to seed it.
        """
        return self.adversary is not None or self.regularizer is not None

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X: ArrayLike, y: ArrayLike) -> Self:
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
        continues = self.warm_start and hasattr(self, "module_")
        X, y = self._validate(X, y, reset=not continues)
        classes = check_classes(self, np.unique(y))
        if not continues:
            self._start(X, classes)
        elif not np.array_equal(classes, self.classes_):
            raise ValueError(
                "warm_start=True continues with the classes of the first fit, "
                f"{self.classes_.tolist()}. Got {classes.tolist()} in y instead."
            )
        self._train(X, y, early_stopping=self.early_stopping)
        return self

    @_fit_context(prefer_skip_nested_validation=True)
    def partial_fit(
        self, X: ArrayLike, y: ArrayLike, classes: ArrayLike | None = None
    ) -> Self:
        """Train for one epoch on a chunk of the data, continuing from the last call.

        `early_stopping` has no effect here.

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

    def _validate(
        self, X: ArrayLike, y: ArrayLike, *, reset: bool
    ) -> tuple[NDArray, NDArray]:
        # Before any work is done: the device may not exist.
        resolve_device(self.device)
        X, y = validate_data(self, X, y, dtype=np.float32, order="C", reset=reset)
        check_classification_targets(y)
        return X, y

    def _start(self, X: NDArray, classes: NDArray) -> None:
        """Discard all that was learned and build a new network."""
        self._rng = check_random_state(self.random_state)
        module_seed, self._validation_seed = draw_seeds(self._rng, 2)
        self.module_ = self._make_module(X.shape[1], len(classes), module_seed)
        self.classes_ = classes
        self.n_parameters_ = sum(w.numel() for w in self.module_.parameters())
        self.n_iter_, self.loss_curve_ = 0, []
        self._optimizer_state = None
        for name in ("validation_scores_", "adversary_", "regularizer_"):
            self.__dict__.pop(name, None)

    def _train(
        self,
        X: NDArray,
        y: NDArray,
        max_epochs: int | str | None = None,
        *,
        early_stopping: bool,
    ) -> None:
        max_epochs = self.max_epochs if max_epochs is None else max_epochs
        order_seed, stream_seed, *learner_seeds = draw_seeds(self._rng, 4)
        device = resolve_device(self.device)
        network = self._network().to(device)
        learners = self._clone_learners(learner_seeds)
        stepper = self._make_stepper(network, learners["regularizer"])
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
        plateau = None
        if max_epochs == "auto" and not any(map(_needs_length, learners.values())):
            tol = 0.0 if early_stopping else self.tol
            plateau = Plateau(self.n_iter_no_change, tol)
        with (
            TrainingRecord(self, X, y, most_epochs(max_epochs), plateau) as record,
            seeded_torch(stream_seed) if draws else nullcontext(),
        ):
            train(
                network,
                samples,
                targets,
                stepper=stepper,
                schedule=Schedule(
                    max_epochs=most_epochs(max_epochs),
                    batch_size=batch_size_for(self.batch_size, len(samples)),
                    generator=torch_generator(order_seed, device),
                    n_iter_no_change=self.n_iter_no_change,
                ),
                validation=validation,
                progress=record,
                **learners,
            )
        self._optimizer_state = stepper.state_dict()
        if record.is_cut_short:
            warn_of_no_convergence(self)

    def _clone_learners(self, seeds: list[int]) -> dict[str, Any]:
        """Clone the adversary and the regularizer, as they may learn in the loop."""
        learners = {}
        for name, seed in zip(("adversary", "regularizer"), seeds, strict=True):
            learners[name] = seeded_clone(getattr(self, name), seed)
            if learners[name] is not None:
                setattr(self, f"{name}_", learners[name])
        return learners

    def _logits(self, X: ArrayLike) -> NDArray:
        check_is_fitted(self)
        network = self._network()
        dtype = dtype_of(network)
        wide = np.float64 if dtype == torch.float64 else np.float32
        samples = validate_data(self, X, reset=False, dtype=wide, order="C")
        weight = next(network.parameters(), torch.empty(0))

        def logits_of(rows):
            tensor = as_tensor(rows, device=weight.device, dtype=dtype)
            return network(pad_rows(tensor))[: len(rows)]

        with evaluating(network), torch.no_grad():
            logits = map_batches(logits_of, samples, batch_size=_PREDICT_BATCH)
        check_logits(logits, len(samples), len(self.classes_))
        check_numbers(logits)
        # Numpy has no bfloat16, which the module, or autocast, may compute in.
        return as_array(logits.to(torch.promote_types(logits.dtype, torch.float32)))

    def decision_function(self, X: ArrayLike) -> NDArray:
        """Logit of each class.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Samples.

        Returns
        -------
        logits : ndarray of shape (n_samples, n_classes) or (n_samples,)
            Columns are in the order of `classes_`. With two classes it is, as always
            in scikit-learn, one number per sample: the logit of the second class minus
            that of the first.
        """
        logits = self._logits(X)
        return logits[:, 1] - logits[:, 0] if logits.shape[1] == 2 else logits

    def predict_proba(self, X: ArrayLike) -> NDArray:
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

    def predict(self, X: ArrayLike) -> NDArray:
        """Most probable class.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Samples.

        Returns
        -------
        labels : ndarray of shape (n_samples,)
            One class per sample.
        """
        logits = self._logits(X)
        return self.classes_[logits.argmax(axis=1)]

    # A copy stays on its device, while a pickle goes through `__getstate__`.
    def __copy__(self) -> Self:
        twin = type(self).__new__(type(self))
        vars(twin).update(vars(self))
        return twin

    def __deepcopy__(self, memo: dict) -> Self:
        twin = memo[id(self)] = type(self).__new__(type(self))
        vars(twin).update(copy.deepcopy(vars(self), memo))
        return twin

    def __getstate__(self) -> dict[str, Any]:
        # A copy: Python returns the attributes themselves.
        state: Any = copy.copy(super().__getstate__())
        if any(w.device.type != "cpu" for w in self._weights()):
            # So that a model trained on a GPU can be loaded where there is none.
            state["module_"] = copy.deepcopy(self.module_).cpu()
            state["_optimizer_state"] = _to_cpu(self._optimizer_state)
        return state

    def _weights(self) -> Any:
        return self.module_.parameters() if hasattr(self, "module_") else ()


class TrainingRecord:
    """Record of one training of a classifier, and its scikit-learn callbacks.

    It writes `n_iter_`, `loss_curve_` and `validation_scores_`, prints the lines of
    `verbose`, and refuses a loss or weights that are not finite. With a `plateau` it
    stops the training when the loss, or the score, no longer improves, and notes in
    `is_cut_short` whether all epochs passed before that.
    """

    def __init__(
        self,
        classifier: BaseNetClassifier,
        X: NDArray,
        y: NDArray,
        max_epochs: int,
        plateau: Plateau | None = None,
    ) -> None:
        self.classifier = classifier
        self.max_epochs = max_epochs
        self.plateau, self.is_cut_short = plateau, False
        self.callback_arguments = {"estimator": classifier, "X": X, "y": y}

    def __enter__(self) -> Self:
        self.training = self.classifier._init_callback_context(
            max_subtasks=self.max_epochs
        )
        self.training.call_on_fit_task_begin(**self.callback_arguments)
        return self

    def __exit__(self, kind: type | None, *_: object) -> None:
        if kind is None:
            self._check_weights()
            # The network is trained in place: nothing is missing to predict with.
            self.training.call_on_fit_task_end(
                **self.callback_arguments, reconstruction_attributes={}
            )

    def epoch_begins(self) -> None:
        """Tell the callbacks."""
        self.epoch = self.training.subcontext(task_name="epoch")
        self.epoch.call_on_fit_task_begin(**self.callback_arguments)

    def epoch_ends(self, epoch: Epoch) -> bool:
        """Record the results, and tell the callbacks, which may ask to stop."""
        classifier = self.classifier
        # A list only from a step that trains several networks.
        loss = cast("float", epoch.loss)
        self._check_loss(loss, epoch.number)
        classifier.n_iter_ += 1
        classifier.loss_curve_.append(loss)
        if epoch.score is not None:
            scores = classifier.__dict__.setdefault("validation_scores_", [])
            scores.append(epoch.score)
        if classifier.verbose:
            print(self._line(epoch))  # noqa: T201 (what `verbose` means)
        stop = self.epoch.call_on_fit_task_end(
            **self.callback_arguments, reconstruction_attributes={}
        )
        if self.plateau is None:
            return stop
        value = loss if epoch.score is None else -epoch.score
        has_converged = self.plateau.is_reached(value)
        is_last = epoch.number + 1 == self.max_epochs
        self.is_cut_short = is_last and not has_converged
        return stop or has_converged

    def _line(self, epoch: Epoch) -> str:
        line = f"Epoch {epoch.number + 1}/{self.max_epochs}: loss {epoch.loss:.4f}"
        if epoch.score is not None:
            line += f", validation accuracy {epoch.score:.4f}"
        return line

    def _check_loss(self, loss: float, number: int) -> None:
        if not isfinite(loss):
            raise ValueError(
                f"The loss became {loss} in epoch {number + 1} with "
                f"lr={self.classifier.lr}. Use a smaller 'lr', or scale X."
            )

    def _check_weights(self) -> None:
        # The last step may overflow with no later loss to show it.
        weights = self.classifier.module_.parameters()
        if not all(torch.isfinite(weight).all() for weight in weights):
            raise ValueError(
                "The weights are no longer finite after the last epoch with "
                f"lr={self.classifier.lr}. Use a smaller 'lr', or scale X."
            )


def most_epochs(max_epochs: int | str) -> int:
    """Return the largest number of epochs that `max_epochs` allows."""
    return _MOST_EPOCHS if isinstance(max_epochs, str) else max_epochs


def batch_size_for(batch_size: int | str, n_samples: int | None = None) -> int:
    """Return the samples of a step, where there are `n_samples` in all.

    None is for any number of samples, and gives the largest size.
    """
    if not isinstance(batch_size, str):
        return batch_size
    if n_samples is None:
        return _LARGEST
    return min(max(n_samples // _STEPS, _SMALLEST), _LARGEST)


def warn_of_no_convergence(classifier: Any, which: str = "") -> None:
    """Say that the training loss, or the validation accuracy, still improved."""
    warnings.warn(
        f"{type(classifier).__name__}{which} was still improving after {_MOST_EPOCHS} "
        "epochs, where max_epochs='auto' ends. Use a larger 'lr', scale X, or give "
        "'max_epochs' the number of epochs to train for.",
        ConvergenceWarning,
        stacklevel=5,
    )


def _needs_length(learner: Any) -> bool:
    # It is told the number of epochs, and may change the loss on the way.
    return hasattr(learner, "on_epoch_begin")


def seeded_clone(hook: Any, seed: int) -> Any:
    """Copy an object that may learn in the training loop, check it, and seed it.

    Those of its parameters `random_state` that are None get seeds drawn from `seed`.
    """
    twin = clone(hook, safe=False)
    if not isinstance(twin, BaseEstimator):
        return twin
    if hasattr(twin, "_parameter_constraints"):
        # Its own `fit`, which would check them, may never be called.
        twin._validate_params()
    unset = sorted(
        name
        for name, value in twin.get_params(deep=True).items()
        if value is None and name.rpartition("__")[2] == "random_state"
    )
    seeds = draw_seeds(seed, len(unset))
    return twin.set_params(**dict(zip(unset, seeds, strict=True)))


def _to_cpu(state: Any) -> Any:
    """Bring the tensors of nested dictionaries to the CPU."""
    if torch.is_tensor(state):
        return state.cpu()
    if isinstance(state, dict):
        return {key: _to_cpu(value) for key, value in state.items()}
    return state


@as_module.register(BaseNetClassifier)
def _network_of(classifier: BaseNetClassifier) -> nn.Module:
    check_is_fitted(classifier)
    return classifier._network()


def check_classes(classifier: Any, classes: NDArray) -> NDArray:
    """Return sorted, unique classes if there are at least two of them."""
    if len(classes) < 2:
        raise ValueError(
            f"{type(classifier).__name__} needs at least 2 classes. Got {len(classes)} "
            f"class: {classes.tolist()!r}."
        )
    return classes


def check_logits(logits: torch.Tensor, n_samples: int, n_classes: int) -> None:
    """Check the shape of what a network returned."""
    if tuple(logits.shape) != (n_samples, n_classes):
        raise ValueError(
            f"The network must return one logit for each of the {n_classes} classes. "
            f"It returned the shape {tuple(logits.shape)} for {n_samples} samples."
        )


def check_numbers(logits: torch.Tensor) -> None:
    """Check that the logits of every sample have a largest one.

    Minus infinity rules a class out and is valid, unless all are ruled out. NaN has no
    most probable class.
    """
    lost = ~logits.amax(dim=1).isfinite()
    if lost.any():
        raise ValueError(
            f"The network returned no number for {int(lost.sum())} of {len(logits)} "
            f"samples, but {logits[lost][0].tolist()}. Scale X, or look at the weights."
        )


def encode(classifier: Any, y: NDArray) -> NDArray:
    """Turn labels into their indices in `classes_`."""
    classes = classifier.classes_
    unknown = np.setdiff1d(y, classes)
    if len(unknown):
        raise ValueError(
            f"y holds {unknown.tolist()}, which {type(classifier).__name__} has not "
            f"been told of. Its classes are {classes.tolist()}."
        )
    return np.searchsorted(classes, y)


def hold_out(classifier: Any, y: NDArray, *, seed: int) -> tuple[NDArray, NDArray]:
    """Draw the indices of the samples to train on, and of those held out.

    Each class is held out in proportion.
    """
    fraction = classifier.validation_fraction
    try:
        return train_test_split(
            np.arange(len(y)), test_size=fraction, stratify=y, random_state=seed
        )
    except ValueError as error:
        raise ValueError(
            f"early_stopping=True with validation_fraction={fraction} cannot hold out "
            f"samples of every class of {len(y)} samples: {error}"
        ) from error
