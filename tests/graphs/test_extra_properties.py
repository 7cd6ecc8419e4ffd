"""Small worlds, efficiency, curvature, spectra, entropy and paths."""

from math import log

import networkx as nx
import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import linear_sum_assignment

from robustkit.graphs import GraphPrior, LayeredGraph, graph_properties
from robustkit.graphs import _extra_properties as extra
from robustkit.graphs._edges import edges_of_networkx, undirected_pairs
from tests.graphs.extra_reference import extra_reference, ollivier
from tests.strategies import dag_edges, seeds, undirected_graphs

DRAWN = ["small_world_sigma", "small_world_omega", "modularity"]
NAMES = [
    *DRAWN[:2],
    "global_efficiency",
    "local_efficiency",
    "average_forman_curvature",
    "average_ollivier_curvature",
    "spectral_gap",
    "algebraic_connectivity",
    "average_effective_resistance",
    "degree_entropy",
    "path_length_entropy",
    "modularity",
    "log_n_paths",
    "effective_depth",
]
SHAPES = {
    "one vertex": nx.empty_graph(1),
    "no edge": nx.empty_graph(5),
    "one edge": nx.path_graph(2),
    "chain": nx.path_graph(9),
    "star": nx.star_graph(7),
    "complete": nx.complete_graph(6),
    "two rings": nx.disjoint_union(nx.cycle_graph(4), nx.cycle_graph(7)),
    "two hubs": nx.complete_bipartite_graph(2, 9),
    "barbell": nx.barbell_graph(5, 3),
}


# Their sets of neighbors take up to three words of bits.
MANY_NEIGHBORS = {
    "star": nx.star_graph(131),
    "two stars": nx.Graph(
        [(0, 1), *((0, i) for i in range(2, 66)), *((1, i) for i in range(66, 195))]
    ),
    "parts joined at random": nx.bipartite.random_graph(75, 140, 0.9, seed=0),
    "components": nx.disjoint_union_all(
        [nx.gnp_random_graph(80, 0.9, seed=0), nx.empty_graph(3), nx.path_graph(2)]
    ),
}


def measured(graph, **options):
    return graph_properties(graph, extra=True, **options)[NAMES]


def pairs_of(graph):
    edges, labels = edges_of_networkx(graph)
    return undirected_pairs(edges, len(labels))[0]


def graph_of(pairs, n_nodes):
    graph = nx.empty_graph(n_nodes)
    graph.add_edges_from(pairs.T.tolist())
    return graph


@given(graph=dag_edges(max_nodes=9))
def test_extra_properties_equal_their_definitions(graph):
    layered = LayeredGraph(*graph)
    found = measured(layered).drop(DRAWN)
    expected = pd.Series(extra_reference(layered.to_networkx()))
    pd.testing.assert_series_equal(found, expected, rtol=1e-8, atol=1e-9)


@pytest.mark.parametrize("shape", SHAPES)
def test_extra_properties_of_well_known_shapes(shape):
    layered = LayeredGraph.from_networkx(SHAPES[shape])
    found = measured(SHAPES[shape]).drop(DRAWN)
    expected = pd.Series(extra_reference(layered.to_networkx()))
    pd.testing.assert_series_equal(found, expected, rtol=1e-8, atol=1e-9)


@given(undirected_graphs())
def test_extra_properties_come_after_the_others_whatever_directed_says(graph):
    both = [
        graph_properties(graph, directed=directed, extra=True)
        for directed in (False, True)
    ]
    pd.testing.assert_series_equal(both[0][NAMES], both[1][NAMES])
    plain = graph_properties(graph)
    pd.testing.assert_series_equal(both[0][: len(plain)], plain)
    assert list(both[0].index[len(plain) :]) == NAMES
    assert not np.isinf(both[0]).any()


def test_curvatures_equal_those_of_graph_ricci_curvature():
    reason = "compares with the package GraphRicciCurvature"
    ollivier = pytest.importorskip("GraphRicciCurvature.OllivierRicci", reason=reason)
    forman = pytest.importorskip("GraphRicciCurvature.FormanRicci", reason=reason)
    graph = nx.connected_watts_strogatz_graph(60, 6, 0.3, seed=0)
    one = ollivier.OllivierRicci(graph, alpha=0.5, method="OTD", proc=1)
    one.compute_ricci_curvature()
    other = forman.FormanRicci(graph)
    other.compute_ricci_curvature()
    expected = {
        "average_ollivier_curvature": np.mean(
            [c for *_, c in one.G.edges(data="ricciCurvature")]
        ),
        "average_forman_curvature": np.mean(
            [c for *_, c in other.G.edges(data="formanCurvature")]
        ),
    }
    assert dict(measured(graph)[[*expected]]) == pytest.approx(expected)


