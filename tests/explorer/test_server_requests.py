"""What is sent is refused, with the reason, unless it makes sense."""

import pytest

from tests.explorer.conftest import CURVE, PARAMETERS, ask_graph, expect_error


def post(client, content, name="graph", content_type="application/json"):
    headers = {"Content-Type": content_type}
    return client.post(f"api/{name}", content=content, headers=headers)


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"\xff\xfe", b"[" * 100_000, b'{"seq": NaN}', b'{"seq": Infinity}',
     b'{"seq": ' + b"9" * 5000 + b"}", b"{} {}", b"\x00"],
)  # fmt: skip
def test_invalid_json_is_rejected(client, content):
    assert expect_error(post(client, content), 400) == "the request is no JSON"


@pytest.mark.parametrize("content", [b"[]", b"3", b"null", b'"x"', b"true"])
def test_json_must_be_an_object(client, content):
    assert "must be a JSON object" in expect_error(post(client, content), 400)


@pytest.mark.parametrize("name", ["graph", "purities"])
def test_form_content_types_are_rejected(client, name):
    """The types that a page of the web may send without asking first."""
    for content_type in ("text/plain", "application/x-www-form-urlencoded", ""):
        response = post(client, b"{}", name, content_type)
        assert "must be application/json" in expect_error(response, 400)


def test_large_request_is_rejected(client):
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
     ("seq", 0.5), ("veiw", 0), ("second_filter", "umap"), ("second_filter", 3)],
)  # fmt: skip
def test_invalid_graph_parameter_is_named(client, field, value):
    message = expect_error(ask_graph(client, **{field: value}), 400)
    assert repr(field) in message
    assert len(message) < 400


@pytest.mark.parametrize("n", [0, 51, 2.5, "x", None])
def test_intervals_of_a_second_filter_are_checked(client, n):
    changes = {"second_filter": "pca", "second_intervals": n}
    message = expect_error(ask_graph(client, **changes), 400)
    assert "the field 'second_intervals' must be an integer from 1 to 50" in message


def test_a_second_filter_is_answered_with_its_intervals(client):
    body = ask_graph(client, second_filter="column 1", second_intervals=3).json()
    assert body["parameters"]["second_filter"] == "column 1"
    nodes = body["nodes"]
    assert set(nodes["second_interval"]) <= {0, 1, 2}
    assert len(nodes["second_filter_mean"]) == len(nodes["size"]) > 0
    # Without a second filter, its number of intervals is no matter.
    alone = ask_graph(client, second_filter="none", second_intervals=3).json()
    assert alone["graph"] == ask_graph(client).json()["graph"]
    assert "second_interval" not in alone["nodes"]


@pytest.mark.parametrize("field", ["tab", "pane", "seq", "view", *PARAMETERS])
def test_missing_graph_parameter_is_named(client, field):
    body = {"tab": "t", "pane": "left", "seq": 0, "view": 0, **PARAMETERS}
    del body[field]
    message = expect_error(client.post("api/graph", json=body), 400)
    assert message == f"the field {field!r} is missing"


QUERIES = {
    "column?view=0": "'name' is missing",
    "column?name=activations&view=0": "'name' must be one of y, prediction",
    "column?name=__class__&view=0": "'name' must be one of",
    "column?name=prediction": "'view' is missing",
    "column?name=prediction&view=4": "'view' must be",
    "column?name=prediction&view=../0": "'view' must be",
    "column?name=y&path=/etc/passwd": "unknown field 'path'",
    "images?view=4&ids=0": "'view' must be",
    "images?view=dirty&ids=0": "'view' must be",
    "images?view=0": "'ids' is missing",
    "images?view=0&ids=400": "'ids' must be",
    "images?view=0&ids=99999999999999999999": "'ids' must be",
    "images?view=0&ids=" + "0," * 500 + "0": "'ids' must be at most 500",
    "images?view=../0&ids=0": "'view' must be",
    "page.html?filter=l2norm": "is missing",
    "page.html?filter=l2norm&cover=uniform&n_intervals=8&overlap=NaN&eps=2"
    "&min_samples=3": "'overlap' must be",
    "run?x=1": "unknown field 'x'",
    "members?graph=K&graph=K": "a field was given twice",
    "members?graph=K&path=/etc/passwd": "unknown field 'path'",
    "members?graph=" + "K" * 65: "'graph' must be a string",
    "members": "'graph' is missing",
}


@pytest.mark.parametrize("query", QUERIES)
def test_invalid_query_is_rejected(client, query):
    assert QUERIES[query] in expect_error(client.get(f"api/{query}"), 400)


@pytest.mark.parametrize(
    "views",
    [None, [99999], [-1], ["a"], [1e3], [True], [0] * 5, "x", [0.5], [[0]], {}],
)
def test_invalid_views_are_rejected(client, views):
    response = client.post("api/purities", json=CURVE | {"views": views})
    assert "'views' must be" in expect_error(response, 400)


@pytest.mark.parametrize("key", ["abc", "../manifest", "%00"])
def test_unknown_graph_is_404(client, key):
    message = expect_error(client.get(f"api/members?graph={key}"), 404)
    assert message == "the graph was forgotten; ask for it anew"
