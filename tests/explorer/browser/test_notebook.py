"""The page in a real JupyterLab, where it is installed."""

import io
import os
import re
import sys
import time
from contextlib import contextmanager
from urllib.parse import urlsplit

import httpx
import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_digits

from robustkit.topology import MapperGraph
from tests.explorer.browser.conftest import Watch, context_of
from tests.explorer.browser.seen import Seen
from tests.processes import PATIENCE, started

pytestmark = pytest.mark.slow

DATA = """\
from sklearn.datasets import load_digits
from robustkit import MapperGraph
from robustkit.explorer import MapperWidget, explore
X, y = load_digits(return_X_y=True)
mapper = MapperGraph("pca", n_intervals=12, eps=22.0).fit(X)
images = X.reshape(-1, 8, 8) / 16
"""
SERVED = "explore(mapper, y=y, images=images)"
WIDGET = """\
widget = MapperWidget(mapper, y=y, images=images)
widget
"""
SELECTION = "print(widget.selection.tolist())"
# What a page that is loaded again will show.
KEPT = "print(widget._fragment)"


class Lab:
    """A JupyterLab, and the folder of its notebooks."""

    def __init__(self, home, token, folder):
        self.home, self.token, self.folder = home, token, folder

    def write(self, name, *cells):
        """Write a notebook that is not yet run."""
        import nbformat

        cells = [nbformat.v4.new_code_cell(cell) for cell in cells]
        notebook = nbformat.v4.new_notebook(cells=cells)
        notebook.metadata.kernelspec = {"name": "python3", "display_name": "Python 3"}
        nbformat.write(notebook, self.folder / name)

    def outputs(self, name):
        """What a saved notebook holds below its first cell."""
        import nbformat

        notebook = nbformat.read(self.folder / name, 4)
        return [output.get("data", {}) for output in notebook.cells[0].outputs]

    def open(self, page, name):
        """Open a notebook, and wait for its kernel."""
        page.goto(f"{self.home}/doc/tree/{name}?token={self.token}")
        page.get_by_text(re.compile(r"\| Idle$")).wait_for()

    def end_kernels(self):
        params = {"token": self.token}
        with httpx.Client(base_url=self.home, params=params, timeout=PATIENCE) as ask:
            for session in ask.get("api/sessions").json():
                ask.delete(f"api/sessions/{session['id']}").raise_for_status()


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    reason = "the tests in a real notebook need: pip install jupyterlab"
    pytest.importorskip("jupyterlab", reason=reason)
    folder = tmp_path_factory.mktemp("lab")
    names = ("CONFIG_DIR", "DATA_DIR", "RUNTIME_DIR")
    homes = {f"JUPYTER_{name}": str(folder / ".home" / name) for name in names}
    words = ["--no-browser", "--allow-root", "--ServerApp.ip=127.0.0.1"]
    words += ["--ServerApp.port=0", f"--ServerApp.root_dir={folder}"]
    env = {**os.environ, **homes, "IPYTHONDIR": str(folder / ".home" / "ipython")}
    with (
        open(folder / ".log", "w") as log,
        started(sys.executable, "-m", "jupyterlab", *words, stderr=log, env=env) as lab,
        open(folder / ".log") as told,
    ):
        yield Lab(*_address(lab, told), folder)
        lab.terminate()
        lab.wait()


def _address(lab, told):
    """Wait until the server tells where it is."""
    text = ""
    while lab.poll() is None:
        text += told.readline()
        found = re.search(r"(http://127\S+)/lab\?token=(\w+)", text)
        if found:
            return found.groups()
    raise AssertionError(text + told.read())


@contextmanager
def window(browser):
    # So high that nothing that is clicked lies outside.
    options = {"viewport": {"width": 1300, "height": 1500}}
    with context_of(browser, permissions=["clipboard-write"], **options) as context:
        yield context.new_page()


def run_cell(page, n):
    """Run a cell, and wait until it has been run."""
    cell = page.locator(".jp-CodeCell").nth(n)
    prompt = cell.locator(".jp-InputPrompt")
    before = prompt.inner_text()
    cell.locator(".cm-content").click()
    page.keyboard.press("Control+Enter")
    page.wait_for_function(
        """([prompt, before]) => /\\d/.test(prompt.innerText) &&
            prompt.innerText !== before""",
        arg=[prompt.element_handle(), before],
    )
    return cell.locator(".jp-OutputArea")


