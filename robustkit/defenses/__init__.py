"""Models made more robust by what was learned about them."""

from robustkit.defenses._weak_region_refiner import WeakRegionRefiner

__all__ = ["WeakRegionRefiner"]
