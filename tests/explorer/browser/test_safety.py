"""Markup, other pages, other tabs: nothing gets in, nothing is disturbed."""

import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import httpx
import pytest

from robustkit.explorer._explore import _FRAMES_OF_NOTEBOOKS, Explorer
from robustkit.explorer._graphs import Graphs
from tests.explorer.browser.conftest import MARKUP, TITLE, Watch, context_of
from tests.explorer.conftest import ask_graph
from tests.processes import PATIENCE

pytestmark = pytest.mark.slow


def test_markup_is_shown_as_text(seen):
    seen.expect(seen.page.locator("#run-title")).to_have_text(TITLE)
    seen.expect(seen("legend-left")).to_contain_text(MARKUP)
    seen("tab-weak").click()
    seen("tab-search").click()
    seen("search-true").select_option(label=MARKUP)
    seen("search-confusion-find").click()
    seen.expect(seen("search-result")).to_contain_text(MARKUP)
    seen("tab-selection").click()
    seen.select_all()
    seen.expect(seen("class-table")).to_contain_text(MARKUP)
    assert seen.page.locator("b:text-is('nine'), #run-title i").count() == 0


def test_two_tabs_do_not_disturb_each_other(open_page, graph_of):
    one, two = open_page(), open_page()
    for value in (12, 14, 16):
        one.set_slider("intervals-left", value)
        two.set_slider("intervals-left", value + 10)
    for seen, value in ((one, 16), (two, 26)):
        mapper = graph_of(n_intervals=value)
        seen.expect_shape((mapper.membership_.shape[1], len(mapper.edges_)))
    node = one.go("Home", "Enter")
    one.expect(one("images-position")).to_contain_text(f"of {node.size}")
    two.expect(two("panel-selection")).to_contain_text("Nothing is selected.")


@pytest.mark.parametrize("by", ["members", "csv"])
def test_a_graph_the_server_let_go_of_is_computed_again(seen, explorer, watch, by):
    watch.expect("status of 404")
    first = seen.go("Home", *(["Enter"] if by == "csv" else []))
    forget_graphs(explorer, tab=by)
    if by == "members":
        seen.go("Enter")
        seen.expect(seen("images-position")).to_contain_text(f"of {first.size}")
    else:
        table = seen.download("export-csv").read_text("utf-8")
        assert table.count("\n") == first.size + 1


def forget_graphs(explorer, tab):
    """Ask the server for so many other graphs that it forgets those before."""
    with httpx.Client(base_url=explorer.url, timeout=PATIENCE) as client:
        described = client.get("api/run").json()
        for n_intervals in range(30, 63):
            wanted = described["defaults"] | {"n_intervals": n_intervals}
            assert ask_graph(client, tab=tab, seq=n_intervals, **wanted).is_success


@pytest.fixture
def notebook():
    """A page of another port of this computer, which frames what it is given."""
    pages = {"html": ""}

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.end_headers()
            self.wfile.write(pages["html"].encode())

        def log_message(self, *args):
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    pages["url"] = f"http://127.0.0.1:{server.server_address[1]}/"
    yield pages
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_notebook_shows_the_page_inline(browser, run, mapper, notebook):
    explorer = Explorer(run, Graphs(run, mapper), in_notebook=True)
    assert "127.0.0.1:*" in _FRAMES_OF_NOTEBOOKS
    explorer.start()
    notebook["html"] = f"<!doctype html><p>Cell</p>{explorer._repr_html_()}"
    watch = Watch(explorer.url)
    try:
        with context_of(browser) as context, watch.following(context):
            page = context.new_page()
            page.goto(notebook["url"])
            frame = page.frame_locator("iframe")
            frame.get_by_test_id("select-weakest").click()
            frame.get_by_test_id("image-card").first.wait_for()
            assert frame.get_by_test_id("status-left").inner_text().count("nodes") == 1
    finally:
        explorer.close()
    watch.requests = [r for r in watch.requests if not _is_of(r, notebook)]
    # The notebook's own icon is not ours.
    watch.check()


def _is_of(request, notebook):
    return request.url.startswith(notebook["url"])


def test_no_page_frames_one_that_was_not_made_for_a_notebook(
    browser, explorer, notebook
):
    notebook["html"] = explorer._repr_html_()
    with context_of(browser) as context:
        page = context.new_page()
        told = []
        page.on("console", lambda message: told.append(message.text))
        with page.expect_console_message(lambda m: "frame-ancestors" in m.text):
            page.goto(notebook["url"])
        assert page.frame_locator("iframe").get_by_test_id("pane-left").count() == 0
