"""Clusters are those of scikit-learn's DBSCAN, and neighbours are searched for once."""

import copy
import pickle
import tracemalloc
from functools import partial

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.base import clone
from sklearn.cluster import DBSCAN
from sklearn.model_selection import GridSearchCV

from robustkit.topology import (
    LARGEST_N_PAIRS,
    MapperGraph,
    NeighborCache,
    _mapper,
    fit_filter,
)
from robustkit.topology import _mapper_graph as mapper_module
from robustkit.topology.neighbors import _dbscan, _few, _search, digest
from robustkit.topology.neighbors._dbscan import (
    NOISE,
    ListedGraph,
    Neighbors,
    UnlistedGraph,
    cluster_windows,
)
from robustkit.topology.neighbors._search import SortedSamples
from robustkit.topology.neighbors._windows import Windows
from tests.topology.brute_force import as_pairs, near_pairs, nodes_of
from tests.topology.brute_force import mapper as brute_force
from tests.topology.strategies import covers, point_clouds, windows

EPS = st.sampled_from([1.0, 2.0, 8.0])


def as_labels(roots):
    """Number the clusters by their first core sample."""
    labels = np.full(len(roots), -1)
    labels[roots != NOISE] = np.unique(roots[roots != NOISE], return_inverse=True)[1]
    return labels


def listed_graph(X, samples, eps):
    ends = np.full(len(X), len(X))
    return ListedGraph(as_pairs(near_pairs(X, samples.order, eps, ends), len(X)))


def unlisted_graph(X, samples, eps, known_eps):
    ends = np.full(len(X), len(X))
    known = near_pairs(X, samples.order, known_eps, ends)
    return UnlistedGraph(as_pairs(known, len(X)), samples, eps, ends)


def check(graph, X, samples, eps, windows, min_samples):
    found = cluster_windows(graph, windows, samples.order, min_samples)
    for (start, stop), (roots, is_core) in zip(windows.slices, found, strict=True):
        inside = samples.order[start:stop]
        if len(inside) == 0:
            continue
        order = np.argsort(inside)
        expected = DBSCAN(eps=eps, min_samples=min_samples).fit(X[inside[order]])
        np.testing.assert_array_equal(as_labels(roots)[order], expected.labels_)
        np.testing.assert_array_equal(
            np.flatnonzero(is_core[order]), expected.core_sample_indices_
        )


@given(point_clouds(), EPS, st.integers(1, 6), st.data())
def test_dbscan_of_all_windows(X, eps, min_samples, data):
    samples = SortedSamples(X, X[:, 0].astype(float))
    several = data.draw(windows(len(X)))
    check(listed_graph(X, samples, eps), X, samples, eps, several, min_samples)


@given(
    point_clouds(),
    EPS,
    st.sampled_from([-1.0, 0.0, 0.5, 1.0]),
    st.integers(1, 6),
    st.sampled_from([0, 40, 10**6]),
    st.data(),
)
def test_dbscan_of_all_windows_where_pairs_are_too_many(
    X, eps, known_share, min_samples, largest, data
):
    """Whatever is known, and whether the rest fits into one list, several or none."""
    samples = SortedSamples(X, X[:, 0].astype(float))
    several = data.draw(windows(len(X)))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_dbscan, "LARGEST_N_PAIRS", largest)
        patch.setattr(_dbscan, "_FEW", 2)
        patch.setattr(_few, "_REACHES", (2, 4))
        patch.setattr(_few, "_N_ROWS", 3)
        patch.setattr(_few, "_N_COLUMNS", 4)
        patch.setattr(_few, "_N_PARTNERS", 2)
        graph = unlisted_graph(X, samples, eps, known_share * eps)
        check(graph, X, samples, eps, several, min_samples)


def both_graphs(X, samples, eps):
    return listed_graph(X, samples, eps), unlisted_graph(X, samples, eps, -1.0)


