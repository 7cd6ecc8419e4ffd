"""Components and loops of mapper graphs over many distances: how long they persist.

While eps grows and the cover stays, clusters only grow and merge, so each graph maps
into the next: a multiscale mapper. What is born at one distance and gone at another is
a bar, as in persistent homology.
"""

from dataclasses import dataclass
from itertools import combinations, pairwise

import networkx as nx
import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from sklearn.base import clone
from sklearn.utils.validation import check_array

from robustkit.topology._cover import GivenCover
from robustkit.topology._loops import filled_triangles
from robustkit.topology._mapper import build_mapper, join_clusters, shared_samples
from robustkit.topology._mapper_graph import MapperGraph
from robustkit.topology.neighbors import NeighborCache, products_on

# How many distances, and how many times smaller and larger than eps they reach.
_N_SCALES = 25
_REACH = 4.0


@dataclass(frozen=True, eq=False)
class _CoreGraph:
    """The clusters of core samples at one distance."""

    clusters: list[dict[int, int]]
    """Of each interval the node of each core sample."""

    n_nodes: int
    edges: list[tuple[int, int]]

    triangles: list[tuple[int, int, int]]
    """Triples of nodes that share a sample."""


def mapper_persistence(
    mapper: MapperGraph, X: ArrayLike, *, eps: ArrayLike | None = None
) -> pd.DataFrame:
    """Follow the components and loops of a mapper graph while `eps` grows.

    The cover is that of the mapper for `X` and stays; the neighbours are searched for
    once. Clusters are taken as their core samples, which only become more, so that each
    graph maps into the next. Three nodes that share a sample fill the triangle between
    them, so that it is no loop.

    Parameters
    ----------
    mapper : MapperGraph
        Its parameters say what graphs to build. It need not be fitted, and is not
        changed. It clusters by DBSCAN: `clusterer` must be None.

    X : array-like of shape (n_samples, n_features)
        The point cloud.

    eps : array-like of shape (n_scales,), default=None
        Distances, ascending. None is 25 from a quarter of the distance that the mapper
        uses to four times it, in equal ratios.

    Returns
    -------
    bars : DataFrame of shape (n_bars, 3)
        `dimension`, 0 for a component and 1 for a loop, `birth`, the first of the
        distances at which it is there, and `death`, the first at which it is gone, or
        infinity. The longest-lived come first, components before loops. Where two
        components or loops merge, the younger one dies.

    See Also
    --------
    robustkit.plotting.MapperPersistenceDisplay : A picture of the bars.

    References
    ----------
    .. [1] T. K. Dey, F. Memoli, Y. Wang, "Multiscale mapper: topological summarization
       via codomain covers", SODA, 2016.

    Examples
    --------
    >>> import numpy as np
    >>> from robustkit.topology import MapperGraph, mapper_persistence
    >>> angle = np.linspace(0, 2 * np.pi, 200, endpoint=False)
    >>> circle = np.column_stack([np.cos(angle), np.sin(angle)])
    >>> bars = mapper_persistence(MapperGraph("pca"), circle, eps=[0.1, 0.2, 0.4, 4.0])
    >>> bars
       dimension  birth  death
    0          0    0.1    inf
    1          1    0.1    4.0
    """
    if mapper.clusterer is not None:
        raise ValueError(
            "mapper_persistence needs a mapper with clusterer=None, which has an "
            f"'eps'. Got clusterer={mapper.clusterer!r}."
        )
    fitted = clone(mapper).fit(X)
    samples = fitted._mapper.X
    scales = _check_scales(eps, fitted.eps_)
    cover = tuple(map(GivenCover, fitted._mapper.axes))
    cache = NeighborCache()
    graphs = []
    # The largest distance first: its neighbours hold those of the others.
    for scale in scales[::-1]:
        with products_on(mapper.device):
            built = build_mapper(
                samples, filter=mapper.filter, cover=cover, clusterer=None, eps=scale,
                min_samples=mapper.min_samples, metric=mapper.metric, cache=cache,
                n_jobs=mapper.n_jobs,
            )  # fmt: skip
        graphs.append(_core_graph(built.anchors, len(samples)))
    return _as_table(_bars(graphs[::-1]), scales)


def _check_scales(eps, default):
    if eps is None:
        return default * np.geomspace(1 / _REACH, _REACH, _N_SCALES)
    scales = check_array(eps, ensure_2d=False, dtype=np.float64, input_name="eps")
    if scales.ndim != 1 or (scales <= 0).any() or (np.diff(scales) <= 0).any():
        raise ValueError(
            "The 'eps' parameter must hold positive distances, each larger than the "
            f"one before. Got {eps!r}."
        )
    return scales


