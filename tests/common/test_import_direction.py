"""A room imports only the rooms above it."""

import ast
import subprocess
import sys

import pytest

from tests.common.architecture import (
    FLOORS,
    ROOT,
    WITHOUT_TORCH,
    files_of,
    may_import,
    present_rooms,
)

ROOMS = sorted(present_rooms())


def imported_rooms(source):
    """Rooms named by every import of a file, also those inside functions."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, "a relative import hides where it points"
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        else:
            continue
        for name in names:
            if name == "robustkit" or name.startswith("robustkit."):
                yield [*name.split("."), "__init__"][1]


def strangers(room, root=ROOT):
    """Imports of a room that point down, or sideways."""
    allowed = may_import(room) | {room}
    return {
        f"{path.relative_to(root)} imports {name}"
        for path in files_of(room, root)
        for name in imported_rooms(path.read_text("utf-8"))
        # `from robustkit import __version__` asks the map, which imports nothing.
        if name not in allowed and name != "__version__"
    }


@pytest.mark.parametrize("room", ROOMS)
def test_imports_only_above(room):
    assert not strangers(room)


def test_every_room_has_its_place():
    known = {room for rooms in FLOORS for room in rooms}
    assert present_rooms() <= known


@pytest.mark.parametrize(
    ("room", "line"),
    [
        ("graphs", "from robustkit.classifiers import SparseNetClassifier"),
        ("graphs", "import robustkit.attacks"),
        ("graphs", "import robustkit._tensors"),
        ("attacks", "def later():\n    from robustkit.regions import count_regions"),
        ("datasets", "from robustkit import GraphPrior"),
    ],
)
def test_guard_sees_an_import_that_points_down(room, line, tmp_path):
    folder = tmp_path / room
    folder.mkdir()
    (folder / "__init__.py").write_text(line)
    assert strangers(room, tmp_path)


def loads_torch(statement):
    """Whether a fresh interpreter has torch after running a statement."""
    code = f"import sys; {statement}; sys.exit('torch' in sys.modules)"
    return subprocess.run([sys.executable, "-c", code], check=False).returncode != 0


@pytest.mark.parametrize("room", ["", *sorted(set(WITHOUT_TORCH) & set(ROOMS))])
def test_loads_no_torch(room):
    assert not loads_torch(f"import robustkit.{room}".rstrip("."))


def test_guard_sees_torch():
    assert loads_torch("import robustkit._tensors")
