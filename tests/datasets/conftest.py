"""A server for the tests of downloads."""

import pytest

from tests.datasets.loopback import Loopback


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch):
    """Whatever proxy is set here must not be asked for this machine."""
    monkeypatch.setenv("no_proxy", "127.0.0.1")


@pytest.fixture
def server():
    with Loopback().running() as loopback:
        yield loopback
