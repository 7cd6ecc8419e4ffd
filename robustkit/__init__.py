"""Why is a neural network robust? Structure, attacks and a look inside.

Read the rooms from the top: draw a graph, build a network from it, train it, attack
it, look where its samples live. A room imports only rooms above it. Every public name
is also reachable from here, and is loaded when it is first asked for, so that
``import robustkit`` stays as light as ``import sklearn``.
"""

from importlib import import_module
from typing import Any

__version__ = "0.1.dev0"

# Room -> the public names it offers.
_ROOMS = {
    # Images in, labels out.
    "datasets": ("load_digits_images", "fetch_mnist", "fetch_cifar10"),
    # What structure a network gets.
    "graphs": ("GraphPrior", "LayeredGraph", "graph_properties"),
    # Torch modules and how they train.
    "networks": ("SparseNetwork", "initialize"),
    # How torch sees a scikit-learn model.
    "bridge": ("as_module", "ActivationExtractor"),
    # scikit-learn estimators around networks.
    "classifiers": (
        "SparseNetClassifier",
        "MLPNetClassifier",
        "TorchClassifier",
        "PrunedNetClassifier",
        "fit_many",
        "MLflowCallback",
    ),
    # What can be proved of a model.
    "bounds": ("CertifiedRadius",),
    # What is done to a model, and its measures.
    "attacks": (
        "FGSMAttack",
        "BIMAttack",
        "LeastLikelyAttack",
        "PGDAttack",
        "SquareAttack",
        "GrowingEpsilonAttack",
        "MinimalDistanceAttack",
        "OnePixelAttack",
        "ModuleAttack",
        "AttackResult",
        "attack_many",
        "best_of",
        "robust_scorer",
        "robustness_bracket",
    ),
    # Where the samples of a model live.
    "regions": (
        "PopulatedRegionScorer",
        "PopulatedRegionRegularizer",
        "count_regions",
        "regions_along",
        "regions_in_plane",
        "wall_distances",
    ),
    # What shape activations have.
    "topology": (
        "MapperGraph",
        "UniformCover",
        "BalancedCover",
        "GMapperCover",
        "AdaptiveCover",
        "mapper_persistence",
        "mapper_graphs",
        "node_purity",
        "weighted_average_purity",
        "node_accuracy",
        "compare_mappers",
        "mapper_evolution",
    ),
    # Models made robust by what was learned about them.
    "defenses": ("WeakRegionRefiner",),
    # What correlates with what.
    "correlation": (
        "RobustnessCorrelator",
        "Claim",
        "check_claims",
        "load_nas_robustness",
    ),
    # Displays.
    "plotting": (
        "LayeredGraphDisplay",
        "LossCurveDisplay",
        "RobustnessCurveDisplay",
        "RobustnessBracketDisplay",
        "AdversarialExamplesDisplay",
        "MapperGraphDisplay",
        "MapperLayersDisplay",
        "MapperPersistenceDisplay",
        "MapperEvolutionDisplay",
        "PopulatedRegionsDisplay",
        "RegionPlaneDisplay",
        "CorrelationDisplay",
    ),
    # Many models, one table.
    "study": ("RobustnessStudy",),
    # The browser tool.
    "explorer": (
        "explore",
        "save_run",
        "load_run",
        "make_views",
        "View",
        "export_html",
        "MapperWidget",
    ),
}

# Public modules inside a room. Their names are reached through them alone.
_SUBMODULES = {
    # The attacks on tensors, as torch.nn.functional has the layers.
    "attacks.functional": (
        "fgsm",
        "bim",
        "pgd",
        "least_likely",
        "grow_epsilon",
        "minimal_distance",
        "one_pixel",
        "Trace",
    ),
}

_ROOM_OF = {name: room for room, names in _ROOMS.items() for name in names}

__all__ = [*_ROOMS, *_ROOM_OF]


def __getattr__(name: str) -> Any:
    if name in _ROOMS:
        return import_module(f"robustkit.{name}")
    if name in _ROOM_OF:
        return getattr(import_module(f"robustkit.{_ROOM_OF[name]}"), name)
    raise AttributeError(f"module 'robustkit' has no attribute {name!r}")


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
