"""Graphs side by side as one: their edges, and where each weight is."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from robustkit.graphs import LayeredGraph
from robustkit.networks.engines._union import Union, Wiring
from tests.networks.shapes import SHAPES, network_of, networks
from tests.strategies import dag_edges

graphs = dag_edges().map(lambda drawn: LayeredGraph(*drawn))


def edges_of(wiring):
    """Every edge as (source, target), from the side of the targets."""
    target = np.repeat(np.arange(wiring.n_rows), np.diff(wiring.start_in))
    return np.stack([wiring.source, target])


@given(st.lists(graphs, min_size=1, max_size=4), st.integers(1, 3), st.booleans())
def test_wiring_has_every_edge_and_every_output(structures, n_outputs, by_layer):
    wiring = Wiring(structures, n_outputs, by_layer=by_layer)
    edges = edges_of(wiring)
    for graph, rows, slots in zip(structures, wiring.rows, wiring.slots, strict=True):
        readout = [
            (sink, graph.n_nodes + output)
            for output in range(n_outputs)
            for sink in graph.sinks
        ]
        expected = [*graph.edges.T.tolist(), *readout]
        assert edges[:, slots].T.tolist() == rows[np.array(expected)].tolist()


@given(st.lists(graphs, min_size=1, max_size=4), st.integers(1, 3), st.booleans())
def test_wiring_rows_are_in_topological_order(structures, n_outputs, by_layer):
    wiring = Wiring(structures, n_outputs, by_layer=by_layer)
    source, target = edges_of(wiring)
    assert (source < target).all()
    assert sorted(np.concatenate(wiring.rows)) == [*range(wiring.n_rows)]
    assert set(range(wiring.n_rows)) - set(target) == set(range(wiring.n_sources))
    assert set(source) == set(range(wiring.n_hidden))
    assert wiring.n_rows - wiring.n_hidden == n_outputs * len(structures)


@given(st.lists(graphs, min_size=1, max_size=4), st.booleans())
def test_wiring_edges_by_source_and_by_target_agree(structures, by_layer):
    wiring = Wiring(structures, 2, by_layer=by_layer)
    source = np.repeat(np.arange(wiring.n_rows), np.diff(wiring.start_out))
    leaving = np.stack([source, wiring.target])
    np.testing.assert_array_equal(leaving, edges_of(wiring)[:, wiring.leaving])


@given(st.lists(graphs, min_size=1, max_size=4))
def test_wiring_by_layer_makes_each_layer_a_range(structures):
    wiring = Wiring(structures, 2, by_layer=True)
    for graph, rows in zip(structures, wiring.rows, strict=True):
        layer = np.searchsorted(wiring.layer_offsets, rows, side="right") - 1
        np.testing.assert_array_equal(layer[: graph.n_nodes], graph.layer)
    assert len(wiring.layer_offsets) - 2 == max(g.n_layers for g in structures)


@given(graphs, st.booleans())
def test_wiring_of_one_graph_keeps_its_order(graph, by_layer):
    wiring = Wiring([graph], 2, by_layer=by_layer)
    assert wiring.rows[0].tolist() == [*range(wiring.n_rows)]
    assert wiring.slots[0].tolist() == [*range(len(wiring.source))]
    np.testing.assert_array_equal(edges_of(wiring)[:, : graph.n_edges], graph.edges)


@pytest.mark.parametrize("by_layer", [False, True])
def test_wiring_keeps_graphs_together_unless_by_layer(by_layer):
    chain = LayeredGraph([[0, 1], [1, 2]], n_nodes=3)
    wiring = Wiring([chain, chain], 1, by_layer=by_layer)
    first = [0, 2, 4, 6] if by_layer else [0, 2, 3, 6]
    assert wiring.rows[0].tolist() == first


def tensors_of(modules):
    return [[weight.detach() for weight in module.parameters()] for module in modules]


def union_of(modules, by_layer):
    structures = [module.structure for module in modules]
    return Union(modules, Wiring(structures, modules[0].n_outputs, by_layer=by_layer))


@given(st.lists(networks(), min_size=1, max_size=4), st.booleans())
def test_union_split_inverts_join(modules, by_layer):
    union = union_of(modules, by_layer)
    given_tensors = tensors_of(modules)
    vector = union.join(given_tensors)
    assert len(vector) == sum(
        w.numel() for module in modules for w in module.parameters()
    )
    torch.testing.assert_close(union.split(vector), given_tensors, rtol=0, atol=0)


@pytest.mark.parametrize("by_layer", [False, True])
def test_union_of_one_network_splits_into_views(by_layer):
    module = network_of(SHAPES["disconnected"])
    union = union_of([module], by_layer)
    vector = union.join(tensors_of([module]))
    vector.zero_()
    [tensors] = union.split(vector)
    assert not any(tensor.any() for tensor in tensors)
    tensors[3].fill_(1)
    assert vector.sum() == tensors[3].numel()
