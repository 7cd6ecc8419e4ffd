"""A directed acyclic graph whose vertices stand in layers."""

from collections.abc import Hashable, Sequence
from numbers import Integral
from typing import Any, NoReturn, Self

import networkx as nx
import numpy as np
import pandas as pd
import scipy.sparse as sp
from numpy.random import RandomState
from numpy.typing import ArrayLike, NDArray
from sklearn.utils import check_array

from robustkit.graphs._edges import (
    edges_of_networkx,
    longest_path_layers,
    orient,
    undirected_pairs,
)
from robustkit.graphs._properties import measure

__all__ = ["LayeredGraph"]


class LayeredGraph:
    """A directed acyclic graph, its vertices in topological order by layer.

    A vertex without predecessors is a source and belongs to layer 0; any other vertex
    belongs to the layer after the last of its predecessors. A vertex without successors
    is a sink; an isolated vertex is both. The vertices are renumbered so that every
    layer is a range of numbers; within a layer they keep their order. `labels` keeps
    their previous names.

    A LayeredGraph is immutable. Two of them are equal if they have the same vertices
    and edges, whatever their labels.

    Parameters
    ----------
    edges : array-like of shape (2, n_edges)
        Directed edges in any order: row 0 holds the sources, row 1 the targets. Of
        parallel edges one is kept.

    n_nodes : int
        Vertices are the integers below it.

    labels : sequence of length n_nodes, default=None
        Names of the vertices. By default their numbers in `edges`.

    Attributes
    ----------
    edges : ndarray of shape (2, n_edges)
        Source and target of every edge in the new numbering, source below target,
        sorted by target, then by source. Read-only, as are all the arrays.

    layer : ndarray of shape (n_nodes,)
        The layer of each vertex, in non-decreasing order.

    layer_offsets : ndarray of shape (n_layers + 1,)
        Layer ``i`` holds the vertices from ``layer_offsets[i]`` up to, but not
        including, ``layer_offsets[i + 1]``.

    sources : ndarray of shape (n_sources,)
        Vertices without predecessors; they are the first layer.

    sinks : ndarray of shape (n_sinks,)
        Vertices without successors, of any layer, in ascending order.

    labels : tuple of length n_nodes
        Name of each vertex before it was renumbered.

    n_nodes : int
        Number of vertices.

    n_edges : int
        Number of edges.

    n_layers : int
        Number of layers: one more than the number of edges of the longest path.

    See Also
    --------
    GraphPrior : Draws such graphs at random.
    graph_properties : Measures of a graph.

    Examples
    --------
    >>> from robustkit.graphs import LayeredGraph
    >>> graph = LayeredGraph([[3, 3, 0], [0, 1, 1]], n_nodes=4)
    >>> graph
    LayeredGraph(n_nodes=4, n_edges=3, n_layers=3)
    >>> graph.labels
    (2, 3, 0, 1)
    >>> graph.edges
    array([[1, 1, 2],
           [2, 3, 3]])
    >>> graph.sources, graph.sinks
    (array([0, 1]), array([0, 3]))
    """

    __slots__ = (
        "__weakref__",
        "edges",
        "labels",
        "layer",
        "layer_offsets",
        "n_edges",
        "n_layers",
        "n_nodes",
        "sinks",
        "sources",
    )

    edges: NDArray
    layer: NDArray
    layer_offsets: NDArray
    sources: NDArray
    sinks: NDArray
    labels: tuple[Hashable, ...]
    n_nodes: int
    n_edges: int
    n_layers: int

    def __init__(
        self,
        edges: ArrayLike,
        n_nodes: int,
        labels: Sequence[Hashable] | None = None,
    ) -> None:
        n_nodes = _check_n_nodes(n_nodes)
        edges = _check_edges(edges, n_nodes)
        labels = _check_labels(labels, n_nodes)
        layer = longest_path_layers(edges, n_nodes)
        if layer.min() < 0:
            raise ValueError(
                f"The graph must be acyclic, but holds the cycle "
                f"{_name_cycle(edges, layer, labels)}."
            )
        order = np.argsort(layer, kind="stable")
        number = np.empty_like(order)
        number[order] = np.arange(n_nodes)
        edges = _sort_without_duplicates(number[edges], n_nodes)
        offsets = np.concatenate([[0], np.cumsum(np.bincount(layer))])
        has_successor = np.zeros(n_nodes, dtype=bool)
        has_successor[edges[0]] = True
        self._store(
            edges=edges,
            layer=layer[order],
            layer_offsets=offsets,
            sources=np.arange(offsets[1]),
            sinks=np.flatnonzero(~has_successor),
            labels=tuple(labels[v] for v in order),
            n_nodes=n_nodes,
            n_edges=edges.shape[1],
            n_layers=len(offsets) - 1,
        )

    def _store(self, **attributes):
        for name, value in attributes.items():
            if isinstance(value, np.ndarray):
                value.setflags(write=False)
            object.__setattr__(self, name, value)

    @classmethod
    def from_edges(
        cls,
        edges: ArrayLike,
        n_nodes: int,
        *,
        labels: Sequence[Hashable] | None = None,
        orientation: str = "index",
        random_state: int | RandomState | None = None,
    ) -> Self:
        """Orient and layer an undirected graph given by its edges.

        Directed edges are passed to the constructor instead.

        Parameters
        ----------
        edges : array-like of shape (2, n_edges)
            The two ends of every edge, in any order. Of parallel edges one is kept.

        n_nodes : int
            Vertices are the integers below it.

        labels : sequence of length n_nodes, default=None
            Names of the vertices. By default their numbers in `edges`.

        orientation : {"index", "random", "degree"}, default="index"
            The order that every edge follows: the index (the lower triangle of the
            adjacency matrix), a random order of the vertices, or the degree (the lower
            index first among equals).

        random_state : int, RandomState instance or None, default=None
            Draws the random order.

        Returns
        -------
        layered : LayeredGraph
            The graph.
        """
        n_nodes = _check_n_nodes(n_nodes)
        pairs, _ = undirected_pairs(_check_edges(edges, n_nodes), n_nodes)
        return cls(orient(pairs, n_nodes, orientation, random_state), n_nodes, labels)

    @classmethod
    def from_networkx(
        cls,
        graph: nx.Graph,
        *,
        orientation: str = "index",
        random_state: int | RandomState | None = None,
    ) -> Self:
        """Layer a graph of networkx.

        An undirected graph is oriented first. The directions of a directed one are
        kept, so it must be acyclic, and `orientation` has no effect.

        Parameters
        ----------
        graph : networkx.Graph or networkx.DiGraph
            Without self-loops and parallel edges. A vertex's index is its place in
            ``graph.nodes``.

        orientation : {"index", "random", "degree"}, default="index"
            The order that every edge of an undirected graph follows, as in
            :meth:`from_edges`.

        random_state : int, RandomState instance or None, default=None
            Draws the random order.

        Returns
        -------
        layered : LayeredGraph
            Its `labels` are the vertices of `graph`.
        """
        edges, labels = edges_of_networkx(graph)
        if not graph.is_directed():
            edges = orient(edges, len(labels), orientation, random_state)
        return cls(edges, len(labels), labels)

    @classmethod
    def from_adjacency(
        cls,
        A: ArrayLike | sp.sparray | sp.spmatrix,
        *,
        orientation: str = "index",
        random_state: int | RandomState | None = None,
    ) -> Self:
        """Layer a graph given by its adjacency matrix.

        A symmetric matrix is an undirected graph, which is oriented first. Any other
        is a directed graph, so it must be acyclic, and `orientation` has no effect.

        Parameters
        ----------
        A : array-like or sparse matrix of shape (n_nodes, n_nodes)
            There is an edge from i to j where ``A[i, j]`` is not zero.

        orientation : {"index", "random", "degree"}, default="index"
            The order that every edge of an undirected graph follows, as in
            :meth:`from_edges`.

        random_state : int, RandomState instance or None, default=None
            Draws the random order.

        Returns
        -------
        layered : LayeredGraph
            Its `labels` are the rows of `A`.
        """
        A = check_array(A, accept_sparse="csr", dtype=None, input_name="A")
        if A.shape[0] != A.shape[1]:
            raise ValueError(f"A must be square. Got the shape {A.shape} instead.")
        pattern = sp.csr_array(A) != 0
        edges = np.stack(pattern.nonzero())
        if (pattern != pattern.T).nnz == 0:
            return cls.from_edges(
                edges, A.shape[0], orientation=orientation, random_state=random_state
            )
        return cls(edges, A.shape[0])

    def to_networkx(self) -> nx.DiGraph:
        """Convert the graph to networkx.

        Returns
        -------
        graph : networkx.DiGraph
            Its vertices are the integers below `n_nodes`, in order, with the
            attributes ``layer`` and ``label``. Layering it again gives this graph.
        """
        graph = nx.DiGraph()
        for vertex, (layer, label) in enumerate(
            zip(self.layer.tolist(), self.labels, strict=True)
        ):
            graph.add_node(vertex, layer=layer, label=label)
        graph.add_edges_from(self.edges.T.tolist())
        return graph

    def n_parameters(self, n_features: int, n_outputs: int) -> int:
        """Count the parameters of the network with this structure.

        Every source receives all features, every edge is one weight, every sink feeds
        all outputs, and every vertex and output has a bias.

        Parameters
        ----------
        n_features : int
            Number of features of the input.

        n_outputs : int
            Number of outputs.

        Returns
        -------
        n_parameters : int
            Weights and biases.
        """
        weights = (
            n_features * len(self.sources) + self.n_edges + n_outputs * len(self.sinks)
        )
        return weights + self.n_nodes + n_outputs

    def properties(
        self,
        *,
        directed: bool = False,
        extra: bool = False,
        random_state: int | RandomState | None = 0,
    ) -> pd.Series:
        """Measure the graph.

        Parameters
        ----------
        directed : bool, default=False
            Whether the directions of the edges count.

        extra : bool, default=False
            Whether to measure what takes longer as well.

        random_state : int, RandomState instance or None, default=0
            Draws the graphs that `extra` compares with.

        Returns
        -------
        properties : Series
            What :func:`graph_properties` returns.
        """
        return measure(
            self.edges,
            self.n_nodes,
            directed=directed,
            n_layers=self.n_layers,
            extra=extra,
            random_state=random_state,
        )

    def __setattr__(self, name: str, value: Any) -> NoReturn:
        raise AttributeError(f"A LayeredGraph never changes: cannot set {name!r}.")

    def __delattr__(self, name: str) -> NoReturn:
        raise AttributeError(f"A LayeredGraph never changes: cannot delete {name!r}.")

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, LayeredGraph):
            return NotImplemented
        return self.n_nodes == other.n_nodes and np.array_equal(self.edges, other.edges)

    def __hash__(self) -> int:
        return hash((self.n_nodes, self.edges.tobytes()))

    def __repr__(self) -> str:
        return (
            f"LayeredGraph(n_nodes={self.n_nodes}, n_edges={self.n_edges}, "
            f"n_layers={self.n_layers})"
        )

    def __reduce__(self):
        return LayeredGraph, (self.edges, self.n_nodes, self.labels)

    def __copy__(self):
        return self

    def __deepcopy__(self, memo):
        # What never changes may be shared: `clone` copies the parameters of estimators.
        return self


