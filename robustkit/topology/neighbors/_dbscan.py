"""DBSCAN in every interval, from neighbours that are searched for only once.

An ordinary construction runs DBSCAN in each interval by itself, and searches again for
the neighbours that intervals share. Here the pairs of neighbours are found once
(`Neighbors`), and the clusters of all intervals are read off them (`cluster_windows`).
They are those of scikit-learn's DBSCAN on the samples of the interval, in the same
order: numbered by their first core sample, and a border sample goes to the first
cluster that reaches it.
"""

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterable, Iterator
from copy import copy
from functools import partial
from hashlib import blake2b

import numpy as np
from numba import njit
from numpy.typing import NDArray

from robustkit.topology.neighbors._few import find_few
from robustkit.topology.neighbors._products import rounding_bound
from robustkit.topology.neighbors._search import (
    LARGEST_N_PAIRS,
    Pairs,
    SortedSamples,
    find_all_or_none,
    find_pairs_that_fit,
    is_within,
    join_pairs,
    level_step,
    search_pairs,
)
from robustkit.topology.neighbors._windows import (
    SlidingForest,
    UnlistedPairs,
    Windows,
    ends_of_band,
    find,
    join,
)

# Of each interval the samples that have a label, and their labels.
Labels = list[tuple[NDArray, NDArray]]

NOISE = np.iinfo(np.int64).max

# So many known neighbours of each sample tell most of what is connected.
_FEW = 16


def dbscan_in_slices(
    X: NDArray,
    values: NDArray,
    slices: NDArray,
    eps: float,
    min_samples: int,
    *,
    is_lipschitz: bool,
    cache: "NeighborCache | None" = None,
    n_jobs: int | None = None,
) -> tuple[Labels, Labels]:
    """Run Euclidean DBSCAN on the samples of every interval.

    Parameters
    ----------
    X : ndarray of shape (n_samples, n_features)
        The samples, float32 or float64, C-contiguous.

    values : ndarray of shape (n_samples,)
        Their filter values.

    slices : ndarray of shape (n_intervals, 2)
        Interval k holds the samples that are ``slices[k, 0]`` up to ``slices[k, 1]`` in
        the order of the values. Starts and stops ascend.

    eps : float
        Largest distance of neighbours.

    min_samples : int
        Neighbours, itself included, that make a core sample.

    is_lipschitz : bool
        Whether the values of two samples differ by at most their distance.

    cache : NeighborCache, default=None
        Neighbours found before, and where those found now are kept. None searches for
        those alone that these intervals need.

    n_jobs : int or None, default=None
        Number of threads.

    Returns
    -------
    clusters, cores : list of (samples, labels)
        One entry per interval: all samples but the noise; the core samples.
    """
    neighbors = find_neighbors(
        X, values, slices, eps, is_lipschitz=is_lipschitz, cache=cache, n_jobs=n_jobs
    )
    return neighbors.clusters(eps, slices, min_samples, n_jobs)


def find_neighbors(
    X: NDArray,
    values: NDArray,
    slices: NDArray,
    eps: float,
    *,
    is_lipschitz: bool,
    cache: "NeighborCache | None" = None,
    n_jobs: int | None = None,
) -> "Neighbors":
    """Find who is near whom, or look it up; the parameters of `dbscan_in_slices`."""
    if cache is None:
        return Neighbors(X, values, eps, is_lipschitz, slices=slices, n_jobs=n_jobs)
    key = digest(X), digest(values)
    neighbors = cache.find(key, eps)
    if neighbors is None:
        neighbors = Neighbors(
            X, values, eps, is_lipschitz, look_ahead=cache.look_ahead,
            max_pairs=cache.max_pairs_each, n_jobs=n_jobs,
        )  # fmt: skip
        cache.keep(key, neighbors)
    return neighbors


