"""Where the measurements are kept: every room for itself, whoever else measures."""

import json
import os
import tomllib
from pathlib import Path

from filelock import FileLock

from benchmarks.report import markdown

HERE = Path(__file__).parent


def merge(room, entry, folder=HERE):
    """Put what a room measured beside what other rooms did, and write the page anew.

    Two processes that end at once wait for each other, and a reader finds the old file
    or the new one, never half of one.
    """
    _merge("results.json", room, entry, folder)


def merge_mutants(room, entry, folder=HERE):
    """Put what became of a room's mutants beside other rooms', and write the page."""
    _merge("mutants.json", room, entry, folder)


def mutants_of(room, folder=HERE):
    """Read what became of a room's mutants the last time."""
    return _read(folder / "mutants.json").get(room, {"mutants": []})["mutants"]


def equivalent_mutants(folder=HERE):
    """Read which mutants change nothing that a user could see, and why.

    Returns
    -------
    reasons : dict
        From (file, line before, line after) to a sentence.
    """
    path = folder / "equivalent_mutants.toml"
    listed = tomllib.loads(path.read_text("utf-8")) if path.exists() else {}
    return {
        (each["file"], each["before"], each["after"]): each["reason"]
        for each in listed.get("mutant", [])
    }


def _merge(name, room, entry, folder):
    with FileLock(folder / ".lock"):
        found = _read(folder / name)
        found[room] = entry
        replace(folder / name, json.dumps(dict(sorted(found.items())), indent=1) + "\n")
        write_page(folder)


def write_page(folder=HERE):
    """Write the page from all that is kept."""
    page = markdown(
        _read(folder / "results.json"),
        _read(folder / "mutants.json"),
        equivalent_mutants(folder),
        _read(folder / "gpu.json"),
    )
    replace(folder / "RESULTS.md", page)


def _read(path):
    return json.loads(path.read_text("utf-8")) if path.exists() else {}


def replace(path, text):
    """Write a file such that a reader finds the old one or the new one, never half."""
    new = path.with_name(f".{path.name}.{os.getpid()}")
    new.write_text(text, encoding="utf-8")
    os.replace(new, path)
