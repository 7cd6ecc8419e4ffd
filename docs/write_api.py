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
            ".. autosummary::",
            "   :toctree: generated",
            "",
            *(f"   {name}" for name in names),
            "",
        ]
    )


def entry_of(page):
    """One room on the first page: its name, and what it is."""
    module = importlib.import_module(f"robustkit.{page}")
    return [f":doc:`{page} <{page}>`", f"   {first_line(module)}", ""]


def index_of(pages):
    """The first page: all rooms."""
    return "\n".join(
        [
            titled("API reference", "="),
            "Every public name, room by room, in the order of the story. Each is also",
            "reachable as `robustkit.<name>`, but for those in a module of a room.",
            "",
            *(line for page in pages for line in entry_of(page)),
            ".. toctree::",
            "   :hidden:",
            "",
            *(f"   {page}" for page in pages),
            "",
        ]
    )


def _room_of(module):
    return module.partition(".")[0]


def write(folder):
    """Write the index and a page a room; leave a page alone if nothing changed."""
    rooms = {}
    for room, names in robustkit._ROOMS.items():
        rooms |= {room: names} if names else {}
        rooms |= {m: f for m, f in robustkit._SUBMODULES.items() if _room_of(m) == room}
    exceptions = importlib.import_module("robustkit.exceptions")
    rooms["exceptions"] = exceptions.__all__
    pages = {room: page_of(room, names) for room, names in rooms.items()}
    pages["index"] = index_of(list(rooms))
    Path(folder).mkdir(exist_ok=True)
    for name, text in pages.items():
        path = Path(folder) / f"{name}.rst"
        if not path.exists() or path.read_text("utf-8") != text:
            path.write_text(text, "utf-8")
