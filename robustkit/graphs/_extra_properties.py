"""Measures of a graph that cost more: references, spectra, curvature, paths.

All but the last two ignore directions. Curvature and efficiency are compiled; the
functions get a graph as the neighbours of its vertices, as in `_properties`.
"""

from math import log

import networkx as nx
import numpy as np
import scipy.linalg
import scipy.sparse as sp
from numba import njit
from numpy.random import RandomState
from numpy.typing import NDArray
from sklearn.utils import check_random_state

from robustkit._randomness import draw_seed
from robustkit.graphs._edges import longest_path_layers, undirected_pairs
from robustkit.graphs._properties import (
    average_clustering,
    by_source,
    count_bits,
    distance_counts,
    triangle_weights,
)

__all__ = ["average_curvatures", "extra_properties", "swap_ends"]

# Their spectra are those of dense matrices: 128 MiB each at this size.
_MOST_NODES = 4000

# Of the products of the degrees at the two ends, over the edges: what the transport
# problems of the curvature together take. This many are ten seconds at most.
_MOST_WORK = 2 * 10**9

# As many as networkx draws, and swaps that each of them tries for every edge.
_N_REFERENCES = 10
_TRIES_PER_EDGE = 10


def extra_properties(
    edges: NDArray, n_nodes: int, random_state: int | RandomState | None
) -> dict[str, float]:
    """Measure a graph given by distinct directed edges without self-loops.

    `random_state` draws the graphs that it is compared with, and the order in which
    vertices join communities.
    """
    pairs, _ = undirected_pairs(edges, n_nodes)
    degree = np.bincount(pairs.ravel(), minlength=n_nodes)
    _check_size(pairs, degree)
    rng = check_random_state(random_state)
    counts = _distance_counts(pairs, n_nodes)
    start, neighbors = _neighbors(pairs, n_nodes)
    return {
        **_small_world(pairs, n_nodes, counts, rng),
        "global_efficiency": _global_efficiency(counts, n_nodes),
        "local_efficiency": _local_efficiency(start, neighbors).mean(),
        **average_curvatures(pairs, n_nodes),
        **_spectral_measures(pairs, n_nodes, degree),
        "degree_entropy": _entropy(np.bincount(degree)),
        "path_length_entropy": _entropy(counts),
        "modularity": _modularity(pairs, n_nodes, rng),
        **_path_measures(edges, n_nodes),
    }


def average_curvatures(pairs: NDArray, n_nodes: int) -> dict[str, float]:
    """Compute Forman's and Ollivier's curvature of an undirected graph."""
    degree = np.bincount(pairs.ravel(), minlength=n_nodes)
    start, neighbors = _neighbors(pairs, n_nodes)
    forman = _forman_curvatures(pairs, start, neighbors, degree)
    ollivier = _ollivier_curvatures(pairs, start, neighbors)
    return {
        "average_forman_curvature": _mean(forman),
        "average_ollivier_curvature": _mean(ollivier),
    }


def _check_size(pairs, degree):
    if len(degree) > _MOST_NODES:
        raise ValueError(
            f"extra=True needs matrices of n_nodes x n_nodes numbers, and takes graphs "
            f"of at most {_MOST_NODES} vertices. Got {len(degree)}."
        )
    work = int(np.prod(degree[pairs], axis=0).sum())
    if work > _MOST_WORK:
        raise ValueError(
            "extra=True compares the neighbors of the two ends of every edge, and "
            f"takes graphs with at most {_MOST_WORK:.0e} pairs of them. Got "
            f"{work:.1e}: {pairs.shape[1]} edges between vertices of up to "
            f"{degree.max()} neighbors."
        )


def _neighbors(pairs, n_nodes):
    both_ways = np.concatenate([pairs, pairs[::-1]], axis=1)
    start, order = by_source(both_ways, n_nodes)
    return start, both_ways[1, order]


def _distance_counts(pairs, n_nodes):
    """Count the ordered pairs of vertices at every distance; none at 0."""
    return distance_counts(np.concatenate([pairs, pairs[::-1]], axis=1), n_nodes)


def _mean_distance(counts):
    return _ratio(np.arange(len(counts)) @ counts, counts.sum())


def _ratio(numerator, denominator):
    return float(numerator / denominator) if denominator else 0.0


def _mean(values):
    return float(values.mean()) if len(values) else 0.0


def _entropy(counts):
    """Shannon's, in nats."""
    shares = counts[counts > 0] / max(counts.sum(), 1)
    return float(-(shares * np.log(shares)).sum()) + 0.0


