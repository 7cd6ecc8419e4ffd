"""How far apart two mapper graphs are, which nodes correspond, and what changes.

A graph is seen as nodes that carry samples and have distances from each other. Optimal
transport carries the samples of one graph to the other, so that nodes go to like nodes
and neighbours stay neighbours (the fused Gromov-Wasserstein distance). POT solves the
linear problems in it; it is imported when it is needed.
"""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations, permutations
from numbers import Real
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import linear_sum_assignment
from scipy.sparse import csr_matrix
from scipy.sparse.csgraph import shortest_path
from sklearn.utils import Bunch, check_consistent_length
from sklearn.utils.validation import check_is_fitted

from robustkit._sklearn_private import (
    Interval,
    StrOptions,
    validate_parameter_constraints,
)
from robustkit.topology._mapper_graph import MapperGraph
from robustkit.topology._purity import check_labels, check_same_kind, count_labels

_CONSTRAINTS = {
    "features": [StrOptions({"samples", "labels"})],
    "alpha": [Interval(Real, 0, 1, closed="both")],
}

# Where the distances of a node from all others are compared with those of another.
_N_QUANTILES = 64

# So many nodes can be assigned to each other in all ways.
_FEW_NODES = 5

# Starts drawn by chance, and how many couplings of single nodes they may be about.
_MOST_STARTS = 100
_MOST_TRIED = 50_000

_MOST_STEPS = 200
_TOLERANCE = 1e-10


def compare_mappers(
    a: MapperGraph,
    b: MapperGraph,
    y: ArrayLike | tuple[ArrayLike, ArrayLike] | None = None,
    y_pred: tuple[ArrayLike, ArrayLike] | None = None,
    *,
    features: str = "samples",
    alpha: float = 0.5,
) -> Bunch:
    r"""Measure how far apart two mapper graphs are, and match their nodes.

    The graphs are, for example, those of two models, of two layers of one, or of two
    attack levels. POT must be installed (``pip install 'robustkit[transport]'``).

    Parameters
    ----------
    a, b : MapperGraph
        Fitted, to as many samples: row i of both is one sample, unless `features` is
        "labels".

    y : array-like of shape (n_samples,) or tuple of two such, default=None
        Labels of the samples; of those of `a` and of `b`, where they differ.

    y_pred : tuple of two arrays of shape (n_samples,), default=None
        Labels that are predicted for the samples of `a` and for those of `b`.

    features : {"samples", "labels"}, default="samples"
        What makes two nodes alike. "samples": the samples in them; their distance is 1
        minus the Jaccard similarity. "labels": the shares of the labels in them, which
        need `y`; their distance is the total variation. Then the graphs may be of
        different samples.

    alpha : float, default=0.5
        Weight of the structure of the graphs, from 0 (only which nodes are alike
        counts) to 1 (only which nodes are near each other counts).

    Returns
    -------
    comparison : :class:`~sklearn.utils.Bunch`
        - distance : float in [0, 1], 0 for two graphs that are the same
        - coupling : ndarray of shape (n_nodes_a, n_nodes_b), which share of the samples
          goes from which node to which; their sum is 1
        - matches : DataFrame with a row for each pair of nodes that correspond:
          `node_a`, `node_b`, `mass` (the share of samples that goes from one to the
          other) and `feature_distance`; each node is in one pair at most
        - label_flows : DataFrame of shape (n_labels, n_labels), with `y`: which share
          of the samples goes from nodes with one majority to nodes with another
        - confusions : DataFrame with a row for each label and other predicted label,
          with `y` and `y_pred`: the number of such samples (see
          :func:`mapper_evolution`)

    See Also
    --------
    mapper_evolution : Compares the graphs of several attack levels.
    robustkit.plotting.MapperEvolutionDisplay : A picture of their evolution.

    Notes
    -----
    A sample spreads its weight evenly over its nodes; samples in no node have none. Two
    nodes h edges apart have the distance h / (1 + h), those not connected 1. With
    :math:`d` the distance of features, :math:`C` that in the graphs, and :math:`T` a
    coupling of the node weights, the distance is

    .. math::

       \Big( \min_T \sum_{ij} (1 - \alpha) d_{ij}^2 T_{ij} + \alpha \sum_{ijkl}
       (C^a_{ik} - C^b_{jl})^2 T_{ij} T_{kl} \Big)^{1/2},

    the fused Gromov-Wasserstein distance [1]_ of measured graphs, as [2]_ uses it for
    mapper graphs. The minimum is searched by conditional gradients from several starts:
    for ``alpha=0`` it is exact, else an upper bound, which features that tell nodes
    apart make tight. It is accurate to about 1e-7. A graph without nodes is at distance
    0 from another one, and at distance 1 from all others.

    References
    ----------
    .. [1] T. Vayer, L. Chapel, R. Flamary, R. Tavenard, N. Courty, "Optimal transport
       for structured data with application on graphs", ICML, 2019.
    .. [2] Y. Zhou, H. Jenne, D. Brown, M. Shapiro, B. Jefferson, C. Joslyn, G.
       Henselman-Petrusek, B. Praggastis, E. Purvine, B. Wang, "Comparing mapper graphs
       of artificial neuron activations", TopoInVis, 2023.
       doi:10.1109/TopoInVis60193.2023.00011

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from robustkit.topology import MapperGraph, compare_mappers
    >>> X, y = load_iris(return_X_y=True)
    >>> a = MapperGraph(n_intervals=8, eps=0.6).fit(X)
    >>> b = MapperGraph(n_intervals=8, eps=0.5).fit(X)
    >>> compare_mappers(a, a).distance < 1e-6 < compare_mappers(a, b).distance
    True
    """
    validate_parameter_constraints(
        _CONSTRAINTS, {"features": features, "alpha": alpha}, "compare_mappers"
    )
    labels = _check_labels(y, (a, b), features)
    ours, theirs = _MeasuredGraph.of(a, "a"), _MeasuredGraph.of(b, "b")
    if features == "samples":
        _check_same_samples(ours, theirs)
        distances = _jaccard_distances(ours.membership, theirs.membership)
    else:
        distances = _label_distances((ours, theirs), labels)
    distance, coupling = _transport(ours, theirs, distances, alpha)
    comparison = Bunch(
        distance=distance,
        coupling=coupling,
        matches=_matches(coupling, distances),
    )
    if labels is not None:
        comparison.label_flows = _label_flows((ours, theirs), labels, coupling)
    if y_pred is not None:
        if y is None or isinstance(y, tuple):
            raise ValueError(
                "The 'y_pred' parameter needs one array of labels 'y', of samples that "
                "both graphs hold."
            )
        if len(y_pred) != 2:
            raise ValueError(
                "The 'y_pred' parameter must be a tuple of two arrays, for 'a' and for "
                f"'b'. Got {len(y_pred)}."
            )
        comparison.confusions = count_confusions(y, y_pred, ("a", "b"))
    return comparison


