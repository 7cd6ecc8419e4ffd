"""Every question is answered with what the run holds."""

import json
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
    assert described["filters"][:3] == ["l2norm", "pca", "column 0"]


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


def test_questions_about_a_graph(client, run, answer):
    key = answer["graph"]
    body = {"graph": key, "nodes": [0, 1], "sort": "wrong"}
    members = client.post("api/members", json=body).json()
    assert members["total"] > 0
    found = client.get(f"api/search?graph={key}&sample=5").json()
    assert found["samples"] == [5]
    assert len(found["nodes"]) == len(found["held"])
    confused = client.get(f"api/search?graph={key}&true=3&predicted=4").json()
    expected = np.flatnonzero((run.y == 3) & (run.views[0].prediction == 4))
    assert confused["samples"] == expected.tolist()
    samples = client.get(f"api/samples?graph={key}&ids=7,3").json()["samples"]
    assert [sample["i"] for sample in samples] == [7, 3]
    other = ask_graph(client, view=1, tab="other").json()["graph"]
    body = {"graph": other, "from": key, "nodes": [0, 1]}
    there = client.post("api/where", json=body).json()
    assert there["total"] == members["total"]
    body = {"graph": other, "samples": [3, 7, 7]}
    assert client.post("api/where", json=body).json()["total"] == 2


def test_images_are_raw_bytes(client, run):
    for view, images in (
        ("0", run.images), ("clean", run.images), ("1", run.views[1].images),
    ):  # fmt: skip
        response = client.get(f"api/images?view={view}&ids=7,0,7")
        assert response.headers["content-type"] == "application/octet-stream"
        assert response.content == images[[7, 0, 7]].tobytes()


def test_a_curve(client):
    answer = client.post("api/curve", json=CURVE).json()
    assert answer["levels"] == [0.0, 0.5]
    assert answer["views"] == [2, 3]
    assert all(0 < purity <= 1 for purity in answer["purity"])
    expect_error(client.post("api/curve", json=CURVE | {"model": "M"}), 400)


@pytest.mark.parametrize("field", ["tab", "seq", "model"])
def test_a_curve_needs_to_know_whose_it_is(client, field):
    body = {name: value for name, value in CURVE.items() if name != field}
    message = expect_error(client.post("api/curve", json=body), 400)
    assert message == f"the field {field!r} is missing"


def test_a_run_without_images_says_so():
    view = View("M", 0, np.eye(9), np.zeros(9, int))
    run = make_run(y=np.zeros(9, int), views=[view])
    with served(run) as client:
        assert client.get("api/run").json()["has_images"] is False
        response = client.get("api/images?view=0&ids=0")
        assert expect_error(response, 404) == "this run has no images"


def test_files_to_take_away(client, run, answer):
    key = answer["graph"]
    response = client.get(f"api/export?graph={key}&format=json")
    assert (
        response.headers["content-disposition"] == 'attachment; filename="graph.json"'
    )
    assert json.loads(response.text)["title"] == TITLE
    response = client.get(f"api/export?graph={key}&format=graphml")
    assert response.headers["content-type"].startswith("text/xml")
    response = client.post("api/selection.csv", json={"graph": key, "nodes": [0, 2]})
    assert response.headers["content-type"] == "text/csv; charset=utf-8"
    response = client.get("api/page.html", params={**PARAMETERS})
    assert response.headers["content-disposition"].endswith('"robustkit.html"')
    assert response.text.startswith("<!doctype html>")
