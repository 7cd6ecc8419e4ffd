"""Mapper graphs: the shape of a point cloud as a graph of overlapping clusters."""

import warnings
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from itertools import starmap
from numbers import Integral, Real
from typing import Any, Self

import networkx as nx
import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy.sparse import csr_matrix
from sklearn.base import (
    BaseEstimator,
    ClassNamePrefixFeaturesOutMixin,
    TransformerMixin,
)
from sklearn.utils import Bunch
from sklearn.utils.validation import check_is_fitted, validate_data

from robustkit._sklearn_private import (
    HasMethods,
    Interval,
    StrOptions,
    _clone_parametrized,
    _fit_context,
    validate_parameter_constraints,
)
from robustkit._summary import HTMLSummaryMixin, facts_as_html
from robustkit.topology._cover import (
    COVER_CONSTRAINTS,
    AdaptiveCover,
    BalancedCover,
    GMapperCover,
    UniformCover,
)
from robustkit.topology._filters import is_pair_of_filters
from robustkit.topology._mapper import CELL_NAMES, build_mapper, place_samples
from robustkit.topology._purity import (
    count_labels,
    node_accuracy,
    purity_of_counts,
    weak_samples,
    weighted_average_purity,
)
from robustkit.topology._stability import resample_mapper
from robustkit.topology.neighbors import (
    METRIC_NAMES,
    NeighborCache,
    products_on,
    typical_distance,
)

_Filter = str | int | Callable | ArrayLike
_Cover = str | UniformCover | BalancedCover | GMapperCover | AdaptiveCover

_COVERS = {"uniform": UniformCover, "balanced": BalancedCover, "gmapper": GMapperCover}

# What one filter may be, and what goes with it; of two, there may be a pair.
_OF_ONE_FILTER = {
    "filter": [
        StrOptions({"l2norm", "pca", "pc2"}),
        Interval(Integral, 0, None, closed="left"),
        callable,
        "array-like",
    ],
    "cover": [StrOptions(set(_COVERS)), *_COVERS.values(), AdaptiveCover],
    "n_intervals": [StrOptions({"auto"}), *COVER_CONSTRAINTS["n_intervals"]],
    "overlap": COVER_CONSTRAINTS["overlap"],
}

# A graph of more nodes has no small picture.
_LARGEST_PICTURE = 400


