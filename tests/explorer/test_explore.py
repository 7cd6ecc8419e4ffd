"""The page as a person opens it: from Python, from a notebook, from the shell."""

import os
import signal
import socket
import sys
import types
import webbrowser
from html import unescape

import httpx
import numpy as np
import pytest
from sklearn.datasets import load_iris

from robustkit import cli
from robustkit.explorer import View, demo_run, explore, save_run
from robustkit.explorer import _explore as module
from robustkit.explorer._graphs import Graphs
from robustkit.topology import MapperGraph
from tests.explorer.conftest import PARAMETERS, ask_graph, served
from tests.processes import PATIENCE, started

IRIS = load_iris(return_X_y=True)
MAPPER = MapperGraph("pca", n_intervals=6, eps=0.7, min_samples=4).fit(IRIS[0])


@pytest.fixture
def folder(tmp_path):
    X, y = IRIS
    images = np.tile(X[:, :1] / 8, 9)
    return save_run(
        tmp_path / "run", y=y, X=images, image_shape=(3, 3), views=[View("M", 0, X, y)]
    )


@pytest.fixture
def opened(monkeypatch):
    """Addresses that would have been opened."""
    addresses = []
    monkeypatch.setattr(webbrowser, "open", addresses.append)
    return addresses


def asked(explorer, path="api/run"):
    return httpx.get(f"{explorer.url}{path}", timeout=PATIENCE)


def test_a_fitted_mapper_is_shown_with_its_parameters(opened, capsys):
    y = IRIS[1]
    y_pred = np.where(np.arange(len(y)) % 9 == 0, 0, y)
    images = np.ones((len(y), 2, 2))
    explorer = explore(MAPPER, y=y, y_pred=y_pred, images=images, block=False)
    try:
        assert capsys.readouterr().out == f"{explorer.url}\n"
        assert opened == [explorer.url]
        described = asked(explorer).json()
        assert described["image_shape"] == [1, 2, 2]
        assert described["views"][0]["accuracy"] == (y == y_pred).mean()
        defaults = described["defaults"]
        assert (defaults["filter"], defaults["n_intervals"]) == ("pca", 6)
        with httpx.Client(base_url=explorer.url, timeout=PATIENCE) as client:
            answer = ask_graph(client, **defaults).json()
        edges = np.column_stack([answer["edges"]["source"], answer["edges"]["target"]])
        np.testing.assert_array_equal(edges, MAPPER.edges_)
    finally:
        explorer.close()
    with pytest.raises(httpx.ConnectError, match="refused"):
        asked(explorer)


def test_mapper_is_shown_with_other_points_and_no_labels(opened):
    explorer = explore(MapperGraph(), IRIS[0][:50], open_browser=False, block=False)
    try:
        assert asked(explorer).json()["n_samples"] == 50
        assert opened == []
    finally:
        explorer.close()


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"run": MapperGraph()}, ValueError, "This MapperGraph instance is not fitted"),
        ({"run": MAPPER, "y_pred": IRIS[1]}, ValueError, "'y_pred' .* needs 'y'"),
        ({"run": MAPPER, "y": IRIS[1][:9]}, ValueError, "inconsistent numbers of samp"),
        ({"run": MAPPER, "images": np.ones(150)}, ValueError, "'images' .* shape"),
        ({"run": "nowhere"}, FileNotFoundError, "No run at nowhere: there is no"),
        ({"run": "nowhere", "y": IRIS[1]}, ValueError, "go with a MapperGraph"),
    ],
)
def test_explore_rejects_invalid_input(arguments, error, message):
    with pytest.raises(error, match=message):
        explore(**arguments, open_browser=False, block=False)


def test_missing_extra_names_what_to_install(monkeypatch, folder, capsys):
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    with pytest.raises(ImportError, match=r'uvicorn.*pip install "robustkit\[explorer'):
        explore(folder, open_browser=False)
    assert cli.main(["explore", str(folder), "--no-open"]) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_a_notebook_shows_the_page_in_a_frame(monkeypatch, opened, folder):
    shell = types.SimpleNamespace(kernel=object())
    ipython = types.SimpleNamespace(get_ipython=lambda: shell)
    monkeypatch.setitem(sys.modules, "IPython", ipython)
    explorer = explore(folder)
    try:
        html = explorer._repr_html_()
        assert f'src="{explorer.url}"' in unescape(html)
        assert html.startswith("<iframe ")
        assert opened == []
        headers = asked(explorer, "").headers
        ancestors = headers["content-security-policy"].partition("frame-ancestors ")[2]
        assert ancestors == "http://127.0.0.1:* http://localhost:* vscode-webview:"
    finally:
        explorer.close()


def test_a_script_blocks_and_a_prompt_does_not(monkeypatch):
    monkeypatch.setitem(sys.modules, "IPython", None)
    monkeypatch.delattr(sys, "ps1", raising=False)
    assert not module._is_interactive()
    monkeypatch.setattr(sys, "ps1", ">>> ", raising=False)
    assert module._is_interactive()


