"""Every request is answered as it should be, and every other one is refused."""

import json
import socket
import threading
import time
from urllib.parse import urlsplit

import httpx
import numpy as np
import pytest

from robustkit.explorer import View
from robustkit.explorer import _server as server_module
from robustkit.explorer._run import make_run
from tests.explorer.conftest import CLASS_NAMES, PARAMETERS, TITLE, ask_graph, served


def expect_error(response, status):
    """The one line that says why."""
    assert response.status_code == status
    assert response.headers["content-type"] == "application/json"
    ((name, message),) = response.json().items()
    assert name == "error"
    assert "\n" not in message
    return message


def test_answers_do_not_wait_for_an_acknowledgement(client):
    """The kernel would hold an answer's body back for 40 ms."""
    seconds = []
    for _ in range(9):
        start = time.perf_counter()
        client.get("static/format.js")
        seconds.append(time.perf_counter() - start)
    assert min(seconds) < 0.03


# Who may ask.


@pytest.mark.parametrize(
    "path",
    ["/", "/static/style.css", "/api/run", "/x/", "/{short}/", "/{token}x/", "/{token}",
     "//{token}/", "/%2e%2e/{token}/", "/{upper}/"],
)  # fmt: skip
def test_without_the_token_there_is_nothing(explorer, path):
    url = urlsplit(explorer.url)
    token = url.path.strip("/")
    path = path.format(token=token, short=token[:-1], upper=token.swapcase())
    response = httpx.get(f"{url.scheme}://{url.netloc}{path}")
    expect_error(response, 404)
    assert token not in response.text


@pytest.mark.parametrize(
    "host",
    ["evil.example", "evil.example:{port}", "127.0.0.1", "127.0.0.1:1", "localhost:0",
     "localhost.evil.example:{port}", "127.0.0.1:{port}.evil.example", "0.0.0.0:{port}",
     "[::1]:1", "", "127.0.0.1:{port},evil.example", "user@127.0.0.1:{port}"],
)  # fmt: skip
def test_another_host_is_refused(explorer, client, host):
    """A name of the web that was pointed at this computer."""
    host = host.format(port=urlsplit(explorer.url).port)
    assert "wrong Host" in expect_error(client.get("", headers={"Host": host}), 403)


@pytest.mark.parametrize("name", ["127.0.0.1", "localhost", "LOCALHOST", "[::1]"])
def test_this_computer_may_ask(explorer, client, name):
    host = f"{name}:{urlsplit(explorer.url).port}"
    headers = {"Host": host, "Origin": f"http://{host.lower()}"}
    assert client.get("", headers=headers).status_code == 200


@pytest.mark.parametrize(
    "origin",
    ["http://evil.example", "null", "https://{host}", "http://127.0.0.1:1", "",
     "http://{host}.evil.example", "http://{host}/", "file://"],
)  # fmt: skip
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_another_origin_is_refused(explorer, client, origin, method):
    origin = origin.format(host=urlsplit(explorer.url).netloc)
    response = client.request(method, "api/run", headers={"Origin": origin})
    assert "wrong Host or Origin" in expect_error(response, 403)


def raw(explorer, text):
    """Send bytes as they are; what comes back."""
    url = urlsplit(explorer.url)
    text = text.replace("{host}", url.netloc).replace("{path}", url.path)
    with socket.create_connection((url.hostname, url.port), timeout=10) as connection:
        connection.sendall(text.encode().replace(b"\n", b"\r\n"))
        connection.shutdown(socket.SHUT_WR)
        return b"".join(iter(lambda: connection.recv(65536), b""))


@pytest.mark.parametrize(
    ("text", "status"),
    [
        ("GET {path} HTTP/1.1\nHost: {host}\nConnection: close\n\n", b"200"),
        ("GET {path} HTTP/1.1\nHost: {host}\nHost: evil.example\n\n", b"400"),
        ("GET {path} HTTP/1.1\nConnection: close\n\n", b"400"),
        ("GET {path} HTTP/1.0\n\n", b"403"),
        ("GET http://evil.example{path} HTTP/1.1\nHost: {host}\n\n", b"404"),
        ("GET {path}static/../../../etc/passwd HTTP/1.1\nHost: {host}\n\n", b"404"),
        ("GET {path}static/%2e%2e%2f__init__.py HTTP/1.1\nHost: {host}\n\n", b"404"),
        ("GET {path}static//etc/passwd HTTP/1.1\nHost: {host}\n\n", b"404"),
        ("GET {path}" + "a" * 99999 + " HTTP/1.1\nHost: {host}\n\n", b"404"),
        ("rubbish\n\n", b"400"),
    ],
)
def test_raw_requests(explorer, text, status):
    assert raw(explorer, text).split()[1] == status


