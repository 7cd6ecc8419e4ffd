"""First weights have the distribution that their name promises."""

from math import sqrt

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.nn.utils import prune

from robustkit._randomness import seeded_torch, torch_generator
from robustkit.graphs import LayeredGraph
from robustkit.networks import SparseNetwork, initialize
from robustkit.networks._initialization import INITS, _edge_fans, draw_weights
from tests.networks.shapes import SHAPES
from tests.strategies import dag_edges


def expected_deviation(init, fan_in, fan_out):
    """Standard deviation by the formulas of the papers, with a gain of sqrt(2)."""
    return {
        "glorot": sqrt(2) * sqrt(2 / (fan_in + fan_out)),
        "he": sqrt(2) / sqrt(fan_in),
        "normal": 0.1,
        "uniform": 0.1 / sqrt(3),
    }[init.partition("_")[0]]


@pytest.mark.parametrize("init", INITS)
def test_initial_weights_have_the_right_mean_and_deviation(init):
    weights = draw_weights((200, 300), init, 300, 200, torch_generator(0))
    deviation = expected_deviation(init, 300, 200)
    assert weights.mean().item() == pytest.approx(0, abs=0.02 * deviation)
    assert weights.std().item() == pytest.approx(deviation, rel=0.02)
    if init.endswith("uniform"):
        bound = weights.abs().max().item()
        assert bound == pytest.approx(sqrt(3) * deviation, rel=1e-3)
        assert bound <= sqrt(3) * deviation
    else:
        assert weights.abs().max() > 3.5 * deviation


@pytest.mark.parametrize(
    ("init", "torchs"),
    [
        ("glorot_normal", nn.init.xavier_normal_),
        ("glorot_uniform", nn.init.xavier_uniform_),
    ],
)
def test_glorot_equals_torch(init, torchs):
    generator = torch_generator(0)
    theirs = torchs(torch.empty(300, 200), gain=sqrt(2), generator=generator)
    ours = draw_weights((300, 200), init, 200, 300, generator)
    assert ours.std().item() == pytest.approx(theirs.std().item(), rel=0.02)


@given(dag_edges(), st.sampled_from(["degree", "block"]))
def test_fans_of_edges_match_definition(drawn, fan):
    graph = LayeredGraph(*drawn)
    edges = graph.edges.T.tolist()
    for (u, v), fan_in, fan_out in zip(edges, *_edge_fans(graph, fan), strict=True):
        if fan == "degree":
            assert fan_in == sum(target == v for _, target in edges)
            assert fan_out == sum(source == u for source, _ in edges)
        else:
            assert fan_in == sum(graph.layer == graph.layer[u])
            assert fan_out == sum(graph.layer == graph.layer[v])


@pytest.mark.parametrize("fan", ["degree", "block"])
def test_initialize_of_dense_graph_equals_dense_layers(fan):
    sources, targets = np.meshgrid(range(120), range(120, 200))
    graph = LayeredGraph([sources.ravel(), targets.ravel()], 200)
    network = initialize(
        SparseNetwork(graph, 50, 10), "glorot_normal", fan=fan, random_state=0
    )
    for name, fan_in, fan_out in [
        ("input_weight", 50, 120),
        ("edge_weight", 120, 80),
        ("output_weight", 80, 10),
    ]:
        expected = expected_deviation("glorot", fan_in, fan_out)
        deviation = getattr(network, name).std().item()
        assert deviation == pytest.approx(expected, rel=0.05)
    assert network.bias.std().item() == pytest.approx(0.1, rel=0.2)
    assert network.output_bias.any()


def test_initialize_draws_linear_layers_of_any_module():
    with seeded_torch(0):
        module = nn.Sequential(nn.Linear(300, 200), nn.ReLU(), nn.Linear(200, 50))
    assert initialize(module, "he_normal", random_state=0) is module
    assert module[0].weight.std().item() == pytest.approx(sqrt(2 / 300), rel=0.02)
    assert module[2].weight.std().item() == pytest.approx(sqrt(2 / 200), rel=0.02)
    assert module[0].bias.std().item() == pytest.approx(0.1, rel=0.2)


def test_initialize_is_the_same_in_float32_and_float64():
    single, double = (
        initialize(
            SparseNetwork(SHAPES["disconnected"], 3, 2).to(dtype), random_state=3
        )
        for dtype in (torch.float32, torch.float64)
    )
    for ours, theirs in zip(single.parameters(), double.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs.float(), rtol=0, atol=0)
    other = initialize(SparseNetwork(SHAPES["disconnected"], 3, 2), random_state=4)
    assert not torch.equal(single.edge_weight, other.edge_weight)


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"init": "he_norm"}, "'init' parameter.*did you mean 'he_normal'"),
        ({"fan": "degrees"}, "'fan' parameter.*did you mean 'degree'"),
    ],
)
def test_unknown_init_or_fan_raises(params, message):
    network = SparseNetwork(SHAPES["disconnected"], 3, 2)
    with pytest.raises(ValueError, match=message):
        initialize(network, random_state=0, **params)


def test_initialize_of_layer_without_bias():
    with seeded_torch(0):
        module = nn.Sequential(nn.Linear(3, 40, bias=False), nn.Linear(40, 2))
    initialize(module, "uniform", random_state=0)
    assert module[0].bias is None
    expected = draw_weights((40, 3), "uniform", 3, 40, torch_generator(0))
    torch.testing.assert_close(module[0].weight.detach().double(), expected)


def test_initialize_of_parametrized_weight_raises():
    """Drawn, it would be forgotten at the next call."""
    with seeded_torch(0):
        module = nn.Sequential(nn.utils.parametrizations.weight_norm(nn.Linear(3, 2)))
        pruned = prune.random_unstructured(nn.Linear(3, 2), "weight", 0.5)
    for made in (module, pruned):
        with pytest.raises(TypeError, match="is computed at every call"):
            initialize(made, random_state=0)
