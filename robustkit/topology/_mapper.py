"""The mapper algorithm: filter -> cover -> cluster -> nerve.

`build_mapper` is the whole of it, and `place_samples` finds the nodes of new samples.
The steps follow in the order in which they are taken; the covers are in `_cover`, and
DBSCAN, which clusters unless another clusterer is given, in `neighbors`.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any

import networkx as nx
import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.linalg import eigh
from scipy.sparse import csr_matrix, triu
from sklearn.base import clone
from sklearn.cluster import DBSCAN
from sklearn.neighbors import NearestNeighbors
from sklearn.utils.parallel import Parallel, delayed

from robustkit._randomness import hash_rows
from robustkit.topology._cover import (
    FEWEST_INTERVALS,
    AdaptiveCover,
    BalancedCover,
    GivenCover,
    GMapperCover,
    UniformCover,
    count_intervals,
    interval_slices,
    largest_step,
)
from robustkit.topology.neighbors import (
    Labels,
    Metric,
    NeighborCache,
    Neighbors,
    around_zero,
    bounding_diagonal,
    choose_eps,
    connection_distance,
    digest,
    find_neighbors,
    is_too_coarse,
    learn_metric,
    longest_step,
)

# A function of rows that returns one float64 value for each.
FilterFunction = Callable[[NDArray], NDArray]

Cover = UniformCover | BalancedCover | GMapperCover | AdaptiveCover | GivenCover

# Where a shape is connected at a distance, intervals cut chains of samples; at so many
# times that distance, what is left of them is still connected.
CONNECTED = 1.75

# Of a filter whose values differ by more, the range would overflow.
_LARGEST_EXTENT = 1e300

# The number of intervals where the samples do not say how many they can bear.
N_INTERVALS = 40

# Fewer than `FEWEST_INTERVALS` show a shape, too, but only if it reaches evenly along
# the filter: no interval may hold more than two thirds of the samples.
_FEWEST_EVEN = 3

# Numbers that are float64 at one time: large float32 data are never copied whole.
_CHUNK = 2**22


@dataclass(frozen=True, eq=False)
class Mapper:
    """A mapper graph, and what is needed to place new samples in it."""

    X: NDArray
    """The samples it was built from."""

    filter: FilterFunction
    metric: Metric
    eps: float
    """The distance used; infinity for a clusterer that has none."""

    intervals: NDArray
    """First and last value of each closed interval, shape (n_intervals, 2)."""

    membership: csr_matrix
    """1.0 where a sample lies in a node, shape (n_samples, n_nodes)."""

    node_intervals: NDArray
    """The interval of each node, ascending."""

    filter_means: NDArray
    """Mean filter value of each node."""

    edges: NDArray
    """Pairs of nodes that share samples, the smaller first, shape (n_edges, 2)."""

    n_shared: NDArray
    """How many samples the nodes of each edge share."""

    anchors: Labels
    """Of each interval the samples that draw new ones into their cluster."""

    clusterer: Any
    """What clustered each interval; None for Euclidean DBSCAN, from neighbours."""

    min_samples: int
    """Neighbours that make a core sample; of use only without a clusterer."""

    is_lipschitz: bool
    """Whether the filter values of two samples differ by at most their distance."""

    neighbors: Neighbors | None = None
    """The neighbours that the clusters were found from, as long as they are kept."""

    @property
    def reach(self) -> float:
        """The distance within which neighbours are looked for."""
        return usable_distance(self.eps, bounding_diagonal(self.X))

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
        return nerve_graph(
            self.node_intervals, self.node_sizes, self.edges, self.n_shared
        )


def build_mapper(
    X: NDArray,
    *,
    filter: str | int | Callable | ArrayLike,
    cover: Cover | Callable[[int], UniformCover | BalancedCover],
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
    bear. With a `cache`, neighbours are looked for there first, and kept there.
    """
    diagonal = bounding_diagonal(X)
    learned = learn_metric(metric, X)

    # Filter: one number per sample.
    filter, is_lipschitz = fit_filter(filter, X)
    values = filter(X)

    # Scale: how near neighbours are, and how many intervals tell them apart.
    if clusterer is not None:
        eps = float(clusterer.eps) if isinstance(clusterer, DBSCAN) else np.inf
    scale = _Scale(X, values, is_lipschitz, min_samples, learned, cache, n_jobs)
    chooses = callable(cover) or isinstance(cover, GMapperCover | AdaptiveCover)
    if not chooses:
        eps = scale.choose_eps("knee" if eps == "auto" else eps)
    else:
        eps, n_intervals, step = scale.choose(eps, cover, diagonal)
        cover = (
            cover(n_intervals) if callable(cover) else _start(cover, n_intervals, step)
        )

    # Cover and cluster: overlapping intervals, and the clusters in each.
    order = np.argsort(values, kind="stable")
    if isinstance(cover, AdaptiveCover) and cache is None:
        # Every split asks for clusters: the neighbours are searched for once.
        cache = NeighborCache()

    if clusterer is None and learned.name != "euclidean":
        clusterer = DBSCAN(
            eps=eps, min_samples=min_samples, metric=learned.name,
            metric_params=learned.params,
        )  # fmt: skip

    reach = usable_distance(float(eps), diagonal)
    neighbors = None

    def cluster(slices):
        nonlocal neighbors
        if clusterer is not None:
            return cluster_slices(clusterer, X, order, slices, n_jobs)
        neighbors = find_neighbors(
            X, values, slices, reach, is_lipschitz=is_lipschitz, cache=cache,
            n_jobs=n_jobs,
        )  # fmt: skip
        return neighbors.clusters(reach, slices, min_samples, n_jobs)

    if isinstance(cover, AdaptiveCover):
        intervals = cover.intervals(values, X, lambda slices: cluster(slices)[0])
    else:
        intervals = cover.intervals(values)
    clusters, anchors = cluster(interval_slices(values[order], intervals))

    # Nerve: clusters are nodes, and those that share samples are joined.
    membership, node_intervals = join_clusters(clusters, len(X))
    edges, n_shared = shared_samples(membership)
    sizes = np.bincount(membership.indices, minlength=membership.shape[1])
    return Mapper(
        X=X, filter=filter, metric=learned, eps=float(eps), intervals=intervals,
        membership=membership, node_intervals=node_intervals,
        filter_means=(membership.T @ values) / sizes, edges=edges, n_shared=n_shared,
        anchors=anchors, clusterer=clusterer, min_samples=min_samples,
        is_lipschitz=is_lipschitz, neighbors=neighbors,
    )  # fmt: skip


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
class _Scale:
    """How near neighbours are, and how many intervals tell them apart."""

    X: NDArray
    values: NDArray
    is_lipschitz: bool
    min_samples: int
    metric: Metric
    cache: NeighborCache | None
    n_jobs: int | None

    def choose(self, eps, cover, diagonal):
        """Choose eps and the number of intervals together; also tell the longest step.

        Where the samples bear so few intervals that no loop could be seen, they are too
        sparse to show their shape at the distance at which it is connected: then "auto"
        is the knee, the number `N_INTERVALS`, and the step infinite.
        """
        positions = self.values
        overlap = cover.overlap if not callable(cover) else cover(1).overlap
        if callable(cover) and isinstance(cover(1), BalancedCover):
            # What its intervals divide evenly.
            positions = np.unique(positions, return_inverse=True)[1].astype(np.float64)
        # Halves, which cannot overflow.
        extent = 2 * min(positions.max() / 2 - positions.min() / 2, _LARGEST_EXTENT)
        limit = largest_step(extent, self._fewest_intervals(overlap), overlap)
        coarse = "knee" if eps == "auto" else eps
        if eps in ("auto", "connected", np.inf):
            if eps == "auto" and self._is_too_coarse(positions, limit):
                return self.choose_eps(coarse), N_INTERVALS, np.inf
            radius = self._connection()
            # Samples that all have twins are connected at no distance.
            if not 0 < radius < np.inf:
                return self.choose_eps(coarse), N_INTERVALS, np.inf
        else:
            radius = eps = self.choose_eps(eps)
        step = self._step(positions, usable_distance(radius, diagonal))
        if step > limit:
            return self.choose_eps(coarse), N_INTERVALS, np.inf
        eps = CONNECTED * radius if isinstance(eps, str) else eps
        return float(eps), count_intervals(extent, step, overlap), step

    def _fewest_intervals(self, overlap):
        intervals = UniformCover(_FEWEST_EVEN, overlap).intervals(self.values)
        sizes = np.diff(interval_slices(np.sort(self.values), intervals))
        is_even = 3 * sizes.max() <= 2 * len(self.values)
        return _FEWEST_EVEN if is_even else FEWEST_INTERVALS

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

    def _is_too_coarse(self, positions, limit):
        return self._remember(
            ("coarse", digest(positions), limit),
            lambda: is_too_coarse(
                self.X, positions, self.min_samples, limit, *self.metric, self.n_jobs
            ),
        )

    def _step(self, positions, radius):
        return self._remember(
            ("step", digest(positions), radius),
            lambda: longest_step(self.X, positions, radius, *self.metric, self.n_jobs),
        )

    def _remember(self, name, compute):
        """Compute what depends on the samples, or find it in the cache."""
        if self.cache is None:
            return compute()
        key = digest(self.X), self.min_samples, self.metric.name, *name
        if key not in self.cache.eps:
            self.cache.eps[key] = compute()
        return self.cache.eps[key]


