"""In how many pieces a network cuts its input space, and where the samples lie."""
# ruff: noqa: F401

from robustkit.regions._counting import count_regions

# What is not in `__all__` is for other rooms, not for users.
from robustkit.regions._linear_pieces import (
    describe_walls,
    regions_along,
    regions_in_plane,
    wall_distances,
)
from robustkit.regions._regularizer import PopulatedRegionRegularizer
from robustkit.regions._scorer import PopulatedRegionScorer

__all__ = [
    "PopulatedRegionScorer",
    "PopulatedRegionRegularizer",
    "count_regions",
    "regions_along",
    "regions_in_plane",
    "wall_distances",
]
