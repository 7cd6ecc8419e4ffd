"""Every snippet of the README and of every page runs, or is named with a reason.

A page whose snippets are more than doctests is one program, from top to bottom. What is
run in place of what takes long stands in `shortened.py`.
"""

import argparse
import importlib
import os
import shlex
import shutil
import subprocess
from importlib.util import find_spec

import pytest

from robustkit import cli
from tests.docs_snippets import belongings
from tests.docs_snippets.pages import is_command, snippets
from tests.docs_snippets.programs import PAGES, as_run, is_excused, programs, run, steps
from tests.docs_snippets.shortened import CODE, COMMANDS, NOT_RUN, SERVES
from tests.processes import PATIENCE

# Page with blocks of Python -> what they need: a package, or the real data.
NEEDS = {
    "coming_from/art": "art",
    "coming_from/foolbox": "foolbox",
    "coming_from/torchattacks": "torchattacks",
    "coming_from/deepstruct": "deepstruct",
    "coming_from/keplermapper": "kmapper",
    "coming_from/giotto_tda": "gtda",
    "coming_from/gudhi": "gudhi",
    "coming_from/skorch": "skorch",
    "how_to/cluster": "distributed",
    "guide/study": "distributed",
    "guide/datasets": "real data",
    "guide/explorer": "anywidget",
    "how_to/large_data": "real data",
    "how_to/optuna": "optuna",
    "how_to/results_elsewhere": "mlflow",
    "how_to/save_and_load": "skops",
    "how_to/slurm": "submitit",
}
# Pages that train many networks, or start many programs.
SLOW = {
    "CONTRIBUTING.md",
    "README.md",
    "coming_from/skorch",
    "guide/classifiers",
    "guide/datasets",
    "guide/distances",
    "guide/regions",
    "quickstart",
    "how_to/cluster",
    "how_to/slurm",
    "how_to/large_data",
    "results/random_graphs",
    "results/regions",
    "results/topology",
    "guide/study",
    "guide/explorer",
}
PROGRAMS = programs(PAGES)
SHOWN = {p.source for pieces in PAGES.values() for p in pieces if p.is_command()}


@pytest.fixture(scope="session")
def laid_out(tmp_path_factory):
    """What lies in the folder of every page."""
    folder = tmp_path_factory.mktemp("belongings")
    belongings.lay_out(folder)
    return folder


@pytest.mark.parametrize(
    "page",
    [
        pytest.param(page, marks=[pytest.mark.slow] if page in SLOW else [])
        for page in PROGRAMS
    ],
)
def test_a_page_does_what_it_says(page, request, laid_out, tmp_path):
    need, environment = NEEDS.get(page), {}
    if need == "real data" or any(map(asks_for_real_data, PROGRAMS[page])):
        environment["ROBUSTKIT_DATA"] = str(request.getfixturevalue("real_data_home"))
    elif need and find_spec(need) is None:
        pytest.skip(f"{need} is not installed, which docs/{page}.rst shows")
    shutil.copytree(laid_out, tmp_path, dirs_exist_ok=True)
    done = run(steps(PROGRAMS[page]), tmp_path, **environment)
    assert done.is_whole, done.err[-2000:]


def asks_for_real_data(piece):
    """Whether a snippet is a command that names a data set of files."""
    words = as_run(piece.source).split() if piece.is_command() else ()
    return not {"mnist", "cifar10"}.isdisjoint(words)


def skipped_doctests(pieces):
    """Examples that a page shows, and that pytest passes over."""
    return [p.source for p in pieces if p.kind == "doctest" and "+SKIP" in p.source]


def unknown(pieces):
    """Blocks that are neither Python nor commands, nor a file to save."""
    return [
        piece.source
        for piece in pieces
        if not (
            piece.kind in ("doctest", "python", "toml")
            or (piece.is_command() and is_known(piece.source))
        )
    ]


def is_known(command):
    """Whether a command is one that can be parsed."""
    return is_excused(command) or is_command(" ".join(words_of(command)))


def words_of(command):
    """The words of a command, without what it sets for itself alone."""
    words = shlex.split(command)
    return [word for word in words if not word.startswith("CUDA_VISIBLE_DEVICES=")]


@pytest.mark.parametrize("page", PAGES)
def test_every_snippet_is_a_doctest_a_program_or_a_command(page):
    assert not unknown(PAGES[page])
    assert not skipped_doctests(PAGES[page])


def test_what_every_block_of_python_needs_is_known():
    assert set(NEEDS) == {
        page for page, ps in PAGES.items() if any(p.kind == "python" for p in ps)
    }


def test_every_command_is_run_or_excused():
    started = [p.source for ps in PROGRAMS.values() for p in ps if p.is_command()]
    run_as = [as_run(command) for command in started]
    assert len(run_as) == len(set(run_as))
    for command in SHOWN:
        assert is_excused(command) != (as_run(command) in run_as)


