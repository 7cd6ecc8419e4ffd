"""A recording does what CUDA asks for; a graph without a GPU stands in for CUDA's."""

from contextlib import nullcontext

import pytest
import torch

from robustkit.networks._recording import Recording


@pytest.fixture
def calls(monkeypatch):
    """What the function was called with and returned, in order."""
    calls = []

    class Graph:
        """Does again what the function did when it was recorded."""

        def replay(self):
            if not hasattr(self, "recorded"):
                self.recorded = calls[-1]
            x, y, result = self.recorded
            torch.add(x, y, out=result)

    monkeypatch.setattr(torch.cuda, "CUDAGraph", Graph)
    monkeypatch.setattr(torch.cuda, "graph", nullcontext)
    return calls


def test_results_are_those_of_the_function(calls):
    def add(x, y):
        calls.append((x, y, x + y))
        return calls[-1][2]

    recording = Recording(add)
    results = []
    for i in range(4):
        for size in (2, 3):
            x = torch.full((size,), float(i))
            results.append((recording(x, x + 1), 2 * x + 1))
    # Compared at the end: no later call may change what an earlier one returned.
    for result, expected in results:
        assert torch.equal(result, expected)
    # Of either size, the first call ran the function and the second one recorded it.
    assert len(calls) == 4


def test_what_is_given_is_copied(calls):
    def add(x, y):
        calls.append((x, y, x + y))
        return calls[-1][2]

    recording = Recording(add)
    x = torch.ones(2)
    for _ in range(3):
        recording(x, x)
    assert calls[0][0] is x
    assert calls[1][0] is not x
