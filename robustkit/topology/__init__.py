"""What shape activations have: mapper graphs, and how pure their nodes are."""

from robustkit.topology._cover import BalancedCover, UniformCover
from robustkit.topology._mapper_graph import MapperGraph
from robustkit.topology._purity import (
    node_accuracy,
    node_purity,
    weighted_average_purity,
)

__all__ = [
    "MapperGraph",
    "UniformCover",
    "BalancedCover",
    "node_purity",
    "weighted_average_purity",
    "node_accuracy",
]
