"""What a study trains: checked parameters, and from them tasks of a few numbers each.

A population says what kind of networks these are. Whatever depends on the kind is asked
of it: which estimator it takes, how its tasks are drawn, built and trained.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from itertools import cycle, product
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, clone
from sklearn.model_selection import ParameterGrid, train_test_split
from sklearn.utils import check_random_state

from robustkit._randomness import draw_seed, draw_seeds
from robustkit._validation import caller_depth, did_you_mean
from robustkit.classifiers import (
    PrunedNetClassifier,
    SparseNetClassifier,
    default_dense_network,
)
from robustkit.exceptions import NarrowInputWarning
from robustkit.graphs import default_prior, draw_structure
from robustkit.networks import INITS
from robustkit.study._measure import (
    check_analyses,
    check_attacks,
    default_analyses,
    default_attacks,
)
from robustkit.study._train import (
    train_and_prune,
    train_one,
    why_not_together,
)

if TYPE_CHECKING:
    from robustkit.study._robustness_study import RobustnessStudy

__all__ = [
    "POPULATIONS",
    "Data",
    "Design",
    "GraphPopulation",
    "Population",
    "PrunedPopulation",
    "Task",
    "check_design",
    "check_param_space",
    "draw_graphs",
    "draw_settings",
    "hold_out_test",
    "split_params",
]

# Draws in a row without a graph of the size wanted, after which there is no hope.
_PATIENCE = 1000

# Of more graphs than this the first ones tell how large all are, unless their size
# matters: a study of a hundred thousand models is not to draw graphs for minutes before
# it begins.
_DRAWN_AHEAD = 1000

# Of a study that is not given test data: the share of the samples held out.
_TEST_SHARE = 0.2

# Parameters that the study sets itself -> which parameter of the study to use instead.
_RESERVED = {
    "prior": "prior__...",
    "init": "inits",
    "random_state": "random_state",
    "n_steps": "estimator",
    "estimator__init": "inits",
    "estimator__random_state": "random_state",
}


@dataclass(frozen=True)
class Data:
    """The samples of a study."""

    X: NDArray
    y: NDArray
    X_test: NDArray
    y_test: NDArray

    def arrays(self) -> tuple[NDArray, NDArray, NDArray, NDArray]:
        """All four, in the order in which a function of the user gets them."""
        return self.X, self.y, self.X_test, self.y_test

    @property
    def shape(self) -> tuple[int, int]:
        """Number of features and of classes."""
        return self.X.shape[1], len(np.unique(self.y))

    def sizes(self) -> dict[str, int]:
        """How much there is of everything."""
        n_features, n_classes = self.shape
        return {
            "n_train": len(self.X),
            "n_test": len(self.X_test),
            "n_features": n_features,
            "n_classes": n_classes,
        }


def hold_out_test(X: NDArray, y: NDArray, seed: int) -> Data:
    """Hold a fifth of the training samples out for testing."""
    try:
        X, X_test, y, y_test = train_test_split(
            X, y, test_size=_TEST_SHARE, stratify=y, random_state=seed
        )
    except ValueError as error:
        raise ValueError(
            f"A fifth of {len(X)} samples cannot be held out so that every class is "
            f"in both parts ({error}). Pass X_test and y_test."
        ) from error
    return Data(X, y, X_test, y_test)


class Task(NamedTuple):
    """What is trained as one: a few numbers, from which a worker makes the rest."""

    number: int
    """Place in the study."""

    model: int
    """Number of the first model that comes out of it."""

    graph: int
    init: str
    seed: int
    """Seeds the first weights and the order of the samples."""

    graph_seed: int
    params: dict

    n_nodes: int = 0
    n_parameters: int = 0
    """Of the network, as far as that is known before it is trained."""


class Draw(NamedTuple):
    """The parameters of one graph, and the seed that draws it from them."""

    params: dict
    seed: int
    n_nodes: int = 0
    n_sources: int = 0
    n_parameters: int = 0


class GraphPopulation:
    """Networks whose graphs are drawn from a prior.

    `estimator` is a SparseNetClassifier or the like; None is the default one.
    """

    rows_per_task = 1
    # Small networks, more or less rewired.
    default_space: ClassVar[Mapping[str, Sequence]] = {
        "prior__n_nodes": [100, 150, 200, 250, 300],
        "prior__rewiring": [0.5, 0.6, 0.7, 0.8, 0.9],
    }
    train = staticmethod(train_one)

    def __init__(self, estimator: BaseEstimator | None):
        estimator = SparseNetClassifier() if estimator is None else clone(estimator)
        if not {"prior", "init"} <= set(estimator.get_params(deep=False)):
            raise ValueError(
                "The 'estimator' of a study of graphs must have the parameters 'prior' "
                f"and 'init', as SparseNetClassifier has. Got {estimator!r} instead."
            )
        if estimator.prior is None:
            estimator.set_params(prior=default_prior())
        self.estimator = estimator

    def why_not_together(self, param_space: Mapping[str, Any]) -> str:
        """Why networks cannot be trained together; an empty string if they can."""
        return why_not_together(self.estimator, param_space)

    def tasks(self, design: Design, shape: tuple[int, int], seed: int) -> list[Task]:
        """Draw the graphs and number the models.

        All networks of one initialisation have one seed: they see the samples in the
        same order, so that they differ in their graphs alone, and so that a model does
        not depend on which others are trained together with it. Several seeds are the
        same for all initialisations, so that the two can be told apart.
        """
        graphs_seed, inits_seed = draw_seeds(seed, 2)
        draws = draw_graphs(
            self.estimator.prior,
            design.param_space,
            design.n_graphs,
            design.n_parameters,
            shape,
            graphs_seed,
        )
        _warn_of_narrow_graphs(draws[:_DRAWN_AHEAD], n_features=shape[0])
        if design.n_seeds == 1:
            seeds = draw_seeds(inits_seed, len(design.inits))
            starts = list(zip(design.inits, seeds, strict=True))
        else:
            starts = list(product(design.inits, draw_seeds(inits_seed, design.n_seeds)))
        sizes = [(draw.n_nodes, draw.n_parameters) for draw in draws]
        return [
            Task(k, k, graph, init, seed, draw.seed, draw.params, *sizes[graph])
            for k, (graph, draw, init, seed) in enumerate(
                (graph, draw, init, seed)
                for graph, draw in enumerate(draws)
                for init, seed in starts
            )
        ]

    def build(self, task: Task) -> Any:
        """Make the unfitted classifier of a task."""
        of_prior, others = split_params(task.params)
        graph = draw_structure(
            self.estimator.prior, task.graph_seed, params=of_prior, replace_seed=True
        )
        return clone(self.estimator).set_params(
            **others, prior=graph, init=task.init, random_state=task.seed
        )

    def build_model(self, task: Task, model: int) -> Any:
        """Make the unfitted classifier of a model that comes out of a task."""
        return self.build(task)


class PrunedPopulation:
    """Dense networks that lose their inner weights step by step.

    `estimator` is a PrunedNetClassifier; None is the default one.
    """

    default_space: ClassVar[Mapping[str, Sequence]] = {}
    train = staticmethod(train_and_prune)

    def __init__(self, estimator: BaseEstimator | None):
        estimator = PrunedNetClassifier() if estimator is None else clone(estimator)
        if not isinstance(estimator, PrunedNetClassifier):
            raise ValueError(
                "The 'estimator' of a study with population='pruning' must be a "
                f"PrunedNetClassifier. Got {estimator!r} instead."
            )
        if estimator.estimator is None:
            estimator.set_params(estimator=default_dense_network())
        if "estimator__init" not in estimator.get_params():
            raise ValueError(
                "The dense network of a study must have a parameter 'init', as "
                f"MLPNetClassifier has. Got {estimator.estimator!r} instead."
            )
        self.estimator = estimator
        # The dense network, then every step.
        self.rows_per_task = 1 + estimator.n_steps

    def why_not_together(self, param_space: Mapping[str, Any]) -> str:
        """Why networks cannot be trained together."""
        return "population='pruning' prunes each network by itself"

    def tasks(self, design: Design, shape: tuple[int, int], seed: int) -> list[Task]:
        """Draw the parameters and number the models.

        Every network has seeds of its own: with one graph for all, the same seed would
        give the same dense network again and again.
        """
        if design.n_parameters is not None:
            raise ValueError(
                "The 'n_parameters' parameter chooses among graphs; "
                f"population='pruning' draws none. Got n_parameters="
                f"{design.n_parameters!r}."
            )
        settings_seed, seeds_seed = draw_seeds(seed, 2)
        rng = check_random_state(settings_seed)
        settings = draw_settings(design.param_space, rng)
        draws = [Draw(next(settings), draw_seed(rng)) for _ in range(design.n_graphs)]
        starts = [
            (graph, draw, init)
            for graph, draw in enumerate(draws)
            for init in design.inits
            for _ in range(design.n_seeds)
        ]
        seeds = draw_seeds(seeds_seed, len(starts))
        rows = self.rows_per_task
        return [
            Task(k, k * rows, graph, init, seeds[k], draw.seed, draw.params)
            for k, (graph, draw, init) in enumerate(starts)
        ]

    def build(self, task: Task) -> Any:
        """Make the unfitted classifier of a task, which does all steps."""
        return clone(self.estimator).set_params(
            **task.params,
            estimator__init=task.init,
            estimator__random_state=task.seed,
            random_state=task.graph_seed,
        )

    def build_model(self, task: Task, model: int) -> Any:
        """Make the unfitted classifier of a model: the dense one, or so many steps."""
        classifier, step = self.build(task), model - task.model
        return classifier.set_params(n_steps=step) if step else classifier.estimator


Population = GraphPopulation | PrunedPopulation

POPULATIONS: dict[str, type[Population]] = {
    "graphs": GraphPopulation,
    "pruning": PrunedPopulation,
}


@dataclass(frozen=True)
class Design:
    """The parameters of a study that say what is found, checked and completed."""

    population: Population
    param_space: Mapping[str, Any]
    n_graphs: int
    inits: list[str]
    n_seeds: int
    n_parameters: tuple[int, int] | None
    extra: bool
    walls: int
    attacks: dict[str, tuple[Any, int | None]]
    analyses: Mapping[str, Any]


def check_design(study: RobustnessStudy) -> Design:
    """Check the parameters of a study, and put defaults in place of what is None."""
    population = POPULATIONS[study.population](study.estimator)
    attacks = default_attacks() if study.attacks is None else study.attacks
    attacks = check_attacks(attacks)
    analyses = default_analyses() if study.analyses is None else study.analyses
    analyses = check_analyses(analyses, attacks)
    inits = _check_inits(study.inits)
    space = study.param_space
    space = population.default_space if space is None else space
    check_param_space(space, population.estimator)
    return Design(
        population=population,
        param_space=space,
        n_graphs=study.n_graphs,
        inits=inits,
        n_seeds=study.n_seeds,
        n_parameters=_check_size(study.n_parameters),
        extra=study.extra,
        walls=study.walls,
        attacks=attacks,
        analyses=analyses,
    )


def _check_inits(inits: Sequence[str]) -> list[str]:
    inits = list(inits)
    unknown = [init for init in inits if init not in INITS]
    if unknown or not inits or len(set(inits)) < len(inits):
        hint = did_you_mean(unknown[0], INITS) if unknown else "."
        raise ValueError(
            f"inits must hold names among {', '.join(INITS)}, each once. Got {inits} "
            f"instead{hint}"
        )
    return inits


def _check_size(n_parameters: Any) -> tuple[int, int] | None:
    if n_parameters is None:
        return None
    try:
        low, high = (int(end) for end in n_parameters)
    except (TypeError, ValueError):
        low, high = 1, 0
    if low > high:
        raise ValueError(
            "The 'n_parameters' parameter must be None or a pair (low, high) with low "
            f"<= high. Got {n_parameters!r} instead."
        )
    return low, high


def check_param_space(param_space: Mapping[str, Any], estimator: Any) -> None:
    """Check the names and the values of a space: lists, or distributions."""
    known = sorted(estimator.get_params(deep=True))
    for name, values in param_space.items():
        if name in _RESERVED:
            raise ValueError(
                f"param_space cannot hold {name!r}, which the study sets itself. Use "
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
        no_list = isinstance(values, str | bytes | Set | Mapping)
        if no_list or not hasattr(values, "__len__") or not len(values):
            raise ValueError(
                f"param_space[{name!r}] must be a list of values, not empty, or a "
                f"distribution with a method rvs. Got {values!r} instead."
            )


def draw_settings(
    param_space: Mapping[str, Any], rng: np.random.RandomState
) -> Iterator[dict[str, Any]]:
    """Yield parameters without end.

    A space of lists is a grid: its points are taken in a random order, round after
    round. With a distribution in it, every point is drawn by itself.
    """
    if any(hasattr(values, "rvs") for values in param_space.values()):
        while True:
            yield {
                name: _draw_value(param_space[name], rng)
                for name in sorted(param_space)
            }
    grid = list(ParameterGrid({k: list(v) for k, v in param_space.items()}))
    yield from cycle([grid[k] for k in rng.permutation(len(grid))])


def _draw_value(values: Any, rng: np.random.RandomState) -> Any:
    if hasattr(values, "rvs"):
        value = values.rvs(random_state=rng)
        return value.item() if hasattr(value, "item") else value
    return list(values)[rng.randint(len(values))]


def split_params(params: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Separate the parameters of the prior, without ``prior__``, from the others."""
    of_prior = {
        name.removeprefix("prior__"): value
        for name, value in params.items()
        if name.startswith("prior__")
    }
    return of_prior, {
        name: value for name, value in params.items() if not name.startswith("prior__")
    }


