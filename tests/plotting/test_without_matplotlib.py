"""Whoever has no matplotlib is told so before anything is computed."""

import inspect
import sys

import pytest

from robustkit import plotting


def entrances():
    """Every way into a display that draws: `plot`, and what computes and then plots."""
    for name in plotting.__all__:
        display = getattr(plotting, name)
        for method in dir(display):
            if method == "plot" or method.startswith("from_"):
                yield display, method


@pytest.mark.parametrize(
    ("display", "method"),
    list(entrances()),
    ids=lambda x: x if isinstance(x, str) else x.__name__,
)
def test_a_display_says_what_it_needs(display, method, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    function = getattr(display.__new__(display), method)
    parameters = inspect.signature(function).parameters.values()
    needed = [
        None for p in parameters if p.default is p.empty and p.kind != p.VAR_KEYWORD
    ]
    with pytest.raises(ImportError, match=rf"{display.__name__}\.{method} requires"):
        function(*needed)
