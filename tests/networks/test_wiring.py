"""A wiring holds the edges of its graphs, and nothing else."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from robustkit.graphs import LayeredGraph
from robustkit.networks._wiring import Wiring
from tests.strategies import dag_edges

graphs = dag_edges().map(lambda drawn: LayeredGraph(*drawn))


def edges_of(wiring):
    """Every edge as (source, target), from the side of the targets."""
    target = np.repeat(np.arange(wiring.n_rows), np.diff(wiring.start_in))
    return np.stack([wiring.source, target])


@given(st.lists(graphs, min_size=1, max_size=4), st.integers(1, 3), st.booleans())
def test_every_edge_and_every_output_is_there(structures, n_outputs, by_layer):
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
def test_edges_lead_on_and_sources_come_first(structures, n_outputs, by_layer):
    wiring = Wiring(structures, n_outputs, by_layer=by_layer)
    source, target = edges_of(wiring)
    assert (source < target).all()
    assert sorted(np.concatenate(wiring.rows)) == [*range(wiring.n_rows)]
    assert set(range(wiring.n_rows)) - set(target) == set(range(wiring.n_sources))
    assert set(source) == set(range(wiring.n_hidden))
    assert wiring.n_rows - wiring.n_hidden == n_outputs * len(structures)


@given(st.lists(graphs, min_size=1, max_size=4), st.booleans())
def test_both_sides_hold_the_same_edges(structures, by_layer):
    wiring = Wiring(structures, 2, by_layer=by_layer)
    source = np.repeat(np.arange(wiring.n_rows), np.diff(wiring.start_out))
    leaving = np.stack([source, wiring.target])
    np.testing.assert_array_equal(leaving, edges_of(wiring)[:, wiring.leaving])


@given(st.lists(graphs, min_size=1, max_size=4))
def test_a_layer_is_a_range_of_rows(structures):
    wiring = Wiring(structures, 2, by_layer=True)
    for graph, rows in zip(structures, wiring.rows, strict=True):
        layer = np.searchsorted(wiring.layer_offsets, rows, side="right") - 1
        np.testing.assert_array_equal(layer[: graph.n_nodes], graph.layer)
    assert len(wiring.layer_offsets) - 2 == max(g.n_layers for g in structures)


@given(graphs, st.booleans())
def test_a_single_graph_keeps_its_order(graph, by_layer):
    wiring = Wiring([graph], 2, by_layer=by_layer)
    assert wiring.rows[0].tolist() == [*range(wiring.n_rows)]
    assert wiring.slots[0].tolist() == [*range(len(wiring.source))]
    np.testing.assert_array_equal(edges_of(wiring)[:, : graph.n_edges], graph.edges)


@pytest.mark.parametrize("by_layer", [False, True])
def test_graphs_stay_together_unless_layers_do(by_layer):
    chain = LayeredGraph([[0, 1], [1, 2]], n_nodes=3)
    wiring = Wiring([chain, chain], 1, by_layer=by_layer)
    first = [0, 2, 4, 6] if by_layer else [0, 2, 3, 6]
    assert wiring.rows[0].tolist() == first
