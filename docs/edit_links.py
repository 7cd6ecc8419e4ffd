"""Where the source of a page can be edited.

The address of the repository is that of the checkout: nobody has to keep it in a file.
"""

import importlib
import inspect
import os
import re
import subprocess
from functools import cache
from pathlib import Path

REPOSITORY = Path(__file__).parents[1]
# How git names a host. The port of ssh is not that of the web pages.
HOSTS = (
    r"https?://(?:[^@/]*@)?([\w.-]+(?::\d+)?)/",
    r"ssh://(?:[^@/]*@)?([\w.-]+)(?::\d+)?/",
    r"[\w.-]+@([\w.-]+):/?",
)


@cache
def repository():
    """Address of the repository as a browser opens it, or None."""
    named = os.environ.get("READTHEDOCS_GIT_CLONE_URL")
    if "GITHUB_REPOSITORY" in os.environ:
        named = "{GITHUB_SERVER_URL}/{GITHUB_REPOSITORY}".format_map(os.environ)
    if not named:
        command = ["git", "-C", str(REPOSITORY), "remote", "get-url", "origin"]
        try:
            answer = subprocess.run(command, capture_output=True, text=True)
        except OSError:
            # No git here.
            return None
        named = answer.stdout.strip()
    return address(named)


def address(named):
    """Turn what git calls a repository into an address for a browser."""
    for host in HOSTS:
        if found := re.fullmatch(host + r"(.+?)(?:\.git)?/?", named):
            return f"https://{found[1]}/{found[2]}"
    return None


def source_of(page):
    """The file in the repository from which a page is made, or None."""
    if page.startswith("api/generated/"):
        return module_file(page.removeprefix("api/generated/"))
    if page.startswith("auto_examples/"):
        example = REPOSITORY / "examples" / page.removeprefix("auto_examples/")
        if example.name == "index":
            return relative(example.with_name("GALLERY_HEADER.rst"))
        return relative(example.with_suffix(".py"))
    path = REPOSITORY / "papers" / page.removeprefix("results/") / "page.rst"
    if page.startswith("results/") and path.exists():
        return relative(path)
    if page == "changelog":
        return "CHANGELOG.md"
    path = REPOSITORY / "docs" / f"{page}.rst"
    return relative(path) if not page.startswith("api/") else None


def module_file(name):
    """The file that defines a public name."""
    module, _, name = name.rpartition(".")
    thing = getattr(importlib.import_module(module), name)
    return relative(Path(inspect.getfile(inspect.unwrap(thing))))


def relative(path):
    """A path as seen from the root of the repository, if there is such a file."""
    path = path.resolve()
    if path.is_file() and path.is_relative_to(REPOSITORY):
        return path.relative_to(REPOSITORY).as_posix()
    return None


def add(app, page, template, context, doctree):
    """Tell the template of a page where to edit it."""
    source = source_of(page) if doctree is not None else None
    known = repository()
    context["edit_url"] = known and source and f"{known}/edit/main/{source}"
    context["edit_source"] = source
