"""Point clouds and mapper parameters, for hypothesis."""

import numpy as np
from hypothesis import strategies as st

from robustkit.topology import BalancedCover, UniformCover
from robustkit.topology.neighbors._windows import Windows

seeds = st.integers(0, 2**32 - 1)
overlaps = st.sampled_from([0.05, 0.3, 0.5, 0.75])


@st.composite
def point_clouds(draw, max_samples=80, max_features=4):
    """Points on a lattice (ties, duplicates, exact distances) or anywhere, maybe far.

    Lattice distances are whole numbers, so that no rounding decides who is near.
    """
    rng = np.random.RandomState(draw(seeds))
    shape = draw(st.integers(1, max_samples)), draw(st.integers(1, max_features))
    X = rng.normal(size=shape)
    if draw(st.booleans()):
        X = np.round(2 * X)
    X = X * draw(st.sampled_from([1, 8])) + draw(st.sampled_from([0, 0, 1024]))
    return X.astype(draw(st.sampled_from([np.float64, np.float32])))


@st.composite
def covers(draw, max_intervals=8):
    """Covers of both kinds."""
    n_intervals, overlap = draw(st.integers(1, max_intervals)), draw(overlaps)
    if draw(st.booleans()):
        return BalancedCover(n_intervals, overlap)
    convention = draw(st.sampled_from(["range", "kepler"]))
    return UniformCover(n_intervals, overlap, convention)


@st.composite
def filter_values(draw, max_samples=60):
    """Values with ties, without, or all the same."""
    rng = np.random.RandomState(draw(seeds))
    size = draw(st.integers(1, max_samples))
    kind = draw(st.sampled_from(["any", "ties", "constant"]))
    if kind == "constant":
        return np.full(size, draw(st.floats(-1e6, 1e6)))
    values = rng.normal(size=size) * draw(st.sampled_from([1e-3, 1.0, 1e3]))
    return np.round(values) if kind == "ties" else values


@st.composite
def windows(draw, n_samples, max_windows=6):
    """Ascending starts and stops; some windows empty, and some positions in none."""
    ends = st.lists(st.integers(0, n_samples), min_size=1, max_size=max_windows)
    stops = sorted(draw(ends))
    lengths = draw(st.lists(st.integers(0, n_samples), min_size=len(stops)))
    starts = [max(0, e - n) for e, n in zip(stops, lengths, strict=False)]
    # A start may not lie behind a later one.
    starts = np.minimum.accumulate(starts[::-1])[::-1]
    return Windows(np.column_stack([starts, stops]), n_samples)