def expect_printed(page, n, is_expected):
    """Run a cell until it prints what is expected; the page tells it some time."""
    give_up = time.monotonic() + PATIENCE
    while not is_expected(text := run_cell(page, n).inner_text().strip()):
        if time.monotonic() > give_up:
            pytest.fail(text)


def save(page):
    """Save the notebook, and wait until it is."""

    def is_saved(response):
        return response.request.method == "PUT" and "/api/contents/" in response.url

    with page.expect_response(is_saved) as waiting:
        page.locator("[data-jp-item-name=save]").first.click()
    assert waiting.value.ok


def explorer_in(page):
    frame = page.frame_locator("iframe[title='robustkit explorer']")
    seen = Seen(page, frame)
    seen.settled()
    return seen


def test_a_cell_of_a_notebook_shows_the_page(browser, lab):
    lab.write("served.ipynb", DATA + SERVED)
    watch = Watch(lab.home)
    with window(browser) as page:
        lab.open(page, "served.ipynb")
        with watch.following(page.context):
            run_cell(page, 0)
            seen = explorer_in(page)
            shape = seen.shape()
            seen("select-weakest").click()
            seen.expect(seen("image-card").first).to_be_visible()
            seen.set_slider("intervals-left", 20)
            seen.expect(seen("intervals-left-value")).to_have_text("20")
            seen.expect(seen("status-left")).not_to_contain_text(f"{shape[0]} nodes")
            seen.settled()
            seen("export-menu").locator("summary").click()
            seen("export-link").click()
            message = seen.inside.locator("#messages")
            seen.expect(message).to_contain_text("The link is copied.")
    # Jupyter's pages ask for this and that; the explorer's for its own server alone.
    asked = {urlsplit(request.url) for request in watch.requests}
    theirs = urlsplit(lab.home).netloc
    others = {url.netloc for url in asked if url.scheme == "http"} - {theirs}
    assert len(others) == 1


@pytest.fixture
def membership():
    """Which sample lies in which node of the graph that the widget shows."""
    X, _ = load_digits(return_X_y=True)
    mapper = MapperGraph("pca", n_intervals=12, eps=22.0).fit(X)
    return mapper.membership_.toarray().astype(bool)


def test_what_is_selected_in_the_widget_comes_back_and_the_picture_stays(
    browser, lab, membership
):
    pytest.importorskip("anywidget", reason="the widget needs anywidget")
    lab.write("widget.ipynb", DATA + WIDGET, SELECTION, KEPT)
    with window(browser) as page:
        lab.open(page, "widget.ipynb")
        run_cell(page, 0)
        seen = explorer_in(page)
        assert seen.shape()[0] == membership.shape[1]

        def expect_selected(is_inside):
            samples = str(np.flatnonzero(is_inside).tolist())
            expect_printed(page, 1, lambda text: text == samples)

        expect_selected([])
        # With a click.
        place = seen.place("Home")
        node = seen.active()
        page.mouse.click(*place)
        title = seen("selection-title")
        seen.expect(title).to_contain_text("1 node")
        seen.expect(seen("image-card").first).to_be_visible()
        expect_selected(membership[:, node.id])
        # With a box around all.
        seen.select_all()
        seen.expect(title).to_contain_text(f"{membership.shape[1]} nodes")
        expect_selected(membership.any(axis=1))
        # A page that is loaded again shows what it did.
        moved = seen.go("End")
        page.keyboard.press("Enter")
        seen.expect(title).to_contain_text("1 node")
        expect_selected(membership[:, moved.id])
        nodes = f"left.nodes={moved.id}"
        expect_printed(page, 2, lambda text: nodes in text.split("&"))
        picture = page.locator(".jp-OutputArea-output img[src^='data:image/png']")
        picture.wait_for(state="attached")
        seen.expect(picture).to_be_hidden()
        save(page)
        page.reload()
        seen = explorer_in(page)
        assert [node.id for node in seen.selected()] == [moved.id]
    view, kept = lab.outputs("widget.ipynb")
    assert "application/vnd.jupyter.widget-view+json" in view
    image = Image.open(io.BytesIO(_from_base64(kept["image/png"])))
    assert len(image.convert("RGB").getcolors(2**24)) > 20
    lab.end_kernels()
    with window(browser) as page:
        lab.open(page, "widget.ipynb")
        picture = page.locator(".jp-OutputArea-output img")
        seen.expect(page.locator("iframe[title='robustkit explorer']")).to_have_count(0)
        picture.wait_for()
        shown = "async (image) => { await image.decode(); return image.naturalWidth; }"
        assert picture.evaluate(shown) == image.width


def _from_base64(text):
    import base64

    return base64.b64decode(text)
