"""What is taken away is complete, and harmless whatever the names are."""

import csv
import io
import json
import re
from base64 import b64decode

import networkx as nx
import numpy as np
import pytest

from robustkit.explorer import _page_file as module
from robustkit.explorer import export_html
from robustkit.explorer._export import (
    graph_as_dict,
    graph_as_graphml,
    selection_as_csv,
)
from robustkit.explorer._graphs import Graphs
from robustkit.explorer._page_file import page_as_html, page_data, static_files
from robustkit.topology import MapperGraph
from tests.explorer.conftest import NASTY, TITLE
from tests.explorer.test_graphs import BASE


@pytest.fixture
def graph(graphs):
    return graphs.compute(BASE)


def test_json_holds_all_there_is(run, graph):
    described = json.loads(json.dumps(graph_as_dict(run, graph), allow_nan=False))
    assert (described["model"], described["level"]) == ("M_clean", 0.0)
    assert (described["eps"], described["n_intervals"]) == (2.0, 8)
    assert described["class_names"] == run.class_names
    for j, node in enumerate(described["nodes"]):
        assert node["id"] == j
        assert node["samples"] == graph.samples_of([j]).tolist()
        assert node["counts"] == graph.counts[j].tolist()
    edges = [(e["source"], e["target"]) for e in described["edges"]]
    assert edges == list(map(tuple, graph.edges.tolist()))


def test_graphml_is_read_again(run, graph):
    plain = nx.parse_graphml(graph_as_graphml(run, graph), node_type=int)
    assert sorted(plain.edges) == sorted(map(tuple, graph.edges.tolist()))
    for j, node in plain.nodes(data=True):
        assert node["size"] == graph.size[j]
        assert [node[f"count_{i}"] for i in range(10)] == graph.counts[j].tolist()
    # Markup stays text, and XML has no null.
    assert {NASTY, "nul�"} <= {name for _, name in plain.nodes(data="majority")}


def test_csv_holds_the_samples_of_the_nodes(run, graph):
    text = selection_as_csv(run, graph, [0, 1, 2])
    rows = list(csv.DictReader(io.StringIO(text)))
    assert [int(row["sample"]) for row in rows] == graph.samples_of([0, 1, 2]).tolist()
    for row in rows:
        i = int(row["sample"])
        name = run.class_names[run.y[i]]
        assert row["true"] == (f"'{name}" if name == "=1+1" else name)
        assert (row["wrong"] == "1") == (run.y[i] != run.views[0].prediction[i])
        assert int(row["region"]) == run.views[0].regions[i]


def test_no_cell_is_a_formula(run, graphs):
    everything = graphs.compute(BASE)
    text = selection_as_csv(run, everything, range(everything.n_nodes))
    cells = {cell for row in csv.reader(io.StringIO(text)) for cell in row}
    assert "-4" in cells
    assert not [cell for cell in cells if cell.startswith(("=", "+", "@"))]


def decode(text, dtype):
    return np.frombuffer(b64decode(text), dtype)


def test_the_page_holds_every_view(run, graphs):
    data = json.loads(json.dumps(page_data(run, graphs, BASE), allow_nan=False))
    assert data["run"]["embedded"] is True
    np.testing.assert_array_equal(decode(data["y"], "<i4"), run.y)
    assert sorted(data["views"]) == ["0", "1", "2", "3"]
    for i, view in data["views"].items():
        own = run.views[int(i)]
        np.testing.assert_array_equal(decode(view["prediction"], "<i4"), own.prediction)
        np.testing.assert_array_equal(decode(view["confidence"], "<f4"), own.confidence)
        offsets = decode(view["offsets"], "<i4")
        assert np.diff(offsets).tolist() == view["graph"]["nodes"]["size"]
        assert len(decode(view["members"], "<i4")) == offsets[-1]
        assert (view["regions"] is None) == (own.regions is None)
    assert sorted(data["images"]["views"]) == ["1", "3"]
    np.testing.assert_array_equal(decode(data["images"]["ids"], "<i4"), range(400))
    assert b64decode(data["images"]["clean"]) == run.images.tobytes()


def test_levels_of_one_model_share_places(run, graphs):
    views = page_data(run, graphs, BASE)["views"]
    ids = [set(views[i]["graph"]["nodes"]["id"]) for i in ("0", "1")]
    assert ids[0] & ids[1]


def test_images_stay_within_their_budget(run, graphs, monkeypatch):
    monkeypatch.setattr(module, "_IMAGE_BUDGET", 64 * 3 * 10)
    images = page_data(run, graphs, BASE)["images"]
    ids = decode(images["ids"], "<i4")
    assert len(ids) == 10
    assert b64decode(images["views"]["3"]) == run.views[3].images[ids].tobytes()


def test_the_page_asks_for_nothing(run, graphs):
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
    expected = {f"robustkit/{name}" for name in names - {"transport_embedded.js"}}
    assert set(parts) == expected
    for address in parts.values():
        text = b64decode(address.partition("base64,")[2]).decode()
        for imported in re.findall('from "([^"]*)"', text):
            assert imported in parts
    assert (
        "fetch("
        not in b64decode(
            parts["robustkit/transport.js"].partition("base64,")[2]
        ).decode()
    )


def test_names_with_markup_are_data(run, graphs):
    page = page_as_html(run, graphs, BASE)
    assert TITLE not in page
    assert NASTY not in page
    data = re.search('id="robustkit-data">(.*?)</script>', page, re.DOTALL)[1]
    assert "<" not in data
    assert json.loads(data)["run"]["title"] == TITLE


def test_a_page_is_written_with_the_parameters_of_a_mapper(run, tmp_path):
    mapper = MapperGraph(n_intervals=5, eps=2.0)
    path = export_html(run, tmp_path / "page.html", mapper=mapper)
    text = path.read_text("utf-8")
    assert '"n_intervals":5' in text
    assert page_as_html(run, Graphs(run, mapper), module.GraphParameters(
        0, "l2norm", "uniform", 5, 0.3, 2.0, 5)) == text  # fmt: skip


def test_a_page_that_lacks_a_part_is_not_written(run, graphs, monkeypatch, tmp_path):
    (tmp_path / "index.html").write_text("<head></head>")
    files = static_files() | {"index.html": tmp_path / "index.html"}
    monkeypatch.setattr(module, "static_files", lambda: files)
    with pytest.raises(RuntimeError, match="must hold <link"):
        page_as_html(run, graphs, BASE)
