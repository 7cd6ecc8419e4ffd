"""The mapper graphs of a run: computed on request, and cached."""

import json
import threading
from collections import OrderedDict
from contextlib import suppress
from dataclasses import asdict, dataclass, fields
from hashlib import blake2b

import numpy as np
from scipy.sparse import csc_matrix
from sklearn.base import clone

from robustkit import __version__
from robustkit.explorer._run import (
    MANY_SAMPLES,
    MIN_SAMPLES,
    FirstGraph,
    Run,
    automatic_eps,
)
from robustkit.topology import (
    LARGEST_N_PAIRS,
    N_INTERVALS,
    N_INTERVALS_OF_GRID,
    AdaptiveCover,
    BalancedCover,
    GMapperCover,
    MapperGraph,
    NeighborCache,
    UniformCover,
    count_labels,
    digest,
    is_pair_of_filters,
    purity_of_counts,
)

__all__ = ["NO_FILTER", "Graph", "GraphParameters", "Graphs", "SupersededError"]

# In the place of a second filter where there is one alone.
NO_FILTER = "none"

# Single columns are offered as filters for logits, but not for wide layers.
_MOST_COLUMNS = 32

# Maximum number of cached pairs of neighbours, over all views and filters; 5 bytes
# each.
_MOST_PAIRS = 200_000_000

# Neighbours are searched this many times farther than the first graph needs, so that
# eps can be changed without another search.
_LOOK_AHEAD = 4.0

# How often a thread that waits for another one's graph looks whether it is cancelled.
_SECONDS_BETWEEN_LOOKS = 0.05

# Purities that are cached for longer than their graphs.
_N_PURITIES = 2000

_COVERS = {
    "uniform": UniformCover,
    "balanced": BalancedCover,
    "kepler": lambda n, p: UniformCover(n, p, "kepler"),
}


class SupersededError(Exception):
    """A computation was cancelled because a newer one was requested."""

    def __init__(self):
        super().__init__("something newer was asked for")


@dataclass(frozen=True)
class GraphParameters:
    """The parameters of a mapper graph, and its view."""

    view: int
    filter: str
    cover: str
    n_intervals: int
    overlap: float
    eps: float | str
    min_samples: int
    second_filter: str = NO_FILTER
    second_intervals: int = N_INTERVALS_OF_GRID

    @property
    def key(self) -> str:
        """The key of the graph in the cache."""
        text = json.dumps(asdict(self), sort_keys=True)
        return blake2b(text.encode(), digest_size=12).hexdigest()