def _core_graph(anchors, n_samples):
    membership, intervals = join_clusters(anchors, n_samples)
    edges, _ = shared_samples(membership)
    firsts = np.searchsorted(intervals, np.arange(len(anchors)))
    clusters = [
        dict(zip(samples.tolist(), (first + labels).tolist(), strict=True))
        for first, (samples, labels) in zip(firsts, anchors, strict=True)
    ]
    edges = [tuple(edge) for edge in edges.tolist()]
    return _CoreGraph(clusters, len(intervals), edges, filled_triangles(membership))


def _bars(graphs):
    """Return (dimension, first graph, first graph without) of every bar.

    The last of these is the number of graphs for what stays to the end.
    """
    bars = []
    births: dict[int, int] = {}
    cycles: list[tuple[int, list[tuple[int, int]]]] = []
    for k, graph in enumerate(graphs):
        moved = _moves(graphs[k - 1], graph) if k else {}
        # Components, named by a node of theirs; the oldest of those that merge stays.
        name = _components(graph)
        merged: dict[int, int] = {}
        for node, birth in sorted(births.items(), key=lambda item: item[1]):
            place = name[moved[node]]
            if place in merged:
                bars.append((0, birth, k))
            else:
                merged[place] = birth
        births = {place: merged.get(place, k) for place in set(name)}
        # Loops: a basis of the cycles, but for those filled by triangles; the oldest
        # first.
        basis = _Basis(graph.edges)
        for triple in graph.triangles:
            basis.add(list(combinations(triple, 2)))
        alive = []
        for birth, cycle in cycles:
            image = [
                (min(moved[i], moved[j]), max(moved[i], moved[j])) for i, j in cycle
            ]
            image = basis.add([edge for edge in image if edge[0] != edge[1]])
            if image is None:
                bars.append((1, birth, k))
            else:
                alive.append((birth, image))
        for cycle in _cycle_basis(graph):
            new = basis.add(cycle)
            if new is not None:
                alive.append((k, new))
        cycles = alive
    bars += [(0, birth, len(graphs)) for birth in births.values()]
    return bars + [(1, birth, len(graphs)) for birth, _ in cycles]


def _moves(before, after):
    """Return where each node goes: to the cluster that has its core samples."""
    moved = {}
    for old, new in zip(before.clusters, after.clusters, strict=True):
        for sample, node in old.items():
            moved[node] = new[sample]
    return moved


def _components(graph):
    names = list(range(graph.n_nodes))
    found = nx.Graph(graph.edges)
    for component in nx.connected_components(found):
        for node in component:
            names[node] = min(component)
    return names


def _cycle_basis(graph):
    """One cycle, as a list of edges, for each edge outside a spanning forest."""
    forest = nx.Graph()
    forest.add_nodes_from(range(graph.n_nodes))
    components = nx.utils.UnionFind(range(graph.n_nodes))
    others = []
    for i, j in graph.edges:
        if components[i] == components[j]:
            others.append((i, j))
        else:
            components.union(i, j)
            forest.add_edge(i, j)
    for i, j in others:
        path = nx.shortest_path(forest, i, j)
        yield [(i, j), *((min(a, b), max(a, b)) for a, b in pairwise(path))]


class _Basis:
    """Cycles that do not depend on one another, over the field of two elements."""

    def __init__(self, edges):
        self._edges = edges
        self._place = {edge: k for k, edge in enumerate(edges)}
        # The reduced cycles, as bits of a number, by their highest edge.
        self._reduced: dict[int, int] = {}

    def add(self, cycle):
        """Return a cycle without edges that cancel; None if it depends on others."""
        bits = 0
        for edge in cycle:
            bits ^= 1 << self._place[edge]
        rest = bits
        while rest and rest.bit_length() in self._reduced:
            rest ^= self._reduced[rest.bit_length()]
        if rest == 0:
            return None
        self._reduced[rest.bit_length()] = rest
        return [edge for edge, k in self._place.items() if bits >> k & 1]


def _as_table(bars, scales):
    ends = np.append(scales, np.inf)
    table = pd.DataFrame(
        [(dimension, ends[birth], ends[death]) for dimension, birth, death in bars],
        columns=["dimension", "birth", "death"],
    )
    table = table.astype({"dimension": int, "birth": float, "death": float})
    length = np.log(table["death"]) - np.log(table["birth"])
    table = table.assign(length=length).sort_values(
        ["dimension", "length", "birth"], ascending=[True, False, True], kind="stable"
    )
    return table.drop(columns="length").reset_index(drop=True)