class Neighbors:
    """The pairs of samples within a distance, as many of them as can be kept.

    Parameters
    ----------
    X : ndarray of shape (n_samples, n_features)
        The samples.

    values : ndarray of shape (n_samples,)
        Their filter values.

    eps : float
        Keep the pairs within this distance, if they are not too many.

    is_lipschitz : bool
        Whether the filter values of two samples differ by at most their distance.

    slices : ndarray of shape (n_intervals, 2), default=None
        Keep only pairs of samples in one of these intervals, and no distances: then
        other intervals and another `eps` cannot be asked for.

    look_ahead : float, default=1
        Keep the pairs within so many times `eps`, or as far as they are not too many.

    max_pairs : int, default=None
        Maximum number of pairs that are kept; None is `LARGEST_N_PAIRS`.

    n_jobs : int or None, default=None
        Number of threads.

    Attributes
    ----------
    radius : float
        The distance within which all pairs are kept; negative if there are none.
    """

    def __init__(
        self,
        X: NDArray,
        values: NDArray,
        eps: float,
        is_lipschitz: bool,
        *,
        slices: NDArray | None = None,
        look_ahead: float = 1,
        max_pairs: int | None = None,
        n_jobs: int | None = None,
    ):
        self._samples = SortedSamples(X, values)
        self._is_lipschitz = is_lipschitz
        self._farthest = look_ahead * eps
        ends = self._ends(self._farthest)
        max_pairs = LARGEST_N_PAIRS if max_pairs is None else max_pairs
        if slices is None:
            self.radius, self._pairs = find_pairs_that_fit(
                self._samples, eps, self._farthest, ends, max_pairs,
                with_distances=True, n_jobs=n_jobs,
            )  # fmt: skip
        else:
            ends = np.minimum(ends, Windows(slices, len(X)).ends)
            self.radius, self._pairs = find_all_or_none(
                self._samples, eps, ends, max_pairs, n_jobs
            )
        # The pairs within the distance last asked for.
        self._nearer = self.radius, self._pairs
        # The positions that are clustered; None is all.
        self._is_present: NDArray | None = None

    def _ends(self, eps):
        samples = self._samples
        if self._is_lipschitz:
            return ends_of_band(samples.values, eps)
        return np.full(len(samples.order), len(samples.order))

    @property
    def is_full(self) -> bool:
        """Whether no larger distance would let more pairs be kept."""
        return self.radius < self._farthest

    @property
    def n_pairs(self) -> int:
        """How many pairs are kept."""
        return len(self._pairs.indices)

    def among(self, is_present: NDArray, eps: float) -> "Neighbors":
        """Return the neighbours within eps, at most `radius`, of some samples only.

        Clusters are those of the samples that are present, under the same numbers.
        """
        is_present = is_present[self._samples.order]
        pairs = self._pairs_within(eps)
        indptr, indices = _choose_present(pairs.indptr, pairs.indices, is_present)
        some = copy(self)
        some._pairs = Pairs(pairs.rows, indptr, indices, pairs.distances[:0])
        some._nearer = eps, some._pairs
        some.radius = some._farthest = eps
        some._is_present = is_present
        return some

    def clusters(
        self, eps: float, slices: NDArray, min_samples: int, n_jobs: int | None = None
    ) -> tuple[Labels, Labels]:
        """Cluster every interval, as `dbscan_in_slices` returns it."""
        order = self._samples.order
        windows = Windows(slices, len(order))
        graph = self._graph(eps, n_jobs)
        clusters, cores = [], []
        found = cluster_windows(graph, windows, order, min_samples)
        for (start, stop), (roots, is_core) in zip(windows.slices, found, strict=True):
            is_member = roots != NOISE
            if self._is_present is not None:
                # Alone, one that is absent may pass for a cluster of its own.
                is_member &= self._is_present[start:stop]
            _, labels = np.unique(roots[is_member], return_inverse=True)
            samples, is_core = order[start:stop][is_member], is_core[is_member]
            clusters.append((samples, labels))
            cores.append((samples[is_core], labels[is_core]))
        return clusters, cores

    def _graph(self, eps, n_jobs):
        if eps > self.radius:
            ends = self._ends(eps)
            return UnlistedGraph(self._pairs, self._samples, eps, ends, n_jobs)
        return ListedGraph(self._pairs_within(eps))

    def _pairs_within(self, eps):
        nearer_eps, pairs = self._nearer
        if eps != nearer_eps:
            pairs = pairs_within(self._pairs, self._samples, self.radius, eps)
            self._nearer = eps, pairs
        return pairs


