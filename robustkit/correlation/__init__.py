"""What goes with what, over many models: coefficients that own up to their doubt."""

from robustkit.correlation._correlator import RobustnessCorrelator

__all__ = ["RobustnessCorrelator"]