def _global_efficiency(counts, n_nodes):
    distances = np.arange(1, len(counts))
    return _ratio((counts[1:] / distances).sum(), n_nodes * (n_nodes - 1))


def _small_world(pairs, n_nodes, counts, rng):
    """Compare with graphs of the same degrees, drawn at random or near a ring.

    Both are networkx's sigma and omega. What divides by nothing is NaN.
    """
    length = _mean_distance(counts)
    clustering = average_clustering(pairs, n_nodes)
    lengths, transitivities, best = [], [], clustering
    for _ in range(_N_REFERENCES):
        random = swap_ends(pairs, n_nodes, rng)
        lengths.append(_mean_distance(_distance_counts(random, n_nodes)))
        transitivities.append(_transitivity(random, n_nodes))
        ring = swap_ends(pairs, n_nodes, rng, near_ring=True)
        best = max(best, average_clustering(ring, n_nodes))
    random_length, random_transitivity = np.mean(lengths), np.mean(transitivities)
    sigma = omega = np.nan
    if random_transitivity > 0:
        transitivity = _transitivity(pairs, n_nodes)
        sigma = transitivity / random_transitivity / (length / random_length)
    if best > 0:
        omega = random_length / length - clustering / best
    return {"small_world_sigma": float(sigma), "small_world_omega": float(omega)}


def swap_ends(
    pairs: NDArray, n_nodes: int, rng: RandomState, *, near_ring: bool = False
) -> NDArray:
    """Swap the ends of pairs of edges, which changes no degree.

    With `near_ring` only swaps are made after which the two edges together are no
    longer than before, on the ring of the vertices.
    """
    n_edges = pairs.shape[1]
    swapped = pairs.copy()
    if n_edges > 1:
        n_tries = _TRIES_PER_EDGE * n_edges
        chosen = rng.randint(n_edges, size=(n_tries, 2))
        turned = rng.randint(2, size=n_tries)
        start, neighbors = _neighbors(pairs, n_nodes)
        _swap_ends(swapped, start, neighbors, chosen, turned, near_ring)
    return swapped


def _transitivity(pairs, n_nodes):
    degree = np.bincount(pairs.ravel(), minlength=n_nodes)
    ones = np.ones(pairs.shape[1], dtype=np.int64)
    # Of every vertex, and 3 vertices have each triangle.
    triangles = triangle_weights(pairs, ones, n_nodes).sum()
    return _ratio(2 * triangles, (degree * (degree - 1)).sum())


def _forman_curvatures(pairs, start, neighbors, degree):
    """Take triangles for faces: 4 - d - d' + 3 t of an edge without a weight."""
    common = _common_neighbors(pairs, start, neighbors)
    return 4 - degree[pairs].sum(axis=0) + 3 * common


def _ollivier_curvatures(pairs, start, neighbors):
    """Compare an edge with the way from its one end's neighbours to the other's.

    Half of the mass stays at each end, the other half is spread over its neighbours.
    Masses are integers, so that the cheapest transport is exact.
    """
    near = _near(start, neighbors)
    return 1 - _transport_costs(pairs, start, neighbors, near)


def _spectral_measures(pairs, n_nodes, degree):
    """Eigenvalues, component by component."""
    ones = np.ones(pairs.shape[1])
    adjacency = sp.csr_array((ones, tuple(pairs)), shape=(n_nodes, n_nodes))
    n_components, label = sp.csgraph.connected_components(adjacency, directed=False)
    adjacency = adjacency + adjacency.T
    connectivity = gap = resistance = 0.0
    n_joined = 0
    for component in range(n_components):
        members = np.flatnonzero(label == component)
        size = len(members)
        if size == 1:
            continue
        own = adjacency[members][:, members].toarray()
        laplacian = np.diag(degree[members].astype(float)) - own
        eigenvalues = scipy.linalg.eigvalsh(laplacian, check_finite=False)
        # The sum over all pairs of the component: Kirchhoff's index.
        resistance += size * (1 / eigenvalues[1:]).sum()
        n_joined += size * (size - 1) / 2
        if n_components == 1:
            scale = 1 / np.sqrt(degree[members])
            normalized = laplacian * scale * scale[:, np.newaxis]
            connectivity = eigenvalues[1]
            gap = scipy.linalg.eigvalsh(normalized, subset_by_index=[1, 1])[0]
    return {
        "spectral_gap": float(gap),
        "algebraic_connectivity": float(connectivity),
        "average_effective_resistance": _ratio(resistance, n_joined),
    }


