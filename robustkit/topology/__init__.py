"""What shape activations have: mapper graphs, and how pure their nodes are."""

from robustkit.topology._cover import BalancedCover, UniformCover

# For other rooms, not for users: the parts of which the explorer composes graphs of its
# own, and what a budget of weak samples may be.
from robustkit.topology._mapper import fit_filter
from robustkit.topology._mapper_graph import MapperGraph
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
    learn_metric,
)

__all__ = [
    "MapperGraph",
    "UniformCover",
    "BalancedCover",
    "node_purity",
    "weighted_average_purity",
    "node_accuracy",
]