def test_no_exception_outlives_its_snippet():
    assert set(PROGRAMS) >= SLOW
    code = "".join(p.source for ps in PAGES.values() for p in ps if p.kind == "python")
    assert not [key for key in NOT_RUN if not any(c.startswith(key) for c in SHOWN)]
    assert not [key for key in COMMANDS if key not in SHOWN or is_excused(key)]
    assert not [key for key in CODE if key not in code]
    run_as = [as_run(command) for command in SHOWN]
    assert not [key for key in SERVES if not any(c.startswith(key) for c in run_as)]


@pytest.mark.parametrize("page", NEEDS)
def test_the_blocks_of_python_are_python(page):
    blocks = [piece.source for piece in PAGES[page] if piece.kind == "python"]
    assert all(compile(block, page, "exec") for block in blocks)


@pytest.mark.parametrize("command", sorted(SHOWN))
def test_every_command_is_understood(command, monkeypatch):
    program, *rest = words_of(command)
    if program == "robustkit":
        assert cli._parse(rest)
    elif program == "dask":
        parse_dask(rest)
    elif rest[:1] == ["-m"] and rest[1].startswith(("benchmarks", "papers")):
        parse_module(rest[1], rest[2:], monkeypatch)
    else:
        assert is_excused(command)


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
    with pytest.raises(UnderstoodError, match="understood"):
        importlib.import_module(name).main()


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

   $ echo {} > said && echo here >> said    # as well

Or so::

    robustkit datasets

and then ``robustkit  demo``, ``robustkit datasets``.
"""


def test_a_page_that_is_wrong_is_seen(tmp_path):
    right, wrong = (snippets(PAGE.format(n, n)) for n in (2, 3))
    kinds = ["doctest", "python", *["console"] * 3, *["inline"] * 2]
    assert [piece.kind for piece in right] == kinds
    assert run(steps(right[:5]), tmp_path).is_whole
    assert (tmp_path / "said").read_text("utf-8") == "2\nhere\n"
    assert "AssertionError" in run(steps(wrong), tmp_path).err
    failing = snippets(".. code-block:: console\n\n   robustkit dataset\n")
    assert "returned non-zero exit status 2" in run(steps(failing), tmp_path).err


def test_a_command_is_run_once_and_first_where_it_has_a_block():
    said, shown = (snippets(text) for text in ("``robustkit demo``", PAGE))
    again = snippets("::\n\n    robustkit datasets\n    python -m pip install x\n")
    found = programs({"said": said, "shown": shown, "again": again})
    assert list(found) == ["said", "shown"]
    assert [piece.source for piece in found["said"]] == ["robustkit demo"]
    commands = [piece.source for piece in found["shown"] if piece.is_command()]
    assert commands == ["echo {} > said", "echo here >> said", "robustkit datasets"]


SERVICE = "sh -c 'echo $$ > {}; echo ready; exec sleep 600'"


@pytest.mark.parametrize("last", ["true", "false", "sleep 600"])
def test_nothing_is_left_running(last, tmp_path):
    """Neither of a page that is whole, nor of one that fails, nor of one that hangs."""
    serve = ("service", SERVICE.format("pid"), "ready")
    both = [serve, ("command", last, None)]
    if last == "sleep 600":
        # A machine that is busy does not come so far so soon.
        for seconds in (2, 20, PATIENCE):
            with pytest.raises(subprocess.TimeoutExpired, match="timed out"):
                run(both, tmp_path, timeout=seconds)
            if (tmp_path / "pid").exists():
                break
    else:
        assert run(both, tmp_path).is_whole is (last == "true")
    with pytest.raises(ProcessLookupError, match="No such process"):
        os.kill(int((tmp_path / "pid").read_text("utf-8")), 0)


def test_what_does_not_serve_is_seen(tmp_path):
    for command in ("echo never", "false"):
        done = run([("service", command, "ready")], tmp_path)
        assert f"{command} ended" in done.err
    begins = [("service", "echo ready", "ready"), ("command", "sleep 0.2", None)]
    assert "echo ready ended" in run(begins, tmp_path).err


def test_a_snippet_that_nobody_runs_is_seen():
    assert unknown(snippets("So::\n\n    f(x)\n\nand on.\n"))
    assert unknown(snippets(".. code-block:: ruby\n\n   puts 1\n"))
    assert unknown(snippets(".. code-block:: console\n\n   make\n"))
    assert skipped_doctests(snippets(">>> 1 / 0  # doctest: +SKIP\n"))
    with pytest.raises(SystemExit, match="2"):
        cli._parse(["study", "--presett", "quick"])