def pairs_within(
    pairs: Pairs, samples: SortedSamples, radius: float, eps: float
) -> Pairs:
    """Keep the pairs within a smaller distance than the radius they were found with.

    `pairs` are all those within `radius`, with their levels, a row for every position.
    """
    limit, step = (float(eps) * samples.scale) ** 2, level_step(samples, radius)
    tolerance = rounding_bound(samples.X.shape[1], samples.norms.max())
    # What a level or rounding may hide on the other side of the limit is measured.
    n_sure = np.floor((limit - tolerance) / step)
    n_possible = np.floor((limit + tolerance) / step)
    exact = samples.exact_distance(eps)
    indptr, indices = _narrow(*pairs[1:], n_sure, n_possible, exact)
    return Pairs(pairs.rows, indptr, indices, pairs.distances[:0])


@njit(cache=True, nogil=True)
def _narrow(indptr, indices, levels, n_sure, n_possible, exact):
    X, order, limit = exact
    kept_indptr, kept = np.zeros_like(indptr), np.empty_like(indices)
    n_kept = 0
    for position in range(len(indptr) - 1):
        for k in range(indptr[position], indptr[position + 1]):
            if levels[k] <= n_possible and (
                levels[k] < n_sure
                or is_within(X, order[position], order[indices[k]], limit)
            ):
                kept[n_kept] = indices[k]
                n_kept += 1
        kept_indptr[position + 1] = n_kept
    return kept_indptr, kept[:n_kept].copy()


def cluster_windows(
    graph: "ListedGraph | UnlistedGraph",
    windows: Windows,
    order: NDArray,
    min_samples: int,
) -> Iterator[tuple[NDArray, NDArray]]:
    """Cluster the samples of every window; `order` is the sample at each position.

    Most samples are core samples in each of their windows. What these connect is
    followed from window to window; only the pairs of the others are looked at in every
    window. Yields for each window, position by position, the sample that names the
    cluster, its first core sample (`NOISE` for noise), and who is a core sample.
    """
    counts = graph.count_neighbors(windows, min_samples)
    is_core = counts >= min_samples
    is_always_core = windows.in_all(is_core)
    components = graph.components(windows, is_always_core)
    others = graph.pairs_of(windows, ~is_always_core, counts)
    for k, (start, stop) in enumerate(windows.slices):
        parents, pairs = next(components), next(others)
        is_core_here = windows.part(is_core, k)
        for rows, indptr, indices, _ in pairs():
            _join_cores(rows, indptr, indices, start, stop, is_core_here, parents)
        roots = _name_clusters(order[start:stop], is_core_here, parents)
        borders = roots.copy()
        for rows, indptr, indices, _ in pairs():
            _assign_borders(rows, indptr, indices, start, stop, roots, borders)
        yield borders, is_core_here


@njit(cache=True, nogil=True)
def _join_cores(rows, indptr, indices, start, stop, is_core, parents):
    for r in range(len(rows)):
        i = rows[r] - start
        if not is_core[i]:
            continue
        for k in range(indptr[r], indptr[r + 1]):
            if indices[k] >= stop:
                break
            if is_core[indices[k] - start]:
                join(parents, i, indices[k] - start)


