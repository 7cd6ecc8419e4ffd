"""A distribution over graphs, as a scikit-learn transformer."""

from collections.abc import Callable, Mapping
from numbers import Integral, Real
from typing import Any, Self

import networkx as nx
import numpy as np
import pandas as pd
import scipy.sparse as sp
from numpy.random import RandomState
from numpy.typing import ArrayLike, NDArray
from sklearn.base import (
    BaseEstimator,
    ClassNamePrefixFeaturesOutMixin,
    TransformerMixin,
    clone,
)
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted, validate_data

from robustkit._randomness import draw_seed
from robustkit._sklearn_private import Interval, StrOptions, _fit_context
from robustkit.graphs._edges import ORIENTATIONS
from robustkit.graphs._generators import GENERATORS
from robustkit.graphs._layered_graph import LayeredGraph

__all__ = ["GraphPrior", "default_prior", "draw_structure", "sink_outputs"]


class GraphPrior(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):
    r"""Draw the structure of a network from a distribution over graphs.

    A random graph is drawn, its edges are directed so that there is no cycle, and its
    vertices are put in layers: a prior on what a network may look like before it has
    seen any data. As a transformer it computes random features, the outputs of such a
    network before training.

    Parameters
    ----------
    generator : str or callable, default="watts_strogatz"
        How a graph is drawn. Each generator uses some of the parameters below, and
        ignores the others:

        - "watts_strogatz": a ring, each vertex joined to `n_neighbors` on each side,
          *both* ends of every edge rewired with probability `rewiring`, as in igraph.
          Self-loops and parallel edges are dropped.
        - "watts_strogatz_networkx": the same, but only the far end is rewired, as in
          networkx. No edge is lost.
        - "newman_watts": a ring, to which a random edge is added for each of its own,
          with probability `rewiring`.
        - "lattice": a square grid, each vertex joined to the `n_neighbors` nearest in
          each of the four directions. Nothing is random.
        - "relational": a small world whose vertices stand in each of `n_blocks` rounds,
          and are joined to themselves and their neighbours in the next round. It has
          `edge_probability` of all edges, rewired with probability `rewiring` [3]_.
        - "degree_sequence": vertex i has ``degrees[i]`` edges, at random.
        - "erdos_renyi": any two vertices are joined with `edge_probability`.
        - "barabasi_albert": vertices are added one by one, each joined to
          `n_attachments` earlier ones, preferably to those of high degree.
        - "random_regular": every vertex has ``2 * n_neighbors`` edges, at random.
        - "stochastic_block": `n_blocks` blocks; two vertices are joined with
          `edge_probability` within a block, and `rewiring` times that between blocks.
        - "geometric": points in the unit square, joined within a radius, which is
          chosen so that two of them are joined with `edge_probability`.
        - A callable ``(n_nodes, random_state) -> networkx.Graph``, where `random_state`
          is an int. A directed graph it returns must be acyclic, and keeps its
          directions.

    n_nodes : int, default=100
        Number of vertices.

    n_neighbors : int, default=2
        Neighbours on each side of a ring; half the degree of a regular graph.

    rewiring : float, default=0.5
        Probability that an end of an edge is moved to a random vertex.

    edge_probability : float, default=0.05
        Probability that two vertices are joined.

    n_attachments : int, default=2
        Number of edges that a new vertex adds.

    n_blocks : int, default=4
        Number of blocks, or of rounds.

    degrees : array-like of shape (n_nodes,), default=None
        Number of edges of each vertex. None is ``2 * n_neighbors`` for all.

    orientation : {"index", "random", "degree"}, default="index"
        The order that every edge follows: the index of the vertices (the lower triangle
        of the adjacency matrix), a random order, or their degree (the lower index first
        among equals).

    random_state : int, RandomState instance or None, default=None
        Draws the graph and, in `fit`, the weights. Pass an int for the same graph on
        every call.

    Attributes
    ----------
    structure_ : LayeredGraph
        The graph drawn by `fit`.

    properties_ : Series
        Its :func:`graph_properties`.

    input_weights_ : ndarray of shape (n_features, n_sources)
        Weight of each feature at each source.

    edge_weights_ : ndarray of shape (n_edges,)
        Weight of each edge of `structure_`.

    biases_ : ndarray of shape (n_nodes,)
        Bias of each vertex.

    n_features_in_ : int
        Number of features seen during `fit`.

    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Names of the features seen during `fit`, if all of them are strings.

    See Also
    --------
    LayeredGraph : What a prior draws.
    graph_properties : Measures of a graph.

    Notes
    -----
    A vertex without predecessors receives every feature, any other its predecessors;
    all are rectified linear units. Weights are uniform with He's bound
    :math:`\sqrt{6 / k}`, where :math:`k` is the number of inputs that the vertex
    actually has; biases are normal with standard deviation 0.1.

    References
    ----------
    .. [1] Ben Amor, M., Stier, J., & Granitzer, M. (2021). Correlation Analysis between
       the Robustness of Sparse Neural Networks and their Random Hidden Structural
       Priors. Procedia Computer Science, 192, 4073-4082.
       :doi:`10.1016/j.procs.2021.09.182`

    .. [2] Watts, D. J., & Strogatz, S. H. (1998). Collective dynamics of "small-world"
       networks. Nature, 393, 440-442. :doi:`10.1038/30918`

    .. [3] You, J., Leskovec, J., He, K., & Xie, S. (2020). Graph Structure of Neural
       Networks. ICML. :doi:`10.48550/arXiv.2007.06559`

    Examples
    --------
    >>> from robustkit.graphs import GraphPrior
    >>> prior = GraphPrior(n_nodes=500, rewiring=0.7, random_state=0)
    >>> graph = prior.sample()
    >>> graph
    LayeredGraph(...)

    As random features before a linear model:

    >>> from sklearn.datasets import load_digits
    >>> from sklearn.linear_model import RidgeClassifier
    >>> from sklearn.pipeline import make_pipeline
    >>> from sklearn.preprocessing import MinMaxScaler
    >>> X, y = load_digits(return_X_y=True)
    >>> model = make_pipeline(MinMaxScaler(), prior, RidgeClassifier())
    >>> round(model.fit(X[:1000], y[:1000]).score(X[1000:], y[1000:]), 1)
    0.9
    """

    _parameter_constraints: dict = {
        "generator": [StrOptions(set(GENERATORS)), callable],
        "n_nodes": [Interval(Integral, 1, None, closed="left")],
        "n_neighbors": [Interval(Integral, 1, None, closed="left")],
        "rewiring": [Interval(Real, 0, 1, closed="both")],
        "edge_probability": [Interval(Real, 0, 1, closed="both")],
        "n_attachments": [Interval(Integral, 1, None, closed="left")],
        "n_blocks": [Interval(Integral, 1, None, closed="left")],
        "degrees": ["array-like", None],
        "orientation": [StrOptions(set(ORIENTATIONS))],
        "random_state": ["random_state"],
    }

    structure_: LayeredGraph
    input_weights_: NDArray
    edge_weights_: NDArray
    biases_: NDArray
    n_features_in_: int
    feature_names_in_: NDArray

    def __init__(
        self,
        generator: str | Callable[[int, int], nx.Graph] = "watts_strogatz",
        *,
        n_nodes: int = 100,
        n_neighbors: int = 2,
        rewiring: float = 0.5,
        edge_probability: float = 0.05,
        n_attachments: int = 2,
        n_blocks: int = 4,
        degrees: ArrayLike | None = None,
        orientation: str = "index",
        random_state: int | RandomState | None = None,
    ) -> None:
        self.generator = generator
        self.n_nodes = n_nodes
        self.n_neighbors = n_neighbors
        self.rewiring = rewiring
        self.edge_probability = edge_probability
        self.n_attachments = n_attachments
        self.n_blocks = n_blocks
        self.degrees = degrees
        self.orientation = orientation
        self.random_state = random_state

    def sample(self, random_state: int | RandomState | None = None) -> LayeredGraph:
        """Draw one graph.

        Parameters
        ----------
        random_state : int, RandomState instance or None, default=None
            By default the prior's own, so that with an int there every call draws the
            graph that `fit` draws.

        Returns
        -------
        graph : LayeredGraph
            Its `labels` are the vertices of the graph before it was layered.
        """
        self._validate_params()
        if random_state is None:
            random_state = self.random_state
        return self._draw(check_random_state(random_state))

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X: ArrayLike, y: Any = None) -> Self:
        """Draw a graph and the weights of an untrained network.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Its values are not used.

        y : Ignored, default=None
            Not used, present for API consistency.

        Returns
        -------
        self : GraphPrior
            Fitted.
        """
        validate_data(self, X, dtype=[np.float64, np.float32])
        rng = check_random_state(self.random_state)
        self.structure_ = self._draw(rng)
        self._draw_weights(rng)
        return self

    def transform(self, X: ArrayLike) -> NDArray:
        """Compute the outputs of the sinks.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Samples.

        Returns
        -------
        X_new : ndarray of shape (n_samples, n_sinks)
            Random features, none of them negative.
        """
        check_is_fitted(self)
        samples = validate_data(self, X, dtype=[np.float64, np.float32], reset=False)
        return sink_outputs(
            self.structure_,
            samples,
            self.input_weights_.astype(samples.dtype, copy=False),
            self.edge_weights_.astype(samples.dtype, copy=False),
            self.biases_.astype(samples.dtype, copy=False),
        )

    def _draw(self, rng):
        orientation = {"orientation": self.orientation, "random_state": rng}
        if not callable(self.generator):
            function, names = GENERATORS[self.generator]
            parameters = {name: getattr(self, name) for name in names}
            edges = function(self.n_nodes, rng, **parameters)
            return LayeredGraph.from_edges(edges, self.n_nodes, **orientation)
        graph = self.generator(self.n_nodes, draw_seed(rng))
        if not isinstance(graph, nx.Graph):
            raise TypeError(
                "A callable 'generator' must return a networkx.Graph. "
                f"{self.generator!r} returned {graph!r} instead."
            )
        return LayeredGraph.from_networkx(graph, **orientation)

    def _draw_weights(self, rng):
        graph = self.structure_
        shape = (self.n_features_in_, len(graph.sources))
        self.input_weights_ = rng.uniform(-1, 1, size=shape) * np.sqrt(6 / shape[0])
        n_inputs = np.bincount(graph.edges[1], minlength=graph.n_nodes)
        self.edge_weights_ = rng.uniform(-1, 1, size=graph.n_edges) * np.sqrt(
            6 / n_inputs[graph.edges[1]]
        )
        self.biases_ = rng.normal(scale=0.1, size=graph.n_nodes)

    @property
    def properties_(self) -> pd.Series:
        """Properties of the graph, as a Series; see `graph_properties`."""
        return self.structure_.properties()

    @property
    def _n_features_out(self):
        return len(self.structure_.sinks)

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags


def sink_outputs(
    graph: LayeredGraph,
    X: NDArray,
    input_weights: NDArray,
    edge_weights: NDArray,
    biases: NDArray,
) -> NDArray:
    """Run samples through a network of rectified linear units.

    `input_weights` has the shape (n_features, n_sources), `edge_weights` and `biases`
    have one number per edge and per vertex; the result has one column per sink.
    """
    values = np.empty((graph.n_nodes, len(X)), dtype=X.dtype)
    values[graph.sources] = np.maximum((X @ input_weights + biases[graph.sources]).T, 0)
    weights = sp.csr_array(
        (edge_weights, (graph.edges[1], graph.edges[0])),
        shape=(graph.n_nodes, graph.n_nodes),
    )
    for start, stop in zip(
        graph.layer_offsets[1:-1], graph.layer_offsets[2:], strict=True
    ):
        layer = weights[start:stop] @ values
        values[start:stop] = np.maximum(layer + biases[start:stop, None], 0)
    return values[graph.sinks].T


def default_prior() -> GraphPrior:
    """Make the prior of a network for which none is named.

    Through the fewer sources of smaller graphs, a network does not learn the digits as
    well as a perceptron does.
    """
    return GraphPrior(n_nodes=250)


def draw_structure(
    prior: Any,
    seed: int,
    *,
    params: Mapping[str, Any] | None = None,
    replace_seed: bool = False,
) -> LayeredGraph:
    """Make the graph of a network from what a SparseNetClassifier takes as its prior.

    None is `default_prior()`.
    A prior draws it, with its own seed if it has one and `replace_seed` is false;
    `params` are set on a copy of the prior first. Anything else is a graph already.
    """
    prior = default_prior() if prior is None else prior
    if params:
        prior = clone(prior).set_params(**params)
    if hasattr(prior, "sample"):
        own_seed = None if replace_seed else getattr(prior, "random_state", None)
        return prior.sample(seed if own_seed is None else own_seed)
    if isinstance(prior, LayeredGraph):
        return prior
    if isinstance(prior, nx.Graph):
        return LayeredGraph.from_networkx(prior)
    return LayeredGraph.from_adjacency(prior)
