"""Look at every built page as a browser shows it: ``python docs/check_pages.py``.

Each page is opened in Chromium, 1280 pixels wide and as wide as a phone. What is wrong
is printed: errors on the console, files that are missing, pages that are wider than
their window, tables and formulas that do not fit into their column on the wider one,
and pages of results that are too long there. Needs playwright and Chromium.
"""

import argparse
import shutil
import sys
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

from playwright.sync_api import sync_playwright

BUILT = Path(__file__).parent / "_build" / "html"
DESK, PHONE = 1280, 390
# A page of results says first what holds, and folds the rest: of these pages so many
# pixels are enough.
RESULTS, TALLEST = "/results/", 6000
# Pages that Sphinx writes for another purpose than to be read.
LEFT_OUT = ("genindex", "search", "py-modindex", "_static/", "_downloads/")

WIDER = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
HEIGHT = "document.documentElement.scrollHeight"
TABLES = r"""[...document.querySelectorAll("article table")].filter(table => {
    const scrolled = table.closest(".pst-scrollable-table-container");
    const column = scrolled ?? table.parentElement;
    return table.getBoundingClientRect().width > column.clientWidth + 1;
}).map(table => (table.caption ?? table).innerText.slice(0, 50).replace(/\s+/g, " "))"""
FORMULAS = """async () => {
    await window.MathJax?.startup?.promise;
    return [...document.querySelectorAll("mjx-container[display=true]")].filter(
        formula => formula.scrollWidth > formula.clientWidth + 1
    ).map(formula => formula.closest("section").querySelector("h2, h1").innerText);
}"""


class Quiet(SimpleHTTPRequestHandler):
    """Serves the pages, and says nothing of it."""

    def log_message(self, *args):
        """Leave the terminal to what is wrong."""


def pages_below(folder):
    """Addresses of all pages that are read."""
    found = sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*.html"))
    return [page for page in found if not page.startswith(LEFT_OUT)]


def look_at(context, address):
    """Open a page and say what is wrong with it."""
    page = context.new_page()
    page.set_viewport_size({"width": DESK, "height": 900})
    wrong = []
    page.on("console", lambda said: said.type == "error" and wrong.append(said.text))
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on(
        "response",
        lambda got: got.status >= 400 and wrong.append(f"{got.status} {got.url}"),
    )
    page.goto(address, wait_until="load")
    wrong += [f"a table does not fit: {name}" for name in page.evaluate(TABLES)]
    wrong += [
        f"a formula does not fit, below: {title}" for title in page.evaluate(FORMULAS)
    ]
    height = page.evaluate(HEIGHT)
    if RESULTS in address and height > TALLEST:
        wrong.append(f"{height} px tall; fold what is not read first")
    for width in (DESK, PHONE):
        page.set_viewport_size({"width": width, "height": 900})
        wider = page.evaluate(WIDER)
        if wider > 0:
            wrong.append(f"{wider} px wider than a window of {width} px")
    page.close()
    return wrong


def check(folder, only=""):
    """Go through all pages; return how many have something wrong."""
    server = ThreadingHTTPServer(
        ("127.0.0.1", 0), partial(Quiet, directory=str(folder))
    )
    Thread(target=server.serve_forever, daemon=True).start()
    root, n_wrong = f"http://127.0.0.1:{server.server_port}", 0
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium"),
            args=["--no-sandbox", "--disable-gpu"],
        )
        # What many pages share is loaded once.
        context = browser.new_context()
        for name in pages_below(folder):
            if only not in name:
                continue
            wrong = look_at(context, f"{root}/{name}")
            n_wrong += bool(wrong)
            for line in wrong:
                sys.stdout.write(f"{name}: {line}\n")
        browser.close()
    server.shutdown()
    server.server_close()
    return n_wrong


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", nargs="?", type=Path, default=BUILT)
    parser.add_argument("--only", default="", help="look at pages whose name has this")
    given = parser.parse_args()
    sys.exit(check(given.folder, given.only) > 0)
