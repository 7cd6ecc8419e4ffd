"""Random graphs: every generator by its name.

Each function takes ``n_nodes`` and a ``RandomState``, and what it needs of a
:class:`GraphPrior`'s parameters, and returns an undirected graph without self-loops and
parallel edges. Its vertices are the integers below ``n_nodes``, in order.
"""

from math import pi

import networkx as nx
import numpy as np
from scipy.optimize import brentq
from scipy.spatial import cKDTree

__all__ = ["GENERATORS"]


def watts_strogatz(n_nodes, rng, *, n_neighbors, rewiring):
    """Draw a small world, rewiring both ends of an edge independently.

    This is igraph's flavour. Self-loops and parallel edges that come up are dropped,
    so that a few edges are lost; a vertex may be left without any.
    """
    _check_ring(n_nodes, n_neighbors)
    start = np.repeat(np.arange(n_nodes), n_neighbors)
    step = np.tile(np.arange(1, n_neighbors + 1), n_nodes)
    ends = np.stack([start, (start + step) % n_nodes])
    rewired = rng.uniform(size=ends.shape) < rewiring
    ends[rewired] = rng.randint(n_nodes, size=rewired.sum())
    return _graph(n_nodes, ends[:, ends[0] != ends[1]].T.tolist())


def watts_strogatz_networkx(n_nodes, rng, *, n_neighbors, rewiring):
    """Draw a small world, rewiring the far end of an edge only.

    This is networkx's flavour: no edge is lost, and no vertex is left with fewer than
    `n_neighbors` edges.
    """
    _check_ring(n_nodes, n_neighbors)
    drawn = nx.watts_strogatz_graph(n_nodes, 2 * n_neighbors, rewiring, seed=rng)
    return _graph(n_nodes, drawn.edges)


def erdos_renyi(n_nodes, rng, *, edge_probability):
    """Join every two vertices with the same probability, independently."""
    drawn = nx.fast_gnp_random_graph(n_nodes, edge_probability, seed=rng)
    return _graph(n_nodes, drawn.edges)


def barabasi_albert(n_nodes, rng, *, n_attachments):
    """Let vertices come one by one, each joining well-joined ones by preference."""
    if n_attachments >= n_nodes:
        raise ValueError(
            f"n_attachments={n_attachments} must be below n_nodes={n_nodes}: a vertex "
            "attaches to that many others."
        )
    drawn = nx.barabasi_albert_graph(n_nodes, n_attachments, seed=rng)
    return _graph(n_nodes, drawn.edges)


def random_regular(n_nodes, rng, *, n_neighbors):
    """Give every vertex the degree of the ring, and let chance do the rest."""
    _check_ring(n_nodes, n_neighbors)
    drawn = nx.random_regular_graph(2 * n_neighbors, n_nodes, seed=rng)
    return _graph(n_nodes, drawn.edges)


def stochastic_block(n_nodes, rng, *, edge_probability, n_blocks, rewiring):
    """Join vertices of one block more often than vertices of two blocks.

    The blocks are ranges of vertices, of one size or nearly so. Two vertices are joined
    with `edge_probability` within a block, and with `rewiring` times that between two.
    """
    if n_blocks > n_nodes:
        raise ValueError(
            f"n_blocks={n_blocks} must be at most n_nodes={n_nodes}: a block holds at "
            "least one vertex."
        )
    sizes = [len(block) for block in np.array_split(np.arange(n_nodes), n_blocks)]
    probabilities = np.full((n_blocks, n_blocks), rewiring * edge_probability)
    np.fill_diagonal(probabilities, edge_probability)
    drawn = nx.stochastic_block_model(sizes, probabilities, seed=rng)
    return _graph(n_nodes, drawn.edges)


def geometric(n_nodes, rng, *, edge_probability):
    """Scatter vertices over the unit square, and join those that are near.

    How near is chosen so that two vertices are joined with `edge_probability`.
    """
    points = rng.uniform(size=(n_nodes, 2))
    radius = _radius(edge_probability)
    pairs = cKDTree(points).query_pairs(radius, output_type="ndarray")
    return _graph(n_nodes, pairs.tolist())


GENERATORS = {
    "watts_strogatz": (watts_strogatz, ("n_neighbors", "rewiring")),
    "watts_strogatz_networkx": (watts_strogatz_networkx, ("n_neighbors", "rewiring")),
    "erdos_renyi": (erdos_renyi, ("edge_probability",)),
    "barabasi_albert": (barabasi_albert, ("n_attachments",)),
    "random_regular": (random_regular, ("n_neighbors",)),
    "stochastic_block": (
        stochastic_block,
        ("edge_probability", "n_blocks", "rewiring"),
    ),
    "geometric": (geometric, ("edge_probability",)),
}
"""Name -> the function and the parameters of a prior that it uses."""


def _graph(n_nodes, edges):
    # Built afresh because some generators of networkx leave the vertices in the order
    # in which they met them, and the order is what orients a graph.
    graph = nx.empty_graph(n_nodes)
    graph.add_edges_from(edges)
    return graph


def _check_ring(n_nodes, n_neighbors):
    if 2 * n_neighbors >= n_nodes:
        raise ValueError(
            f"n_neighbors={n_neighbors} must be below n_nodes / 2 = {n_nodes / 2:g}: "
            "a vertex has that many neighbours on each side."
        )


def _radius(probability):
    """Find the distance that two random points keep below with a probability."""
    return brentq(lambda r: _distance_cdf(r) - probability, 0, np.sqrt(2))


def _distance_cdf(r):
    """Tell how likely two uniform points of the unit square are within `r`."""
    if r <= 1:
        return r**2 * (pi - 8 / 3 * r + r**2 / 2)
    root = np.sqrt(r**2 - 1)
    return (
        1 / 3
        + (pi - 2) * r**2
        - r**4 / 2
        + (8 * r**2 + 4) / 3 * root
        - 4 * r**2 * np.arctan(root)
    )