@dataclass(frozen=True, eq=False)
class Graph:
    """A mapper graph and what its nodes hold.

    Node j holds the samples ``members[indptr[j]:indptr[j + 1]]``, ascending, and
    ``counts[j]`` of each class. Edges are pairs of nodes, the smaller first, with the
    number of samples that they share. `eps` is the distance used, also if the parameter
    is "auto"; `note` says why there are no nodes, if there are none.
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
    stability: np.ndarray | None = None
    """Share of resamples that have each node; None without resamples."""

    edge_stability: np.ndarray | None = None

    second_interval: np.ndarray | None = None
    """That of the second filter, if there is one; `interval` is that of the first."""

    second_filter_mean: np.ndarray | None = None

    @property
    def n_nodes(self) -> int:
        """Number of nodes."""
        return len(self.interval)

    @property
    def size(self) -> np.ndarray:
        """Number of samples in each node."""
        return np.diff(self.indptr)

    @property
    def mean_purity(self) -> float:
        """Purity of the nodes, weighted by their sizes."""
        return float(self.purity @ self.size / max(1, self.size.sum()))

    @property
    def n_in_nodes(self) -> int:
        """Number of samples that are in at least one node."""
        is_held = np.zeros(self.n_samples, dtype=bool)
        is_held[self.members] = True
        return int(is_held.sum())


class _QuietMapper(MapperGraph):
    """A MapperGraph whose warning becomes a note for the page."""

    note_ = ""

    def _warn_of_an_empty_graph(self, X):
        self.note_ = self._explain_an_empty_graph(X)


class Graphs:
    """Computes the graphs of a run, and caches the `n_kept` most recently used.

    The metric, the clusterer, the number of resamples and the initial parameters are
    those of `mapper`.
    """

    def __init__(self, run: Run, mapper: MapperGraph | None = None, n_kept: int = 32):
        self.run = run
        self.n_kept = n_kept
        self._is_usual = mapper is None
        self._mapper = MapperGraph(n_intervals=40) if mapper is None else mapper
        self._warm_mapper = _QuietMapper(
            **self._mapper.get_params(deep=False) | {"warm_start": True}
        )
        if self._mapper.random_state is None:
            # A page that is loaded again shows the same.
            self._warm_mapper.random_state = 0
        if self._mapper.n_jobs is None and run.n_samples >= MANY_SAMPLES:
            # Somebody waits for it, and the result is the same.
            self._warm_mapper.n_jobs = -1
        most_each = min(LARGEST_N_PAIRS, _MOST_PAIRS // len(run.views))
        self._warm_mapper._cache = NeighborCache(_MOST_PAIRS, most_each, _LOOK_AHEAD)
        # Views and filters whose neighbours are known, or are being searched for.
        self._searched: set[tuple[int, str]] = set()
        self._begun: set[tuple[int, str]] = set()
        self._eps: dict[int, float] = {}
        self._graphs: OrderedDict[str, Graph] = OrderedDict()
        # For each graph that is being computed, an event: it is there, or given up.
        self._running: dict[str, threading.Event] = {}
        self._purities: OrderedDict[GraphParameters, float] = OrderedDict()
        self._lock = threading.Lock()
        # A view is prepared only once, even if two panes request it at the same time.
        self._eps_locks = [threading.Lock() for _ in run.views]
        self._search_locks = [threading.Lock() for _ in run.views]

    @property
    def filters(self) -> list[str]:
        """Names of the filters."""
        width = min(view.activations.shape[1] for view in self.run.views)
        columns = range(width if width <= _MOST_COLUMNS else 0)
        components = ["pca", "pc2"] if width > 1 else ["pca"]
        names = ["l2norm", *components, *(f"column {column}" for column in columns)]
        return [*self._given_filters, *names]

    @property
    def has_stability(self) -> bool:
        """Whether graphs tell how often their nodes come back in resamples."""
        return self._mapper.n_bootstrap > 0

    @property
    def _pair(self):
        """The filters of the mapper, one or two."""
        given = self._mapper.filter
        return list(given) if is_pair_of_filters(given) else [given]

    @property
    def _given_filters(self):
        """Those of the user's filters that have no names of their own."""
        given = [one for one in self._pair if not _has_name(one)]
        return dict(zip(["given", "given 2"], given, strict=False))

    def _name_of(self, filter):
        if _has_name(filter):
            return filter if isinstance(filter, str) else f"column {filter}"
        return next(k for k, one in self._given_filters.items() if one is filter)

    @property
    def covers(self) -> list[str]:
        """Names of the covers."""
        return list(_COVERS)

    @property
    def defaults(self) -> dict:
        """The initial parameters, without the view."""
        mapper = self._mapper
        names = [self._name_of(one) for one in self._pair]
        # A fitted mapper says what its own intervals came to.
        axes = mapper._mapper.axes if hasattr(mapper, "intervals_") else ()
        is_grid = len(names) == 2 or len(axes) == 2
        otherwise = N_INTERVALS_OF_GRID if is_grid else N_INTERVALS
        counts, eps = [len(axis) for axis in axes] or [otherwise] * 2, mapper.eps
        cover, n_intervals, overlap = map(
            _as_pair, (mapper.cover, mapper.n_intervals, mapper.overlap)
        )
        for k in (0, 1):
            if not isinstance(cover[k], str):
                n_intervals[k], overlap[k] = cover[k].n_intervals, cover[k].overlap
        kinds = [_name_of_cover(one) for one in cover]
        for k in range(1 + is_grid):
            # The page lays covers before the samples are seen.
            if kinds[k] not in _COVERS or n_intervals[k] == "auto":
                n_intervals[k], eps = counts[k], getattr(mapper, "eps_", eps)
        is_auto = isinstance(eps, str) or np.isinf(eps)
        second = n_intervals[1] if is_grid else N_INTERVALS_OF_GRID
        return {
            "filter": names[0],
            "cover": kinds[0] if kinds[0] in _COVERS else "uniform",
            "n_intervals": int(n_intervals[0]),
            "overlap": float(overlap[0]),
            "eps": "auto" if is_auto else float(eps),
            "min_samples": int(mapper.min_samples),
            "second_filter": names[1] if len(names) == 2 else NO_FILTER,
            "second_intervals": int(second),
        }

    def find(self, key: str) -> Graph | None:
        """Return a cached graph; None if it is no longer in the cache."""
        with self._lock:
            graph = self._graphs.get(key)
            if graph is not None:
                self._graphs.move_to_end(key)
        return graph

    def compute(
        self,
        parameters: GraphParameters,
        cancelled: threading.Event | None = None,
        *,
        soon: bool = False,
    ) -> Graph:
        """Compute a graph, or return it from the cache.

        The first graph of a view and filter takes a search for all neighbours that
        others could need. With `soon`, only those of this graph are searched for, which
        takes a fraction of the time, unless the others are known already; `look_ahead`
        finds them meanwhile. A graph that is being computed already is waited for. Once
        `cancelled` is set, SupersededError is raised at the next step.
        """
        key = parameters.key
        while True:
            graph = self.find(key)
            if graph is not None:
                return graph
            with self._lock:
                is_mine = key not in self._running
                ended = self._running.setdefault(key, threading.Event())
            if is_mine:
                break
            # Another thread is at it; if it gives up, the graph is computed here.
            while not ended.wait(_SECONDS_BETWEEN_LOOKS):
                _stop_if(cancelled)
        try:
            graph = self._compute(parameters, cancelled, soon)
            with self._lock:
                self._graphs[key] = graph
                while len(self._graphs) > self.n_kept:
                    self._graphs.popitem(last=False)
        finally:
            with self._lock:
                del self._running[key]
            ended.set()
        return graph

    def mean_purity(
        self, parameters: GraphParameters, cancelled: threading.Event | None = None
    ) -> float:
        """Return the weighted purity of a graph; purities are cached for longer."""
        purity = self._purities.get(parameters)
        if purity is None:
            purity = self.compute(parameters, cancelled, soon=True).mean_purity
            with self._lock:
                self._purities[parameters] = purity
                while len(self._purities) > _N_PURITIES:
                    self._purities.popitem(last=False)
        return purity

    def prepare(self) -> None:
        """Compute in the background the graphs that a page asks for first."""

        def compute():
            # The request for the graph raises the same error.
            with suppress(Exception):
                for view in self.run.opening:
                    self.compute(GraphParameters(view, **self.defaults), soon=True)

        threading.Thread(target=compute, daemon=True).start()

    def first_graph(self, view: int) -> FirstGraph | None:
        """Compute what can be stored of the graph that the page shows first of a view.

        None if it has no nodes: then there is a reason to tell.
        """
        parameters = GraphParameters(view, **self.defaults)
        graph = self.compute(parameters, soon=True)
        if graph.n_nodes == 0:
            return None
        names = {field.name for field in fields(FirstGraph)}
        found = {name: value for name, value in vars(graph).items() if name in names}
        return FirstGraph(**found | self._origin(parameters))

    def look_ahead(self, parameters: GraphParameters) -> None:
        """Search in the background for what other graphs of this view need."""
        key = parameters.view, parameters.filter
        with self._lock:
            if key in self._begun:
                return
            self._begun.add(key)
        mapper = self._make_mapper(parameters)

        def search():
            # Whoever needs them later searches again, and gets the error.
            with suppress(Exception):
                self._search(mapper, parameters)

        if _has_fast_search(mapper):
            threading.Thread(target=search, daemon=True).start()

    def _make_mapper(self, parameters):
        """Make a mapper for one computation; the cache of neighbours is shared."""
        filter = self._filter(parameters.filter)
        make, overlap = _COVERS[parameters.cover], parameters.overlap
        cover = make(parameters.n_intervals, overlap)
        if parameters.second_filter != NO_FILTER:
            filter = filter, self._filter(parameters.second_filter)
            cover = cover, make(parameters.second_intervals, overlap)
        return clone(self._warm_mapper).set_params(
            filter=filter, cover=cover, min_samples=parameters.min_samples,
            # An instance has its own.
            n_intervals="auto", overlap=overlap,
        )  # fmt: skip

    def _origin(self, parameters):
        """Return what a graph was computed from, to compare it with a stored one."""
        chosen = asdict(parameters)
        view = self.run.views[chosen.pop("view")]
        samples = digest(view.activations).hex()
        return {"parameters": chosen, "samples": samples, "version": __version__}

    def _compute(self, parameters, cancelled, soon):
        view = self.run.views[parameters.view]
        if self._is_usual and view.first is not None:
            origin, stored = self._origin(parameters), dict(vars(view.first))
            if origin == {name: stored.pop(name) for name in origin}:
                return self._with_classes(parameters, **stored)
        mapper = self._make_mapper(parameters)
        _stop_if(cancelled)
        if mapper.clusterer is None:
            eps = parameters.eps
            if _has_fast_search(mapper) and not (soon and self._is_unknown(parameters)):
                self._search(mapper, parameters)
            elif mapper.n_bootstrap == 0:
                # Neighbours of this graph alone are kept for no other.
                mapper.set_params(warm_start=False)
            if eps == "auto":
                eps = self._choose_eps(parameters.view, view.activations, mapper.n_jobs)
            mapper.set_params(eps=eps)
        _stop_if(cancelled)
        mapper.fit(view.activations)
        _stop_if(cancelled)
        return self._describe(parameters, mapper)

    def _is_unknown(self, parameters):
        return (parameters.view, parameters.filter) not in self._searched

    def _search(self, mapper, parameters):
        """Search for the neighbours of all graphs of a view and filter, once."""
        X = self.run.views[parameters.view].activations
        with self._search_locks[parameters.view]:
            if self._is_unknown(parameters):
                auto = self._choose_eps(parameters.view, X, mapper.n_jobs)
                # The neighbours are those of the first filter.
                alone = clone(mapper).set_params(eps=auto, n_bootstrap=0)
                alone.set_params(
                    filter=self._filter(parameters.filter),
                    cover=_COVERS[parameters.cover](
                        parameters.n_intervals, parameters.overlap
                    ),
                )
                alone.fit(X)
                self._searched.add((parameters.view, parameters.filter))

    def _choose_eps(self, i, X, n_jobs):
        """Choose the automatic eps of a view, once for all filters."""
        with self._eps_locks[i]:
            if i not in self._eps:
                how = self._mapper.min_samples, self._mapper.metric
                stored = self.run.views[i].eps
                if stored is None or how != (MIN_SAMPLES, "euclidean"):
                    stored = automatic_eps(X, *how, n_jobs)
                self._eps[i] = stored
        return self._eps[i]

    def _filter(self, name):
        if name in self._given_filters:
            return self._given_filters[name]
        if name.startswith("column "):
            return int(name.removeprefix("column "))
        return name

    def _describe(self, parameters, mapper):
        membership = mapper.membership_.tocsc()
        membership.sort_indices()
        shared = [n for *_, n in mapper.graph_.edges(data="weight")]
        nodes = mapper.describe()
        interval = nodes["interval"].to_numpy()
        second = means = None
        if "first_interval" in nodes:
            interval, second, means = (
                nodes[name].to_numpy()
                for name in ("first_interval", "second_interval", "second_filter_mean")
            )
        return self._with_classes(
            parameters,
            eps=mapper.eps_,
            indptr=membership.indptr,
            members=membership.indices,
            interval=interval,
            filter_mean=nodes["filter_mean"].to_numpy(),
            edges=mapper.edges_,
            n_shared=np.array(shared, dtype=np.int64),
            n_intervals=len(mapper._mapper.axes[0]),
            note=mapper.note_,
            stability=mapper.stability_.nodes if self.has_stability else None,
            edge_stability=mapper.stability_.edges if self.has_stability else None,
            second_interval=second,
            second_filter_mean=means,
        )

    def _with_classes(self, parameters, *, indptr, members, **found):
        """Add to what a mapper found which classes its nodes hold."""
        y, classes = self.run.y, np.arange(len(self.run.class_names))
        is_right = y == self.run.views[parameters.view].prediction
        membership = csc_matrix(
            (np.ones(len(members)), members, indptr), (len(y), len(indptr) - 1)
        )
        counts, _ = count_labels(membership, y, labels=classes)
        return Graph(
            parameters=parameters,
            n_samples=self.run.n_samples,
            indptr=indptr,
            members=members,
            counts=counts.astype(np.int64),
            # As MapperGraph does: evenly mixed are the labels that samples have.
            purity=purity_of_counts(counts[:, np.unique(y)]),
            accuracy=membership.T @ is_right / np.maximum(np.diff(indptr), 1),
            **found,
        )


def _has_name(filter):
    return isinstance(filter, str | int | np.integer)


def _as_pair(value):
    return list(value) if isinstance(value, list | tuple) else [value, value]


def _name_of_cover(cover):
    """Return the name of a cover; one that splits intervals has none here."""
    if isinstance(cover, str):
        return cover
    if isinstance(cover, AdaptiveCover | GMapperCover):
        return ""
    if isinstance(cover, BalancedCover):
        return "balanced"
    return "kepler" if cover.convention == "kepler" else "uniform"


def _has_fast_search(mapper):
    """Only the Euclidean metric has a fast search whose neighbours are cached."""
    return mapper.clusterer is None and mapper.metric == "euclidean"


def _stop_if(cancelled):
    if cancelled is not None and cancelled.is_set():
        raise SupersededError