def _modularity(pairs, n_nodes, rng):
    """Of the communities that networkx's Louvain method finds."""
    if not pairs.size:
        return 0.0
    graph = nx.empty_graph(n_nodes)
    graph.add_edges_from(pairs.T.tolist())
    communities = nx.community.louvain_communities(graph, seed=draw_seed(rng))
    return float(nx.community.modularity(graph, communities))


def _path_measures(edges, n_nodes):
    """Count the paths from sources to sinks, and their edges, in whole numbers."""
    layers = longest_path_layers(edges, n_nodes)
    if layers.min() < 0:
        return {"log_n_paths": np.nan, "effective_depth": np.nan}
    is_source, is_sink = np.ones((2, n_nodes), dtype=bool)
    is_sink[edges[0]] = is_source[edges[1]] = False
    # Python's integers have no end: a few hundred layers have more paths than a float.
    n_paths = is_source.astype(int).tolist()
    n_steps = [0] * n_nodes
    in_order = np.argsort(layers[edges[1]], kind="stable")
    for source, target in edges[:, in_order].T.tolist():
        n_paths[target] += n_paths[source]
        n_steps[target] += n_steps[source] + n_paths[source]
    sinks = np.flatnonzero(is_sink).tolist()
    total = sum(n_paths[v] for v in sinks)
    return {
        "log_n_paths": log(total),
        "effective_depth": sum(n_steps[v] for v in sinks) / total,
    }


@njit(cache=True)
def _swap_ends(pairs, start, neighbors, chosen, turned, near_ring):
    """Try to turn the edges a-b and c-d into a-d and c-b, in place."""
    n_nodes = len(start) - 1
    for i in range(len(chosen)):
        first, second = chosen[i, 0], chosen[i, 1]
        a, b = pairs[0, first], pairs[1, first]
        c, d = pairs[0, second], pairs[1, second]
        if turned[i]:
            c, d = d, c
        if a in (c, d) or b in (c, d):
            continue
        if _place(start, neighbors, a, d) >= 0 or _place(start, neighbors, c, b) >= 0:
            continue
        if near_ring and (
            _on_ring(a, d, n_nodes) + _on_ring(c, b, n_nodes)
            > _on_ring(a, b, n_nodes) + _on_ring(c, d, n_nodes)
        ):
            continue
        for vertex, old, new in ((a, b, d), (b, a, c), (c, d, b), (d, c, a)):
            neighbors[_place(start, neighbors, vertex, old)] = new
        pairs[0, first], pairs[1, first] = a, d
        pairs[0, second], pairs[1, second] = c, b


@njit(cache=True)
def _place(start, neighbors, vertex, other):
    """Where the other is listed as a neighbour of the vertex; -1 if it is not."""
    for i in range(start[vertex], start[vertex + 1]):
        if neighbors[i] == other:
            return i
    return -1


@njit(cache=True)
def _on_ring(u, v, n_nodes):
    step = abs(u - v)
    return min(step, n_nodes - step)


@njit(cache=True)
def _local_efficiency(start, neighbors):
    """Average 1 / distance within the neighbours of every vertex."""
    n_nodes = len(start) - 1
    efficiency = np.zeros(n_nodes)
    inside = np.full(n_nodes, -1, dtype=np.int64)
    seen_from = np.full(n_nodes, -1, dtype=np.int64)
    distance, queue = np.empty((2, n_nodes), dtype=np.int64)
    for vertex in range(n_nodes):
        own = neighbors[start[vertex] : start[vertex + 1]]
        if len(own) < 2:
            continue
        for other in own:
            inside[other] = vertex
            # Of an earlier vertex.
            seen_from[other] = -1
        total = 0.0
        for source in own:
            queue[0], n_queued, i = source, 1, 0
            seen_from[source], distance[source] = source, 0
            while i < n_queued:
                here = queue[i]
                i += 1
                for k in range(start[here], start[here + 1]):
                    there = neighbors[k]
                    if inside[there] == vertex and seen_from[there] != source:
                        seen_from[there] = source
                        distance[there] = distance[here] + 1
                        total += 1 / distance[there]
                        queue[n_queued] = there
                        n_queued += 1
        efficiency[vertex] = total / (len(own) * (len(own) - 1))
    return efficiency


@njit(cache=True)
def _common_neighbors(pairs, start, neighbors):
    """Count the vertices that are joined to both ends of an edge."""
    common = np.zeros(pairs.shape[1], dtype=np.int64)
    joined_to = np.full(len(start) - 1, -1, dtype=np.int64)
    for e in range(pairs.shape[1]):
        u, v = pairs[0, e], pairs[1, e]
        for i in range(start[u], start[u + 1]):
            joined_to[neighbors[i]] = e
        for i in range(start[v], start[v + 1]):
            common[e] += joined_to[neighbors[i]] == e
    return common


