"""The graphs of other packages, where these are installed."""

import numpy as np
import pytest
from sklearn.cluster import DBSCAN
from sklearn.datasets import load_digits

from robustkit.topology import MapperGraph, UniformCover
from tests.topology.brute_force import nodes_of

EPS = 22.0
SETTINGS = pytest.mark.parametrize(("n_intervals", "overlap"), [(8, 0.3), (15, 0.5)])


@pytest.fixture(scope="module")
def digits():
    """Images and their norms, the filter."""
    X = load_digits().data
    return X, np.linalg.norm(X, axis=1)[:, None]


def our_graph(X, cover):
    mapper = MapperGraph(cover=cover, eps=EPS, min_samples=4).fit(X)
    return as_sets(nodes_of(mapper.membership_), mapper.edges_)


def as_sets(nodes, edges):
    """Nodes as sorted lists of samples, edges as pairs of these, in order."""
    nodes = [sorted(map(int, node)) for node in nodes]
    return sorted(nodes), sorted(sorted([nodes[i], nodes[j]]) for i, j in edges)


@SETTINGS
@pytest.mark.filterwarnings("ignore")
def test_kepler_mapper_draws_the_same_graph(digits, n_intervals, overlap):
    kmapper = pytest.importorskip("kmapper")
    graph = kmapper.KeplerMapper(verbose=0).map(
        *digits[::-1],
        cover=kmapper.Cover(n_intervals, overlap),
        clusterer=DBSCAN(eps=EPS, min_samples=4),
    )
    names = list(graph["nodes"])
    edges = [
        (names.index(name), names.index(other))
        for name, others in graph["links"].items()
        for other in others
    ]
    ours = our_graph(digits[0], UniformCover(n_intervals, overlap, "kepler"))
    assert as_sets(graph["nodes"].values(), edges) == ours


@SETTINGS
@pytest.mark.filterwarnings("ignore")
def test_giotto_draws_the_same_graph_and_nodes_of_noise(digits, n_intervals, overlap):
    cover = pytest.importorskip("gtda.mapper.cover")
    cluster = pytest.importorskip("gtda.mapper.cluster")
    nerve = pytest.importorskip("gtda.mapper.nerve")
    X, values = digits
    masks = cover.OneDimensionalCover(
        kind="uniform", n_intervals=n_intervals, overlap_frac=overlap
    ).fit_transform(values)
    clusterer = cluster.ParallelClustering(DBSCAN(eps=EPS, min_samples=4))
    graph = nerve.Nerve().fit_transform(clusterer.fit_transform([X, masks]))
    is_noise = np.array(graph.vs["partial_cluster_label"]) == -1
    number = np.cumsum(~is_noise) - 1
    nodes = [v["node_elements"] for v in graph.vs if not is_noise[v.index]]
    edges = [(number[i], number[j]) for i, j in graph.get_edgelist()
             if not is_noise[[i, j]].any()]  # fmt: skip
    ours = our_graph(X, UniformCover(n_intervals, overlap))
    assert as_sets(nodes, edges) == ours
