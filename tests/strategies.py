"""Hypothesis strategies that several rooms share."""

import networkx as nx
from hypothesis import strategies as st

__all__ = ["dag_edges", "seeds", "undirected_graphs"]

seeds = st.integers(0, 2**32 - 1)


@st.composite
def dag_edges(draw, max_nodes=12):
    """(edges, n_nodes) of a directed acyclic graph of any shape.

    Vertices are numbered in any way, edges come in any order, some more than once;
    isolated vertices, several components and a single vertex are among them.
    """
    n_nodes = draw(st.integers(1, max_nodes))
    order = draw(st.permutations(range(n_nodes)))
    place = st.integers(0, n_nodes - 1)
    pairs = draw(st.lists(st.tuples(place, place), max_size=3 * n_nodes))
    edges = [(order[min(pair)], order[max(pair)]) for pair in pairs if len({*pair}) > 1]
    return [[u for u, _ in edges], [v for _, v in edges]], n_nodes


@st.composite
def undirected_graphs(draw, max_nodes=12):
    """Simple networkx graphs, connected or not, with at least one vertex."""
    n_nodes = draw(st.integers(1, max_nodes))
    n_edges = draw(st.integers(0, n_nodes * (n_nodes - 1) // 2))
    return nx.gnm_random_graph(n_nodes, n_edges, seed=draw(seeds))
