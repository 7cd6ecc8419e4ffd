"""Every snippet of the README and of every page runs, or is named here with a reason.

A page whose snippets are more than doctests is one program, from top to bottom. It is
run in an empty folder.
"""

import argparse
import importlib
import json
import os
import shlex
import subprocess
import sys
from importlib.util import find_spec

import pytest

from robustkit import cli
from tests.docs_snippets.pages import (
    REPOSITORY,
    all_pages,
    inline_commands,
    is_command,
    snippets,
    text_of,
)

# Page with blocks of Python -> what they need: a package, or the real data.
NEEDS = {
    "coming_from/art": "art",
    "coming_from/foolbox": "foolbox",
    "coming_from/torchattacks": "torchattacks",
    "coming_from/deepstruct": "deepstruct",
    "coming_from/keplermapper": "kmapper",
    "coming_from/giotto_tda": "gtda",
    "coming_from/skorch": "skorch",
    "how_to/cluster": "distributed",
    "guide/study": "distributed",
    "guide/datasets": "real data",
    "how_to/large_data": "real data",
}
# On the page -> run in its place, for it takes minutes, or asks for what is not here.
SMALLER = {
    "robustkit study": "robustkit study --n-graphs 3 --inits uniform --n-jobs 1",
    "robustkit explore --demo": "robustkit explore --demo --export demo.html",
    'Client("tcp://scheduler:8786")': "Client(n_workers=2, dashboard_address=None)",
}
# How a command begins that is not run: reason. All of them are parsed.
NOT_RUN = {
    "python -m venv": "installs: .ci/run does it",
    "python -m pip install": "installs: .ci/run does it, the README's word for word",
    "python -m pytest": "runs this very test: .ci/run does it",
    "python -m benchmarks": "takes up to a night: tests/reproduce tests its parts",
    "robustkit study --preset": "takes an hour or more, and MNIST",
    "dask scheduler": "serves until it is stopped",
    "dask worker": "needs several machines",
    "CUDA_VISIBLE_DEVICES=": "needs several GPUs",
}
RUN = """
import contextlib, io, json, subprocess, sys
names = {"__name__": "__main__"}
for kind, source, expected in json.load(sys.stdin):
    if kind == "console":
        subprocess.run(source, shell=True, check=True, stdout=sys.stderr)
        continue
    said = io.StringIO()
    with contextlib.redirect_stdout(said):
        exec(source, names)
    if expected is not None:
        assert said.getvalue().splitlines() == expected, (source, said.getvalue())
print("all of it")
"""
PAGES = {page: snippets(text_of(page)) for page in all_pages()}
COMMANDS = {
    command
    for page, pieces in PAGES.items()
    for command in (
        *(piece.source for piece in pieces if piece.kind == "console"),
        *inline_commands(text_of(page)),
    )
}


def is_excused(piece):
    """Whether a snippet is a command that is not run."""
    return piece.kind == "console" and piece.source.startswith(tuple(NOT_RUN))


def to_run(piece):
    """What of a snippet is run, as the process that runs it wants it."""
    source = piece.source
    if piece.kind == "console":
        return piece.kind, SMALLER.get(source, source), None
    for shown, smaller in SMALLER.items():
        source = source.replace(shown, smaller)
    return piece.kind, source, piece.said()


def run(pieces, folder, **environment):
    """Run a page in a process of its own: peers warn, and draw from global streams."""
    pieces = [to_run(piece) for piece in pieces if not is_excused(piece)]
    # The command of this environment and the package of this checkout, whatever else
    # the shell finds.
    path = os.pathsep.join([os.path.dirname(sys.executable), os.environ["PATH"]])
    modules = os.pathsep.join([str(REPOSITORY), os.environ.get("PYTHONPATH", "")])
    return subprocess.run(
        [sys.executable, "-W", "ignore", "-c", RUN],
        input=json.dumps(pieces),
        capture_output=True,
        text=True,
        cwd=folder,
        timeout=300,
        env={
            **os.environ,
            "OMP_NUM_THREADS": "1",
            "PATH": path,
            "PYTHONPATH": modules.rstrip(os.pathsep),
            "MPLBACKEND": "agg",
            **environment,
        },
    )


def with_kind(kind):
    """Pages that have a snippet of a kind that is to be run."""
    return [
        page
        for page, pieces in PAGES.items()
        if any(piece.kind == kind and not is_excused(piece) for piece in pieces)
    ]


def skipped_doctests(pieces):
    """Examples that a page shows, and that pytest passes over."""
    return [p.source for p in pieces if p.kind == "doctest" and "+SKIP" in p.source]


def unknown(pieces):
    """Blocks that are neither Python nor commands."""
    return [
        piece.source
        for piece in pieces
        if piece.kind not in ("doctest", "python", "console")
        or (piece.kind == "console" and not is_known(piece.source))
    ]


