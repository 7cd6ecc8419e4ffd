"""A distribution over graphs, as a scikit-learn transformer."""

import pickle

import networkx as nx
import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from scipy import stats
from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import RidgeClassifier
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import Pipeline
from sklearn.utils._param_validation import InvalidParameterError

from robustkit.graphs import GraphPrior, LayeredGraph, graph_properties
from robustkit.graphs._generators import GENERATORS
from robustkit.graphs._prior import draw_structure, sink_outputs
from tests.strategies import dag_edges, seeds

X = np.random.RandomState(0).uniform(size=(20, 6))


def outputs_by_vertex(graph, x, input_weights, edge_weights, biases):
    """Values of the sinks for one sample, one vertex after another."""
    values = np.zeros(graph.n_nodes)
    for vertex in range(graph.n_nodes):
        total = biases[vertex]
        if vertex in graph.sources:
            total += x @ input_weights[:, vertex]
        for (source, target), weight in zip(graph.edges.T, edge_weights, strict=True):
            if target == vertex:
                total += weight * values[source]
        values[vertex] = max(total, 0.0)
    return values[graph.sinks]


@given(dag_edges(), seeds)
def test_sink_outputs_match_definition(graph, seed):
    layered = LayeredGraph(*graph)
    rng = np.random.RandomState(seed)
    input_weights = rng.normal(size=(6, len(layered.sources)))
    edge_weights = rng.normal(size=layered.n_edges)
    biases = rng.normal(size=layered.n_nodes)
    found = sink_outputs(layered, X, input_weights, edge_weights, biases)
    expected = [
        outputs_by_vertex(layered, x, input_weights, edge_weights, biases) for x in X
    ]
    np.testing.assert_allclose(found, expected, atol=1e-12)


def test_transform_uses_the_fitted_weights():
    prior = GraphPrior(random_state=0).fit(X)
    weights = prior.input_weights_, prior.edge_weights_, prior.biases_
    expected = [outputs_by_vertex(prior.structure_, x, *weights) for x in X]
    np.testing.assert_allclose(prior.transform(X), expected, atol=1e-12)


def test_transform_has_one_feature_per_sink():
    prior = GraphPrior(random_state=0).fit(X)
    n_sinks = len(prior.structure_.sinks)
    assert prior.transform(X).shape == (20, n_sinks)
    assert len(prior.get_feature_names_out()) == n_sinks
    assert np.ptp(prior.transform(X), axis=0).any()


def test_transform_preserves_float32():
    prior = GraphPrior(random_state=0).fit(X)
    single = prior.transform(X.astype(np.float32))
    assert single.dtype == np.float32
    np.testing.assert_allclose(single, prior.transform(X), rtol=1e-4, atol=1e-5)


def test_prior_weights_stay_within_he_bound():
    prior = GraphPrior(n_nodes=400, n_neighbors=4, random_state=0).fit(X)
    bound = np.sqrt(6 / 6)
    assert np.abs(prior.input_weights_).max() <= bound
    assert prior.input_weights_.std() == pytest.approx(bound / np.sqrt(3), rel=0.1)
    graph = prior.structure_
    n_inputs = np.bincount(graph.edges[1], minlength=graph.n_nodes)[graph.edges[1]]
    scaled = prior.edge_weights_ * np.sqrt(n_inputs / 6)
    assert np.abs(scaled).max() <= 1
    assert scaled.std() == pytest.approx(1 / np.sqrt(3), rel=0.1)
    assert prior.biases_.std() == pytest.approx(0.1, rel=0.1)


@pytest.mark.parametrize("generator", GENERATORS)
@pytest.mark.parametrize("orientation", ["index", "random", "degree"])
def test_prior_structure_depends_on_seed_only(generator, orientation):
    prior = GraphPrior(generator, n_nodes=30, orientation=orientation, random_state=3)
    again = clone(prior).fit(X)
    assert prior.sample() == prior.sample(3) == again.structure_
    # Nothing is random about a lattice, unless its orientation is.
    is_fixed = generator == "lattice" and orientation != "random"
    assert (prior.sample(4) == prior.sample(3)) == is_fixed
    assert prior.sample().n_nodes == 30


def test_sample_advances_a_random_state_instance():
    prior = GraphPrior(random_state=np.random.RandomState(0))
    assert prior.sample() != prior.sample()