@st.composite
def transport_problems(draw, sizes):
    """Costs, supply and demand of equal sums; some takers may want nothing."""
    shape = draw(sizes), draw(sizes)
    rng = np.random.RandomState(draw(seeds))
    shares = rng.dirichlet(np.ones(3))
    cost = rng.choice(np.arange(1, 4, dtype=np.int8), size=shape, p=shares)
    supply = rng.randint(1, draw(st.integers(2, 6)), size=shape[0])
    wanted_by = rng.randint(shape[1], size=supply.sum())
    return cost, supply, np.bincount(wanted_by, minlength=shape[1])


def least_cost(cost, supply, demand):
    """Move every unit for itself."""
    units = cost.repeat(supply, axis=0).repeat(demand, axis=1)
    return units[linear_sum_assignment(units)].sum()


@given(
    transport_problems(st.integers(1, 12))
    | transport_problems(st.sampled_from([1, 2, 63, 64, 65, 128, 129]))
)
def test_transport_costs_no_more_than_that_of_single_units(problem):
    cost, supply, demand = problem
    expected = least_cost(cost, supply, demand)
    givers, takers = (np.arange(n) for n in cost.shape)
    assert extra._cheapest(cost, givers, takers, supply, demand) == expected


@given(undirected_graphs(max_nodes=9))
def test_ollivier_curvature_of_every_edge_is_that_of_the_linear_program(graph):
    pairs = pairs_of(graph)
    found = extra._ollivier_curvatures(pairs, *extra._neighbors(pairs, len(graph)))
    expected = [ollivier(graph, u, v) for u, v in pairs.T.tolist()]
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-9)


@pytest.mark.parametrize("shape", MANY_NEIGHBORS)
def test_ollivier_curvature_of_ends_with_many_neighbors(shape):
    graph = MANY_NEIGHBORS[shape]
    pairs = pairs_of(graph)
    found = extra._ollivier_curvatures(pairs, *extra._neighbors(pairs, len(graph)))
    u, v = pairs[:, 0].tolist()
    assert found[0] == pytest.approx(ollivier(graph, u, v), abs=1e-9)


def test_ollivier_curvature_of_complete_graph_is_known():
    """Of each end n - 2 neighbours are shared, and the rest moves one step."""
    n = 8
    rest = 0.5 - 0.5 / (n - 1)
    assert measured(nx.complete_graph(n))["average_ollivier_curvature"] == (
        pytest.approx(1 - rest)
    )


@given(undirected_graphs(), seeds)
def test_references_keep_every_degree(graph, seed):
    pairs, n_nodes = pairs_of(graph), len(graph)
    for near_ring in (False, True):
        rng = np.random.RandomState(seed)
        drawn = extra.swap_ends(pairs, n_nodes, rng, near_ring=near_ring)
        again = graph_of(drawn, n_nodes)
        assert again.number_of_edges() == graph.number_of_edges()
        assert dict(again.degree) == dict(graph.degree)
        assert nx.number_of_selfloops(again) == 0


def test_references_near_a_ring_have_shorter_edges():
    graph = nx.gnm_random_graph(60, 150, seed=0)

    def length(pairs):
        step = np.abs(pairs[0] - pairs[1])
        return np.minimum(step, 60 - step).sum()

    pairs = pairs_of(graph)
    rng = np.random.RandomState(0)
    ring = extra.swap_ends(pairs, 60, rng, near_ring=True)
    random = extra.swap_ends(pairs, 60, rng, near_ring=False)
    assert length(ring) < 0.6 * length(pairs)
    assert length(random) > 0.8 * length(pairs)


def test_random_references_are_uniform():
    """Of the 70 ways to give six vertices two neighbours each, 10 are two triangles."""
    rng = np.random.RandomState(0)
    pairs = pairs_of(nx.cycle_graph(6))
    draws = [extra.swap_ends(pairs, 6, rng, near_ring=False) for _ in range(3000)]
    triangles = [not nx.is_connected(graph_of(drawn, 6)) for drawn in draws]
    # Four standard deviations.
    assert np.mean(triangles) == pytest.approx(1 / 7, abs=4 * (6 / 49 / 3000) ** 0.5)


