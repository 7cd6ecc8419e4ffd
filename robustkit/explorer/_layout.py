"""The layout of a graph, and how nodes persist from one graph to the next.

Within a component, the horizontal position of a node shows its interval of the filter,
of the first one if there are two.
Vertically, neighbours are near each other: in every interval the nodes are sorted by
the mean position of their neighbours, and moved towards it as far as the other nodes of
the interval allow. The components are then packed, the largest first, each as high up
as there is room, so that isolated nodes fill what is left. The layout is deterministic.

Nodes that persist from one graph of a pane to the next keep their number, and their
position while the layout around them stays clear. Two nodes are considered the same if
they share most of their samples. Of two graphs side by side, matched nodes have one
number, and one position if that leaves both layouts clear.
"""

from dataclasses import dataclass, replace

import numpy as np
from numba import njit
from scipy.sparse import coo_matrix, csr_matrix
from scipy.sparse.csgraph import connected_components

from robustkit.explorer._graphs import Graph
from robustkit.topology import match_nodes

__all__ = [
    "Beside",
    "Layout",
    "Picture",
    "lay_out",
    "lay_out_around",
    "lay_out_at",
    "matching_nodes",
    "next_picture",
    "picture_beside",
]

# The unit of all lengths is the space that the largest node takes.
_SMALLEST_RADIUS, _LARGEST_RADIUS = 0.18, 0.45
_GAP = 0.08

# Room at both sides of a component, so that it does not seem to continue in the next.
_ASIDE = 0.25

# Share of the width of a column that every other cell of a grid lies aside.
_ASIDE_IN_COLUMN = 0.15

# Space per node including its edges, and width over height of the whole layout.
_ROOM = 1.7
_ASPECT = 1.2

# In narrower columns the edges of a chain would not be visible; wider ones pull apart
# what belongs together.
_NARROWEST_COLUMN, _WIDEST_COLUMN = 0.7, 3.0

_N_SWEEPS = 12

# If a layout is too high, it is computed again with wider columns.
_N_TRIES = 4

# Of the skyline under which components are pushed together.
_BINS_PER_UNIT = 4

# Packed components take about this much more than their area.
_WASTE = 1.15

# A layout around nodes that stay may be this much higher than one computed anew, and
# its edges this much longer: components that join or split tear it apart.
_MOST_GROWTH = 1.6

# Positions are not kept if nodes would have to shrink below this share of their size.
_SMALLEST_SCALE = 0.5

# Jaccard similarity above which two nodes are considered the same.
_SMALLEST_OVERLAP = 0.5

# If a smaller share of the nodes persists, the layout is computed anew.
_SMALLEST_SHARE_KEPT = 0.25


@dataclass(frozen=True, eq=False)
class Layout:
    """Non-overlapping discs, with x from 0 to 1.

    `unit` is the space that the largest node takes.
    """

    x: np.ndarray
    y: np.ndarray
    radius: np.ndarray
    unit: float


@dataclass(frozen=True, eq=False)
class Picture:
    """A graph as a pane shows it, with the numbers of its nodes.

    `n_ids` numbers have been given so far in this pane.
    """

    graph: Graph
    layout: Layout
    ids: np.ndarray
    n_ids: int
    beside: "Beside | None" = None


@dataclass(frozen=True, eq=False)
class Beside:
    """Which nodes of a graph are those of another one, which is shown beside it."""

    other: Graph
    other_nodes: np.ndarray
    nodes: np.ndarray


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
    ids = np.full(graph.n_nodes, -1)
    if places is not None and all(len(part) == graph.n_nodes for part in places):
        x, y = (np.array(part, dtype=float) for part in places)
        layout = lay_out_at(layout, x, y)
    elif before is not None and _is_comparable(graph, before.graph):
        old, new = matching_nodes(before.graph, graph)
        if len(new) > 0 and len(new) >= _SMALLEST_SHARE_KEPT * graph.n_nodes:
            ids[new] = before.ids[old]
            layout = _keep_places(graph, layout, before, old, new)
    return _number_the_rest(graph, layout, ids, n_ids)


def picture_beside(graph: Graph, other: Picture) -> Picture:
    """Assign to matched nodes the numbers and positions of those beside them.

    The match is that of :func:`robustkit.topology.compare_mappers`: optimal transport
    of the samples, so that nodes also find each other where an attack moved most
    samples.
    """
    matches = match_nodes(
        _membership(other.graph).T.tocsr(), _membership(graph).T.tocsr()
    )
    # What is left over is carried between nodes that have nothing in common.
    matches = matches[matches["feature_distance"] < 1]
    old, new = matches["node_a"].to_numpy(), matches["node_b"].to_numpy()
    layout = lay_out(graph)
    ids = np.full(graph.n_nodes, -1)
    ids[new] = other.ids[old]
    if len(new) > 0 and _is_comparable(graph, other.graph):
        layout = _keep_places(graph, layout, other, old, new)
    picture = _number_the_rest(graph, layout, ids, other.n_ids)
    return replace(picture, beside=Beside(other.graph, old, new))


