"""From graphs of networkx to arrays of edges."""

import networkx as nx
import pytest

from robustkit.graphs import LayeredGraph, graph_properties
from robustkit.graphs._conversion import directed_edges


def test_index_is_the_place_in_the_graph():
    graph = nx.Graph([("b", "a"), ("c", "a")])
    edges, labels = directed_edges(graph)
    assert labels == ("b", "a", "c")
    assert edges.T.tolist() == [[0, 1], [1, 2]]


@pytest.mark.parametrize("function", [LayeredGraph.from_networkx, graph_properties])
@pytest.mark.parametrize(
    ("graph", "error", "message"),
    [
        ("ring", TypeError, "must be a networkx graph. Got 'ring'"),
        (nx.Graph(), ValueError, "needs at least one vertex. Got an empty graph"),
        (nx.MultiGraph([(0, 1)]), ValueError, "must not be a multigraph"),
        (nx.MultiDiGraph([(0, 1)]), ValueError, "must not be a multigraph"),
        (nx.Graph([(0, 1), ("x", "x")]), ValueError, "no self-loops.* at vertex 'x'"),
        (nx.DiGraph([(7, 8), (8, 8), (9, 9)]), ValueError, "no self-l.* at vertex 8;"),
    ],
)
def test_bad_graphs_are_refused(function, graph, error, message):
    with pytest.raises(error, match=message):
        function(graph)


def test_the_advice_on_self_loops_works():
    graph = nx.Graph([(0, 1), (1, 1)])
    graph.remove_edges_from(list(nx.selfloop_edges(graph)))
    assert directed_edges(graph)[0].tolist() == [[0], [1]]
