"""The graphs of other packages, where these are installed."""

import numpy as np
import pytest
from sklearn.cluster import DBSCAN
from sklearn.datasets import load_digits

from robustkit.topology import MapperGraph, UniformCover
from tests.topology.brute_force import nodes_of

EPS, MIN_SAMPLES = 22.0, 4


def digits():
    """Images as they are; the filter is the norm."""
    return load_digits().data


def our_graph(n_intervals, overlap, convention):
    mapper = MapperGraph(
        cover=UniformCover(n_intervals, overlap, convention),
        eps=EPS,
        min_samples=MIN_SAMPLES,
    ).fit(digits())
    nodes = nodes_of(mapper.membership_)
    edges = {frozenset(map(frozenset, (nodes[i], nodes[j]))) for i, j in mapper.edges_}
    return sorted(map(sorted, nodes)), edges


@pytest.mark.parametrize(("n_intervals", "overlap"), [(8, 0.3), (15, 0.5)])
@pytest.mark.filterwarnings("ignore")
def test_kepler_mapper_draws_the_same_graph(n_intervals, overlap):
    kmapper = pytest.importorskip("kmapper")
    X = digits()
    graph = kmapper.KeplerMapper(verbose=0).map(
        np.linalg.norm(X, axis=1)[:, None],
        X,
        cover=kmapper.Cover(n_intervals, overlap),
        clusterer=DBSCAN(eps=EPS, min_samples=MIN_SAMPLES),
    )
    nodes = {name: frozenset(members) for name, members in graph["nodes"].items()}
    edges = {
        frozenset([nodes[name], nodes[other]])
        for name, others in graph["links"].items()
        for other in others
    }
    expected = sorted(map(sorted, nodes.values())), edges
    assert our_graph(n_intervals, overlap, "kepler") == expected


@pytest.mark.parametrize(("n_intervals", "overlap"), [(8, 0.3), (15, 0.5)])
@pytest.mark.filterwarnings("ignore")
def test_tda_mapper_draws_as_many_nodes(n_intervals, overlap):
    """It numbers samples anew, so that a border sample may join another cluster."""
    tdamapper = pytest.importorskip("tdamapper")
    core, cover = tdamapper.core, pytest.importorskip("tdamapper.cover")
    X = digits()
    graph = core.mapper_graph(
        X,
        np.linalg.norm(X, axis=1)[:, None],
        cover.CubicalCover(n_intervals, overlap, algorithm="standard"),
        DBSCAN(eps=EPS, min_samples=MIN_SAMPLES),
    )
    sizes = [data["size"] for _, data in graph.nodes(data=True)]
    ours = our_graph(n_intervals, overlap, "kepler")[0]
    # Samples that DBSCAN leaves out are nodes of their own kind there.
    assert len([size for size in sizes if size >= MIN_SAMPLES]) >= len(ours)
