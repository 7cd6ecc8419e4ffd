"""What is sent is refused, with the reason, unless it makes sense."""

import pytest

from tests.explorer.conftest import PARAMETERS, ask_graph, expect_error


def post(client, content, name="graph", content_type="application/json"):
    headers = {"Content-Type": content_type}
    return client.post(f"api/{name}", content=content, headers=headers)


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"\xff\xfe", b"[" * 100_000, b'{"seq": NaN}', b'{"seq": Infinity}',
     b'{"seq": ' + b"9" * 5000 + b"}", b"{} {}", b"\x00"],
)  # fmt: skip
def test_what_is_no_json_is_refused(client, content):
    assert expect_error(post(client, content), 400) == "the request is no JSON"


@pytest.mark.parametrize("content", [b"[]", b"3", b"null", b'"x"', b"true"])
def test_what_is_no_object_is_refused(client, content):
    assert "must be a JSON object" in expect_error(post(client, content), 400)


@pytest.mark.parametrize(
    "name", ["graph", "members", "where", "curve", "selection.csv"]
)
def test_a_form_of_another_site_is_refused(client, name):
    """The types that a page of the web may send without asking first."""
    for content_type in ("text/plain", "application/x-www-form-urlencoded", ""):
        response = post(client, b"{}", name, content_type)
        assert "must be application/json" in expect_error(response, 400)


def test_a_large_request_is_refused(client):
    content = b'{"tab": "' + b"x" * 2**20 + b'"}'
    assert "larger than" in expect_error(post(client, content), 413)
    chunks = (b" " * 2**16 for _ in range(2**5))
    assert "larger than" in expect_error(post(client, chunks), 413)


@pytest.mark.parametrize(
    ("field", "value"),
    [("view", 4), ("view", -1), ("view", "x"), ("view", 1.5), ("view", None),
     ("view", True), ("view", 10**400), ("filter", "umap"), ("filter", 3),
     ("filter", "column 6"), ("filter", "given"), ("cover", "magic"), ("cover", []),
     ("n_intervals", 1), ("n_intervals", 201), ("n_intervals", 8.5), ("overlap", 0),
     ("overlap", 0.95), ("overlap", "0.3"), ("eps", 0), ("eps", -1), ("eps", "x"),
     ("eps", 1e13), ("eps", None), ("eps", [2.0]), ("eps", True), ("min_samples", 0),
     ("min_samples", 51), ("min_samples", {}), ("tab", ""), ("tab", "x" * 65),
     ("tab", 7), ("pane", "top"), ("pane", None), ("seq", -1), ("seq", 2**54),
     ("seq", 0.5), ("veiw", 0)],
)  # fmt: skip
def test_a_parameter_that_makes_no_sense_is_named(client, field, value):
    message = expect_error(ask_graph(client, **{field: value}), 400)
    assert repr(field) in message
    assert len(message) < 400


@pytest.mark.parametrize("field", ["tab", "pane", "seq", "view", *PARAMETERS])
def test_a_missing_parameter_is_named(client, field):
    body = {"tab": "t", "pane": "left", "seq": 0, "view": 0, **PARAMETERS}
    del body[field]
    message = expect_error(client.post("api/graph", json=body), 400)
    assert message == f"the field {field!r} is missing"


QUERIES = {
    "search?graph=K": "'true' is missing",
    "search?graph=K&sample=400": "'sample' must be",
    "search?graph=K&sample=99999999999999999999": "'sample' must be",
    "search?graph=K&true=0": "'predicted' is missing",
    "search?graph=K&true=10&predicted=0": "'true' must be",
    "samples?graph=K&ids=400": "'ids' must be",
    "images?view=4&ids=0": "'view' must be",
    "images?view=dirty&ids=0": "'view' must be",
    "images?view=0": "'ids' is missing",
    "images?view=0&ids=400": "'ids' must be",
    "images?view=0&ids=" + "0," * 500 + "0": "'ids' must be at most 500",
    "images?view=../0&ids=0": "'view' must be",
    "export?graph=K": "'format' is missing",
    "export?graph=K&format=exe": "'format' must be one of",
    "page.html?filter=l2norm": "is missing",
    "page.html?filter=l2norm&cover=uniform&n_intervals=8&overlap=NaN&eps=2"
    "&min_samples=3": "'overlap' must be",
    "run?x=1": "unknown field 'x'",
    "search?graph=K&sample=0&sample=1": "a field was given twice",
    "samples?graph=K&ids=0&path=/etc/passwd": "unknown field 'path'",
    "export?format=json": "'graph' is missing",
}


@pytest.mark.parametrize("query", QUERIES)
def test_a_query_that_makes_no_sense_is_refused(client, answer, query):
    response = client.get(f"api/{query}".replace("graph=K", f"graph={answer['graph']}"))
    assert QUERIES[query] in expect_error(response, 400)


BODIES = [
    ("members", {}, "'nodes' is missing"),
    ("members", {"nodes": [99999]}, "'nodes' must be"),
    ("members", {"nodes": [-1]}, "'nodes' must be"),
    ("members", {"nodes": ["a"]}, "'nodes' must be"),
    ("members", {"nodes": [1e3]}, "'nodes' must be"),
    ("members", {"nodes": [True]}, "'nodes' must be"),
    ("members", {"nodes": [0] * 20000}, "'nodes' must be"),
    ("members", {"nodes": [0], "limit": 0}, "'limit' must be"),
    ("members", {"nodes": [0], "limit": 501}, "'limit' must be"),
    ("members", {"nodes": [0], "offset": -1}, "'offset' must be"),
    ("members", {"nodes": [0], "sort": "size"}, "'sort' must be one of"),
    ("members", {"nodes": [0], "path": "/etc/passwd"}, "unknown field 'path'"),
    ("members", {"nodes": [0], "graph": 3}, "'graph' must be a string"),
    ("selection.csv", {}, "'nodes' is missing"),
    ("selection.csv", {"nodes": [99999]}, "'nodes' must be"),
]


@pytest.mark.parametrize(("name", "body", "message"), BODIES)
def test_a_body_that_makes_no_sense_is_refused(client, answer, name, body, message):
    response = client.post(f"api/{name}", json={"graph": answer["graph"], **body})
    assert message in expect_error(response, 400)


FORGOTTEN = "the graph was forgotten; ask for it anew"


@pytest.mark.parametrize(
    "query", ["search?sample=1&", "samples?ids=1&", "export?format=json&"]
)
@pytest.mark.parametrize("key", ["abc", "../manifest", "%00"])
def test_a_graph_that_is_not_there(client, query, key):
    assert expect_error(client.get(f"api/{query}graph={key}"), 404) == FORGOTTEN


@pytest.mark.parametrize("name", ["members", "selection.csv", "where"])
def test_nodes_of_a_graph_that_is_not_there(client, name):
    body = {"graph": "../manifest", "nodes": [0]}
    assert expect_error(client.post(f"api/{name}", json=body), 404) == FORGOTTEN


@pytest.mark.parametrize(
    "body",
    [{}, {"samples": [400]}, {"samples": [-1]}, {"samples": "x"}, {"samples": [0.5]},
     {"samples": [[0]]}, {"samples": None}, {"from": "K"}, {"from": 3, "nodes": [0]},
     {"from": "K", "nodes": [10**6]}, {"samples": [0] * 401}],
)  # fmt: skip
def test_where_refuses(client, answer, body):
    body = {"graph": answer["graph"], **body}
    if body.get("from") == "K":
        body["from"] = answer["graph"]
    expect_error(client.post("api/where", json=body), 400)
