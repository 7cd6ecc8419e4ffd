"""The file in which every finished model is safe at once.

A store belongs to one study. `canonical` describes a study so that equal ones have
equal descriptions; `differences` says why a store is refused.
"""

from __future__ import annotations

import hashlib
import json
import os
import sqlite3
import threading
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator

from robustkit.exceptions import CorruptFileError

__all__ = ["Store", "canonical", "differences", "digest"]

# The letters "rbkt": says that a SQLite file is one of ours.
_APPLICATION = 0x72626B74
_FORMAT = 1

# Seconds to wait for another process that writes.
_PATIENCE = 60

# Parameters that change how long a model takes, and nothing else.
_OF_THE_MACHINE = {"device", "verbose", "n_jobs"}

# Parameters of estimators that are younger than some stores, and their defaults, with
# which a study is the one that it was without them.
_YOUNG = {"rewire": None, "rewire_fraction": 0.3}

_TABLES = """
CREATE TABLE study (name TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE claims (task INTEGER PRIMARY KEY, n_claims INTEGER NOT NULL);
CREATE TABLE models (
    model INTEGER PRIMARY KEY, task INTEGER NOT NULL, record TEXT NOT NULL
);
CREATE INDEX tasks_done ON models (task);
"""


class Store:
    """Finished models in a SQLite file.

    Several processes may have it open. Each row is written in a transaction of its own
    (all rows of a task in one), so that a process may be killed at any moment. Nothing
    in it is ever executed: rows are JSON. With None as the path everything is kept in
    memory, for as long as the object lives; `must_exist` refuses to make a new file.
    """

    def __init__(
        self, path: str | os.PathLike | None, *, must_exist: bool = False
    ) -> None:
        self.path = None if path is None else Path(path)
        # joblib asks for the next task from threads of its own.
        self._lock = threading.RLock()
        if must_exist and not (self.path and self.path.is_file()):
            raise FileNotFoundError(f"There is no store of a study at {self.path}.")
        with self._translated_errors("open"):
            self._connection = sqlite3.connect(
                ":memory:" if self.path is None else self.path,
                timeout=_PATIENCE,
                isolation_level=None,
                check_same_thread=False,
            )
            try:
                self._prepare()
            except BaseException:
                self.close()
                raise

    def _prepare(self) -> None:
        """Make the tables, or see whether they are ours."""
        run = self._connection.execute
        # In this order: where there are tables, whoever made them has signed the file.
        (n_tables,) = run("SELECT count(*) FROM sqlite_master").fetchone()
        (application,) = run("PRAGMA application_id").fetchone()
        if application == 0 and n_tables == 0:
            # Before the tables: it cannot be changed inside a transaction.
            run("PRAGMA journal_mode = WAL")
            with self._transaction():
                (n_tables,) = run("SELECT count(*) FROM sqlite_master").fetchone()
                # Another process may have been faster.
                if n_tables == 0:
                    run(f"PRAGMA application_id = {_APPLICATION}")
                    run(f"PRAGMA user_version = {_FORMAT}")
                    for statement in _TABLES.split(";"):
                        run(statement)
            (application,) = run("PRAGMA application_id").fetchone()
        if application != _APPLICATION:
            raise CorruptFileError(
                f"{self.path} is a SQLite file, but not the store of a study. It was "
                "left as it is; choose another 'store'."
            )
        (version,) = run("PRAGMA user_version").fetchone()
        if version > _FORMAT:
            raise ValueError(
                f"{self.path} has format {version}, and this robustkit knows formats "
                f"up to {_FORMAT}. Update robustkit to continue the study."
            )
        (verdict,) = run("PRAGMA quick_check(1)").fetchone()
        if verdict != "ok":
            raise sqlite3.DatabaseError(" ".join(verdict.split()))

    def close(self) -> None:
        """Close the file; SQLite then folds its journal into it."""
        self._connection.close()

    def __enter__(self) -> Store:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @contextmanager
    def _translated_errors(self, what: str) -> Iterator[None]:
        """Say in our words what SQLite says in its own."""
        try:
            with self._lock:
                yield
        except sqlite3.Error as error:
            name = getattr(error, "sqlite_errorname", "") or str(error)
            raise self._error(what, name, error) from error

    def _error(self, what: str, name: str, error: sqlite3.Error) -> Exception:
        where = f"the store {self.path}" if self.path else "the store in memory"
        if name.startswith(("SQLITE_FULL", "SQLITE_IOERR")):
            return OSError(
                f"Could not write to {where}: {error}. The models before are safe: "
                "make room and call fit again, with the same store, to continue."
            )
        if name.startswith(("SQLITE_READONLY", "SQLITE_CANTOPEN", "SQLITE_PERM")):
            return PermissionError(
                f"Could not {what} {where}: {error}. Its folder must exist, and both "
                "must be writable."
            )
        if name.startswith(("SQLITE_NOTADB", "SQLITE_CORRUPT")) or type(error) is (
            sqlite3.DatabaseError
        ):
            return CorruptFileError(
                f"{self.path} is not the store of a study, or damaged: {error}. It was "
                "left as it is; choose another 'store', or bring a copy back."
            )
        return OSError(f"Could not {what} {where}: {error}.")

    @contextmanager
    def _transaction(self) -> Iterator[Callable]:
        run = self._connection.execute
        run("BEGIN IMMEDIATE")
        try:
            yield run
        except BaseException:
            # SQLite may have ended the transaction by itself, as with a full disk.
            if self._connection.in_transaction:
                run("ROLLBACK")
            raise
        run("COMMIT")

    @contextmanager
    def _writing(self) -> Iterator[Callable]:
        with self._translated_errors("write to"), self._transaction() as run:
            yield run

    @contextmanager
    def _reading(self) -> Iterator[Callable]:
        with self._translated_errors("read"):
            yield self._connection.execute

    def read(self, name: str) -> Any:
        """Look up what is known of the study; None if nothing is.

        Names are "identity", "seed", "settings", "config" (the study in TOML),
        "no_config" (why there is none) and "command".
        """
        with self._reading() as run:
            found = run("SELECT value FROM study WHERE name = ?", (name,)).fetchone()
        return None if found is None else json.loads(found[0])

    def keep_first(self, name: str, value: Any) -> Any:
        """Write something down unless it is known already.

        Return what was written first, by whichever process.
        """
        with self._writing() as run:
            item = name, json.dumps(value)
            run("INSERT OR IGNORE INTO study VALUES (?, ?)", item)
        return self.read(name)

    def open_study(self, **values: Any) -> None:
        """Write what the study is, or make sure that it is this one.

        The "identity" must be the same each time; of other values the first stays.
        """
        for name, value in values.items():
            self.keep_first(name, value)
        here = json.loads(json.dumps(values["identity"]))
        places = differences(self.read("identity"), here)
        if places:
            raise ValueError(
                f"The store {self.path} holds another study: {'; '.join(places)}. "
                "Continue with the same parameters and data, or choose another 'store'."
            )

    def claim(
        self, handed_out: Collection[int], among: Collection[int] | None = None
    ) -> int | None:
        """Choose the next task, and tell other processes; None if nothing is left.

        A claim is advice and no lock: tasks that nobody claimed come first, then those
        that were claimed by a process that is busy with them, or dead. So processes
        share the work, and nothing is ever stuck. This process is not given again what
        was handed out to it, and only tasks `among` those named.
        """
        query = (
            "SELECT task, n_claims FROM claims WHERE task NOT IN "
            "(SELECT task FROM models) ORDER BY n_claims, task"
        )
        with self._writing() as run:
            # Few rows: those of this process are passed over here.
            for task, n_claims in run(query):
                if task not in handed_out and (among is None or task in among):
                    run(
                        "UPDATE claims SET n_claims = ? WHERE task = ?",
                        (n_claims + 1, task),
                    )
                    return task
        return None

    def plan(self, tasks: Iterable[int]) -> None:
        """Write down the numbers of the tasks that there are."""
        with self._writing() as run:
            for task in tasks:
                run("INSERT OR IGNORE INTO claims VALUES (?, 0)", (task,))

    def add(self, task: int, rows: Sequence[Mapping[str, Any]]) -> None:
        """Keep the rows of a task for good.

        A row has the number of its model in ``row["place"]["model"]``. If another
        process was faster, its rows stay.
        """
        with self._writing() as run:
            for row in rows:
                run(
                    "INSERT OR IGNORE INTO models VALUES (?, ?, ?)",
                    (row["place"]["model"], task, json.dumps(row, default=_as_json)),
                )

    def done(self) -> set[int]:
        """Numbers of the tasks that are finished."""
        with self._reading() as run:
            return {task for (task,) in run("SELECT DISTINCT task FROM models")}

    def n_models(self) -> int:
        """Count the models that are finished."""
        with self._reading() as run:
            return run("SELECT count(*) FROM models").fetchone()[0]

    def rows(self) -> list[dict[str, Any]]:
        """Read all rows, by number of the model."""
        with self._reading() as run:
            query = "SELECT model, record FROM models ORDER BY model"
            records = run(query).fetchall()
        return [self._parsed(*record) for record in records]

    def _parsed(self, model: int, record: str) -> dict[str, Any]:
        try:
            return json.loads(record)
        except json.JSONDecodeError as error:
            raise CorruptFileError(
                f"The row of model {model} in {self.path} is damaged: {error}. Bring a "
                "copy of the file back."
            ) from error