@pytest.mark.parametrize(
    "name",
    ["", "..", "../_server.py", "index.html/", "%2e%2e/_server.py", "nothing.js",
     "style.css%00", "/etc/passwd", "__pycache__", "STYLE.CSS", "a" * 5000],
)  # fmt: skip
def test_a_name_that_is_not_in_the_table_is_not_served(client, name):
    expect_error(client.get(f"static/{name}"), 404)


def test_the_page_and_its_parts(client):
    page = client.get("")
    assert page.text.startswith("<!doctype html>")
    types = {"": "text/html; charset=utf-8", "app.js": "text/javascript; charset=utf-8",
             "style.css": "text/css; charset=utf-8"}  # fmt: skip
    for name, media_type in types.items():
        response = client.get(f"static/{name}" if name else "")
        assert response.status_code == 200
        assert response.headers["content-type"] == media_type


@pytest.mark.parametrize(
    "path", ["", "static/style.css", "api/run", "api/x", "static/x"]
)
def test_every_answer_says_what_it_may_do(client, path):
    headers = client.get(path).headers
    policy = headers["content-security-policy"]
    assert policy.startswith("default-src 'none'; script-src 'self'; style-src 'self';")
    assert policy.endswith("frame-ancestors 'none'")
    assert "unsafe" not in policy
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "no-referrer"
    assert headers["cache-control"] == "no-store"
    assert "access-control-allow-origin" not in headers


@pytest.mark.parametrize(
    ("method", "path"),
    [("POST", "api/run"), ("GET", "api/graph"), ("PUT", ""), ("DELETE", "api/run"),
     ("OPTIONS", "api/graph"), ("TRACE", "")],
)  # fmt: skip
def test_another_method_is_refused(client, method, path):
    expect_error(client.request(method, path), 405)


def test_an_unknown_question(client):
    expect_error(client.get("api/nothing"), 404)
    expect_error(client.get("api/"), 404)


# What is sent.


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


# What comes back.


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


CURVE = {"tab": "c", "seq": 0, "model": "M_adv", **PARAMETERS}


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


def test_nodes_keep_number_and_place_in_their_pane(client):
    def places(answer):
        nodes = answer["nodes"]
        return dict(
            zip(nodes["id"], zip(nodes["x"], nodes["y"], strict=True), strict=True)
        )

    first = places(ask_graph(client, tab="keep", seq=1).json())
    second = places(ask_graph(client, tab="keep", seq=2, eps=1.9).json())
    kept = set(first) & set(second)
    assert kept
    assert all(first[i] == second[i] for i in kept)
    # Another tab begins anew.
    fresh = ask_graph(client, tab="keep 2", seq=1).json()
    assert places(fresh) == first


def test_places_of_a_link(client, answer):
    nodes = answer["nodes"]
    x, y = nodes["x"][::-1], nodes["y"][::-1]
    linked = ask_graph(client, tab="linked", x=x, y=y).json()["nodes"]
    assert (linked["x"], linked["y"]) == (x, y)
    message = expect_error(ask_graph(client, tab="linked", x=["a"], y=y), 400)
    assert "'x' must be a list of numbers" in message
    message = expect_error(ask_graph(client, tab="linked", x=x), 400)
    assert message == "the field 'y' is missing"


def test_the_pane_of_long_ago_is_forgotten(client, monkeypatch):
    monkeypatch.setattr("robustkit.explorer._api._MOST_PANES", 2)
    ids = [
        ask_graph(client, tab=tab, seq=seq, eps=eps).json()["nodes"]["id"]
        for seq, (tab, eps) in enumerate(
            [("a", 2.0), ("b", 2.0), ("c", 2.0), ("a", 1.5)]
        )
    ]
    assert ids[3] == list(range(len(ids[3])))