def _check_n_nodes(n_nodes: int) -> int:
    if not isinstance(n_nodes, Integral):
        raise TypeError(f"n_nodes must be an int. Got {n_nodes!r} instead.")
    if n_nodes < 1:
        raise ValueError(f"A graph needs at least one vertex. Got n_nodes={n_nodes}.")
    return int(n_nodes)


def _check_edges(edges: ArrayLike, n_nodes: int) -> NDArray:
    edges = np.asarray(edges)
    if edges.size == 0:
        return np.empty((2, 0), dtype=np.intp)
    if edges.ndim != 2 or edges.shape[0] != 2:
        raise ValueError(
            "edges must have the shape (2, n_edges), sources above targets. Got the "
            f"shape {edges.shape} instead."
        )
    if edges.dtype.kind not in "iu":
        raise TypeError(f"edges must be integers. Got the dtype {edges.dtype} instead.")
    if edges.min() < 0 or edges.max() >= n_nodes:
        raise ValueError(
            f"edges must name vertices from 0 to {n_nodes - 1}. Got values from "
            f"{edges.min()} to {edges.max()} instead."
        )
    return edges.astype(np.intp)


def _check_labels(
    labels: Sequence[Hashable] | None, n_nodes: int
) -> Sequence[Hashable]:
    labels = range(n_nodes) if labels is None else labels
    if len(labels) != n_nodes:
        raise ValueError(
            f"labels must name each of the {n_nodes} vertices. Got {len(labels)} names."
        )
    return labels


def _sort_without_duplicates(edges: NDArray, n_nodes: int) -> NDArray:
    """Sort by target, then source: the rows of a CSR matrix of predecessors."""
    key = np.unique(edges[1] * n_nodes + edges[0])
    return np.stack([key % n_nodes, key // n_nodes])


def _name_cycle(edges: NDArray, layer: NDArray, labels: Sequence[Hashable]) -> str:
    """Walk back from a vertex that waits, over others that wait, until one recurs."""
    waiting = layer[edges[0]] < 0
    predecessor = dict(
        zip(edges[1, waiting].tolist(), edges[0, waiting].tolist(), strict=True)
    )
    place, path, vertex = {}, [], next(iter(predecessor))
    while vertex not in place:
        place[vertex] = len(path)
        path.append(vertex)
        vertex = predecessor[vertex]
    cycle = [*path[place[vertex] :], vertex][::-1]
    return " -> ".join(repr(labels[v]) for v in cycle)
