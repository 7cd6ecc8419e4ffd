"""A server for the tests of downloads."""

import pytest

from tests.datasets.loopback import Loopback


@pytest.fixture
def server():
    with Loopback().running() as loopback:
        yield loopback
