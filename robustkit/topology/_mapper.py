"""The mapper algorithm: filter -> cover -> cluster -> nerve.

`build_mapper` is the whole of it, and `place_samples` finds the nodes of new samples.
The steps follow in the order in which they are taken; the filters are in `_filters`,
the covers in `_cover`, and DBSCAN, which clusters unless another clusterer is given, in
`neighbors`.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any

import networkx as nx
import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix, triu
from sklearn.base import clone
from sklearn.cluster import DBSCAN
from sklearn.neighbors import NearestNeighbors
from sklearn.utils.parallel import Parallel, delayed

from robustkit._randomness import hash_rows
from robustkit.topology._cover import (
    FEWEST_INTERVALS,
    MOST_CELLS,
    AdaptiveCover,
    BalancedCover,
    Cells,
    GivenCover,
    GMapperCover,
    UniformCover,
    cell_bounds,
    count_intervals,
    interval_slices,
    largest_step,
)
from robustkit.topology._filters import FilterFunction, filter_columns, fit_filter
from robustkit.topology.neighbors import (
    Labels,
    Metric,
    NeighborCache,
    Neighbors,
    around_zero,
    bounding_diagonal,
    choose_eps,
    connection_distance,
    dbscan_in_slices,
    digest,
    find_neighbors,
    is_too_coarse,
    learn_metric,
    longest_steps,
)

Cover = UniformCover | BalancedCover | GMapperCover | AdaptiveCover | GivenCover

# A cover, or a function of the number of intervals, which the samples are to say.
CoverOrMaker = Cover | Callable[[int], UniformCover | BalancedCover]

# Where a shape is connected at a distance, intervals cut chains of samples; at so many
# times that distance, what is left of them is still connected.
CONNECTED = 1.75

# Attributes of the nodes of a grid: their intervals of the first and second filter.
CELL_NAMES = "first_interval", "second_interval"

# Of a filter whose values differ by more, the range would overflow.
_LARGEST_EXTENT = 1e300

# The number of intervals where the samples do not say how many they can bear.
N_INTERVALS = 40

# Of each of two filters, in a grid: the most intervals that the samples choose, and how
# many there are where they do not say.
N_INTERVALS_OF_GRID = int(MOST_CELLS**0.5)

# Fewer than `FEWEST_INTERVALS` show a shape, too, but only if it reaches evenly along
# the filter: no interval may hold more than two thirds of the samples.
_FEWEST_EVEN = 3


@dataclass(frozen=True, eq=False)
class Mapper:
    """A mapper graph, and what is needed to place new samples in it."""

    X: NDArray
    """The samples it was built from."""

    filter: FilterFunction
    metric: Metric
    eps: float
    """The distance used; infinity for a clusterer that has none."""

    axes: tuple[NDArray, ...]
    """The closed intervals of each filter, of shape (n_intervals, 2)."""

    membership: csr_matrix
    """1.0 where a sample lies in a node, shape (n_samples, n_nodes)."""

    node_intervals: NDArray
    """The interval, or cell, of each node, ascending."""

    filter_means: NDArray
    """Mean filter value of each node; of two filters one row per node."""

    edges: NDArray
    """Pairs of nodes that share samples, the smaller first, shape (n_edges, 2)."""

    n_shared: NDArray
    """How many samples the nodes of each edge share."""

    anchors: Labels
    """Of each cell the samples that draw new ones into their cluster."""

    clusterer: Any
    """What clustered each interval; None for Euclidean DBSCAN, from neighbours."""

    min_samples: int
    """Neighbours that make a core sample; of use only without a clusterer."""

    is_lipschitz: bool
    """Whether the (first) filter differs by at most the distance of two samples."""

    neighbors: Neighbors | None = None
    """The neighbours that the clusters were found from, as long as they are kept."""

    @property
    def reach(self) -> float:
        """The distance within which neighbours are looked for."""
        return usable_distance(self.eps, bounding_diagonal(self.X))

    @property
    def intervals(self) -> NDArray:
        """First and last values of the intervals, or cells, as `cell_bounds` says."""
        return cell_bounds(self.axes)

    @property
    def node_cells(self) -> tuple[NDArray, ...]:
        """The interval of each node, for each filter."""
        return np.unravel_index(self.node_intervals, tuple(map(len, self.axes)))

    @property
    def node_sizes(self) -> NDArray:
        """How many samples each node holds."""
        n_nodes = self.membership.shape[1]
        return np.bincount(self.membership.indices, minlength=n_nodes)

    @property
    def jaccard(self) -> NDArray:
        """Of each edge the share of the samples of its nodes that both hold."""
        sizes = self.node_sizes[self.edges].sum(axis=1)
        return self.n_shared / (sizes - self.n_shared)

    @property
    def graph(self) -> nx.Graph:
        """The graph, made anew."""
        graph = nerve_graph(
            self.node_intervals, self.node_sizes, self.edges, self.n_shared
        )
        if len(self.axes) == 2:
            for name, places in zip(CELL_NAMES, self.node_cells, strict=True):
                nx.set_node_attributes(graph, dict(enumerate(places.tolist())), name)
        return graph


def build_mapper(
    X: NDArray,
    *,
    filter: Any,
    cover: CoverOrMaker | tuple[CoverOrMaker, ...],
    clusterer: Any,
    eps: float | str,
    min_samples: int,
    metric: str | Callable,
    cache: NeighborCache | None = None,
    n_jobs: int | None = None,
) -> Mapper:
    """Build the mapper graph of some samples, float32 or float64 and C-contiguous.

    The parameters are those of :class:`MapperGraph`, but for `cover`, which is a
    function of the number of intervals if the samples are to say how many they can
    bear, and a tuple if each filter has its own. With a `cache`, neighbours are looked
    for there first, and kept there.
    """
    diagonal = bounding_diagonal(X)
    learned = learn_metric(metric, X)

    # Filter: one number per sample, or two.
    filter, is_lipschitz = fit_filter(filter, X)
    values = filter(X)
    columns = filter_columns(values)

    # Scale: how near neighbours are, and how many intervals tell them apart.
    if clusterer is not None:
        eps = float(clusterer.eps) if isinstance(clusterer, DBSCAN) else np.inf
    scale = _Scale(X, columns[0], is_lipschitz, min_samples, learned, cache, n_jobs)
    covers = _one_for_each(cover, len(columns))
    eps, covers = scale.choose_covers(eps, columns, covers, diagonal)
    if cache is None and any(isinstance(one, AdaptiveCover) for one in covers):
        # Every split asks for clusters: the neighbours are searched for once.
        cache = NeighborCache()

    if clusterer is None and learned.name != "euclidean":
        clusterer = DBSCAN(
            eps=eps, min_samples=min_samples, metric=learned.name,
            metric_params=learned.params,
        )  # fmt: skip

    # Cover and cluster: overlapping intervals, and the clusters in each.
    clustering = _Clustering(
        X, clusterer, usable_distance(float(eps), diagonal), min_samples, cache, n_jobs
    )
    axes = tuple(
        clustering.intervals(one, column, is_lipschitz and k == 0)
        for k, (one, column) in enumerate(zip(covers, columns, strict=True))
    )
    clusters, anchors, neighbors = clustering.of_cells(
        Cells(columns, axes), is_lipschitz
    )

    # Nerve: clusters are nodes, and those that share samples are joined.
    membership, node_intervals = join_clusters(clusters, len(X))
    edges, n_shared = shared_samples(membership)
    sizes = np.bincount(membership.indices, minlength=membership.shape[1])
    return Mapper(
        X=X, filter=filter, metric=learned, eps=float(eps), axes=axes,
        membership=membership, node_intervals=node_intervals,
        filter_means=((membership.T @ values).T / sizes).T, edges=edges,
        n_shared=n_shared, anchors=anchors, clusterer=clusterer,
        min_samples=min_samples, is_lipschitz=is_lipschitz, neighbors=neighbors,
    )  # fmt: skip


def _one_for_each(cover, n_filters):
    """Return the cover of each filter."""
    if not isinstance(cover, tuple):
        return [cover] * n_filters
    if len(cover) != n_filters:
        raise ValueError(
            "A pair of 'cover', 'n_intervals' or 'overlap' needs two filters, but the "
            "'filter' parameter gives one number per sample."
        )
    return list(cover)


@dataclass(frozen=True, eq=False)
class _Clustering:
    """What clusters the samples of intervals and cells."""

    X: NDArray
    clusterer: Any
    reach: float
    min_samples: int
    cache: NeighborCache | None
    n_jobs: int | None

    def intervals(self, cover, values, is_lipschitz):
        """Return the intervals of one filter."""
        if not isinstance(cover, AdaptiveCover):
            return cover.intervals(values)
        order = np.argsort(values, kind="stable")

        def cluster(slices):
            if self.clusterer is not None:
                parts = [np.sort(order[start:stop]) for start, stop in slices]
                return cluster_parts(self.clusterer, self.X, parts, self.n_jobs)[0]
            neighbors = self._neighbors(values, slices, is_lipschitz)
            return neighbors.clusters(
                self.reach, slices, self.min_samples, self.n_jobs
            )[0]

        return cover.intervals(values, self.X, cluster)

    def of_cells(self, cells, is_lipschitz):
        """Return clusters, anchors, and the neighbours that they were found from."""
        if self.clusterer is not None:
            parts = cells.samples()
            return *cluster_parts(self.clusterer, self.X, parts, self.n_jobs), None
        neighbors = self._neighbors(cells.values[0], cells.slices, is_lipschitz)
        found = dbscan_in_cells(
            self.X, cells, neighbors, self.reach, self.min_samples,
            is_lipschitz=is_lipschitz, n_jobs=self.n_jobs,
        )  # fmt: skip
        return *found, neighbors

    def _neighbors(self, values, slices, is_lipschitz):
        return find_neighbors(
            self.X, values, slices, self.reach, is_lipschitz=is_lipschitz,
            cache=self.cache, n_jobs=self.n_jobs,
        )  # fmt: skip


def dbscan_in_cells(
    X: NDArray,
    cells: Cells,
    neighbors: Neighbors,
    reach: float,
    min_samples: int,
    *,
    is_lipschitz: bool,
    is_drawn: NDArray | None = None,
    n_jobs: int | None = None,
) -> tuple[Labels, Labels]:
    """Cluster the samples of every cell, or those of them that are drawn.

    The neighbours within reach serve all cells, if they could be kept; else those of
    each column of cells are searched for. Returns what `dbscan_in_slices` does.
    """
    slices, found = cells.slices, []
    for column in cells.columns:
        is_present = is_drawn if column is None else column
        if column is not None and is_drawn is not None:
            is_present = column & is_drawn
        if is_present is None:
            found.append(neighbors.clusters(reach, slices, min_samples, n_jobs))
        elif reach <= neighbors.radius:
            some = neighbors.among(is_present, reach)
            found.append(some.clusters(reach, slices, min_samples, n_jobs))
        else:
            found.append(
                _dbscan_among(
                    X, cells, is_present, reach, min_samples,
                    is_lipschitz=is_lipschitz, n_jobs=n_jobs,
                )
            )  # fmt: skip
    # Row by row, as cells are numbered.
    clusters, cores = (
        [column[kind][row] for row in range(len(slices)) for column in found]
        for kind in (0, 1)
    )
    return clusters, cores


def _dbscan_among(
    X, cells, is_present, reach, min_samples, *, is_lipschitz, n_jobs
):  # fmt: skip
    """Search some of the samples anew, and cluster them in the rows of cells."""
    samples = np.flatnonzero(is_present)
    some = Cells((cells.values[0][samples],), cells.axes[:1])
    if len(samples) == 0:
        return ([(samples, samples)] * len(some.axes[0]),) * 2
    labels = dbscan_in_slices(
        X[samples], some.values[0], some.slices, reach, min_samples,
        is_lipschitz=is_lipschitz, n_jobs=n_jobs,
    )  # fmt: skip
    return tuple([(samples[rows], names) for rows, names in part] for part in labels)


def usable_distance(eps: float, diagonal: float) -> float:
    """Return eps, or a distance above all there are: eps may be too large to square."""
    return min(eps, 1.01 * diagonal or 1.0)


def _start(cover, n_intervals, step):
    """Let a cover that splits intervals start from those that the samples can bear."""
    if np.isinf(step):
        return cover
    if cover.n_intervals == "auto":
        half = min(n_intervals, max(FEWEST_INTERVALS, n_intervals // 2))
        cover = replace(cover, n_intervals=min(half, cover.max_intervals))
    return replace(cover, min_overlap=step) if cover.min_overlap == "auto" else cover


@dataclass(frozen=True, eq=False)
class _Axis:
    """A filter whose number of intervals, or their splits, are to be chosen."""

    cover: Any

    positions: NDArray
    """Its values, or what the intervals divide evenly."""

    extent: float
    overlap: float

    limit: float
    """The step above which the samples are too sparse to show a shape along it."""

    @classmethod
    def of(cls, values: NDArray, cover: Any) -> "_Axis":
        """Take the values of a filter, and its cover."""
        positions = values
        overlap = cover.overlap if not callable(cover) else cover(1).overlap
        if callable(cover) and isinstance(cover(1), BalancedCover):
            positions = np.unique(positions, return_inverse=True)[1].astype(np.float64)
        # Halves, which cannot overflow.
        extent = 2 * min(positions.max() / 2 - positions.min() / 2, _LARGEST_EXTENT)
        limit = largest_step(extent, _fewest_intervals(values, overlap), overlap)
        return cls(cover, positions, extent, overlap, limit)

    def cover_of_step(self, step: float, most: int, otherwise: int) -> Cover:
        """Return the cover for the longest step; an infinite one is unknown."""
        n_intervals = otherwise
        if np.isfinite(step):
            n_intervals = count_intervals(self.extent, step, self.overlap, most)
        if callable(self.cover):
            return self.cover(n_intervals)
        return _start(self.cover, n_intervals, step)


def _fewest_intervals(values, overlap):
    intervals = UniformCover(_FEWEST_EVEN, overlap).intervals(values)
    sizes = np.diff(interval_slices(np.sort(values), intervals))
    is_even = 3 * sizes.max() <= 2 * len(values)
    return _FEWEST_EVEN if is_even else FEWEST_INTERVALS


@dataclass(frozen=True, eq=False)
class _Scale:
    """How near neighbours are, and how many intervals tell them apart."""

    X: NDArray
    values: NDArray
    is_lipschitz: bool
    min_samples: int
    metric: Metric
    cache: NeighborCache | None
    n_jobs: int | None

    def choose_covers(self, eps, columns, covers, diagonal):
        """Choose eps, and the number of intervals of covers that leave it open.

        A grid has as many of each filter as this one can bear.
        """
        open_axes = [
            (k, _Axis.of(column, cover))
            for k, (column, cover) in enumerate(zip(columns, covers, strict=True))
            if callable(cover) or isinstance(cover, GMapperCover | AdaptiveCover)
        ]
        if not open_axes:
            return self.choose_eps("knee" if eps == "auto" else eps), covers
        axes, is_grid = [axis for _, axis in open_axes], len(columns) == 2
        eps, steps = self._choose(eps, axes, diagonal, is_grid)
        most = N_INTERVALS_OF_GRID if is_grid else MOST_CELLS
        otherwise = N_INTERVALS_OF_GRID if is_grid else N_INTERVALS
        covers = list(covers)
        for (k, axis), step in zip(open_axes, steps, strict=True):
            covers[k] = axis.cover_of_step(step, most, otherwise)
        return eps, covers

    def _choose(self, eps, axes, diagonal, is_grid):
        """Choose eps, and tell the longest step along each filter.

        Where the samples bear so few intervals of every filter that no loop could be
        seen, they are too sparse to show their shape at the distance at which it is
        connected: then "auto" is the knee, and the steps are infinite.

        Where four cells of a grid meet is a hole unless samples lie there. They do if
        near samples, which a cell holds both of, are those within eps: so far, the
        steps of a grid are longer.
        """
        coarse = "knee" if eps == "auto" else eps
        endless = [np.inf] * len(axes)
        if eps in ("auto", "connected", np.inf):
            if eps == "auto" and all(map(self._is_too_coarse, axes)):
                return self.choose_eps(coarse), endless
            radius = self._connection()
            # Samples that all have twins are connected at no distance.
            if not 0 < radius < np.inf:
                return self.choose_eps(coarse), endless
        else:
            radius = eps = self.choose_eps(eps)
        eps = float(CONNECTED * radius if isinstance(eps, str) else eps)
        reaches = [usable_distance(radius, diagonal)]
        if is_grid:
            reaches.append(usable_distance(eps, diagonal))
        steps = self._steps(axes, reaches)
        limits = np.array([axis.limit for axis in axes])
        if (steps[0] > limits).all():
            return self.choose_eps(coarse), endless
        long = steps[-1]
        return eps, np.where(long <= limits, long, np.maximum(steps[0], limits))

    def choose_eps(self, eps):
        """Choose eps by one of the rules, unless it is a number."""
        if not isinstance(eps, str):
            return float(eps)
        if eps == "connected":
            radius = self._connection()
            if 0 < radius < np.inf:
                return CONNECTED * radius
        return self._remember(
            (),
            lambda: choose_eps(
                self.X, self.values, self.is_lipschitz, self.min_samples,
                *self.metric, self.n_jobs,
            ),
        )  # fmt: skip

    def _connection(self):
        return self._remember(
            ("connection",),
            lambda: connection_distance(
                self.X, self.values, self.is_lipschitz, self.min_samples,
                *self.metric, self.n_jobs,
            ),
        )  # fmt: skip

    def _is_too_coarse(self, axis):
        return self._remember(
            ("coarse", digest(axis.positions), axis.limit),
            lambda: is_too_coarse(
                self.X, axis.positions, self.min_samples, axis.limit, *self.metric,
                self.n_jobs,
            ),
        )  # fmt: skip

    def _steps(self, axes, radii):
        columns = [axis.positions for axis in axes]
        return self._remember(
            ("steps", *map(digest, columns), *radii),
            lambda: longest_steps(self.X, columns, radii, *self.metric, self.n_jobs),
        )

    def _remember(self, name, compute):
        """Compute what depends on the samples, or find it in the cache."""
        if self.cache is None:
            return compute()
        key = digest(self.X), self.min_samples, self.metric.name, *name
        if key not in self.cache.eps:
            self.cache.eps[key] = compute()
        return self.cache.eps[key]


def cluster_parts(
    clusterer: Any, X: NDArray, parts: list[NDArray], n_jobs: int | None = None
) -> tuple[Labels, Labels]:
    """Fit a clone of any clusterer to the samples of each interval, or cell.

    A negative label is noise. Returns the clusters, without the noise, and their
    anchors, which draw new samples into the cluster: DBSCAN's core samples, or else
    all.
    """
    results = Parallel(n_jobs=n_jobs, prefer="threads")(
        delayed(_cluster)(clusterer, X, samples) for samples in parts
    )
    return [cluster for cluster, _ in results], [anchor for _, anchor in results]


def _cluster(clusterer, X, samples):
    # A clone, also where it is not fitted: the one given may be fitted to other data.
    clusterer = clone(clusterer)
    if len(samples) < _fewest_for_noise(clusterer):
        labels = np.full(len(samples), -1)
    elif len(samples) < max(2, _as_int(clusterer, "n_clusters")):
        # Fewer samples than clusters asked for, or a single one: nothing to join.
        labels = np.arange(len(samples))
    else:
        labels = np.asarray(clusterer.fit_predict(X[samples]))
    is_member = labels >= 0
    _, labels = np.unique(labels[is_member], return_inverse=True)
    samples = samples[is_member]
    cores = getattr(clusterer, "core_sample_indices_", None)
    if cores is None:
        return (samples, labels), (samples, labels)
    is_core = np.zeros(len(is_member), dtype=bool)
    is_core[cores] = True
    is_core = is_core[is_member]
    return (samples, labels), (samples[is_core], labels[is_core])


def _as_int(clusterer, name):
    value = clusterer.get_params().get(name) if hasattr(clusterer, "get_params") else 0
    return value if isinstance(value, int | np.integer) else 0


def _fewest_for_noise(clusterer):
    """Below it, a density-based clusterer finds only noise, or refuses to work."""
    return max(
        _as_int(clusterer, "min_samples"), _as_int(clusterer, "min_cluster_size")
    )


def join_clusters(clusters: Labels, n_samples: int) -> tuple[csr_matrix, NDArray]:
    """Give the clusters of all intervals their numbers, and collect their samples.

    Each interval's clusters are numbered from 0 without gaps. Returns the membership of
    shape (n_samples, n_nodes), 1.0 where the sample lies in the node, and the interval
    of each node.
    """
    sizes = [labels.max(initial=-1) + 1 for _, labels in clusters]
    firsts = np.cumsum([0, *sizes])
    samples = np.concatenate([samples for samples, _ in clusters])
    nodes = np.concatenate(
        [labels + first for (_, labels), first in zip(clusters, firsts, strict=False)]
    )
    membership = csr_matrix(
        (np.ones(len(samples)), (samples, nodes)), shape=(n_samples, firsts[-1])
    )
    return membership, np.repeat(np.arange(len(clusters)), sizes)


def shared_samples(membership: csr_matrix) -> tuple[NDArray, NDArray]:
    """Find the pairs of nodes that share samples, and how many samples they share.

    The smaller node comes first, and pairs are in ascending order.
    """
    upper = triu(membership.T @ membership, k=1).tocoo()
    order = np.lexsort((upper.col, upper.row))
    edges = np.column_stack([upper.row, upper.col])[order].astype(np.int64)
    return edges, upper.data[order].astype(np.int64)


def nerve_graph(
    intervals: Iterable[int], sizes: Iterable[int], edges: NDArray, n_shared: NDArray
) -> nx.Graph:
    """Build the networkx graph: nodes with `interval` and `size`, weighted edges.

    `weight` is the number of shared samples, and `jaccard` what share it is of all
    samples of the two nodes.
    """
    graph = nx.Graph()
    graph.add_nodes_from(
        (node, {"interval": int(interval), "size": int(size)})
        for node, (interval, size) in enumerate(zip(intervals, sizes, strict=True))
    )
    size_of = nx.get_node_attributes(graph, "size")
    for i, j, n in zip(*edges.T.tolist(), n_shared.tolist(), strict=True):
        graph.add_edge(i, j, weight=n, jaccard=n / (size_of[i] + size_of[j] - n))
    return graph


def place_samples(mapper: Mapper, X: NDArray, n_jobs: int | None = None) -> csr_matrix:
    """Find the nodes of samples, of the training data or new, of the mapper's dtype.

    A sample equal to a training sample lies in the nodes of that one. Of each cell that
    its filter values lie in, a new sample lies in the node of the nearest anchor
    within eps. Returns a membership as `join_clusters` does.
    """
    if np.array_equal(X, mapper.X):
        return mapper.membership.copy()
    cells = Cells(filter_columns(mapper.filter(X)), mapper.axes)
    known = find_known_rows(X, mapper.X)
    samples, nodes = mapper.membership[known].nonzero()
    is_old = known[samples] >= 0
    found = [(samples[is_old], nodes[is_old])]
    is_new = known < 0
    for k, inside in enumerate(cells.samples()):
        inside = inside[is_new[inside]]
        anchors, labels = mapper.anchors[k]
        if len(inside) == 0 or len(anchors) == 0:
            continue
        first = np.searchsorted(mapper.node_intervals, k)
        nearest = nearest_labels(
            X[inside], mapper.X[anchors], first + labels, mapper.eps, *mapper.metric,
            n_jobs,
        )  # fmt: skip
        is_placed = nearest >= 0
        found.append((inside[is_placed], nearest[is_placed]))
    rows, columns = map(np.concatenate, zip(*found, strict=True))
    shape = len(X), mapper.membership.shape[1]
    return csr_matrix((np.ones(len(rows)), (rows, columns)), shape=shape)


def find_known_rows(X: NDArray, known: NDArray) -> NDArray:
    """Return for each row the index of an equal known one, of the same dtype; else -1.

    Of known rows with one hash only the first is compared.
    """
    keys, wanted = hash_rows(known), hash_rows(X)
    order = np.argsort(keys, kind="stable")
    place = np.searchsorted(keys[order], wanted)
    candidates = order[np.minimum(place, len(order) - 1)]
    is_hit = keys[candidates] == wanted
    # Two different rows may share a hash.
    is_hit[is_hit] = (X[is_hit] == known[candidates[is_hit]]).all(axis=1)
    return np.where(is_hit, candidates, -1)


def nearest_labels(
    X: NDArray,
    anchors: NDArray,
    labels: NDArray,
    eps: float,
    metric: str | Callable = "euclidean",
    metric_params: dict[str, Any] | None = None,
    n_jobs: int | None = None,
) -> NDArray:
    """Return for each sample the label of its nearest anchor within eps; else -1."""
    search = NearestNeighbors(
        n_neighbors=1, metric=metric, metric_params=metric_params, n_jobs=n_jobs
    )
    near, wanted = anchors, X
    if metric == "euclidean":
        near, wanted = around_zero(anchors, X)
    distances, found = (column[:, 0] for column in search.fit(near).kneighbors(wanted))
    if metric == "euclidean":
        # Measured again: those of the search are rounded like products of the samples.
        differences = np.subtract(X, anchors[found], dtype=np.float64)
        distances = np.sqrt(np.einsum("ij,ij->i", differences, differences))
    return np.where(distances <= eps, labels[found], -1)
