"""The file in which every finished model is safe at once."""

import json
import sqlite3
import threading
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from robustkit.exceptions import CorruptFileError
from robustkit.study._identity import differences

__all__ = ["Store"]

# The letters "rbkt": says that a SQLite file is one of ours.
_APPLICATION = 0x72626B74
_FORMAT = 1

# How long to wait for another process that writes.
_PATIENCE = 60

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
    in it is ever executed: rows are JSON.

    Parameters
    ----------
    path : str, path-like or None
        None keeps everything in memory, for as long as the object lives.

    must_exist : bool, default=False
        Whether to refuse to make a new file.
    """

    def __init__(self, path, *, must_exist=False):
        self.path = None if path is None else Path(path)
        # joblib asks for the next task from threads of its own.
        self._lock = threading.RLock()
        if must_exist and not self.path.is_file():
            raise FileNotFoundError(f"There is no store of a study at {self.path}.")
        with self._translated_errors("open"):
            self._connection = sqlite3.connect(
                ":memory:" if path is None else self.path,
                timeout=_PATIENCE,
                isolation_level=None,
                check_same_thread=False,
            )
            try:
                self._prepare()
            except BaseException:
                self.close()
                raise

    def _prepare(self):
        """Make the tables, or see whether they are ours."""
        run = self._connection.execute
        # In this order: where there are tables, whoever made them has signed the file.
        (n_tables,) = run("SELECT count(*) FROM sqlite_master").fetchone()
        (application,) = run("PRAGMA application_id").fetchone()
        if application == 0 and n_tables == 0:
            # Before the tables: it can not be changed inside a transaction.
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

    def close(self):
        """Close the file; SQLite then folds its journal into it."""
        self._connection.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    @contextmanager
    def _translated_errors(self, what):
        """Say in our words what SQLite says in its own."""
        try:
            with self._lock:
                yield
        except sqlite3.Error as error:
            name = getattr(error, "sqlite_errorname", "") or str(error)
            raise self._error(what, name, error) from error

    def _error(self, what, name, error):
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
    def _transaction(self):
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
    def _writing(self):
        with self._translated_errors("write to"), self._transaction() as run:
            yield run

    @contextmanager
    def _reading(self):
        with self._translated_errors("read"):
            yield self._connection.execute

    def read(self, name):
        """Look up what is known of the study.

        Parameters
        ----------
        name : str
            "identity", "seed", "settings" or "command".

        Returns
        -------
        value : object
            None if nothing is.
        """
        with self._reading() as run:
            found = run("SELECT value FROM study WHERE name = ?", (name,)).fetchone()
        return None if found is None else json.loads(found[0])

    def keep_first(self, name, value):
        """Write something down unless it is known already.

        Parameters
        ----------
        name : str
            Of the value.

        value : object
            Of what JSON knows.

        Returns
        -------
        value : object
            What was written first, by whichever process.
        """
        with self._writing() as run:
            item = name, json.dumps(value)
            run("INSERT OR IGNORE INTO study VALUES (?, ?)", item)
        return self.read(name)

    def open_study(self, **values):
        """Write what the study is, or make sure that it is this one.

        Parameters
        ----------
        **values : object
            "identity", which must be the same each time, and others.
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

    def claim(self, handed_out, among=None):
        """Choose the next task, and tell other processes.

        A claim is advice and no lock: tasks that nobody claimed come first, then those
        that were claimed by a process that is busy with them, or dead. So processes
        share the work, and nothing is ever stuck.

        Parameters
        ----------
        handed_out : collection of int
            Tasks that this process need not be given.

        among : collection of int, default=None
            Tasks that will do. None is all.

        Returns
        -------
        task : int or None
            None if there is nothing left.
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

    def plan(self, tasks):
        """Write down which tasks there are.

        Parameters
        ----------
        tasks : iterable of int
            Their numbers.
        """
        with self._writing() as run:
            for task in tasks:
                run("INSERT OR IGNORE INTO claims VALUES (?, 0)", (task,))

    def add(self, task, rows):
        """Keep the rows of a task for good.

        Parameters
        ----------
        task : int
            Its number.

        rows : list of dict
            With the number of the model in ``row["place"]["model"]``. If another
            process was faster, its rows stay.
        """
        with self._writing() as run:
            for row in rows:
                run(
                    "INSERT OR IGNORE INTO models VALUES (?, ?, ?)",
                    (row["place"]["model"], task, json.dumps(row, default=_as_json)),
                )

    def done(self):
        """Name the tasks that are finished.

        Returns
        -------
        tasks : set of int
            Their numbers.
        """
        with self._reading() as run:
            return {task for (task,) in run("SELECT DISTINCT task FROM models")}

    def n_models(self):
        """Count the models that are finished.

        Returns
        -------
        n_models : int
            So many rows there are.
        """
        with self._reading() as run:
            return run("SELECT count(*) FROM models").fetchone()[0]

    def rows(self):
        """Read all rows.

        Returns
        -------
        rows : list of dict
            By number of the model.
        """
        with self._reading() as run:
            query = "SELECT model, record FROM models ORDER BY model"
            records = run(query).fetchall()
        return [self._parsed(*record) for record in records]

    def _parsed(self, model, record):
        try:
            return json.loads(record)
        except json.JSONDecodeError as error:
            raise CorruptFileError(
                f"The row of model {model} in {self.path} is damaged: {error}. Bring a "
                "copy of the file back."
            ) from error


def _as_json(value):
    """Turn what is numpy's into what is Python's, and anything else into words."""
    if isinstance(value, np.floating):
        # A long double stays one otherwise.
        return float(value)
    if hasattr(value, "tolist"):
        return value.tolist()
    # What repr says of a function or a class is where it lies, this time.
    return getattr(value, "__qualname__", repr(value))
