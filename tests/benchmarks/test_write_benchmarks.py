"""The benchmark page shows what the store holds."""

import json
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import pytest

from tests.benchmarks.examples import BARE, ENTRY, GROWN

SOURCE = Path(__file__).parents[2] / "docs" / "write_benchmarks.py"


@pytest.fixture(scope="module")
def page():
    spec = spec_from_file_location("write_benchmarks", SOURCE)
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_a_room_has_its_tables_and_its_picture(page, tmp_path):
    source, target = tmp_path / "results.json", tmp_path / "_tables.rst"
    source.write_text(json.dumps({"sorting a lot": ENTRY, "waiting": BARE}))
    page.write(source, target, tmp_path / "_pictures")
    text = target.read_text("utf-8")
    assert text.count(".. list-table::") == 2
    assert ".. image:: _pictures/sorting_a_lot.svg" in text
    assert [path.name for path in tmp_path.glob("_pictures/*")] == ["sorting_a_lot.svg"]
    assert "Left out: quick is not installed" in text
    assert "   * - sort 1,000 numbers (in place)\n     - bubble 1.0\n" in text
    assert "   * - sort numbers; numbers 100, 1,000, 10,000 (theirs stopped" in text


def test_a_line_for_each_who_does_the_work_and_a_panel_for_each_work(page):
    quick = GROWN | {"peer": "quick 2.0, in C", "theirs": [0.1, 0.2, 0.3]}
    other = GROWN | {"name": "count", "theirs": []}
    axes = page.draw([GROWN, quick, other]).axes
    assert [ax.get_title() for ax in axes] == ["sort numbers", "count"]
    labels = [[line.get_label() for line in ax.lines] for ax in axes]
    assert labels[0] == ["robustkit: 1.00", "bubble 1.0: 2.00", "quick 2.0: 0.24"]
    assert labels[1] == ["robustkit: 1.00", "bubble 1.0"]
    assert len(axes[0].lines[1].get_xdata()) == 2
    assert {(ax.get_xscale(), ax.get_yscale()) for ax in axes} == {("log", "log")}
