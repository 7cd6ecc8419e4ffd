"""A page is run: read from standard input as a list of [kind, source, expected].

Python has one namespace, and is expected to print these lines, if any. A "service" runs
beside the rest as soon as it has said what is expected, until the end, whatever the end
is.
"""

import contextlib
import io
import json
import shlex
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.processes import PATIENCE


def run(steps):
    """Carry out all steps, or fail."""
    names = {"__name__": "__main__"}
    with contextlib.ExitStack() as services:
        for kind, source, expected in steps:
            if kind == "service":
                services.enter_context(serving(source, expected))
            elif kind == "command":
                subprocess.run(source, shell=True, check=True, stdout=sys.stderr)
            else:
                said = io.StringIO()
                with contextlib.redirect_stdout(said):
                    exec(source, names)
                if expected is not None:
                    assert said.getvalue().splitlines() == expected, said.getvalue()


@contextlib.contextmanager
def serving(command, ready):
    """Start what serves until it is stopped, and see that it does."""
    with tempfile.NamedTemporaryFile() as log:
        process = subprocess.Popen(shlex.split(command), stdout=log, stderr=log)
        try:
            end = time.monotonic() + PATIENCE
            while ready not in (said := Path(log.name).read_text("utf-8")):
                assert process.poll() is None, f"{command} ended:\n{said}"
                if time.monotonic() > end:
                    raise TimeoutError(f"{command} is not ready:\n{said}")
                time.sleep(0.05)
            yield
            assert process.poll() is None, f"{command} ended:\n{said}"
        finally:
            process.terminate()
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


if __name__ == "__main__":
    # Whoever stops this stops the services.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("stopped"))
    run(json.load(sys.stdin))
    sys.stdout.write("all of it\n")