def test_every_server_has_its_own_token(run, graphs):
    tokens = set()
    for _ in range(3):
        with served(run, graphs) as client:
            tokens.add(str(client.base_url).rstrip("/").rpartition("/")[2])
    assert len(tokens) == 3
    assert min(map(len, tokens)) >= 32


def start(*words):
    """Start the command in a process of its own, until the end of the block."""
    env = {**os.environ, "BROWSER": "false"}
    return started(sys.executable, "-m", "robustkit", "explore", *words, env=env)


@pytest.mark.slow
@pytest.mark.parametrize("mapper", [None, MAPPER, MapperGraph(eps=0.7, overlap=0.35)])
def test_the_page_first_shows_the_graph_that_was_prepared(run, monkeypatch, mapper):
    compute, asked = Graphs._compute, []

    def note(self, parameters, *args):
        asked.append(parameters)
        return compute(self, parameters, *args)

    monkeypatch.setattr(Graphs, "_compute", note)
    with served(run, Graphs(run, mapper)) as client:
        defaults = client.get("api/run").json()["defaults"]
        assert ask_graph(client, **defaults).status_code == 200
    assert len(asked) == 1


def test_ctrl_c_ends_the_server_at_any_time(folder):
    """Neither an idle connection nor half a request is a reason to wait.

    Both stay open for longer than this test has patience.
    """
    with start(str(folder), "--no-open") as process:
        url = httpx.URL(process.stdout.readline().strip())
        with (
            httpx.Client(base_url=url, timeout=PATIENCE) as client,
            socket.create_connection((url.host, url.port)) as half,
        ):
            body = f"POST {url.path}api/graph HTTP/1.1\r\nHost: {url.host}:"
            half.sendall(f"{body}{url.port}\r\nContent-Length: 100\r\n".encode())
            half.sendall(b"Content-Type: application/json\r\n\r\n{")
            # Whoever answers this has read what was sent before.
            assert client.get("").status_code == 200
            process.send_signal(signal.SIGINT)
            assert process.wait(PATIENCE) == 130
        assert process.stderr.read() == "robustkit: interrupted\n"


@pytest.mark.parametrize("port", ["0", "free"])
def test_command_uses_the_given_port(folder, monkeypatch, capsys, opened, port):
    if port == "free":
        with socket.create_server(("127.0.0.1", 0)) as unused:
            port = str(unused.getsockname()[1])
    shown = []

    def serve(explorer):
        shown.append(explorer.url)
        explorer._socket.close()

    monkeypatch.setattr(module.Explorer, "serve", serve)
    assert cli.main(["explore", str(folder), "--port", port]) == 0
    assert capsys.readouterr().out == f"{shown[0]}\n"
    assert opened == shown
    assert port in ("0", str(httpx.URL(shown[0]).port))


def test_taken_port_is_a_one_line_error(folder, capsys):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        assert cli.main(["explore", str(folder), "--port", port, "--no-open"]) == 2
    err = capsys.readouterr().err
    assert err.startswith("robustkit: error: ")
    assert err.count("\n") == 1


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "one of the arguments RUN --demo is required"),
        (["RUN", "--demo"], "not allowed with argument"),
        (["RUN", "--port", "65536"], "must be an integer from 0 to 65535. Got '65536'"),
        (["RUN", "--port", "-1"], "Got '-1'"),
        (["nowhere"], "No run at nowhere: there is no such folder."),
        (
            ["RUN", "--no-opne"],
            "unknown argument '--no-opne', did you mean '--no-open'",
        ),
    ],
)
def test_command_line_errors_are_one_line(words, message, capsys):
    try:
        status = cli.main(["explore", *words])
    except SystemExit as error:
        status = error.code
    err = capsys.readouterr().err
    assert (status, err.count("\n")) == (2, 1)
    assert message in err


def test_export_writes_a_file_and_ends(folder, tmp_path, capsys):
    page = tmp_path / "page.html"
    assert cli.main(["explore", str(folder), "--export", str(page)]) == 0
    assert capsys.readouterr().out == f"Written   {page}\n"
    assert page.read_text("utf-8").startswith("<!doctype html>")


def test_demo_shows_two_nets_at_several_levels():
    run = demo_run(levels=(0.0, 0.1))
    assert run.models == ["M_clean", "M_adv"]
    accuracy = [run.accuracy(i) for i in range(4)]
    # Clean, attacked: the adversarially trained net is the more robust one.
    assert min(accuracy[0], accuracy[2]) > 0.9
    assert accuracy[1] + 0.1 < accuracy[3] < accuracy[2]
    assert all(view.regions is not None for view in run.views)
    with served(run) as client:
        answer = ask_graph(client, **PARAMETERS | {"eps": "auto", "n_intervals": 40})
        assert 50 < len(answer.json()["nodes"]["id"]) < 500
