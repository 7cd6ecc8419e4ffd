"""Walks over the edges of a graph, compiled: as sparse matrices they fill the memory.

A graph is given by the successors of its vertices, one vertex after the other: those of
``v`` are ``successors[start[v] : start[v + 1]]``.
"""

import numpy as np
from numba import njit

__all__ = ["follow_sources", "triangle_weights"]


@njit(cache=True)
def _count_bits(word):
    """Add up the bits of 64 in parallel: pairs, fours, bytes, and all bytes at once."""
    word -= (word >> np.uint64(1)) & np.uint64(0x5555555555555555)
    pairs = np.uint64(0x3333333333333333)
    word = (word & pairs) + ((word >> np.uint64(2)) & pairs)
    word = (word + (word >> np.uint64(4))) & np.uint64(0x0F0F0F0F0F0F0F0F)
    return np.int64((word * np.uint64(0x0101010101010101)) >> np.uint64(56))


@njit(cache=True)
def follow_sources(start, successors, first, n_sources, totals, reached, farthest):
    """Search breadth first from some vertices at once, and add up the distances.

    Each vertex keeps one bit for each source that has reached it, so that one
    instruction moves 64 searches. Only vertices that were just reached are looked at,
    so that a long path does not make every step of it a pass over the graph.

    Parameters
    ----------
    start : ndarray of shape (n_nodes + 1,)
        Where the successors of each vertex begin.

    successors : ndarray of shape (n_edges,)
        The successors.

    first : int
        First of the sources, which are consecutive.

    n_sources : int
        How many.

    totals, reached, farthest : ndarray of shape (n_nodes,)
        What `distance_sums` returns; added to.
    """
    n_nodes, n_words = len(totals), (n_sources + 63) // 64
    frontier = np.zeros((n_nodes, n_words), dtype=np.uint64)
    arrived = np.zeros((n_nodes, n_words), dtype=np.uint64)
    seen = np.zeros((n_nodes, n_words), dtype=np.uint64)
    is_next = np.zeros(n_nodes, dtype=np.bool_)
    active, following = np.empty((2, n_nodes), dtype=np.int64)
    for i in range(n_sources):
        bit = np.uint64(1) << np.uint64(i % 64)
        frontier[first + i, i // 64] = bit
        seen[first + i, i // 64] = bit
        active[i] = first + i
    n_active, distance = n_sources, 0
    while n_active > 0:
        distance += 1
        n_following = 0
        for i in range(n_active):
            vertex = active[i]
            for j in range(start[vertex], start[vertex + 1]):
                successor = successors[j]
                for k in range(n_words):
                    arrived[successor, k] |= frontier[vertex, k]
                if not is_next[successor]:
                    is_next[successor] = True
                    following[n_following] = successor
                    n_following += 1
        for i in range(n_active):
            frontier[active[i]] = 0
        n_active = 0
        for i in range(n_following):
            vertex, n_new = following[i], 0
            is_next[vertex] = False
            for k in range(n_words):
                new = arrived[vertex, k] & ~seen[vertex, k]
                arrived[vertex, k] = 0
                frontier[vertex, k] = new
                seen[vertex, k] |= new
                n_new += _count_bits(new)
            if n_new > 0:
                totals[vertex] += distance * n_new
                reached[vertex] += n_new
                farthest[vertex] = max(farthest[vertex], distance)
                active[n_active] = vertex
                n_active += 1


@njit(cache=True)
def triangle_weights(start, successors, weights):
    """Sum the weights of the triangles at every vertex.

    Parameters
    ----------
    start : ndarray of shape (n_nodes + 1,)
        Where the successors of each vertex begin. Every edge stands at one of its
        ends, and there is no cycle of these directions.

    successors : ndarray of shape (n_edges,)
        The successors.

    weights : ndarray of shape (n_edges,)
        Weights of the edges, not 0; that of a triangle is their product.

    Returns
    -------
    sums : ndarray of shape (n_nodes,)
        Sum over the triangles that a vertex is part of.
    """
    n_nodes = len(start) - 1
    sums = np.zeros(n_nodes, dtype=np.int64)
    # Of the edge from the vertex looked at to any other.
    weight_to = np.zeros(n_nodes, dtype=np.int64)
    for a in range(n_nodes):
        own = range(start[a], start[a + 1])
        for i in own:
            weight_to[successors[i]] = weights[i]
        for i in own:
            b = successors[i]
            for j in range(start[b], start[b + 1]):
                c = successors[j]
                weight = weights[i] * weights[j] * weight_to[c]
                sums[a] += weight
                sums[b] += weight
                sums[c] += weight
        for i in own:
            weight_to[successors[i]] = 0
    return sums
