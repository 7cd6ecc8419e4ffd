"""The fixture that watches the caller's random streams is awake."""

import pytest

MOVES_A_STREAM = """
import random
import numpy as np
import torch

def test_torch():
    torch.rand(1)

def test_numpy():
    np.random.rand(1)

def test_random():
    random.random()

def test_its_own():
    np.random.default_rng().random()
"""


@pytest.mark.slow
def test_moving_a_global_stream_fails_a_test(pytester, request):
    pytester.makeconftest((request.config.rootpath / "conftest.py").read_text("utf-8"))
    pytester.makepyfile(MOVES_A_STREAM)
    # In a process of its own, so that the streams moved are not this one's.
    result = pytester.runpytest_subprocess("-p", "no:cacheprovider")
    result.assert_outcomes(passed=4, errors=3)
    result.stdout.fnmatch_lines(["*moved the global stream of torch*"])
