"""No point of the intervals has a smaller margin than the bound says."""

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from robustkit.attacks._interval_bounds import BoundedNetwork
from robustkit.graphs import GraphPrior
from robustkit.networks import SparseNetwork, initialize


def dense(rng, sizes):
    layers = []
    for n_inputs, n_outputs in itertools.pairwise(sizes):
        layer = nn.utils.skip_init(nn.Linear, n_inputs, n_outputs)
        with torch.no_grad():
            layer.weight.copy_(torch.from_numpy(rng.normal(size=(n_outputs, n_inputs))))
            layer.bias.copy_(torch.from_numpy(rng.normal(size=n_outputs)))
        layers += [layer, nn.ReLU()]
    return layers[:-1]


def sparse_net(seed):
    graph = GraphPrior(n_nodes=40).sample(seed)
    network = initialize(SparseNetwork(graph, 5, 4), random_state=seed)
    return network, len(graph.sources)


def margin_of(logits, labels):
    rows = np.arange(len(logits))
    true = logits[rows, labels]
    logits = logits.copy()
    logits[rows, labels] = -np.inf
    return true - logits.max(axis=1)


@given(
    seed=st.integers(0, 10_000),
    sizes=st.lists(st.integers(1, 9), min_size=0, max_size=3),
    width=st.sampled_from([0.0, 1e-6, 0.1, 3.0]),
    dtype=st.sampled_from([np.float32, np.float64]),
)
def test_dense_bounds_hold(seed, sizes, width, dtype):
    rng = np.random.default_rng(seed)
    modules = [nn.ReLU(), *dense(rng, [6, *sizes, 4])]
    center = rng.normal(size=(7, 6)).astype(dtype)
    radius = (width * rng.random((7, 6))).astype(dtype)
    labels = rng.integers(4, size=7)
    bound = BoundedNetwork(modules, dtype).margins(center, radius, labels)
    network = nn.Sequential(*modules).double()
    for _ in range(20):
        share = rng.uniform(-1, 1, size=center.shape)
        share = np.where(rng.random(center.shape) < 0.5, np.sign(share), share)
        points = center.astype(np.float64) + radius.astype(np.float64) * share
        with torch.no_grad():
            logits = network(torch.from_numpy(points)).numpy()
        assert (margin_of(logits, labels) >= bound).all()


@given(
    seed=st.integers(0, 10_000),
    width=st.sampled_from([0.0, 1e-6, 0.1, 3.0]),
    dtype=st.sampled_from([np.float32, np.float64]),
)
def test_sparse_bounds_hold(seed, width, dtype):
    rng = np.random.default_rng(seed)
    network, n_sources = sparse_net(seed % 50)
    center = rng.normal(size=(5, n_sources)).astype(dtype)
    radius = (width * rng.random((5, n_sources))).astype(dtype)
    labels = rng.integers(4, size=5)
    bound = BoundedNetwork([network], dtype).margins(center, radius, labels)
    network = network.double()
    for _ in range(20):
        share = rng.uniform(-1, 1, size=center.shape)
        points = center.astype(np.float64) + radius.astype(np.float64) * share
        with torch.no_grad():
            logits = network.forward_from_sources(torch.from_numpy(points)).numpy()
        assert (margin_of(logits, labels) >= bound).all()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_bound_of_a_point_is_its_margin_up_to_rounding(dtype):
    rng = np.random.default_rng(0)
    modules = dense(rng, [50, 40, 30, 4])
    points = rng.normal(size=(20, 50)).astype(dtype)
    labels = rng.integers(4, size=20)
    bound = BoundedNetwork(modules, dtype).margins(
        points, np.zeros_like(points), labels
    )
    with torch.no_grad():
        logits = nn.Sequential(*modules).double()(torch.from_numpy(points).double())
    margin = margin_of(logits.numpy(), labels)
    scale = np.abs(logits.numpy()).max()
    assert (bound <= margin).all()
    np.testing.assert_allclose(bound, margin, atol=scale * 1e-2)


def test_bound_is_exact_for_a_linear_model():
    rng = np.random.default_rng(0)
    modules = dense(rng, [6, 4])
    W = modules[0].weight.detach().double().numpy()
    b = modules[0].bias.detach().double().numpy()
    center, radius = rng.normal(size=(9, 6)), rng.random((9, 6))
    labels = rng.integers(4, size=9)
    bound = BoundedNetwork(modules, np.float64).margins(center, radius, labels)
    D = W[labels][:, None] - W
    exact = np.einsum("njk,nk->nj", D, center) + b[labels][:, None] - b
    exact -= np.einsum("njk,nk->nj", np.abs(D), radius)
    exact[np.arange(9), labels] = np.inf
    np.testing.assert_allclose(bound, exact.min(axis=1), atol=1e-4)
    assert (bound <= exact.min(axis=1)).all()


def test_unknown_layer_is_refused_by_name():
    with pytest.raises(TypeError, match="This one has a Tanh"):
        BoundedNetwork([nn.Tanh()], np.float32)


@pytest.mark.parametrize("kind", ["dense", "sparse"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_bound_is_sharp_where_all_weights_are_positive(kind, dtype):
    """All units rise together, so the worst point of a box is its upper corner."""
    if kind == "dense":
        modules, n_units = dense(np.random.default_rng(0), [6, 5, 4]), 6
    else:
        network, n_units = sparse_net(0)
        modules = [network]
    with torch.no_grad():
        for module in modules:
            for weight in module.parameters():
                weight.abs_()
        # The label's own logit does not move.
        last = modules[-1]
        (last.weight if kind == "dense" else last.output_weight)[0] = 0
    rng = np.random.default_rng(1)
    center = rng.random((8, n_units)).astype(dtype)
    radius = rng.random((8, n_units)).astype(dtype)
    labels = np.zeros(8, dtype=int)
    bound = BoundedNetwork(modules, dtype).margins(center, radius, labels)
    corner = torch.from_numpy(center.astype(np.float64) + radius)
    with torch.no_grad():
        if kind == "dense":
            logits = nn.Sequential(*modules).double()(corner)
        else:
            logits = network.double().forward_from_sources(corner)
    exact = margin_of(logits.numpy(), labels)
    assert (bound <= exact).all()
    np.testing.assert_allclose(bound, exact, rtol=1e-3)