def _as_json(value: Any) -> Any:
    """Turn what is numpy's into what is Python's, and anything else into words."""
    if isinstance(value, np.floating):
        # A long double stays one otherwise.
        return float(value)
    if hasattr(value, "tolist"):
        return value.tolist()
    # What repr says of a function or a class is where it lies, this time.
    return getattr(value, "__qualname__", repr(value))


def digest(array: NDArray) -> str:
    """Name the content of an array of numbers or labels: its SHA-256."""
    if array.dtype.hasobject:
        array = array.astype(str)
    shape = f"{array.dtype.str}{array.shape}".encode()
    content = np.ascontiguousarray(array).tobytes()
    return hashlib.sha256(shape + content).hexdigest()


def canonical(value: Any) -> Any:
    """Describe a parameter so that equal ones have equal descriptions, in JSON.

    It may be a number, string, container, array, estimator, distribution, function or
    any other object with attributes. What depends on the machine alone is left out.
    """
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, Mapping):
        return {str(key): canonical(item) for key, item in value.items()}
    if isinstance(value, list | tuple | range):
        return [canonical(item) for item in value]
    if isinstance(value, set | frozenset):
        return sorted((canonical(item) for item in value), key=json.dumps)
    if isinstance(value, np.ndarray):
        return {"array": digest(value)}
    if isinstance(value, type) or not hasattr(value, "__dict__"):
        return _name(value) if hasattr(value, "__qualname__") else repr(value)
    if hasattr(value, "__qualname__"):
        return _name(value)
    if isinstance(value, BaseEstimator):
        state = value.get_params(deep=False)
    elif hasattr(value, "rvs") and hasattr(value, "dist"):
        # Of scipy.
        state = {"args": value.args, "kwds": value.kwds}
        return {value.dist.name: canonical(state)}
    else:
        state = vars(value)
    state = {
        name: item
        for name, item in state.items()
        if name not in _OF_THE_MACHINE and not _is_young(name, item)
    }
    return {_name(type(value)): canonical(state)}


