"""Every pair within the distance is found, and found once; as many as can be kept."""

from contextlib import contextmanager

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from robustkit.topology.neighbors import _dbscan as dbscan_module
from robustkit.topology.neighbors import _search as search_module
from robustkit.topology.neighbors._dbscan import pairs_within, touching_pairs
from robustkit.topology.neighbors._products import rounding_bound
from robustkit.topology.neighbors._search import (
    SortedSamples,
    find_pairs,
    find_pairs_that_fit,
    level_step,
    search_pairs,
)
from robustkit.topology.neighbors._windows import ends_of_band
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
        patch.setattr(search_module, "_N_CENTERS", n_cells)
        patch.setattr(search_module, "_N_ROWS", 3)
        patch.setattr(search_module, "_N_COLUMNS", 4)
        patch.setattr(search_module, "_N_ROWS_OF_TASK", 7)
        patch.setattr(search_module, "_NUMBERS_OF_TASK", 1)
        patch.setattr(search_module, "_N_CANDIDATES_OF_TASK", 30)
        patch.setattr(search_module, "_N_CANDIDATES_OF_BLOCK", 20)
        yield


@given(point_clouds(), st.sampled_from([0.5, 1, 2, 16]), st.integers(1, 9))
def test_pairs_are_those_of_the_distance_matrix(X, eps, n_cells):
    values = np.linalg.norm(X.astype(float), axis=1)
    ends = np.full(len(X), len(X))
    with tiny_tiles(n_cells):
        samples = SortedSamples(X, values)
        expected = near_pairs(X, samples.order, eps, ends)
        assert as_list(find_pairs(samples, eps, ends)) == expected
        # The l2 norm changes no more than the distance does: the band loses nothing.
        band = ends_of_band(samples.values, eps)
        assert as_list(find_pairs(samples, eps, band)) == expected


@given(point_clouds(), st.sampled_from([0.5, 1, 2, 16]), st.integers(1, 9))
def test_distances_are_kept_with_their_pairs(X, eps, n_cells):
    ends = np.full(len(X), len(X))
    with tiny_tiles(n_cells):
        samples = SortedSamples(X, X[:, 0].astype(float))
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
        samples = SortedSamples(X, X[:, 0].astype(float))
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
    samples = SortedSamples(X, X[:, 0])
    cells, is_shallow = samples.cells(1.0)
    # The claim that cells save work holds here: else nothing would be tested.
    assert len(np.unique(cells)) > 1
    assert is_shallow.mean() < 0.5
    ends = np.full(len(X), len(X))
    expected = near_pairs(X, samples.order, 1.0, ends)
    assert as_list(find_pairs(samples, 1.0, ends)) == expected


def test_one_cell_where_cells_save_nothing():
    X = np.random.RandomState(0).normal(size=(300, 2))
    cells, is_shallow = SortedSamples(X, X[:, 0]).cells(10.0)
    assert (cells == 0).all()
    assert is_shallow.shape == (300, 1)


@pytest.mark.parametrize("n_jobs", [1, 2])
def test_pairs_do_not_depend_on_threads_or_on_the_copy(n_jobs, monkeypatch):
    X = separated_clusters()
    ends = np.full(len(X), len(X))
    expected = find_pairs(SortedSamples(X, X[:, 0]), 1.0, ends)
    monkeypatch.setattr(search_module, "_LARGEST_COPY", 0)
    monkeypatch.setattr(search_module, "_N_ROWS_OF_TASK", 50)
    found = find_pairs(SortedSamples(X, X[:, 0]), 1.0, ends, n_jobs=n_jobs)
    for one, other in zip(expected, found, strict=True):
        np.testing.assert_array_equal(one, other)


