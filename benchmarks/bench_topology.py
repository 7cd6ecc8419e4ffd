"""Mapper graphs: the same nodes and edges, from neighbours searched for once."""

import time
import tracemalloc
from dataclasses import replace
from functools import cache, partial
from types import SimpleNamespace

import numpy as np
from sklearn.cluster import DBSCAN

from benchmarks import peers
from benchmarks.harness import Case, Growth, exponent
from robustkit._randomness import draw_seeds
from robustkit.topology import MapperGraph, UniformCover, fit_filter
from robustkit.topology._cover import interval_slices
from robustkit.topology._mapper import join_clusters, nerve_graph, shared_samples
from robustkit.topology.neighbors._dbscan import Neighbors

PEERS = ("kmapper", "gtda", "tdamapper", "gudhi")
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


def wide_features(n_samples, n_features=256, step=50_000):
    """Such features made piece by piece: a million of them are 1 GB."""
    rng = np.random.default_rng(0)
    classes = rng.normal(0, 0.5, (10, n_features)).astype(np.float32)
    X = np.empty((n_samples, n_features), dtype=np.float32)
    for start in range(0, n_samples, step):
        piece = X[start : start + step]
        length = rng.gamma(20, 0.05, len(piece))[:, None]
        made = classes[rng.integers(10, size=len(piece))] * length
        made += rng.normal(0, 0.3, made.shape) - 0.2
        np.maximum(made, 0, out=piece, casting="same_kind")
    return X, 3.6


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


def our_grid(X, eps, n_intervals, overlap):
    """Sizes as those of `our_graph`, with two filters."""
    cover = UniformCover(n_intervals, overlap, "kepler")
    mapper = MapperGraph((0, 1), cover=cover, eps=eps, min_samples=MIN_SAMPLES).fit(X)
    return as_multisets(
        np.bincount(mapper.membership_.indices), mapper._mapper.n_shared
    )