def is_known(command):
    """Whether a command is one that can be parsed."""
    words = [word for word in shlex.split(command) if not word.isupper()]
    return is_command(next(w for w in words if not w.startswith("CUDA_VISIBLE")))


@pytest.mark.parametrize("page", PAGES)
def test_every_snippet_is_a_doctest_a_program_or_a_command(page):
    assert not unknown(PAGES[page])
    assert not skipped_doctests(PAGES[page])


def test_what_every_block_of_python_needs_is_known():
    assert set(with_kind("python")) == set(NEEDS)


def test_no_exception_outlives_its_snippet():
    excused = [start for start in NOT_RUN if any(c.startswith(start) for c in COMMANDS)]
    assert excused == list(NOT_RUN)
    blocks = "".join(p.source for ps in PAGES.values() for p in ps)
    assert not [shown for shown in SMALLER if shown not in blocks]


@pytest.mark.parametrize("page", NEEDS)
def test_the_blocks_of_python_do_what_the_page_says(page, request, tmp_path):
    need, environment = NEEDS[page], {}
    if need == "real data":
        environment["ROBUSTKIT_DATA"] = str(request.getfixturevalue("real_data_home"))
    elif find_spec(need) is None:
        pytest.skip(f"{need} is not installed, which docs/{page}.rst shows")
    done = run(PAGES[page], tmp_path, **environment)
    assert done.stdout.endswith("all of it\n"), done.stderr[-2000:]


@pytest.mark.parametrize("page", NEEDS)
def test_the_blocks_of_python_are_python(page):
    blocks = [piece.source for piece in PAGES[page] if piece.kind == "python"]
    assert all(compile(block, page, "exec") for block in blocks)


@pytest.mark.parametrize("page", with_kind("console"))
def test_the_commands_of_a_page_run(page, tmp_path):
    done = run([p for p in PAGES[page] if p.kind != "python"], tmp_path)
    assert done.stdout.endswith("all of it\n"), done.stderr[-2000:]


@pytest.mark.parametrize("command", sorted(COMMANDS))
def test_every_command_is_understood(command, monkeypatch):
    for part in command.split("&&"):
        words = shlex.split(part.strip().removesuffix("&"), comments=True)
        words = [word for word in words if not word.startswith("CUDA_VISIBLE")]
        program, *rest = words
        if program == "robustkit":
            assert cli._parse(rest)
        elif program == "dask":
            parse_dask(rest)
        elif rest[:1] == ["-m"] and rest[1].startswith("benchmarks"):
            parse_module(rest[1], rest[2:], monkeypatch)


class UnderstoodError(Exception):
    """Raised in place of doing what was asked for."""


def parse_module(name, words, monkeypatch):
    """Let the parser of a module of ours read some words."""
    parse = argparse.ArgumentParser.parse_args

    def parse_only(parser, given=None, namespace=None):
        parse(parser, words if given is None else given, namespace)
        raise UnderstoodError("understood")

    monkeypatch.setattr(argparse.ArgumentParser, "parse_args", parse_only)
    if find_spec(name).submodule_search_locations:
        name = f"{name}.__main__"
    module = importlib.import_module(name)
    if not (words or hasattr(module, "main")):
        return
    with pytest.raises(UnderstoodError, match="understood"):
        module.main()


def parse_dask(words):
    """Let Dask's own parser read some words."""
    pytest.importorskip("distributed")
    module = importlib.import_module(f"distributed.cli.dask_{words[0]}")
    assert module.main.make_context(words[0], words[1:])


@pytest.mark.parametrize("page", [p for p in NEEDS if p.startswith("coming_from/")])
def test_the_page_shows_both_sides(page):
    assert any(piece.kind == "doctest" for piece in PAGES[page])
    assert any(piece.said() for piece in PAGES[page])


PAGE = """\
>>> n = 1

.. code-block:: python

   print(n + 1)  # {}

.. code-block:: console

   $ echo {} > said

Or so::

    robustkit datasets
"""


def test_a_page_that_is_wrong_is_seen(tmp_path):
    right, wrong = (snippets(PAGE.format(n, n)) for n in (2, 3))
    assert [piece.kind for piece in right] == ["doctest", "python", *["console"] * 2]
    assert run(right, tmp_path).stdout == "all of it\n"
    assert (tmp_path / "said").read_text() == "2\n"
    assert "AssertionError" in run(wrong, tmp_path).stderr
    failing = snippets(".. code-block:: console\n\n   robustkit dataset\n")
    assert "returned non-zero exit status 2" in run(failing, tmp_path).stderr


def test_a_snippet_that_nobody_runs_is_seen():
    assert unknown(snippets("So::\n\n    f(x)\n\nand on.\n"))
    assert unknown(snippets(".. code-block:: ruby\n\n   puts 1\n"))
    assert skipped_doctests(snippets(">>> 1 / 0  # doctest: +SKIP\n"))
    with pytest.raises(SystemExit, match="2"):
        cli._parse(["study", "--presett", "quick"])
