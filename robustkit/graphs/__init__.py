"""What structure a network gets: graphs drawn at random, layered and measured."""

from robustkit.graphs._layered_graph import LayeredGraph

__all__ = ["LayeredGraph"]
