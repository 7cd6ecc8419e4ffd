"""The extra properties by their definitions: slow and obvious."""

from collections import Counter
from itertools import combinations, product
from math import log

import networkx as nx
import numpy as np
from scipy.optimize import linprog

from tests.graphs.networkx_reference import mean


def extra_reference(digraph):
    """All but those that are drawn: an acyclic directed graph, measured one by one."""
    graph = digraph.to_undirected()
    connected = nx.is_connected(graph) and len(graph) > 1
    lengths = dict(nx.all_pairs_shortest_path_length(graph))
    paths = source_to_sink_paths(digraph)
    return {
        "global_efficiency": nx.global_efficiency(graph),
        "local_efficiency": nx.local_efficiency(graph),
        "average_forman_curvature": mean(forman(graph, *e) for e in graph.edges),
        "average_ollivier_curvature": mean(ollivier(graph, *e) for e in graph.edges),
        "spectral_gap": second(nx.normalized_laplacian_spectrum(graph), connected),
        "algebraic_connectivity": second(nx.laplacian_spectrum(graph), connected),
        "average_effective_resistance": mean(resistances(graph)),
        "degree_entropy": entropy(d for _, d in graph.degree),
        "path_length_entropy": entropy(
            d for u in graph for v, d in lengths[u].items() if u != v
        ),
        "log_n_paths": log(len(paths)),
        "effective_depth": mean(len(path) - 1 for path in paths),
    }


def second(eigenvalues, connected):
    return np.sort(eigenvalues)[1] if connected else 0.0


def entropy(values):
    counts = np.array(list(Counter(values).values()))
    shares = counts / counts.sum()
    return -sum(p * log(p) for p in shares)


def resistances(graph):
    for nodes in nx.connected_components(graph):
        component = graph.subgraph(nodes)
        for u, v in combinations(component, 2):
            yield nx.resistance_distance(component, u, v)


def source_to_sink_paths(digraph):
    """Every one of them, as vertices."""
    sources = [v for v, d in digraph.in_degree if d == 0]
    sinks = {v for v, d in digraph.out_degree if d == 0}
    paths = [[v] for v in sources]
    ended = []
    while paths:
        path = paths.pop()
        if path[-1] in sinks:
            ended.append(path)
        paths += [[*path, v] for v in digraph.successors(path[-1])]
    return ended


def forman(graph, u, v):
    """Triangles are faces; an edge at an end is parallel unless it shares a face."""
    faces = set(graph[u]) & set(graph[v])
    parallel = (set(graph[u]) | set(graph[v])) - faces - {u, v}
    return len(faces) + 2 - len(parallel)


def ollivier(graph, u, v):
    """A linear program over all plans that turn one distribution into the other."""
    own, other = (mass(graph, end) for end in (u, v))
    pairs = list(product(own, other))
    cost = [nx.shortest_path_length(graph, x, y) for x, y in pairs]
    leave = [[float(x == here) for x, _ in pairs] for here in own]
    arrive = [[float(y == here) for _, y in pairs] for here in other]
    plan = linprog(
        cost, A_eq=leave + arrive, b_eq=[*own.values(), *other.values()], method="highs"
    )
    return 1 - plan.fun


def mass(graph, vertex):
    """Half stays, half is spread over the neighbours."""
    spread = dict.fromkeys(graph[vertex], 0.5 / graph.degree[vertex])
    return {vertex: 0.5, **spread}