def mapper_evolution(
    mappers: Sequence[MapperGraph],
    y: ArrayLike | None = None,
    y_pred: Sequence[ArrayLike] | None = None,
    *,
    levels: Sequence[Any] | None = None,
    features: str = "samples",
    alpha: float = 0.5,
) -> Bunch:
    """Compare the mapper graphs of several attack levels, or of several layers.

    Parameters
    ----------
    mappers : sequence of MapperGraph
        Fitted, one for each level, in their order; row i of all is one sample.

    y : array-like of shape (n_samples,), default=None
        Labels of the samples.

    y_pred : sequence of arrays of shape (n_samples,), default=None
        Labels that are predicted for the samples, at each level.

    levels : sequence of length n_levels, default=None
        What the levels are called, for example the sizes of the perturbations. None is
        0, 1, 2 ...

    features : {"samples", "labels"}, default="samples"
        What makes two nodes alike, as in :func:`compare_mappers`.

    alpha : float, default=0.5
        Weight of the structure of the graphs, as in :func:`compare_mappers`.

    Returns
    -------
    evolution : :class:`~sklearn.utils.Bunch`
        - levels : list of the names of the levels
        - distances : DataFrame of shape (n_levels, n_levels), how far apart the graphs
          are
        - steps : list of the comparisons of each level with the next, as
          :func:`compare_mappers` makes them
        - confusions : DataFrame with a row for each label and other predicted label,
          with `y` and `y_pred`: how many samples at each level; `first`, the first
          level with some; `persists`, whether all later ones have some, too; `kept`,
          the share of the samples confused so at one level that are confused so at the
          next, over all levels. Those that persist come first, the most frequent first

    See Also
    --------
    compare_mappers : Compares two graphs.
    robustkit.plotting.MapperEvolutionDisplay : A picture of it.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from robustkit.topology import MapperGraph, mapper_evolution
    >>> X, y = load_iris(return_X_y=True)
    >>> mappers = [MapperGraph(n_intervals=8, eps=e).fit(X) for e in (0.5, 0.6, 0.9)]
    >>> evolution = mapper_evolution(mappers, levels=[0.5, 0.6, 0.9])
    >>> evolution.distances.shape, len(evolution.steps)
    ((3, 3), 2)
    """
    mappers = list(mappers)
    if not mappers:
        raise ValueError("The 'mappers' parameter must hold a fitted MapperGraph.")
    levels = list(range(len(mappers))) if levels is None else list(levels)
    for name, given in (("levels", levels), ("y_pred", y_pred)):
        if given is not None and len(given) != len(mappers):
            raise ValueError(
                f"The {name!r} parameter must have one entry per mapper, "
                f"{len(mappers)}. Got {len(given)}."
            )
    distances = np.zeros((len(mappers), len(mappers)))
    steps = []
    for i, j in combinations(range(len(mappers)), 2):
        pair = None if y_pred is None or j > i + 1 else (y_pred[i], y_pred[j])
        comparison = compare_mappers(
            mappers[i], mappers[j], y, pair, features=features, alpha=alpha
        )
        distances[i, j] = distances[j, i] = comparison.distance
        if j == i + 1:
            steps.append(comparison)
    evolution = Bunch(
        levels=levels,
        distances=pd.DataFrame(distances, index=levels, columns=levels),
        steps=steps,
    )
    if y is not None and y_pred is not None:
        evolution.confusions = count_confusions(y, y_pred, levels)
    return evolution


