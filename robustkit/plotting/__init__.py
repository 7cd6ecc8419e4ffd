"""Displays."""

from robustkit.plotting._layered_graph_display import LayeredGraphDisplay

__all__ = ["LayeredGraphDisplay"]
