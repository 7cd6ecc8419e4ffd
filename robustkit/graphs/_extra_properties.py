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
    distance_counts,
    triangle_weights,
)

__all__ = ["average_curvatures", "extra_properties", "swap_ends"]

# Their spectra are those of dense matrices: 128 MiB each at this size.
_MOST_NODES = 4000

# Of the products of the degrees at the two ends, over the edges: what the transport
# problems of the curvature together take. This many are a minute or so.
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

    Mass that both ends have at a vertex stays there: no way around is shorter. Of
    ends with d and d' neighbours all masses are multiples of 1 / (2 d d').
    """
    n_nodes = len(start) - 1
    costs = np.empty(pairs.shape[1])
    excess = np.zeros(n_nodes, dtype=np.int64)
    for e in range(pairs.shape[1]):
        u, v = pairs[0, e], pairs[1, e]
        d_u, d_v = start[u + 1] - start[u], start[v + 1] - start[v]
        excess[u] += d_u * d_v
        excess[v] -= d_u * d_v
        for i in range(start[u], start[u + 1]):
            excess[neighbors[i]] += d_v
        for i in range(start[v], start[v + 1]):
            excess[neighbors[i]] -= d_u
        givers = np.empty(d_u + d_v, dtype=np.int64)
        takers = np.empty(d_u + d_v, dtype=np.int64)
        supply = np.empty(d_u + d_v, dtype=np.int64)
        demand = np.empty(d_u + d_v, dtype=np.int64)
        n_givers = n_takers = 0
        for end in (u, v):
            for i in range(start[end], start[end + 1]):
                # Each end is a neighbour of the other.
                vertex = neighbors[i]
                if excess[vertex] > 0:
                    givers[n_givers], supply[n_givers] = vertex, excess[vertex]
                    n_givers += 1
                elif excess[vertex] < 0:
                    takers[n_takers], demand[n_takers] = vertex, -excess[vertex]
                    n_takers += 1
                excess[vertex] = 0
        distance = np.empty((n_givers, n_takers), dtype=np.int64)
        for i in range(n_givers):
            for j in range(n_takers):
                distance[i, j] = near[givers[i], takers[j]]
        total = _cheapest(distance, supply[:n_givers], demand[:n_takers])
        costs[e] = total / (2 * d_u * d_v)
    return costs


@njit(cache=True)
def _cheapest(cost, supply, demand):
    """Solve a transport problem in integers, and return the cost of its solution.

    Prices are raised until all is moved along pairs that cost exactly the difference
    of the prices (the primal-dual method). `supply` and `demand`, of equal sums, are
    used up.
    """
    n_givers, n_takers = cost.shape
    flow = np.zeros((n_givers, n_takers), dtype=np.int64)
    price, charge = np.zeros(n_givers, dtype=np.int64), np.zeros(n_takers, np.int64)
    path = (
        np.empty(n_givers, dtype=np.int64),
        np.empty(n_takers, dtype=np.int64),
        np.empty(n_givers, dtype=np.int64),
    )
    left = supply.sum() - _move_directly(cost, price, charge, flow, supply, demand)
    while left > 0:
        last = _find_path(cost, price, charge, flow, supply, demand, path)
        if last >= 0:
            left -= _move_along(flow, supply, demand, path, last)
        else:
            _raise_prices(cost, price, charge, path)
            left -= _move_directly(cost, price, charge, flow, supply, demand)
    return (flow * cost).sum()


@njit(cache=True)
def _move_directly(cost, price, charge, flow, supply, demand):
    """Move what can be moved without taking anything back; return how much."""
    moved = 0
    for i in range(len(supply)):
        for j in range(len(demand)):
            if supply[i] == 0:
                break
            if demand[j] > 0 and cost[i, j] == price[i] + charge[j]:
                amount = min(supply[i], demand[j])
                flow[i, j] += amount
                supply[i] -= amount
                demand[j] -= amount
                moved += amount
    return moved


@njit(cache=True)
def _find_path(cost, price, charge, flow, supply, demand, path):
    """Search breadth first for a taker with demand, -1 if none can be reached.

    `path` says who led to each giver and taker: -2 is nobody, who was not reached, and
    -1 stands for a giver where the search began.
    """
    from_taker, from_giver, queue = path
    from_taker[:], from_giver[:] = -2, -2
    n_queued = 0
    for i in range(len(supply)):
        if supply[i] > 0:
            from_taker[i], queue[n_queued] = -1, i
            n_queued += 1
    head = 0
    while head < n_queued:
        i = queue[head]
        head += 1
        for j in range(len(demand)):
            if from_giver[j] != -2 or cost[i, j] != price[i] + charge[j]:
                continue
            from_giver[j] = i
            if demand[j] > 0:
                return j
            for k in range(len(supply)):
                if flow[k, j] > 0 and from_taker[k] == -2:
                    from_taker[k], queue[n_queued] = j, k
                    n_queued += 1
    return -1


@njit(cache=True)
def _raise_prices(cost, price, charge, path):
    """Raise those of what was reached, until one more pair costs their difference."""
    from_taker, from_giver, _ = path
    step = np.int64(2**62)
    for i in range(len(price)):
        if from_taker[i] != -2:
            for j in range(len(charge)):
                if from_giver[j] == -2:
                    step = min(step, cost[i, j] - price[i] - charge[j])
    for i in range(len(price)):
        if from_taker[i] != -2:
            price[i] += step
    for j in range(len(charge)):
        if from_giver[j] != -2:
            charge[j] -= step


@njit(cache=True)
def _move_along(flow, supply, demand, path, last):
    """Move as much as the path to a taker allows, and return how much."""
    from_taker, from_giver, _ = path
    amount = demand[last]
    i = from_giver[last]
    while from_taker[i] >= 0:
        amount = min(amount, flow[i, from_taker[i]])
        i = from_giver[from_taker[i]]
    amount = min(amount, supply[i])
    supply[i] -= amount
    demand[last] -= amount
    i = from_giver[last]
    flow[i, last] += amount
    while from_taker[i] >= 0:
        j = from_taker[i]
        flow[i, j] -= amount
        i = from_giver[j]
        flow[i, j] += amount
    return amount
