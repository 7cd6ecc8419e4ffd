"""Many models, one table: the study that says what goes with robustness."""

from robustkit.study._robustness_study import RobustnessStudy

__all__ = ["RobustnessStudy"]
