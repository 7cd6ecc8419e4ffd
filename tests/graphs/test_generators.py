"""Random graphs: every generator by its name."""

import random

import networkx as nx
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from robustkit.graphs import GraphPrior, LayeredGraph
from robustkit.graphs._generators import GENERATORS, _distance_cdf, _radius
from tests.strategies import seeds

PARAMETERS = {
    "n_neighbors": 3,
    "rewiring": 0.4,
    "edge_probability": 0.2,
    "n_attachments": 3,
    "n_blocks": 3,
}


def draw_edges(name, n_nodes=40, seed=0, **parameters):
    function, names = GENERATORS[name]
    parameters = PARAMETERS | parameters
    chosen = {name: parameters[name] for name in names}
    return function(n_nodes, np.random.RandomState(seed), **chosen)


def draw(name, n_nodes=40, seed=0, **parameters):
    """The graph as networkx sees it."""
    graph = nx.empty_graph(n_nodes)
    graph.add_edges_from(draw_edges(name, n_nodes, seed, **parameters).T.tolist())
    return graph


def mean_number_of_edges(name, n_draws=200, **parameters):
    return np.mean(
        [draw(name, seed=s, **parameters).number_of_edges() for s in range(n_draws)]
    )


@pytest.mark.parametrize("name", GENERATORS)
@given(n_nodes=st.integers(7, 30), seed=seeds)
def test_generator_returns_edges_without_self_loops(name, n_nodes, seed):
    edges = draw_edges(name, n_nodes, seed)
    assert edges.ndim == 2
    assert len(edges) == 2
    assert edges.dtype.kind == "i"
    assert set(edges.ravel()) <= set(range(n_nodes))
    assert (edges[0] != edges[1]).all()


@pytest.mark.parametrize("orientation", ["index", "random", "degree"])
@pytest.mark.parametrize("name", GENERATORS)
def test_prior_layers_the_graph_that_networkx_would_see(name, orientation):
    prior = GraphPrior(name, n_nodes=40, orientation=orientation, **PARAMETERS)
    found = prior.sample(3)
    rng = np.random.RandomState(3)
    function, names = GENERATORS[name]
    edges = function(40, rng, **{name: PARAMETERS[name] for name in names})
    graph = nx.empty_graph(40)
    graph.add_edges_from(edges.T.tolist())
    expected = LayeredGraph.from_networkx(
        graph, orientation=orientation, random_state=rng
    )
    assert found == expected
    assert found.labels == expected.labels


@pytest.mark.parametrize("name", GENERATORS)
def test_generator_depends_on_seed_only(name):
    graphs = [list(draw(name, seed=seed).edges) for seed in (0, 0, 1)]
    assert graphs[0] == graphs[1] != graphs[2]


@pytest.mark.parametrize("name", ["watts_strogatz", "watts_strogatz_networkx"])
def test_watts_strogatz_without_rewiring_is_a_ring(name):
    ring = nx.circulant_graph(40, [1, 2, 3])
    assert set(map(frozenset, draw(name, rewiring=0).edges)) == set(
        map(frozenset, ring.edges)
    )


@given(seeds, st.floats(0, 1))
def test_watts_strogatz_loses_only_loops_and_parallel_edges(seed, rewiring):
    n_edges = draw("watts_strogatz", seed=seed, rewiring=rewiring).number_of_edges()
    assert n_edges <= 40 * 3


@given(seeds, st.floats(0, 1))
def test_watts_strogatz_networkx_loses_no_edge(seed, rewiring):
    graph = draw("watts_strogatz_networkx", seed=seed, rewiring=rewiring)
    assert graph.number_of_edges() == 40 * 3
    assert min(d for _, d in graph.degree) >= 3


def test_watts_strogatz_fully_rewired_forgets_the_ring():
    """With every end rewired, the chance of an edge does not depend on the distance."""
    ends = np.concatenate(
        [list(draw("watts_strogatz", seed=s, rewiring=1.0).edges) for s in range(100)]
    )
    near = np.abs(ends[:, 0] - ends[:, 1])
    share = np.mean(np.minimum(near, 40 - near) <= 3)
    # 6 of the 39 others are within 3 steps; five standard deviations.
    expected = 6 / 39
    assert abs(share - expected) < 5 * np.sqrt(expected * (1 - expected) / len(ends))


def igraph_small_world(n_nodes, n_neighbors, rewiring, seed):
    igraph = pytest.importorskip("igraph", reason="python-igraph is not installed")
    igraph.set_random_number_generator(random.Random(seed))
    graph = igraph.Graph.Watts_Strogatz(1, n_nodes, n_neighbors, rewiring)
    edges = np.sort(np.array(graph.get_edgelist()), axis=1)
    return LayeredGraph(edges.T, n_nodes)


@pytest.mark.parametrize(
    ("n_nodes", "n_neighbors", "rewiring"), [(500, 2, 0.7), (300, 4, 0.5)]
)
def test_watts_strogatz_matches_statistics_of_igraph(n_nodes, n_neighbors, rewiring):
    prior = GraphPrior(n_nodes=n_nodes, n_neighbors=n_neighbors, rewiring=rewiring)
    ours = [prior.sample(seed) for seed in range(60)]
    theirs = [igraph_small_world(n_nodes, n_neighbors, rewiring, s) for s in range(60)]
    statistics = {
        "n_edges": lambda graph: graph.n_edges,
        "n_sources": lambda graph: len(graph.sources),
        "n_sinks": lambda graph: len(graph.sinks),
        "n_layers": lambda graph: graph.n_layers,
        "n_parameters": lambda graph: graph.n_parameters(784, 10),
    }
    for name, statistic in statistics.items():
        one, other = ([statistic(g) for g in graphs] for graphs in (ours, theirs))
        error = np.sqrt((np.var(one) + np.var(other)) / 60)
        # We drop the edges that igraph moves elsewhere: up to 2 % of them.
        allowed = 4 * error + 0.02 * np.mean(other)
        assert abs(np.mean(one) - np.mean(other)) < allowed, name