def draw_graphs(
    prior: Any,
    param_space: Mapping[str, Any],
    n_graphs: int,
    size: tuple[int, int] | None,
    shape: tuple[int, int],
    random_state: int,
) -> list[Draw]:
    """Draw parameters and seeds until enough graphs have the size wanted.

    `size` is the smallest and the largest number of parameters of a network; without it
    only the first graphs are drawn here, and tell how large they are. `shape` is the
    numbers of features and classes. The first graphs are the same for every
    `n_graphs`.
    """
    rng = check_random_state(random_state)
    low, high = (0, np.inf) if size is None else size
    draws, counts, in_vain = [], [], 0
    for params in draw_settings(param_space, rng):
        seed = draw_seed(rng)
        if size is None and len(draws) >= _DRAWN_AHEAD:
            draws.append(Draw(params, seed))
            if len(draws) == n_graphs:
                return draws
            continue
        of_prior, _ = split_params(params)
        graph = draw_structure(prior, seed, params=of_prior, replace_seed=True)
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


def _warn_of_narrow_graphs(draws: Sequence[Draw], n_features: int) -> None:
    """Say once what every training would say of its own graph."""
    n_narrow = sum(draw.n_sources <= 2 < n_features for draw in draws)
    if n_narrow:
        warnings.warn(
            f"{n_narrow} of {len(draws)} graphs squeeze all {n_features} features "
            "through 2 units or fewer: see the column n_sources. A prior with more "
            "vertices, fewer neighbours or more rewiring has more sources.",
            NarrowInputWarning,
            stacklevel=caller_depth(),
        )