@dataclass(frozen=True, eq=False)
class _MeasuredGraph:
    """Nodes with weights and with distances from each other."""

    membership: csr_matrix
    weights: NDArray
    """Share of the samples in each node; a sample is shared out among its nodes."""

    distances: NDArray

    @classmethod
    def of(cls, mapper: MapperGraph, name: str) -> "_MeasuredGraph":
        """Take the graph of a fitted mapper."""
        if not isinstance(mapper, MapperGraph):
            raise TypeError(
                f"The {name!r} parameter must be a fitted MapperGraph. Got {mapper!r}."
            )
        check_is_fitted(mapper)
        membership = mapper.membership_
        hops = _hops(mapper.edges_, membership.shape[1])
        return cls(membership, _node_weights(membership), hops)


def _node_weights(membership):
    n_nodes_of = np.diff(membership.indptr)
    weights = membership.T @ (1 / np.maximum(n_nodes_of, 1))
    return weights / max(weights.sum(), 1)


def _hops(edges, n_nodes):
    """Distances h / (1 + h) of nodes that are h edges apart."""
    if n_nodes == 0:
        return np.empty((0, 0))
    ones = np.ones(len(edges))
    graph = csr_matrix((ones, tuple(edges.T)), shape=(n_nodes, n_nodes))
    hops = shortest_path(graph, directed=False, unweighted=True)
    # Infinitely many make it 1.
    return 1 - 1 / (1 + hops)


def _check_labels(y, mappers, features):
    """Return the labels of the samples of both graphs, if there are any."""
    if y is None:
        if features == "labels":
            raise ValueError("features='labels' needs the labels 'y'.")
        return None
    labels = y if isinstance(y, tuple) else (y, y)
    if len(labels) != 2:
        raise ValueError(
            "The 'y' parameter must be an array of labels, or a tuple of two of them. "
            f"Got a tuple of {len(labels)}."
        )
    labels = [check_labels(some) for some in labels]
    check_same_kind(*labels, "The two arrays of the 'y' parameter")
    return labels


def _check_same_samples(a, b):
    if a.membership.shape[0] != b.membership.shape[0]:
        raise ValueError(
            "The graphs must be of the same samples, row by row: got "
            f"{a.membership.shape[0]} and {b.membership.shape[0]} samples. Graphs of "
            "different samples can be compared with features='labels'."
        )


def _jaccard_distances(ours, theirs):
    shared = (ours.T @ theirs).toarray()
    sizes, their_sizes = (np.asarray(m.sum(axis=0)).ravel() for m in (ours, theirs))
    return 1 - shared / (sizes[:, None] + their_sizes - shared)