def kepler_grid(X, eps, n_intervals, overlap):
    """KeplerMapper, with the same two filters."""
    import kmapper

    return kmapper.KeplerMapper(verbose=0).map(
        X[:, :2],
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


@cache
def tdamapper_cover():
    """tda-mapper's standard cover, mended in two places.

    Its distance along the filter is compiled with the promise that no number is
    infinite, and asks for the norm of order infinity. With numba 0.68 (it asks for
    one before 0.62) all distances are then 1, and all intervals empty. Here it is
    compiled without the promise. And the samples of an interval come in the order of
    the data, as in other packages, so that a sample on the border of two clusters
    falls to the same one.
    """
    from numba import njit
    from tdamapper.cover import StandardCubicalCover
    from tdamapper.utils import _metrics

    _metrics.chebyshev = njit(_metrics.chebyshev.py_func)

    class InOrder(StandardCubicalCover):
        def apply(self, X):
            """Yield the samples of each interval."""
            return map(sorted, super().apply(X))

    return InOrder


def tdamapper_graph(X, eps, n_intervals, overlap):
    """tda-mapper, from the filter to the graph."""
    from tdamapper.learn import MapperAlgorithm

    return MapperAlgorithm(
        cover=tdamapper_cover()(n_intervals, overlap),
        clustering=DBSCAN(eps=eps, min_samples=MIN_SAMPLES),
        failsafe=False,
        verbose=False,
    ).fit_transform(X, np.linalg.norm(X, axis=1)[:, None])


def tdamapper_multisets(graph):
    nodes = {node: set(members) for node, members in graph.nodes(data="ids")}
    return as_multisets(
        map(len, nodes.values()), (len(nodes[a] & nodes[b]) for a, b in graph.edges)
    )


def gudhi_graph(X, eps, n_intervals, overlap):
    """GUDHI, from the filter to the graph.

    GUDHI 3.13 makes numbers of arrays with one element, which numpy 2.4 refuses.
    """
    from gudhi import cover_complex

    # GUDHI rounds the ends of its intervals to the precision of the filter.
    values = np.linalg.norm(X, axis=1)[:, None].astype(np.float64)
    cover_complex.np = SimpleNamespace(**{**vars(np), "argwhere": np.flatnonzero})
    return cover_complex.MapperComplex(
        resolutions=[n_intervals],
        gains=[overlap],
        clustering=DBSCAN(eps=eps, min_samples=MIN_SAMPLES),
        # It makes a lone sample of an interval a node.
        min_points_per_node=2,
    ).fit(X, filters=values, colors=values)


def gudhi_multisets(complex):
    info, tree = complex.node_info_, complex.simplex_tree_
    simplices = [simplex for simplex, _ in tree.get_skeleton(1)]
    nodes = {
        s[0]: set(map(int, info[s[0]]["indices"])) for s in simplices if len(s) == 1
    }
    links = (s for s in simplices if len(s) == 2)
    return as_multisets(
        map(len, nodes.values()), (len(nodes[a] & nodes[b]) for a, b in links)
    )


# Of each peer: its meaning of intervals and overlap, its graph, and what is compared.
GRAPHS = {
    "kmapper": ("kepler", kepler_graph, kepler_multisets),
    "gtda": ("range", giotto_graph, giotto_multisets),
    "tdamapper": ("kepler", tdamapper_graph, tdamapper_multisets),
    "gudhi": ("kepler", gudhi_graph, gudhi_multisets),
}
SLOWEST = ("tdamapper", "gudhi")
NOTES = {
    "tdamapper": "its Chebyshev distance compiled anew, without fastmath, and samples "
    "in order: see the source",
    "gudhi": "one call of numpy replaced, which fails with numpy 2.4: see the source",
}


def where_the_time_goes(X, eps, n_intervals, overlap, convention):
    """CPU seconds of the neighbour search, of the clusters and of the nerve."""
    clock = time.process_time
    values = fit_filter("l2norm", X)[0](X)
    intervals = UniformCover(n_intervals, overlap, convention).intervals(values)
    slices = interval_slices(np.sort(values), intervals)
    start = clock()
    neighbors = Neighbors(X, values, eps, True, slices=slices)
    searched = clock()
    clusters, _ = neighbors.clusters(eps, slices, MIN_SAMPLES)
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
    there = [module for module in PEERS if peers.load(module) is not None]
    for data, name, settings, limit in (
        (logits, "60,000 x 10", [(40, 0.3), (40, 0.5), (100, 0.3), (100, 0.5)], 1 / 8),
        (features, "50,000 x 512 float32", [(40, 0.3), (40, 0.5)], 1 / 3),
    ):
        X, eps = data()
        for setting in settings:
            for module in there:
                # The slowest of them are asked once for each kind of data.
                if module not in SLOWEST or setting == (40, 0.5):
                    yield against(module, X, eps, name, setting, limit)
        yield again(X, eps, name)
    if "kmapper" in there:
        # So few samples that what surrounds the search is most of the work.
        X, eps = features()
        few = against("kmapper", X[:781], eps, "781 x 512 float32", (40, 0.3), 0.8)
        yield replace(few, repeats=7, seconds=0.2)
        yield grid(*logits(), "60,000 x 10")
    yield resamples(*logits(), "60,000 x 10")
    for module in there:
        yield more_samples(module, logits, "samples x 10", 60_000)
        yield more_samples(module, features, "samples x 512 float32", 50_000)
    # The distances at which the samples of the largest size have their knee.
    yield a_million(logits, "samples x 10", 4.6)
    yield a_million(wide_features, "samples x 256 float32", 3.6)


def against(module, X, eps, name, setting, limit):
    ours, theirs, same = _sides(module, X, eps, setting)
    ours()
    parts = where_the_time_goes(X, eps, *setting, GRAPHS[module][0])
    return Case(
        name=f"{name}, {setting[0]} intervals, {setting[1]:.0%} overlap",
        peer=peers.title(module),
        ours=ours,
        theirs=theirs,
        same=same,
        limit=limit,
        repeats=3,
        seconds=0,
        note="; ".join(filter(None, (parts, NOTES.get(module)))),
    )


def grid(X, eps, name, setting=(10, 0.3)):
    """Two filters: as many cells as the squared number of intervals."""
    one = MapperGraph(0, n_intervals=setting[0], eps=eps, min_samples=MIN_SAMPLES)
    start = time.process_time()
    one.fit(X)
    alone = time.process_time() - start
    return Case(
        name=f"{name}, a grid of {setting[0]} x {setting[0]} cells, "
        f"{setting[1]:.0%} overlap",
        peer=peers.title("kmapper"),
        ours=partial(our_grid, X, eps, *setting),
        theirs=partial(kepler_grid, X, eps, *setting),
        same=lambda ours, theirs: ours == kepler_multisets(theirs),
        limit=1 / 8,
        repeats=3,
        seconds=0,
        note=f"ours with the first filter alone: {alone:.3g} s",
    )


def more_samples(module, data, name, largest):
    """The last of four sizes is that of the other rows; eps stays what it is there."""
    X, eps = data()
    return Growth(
        name=f"{name}, 40 intervals, 30% overlap",
        peer=peers.title(module),
        along="samples",
        sizes=[largest // 64, largest // 16, largest // 4, largest],
        sides=lambda n: _sides(module, X[:n], eps, (40, 0.3)),
        repeats=1,
        patience=15.0,
        note=NOTES.get(module, ""),
    )


def a_million(data, name, eps):
    """Four sizes up to a million; the peer is stopped where it would take minutes."""
    sizes = [15_625, 62_500, 250_000, 1_000_000]
    X, _ = data(sizes[-1])
    return Growth(
        name=f"{name}, up to a million, 40 intervals, 30% overlap, eps {eps}",
        peer=peers.title("kmapper"),
        along="samples",
        sizes=sizes,
        sides=lambda n: _sides("kmapper", X[:n], eps, (40, 0.3)),
        repeats=1,
        seconds=0,
        own_patience=600.0,
        note=memory_beyond_the_data(X, eps, sizes),
    )


def memory_beyond_the_data(X, eps, sizes):
    """Peak of what is allocated during a fit, and how it grows."""
    peaks = []
    for n in sizes:
        tracemalloc.start()
        our_graph(X[:n], eps, 40, 0.3, "kepler")
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    grown = ", ".join(f"{peak / 2**20:.0f}" for peak in peaks)
    return (
        f"ours: {grown} MB beyond the data (exponent {exponent(sizes, peaks)[0]:.2f})"
    )


def _sides(module, X, eps, setting):
    convention, graph, multisets = GRAPHS[module]
    return (
        partial(our_graph, X, eps, *setting, convention),
        partial(graph, X, eps, *setting),
        lambda a, b: a == multisets(b),
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


def resamples(X, eps, name, n_bootstrap=100, n_refitted=5):
    """What comes back in resamples, against refitting some of them from scratch."""
    mapper = MapperGraph(
        eps=eps, min_samples=MIN_SAMPLES, n_bootstrap=n_bootstrap, random_state=0,
        n_jobs=2,
    )  # fmt: skip
    n_drawn = int(np.ceil(0.8 * len(X)))

    def refitted():
        clusterer = DBSCAN(eps=eps, min_samples=MIN_SAMPLES)
        sizes = []
        for seed in draw_seeds(0, n_bootstrap)[:n_refitted]:
            drawn = np.random.RandomState(seed).permutation(len(X))[:n_drawn]
            some = X[np.sort(drawn)]
            values = np.linalg.norm(some, axis=1)
            parts = [
                some[(low <= values) & (values <= high)] for low, high in intervals
            ]
            labels = [clusterer.fit_predict(part) for part in parts if len(part)]
            sizes.append(sum(int(part.max()) + 1 for part in labels))
        return sizes

    intervals = MapperGraph(eps=eps).fit(X).intervals_
    return Case(
        name=f"{name}, {n_bootstrap} resamples, two threads",
        peer=f"DBSCAN in every interval of {n_refitted} resamples",
        ours=lambda: mapper.fit(X).stability_.resamples["n_nodes"].tolist(),
        theirs=refitted,
        same=lambda ours, theirs: ours[:n_refitted] == theirs,
        limit=1.0,
        repeats=1,
        seconds=0,
        note=f"ours builds the graph and {n_bootstrap} resamples, theirs clusters "
        f"{n_refitted}; promised: less than 40 s",
    )
