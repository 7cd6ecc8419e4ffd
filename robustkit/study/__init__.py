"""Many models, one table: the study that reports what correlates with robustness."""
# ruff: noqa: F401

# What is not in `__all__` is for the command line, not for users.
from robustkit.study._config import (
    PRESETS,
    config_of_store,
    find_preset,
    read_config,
    write_config,
)
from robustkit.study._export import to_csv, to_mlflow, to_parquet
from robustkit.study._robustness_study import RobustnessStudy
from robustkit.study._store import Store
from robustkit.study._table import is_undertrained

__all__ = ["RobustnessStudy"]
