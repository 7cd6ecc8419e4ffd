"""The layout of a graph, and how nodes persist from one graph to the next.

The horizontal position of a node shows its interval of the filter, so that it has the
same meaning in every graph. Vertically, neighbours are near each other: in every
interval the nodes are sorted by the mean position of their neighbours, and moved
towards it as far as the other nodes of the interval allow. Components are then packed.
The layout is deterministic.

Nodes that persist from one graph of a pane to the next keep their number and position.
Two nodes are considered the same if they share most of their samples.
"""

from dataclasses import dataclass

import numpy as np
from numba import njit
from scipy.sparse import coo_matrix, csr_matrix
from scipy.sparse.csgraph import connected_components

from robustkit.explorer._graphs import Graph

__all__ = [
    "Layout",
    "Picture",
    "lay_out",
    "lay_out_around",
    "lay_out_at",
    "matching_nodes",
    "next_picture",
]

# The unit of all lengths is the space that the largest node takes.
_SMALLEST_RADIUS, _LARGEST_RADIUS = 0.18, 0.45
_GAP = 0.08

# Space per node including its edges, and width over height of the whole layout.
_ROOM = 1.7
_ASPECT = 1.2

# In narrower columns the edges of a chain would not be visible.
_NARROWEST_COLUMN = 0.7

_N_SWEEPS = 12

# If a layout is too high, it is computed again with wider columns.
_N_TRIES = 4

# Of the skyline under which components are pushed together.
_BINS_PER_UNIT = 4

# Positions are not kept if nodes would have to shrink below this share of their size.
_SMALLEST_SCALE = 0.5

# Jaccard similarity above which two nodes are considered the same.
_SMALLEST_OVERLAP = 0.5

# If a smaller share of the nodes persists, the layout is computed anew.
_SMALLEST_SHARE_KEPT = 0.25


@dataclass(frozen=True, eq=False)
class Layout:
    """Non-overlapping discs; the first interval is at x = 0, the last at x = 1."""

    x: np.ndarray
    y: np.ndarray
    radius: np.ndarray


@dataclass(frozen=True, eq=False)
class Picture:
    """A graph as a pane shows it, with the numbers of its nodes.

    `n_ids` numbers have been given so far in this pane.
    """

    graph: Graph
    layout: Layout
    ids: np.ndarray
    n_ids: int


def next_picture(
    graph: Graph,
    before: Picture | None = None,
    places: tuple[list[float], list[float]] | None = None,
) -> Picture:
    """Assign numbers and positions to the nodes of a graph.

    They depend on what the pane showed before, or on the positions (x and y) that a
    link contains. Positions are ignored if there is not one per node.
    """
    layout = lay_out(graph)
    n_ids = 0 if before is None else before.n_ids
    if places is not None and all(len(part) == graph.n_nodes for part in places):
        x, y = (np.array(part, dtype=float) for part in places)
        layout = lay_out_at(layout, x, y)
    elif before is not None and _is_comparable(graph, before.graph):
        old, new = matching_nodes(before.graph, graph)
        if len(new) > 0 and len(new) >= _SMALLEST_SHARE_KEPT * graph.n_nodes:
            x, y = before.layout.x[old], before.layout.y[old]
            around = lay_out_around(graph, layout, new, x, y)
            if around is not None:
                ids = np.full(graph.n_nodes, -1)
                ids[new] = before.ids[old]
                n_new = int((ids < 0).sum())
                ids[ids < 0] = np.arange(n_ids, n_ids + n_new)
                return Picture(graph, around, ids, n_ids + n_new)
    ids = np.arange(n_ids, n_ids + graph.n_nodes)
    return Picture(graph, layout, ids, n_ids + graph.n_nodes)


def _is_comparable(graph, other):
    """Whether horizontal positions have the same meaning in both graphs."""
    a, b = graph.parameters, other.parameters
    return (a.filter, a.cover) == (b.filter, b.cover)


