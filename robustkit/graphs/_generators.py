"""Random graphs: every generator by its name.

Each function takes ``n_nodes``, a ``RandomState`` and those parameters of a
:class:`GraphPrior` that it uses, and returns the edges of an undirected graph: an array
of shape (2, n_edges) without self-loops, for `LayeredGraph.from_edges`, which keeps one
of parallel edges.
"""

from collections.abc import Callable
from math import pi

import networkx as nx
import numpy as np
from numpy.random import RandomState
from numpy.typing import NDArray
from scipy.optimize import brentq
from scipy.spatial import cKDTree

__all__ = ["GENERATORS"]


def watts_strogatz(
    n_nodes: int, rng: RandomState, *, n_neighbors: int, rewiring: float
) -> NDArray:
    """Draw a small world, rewiring both ends of an edge independently.

    This is igraph's variant. Self-loops and parallel edges are dropped, so a few edges
    are lost, and a vertex may be left without any.
    """
    _check_ring(n_nodes, n_neighbors)
    start = np.repeat(np.arange(n_nodes), n_neighbors)
    step = np.tile(np.arange(1, n_neighbors + 1), n_nodes)
    ends = np.stack([start, (start + step) % n_nodes])
    rewired = rng.uniform(size=ends.shape) < rewiring
    ends[rewired] = rng.randint(n_nodes, size=rewired.sum())
    return ends[:, ends[0] != ends[1]]


def watts_strogatz_networkx(
    n_nodes: int, rng: RandomState, *, n_neighbors: int, rewiring: float
) -> NDArray:
    """Draw a small world, rewiring the far end of an edge only.

    This is networkx's variant: no edge is lost, and every vertex keeps at least
    `n_neighbors` edges.
    """
    _check_ring(n_nodes, n_neighbors)
    drawn = nx.watts_strogatz_graph(n_nodes, 2 * n_neighbors, rewiring, seed=rng)
    return _edges_of(drawn)


def erdos_renyi(n_nodes: int, rng: RandomState, *, edge_probability: float) -> NDArray:
    """Join every two vertices with the same probability, independently."""
    drawn = nx.fast_gnp_random_graph(n_nodes, edge_probability, seed=rng)
    return _edges_of(drawn)


def barabasi_albert(n_nodes: int, rng: RandomState, *, n_attachments: int) -> NDArray:
    """Add vertices one by one, each attached preferentially to those of high degree."""
    if n_attachments >= n_nodes:
        raise ValueError(
            f"n_attachments={n_attachments} must be below n_nodes={n_nodes}: a vertex "
            "attaches to that many others."
        )
    drawn = nx.barabasi_albert_graph(n_nodes, n_attachments, seed=rng)
    return _edges_of(drawn)


def random_regular(n_nodes: int, rng: RandomState, *, n_neighbors: int) -> NDArray:
    """Give every vertex the degree of the ring, and draw its neighbours at random."""
    _check_ring(n_nodes, n_neighbors)
    drawn = nx.random_regular_graph(2 * n_neighbors, n_nodes, seed=rng)
    return _edges_of(drawn)


def stochastic_block(
    n_nodes: int,
    rng: RandomState,
    *,
    edge_probability: float,
    n_blocks: int,
    rewiring: float,
) -> NDArray:
    """Join two vertices more often within a block than between blocks.

    Blocks are ranges of vertices of (nearly) equal size. Two vertices are joined with
    `edge_probability` within a block, and `rewiring` times that between blocks.
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
    return _edges_of(drawn)


def geometric(n_nodes: int, rng: RandomState, *, edge_probability: float) -> NDArray:
    """Scatter vertices over the unit square, and join those within a radius.

    The radius is chosen so that two vertices are joined with `edge_probability`.
    """
    points = rng.uniform(size=(n_nodes, 2))
    radius = _radius(edge_probability)
    pairs = cKDTree(points).query_pairs(radius, output_type="ndarray")
    return pairs.T


GENERATORS: dict[str, tuple[Callable[..., NDArray], tuple[str, ...]]] = {
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
"""Name -> the function, and the parameters of a prior that it uses."""


def _edges_of(graph: nx.Graph) -> NDArray:
    """Read the edges of a graph whose vertices are the integers below their number."""
    return np.array(list(graph.edges), dtype=np.intp).reshape(-1, 2).T


def _check_ring(n_nodes: int, n_neighbors: int) -> None:
    if 2 * n_neighbors >= n_nodes:
        raise ValueError(
            f"n_neighbors={n_neighbors} must be below n_nodes / 2 = {n_nodes / 2:g}: "
            "a vertex has that many neighbours on each side."
        )


def _radius(probability: float) -> float:
    """Find the radius within which two random points lie with a probability."""
    return brentq(lambda r: _distance_cdf(r) - probability, 0, np.sqrt(2))


def _distance_cdf(r: float) -> float:
    """Probability that two uniform points of the unit square are within `r`."""
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
