"""The loops of a mapper graph: cycles that no common sample fills.

Three nodes that share a sample fill the triangle between them, as in the nerve of a
cover. What is left are the holes: `count_loops` tells how many there are (the first
Betti number, over the integers modulo 2), `find_loops` which cycles go around them, the
shortest first.
"""

from collections import deque
from itertools import combinations

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

# Cycles that are looked at in search of the shortest ones. Beyond, the search starts
# from fewer nodes; then the loops found go around all holes, but longer ways may occur.
_MOST_CYCLES = 200_000


def filled_triangles(membership: csr_matrix) -> list[tuple[int, int, int]]:
    """List the triples of nodes, ascending, that share a sample."""
    n_nodes_of = np.diff(membership.indptr)
    rows = {
        tuple(
            sorted(membership.indices[membership.indptr[i] : membership.indptr[i + 1]])
        )
        for i in np.flatnonzero(n_nodes_of > 2)
    }
    found = {triple for row in rows for triple in combinations(map(int, row), 3)}
    return sorted(found)


def count_loops(
    edges: NDArray, n_nodes: int, triangles: list[tuple[int, int, int]]
) -> int:
    """Count the independent loops of a graph whose triangles are filled."""
    space = _CycleSpace(edges)
    rank = space.fill(triangles)
    return _cycle_rank(space.neighbors, n_nodes, len(edges)) - rank


def find_loops(
    edges: NDArray, n_nodes: int, triangles: list[tuple[int, int, int]]
) -> list[list[int]]:
    """Find the shortest independent loops, as many as there are.

    Each is a list of nodes: neighbours in it are joined, and so are the last and the
    first. It begins with its smallest node, and goes on to the smaller of its two
    neighbours.
    """
    space = _CycleSpace(edges)
    n_cycles = _cycle_rank(space.neighbors, n_nodes, len(edges))
    n_missing = n_cycles - space.fill(triangles)
    if n_missing == 0:
        return []
    core = _without_ends(space.neighbors)
    step = 1 + len(core) * n_cycles // _MOST_CYCLES
    roots = {*sorted(core)[::step], *_one_of_each_component(core)}
    cycles = {cycle for root in roots for cycle in _cycles_of(core, root)}
    loops = []
    for cycle in sorted(cycles, key=lambda c: (len(c), c)):
        if space.add(zip(cycle, (*cycle[1:], cycle[0]), strict=True)):
            loops.append(list(cycle))
            if len(loops) == n_missing:
                break
    return loops


class _CycleSpace:
    """Sums of cycles, modulo 2: a set of edges is the bits of an integer."""

    def __init__(self, edges):
        self._bits = {tuple(edge): 1 << k for k, edge in enumerate(edges.tolist())}
        self._basis: dict[int, int] = {}
        self.neighbors: dict[int, list[int]] = {}
        for i, j in sorted(self._bits):
            self.neighbors.setdefault(i, []).append(j)
            self.neighbors.setdefault(j, []).append(i)

    def fill(self, triangles):
        """Add the boundaries of triangles, and return how many were independent."""
        return sum(self.add(combinations(triple, 2)) for triple in triangles)

    def add(self, edges):
        """Add a cycle; return whether it is no sum of those added before."""
        cycle = 0
        for i, j in edges:
            cycle ^= self._bits[(i, j) if i < j else (j, i)]
        while cycle:
            highest = cycle.bit_length()
            known = self._basis.get(highest)
            if known is None:
                self._basis[highest] = cycle
                return True
            cycle ^= known
        return False


def _cycle_rank(neighbors, n_nodes, n_edges):
    """Edges that a spanning forest leaves over."""
    n_components = n_nodes - len(neighbors) + len(_one_of_each_component(neighbors))
    return n_edges - n_nodes + n_components


def _one_of_each_component(neighbors):
    seen: set[int] = set()
    nodes = []
    for node in neighbors:
        if node not in seen:
            nodes.append(node)
            seen |= set(_breadth_first(neighbors, node))
    return nodes


def _without_ends(neighbors):
    """Keep the nodes that may lie on a cycle: drop ends until there are none."""
    left = {node: set(near) for node, near in neighbors.items()}
    ends = [node for node, near in left.items() if len(near) < 2]
    while ends:
        node = ends.pop()
        for other in left.pop(node, ()):
            left[other].discard(node)
            if len(left[other]) == 1:
                ends.append(other)
    return {node: sorted(near) for node, near in left.items() if near}


def _breadth_first(neighbors, root):
    """Return the parent of every node that can be reached; the root's is -1."""
    parents, queue = {root: -1}, deque([root])
    while queue:
        node = queue.popleft()
        for other in neighbors[node]:
            if other not in parents:
                parents[other] = node
                queue.append(other)
    return parents


def _cycles_of(neighbors, root):
    """Yield the cycles that one edge closes with the shortest ways to a root."""
    parents = _breadth_first(neighbors, root)
    for i in parents:
        for j in neighbors[i]:
            if i < j and parents[i] != j and parents[j] != i:
                yield _in_order(_way_around(parents, i, j))


def _way_around(parents, i, j):
    """Return the nodes from i to j, through where their ways to the root meet."""
    from_i, from_j = [i], [j]
    while parents[from_i[-1]] >= 0:
        from_i.append(parents[from_i[-1]])
    place = {node: k for k, node in enumerate(from_i)}
    while from_j[-1] not in place:
        from_j.append(parents[from_j[-1]])
    return from_i[: place[from_j[-1]]] + from_j[::-1]


def _in_order(cycle):
    """Begin with the smallest node, and go on to the smaller of its neighbours."""
    first = cycle.index(min(cycle))
    cycle = cycle[first:] + cycle[:first]
    if cycle[-1] < cycle[1]:
        cycle = [cycle[0], *cycle[:0:-1]]
    return tuple(cycle)
