"""Structures of networks: random graphs, layered and measured."""
# ruff: noqa: F401

# What is not in `__all__` is for other rooms, not for users.
from robustkit.graphs._layered_graph import LayeredGraph
from robustkit.graphs._prior import GraphPrior, default_prior, draw_structure
from robustkit.graphs._properties import graph_properties

__all__ = ["GraphPrior", "LayeredGraph", "graph_properties"]
