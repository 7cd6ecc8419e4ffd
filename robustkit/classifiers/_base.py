"""The base of all classifiers around a network: fit, continue, predict."""

import copy
import copyreg
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import nullcontext
from functools import partial
from itertools import chain
from numbers import Integral, Real
from typing import Any, Self, cast

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, ClassifierMixin, clone
from sklearn.metrics import accuracy_score
from sklearn.model_selection import train_test_split
from sklearn.utils import check_random_state
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, validate_data
from torch import nn
from torch.utils.data import DataLoader, IterableDataset

from robustkit._randomness import draw_seeds, seeded_torch, torch_generator
from robustkit._samples import (
    check_layout,
    flat_samples,
    is_read_once,
    is_stream,
    places_of,
    stream_batches,
)
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
from robustkit.classifiers._stored import (
    network_from_arrays,
    state_of_arrays,
    to_cpu,
)
from robustkit.classifiers._training_record import (
    TrainingRecord,
    warn_of_no_convergence,
)
from robustkit.networks import (
    AutogradStep,
    PerceptronStep,
    Plateau,
    RecordedStep,
    Schedule,
    epoch_batches,
    normalises_batches,
    train,
    train_on_stream,
    why_not_recorded,
)

__all__ = [
    "BaseNetClassifier",
    "batch_size_for",
    "check_classes",
    "check_logits",
    "encode",
    "hold_out",
    "most_epochs",
    "needs_length",
    "seeded_clone",
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
    # Of the images that the first fit was given; None for a table.
    _shape_at_fit: Sequence[int] | None = None

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
        kinds = (PerceptronStep, RecordedStep)
        fitting = (kind for kind in kinds if kind.suits(network, **settings))
        kind = next(fitting, AutogradStep)
        if self.verbose and resolve_device(self.device).type == "cuda":
            reason = why_not_recorded(network, regularizer)
            if reason is not None:
                # What `verbose` means.
                print(f"Steps are not recorded as a CUDA graph: {reason}.")  # noqa: T201
        return kind(network, **settings)

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
    def fit(
        self, X: Any, y: ArrayLike | None = None, *, classes: ArrayLike | None = None
    ) -> Self:
        """Train the network.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features) or stream
            Training samples. Arrays and tensors of images, such as those of shape
            (n_samples, channels, height, width), become rows; pixels of dtype uint8 are
            divided by 255. A Dataset or DataLoader of torch, which gives pairs (X, y),
            is read batch by batch and never held in memory.

        y : array-like of shape (n_samples,), default=None
            Their classes, of any type. A stream brings its own.

        classes : array-like of shape (n_classes,), default=None
            All classes that may occur. By default those in `y`; a stream is read once
            to find them.

        Returns
        -------
        self : object
            The fitted classifier.
        """
        continues = self.warm_start and hasattr(self, "module_")
        if is_stream(X):
            if self.early_stopping:
                raise ValueError(
                    "early_stopping=True holds samples of an array out. Got a "
                    f"{type(X).__name__}: use early_stopping=False, with which "
                    "max_epochs='auto' stops when the training loss has converged."
                )
            head = self._begin_stream(X, y, classes, continues=continues)
            self._train_stream(X, self.max_epochs, head)
            return self
        X, y = self._validate(X, y, reset=not continues)
        if continues:
            self._check_same_classes(classes, y)
        else:
            self._start(X, np.unique(y if classes is None else classes), y)
        self._train(X, y, early_stopping=self.early_stopping)
        return self

    @_fit_context(prefer_skip_nested_validation=True)
    def partial_fit(
        self, X: Any, y: ArrayLike | None = None, classes: ArrayLike | None = None
    ) -> Self:
        """Train for one epoch on a chunk of the data, continuing from the last call.

        `early_stopping` has no effect here.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features) or stream
            Training samples, as in `fit`. The epoch is one pass over a stream.

        y : array-like of shape (n_samples,), default=None
            Their classes. A stream brings its own.

        classes : array-like of shape (n_classes,), default=None
            All classes that may occur in any call. Needed on the first call only.

        Returns
        -------
        self : object
            The fitted classifier.
        """
        is_first = not hasattr(self, "module_")
        if is_stream(X):
            if is_first:
                _require_classes(classes)
            head = self._begin_stream(
                X, y, classes, continues=not is_first, may_lack_classes=True
            )
            self._train_stream(X, 1, head)
            return self
        X, y = self._validate(X, y, reset=is_first)
        if is_first:
            _require_classes(classes)
            self._start(X, np.unique(cast("ArrayLike", classes)), y)
        else:
            self._check_same_classes(classes)
        self._train(X, y, max_epochs=1, early_stopping=False)
        return self

    def _check_same_classes(
        self, classes: ArrayLike | None, y: ArrayLike | None = None
    ) -> None:
        """Check that the classes are those that the network was built for.

        They are those that the user names, else those that occur in y.
        """
        known = self.classes_.tolist()
        if classes is not None:
            if np.unique(classes).tolist() != known:
                raise ValueError(
                    f"classes={np.asarray(classes).tolist()} are not those of the "
                    f"first call, {known}."
                )
        elif y is not None and (found := np.unique(y).tolist()) != known:
            raise ValueError(
                "warm_start=True continues with the classes of the first fit, "
                f"{known}. Got {found} in y instead. Pass them all as 'classes' if "
                "some of them do not occur in y."
            )

    def _validate(
        self, X: Any, y: ArrayLike | None, *, reset: bool, is_first_batch: bool = True
    ) -> tuple[NDArray, NDArray]:
        # Before any work is done: the device may not exist.
        resolve_device(self.device)
        rows = self._rows(X, reset=reset)
        y = as_array(y) if torch.is_tensor(y) else y
        X, y = validate_data(self, rows, y, dtype=np.float32, order="C", reset=reset)
        if is_first_batch:
            # It warns of many classes among few samples.
            check_classification_targets(y)
        return X, y

    def _rows(self, X: Any, *, reset: bool = False) -> Any:
        """Turn images into rows, and let a subclass know their shape."""
        rows, image_shape = flat_samples(X)
        self._see_images(image_shape, reset=reset)
        return rows

    def _see_images(self, image_shape: Sequence[int] | None, *, reset: bool) -> None:
        """Note the shape of the images that are passed; None for rows of a table.

        Once it is known, images of another layout are refused.
        """
        if reset:
            self._shape_at_fit = image_shape
        elif image_shape is not None:
            check_layout(image_shape, self._shape_at_fit)

    def _begin_stream(
        self,
        stream: Any,
        y: Any,
        classes: ArrayLike | None,
        *,
        continues: bool,
        may_lack_classes: bool = False,
    ) -> Iterator | None:
        """Check a stream, and build the network unless it is there.

        Returns all its batches if it can be read only once.
        """
        if any(map(needs_length, (self.adversary, self.regularizer))):
            raise ValueError(
                "An adversary or regularizer with the method 'on_epoch_begin' is given "
                f"all samples. Got a {type(stream).__name__}: pass arrays."
            )
        batches = stream_batches(stream, y, batch_size=batch_size_for(self.batch_size))
        if continues:
            labels = None
            if y is not None:
                next(batches)
            if classes is None and not may_lack_classes:
                with _global_stream_untouched():
                    labels = _classes_in(batches)
            self._check_same_classes(classes, labels)
            return None
        with _global_stream_untouched():
            first = samples, labels = next(batches)
            X, labels = self._validate(samples, labels, reset=True)
            if classes is None:
                classes = _classes_in(chain([first], batches))
        self._start(X, np.unique(classes), labels)
        return chain([first], batches) if is_read_once(stream) else None

    def _train_stream(
        self, stream: Any, max_epochs: int | str, head: Iterator | None
    ) -> None:
        """Train on a stream, in the first epoch on the batches that were begun with."""
        order_seed, stream_seed, *learner_seeds = draw_seeds(self._rng, 4)
        device = resolve_device(self.device)
        network = self._network().to(device)
        dtype = dtype_of(network)
        generator = torch_generator(order_seed)
        size = getattr(stream, "batch_size", None)
        if not isinstance(stream, DataLoader):
            n_samples = len(stream) if hasattr(stream, "__len__") else None
            size = batch_size_for(self.batch_size, n_samples)
        schedule = Schedule(
            max_epochs=most_epochs(max_epochs),
            batch_size=size or batch_size_for("auto"),
            generator=generator,
            n_epochs_before=self.n_iter_,
        )
        join_last = normalises_batches(network)

        def draw(number):
            loader = _shuffled(stream, schedule, join_last=join_last)
            batches = stream_batches(loader, batch_size=1, source=stream)
            for samples, labels in head if head and number == 0 else batches:
                X, y = self._validate(
                    samples, labels, reset=False, is_first_batch=False
                )
                yield (
                    as_tensor(X, device=device, dtype=dtype),
                    as_tensor(encode(self, y), device=device, dtype=torch.int64),
                )

        run = partial(train_on_stream, network, draw, schedule=schedule)
        # A loader of the user draws from torch's global stream.
        self._run_training(
            run, network, (stream, None), max_epochs, (stream_seed, *learner_seeds)
        )

    def _start(self, X: NDArray, classes: NDArray, y: NDArray) -> None:
        """Discard all that was learned and build a new network."""
        encode(self, y, check_classes(self, classes))
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
        order_seed, *seeds = draw_seeds(self._rng, 4)
        device = resolve_device(self.device)
        network = self._network().to(device)
        samples = as_tensor(X, device=device, dtype=dtype_of(network))
        targets = as_tensor(encode(self, y), device=device, dtype=torch.int64)
        validation = None
        if early_stopping:
            kept, held_out = hold_out(self, y, seed=self._validation_seed)
            validation = samples[held_out], targets[held_out]
            samples, targets = samples[kept], targets[kept]
        schedule = Schedule(
            max_epochs=most_epochs(max_epochs),
            batch_size=batch_size_for(self.batch_size, len(samples)),
            generator=torch_generator(order_seed),
            n_iter_no_change=self.n_iter_no_change,
            n_epochs_before=self.n_iter_,
        )
        run = partial(
            train, network, samples, targets, schedule=schedule, validation=validation
        )
        self._run_training(run, network, (X, y), max_epochs, seeds)

    def _run_training(
        self,
        run: Callable[..., Any],
        network: nn.Module,
        data: tuple[Any, Any],
        max_epochs: int | str,
        seeds: Sequence[int],
    ) -> None:
        """Train with what the parameters say, and keep the state of the optimizer."""
        stream_seed, *learner_seeds = seeds
        learners = self._clone_learners(list(learner_seeds))
        stepper = self._make_stepper(network, learners["regularizer"])
        if self._optimizer_state is not None:
            stepper.load_state_dict(self._optimizer_state)
        plateau = None
        if max_epochs == "auto" and not any(map(needs_length, learners.values())):
            plateau = Plateau(self.n_iter_no_change, self.tol)
        if data[1] is None:
            # The step has the regularizer, whose other methods no stream can serve.
            del learners["regularizer"]
        draws = self._draws_from_torch() or data[1] is None
        with (
            TrainingRecord(self, *data, most_epochs(max_epochs), plateau) as record,
            seeded_torch(stream_seed) if draws else nullcontext(),
        ):
            run(stepper=stepper, progress=record, **learners)
        self._optimizer_state = stepper.state_dict()
        if record.is_cut_short:
            warn_of_no_convergence(self, most_epochs(max_epochs))

    def _clone_learners(self, seeds: list[int]) -> dict[str, Any]:
        """Clone the adversary and the regularizer, as they may learn in the loop."""
        learners = {}
        for name, seed in zip(("adversary", "regularizer"), seeds, strict=True):
            learners[name] = seeded_clone(getattr(self, name), seed)
            if learners[name] is not None:
                setattr(self, f"{name}_", learners[name])
        return learners

    def _logits(self, X: Any) -> NDArray:
        check_is_fitted(self)
        if is_stream(X):
            batches = stream_batches(X, batch_size=_PREDICT_BATCH)
            with _global_stream_untouched():
                return np.concatenate([self._logits(samples) for samples, _ in batches])
        rows = self._rows(X)
        network = self._network()
        dtype = dtype_of(network)
        wide = np.float64 if dtype == torch.float64 else np.float32
        samples = validate_data(self, rows, reset=False, dtype=wide, order="C")
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
        X : array-like of shape (n_samples, n_features) or stream
            Samples, as in `fit`.

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
        X : array-like of shape (n_samples, n_features) or stream
            Samples, as in `fit`.

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
        X : array-like of shape (n_samples, n_features) or stream
            Samples, as in `fit`.

        Returns
        -------
        labels : ndarray of shape (n_samples,)
            One class per sample.
        """
        logits = self._logits(X)
        return self.classes_[logits.argmax(axis=1)]

    def score(
        self,
        X: Any,
        y: ArrayLike | None = None,
        sample_weight: ArrayLike | None = None,
    ) -> float:
        """Accuracy: the share of samples whose most probable class is theirs.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features) or stream
            Samples, as in `fit`.

        y : array-like of shape (n_samples,), default=None
            Their classes. A stream brings its own.

        sample_weight : array-like of shape (n_samples,), default=None
            How much each sample counts. Not with a stream.

        Returns
        -------
        score : float
            The accuracy.
        """
        if not is_stream(X):
            y = as_array(y) if torch.is_tensor(y) else y
            return super().score(X, y, sample_weight=sample_weight)
        if sample_weight is not None:
            raise ValueError(
                "sample_weight must be None where X is a "
                f"{type(X).__name__}, whose samples all count the same."
            )
        n_right = n_samples = 0
        with _global_stream_untouched():
            for samples, labels in stream_batches(X, y, batch_size=_PREDICT_BATCH):
                answers = self.predict(samples)
                n_right += accuracy_score(labels, answers, normalize=False)
                n_samples += len(labels)
        return n_right / n_samples

    # A copy stays on its device, a pickle holds the module, and skops, which stores no
    # code, asks for `__getstate__`.
    def __copy__(self) -> Self:
        twin = type(self).__new__(type(self))
        vars(twin).update(vars(self))
        return twin

    def __deepcopy__(self, memo: dict) -> Self:
        twin = memo[id(self)] = type(self).__new__(type(self))
        vars(twin).update(copy.deepcopy(vars(self), memo))
        return twin

    def __reduce_ex__(self, protocol: Any) -> tuple:
        # A copy: Python returns the attributes themselves.
        state: Any = copy.copy(super().__getstate__())
        if any(w.device.type != "cpu" for w in self._weights()):
            # So that a model trained on a GPU can be loaded where there is none.
            state["module_"] = copy.deepcopy(self.module_).cpu()
            state["_optimizer_state"] = to_cpu(self._optimizer_state)
        return copyreg.__newobj__, (type(self),), state  # type: ignore[attr-defined]

    def __getstate__(self) -> dict[str, Any]:
        """Return a state of arrays alone, from which the network is built again."""
        return state_of_arrays(self, copy.copy(cast("dict", super().__getstate__())))

    def __setstate__(self, state: dict[str, Any]) -> None:
        state = dict(state)
        weights = state.pop("_weights_of_module", None)
        super().__setstate__(state)
        if weights is not None:
            self.module_ = network_from_arrays(self, weights)

    def _rebuild_module(self) -> nn.Module:
        """Build the network again, to be given the weights that it had."""
        return self._make_module(self.n_features_in_, len(self.classes_), 0)

    def _weights(self) -> Any:
        return self.module_.parameters() if hasattr(self, "module_") else ()


def _require_classes(classes: ArrayLike | None) -> None:
    if classes is None:
        raise ValueError("classes must be passed on the first call to partial_fit.")


def _classes_in(batches: Iterable[tuple[Any, NDArray]]) -> NDArray:
    return np.concatenate([np.unique(labels) for _, labels in batches])


def _global_stream_untouched() -> Any:
    """Restore torch's global stream afterwards, from which a user's loader may draw."""
    return torch.random.fork_rng(devices=[])


def _shuffled(stream: Any, schedule: Schedule, *, join_last: bool) -> DataLoader:
    """Make a loader of the batches of one epoch; one of the user is left as it is.

    The samples of a Dataset come in the order in which those of an array would.
    """
    if isinstance(stream, DataLoader):
        return stream
    # A loader draws a seed for its workers, by default from the global stream.
    own = torch.Generator()
    if isinstance(stream, IterableDataset) or not hasattr(stream, "__len__"):
        return DataLoader(stream, batch_size=schedule.batch_size, generator=own)
    batches = epoch_batches(
        len(stream), schedule.batch_size, schedule.generator, join_last=join_last
    )
    indices = [batch.tolist() for batch in batches]
    return DataLoader(stream, batch_sampler=indices, generator=own)


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


def needs_length(learner: Any) -> bool:
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
    if not torch.is_tensor(logits):
        raise ValueError(
            "The network must return a tensor of one logit for each of the "
            f"{n_classes} classes. It returned a {type(logits).__name__}."
        )
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


def encode(classifier: Any, y: NDArray, classes: NDArray | None = None) -> NDArray:
    """Turn labels into their indices in `classes`, by default `classes_`."""
    classes = classifier.classes_ if classes is None else classes
    unknown = np.setdiff1d(y, classes)
    if len(unknown):
        raise ValueError(
            f"y holds {unknown.tolist()}, which {type(classifier).__name__} has not "
            f"been told of. Its classes are {classes.tolist()}."
        )
    # Those of a wrapped module are in the order of its outputs.
    return places_of(y, classes)


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
