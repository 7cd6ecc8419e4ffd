"""How much of a mapper graph comes back when its samples are drawn again.

`resample_mapper` clusters resamples in the intervals of the graph, with its filter and
its distance, and compares them with it. A resample is drawn without replacement: copies
of a sample would pass for clusters of their own. Nodes of the graph and of a resample
are the same if they lie in one interval and more of the samples drawn lie in both than
in one of them only (a Jaccard similarity above 1/2); then no other node is. Neighbours
are searched for once: those of a resample are among them.
"""

from dataclasses import dataclass
from functools import partial
from itertools import islice, pairwise

import numpy as np
import pandas as pd
from numba import njit
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment
from scipy.sparse import csr_matrix
from scipy.sparse.csgraph import connected_components
from sklearn.utils import Bunch
from sklearn.utils.parallel import Parallel, delayed

from robustkit._randomness import draw_seeds
from robustkit.topology._cover import Cells
from robustkit.topology._filters import filter_columns
from robustkit.topology._loops import count_loops, filled_triangles, find_loops
from robustkit.topology._mapper import (
    Mapper,
    cluster_parts,
    dbscan_in_cells,
    join_clusters,
    shared_samples,
)
from robustkit.topology.neighbors import Labels

# Share of the samples in a resample: fewer thin out the clusters, more tell little.
_SHARE = 0.8

# Pairs of resamples whose clusterings are compared: all of 100 resamples.
_MOST_COMPARISONS = 5000

# In the place of a label: noise, and not drawn.
_NOISE, _ABSENT = -1, -2


def resample_mapper(
    mapper: Mapper, n_bootstrap: int, random_state=None, *, n_jobs=None
) -> Bunch:
    """Draw resamples, cluster them, and tell how often each part comes back.

    Returns what :class:`MapperGraph` has as `stability_`.
    """
    resampler = _Resampler(mapper)
    whole = _Whole.of(mapper)
    seeds = draw_seeds(random_state, n_bootstrap)
    found = Parallel(n_jobs=n_jobs, prefer="threads")(
        delayed(_try_once)(resampler, whole, seed) for seed in seeds
    )
    tallies, labels = [tally for tally, _ in found], [some for _, some in found]
    nodes, edges, components, loops = (
        np.mean([tally[k] for tally in tallies], axis=0) for k in range(4)
    )
    return Bunch(
        nodes=nodes,
        edges=edges,
        components=whole.describe_components(components),
        loops=whole.describe_loops(loops),
        instability=_instability(labels, resampler.slots, n_jobs),
        resamples=pd.DataFrame(
            [tally[4] for tally in tallies],
            columns=["n_nodes", "n_edges", "n_components", "n_loops"],
        ),
    )


def _try_once(resampler, whole, seed):
    n_samples = resampler.n_samples
    n_drawn = int(np.ceil(_SHARE * n_samples))
    drawn = np.random.RandomState(seed).permutation(n_samples)[:n_drawn]
    is_drawn = np.zeros(n_samples, dtype=bool)
    is_drawn[drawn] = True
    clusters = resampler.clusters(is_drawn)
    labels = resampler.slots.labels(clusters, is_drawn)
    return whole.tally(is_drawn, *join_clusters(clusters, n_samples)), labels


class _Resampler:
    """Clusters resamples in the intervals of a mapper."""

    def __init__(self, mapper):
        self.mapper = mapper
        self._cells = Cells(filter_columns(mapper.filter(mapper.X)), mapper.axes)
        self.n_samples = len(mapper.X)
        self.slots = _Slots(self._cells.samples())

    def clusters(self, is_drawn: NDArray) -> Labels:
        """Cluster those of the samples drawn that each interval holds."""
        mapper = self.mapper
        if mapper.clusterer is not None:
            parts = [samples[is_drawn[samples]] for samples in self.slots.parts]
            return cluster_parts(mapper.clusterer, mapper.X, parts)[0]
        return dbscan_in_cells(
            mapper.X, self._cells, mapper.neighbors, mapper.reach, mapper.min_samples,
            is_lipschitz=mapper.is_lipschitz, is_drawn=is_drawn,
        )[0]  # fmt: skip


class _Slots:
    """A slot for each sample in each interval that holds it, interval by interval."""

    def __init__(self, parts: list[NDArray]):
        self.parts = parts
        self.offsets = np.concatenate([[0], np.cumsum([len(part) for part in parts])])
        self.samples = np.concatenate(parts).astype(np.int32)

    def labels(self, clusters: Labels, is_drawn: NDArray) -> NDArray:
        """Return the label in each slot; a label counts in its interval only."""
        labels = np.where(is_drawn[self.samples], _NOISE, _ABSENT).astype(np.int32)
        for k, (samples, of_samples) in enumerate(clusters):
            place = np.searchsorted(self.parts[k], samples)
            labels[self.offsets[k] + place] = of_samples
        return labels


