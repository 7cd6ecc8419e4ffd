"""What structure a network gets: graphs drawn at random, layered and measured."""

from robustkit.graphs._layered_graph import LayeredGraph
from robustkit.graphs._prior import GraphPrior
from robustkit.graphs._properties import graph_properties

__all__ = ["GraphPrior", "LayeredGraph", "graph_properties"]