@given(undirected_graphs(), seeds)
def test_sigma_and_omega_are_those_of_networkx_for_the_same_references(graph, seed):
    graph = nx.convert_node_labels_to_integers(
        graph.subgraph(max(nx.connected_components(graph), key=len))
    )
    pairs, n_nodes = pairs_of(graph), len(graph)
    rng = np.random.RandomState(seed)
    lengths, transitivities, best = [], [], nx.average_clustering(graph)
    for _ in range(10):
        random, ring = (
            graph_of(extra.swap_ends(pairs, n_nodes, rng, near_ring=near), n_nodes)
            for near in (False, True)
        )
        reached = [
            d
            for u, found in nx.all_pairs_shortest_path_length(random)
            for v, d in found.items()
            if u != v
        ]
        lengths.append(np.mean(reached) if reached else 0.0)
        transitivities.append(nx.transitivity(random))
        best = max(best, nx.average_clustering(ring))
    expected = [np.nan, np.nan]
    if np.mean(transitivities) > 0:
        length = nx.average_shortest_path_length(graph)
        ratio = nx.transitivity(graph) / np.mean(transitivities)
        expected[0] = ratio / (length / np.mean(lengths))
    if best > 0:
        length = nx.average_shortest_path_length(graph)
        expected[1] = np.mean(lengths) / length - nx.average_clustering(graph) / best
    found = measured(graph, random_state=seed)[DRAWN[:2]]
    np.testing.assert_allclose(found, expected)


def test_sigma_and_omega_tell_a_small_world_from_a_ring_and_a_random_graph():
    found = {
        name: measured(GraphPrior("watts_strogatz_networkx", **params).sample(0))
        for name, params in {
            "ring": {"rewiring": 0.0, "n_neighbors": 4},
            "small world": {"rewiring": 0.05, "n_neighbors": 4},
            "random": {"rewiring": 1.0, "n_neighbors": 4},
        }.items()
    }
    omega = [found[name]["small_world_omega"] for name in found]
    assert omega[0] < omega[1] < omega[2]
    assert found["small world"]["small_world_sigma"] > 3
    assert 0.7 < found["random"]["small_world_sigma"] < 1.4


def test_modularity_of_planted_communities():
    graph = nx.connected_caveman_graph(6, 8)
    planted = [range(8 * i, 8 * i + 8) for i in range(6)]
    expected = nx.community.modularity(graph, planted)
    assert measured(graph)["modularity"] == pytest.approx(expected)


def test_random_state_draws_references():
    graph = nx.connected_watts_strogatz_graph(60, 6, 0.3, seed=0)
    default, again, other = (
        measured(graph, **options)
        for options in ({}, {"random_state": 0}, {"random_state": 1})
    )
    pd.testing.assert_series_equal(default, again)
    assert default["small_world_sigma"] != other["small_world_sigma"]
    assert default.drop(DRAWN).equals(other.drop(DRAWN))


def test_number_of_paths_may_exceed_every_float():
    """Every one of 3,000 diamonds doubles it, and is two edges deep."""
    n = 3000
    first = 3 * np.arange(n)
    edges = np.concatenate(
        [np.stack([first + a, first + b]) for a, b in ((0, 1), (0, 2), (1, 3), (2, 3))],
        axis=1,
    )
    found = extra._path_measures(edges, 3 * n + 1)
    assert found["log_n_paths"] == pytest.approx(n * log(2))
    assert found["effective_depth"] == 2 * n


def test_paths_of_a_cycle_are_nan():
    found = measured(nx.DiGraph([(0, 1), (1, 2), (2, 0)]))
    assert np.isnan(found[["log_n_paths", "effective_depth"]]).all()


def test_extra_refuses_graphs_too_large_for_dense_matrices():
    with pytest.raises(ValueError, match=r"at most 4000 vertices\. Got 16001\."):
        graph_properties(nx.star_graph(16_000), extra=True)


def test_extra_refuses_graphs_with_too_many_pairs_of_neighbors():
    with pytest.raises(
        ValueError, match=r"at most 2e\+09 pairs of them\. Got 3\.3e\+09"
    ):
        graph_properties(nx.complete_graph(285), extra=True)