def _is_young(name: str, item: Any) -> bool:
    """Whether it is such a parameter, with its default."""
    return name in _YOUNG and type(item) is type(_YOUNG[name]) and item == _YOUNG[name]


def _name(thing: Any) -> str:
    # Files inside a package may move.
    return f"{thing.__module__.partition('.')[0]}.{thing.__qualname__}"


def differences(old: dict[str, Any], new: dict[str, Any]) -> list[str]:
    """Say where two descriptions differ: "name: old value, not new value"."""
    old, new = _flat(old), _flat(new)
    return [
        f"{name} is {_value(old, name)} there and {_value(new, name)} here"
        for name in sorted(old.keys() | new.keys())
        if name not in old or name not in new or _text(old[name]) != _text(new[name])
    ]


def _flat(tree: Any, path: str = "") -> dict[str, Any]:
    if not isinstance(tree, dict | list) or not tree:
        return {path: tree}
    if isinstance(tree, list):
        if not any(isinstance(item, dict | list) for item in tree):
            return {path: tree}
        tree = dict(enumerate(tree))
    leaves = {}
    for name, branch in tree.items():
        leaves |= _flat(branch, f"{path}.{name}" if path else str(name))
    return leaves


def _value(leaves: dict[str, Any], name: str, longest: int = 60) -> str:
    if name not in leaves:
        return "not set"
    text = _text(leaves[name])
    return text if len(text) <= longest else f"{text[: longest - 3]}..."


def _text(leaf: Any) -> str:
    # 1, 1.0 and true are equal in Python, and different settings.
    return json.dumps(leaf)
