"""Windows, and what is connected in each: against the definitions."""

from itertools import pairwise

import networkx as nx
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from robustkit.topology.neighbors import _windows as module
from robustkit.topology.neighbors._search import SortedSamples
from robustkit.topology.neighbors._windows import (
    SlidingForest,
    UnlistedPairs,
    Windows,
    elsewhere,
)
from tests.topology.brute_force import as_pairs, near_pairs, partition, partition_of
from tests.topology.strategies import point_clouds, windows

N = 12
EVERY = [(i, j) for i in range(N) for j in range(i + 1, N)]


def holds(windows, k, *positions):
    start, stop = windows.slices[k]
    return all(start <= p < stop for p in positions)


def numbers(windows):
    return range(len(windows.slices))


def any_pairs(data):
    return sorted(data.draw(st.sets(st.sampled_from(EVERY), max_size=30)))


@given(windows(N))
def test_first_and_last_window(windows):
    for p in range(N):
        mine = [k for k in numbers(windows) if holds(windows, k, p)]
        assert mine == list(range(windows.first[p], windows.last[p] + 1))


@given(windows(N))
def test_window_ends_bound_the_shared_windows(windows):
    for p in range(N):
        stops = [windows.slices[k, 1] for k in numbers(windows) if holds(windows, k, p)]
        assert windows.ends[p] == max(stops, default=p)
    assert (np.diff(windows.ends) >= 0).all()


@given(windows(N), st.data())
def test_neighbors_are_counted_window_by_window(windows, data):
    pairs = any_pairs(data)
    cut = data.draw(st.integers(0, len(pairs)))
    pieces = [as_pairs(pairs[:cut], N), as_pairs(pairs[cut:], N)]
    counts = windows.count_neighbors(pieces)
    for k in numbers(windows):
        inside = [p for p in range(N) if holds(windows, k, p)]
        expected = [
            1 + sum(p in pair and holds(windows, k, *pair) for pair in pairs)
            for p in inside
        ]
        assert windows.part(counts, k).tolist() == expected


@given(windows(N), st.data())
def test_flags_in_all_windows(windows, data):
    size = int(windows.offsets[-1])
    flags = data.draw(st.lists(st.booleans(), min_size=size, max_size=size))
    flags = np.array(flags, dtype=bool)
    in_all = windows.in_all(flags)
    for p in range(N):
        mine = [
            windows.part(flags, k)[p - windows.slices[k, 0]]
            for k in numbers(windows)
            if holds(windows, k, p)
        ]
        assert in_all[p] == all(mine)


def test_newest_starts():
    windows = Windows([[0, 5], [2, 6], [2, 7], [5, 9]], 9)
    assert windows.newest_starts(0).tolist() == [0, 2]
    assert windows.newest_starts(1).tolist() == [2, 5]
    assert windows.newest_starts(3).tolist() == [5]


def test_compiled_counts_as_python(monkeypatch):
    windows = Windows([[0, 5], [2, 6], [4, 9]], 9)
    pieces = [as_pairs([(0, 1), (0, 5), (2, 4), (2, 5), (5, 8)], 9)]
    expected = windows.count_neighbors(pieces)
    for name in ("_add_steps", "_sum_steps"):
        function = getattr(module, name).py_func
        monkeypatch.setattr(module, name, function)
    np.testing.assert_array_equal(windows.count_neighbors(pieces), expected)


@given(windows(N), st.sets(st.sampled_from(EVERY), max_size=25), st.data())
def test_sliding_forest_connects_every_window(windows, pairs, data):
    is_vertex = np.array(data.draw(st.lists(st.booleans(), min_size=N, max_size=N)))
    forest = SlidingForest(as_pairs(sorted(pairs), N), is_vertex)
    for start, stop in windows.slices:
        parents = forest.slide(start, stop)
        inside = [
            (i - start, j - start)
            for i, j in pairs
            if start <= i and j < stop and is_vertex[i] and is_vertex[j]
        ]
        assert partition_of(parents) == partition(stop - start, inside)
        # It is a forest, of pairs that were given, and its smaller positions descend.
        edges = [tuple(edge) for edge in forest.edges.T.tolist()]
        assert set(edges) <= pairs
        assert not edges or nx.is_forest(nx.Graph(edges))
        assert (np.diff(forest.edges[0]) <= 0).all()


