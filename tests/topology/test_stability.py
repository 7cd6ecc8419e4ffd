"""What comes back in resamples is what clustering each from scratch says."""

import warnings
from itertools import combinations, permutations, product

import networkx as nx
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.distance import pdist, squareform
from sklearn.base import clone
from sklearn.cluster import DBSCAN, AgglomerativeClustering

from robustkit._randomness import draw_seeds
from robustkit.topology import MapperGraph, UniformCover
from robustkit.topology._stability import matching_distance
from robustkit.topology.neighbors import _dbscan
from tests.topology.brute_force import mapper as brute_force
from tests.topology.brute_force import nodes_of
from tests.topology.strategies import covers, point_clouds


def fitted(mapper, X):
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "No cluster was found", UserWarning)
        return mapper.fit(X)


def resamples(n_samples, n_bootstrap, random_state):
    """Four fifths of the samples each, in ascending order."""
    n_drawn = -(-4 * n_samples // 5)
    for seed in draw_seeds(random_state, n_bootstrap):
        yield np.sort(np.random.RandomState(seed).permutation(n_samples)[:n_drawn])


def refit(X, values, intervals, drawn, clusterer):
    """Nodes with the numbers of all samples, their intervals, and their edges."""
    nodes, edges = brute_force(X[drawn], values[drawn], intervals, clusterer)
    nodes = [set(drawn[sorted(node)].tolist()) for node in nodes]
    home = []
    for k, (low, high) in enumerate(intervals):
        inside = drawn[(low <= values[drawn]) & (values[drawn] <= high)]
        if len(inside):
            home += [k] * (max(clusterer(X[inside])) + 1)
    return nodes, home, edges


def is_same(ours, theirs, drawn):
    ours, theirs = ours & set(drawn.tolist()), theirs & set(drawn.tolist())
    return 2 * len(ours & theirs) > len(ours | theirs)


def components(nodes, edges):
    graph = nx.Graph(edges)
    graph.add_nodes_from(range(len(nodes)))
    listed = sorted(map(sorted, nx.connected_components(graph)))
    return listed, [set().union(*(nodes[k] for k in part)) for part in listed]


def by_definition(mapper, X, values, clusterer):
    """Shares of resamples that have each node, edge and component."""
    nodes, edges = nodes_of(mapper.membership_), mapper.edges_.tolist()
    home = mapper.describe()["interval"]
    listed, parts = components(nodes, edges)
    counts = np.zeros(len(nodes)), np.zeros(len(edges)), np.zeros(len(parts))
    sizes = []
    for drawn in resamples(len(X), mapper.n_bootstrap, mapper.random_state):
        others, their_home, their_edges = refit(
            X, values, mapper.intervals_, drawn, clusterer
        )
        their_parts = components(others, their_edges)[1]
        partner = {
            i: j
            for i, j in product(range(len(nodes)), range(len(others)))
            if home[i] == their_home[j] and is_same(nodes[i], others[j], drawn)
        }
        counts[0][list(partner)] += 1
        for k, (i, j) in enumerate(edges):
            pair = sorted([partner.get(i, -1), partner.get(j, -1)])
            counts[1][k] += tuple(pair) in their_edges
        for k, part in enumerate(parts):
            counts[2][k] += any(is_same(part, other, drawn) for other in their_parts)
        sizes.append([len(others), len(their_edges), len(their_parts)])
    return [count / mapper.n_bootstrap for count in counts], listed, sizes


def assert_agrees_with_the_definition(mapper, X, values, clusterer):
    found = mapper.stability_
    (nodes, edges, parts), listed, sizes = by_definition(mapper, X, values, clusterer)
    np.testing.assert_allclose(found.nodes, nodes)
    np.testing.assert_allclose(found.edges, edges)
    np.testing.assert_allclose(found.components["stability"], parts)
    assert found.components["nodes"].tolist() == listed
    of_sizes = found.resamples[["n_nodes", "n_edges", "n_components"]]
    assert of_sizes.to_numpy().tolist() == sizes


@given(
    point_clouds(max_samples=50),
    covers(max_intervals=4),
    st.sampled_from([1.0, 2.0]),
    st.integers(1, 4),
    st.sampled_from(["euclidean", "manhattan"]),
    st.booleans(),
)
def test_resamples_are_those_refitted_from_scratch(
    X, cover, eps, min_samples, metric, warm_start
):
    mapper = MapperGraph(
        0, cover=cover, eps=eps, min_samples=min_samples, metric=metric,
        warm_start=warm_start, n_bootstrap=3, random_state=0,
    )  # fmt: skip
    fitted(mapper, X)
    clusterer = DBSCAN(eps=eps, min_samples=min_samples, metric=metric).fit_predict
    assert_agrees_with_the_definition(mapper, X, X[:, 0].astype(float), clusterer)


def test_resamples_are_searched_anew_where_pairs_are_too_many(monkeypatch):
    X = np.random.RandomState(0).normal(size=(40, 2))
    mapper = MapperGraph(n_intervals=3, eps=0.6, n_bootstrap=3, random_state=1)
    kept = mapper.fit(X).stability_
    monkeypatch.setattr(_dbscan, "LARGEST_N_PAIRS", 20)
    searched = clone(mapper).fit(X).stability_
    np.testing.assert_array_equal(searched.nodes, kept.nodes)
    assert searched.instability == kept.instability
    clusterer = DBSCAN(eps=0.6).fit_predict
    assert_agrees_with_the_definition(mapper, X, np.linalg.norm(X, axis=1), clusterer)


@pytest.mark.parametrize("warm_start", [False, True])
def test_resamples_reuse_the_neighbours_of_the_graph(warm_start, monkeypatch):
    searches = []

    class Counted(_dbscan.Neighbors):
        def __init__(self, *args, **kwargs):
            searches.append(args)
            super().__init__(*args, **kwargs)

    monkeypatch.setattr(_dbscan, "Neighbors", Counted)
    X = np.random.RandomState(0).normal(size=(80, 2))
    mapper = MapperGraph(
        0, n_intervals=4, eps=0.6, warm_start=warm_start, n_bootstrap=3, random_state=0
    ).fit(X)
    assert len(mapper.stability_.resamples) == 3
    assert len(searches) == 1
    # They are as many as 40 million pairs: none stay in the fitted estimator.
    assert mapper._mapper.neighbors is None


def test_other_clusterers_are_fitted_to_each_resample():
    X = np.random.RandomState(0).normal(size=(40, 2))
    clusterer = AgglomerativeClustering(n_clusters=2, linkage="single")
    mapper = MapperGraph(
        0, n_intervals=3, clusterer=clusterer, n_bootstrap=4, random_state=0
    ).fit(X)
    assert_agrees_with_the_definition(mapper, X, X[:, 0], clusterer.fit_predict)


def circle(n_samples=300):
    angle = np.linspace(0, 2 * np.pi, n_samples, endpoint=False)
    return np.column_stack([np.cos(angle), np.sin(angle)])


def test_a_clear_shape_comes_back_whole():
    mapper = MapperGraph("pca", n_intervals=6, eps=0.3, n_bootstrap=20, random_state=0)
    found = mapper.fit(circle()).stability_
    assert (found.nodes == 1).all()
    assert (found.edges == 1).all()
    assert found.components["stability"].tolist() == [1.0]
    assert found.components["n_samples"].tolist() == [300]
    assert found.loops["stability"].tolist() == [1.0]
    assert set(found.loops["nodes"][0]) == set(range(len(found.nodes)))
    assert found.instability == 0
    assert (found.resamples["n_loops"] == 1).all()


def test_a_loop_held_by_one_sample_comes_back_as_often_as_it_is_drawn():
    # A circle with one gap, in which a single sample stands.
    angle = np.linspace(0.3, 2 * np.pi - 0.3, 200)
    arc = np.column_stack([np.cos(angle), np.sin(angle)])
    X = np.vstack([arc, [1.02, 0.0]])
    mapper = MapperGraph(
        1, n_intervals=3, eps=0.5, min_samples=2, n_bootstrap=40, random_state=0
    ).fit(X)
    is_drawn = [200 in drawn for drawn in resamples(201, 40, 0)]
    assert 0 < np.mean(is_drawn) < 1
    loop, stability = mapper.stability_.loops.loc[0]
    assert len(mapper.stability_.loops) == 1
    assert len(loop) == len(mapper.graph_)
    assert stability == np.mean(is_drawn)
    assert mapper.stability_.resamples["n_loops"].tolist() == [int(d) for d in is_drawn]


def test_two_loops_are_lost_where_they_fall_into_one():
    # An ellipse, and a bar across it whose middle is a single sample.
    angle = np.linspace(0, 2 * np.pi, 900, endpoint=False)
    ring = np.column_stack([2 * np.cos(angle), np.sin(angle)])
    half = np.column_stack([np.zeros(60), np.linspace(0.1, 0.9, 60)])
    X = np.vstack([ring, half, -half, [[0.0, 0.0]]])
    mapper = MapperGraph(
        0, n_intervals=7, eps=0.17, min_samples=2, n_bootstrap=20, random_state=0
    ).fit(X)
    found = mapper.stability_
    is_drawn = np.array([1020 in drawn for drawn in resamples(1021, 20, 0)])
    assert found.loops["stability"].tolist() == [is_drawn.mean()] * 2
    assert found.resamples["n_loops"].tolist() == (1 + is_drawn).tolist()


def test_a_node_of_min_samples_comes_back_as_often_as_all_are_drawn():
    X = np.vstack([np.zeros((4, 2)), np.full((50, 2), 5.0)])
    mapper = MapperGraph(
        0, n_intervals=2, eps=1.0, min_samples=4, n_bootstrap=40, random_state=0
    ).fit(X)
    has_all = [set(range(4)) <= set(drawn) for drawn in resamples(54, 40, 0)]
    assert 0 < np.mean(has_all) < 1
    assert mapper.stability_.nodes.tolist() == [np.mean(has_all), 1.0]


def as_slots(labels):
    """Offsets, positions and flat labels of intervals that hold all samples."""
    n_intervals, n_samples = labels.shape
    offsets = n_samples * np.arange(n_intervals + 1)
    positions = np.tile(np.arange(n_samples, dtype=np.int32), n_intervals)
    return offsets, positions, labels.astype(np.int32).ravel()


def exhaustive_distance(labels, others):
    """Smallest share of samples that differ, over all matchings in all intervals."""
    is_there = (labels != -2).any(axis=0) & (others != -2).any(axis=0)
    n_labels = max(labels.max(), others.max()) + 1
    every = [dict(enumerate(p)) for p in permutations(range(n_labels))]
    least = np.inf
    for chosen in product(every, repeat=len(labels)):
        differs = np.zeros(labels.shape[1], dtype=bool)
        for matching, ours, theirs in zip(chosen, labels, others, strict=True):
            expected = [matching.get(label, label) for label in ours]
            differs |= np.array(expected) != theirs
        least = min(least, differs[is_there].sum())
    return least / max(is_there.sum(), 1)


@st.composite
def two_labellings(draw, n_intervals):
    """Labels from -1 to 2 of up to 8 samples, some of them in one labelling only."""
    n_samples = draw(st.integers(1, 8))
    rng = np.random.RandomState(draw(st.integers(0, 2**32 - 1)))
    labels = rng.randint(-1, 3, size=(2, n_intervals, n_samples))
    is_absent = rng.uniform(size=(2, n_samples)) < 0.2
    return np.where(is_absent[:, None], -2, labels)


@given(two_labellings(1))
def test_matching_distance_is_the_smallest_of_all_matchings(both):
    labels, others = both
    offsets, positions, flat = as_slots(labels)
    found = matching_distance(offsets, positions, flat, as_slots(others)[2])
    assert found == pytest.approx(exhaustive_distance(labels, others))


@given(two_labellings(2))
def test_matching_interval_by_interval_gives_an_upper_bound(both):
    labels, others = both
    offsets, positions, flat = as_slots(labels)
    found = matching_distance(offsets, positions, flat, as_slots(others)[2])
    alone = sum(exhaustive_distance(labels[[k]], others[[k]]) for k in range(2))
    assert exhaustive_distance(labels, others) <= found + 1e-12
    assert found <= alone + 1e-12


def test_instability_is_the_mean_over_all_pairs_of_resamples():
    X = np.random.RandomState(0).normal(size=(60, 2))
    mapper = MapperGraph(
        0, n_intervals=1, eps=0.4, min_samples=3, n_bootstrap=4, random_state=0
    ).fit(X)
    labellings = []
    for drawn in resamples(60, 4, 0):
        labels = np.full(60, -2)
        labels[drawn] = DBSCAN(eps=0.4, min_samples=3).fit_predict(X[drawn])
        labellings.append(labels)
    distances = []
    for ours, theirs in combinations(labellings, 2):
        offsets, positions, flat = as_slots(ours[None])
        distances.append(
            matching_distance(offsets, positions, flat, as_slots(theirs[None])[2])
        )
    assert mapper.stability_.instability == pytest.approx(np.mean(distances))
    assert mapper.stability_.instability > 0


@pytest.mark.parametrize("n_jobs", [2, 3])
def test_resamples_do_not_depend_on_the_number_of_threads(n_jobs):
    X = np.random.RandomState(0).normal(size=(200, 2))
    mapper = MapperGraph(n_intervals=4, eps=0.3, n_bootstrap=6, random_state=3)
    one = mapper.fit(X).stability_
    many = clone(mapper).set_params(n_jobs=n_jobs).fit(X).stability_
    np.testing.assert_array_equal(one.nodes, many.nodes)
    assert one.instability == many.instability
    assert one.loops.equals(many.loops)
    assert one.resamples.equals(many.resamples)


def test_graph_is_the_same_with_and_without_resamples():
    X = np.random.RandomState(0).normal(size=(100, 3))
    mapper = MapperGraph(n_intervals=4).fit(X)
    doubted = MapperGraph(n_intervals=4, n_bootstrap=2, random_state=0).fit(X)
    assert (mapper.membership_ != doubted.membership_).nnz == 0
    assert not hasattr(mapper, "stability_")
    described = doubted.describe()
    assert described.drop(columns="stability").equals(mapper.describe())
    np.testing.assert_array_equal(described["stability"], doubted.stability_.nodes)
    # Nothing of an earlier fit is left.
    assert not hasattr(doubted.set_params(n_bootstrap=0).fit(X), "stability_")


def test_graph_without_nodes_is_stable_and_empty():
    mapper = MapperGraph(eps=1e-9, n_intervals=3, n_bootstrap=3, random_state=0)
    found = fitted(mapper, np.random.RandomState(0).normal(size=(20, 2))).stability_
    assert len(found.nodes) == len(found.edges) == 0
    assert len(found.components) == len(found.loops) == 0
    assert found.instability == 0
    assert (found.resamples == 0).all(axis=None)


def test_one_sample_and_one_resample():
    mapper = MapperGraph(min_samples=1, n_bootstrap=1, random_state=0).fit([[1.0, 2.0]])
    assert mapper.stability_.nodes.tolist() == [1.0]
    assert np.isnan(mapper.stability_.instability)


def test_duplicates_are_samples_of_their_own():
    X = np.repeat(np.random.RandomState(0).normal(size=(10, 2)), 5, axis=0)
    mapper = MapperGraph(
        0, cover=UniformCover(3), eps=0.5, min_samples=4, n_bootstrap=4, random_state=0
    ).fit(X)
    clusterer = DBSCAN(eps=0.5, min_samples=4).fit_predict
    assert_agrees_with_the_definition(mapper, X, X[:, 0], clusterer)


def test_negative_n_bootstrap_is_refused():
    with pytest.raises(ValueError, match=r"'n_bootstrap' parameter .* Got -1 instead"):
        MapperGraph(n_bootstrap=-1).fit(circle())


def test_precomputed_distances_are_refused():
    with pytest.raises(ValueError, match="'metric' parameter"):
        MapperGraph(metric="precomputed", n_bootstrap=5).fit(circle())
    given = DBSCAN(metric="precomputed")
    with pytest.raises(ValueError, match=r"must be 0 with precomputed .* Got 5 and"):
        MapperGraph(clusterer=given, n_bootstrap=5).fit(squareform(pdist(circle())))
