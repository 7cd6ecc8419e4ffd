"""The sparse network computes what its definition says, on any graph."""

import copy
import io
import pickle

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional

from robustkit.graphs import LayeredGraph
from robustkit.networks import SparseNetwork
from tests.networks.reference import reference, reference_gradients
from tests.networks.shapes import (
    SHAPES,
    chain_of_2000,
    every_shape,
    network_of,
    networks,
    samples,
)

every_engine = pytest.mark.parametrize("engine", ["compiled", "sparse"])


def gradients(network, X, y):
    X = X.clone().requires_grad_()
    loss = functional.cross_entropy(network(X), y)
    return loss, *torch.autograd.grad(
        loss, [X, *network.parameters()], materialize_grads=True
    )


def expect_the_reference(network, X, y, tolerance=1e-9):
    logits, preactivations = reference(network, X)
    expected = (logits, preactivations, *reference_gradients(network, X, y))
    found = (network(X), network.vertex_preactivations(X), *gradients(network, X, y))
    for ours, theirs in zip(found, expected, strict=True):
        torch.testing.assert_close(
            ours.double(), theirs.double(), rtol=tolerance, atol=tolerance
        )


@every_engine
@given(data=st.data(), n_samples=st.integers(1, 9))
def test_sparse_network_of_any_graph_matches_definition(engine, data, n_samples):
    network = data.draw(networks(engine=engine))
    expect_the_reference(network, *samples(n_samples))


@every_engine
@every_shape
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_sparse_network_of_any_shape_matches_definition(engine, graph, dtype):
    network = network_of(graph, engine=engine, dtype=dtype)
    X, y = samples(70, dtype=dtype)
    expect_the_reference(network, X, y, 1e-4 if dtype == torch.float32 else 1e-9)


@every_engine
def test_sparse_network_of_a_chain_of_2000_vertices(engine):
    expect_the_reference(chain_of_2000(engine=engine), *samples(3))


@every_engine
def test_gradient_of_vertex_preactivations(engine):
    network = network_of(SHAPES["skip over 100 layers"], engine=engine)
    X, _ = samples(5)
    X.requires_grad_()
    weights = torch.arange(1.0, 121, dtype=torch.float64)

    def grads(preactivations):
        total = (preactivations.tanh() * weights).sum()
        return torch.autograd.grad(total, [X, network.bias, network.edge_weight])

    ours = grads(network.vertex_preactivations(X))
    theirs = grads(reference(network, X)[1])
    torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-9)


@every_engine
def test_sparse_network_passes_gradcheck(engine):
    network = network_of(SHAPES["five predecessors and more"], engine=engine)
    X, _ = samples(2)
    assert torch.autograd.gradcheck(network, X.requires_grad_())


@every_engine
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_nan_and_infinity_reach_the_output(engine, value):
    network = network_of(SHAPES["skip over 100 layers"], engine=engine)
    X, y = samples(3)
    X[1, 0] = value
    with torch.no_grad():
        for weight in network.parameters():
            weight.abs_()
    logits, *_ = reference(network, X)
    assert not torch.isfinite(logits[1]).all()
    torch.testing.assert_close(network(X), logits, equal_nan=True)
    expected = reference_gradients(network, X, y)
    for ours, theirs in zip(gradients(network, X, y), expected, strict=True):
        torch.testing.assert_close(ours, theirs.to(ours.dtype), equal_nan=True)


@every_engine
def test_every_sink_affects_every_output(engine):
    # A peer reads out the last layer alone. Here it holds one of the four sinks.
    graph = LayeredGraph([[0, 1, 2], [1, 2, 3]], n_nodes=7)
    network = network_of(graph, engine=engine)
    with torch.no_grad():
        network.bias.fill_(1)
        network.edge_weight.fill_(1)
        network.output_weight.fill_(1)
        network.output_bias.zero_()
        network.input_weight.zero_()
    assert graph.layer[graph.sinks].tolist() == [0, 0, 0, 3]
    assert network(torch.zeros(1, 3, dtype=torch.float64)).tolist() == [[7.0] * 4]


@every_engine
def test_second_forward_before_backward(engine):
    network = network_of(SHAPES["disconnected"], engine=engine)
    (X, y), (X2, _) = samples(6), samples(9, seed=1)
    first = functional.cross_entropy(network(X), y)
    network(X2)
    first.backward()
    expected = reference_gradients(network, X, y)[2:]
    for weight, gradient in zip(network.parameters(), expected, strict=True):
        torch.testing.assert_close(weight.grad, gradient)


