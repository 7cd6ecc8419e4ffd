"""Graphs of known shapes have their components and loops, without any parameter."""

import numpy as np
import pytest
from sklearn.cluster import AgglomerativeClustering

from robustkit.topology import (
    AdaptiveCover,
    MapperGraph,
    _mapper,
    mapper_persistence,
)
from tests.topology.shapes import SHAPES, n_components_and_loops

CASES = pytest.mark.parametrize("name", SHAPES)


def cloud(name, filter="column", seed=0, n_samples=1000):
    make, _ = SHAPES[name]
    X = make(n_samples, np.random.RandomState(seed))
    if filter == "l2norm":
        # From far away, the norm grows along the first coordinate.
        X = X - X.min(axis=0)
        X[:, 0] += 20 * np.ptp(X[:, 0])
    return X


@CASES
@pytest.mark.parametrize("filter", [0, "pca", "l2norm"])
def test_the_defaults_find_the_shape(name, filter):
    mapper = MapperGraph(filter).fit(cloud(name, filter))
    assert n_components_and_loops(mapper.graph_) == SHAPES[name][1]


@CASES
@pytest.mark.parametrize(
    "cover",
    ["gmapper", AdaptiveCover("bic"), AdaptiveCover("aic")],
    ids=["gmapper", "bic", "aic"],
)
def test_covers_that_split_find_the_shape(name, cover):
    mapper = MapperGraph(0, cover=cover).fit(cloud(name))
    assert n_components_and_loops(mapper.graph_) == SHAPES[name][1]


@pytest.mark.slow
@CASES
@pytest.mark.parametrize("n_samples", [1000, 3000])
@pytest.mark.parametrize("seed", range(1, 7))
def test_the_defaults_find_the_shape_again_and_again(name, seed, n_samples):
    mapper = MapperGraph(0).fit(cloud(name, seed=seed, n_samples=n_samples))
    assert n_components_and_loops(mapper.graph_) == SHAPES[name][1]


@pytest.mark.slow
@CASES
def test_more_dimensions_of_noise_hide_no_shape(name):
    X = cloud(name, n_samples=3000)
    rng = np.random.RandomState(1)
    wide = np.hstack([X, rng.normal(scale=1e-3, size=(len(X), 8))])
    rotation = np.linalg.qr(rng.normal(size=(wide.shape[1],) * 2))[0]
    mapper = MapperGraph(X[:, 0]).fit(wide @ rotation)
    assert n_components_and_loops(mapper.graph_) == SHAPES[name][1]


@CASES
def test_what_lasts_longest_is_the_shape(name):
    """At the distance chosen the bars are those of the shape, and the longest."""
    X, mapper = cloud(name), MapperGraph(0)
    eps = mapper.fit(X).eps_
    bars = mapper_persistence(mapper, X, eps=eps * np.array([0.4, 0.7, 1.0, 1.2]))
    alive = bars[(bars["birth"] <= eps) & (bars["death"] > eps)]
    counts = alive["dimension"].value_counts()
    assert (counts.get(0, 0), counts.get(1, 0)) == SHAPES[name][1]


def test_samples_that_are_too_sparse_keep_the_knee_and_forty_intervals():
    X = np.random.RandomState(0).normal(size=(300, 10))
    auto, given = MapperGraph().fit(X), MapperGraph(n_intervals=40).fit(X)
    assert auto.eps_ == given.eps_ == MapperGraph(eps="knee").fit(X).eps_
    assert (auto.membership_ != given.membership_).nnz == 0
    np.testing.assert_array_equal(auto.intervals_, given.intervals_)


@pytest.mark.parametrize("name", ["two circles", "klein bottle", "human", "blobs"])
def test_few_samples_that_reach_evenly_along_the_filter_show_their_shape(name):
    """A Klein bottle of 300 samples bears three intervals, and these are enough."""
    mapper = MapperGraph(0).fit(cloud(name, n_samples=300))
    assert 3 <= len(mapper.intervals_) < 40
    assert n_components_and_loops(mapper.graph_) == SHAPES[name][1]


def test_three_intervals_of_which_one_holds_most_samples_show_nothing(monkeypatch):
    """A ball bears three intervals, too, and they say no more than that it is one."""
    X = np.random.RandomState(0).normal(size=(300, 3))
    mapper = MapperGraph("pca").fit(X)
    assert len(mapper.intervals_) == 40
    assert mapper.eps_ == MapperGraph("pca", eps="knee").fit(X).eps_
    monkeypatch.setattr(_mapper, "FEWEST_INTERVALS", 3)
    sizes = MapperGraph("pca").fit(X).describe()["size"]
    assert len(sizes) == 3
    assert sizes.max() > 200