def matching_nodes(old: Graph, new: Graph) -> tuple[np.ndarray, np.ndarray]:
    """Match the nodes of two graphs of the same samples.

    Nodes are matched if their Jaccard similarity exceeds 0.5; each node is in at most
    one pair, and the most similar nodes are matched first.
    """
    shared = (_membership(old) @ _membership(new).T).tocoo()
    together = old.size[shared.row] + new.size[shared.col] - shared.data
    overlap = shared.data / together
    is_near = overlap > _SMALLEST_OVERLAP
    rows, columns, overlap = shared.row[is_near], shared.col[is_near], overlap[is_near]
    pairs = []
    is_free_old, is_free_new = np.full(old.n_nodes, True), np.full(new.n_nodes, True)
    for i in np.lexsort((columns, rows, -overlap)):
        row, column = rows[i], columns[i]
        if is_free_old[row] and is_free_new[column]:
            is_free_old[row] = is_free_new[column] = False
            pairs.append((row, column))
    pairs = np.array(pairs, dtype=np.int64).reshape(-1, 2)
    return pairs[:, 0], pairs[:, 1]


def _membership(graph):
    ones = np.ones(len(graph.members), dtype=np.int64)
    shape = graph.n_nodes, graph.n_samples
    return csr_matrix((ones, graph.members, graph.indptr), shape=shape)


def lay_out(graph: Graph) -> Layout:
    """Compute the layout of a graph."""
    radius = _radii(graph.size)
    spacing = np.sqrt(_ASPECT * _ROOM * graph.n_nodes) / graph.n_intervals
    for _ in range(_N_TRIES):
        spacing = max(_NARROWEST_COLUMN, spacing)
        x, y = _pack(graph, radius, spacing)
        width = max(1.0, (graph.n_intervals - 1) * spacing)
        too_high = _ASPECT * _extent(y) / _extent(x)
        if too_high < 1.2:
            break
        spacing *= min(2.0, np.sqrt(too_high))
    return Layout(x / width, y / width, radius / width)


def _extent(places):
    return 1 + (np.ptp(places) if len(places) else 0)


def _pack(graph, radius, spacing):
    """Place the nodes in columns with a given spacing."""
    column = np.asarray(graph.interval, dtype=np.int64)
    # Half a column, and a node, of room on both sides.
    x, y = (column + 0.5) * spacing + 1, np.zeros(graph.n_nodes)
    neighbors = _neighbors(graph.edges, graph.n_nodes)
    _, component = connected_components(neighbors, directed=False)
    skyline = np.zeros(int((graph.n_intervals * spacing + 3) * _BINS_PER_UNIT))
    for nodes, edges in _by_size(component, graph.edges):
        if len(nodes) > 1:
            _arrange(nodes, column, neighbors.indptr, neighbors.indices, y)
            _separate(nodes, np.zeros(len(nodes), dtype=np.bool_), x, y, radius)
        # Within its column a node may lie to the left or to the right.
        _push_up(nodes, edges, max(1, int(spacing)), x, y, radius, skyline)
    return x - 0.5 * spacing - 1, y


def lay_out_at(layout: Layout, x: np.ndarray, y: np.ndarray) -> Layout:
    """Place the nodes at given positions, as large as there is space for.

    At the positions that `lay_out_around` computed, they have the size that it
    computed.
    """
    return Layout(x, y, layout.radius * _largest_scale(x, y, layout.radius))


def lay_out_around(
    graph: Graph, layout: Layout, kept: np.ndarray, x: np.ndarray, y: np.ndarray
) -> Layout | None:
    """Compute the layout of a graph in which some nodes have fixed positions.

    `layout` is the layout without fixed nodes. The nodes `kept`, at least one, are at
    `x` and `y`. None if there is not enough space between these positions.
    """
    scale = _largest_scale(x, y, layout.radius[kept])
    if scale < _SMALLEST_SCALE:
        return None
    radius = layout.radius * scale
    new_x, new_y = layout.x.copy(), layout.y.copy()
    moved = y - layout.y[kept]
    new_x[kept], new_y[kept] = x, y
    is_kept = np.zeros(graph.n_nodes, dtype=np.bool_)
    is_kept[kept] = True
    neighbors = _neighbors(graph.edges, graph.n_nodes)
    # A node without a fixed neighbour moves with the others.
    new_y[~is_kept] += np.median(moved)
    _follow(neighbors.indptr, neighbors.indices, is_kept, new_y)
    order = np.lexsort((new_y, new_x, ~is_kept))
    _separate(order, is_kept[order], new_x, new_y, radius)
    return Layout(new_x, new_y, radius)


