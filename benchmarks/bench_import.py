"""``import robustkit`` costs hardly more than ``import sklearn``."""

import os
import subprocess
import sys

from benchmarks.harness import Case


def cases():
    """Each call starts a fresh interpreter; its own CPU time is what it prints."""
    yield Case(
        name="import the package in a fresh interpreter",
        peer="import sklearn",
        ours=lambda: _import("robustkit"),
        theirs=lambda: _import("sklearn"),
        limit=1.1,
        repeats=15,
        clock=_time_of_children,
        seconds=0,
        note="CPU time of the interpreter started",
    )


def _import(package):
    subprocess.run([sys.executable, "-c", f"import {package}"], check=True)


def _time_of_children():
    times = os.times()
    return times.children_user + times.children_system
