"""The map of the package, as data: the guards and the docs both read it."""

from pathlib import Path

import robustkit

ROOT = Path(robustkit.__file__).parent

FOUNDATIONS = (
    "exceptions",
    "_sklearn_private",
    "_validation",
    "_threads",
    "_randomness",
    "_tensors",
    "_samples",
    "_summary",
)

# In the order in which a reader meets them. An import points only up this list.
# Rooms on one line are siblings: none imports another.
FLOORS = (
    FOUNDATIONS,
    ("datasets",),
    ("graphs",),
    ("networks",),
    ("bridge",),
    ("classifiers",),
    ("bounds",),
    ("attacks", "regions", "topology"),
    ("defenses",),
    ("correlation",),
    ("plotting",),
    ("study",),
    ("explorer",),
    ("cli", "__main__"),
)

# Rooms that must work, and load, without torch.
WITHOUT_TORCH = ("datasets", "graphs", "correlation")


def floor_of(room):
    """Index into `FLOORS`."""
    return next(i for i, rooms in enumerate(FLOORS) if room in rooms)


def may_import(room):
    """Names of the rooms that `room` may import, itself left out."""
    floor = floor_of(room)
    above = {name for rooms in FLOORS[:floor] for name in rooms}
    if room in FOUNDATIONS:
        return set(FOUNDATIONS[: FOUNDATIONS.index(room)])
    if room == "__main__":
        return above | {"cli"}
    if room in WITHOUT_TORCH:
        return above - {"_tensors", *_rooms_with_torch()}
    return above


def _rooms_with_torch():
    return {name for rooms in FLOORS[1:] for name in rooms if name not in WITHOUT_TORCH}


def present_rooms(root=ROOT):
    """Rooms that exist in a checkout."""
    return {
        path.stem if path.suffix else path.name
        for path in root.iterdir()
        if path.suffix == ".py" or (path / "__init__.py").exists()
    } - {"__init__"}


def files_of(room, root=ROOT):
    """Every source file of a room."""
    single = root / f"{room}.py"
    return [single] if single.exists() else sorted((root / room).rglob("*.py"))
