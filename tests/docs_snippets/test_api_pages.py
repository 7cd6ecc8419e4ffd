"""Every public name has a page in the API reference."""

import importlib
import importlib.util
import inspect
import re

import pytest

import robustkit
from robustkit import exceptions
from tests.docs_snippets.pages import DOCS

ROOMS = {**robustkit._ROOMS, **robustkit._SUBMODULES, "exceptions": exceptions.__all__}


@pytest.fixture
def write_api():
    """The script that writes the reference while the documentation is built."""
    spec = importlib.util.spec_from_file_location("write_api", DOCS / "write_api.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def names_of(page):
    """What a page lists; sphinx makes a page of each."""
    return re.findall(r"^   (\w+)$", page.partition(":toctree: generated")[2], re.M)


@pytest.fixture
def pages(write_api, tmp_path):
    write_api.write(tmp_path)
    return {path.stem: path.read_text("utf-8") for path in tmp_path.iterdir()}


@pytest.mark.parametrize("room", ROOMS)
def test_the_page_of_a_room_lists_its_public_names(room, pages):
    assert names_of(pages[room]) == list(ROOMS[room])


def tables_of(index):
    """Room -> the names that its table on the first page lists."""
    table = (
        r"currentmodule:: robustkit\.(\S+)\n\n.*\n   :nosignatures:\n\n((?:   \w+\n)+)"
    )
    return {room: names.split() for room, names in re.findall(table, index)}


def test_the_first_page_lists_every_public_name_of_every_room(pages):
    assert tables_of(pages["index"]) == {r: list(names) for r, names in ROOMS.items()}


def test_a_name_that_the_first_page_lacks_is_seen(pages):
    index = pages["index"].replace("   PGDAttack\n", "")
    assert tables_of(index)["attacks"] != list(ROOMS["attacks"])


@pytest.mark.parametrize("room", ROOMS)
def test_every_public_name_has_a_summary_of_one_sentence(room):
    module = importlib.import_module(f"robustkit.{room}")
    for name in ROOMS[room]:
        line = inspect.getdoc(getattr(module, name)).splitlines()[0]
        assert line.endswith(".")
        assert 10 < len(line) < 100


def test_the_first_page_leads_to_every_room(pages):
    assert set(
        re.findall(r"^   ([\w.]+)$", pages["index"].partition(":hidden:")[2], re.M)
    ) == set(ROOMS)


def test_a_new_name_appears_by_itself(write_api, monkeypatch, tmp_path):
    rooms = {"graphs": (*robustkit._ROOMS["graphs"], "brand_new")}
    monkeypatch.setattr(robustkit, "_ROOMS", rooms)
    write_api.write(tmp_path)
    assert names_of((tmp_path / "graphs.rst").read_text("utf-8"))[-1] == "brand_new"
