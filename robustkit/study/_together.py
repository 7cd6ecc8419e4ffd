"""Whether networks can be trained together, and how many the memory holds."""

import os

import torch

from robustkit._tensors import resolve_device
from robustkit.classifiers import REFUSED, SparseNetClassifier

__all__ = ["choose_engine", "how_many_together", "needed_bytes"]

# What is left of the memory is for the data, the attacks and others.
_SHARE = 0.5

# Where the system does not tell.
_USUAL_MEMORY = 2**30


def choose_engine(engine, population, param_space, device):
    """Decide how a study trains.

    Parameters
    ----------
    engine : {"auto", "single", "batched"}
        As the user asked.

    population : GraphPopulation or PrunedPopulation
        What is trained.

    param_space : dict
        What varies.

    device : str or torch.device
        Where.

    Returns
    -------
    engine : {"single", "batched"}
        How.
    """
    if engine == "single":
        return engine
    obstacle = _obstacle(population, param_space)
    if engine == "batched" and obstacle:
        raise ValueError(
            f"engine='batched' trains SparseNetClassifiers together, and {obstacle}. "
            "Use engine='single'."
        )
    on_gpu = resolve_device(device).type == "cuda"
    return "batched" if engine == "batched" or (on_gpu and not obstacle) else "single"


def _obstacle(population, param_space):
    """Say why `fit_many` can not do it; nothing if it can."""
    estimator = population.estimator
    if population.is_pruned:
        return "population='pruning' prunes each network by itself"
    # A subclass may fit in a way of its own.
    if getattr(type(estimator), "fit", None) is not SparseNetClassifier.fit:
        return f"the estimator is a {type(estimator).__name__}"
    for name, nothing in REFUSED.items():
        if name in param_space or getattr(estimator, name) is not nothing:
            return f"the estimator has {name!r}"
    return ""


def needed_bytes(n_parameters, n_nodes, batch_size):
    """Estimate the memory in which one network is trained.

    Parameters
    ----------
    n_parameters : int
        Each is a weight, a gradient and two moments, in the module and joined.

    n_nodes : int
        Vertices of its graph.

    batch_size : int
        Each sample has a value and a gradient at every vertex, and copies of them.

    Returns
    -------
    n_bytes : int
        Rather too many.
    """
    return 4 * (10 * n_parameters + 8 * n_nodes * batch_size)


def how_many_together(tasks, batch_size, device):
    """Say how many networks the free memory holds.

    Parameters
    ----------
    tasks : list of Task
        The networks.

    batch_size : int
        Samples a step, for tasks that do not have their own.

    device : str or torch.device
        Where.

    Returns
    -------
    n_networks : int
        At least 1.
    """
    largest = max(
        needed_bytes(
            task.n_parameters, task.n_nodes, task.params.get("batch_size", batch_size)
        )
        for task in tasks
    )
    device = resolve_device(device)
    free = torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else _free()
    return max(1, int(_SHARE * free) // largest)


def _free():
    try:
        return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):
        return _USUAL_MEMORY
