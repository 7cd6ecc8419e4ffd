"""What the page is given is complete, and harmless whatever the names are."""

import json
import re
from base64 import b64decode
from dataclasses import replace

import numpy as np
import pytest

from robustkit.explorer import _page as module
from robustkit.explorer import export_html, save_run
from robustkit.explorer._graphs import GraphParameters, Graphs
from robustkit.explorer._page import page_as_html, page_data, static_files
from robustkit.topology import MapperGraph
from tests.explorer.conftest import NASTY, TITLE
from tests.explorer.test_graphs import BASE


def decode(text, dtype):
    return np.frombuffer(b64decode(text), dtype)


def test_page_holds_every_view(run, graphs):
    data = json.loads(json.dumps(page_data(run, graphs, BASE), allow_nan=False))
    assert data["run"]["embedded"] is True
    columns = data["columns"]
    np.testing.assert_array_equal(decode(columns["y"], "<i4"), run.y)
    assert sorted(data["graphs"]) == ["0", "1", "2", "3"]
    for i, graph in data["graphs"].items():
        own = run.views[int(i)]
        for name, dtype in (("prediction", "<i4"), ("confidence", "<f4")):
            column = decode(columns[f"{name} {i}"], dtype)
            np.testing.assert_array_equal(column, getattr(own, name))
        members = decode(data["members"][graph["graph"]], "<i4")
        computed = graphs.compute(replace(BASE, view=int(i)))
        np.testing.assert_array_equal(members, computed.members)
        assert sum(graph["nodes"]["size"]) == len(members)
        assert (f"regions {i}" in columns) == (own.regions is not None)
    np.testing.assert_array_equal(
        decode(columns["regions 0"], "<f8"), run.views[0].regions
    )
    images = data["images"]
    assert sorted(images["bytes"]) == ["1", "3", "clean"]
    np.testing.assert_array_equal(decode(images["ids"], "<i4"), range(400))
    assert b64decode(images["bytes"]["clean"]) == run.images.tobytes()


def test_levels_of_one_model_share_places(run, graphs):
    shown = page_data(run, graphs, BASE)["graphs"]
    ids = [set(shown[i]["nodes"]["id"]) for i in ("0", "1")]
    assert ids[0] & ids[1]


def test_images_stay_within_their_budget(run, graphs, monkeypatch):
    monkeypatch.setattr(module, "_IMAGE_BUDGET", 64 * 3 * 10)
    images = page_data(run, graphs, BASE)["images"]
    ids = decode(images["ids"], "<i4")
    assert len(ids) == 10
    assert b64decode(images["bytes"]["3"]) == run.views[3].images[ids].tobytes()


def test_exported_page_requests_nothing(run, graphs):
    page = page_as_html(run, graphs, BASE)
    assert page.count("Content-Security-Policy") == 1
    assert page.index("Content-Security-Policy") < page.index("<script")
    policy = re.search('content="(default-src[^"]*)"', page)[1]
    assert policy.startswith("default-src 'none'; script-src 'unsafe-inline' data:;")
    assert "http" not in policy
    # Nothing is loaded from elsewhere, by an attribute or by an import.
    outside_data = re.sub('"data:text/javascript[^"]*"', '""', page)
    assert not re.search(r'(src|href)\s*=\s*"(?!#|data:)', outside_data)
    parts = json.loads(re.search('importmap">(.*?)</script>', page)[1])["imports"]
    names = {name for name in static_files() if name.endswith(".js")}
    others = {"data_from_server.js", "data_from_notebook.js", "widget.js"}
    assert set(parts) == {f"robustkit/{name}" for name in names - others}
    for address in parts.values():
        text = b64decode(address.partition("base64,")[2]).decode()
        assert "fetch(" not in text
        for imported in re.findall('^import .* from "([^"]*)"', text, re.MULTILINE):
            assert imported in parts


def test_one_module_alone_asks_the_server():
    texts = {name: path.read_text("utf-8") for name, path in static_files().items()}
    assert [n for n, text in texts.items() if "fetch(" in text] == [
        "data_from_server.js"
    ]
    assert not [n for n, text in texts.items() if re.search(r"\.innerHTML\b", text)]


def test_exported_page_escapes_markup(run, graphs):
    page = page_as_html(run, graphs, BASE)
    assert TITLE not in page
    assert NASTY not in page
    data = re.search('id="robustkit-data">(.*?)</script>', page, re.DOTALL)[1]
    assert "<" not in data
    assert json.loads(data)["run"]["title"] == TITLE


def test_a_page_is_written_from_a_folder_and_from_a_mapper(run, tmp_path):
    mapper = MapperGraph(n_intervals=5, eps=2.0)
    pages = []
    for given in (run, save_run(tmp_path / "run", run)):
        path = export_html(given, tmp_path / "page.html", mapper=mapper)
        pages.append(path.read_text("utf-8"))
    assert pages[0] == pages[1]
    mapper.fit(run.views[0].activations)
    names = [f"class {k}" for k in range(10)]
    path = export_html(mapper, tmp_path / "page.html", y=run.y, class_names=names)
    data = re.search(r'id="robustkit-data">(.*?)</script>', path.read_text("utf-8"))
    page = json.loads(data[1])
    assert page["run"]["class_names"] == names
    assert page["run"]["defaults"]["n_intervals"] == 5
    assert [column["name"] for column in page["run"]["columns"]] == [
        f"x{k}" for k in range(6)
    ]
    with pytest.raises(ValueError, match="'class_names' go with a MapperGraph"):
        export_html(run, tmp_path / "page.html", y=run.y)


def test_a_page_is_written_with_the_parameters_of_a_mapper(run, tmp_path):
    mapper = MapperGraph(n_intervals=5, eps=2.0)
    path = export_html(run, tmp_path / "page.html", mapper=mapper)
    text = path.read_text("utf-8")
    assert '"n_intervals":5' in text
    assert page_as_html(run, Graphs(run, mapper), GraphParameters(
        0, "l2norm", "uniform", 5, 0.3, 2.0, 5)) == text  # fmt: skip


def test_incomplete_template_is_an_error(run, graphs, monkeypatch, tmp_path):
    (tmp_path / "index.html").write_text("<head></head>")
    files = static_files() | {"index.html": tmp_path / "index.html"}
    monkeypatch.setattr(module, "static_files", lambda: files)
    with pytest.raises(RuntimeError, match="must hold <link"):
        page_as_html(run, graphs, BASE)