def _keep_places(graph, layout, before, old, new):
    x, y = before.layout.x[old], before.layout.y[old]
    return lay_out_around(graph, layout, new, x, y) or layout


def _number_the_rest(graph, layout, ids, n_ids):
    n_new = int((ids < 0).sum())
    ids[ids < 0] = np.arange(n_ids, n_ids + n_new)
    return Picture(graph, layout, ids, n_ids + n_new)


def _is_comparable(graph, other):
    """Whether horizontal positions have the same meaning in both graphs."""
    a, b = graph.parameters, other.parameters
    return (a.filter, a.second_filter, a.cover) == (b.filter, b.second_filter, b.cover)


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
    components = _components(graph)
    span = max(
        (np.ptp(graph.interval[nodes]) + 1 for nodes, _ in components), default=1
    )
    spacing = np.sqrt(_ASPECT * _ROOM * graph.n_nodes) / span
    for _ in range(_N_TRIES):
        spacing = min(max(_NARROWEST_COLUMN, spacing), _WIDEST_COLUMN)
        x, y, width = _pack(graph, components, radius, spacing)
        too_high = _ASPECT * _extent(y) / _extent(x)
        if too_high < 1.2 or spacing == _WIDEST_COLUMN:
            break
        spacing *= min(2.0, np.sqrt(too_high))
    return Layout(x / width, y / width, radius / width, 1 / width)


def _extent(places):
    return 1 + (np.ptp(places) if len(places) else 0)


def _pack(graph, components, radius, spacing):
    """Arrange the nodes of each component in columns, and pack the components."""
    column = np.asarray(graph.interval, dtype=np.int64)
    x, y = (column + _aside(graph)) * spacing, np.zeros(graph.n_nodes)
    neighbors = _neighbors(graph.edges, graph.n_nodes)
    outlines, area = [], 0.0
    for nodes, edges in components:
        if len(nodes) > 1:
            _arrange(nodes, column, neighbors.indptr, neighbors.indices, y)
            _separate(nodes, np.zeros(len(nodes), dtype=np.bool_), x, y, radius)
        x[nodes] -= (x[nodes] - radius[nodes]).min() - _ASIDE
        top, bottom = _outline(nodes, edges, x, y, radius)
        outlines.append((top, bottom))
        area += (bottom - top + 3 * _GAP).sum() / _BINS_PER_UNIT
    widest = max((len(top) for top, _ in outlines), default=1)
    n_bins = max(widest, int(np.sqrt(_WASTE * _ASPECT * area) * _BINS_PER_UNIT) + 1)
    skyline = np.zeros(n_bins)
    for (nodes, _), (top, bottom) in zip(components, outlines, strict=True):
        shift, offset = _push_up(top, bottom, skyline)
        x[nodes] += shift
        y[nodes] += offset
    return x, y, n_bins / _BINS_PER_UNIT


def _aside(graph):
    """How far nodes are from the middle of their column.

    With two filters, nodes of one column are joined: every other interval of the second
    filter lies aside, so that no edge is vertical and lost behind nodes.
    """
    if graph.second_interval is None:
        return 0.0
    return np.where(graph.second_interval % 2, _ASIDE_IN_COLUMN, -_ASIDE_IN_COLUMN)


def lay_out_at(layout: Layout, x: np.ndarray, y: np.ndarray) -> Layout:
    """Place the nodes at given positions, as large as there is space for.

    At the positions that `lay_out_around` computed, they have the size that it
    computed.
    """
    scale = _largest_scale(x, y, layout.radius)
    return Layout(x, y, layout.radius * scale, layout.unit)