def test_fitted_properties_are_those_of_the_structure():
    prior = GraphPrior(random_state=0).fit(X)
    pd.testing.assert_series_equal(
        prior.properties_, graph_properties(prior.structure_)
    )


@pytest.mark.parametrize("orientation", ["random", "degree"])
def test_orientation_only_changes_directions(orientation):
    plain = GraphPrior(random_state=0).sample()
    other = GraphPrior(orientation=orientation, random_state=0).sample()

    def named_edges(graph):
        return {frozenset(graph.labels[v] for v in edge) for edge in graph.edges.T}

    assert named_edges(plain) == named_edges(other)
    assert plain != other


def test_generators_ignore_unused_parameters():
    # 60 neighbours would be too many for a ring of 100.
    prior = GraphPrior("erdos_renyi", n_neighbors=60, random_state=0)
    assert prior.sample() == GraphPrior("erdos_renyi", random_state=0).sample()


def test_callable_generator():
    calls = []

    def ladder(n_nodes, random_state):
        calls.append((n_nodes, random_state))
        return nx.ladder_graph(n_nodes // 2)

    graph = GraphPrior(ladder, n_nodes=10, random_state=0).sample()
    assert graph == LayeredGraph.from_networkx(nx.ladder_graph(5))
    n_nodes, seed = calls[0]
    assert n_nodes == 10
    assert type(seed) is int


def test_callable_generator_may_return_directed_graph():
    prior = GraphPrior(
        lambda n, seed: nx.gn_graph(n, seed=seed), n_nodes=20, random_state=1
    )
    # Every vertex points to an earlier one, against the index.
    graph = prior.sample()
    assert all(graph.labels[u] > graph.labels[v] for u, v in graph.edges.T)


@pytest.mark.parametrize(
    ("generator", "error", "message"),
    [
        (lambda n, seed: "ring", TypeError, "must return a networkx.Graph.* 'ring'"),
        (lambda n, seed: nx.MultiGraph([(0, 1)]), ValueError, "not be a multigraph"),
        (lambda n, seed: nx.DiGraph([(0, 1), (1, 0)]), ValueError, "must be acyclic"),
    ],
)
def test_callable_generator_with_invalid_result_raises(generator, error, message):
    with pytest.raises(error, match=message):
        GraphPrior(generator, random_state=0).fit(X)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"generator": "ring"}, "The 'generator' parameter of GraphPrior must be"),
        ({"n_nodes": 0}, r"'n_nodes' .* in the range \[1, inf\). Got 0"),
        ({"n_neighbors": 1.5}, "'n_neighbors' .* must be an int"),
        ({"rewiring": 1.1}, r"'rewiring' .* in the range \[0.0, 1.0\]. Got 1.1"),
        ({"edge_probability": -0.1}, "'edge_probability' .* Got -0.1"),
        ({"edge_probability": 1.5}, "'edge_probability' .* Got 1.5"),
        ({"n_attachments": 0}, "'n_attachments' .* Got 0"),
        ({"n_blocks": 0}, "'n_blocks' .* Got 0"),
        ({"orientation": "up"}, "'orientation' .* Got 'up'"),
    ],
)
@pytest.mark.parametrize("method", ["fit", "sample"])
def test_invalid_prior_parameters_raise(method, parameters, message):
    prior = GraphPrior(**{"random_state": 0, **parameters})
    with pytest.raises(InvalidParameterError, match=message):
        prior.fit(X) if method == "fit" else prior.sample()


def test_ring_too_small_for_n_neighbors_raises():
    with pytest.raises(ValueError, match=r"n_neighbors=2 must be below .* = 2"):
        GraphPrior(n_nodes=4, random_state=0).fit(X)


def test_transform_before_fit_raises():
    with pytest.raises(NotFittedError, match="GraphPrior instance is not fitted yet"):
        GraphPrior().transform(X)


def test_prior_matches_published_network():
    """But for the size: a ring of two neighbours on each side, half of it rewired."""
    assert GraphPrior().get_params() == {
        "generator": "watts_strogatz",
        "n_nodes": 100,
        "n_neighbors": 2,
        "rewiring": 0.5,
        "edge_probability": 0.05,
        "n_attachments": 2,
        "n_blocks": 4,
        "degrees": None,
        "orientation": "index",
        "random_state": None,
    }


