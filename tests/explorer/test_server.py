"""Every question is answered with what the run holds."""

import socket

import httpx
import numpy as np
import pytest

from robustkit.explorer import View
from robustkit.explorer._run import make_run
from tests.explorer.conftest import (
    CLASS_NAMES,
    CURVE,
    PARAMETERS,
    TITLE,
    ask_graph,
    expect_error,
    served,
)
from tests.processes import PATIENCE


def test_answers_do_not_wait_for_an_acknowledgement(explorer, monkeypatch):
    """The kernel would hold an answer's body back for 40 ms."""
    accept, without_delay = socket.socket.accept, []

    def look(listening):
        connection, address = accept(listening)
        option = (socket.IPPROTO_TCP, socket.TCP_NODELAY)
        without_delay.append(connection.getsockopt(*option))
        return connection, address

    monkeypatch.setattr(socket.socket, "accept", look)
    # A connection of its own: that of `client` is there already.
    httpx.get(explorer.url, timeout=PATIENCE)
    assert without_delay == [1]


def test_the_run_is_described(client):
    described = client.get("api/run").json()
    assert described["title"] == TITLE
    assert described["class_names"] == CLASS_NAMES
    assert described["models"] == ["M_clean", "M_adv"]
    assert described["image_shape"] == [1, 8, 8]
    assert [view["id"] for view in described["views"]] == [0, 1, 2, 3]
    assert [view["has_regions"] for view in described["views"]] == [True] + 3 * [False]
    assert described["defaults"]["eps"] == "auto"
    assert described["limits"]["n_intervals"] == [2, 200]
    assert described["filters"][:4] == ["l2norm", "pca", "pc2", "column 0"]


def test_a_graph_is_described(client, graphs, answer):
    graph, nodes = graphs.find(answer["graph"]), answer["nodes"]
    assert {len(column) for column in nodes.values()} == {graph.n_nodes}
    assert nodes["size"] == graph.size.tolist()
    assert nodes["counts"] == graph.counts.tolist()
    assert nodes["id"] == list(range(graph.n_nodes))
    edges = np.column_stack([answer["edges"]["source"], answer["edges"]["target"]])
    np.testing.assert_array_equal(edges, graph.edges)
    assert answer["n_noise"] + answer["n_in_nodes"] == graph.n_samples
    assert (answer["eps"], answer["note"]) == (2.0, "")


def test_an_automatic_distance_is_told(client):
    answer = ask_graph(client, eps="auto", tab="auto").json()
    assert answer["eps"] > 0


def test_members_are_raw_numbers(client, graphs, answer):
    response = client.get(f"api/members?graph={answer['graph']}")
    assert response.headers["content-type"] == "application/octet-stream"
    graph = graphs.find(answer["graph"])
    np.testing.assert_array_equal(np.frombuffer(response.content, "<i4"), graph.members)
    assert answer["nodes"]["size"] == np.diff(graph.indptr).tolist()
    # What was not asked for has its default.
    alone = {"second_filter": "none", "second_intervals": 10}
    assert answer["parameters"] == {"view": 0, **PARAMETERS, **alone}


@pytest.mark.parametrize(
    ("name", "dtype"),
    [("y", "<i4"), ("prediction", "<i4"), ("confidence", "<f4"), ("regions", "<f8")],
)
def test_columns_are_raw_numbers(client, run, name, dtype):
    query = "" if name == "y" else "&view=0"
    response = client.get(f"api/column?name={name}{query}")
    assert response.headers["content-type"] == "application/octet-stream"
    expected = run.y if name == "y" else getattr(run.views[0], name)
    np.testing.assert_array_equal(np.frombuffer(response.content, dtype), expected)


def test_view_without_regions_says_so(client):
    response = client.get("api/column?name=regions&view=1")
    assert expect_error(response, 404) == "this view has no regions"


def test_images_are_raw_bytes(client, run):
    for view, images in (
        ("0", run.images), ("clean", run.images), ("1", run.views[1].images),
    ):  # fmt: skip
        response = client.get(f"api/images?view={view}&ids=7,0,7")
        assert response.headers["content-type"] == "application/octet-stream"
        assert response.content == images[[7, 0, 7]].tobytes()


def test_purities_of_the_graphs_of_some_views(client, graphs):
    answer = client.post("api/purities", json=CURVE).json()
    keys = [
        ask_graph(client, view=view, tab="purities").json()["graph"] for view in (2, 3)
    ]
    assert answer["purities"] == [graphs.find(key).mean_purity for key in keys]
    expect_error(client.post("api/purities", json=CURVE | {"views": [4]}), 400)


@pytest.mark.parametrize("field", ["tab", "seq", "views"])
def test_purities_need_tab_seq_and_views(client, field):
    body = {name: value for name, value in CURVE.items() if name != field}
    message = expect_error(client.post("api/purities", json=body), 400)
    assert message == f"the field {field!r} is missing"


def test_a_run_without_images_says_so():
    view = View("M", 0, np.eye(9), np.zeros(9, int))
    run = make_run(y=np.zeros(9, int), views=[view])
    with served(run) as client:
        assert client.get("api/run").json()["has_images"] is False
        response = client.get("api/images?view=0&ids=0")
        assert expect_error(response, 404) == "this run has no images"


def test_page_to_take_away(client):
    response = client.get("api/page.html", params={**PARAMETERS})
    assert response.headers["content-disposition"].endswith('"robustkit.html"')
    assert response.headers["content-type"] == "text/html; charset=utf-8"
    assert response.text.startswith("<!doctype html>")