@njit(cache=True, nogil=True)
def _name_clusters(samples, is_core, parents):
    names = np.full(len(samples), NOISE)
    for i in range(len(samples)):
        if is_core[i]:
            root = find(parents, i)
            names[root] = min(names[root], samples[i])
    roots = np.full(len(samples), NOISE)
    for i in range(len(samples)):
        if is_core[i]:
            roots[i] = names[find(parents, i)]
    return roots


@njit(cache=True, nogil=True)
def _assign_borders(rows, indptr, indices, start, stop, roots, borders):
    """Give each sample without a root, which is no core sample, the first one near."""
    for r in range(len(rows)):
        i = rows[r] - start
        for k in range(indptr[r], indptr[r + 1]):
            j = indices[k] - start
            if indices[k] >= stop:
                break
            if roots[j] == NOISE:
                borders[j] = min(borders[j], roots[i])
            elif roots[i] == NOISE:
                borders[i] = min(borders[i], roots[j])


class ListedGraph:
    """Who is whose neighbour, where all pairs are listed, a row for every position."""

    def __init__(self, pairs: Pairs):
        self._pairs = pairs

    def count_neighbors(self, windows: Windows, min_samples: int) -> NDArray:
        """Count the neighbours of every position in every window, itself included.

        Only counts below `min_samples` need be exact; others may be anything from it
        on.
        """
        return windows.count_neighbors([self._pairs])

    def components(self, windows: Windows, is_vertex: NDArray) -> Iterator[NDArray]:
        """Connect the vertices that are neighbours: yield the parents of each window.

        Follow them to the representative of a component.
        """
        forest = SlidingForest(self._pairs, is_vertex)
        for start, stop in windows.slices:
            yield forest.slide(start, stop)

    def pairs_of(
        self, windows: Windows, is_wanted: NDArray, counts: NDArray
    ) -> Iterator[Callable[[], Iterable[Pairs]]]:
        """Yield for each window a function that iterates over pairs of neighbours.

        They are the pairs that hold a wanted position; columns may lie behind the
        window. The `counts` of neighbours say how many to expect.
        """
        rows, indptr, indices, distances = self._pairs
        indptr, indices = _choose(indptr, indices, windows.ends, is_wanted)
        chosen = Pairs(rows, indptr, indices, distances[:0])
        for start, stop in windows.slices:
            yield lambda start=start, stop=stop: [chosen.of_rows(start, stop)]


