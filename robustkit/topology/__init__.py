"""What shape activations have: mapper graphs, and how pure their nodes are."""
# ruff: noqa: F401

# What is not in `__all__` is for other rooms, not for users: the parts from which the
# explorer composes its graphs and matches their nodes, a small picture of one, how
# displays count loops, and what a budget of weak samples may be.
from robustkit.topology._compare import compare_mappers, mapper_evolution, match_nodes
from robustkit.topology._cover import (
    AdaptiveCover,
    BalancedCover,
    GMapperCover,
    UniformCover,
)
from robustkit.topology._filters import fit_filter, is_pair_of_filters
from robustkit.topology._layers import mapper_graphs
from robustkit.topology._loops import count_loops, filled_triangles
from robustkit.topology._mapper import N_INTERVALS, N_INTERVALS_OF_GRID
from robustkit.topology._mapper_graph import MapperGraph, graph_as_svg
from robustkit.topology._persistence import mapper_persistence
from robustkit.topology._purity import (
    BUDGET_CONSTRAINT,
    count_labels,
    node_accuracy,
    node_purity,
    purity_of_counts,
    weighted_average_purity,
)
from robustkit.topology.neighbors import (
    LARGEST_N_PAIRS,
    NeighborCache,
    choose_eps,
    digest,
    learn_metric,
)

__all__ = [
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
]
