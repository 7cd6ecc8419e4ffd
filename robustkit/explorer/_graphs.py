"""The graphs of a run, computed when they are asked for, and kept for a while."""

import json
import threading
from collections import OrderedDict
from dataclasses import asdict, dataclass
from hashlib import blake2b

import numpy as np

from robustkit.explorer._newest import Cancelled
from robustkit.topology import BalancedCover, MapperGraph, UniformCover
from robustkit.topology._purity import count_labels, purity_of_counts

__all__ = ["Graph", "GraphParameters", "Graphs"]

# A network's logits are worth looking along, one by one; a wide layer's units are not.
_MOST_COLUMNS = 32

_COVERS = {
    "uniform": UniformCover,
    "balanced": BalancedCover,
    "kepler": lambda n, p: UniformCover(n, p, "kepler"),
}


@dataclass(frozen=True)
class GraphParameters:
    """What a graph depends on, besides the run."""

    view: int
    filter: str
    cover: str
    n_intervals: int
    overlap: float
    eps: float | str
    min_samples: int

    @property
    def key(self):
        """A name for the graph."""
        text = json.dumps(asdict(self), sort_keys=True)
        return blake2b(text.encode(), digest_size=12).hexdigest()


@dataclass(frozen=True, eq=False)
class Graph:
    """A mapper graph and what its nodes hold.

    Parameters
    ----------
    parameters : GraphParameters
        What it was computed with; `eps` may be "auto".

    eps : float
        The distance used.

    n_samples : int
        Samples of the run.

    indptr, members : ndarray
        Node j holds the samples ``members[indptr[j]:indptr[j + 1]]``, ascending.

    interval, filter_mean : ndarray of shape (n_nodes,)
        Of each node.

    counts : ndarray of shape (n_nodes, n_classes)
        Samples of each class.

    purity, accuracy : ndarray of shape (n_nodes,)
        Of each node.

    edges : ndarray of shape (n_edges, 2)
        Pairs of nodes, the smaller first.

    n_shared : ndarray of shape (n_edges,)
        How many samples they share.

    n_intervals : int
        Intervals of the cover.

    note : str
        Why there are no nodes, if there are none.
    """

    parameters: GraphParameters
    eps: float
    n_samples: int
    indptr: np.ndarray
    members: np.ndarray
    interval: np.ndarray
    filter_mean: np.ndarray
    counts: np.ndarray
    purity: np.ndarray
    accuracy: np.ndarray
    edges: np.ndarray
    n_shared: np.ndarray
    n_intervals: int
    note: str = ""

    @property
    def n_nodes(self):
        """How many nodes there are."""
        return len(self.interval)

    @property
    def size(self):
        """Samples in each node."""
        return np.diff(self.indptr)

    @property
    def mean_purity(self):
        """Purity of the nodes, weighted by their sizes."""
        return float(self.purity @ self.size / max(1, self.size.sum()))

    @property
    def n_in_nodes(self):
        """How many samples lie in some node."""
        return int(self.holds().sum())

    def holds(self):
        """Whether each sample lies in some node."""
        is_held = np.zeros(self.n_samples, dtype=bool)
        is_held[self.members] = True
        return is_held

    def samples_of(self, nodes):
        """Samples of some nodes, each once, ascending."""
        parts = [self.members[self.indptr[j] : self.indptr[j + 1]] for j in nodes]
        return np.unique(np.concatenate(parts)) if parts else np.empty(0, np.int64)

    def count_in_nodes(self, samples):
        """How many of some samples each node holds."""
        is_wanted = np.zeros(self.n_samples, dtype=bool)
        is_wanted[samples] = True
        running = np.concatenate([[0], np.cumsum(is_wanted[self.members])])
        return np.diff(running[self.indptr])


class _QuietMapper(MapperGraph):
    """Keeps for the page what MapperGraph warns of."""

    note_ = ""

    def _warn_of_an_empty_graph(self, X):
        self.note_ = self._explain_an_empty_graph(X)


