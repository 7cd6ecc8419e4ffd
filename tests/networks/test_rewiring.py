"""Edges give way to others; what the network is made of stays."""

import copy
from itertools import product
from math import cos, pi

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from robustkit.graphs import LayeredGraph
from robustkit.networks import AutogradStep, FusedStep, RewiringStep, SparseNetwork
from robustkit.networks._rewiring import replace_edges, share_to_replace
from tests.networks.reference import reference, reference_gradients
from tests.networks.shapes import every_shape, network_of, networks, samples
from tests.strategies import dag_edges, seeds

# Every vertex has a weak edge more than it needs.
WIDE = LayeredGraph([[0, 0, 1, 1, 2, 3, 3, 4, 4, 5], [3, 4, 3, 4, 5, 6, 7, 6, 7, 7]], 8)


def replaced(graph, strength, fraction, wanted):
    """The definition, edge by edge: those that stay, and those that are new."""
    layer, sinks = graph.layer.tolist(), set(graph.sinks.tolist())
    edges = list(map(tuple, graph.edges.T.tolist()))
    of = dict(zip(edges, strength, strict=True))
    needed = set()
    for v in range(graph.n_nodes):
        leaving = [e for e in edges if e[0] == v]
        near = [e for e in edges if e[1] == v and layer[e[0]] == layer[v] - 1]
        needed |= {max(group, key=of.get) for group in (leaving, near) if group}
    stay, new = set(edges), []
    for depth in range(1, graph.n_layers):
        into = [e for e in edges if layer[e[1]] == depth]
        weakest = sorted((e for e in into if e not in needed), key=of.get)
        places = [
            (u, v)
            for u, v in product(range(graph.n_nodes), repeat=2)
            if layer[u] < layer[v] == depth and u not in sinks and (u, v) not in of
        ]
        best = sorted(places, key=lambda e: -wanted[e[1], e[0]])
        n = min(int(fraction * len(into)), len(weakest), len(places))
        stay -= set(weakest[:n])
        new += best[:n]
    return stay, set(new)


def chosen(graph, seed, fraction):
    rng = np.random.RandomState(seed)
    strength = rng.permutation(graph.n_edges).astype(float)
    wanted = rng.permutation(graph.n_nodes**2).reshape(graph.n_nodes, -1)
    stays, added = replace_edges(
        graph, strength, fraction, lambda low, a, b: wanted[a:b, :low]
    )
    return strength, wanted, stays, added


@given(dag_edges(max_nodes=20), seeds, st.sampled_from([0.1, 0.3, 0.5, 0.99]))
def test_replaced_edges_equal_the_definition(edges, seed, fraction):
    graph = LayeredGraph(*edges)
    strength, wanted, stays, added = chosen(graph, seed, fraction)
    expected_stay, expected_new = replaced(graph, strength, fraction, wanted)
    assert set(map(tuple, graph.edges[:, stays].T.tolist())) == expected_stay
    assert set(map(tuple, added.T.tolist())) == expected_new


@given(dag_edges(max_nodes=20), seeds)
def test_rewired_graph_keeps_layers_sources_and_sinks(edges, seed):
    graph = LayeredGraph(*edges)
    _, _, stays, added = chosen(graph, seed, 0.9)
    rewired = LayeredGraph(np.hstack([graph.edges[:, stays], added]), graph.n_nodes)
    assert rewired.n_edges == graph.n_edges
    assert rewired.labels == tuple(range(graph.n_nodes))
    for name in ("layer", "sources", "sinks"):
        np.testing.assert_array_equal(getattr(rewired, name), getattr(graph, name))


def test_equal_scores_take_the_first_places():
    stays, added = replace_edges(
        WIDE, np.ones(10), 0.5, lambda low, a, b: np.zeros((b - a, low))
    )
    assert (~stays).sum() == added.shape[1] > 0
    again = replace_edges(
        WIDE, np.ones(10), 0.5, lambda low, a, b: np.zeros((b - a, low))
    )
    np.testing.assert_array_equal(added, again[1])


@pytest.mark.parametrize("engine", ["compiled", "sparse"])
@pytest.mark.parametrize("label_smoothing", [0.0, 0.3])
@given(data=st.data())
def test_gradients_of_all_pairs_equal_those_of_a_graph_with_all_edges(
    engine, label_smoothing, data
):
    network = data.draw(networks(engine=engine))
    X, y = samples(7)
    graph = network.structure
    activation, gradient = network.vertex_gradients(
        X, y, label_smoothing=label_smoothing
    )
    ours = gradient.t() @ activation
    _, z = reference(network, X)
    torch.testing.assert_close(activation, z.relu())
    # With an edge of weight zero wherever one may be added.
    is_sink = np.isin(np.arange(graph.n_nodes), graph.sinks)
    later = graph.layer[:, None] < graph.layer
    full = LayeredGraph(np.stack((later & ~is_sink[:, None]).nonzero()), graph.n_nodes)
    source, target = full.edges
    weight = np.zeros((graph.n_nodes, graph.n_nodes))
    weight[tuple(graph.edges)] = network.edge_weight.detach().numpy()
    of_full = torch.from_numpy(weight[source, target])
    twin = SparseNetwork(full, 3, 4).double()
    twin.load_state_dict({**network.state_dict(), "edge_weight": of_full})
    _, _, _, _, of_edges, *_ = reference_gradients(twin, X, y, label_smoothing)
    np.testing.assert_allclose(ours.numpy()[target, source], of_edges, atol=1e-12)