def fit_filter(
    filter: str | int | Callable | ArrayLike, X: NDArray
) -> tuple[FilterFunction, bool]:
    """Turn the `filter` parameter of :class:`MapperGraph` into a function of rows.

    Also tells whether the values of two rows never differ by more than their Euclidean
    distance.
    """
    if isinstance(filter, str):
        if filter == "l2norm":
            return _l2norm, True
        return _Projection(*_first_principal_axis(X)), True
    if callable(filter):
        return _Checked(filter), False
    if np.ndim(filter) == 0:
        if filter >= X.shape[1]:
            raise ValueError(
                f"filter={filter} asks for a column, but X has {X.shape[1]} features; "
                f"the last column is {X.shape[1] - 1}."
            )
        return _Column(int(np.asarray(filter))), True
    return _OnlyTraining(_check_filter_values(filter, len(X)), X), False


def _in_float64(function, X):
    """Apply a function of float64 rows in chunks.

    It must be one whose value of a sample does not depend on the other samples, not
    even by rounding: no matrix product.
    """
    step = max(1, _CHUNK // X.shape[1])
    return np.concatenate(
        [
            function(np.ascontiguousarray(X[start : start + step], dtype=np.float64))
            for start in range(0, len(X), step)
        ]
    )


def _l2norm(X):
    with np.errstate(over="ignore"):
        # The norm of a new sample may be infinite: then it lies in no interval.
        return _in_float64(lambda rows: np.linalg.norm(rows, axis=1), X)


def _first_principal_axis(X):
    mean = X.mean(axis=0, dtype=np.float64)
    n_samples, n_features = X.shape
    if n_features <= n_samples:
        step = max(1, _CHUNK // n_features)
        scatter = np.zeros((n_features, n_features))
        for start in range(0, n_samples, step):
            centered = X[start : start + step] - mean
            scatter += centered.T @ centered
        axis = eigh(scatter, subset_by_index=[n_features - 1] * 2)[1][:, 0]
    else:
        centered = X - mean
        scatter = centered @ centered.T
        weights = eigh(scatter, subset_by_index=[n_samples - 1] * 2)[1][:, 0]
        axis = centered.T @ weights
    norm = np.linalg.norm(axis)
    if norm == 0:
        # All samples are the same: every axis is as good.
        return np.eye(1, n_features)[0], mean
    # An axis has no sign; the largest coordinate is made positive, as in PCA.
    return axis / norm * np.sign(axis[np.argmax(np.abs(axis))]), mean


@dataclass(frozen=True, eq=False)
class _Projection:
    axis: NDArray
    mean: NDArray

    def __call__(self, X):
        return _in_float64(
            lambda rows: np.einsum("ij,j->i", rows - self.mean, self.axis), X
        )


@dataclass(frozen=True, eq=False)
class _Column:
    column: int

    def __call__(self, X):
        return X[:, self.column].astype(np.float64)


@dataclass(frozen=True, eq=False)
class _Checked:
    """A function of the user's; what it returns is checked."""

    function: Callable

    def __call__(self, X):
        # It may write to what it gets.
        return _check_filter_values(self.function(X.copy()), len(X))


@dataclass(frozen=True, eq=False)
class _OnlyTraining:
    """Values given for the training samples: nothing is known about others."""

    values: NDArray
    X: NDArray

    def __call__(self, X):
        if not np.array_equal(X, self.X):
            raise ValueError(
                "The 'filter' parameter is an array of values, so only the training "
                "samples can be transformed. Give a callable for new samples."
            )
        return self.values


def _check_filter_values(values, n_samples):
    values = np.asarray(values, dtype=np.float64)
    if values.shape == (n_samples, 1):
        values = values[:, 0]
    if values.shape != (n_samples,):
        raise ValueError(
            f"The 'filter' parameter must give one number for each of {n_samples} "
            f"samples. Got an array of shape {values.shape} instead."
        )
    if not np.isfinite(values).all():
        raise ValueError("The 'filter' parameter gave values that are NaN or infinite.")
    return values


def cluster_slices(
    clusterer: Any,
    X: NDArray,
    order: NDArray,
    slices: NDArray,
    n_jobs: int | None = None,
) -> tuple[Labels, Labels]:
    """Fit a clone of any clusterer to the samples of each interval.

    Interval k holds the samples ``order[slices[k, 0]:slices[k, 1]]``; a negative label
    is noise. Returns the clusters, without the noise, and their anchors, which draw new
    samples into the cluster: DBSCAN's core samples, or else all.
    """
    results = Parallel(n_jobs=n_jobs, prefer="threads")(
        delayed(_cluster)(clusterer, X, np.sort(order[start:stop]))
        for start, stop in slices
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

    A sample equal to a training sample lies in the nodes of that one. Of each interval
    that holds its filter value, a new sample lies in the node of the nearest anchor
    within eps. Returns a membership as `join_clusters` does.
    """
    if np.array_equal(X, mapper.X):
        return mapper.membership.copy()
    values = mapper.filter(X)
    known = find_known_rows(X, mapper.X)
    samples, nodes = mapper.membership[known].nonzero()
    is_old = known[samples] >= 0
    found = [(samples[is_old], nodes[is_old])]
    is_new = known < 0
    for k, (low, high) in enumerate(mapper.intervals):
        inside = np.flatnonzero(is_new & (low <= values) & (values <= high))
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
