"""Outputs and gradients are those of the definition, however they are asked for."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from robustkit.graphs import LayeredGraph
from tests.networks.reference import reference
from tests.networks.shapes import network_of
from tests.strategies import dag_edges, seeds

every_engine = pytest.mark.parametrize("engine", ["compiled", "sparse"])


def contiguous(X):
    return X.clone()


def transposed(X):
    return X.t().contiguous().t()


def every_second_row(X):
    wide = torch.full((2 * len(X), X.shape[1]), torch.nan, dtype=X.dtype)
    wide[::2] = X
    return wide[::2]


def every_second_column(X):
    wide = torch.full((len(X), 2 * X.shape[1]), torch.nan, dtype=X.dtype)
    wide[:, 1::2] = X
    return wide[:, 1::2]


def backwards(X):
    return X.flip(0).contiguous().flip(0)


def one_row_for_all(X):
    return X[:1].expand(len(X), -1) if len(X) else X


LAYOUTS = [
    contiguous,
    transposed,
    every_second_row,
    every_second_column,
    backwards,
    one_row_for_all,
]


@st.composite
def questions(draw):
    """A network's graph, samples, what is differentiated, and where."""
    edges, n_nodes = draw(dag_edges())
    n_features = draw(st.integers(1, 4))
    n_samples = draw(st.sampled_from([0, 1, 2, 3, 9, 64, 257]))
    generator = torch.Generator().manual_seed(draw(seeds))
    dtype = draw(st.sampled_from([torch.float32, torch.float64]))
    X = torch.randn(n_samples, n_features, generator=generator, dtype=torch.float64)
    X = X * draw(st.sampled_from([1e-30, 1.0, 100.0]))
    network = {
        "graph": LayeredGraph(edges, n_nodes),
        "n_features": n_features,
        "n_outputs": draw(st.integers(1, 3)),
        "seed": draw(seeds),
        "dtype": dtype,
    }
    X = draw(st.sampled_from(LAYOUTS))(X.to(dtype))
    of_input = draw(st.booleans())
    of_parameters = draw(st.lists(st.booleans(), min_size=5, max_size=5))
    seed = torch.randn(
        n_samples, network["n_outputs"], generator=generator, dtype=torch.float64
    )
    return network, X, of_input, of_parameters, seed


def derivatives(outputs, seed, tensors):
    wanted = [tensor for tensor in tensors if tensor.requires_grad]
    if not outputs.requires_grad:
        # Only weights of edges are asked for, where there are none.
        return [torch.zeros_like(tensor) for tensor in wanted]
    return torch.autograd.grad(outputs, wanted, seed, materialize_grads=True)


def size_of(network, X):
    """Largest sum of absolute values on the way: what rounding is relative to."""
    with torch.no_grad():
        twin = network_of(network.structure, n_features=X.shape[1], n_outputs=1)
        for ours, theirs in zip(twin.parameters(), network.parameters(), strict=True):
            ours.copy_(theirs[: len(ours)].abs())
        twin.output_weight.copy_(network.output_weight.abs().amax(dim=0))
        twin.output_bias.copy_(network.output_bias.abs().amax())
        outputs, vertices = reference(twin, X.abs())
    return 1 + max((t.max().item() for t in (outputs, vertices) if len(X)), default=0)


@every_engine
@given(questions())
def test_outputs_and_gradients_match_definition(engine, question):
    options, X, of_input, of_parameters, seed = question
    network = network_of(options.pop("graph"), engine=engine, **options)
    parameters = list(network.parameters())
    for weight, required in zip(parameters, of_parameters, strict=True):
        weight.requires_grad_(required)
    before = X.clone()
    X.requires_grad_(of_input)
    outputs = network(X)
    expected, vertices = reference(network, X)
    tolerance = 1e3 * torch.finfo(X.dtype).eps * size_of(network, X.detach())
    assert outputs.dtype == X.dtype
    found = (outputs, network.vertex_preactivations(X))
    for ours, theirs in zip(found, (expected, vertices), strict=True):
        torch.testing.assert_close(ours.double(), theirs, rtol=0, atol=tolerance)
    with torch.no_grad():
        torch.testing.assert_close(
            network(X).double(), expected, rtol=0, atol=tolerance
        )
    torch.testing.assert_close(X.detach(), before, rtol=0, atol=0)
    ours = derivatives(outputs, seed.to(X.dtype), [X, *parameters])
    theirs = derivatives(expected, seed.to(X.dtype).double(), [X, *parameters])
    for gradient, definition in zip(ours, theirs, strict=True):
        assert gradient.shape == definition.shape
        # A gradient is a sum over samples of products of two such sums.
        torch.testing.assert_close(
            gradient.double(),
            definition.double(),
            rtol=0,
            atol=tolerance * (1 + len(X)) * size_of(network, X.detach()),
        )
