"""The folder in which every finished model is safe at once.

A store belongs to one study. Every process that finishes models writes a *shard* of its
own and no other file, so that processes of many machines can share a folder: nothing
here needs a lock, also not on a network file system. `Store` says what is finished by
any of them. `canonical` describes a study so that equal ones have equal descriptions;
`differences` says why a store is refused.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import random
import re
import secrets
import socket
import sqlite3
import threading
import time
import warnings
import zlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from functools import lru_cache
from itertools import groupby
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.base import BaseEstimator

from robustkit import __version__
from robustkit._tensors import as_array
from robustkit._validation import caller_depth
from robustkit.exceptions import CorruptFileError

__all__ = ["Home", "Store", "canonical", "differences", "digest"]

# A folder with this file in it is a store.
_MARK = "robustkit-store.json"
_FORMAT = 2

# Of a shard: the checksummed lines, and where in them a task is found. An entry is a
# task, how many models came out of it, and from where to where its line goes; with no
# models it is a claim. The second file only saves reading the first.
_LINES, _INDEX = ".rows", ".index"
_N_NUMBERS = 4

# What is known of a study, each in a file of its own: see `Store.read`.
_NAMES = ("identity", "version", "seed", "settings", "config", "no_config", "command")

# Seconds in which a line is written that somebody is writing.
_A_MOMENT = 0.1

# Of the time, for looking what other processes have done, where that is not urgent.
_SHARE_OF_LOOKING = 1 / 20

# How a SQLite file begins; the letters "rbkt" in it say that it is one of ours.
_SQLITE = b"SQLite format 3\0"
_APPLICATION = 0x72626B74

# Parameters that change how long a model takes, and nothing else.
_OF_THE_MACHINE = {"device", "verbose", "n_jobs"}

# Parameters of estimators that are younger than some stores, and their defaults, with
# which a study is the one that it was without them.
_YOUNG = {"rewire": None, "rewire_fraction": 0.3}


class _Place(NamedTuple):
    """Where the rows of a task are."""

    shard: str
    start: int
    stop: int
    n_rows: int


@dataclass
class _Seen:
    """How far the shard of some process was read."""

    stop: int = 0
    """Up to where its lines are known."""

    n_entries: int = 0


class Home(NamedTuple):
    """Where the store of a study is: travels to workers, which write there."""

    path: Path | None
    study: str
    version: str

    def open(self) -> Store | None:
        """Open the store; None where this machine does not share the folder.

        A process opens it once, and so has one shard.
        """
        if self.version != __version__:
            raise RuntimeError(
                f"The worker {_whoami()} has robustkit {__version__}, and the study is "
                f"carried out by robustkit {self.version}. Install the same version "
                "everywhere, then call fit again to continue."
            )
        if self.path is None or not os.access(self.path / _MARK, os.W_OK):
            return None
        store = _opened(self, os.getpid())
        return store if store.home() == self else None


@lru_cache(maxsize=4)
def _opened(home: Home, process: int) -> Store:
    """Keep the stores that this process has open as the worker of another."""
    return Store(home.path)


class Store:
    """Finished models in a folder, one line for the models of each task.

    Several processes on several machines may have it open. Each writes to a shard of
    its own, and may be killed at any moment. Nothing in it is ever executed: rows are
    JSON. With None as the path everything is kept in memory, for as long as the object
    lives; `must_exist` refuses to make a new folder. Stores of before, which are SQLite
    files, can be read, and copied into one that can be continued.
    """

    def __init__(
        self, path: str | os.PathLike | None, *, must_exist: bool = False
    ) -> None:
        # Absolute: it travels to workers.
        self.path = None if path is None else Path(path).absolute()
        # joblib asks for the next task from threads of its own.
        self._lock = threading.RLock()
        self._values: dict[str, Any] = {}
        self._in_memory: dict[int, list] = {}
        self._done: dict[int, _Place] = {}
        self._n_models = 0
        self._claims: Counter = Counter()
        self._own_claims: Counter = Counter()
        self._shards: dict[str, _Seen] = {}
        # Where the study is described, and how.
        self._study: tuple[str, Any] | None = None
        self._look_again = 0.0
        # Of what made the models, where it is not this one.
        self._version: str | None = None
        # Oldest first, in the order of their names.
        self._shard = f"{time.time_ns():016x}-{_whoami()}-{secrets.token_hex(4)}"
        self._random = random.Random(self._shard)
        self._is_old = self.path is not None and self.path.is_file()
        if must_exist and not (self.path and self.path.exists()):
            raise FileNotFoundError(f"There is no store of a study at {self.path}.")
        if self._is_old:
            self._read_old()
        elif self.path is not None:
            with self._translated_errors("open"):
                self._prepare(self.path, must_exist)
            torn: dict[str, int] = {}
            self._look(torn)
            self._tell_of_torn_lines(torn)

    def _prepare(self, path: Path, must_exist: bool) -> None:
        """Make the folder, or see whether it is ours."""
        if not must_exist:
            path.mkdir(exist_ok=True)
        mark = path / _MARK
        if not mark.exists():
            names = {name for name in os.listdir(path) if not name.startswith(".")}
            # Another process may have made it in the meantime.
            if must_exist or (names and _MARK not in names):
                raise CorruptFileError(
                    f"{path} is not the store of a study. It was left as it is; choose "
                    "another 'store'."
                )
            _write_once(mark, {"format": _FORMAT})
        version = _read_json(mark).get("format", 0)
        if version > _FORMAT:
            raise ValueError(
                f"{path} has format {version}, and this robustkit knows formats up to "
                f"{_FORMAT}. Update robustkit to continue the study."
            )

    @contextmanager
    def _translated_errors(self, what: str) -> Iterator[None]:
        """Say in our words what the file system says in its own."""
        try:
            with self._lock:
                yield
        except CorruptFileError:
            raise
        except OSError as error:
            if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOENT):
                raise PermissionError(
                    f"Could not {what} the store {self.path}: {error.strerror}. The "
                    "folder that it is in must exist, and both must be writable."
                ) from error
            raise OSError(
                f"Could not {what} the store {self.path}: {error}. The models before "
                "are safe: make room and call fit again, with the same store, to "
                "continue."
            ) from error

    # What the study is.

    def read(self, name: str) -> Any:
        """Look up what is known of the study; None if nothing is.

        Names are "identity", "version", "seed", "settings", "config" (the study in
        TOML), "no_config" (why there is none) and "command".
        """
        if self.path is None or self._is_old:
            return self._values.get(name)
        path = self.path / f"{name}.json"
        with self._translated_errors("read"):
            return _read_json(path) if path.exists() else None

    def keep_first(self, name: str, value: Any) -> Any:
        """Write something down unless it is known already.

        Return what was written first, by whichever process.
        """
        self._refuse_old()
        if self.path is None:
            return self._values.setdefault(name, json.loads(json.dumps(value)))
        path = self.path / f"{name}.json"
        if not path.exists():
            with self._translated_errors("write to"):
                _write_once(path, value)
        return self.read(name)

    def open_study(self, **values: Any) -> None:
        """Write what the study is, or make sure that it is this one.

        The "identity" must be the same each time, and so must be the version of
        robustkit; of other values the first stays.
        """
        for name, value in {"version": __version__, **values}.items():
            self.keep_first(name, value)
        here = json.loads(json.dumps(values["identity"]))
        places = differences(self.read("identity"), here)
        if places:
            raise ValueError(
                f"The store {self.path} holds another study: {'; '.join(places)}. "
                "Continue with the same parameters and data, or choose another 'store'."
            )
        version = self.read("version")
        if version != __version__:
            raise ValueError(
                f"The store {self.path} was begun by robustkit {version}, and "
                f"{_whoami()} has {__version__}. Models of one study are made by one "
                "version: install that one to continue, or choose another 'store'."
            )

    def home(self) -> Home:
        """Say where workers find this store."""
        study = json.dumps(self.read("identity"), sort_keys=True)
        return Home(self.path, hashlib.sha256(study.encode()).hexdigest(), __version__)

    # What is finished.

    def add(self, task: int, rows: Sequence[Mapping[str, Any]]) -> None:
        """Keep the rows of a task for good: all of them, or none.

        A row has the number of its model in ``row["place"]["model"]``. If another
        process was faster, its rows stay.
        """
        self._refuse_old()
        for row in rows:
            row["place"]["model"]
        content = json.dumps({"task": task, "rows": rows}, default=_as_json)
        with self._translated_errors("write to"):
            if self.path is None:
                self._in_memory.setdefault(task, json.loads(content)["rows"])
                self._note(task, _Place("", 0, 0, len(rows)))
                return
            line, seen, lines = _as_line(content), self._own(), self._file(_LINES)
            is_begun = lines.exists() and lines.stat().st_size
            header = b"" if is_begun else self._header()
            start = _append(lines, header + line) + len(header)
            seen.stop = start + len(line)
            self._enter([(task, len(rows), start, seen.stop)])
            self._note(task, _Place(self._shard, start, seen.stop, len(rows)))

    def claim(
        self,
        among: Sequence[int],
        n_tasks: int = 1,
        kind_of: Callable[[int], Any] | None = None,
    ) -> list[int]:
        """Choose the next tasks, and tell other processes; empty if nothing is left.

        A claim is advice and no lock: tasks that nobody claimed come first, then, one
        by one, those that were claimed by a process that is busy with them, or dead. So
        processes share the work, and nothing is ever stuck. All are of one kind.
        """
        self._look()
        left = [task for task in among if task not in self._done]
        if not left:
            return []
        fewest = min(self._claims[task] for task in left)
        left = [task for task in left if self._claims[task] == fewest]
        if fewest:
            # Whoever has claimed them goes from the first to the last.
            n_tasks, left = 1, left[len(left) // 2 :]
        if len(self._shards) > 1:
            # Others may look for tasks right now. Whoever begins at another place
            # passes over what they have done when it comes to it.
            first = self._random.randrange(len(left))
            left = left[first:] + left[:first]
        if kind_of is not None:
            kind = kind_of(left[0])
            left = [task for task in left if kind_of(task) == kind]
        chosen = left[:n_tasks]
        self._claims.update(chosen)
        self._own_claims.update(chosen)
        if self.path is not None:
            with self._translated_errors("write to"):
                self._own()
                self._enter([(task, 0, 0, 0) for task in chosen])
        return chosen

    def is_done(self, task: int) -> bool:
        """Whether a task is finished; what others did just now may not be known."""
        if time.monotonic() > self._look_again:
            self._look()
        return task in self._done

    def done(self) -> set[int]:
        """Numbers of the tasks that are finished."""
        self._look()
        return set(self._done)

    def n_models(self) -> int:
        """Count the models that are finished."""
        self._look()
        return self._n_models

    def rows(self) -> list[dict[str, Any]]:
        """Read all rows, by number of the model."""
        return [row for _, rows in self.finished() for row in rows]

    def finished(self) -> Iterator[tuple[int, list[dict[str, Any]]]]:
        """Read every task that is finished, by number, with its rows."""
        self._look()
        if self.path is None or self._is_old:
            yield from sorted(self._in_memory.items())
            return
        with self._translated_errors("read"):
            lines = self._lines_of(self._done)
        for task in sorted(lines):
            yield task, json.loads(lines[task])["rows"]

    def copy_to(self, path: str | os.PathLike) -> Store:
        """Copy all that is finished into another store, which can be continued."""
        other = Store(path)
        known, identity = other.read("identity"), self.read("identity")
        places = differences(known, identity or {}) if known is not None else []
        if places:
            raise ValueError(
                f"{other.path} is the store of another study: {'; '.join(places)}. "
                "Choose another folder."
            )
        finished = list(self.finished())
        version = self.read("version")
        if version is None and finished:
            # Of stores of before: every row had it, and the study had not.
            made = finished[0][1][0].get("made", {})
            version = made.get("version_robustkit", __version__)
        if other.read("version") not in (None, version):
            raise ValueError(
                f"{other.path} was begun by robustkit {other.read('version')}, and "
                f"{self.path} by {version}. Choose another folder."
            )
        for name in _NAMES:
            value = version if name == "version" else self.read(name)
            if value is not None:
                other.keep_first(name, value)
        # What made the models, and not what copies them.
        other._version = version
        for task, rows in finished:
            if not other.is_done(task):
                other.add(task, rows)
        other._version = None
        return other

    # Shards.

    def _file(self, ending: str, shard: str | None = None) -> Path:
        assert self.path is not None
        return self.path / f"{self._shard if shard is None else shard}{ending}"

    def _note(self, task: int, place: _Place) -> None:
        """Remember where a task is, unless another process was faster."""
        if task not in self._done:
            self._done[task] = place
            self._n_models += place.n_rows
            self._claims.pop(task, None)
            self._own_claims.pop(task, None)

    def _own(self) -> _Seen:
        return self._shards.setdefault(self._shard, _Seen())

    def _header(self) -> bytes:
        study = {
            "version": self._version or __version__,
            "identity": self.read("identity"),
        }
        return _as_line(json.dumps(study))

    def _enter(self, entries: Sequence[tuple[int, int, int, int]]) -> None:
        _append(self._file(_INDEX), np.array(entries, "<i8").tobytes())

    def _look(self, torn: dict[str, int] | None = None) -> None:
        """Learn what all processes have finished and claimed since the last time."""
        if self.path is None or self._is_old:
            return
        with self._translated_errors("read"):
            start = time.monotonic()
            names = sorted(
                {
                    name.rpartition(".")[0]
                    for name in os.listdir(self.path)
                    if name.endswith((_LINES, _INDEX)) and not name.startswith(".")
                }
            )
            if not self._shards.keys() <= set(names):
                # Somebody removed a shard: its models are made again.
                self._forget()
            claims = []
            for name in names:
                if name != self._shard or name not in self._shards:
                    claims += self._read_on(name, {} if torn is None else torn)
            self._claims.update(task for task in claims if task not in self._done)
            end = time.monotonic()
            self._look_again = end + (end - start) / _SHARE_OF_LOOKING

    def _forget(self) -> None:
        for known in (self._done, self._claims, self._own_claims, self._shards):
            known.clear()
        self._n_models, self._study = 0, None

    def _read_on(self, shard: str, torn: dict[str, int]) -> list[int]:
        """Read what is new in a shard, and return the tasks that were claimed.

        The index says where tasks are; what it does not know yet is looked for in the
        lines themselves. `torn` collects where a line has no end.
        """
        lines, index = self._file(_LINES, shard), self._file(_INDEX, shard)
        seen = self._shards.setdefault(shard, _Seen())
        size = lines.stat().st_size if lines.exists() else 0
        if size and not seen.stop:
            seen.stop = self._check_header(shard)
        entries = np.empty((0, _N_NUMBERS), np.int64)
        if index.exists():
            content = _content(index, seen.n_entries * 8 * _N_NUMBERS)
            n_entries = len(content) // (8 * _N_NUMBERS)
            numbers = np.frombuffer(content, "<i8", _N_NUMBERS * n_entries)
            entries = numbers.reshape(-1, _N_NUMBERS)
            seen.n_entries += n_entries
        is_claim = entries[:, 1] == 0
        if seen.stop:
            # A line that the index knows, and that is not there, was torn off or comes
            # later: then it is looked for below, as one that the index does not know.
            there = (entries[:, 2] >= seen.stop) & (entries[:, 3] <= size)
            for task, n_rows, start, stop in entries[~is_claim & there].tolist():
                if start > seen.stop:
                    self._read_lines(shard, seen, start)
                self._note(task, _Place(shard, start, stop, n_rows))
                seen.stop = stop
        if size > seen.stop:
            self._read_lines(shard, seen)
        if size > seen.stop:
            torn[shard] = size
        return entries[is_claim, 0].tolist()

    def _check_header(self, shard: str) -> int:
        """Make sure that a shard is of this study; return where its models begin.

        0 if the line that says so is not whole.
        """
        with self._file(_LINES, shard).open("rb") as file:
            line = file.readline()
        if not line.endswith(b"\n"):
            return 0
        header = json.loads(self._checked(line, shard))
        name, study = f"{shard}{_LINES}", header["identity"]
        if self._study is None:
            known = self.read("identity")
            self._study = (name, study) if known is None else ("identity.json", known)
        places = differences(self._study[1], study)
        if places:
            raise ValueError(
                f"{self.path} holds shards of two studies: {name} is not of that of "
                f"{self._study[0]} ({'; '.join(places)}). Move it to a folder of its "
                "own study."
            )
        version = self.read("version")
        if version not in (None, header["version"]):
            raise ValueError(
                f"The shard {name} in {self.path} was written by robustkit "
                f"{header['version']}, and the study was begun by {version}. Remove "
                "the shard: its models are made again."
            )
        return len(line)

    def _read_lines(self, shard: str, seen: _Seen, until: int | None = None) -> None:
        """Read the lines of a shard that its index does not know (yet)."""
        content = _content(self._file(_LINES, shard), seen.stop, until)
        for line in content.splitlines(keepends=True) if seen.stop else ():
            if not line.endswith(b"\n"):
                return
            stop = seen.stop + len(line)
            found = json.loads(self._checked(line, shard))
            place = _Place(shard, seen.stop, stop, len(found["rows"]))
            self._note(found["task"], place)
            seen.stop = stop

    def _checked(self, line: bytes, shard: str) -> bytes:
        """Return what a line says, if its checksum is right."""
        content = line[9:-1]
        if line[:9] != _checksum(content):
            raise CorruptFileError(
                f"A line of the shard {shard}{_LINES} in {self.path} is damaged. Bring "
                "a copy of the shard back, or remove it: its models are made again."
            )
        return content

    def _lines_of(self, places: Mapping[int, _Place]) -> dict[int, bytes]:
        """Read the lines of tasks, shard by shard."""
        lines = {}
        by_place = sorted(places.items(), key=lambda item: item[1])
        for shard, of_shard in groupby(by_place, key=lambda item: item[1].shard):
            with self._file(_LINES, shard).open("rb") as file:
                for task, place in of_shard:
                    file.seek(place.start)
                    line = file.read(place.stop - place.start)
                    lines[task] = self._checked(line, shard)
        return lines

    def _tell_of_torn_lines(self, torn: Mapping[str, int]) -> None:
        """Warn of lines without an end, unless somebody is writing them just now."""
        if torn:
            time.sleep(_A_MOMENT)
        for shard, size in torn.items():
            if self._file(_LINES, shard).stat().st_size == size:
                warnings.warn(
                    f"The last line of the shard {shard}{_LINES} in {self.path} is "
                    "torn, as when a machine fails while it writes. That line alone is "
                    "lost: its models are made again.",
                    stacklevel=caller_depth(),
                )

    # Stores of before.

    def _refuse_old(self) -> None:
        if self._is_old:
            raise ValueError(
                f"{self.path} is a store in one SQLite file, as robustkit kept them "
                f"before. It can be read. To continue it, copy it with 'robustkit "
                f"export {self.path} --store FOLDER' and pass the folder as 'store'."
            )

    def _read_old(self) -> None:
        assert self.path is not None
        not_ours = CorruptFileError(
            f"{self.path} is not the store of a study, or damaged. It was left as it "
            "is; choose another 'store', or bring a copy back."
        )
        with self._translated_errors("open"), self.path.open("rb") as file:
            if file.read(len(_SQLITE)) != _SQLITE:
                raise not_ours
        try:
            uri = f"{self.path.as_uri()}?mode=ro"
            with closing(sqlite3.connect(uri, uri=True)) as connection:
                run = connection.execute
                if run("PRAGMA application_id").fetchone() != (_APPLICATION,):
                    raise not_ours
                self._values = {
                    name: json.loads(value)
                    for name, value in run("SELECT name, value FROM study")
                }
                for task, row in run("SELECT task, record FROM models ORDER BY model"):
                    self._in_memory.setdefault(task, []).append(json.loads(row))
        except (sqlite3.Error, json.JSONDecodeError) as error:
            raise not_ours from error
        for task, rows in self._in_memory.items():
            self._note(task, _Place("", 0, 0, len(rows)))


def _append(path: Path, content: bytes) -> int:
    """Write at the end of a file, for good or not at all; return where it begins."""
    with path.open("ab", buffering=0) as file:
        start = file.tell()
        try:
            left = memoryview(content)
            while left:
                left = left[file.write(left) :]
            os.fsync(file.fileno())
        except OSError:
            with suppress(OSError):
                file.truncate(start)
            raise
    return start


def _write_once(path: Path, value: Any) -> None:
    """Write a whole file unless it is there: the first of several processes does."""
    new = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        _append(new, f"{json.dumps(value)}\n".encode())
        # Where two do it at once, one of them is told that the name is taken.
        os.link(new, path)
    except FileExistsError:
        pass
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise
        # Some file systems have no links.
        if not path.exists():
            os.replace(new, path)
    finally:
        new.unlink(missing_ok=True)


def _read_json(path: Path) -> Any:
    try:
        return json.loads(path.read_bytes())
    except ValueError as error:
        raise CorruptFileError(
            f"{path} is damaged: {error}. Bring a copy of the file back."
        ) from error


def _content(path: Path, start: int, stop: int | None = None) -> bytes:
    with path.open("rb") as file:
        file.seek(start)
        return file.read(-1 if stop is None else stop - start)


def _as_line(content: str) -> bytes:
    # JSON has no line ends of its own.
    text = content.encode()
    return _checksum(text) + text + b"\n"


def _checksum(content: bytes) -> bytes:
    return b"%08x " % zlib.crc32(content)


def _whoami() -> str:
    """Name this process among those of all machines."""
    host = re.sub("[^A-Za-z0-9.-]", "-", socket.gethostname())
    return f"{host}-{os.getpid()}"


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
    if isinstance(value, torch.Tensor):
        value = as_array(value)
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
