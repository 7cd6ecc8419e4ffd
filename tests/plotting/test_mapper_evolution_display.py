"""Graphs of several levels in matched places, and lines of their distances."""

import warnings

import numpy as np
import pytest
from sklearn.datasets import load_iris

from robustkit.plotting import MapperEvolutionDisplay
from robustkit.plotting._mapper_evolution_display import _apart
from robustkit.topology import MapperGraph, compare_mappers

pytest.importorskip("ot", reason="POT, an optional dependency, solves the transport")

X, Y = load_iris(return_X_y=True)


def fit(eps):
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "No cluster was found", UserWarning)
        return MapperGraph(n_intervals=8, eps=eps).fit(X)


def test_lines_are_the_distances_of_the_levels(pyplot):
    mappers = [fit(eps) for eps in (0.5, 0.6, 0.8)]
    display = MapperEvolutionDisplay.from_mappers(mappers, Y, levels=[0, 0.1, 0.2])
    assert len(display.axes_) == 4
    from_first, from_last = display.axes_[-1].lines
    expected = [compare_mappers(mappers[0], mapper).distance for mapper in mappers]
    np.testing.assert_allclose(from_first.get_ydata(), expected, atol=1e-7)
    step = compare_mappers(mappers[1], mappers[2]).distance
    np.testing.assert_allclose(from_last.get_ydata(), [expected[1], step])
    titles = [ax.get_title() for ax in display.axes_[:-1]]
    assert titles == ["0", "0.1", "0.2"]
    # One legend, and one scale for all.
    legends = [ax.get_legend() for ax in display.axes_[:-1]]
    assert [legend is not None for legend in legends] == [False, False, True]
    assert len({ax.get_xlim() for ax in display.axes_[:-1]}) == 1


def test_a_graph_that_does_not_change_stays_where_it_is(pyplot):
    mapper = fit(0.6)
    display = MapperEvolutionDisplay.from_mappers([mapper, mapper], Y)
    first, second = (graph.positions_ for graph in display.graphs)
    assert np.abs(first - second).max() < 0.3


def test_nodes_lie_where_their_samples_lay(pyplot):
    display = MapperEvolutionDisplay.from_mappers([fit(0.5), fit(0.6)])
    coupling = display.evolution.steps[0].coupling
    before, after = (graph.positions_ for graph in display.graphs)
    wanted = coupling.T @ before / coupling.sum(axis=0)[:, None]
    assert np.median(np.linalg.norm(after - wanted, axis=1)) < 0.75


def test_nodes_upon_each_other_are_pushed_apart():
    places = _apart(np.zeros((5, 2)))
    distances = np.linalg.norm(places[:, None] - places, axis=2)
    assert distances[np.triu_indices(5, 1)].min() > 0.6
    # Those apart stay where they are.
    far = np.array([[0.0, 0.0], [5.0, 0.0]])
    np.testing.assert_allclose(_apart(far), far, atol=2e-3)


def test_accuracy_and_confusions(pyplot):
    predictions = [Y, np.where(np.arange(150) < 100, Y, 1)]
    display = MapperEvolutionDisplay.from_mappers(
        [fit(0.5), fit(0.6)], Y, predictions, color="accuracy"
    )
    assert display.evolution.confusions.loc[(2, 1), [0, 1]].tolist() == [0, 50]
    assert display.graphs[1].nodes["accuracy"].min() < 1


def test_graphs_without_nodes_are_drawn_empty(pyplot):
    mappers = [fit(0.6), fit(1e-9), fit(0.6), fit(0.5), fit(0.7)]
    display = MapperEvolutionDisplay.from_mappers(mappers, Y)
    ours = display.axes_[-1].lines[0].get_ydata()
    np.testing.assert_allclose(ours[:3], [0, 1, 0], atol=1e-7)
    # A fifth graph begins another row.
    assert len(display.axes_) == 6
    display.figure_.canvas.draw()
