"""What is run of every page, and how."""

import json
import os
import signal
import socket
import subprocess
import sys
from contextlib import closing, suppress
from types import SimpleNamespace

from tests.docs_snippets.pages import REPOSITORY, all_pages, snippets, text_of
from tests.docs_snippets.shortened import CODE, COMMANDS, NOT_RUN, SERVES
from tests.processes import PATIENCE

PAGES = {page: snippets(text_of(page)) for page in all_pages()}


def is_excused(command):
    """Whether a command is not run."""
    return command.startswith(tuple(NOT_RUN))


def as_run(command):
    """What is run in place of a command."""
    return COMMANDS.get(command, "...").replace("...", command)


def programs(pages):
    """The snippets of each page that are run with it.

    A command that several pages name is run once: by the first page that has it in a
    block, or else in a sentence. Doctests are left to pytest, and run again only where
    a block of Python goes on with what they have made.
    """
    first = {}
    for kind in ("console", "inline"):
        for pieces in pages.values():
            for piece in pieces:
                if piece.kind == kind and not is_excused(piece.source):
                    first.setdefault(as_run(piece.source), piece)
    found = {}
    for page, pieces in pages.items():
        own = [
            piece
            for piece in pieces
            # A file to save lies in the folder already.
            if piece.kind != "toml"
            if not piece.is_command() or first.get(as_run(piece.source)) is piece
        ]
        if not any(piece.kind == "python" for piece in own):
            # A command needs nothing of the examples around it.
            own = [piece for piece in own if piece.is_command()]
        if own:
            found[page] = own
    return found


def steps(pieces):
    """The snippets as `run_page` reads them."""
    port = str(free_port())
    for piece in pieces:
        if piece.is_command():
            source = as_run(piece.source).replace("{port}", port)
            said = [said for start, said in SERVES.items() if source.startswith(start)]
            yield ("service", source, said[0]) if said else ("command", source, None)
        else:
            source = piece.source
            for shown, shorter in CODE.items():
                source = source.replace(shown, shorter.replace("{port}", port))
            yield "python", source, piece.said()


def free_port():
    """A port that nobody listens at."""
    with closing(socket.create_server(("127.0.0.1", 0))) as server:
        return server.getsockname()[1]


def run(steps, folder, timeout=3 * PATIENCE, **environment):
    """Run a page in a process of its own: peers warn, and draw from global streams.

    Nothing of it is left running, whatever happens.
    """
    # The command of this environment and the package of this checkout, whatever else
    # the shell finds.
    path = os.pathsep.join([os.path.dirname(sys.executable), os.environ["PATH"]])
    modules = os.pathsep.join([str(REPOSITORY), os.environ.get("PYTHONPATH", "")])
    process = subprocess.Popen(
        [sys.executable, "-W", "ignore", "-m", "tests.docs_snippets.run_page"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=folder,
        start_new_session=True,
        env={
            **os.environ,
            "OMP_NUM_THREADS": "1",
            "PATH": path,
            "PYTHONPATH": modules.rstrip(os.pathsep),
            "MPLBACKEND": "agg",
            **environment,
        },
    )
    with process:
        try:
            out, err = process.communicate(json.dumps(list(steps)), timeout=timeout)
        finally:
            process.terminate()
            with suppress(subprocess.TimeoutExpired):
                process.wait(60)
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
    return SimpleNamespace(is_whole=out.endswith("all of it\n"), err=err)
