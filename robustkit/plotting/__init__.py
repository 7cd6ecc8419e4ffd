"""Displays."""

from robustkit.plotting._correlation_display import CorrelationDisplay
from robustkit.plotting._layered_graph_display import LayeredGraphDisplay
from robustkit.plotting._loss_curve_display import LossCurveDisplay
from robustkit.plotting._populated_regions_display import PopulatedRegionsDisplay

__all__ = [
    "LayeredGraphDisplay",
    "LossCurveDisplay",
    "PopulatedRegionsDisplay",
    "CorrelationDisplay",
]
