"""What can be proved of a network: bounds on its logits, and radii without errors."""
# ruff: noqa: F401

# What is not in `__all__` is for other rooms, not for users.
from robustkit.bounds._certified_radius import CertifiedRadius, radii_from
from robustkit.bounds._interval_bounds import (
    LARGEST,
    BoundedNetwork,
    described,
    lost_digits,
    slack_factor,
)
from robustkit.bounds._relu_network import Layer, ReluNetwork, refuse_imprecise

__all__ = ["CertifiedRadius"]
