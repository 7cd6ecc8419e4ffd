"""Train what belongs together, and turn every model into a row."""

import platform
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version

import torch
from sklearn.base import BaseEstimator

from robustkit._sklearn_private import _get_threadpool_controller
from robustkit._tensors import resolve_device
from robustkit.study._measures import (
    analyse,
    attacked,
    performance,
    structural_properties,
    timed,
)
from robustkit.study._train import train_and_prune, train_one, train_together

__all__ = ["Recipe", "run", "run_to_end", "send_to"]


@dataclass(frozen=True)
class Recipe:
    """What all models of a study have in common. Small: it travels with every task."""

    population: object
    attacks: dict
    """Name -> pair of an attack and a number of images or None."""

    analyses: dict
    device: str
    engine: str
    """How to train: "single" or "batched"."""


def run(tasks, recipe, X, y, X_test, y_test):
    """Train some models and measure each.

    Parameters
    ----------
    tasks : list of Task
        Several only if they can be trained together.

    recipe : Recipe
        How.

    X, y, X_test, y_test : ndarray
        Training and test samples.

    Yields
    ------
    number : int
        Of the task that is finished.

    rows : list of dict
        A row a model, in groups of columns.
    """
    data = X, y, X_test, y_test
    for task, trained in _train(tasks, recipe, X, y):
        with _one_thread():
            rows = [_row(task, one, recipe, data) for one in trained]
        yield task.number, rows


def run_to_end(*args):
    """Do all that `run` does: a generator can not leave its process.

    Parameters
    ----------
    *args : object
        As for `run`.

    Returns
    -------
    finished : list of tuple
        What `run` yields.
    """
    return list(run(*args))


def _train(tasks, recipe, X, y):
    """Yield each task with its trained models."""
    classifiers = [send_to(recipe.device, recipe.population.build(t)) for t in tasks]
    if recipe.engine == "batched":
        with _one_thread():
            trained = train_together(classifiers, X, y)
        yield from ((task, [one]) for task, one in zip(tasks, trained, strict=True))
        return
    for task, classifier in zip(tasks, classifiers, strict=True):
        with _one_thread():
            if recipe.population.is_pruned:
                trained = train_and_prune(classifier, X, y)
            else:
                trained = [train_one(classifier, X, y)]
        yield task, trained


@contextmanager
def _one_thread():
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


def send_to(device, part):
    """Tell a part of a study, and what it holds, where to compute.

    Parameters
    ----------
    device : str or torch.device
        Where the study computes.

    part : object
        Changed if it is an estimator whose device is "auto".

    Returns
    -------
    part : object
        The same.
    """
    if not isinstance(part, BaseEstimator):
        return part
    params = part.get_params(deep=True)
    places = {
        name: device
        for name, value in params.items()
        if name.rpartition("__")[2] == "device" and value == "auto"
    }
    return part.set_params(**places)


def _row(task, trained, recipe, data):
    seconds, measures = {"train": trained.seconds}, {}
    properties = structural_properties(trained.structure, trained.n_parameters)
    if trained.density is not None:
        properties["density"] = trained.density
    if trained.model is not None:
        for name, analysis in recipe.analyses.items():
            with timed(seconds, name):
                properties |= analyse(
                    name, analysis, trained.model, data, recipe.device
                )
        measures = performance(trained.model, *data[2:])
        for name, (attack, n_images) in recipe.attacks.items():
            with timed(seconds, name):
                measures |= attacked(name, attack, n_images, trained.model, data)
    model = task.model + (trained.step or 0)
    place = {"model": model, "graph": task.graph, "init": task.init}
    place |= {"seed": task.seed, "graph_seed": task.graph_seed}
    if trained.step is not None:
        place["step"] = trained.step
    return {
        "place": place,
        "parameters": task.params,
        "properties": properties,
        "measures": measures,
        "seconds": seconds,
        "made": {
            **_versions(),
            "device": _name_of(resolve_device(recipe.device)),
            "engine": recipe.engine,
            "error": trained.error,
        },
    }


def _versions():
    return {
        "version_robustkit": version("robustkit"),
        "version_python": platform.python_version(),
        "version_numpy": version("numpy"),
        "version_sklearn": version("scikit-learn"),
        "version_torch": torch.__version__,
    }


def _name_of(device):
    if device.type != "cuda":
        return device.type
    return f"{device.type} ({torch.cuda.get_device_name(device)})"
