"""Random graphs: every generator by its name."""

import random
from itertools import pairwise

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
    "degrees": None,
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


@pytest.mark.parametrize("name", [name for name in GENERATORS if name != "lattice"])
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


@given(seeds, st.floats(0, 1))
def test_newman_watts_keeps_the_ring_and_adds_to_it(seed, rewiring):
    graph = draw("newman_watts", seed=seed, rewiring=rewiring)
    ring = set(map(frozenset, nx.circulant_graph(40, [1, 2, 3]).edges))
    found = set(map(frozenset, graph.edges))
    assert ring <= found
    assert len(found) <= 2 * len(ring)
    assert rewiring > 0 or found == ring


def test_newman_watts_adds_rewiring_edges_for_each_of_the_ring():
    found = mean_number_of_edges("newman_watts", rewiring=0.4)
    assert found == pytest.approx(40 * 3 * 1.4, rel=0.02)


@given(st.integers(1, 60), st.integers(1, 4))
def test_lattice_joins_what_is_near_in_a_row_or_a_column(n_nodes, n_neighbors):
    graph = draw("lattice", n_nodes, n_neighbors=n_neighbors)
    side = int(np.ceil(np.sqrt(n_nodes)))
    expected = set()
    for i in range(n_nodes):
        for j in range(i):
            rows, columns = abs(i // side - j // side), abs(i % side - j % side)
            if min(rows, columns) == 0 and max(rows, columns) <= n_neighbors:
                expected.add(frozenset((i, j)))
    assert set(map(frozenset, graph.edges)) == expected


@pytest.mark.parametrize("n_nodes", [1, 9, 16, 49])
def test_lattice_of_nearest_neighbors_is_that_of_networkx(n_nodes):
    side = int(np.sqrt(n_nodes))
    expected = nx.convert_node_labels_to_integers(nx.grid_2d_graph(side, side))
    found = draw("lattice", n_nodes, n_neighbors=1)
    assert nx.utils.graphs_equal(found, nx.Graph(expected))


def rounds_of(n_nodes, n_blocks, **parameters):
    """The joined pairs of every two rounds, one matrix for each."""
    graph = draw("relational", n_nodes, n_blocks=n_blocks, **parameters)
    adjacency = nx.to_numpy_array(graph, nodelist=range(n_nodes))
    rounds = np.array_split(np.arange(n_nodes), n_blocks)
    steps = [adjacency[np.ix_(one, other)] for one, other in pairwise(rounds)]
    assert graph.number_of_edges() == sum(step.sum() for step in steps)
    return steps


@given(
    seed=seeds,
    n_blocks=st.integers(1, 6),
    width=st.integers(1, 9),
    probability=st.floats(0, 1),
    rewiring=st.floats(0, 1),
)
def test_relational_rounds_repeat_one_graph(
    seed, n_blocks, width, probability, rewiring
):
    steps = rounds_of(
        n_blocks * width,
        n_blocks,
        seed=seed,
        edge_probability=probability,
        rewiring=rewiring,
    )
    for step in steps:
        np.testing.assert_array_equal(step, steps[0])
        np.testing.assert_array_equal(step, step.T)
        assert (np.diag(step) == 1).all()
        n_edges = (step.sum() - width) / 2
        assert n_edges == round(probability * width * (width - 1) / 2)


@pytest.mark.parametrize("n_steps", [1, 2, 3])
def test_relational_graph_without_rewiring_is_a_ring(n_steps):
    share = 2 * n_steps / 9
    steps = rounds_of(30, 3, edge_probability=share, rewiring=0.0)
    ring = nx.circulant_graph(10, range(1, n_steps + 1))
    expected = nx.to_numpy_array(ring) + np.eye(10)
    np.testing.assert_array_equal(steps[0], expected)


def test_relational_graph_forgets_the_ring_as_it_is_rewired():
    place = np.arange(20)
    away = np.abs(place - place[:, np.newaxis])
    near = np.isin(np.minimum(away, 20 - away), [1, 2])
    shares = []
    for rewiring in (0.0, 0.5, 1.0):
        steps = [
            rounds_of(40, 2, seed=s, edge_probability=4 / 19, rewiring=rewiring)[0]
            for s in range(100)
        ]
        shares.append(np.mean(steps, axis=0)[near].mean())
    assert shares[0] == 1
    assert 0.5 < shares[1] < 0.65
    # An edge is moved to where there is none.
    assert shares[2] < 4 / 19


def test_relational_rounds_lack_a_vertex_where_there_are_too_few():
    graph = draw("relational", 11, n_blocks=3, edge_probability=1.0)
    assert graph.number_of_edges() == 4 * 4 + 4 * 3
    assert GraphPrior("relational", n_nodes=11, n_blocks=3).sample(0).n_layers == 3


@given(seeds, st.integers(2, 25), st.floats(0, 1))
def test_degree_sequence_is_kept(seed, n_nodes, probability):
    degrees = [
        d for _, d in nx.gnp_random_graph(n_nodes, probability, seed=seed).degree
    ]
    graph = draw("degree_sequence", n_nodes, seed=seed, degrees=degrees)
    assert [graph.degree[v] for v in range(n_nodes)] == degrees


def test_graphs_of_a_degree_sequence_are_equally_likely():
    """Of the 70 ways to give six vertices two neighbours each, 10 are two triangles."""
    draws = [draw("degree_sequence", 6, seed=s, n_neighbors=1) for s in range(2000)]
    share = np.mean([not nx.is_connected(graph) for graph in draws])
    assert share == pytest.approx(1 / 7, abs=4 * (6 / 49 / 2000) ** 0.5)


@pytest.mark.parametrize(
    ("degrees", "message"),
    [
        ([2, 2], r"one integer for each of the n_nodes=4 .* shape \(2,\)"),
        ([1.0, 1.0, 1.0, 1.0], "and dtype float64"),
        ([4, 1, 1, 2], "a degree of 4 is not between 0 and n_nodes - 1 = 3"),
        ([-1, 1, 1, 1], "a degree of -1 is not"),
        ([1, 1, 1, 2], "their sum is 5, and must be even"),
        ([3, 3, 1, 1], "need more others than there are"),
    ],
)
def test_degrees_of_no_graph_are_refused(degrees, message):
    with pytest.raises(ValueError, match=message):
        GraphPrior("degree_sequence", n_nodes=4, degrees=degrees).sample(0)


@pytest.mark.parametrize(
    ("name", "parameters", "message"),
    [
        ("newman_watts", {"n_neighbors": 20}, "n_neighbors=20 must be below"),
        ("degree_sequence", {"n_neighbors": 20}, "n_neighbors=20 must be below"),
        ("relational", {"n_blocks": 41}, "n_blocks=41 .* at most n_nodes=40: a round"),
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
