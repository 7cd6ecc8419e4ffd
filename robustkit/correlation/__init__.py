"""What correlates with robustness, over many models, and how certain that is."""
# ruff: noqa: F401

from robustkit.correlation._claims import Claim, check_claims
from robustkit.correlation._correlator import RobustnessCorrelator

# What is not in `__all__` is for other rooms, not for users.
from robustkit.correlation._partial import correlate_given
from robustkit.correlation._published_tables import load_nas_robustness
from robustkit.correlation._significance import correct

__all__ = ["Claim", "RobustnessCorrelator", "check_claims", "load_nas_robustness"]
