"""What the documents say is what the code does."""

import re
import textwrap
import tomllib
from pathlib import Path

import pytest

from tests.common.architecture import FLOORS

REPOSITORY = Path(__file__).parents[2]
README = (REPOSITORY / "README.md").read_text()
CI = (REPOSITORY / ".ci" / "run").read_text()
PYPROJECT = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())


def commands(markdown):
    """The commands of a page, one for each fenced block."""
    return [block.strip() for block in re.findall(r"```\n(.*?)```", markdown, re.S)]


def floors_on_the_page():
    """The rooms of each row of the architecture page's table."""
    page = (REPOSITORY / "docs" / "architecture.rst").read_text()
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
    page = (REPOSITORY / "CONTRIBUTING.md").read_text()
    assert f"{install}\n{test}" in commands(page)


def test_architecture_page_is_the_table_of_the_import_test():
    assert floors_on_the_page() == FLOORS


def test_every_dependency_has_a_reason():
    page = (REPOSITORY / "CONTRIBUTING.md").read_text().lower()
    project = PYPROJECT["project"]
    named = packages(project["dependencies"])
    assert not [name for name in named if not re.search(rf"\| .*\b{name}\b.* \|", page)]
    assert not [
        extra
        for extra in project["optional-dependencies"]
        if f"| `{extra}` |" not in page
    ]


def test_every_dependency_has_a_tested_version():
    lines = (REPOSITORY / "constraints.txt").read_text().splitlines()
    pinned = packages(line for line in lines if not line.startswith("#"))
    extras = PYPROJECT["project"]["optional-dependencies"]
    needed = packages(PYPROJECT["project"]["dependencies"]).union(
        *(packages(extras[name]) for name in extras if name != "bench")
    )
    assert needed - {"robustkit"} <= pinned


def test_every_guide_page_is_in_the_index():
    guide = REPOSITORY / "docs" / "guide"
    listed = re.findall(r"^   (\w+)$", (guide / "index.rst").read_text(), re.M)
    pages = {path.stem for path in guide.glob("*.rst")} - {"index"}
    assert pages == set(listed)