@pytest.mark.parametrize(
    ("generator", "parameters", "n_edges"),
    [
        ("watts_strogatz", {"n_neighbors": 1, "rewiring": 0}, 30),
        ("watts_strogatz_networkx", {"n_neighbors": 1, "rewiring": 1}, 30),
        ("random_regular", {"n_neighbors": 1}, 30),
        ("barabasi_albert", {"n_attachments": 1}, 29),
        ("stochastic_block", {"n_blocks": 1, "edge_probability": 1}, 435),
        ("erdos_renyi", {"edge_probability": 0}, 0),
        ("geometric", {"edge_probability": 1}, 435),
    ],
)
def test_extreme_parameter_values_are_valid(generator, parameters, n_edges):
    prior = GraphPrior(generator, n_nodes=30, **parameters)
    assert prior.sample(0).n_edges == n_edges


def test_prior_weights_are_uniform_and_biases_normal():
    """By Kolmogorov and Smirnov, who see 5 % at these sizes."""
    features = np.zeros((2, 30))
    prior = GraphPrior(n_nodes=3000, random_state=0).fit(features)
    graph = prior.structure_
    n_inputs = np.bincount(graph.edges[1], minlength=graph.n_nodes)[graph.edges[1]]
    edges = prior.edge_weights_ / np.sqrt(6 / n_inputs)
    inputs = prior.input_weights_.ravel() / np.sqrt(6 / 30)
    for weights in (edges, inputs):
        assert stats.kstest(weights, stats.uniform(-1, 2).cdf).pvalue > 0.01
        assert 0.99 < np.abs(weights).max() <= 1
    assert stats.kstest(prior.biases_, stats.norm(0, 0.1).cdf).pvalue > 0.01
    assert prior.input_weights_.shape == (30, len(graph.sources))
    assert prior.biases_.shape == (3000,)


def test_prior_survives_pickling():
    prior = GraphPrior(random_state=0).fit(X)
    again = pickle.loads(pickle.dumps(prior))
    np.testing.assert_array_equal(again.transform(X), prior.transform(X))


def test_prior_set_output_pandas():
    prior = GraphPrior(random_state=0).set_output(transform="pandas")
    frame = prior.fit_transform(pd.DataFrame(X, columns=list("abcdef")))
    assert isinstance(frame, pd.DataFrame)
    assert frame.columns[0] == "graphprior0"
    assert list(prior.feature_names_in_) == list("abcdef")


def test_grid_search_over_prior_parameters():
    images, digits = load_digits(return_X_y=True)
    pipeline = Pipeline(
        [("prior", GraphPrior(random_state=0)), ("model", RidgeClassifier())]
    )
    search = GridSearchCV(pipeline, {"prior__n_nodes": [20, 300]}, cv=2)
    search.fit(images[:600] / 16, digits[:600])
    assert search.best_params_ == {"prior__n_nodes": 300}


def test_transform_through_a_long_chain():
    prior = GraphPrior(lambda n, seed: nx.path_graph(n), n_nodes=2000, random_state=0)
    assert np.isfinite(prior.fit_transform(X)).all()


def test_draw_structure_uses_the_seed_of_the_prior_unless_replaced():
    prior = GraphPrior(n_nodes=20, random_state=3)
    assert draw_structure(prior, 5) == prior.sample(3)
    assert draw_structure(prior, 5, replace_seed=True) == prior.sample(5)
    assert draw_structure(GraphPrior(n_nodes=20), 5) == prior.sample(5)
    assert draw_structure(None, 5) == GraphPrior(n_nodes=250).sample(5)


def test_draw_structure_sets_params_on_a_copy():
    prior = GraphPrior(n_nodes=20)
    graph = draw_structure(prior, 5, params={"n_nodes": 30})
    assert (graph.n_nodes, prior.n_nodes) == (30, 20)


def test_draw_structure_of_what_is_a_graph_already():
    graph = nx.path_graph(4)
    layered = LayeredGraph.from_networkx(graph)
    assert draw_structure(layered, 0) is layered
    assert draw_structure(graph, 0) == layered
    assert draw_structure(nx.to_numpy_array(graph), 0) == layered