@njit(cache=True)
def _near(start, neighbors):
    """Distances of all pairs, where 3 stands for more than 2 as well."""
    n_nodes = len(start) - 1
    near = np.full((n_nodes, n_nodes), 3, dtype=np.int8)
    for u in range(n_nodes):
        for i in range(start[u], start[u + 1]):
            v = neighbors[i]
            for j in range(start[v], start[v + 1]):
                near[u, neighbors[j]] = 2
        for i in range(start[u], start[u + 1]):
            near[u, neighbors[i]] = 1
        near[u, u] = 0
    return near


@njit(cache=True)
def _transport_costs(pairs, start, neighbors, near):
    """Find the cost of the cheapest transport between the ends of every edge.

    Of ends u and v with d >= d' neighbours all masses are multiples of 1 / (2 d d').
    Mass that both ends have at a vertex stays there: no way around is shorter. What u
    has left, d (d' - 1), goes to v: a plan that moves x to v and u to w instead costs
    no less than one with u to v and x to w, as x and w are neighbours of u and v.
    Then only neighbours of u give, and v takes no more than those that both ends share.
    """
    n_nodes = len(start) - 1
    costs = np.empty(pairs.shape[1])
    beside_u, beside_v = np.full((2, n_nodes), -1, dtype=np.int64)
    for e in range(pairs.shape[1]):
        u, v = pairs[0, e], pairs[1, e]
        if start[u + 1] - start[u] < start[v + 1] - start[v]:
            u, v = v, u
        d_u, d_v = start[u + 1] - start[u], start[v + 1] - start[v]
        for i in range(start[u], start[u + 1]):
            beside_u[neighbors[i]] = e
        for i in range(start[v], start[v + 1]):
            beside_v[neighbors[i]] = e
        givers, takers = np.empty(d_u, dtype=np.int64), np.empty(d_v, dtype=np.int64)
        supply, demand = np.empty(d_u, dtype=np.int64), np.empty(d_v, dtype=np.int64)
        n_givers = n_takers = 0
        for i in range(start[u], start[u + 1]):
            vertex = neighbors[i]
            if vertex != v and beside_v[vertex] != e:
                givers[n_givers], supply[n_givers] = vertex, d_v
                n_givers += 1
        for i in range(start[v], start[v + 1]):
            vertex = v if neighbors[i] == u else neighbors[i]
            amount = d_u - d_v if beside_u[vertex] == e else d_u
            if amount > 0:
                takers[n_takers], demand[n_takers] = vertex, amount
                n_takers += 1
        total = d_u * (d_v - 1)
        if n_givers:
            total += _cheapest(
                near,
                givers[:n_givers],
                takers[:n_takers],
                supply[:n_givers],
                demand[:n_takers],
            )
        costs[e] = total / (2 * d_u * d_v)
    return costs


@njit(cache=True)
def _cheapest(near, givers, takers, supply, demand):
    """Solve a transport problem whose costs are 1, 2 or 3; return the least cost.

    Givers have prices, takers have charges, and mass moves along tight pairs, whose
    cost is the price plus the charge: at first 1 and 0. When no more can be moved, the
    prices of the givers from which searches went in vain rise by 1, and the charges of
    the takers that these reached fall by 1 (the primal-dual method). A unit costs the
    price of the giver it leaves, whatever it takes back on its way. So all is moved in
    three rounds, for 1, 2 and 3 a unit, and the last needs no search: no pair costs
    more.

    Sets of takers and of givers are bits of words: 64 are compared at once.
    """
    n_givers, n_takers = len(givers), len(takers)
    n_words = (n_takers + 63) >> 6
    tight, within_two = np.zeros((2, n_givers, n_words), dtype=np.uint64)
    for i in range(n_givers):
        distances = near[givers[i]]
        for w in range(n_words):
            ones = twos = np.uint64(0)
            for k in range(min(64, n_takers - 64 * w)):
                distance = distances[takers[64 * w + k]]
                ones |= np.uint64(distance < 2) << np.uint64(k)
                twos |= np.uint64(distance < 3) << np.uint64(k)
            tight[i, w], within_two[i, w] = ones, twos
    flow = np.zeros((n_takers, n_givers), dtype=np.int64)
    # The givers of which a taker has something.
    sources = np.zeros((n_takers, (n_givers + 63) >> 6), dtype=np.uint64)
    risen = np.zeros((n_givers + 63) >> 6, dtype=np.uint64)
    fallen = np.zeros(n_words, dtype=np.uint64)
    cost = 3 * supply.sum()
    cost -= 2 * _move_all(tight, flow, sources, supply, demand, risen, fallen)
    for i in range(n_givers):
        has_risen = risen[i >> 6] & _bit(i)
        for w in range(n_words):
            if has_risen:
                tight[i, w] &= fallen[w]
                tight[i, w] |= within_two[i, w] & ~fallen[w]
            else:
                tight[i, w] &= ~fallen[w]
    return cost - _move_all(tight, flow, sources, supply, demand, risen, fallen)


