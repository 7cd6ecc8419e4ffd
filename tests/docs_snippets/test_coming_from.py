"""What the pages "coming from" show of other packages, where these are installed.

Our half of a page is a doctest. Theirs is a ``code-block`` of Python, and what it
prints stands behind each ``print`` as a comment. A page is one program, top to bottom.
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
PAGES = REPOSITORY / "docs" / "coming_from"
PEERS = {
    "art": "art",
    "foolbox": "foolbox",
    "torchattacks": "torchattacks",
    "deepstruct": "deepstruct",
    "keplermapper": "kmapper",
    "giotto_tda": "gtda",
    "skorch": "skorch",
}
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


def test_every_page_is_among_those_that_run():
    assert {path.stem for path in PAGES.glob("*.rst")} - {"index"} == set(PEERS)


@pytest.mark.parametrize("name", PEERS)
def test_every_page_shows_both_sides(name):
    pieces = program((PAGES / f"{name}.rst").read_text())
    assert any(said is None for _, said in pieces)
    assert any(said for _, said in pieces)


@pytest.mark.parametrize(("name", "package"), PEERS.items())
def test_their_half_does_what_the_page_says(name, package):
    if find_spec(package) is None:
        pytest.skip(f"{package} is not installed, which docs/coming_from/{name} shows")
    done = run((PAGES / f"{name}.rst").read_text())
    assert done.stdout.endswith("all of it\n"), done.stderr[-2000:]


def test_a_page_that_is_wrong_is_seen():
    page = ">>> n = 1\n\n.. code-block:: python\n\n   print(n + 1)  # {}\n"
    assert run(page.format(2)).stdout == "all of it\n"
    assert "AssertionError" in run(page.format(3)).stderr
