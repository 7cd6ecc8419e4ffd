"""Every property by its definition, through networkx: slow and obvious."""

import warnings

import networkx as nx
import numpy as np


def networkx_properties(graph, *, directed):
    """What `graph_properties` promises, one networkx call after another.

    Means over nothing are 0. `graph` is an undirected graph whose vertices are their
    own indices, or a directed one.
    """
    digraph = graph if graph.is_directed() else along_the_index(graph)
    if directed:
        graph = digraph
        n_components = nx.number_weakly_connected_components(graph)
    else:
        graph = digraph.to_undirected()
        n_components = nx.number_connected_components(graph)
    distances = dict(nx.all_pairs_shortest_path_length(graph))
    lengths = [d for u in graph for v, d in distances[u].items() if u != v]
    eccentricity = [max(distances[u].values()) for u in graph]
    degrees = [d for _, d in graph.degree]
    acyclic = nx.is_directed_acyclic_graph(digraph)
    return {
        "n_nodes": len(graph),
        "n_edges": graph.number_of_edges(),
        "density": nx.density(graph),
        "n_components": n_components,
        "average_path_length": mean(lengths),
        "diameter": max(eccentricity),
        "radius": min(eccentricity),
        "average_eccentricity": mean(eccentricity),
        "average_betweenness": mean(nx.betweenness_centrality(graph).values()),
        "average_edge_betweenness": mean(
            nx.edge_betweenness_centrality(graph).values()
        ),
        "average_closeness": mean(nx.closeness_centrality(graph).values()),
        "average_clustering": nx.average_clustering(graph),
        "degree_mean": np.mean(degrees),
        "degree_std": np.std(degrees),
        "degree_min": min(degrees),
        "degree_max": max(degrees),
        "assortativity": assortativity(graph),
        "n_layers": len([*nx.topological_generations(digraph)]) if acyclic else np.nan,
        "n_sources": sum(d == 0 for _, d in digraph.in_degree),
        "n_sinks": sum(d == 0 for _, d in digraph.out_degree),
    }


def along_the_index(graph):
    """Direct every edge from the lower to the higher vertex."""
    digraph = nx.DiGraph()
    digraph.add_nodes_from(graph)
    digraph.add_edges_from((min(edge), max(edge)) for edge in graph.edges)
    return digraph


def assortativity(graph):
    """networkx's, or NaN where the degrees at an end do not vary."""
    out_degree = graph.out_degree if graph.is_directed() else graph.degree
    in_degree = graph.in_degree if graph.is_directed() else graph.degree
    at_the_ends = (
        {out_degree[u] for u, _ in graph.edges},
        {in_degree[v] for _, v in graph.edges},
    )
    if not graph.is_directed():
        at_the_ends = (at_the_ends[0] | at_the_ends[1],) * 2
    if min(map(len, at_the_ends)) < 2:
        return np.nan
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        return nx.degree_assortativity_coefficient(graph)


def mean(values):
    """0 if there are none."""
    values = list(values)
    return np.mean(values) if values else 0.0
