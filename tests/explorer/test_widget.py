"""The widget without a notebook: its messages, the selection, and what is displayed."""

import asyncio
import json
import threading

import numpy as np
import pytest

from robustkit.explorer import MapperWidget
from robustkit.explorer import _widget as module
from robustkit.topology import MapperGraph
from tests.explorer.conftest import CURVE, PARAMETERS, ask_graph
from tests.processes import PATIENCE

GRAPH = {"tab": "w", "pane": "left", "seq": 0, "view": 0, **PARAMETERS}


@pytest.fixture(scope="module")
def widget(run):
    pytest.importorskip("anywidget", reason="widgets need anywidget")
    widget = MapperWidget(run)
    yield widget
    widget.close()


@pytest.fixture
def ask(widget, monkeypatch):
    """Send a request as the page does, and return the reply."""
    sent = []
    monkeypatch.setattr(
        widget, "send", lambda content, buffers: sent.append((content, *buffers))
    )

    def asked(route, **values):
        hear(widget, route, values, id=f"page-{len(sent)}")
        reply, body = sent[-1]
        assert reply["id"] == f"page-{len(sent) - 1}"
        return reply["status"], reply["type"], bytes(body)

    asked.sent = sent
    return asked


def hear(widget, route, values=(), *buffers, id=""):
    content = {"id": id, "route": route, "values": dict(values)}
    widget._handle_custom_msg(content, list(map(memoryview, buffers)))


def select(widget, samples):
    hear(widget, "select", {}, np.array(samples, "<i4").tobytes())


def test_without_anywidget_one_line_says_what_to_install(run, monkeypatch):
    monkeypatch.setattr(module, "_missing", "anywidget")
    message = r"needs anywidget, .*Do: pip install 'robustkit\[notebook\]'$"
    with pytest.raises(ImportError, match=message):
        MapperWidget(run)


def test_an_unknown_name_of_the_room_is_an_attribute_error():
    import robustkit.explorer

    with pytest.raises(AttributeError, match="has no attribute 'MaperWidget'"):
        robustkit.explorer.MaperWidget  # noqa: B018


@pytest.mark.parametrize(
    ("route", "values"),
    [
        ("run", {}),
        ("column", {"name": "prediction", "view": "1"}),
        ("images", {"view": "clean", "ids": "3,1"}),
        ("images", {"view": "9", "ids": "3,1"}),
        ("members", {"graph": "unknown"}),
        ("column", {"name": "why"}),
    ],
)
def test_a_request_has_the_reply_of_the_server(ask, client, route, values):
    status, media_type, body = ask(route, **values)
    response = client.get(f"api/{route}", params=values)
    assert (status, body) == (response.status_code, response.content)
    assert media_type == response.headers["content-type"]


def test_graphs_are_those_of_the_server(ask, client):
    status, _, body = ask("graph", **GRAPH)
    ours, theirs = json.loads(body), ask_graph(client, tab="widget").json()
    assert status == 200
    del ours["seconds"], theirs["seconds"]
    assert ours == theirs
    _, _, members = ask("members", graph=ours["graph"])
    parameters = {"graph": theirs["graph"]}
    assert members == client.get("api/members", params=parameters).content
    _, _, purities = ask("purities", **CURVE)
    assert purities == client.post("api/purities", json=CURVE).content


def test_an_unknown_request_is_refused(ask):
    status, _, body = ask("everything")
    assert status == 404
    assert json.loads(body) == {"error": "there is no 'everything'"}


def test_requests_are_answered_within_a_running_loop(widget, ask):
    """As in a kernel, whose messages come one after the other in its loop."""

    async def kernel():
        for k in range(3):
            hear(widget, "column", {"name": "y"}, id=f"r{k}")
        assert not ask.sent
        while len(ask.sent) < 3:
            await asyncio.sleep(0.01)

    asyncio.run(kernel())
    assert {content["id"] for content, _ in ask.sent} == {"r0", "r1", "r2"}
    assert not module._TASKS