class MapperGraph(
    HTMLSummaryMixin, ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator
):
    """The shape of a point cloud as a graph of overlapping clusters.

    A filter gives each sample one number. Overlapping intervals cover the values. The
    samples of each interval are clustered; a cluster is a node. Two nodes that share a
    sample are joined by an edge. Two filters are covered by a grid, whose cells are
    what an interval of the first and one of the second have in common.

    Parameters
    ----------
    filter : {"l2norm", "pca", "pc2"}, int, callable, array-like of shape (n_samples,) \
            or (n_samples, 2), or a pair of these, default="l2norm"
        One number per sample: its Euclidean norm, its coordinate along the first or the
        second principal component, a column of `X`, what the function returns for `X`,
        or the value given for each training sample (then only these can be
        transformed). A list or tuple of two of these, or two columns, make a grid:
        ``("pca", "pc2")``. A list of two integers is a pair of columns of `X`. Samples
        on a line have no second component: it is 0 for all of them.

    cover : {"uniform", "balanced", "gmapper"}, UniformCover, BalancedCover, \
            GMapperCover or AdaptiveCover, or a pair of these, default="uniform"
        Intervals of one length, intervals that contain equally many samples, or
        intervals that are split until the values in each look normally distributed. An
        instance has its own `n_intervals` and `overlap`. Of two filters, each is
        covered as if it were alone: both in the same way, or, with a pair, each in its
        own.

    n_intervals : "auto" or int, or a pair of these, default="auto"
        Number of intervals, of each filter if there are two; for "gmapper" the maximum.
        "auto" is the most intervals, up to 100 (10 of each of two filters), of which
        one holds both of any two samples that are near, so that no chain of samples is
        cut: near as `eps` says, or else as the pieces of the shape are connected. Where
        that makes fewer than 5 (fewer than 3, if none of 3 intervals of equal length
        would hold more than two thirds of the samples), along each of two filters, the
        samples are too sparse to show a shape, and there are 40 (10 of each).

    overlap : float, or a pair of floats, default=0.3
        Share of an interval that it has in common with the next one, in (0, 1). For
        "gmapper", see `overlap` of :class:`GMapperCover`.

    clusterer : estimator, default=None
        Clusters the samples of each interval; a clone of it is fitted to each. None is
        :class:`~sklearn.cluster.DBSCAN` with `eps`, `min_samples` and `metric`. With
        another clusterer these are ignored, except for `metric` in `transform`.

    eps : {"auto", "connected", "knee"} or float, default="auto"
        Maximum distance at which samples are neighbours. "connected" is 1.75 times the
        distance at which the pieces of the shape are connected. "knee" sorts the
        distances of all samples to their `min_samples`-th neighbour and takes the knee,
        the one farthest from the straight line between the smallest and the largest,
        plus a millionth of it, so that rounding decides about no pair. "auto" is
        "connected" if the cover chooses its intervals itself and the samples are dense
        enough to show a shape (see `n_intervals`); else, and with a given number of
        intervals, "knee".

    min_samples : int, default=5
        Number of samples within `eps`, itself included, that make a sample a core
        sample.

    metric : str or callable, default="euclidean"
        Any metric that :class:`~sklearn.cluster.DBSCAN` accepts, except "precomputed".
        "minkowski" has the power 2; "seuclidean" learns the variances of the features
        and "mahalanobis" their covariance from all samples of `fit`. The fast search
        for neighbours supports the Euclidean distance only.

    warm_start : bool, default=False
        Keep the neighbours found, so that the next fit to the same data, with another
        cover, `n_intervals`, `overlap` or `min_samples` and the same distance or a
        smaller one, reuses them. Clones share them, so that a grid search benefits too.
        The first fit then searches for all neighbours that any cover could need.

    n_bootstrap : int, default=0
        Number of resamples, each of four fifths of the samples, drawn without
        replacement. Each is clustered in the same intervals, with the same filter and
        distance, and `stability_` tells how often each part of the graph comes back. 0
        draws none.

    n_jobs : int or None, default=None
        Number of threads. None is 1 unless in a :obj:`joblib.parallel_config` context.

    device : str, default="cpu"
        Where `fit` computes the Euclidean distances of samples with 64 features or
        more, as blocks of products: "cpu", "cuda", "cuda:<index>", or "auto", which is
        CUDA where there is one. The graph is the same.

    random_state : int, RandomState instance or None, default=None
        Draws the resamples. Pass an int for reproducible results.

    Attributes
    ----------
    membership_ : csr_matrix of shape (n_samples, n_nodes)
        1.0 where a training sample lies in a node. Nodes are numbered interval by
        interval, or cell by cell.

    graph_ : networkx.Graph
        The nodes, with `interval` and `size`, with two filters also `first_interval`
        and `second_interval`, and the edges, with `weight`, the number
        of shared samples, and `jaccard`, their share of the samples of the two nodes;
        with `n_bootstrap` both also with `stability`.

    edges_ : ndarray of shape (n_edges, 2)
        The pairs of nodes that share a sample, the smaller number first.

    intervals_ : ndarray of shape (n_intervals, 2) or (n_cells, 2, 2)
        First and last value of each closed interval. Fewer than `n_intervals` where
        several would be the same; a constant filter has one. With two filters, the two
        intervals of each cell, row by row: all cells of the first interval of the first
        filter come first. The `interval` of a node says which of these is its own.

    eps_ : float
        The distance used; infinity for a clusterer that has none.

    noise_ : ndarray of shape (n_noise,)
        The training samples that lie in no node.

    n_noise_ : int
        Number of these samples.

    stability_ : :class:`~sklearn.utils.Bunch`
        What comes back in resamples (see Notes). Only with `n_bootstrap`.

        - nodes : ndarray of shape (n_nodes,), the share of resamples that have the node
        - edges : ndarray of shape (n_edges,), the same of `edges_`
        - components : DataFrame with a row for each: `nodes`, `n_samples`, `stability`
        - loops : DataFrame with a row for each independent loop: `nodes`, in their
          order along the loop, and `stability`
        - instability : float in [0, 1], that of [3]_; NaN with a single resample
        - resamples : DataFrame with a row for each: `n_nodes`, `n_edges`,
          `n_components`, `n_loops`

    n_features_in_ : int
        Number of features seen during fit.

    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Names of features seen during fit. Defined only when `X` has feature names
        that are all strings.

    See Also
    --------
    UniformCover : Intervals of one length, in two conventions.
    BalancedCover : Intervals that hold equally many samples.
    GMapperCover : Intervals split by the distribution of the filter.
    AdaptiveCover : Intervals split by how well clusters describe the samples.
    robustkit.plotting.MapperGraphDisplay : A picture of the graph.

    Notes
    -----
    The nodes are those of scikit-learn's DBSCAN in every interval, with Euclidean
    distances in float64 whatever the dtype of `X`; but each pair of neighbours is found
    once, not once for each interval that contains it.

    `transform` finds the intervals by the filter values of a new sample, which may lie
    in none; in each, the sample belongs to the node of the nearest core sample within
    `eps_` (of the nearest sample, for a clusterer without core samples). A sample equal
    to a training sample lies in the nodes of that sample.

    A resample has a node if one of its own, in the same interval, has a Jaccard
    similarity with it above 1/2, counted over the samples drawn: more of them lie in
    both nodes than in one only. At most one node can be so similar. It has a component
    on the same condition, for the samples of all nodes of the component; an edge if it
    has both nodes, and they are joined; a loop if the nodes more than half of whose
    samples lie in nodes of the loop hold one that reaches from its first interval to
    its last, with two filters of each. Three nodes that share a sample fill the
    triangle between them, so that it is no loop. The instability is the share of
    samples that lie in different clusters in two resamples that both hold them,
    averaged over pairs of resamples (the nearest 5,000 pairs, of more). Clusters are
    matched interval by interval so that as few samples as possible differ; [3]_
    minimise over all intervals together, which may give less where many samples lie in
    several.

    Resamples hold no sample twice, because copies would pass for clusters of their own:
    with replacement, graphs of noisy data have several times as many components. They
    reuse the neighbours found for the graph, unless these are too many to be
    kept or another clusterer or metric is used; then every resample is searched anew.

    References
    ----------
    .. [1] G. Singh, F. Memoli, G. Carlsson, "Topological methods for the analysis of
       high dimensional data sets and 3D object recognition", Eurographics Symposium on
       Point-Based Graphics, 2007. doi:10.2312/SPBG/SPBG07/091-100
    .. [2] Y. Zhou, Y. Zhou, J. Ding, B. Wang, "Visualizing and analyzing the topology
       of neuron activations in deep adversarial training", Topology, Algebra, and
       Geometry in Machine Learning, PMLR 221, 2023.
    .. [3] F. Belchi, J. Brodzki, M. Burfitt, M. Niranjan, "A numerical measure of the
       instability of Mapper-type algorithms", Journal of Machine Learning Research
       21(202), 2020.
    .. [4] M. Carriere, B. Michel, S. Oudot, "Statistical analysis and parameter
       selection for mapper", Journal of Machine Learning Research 19, 2018.

    Examples
    --------
    >>> import numpy as np
    >>> from robustkit.topology import MapperGraph
    >>> angle = np.linspace(0, 2 * np.pi, 200, endpoint=False)
    >>> circle = np.column_stack([np.cos(angle), np.sin(angle)])
    >>> mapper = MapperGraph("pca", n_intervals=4, eps=0.2).fit(circle)
    >>> mapper.graph_.number_of_nodes(), mapper.graph_.number_of_edges()
    (6, 6)

    Without parameters, as many intervals as the samples can bear:

    >>> mapper = MapperGraph("pca").fit(circle)
    >>> mapper.graph_.number_of_nodes() == mapper.graph_.number_of_edges()
    True

    Two filters, and a grid of 3 x 4 cells:

    >>> mapper = MapperGraph(("pca", "pc2"), n_intervals=(3, 4), eps=0.2).fit(circle)
    >>> mapper.intervals_.shape
    (12, 2, 2)
    """

    membership_: csr_matrix
    graph_: nx.Graph
    edges_: NDArray
    intervals_: NDArray
    eps_: float
    noise_: NDArray
    n_noise_: int
    stability_: Bunch
    n_features_in_: int
    feature_names_in_: NDArray

    _parameter_constraints: dict = {
        **{name: [*one, list, tuple] for name, one in _OF_ONE_FILTER.items()},
        "clusterer": [HasMethods(["fit_predict", "get_params"]), None],
        "eps": [
            StrOptions({"auto", "knee", "connected"}),
            Interval(Real, 0, None, closed="neither"),
        ],
        "min_samples": [Interval(Integral, 1, None, closed="left")],
        "metric": [StrOptions(METRIC_NAMES), callable],
        "warm_start": ["boolean"],
        "n_bootstrap": [Interval(Integral, 0, None, closed="left")],
        "n_jobs": [Integral, None],
        "device": "no_validation",
        "random_state": ["random_state"],
    }

    def __init__(
        self,
        filter: _Filter | Sequence[_Filter] = "l2norm",
        *,
        cover: _Cover | Sequence[_Cover] = "uniform",
        n_intervals: str | int | Sequence[str | int] = "auto",
        overlap: float | Sequence[float] = 0.3,
        clusterer: BaseEstimator | None = None,
        eps: str | float = "auto",
        min_samples: int = 5,
        metric: str | Callable = "euclidean",
        warm_start: bool = False,
        n_bootstrap: int = 0,
        n_jobs: int | None = None,
        device: str = "cpu",
        random_state: int | np.random.RandomState | None = None,
    ) -> None:
        self.filter = filter
        self.cover = cover
        self.n_intervals = n_intervals
        self.overlap = overlap
        self.clusterer = clusterer
        self.eps = eps
        self.min_samples = min_samples
        self.metric = metric
        self.warm_start = warm_start
        self.n_bootstrap = n_bootstrap
        self.n_jobs = n_jobs
        self.device = device
        self.random_state = random_state

    def __sklearn_clone__(self):
        copy = _clone_parametrized(self)
        if self.warm_start:
            copy._cache = self._warm_cache()
        return copy

    def _warm_cache(self):
        """Return what keeps neighbours for the next fits, also those of clones."""
        if getattr(self, "_cache", None) is None:
            self._cache = NeighborCache()
        return self._cache

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X: ArrayLike, y: Any = None) -> Self:
        """Build the graph.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            The point cloud, for example activations. Arrays and memory maps of float32
            and float64 are not copied where their rows are contiguous; float16 becomes
            float32, which changes no value.

        y : None, default=None
            Ignored.

        Returns
        -------
        self : object
            The fitted estimator.
        """
        samples = validate_data(
            self, _widen_halves(X), dtype=[np.float64, np.float32], order="C"
        )
        self._check_pairs()
        self._check_resamples()
        # Without warm start nothing found before is of use any longer.
        self._cache = self._warm_cache() if self.warm_start else None
        with products_on(self.device):
            mapper = build_mapper(
                samples, filter=self.filter, cover=self._make_cover(),
                clusterer=self.clusterer, eps=self.eps, min_samples=self.min_samples,
                metric=self.metric, cache=self._cache, n_jobs=self.n_jobs,
            )  # fmt: skip
        # Only resamples ask for neighbours.
        self._mapper, self._fit_X = replace(mapper, neighbors=None), samples
        self.intervals_, self.eps_ = mapper.intervals, mapper.eps
        self.membership_, self.edges_ = mapper.membership, mapper.edges
        self.graph_ = mapper.graph
        self.noise_ = np.flatnonzero(np.diff(mapper.membership.indptr) == 0)
        self.n_noise_ = len(self.noise_)
        self._doubt(mapper)
        if self._n_features_out == 0:
            self._warn_of_an_empty_graph(samples)
        return self

    def _check_pairs(self):
        """Check what is given for each of two filters."""
        for name, constraints in _OF_ONE_FILTER.items():
            value = getattr(self, name)
            if name == "filter" and not is_pair_of_filters(value):
                continue
            if not isinstance(value, list | tuple):
                continue
            if len(value) != 2:
                raise ValueError(
                    f"The {name!r} parameter must be one, or a pair, for two filters. "
                    f"Got {value!r}."
                )
            for one in value:
                validate_parameter_constraints(
                    {name: constraints}, {name: one}, type(self).__name__
                )

    def _check_resamples(self):
        """Refuse clusterers to which the columns of X are the samples."""
        params = {} if self.clusterer is None else self.clusterer.get_params()
        if self.n_bootstrap and "precomputed" in (
            params.get("metric"), params.get("affinity")
        ):  # fmt: skip
            raise ValueError(
                "The 'n_bootstrap' parameter must be 0 with precomputed distances, "
                "whose columns cannot be drawn with their rows. Got "
                f"{self.n_bootstrap} and clusterer={self.clusterer!r}."
            )

    def _doubt(self, mapper):
        """Draw resamples, if any are wanted."""
        # Those of an earlier fit say nothing of this one.
        self.__dict__.pop("stability_", None)
        if self.n_bootstrap:
            self.stability_ = resample_mapper(
                mapper, self.n_bootstrap, self.random_state, n_jobs=self.n_jobs
            )
            nodes = dict(enumerate(self.stability_.nodes.tolist()))
            edges = map(tuple, self.edges_.tolist())
            edges = dict(zip(edges, self.stability_.edges.tolist(), strict=True))
            nx.set_node_attributes(self.graph_, nodes, "stability")
            nx.set_edge_attributes(self.graph_, edges, "stability")

    def _make_cover(self):
        """Return a cover, or what makes one; a pair if the two filters differ."""
        given = self.cover, self.n_intervals, self.overlap
        if not any(isinstance(value, list | tuple) for value in given):
            return _make_cover(*given)
        pairs = [v if isinstance(v, list | tuple) else (v, v) for v in given]
        return tuple(starmap(_make_cover, zip(*pairs, strict=True)))

    def _warn_of_an_empty_graph(self, X):
        warnings.warn(self._explain_an_empty_graph(X), UserWarning, stacklevel=4)

    def _explain_an_empty_graph(self, X):
        message = "No cluster was found: every sample is noise"
        if self.clusterer is not None:
            return f"{message} to {self.clusterer!r}. Try other parameters of it."
        if len(X) < self.min_samples:
            return (
                f"{message}. X has {len(X)} sample(s), and min_samples is "
                f"{self.min_samples}. Try a smaller min_samples."
            )
        median = typical_distance(X, self.min_samples, *self._mapper.metric)
        return (
            f"{message}. eps is {self.eps_:.3g} and min_samples {self.min_samples}, "
            f"but the median distance to neighbour number {self.min_samples} is "
            f"{median:.3g}. Try a larger eps, a smaller min_samples or fewer intervals."
        )

    @property
    def _n_features_out(self):
        return self.membership_.shape[1]

    def fit_transform(self, X: ArrayLike, y: Any = None) -> csr_matrix:
        """Build the graph and return which sample lies in which node.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            The point cloud.

        y : None, default=None
            Ignored.

        Returns
        -------
        membership : csr_matrix of shape (n_samples, n_nodes)
            1.0 where the sample lies in the node.
        """
        return self.fit(X, y).membership_.copy()

    def transform(self, X: ArrayLike) -> csr_matrix:
        """Find the nodes in which samples lie.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Samples, of the training data or new.

        Returns
        -------
        membership : csr_matrix of shape (n_samples, n_nodes)
            1.0 where the sample lies in the node.
        """
        check_is_fitted(self)
        dtype = self._fit_X.dtype
        samples = validate_data(self, X, reset=False, dtype=dtype, order="C")
        return place_samples(self._mapper, samples, self.n_jobs)

    def score(self, X: ArrayLike, y: ArrayLike) -> float:
        """Average the purity of the nodes, weighted by the samples in them.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Samples.

        y : array-like of shape (n_samples,)
            Their labels. The purity of a node is 0 if all labels are equally frequent
            in it.

        Returns
        -------
        purity : float
            In [0, 1]; 0 if no sample lies in a node. Samples in no node are ignored.
        """
        return weighted_average_purity(self.transform(X), y)

    def describe(
        self, y: ArrayLike | None = None, y_pred: ArrayLike | None = None
    ) -> pd.DataFrame:
        """Describe every node.

        Parameters
        ----------
        y : array-like of shape (n_samples,), default=None
            Labels of the training samples.

        y_pred : array-like of shape (n_samples,), default=None
            Predicted labels of the training samples.

        Returns
        -------
        nodes : DataFrame of shape (n_nodes, n_columns)
            `interval`, `size` and `filter_mean`, the mean filter value. With two
            filters also `first_interval`, `second_interval` and `second_filter_mean`;
            `filter_mean` is then that of the first. With `n_bootstrap` also
            `stability`, the share of resamples that have the node. With `y` also
            `purity`, `majority`, the most frequent label, and `count_<label>` for each
            label. With `y` and `y_pred` also `accuracy`.
        """
        check_is_fitted(self)
        mapper, means = self._mapper, self._mapper.filter_means
        columns = {"interval": mapper.node_intervals, "size": mapper.node_sizes}
        if means.ndim == 2:
            columns |= dict(zip(CELL_NAMES, mapper.node_cells, strict=True))
            columns |= {"filter_mean": means[:, 0], "second_filter_mean": means[:, 1]}
        else:
            columns["filter_mean"] = means
        nodes = pd.DataFrame(
            columns, index=pd.RangeIndex(self._n_features_out, name="node")
        )
        if hasattr(self, "stability_"):
            nodes["stability"] = self.stability_.nodes
        if y is None:
            if y_pred is not None:
                raise ValueError("The 'y_pred' parameter needs 'y' to compare with.")
            return nodes
        counts, labels = count_labels(self.membership_, y)
        nodes["purity"] = purity_of_counts(counts)
        if y_pred is not None:
            nodes["accuracy"] = node_accuracy(self.membership_, y, y_pred)
        nodes["majority"] = labels[counts.argmax(axis=1)]
        columns = [f"count_{label}" for label in labels]
        counts = pd.DataFrame(counts.astype(int), index=nodes.index, columns=columns)
        return nodes.join(counts)

    def describe_edges(self) -> pd.DataFrame:
        """Describe every edge.

        Returns
        -------
        edges : DataFrame of shape (n_edges, 4)
            `source` and `target`, the two nodes; `weight`, the number of samples that
            they share; `jaccard`, what share it is of all samples of the two, in
            (0, 1].
        """
        check_is_fitted(self)
        source, target = self.edges_.T
        return pd.DataFrame(
            {
                "source": source,
                "target": target,
                "weight": self._mapper.n_shared,
                "jaccard": self._mapper.jaccard,
            },
            index=pd.RangeIndex(len(self.edges_), name="edge"),
        )

    def weak_samples(
        self, y: ArrayLike, y_pred: ArrayLike, budget: float | int = 0.2
    ) -> NDArray:
        """Collect the misclassified samples of the least accurate nodes.

        Parameters
        ----------
        y : array-like of shape (n_samples,)
            Labels of the training samples.

        y_pred : array-like of shape (n_samples,)
            Predicted labels of the training samples.

        budget : float or int, default=0.2
            Maximum number of samples, or maximum share of the training samples.

        Returns
        -------
        indices : ndarray of shape (n_selected,)
            Samples, those of the least accurate node first. Nodes of equal accuracy
            keep their order, and so do the samples of a node.
        """
        check_is_fitted(self)
        return weak_samples(self.membership_, y, y_pred, budget)

    def _html_summary(self):
        n_samples, n_nodes = self.membership_.shape
        share = self.n_noise_ / n_samples
        facts = {
            "nodes": n_nodes,
            "edges": len(self.edges_),
            "components": nx.number_connected_components(self.graph_),
            "samples in no node": f"{self.n_noise_:,} of {n_samples:,} ({share:.1%})",
            "eps_": float(self.eps_),
        }
        if not 0 < n_nodes <= _LARGEST_PICTURE:
            return facts_as_html(facts)
        # Of a grid, each row of cells is a column of the picture.
        intervals, sizes = self._mapper.node_cells[0], self._mapper.node_sizes
        return facts_as_html(facts) + graph_as_svg(intervals, sizes, self.edges_)