def test_a_border_sample_goes_to_the_first_cluster_that_reaches_it():
    # Two triples, and between them a sample that both reach.
    X = np.array([[4.0], [4.5], [5.0], [0.0], [0.5], [1.0], [2.5]])
    samples = SortedSamples(X, X[:, 0])
    for graph in both_graphs(X, samples, 1.5):
        window = Windows([[0, 7]], 7)
        ((roots, is_core),) = cluster_windows(graph, window, samples.order, 4)
        by_sample = dict(zip(samples.order.tolist(), roots.tolist(), strict=True))
        assert by_sample == {0: 0, 1: 0, 2: 0, 6: 0, 3: 5, 4: 5, 5: 5}
        assert samples.order[is_core].tolist() == [5, 0]


def test_compiled_loops_as_python(monkeypatch):
    for name in ("_join_cores", "_name_clusters", "_assign_borders"):
        function = getattr(_dbscan, name).py_func
        monkeypatch.setattr(_dbscan, name, function)
    monkeypatch.setattr(_dbscan, "_choose", _dbscan._choose.py_func)
    assert not hasattr(_dbscan._join_cores, "py_func")
    test_dbscan_of_all_windows()


def cloud(n_samples=300):
    rng = np.random.RandomState(0)
    return rng.normal(size=(n_samples, 3)) + 3 * rng.randint(3, size=(n_samples, 1))


def same_graph(one, other):
    return (one.membership_ != other.membership_).nnz == 0 and np.array_equal(
        one.edges_, other.edges_
    )


@pytest.fixture
def searches(monkeypatch):
    """The searches for neighbours, as they happen."""
    happened = []

    class Counted(Neighbors):
        def __init__(self, *args, **kwargs):
            happened.append(args)
            super().__init__(*args, **kwargs)

    monkeypatch.setattr(_dbscan, "Neighbors", Counted)
    return happened


@pytest.fixture
def few_pairs(monkeypatch):
    """So little room that hardly any pair can be kept."""
    keep_at_most(10, monkeypatch)


def keep_at_most(n_pairs, monkeypatch):
    monkeypatch.setattr(_dbscan, "LARGEST_N_PAIRS", n_pairs)
    monkeypatch.setattr(
        mapper_module, "NeighborCache", partial(NeighborCache, n_pairs, n_pairs)
    )


@pytest.mark.parametrize("warm_start", [False, True])
def test_mapper_graph_where_pairs_are_too_many_to_keep(warm_start, few_pairs):
    X = cloud()
    mapper = MapperGraph(n_intervals=5, eps=1.0, warm_start=warm_start).fit(X)
    nodes, edges = mapper_of(X, mapper, DBSCAN(eps=1.0))
    assert nodes_of(mapper.membership_) == nodes
    assert mapper.edges_.tolist() == [list(edge) for edge in edges]


@given(point_clouds(), covers(), st.integers(1, 5), st.sampled_from([0, 10, 200]), EPS)
def test_mapper_graphs_where_few_pairs_fit(X, cover, min_samples, n_pairs, eps):
    """Whatever fits, the nodes and edges are those of DBSCAN in every interval."""
    if not (np.linalg.norm(X, axis=1) > 0).any():
        return
    mapper = MapperGraph(cover=cover, eps=eps, min_samples=min_samples)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(MapperGraph, "_warn_of_an_empty_graph", lambda *_: None)
        patch.setattr(_dbscan, "LARGEST_N_PAIRS", n_pairs)
        patch.setattr(_few, "_REACHES", (2, 8))
        mapper.fit(X)
    clusterer = DBSCAN(eps=eps, min_samples=min_samples)
    values = fit_filter("l2norm", X)[0](X)
    nodes, edges = brute_force(X, values, mapper.intervals_, clusterer.fit_predict)
    assert nodes_of(mapper.membership_) == nodes
    assert mapper.edges_.tolist() == [list(edge) for edge in edges]