def _radii(sizes):
    share = np.sqrt(sizes / max(1, sizes.max(initial=0)))
    return _SMALLEST_RADIUS + (_LARGEST_RADIUS - _SMALLEST_RADIUS) * share


def _neighbors(edges, n_nodes):
    rows, columns = edges.T
    ones = np.ones(len(edges), dtype=np.int8)
    upper = coo_matrix((ones, (rows, columns)), shape=(n_nodes, n_nodes))
    neighbors = (upper + upper.T).tocsr()
    neighbors.sort_indices()
    return neighbors


def _by_size(component, edges):
    """Yield the nodes and edges of each component, the largest first."""
    sizes = np.bincount(component)
    nodes = np.split(np.argsort(component, kind="stable"), np.cumsum(sizes)[:-1])
    owner = component[edges[:, 0]]
    n_edges = np.bincount(owner, minlength=len(sizes))
    edges = edges[np.argsort(owner, kind="stable")]
    edges = np.split(edges, np.cumsum(n_edges)[:-1])
    for i in np.argsort(-sizes, kind="stable") if len(component) else ():
        yield nodes[i], edges[i]


@njit(cache=True, nogil=True)
def _arrange(nodes, column, indptr, indices, y):
    """Sort the nodes of a component in each column, and move them near neighbours.

    `nodes` are ascending, and with them their columns.
    """
    starts = [0]
    for i in range(1, len(nodes)):
        if column[nodes[i]] != column[nodes[i - 1]]:
            starts.append(i)  # noqa: PERF401 (numba)
    starts.append(len(nodes))
    n_columns = len(starts) - 1
    for k in range(n_columns):
        for i in range(starts[k], starts[k + 1]):
            y[nodes[i]] = i - starts[k]
    for sweep in range(_N_SWEEPS):
        for step in range(n_columns):
            k = step if sweep % 2 == 0 else n_columns - 1 - step
            members = nodes[starts[k] : starts[k + 1]]
            wanted = np.empty(len(members))
            for i in range(len(members)):
                total, n = 0.0, 0
                for j in indices[indptr[members[i]] : indptr[members[i] + 1]]:
                    # Back and forth at first, then a balance of both sides.
                    is_before = (column[j] < column[members[i]]) == (sweep % 2 == 0)
                    if is_before or sweep >= _N_SWEEPS // 2:
                        total += y[j]
                        n += 1
                wanted[i] = total / n if n else y[members[i]]
            order = np.argsort(wanted, kind="mergesort")
            places = _spread(wanted[order])
            for i in range(len(members)):
                y[members[order[i]]] = places[i]


@njit(cache=True, nogil=True)
def _spread(wanted):
    """Least squares with gaps of at least 1 between positions (isotonic regression)."""
    n = len(wanted)
    total, count = np.empty(n), np.empty(n, np.int64)
    n_blocks = 0
    for i in range(n):
        total[n_blocks], count[n_blocks] = wanted[i] - i, 1
        n_blocks += 1
        while n_blocks > 1 and (
            total[n_blocks - 2] * count[n_blocks - 1]
            >= total[n_blocks - 1] * count[n_blocks - 2]
        ):
            total[n_blocks - 2] += total[n_blocks - 1]
            count[n_blocks - 2] += count[n_blocks - 1]
            n_blocks -= 1
    places = np.empty(n)
    i = 0
    for block in range(n_blocks):
        for _ in range(count[block]):
            places[i] = total[block] / count[block] + i
            i += 1
    return places


