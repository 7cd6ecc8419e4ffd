"""What the documents say is what the code does."""

import pkgutil
import re
import textwrap
import tomllib
from pathlib import Path

import pytest

from tests.common.architecture import FLOORS
from tests.docs_snippets.pages import text_of

REPOSITORY = Path(__file__).parents[2]
README = (REPOSITORY / "README.md").read_text("utf-8")
CI = (REPOSITORY / ".ci" / "run").read_text("utf-8")
DOCS = REPOSITORY / "docs"
# The pages that are kept in the repository; others are written while building.
WRITTEN = re.compile(r"api/|auto_examples/|_|sg_execution_times")
PAGES = {
    name: path
    for path in sorted(DOCS.rglob("*.rst"))
    if not WRITTEN.match(name := path.relative_to(DOCS).with_suffix("").as_posix())
}
PYPROJECT = tomllib.loads((REPOSITORY / "pyproject.toml").read_text("utf-8"))


def commands(markdown):
    """The commands of a page, one for each fenced block."""
    return [block.strip() for block in re.findall(r"```\n(.*?)```", markdown, re.S)]


def floors_on_the_page():
    """The rooms of each row of the architecture page's table."""
    page = (REPOSITORY / "docs" / "architecture.rst").read_text("utf-8")
    rows = re.findall(r"^   \* - (`.*)$", page, re.M)
    return tuple(tuple(re.findall(r"`(\w+)`", row)) for row in rows)


def packages(requirements):
    """Distribution names of a list of requirements."""
    names = (re.match(r"[\w-]+", requirement)[0] for requirement in requirements)
    return {name.lower().replace("_", "-") for name in names}


def test_readme_has_two_commands():
    assert len(commands(README)) == 2


@pytest.mark.parametrize("command", commands(README))
def test_ci_runs_the_very_commands_of_the_readme(command):
    assert command in CI.splitlines()


@pytest.mark.parametrize("command", commands(README))
def test_readme_installs_tested_versions(command):
    assert command.startswith("python -m pip install -c constraints.txt ")


def test_readme_example_runs(capsys):
    lines = re.findall(r"^(?:    .*)?$", README, re.M)
    exec(textwrap.dedent("\n".join(lines)), {})
    assert "robust_accuracy" in capsys.readouterr().out


def test_contributing_prints_the_same_test_command():
    install, test = commands(README)[1].split(" && ")
    page = (REPOSITORY / "CONTRIBUTING.md").read_text("utf-8")
    assert f"{install}\n{test}" in commands(page)


def test_architecture_page_is_the_table_of_the_import_test():
    assert floors_on_the_page() == FLOORS


def test_every_dependency_has_a_reason():
    page = (REPOSITORY / "CONTRIBUTING.md").read_text("utf-8").lower()
    project = PYPROJECT["project"]
    named = packages(project["dependencies"])
    assert not [name for name in named if not re.search(rf"\| .*\b{name}\b.* \|", page)]
    assert not [
        extra
        for extra in project["optional-dependencies"]
        if f"| `{extra}` |" not in page
    ]


def test_every_dependency_has_a_tested_version():
    lines = (REPOSITORY / "constraints.txt").read_text("utf-8").splitlines()
    pinned = packages(line for line in lines if not line.startswith("#"))
    extras = PYPROJECT["project"]["optional-dependencies"]
    needed = packages(PYPROJECT["project"]["dependencies"]).union(
        *(packages(extras[name]) for name in extras if name != "bench")
    )
    assert needed - {"robustkit"} <= pinned


def pages_below(page):
    """A page and all that the tables of contents on it lead to, those written by us."""
    folder, text = (DOCS / page).parent, text_of(page)
    found = {page}
    for tree in re.findall(r"\.\. toctree::\n((?:   .*\n|\n)+)", text):
        for entry in re.findall(r"^   (?:[^:\n]*<)?([\w/]+)>?$", tree, re.M):
            below = (folder / entry).relative_to(DOCS).as_posix()
            found |= pages_below(below) if below in PAGES else set()
    return found


def is_there(name):
    """Whether a dotted name is that of a module, or of something in one."""
    try:
        pkgutil.resolve_name(name)
    except (ImportError, AttributeError):
        return False
    return True


def dead_links(text):
    """Names that a page links to, and that do not exist."""
    module, dead = "robustkit", []
    role = r"^\.\. currentmodule:: (.*)$|:(?:class|func|meth|attr|exc|mod):`([^`]+)`"
    for current, link in re.findall(role, text, re.M):
        module = current or module
        name = re.sub(r"^.*<|>$|^~|\s", "", link, flags=re.S).lstrip("~")
        if link and not any(map(is_there, (name, f"{module}.{name}"))):
            dead.append(name)
    return dead


def test_every_page_can_be_reached_from_the_first():
    assert set(PAGES) == pages_below("index")


@pytest.mark.parametrize("page", PAGES)
def test_every_name_that_a_page_links_to_exists(page):
    assert not dead_links(text_of(page))


def test_a_dead_link_is_seen():
    page = (
        ".. currentmodule:: robustkit.graphs\n\n:class:`GraphPrior` :meth:`a <{}.fit>`"
    )
    assert not dead_links(page.format("~sklearn.pipeline.Pipeline"))
    assert dead_links(page.format("robustkit.GraphPriors")) == [
        "robustkit.GraphPriors.fit"
    ]
