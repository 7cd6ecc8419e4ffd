"""The nearest point at which a model errs.

`_paths` holds the compiled passes over the features of each sample, `_corners` finds
where several boundaries meet, `_search` follows gradients with both, `_device_search`
does the same on a GPU, and `_distance` tries other ways where no gradient leads to an
error and lets the model have the last word.
"""
# ruff: noqa: F401

from robustkit.attacks.minimal._distance import (
    minimal_distance,
    push_out,
    samples_at_once,
)
from robustkit.attacks.minimal._paths import Box
from robustkit.attacks.minimal._search import sizes_of

# What is not in `__all__` is for the estimator, not for users.
__all__ = ["minimal_distance"]