@pytest.mark.parametrize(
    ("n_features", "eps", "min_samples"), [(3, 0.5, 5), (3, 0.4, 12), (40, 8.6, 5)]
)
def test_few_neighbours_of_many_samples_are_enough(
    n_features, eps, min_samples, monkeypatch
):
    """Three clusters, samples between them and noise, each with its tiles and cells."""
    rng = np.random.RandomState(0)
    X = rng.normal(size=(5000, n_features))
    X[:, 0] += 3 * rng.randint(3, size=5000)
    X[::50] *= 2.5
    X = X.astype(np.float32)
    monkeypatch.setattr(_dbscan, "LARGEST_N_PAIRS", 50_000)
    mapper = MapperGraph(0, n_intervals=4, eps=eps, min_samples=min_samples).fit(X)
    clusterer = DBSCAN(eps=eps, min_samples=min_samples)
    nodes, edges = brute_force(
        X, X[:, 0].astype(float), mapper.intervals_, clusterer.fit_predict
    )
    assert 0 < mapper.n_noise_ < 2500
    assert nodes_of(mapper.membership_) == nodes
    assert mapper.edges_.tolist() == [list(edge) for edge in edges]


def mapper_of(X, mapper, clusterer):
    values = np.linalg.norm(X, axis=1)
    return brute_force(X, values, mapper.intervals_, clusterer.fit_predict)


def test_mapper_graph_with_an_empty_interval(few_pairs):
    X = np.concatenate([cloud(), cloud() + 1000])
    mapper = MapperGraph(n_intervals=9, eps=1.0).fit(X)
    assert nodes_of(mapper.membership_) == mapper_of(X, mapper, DBSCAN(eps=1.0))[0]


def test_memory_is_bounded_where_all_samples_are_neighbours():
    X = cloud(9000)
    assert len(X) * (len(X) - 1) // 2 > LARGEST_N_PAIRS
    tracemalloc.start()
    try:
        mapper = MapperGraph(n_intervals=1, eps=100.0).fit(X)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 500e6
    assert mapper.membership_.shape == (9000, 1)
    assert mapper.n_noise_ == 0


@given(point_clouds(), st.lists(covers(), min_size=2, max_size=4), st.integers(1, 4))
def test_warm_start_changes_no_graph(X, covers, min_samples):
    params = {"eps": 2.0, "min_samples": min_samples}
    warm = MapperGraph(warm_start=True, **params)
    if not (np.linalg.norm(X, axis=1) > 0).any():
        return
    for cover in covers:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(MapperGraph, "_warn_of_an_empty_graph", lambda *_: None)
            warm.set_params(cover=cover).fit(X)
            cold = MapperGraph(cover=cover, **params).fit(X)
        assert same_graph(warm, cold)