class Graphs:
    """Computes the graphs of a run.

    Parameters
    ----------
    run : Run
        The samples and their views.

    mapper : MapperGraph, default=None
        Its metric, its clusterer and its parameters are those to begin with. None is
        :class:`~robustkit.topology.MapperGraph` with its defaults.

    n_kept : int, default=32
        Graphs kept; the least recently used are forgotten.
    """

    def __init__(self, run, mapper=None, n_kept=32):
        self.run = run
        self.n_kept = n_kept
        self._mapper = MapperGraph() if mapper is None else mapper
        self._mappers = OrderedDict()
        self._eps = {}
        self._graphs = OrderedDict()
        self._lock = threading.Lock()

    @property
    def filters(self):
        """Names of the filters."""
        width = min(view.activations.shape[1] for view in self.run.views)
        columns = range(width if width <= _MOST_COLUMNS else 0)
        return ["l2norm", "pca", *(f"column {column}" for column in columns)]

    @property
    def covers(self):
        """Names of the covers."""
        return list(_COVERS)

    @property
    def defaults(self):
        """The parameters to begin with, but for the view."""
        return {
            "filter": "l2norm",
            "cover": "uniform",
            "n_intervals": 40,
            "overlap": 0.3,
            "eps": "auto",
            "min_samples": 5,
        }

    def find(self, key):
        """Return a graph that was computed before; None if it was forgotten."""
        with self._lock:
            graph = self._graphs.get(key)
            if graph is not None:
                self._graphs.move_to_end(key)
        return graph

    def compute(self, parameters, cancelled=None):
        """Compute a graph, or find it among those kept.

        Parameters
        ----------
        parameters : GraphParameters
            What it depends on.

        cancelled : Event, default=None
            Once it is set, Cancelled is raised at the next step.

        Returns
        -------
        graph : Graph
            The graph.
        """
        graph = self.find(parameters.key)
        if graph is None:
            graph = self._compute(parameters, cancelled)
            with self._lock:
                self._graphs[parameters.key] = graph
                while len(self._graphs) > self.n_kept:
                    self._graphs.popitem(last=False)
        return graph

    def _compute(self, parameters, cancelled):
        view = self.run.views[parameters.view]
        mapper = self._prepare(parameters, view)
        _stop_if(cancelled)
        mapper.fit(view.activations)
        self._remember_eps(parameters, mapper.eps_)
        _stop_if(cancelled)
        return self._describe(parameters, view, mapper)

    def _prepare(self, parameters, view):
        name = parameters.filter
        mapper = self._shared_mapper(parameters.view, name)
        is_column = name.startswith("column ")
        return mapper.set_params(
            filter=int(name.removeprefix("column ")) if is_column else name,
            cover=_COVERS[parameters.cover](parameters.n_intervals, parameters.overlap),
            eps=self._eps.get(parameters.view, "auto")
            if parameters.eps == "auto" else parameters.eps,
            min_samples=parameters.min_samples,
        )  # fmt: skip

    def _shared_mapper(self, view, filter):
        """Return a mapper for one computation that shares what was found before."""
        from sklearn.base import clone

        with self._lock:
            known = self._mappers.get((view, filter))
            if known is None:
                params = self._mapper.get_params(deep=False) | {"warm_start": True}
                known = self._mappers[view, filter] = _QuietMapper(**params)
            self._mappers.move_to_end((view, filter))
            while len(self._mappers) > 8:
                self._mappers.popitem(last=False)
            return clone(known)

    def _remember_eps(self, parameters, eps):
        if parameters.eps == "auto":
            self._eps.setdefault(parameters.view, eps)

    def _describe(self, parameters, view, mapper):
        membership = mapper.membership_.tocsc()
        membership.sort_indices()
        y, classes = self.run.y, np.arange(len(self.run.class_names))
        counts, _ = count_labels(membership, y, labels=classes)
        sizes = np.diff(membership.indptr)
        right = membership.T @ (y == view.prediction).astype(float)
        shared = [n for *_, n in mapper.graph_.edges(data="weight")]
        nodes = mapper.describe()
        return Graph(
            parameters=parameters,
            eps=mapper.eps_,
            n_samples=self.run.n_samples,
            indptr=membership.indptr,
            members=membership.indices,
            interval=nodes["interval"].to_numpy(),
            filter_mean=nodes["filter_mean"].to_numpy(),
            counts=counts.astype(np.int64),
            purity=purity_of_counts(counts),
            accuracy=right / np.maximum(sizes, 1),
            edges=mapper.edges_,
            n_shared=np.array(shared, dtype=np.int64),
            n_intervals=len(mapper.intervals_),
            note=mapper.note_,
        )


def _stop_if(cancelled):
    if cancelled is not None and cancelled.is_set():
        raise Cancelled