def _label_distances(graphs, labels):
    known = np.unique(np.concatenate(labels))
    shares = []
    for graph, y in zip(graphs, labels, strict=True):
        counts, _ = count_labels(graph.membership, y, labels=known)
        shares.append(counts / counts.sum(axis=1, keepdims=True))
    return 0.5 * np.abs(shares[0][:, None] - shares[1]).sum(axis=2)


def _transport(a, b, feature_distances, alpha):
    """Return the distance of two graphs and the coupling that attains it."""
    if not feature_distances.size:
        # Nothing can be carried: two empty graphs are the same, else all is lost.
        is_empty = max(feature_distances.shape) == 0
        return 0.0 if is_empty else 1.0, np.zeros(feature_distances.shape)
    costs = feature_distances**2
    keys = [
        (len(g.weights), *(x.tobytes() for x in (g.weights, g.distances, cost)))
        for g, cost in ((a, costs), (b, costs.T))
    ]
    # Always solved the same way around, so that the distance is symmetric to the bit.
    if keys[1] < keys[0]:
        value, coupling = _solve(b, a, np.ascontiguousarray(costs.T), alpha)
        return value, np.ascontiguousarray(coupling.T)
    return _solve(a, b, costs, alpha)


def _cheapest_plan(a_weights, b_weights, costs):
    # Costs below 0 may stop its search early; a constant changes no plan.
    return _load_pot().emd(a_weights, b_weights, costs - costs.min())


def _solve(a, b, costs, alpha):
    # What the marginals alone decide of the sum over both structures.
    constant = (
        (a.weights @ a.distances**2 @ a.weights)
        + (b.weights @ b.distances**2 @ b.weights)
    )  # fmt: skip

    def plan(linear):
        return _cheapest_plan(a.weights, b.weights, linear)

    def value(coupling):
        structure = constant - 2 * np.sum(
            a.distances @ coupling @ b.distances * coupling
        )
        return (1 - alpha) * np.sum(costs * coupling) + alpha * max(structure, 0.0)

    best, found = np.inf, None
    for start in _starts(a, b, costs, alpha, plan):
        coupling = _descend(a, b, costs, alpha, plan, start)
        reached = value(coupling)
        if reached < best - 1e-15:
            best, found = reached, coupling
    return float(np.sqrt(max(best, 0.0))), found


def _starts(a, b, costs, alpha, plan):
    """Yield couplings to start from: by features, order, structure, both; chance."""
    yield plan(costs)
    if alpha > 0:
        if np.array_equal(a.weights, b.weights):
            # Of a graph and itself, also where features do not tell its nodes apart.
            yield np.diag(a.weights)
        profiles = _profile_costs(a, b)
        yield plan(profiles)
        yield plan((1 - alpha) * costs + alpha * profiles)
        yield np.outer(a.weights, b.weights)
        yield from map(plan, _costs_by_chance(costs.shape))


