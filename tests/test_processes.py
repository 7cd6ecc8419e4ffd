"""Programs that tests start hear Ctrl-C and do not outlive their test."""

import signal
import subprocess
import sys

import pytest

from tests.processes import PATIENCE, started

SLEEPER = (sys.executable, "-c", "print('awake', flush=True); input()")


@pytest.fixture
def in_the_background():
    """As a shell starts `pytest &`: Ctrl-C is ignored."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("in_the_background")
def test_a_program_hears_ctrl_c_though_its_parent_does_not():
    with started(*SLEEPER, stdin=subprocess.PIPE) as process:
        assert process.stdout.readline() == "awake\n"
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=PATIENCE)
    assert err.splitlines()[-1] == "KeyboardInterrupt"
    assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN


def test_a_program_ends_with_the_test_that_fails():
    programs = []

    def fail():
        with started(*SLEEPER, stdin=subprocess.PIPE) as process:
            programs.append(process)
            assert process.stdout.readline() == "awake\n"
            raise ZeroDivisionError("as a test fails")

    with pytest.raises(ZeroDivisionError, match="as a test fails"):
        fail()
    assert programs[0].returncode == -signal.SIGKILL
    assert programs[0].stdout.closed