@pytest.mark.parametrize("cover", ["uniform", "balanced"])
def test_a_number_of_intervals_keeps_the_knee(cover):
    X = cloud("two circles")
    mapper = MapperGraph(0, cover=cover, n_intervals=7).fit(X)
    assert mapper.eps_ == MapperGraph(0, n_intervals=7, eps="knee").fit(X).eps_
    assert len(mapper.intervals_) == 7
    connected = MapperGraph(0, cover=cover, n_intervals=7, eps="connected").fit(X)
    assert connected.eps_ == MapperGraph(0).fit(X).eps_ > mapper.eps_


COVERS = pytest.mark.parametrize(
    "cover",
    ["uniform", "balanced", "gmapper", AdaptiveCover("bic"), AdaptiveCover("aic")],
    ids=["uniform", "balanced", "gmapper", "bic", "aic"],
)


@COVERS
def test_a_constant_filter_leaves_the_clustering_to_eps(cover):
    X = cloud("two circles")
    mapper = MapperGraph(np.full(len(X), 7.0), cover=cover).fit(X)
    np.testing.assert_array_equal(mapper.intervals_, [[7.0, 7.0]])
    assert n_components_and_loops(mapper.graph_) == (2, 0)
    assert mapper.n_noise_ == 0


@COVERS
def test_one_sample_is_noise_and_a_warning_says_why(cover):
    mapper = MapperGraph(cover=cover)
    with pytest.warns(UserWarning, match="X has 1 sample.*Try a smaller min_samples"):
        mapper.fit([[1.0, 2.0]])
    assert (len(mapper.graph_), mapper.n_noise_) == (0, 1)
    assert len(MapperGraph(cover=cover, min_samples=1).fit([[1.0, 2.0]]).graph_) == 1


@COVERS
def test_duplicates_are_one_node_and_piles_are_as_many(cover):
    assert len(MapperGraph(cover=cover).fit(np.ones((30, 2))).graph_) == 1
    piles = np.repeat([[0.0, 0.0], [5.0, 5.0]], 30, axis=0)
    graph = MapperGraph(cover=cover).fit(piles).graph_
    assert n_components_and_loops(graph) == (2, 0)


@COVERS
def test_repeated_samples_change_no_shape(cover):
    X = np.repeat(cloud("two circles"), 2, axis=0)
    graph = MapperGraph(0, cover=cover, min_samples=10).fit(X).graph_
    assert n_components_and_loops(graph) == (2, 2)


@COVERS
@pytest.mark.parametrize("scale", [1e-140, 1e140])
def test_the_unit_of_the_samples_changes_no_graph(cover, scale):
    X = cloud("two circles")
    one = MapperGraph(0, cover=cover).fit(X)
    other = MapperGraph(0, cover=cover).fit(scale * X)
    np.testing.assert_allclose(other.eps_, scale * one.eps_)
    np.testing.assert_allclose(other.intervals_, scale * one.intervals_)
    assert n_components_and_loops(other.graph_) == (2, 2)


@COVERS
def test_warm_starts_change_no_graph_that_chooses(cover):
    X = cloud("figure of eight")
    warm = MapperGraph(0, cover=cover, warm_start=True)
    for params in ({}, {"min_samples": 4}, {"overlap": 0.4}, {"filter": 1}, {}):
        warm.set_params(**params).fit(X)
        cold = MapperGraph(**warm.get_params() | {"warm_start": False}).fit(X)
        assert warm.eps_ == cold.eps_
        assert (warm.membership_ != cold.membership_).nnz == 0


def test_other_metrics_and_clusterers_find_the_shape():
    X = cloud("two circles")
    for params in (
        {"metric": "manhattan"}, {"metric": "chebyshev"}, {"metric": "seuclidean"},
        {"clusterer": AgglomerativeClustering(
            None, distance_threshold=0.3, linkage="single")},
    ):  # fmt: skip
        mapper = MapperGraph(0, **params).fit(X)
        assert n_components_and_loops(mapper.graph_) == (2, 2)


def test_the_number_given_is_the_most_that_g_mapper_makes():
    X = cloud("two circles")
    assert len(MapperGraph(0, cover="gmapper", n_intervals=9).fit(X).intervals_) <= 9


def test_rules_go_by_name():
    X = cloud("blobs")
    mapper = MapperGraph(eps="near")
    with pytest.raises(ValueError, match=r"'eps' parameter.*'connected'.*'near'"):
        mapper.fit(X)
    with pytest.raises(ValueError, match=r"'cover' parameter.*'gmapper'.*'some'"):
        mapper.set_params(eps="auto", cover="some").fit(X)
    with pytest.raises(ValueError, match=r"'n_intervals' parameter.*'auto'.*'all'"):
        mapper.set_params(cover="uniform", n_intervals="all").fit(X)
