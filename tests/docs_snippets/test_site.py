"""The site is whole: examples have places, pages have sources, a browser is content."""

import ast
import importlib.util
import re
import shutil
import subprocess
import sys

import pytest

from tests.docs_snippets.pages import DOCS, REPOSITORY, all_pages
from tests.processes import PATIENCE

EXAMPLES = REPOSITORY / "examples"
CONF = (DOCS / "conf.py").read_text("utf-8")


def load(name):
    """A script beside the pages, as a module."""
    spec = importlib.util.spec_from_file_location(name, DOCS / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def constant(source, name):
    """What is assigned to a name of a script."""
    (value,) = (
        node.value
        for node in ast.parse(source).body
        if isinstance(node, ast.Assign) and node.targets[0].id == name
    )
    return ast.literal_eval(value)


def test_every_example_has_a_place_in_its_section():
    order = constant((DOCS / "gallery_setup.py").read_text("utf-8"), "ORDER")
    assert sorted(order) == sorted(path.name for path in EXAMPLES.glob("*/plot_*.py"))
    sections = re.search(r"for section in (\(.*?\))", CONF)[1]
    assert set(ast.literal_eval(sections)) == {
        path.parent.name for path in EXAMPLES.glob("*/GALLERY_HEADER.rst")
    }


@pytest.mark.parametrize(
    ("named", "address"),
    [
        ("git@github.com:owner/name.git", "https://github.com/owner/name"),
        ("https://gitlab.com/a/b/c.git", "https://gitlab.com/a/b/c"),
        ("https://user:word@github.com/owner/name", "https://github.com/owner/name"),
        ("ssh://git@codeberg.org/owner/name.git", "https://codeberg.org/owner/name"),
        ("ssh://git@host.org:2222/owner/name.git", "https://host.org/owner/name"),
        ("https://host.org:8443/owner/name.git", "https://host.org:8443/owner/name"),
        ("git@host.org:2222/name.git", "https://host.org/2222/name"),
        ("/a/folder/name", None),
        ("", None),
    ],
)
def test_edit_link_leads_to_the_repository(named, address):
    assert load("edit_links").address(named) == address


def test_every_page_knows_its_source():
    source_of = load("edit_links").source_of
    pages = [page for page in all_pages() if not page.endswith(".md")]
    assert all((REPOSITORY / source_of(page)).is_file() for page in pages)
    assert source_of("results/topology") == "papers/topology/page.rst"
    assert source_of("changelog") == "CHANGELOG.md"
    example = "inside/plot_explorer"
    assert source_of(f"auto_examples/{example}") == f"examples/{example}.py"
    assert source_of("auto_examples/inside/index") == (
        "examples/inside/GALLERY_HEADER.rst"
    )
    prior = "api/generated/robustkit.graphs.GraphPrior"
    assert source_of(prior) == "robustkit/graphs/_prior.py"


PAGE = "<!doctype html><link rel=icon href=data:,><article>{}</article>"
TABLE = "<div style='width: 300px'><table><td style='min-width: {}px'>7</table></div>"


# What stands on a page -> what is wrong with it.
PAGES = {
    TABLE.format(100): "",
    TABLE.format(400): "a table does not fit: 7",
    "<p style='width: 1000px'>7": "618 px wider than a window of 390 px",
    "<script>console.error('oh')</script>": "oh",
    "<script>undefined_name()</script>": "undefined_name is not defined",
    "<script src=missing.js></script>": "404",
}


@pytest.mark.slow
def test_browser_finds_what_is_wrong_with_a_page(tmp_path):
    pytest.importorskip("playwright", reason="it drives the browser")
    if shutil.which("chromium") is None:
        pytest.skip("there is no program 'chromium' to open the pages with")
    for number, body in enumerate(PAGES):
        (tmp_path / f"{number}.html").write_text(PAGE.format(body), "utf-8")
    # Playwright draws from the global stream of random numbers: elsewhere, please.
    command = [sys.executable, "-W", "ignore", DOCS / "check_pages.py", tmp_path]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=3 * PATIENCE, check=False
    )
    assert done.returncode == 1, done.stderr
    for number, wrong in enumerate(PAGES.values()):
        lines = [
            line for line in done.stdout.splitlines() if line.startswith(f"{number}.")
        ]
        assert any(wrong in line for line in lines) if wrong else not lines


def test_changelog_keeps_its_words_as_a_page():
    text = (REPOSITORY / "CHANGELOG.md").read_text("utf-8")
    text += "\n[a b](https://c)\n"
    page = load("write_changelog").converted(text)
    assert page.startswith("Changelog\n=========\n")
    assert "\nAdded\n^^^^^\n" in page
    assert "\n`a b <https://c>`__\n" in page
    words = "[a-zA-Z0-9]+"
    assert re.findall(words, text) == re.findall(words, page)
