"""Every public name has one home, and the map tells the truth about it."""

import importlib
from collections import Counter

import pytest

import robustkit
from tests.common.architecture import ROOT, present_rooms
from tests.common.public_api import public_objects

MODULES = robustkit._ROOMS | robustkit._SUBMODULES
OF_ROOMS = list(public_objects(robustkit._ROOMS))


@pytest.mark.parametrize("module", MODULES)
def test_map_and_module_agree(module):
    names = importlib.import_module(f"robustkit.{module}").__all__
    assert sorted(MODULES[module]) == sorted(names)


def test_every_public_module_of_a_room_is_on_the_map():
    public = {
        ".".join(path.relative_to(ROOT).with_suffix("").parts)
        for path in ROOT.glob("*/*.py")
        if not path.name.startswith("_")
    }
    assert public == set(robustkit._SUBMODULES)


def test_every_public_room_is_on_the_map():
    without_names = {"cli", "__main__", "exceptions"}
    rooms = {room for room in present_rooms() if not room.startswith("_")}
    assert rooms - without_names == set(robustkit._ROOMS)


def with_two_homes(rooms):
    """Names that two rooms offer, or that a room itself bears."""
    homes = Counter(name for names in rooms.values() for name in names)
    return [name for name, n in homes.items() if n > 1 or name in rooms]


def test_a_name_has_one_home():
    assert not with_two_homes(robustkit._ROOMS)


def test_guard_sees_a_name_with_two_homes():
    rooms = {"graphs": ("GraphPrior", "attacks"), "attacks": ("GraphPrior",)}
    assert sorted(with_two_homes(rooms)) == ["GraphPrior", "attacks"]


@pytest.mark.parametrize(("path", "thing"), OF_ROOMS)
def test_lives_in_a_private_file_of_its_room(path, thing):
    """So that the documentation link of an estimator finds its page."""
    if not hasattr(thing, "__module__"):
        return
    room = path.rpartition(".")[0]
    assert thing.__module__.startswith(f"{room}._"), thing.__module__


@pytest.mark.parametrize(("path", "thing"), OF_ROOMS)
def test_is_reachable_from_the_top(path, thing):
    assert getattr(robustkit, path.rpartition(".")[2]) is thing
    assert path.rpartition(".")[2] in dir(robustkit)


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="has no attribute 'GraphPrier'"):
        robustkit.GraphPrier  # noqa: B018
