"""The passes over the edges of a graph, compiled: no array operation says them.

A row of every buffer is a vertex, a column a sample. Rows stand in topological order,
so that one pass over them is a pass through the network. The innermost loops run along
a row: the compiler turns them into vector instructions. Four edges are taken at a time,
because a row is then loaded and stored once for four additions.

Sums may be reordered (``reassoc``, without which no sum is vectorised), but nothing may
be assumed of the numbers: a NaN has to arrive at the output.
"""

import numpy as np
from numba import njit

__all__ = ["edge_gradients", "pull_gradients", "push_activations"]

_compiled = njit(
    cache=True, error_model="numpy", fastmath={"contract", "nsz", "reassoc"}
)


@_compiled
def _add_rows(rows, v, start, stop, neighbour, weight, out):
    """Add to row `v` of `out` the weighted rows of some neighbours."""
    batch = out.shape[1]
    e = start
    while e + 4 <= stop:
        a, b, c, d = neighbour[e], neighbour[e + 1], neighbour[e + 2], neighbour[e + 3]
        wa, wb, wc, wd = weight[e], weight[e + 1], weight[e + 2], weight[e + 3]
        for i in range(batch):
            out[v, i] += (
                wa * rows[a, i] + wb * rows[b, i] + wc * rows[c, i] + wd * rows[d, i]
            )
        e += 4
    while e < stop:
        a, wa = neighbour[e], weight[e]
        for i in range(batch):
            out[v, i] += wa * rows[a, i]
        e += 1


@_compiled
def push_activations(start, source, weight, bias, preactivation, activation):
    """Carry samples from the sources of a graph to all its other vertices.

    Parameters
    ----------
    start : int array of shape (n_nodes + 1,)
        The edges into vertex v are those from ``start[v]`` to ``start[v + 1]``.

    source : int array of shape (n_edges,)
        The vertex that each edge comes from.

    weight : array of shape (n_edges,)
        One number an edge.

    bias : array of shape (n_nodes,)
        One number a vertex.

    preactivation : array of shape (n_nodes, batch)
        On entry, the rows of the sources hold what the input feeds them.

    activation : array of shape (n_nodes, batch)
        Written. May be `preactivation` itself, which is lost then.
    """
    n_nodes, batch = activation.shape
    zero = weight.dtype.type(0)
    for v in range(n_nodes):
        if start[v] == start[v + 1]:
            for i in range(batch):
                preactivation[v, i] += bias[v]
        else:
            for i in range(batch):
                preactivation[v, i] = bias[v]
            _add_rows(
                activation, v, start[v], start[v + 1], source, weight, preactivation
            )
        for i in range(batch):
            z = preactivation[v, i]
            # This way round, a NaN is its own activation.
            activation[v, i] = zero if zero > z else z


@_compiled
def pull_gradients(start, target, weight, preactivation, gradient):
    """Carry gradients from the sinks of a graph to all its other vertices.

    Parameters
    ----------
    start : int array of shape (n_nodes + 1,)
        The edges out of vertex v are those from ``start[v]`` to ``start[v + 1]``.

    target : int array of shape (n_edges,)
        The vertex that each edge leads to.

    weight : array of shape (n_edges,)
        One number an edge, in the same order.

    preactivation : array of shape (n_nodes, batch)
        Or the activation: only whether it is positive is asked.

    gradient : array of shape (n_nodes, batch)
        Of the pre-activations. On entry what comes from outside the graph, on return
        with what comes through the edges.
    """
    n_nodes, batch = gradient.shape
    zero = weight.dtype.type(0)
    through = np.empty((1, batch), dtype=gradient.dtype)
    for v in range(n_nodes - 1, -1, -1):
        if start[v] == start[v + 1]:
            continue
        through[0] = zero
        _add_rows(gradient, 0, start[v], start[v + 1], target, weight, through)
        for i in range(batch):
            z, g = preactivation[v, i], through[0, i]
            gradient[v, i] += zero if z <= zero else g


@_compiled
def edge_gradients(start, source, preactivation, gradient, out):
    """Multiply, for every edge, what entered it with the gradient at its end.

    Parameters
    ----------
    start : int array of shape (n_nodes + 1,)
        The edges into vertex v are those from ``start[v]`` to ``start[v + 1]``.

    source : int array of shape (n_edges,)
        The vertex that each edge comes from.

    preactivation : array of shape (n_nodes, batch)
        Or the activation, which is what the pre-activation is turned into.

    gradient : array of shape (n_nodes, batch)
        Of the pre-activations.

    out : array of shape (n_edges,)
        Written: the gradients of the weights.
    """
    batch = gradient.shape[1]
    zero = out.dtype.type(0)
    for v in range(len(start) - 1):
        for e in range(start[v], start[v + 1]):
            a, total = source[e], zero
            for i in range(batch):
                z = preactivation[a, i]
                total += gradient[v, i] * (zero if zero > z else z)
            out[e] = total