def test_a_newer_request_supersedes_and_another_tab_does_not(client, explorer, graphs):
    """The first computation hangs until it is told that it is not wanted."""
    begun, compute, answers = threading.Event(), graphs.compute, {}

    def hang(parameters, cancelled=None):
        if parameters.n_intervals != 17:
            return compute(parameters, cancelled)
        begun.set()
        assert cancelled.wait(20)
        return compute(parameters, cancelled)

    def ask(name, **params):
        with httpx.Client(base_url=explorer.url, timeout=30) as own:
            answers[name] = ask_graph(own, **params)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(graphs, "compute", hang)
        thread = threading.Thread(
            target=ask, args=("old",), kwargs={"tab": "s", "seq": 1, "n_intervals": 17}
        )
        thread.start()
        assert begun.wait(20)
        ask("tab", tab="other", seq=1)
        ask("pane", tab="s", pane="right", seq=1)
        assert thread.is_alive()
        ask("new", tab="s", seq=2)
        thread.join(20)
    assert answers["old"].status_code == 409
    assert answers["old"].json() == {"superseded": True}
    assert {answers[n].status_code for n in ("tab", "pane", "new")} == {200}


def test_a_newer_curve_supersedes_an_older_one(client, explorer, graphs):
    """A pane's graphs do not: they are another computation."""
    begun, mean_purity, answers = threading.Event(), graphs.mean_purity, []

    def hang(parameters, cancelled=None):
        if parameters.n_intervals == 17:
            begun.set()
            assert cancelled.wait(20)
        return mean_purity(parameters, cancelled)

    body = CURVE | {"tab": "curves"}

    def ask_old():
        with httpx.Client(base_url=explorer.url, timeout=30) as own:
            old = body | {"seq": 1, "n_intervals": 17}
            answers.append(own.post("api/curve", json=old))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(graphs, "mean_purity", hang)
        thread = threading.Thread(target=ask_old)
        thread.start()
        assert begun.wait(20)
        assert ask_graph(client, tab="curves", seq=2).status_code == 200
        assert client.post("api/curve", json=CURVE | {"tab": "x"}).status_code == 200
        assert thread.is_alive()
        assert client.post("api/curve", json=body | {"seq": 3}).status_code == 200
        thread.join(20)
    assert [answer.status_code for answer in answers] == [409]


def test_twenty_quick_moves_leave_no_queue(client, explorer, graphs):
    """No more than one computation runs for the pane, and the last one is answered."""
    running, most, lock = [0], [0], threading.Lock()
    compute = graphs.compute

    def count(parameters, cancelled=None):
        with lock:
            running[0] += 1
            most[0] = max(most[0], running[0])
        try:
            time.sleep(0.02)
            return compute(parameters, cancelled)
        finally:
            with lock:
                running[0] -= 1

    statuses = {}

    def ask(seq):
        with httpx.Client(base_url=explorer.url, timeout=30) as own:
            answer = ask_graph(own, tab="quick", seq=seq, n_intervals=20 + seq)
            statuses[seq] = answer.status_code

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(graphs, "compute", count)
        threads = [threading.Thread(target=ask, args=(seq,)) for seq in range(20)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
    assert statuses[19] == 200
    assert set(statuses.values()) <= {200, 409}
    assert most[0] == 1


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (ValueError("two\nlines"), "The computation failed: two lines"),
        (MemoryError(), "The computation failed: out of memory"),
        (ZeroDivisionError("oh"), "ZeroDivisionError: oh"),
    ],
)
def test_a_computation_that_fails_shows_why(
    client, graphs, monkeypatch, error, message
):
    tab = f"fail {message}"
    before = ask_graph(client, tab=tab, seq=1).json()["graph"]

    def fail(*_):
        raise error

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(graphs, "compute", fail)
        patch.setattr(server_module._LOG, "exception", lambda *_: None)
        assert expect_error(ask_graph(client, tab=tab, seq=2), 500) == message
    # The last graph is still there, and the pane goes on.
    body = {"graph": before, "nodes": [0]}
    assert client.post("api/members", json=body).status_code == 200
    assert ask_graph(client, tab=tab, seq=3).status_code == 200


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
