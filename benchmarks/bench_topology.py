"""Mapper graphs: the same nodes and edges, from neighbours searched for once."""

import importlib.util
import time
from functools import partial

import numpy as np
from sklearn.cluster import DBSCAN

from benchmarks.harness import Case
from robustkit.topology import MapperGraph, UniformCover
from robustkit.topology._cover import interval_slices
from robustkit.topology._filters import fit_filter
from robustkit.topology._neighbors import Neighbors
from robustkit.topology._nerve import join_clusters, nerve_graph, shared_samples

MIN_SAMPLES = 5


def logits(n_samples=60_000):
    """Ten noisy cones, some samples between two of them; 10 features."""
    rng = np.random.default_rng(0)
    cones = np.eye(10)
    label, other = rng.integers(10, size=(2, n_samples))
    length = rng.gamma(4.0, 3.0, n_samples)[:, None]
    X = cones[label] * length - 0.3 * length * (1 - cones[label]) * rng.random(
        (n_samples, 10)
    )
    confused = rng.random(n_samples) < 0.015
    X[confused] += 0.8 * cones[other[confused]] * length[confused]
    return X + rng.normal(0, 1.5, X.shape), 6.05


def features(n_samples=50_000, n_features=512):
    """What a last layer of ReLUs looks like: ten classes, two thirds zeros; float32."""
    rng = np.random.default_rng(0)
    classes = rng.normal(0, 0.5, (10, n_features))
    length = rng.gamma(20, 0.05, n_samples)[:, None]
    X = classes[rng.integers(10, size=n_samples)] * length
    X += rng.normal(0, 0.3, X.shape) - 0.2
    return np.maximum(X, 0).astype(np.float32), 5.13


def our_graph(X, eps, n_intervals, overlap, convention):
    """Sizes of the nodes and sizes of the intersections, sorted."""
    cover = UniformCover(n_intervals, overlap, convention)
    mapper = MapperGraph(cover=cover, eps=eps, min_samples=MIN_SAMPLES).fit(X)
    sizes = [size for _, size in mapper.graph_.nodes(data="size")]
    return as_multisets(sizes, [n for *_, n in mapper.graph_.edges(data="weight")])


def as_multisets(sizes, weights):
    return sorted(map(int, sizes)), sorted(map(int, weights))


def kepler_graph(X, eps, n_intervals, overlap):
    """KeplerMapper, from the filter to the graph."""
    import kmapper

    return kmapper.KeplerMapper(verbose=0).map(
        np.linalg.norm(X, axis=1)[:, None],
        X,
        cover=kmapper.Cover(n_intervals, overlap),
        clusterer=DBSCAN(eps=eps, min_samples=MIN_SAMPLES),
    )


def kepler_multisets(graph):
    nodes = {name: set(members) for name, members in graph["nodes"].items()}
    links = ((a, b) for a, others in graph["links"].items() for b in others)
    return as_multisets(
        map(len, nodes.values()), (len(nodes[a] & nodes[b]) for a, b in links)
    )


def giotto_graph(X, eps, n_intervals, overlap):
    """giotto-tda's own steps; its pipeline does not run on scikit-learn 1.9."""
    from gtda.mapper.cluster import ParallelClustering
    from gtda.mapper.cover import OneDimensionalCover
    from gtda.mapper.nerve import Nerve

    values = np.linalg.norm(X, axis=1)[:, None]
    masks = OneDimensionalCover(
        kind="uniform", n_intervals=n_intervals, overlap_frac=overlap
    ).fit_transform(values)
    clusterer = DBSCAN(eps=eps, min_samples=MIN_SAMPLES)
    clusters = ParallelClustering(clusterer, n_jobs=1).fit_transform([X, masks])
    return Nerve(store_edge_elements=True).fit_transform(clusters)


def giotto_multisets(graph):
    """Its nodes of noise left out."""
    is_noise = [label == -1 for label in graph.vs["partial_cluster_label"]]
    nodes = [len(v["node_elements"]) for v in graph.vs if not is_noise[v.index]]
    edges = [
        len(e["edge_elements"])
        for e in graph.es
        if not is_noise[e.source] and not is_noise[e.target]
    ]
    return as_multisets(nodes, edges)


PEERS = {
    "KeplerMapper 2.1": ("kmapper", "kepler", kepler_graph, kepler_multisets),
    "giotto-tda 0.6": ("gtda", "range", giotto_graph, giotto_multisets),
}


def where_the_time_goes(X, eps, n_intervals, overlap, convention):
    """CPU seconds of the neighbour search, of the clusters and of the nerve."""
    clock = time.process_time
    values = fit_filter("l2norm", X)[0](X)
    intervals = UniformCover(n_intervals, overlap, convention).intervals(values)
    slices = interval_slices(np.sort(values), intervals)
    start = clock()
    neighbors = Neighbors(X, values, slices, eps, True)
    searched = clock()
    clusters, _ = neighbors.clusters(slices, MIN_SAMPLES)
    clustered = clock()
    membership, owners = join_clusters(clusters, len(X))
    edges, n_shared = shared_samples(membership)
    nerve_graph(owners, np.bincount(membership.indices), edges, n_shared)
    parts = {
        "neighbours": searched - start,
        "clusters": clustered - searched,
        "nerve": clock() - clustered,
    }
    return "ours: " + ", ".join(f"{part} {t:.3g} s" for part, t in parts.items())


def cases():
    """Whole graphs against each peer, then graphs again from the same neighbours."""
    for data, name, settings, limit in (
        (logits, "60,000 x 10", [(40, 0.3), (40, 0.5), (100, 0.3), (100, 0.5)], 1 / 8),
        (features, "50,000 x 512 float32", [(40, 0.3), (40, 0.5)], 1 / 3),
    ):
        X, eps = data()
        for setting in settings:
            for peer, parts in PEERS.items():
                if importlib.util.find_spec(parts[0]):
                    yield against(peer, *parts, X, eps, name, setting, limit)
        yield again(X, eps, name)


def against(peer, module, convention, graph, multisets, X, eps, name, setting, limit):
    ours = partial(our_graph, X, eps, *setting, convention)
    ours()
    return Case(
        name=f"{name}, {setting[0]} intervals, {setting[1]:.0%} overlap",
        peer=peer,
        ours=ours,
        theirs=partial(graph, X, eps, *setting),
        same=lambda a, b: a == multisets(b),
        limit=limit,
        repeats=3,
        seconds=0,
        note=where_the_time_goes(X, eps, *setting, convention),
    )


def again(X, eps, name):
    """Another cover and min_samples, from neighbours that are known."""
    mapper = MapperGraph(eps=eps, min_samples=MIN_SAMPLES, warm_start=True).fit(X)
    mapper.set_params(n_intervals=70, overlap=0.5, min_samples=4)
    cold = MapperGraph(**mapper.get_params() | {"warm_start": False})
    return Case(
        name=f"{name}, 70 intervals, 50% overlap, min_samples 4",
        peer="ourselves without `warm_start`",
        ours=lambda: mapper.fit(X).edges_,
        theirs=lambda: cold.fit(X).edges_,
        same=np.array_equal,
        limit=1.0,
        repeats=3,
        seconds=0,
        note="`warm_start=True`, after a fit with another cover; "
        "promised: less than 0.5 s",
    )