def test_a_widget_that_is_closed_meanwhile_leaves_no_request_behind(run, monkeypatch):
    pytest.importorskip("anywidget", reason="widgets need anywidget")
    widget = MapperWidget(run)
    sent, begun, goes_on = [], threading.Event(), threading.Event()
    monkeypatch.setattr(widget, "send", lambda *_, **__: sent.append(1))

    def compute(*_, **__):
        begun.set()
        goes_on.wait(PATIENCE)
        raise ValueError("nobody waits for this")

    monkeypatch.setattr(widget._graphs, "compute", compute)

    async def kernel():
        hear(widget, "graph", GRAPH, id="r")
        (task,) = module._TASKS
        while not begun.is_set():
            await asyncio.sleep(0.01)
        widget.close()
        try:
            await asyncio.wait([task], timeout=PATIENCE)
            assert task.cancelled()
        finally:
            goes_on.set()

    asyncio.run(kernel())
    assert not module._TASKS
    assert not sent


def test_what_is_selected_comes_back(widget, run):
    changes = []
    widget.observe(changes.append, "selection")
    try:
        select(widget, [2, 5, 7])
        assert widget.selection.dtype == np.int64
        assert run.y[widget.selection].tolist() == run.y[[2, 5, 7]].tolist()
        assert repr(widget) == "MapperWidget(3 of 400 samples selected)"
        # The page tells it again with every graph.
        select(widget, [2, 5, 7])
        select(widget, [])
    finally:
        widget.unobserve(changes.append, "selection")
    assert [change["new"].tolist() for change in changes] == [[2, 5, 7], []]


def test_the_selection_is_set_by_the_page_alone(widget):
    import traitlets

    with pytest.raises(traitlets.TraitError, match="selection"):
        widget.selection = np.arange(3)


def test_a_page_that_is_opened_anew_shows_the_view_seen_last(widget, ask):
    fragment = "left.view=1&left.n_intervals=9"
    hear(widget, "keep", {"fragment": fragment})
    _, _, body = ask("run")
    assert json.loads(body)["fragment"] == fragment


@pytest.fixture
def shown(monkeypatch):
    """What is displayed, in order, as it is last updated."""
    ipython = pytest.importorskip("IPython.display", reason="comes with anywidget")
    outputs = []

    class Handle:
        def __init__(self, k):
            self.k = k

        def update(self, bundle, **options):
            outputs[self.k] = bundle, options["metadata"]

    def display(bundle, *, metadata, raw, display_id=False):
        assert raw
        outputs.append((bundle, metadata))
        return Handle(len(outputs) - 1) if display_id else None

    monkeypatch.setattr(ipython, "display", display)
    return outputs


def test_a_picture_is_kept_beside_the_widget(run, shown):
    pytest.importorskip("anywidget", reason="widgets need anywidget")
    widget = MapperWidget(run, mapper=MapperGraph(n_intervals=8, eps=2.0))
    widget._ipython_display_()
    (page, _), (picture, _) = shown
    model = page["application/vnd.jupyter.widget-view+json"]["model_id"]
    assert model == widget.model_id
    # Also where no browser has drawn the page yet, as when a notebook is executed.
    n_nodes = int(picture["text/plain"].split()[-2])
    assert picture["image/svg+xml"].count("<circle") == n_nodes > 0
    hear(widget, "picture", {"width": 700.4}, b"PNG")
    assert shown[1] == ({"image/png": b"PNG"}, {"image/png": {"width": 700}})
    # Shown once more, it has the picture from the beginning.
    widget._ipython_display_()
    assert shown[3] == shown[1]
    widget.close()


def test_the_page_of_a_cell_has_no_data_and_no_address(widget, run):
    assert run.class_names[0] not in widget._page
    assert "robustkit/data_from_notebook.js" in widget._page
    assert "robustkit/data_in_page.js" not in widget._page
    assert "http://" not in widget._page.replace("http://www.w3.org", "")
