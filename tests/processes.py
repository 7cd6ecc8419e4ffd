"""Programs that tests start."""

import signal
import subprocess
from contextlib import contextmanager

# Seconds after which a test that waits gives up. It ends what hangs and promises no
# speed, so it suits a machine that is busy with other things.
PATIENCE = 300


@contextmanager
def hearing_ctrl_c():
    """Whatever is started here hears Ctrl-C.

    A shell lets a command in the background (`pytest &`) ignore it, and whoever ignores
    it hands that down to all that he starts.
    """
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


@contextmanager
def started(*words, **options):
    """Start a program that hears Ctrl-C, and that does not outlive the block."""
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with hearing_ctrl_c():
        process = subprocess.Popen(words, **pipes | options)
    with process:
        try:
            yield process
        finally:
            process.kill()