@dataclass(frozen=True, eq=False)
class _Whole:
    """The graph that resamples are compared with."""

    membership: csr_matrix
    node_intervals: NDArray
    shape: tuple[int, ...]
    """How many intervals of each filter there are."""

    edges: NDArray
    component: NDArray
    """Of each node."""

    loops: list[list[int]]

    @classmethod
    def of(cls, mapper: Mapper) -> "_Whole":
        """Take the graph of a mapper, and find its components and loops."""
        n_nodes = len(mapper.node_intervals)
        triangles = filled_triangles(mapper.membership)
        return cls(
            mapper.membership, mapper.node_intervals, tuple(map(len, mapper.axes)),
            mapper.edges, _components(mapper.edges, n_nodes),
            find_loops(mapper.edges, n_nodes, triangles),
        )  # fmt: skip

    def tally(self, is_drawn: NDArray, membership: csr_matrix, intervals: NDArray):
        """Tell which nodes, edges, components and loops a resample has; its size."""
        edges, _ = shared_samples(membership)
        component = _components(edges, len(intervals))
        triangles = filled_triangles(membership)
        partner = _partners(
            self.membership[is_drawn], membership[is_drawn],
            self.node_intervals, intervals,
        )  # fmt: skip
        component_partner = _partners(
            _join_nodes(self.membership, self.component)[is_drawn],
            _join_nodes(membership, component)[is_drawn],
        )
        has_edge = _are_joined(partner[self.edges], edges, len(intervals))
        has_loop = [
            _has_loop(self, loop, is_drawn, membership, intervals, edges)
            for loop in self.loops
        ]
        size = (
            len(intervals), len(edges), int(component.max(initial=-1)) + 1,
            count_loops(edges, len(intervals), triangles),
        )  # fmt: skip
        return (
            partner >= 0, has_edge, component_partner >= 0,
            np.array(has_loop, dtype=bool), size,
        )  # fmt: skip

    def describe_components(self, stability: NDArray) -> pd.DataFrame:
        """One row per component: its nodes, how many samples, how often it is back."""
        samples = _join_nodes(self.membership, self.component)
        nodes = [np.flatnonzero(self.component == k) for k in range(len(stability))]
        return pd.DataFrame(
            {
                "nodes": pd.Series([n.tolist() for n in nodes], dtype=object),
                "n_samples": np.bincount(samples.indices, minlength=len(stability)),
                "stability": stability,
            },
            index=pd.RangeIndex(len(stability), name="component"),
        )

    def describe_loops(self, stability: NDArray) -> pd.DataFrame:
        """One row per loop: its nodes along the way, and how often it is back."""
        return pd.DataFrame(
            {
                "nodes": pd.Series(self.loops, dtype=object),
                "stability": stability,
            },
            index=pd.RangeIndex(len(self.loops), name="loop"),
        )


def _components(edges, n_nodes):
    """Return the component of each node; they are numbered by their smallest node."""
    ones = np.ones(len(edges), dtype=bool)
    graph = csr_matrix((ones, tuple(edges.T)), shape=(n_nodes, n_nodes))
    return connected_components(graph, directed=False)[1] if n_nodes else edges[:, 0]


def _join_nodes(membership, group):
    """Return which sample lies in which group of nodes."""
    n_groups = int(group.max(initial=-1)) + 1
    rows = np.repeat(np.arange(membership.shape[0]), np.diff(membership.indptr))
    columns = group[membership.indices]
    shape = membership.shape[0], n_groups
    joined = csr_matrix((np.ones(len(rows)), (rows, columns)), shape=shape)
    joined.data[:] = 1
    return joined


def _partners(ours, theirs, our_intervals=None, their_intervals=None):
    """For each of our sets of samples that of theirs which is the same, or -1.

    The same are those whose Jaccard similarity is above 1/2, in one interval.
    """
    shared = (ours.T @ theirs).tocoo()
    sizes, their_sizes = (np.asarray(m.sum(axis=0)).ravel() for m in (ours, theirs))
    i, j, n_shared = shared.row, shared.col, shared.data
    is_same = 2 * n_shared > sizes[i] + their_sizes[j] - n_shared
    if our_intervals is not None:
        is_same &= our_intervals[i] == their_intervals[j]
    partner = np.full(ours.shape[1], -1)
    partner[i[is_same]] = j[is_same]
    return partner


