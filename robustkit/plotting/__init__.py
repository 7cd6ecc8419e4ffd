"""Displays: pictures of graphs, networks, attacks, regions and correlations."""

from robustkit.plotting._adversarial_examples_display import (
    AdversarialExamplesDisplay,
)
from robustkit.plotting._correlation_display import CorrelationDisplay
from robustkit.plotting._layered_graph_display import LayeredGraphDisplay
from robustkit.plotting._loss_curve_display import LossCurveDisplay
from robustkit.plotting._mapper_evolution_display import MapperEvolutionDisplay
from robustkit.plotting._mapper_graph_display import MapperGraphDisplay
from robustkit.plotting._mapper_graph_display import class_colors as class_colors
from robustkit.plotting._mapper_graph_display import known_classes as known_classes
from robustkit.plotting._populated_regions_display import PopulatedRegionsDisplay
from robustkit.plotting._region_plane_display import RegionPlaneDisplay
from robustkit.plotting._robustness_bracket_display import RobustnessBracketDisplay
from robustkit.plotting._robustness_curve_display import RobustnessCurveDisplay

# `class_colors` and `known_classes` are for the explorer.
__all__ = [
    "LayeredGraphDisplay",
    "LossCurveDisplay",
    "RobustnessCurveDisplay",
    "RobustnessBracketDisplay",
    "AdversarialExamplesDisplay",
    "MapperGraphDisplay",
    "MapperEvolutionDisplay",
    "PopulatedRegionsDisplay",
    "RegionPlaneDisplay",
    "CorrelationDisplay",
]