class UnlistedGraph:
    """Who is whose neighbour, where the pairs are too many to be listed.

    It answers what `ListedGraph` does, after `count_neighbors` was asked. A few
    neighbours of each position are looked for first; only for positions that these
    leave unsure all neighbours are, and those pairs are kept if they fit.

    Parameters
    ----------
    known : Pairs
        Those within some smaller distance, a row for every position.

    samples : SortedSamples
        The samples.

    eps : float
        Largest distance of neighbours.

    ends : ndarray of shape (n_samples,)
        Position i has no neighbours from ``ends[i]`` on.

    n_jobs : int or None, default=None
        Number of threads.
    """

    def __init__(
        self,
        known: Pairs,
        samples: SortedSamples,
        eps: float,
        ends: NDArray,
        n_jobs: int | None = None,
    ):
        self._known = known
        self._samples = samples
        self._eps = eps
        self._ends = ends
        self._n_jobs = n_jobs
        self._few = join_pairs([], len(ends))
        self._found: ListedGraph | None = None

    def count_neighbors(self, windows: Windows, min_samples: int) -> NDArray:
        """Search for all neighbours of those positions alone that few leave unsure."""
        known = _first_of_rows(self._known, max(_FEW, 2 * min_samples))
        counts = windows.count_neighbors([known])
        is_unsure = ~windows.in_all(counts >= min_samples)
        more, self._few = find_few(
            self._samples, self._eps, windows, is_unsure, min_samples, self._n_jobs
        )
        counts = np.maximum(counts, more)
        is_unsure = ~windows.in_all(counts >= min_samples)
        kept: list[Pairs] = []
        found = self._search(windows, is_unsure, 0, len(is_unsure))
        found = windows.count_neighbors(_keep_if_they_fit(found, kept))
        if kept:
            self._found = ListedGraph(join_pairs(kept, len(is_unsure)))
        return np.maximum(counts, found)

    def components(self, windows: Windows, is_vertex: NDArray) -> Iterator[NDArray]:
        """Join what the known pairs leave apart."""
        known = [_first_of_rows(self._known, _FEW), self._few]
        forest = SlidingForest(join_pairs(known, len(is_vertex)), is_vertex)
        unlisted = UnlistedPairs(self._samples, self._eps, self._ends, is_vertex)
        for k, (start, stop) in enumerate(windows.slices):
            forest.slide(start, stop)
            forest.edges, parents = unlisted.connect(windows, k, forest.edges)
            yield parents

    def pairs_of(
        self, windows: Windows, is_wanted: NDArray, counts: NDArray
    ) -> Iterator[Callable[[], Iterable[Pairs]]]:
        """Search for them, unless they were found before, many windows at a time."""
        if self._found is not None:
            # Whoever is wanted was unsure when the neighbours were counted.
            yield from self._found.pairs_of(windows, is_wanted, counts)
            return
        for group, fits in _groups(windows, is_wanted, counts):
            span = windows.slices[group[0], 0], windows.slices[group[-1], 1]
            search = partial(self._search, windows, is_wanted, *span)
            if fits:
                pairs = join_pairs(list(search()), len(is_wanted))
                for k in group:
                    part = pairs.of_rows(*windows.slices[k])
                    yield lambda part=part: [part]
            else:
                # One window, and even its pairs are too many: found whenever needed.
                yield search

    def _search(self, windows, is_wanted, start, stop):
        ends = np.minimum(self._ends, windows.ends)
        return touching_pairs(
            self._samples, self._eps, ends, is_wanted, start, stop, self._n_jobs
        )


def touching_pairs(
    samples: SortedSamples,
    eps: float,
    ends: NDArray,
    is_wanted: NDArray,
    start: int,
    stop: int,
    n_jobs: int | None = None,
) -> Iterator[Pairs]:
    """Search for the pairs that hold a wanted position, a few at a time.

    Both positions lie from `start` up to `stop`. A row may come several times, a pair
    only once.
    """
    ends = np.minimum(ends, stop)
    wanted, others = np.zeros((2, len(is_wanted)), dtype=bool)
    wanted[start:stop] = is_wanted[start:stop]
    others[start:stop] = ~is_wanted[start:stop]
    for rows, columns in ((wanted, None), (others, wanted)):
        yield from search_pairs(
            samples, eps, ends, rows=rows, columns=columns, n_jobs=n_jobs
        )


def _keep_if_they_fit(pieces, kept):
    """Pass pieces on, and keep all of them, or none if their pairs are too many."""
    n_pairs = 0
    for pairs in pieces:
        n_pairs += len(pairs.indices)
        if n_pairs <= LARGEST_N_PAIRS:
            kept.append(pairs)
        else:
            kept.clear()
        yield pairs


def _groups(windows, is_wanted, counts):
    """Windows whose pairs may be listed together, and whether they may."""
    group, total = [], 0
    for k, (start, stop) in enumerate(windows.slices):
        counted = windows.part(counts, k)[is_wanted[start:stop]]
        n_pairs = int(counted.sum(dtype=np.int64))
        if group and total + n_pairs > LARGEST_N_PAIRS:
            yield group, total <= LARGEST_N_PAIRS
            group, total = [], 0
        group.append(k)
        total += n_pairs
    yield group, total <= LARGEST_N_PAIRS


