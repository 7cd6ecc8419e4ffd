"""The compiled steps of the search for minimal distances, against closed forms."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from robustkit.attacks.minimal._paths import Box, begin
from tests.strategies import seeds


@given(
    seed=seeds,
    n_features=st.integers(1, 6),
    euclidean=st.booleans(),
    clip=st.sampled_from([(0.0, 1.0), (-2.0, 2.0)]),
)
def test_margins_that_the_box_does_not_reach_have_no_size(
    seed, n_features, euclidean, clip
):
    """A linear margin gains most in the corner that its gradient points to."""
    rng = np.random.default_rng(seed)
    low, high = clip
    X = rng.uniform(low, high, (1, n_features))
    g = rng.normal(size=(1, 1, n_features))
    most = np.maximum(g[0, 0] * (low - X[0]), g[0, 0] * (high - X[0])).sum()
    box = Box(X, low, high, euclidean)
    for share in (0.3, 0.9, 1.2, 3.0):
        levels, sizes = np.empty((2, 1, 1))
        begin(box, g, np.full((1, 1), -share * most), levels, sizes)
        if share > 1:
            assert sizes[0, 0] == np.inf
            continue
        step = np.sign(g[0, 0]) if not euclidean else g[0, 0]
        move = np.clip(X[0] + levels[0, 0] * step, low, high) - X[0]
        assert g[0, 0] @ move == pytest.approx(share * most, rel=1e-6)
        size = np.linalg.norm(move, 2) if euclidean else levels[0, 0]
        assert sizes[0, 0] == pytest.approx(size)