@given(point_clouds(), st.lists(st.sampled_from([0.5, 1.0, 2.0, 8.0]), min_size=2))
def test_another_distance_changes_no_graph(X, distances):
    """Whether it is within what is kept, or beyond."""
    if not (np.linalg.norm(X, axis=1) > 0).any():
        return
    warm = MapperGraph(n_intervals=4, min_samples=2, warm_start=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(MapperGraph, "_warn_of_an_empty_graph", lambda *_: None)
        keep_at_most(50, patch)
        for eps in distances:
            cold = clone(warm.set_params(eps=eps)).set_params(warm_start=False)
            assert same_graph(warm.fit(X), cold.fit(X))


@pytest.mark.parametrize("filter", ["l2norm", "pca", lambda X: X[:, 0] ** 2])
def test_warm_start_searches_once(filter, searches):
    mapper = MapperGraph(filter, eps=1.0, n_intervals=8, warm_start=True).fit(cloud())
    for params in (
        {"n_intervals": 2},
        {"overlap": 0.6},
        {"cover": "balanced"},
        {"min_samples": 2},
    ):
        mapper.set_params(**params).fit(cloud())
    assert len(searches) == 1
    mapper.set_params(eps=0.9).fit(cloud())
    assert len(searches) == 1
    mapper.set_params(eps=1.1).fit(cloud())
    assert len(searches) == 2
    mapper.set_params(eps=1.0).fit(cloud())
    assert len(searches) == 2
    mapper.fit(cloud(299))
    assert len(searches) == 3
    mapper.set_params(filter=1).fit(cloud(299))
    assert len(searches) == 4


def test_beyond_as_many_pairs_as_can_be_kept_nothing_is_searched_anew(
    searches, few_pairs
):
    mapper = MapperGraph(eps=1.0, n_intervals=4, warm_start=True).fit(cloud())
    mapper.set_params(eps=2.0).fit(cloud())
    assert len(searches) == 1
    assert same_graph(mapper, MapperGraph(eps=2.0, n_intervals=4).fit(cloud()))


@pytest.mark.parametrize("look_ahead", [1.0, 1.5])
def test_neighbors_look_ahead_as_far_as_pairs_fit(look_ahead, monkeypatch):
    X = cloud()
    values = np.linalg.norm(X, axis=1)
    neighbors = Neighbors(X, values, 1.0, True, look_ahead=look_ahead)
    assert neighbors.radius == look_ahead
    assert not neighbors.is_full
    # Room for those within 1, and for some more.
    max_pairs = int(1.05 * Neighbors(X, values, 1.0, True).n_pairs)
    # Every pair is counted: no estimate is wrong by chance.
    monkeypatch.setattr(_search, "_STRIDE", 1)
    neighbors = Neighbors(
        X, values, 1.0, True, look_ahead=look_ahead, max_pairs=max_pairs
    )
    assert 1.0 <= neighbors.radius < 1.5
    assert neighbors.is_full == (look_ahead > 1)


def test_without_warm_start_every_fit_searches(searches):
    mapper = MapperGraph(eps=1.0, n_intervals=4).fit(cloud())
    mapper.fit(cloud())
    assert len(searches) == 2


def test_clones_share_what_was_found(searches):
    grid = {"n_intervals": [3, 5, 8], "overlap": [0.2, 0.5]}
    search = GridSearchCV(MapperGraph(eps=1.5, warm_start=True), grid, cv=2)
    y = np.arange(300) % 2
    search.fit(cloud(), y)
    # One for each half and one for the whole, not one for each of 13 fits.
    assert len(searches) == 3
    assert 0 <= search.best_score_ <= 1


def test_copies_on_disk_and_in_memory_forget(searches):
    mapper = MapperGraph(eps=1.0, n_intervals=4, warm_start=True).fit(cloud())
    for twin in (copy.deepcopy(mapper), pickle.loads(pickle.dumps(mapper))):
        assert same_graph(twin.fit(cloud()), mapper)
    assert len(searches) == 3
    assert len(pickle.dumps(NeighborCache())) < 200


def test_eps_is_chosen_once(monkeypatch):
    mapper = MapperGraph(n_intervals=4, warm_start=True).fit(cloud())

    def refuse(*_):
        raise AssertionError("chosen again")

    monkeypatch.setattr(_mapper, "choose_eps", refuse)
    assert mapper.set_params(n_intervals=3).fit(cloud()).eps_ > 0
    with pytest.raises(AssertionError, match="chosen again"):
        mapper.set_params(min_samples=4).fit(cloud())


def test_the_least_recently_used_go_first():
    class Found:
        n_pairs, radius, is_full = 4, 1.0, False

    cache, first, second, third = NeighborCache(8), Found(), Found(), Found()
    cache.keep("a", first)
    cache.keep("b", second)
    assert cache.find("a", 1.0) is first
    cache.keep("c", third)
    assert cache.find("a", 1.0) is first
    assert cache.find("c", 1.0) is third
    assert cache.find("b", 1.0) is None
    # What is kept within 1 does not tell who is within 2.
    assert cache.find("a", 2.0) is None


def test_digest_tells_content_shape_and_type_apart():
    zeros = np.zeros(4)
    others = (np.ones(4), zeros.reshape(2, 2), zeros.astype(np.int64))
    assert digest(zeros) == digest(np.zeros(8)[::2])
    assert all(digest(zeros) != digest(other) for other in others)
