"""Train the models of some tasks: one by one, together, or pruned step by step."""

from __future__ import annotations

import copy
import os
import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from math import ceil, nan
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import torch
from sklearn.base import clone
from sklearn.frozen import FrozenEstimator

from robustkit._sklearn_private import _get_threadpool_controller
from robustkit._tensors import resolve_device
from robustkit.classifiers import (
    REFUSED,
    SparseNetClassifier,
    batch_size_for,
    describe_step,
    fit_many,
    most_epochs,
    removable_layers,
)
from robustkit.exceptions import NarrowInputWarning
from robustkit.graphs import LayeredGraph

if TYPE_CHECKING:
    from robustkit.study._plan import Data, Task

__all__ = [
    "Trained",
    "needed_bytes",
    "networks_that_fit",
    "one_thread",
    "small_groups",
    "train_and_prune",
    "train_one",
    "train_together",
    "why_not_together",
]

# Of the free memory, for networks trained together. The rest is for the data, the
# attacks and others.
_SHARE_OF_MEMORY = 0.5

# On a CPU more networks together gain little.
_MOST_TOGETHER = 16

# Weights times samples times epochs, of all networks of a group: about five minutes.
_WORK_TOGETHER = 3 * 10**11

# Memory of a group: every process has one.
_BYTES_TOGETHER = 2**30

# Where the system does not say how much is free.
_USUAL_MEMORY = 2**30


@dataclass
class Trained:
    """A model that was trained, or what is known of one whose training failed."""

    structure: LayeredGraph
    model: Any
    """The fitted classifier; None if training failed."""

    seconds: float
    error: str = ""
    n_parameters: float = nan
    density: float | None = None
    """Share of the hidden weights left, if some were removed."""

    step: int | None = None
    """Of pruning; None where nothing is pruned."""


def train_one(classifier: Any, data: Data) -> list[Trained]:
    """Train one network; if its weights do not stay finite, the reason is noted."""
    start = time.perf_counter()
    with _noting_failure(classifier) as failure:
        classifier.fit(data.X, data.y)
    return [_as_trained(classifier, time.perf_counter() - start, failure.reason)]


def train_together(classifiers: Sequence[Any], data: Data) -> list[Trained]:
    """Train networks of one seed as one; each is given an equal share of the time."""
    start = time.perf_counter()
    try:
        with _noting_failure(classifiers[0]) as failure:
            fit_many(classifiers, data.X, data.y)
    except torch.OutOfMemoryError:
        if len(classifiers) == 1:
            raise
        torch.cuda.empty_cache()
        middle = len(classifiers) // 2
        return [
            *train_together(classifiers[:middle], data),
            *train_together(classifiers[middle:], data),
        ]
    seconds = (time.perf_counter() - start) / len(classifiers)
    # An error names the first network that failed; all were trained to the end.
    return [
        _as_trained(
            c, seconds, failure.reason if failure.reason and not _is_finite(c) else ""
        )
        for c in classifiers
    ]


def train_and_prune(pruner: Any, data: Data) -> list[Trained]:
    """Train a dense network, then prune it: the dense network and every step.

    Only the dense network, with the reason, if the weights did not stay finite.
    """
    start = time.perf_counter()
    dense = clone(pruner.estimator)
    with _noting_failure(dense) as failure:
        dense.fit(data.X, data.y)
    whole = copy.deepcopy(dense)
    accuracy = nan if failure.reason else dense.score(data.X, data.y)
    steps = [describe_step(whole, removable_layers(whole), accuracy)]
    if not failure.reason:
        twin = clone(pruner).set_params(estimator=FrozenEstimator(dense))
        with _noting_failure(dense) as failure:
            twin.fit(data.X, data.y)
        steps += [] if failure.reason else twin.steps_
    seconds = (time.perf_counter() - start) / len(steps)
    return [
        Trained(
            structure=step.structure,
            model=None if failure.reason else step.estimator,
            seconds=seconds,
            error=failure.reason,
            n_parameters=step.n_parameters,
            density=step.density,
            step=k,
        )
        for k, step in enumerate(steps)
    ]