def _first_of_rows(pairs, n_first):
    """Keep the pairs nearest in the order, which are most likely to share windows."""
    n_kept = np.minimum(np.diff(pairs.indptr), n_first)
    indptr = np.concatenate([[0], np.cumsum(n_kept)])
    shift = np.repeat(pairs.indptr[:-1] - indptr[:-1], n_kept)
    indices = pairs.indices[np.arange(indptr[-1]) + shift]
    return Pairs(pairs.rows, indptr, indices, pairs.distances[:0])


@njit(cache=True, nogil=True)
def _choose(indptr, indices, ends, is_wanted):
    """Keep the pairs that hold a wanted position, and that some window holds."""
    chosen_indptr = np.zeros_like(indptr)
    for i in range(len(indptr) - 1):
        n_chosen = 0
        for k in range(indptr[i], indptr[i + 1]):
            if indices[k] >= ends[i]:
                break
            n_chosen += is_wanted[i] or is_wanted[indices[k]]
        chosen_indptr[i + 1] = chosen_indptr[i] + n_chosen
    chosen = np.empty(chosen_indptr[-1], indices.dtype)
    target = 0
    for i in range(len(indptr) - 1):
        for k in range(indptr[i], indptr[i + 1]):
            if indices[k] >= ends[i]:
                break
            if is_wanted[i] or is_wanted[indices[k]]:
                chosen[target] = indices[k]
                target += 1
    return chosen_indptr, chosen


@njit(cache=True, nogil=True)
def _choose_present(indptr, indices, is_present):
    """Keep the pairs of positions that are both present."""
    chosen_indptr = np.zeros_like(indptr)
    chosen = np.empty_like(indices)
    target = 0
    for i in range(len(indptr) - 1):
        if is_present[i]:
            for k in range(indptr[i], indptr[i + 1]):
                if is_present[indices[k]]:
                    chosen[target] = indices[k]
                    target += 1
        chosen_indptr[i + 1] = target
    return chosen_indptr, chosen[:target].copy()


class NeighborCache:
    """Neighbours and distances already found, shared by an estimator and its clones.

    It is forgotten when an estimator is pickled or deep-copied.

    Parameters
    ----------
    max_pairs : int, default=LARGEST_N_PAIRS
        Maximum number of pairs in all; the least recently used are dropped first.

    max_pairs_each : int, default=LARGEST_N_PAIRS
        Maximum number of pairs of one data set.

    look_ahead : float, default=1
        Neighbours are found, once and for all, within so many times the distance that
        is asked for first, or as far as they can be kept.
    """

    def __init__(
        self,
        max_pairs: int = LARGEST_N_PAIRS,
        max_pairs_each: int = LARGEST_N_PAIRS,
        look_ahead: float = 1,
    ):
        self.max_pairs = max_pairs
        self.max_pairs_each = max_pairs_each
        self.look_ahead = look_ahead
        # The distances chosen by eps="auto".
        self.eps: dict[Hashable, float] = {}
        self._lock = threading.Lock()
        self._neighbors: OrderedDict[Hashable, Neighbors] = OrderedDict()

    def __reduce__(self):
        return NeighborCache, ()

    def find(self, key: Hashable, eps: float) -> Neighbors | None:
        """Return neighbours found before, if they can be asked for this distance."""
        with self._lock:
            known = self._neighbors.get(key)
            if known is None:
                return None
            self._neighbors.move_to_end(key)
        return known if eps <= known.radius or known.is_full else None

    def keep(self, key: Hashable, neighbors: Neighbors) -> None:
        """Keep what was found, and drop what was not used for longest."""
        with self._lock:
            self._neighbors[key] = neighbors
            self._neighbors.move_to_end(key)
            while (
                len(self._neighbors) > 1
                and sum(n.n_pairs for n in self._neighbors.values()) > self.max_pairs
            ):
                self._neighbors.popitem(last=False)


def digest(array: NDArray) -> bytes:
    """Return a few bytes that tell arrays with different content apart."""
    described = blake2b(f"{array.shape} {array.dtype}".encode(), digest_size=16)
    described.update(np.ascontiguousarray(array).data)
    return described.digest()
