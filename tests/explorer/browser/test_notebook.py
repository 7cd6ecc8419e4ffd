"""The page in a real notebook, where Jupyter is installed."""

import os
import re
import subprocess
import sys
from urllib.parse import urlsplit

import pytest

from tests.explorer.browser.conftest import Watch, context_of
from tests.explorer.browser.seen import Seen

CODE = """\
from sklearn.datasets import load_digits
from robustkit import MapperGraph
from robustkit.explorer import explore
X, y = load_digits(return_X_y=True)
mapper = MapperGraph("pca", n_intervals=12, eps=22.0).fit(X)
explore(mapper, y=y, images=X.reshape(-1, 8, 8) / 16)
"""


@pytest.fixture
def jupyter(tmp_path):
    """The address of a server that holds one notebook, not yet run."""
    reason = "the test of a real notebook needs: pip install notebook"
    nbformat = pytest.importorskip("nbformat", reason=reason)
    pytest.importorskip("notebook", reason=reason)
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(CODE)])
    notebook.metadata.kernelspec = {"name": "python3", "display_name": "Python 3"}
    nbformat.write(notebook, tmp_path / "look.ipynb")
    names = ("CONFIG_DIR", "DATA_DIR", "RUNTIME_DIR")
    homes = {f"JUPYTER_{name}": str(tmp_path / name) for name in names}
    words = ["--no-browser", "--allow-root", "--ServerApp.ip=127.0.0.1"]
    words += ["--ServerApp.port=0", f"--ServerApp.root_dir={tmp_path}"]
    process = subprocess.Popen(
        [sys.executable, "-m", "notebook", *words],
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, **homes, "IPYTHONDIR": str(tmp_path / "ipython")},
    )
    try:
        told = iter(process.stderr.readline, "")
        home = re.compile(r"(http://127\S+)/tree\?(token=\w+)")
        address, token = next(filter(None, map(home.search, told))).groups()
        yield f"{address}/notebooks/look.ipynb?{token}"
    finally:
        process.terminate()
        process.communicate()


def test_a_cell_of_a_notebook_shows_the_page(browser, jupyter):
    watch = Watch(jupyter.partition("/notebooks")[0])
    with context_of(browser, permissions=["clipboard-write"]) as context:
        page = context.new_page()
        page.goto(jupyter)
        page.locator(".jp-Notebook-ExecutionIndicator[data-status=idle]").wait_for()
        page.locator(".jp-CodeCell .cm-content").click()
        with watch.following(context):
            page.keyboard.press("Shift+Enter")
            seen = Seen(page.frame_locator("iframe[title='robustkit explorer']"))
            seen.settled()
            shape = seen.shape()
            seen("select-weakest").click()
            seen.expect(seen("image-card").first).to_be_visible()
            seen.set_slider("intervals-left", 20)
            seen.expect(seen("intervals-left-value")).to_have_text("20")
            seen.expect(seen("status-left")).not_to_contain_text(f"{shape[0]} nodes")
            seen.settled()
            seen("export-menu").locator("summary").click()
            seen("export-link").click()
            message = seen.page.locator("#messages")
            seen.expect(message).to_contain_text("The link is copied.")
    # Jupyter's pages ask for this and that; the explorer's for its own server alone.
    asked = {urlsplit(request.url) for request in watch.requests}
    theirs = urlsplit(jupyter).netloc
    others = {url.netloc for url in asked if url.scheme == "http"} - {theirs}
    assert len(others) == 1
