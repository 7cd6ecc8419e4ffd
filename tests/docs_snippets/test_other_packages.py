"""What the pages show of packages that we do not need, where these are installed.

Our own code on a page is a doctest. Code that needs another package is a ``code-block``
of Python, and what it prints stands behind each ``print`` as a comment. Such a page is
one program, from top to bottom.
"""

import doctest
import json
import os
import re
import subprocess
import sys
import textwrap
from importlib.util import find_spec
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
DOCS = REPOSITORY / "docs"
PACKAGES = {
    "coming_from/art": "art",
    "coming_from/foolbox": "foolbox",
    "coming_from/torchattacks": "torchattacks",
    "coming_from/deepstruct": "deepstruct",
    "coming_from/keplermapper": "kmapper",
    "coming_from/giotto_tda": "gtda",
    "coming_from/skorch": "skorch",
    "how_to/cluster": "distributed",
}
# Shows how to reach a cluster that stands elsewhere; how_to/cluster starts its own.
NOT_RUN = {"guide/study"}
BLOCK = re.compile(r"^( *)\.\. code-block:: python\n\n((?:\1   .*\n|\n)+)", re.M)
SAID = re.compile(r"^print\(.*\)  # (.*)$", re.M)
RUN = """
import contextlib, io, json, sys
names = {"__name__": "__main__"}
for source, expected in json.load(sys.stdin):
    said = io.StringIO()
    with contextlib.redirect_stdout(said):
        exec(source, names)
    if expected is not None:
        assert said.getvalue().splitlines() == expected, (source, said.getvalue())
print("all of it")
"""


def program(page):
    """Pieces of source in the order of the page; of theirs, also what they print."""
    pieces = [
        (match.start(), textwrap.dedent(match[2]).strip() + "\n")
        for match in BLOCK.finditer(page)
    ]
    pieces = [(at, source, SAID.findall(source)) for at, source in pieces]
    starts = [0]
    for line in page.splitlines(keepends=True):
        starts.append(starts[-1] + len(line))
    pieces += [
        (starts[example.lineno], example.source, None)
        for example in doctest.DocTestParser().get_examples(page)
    ]
    return [piece[1:] for piece in sorted(pieces, key=lambda piece: piece[0])]


def run(page):
    """Run a page in a process of its own: peers warn, and draw from global streams."""
    return subprocess.run(
        [sys.executable, "-W", "ignore", "-c", RUN],
        input=json.dumps(program(page)),
        capture_output=True,
        text=True,
        cwd=REPOSITORY,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )


def text_of(page):
    """What stands on a page."""
    return (DOCS / f"{page}.rst").read_text()


def test_every_page_with_such_code_is_run():
    pages = [p for p in DOCS.rglob("*.rst") if "auto_examples" not in p.parts]
    with_code = {
        page.relative_to(DOCS).with_suffix("").as_posix()
        for page in pages
        if BLOCK.search(page.read_text())
    }
    assert with_code - NOT_RUN == set(PACKAGES)


@pytest.mark.parametrize("page", PACKAGES)
def test_the_page_shows_both_sides(page):
    pieces = program(text_of(page))
    assert any(said is None for _, said in pieces)
    assert any(said for _, said in pieces)


@pytest.mark.parametrize(("page", "package"), PACKAGES.items())
def test_the_code_does_what_the_page_says(page, package):
    if find_spec(package) is None:
        pytest.skip(f"{package} is not installed, which docs/{page}.rst shows")
    done = run(text_of(page))
    assert done.stdout.endswith("all of it\n"), done.stderr[-2000:]


def test_a_page_that_is_wrong_is_seen():
    page = ">>> n = 1\n\n.. code-block:: python\n\n   print(n + 1)  # {}\n"
    assert run(page.format(2)).stdout == "all of it\n"
    assert "AssertionError" in run(page.format(3)).stderr
