"""What these tests share."""

import gc

import pytest


@pytest.fixture(autouse=True)
def uncollected(monkeypatch):
    """Nothing is timed here, and collecting what all tests left takes long."""
    monkeypatch.setattr(gc, "collect", lambda: 0)