def test_the_pair_that_leaves_first_is_left_out():
    triangle = as_pairs([(0, 1), (0, 2), (1, 2)], 3)
    forest = SlidingForest(triangle, np.ones(3, dtype=bool))
    forest.slide(0, 3)
    assert forest.edges[0].tolist() == [1, 0]
    assert partition_of(forest.slide(1, 3)) == [0, 0]


def test_compiled_forest_as_python(monkeypatch):
    for name in ("find", "join", "_slide"):
        function = getattr(module, name).py_func
        monkeypatch.setattr(module, name, function)
    assert not hasattr(module._slide, "py_func")
    test_sliding_forest_connects_every_window()


@given(
    point_clouds(max_samples=40),
    st.sampled_from([1.0, 2.0, 3.0, 16.0]),
    st.sampled_from([0.0, 0.5, 0.9]),
    st.booleans(),
    st.data(),
)
def test_unlisted_pairs_connect_what_all_pairs_do(X, eps, share_known, has_band, data):
    n_samples, rng = len(X), np.random.RandomState(0)
    values = np.linalg.norm(X.astype(float), axis=1)
    samples, several = SortedSamples(X, values), data.draw(windows(n_samples))
    is_vertex = rng.uniform(size=n_samples) < 0.8
    ends = np.full(n_samples, n_samples)
    if has_band:
        # Nothing within eps is lost: the norm changes no more than the distance.
        ends = np.searchsorted(samples.values, samples.values + 1.001 * eps + 1e-9)
    pairs = near_pairs(X, samples.order, eps, np.full(n_samples, n_samples))
    known = [pair for pair in pairs if rng.uniform() < share_known]
    forest = SlidingForest(as_pairs(known, n_samples), is_vertex)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_N_ROWS", 3)
        patch.setattr(module, "_N_COLUMNS", 4)
        patch.setattr(module, "_N_ROWS_OF_CHUNK", 7)
        far = UnlistedPairs(samples, eps, ends, is_vertex)
        for k, (start, stop) in enumerate(several.slices):
            forest.slide(start, stop)
            forest.edges, parents = far.connect(several, k, forest.edges)
            inside = [
                (i - start, j - start)
                for i, j in pairs
                if start <= i and j < stop and is_vertex[i] and is_vertex[j]
            ]
            assert partition_of(parents) == partition(stop - start, inside)
            assert {tuple(edge) for edge in forest.edges.T.tolist()} <= set(pairs)


def test_unlisted_pairs_skip_what_is_connected(monkeypatch):
    """Two clusters: one tile joins them if they are in reach; geometry tells if not."""
    rng = np.random.RandomState(0)
    n_samples = 2048
    X = rng.uniform(size=(n_samples, 2))
    X[1024:] += 1.5
    samples = SortedSamples(X, rng.normal(size=n_samples))
    is_first = samples.order < 1024
    chains = [np.flatnonzero(is_first), np.flatnonzero(~is_first)]
    known = sorted((i, j) for c in chains for i, j in pairwise(c))
    n_products = 0

    class Counted(module.Products):
        def with_columns(self, vectors, norms):
            nonlocal n_products
            n_products += len(vectors) * len(self.norms)
            return super().with_columns(vectors, norms)

    monkeypatch.setattr(module, "Products", Counted)
    everyone, ends = np.ones(n_samples, dtype=bool), np.full(n_samples, n_samples)
    window = Windows([[0, n_samples]], n_samples)
    forest = SlidingForest(as_pairs(known, n_samples), everyone)
    forest.slide(0, n_samples)
    for eps, most, n_components in ((1.5, 256 * 512, 1), (0.1, 0, 2)):
        n_products = 0
        far = UnlistedPairs(samples, eps, ends, everyone)
        _, parents = far.connect(window, 0, forest.edges)
        assert n_products <= most
        assert len(set(partition_of(parents))) == n_components


def test_elsewhere_keeps_unconnected_columns():
    parents = np.array([0, 0, 2, 2, 4])
    columns = np.array([0, 2, 3, 4])
    assert elsewhere(parents, np.array([0, 1]), columns).tolist() == [2, 3, 4]
    # Rows of two components: any column tells something.
    assert elsewhere(parents, np.array([0, 2]), columns).tolist() == columns.tolist()


def test_compiled_search_as_python(monkeypatch):
    for name in ("find_all", "elsewhere", "_join_known", "_join_near"):
        function = getattr(module, name).py_func
        monkeypatch.setattr(module, name, function)
    assert not hasattr(module._join_near, "py_func")
    test_unlisted_pairs_connect_what_all_pairs_do()
