"""Fit many sparse networks together, as one."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from sklearn.utils.validation import validate_data
from torch import nn

from robustkit._randomness import draw_seed, draw_seeds, torch_generator
from robustkit._samples import flat_samples, is_stream
from robustkit._tensors import as_tensor, dtype_of, resolve_device
from robustkit.classifiers._base import (
    batch_size_for,
    encode,
    most_epochs,
    needs_length,
)
from robustkit.classifiers._sparse_net_classifier import SparseNetClassifier
from robustkit.classifiers._training_record import (
    are_finite,
    warn_of_no_convergence,
)
from robustkit.networks import (
    Epoch,
    Plateau,
    Schedule,
    UnionStep,
    perturb_samples,
    train,
)

__all__ = ["REFUSED", "fit_many"]

# Settings that networks trained together must share.
_SHARED = ("max_epochs", "batch_size", "lr", "weight_decay", "label_smoothing")

# Parameters that only `fit` supports, and the value that is accepted here.
REFUSED = {"early_stopping": False, "rewire": None}


def fit_many(
    classifiers: Iterable[SparseNetClassifier], X: ArrayLike, y: ArrayLike
) -> list[SparseNetClassifier]:
    """Fit many classifiers with different graphs together, on one device.

    It does the same as `fit` on each, but faster. Their graphs are put side by side
    into one, so that a training step is a few large operations for all instead of many
    small ones for each. Priors, initialisations and seeds may differ. Classifiers that
    differ in `max_epochs`, `batch_size`, `lr`, `weight_decay`, `label_smoothing` or
    `device` are trained one group after another.

    All see the same batches: those that the first classifier of their group would draw.
    Hence a classifier gets the weights of its own `fit`, up to rounding, if its
    `random_state` is that of the first one. With another `random_state` it gets the
    graph and the initial weights of its own `fit`, but sees the samples in another
    order. With ``max_epochs="auto"`` each keeps the weights it had when its own loss
    converged, while the others are trained further.

    An `adversary` that is one of our attacks by gradients, the same for all networks
    but for its seed, perturbs the samples of all as one. Any other one, and every
    `regularizer`, is asked network by network.

    Parameters
    ----------
    classifiers : sequence of SparseNetClassifier
        Fitted in place, from scratch even if they were fitted before. Callbacks and
        `verbose` have no effect. None may have `early_stopping` or `rewire`.

    X : array-like of shape (n_samples, n_features)
        Training samples.

    y : array-like of shape (n_samples,)
        Their classes, of any type.

    Returns
    -------
    classifiers : list of SparseNetClassifier
        The same objects, fitted.

    See Also
    --------
    SparseNetClassifier : A network whose structure is a graph.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from robustkit.classifiers import SparseNetClassifier, fit_many
    >>> from robustkit.graphs import GraphPrior
    >>> X, y = load_digits(return_X_y=True)
    >>> classifiers = [
    ...     SparseNetClassifier(GraphPrior(n_nodes=n), lr=0.01, random_state=0)
    ...     for n in (50, 100, 150)
    ... ]
    >>> classifiers = fit_many(classifiers, X / 16, y)
    >>> [classifier.structure_.n_nodes for classifier in classifiers]
    [50, 100, 150]
    >>> min(classifier.score(X / 16, y) for classifier in classifiers) > 0.9
    True
    """
    classifiers = _check_classifiers(classifiers)
    samples, labels = _start(classifiers, X, y)
    groups: dict[tuple, dict[int, SparseNetClassifier]] = {}
    for i, classifier in enumerate(classifiers):
        groups.setdefault(_group_of(classifier), {})[i] = classifier
    for group in groups.values():
        _train_group(group, samples, labels)
    return classifiers


def _group_of(classifier: SparseNetClassifier) -> tuple:
    shared = (getattr(classifier, name) for name in _SHARED)
    learners = (type(classifier.adversary), type(classifier.regularizer))
    return *shared, *learners, resolve_device(classifier.device)


def _check_classifiers(
    classifiers: Iterable[SparseNetClassifier],
) -> list[SparseNetClassifier]:
    classifiers = list(classifiers)
    if not classifiers:
        raise ValueError("classifiers must hold at least one classifier. Got none.")
    for i, classifier in enumerate(classifiers):
        if not isinstance(classifier, SparseNetClassifier):
            raise TypeError(
                "classifiers must be SparseNetClassifiers. "
                f"Got {classifier!r} at index {i} instead."
            )
        classifier._validate_params()
        for name, nothing in REFUSED.items():
            value = getattr(classifier, name)
            if value is not nothing:
                raise ValueError(
                    f"fit_many needs {name}={nothing}. Got {name}={value!r} at index "
                    f"{i} instead: fit that classifier by itself."
                )
    if len({id(classifier) for classifier in classifiers}) < len(classifiers):
        raise ValueError(
            "classifiers must be different objects. Got one of them twice."
        )
    return classifiers


def _start(
    classifiers: list[SparseNetClassifier], X: ArrayLike, y: ArrayLike
) -> tuple[NDArray, NDArray]:
    """Check the data once, and build every network."""
    first, *others = classifiers
    if is_stream(X):
        raise TypeError(
            f"fit_many takes arrays. Got a {type(X).__name__}: fit each classifier to "
            "it by itself."
        )
    samples, labels = first._validate(X, y, reset=True)
    rows, image_shape = flat_samples(X)
    classes = np.unique(labels)
    for classifier in others:
        # The values were checked: this sets the number and the names of the features.
        validate_data(classifier, rows, skip_check_array=True)
        classifier._see_images(image_shape, reset=True)
    for classifier in classifiers:
        classifier._start(samples, classes, labels)
    return samples, labels


def _train_group(group: dict[int, SparseNetClassifier], X: NDArray, y: NDArray) -> None:
    """Train classifiers, by their index, that share all settings."""
    first, *_ = group.values()
    device = resolve_device(first.device)
    # Each draws its order, as in `fit`, so that a later `partial_fit` draws the next.
    seeds = [draw_seeds(c._rng, 4) for c in group.values()]
    order_seed = seeds[0][0]
    learners = _Learners(list(group.values()), seeds)
    modules = [c.module_ for c in group.values()]
    networks = nn.ModuleList(modules).to(device)
    step = UnionStep(
        modules,
        lr=first.lr,
        weight_decay=first.weight_decay,
        label_smoothing=first.label_smoothing,
        regularizers=learners.of("regularizer"),
    )
    learners.step = step
    is_auto = first.max_epochs == "auto" and not learners.need_length
    converged = _Converged(group, step) if is_auto else None
    epochs = train(
        networks,
        as_tensor(X, device=device, dtype=dtype_of(networks)),
        as_tensor(encode(first, y), device=device, dtype=torch.int64),
        stepper=step,
        schedule=Schedule(
            max_epochs=most_epochs(first.max_epochs),
            batch_size=batch_size_for(first.batch_size, len(X)),
            generator=torch_generator(order_seed),
        ),
        progress=converged,
        adversary=learners if first.adversary is not None else None,
        # Its penalties are the step's; here it is told of epochs.
        regularizer=learners.hook,
    )
    step.store()
    curves = np.transpose([epoch.loss for epoch in epochs]).tolist()
    states = step.state_dicts()
    for classifier, curve, state in zip(group.values(), curves, states, strict=True):
        classifier.loss_curve_, classifier.n_iter_ = curve, len(curve)
        classifier._optimizer_state = state
    if converged is not None:
        converged.restore()
    for i, classifier in group.items():
        _check_weights(classifier, i)


class _Learners:
    """The adversaries and the regularizers of networks that are trained together.

    Each is given its own network, and draws from torch's stream what it would draw if
    that were trained by itself.
    """

    step: UnionStep

    def __init__(
        self, classifiers: list[SparseNetClassifier], seeds: list[list[int]]
    ) -> None:
        self.pairs = []
        for classifier, (_, stream_seed, *learner_seeds) in zip(
            classifiers, seeds, strict=True
        ):
            found = classifier._clone_learners(learner_seeds)
            stream = _Stream(stream_seed)
            self.pairs.append(
                {name: part and _Learner(part, stream) for name, part in found.items()}
            )
        self.need_length = any(
            part is not None and needs_length(part.learner)
            for pair in self.pairs
            for part in pair.values()
        )
        self.hook = self if self.need_length else None

    def of(self, name: str) -> list[Any]:
        """Return those of all networks; none at all if no network has one."""
        parts = [pair[name] for pair in self.pairs]
        return parts if any(part is not None for part in parts) else []

    def perturb_batch(
        self, _: Any, X: torch.Tensor, y: torch.Tensor, **place: int
    ) -> torch.Tensor:
        """Perturb a batch, whose place in the training is given, for each network."""
        adversaries = self.of("adversary")
        n, own = len(adversaries), [part.learner for part in adversaries]
        found = None
        if hasattr(own[0], "perturb_union"):
            union = self.step.network.with_counts([len(X)] * n)
            rows = X.repeat(n, 1), y.repeat(n)
            found = own[0].perturb_union(union, *rows, own, **place)
        if found is None:
            self.step.store()
            pairs = zip(adversaries, self.step.modules, strict=True)
            found = torch.cat(
                [one.perturb_batch(to, X, y, **place) for one, to in pairs]
            )
        return found.detach().view(n, *X.shape)

    def on_epoch_begin(self, _: Any, X: Any, y: Any, **when: Any) -> None:
        """Tell the learners of each network, which has its weights."""
        self.step.store()
        for pair, module in zip(self.pairs, self.step.modules, strict=True):
            for part in pair.values():
                if part is not None and needs_length(part.learner):
                    part.on_epoch_begin(module, X.clone(), y.clone(), **when)


class _Stream:
    """What a network's learners draw from torch's global stream."""

    def __init__(self, seed: int) -> None:
        self.state = torch.Generator().manual_seed(draw_seed(seed)).get_state()

    def __enter__(self) -> None:
        self._of_others = torch.get_rng_state()
        torch.set_rng_state(self.state)

    def __exit__(self, *_: object) -> None:
        self.state = torch.get_rng_state()
        torch.set_rng_state(self._of_others)


@dataclass
class _Learner:
    """An adversary or a regularizer, and the stream that it draws from."""

    learner: Any
    stream: _Stream

    def perturb_batch(self, *batch: Any, **place: int) -> torch.Tensor:
        with self.stream:
            return perturb_samples(self.learner, *batch, **place)

    def penalty(self, *batch: Any) -> torch.Tensor:
        with self.stream:
            return self.learner.penalty(*batch)

    def on_epoch_begin(self, *data: Any, **when: Any) -> None:
        with self.stream:
            self.learner.on_epoch_begin(*data, **when)


class _Converged:
    """Keeps the weights of each network when its loss converges.

    It is told of each epoch, and stops the training when all have converged.
    """

    def __init__(self, group: Mapping[int, SparseNetClassifier], step: UnionStep):
        self.group, self.step = group, step
        self.plateaus = [Plateau(c.n_iter_no_change, c.tol) for c in group.values()]
        # By the place of the network: epochs, weights, state of the optimizer.
        self.kept: dict[int, tuple[int, list[torch.Tensor], dict]] = {}

    def epoch_begins(self) -> None:
        """Do nothing."""

    def epoch_ends(self, epoch: Epoch) -> bool:
        """Keep the networks whose loss has converged in this epoch."""
        losses = np.atleast_1d(epoch.loss)
        places = [
            k
            for k, (plateau, loss) in enumerate(zip(self.plateaus, losses, strict=True))
            if k not in self.kept and plateau.is_reached(float(loss))
        ]
        if places:
            weights, states = self.step.weights(), self.step.state_dicts()
            self.kept |= {k: (epoch.number + 1, weights[k], states[k]) for k in places}
        return len(self.kept) == len(self.plateaus)

    def restore(self) -> None:
        """Give each network what was kept of it, or warn that there is nothing."""
        for k, (i, classifier) in enumerate(self.group.items()):
            if k not in self.kept:
                n_epochs = most_epochs("auto")
                warn_of_no_convergence(classifier, n_epochs, f" at index {i}")
                continue
            n_epochs, weights, state = self.kept[k]
            parameters = classifier.module_.parameters()
            with torch.no_grad():
                for parameter, kept in zip(parameters, weights, strict=True):
                    parameter.copy_(kept)
            classifier.n_iter_, classifier._optimizer_state = n_epochs, state
            del classifier.loss_curve_[n_epochs:]


def _check_weights(classifier: SparseNetClassifier, i: int) -> None:
    if not are_finite(classifier.module_):
        raise ValueError(
            f"The weights of the classifier at index {i} are no longer finite with "
            f"lr={classifier.lr}. Use a smaller 'lr', or scale X."
        )