@every_shape
def test_rewired_network_computes_what_its_new_graph_says(graph):
    network = network_of(graph)
    X, _ = samples(5)
    network(X)
    _, _, stays, added = chosen(graph, 0, 0.9)
    edges = np.hstack([graph.edges[:, stays], added])
    rewired = LayeredGraph(edges, graph.n_nodes)
    network.rewire(rewired, torch.linspace(-1, 1, graph.n_edges))
    assert network.structure is rewired
    for passed in (network(X), torch.func.vmap(network)(X)):
        torch.testing.assert_close(passed, reference(network, X)[0])


@pytest.mark.parametrize(
    ("edges", "n_nodes", "name"),
    [
        (WIDE.edges, 9, "n_nodes"),
        (WIDE.edges[:, 1:], 8, "n_edges"),
        (np.hstack([WIDE.edges[:, 1:], [[0], [1]]]), 8, "sources"),
        (np.hstack([WIDE.edges[:, 1:], [[6], [7]]]), 8, "sinks"),
    ],
)
def test_network_is_not_rewired_to_other_vertices(edges, n_nodes, name):
    with pytest.raises(ValueError, match=f"must have the {name} of the network"):
        network_of(WIDE).rewire(LayeredGraph(edges, n_nodes), torch.zeros(10))


def rewiring(network, step, method="rigl", **settings):
    return RewiringStep(
        network,
        lambda: step(network, lr=0.01),
        method=method,
        fraction=0.5,
        max_epochs=10,
        random_state=0,
        **settings,
    )


@pytest.mark.parametrize("step", [FusedStep, AutogradStep])
@pytest.mark.parametrize("method", ["set", "rigl"])
def test_weights_and_moments_move_with_their_edges(step, method):
    network = network_of(WIDE)
    stepper = rewiring(network, step, method)
    stepper.step(*samples(9))
    before, old = copy.deepcopy(stepper.state_dict()), copy.deepcopy(network)
    stepper._rewire(*samples(9), 0.5)
    place = {edge: i for i, edge in enumerate(zip(*WIDE.edges.tolist(), strict=True))}
    after = stepper.state_dict()
    n_new = 0
    for i, edge in enumerate(zip(*network.structure.edges.tolist(), strict=True)):
        if edge not in place:
            n_new += 1
            assert network.edge_weight[i] == after[2]["exp_avg"][i] == 0
            continue
        assert network.edge_weight[i] == old.edge_weight[place[edge]]
        for moment in ("exp_avg", "exp_avg_sq"):
            assert after[2][moment][i] == before[2][moment][place[edge]]
    assert n_new > 0
    for k in (0, 1, 3, 4):
        assert (after[k]["exp_avg"] == before[k]["exp_avg"]).all()


def test_fused_and_autograd_steps_rewire_alike():
    nets = [network_of(WIDE) for _ in range(2)]
    steps = [
        rewiring(net, s) for net, s in zip(nets, (FusedStep, AutogradStep), strict=True)
    ]
    for number in range(4):
        for stepper in steps:
            stepper.epoch_begins(number)
        for seed in range(3):
            losses = [stepper.step(*samples(20, seed=seed)) for stepper in steps]
            torch.testing.assert_close(*losses)
    assert nets[0].structure == nets[1].structure != WIDE
    torch.testing.assert_close(nets[0].edge_weight, nets[1].edge_weight)


def test_rigl_takes_the_places_of_largest_gradient():
    network = network_of(WIDE)
    stepper = rewiring(network, FusedStep)
    X, y = samples(30)
    activation, gradient = network.vertex_gradients(X, y)
    wanted = (gradient.t() @ activation).abs().numpy()
    strength = network.edge_weight.detach().abs().numpy()
    stays, new = replaced(WIDE, strength.tolist(), 0.4, wanted)
    stepper._rewire(X, y, 0.4)
    assert set(map(tuple, network.structure.edges.T.tolist())) == stays | new


def test_frozen_edges_are_not_rewired():
    network = network_of(WIDE)
    network.edge_weight.requires_grad_(False)
    stepper = rewiring(network, FusedStep)
    for number in range(3):
        stepper.epoch_begins(number)
        stepper.step(*samples(9))
    assert network.structure is WIDE


def test_first_epoch_trains_the_graph_as_it_is_and_each_one_is_told():
    seen = []
    stepper = rewiring(network_of(WIDE), FusedStep, "set", on_graph=seen.append)
    for number in range(4):
        stepper.epoch_begins(number)
        stepper.step(*samples(9))
        stepper.step(*samples(9))
    assert seen[0] is WIDE
    assert len(seen) == len(set(seen)) == 4


def test_share_of_set_is_constant_and_that_of_rigl_falls_along_a_cosine():
    assert [share_to_replace("set", 0.3, t, 8) for t in range(9)] == [0] + [0.3] * 8
    shares = [share_to_replace("rigl", 0.3, t, 8) for t in range(9)]
    assert shares == [0, *(0.15 * (1 + cos(pi * t / 6)) for t in range(1, 6)), 0, 0, 0]