@njit(cache=True, nogil=True)
def _separate(order, is_fixed, x, y, radius):
    """Move each node up or down to the nearest free position, one by one."""
    n = len(order)
    low, high = np.empty(n), np.empty(n)
    for i in range(n):
        if is_fixed[i]:
            continue
        node, n_taken = order[i], 0
        for j in range(n):
            # Nodes before it, and fixed ones, are already placed.
            if j < i or is_fixed[j]:
                apart = (radius[node] + radius[order[j]]) * (1 + _GAP)
                aside = abs(x[node] - x[order[j]])
                if aside < apart:
                    half = np.sqrt(apart * apart - aside * aside)
                    low[n_taken] = y[order[j]] - half
                    high[n_taken] = y[order[j]] + half
                    n_taken += 1
        up = down = y[node]
        for j in np.argsort(low[:n_taken], kind="mergesort"):
            if low[j] < up < high[j]:
                up = high[j]
        for j in np.argsort(-high[:n_taken], kind="mergesort"):
            if low[j] < down < high[j]:
                down = low[j]
        y[node] = up if up - y[node] <= y[node] - down else down


@njit(cache=True, nogil=True)
def _push_up(nodes, edges, n_shifts, x, y, radius, skyline):
    """Move a component up until it touches those already placed."""
    best_shift, best_offset = 0.0, np.inf
    for step in range(n_shifts):
        shift = (step + 1) // 2 * (1.0 if step % 2 else -1.0)
        top, _ = _outline(nodes, edges, shift, x, y, radius, len(skyline))
        offset = -np.inf
        for b in range(len(skyline)):
            if top[b] < np.inf:
                offset = max(offset, skyline[b] - top[b])
        if offset < best_offset - 1e-9:
            best_shift, best_offset = shift, offset
    _, bottom = _outline(nodes, edges, best_shift, x, y, radius, len(skyline))
    # Components are farther apart than the nodes of one.
    best_offset += 3 * _GAP
    for b in range(len(skyline)):
        if bottom[b] > -np.inf:
            skyline[b] = bottom[b] + best_offset
    for node in nodes:
        x[node] += best_shift
        y[node] += best_offset


@njit(cache=True, nogil=True)
def _outline(nodes, edges, shift, x, y, radius, n_bins):
    """Return the highest and lowest point of a component in every bin."""
    top, bottom = np.full(n_bins, np.inf), np.full(n_bins, -np.inf)
    for node in nodes:
        here, reach = x[node] + shift, radius[node] + _GAP
        for b in range(_bin(here - reach), _bin(here + reach) + 1):
            top[b] = min(top[b], y[node] - radius[node])
            bottom[b] = max(bottom[b], y[node] + radius[node])
    for e in range(len(edges)):
        i, j = edges[e, 0], edges[e, 1]
        start, length = x[i] + shift, max(x[j] - x[i], 1e-9)
        for b in range(_bin(start), _bin(start + length) + 1):
            share = ((b + 0.5) / _BINS_PER_UNIT - start) / length
            place = y[i] + min(max(share, 0.0), 1.0) * (y[j] - y[i])
            top[b], bottom[b] = min(top[b], place), max(bottom[b], place)
    return top, bottom


@njit(cache=True, nogil=True)
def _bin(x):
    return int(x * _BINS_PER_UNIT)


@njit(cache=True, nogil=True)
def _largest_scale(x, y, radius):
    """Largest factor, at most 1, by which the radii can be scaled without overlap."""
    scale = 1.0
    for i in range(len(x)):
        for j in range(i):
            apart = (radius[i] + radius[j]) * (1 + _GAP)
            aside, below = x[i] - x[j], y[i] - y[j]
            if abs(aside) < apart and abs(below) < apart:
                distance = np.sqrt(aside * aside + below * below)
                scale = min(scale, distance / apart)
    return scale


@njit(cache=True, nogil=True)
def _follow(indptr, indices, is_kept, y):
    """Place nodes at the mean position of their placed neighbours, outwards."""
    has_place = is_kept.copy()
    is_new = True
    while is_new:
        is_new = False
        found = has_place.copy()
        for i in range(len(y)):
            if has_place[i]:
                continue
            total, n = 0.0, 0
            for j in indices[indptr[i] : indptr[i + 1]]:
                if has_place[j]:
                    total += y[j]
                    n += 1
            if n:
                y[i] = total / n
                found[i] = is_new = True
        has_place = found
