"""Cells also for the few samples of a test."""

import pytest

from robustkit.topology.neighbors import _search


@pytest.fixture(autouse=True, scope="module")
def cells_of_few_samples():
    """Split them, although they would be compared faster as they are."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_search, "_FEWEST_FOR_CELLS", 1)
        yield