def lay_out_around(
    graph: Graph, layout: Layout, kept: np.ndarray, x: np.ndarray, y: np.ndarray
) -> Layout | None:
    """Compute the layout of a graph in which some nodes have fixed positions.

    `layout` is the layout without fixed nodes. The nodes `kept`, at least one, are at
    `x` and `y`. None if there is not enough space between these positions, or if the
    layout became much higher than `layout`, or its edges much longer.
    """
    scale = _largest_scale(x, y, layout.radius[kept])
    if scale < _SMALLEST_SCALE:
        return None
    radius = layout.radius * scale
    new_x, new_y = layout.x.copy(), layout.y.copy()
    new_x[kept], new_y[kept] = x, y
    is_kept = np.zeros(graph.n_nodes, dtype=np.bool_)
    is_kept[kept] = True
    is_placed, new = np.zeros(graph.n_nodes, dtype=np.bool_), []
    for nodes, edges in _components(graph):
        stay = nodes[is_kept[nodes]]
        if len(stay) == 0:
            new.append((nodes, edges))
            continue
        # What is new in a component moves as those of it did that stay.
        come = nodes[~is_kept[nodes]]
        new_x[come] += np.median(new_x[stay] - layout.x[stay])
        new_y[come] += np.median(new_y[stay] - layout.y[stay])
        is_placed[nodes] = True
    neighbors = _neighbors(graph.edges, graph.n_nodes)
    _follow(neighbors.indptr, neighbors.indices, is_kept, new_y)
    old = np.flatnonzero(is_placed)
    order = old[np.lexsort((new_y[old], new_x[old], ~is_kept[old]))]
    _separate(order, is_kept[order], new_x, new_y, radius)
    _add_below(new, old, new_x, new_y, radius, layout.unit)
    around = Layout(new_x, new_y, radius, layout.unit)
    is_high = np.ptp(new_y) > _MOST_GROWTH * max(np.ptp(layout.y), layout.unit)
    is_torn = _edge_lengths(graph, around) > _MOST_GROWTH * _edge_lengths(graph, layout)
    return None if is_high or is_torn else around


def _edge_lengths(graph, layout):
    """Sum of the lengths of all edges."""
    i, j = graph.edges.T
    return np.hypot(layout.x[i] - layout.x[j], layout.y[i] - layout.y[j]).sum()


def _add_below(components, placed, x, y, radius, unit):
    """Pack components below the nodes that are placed already."""
    width, left = max(1.0, np.ptp(x[placed]) + unit) / unit, x[placed].min() - unit / 2
    skyline = np.zeros(int(np.ceil(width * _BINS_PER_UNIT)) + 1)
    skyline[:] = (y[placed] + radius[placed]).max() / unit + 3 * _GAP
    for nodes, edges in components:
        own_x, own_y, own_radius = x / unit, y / unit, radius / unit
        own_x -= (own_x[nodes] - own_radius[nodes]).min() - _ASIDE
        top, bottom = _outline(nodes, edges, own_x, own_y, own_radius)
        if len(top) > len(skyline):
            wider = np.full(len(top) - len(skyline), skyline.max())
            skyline = np.concatenate([skyline, wider])
        shift, offset = _push_up(top, bottom, skyline)
        x[nodes] = (own_x[nodes] + shift) * unit + left
        y[nodes] = (own_y[nodes] + offset) * unit


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


def _components(graph):
    """Return the nodes and edges of each component, the largest first."""
    neighbors = _neighbors(graph.edges, graph.n_nodes)
    _, component = connected_components(neighbors, directed=False)
    sizes = np.bincount(component)
    nodes = np.split(np.argsort(component, kind="stable"), np.cumsum(sizes)[:-1])
    owner = component[graph.edges[:, 0]]
    n_edges = np.bincount(owner, minlength=len(sizes))
    edges = graph.edges[np.argsort(owner, kind="stable")]
    edges = np.split(edges, np.cumsum(n_edges)[:-1])
    order = np.argsort(-sizes, kind="stable") if len(component) else ()
    return [(nodes[i], edges[i]) for i in order]


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
def _push_up(top, bottom, skyline):
    """Find where a component lies highest under those already placed, and add it.

    Returns how far it moves to the right and down.
    """
    best, best_offset = 0, np.inf
    for start in range(len(skyline) - len(top) + 1):
        offset = -np.inf
        for b in range(len(top)):
            offset = max(offset, skyline[start + b] - top[b])
        if offset < best_offset - 1e-9:
            best, best_offset = start, offset
    # Components are farther apart than the nodes of one.
    for b in range(len(top)):
        skyline[best + b] = bottom[b] + best_offset + 3 * _GAP
    return best / _BINS_PER_UNIT, best_offset


@njit(cache=True, nogil=True)
def _outline(nodes, edges, x, y, radius):
    """Return the highest and lowest point of a component in every bin."""
    n_bins = 1
    for node in nodes:
        n_bins = max(n_bins, _bin(x[node] + radius[node] + _ASIDE) + 1)
    top, bottom = np.full(n_bins, np.inf), np.full(n_bins, -np.inf)
    for node in nodes:
        reach = radius[node] + _ASIDE
        # It begins at 0, but for rounding.
        for b in range(max(0, _bin(x[node] - reach)), _bin(x[node] + reach) + 1):
            top[b] = min(top[b], y[node] - radius[node])
            bottom[b] = max(bottom[b], y[node] + radius[node])
    for e in range(len(edges)):
        i, j = edges[e, 0], edges[e, 1]
        start, length = x[i], max(x[j] - x[i], 1e-9)
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
