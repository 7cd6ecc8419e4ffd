"""Take the table of a study to where people keep results: files, and MLflow."""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pandas.api.types import is_object_dtype

from robustkit.study._kept_models import with_added
from robustkit.study._store import Store
from robustkit.study._table import table_of

__all__ = ["to_csv", "to_mlflow", "to_parquet"]

# Groups of a row that are numbers that were found, and those that say what was asked.
_FOUND = ("properties", "measures", "seconds")
_ASKED = ("place", "parameters")

# What MLflow keeps of a parameter, and how many it takes in one call.
_LONGEST = 6000
_MOST = 100


def to_csv(store: Store, path: str | os.PathLike) -> Path:
    """Write one row per model."""
    table_of(with_added(store)).to_csv(path, index=False)
    return Path(path)


def to_parquet(store: Store, path: str | os.PathLike) -> Path:
    """Write one row per model, every column with its type."""
    try:
        import pyarrow  # noqa: F401
    except ImportError as error:
        raise ImportError(
            "Writing Parquet needs pyarrow: pip install robustkit[parquet]"
        ) from error
    table = table_of(with_added(store))
    for name in filter(lambda name: is_object_dtype(table[name]), table):
        values = table[name].dropna()
        if len({type(value) for value in values}) > 1 or values.map(_is_nested).any():
            # A column has one type: such as of a parameter that is a number or a word.
            table[name] = table[name].map(json.dumps, na_action="ignore")
    table.to_parquet(path, engine="pyarrow", index=False)
    return Path(path)


def _is_nested(value: Any) -> bool:
    return isinstance(value, list | dict)


def to_mlflow(store: Store, uri: str, name: str) -> str:
    """Log a study as one run with a run below it for every model.

    They are in the experiment `name`, on the server or in the folder of `uri`. Return
    the id of the run of the study.
    """
    try:
        from mlflow import MlflowClient, MlflowException
    except ImportError as error:
        raise ImportError(
            "Logging to MLflow needs mlflow: pip install robustkit[mlflow]"
        ) from error
    try:
        return _log(store, MlflowClient(uri), name)
    except MlflowException as error:
        raise OSError(f"MLflow cannot keep runs at {uri}: {error}") from error


def _log(store: Store, client: Any, name: str) -> str:
    from mlflow.entities import Metric, Param, RunTag
    from mlflow.utils.mlflow_tags import MLFLOW_PARENT_RUN_ID

    experiment = client.get_experiment_by_name(name)
    where = experiment.experiment_id if experiment else client.create_experiment(name)
    study = client.create_run(where, run_name=name).info.run_id
    settings = dict(_leaves(store.read("settings") or {}))
    _log_batches(client, study, params=[Param(*item) for item in _as_text(settings)])
    n_models = 0
    for row in with_added(store):
        number, made = row["place"]["model"], row["made"]
        tags = {MLFLOW_PARENT_RUN_ID: study}
        run = client.create_run(where, tags=tags, run_name=f"model {number}")
        asked = {key: value for group in _ASKED for key, value in row[group].items()}
        now = round(1000 * time.time())
        _log_batches(
            client,
            run.info.run_id,
            metrics=[Metric(key, value, now, 0) for key, value in _numbers(row)],
            params=[Param(*item) for item in _as_text(asked)],
            tags=[RunTag(*item) for item in _as_text(made)],
        )
        status = "FAILED" if made["error"] else "FINISHED"
        client.set_terminated(run.info.run_id, status)
        n_models += 1
    client.log_metric(study, "n_models", n_models)
    client.set_terminated(study)
    return study


def _log_batches(client: Any, run: str, **kinds: list[Any]) -> None:
    for start in range(0, max(map(len, kinds.values())), _MOST):
        some = {kind: all_[start : start + _MOST] for kind, all_ in kinds.items()}
        client.log_batch(run, **some)


def _numbers(row: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
    """All that was found of a model, under the names of the columns of the table."""
    for group in _FOUND:
        prefix = "seconds_" if group == "seconds" else ""
        for name, value in row[group].items():
            if value is not None and math.isfinite(value):
                yield f"{prefix}{name}", float(value)


def _leaves(tree: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the settings of a study: "attacks.fgsm.0.FGSMAttack.eps", 0.1."""
    branches = tree.items() if isinstance(tree, dict) else enumerate(tree)
    for name, branch in branches:
        where = f"{path}.{name}" if path else str(name)
        if isinstance(branch, dict) or (
            isinstance(branch, list) and any(map(_is_nested, branch))
        ):
            yield from _leaves(branch, where)
        else:
            yield where, branch


def _as_text(items: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for name, value in items.items():
        yield name, str(value)[:_LONGEST]
