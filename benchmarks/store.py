"""Where the measurements are kept: every room for itself, whoever else measures."""

import json
import os
from pathlib import Path

from filelock import FileLock

from benchmarks.report import markdown

HERE = Path(__file__).parent


def merge(room, entry, folder=HERE):
    """Put what a room measured beside what other rooms did, and write the page anew.

    Two processes that end at once wait for each other, and a reader finds the old file
    or the new one, never half of one.
    """
    path = folder / "results.json"
    with FileLock(folder / ".lock"):
        store = json.loads(path.read_text("utf-8")) if path.exists() else {}
        store[room] = entry
        _replace(path, json.dumps(dict(sorted(store.items())), indent=1) + "\n")
        _replace(folder / "RESULTS.md", markdown(store))


def _replace(path, text):
    new = path.with_name(f".{path.name}.{os.getpid()}")
    new.write_text(text, encoding="utf-8")
    os.replace(new, path)
