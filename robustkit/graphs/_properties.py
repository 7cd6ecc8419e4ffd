"""Measures of a graph, by the names and with the values of networkx."""

from robustkit.graphs._conversion import directed_edges
from robustkit.graphs._layered_graph import LayeredGraph
from robustkit.graphs._measures import measure

__all__ = ["graph_properties"]


def graph_properties(graph, *, directed=False):
    """Measure a graph.

    The values are networkx's, computed in bulk: the distances from a thousand vertices
    at once, and from them everything that rests on shortest paths.

    Parameters
    ----------
    graph : LayeredGraph, networkx.Graph or networkx.DiGraph
        At least one vertex, no self-loops and no parallel edges. A directed graph may
        have cycles.

    directed : bool, default=False
        Whether the directions of the edges count. An undirected graph is directed from
        the lower to the higher index, the place of a vertex in ``graph.nodes``.

    Returns
    -------
    properties : Series
        By name:

        - `n_nodes`, `n_edges`, `density`, `n_components` (weakly connected ones of a
          directed graph);
        - `average_path_length`: mean distance over the pairs that a path joins;
        - `diameter`, `radius`, `average_eccentricity`: largest, smallest and mean
          eccentricity, which is the distance to the farthest vertex that can be
          reached;
        - `average_betweenness`, `average_edge_betweenness`, `average_closeness`: means
          of networkx's normalised centralities. Closeness is Wasserman and Faust's,
          which weighs a vertex by the share of the graph that reaches it;
        - `average_clustering`, `degree_mean`, `degree_std`, `degree_min`, `degree_max`
          (in- and out-degree together), `assortativity` (of the degrees; if
          `directed`, of out-degree at the source and in-degree at the target);
        - `n_layers`, `n_sources`, `n_sinks` of the directed graph, whatever `directed`
          says.

        All are finite, with two exceptions: `assortativity` is NaN where the degrees do
        not vary, and `n_layers` is NaN if there is a cycle. A mean over nothing is 0.

    See Also
    --------
    LayeredGraph : A directed acyclic graph in layers.
    GraphPrior : Draws such graphs at random.

    Notes
    -----
    Memory grows with the number of vertices and edges, time with the product of the
    two: some seconds for 50,000 vertices with short paths between them, minutes for a
    chain of as many.

    A shortest path of length :math:`d` passes :math:`d - 1` inner vertices and
    :math:`d` edges. In a connected graph with average path length :math:`L`, the
    average betweenness is therefore exactly :math:`(L - 1) / (n - 2)`, and the average
    edge betweenness :math:`L / m`: among graphs of one size they tell nothing that the
    path length does not.

    Examples
    --------
    >>> import networkx as nx
    >>> from robustkit.graphs import graph_properties
    >>> properties = graph_properties(nx.path_graph(4))
    >>> properties[["n_edges", "diameter", "radius", "n_layers"]]
    n_edges     3.0
    diameter    3.0
    radius      2.0
    n_layers    4.0
    dtype: float64
    """
    if isinstance(graph, LayeredGraph):
        return graph.properties(directed=directed)
    edges, labels = directed_edges(graph)
    return measure(edges, len(labels), directed=directed)