@njit(cache=True)
def _move_all(tight, flow, sources, supply, demand, risen, fallen):
    """Move as much as tight pairs allow, and return how much.

    From a giver a search goes, breadth first, to takers, and on to the givers of which
    these have something, until a taker with demand is found. What searches in vain
    have reached is left in `risen` and `fallen`, and no later one goes there.
    """
    n_givers, n_words = tight.shape
    wanting, seen = np.zeros((2, n_words), dtype=np.uint64)
    for j in range(len(demand)):
        if demand[j] > 0:
            wanting[j >> 6] |= _bit(j)
    risen[:], fallen[:] = 0, 0
    reached = np.empty_like(risen)
    from_taker, queue = np.empty((2, n_givers), dtype=np.int64)
    from_giver = np.empty(len(demand), dtype=np.int64)
    moved = 0
    for first in range(n_givers):
        while supply[first] > 0 and not risen[first >> 6] & _bit(first):
            # Assigned as slices they would take longer than the search.
            for w in range(n_words):
                seen[w] = fallen[w]
            for w in range(len(risen)):
                reached[w] = risen[w]
            reached[first >> 6] |= _bit(first)
            queue[0], n_queued, n_checked, head, last = first, 1, 0, 0, -1
            while last < 0 and head < n_queued:
                if n_checked < n_queued:
                    # All that are queued, before the search goes on from any.
                    i = queue[n_checked]
                    n_checked += 1
                    for w in range(n_words):
                        ends = tight[i, w] & wanting[w]
                        if ends:
                            last = 64 * w + _lowest_bit(ends)
                            from_giver[last] = i
                            break
                else:
                    i = queue[head]
                    head += 1
                    n_queued = _go_on(
                        i,
                        tight,
                        sources,
                        seen,
                        reached,
                        from_giver,
                        from_taker,
                        queue,
                        n_queued,
                    )
            if last < 0:
                for w in range(n_words):
                    fallen[w] = seen[w]
                for w in range(len(risen)):
                    risen[w] = reached[w]
                break
            most = min(supply[first], demand[last])
            path = from_giver, from_taker
            amount = _move_along(flow, sources, path, first, last, most)
            supply[first] -= amount
            demand[last] -= amount
            if demand[last] == 0:
                wanting[last >> 6] ^= _bit(last)
            moved += amount
    return moved


@njit(cache=True)
def _go_on(
    giver, tight, sources, seen, reached, from_giver, from_taker, queue, n_queued
):
    """Queue the givers one step farther, and return how many are queued then."""
    for w in range(len(seen)):
        takers = tight[giver, w] & ~seen[w]
        seen[w] |= takers
        while takers:
            j = 64 * w + _lowest_bit(takers)
            takers &= takers - np.uint64(1)
            from_giver[j] = giver
            for x in range(len(reached)):
                givers = sources[j, x] & ~reached[x]
                reached[x] |= givers
                while givers:
                    i = 64 * x + _lowest_bit(givers)
                    givers &= givers - np.uint64(1)
                    from_taker[i] = j
                    queue[n_queued] = i
                    n_queued += 1
    return n_queued


@njit(cache=True)
def _move_along(flow, sources, path, first, last, most):
    """Move as much as the path to a taker allows, and return how much."""
    from_giver, from_taker = path
    amount = most
    i = from_giver[last]
    while i != first:
        amount = min(amount, flow[from_taker[i], i])
        i = from_giver[from_taker[i]]
    i = from_giver[last]
    flow[last, i] += amount
    sources[last, i >> 6] |= _bit(i)
    while i != first:
        j = from_taker[i]
        flow[j, i] -= amount
        if flow[j, i] == 0:
            sources[j, i >> 6] ^= _bit(i)
        i = from_giver[j]
        flow[j, i] += amount
        sources[j, i >> 6] |= _bit(i)
    return amount


@njit(cache=True)
def _bit(i):
    """Where the i-th of a set is in its word."""
    return np.uint64(1) << np.uint64(i & 63)


@njit(cache=True)
def _lowest_bit(word):
    """Find the place of the lowest bit: the number of places below it."""
    return count_bits((word & (~word + np.uint64(1))) - np.uint64(1))
