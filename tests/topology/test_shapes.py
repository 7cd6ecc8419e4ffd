"""Graphs of known shapes have their components and loops, without any parameter."""

import numpy as np
import pytest

from robustkit.topology import AdaptiveCover, MapperGraph, mapper_persistence
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


@pytest.mark.parametrize("cover", ["uniform", "balanced"])
def test_a_number_of_intervals_keeps_the_knee(cover):
    X = cloud("two circles")
    mapper = MapperGraph(0, cover=cover, n_intervals=7).fit(X)
    assert mapper.eps_ == MapperGraph(0, n_intervals=7, eps="knee").fit(X).eps_
    assert len(mapper.intervals_) == 7
    connected = MapperGraph(0, cover=cover, n_intervals=7, eps="connected").fit(X)
    assert connected.eps_ == MapperGraph(0).fit(X).eps_ > mapper.eps_
