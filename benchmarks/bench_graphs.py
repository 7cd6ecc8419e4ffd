"""Measuring a graph: the whole set of properties, against those who compute them."""

from functools import partial

import networkx as nx
import numpy as np

from benchmarks import peers
from benchmarks.harness import Case, Growth
from robustkit.graphs import GraphPrior, graph_properties
from robustkit.graphs._extra_properties import average_curvatures
from tests.graphs.networkx_reference import networkx_properties

PEERS = ("igraph", "GraphRicciCurvature")
# (n_nodes, n_neighbors, rewiring) of the graphs that networks are built from.
SIZES = [(300, 4, 0.5), (500, 2, 0.7), (400, 10, 0.9)]


def cases():
    """All properties at once, along the directions and without them."""
    for size in SIZES:
        graph = _graph(*size)
        for directed in (False, True):
            yield from _cases(graph, size, directed)
        yield from _curvatures(graph, size)
        yield _extra(graph, size)
    for directed in (False, True):
        yield from _growths(directed)


def _graph(n_nodes, n_neighbors, rewiring):
    prior = GraphPrior(n_nodes=n_nodes, n_neighbors=n_neighbors, rewiring=rewiring)
    return prior.sample(random_state=0)


def _peers():
    """Name, function and note of each."""
    yield (
        f"networkx {nx.__version__}",
        _networkx_side,
        "distances between all pairs computed once for both",
    )
    if peers.load("igraph") is not None:
        yield (
            peers.title("igraph"),
            _igraph_side,
            "layers, sources and sinks are ours on both sides",
        )


def _cases(graph, size, directed):
    for (peer, side, note), limit in zip(_peers(), (0.1, None), strict=False):
        yield Case(
            name=f"all 20 properties, {_kind(directed)} {size}",
            peer=peer,
            ours=partial(graph_properties, graph, directed=directed),
            theirs=side(graph, directed),
            same=_same,
            limit=limit,
            note=note,
        )


def _growths(directed):
    for peer, side, note in _peers():

        def sides(n_nodes, side=side):
            graph = _graph(n_nodes, 4, 0.5)
            ours = partial(graph_properties, graph, directed=directed)
            return ours, side(graph, directed), _same

        yield Growth(
            name=f"all 20 properties, {_kind(directed)} (nodes, 4, 0.5)",
            peer=peer,
            along="nodes",
            sizes=(75, 150, 300, 600, 1200),
            sides=sides,
            note=note,
        )


def _curvatures(graph, size):
    """Ollivier's curvature, exact, and Forman's, of every edge."""
    if peers.load("GraphRicciCurvature") is None:
        return
    ollivier = peers.load("GraphRicciCurvature.OllivierRicci").OllivierRicci
    forman = peers.load("GraphRicciCurvature.FormanRicci").FormanRicci
    undirected = graph.to_networkx().to_undirected()

    def theirs():
        one = ollivier(undirected, alpha=0.5, method="OTD", proc=1, verbose="ERROR")
        one.compute_ricci_curvature()
        other = forman(undirected, verbose="ERROR")
        other.compute_ricci_curvature()
        ricci = one.G.edges(data="ricciCurvature")
        faces = other.G.edges(data="formanCurvature")
        return {
            "average_ollivier_curvature": np.mean([c for *_, c in ricci]),
            "average_forman_curvature": np.mean([c for *_, c in faces]),
        }

    yield Case(
        name=f"average curvatures {size}",
        peer=peers.title("GraphRicciCurvature"),
        ours=partial(average_curvatures, graph.edges, graph.n_nodes),
        theirs=theirs,
        same=_same,
        limit=0.1,
        note="half of the mass stays; one process on both sides",
    )


def _extra(graph, size):
    """What networkx has of the extra properties, from the same undirected graph."""
    undirected = graph.to_networkx().to_undirected()
    n_pairs = graph.n_nodes * (graph.n_nodes - 1) / 2

    def theirs():
        found = {
            "global_efficiency": nx.global_efficiency(undirected),
            "local_efficiency": nx.local_efficiency(undirected),
            "algebraic_connectivity": np.linalg.eigvalsh(
                nx.laplacian_matrix(undirected).toarray().astype(float)
            )[1],
        }
        if nx.is_connected(undirected):
            # The sum over all pairs, from the spectrum.
            found["average_effective_resistance"] = (
                nx.effective_graph_resistance(undirected) / n_pairs
            )
        return found

    return Case(
        name=f"extra properties {size}",
        peer=f"networkx {nx.__version__}",
        ours=partial(graph_properties, graph, extra=True),
        theirs=theirs,
        same=_same,
        limit=1.0,
        note="ours are all 34, theirs four of them",
    )


def _kind(directed):
    return "directed" if directed else "undirected"


def _networkx_side(graph, directed):
    return partial(networkx_properties, graph.to_networkx(), directed=directed)


def _igraph_side(graph, directed):
    igraph = peers.load("igraph")
    edges = graph.edges.T.tolist()
    peer = igraph.Graph(graph.n_nodes, edges, directed=directed)
    return partial(_igraph_properties, peer, graph)


def _same(ours, theirs):
    return all(np.isclose(ours[name], value) for name, value in theirs.items())


def _igraph_properties(graph, layered):
    """The same properties, by the names that igraph gives them."""
    n_nodes, directed = graph.vcount(), graph.is_directed()
    n_pairs = (n_nodes - 1) * (n_nodes - 2) / (1 if directed else 2)
    n_edge_pairs = n_nodes * (n_nodes - 1) / (1 if directed else 2)
    eccentricity = np.array(graph.eccentricity(mode="out"))
    degree = np.array(graph.degree())
    found = {
        "n_nodes": n_nodes,
        "n_edges": graph.ecount(),
        "density": graph.density(),
        "n_components": len(graph.connected_components(mode="weak")),
        "average_path_length": graph.average_path_length(directed=directed),
        "diameter": graph.diameter(directed=directed),
        "radius": eccentricity.min(),
        "average_eccentricity": eccentricity.mean(),
        "average_betweenness": np.mean(graph.betweenness(directed=directed)) / n_pairs,
        "average_edge_betweenness": np.mean(graph.edge_betweenness(directed=directed))
        / n_edge_pairs,
        "average_closeness": _closeness(graph),
        "degree_mean": degree.mean(),
        "degree_std": degree.std(),
        "degree_min": degree.min(),
        "degree_max": degree.max(),
        "n_layers": layered.n_layers,
        "n_sources": len(layered.sources),
        "n_sinks": len(layered.sinks),
    }
    if not directed:
        # On directed graphs igraph means something else by these two.
        found["average_clustering"] = graph.transitivity_avglocal_undirected(
            mode="zero"
        )
        found["assortativity"] = graph.assortativity_degree()
    return found


def _closeness(graph):
    """Wasserman and Faust's, from igraph's closeness within what reaches a vertex."""
    n_others = graph.vcount() - 1
    closeness = np.nan_to_num(graph.closeness(mode="in", normalized=True))
    reached = np.array(graph.neighborhood_size(order=n_others, mode="in")) - 1
    return np.mean(closeness * reached / n_others)
