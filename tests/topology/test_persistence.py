"""Bars are those of the maps between the graphs, counted one by one."""

import warnings
from itertools import combinations

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from sklearn.cluster import DBSCAN, AgglomerativeClustering

from robustkit.topology import MapperGraph, mapper_persistence
from tests.topology.strategies import seeds


def core_graph(X, values, intervals, eps, min_samples):
    """The clusters of core samples in every interval, and which share samples."""
    nodes = []
    for low, high in intervals:
        inside = np.flatnonzero((low <= values) & (values <= high))
        if not inside.size:
            continue
        dbscan = DBSCAN(eps=eps, min_samples=min_samples).fit(X[inside])
        cores = dbscan.core_sample_indices_
        labels = dbscan.labels_[cores]
        nodes += [
            ((low, high), frozenset(inside[cores[labels == k]]))
            for k in range(labels.max(initial=-1) + 1)
        ]
    edges = [
        (i, j)
        for i in range(len(nodes))
        for j in range(i + 1, len(nodes))
        if nodes[i][1] & nodes[j][1]
    ]
    return nodes, edges


def rank(rows):
    """The rank of a matrix over the field of two elements."""
    rows = [int("".join(map(str, row)) or "0", 2) for row in rows]
    found = 0
    while rows:
        pivot = rows.pop()
        if pivot:
            found += 1
            low = pivot & -pivot
            rows = [row ^ pivot if row & low else row for row in rows]
    return found


def cycles(n_nodes, edges):
    """A basis of the cycles: combinations of edges that meet each node evenly."""
    rows = []
    for k, (i, j) in enumerate(edges):
        boundary = np.zeros(n_nodes, int)
        boundary[[i, j]] = 1
        rows.append((boundary, np.eye(len(edges), dtype=int)[k]))
    found = []
    while rows:
        boundary, chain = rows.pop()
        if not boundary.any():
            found.append(chain)
            continue
        place = boundary.argmax()
        rows = [
            ((b + boundary) % 2, (c + chain) % 2) if b[place] else (b, c)
            for b, c in rows
        ]
    return found


def ranks(first, last):
    """How many components and loops of one graph are still told apart in another."""
    nodes, edges = first
    places = [
        next(
            k
            for k, (other, cores) in enumerate(last[0])
            if other == interval and cores >= found
        )
        for interval, found in nodes
    ]
    names = list(range(len(last[0])))
    for _ in names:
        for i, j in last[1]:
            names[i] = names[j] = min(names[i], names[j])
    images = []
    for cycle in cycles(len(nodes), edges):
        image = np.zeros(len(last[1]), int)
        for k in np.flatnonzero(cycle):
            edge = tuple(sorted(places[i] for i in edges[k]))
            if edge[0] != edge[1]:
                image[last[1].index(edge)] ^= 1
        images.append(image)
    # Three nodes that share a sample fill the triangle between them.
    filled = []
    for i, j, k in combinations(range(len(last[0])), 3):
        if last[0][i][1] & last[0][j][1] & last[0][k][1]:
            filled.append(np.zeros(len(last[1]), int))
            for edge in ((i, j), (i, k), (j, k)):
                filled[-1][last[1].index(edge)] = 1
    n_loops = rank(images + filled) - rank(filled)
    return len({names[place] for place in places}), n_loops


# Here an interval holds no sample.
@example(64, 1, 0.3)
@given(seeds, st.integers(1, 3), st.sampled_from([0.3, 0.5, 0.7]))
def test_bars_against_the_ranks_of_all_maps(seed, min_samples, overlap):
    rng = np.random.RandomState(seed)
    X = rng.uniform(-1, 1, size=(rng.randint(5, 60), 2))
    mapper = MapperGraph(
        0, n_intervals=4, overlap=overlap, min_samples=min_samples, eps=0.5
    )
    scales = [0.1, 0.25, 0.4, 0.6, 1.0]
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "No cluster was found", UserWarning)
        bars = mapper_persistence(mapper, X, eps=scales)
        intervals = mapper.fit(X).intervals_
    graphs = [core_graph(X, X[:, 0], intervals, eps, min_samples) for eps in scales]
    for i, first in enumerate(graphs):
        for j in range(i, len(scales)):
            lasting = bars[(bars["birth"] <= scales[i]) & (bars["death"] > scales[j])]
            counts = tuple((lasting["dimension"] == d).sum() for d in (0, 1))
            assert counts == ranks(first, graphs[j])


def test_the_mapper_is_not_changed():
    X = np.random.RandomState(0).normal(size=(60, 2))
    mapper = MapperGraph(n_intervals=3, eps=0.8)
    before = mapper.get_params()
    bars = mapper_persistence(mapper, X)
    assert mapper.get_params() == before
    assert not hasattr(mapper, "eps_")
    assert list(bars) == ["dimension", "birth", "death"]
    assert (bars["death"] > bars["birth"]).all()


def test_a_line_has_no_loop_however_much_its_intervals_overlap():
    """Where three intervals overlap, their nodes are triangles, which are filled."""
    X = np.linspace(0, 1, 100)[:, None]
    bars = mapper_persistence(MapperGraph(0, n_intervals=6, overlap=0.7), X)
    lasting = bars[np.isinf(bars["death"])]
    assert lasting["dimension"].tolist() == [0]


def test_one_place_is_one_component():
    bars = mapper_persistence(MapperGraph(), np.zeros((20, 2)))
    assert bars["dimension"].tolist() == [0]
    assert bars["death"].tolist() == [np.inf]


def test_samples_without_a_cluster_have_no_bars():
    with pytest.warns(UserWarning, match="No cluster was found"):
        bars = mapper_persistence(MapperGraph(), np.zeros((1, 2)))
    assert len(bars) == 0


@pytest.mark.parametrize("eps", [[], [0.0, 1.0], [2.0, 1.0], [[1.0]], [1.0, 1.0]])
def test_bad_distances_are_refused(eps):
    with pytest.raises(ValueError, match=r"eps|array"):
        mapper_persistence(MapperGraph(), np.zeros((20, 2)), eps=eps)


def test_a_clusterer_without_a_distance_is_refused():
    mapper = MapperGraph(clusterer=AgglomerativeClustering())
    with pytest.raises(ValueError, match="needs a mapper with clusterer=None"):
        mapper_persistence(mapper, np.zeros((20, 2)))