def _make_cover(cover, n_intervals, overlap):
    if not isinstance(cover, str):
        return cover
    if cover == "gmapper":
        cover = GMapperCover(overlap=overlap)
        is_free = n_intervals == "auto"
        return cover if is_free else replace(cover, max_intervals=n_intervals)
    make = partial(_COVERS[cover], overlap=overlap)
    return make if n_intervals == "auto" else make(n_intervals)


def _widen_halves(X):
    """Turn float16 into float32, which changes no value, and not into float64."""
    if getattr(X, "dtype", None) == np.float16:
        return X.astype(np.float32)
    return X


def graph_as_svg(intervals: NDArray, sizes: NDArray, edges: NDArray) -> str:
    """Draw a mapper graph, small: intervals from left to right, components stacked."""
    x, y = intervals - intervals.min(), _rows(intervals, edges)
    width, height = int(x.max()) + 1, int(np.ceil(y.max())) + 1
    places = list(zip((x + 0.5).tolist(), (y + 0.5).round(2).tolist(), strict=True))
    lines = (
        f'<line x1="{places[i][0]}" y1="{places[i][1]}" x2="{places[j][0]}" '
        f'y2="{places[j][1]}"/>'
        for i, j in edges.tolist()
    )
    radii = 0.18 + 0.27 * np.sqrt(sizes / sizes.max())
    discs = (
        f'<circle cx="{a}" cy="{b}" r="{r:.2f}"><title>node {i}: {n} samples</title>'
        "</circle>"
        for i, ((a, b), r, n) in enumerate(zip(places, radii, sizes, strict=True))
    )
    # As wide as a column of text, and no more than a few lines high.
    scale = min(20.0, 480 / width, 240 / height)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
        f'width="{scale * width:.0f}" height="{scale * height:.0f}" role="img" '
        f'aria-label="Mapper graph of {len(sizes)} nodes">'
        f'<g stroke="#8a949e" stroke-width="0.07">{"".join(lines)}</g>'
        f'<g fill="#0072B2" stroke="#14202a" stroke-width="0.03">{"".join(discs)}</g>'
        "</svg>"
    )


def _rows(intervals, edges):
    """Rows of the nodes: each component lies below those larger than it.

    In an interval, the nodes of a component are in the order of their neighbours.
    """
    graph = nx.Graph(edges.tolist())
    graph.add_nodes_from(range(len(intervals)))
    components = sorted(nx.connected_components(graph), key=lambda c: (-len(c), min(c)))
    y = np.zeros(len(intervals))
    free = np.zeros(intervals.max() + 1)
    for component in map(sorted, components):
        columns = [
            [node for node in component if intervals[node] == column]
            for column in np.unique(intervals[component])
        ]
        for sweep in range(4):
            for column in columns if sweep % 2 == 0 else columns[::-1]:
                around = [[y[j] for j in graph[node]] or [y[node]] for node in column]
                order = np.argsort([np.mean(rows) for rows in around], kind="stable")
                tallest = max(map(len, columns))
                for row, k in enumerate(order):
                    y[column[k]] = row + (tallest - len(column)) / 2
        span = slice(intervals[component].min(), intervals[component].max() + 1)
        top = free[span].max()
        y[component] += top
        free[span] = top + tallest
    return y
