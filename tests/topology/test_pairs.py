"""Every pair within the distance is found, and found once."""

from contextlib import contextmanager

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.distance import pdist, squareform

from robustkit.topology import UniformCover
from robustkit.topology import _ordered_samples as ordered_samples
from robustkit.topology import _pairs as pairs_module
from robustkit.topology._cover import interval_slices
from robustkit.topology._ordered_samples import OrderedSamples
from robustkit.topology._pairs import (
    ends_of_band,
    ends_of_intervals,
    find_pairs,
)
from tests.topology.strategies import overlaps, point_clouds


def brute_force(X, order, eps, ends):
    """All (i, j), i < j < ends[i], of positions within eps."""
    squared = squareform(pdist(X[order].astype(float), "sqeuclidean"))
    return [
        (i, j)
        for i in range(len(X))
        for j in range(i + 1, ends[i])
        if squared[i, j] <= eps**2
    ]


def as_list(pairs, start=0):
    indptr, indices = pairs
    rows = np.repeat(np.arange(len(indptr) - 1) + start, np.diff(indptr))
    return list(zip(rows.tolist(), indices.tolist(), strict=True))


@contextmanager
def tiny_tiles(n_cells):
    """Tiles so small that a handful of samples needs several."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ordered_samples, "_N_CENTERS", n_cells)
        patch.setattr(pairs_module, "_N_ROWS", 3)
        patch.setattr(pairs_module, "_N_COLUMNS", 4)
        patch.setattr(pairs_module, "_N_ROWS_OF_TASK", 7)
        patch.setattr(pairs_module, "_NUMBERS_OF_TASK", 1)
        patch.setattr(pairs_module, "_N_CANDIDATES_OF_TASK", 30)
        patch.setattr(pairs_module, "_N_CANDIDATES_OF_BLOCK", 20)
        yield


@given(point_clouds(), st.sampled_from([0.5, 1, 2, 16]), st.integers(1, 9))
def test_pairs_are_those_of_the_distance_matrix(X, eps, n_cells):
    values = np.linalg.norm(X.astype(float), axis=1)
    ends = np.full(len(X), len(X))
    with tiny_tiles(n_cells):
        samples = OrderedSamples(X, values)
        expected = brute_force(X, samples.order, eps, ends)
        assert as_list(find_pairs(samples, eps, ends)) == expected
        # The l2 norm changes no more than the distance does: the band loses nothing.
        band = ends_of_band(samples.values, eps)
        assert as_list(find_pairs(samples, eps, band)) == expected


@given(point_clouds(), st.integers(1, 6), overlaps)
def test_ends_of_intervals_hold_what_shares_an_interval(X, n_intervals, overlap):
    values = np.sort(X[:, 0].astype(float))
    intervals = UniformCover(n_intervals, overlap).intervals(values)
    slices = interval_slices(values, intervals)
    ends = ends_of_intervals(slices, len(values))
    for i in range(len(values)):
        shared = [stop for start, stop in slices if start <= i < stop]
        assert ends[i] == max(shared)


def separated_clusters(n_samples=600, n_features=3):
    rng = np.random.RandomState(0)
    centers = 20 * rng.normal(size=(6, n_features))
    return centers[rng.randint(6, size=n_samples)] + rng.normal(
        size=(n_samples, n_features)
    )


def test_cells_split_clusters_and_lose_no_pair():
    X = separated_clusters()
    samples = OrderedSamples(X, X[:, 0])
    cells, is_shallow = samples.cells(1.0)
    # The claim that cells save work holds here: else nothing would be tested.
    assert len(np.unique(cells)) > 1
    assert is_shallow.mean() < 0.5
    ends = np.full(len(X), len(X))
    expected = brute_force(X, samples.order, 1.0, ends)
    assert as_list(find_pairs(samples, 1.0, ends)) == expected


def test_one_cell_where_cells_save_nothing():
    X = np.random.RandomState(0).normal(size=(300, 2))
    cells, is_shallow = OrderedSamples(X, X[:, 0]).cells(10.0)
    assert (cells == 0).all()
    assert is_shallow.shape == (300, 1)


@pytest.mark.parametrize("n_jobs", [1, 2])
def test_pairs_do_not_depend_on_threads_or_on_the_copy(n_jobs, monkeypatch):
    X = separated_clusters()
    ends = np.full(len(X), len(X))
    expected = find_pairs(OrderedSamples(X, X[:, 0]), 1.0, ends)
    monkeypatch.setattr(ordered_samples, "_LARGEST_COPY", 0)
    monkeypatch.setattr(pairs_module, "_N_ROWS_OF_TASK", 50)
    found = find_pairs(OrderedSamples(X, X[:, 0]), 1.0, ends, n_jobs=n_jobs)
    for one, other in zip(expected, found, strict=True):
        np.testing.assert_array_equal(one, other)


def test_part_of_the_rows():
    X = separated_clusters(200)
    samples, ends = OrderedSamples(X, X[:, 0]), np.full(200, 200)
    every = as_list(find_pairs(samples, 1.0, ends))
    part = find_pairs(samples, 1.0, ends, start=50, stop=120)
    assert as_list(part, 50) == [(i, j) for i, j in every if 50 <= i < 120]


def test_gives_up_when_there_are_too_many():
    X = np.zeros((100, 1))
    samples, ends = OrderedSamples(X, X[:, 0]), np.full(100, 100)
    assert len(find_pairs(samples, 1.0, ends)[1]) == 100 * 99 // 2
    assert find_pairs(samples, 1.0, ends, most=100 * 99 // 2 - 1) is None


@pytest.mark.parametrize("scale", [2.0**-80, 1.0, 2.0**80])
@pytest.mark.parametrize("offset", [0.0, 2.0**20])
@pytest.mark.parametrize("nudge", [0.0, 2.0**-30])
def test_float32_decides_nothing(scale, offset, nudge):
    """Distances next to eps, far from the origin, in units float32 cannot square."""
    rng = np.random.RandomState(0)
    X = rng.randint(-4, 5, size=(120, 3)) * 0.5
    # Powers of two: the numbers below are what they look like.
    X = X + nudge * rng.choice([-1, 0, 1], size=X.shape) + offset
    samples = OrderedSamples(X * scale, X[:, 0])
    ends = np.full(120, 120)
    expected = brute_force(X, samples.order, 1.5, ends)
    assert as_list(find_pairs(samples, 1.5 * scale, ends)) == expected


def test_compiled_loops_as_python():
    """The loops are compiled, so the coverage tool and the debugger miss them."""
    rng = np.random.RandomState(0)
    X = rng.randint(3, size=(12, 2)).astype(float)
    order, rows = np.arange(12), np.arange(12)
    products = (X**2).sum(axis=1).astype(np.float32) - 2 * (X @ X.T).astype(np.float32)
    limit = (2.0 - (X**2).sum(axis=1)).astype(np.float32)
    cells, is_shallow = rng.randint(2, size=12), np.ones((12, 2), dtype=bool)
    found = np.empty(200, np.int16), np.empty(200, np.int32)
    arguments = (
        products, limit - 1, limit, rows + 1, np.full(12, 12), rows, rows, order, X,
        2.0, cells, is_shallow, 0, *found, 0,
    )  # fmt: skip
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pairs_module, "_is_within", pairs_module._is_within.py_func)
        patch.setattr(pairs_module, "_is_ours", pairs_module._is_ours.py_func)
        n_found = pairs_module._scan_tile.py_func(*arguments)
    counts, columns = pairs_module._group_by_row.py_func(
        found[0][:n_found], found[1][:n_found], 12
    )
    indices = np.zeros(n_found, np.int32)
    targets = np.concatenate([[0], np.cumsum(counts)[:-1]])
    pairs_module._copy_rows.py_func(rows, counts, columns, targets, indices)
    indptr = np.concatenate([[0], np.cumsum(counts)])
    pairs_module._sort_rows.py_func(rows, indptr, indices)
    ours = [
        (i, j)
        for i, j in brute_force(X, order, 2**0.5, np.full(12, 12))
        # Cell 0 leaves to cell 1 nothing that it sees itself.
        if cells[i] == cells[j] or 0 in (cells[i], cells[j])
    ]
    assert as_list((indptr, indices)) == ours


def test_compiled_narrowing_as_python(monkeypatch):
    """Distances of exactly the limit are measured again, compiled or not."""
    X = np.random.RandomState(0).randint(3, size=(15, 2)).astype(float)
    samples = OrderedSamples(X, X[:, 0])
    pairs = find_pairs(samples, 3.0, np.full(15, 15))
    for name in ("_is_within", "_squared_distance"):
        monkeypatch.setattr(pairs_module, name, getattr(pairs_module, name).py_func)
    squared = pairs_module.squared_distances.py_func(*pairs, samples.order, X)
    narrow = pairs_module.pairs_within.py_func(*pairs, squared, samples.order, X, 2.0)
    ends = np.full(15, 15)
    assert as_list(narrow) == brute_force(X, samples.order, 2**0.5 + 1e-9, ends)
