"""Which models a study trains: numbered, seeded, and made from a few numbers each."""

import warnings
from dataclasses import dataclass

from sklearn.base import clone
from sklearn.utils import check_random_state

from robustkit._randomness import draw_seed, draw_seeds
from robustkit.classifiers import (
    MLPNetClassifier,
    PrunedNetClassifier,
    SparseNetClassifier,
)
from robustkit.exceptions import NarrowInputWarning
from robustkit.graphs import GraphPrior, draw_structure
from robustkit.study._sampling import (
    Draw,
    check_param_space,
    draw_graphs,
    draw_settings,
    split_params,
)

__all__ = [
    "GraphPopulation",
    "PrunedPopulation",
    "Task",
]


@dataclass(frozen=True)
class Task:
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


class GraphPopulation:
    """Networks whose graphs are drawn from a prior.

    Parameters
    ----------
    estimator : SparseNetClassifier or None
        The network; None is the default one.
    """

    is_pruned = False
    rows_a_task = 1

    def __init__(self, estimator):
        estimator = SparseNetClassifier() if estimator is None else clone(estimator)
        if not {"prior", "init"} <= set(estimator.get_params(deep=False)):
            raise ValueError(
                "The 'estimator' of a study of graphs must have the parameters 'prior' "
                f"and 'init', as SparseNetClassifier has. Got {estimator!r} instead."
            )
        if estimator.prior is None:
            estimator.set_params(prior=GraphPrior())
        self.estimator = estimator

    def tasks(self, param_space, n_graphs, inits, size, shape, random_state):
        """Draw the graphs and number the models.

        All networks of one initialisation have one seed: they see the samples in the
        same order, so that they differ in their graphs alone, and so that a model does
        not depend on which others are trained together with it.
        """
        check_param_space(param_space, self.estimator)
        graphs_seed, inits_seed = draw_seeds(random_state, 2)
        draws = draw_graphs(
            self.estimator.prior, param_space, n_graphs, size, shape, graphs_seed
        )
        _warn_of_narrow_graphs(draws, n_features=shape[0])
        seeds = draw_seeds(inits_seed, len(inits))
        sizes = [(draw.n_nodes, draw.n_parameters) for draw in draws]
        return [
            Task(k, k, graph, init, seed, draw.seed, draw.params, *sizes[graph])
            for k, (graph, draw, init, seed) in enumerate(
                (graph, draw, init, seed)
                for graph, draw in enumerate(draws)
                for init, seed in zip(inits, seeds, strict=True)
            )
        ]

    def build(self, task, step=None):
        """Make the unfitted classifier of a model."""
        of_prior, others = split_params(task.params)
        graph = draw_structure(
            self.estimator.prior, task.graph_seed, params=of_prior, replace_seed=True
        )
        return clone(self.estimator).set_params(
            **others, prior=graph, init=task.init, random_state=task.seed
        )


def _warn_of_narrow_graphs(draws, n_features):
    """Say once what every training would say of its own graph."""
    n_narrow = sum(draw.n_sources <= 2 < n_features for draw in draws)
    if n_narrow:
        warnings.warn(
            f"{n_narrow} of {len(draws)} graphs squeeze all {n_features} features "
            "through 2 units or fewer: see the column n_sources. A prior with more "
            "vertices, fewer neighbours or more rewiring has more sources.",
            NarrowInputWarning,
            stacklevel=5,
        )


class PrunedPopulation:
    """Dense networks that lose their inner weights step by step.

    Parameters
    ----------
    estimator : PrunedNetClassifier or None
        What prunes; None is the default one.
    """

    is_pruned = True

    def __init__(self, estimator):
        estimator = PrunedNetClassifier() if estimator is None else clone(estimator)
        if not isinstance(estimator, PrunedNetClassifier):
            raise ValueError(
                "The 'estimator' of a study with population='pruning' must be a "
                f"PrunedNetClassifier. Got {estimator!r} instead."
            )
        if estimator.estimator is None:
            dense = MLPNetClassifier(hidden_layer_sizes=(50, 100, 100, 50))
            estimator.set_params(estimator=dense)
        if "estimator__init" not in estimator.get_params():
            raise ValueError(
                "The dense network of a study must have a parameter 'init', as "
                f"MLPNetClassifier has. Got {estimator.estimator!r} instead."
            )
        self.estimator = estimator
        # The dense network, then every step.
        self.rows_a_task = 1 + estimator.n_steps

    def tasks(self, param_space, n_graphs, inits, size, shape, random_state):
        """Draw the parameters and number the models.

        Every network has seeds of its own: with one graph for all, the same seed would
        give the same dense network again and again.
        """
        if size is not None:
            raise ValueError(
                "The 'n_parameters' parameter chooses among graphs; "
                f"population='pruning' draws none. Got n_parameters={size!r}."
            )
        check_param_space(param_space, self.estimator)
        settings_seed, seeds_seed = draw_seeds(random_state, 2)
        rng = check_random_state(settings_seed)
        settings = draw_settings(param_space, rng)
        draws = [Draw(next(settings), draw_seed(rng)) for _ in range(n_graphs)]
        seeds = draw_seeds(seeds_seed, n_graphs * len(inits))
        return [
            Task(k, k * self.rows_a_task, graph, init, seeds[k], draw.seed, draw.params)
            for k, (graph, draw, init) in enumerate(
                (graph, draw, init)
                for graph, draw in enumerate(draws)
                for init in inits
            )
        ]

    def build(self, task, step=None):
        """Make the unfitted classifier of a model: pruned so many steps, or dense."""
        classifier = clone(self.estimator).set_params(
            **task.params,
            estimator__init=task.init,
            estimator__random_state=task.seed,
            random_state=task.graph_seed,
        )
        if step == 0:
            return classifier.estimator
        return classifier if step is None else classifier.set_params(n_steps=step)