def _are_joined(pairs, edges, n_nodes):
    """Whether each pair of nodes, -1 for none, is an edge."""
    codes = np.sort(pairs, axis=1) @ [n_nodes, 1]
    return (pairs >= 0).all(axis=1) & np.isin(codes, edges @ [n_nodes, 1])


def _has_loop(whole, loop, is_drawn, membership, intervals, edges):
    """Whether nodes in a loop hold one from its first interval to its last.

    With two filters, from the first to the last interval of each.

    A node lies in a loop if more than half of its samples do.
    """
    in_loop = np.zeros(whole.membership.shape[1])
    in_loop[loop] = 1
    is_inside = (whole.membership @ in_loop > 0) & is_drawn
    sizes = np.bincount(membership.indices, minlength=len(intervals))
    chosen = 2 * (membership.T @ is_inside.astype(float)) > sizes
    some = edges[chosen[edges].all(axis=1)]
    if len(some) < 3:
        return False
    triangles = filled_triangles(membership[:, chosen])
    place = np.flatnonzero(chosen)
    found = find_loops(np.searchsorted(place, some), len(place), triangles)
    ends = _span(whole.node_intervals[loop], whole.shape)
    return any(_span(intervals[place[other]], whole.shape) == ends for other in found)


def _span(intervals, shape):
    return [(k.min(), k.max()) for k in np.unravel_index(intervals, shape)]


def _instability(labels, slots, n_jobs):
    """Average the distance of the clusterings of two resamples, over pairs of them.

    All pairs, or those of resamples drawn soon after each other where these are too
    many.
    """
    n = len(labels)
    if n < 2:
        return np.nan
    pairs = ((i, i + step) for step in range(1, n) for i in range(n - step))
    chosen = list(islice(pairs, _MOST_COMPARISONS))
    distance = partial(matching_distance, slots.offsets, slots.samples)
    distances = Parallel(n_jobs=n_jobs, prefer="threads")(
        delayed(distance)(labels[i], labels[j]) for i, j in chosen
    )
    return float(np.mean(distances))


def matching_distance(
    offsets: NDArray, samples: NDArray, labels: NDArray, others: NDArray
) -> float:
    """Measure the share of samples, of those in both, that lie in different clusters.

    In each interval, the clusters are matched so that as many samples as possible stay
    in theirs. A sample differs if it does in some interval.
    """
    partner, firsts = _match(offsets, labels, others)
    n_both, n_differ = _count_different(
        offsets, samples, labels, others, partner, firsts
    )
    return n_differ / n_both if n_both else 0.0


def _match(offsets, labels, others):
    """For each cluster of each interval that of the others it is matched with."""
    partners, firsts = [], [0]
    for start, stop in pairwise(offsets):
        table = _count_common(labels[start:stop], others[start:stop])
        partner = np.full(len(table), _ABSENT)
        rows, columns = linear_sum_assignment(table, maximize=True)
        partner[rows] = columns
        partners.append(partner)
        firsts.append(firsts[-1] + len(partner))
    return np.concatenate(partners), np.array(firsts)


@njit(cache=True, nogil=True)
def _count_common(labels, others):
    n_rows = n_columns = 0
    for k in range(len(labels)):
        n_rows = max(n_rows, labels[k] + 1)
        n_columns = max(n_columns, others[k] + 1)
    table = np.zeros((n_rows, n_columns), np.int64)
    for k in range(len(labels)):
        if labels[k] >= 0 and others[k] >= 0:
            table[labels[k], others[k]] += 1
    return table


@njit(cache=True, nogil=True)
def _count_different(offsets, samples, labels, others, partner, firsts):
    n_samples = 0
    for k in range(len(samples)):
        n_samples = max(n_samples, samples[k] + 1)
    seen = np.zeros(n_samples, np.int8)
    for window in range(len(offsets) - 1):
        for k in range(offsets[window], offsets[window + 1]):
            ours, theirs = labels[k], others[k]
            if ours == _ABSENT or theirs == _ABSENT:
                continue
            # Noise is matched with noise.
            expected = ours if ours < 0 else partner[firsts[window] + ours]
            seen[samples[k]] |= 1 if expected == theirs else 3
    n_both = n_differ = 0
    for k in range(n_samples):
        n_both += seen[k] & 1
        n_differ += seen[k] >> 1
    return n_both, n_differ