def _costs_by_chance(shape):
    """Yield costs whose best plans differ: of few nodes, those of all assignments."""
    if max(shape) <= _FEW_NODES:
        for columns in permutations(range(max(shape))):
            chosen = np.eye(max(shape))[list(columns)]
            yield 1 - chosen[: shape[0], : shape[1]]
        return
    rng = np.random.RandomState(0)
    for _ in range(min(_MOST_STARTS, _MOST_TRIED // (shape[0] * shape[1]))):
        yield rng.uniform(size=shape)


def _profile_costs(a, b):
    """How unlike the distances of two nodes from all others are, in distribution."""
    profiles = [_quantiles(graph.distances, graph.weights) for graph in (a, b)]
    return ((profiles[0][:, None] - profiles[1]) ** 2).mean(axis=2)


def _quantiles(distances, weights):
    levels = (np.arange(_N_QUANTILES) + 0.5) / _N_QUANTILES
    order = np.argsort(distances, axis=1, kind="stable")
    profiles = np.empty((len(distances), _N_QUANTILES))
    for row, places in enumerate(order):
        ends = np.cumsum(weights[places])
        found = np.searchsorted(ends, levels * ends[-1])
        profiles[row] = distances[row, places[np.minimum(found, len(places) - 1)]]
    return profiles


def _descend(a, b, costs, alpha, plan, coupling):
    """Follow conditional gradients; the best step along each line is known."""
    if alpha == 0:
        return coupling
    for _ in range(_MOST_STEPS):
        # The gradient, but for terms that every coupling has.
        product = a.distances @ coupling @ b.distances
        gradient = (1 - alpha) * costs - 4 * alpha * product
        step = plan(gradient) - coupling
        slope = np.sum(gradient * step)
        if slope > -_TOLERANCE:
            break
        curvature = -2 * alpha * np.sum(a.distances @ step @ b.distances * step)
        length = 1.0 if curvature <= 0 else min(1.0, -slope / (2 * curvature))
        coupling = coupling + length * step
    return coupling


def _load_pot():
    try:
        # What it says while it is loaded is of no use here.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            import ot
    except ImportError as error:
        raise ImportError(
            "Mapper graphs are compared with POT, which is not installed. Do: pip "
            "install 'robustkit[transport]'"
        ) from error
    return ot


def match_nodes(a: csr_matrix, b: csr_matrix) -> pd.DataFrame:
    """Match the nodes of two graphs by the samples in them, of shape (n_samples, n).

    These are the `matches` of :func:`compare_mappers` with ``alpha=0``, without the
    distances in the graphs, which do not count then. Of couplings that cost the same,
    it may be another one.
    """
    distances = _jaccard_distances(a, b)
    if not distances.size:
        return _matches(distances, distances)
    coupling = _cheapest_plan(_node_weights(a), _node_weights(b), distances**2)
    return _matches(coupling, distances)


def _matches(coupling, distances):
    """Pair the nodes, one with one, so that the pairs carry as much as possible."""
    rows, columns = linear_sum_assignment(coupling, maximize=True)
    mass = coupling[rows, columns]
    is_carried = mass > 0
    rows, columns = rows[is_carried], columns[is_carried]
    return pd.DataFrame(
        {
            "node_a": rows,
            "node_b": columns,
            "mass": mass[is_carried],
            "feature_distance": distances[rows, columns],
        }
    )


def _label_flows(graphs, labels, coupling):
    known = np.unique(np.concatenate(labels))
    majorities = [
        count_labels(graph.membership, y, labels=known)[0].argmax(axis=1)
        for graph, y in zip(graphs, labels, strict=True)
    ]
    flows = np.zeros((len(known), len(known)))
    np.add.at(flows, np.ix_(*majorities), coupling)
    index, columns = (pd.Index(known, name=name) for name in ("label_a", "label_b"))
    return pd.DataFrame(flows, index=index, columns=columns)


def count_confusions(
    y: ArrayLike, predictions: Sequence[ArrayLike], levels: Sequence[Any]
) -> pd.DataFrame:
    """Count which label is taken for which other one at each level, and what persists.

    The columns are those that :func:`mapper_evolution` describes.
    """
    y = check_labels(y)
    predicted: list[NDArray] = [check_labels(some, "y_pred") for some in predictions]
    check_consistent_length(y, *predicted)
    for some in predicted:
        check_same_kind(y, some)
    known = np.unique(np.concatenate([y, *predicted]))
    label = np.searchsorted(known, y)
    # One number for each label and other label; -1 where the prediction is right.
    confused = np.array(
        [
            np.where(some == y, -1, len(known) * label + np.searchsorted(known, some))
            for some in predicted
        ]
    )
    kinds = np.unique(confused[confused >= 0])
    counts = np.array([[(some == kind).sum() for some in confused] for kind in kinds])
    counts = counts.reshape(len(kinds), len(predictions))
    is_there = counts > 0
    first = is_there.argmax(axis=1)
    persists = np.array(
        [row[k:].all() for row, k in zip(is_there, first, strict=True)], dtype=bool
    )
    stays = confused[:-1] == confused[1:]
    n_kept = np.array([(stays & (confused[:-1] == kind)).sum() for kind in kinds])
    n_before = counts[:, :-1].sum(axis=1)
    order = np.lexsort((kinds, -counts.sum(axis=1), ~persists))
    names = known[kinds // len(known)], known[kinds % len(known)]
    table = pd.DataFrame(
        counts, columns=pd.Index(levels, dtype=object),
        index=pd.MultiIndex.from_arrays(names, names=["label", "predicted"]),
    )  # fmt: skip
    table["first"] = [levels[k] for k in first]
    table["persists"] = persists
    with np.errstate(invalid="ignore"):
        table["kept"] = n_kept / n_before
    return table.iloc[order]