@contextmanager
def _noting_failure(classifier: Any) -> Iterator[SimpleNamespace]:
    """Note what goes wrong in a fit, if that is the fault of this one model.

    A classifier that has its network was given valid parameters and valid data. What
    fails then is the training: a study of hundreds of models notes it and goes on.
    """
    failure = SimpleNamespace(reason="")
    try:
        with warnings.catch_warnings():
            # The study has said it of all graphs.
            warnings.simplefilter("ignore", NarrowInputWarning)
            yield failure
    except ValueError as error:
        if not hasattr(classifier, "module_"):
            raise
        failure.reason = " ".join(str(error).split())


def _as_trained(classifier: Any, seconds: float, error: str) -> Trained:
    return Trained(
        structure=classifier.structure_,
        model=None if error else classifier,
        seconds=seconds,
        error=error,
        n_parameters=classifier.n_parameters_,
    )


def _is_finite(classifier: Any) -> bool:
    weights = classifier.module_.parameters()
    return all(bool(torch.isfinite(weight).all()) for weight in weights)


@contextmanager
def one_thread() -> Iterator[None]:
    """Compute with one thread: several processes share the machine.

    Sums are then also added up in the same order in every process.
    """
    n_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with _get_threadpool_controller().limit(limits=1):
            yield
    finally:
        torch.set_num_threads(n_threads)


def why_not_together(estimator: Any, param_space: Mapping[str, Any]) -> str:
    """Why `fit_many` cannot train such networks; an empty string if it can."""
    # A subclass may fit in a way of its own.
    if getattr(type(estimator), "fit", None) is not SparseNetClassifier.fit:
        return f"the estimator is a {type(estimator).__name__}"
    for name, nothing in REFUSED.items():
        if name in param_space or getattr(estimator, name) is not nothing:
            return f"the estimator has {name!r}"
    if getattr(estimator, "_skl_callbacks", None):
        return "the estimator has callbacks"
    return ""


def small_groups(
    tasks: Sequence[Task], estimator: Any, n_samples: int
) -> dict[int, list[Task]]:
    """Group tasks that are trained together on a CPU: number of a task -> its group.

    A group has one seed, and is small enough not to take long: a study that is killed
    loses it. It depends on nothing but the tasks and the number of training samples, so
    that a network has the same weights, to the last bit, on whatever process.
    """
    with_seed: dict[int, list[Task]] = {}
    for task in tasks:
        with_seed.setdefault(task.seed, []).append(task)
    groups = {}
    for alike in with_seed.values():
        work = max(_work_of(task, estimator, n_samples) for task in alike)
        n_bytes = max(_bytes_of(task, estimator.batch_size) for task in alike)
        largest = min(_WORK_TOGETHER // work, _BYTES_TOGETHER // n_bytes)
        largest = min(_MOST_TOGETHER, max(1, largest))
        n_groups = ceil(len(alike) / largest)
        for k in range(n_groups):
            start, stop = (len(alike) * i // n_groups for i in (k, k + 1))
            group = alike[start:stop]
            groups |= {task.number: group for task in group}
    return groups


def _work_of(task: Task, estimator: Any, n_samples: int) -> int:
    """Weights times samples times epochs, once more for each step of an attack."""
    epochs = most_epochs(task.params.get("max_epochs", estimator.max_epochs))
    adversary = task.params.get("adversary", estimator.adversary)
    n_passes = 1 + getattr(adversary, "max_iter", 0 if adversary is None else 1)
    return max(1, task.n_parameters * n_samples * epochs * n_passes)


def networks_that_fit(
    tasks: Sequence[Task], batch_size: int | str, device: str | torch.device
) -> int:
    """How many networks the free memory holds, at least 1.

    `batch_size` is that of tasks that do not have their own.
    """
    largest = max(_bytes_of(task, batch_size) for task in tasks)
    device = resolve_device(device)
    free = torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else _free()
    return max(1, int(_SHARE_OF_MEMORY * free) // largest)


def _bytes_of(task: Task, batch_size: int | str) -> int:
    size = batch_size_for(task.params.get("batch_size", batch_size))
    return needed_bytes(task.n_parameters, task.n_nodes, size)


def needed_bytes(n_parameters: int, n_nodes: int, batch_size: int) -> int:
    """Estimate the memory in which one network is trained, rather too much.

    A parameter is a weight, a gradient and two moments, in the module and joined. A
    sample has a value and a gradient at every vertex, and copies of them.
    """
    return 4 * (10 * n_parameters + 8 * n_nodes * batch_size)


def _free() -> int:
    try:
        return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):
        return _USUAL_MEMORY
