"""Every pair within the distance is found, and found once."""

from contextlib import contextmanager

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from robustkit.topology import _ordered_samples as ordered_samples
from robustkit.topology import _pairs as pairs_module
from robustkit.topology import _products as products_module
from robustkit.topology._ordered_samples import OrderedSamples
from robustkit.topology._pairs import (
    ends_of_band,
    find_pairs,
    level_step,
    pairs_within,
    search_pairs,
    touching_pairs,
)
from robustkit.topology._products import rounding_bound
from tests.topology.brute_force import near_pairs
from tests.topology.strategies import point_clouds


def as_list(pairs):
    return [
        (row, column)
        for r, row in enumerate(pairs.rows.tolist())
        for column in pairs.indices[pairs.indptr[r] : pairs.indptr[r + 1]].tolist()
    ]


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
        expected = near_pairs(X, samples.order, eps, ends)
        assert as_list(find_pairs(samples, eps, ends)) == expected
        # The l2 norm changes no more than the distance does: the band loses nothing.
        band = ends_of_band(samples.values, eps)
        assert as_list(find_pairs(samples, eps, band)) == expected


@given(point_clouds(), st.sampled_from([0.5, 1, 2, 16]), st.integers(1, 9))
def test_distances_are_kept_with_their_pairs(X, eps, n_cells):
    ends = np.full(len(X), len(X))
    with tiny_tiles(n_cells):
        samples = OrderedSamples(X, X[:, 0].astype(float))
        pairs = find_pairs(samples, eps, ends, with_distances=True)
        pieces = list(search_pairs(samples, eps, ends, with_distances=True))
    ordered = X[samples.order].astype(float) * samples.scale

    def exact(found):
        return np.array([((ordered[i] - ordered[j]) ** 2).sum() for i, j in found])

    bound = rounding_bound(X.shape[1], samples.norms.max())
    for piece in pieces:
        assert (abs(piece.distances - exact(as_list(piece))) <= bound).all()
    step, squared = level_step(samples, eps), exact(as_list(pairs))
    assert (pairs.distances * step <= squared + bound).all()
    assert (squared - bound <= (pairs.distances + 1.0) * step).all()


@given(
    point_clouds(),
    st.sampled_from([0.5, 1, 2, 16]),
    st.integers(1, 9),
    st.integers(0, 2**32 - 1),
)
def test_pairs_that_hold_some_positions(X, eps, n_cells, seed):
    rng = np.random.RandomState(seed)
    is_wanted = rng.uniform(size=len(X)) < rng.uniform()
    start, stop = sorted(rng.randint(len(X) + 1, size=2))
    ends = np.sort(rng.randint(len(X) + 1, size=len(X)))
    with tiny_tiles(n_cells):
        samples = OrderedSamples(X, X[:, 0].astype(float))
        pieces = touching_pairs(samples, eps, ends, is_wanted, start, stop)
        found = sorted(pair for piece in pieces for pair in as_list(piece))
    assert found == [
        (i, j)
        for i, j in near_pairs(X, samples.order, eps, ends)
        if start <= i and j < stop and (is_wanted[i] or is_wanted[j])
    ]


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
    expected = near_pairs(X, samples.order, 1.0, ends)
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


def test_gives_up_when_there_are_too_many():
    X = np.zeros((100, 1))
    samples, ends = OrderedSamples(X, X[:, 0]), np.full(100, 100)
    assert len(find_pairs(samples, 1.0, ends).indices) == 100 * 99 // 2
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
    expected = near_pairs(X, samples.order, 1.5, ends)
    assert as_list(find_pairs(samples, 1.5 * scale, ends)) == expected


@given(
    point_clouds(),
    st.lists(st.sampled_from([0.0, 0.5, 1.0, 1.5, 2.0]), min_size=2, max_size=4),
    st.sampled_from([np.float32, np.float64]),
)
def test_pairs_within_a_smaller_distance_are_those_of_a_search(X, eps, dtype):
    """The distances lie on a grid, so that many are just the limit."""
    X = (np.round(X * 2) / 2).astype(dtype)
    samples, ends = OrderedSamples(X, X[:, 0].astype(float)), np.full(len(X), len(X))
    largest, *smaller = sorted(eps, reverse=True)
    known = find_pairs(samples, largest, ends, with_distances=True)
    for distance in smaller:
        nearer = pairs_within(known, samples, largest, distance)
        assert as_list(nearer) == as_list(find_pairs(samples, distance, ends))


def test_rows_of_pairs():
    X = separated_clusters(60)
    samples, ends = OrderedSamples(X, X[:, 0]), np.full(60, 60)
    pairs = find_pairs(samples, 1.0, ends)
    some = pairs.of_rows(20, 40)
    assert as_list(some) == [(i, j) for i, j in as_list(pairs) if 20 <= i < 40]


def test_compiled_loops_as_python(monkeypatch):
    """The loops are compiled, so the coverage tool and the debugger miss them."""
    for module, names in (
        (pairs_module, ("_copy_rows", "_sort_rows", "_scan_tile", "_is_ours")),
        (pairs_module, ("_group_by_row", "_narrow", "is_within")),
        (products_module, ("squared_distance",)),
    ):
        for name in names:
            monkeypatch.setattr(module, name, getattr(module, name).py_func)
    X = np.random.RandomState(0).randint(3, size=(15, 2)).astype(float)
    with tiny_tiles(3):
        samples, ends = OrderedSamples(X, X[:, 0]), np.full(15, 15)
        pairs = find_pairs(samples, 3.0, ends, with_distances=True)
    assert as_list(pairs) == near_pairs(X, samples.order, 3.0, ends)
    # Distances of exactly the limit are measured again, compiled or not.
    nearer = as_list(pairs_within(pairs, samples, 3.0, 2**0.5))
    assert nearer == near_pairs(X, samples.order, 2**0.5, ends)


@given(point_clouds(), st.sampled_from([0.5, 1.0, 2.0, 8.0]), st.integers(1, 9))
def test_what_is_not_near_is_told_by_cells(X, eps, n_cells):
    with tiny_tiles(n_cells):
        samples = OrderedSamples(X, X[:, 0].astype(float))
    rng, everyone = np.random.RandomState(0), np.arange(len(X))
    rows = np.sort(rng.choice(len(X), size=rng.randint(1, len(X) + 1), replace=False))
    may_be = samples.may_be_near(rows, everyone, eps)
    ordered = X[samples.order].astype(float)
    distances = np.linalg.norm(ordered[rows][:, None] - ordered[None], axis=2)
    assert may_be[(distances <= eps).any(axis=0)].all()
