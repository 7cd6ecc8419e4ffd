"""Draw graphs until enough of them are as large as wanted."""

from collections.abc import Mapping, Set
from dataclasses import dataclass
from itertools import cycle

import numpy as np
from sklearn.model_selection import ParameterGrid
from sklearn.utils import check_random_state

from robustkit._randomness import draw_seed
from robustkit._validation import did_you_mean
from robustkit.graphs import draw_structure

__all__ = [
    "Draw",
    "check_param_space",
    "draw_graphs",
    "draw_settings",
    "split_params",
]

# Draws in a row without a graph of the size wanted, after which there is no hope.
_PATIENCE = 1000

# Set by the study itself.
_RESERVED = {
    "prior": "prior__...",
    "init": "inits",
    "random_state": "random_state",
    "n_steps": "estimator",
    "estimator__init": "inits",
    "estimator__random_state": "random_state",
}


_NO_LISTS = (str, bytes, Set, Mapping)


@dataclass(frozen=True)
class Draw:
    """The parameters of one graph, and the seed that draws it from them."""

    params: dict
    seed: int
    n_nodes: int = 0
    n_sources: int = 0
    n_parameters: int = 0


def check_param_space(param_space, estimator):
    """Check the names and the values of a space of parameters.

    Parameters
    ----------
    param_space : dict
        Name -> list or distribution.

    estimator : estimator
        Whose parameters these are.
    """
    known = sorted(estimator.get_params(deep=True))
    for name, values in param_space.items():
        if name in _RESERVED:
            raise ValueError(
                f"param_space can not hold {name!r}, which the study sets itself. Use "
                f"{_RESERVED[name]!r}."
            )
        if name not in known:
            raise ValueError(
                f"param_space holds {name!r}, which is no parameter of "
                f"{type(estimator).__name__}{did_you_mean(name, known)}"
            )
        if hasattr(values, "rvs"):
            continue
        # A set of words has another order in every session.
        is_list = hasattr(values, "__len__") and not isinstance(values, _NO_LISTS)
        if not is_list or not len(values):
            raise ValueError(
                f"param_space[{name!r}] must be a list of values, not empty, or a "
                f"distribution with a method rvs. Got {values!r} instead."
            )


def draw_settings(param_space, rng):
    """Yield parameters without end.

    A space of lists is a grid: its points are taken in a random order, round after
    round. With a distribution in it, every point is drawn by itself.

    Parameters
    ----------
    param_space : dict
        Name -> list or distribution.

    rng : RandomState
        Draws them.

    Yields
    ------
    params : dict
        Name -> value.
    """
    if any(hasattr(values, "rvs") for values in param_space.values()):
        while True:
            yield {
                name: _draw_value(param_space[name], rng)
                for name in sorted(param_space)
            }
    grid = list(ParameterGrid({k: list(v) for k, v in param_space.items()}))
    yield from cycle([grid[k] for k in rng.permutation(len(grid))])


def _draw_value(values, rng):
    if hasattr(values, "rvs"):
        value = values.rvs(random_state=rng)
        return value.item() if hasattr(value, "item") else value
    return list(values)[rng.randint(len(values))]


def split_params(params):
    """Part the parameters of the prior from the others.

    Parameters
    ----------
    params : dict
        Name -> value.

    Returns
    -------
    of_prior, others : dict
        The names of the first without ``prior__``.
    """
    of_prior = {
        name.removeprefix("prior__"): value
        for name, value in params.items()
        if name.startswith("prior__")
    }
    return of_prior, {
        name: value for name, value in params.items() if not name.startswith("prior__")
    }


def draw_graphs(prior, param_space, n_graphs, size, shape, random_state):
    """Draw parameters and seeds until enough graphs have the size wanted.

    Parameters
    ----------
    prior : object
        As SparseNetClassifier takes it.

    param_space : dict
        Name -> list or distribution.

    n_graphs : int
        How many.

    size : tuple of int or None
        Smallest and largest number of parameters of the network.

    shape : tuple of int
        Number of features and of classes.

    random_state : int
        Draws everything.

    Returns
    -------
    draws : list of Draw
        The first ones are the same for every `n_graphs`.
    """
    rng = check_random_state(random_state)
    low, high = (0, np.inf) if size is None else size
    draws, counts, in_vain = [], [], 0
    for params in draw_settings(param_space, rng):
        seed = draw_seed(rng)
        graph = draw_structure(
            prior, seed, params=split_params(params)[0], replace_seed=True
        )
        counts.append(graph.n_parameters(*shape))
        if low <= counts[-1] <= high:
            sizes = graph.n_nodes, len(graph.sources), counts[-1]
            draws.append(Draw(params, seed, *sizes))
            in_vain = 0
        else:
            in_vain += 1
        if len(draws) == n_graphs:
            return draws
        if in_vain == _PATIENCE:
            raise ValueError(
                f"{_PATIENCE:,} graphs in a row had a number of parameters outside "
                f"n_parameters={size}. {len(counts):,} graphs were tried, with "
                f"{min(counts):,} to {max(counts):,} parameters, and {len(draws)} of "
                f"the {n_graphs} wanted were found. Use another n_parameters or "
                "param_space."
            )
    raise AssertionError("unreachable: the settings have no end")