@every_engine
@pytest.mark.parametrize("leading", [(), (0,), (1,), (2, 3), (2, 0, 3)])
def test_forward_with_any_leading_dimensions(engine, leading):
    network = network_of(SHAPES["one source"], engine=engine)
    X = torch.ones(*leading, 3, dtype=torch.float64)
    assert network(X).shape == (*leading, 4)
    assert network.vertex_preactivations(X).shape == (*leading, 4)
    network(X).sum().backward()


@every_engine
def test_forward_from_sources_equals_forward(engine):
    network = network_of(SHAPES["disconnected"], engine=engine)
    X, _ = samples(5)
    drive = X @ network.input_weight.t()
    torch.testing.assert_close(network.forward_from_sources(drive), network(X))


@every_engine
def test_backward_uses_the_weights_of_the_forward_pass(engine):
    network = network_of(SHAPES["one source"], engine=engine)
    X, y = samples(4)
    expected = reference_gradients(network, X, y)[4]
    loss = functional.cross_entropy(network(X), y)
    with torch.no_grad():
        network.edge_weight.add_(1)
        network.output_weight.add_(1)
    loss.backward()
    torch.testing.assert_close(network.edge_weight.grad, expected)


def test_frozen_parameters_get_no_gradient():
    network = network_of(SHAPES["disconnected"]).requires_grad_(False)
    X, y = samples(4)
    expected = reference_gradients(network.requires_grad_(), X, y)[1]
    network.requires_grad_(False)
    X.requires_grad_()
    functional.cross_entropy(network(X), y).backward()
    torch.testing.assert_close(X.grad, expected)
    assert all(weight.grad is None for weight in network.parameters())


@every_engine
def test_replaced_weight_is_used(engine):
    network = network_of(SHAPES["one source"], engine=engine)
    X, _ = samples(4)
    network(X)
    network.edge_weight.data = network.edge_weight.data * 2
    torch.testing.assert_close(network(X), reference(network, X)[0])
    network.float()
    assert network(X.float()).dtype == torch.float32


def copies():
    def through_pickle(network):
        return pickle.loads(pickle.dumps(network))

    def through_torch(network):
        buffer = io.BytesIO()
        torch.save(network.state_dict(), buffer)
        buffer.seek(0)
        new = SparseNetwork(network.structure, 3, 4).double()
        new.load_state_dict(torch.load(buffer, weights_only=True))
        return new

    return [copy.deepcopy, through_pickle, through_torch]


@pytest.mark.parametrize("copied", copies())
def test_copies_of_sparse_network_are_independent(copied):
    network = network_of(SHAPES["disconnected"])
    X, _ = samples(4)
    before = network(X)
    other = copied(network)
    torch.testing.assert_close(other(X), before, rtol=0, atol=0)
    with torch.no_grad():
        for weight in other.parameters():
            weight.zero_()
    torch.testing.assert_close(network(X), before, rtol=0, atol=0)
    assert not other(X).any()


def test_sparse_network_named_parameters():
    network = SparseNetwork(SHAPES["disconnected"], 3, 4)
    shapes = {name: tuple(w.shape) for name, w in network.state_dict().items()}
    assert shapes == {
        "input_weight": (2, 3),
        "bias": (6,),
        "edge_weight": (4,),
        "output_weight": (4, 3),
        "output_bias": (4,),
    }
    n_parameters = sum(weight.numel() for weight in network.parameters())
    assert n_parameters == network.structure.n_parameters(3, 4)
    assert "n_features=3, n_outputs=4" in repr(network)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (([[0, 1]], 3, 4), TypeError, "structure must be a LayeredGraph"),
        ((SHAPES["one source"], 0, 4), ValueError, "n_features must be at least 1"),
        ((SHAPES["one source"], 3, 2.0), TypeError, "n_outputs must be an int"),
    ],
)
def test_invalid_sparse_network_arguments_raise(arguments, error, message):
    with pytest.raises(error, match=message):
        SparseNetwork(*arguments)


def test_sparse_network_with_unknown_engine_raises():
    with pytest.raises(ValueError, match="did you mean 'compiled'"):
        SparseNetwork(SHAPES["one source"], 3, 4, engine="compile")


def test_wrong_number_of_features_raises():
    network = network_of(SHAPES["one source"])
    with pytest.raises(ValueError, match=r"shape \(\.\.\., 3\)\. Got \(2, 5\)"):
        network(torch.ones(2, 5))


@every_engine
@every_shape
@pytest.mark.parametrize("n_samples", [0, 1, 255, 256, 257, 600])
def test_outputs_without_gradient_are_the_same(engine, graph, n_samples):
    network = network_of(graph, engine=engine)
    X, _ = samples(n_samples)
    expected = network(X).detach()
    with torch.no_grad():
        torch.testing.assert_close(network(X), expected)
        drive = X @ network.input_weight.t()
        torch.testing.assert_close(network.forward_from_sources(drive), expected)
