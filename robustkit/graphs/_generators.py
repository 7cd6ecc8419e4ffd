"""Random graphs: every generator by its name.

Each function takes ``n_nodes``, a ``RandomState`` and those parameters of a
:class:`GraphPrior` that it uses, and returns the edges of an undirected graph: an array
of shape (2, n_edges) without self-loops, for `LayeredGraph.from_edges`, which keeps one
of parallel edges.
"""

from collections.abc import Callable, Sequence
from math import pi

import networkx as nx
import numpy as np
from numpy.random import RandomState
from numpy.typing import NDArray
from scipy.optimize import brentq
from scipy.spatial import cKDTree

from robustkit.graphs._edges import undirected_pairs
from robustkit.graphs._extra_properties import swap_ends

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


def newman_watts(
    n_nodes: int, rng: RandomState, *, n_neighbors: int, rewiring: float
) -> NDArray:
    """Draw a small world by adding to a ring instead of rewiring it.

    For every edge of the ring a random one is added with probability `rewiring`: the
    graph is always connected.
    """
    _check_ring(n_nodes, n_neighbors)
    drawn = nx.newman_watts_strogatz_graph(n_nodes, 2 * n_neighbors, rewiring, seed=rng)
    return _edges_of(drawn)


def lattice(n_nodes: int, rng: RandomState, *, n_neighbors: int) -> NDArray:
    """Put vertices row by row on a square grid; nothing is random.

    A vertex is joined to the `n_neighbors` nearest in each of the four directions. The
    last row may be shorter.
    """
    side = int(np.ceil(np.sqrt(n_nodes)))
    start = np.arange(n_nodes)
    edges = []
    for step in range(1, n_neighbors + 1):
        in_row = start[start % side + step < side]
        edges += [
            np.stack([in_row, in_row + step]),
            np.stack([start, start + step * side]),
        ]
    edges = np.concatenate(edges, axis=1)
    return edges[:, edges[1] < n_nodes]


def relational(
    n_nodes: int,
    rng: RandomState,
    *,
    edge_probability: float,
    n_blocks: int,
    rewiring: float,
) -> NDArray:
    """Draw a small world, and let its vertices talk to their neighbours in rounds.

    The vertices of the small world stand in each of `n_blocks` rounds. One is joined to
    itself and to its neighbours in the next round. The small world is You's "WS-flex",
    a ring of any number of edges, `edge_probability` of all pairs, whose far ends are
    rewired. If `n_nodes` is no multiple of `n_blocks`, one vertex is missing in the
    last rounds.
    """
    if n_blocks > n_nodes:
        raise ValueError(
            f"n_blocks={n_blocks} must be at most n_nodes={n_nodes}: a round holds at "
            "least one vertex."
        )
    width = -(-n_nodes // n_blocks)
    joined = _flexible_small_world(width, rng, edge_probability, rewiring)
    np.fill_diagonal(joined, True)
    rounds = np.array_split(np.arange(n_nodes), n_blocks)
    edges = []
    for i in range(n_blocks - 1):
        here, there = rounds[i], rounds[i + 1]
        source, target = joined[: len(here), : len(there)].nonzero()
        edges.append(np.stack([here[source], there[target]]))
    return np.concatenate([np.empty((2, 0), dtype=np.intp), *edges], axis=1)


def _flexible_small_world(
    width: int, rng: RandomState, edge_probability: float, rewiring: float
) -> NDArray:
    """Return the adjacency matrix of a small world with a share of all edges."""
    n_edges = round(edge_probability * width * (width - 1) / 2)
    start = np.arange(width)
    ring, n_left = [], n_edges
    for step in range(1, width // 2 + 1):
        # Half way round, every edge would come twice.
        longest = start[: width // 2] if 2 * step == width else start
        if n_left < len(longest):
            longest = np.sort(rng.permutation(longest)[:n_left])
        ring.append(np.stack([longest, (longest + step) % width]))
        n_left -= len(longest)
    joined = np.zeros((width, width), dtype=bool)
    ring = np.concatenate([np.empty((2, 0), dtype=np.intp), *ring], axis=1)
    joined[ring[0], ring[1]] = joined[ring[1], ring[0]] = True
    for u, v in ring[:, rng.uniform(size=ring.shape[1]) < rewiring].T:
        free = np.flatnonzero(~joined[u])
        free = free[free != u]
        if len(free):
            other = rng.choice(free)
            joined[u, v] = joined[v, u] = False
            joined[u, other] = joined[other, u] = True
    return joined


def degree_sequence(
    n_nodes: int,
    rng: RandomState,
    *,
    degrees: Sequence[int] | NDArray | None,
    n_neighbors: int,
) -> NDArray:
    """Draw a graph in which every vertex has the degree that was given.

    By default that is ``2 * n_neighbors`` for all. Any graph with these degrees is
    taken at first, and the ends of its edges are then swapped at random.
    """
    if degrees is None:
        _check_ring(n_nodes, n_neighbors)
        degrees = np.full(n_nodes, 2 * n_neighbors)
    degrees = _check_degrees(degrees, n_nodes)
    # networkx numbers only those that have an edge.
    joined = np.flatnonzero(degrees)
    made = joined[_edges_of(nx.havel_hakimi_graph(degrees[joined].tolist()))]
    pairs, _ = undirected_pairs(made, n_nodes)
    return swap_ends(pairs, n_nodes, rng)


def _check_degrees(degrees: Sequence[int] | NDArray, n_nodes: int) -> NDArray:
    degrees = np.asarray(degrees)
    if degrees.shape != (n_nodes,) or degrees.dtype.kind not in "iu":
        raise ValueError(
            f"'degrees' must hold one integer for each of the n_nodes={n_nodes} "
            f"vertices. Got an array of shape {degrees.shape} and dtype "
            f"{degrees.dtype}."
        )
    reason = None
    if degrees.min() < 0 or degrees.max() >= n_nodes:
        worst = degrees.min() if degrees.min() < 0 else degrees.max()
        reason = f"a degree of {worst} is not between 0 and n_nodes - 1 = {n_nodes - 1}"
    elif degrees.sum() % 2:
        reason = f"their sum is {degrees.sum()}, and must be even"
    elif not nx.is_graphical(degrees.tolist()):
        reason = "the vertices of high degree need more others than there are"
    if reason is not None:
        raise ValueError(f"No graph has these 'degrees': {reason}.")
    return degrees


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
    "newman_watts": (newman_watts, ("n_neighbors", "rewiring")),
    "lattice": (lattice, ("n_neighbors",)),
    "relational": (relational, ("edge_probability", "n_blocks", "rewiring")),
    "degree_sequence": (degree_sequence, ("degrees", "n_neighbors")),
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
