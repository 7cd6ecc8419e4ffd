"""Every piece of code on a page, found rather than listed.

What a reader types into Python is a doctest, and pytest runs it. A ``code-block`` of
Python shows what needs more than the tests have: another package, or MNIST. Any other
literal block holds commands of a shell, one a line. Some stand in the middle of a
sentence.
"""

import doctest
import re
import textwrap
from dataclasses import dataclass
from pathlib import Path

REPOSITORY = Path(__file__).parents[2]
DOCS = REPOSITORY / "docs"
# Not kept in the repository, but written while building, or shown as it is.
WRITTEN = re.compile(r"api/|auto_examples/|_|sg_execution_times|changelog")
# A literal block: the line that opens it, and all lines further to the right.
BLOCK = re.compile(
    r"^( *)(?:\.\. code-block:: (\w+)|(?!\.\. |>>>)(?:\S.*)?::)\n((?:\1 +.*\n|\n)+)",
    re.M,
)
FENCE = re.compile(r"^```\w*\n(.*?)^```$", re.M | re.S)
INCLUDE = re.compile(r"^\.\. include:: (\S*papers/\S+\.rst)$", re.M)
INLINE = re.compile(r"(`+)((?:robustkit|python -m)\s[^`]+)\1")
# What follows a command on its line, and is no part of it.
BEHIND = re.compile(r"\s+(#.*|&)$")
SAID = re.compile(r"^print\(.*\)  # (.*)$", re.M)


@dataclass
class Snippet:
    """A piece of code of one page."""

    kind: str
    """"doctest", "python", "console", or "inline" for a command in a sentence; for any
    other block its language, or ""."""

    at: int
    """Where on the page it stands."""

    source: str
    """Its text."""

    def is_command(self):
        """Whether it is one for a shell."""
        return self.kind in ("console", "inline")

    def said(self):
        """What each ``print`` says, by the comment behind it."""
        return SAID.findall(self.source) if self.kind == "python" else None


def text_of(page):
    """Text of a page, and of what it includes."""
    path = page_path(page)

    def included(line):
        return (path.parent / line[1]).read_text("utf-8")

    return INCLUDE.sub(included, path.read_text("utf-8"))


def page_path(page):
    """The file of a page; the README and its like stand outside of docs/."""
    return REPOSITORY / page if page.endswith(".md") else DOCS / f"{page}.rst"


def all_pages():
    """Names of the pages that are kept in the repository."""
    names = (p.relative_to(DOCS).with_suffix("") for p in sorted(DOCS.rglob("*.rst")))
    names = [name.as_posix() for name in names]
    return [
        "README.md",
        "CONTRIBUTING.md",
        *(name for name in names if not WRITTEN.match(name)),
    ]


def snippets(text):
    """All pieces of code of a page, from top to bottom."""
    found = [*_blocks(text), *_fences(text), *_inline(text), *_doctests(text)]
    return sorted(found, key=lambda snippet: snippet.at)


def _blocks(text):
    for block in BLOCK.finditer(text):
        _, language, body = block.groups()
        lines = textwrap.dedent(body).strip().splitlines()
        if language == "console" or (language is None and all(map(is_command, lines))):
            for line in lines:
                yield from _commands(line.removeprefix("$ "), block.start())
        else:
            yield Snippet(language or "", block.start(), "\n".join(lines) + "\n")


def _fences(text):
    for fence in FENCE.finditer(text):
        for line in fence[1].strip().splitlines():
            yield from _commands(line, fence.start())


def _commands(line, at):
    for command in filter(None, line.split(" && ")):
        yield Snippet("console", at, BEHIND.sub("", command))


def _inline(text):
    for found in INLINE.finditer(text):
        yield Snippet("inline", found.start(), " ".join(found[2].split()))


def _doctests(text):
    starts = [0]
    for line in text.splitlines(keepends=True):
        starts.append(starts[-1] + len(line))
    for example in doctest.DocTestParser().get_examples(text):
        yield Snippet("doctest", starts[example.lineno], example.source)


def is_command(line):
    """Whether a line is one for a shell, rather than for Python."""
    return not line or line.split()[0] in ("robustkit", "python", "$", "dask")