def test_find_pairs_gives_up_when_there_are_too_many():
    X = np.zeros((100, 1))
    samples, ends = SortedSamples(X, X[:, 0]), np.full(100, 100)
    assert len(find_pairs(samples, 1.0, ends).indices) == 100 * 99 // 2
    assert find_pairs(samples, 1.0, ends, max_pairs=100 * 99 // 2 - 1) is None


@pytest.mark.parametrize("scale", [2.0**-80, 1.0, 2.0**80])
@pytest.mark.parametrize("offset", [0.0, 2.0**20])
@pytest.mark.parametrize("nudge", [0.0, 2.0**-30])
def test_pairs_do_not_depend_on_float32_rounding(scale, offset, nudge):
    """Distances next to eps, far from the origin, in units float32 cannot square."""
    rng = np.random.RandomState(0)
    X = rng.randint(-4, 5, size=(120, 3)) * 0.5
    # Powers of two: the numbers below are what they look like.
    X = X + nudge * rng.choice([-1, 0, 1], size=X.shape) + offset
    samples = SortedSamples(X * scale, X[:, 0])
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
    samples, ends = SortedSamples(X, X[:, 0].astype(float)), np.full(len(X), len(X))
    largest, *smaller = sorted(eps, reverse=True)
    known = find_pairs(samples, largest, ends, with_distances=True)
    for distance in smaller:
        nearer = pairs_within(known, samples, largest, distance)
        assert as_list(nearer) == as_list(find_pairs(samples, distance, ends))


def test_rows_of_pairs():
    X = separated_clusters(60)
    samples, ends = SortedSamples(X, X[:, 0]), np.full(60, 60)
    pairs = find_pairs(samples, 1.0, ends)
    some = pairs.of_rows(20, 40)
    assert as_list(some) == [(i, j) for i, j in as_list(pairs) if 20 <= i < 40]


def test_compiled_loops_as_python(monkeypatch):
    """The loops are compiled, so the coverage tool and the debugger miss them."""
    of_search = (
        "_copy_rows", "_sort_rows", "_scan_tile", "_are_any_below", "is_ours",
        "_group_by_row", "is_within", "squared_distance",
    )  # fmt: skip
    loops = [(search_module, name) for name in of_search]
    loops += [(dbscan_module, name) for name in ("_narrow", "is_within")]
    for module, name in loops:
        monkeypatch.setattr(module, name, getattr(module, name).py_func)
    X = np.random.RandomState(0).randint(3, size=(15, 2)).astype(float)
    with tiny_tiles(3):
        samples, ends = SortedSamples(X, X[:, 0]), np.full(15, 15)
        pairs = find_pairs(samples, 3.0, ends, with_distances=True)
    assert as_list(pairs) == near_pairs(X, samples.order, 3.0, ends)
    # Distances of exactly the limit are measured again, compiled or not.
    nearer = as_list(pairs_within(pairs, samples, 3.0, 2**0.5))
    assert nearer == near_pairs(X, samples.order, 2**0.5, ends)


@given(point_clouds(), st.integers(1, 9))
def test_depths_add_up_to_no_more_than_the_distance(X, n_cells):
    with tiny_tiles(n_cells):
        samples = SortedSamples(X, X[:, 0].astype(float))
    everyone = np.arange(len(X))
    cells = samples.cell_of(everyone)
    towards = samples.depths(everyone)[:, cells]
    for cell in np.unique(cells):
        one = samples.depths(everyone, cell)
        np.testing.assert_array_equal(one, samples.depths(everyone)[:, cell])
    ordered = X[samples.order].astype(float)
    distances = np.linalg.norm(ordered[:, None] - ordered[None], axis=2)
    assert (towards + towards.T <= distances * samples.scale).all()


@pytest.mark.parametrize(("n_counted", "stride"), [(20, 2), (10**6, 1)])
@given(point_clouds(), st.integers(0, 4000), st.sampled_from([1.0, 4.0]))
def test_all_pairs_within_reach_and_no_others(n_counted, stride, X, most, look_ahead):
    samples, ends = SortedSamples(X, X[:, 0].astype(float)), np.full(len(X), len(X))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(search_module, "_N_COUNTED", n_counted)
        patch.setattr(search_module, "_STRIDE", stride)
        reach, pairs = find_pairs_that_fit(samples, 2.0, 2.0 * look_ahead, ends, most)
    assert len(pairs.indices) <= most
    assert len(pairs.rows) == len(X)
    assert reach <= 2.0 * look_ahead
    if reach < 0:
        assert len(pairs.indices) == 0
        return
    expected = find_pairs(samples, reach, ends)
    np.testing.assert_array_equal(pairs.indices, expected.indices)
    if stride == 1 and reach < 2.0 * look_ahead:
        # Where all pairs are counted, nothing is given up without need.
        assert len(find_pairs(samples, 2.0 * look_ahead, ends).indices) > 0.5 * most


@pytest.mark.parametrize("ahead", [0.5, 0.8])
def test_part_of_the_room_is_used_for_what_lies_beyond(ahead, monkeypatch):
    X = np.random.RandomState(0).normal(size=(1000, 3))
    samples, ends = SortedSamples(X, X[:, 0]), np.full(1000, 1000)
    monkeypatch.setattr(search_module, "_SHARE_AHEAD", ahead)
    reach, pairs = find_pairs_that_fit(samples, 0.1, 9.0, ends, 50_000)
    assert 0.9 * ahead * 50_000 < len(pairs.indices) < 1.1 * ahead * 50_000
    assert 0.1 < reach < 9.0


@pytest.mark.parametrize("room", [1.02, 1.5])
def test_the_distance_that_matters_is_kept_where_there_is_room(room, monkeypatch):
    X = np.random.RandomState(0).normal(size=(1000, 3))
    samples, ends = SortedSamples(X, X[:, 0]), np.full(1000, 1000)
    n_pairs = len(find_pairs(samples, 1.0, ends).indices)
    # Every pair is counted: no estimate is wrong by chance.
    monkeypatch.setattr(search_module, "_STRIDE", 1)
    reach, _ = find_pairs_that_fit(samples, 1.0, 4.0, ends, int(room * n_pairs))
    assert reach == pytest.approx(1.0, abs=1e-3)
    assert reach >= 1.0


def test_where_there_is_no_room_nearly_all_of_it_is_used():
    X = np.random.RandomState(0).normal(size=(1000, 3))
    samples, ends = SortedSamples(X, X[:, 0]), np.full(1000, 1000)
    reach, pairs = find_pairs_that_fit(samples, 9.0, 9.0, ends, 50_000)
    assert 40_000 < len(pairs.indices) <= 50_000
    assert reach < 9.0


def test_nothing_is_kept_of_too_many_twins():
    samples, ends = SortedSamples(np.ones((50, 2)), np.ones(50)), np.full(50, 50)
    reach, pairs = find_pairs_that_fit(samples, 1.0, 1.0, ends, 100)
    assert reach < 0
    assert len(pairs.indices) == 0


def test_rounding_reaches_no_farther_than_asked(monkeypatch):
    """Without distances, pairs farther than `eps` could not be told apart later."""
    X = np.round(2 * np.random.RandomState(4).normal(size=(70, 4)))
    samples, ends = SortedSamples(X, X[:, 0]), np.full(70, 70)
    monkeypatch.setattr(search_module, "_STRIDE", 1)
    for eps in (1.0, 2.0, 3.0**0.5):
        assert find_pairs_that_fit(samples, eps, eps, ends, 50)[0] <= eps
