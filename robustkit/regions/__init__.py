"""In how many pieces a network cuts its input space, and where the samples live."""

from robustkit.regions._count_regions import count_regions

__all__ = ["count_regions"]