def test_watts_strogatz_matches_published_size():
    """About 105 sources and 85,000 parameters, for 784 inputs and 10 outputs."""
    prior = GraphPrior(n_nodes=500, n_neighbors=2, rewiring=0.7)
    graphs = [prior.sample(seed) for seed in range(100)]
    assert np.mean([len(g.sources) for g in graphs]) == pytest.approx(105, rel=0.05)
    mean_size = np.mean([g.n_parameters(784, 10) for g in graphs])
    assert mean_size == pytest.approx(85_000, rel=0.05)


def test_watts_strogatz_networkx_has_fewer_sources():
    """Which is why the flavour matters: the ring is still there, end to end."""
    sizes = {
        name: np.mean(
            [
                len(GraphPrior(name, n_nodes=500, rewiring=0.7).sample(s).sources)
                for s in range(20)
            ]
        )
        for name in ("watts_strogatz", "watts_strogatz_networkx")
    }
    assert sizes["watts_strogatz_networkx"] < 0.8 * sizes["watts_strogatz"]


@pytest.mark.parametrize("name", ["erdos_renyi", "geometric"])
@pytest.mark.parametrize("probability", [0.0, 0.1, 0.6, 1.0])
def test_edges_occur_with_edge_probability(name, probability):
    n_pairs = 40 * 39 / 2
    found = mean_number_of_edges(name, edge_probability=probability) / n_pairs
    assert found == pytest.approx(probability, abs=0.01)


def test_stochastic_block_density_within_and_between_blocks():
    graphs = [draw("stochastic_block", 42, seed=s) for s in range(200)]
    block = np.arange(42) // 14
    same = block[:, None] == block
    adjacency = np.mean([nx.to_numpy_array(graph) for graph in graphs], axis=0)
    others = ~np.eye(42, dtype=bool)
    assert adjacency[same & others].mean() == pytest.approx(0.2, abs=0.01)
    assert adjacency[~same].mean() == pytest.approx(0.2 * 0.4, abs=0.01)


def test_stochastic_blocks_are_disconnected_without_rewiring():
    graph = draw("stochastic_block", rewiring=0.0, edge_probability=1.0, n_blocks=4)
    assert graph.number_of_edges() == 4 * 10 * 9 / 2
    assert nx.number_connected_components(graph) == 4


@given(seeds, st.integers(1, 10))
def test_barabasi_albert_adds_n_attachments_edges_per_vertex(seed, n_attachments):
    graph = draw("barabasi_albert", seed=seed, n_attachments=n_attachments)
    assert graph.number_of_edges() == (40 - n_attachments) * n_attachments
    assert min(d for _, d in graph.degree) >= 1


@given(seeds, st.integers(1, 10))
def test_random_regular_is_regular(seed, n_neighbors):
    graph = draw("random_regular", seed=seed, n_neighbors=n_neighbors)
    assert {d for _, d in graph.degree} == {2 * n_neighbors}


@pytest.mark.parametrize(
    ("name", "parameters", "message"),
    [
        ("watts_strogatz", {"n_neighbors": 20}, r"n_neighbors=20 .* n_nodes / 2 = 20"),
        (
            "watts_strogatz_networkx",
            {"n_neighbors": 25},
            "n_neighbors=25 must be",
        ),
        ("random_regular", {"n_neighbors": 20}, "n_neighbors=20 must be below"),
        ("barabasi_albert", {"n_attachments": 40}, "n_attachments=40 .* n_nodes=40"),
        (
            "stochastic_block",
            {"n_blocks": 41},
            "n_blocks=41 .* at most n_nodes=40",
        ),
    ],
)
def test_parameters_too_large_for_n_nodes_raise(name, parameters, message):
    with pytest.raises(ValueError, match=message):
        draw(name, **parameters)


@given(st.floats(0, 1))
def test_radius_inverts_distance_cdf(probability):
    assert _distance_cdf(_radius(probability)) == pytest.approx(probability, abs=1e-9)


def test_distance_cdf_at_its_ends():
    assert _distance_cdf(np.sqrt(2)) == pytest.approx(1, abs=1e-12)
    assert _radius(1.0) == pytest.approx(np.sqrt(2), abs=1e-3)
    assert _radius(0.0) == 0
    # Both branches meet.
    assert _distance_cdf(1 + 1e-12) == pytest.approx(_distance_cdf(1.0), abs=1e-5)


@pytest.mark.parametrize("r", [0.1, 0.5, 1.0, 1.2, 1.4])
def test_distance_cdf_matches_sampled_points(r):
    one, other = np.random.RandomState(0).uniform(size=(2, 100_000, 2))
    share = np.mean(np.linalg.norm(one - other, axis=1) <= r)
    assert _distance_cdf(r) == pytest.approx(share, abs=0.01)
