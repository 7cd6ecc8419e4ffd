"""Write the pages of the API reference from the map of the package."""

import importlib
import inspect
from pathlib import Path

import robustkit


def first_line(thing):
    """The summary of a docstring."""
    return inspect.getdoc(thing).splitlines()[0]


def titled(text, line):
    """A heading in reStructuredText."""
    return f"{text}\n{line * len(text)}\n"


def table_of(names, *options):
    """A line for each name: the name, which links to its page, and its summary."""
    head = [".. autosummary::", *options, "   :nosignatures:", ""]
    return [*head, *(f"   {name}" for name in names), ""]


def page_of(room, names):
    """One room: what it is, and a line for each public name."""
    module = importlib.import_module(f"robustkit.{room}")
    return "\n".join(
        [
            titled(f"robustkit.{room}", "="),
            f".. module:: robustkit.{room}",
            "",
            first_line(module),
            "",
            *table_of(names, "   :toctree: generated"),
        ]
    )


def section_of(room, names):
    """One room on the first page: what it is, and all of its names."""
    module = importlib.import_module(f"robustkit.{room}")
    return [
        titled(f":doc:`{room} <{room}>`", "-"),
        first_line(module),
        "",
        f".. currentmodule:: robustkit.{room}",
        "",
        *table_of(names),
    ]


def index_of(rooms):
    """The first page: all names of all rooms."""
    return "\n".join(
        [
            titled("API reference", "="),
            "Every public name, with a summary. The modules are listed in the order in",
            "which they build on each other. Names can be imported from `robustkit`",
            "itself: `from robustkit import PGDAttack`. Only names in",
            ":mod:`robustkit.attacks.functional` and :mod:`robustkit.exceptions` must",
            "be imported from their modules.",
            "",
            *(line for room in rooms for line in section_of(room, rooms[room])),
            ".. toctree::",
            "   :hidden:",
            "",
            *(f"   {room}" for room in rooms),
            "",
        ]
    )


def _room_of(module):
    return module.partition(".")[0]


def rooms_with_names():
    """Room, or public module inside one -> its public names."""
    rooms = {}
    for room, names in robustkit._ROOMS.items():
        rooms |= {room: names} if names else {}
        rooms |= {m: f for m, f in robustkit._SUBMODULES.items() if _room_of(m) == room}
    exceptions = importlib.import_module("robustkit.exceptions")
    return rooms | {"exceptions": exceptions.__all__}


def write(folder):
    """Write the index and one page per room; leave a page alone if nothing changed."""
    rooms = rooms_with_names()
    pages = {room: page_of(room, names) for room, names in rooms.items()}
    pages["index"] = index_of(rooms)
    Path(folder).mkdir(exist_ok=True)
    for name, text in pages.items():
        path = Path(folder) / f"{name}.rst"
        if not path.exists() or path.read_text("utf-8") != text:
            path.write_text(text, "utf-8")
