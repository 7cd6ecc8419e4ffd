"""Networks of awkward shapes, and the data they are asked about."""

import numpy as np
import pytest
import torch
from hypothesis import strategies as st

from robustkit.graphs import LayeredGraph
from robustkit.networks import SparseNetwork, initialize
from tests.strategies import dag_edges, seeds


def _chain(n_nodes):
    return LayeredGraph([range(n_nodes - 1), range(1, n_nodes)], n_nodes)


def _shuffled(graph, seed=0):
    """The same graph, its vertices renamed and its edges out of order and doubled."""
    rng = np.random.RandomState(seed)
    name = rng.permutation(graph.n_nodes)
    edges = name[graph.edges][:, rng.permutation(graph.n_edges)]
    return LayeredGraph(np.hstack([edges, edges]), graph.n_nodes)


SHAPES = {
    "one vertex": LayeredGraph([[], []], 1),
    "one layer": LayeredGraph([[], []], 5),
    "isolated vertices": LayeredGraph([[0, 1], [3, 3]], 6),
    "one source": LayeredGraph([[0, 0, 0, 1], [1, 2, 3, 3]], 4),
    "one sink": LayeredGraph([[0, 1, 2], [3, 3, 3]], 4),
    "disconnected": LayeredGraph([[0, 1, 3, 3], [1, 2, 4, 5]], 6),
    "skip over 100 layers": LayeredGraph(
        [[*range(119), *[0] * 100], [*range(1, 120), *range(20, 120)]], 120
    ),
    "shuffled, edges doubled": _shuffled(_chain(9)),
    "five predecessors and more": LayeredGraph(
        np.transpose([(u, v) for v in range(12) for u in range(v)]), 12
    ),
}

every_shape = pytest.mark.parametrize("graph", SHAPES.values(), ids=SHAPES)


def network_of(graph, *, n_features=3, n_outputs=4, seed=0, dtype=torch.float64, **kw):
    network = SparseNetwork(graph, n_features, n_outputs, **kw)
    return initialize(network, random_state=seed).to(dtype)


def chain_of_2000(**kwargs):
    """A path along which values and gradients neither grow nor fade."""
    n_nodes = 2000
    network = network_of(_chain(n_nodes), **kwargs)
    with torch.no_grad():
        network.edge_weight.fill_(1.0)
        network.bias.abs_()
        network.output_weight.div_(n_nodes)
    return network


def samples(n_samples, n_features=3, n_classes=4, seed=0, dtype=torch.float64):
    rng = np.random.RandomState(seed)
    X = torch.from_numpy(rng.standard_normal((n_samples, n_features))).to(dtype)
    return X, torch.from_numpy(rng.randint(n_classes, size=n_samples))


@st.composite
def networks(draw, **kwargs):
    edges, n_nodes = draw(dag_edges())
    return network_of(LayeredGraph(edges, n_nodes), seed=draw(seeds), **kwargs)
