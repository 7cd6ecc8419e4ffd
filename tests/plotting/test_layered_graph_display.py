"""A graph as a ring, as a row of vertices and in its layers."""

import networkx as nx
import numpy as np
import pytest
from hypothesis import given
from sklearn.base import clone
from sklearn.dummy import DummyClassifier
from sklearn.exceptions import NotFittedError

from robustkit.classifiers import SparseNetClassifier
from robustkit.graphs import GraphPrior, LayeredGraph
from robustkit.plotting import LayeredGraphDisplay
from robustkit.plotting._layered_graph_display import _in_layers
from tests.strategies import dag_edges

PRIOR = GraphPrior(n_nodes=20, random_state=0)


def vertices_of(ax):
    """Places of all vertices drawn."""
    drawn = [c.get_offsets() for c in ax.collections if c.get_label()[0] != "_"]
    return np.concatenate(drawn)


def edges_of(ax):
    """First and last point of every edge drawn with a direction."""
    segments = np.array(ax.collections[0].get_segments())
    along = ax.collections[0].get_array()
    return segments[along == 0][:, 0], segments[along == 1][:, -1]


def named(ax):
    """Place -> what is written there."""
    return {tuple(text.xy): text.get_text() for text in ax.texts}


def test_draws_three_views_of_one_graph(pyplot):
    display = LayeredGraphDisplay.from_prior(PRIOR)
    assert display.graph == PRIOR.sample()
    assert display.ax_.shape == (3,)
    assert {ax.figure for ax in display.ax_} == {display.figure_}
    for ax in display.ax_:
        assert len(vertices_of(ax)) == 20
        assert sorted(named(ax).values(), key=int) == [str(v) for v in range(20)]
    assert display.ax_[0].get_title() == f"20 vertices, {display.graph.n_edges} edges"
    assert display.ax_[2].get_title() == f"{display.graph.n_layers} layers"


def test_neighbours_on_the_ring_are_neighbours_in_the_graph(pyplot):
    (ax,) = LayeredGraphDisplay.from_graph(nx.cycle_graph(8), views="ring").ax_
    lengths = [np.linalg.norm(s[0] - s[-1]) for s in ax.collections[0].get_segments()]
    np.testing.assert_allclose(lengths, 2 * np.sin(np.pi / 8))


@pytest.mark.parametrize("orientation", ["index", "random", "degree"])
def test_every_edge_of_the_row_points_to_the_right(pyplot, orientation):
    (ax,) = LayeredGraphDisplay.from_graph(
        nx.gnm_random_graph(15, 40, seed=0),
        orientation=orientation,
        random_state=0,
        views=("dag",),
    ).ax_
    starts, stops = edges_of(ax)
    assert len(starts) == 40
    assert (starts[:, 0] < stops[:, 0]).all()


def test_row_keeps_the_order_of_the_ring_where_it_can(pyplot):
    (ax,) = LayeredGraphDisplay.from_prior(PRIOR, views="dag").ax_
    assert {name: x for (x, _), name in named(ax).items()} == {
        str(v): v for v in range(20)
    }


def test_edges_join_the_vertices_that_the_graph_joins(pyplot):
    display = LayeredGraphDisplay.from_prior(PRIOR, views="layers")
    graph, names = display.graph, named(display.ax_[0])
    starts, stops = edges_of(display.ax_[0])
    drawn = {
        (names[tuple(a)], names[tuple(b)]) for a, b in zip(starts, stops, strict=True)
    }
    labels = [str(label) for label in graph.labels]
    assert drawn == {(labels[u], labels[v]) for u, v in graph.edges.T}


@given(dag_edges())
def test_a_layer_is_a_column_and_no_vertex_hides_another(graph):
    layered = LayeredGraph(*graph)
    places = _in_layers(layered)
    np.testing.assert_array_equal(places[:, 0], layered.layer)
    assert len({*map(tuple, places)}) == layered.n_nodes
    for layer in range(layered.n_layers):
        assert places[layered.layer == layer, 1].mean() == pytest.approx(0)


def test_layers_are_stacked_with_fewer_crossings():
    # Two chains side by side whose vertices come crosswise.
    graph = LayeredGraph([[0, 1, 3, 2], [3, 2, 4, 5]], 6)
    places = _in_layers(graph)
    source, target = places[graph.edges]
    np.testing.assert_array_equal(source[:, 1], target[:, 1])


def test_sources_and_sinks_are_counted_in_the_legend(pyplot):
    graph = LayeredGraph([[0, 1, 2], [2, 2, 3]], 5)
    display = LayeredGraphDisplay.from_graph(graph)
    (legend,) = [ax.get_legend() for ax in display.ax_ if ax.get_legend()]
    assert {text.get_text() for text in legend.get_texts()} == {
        "1 inner",
        "2 sources",
        "1 sink",
        "1 source and sink",
    }


def test_large_graphs_have_neither_names_nor_arrowheads(pyplot):
    small = LayeredGraphDisplay.from_prior(PRIOR, views="dag").ax_[0]
    prior = GraphPrior(n_nodes=200, random_state=0)
    large = LayeredGraphDisplay.from_prior(prior, views="dag").ax_[0]
    kinds = [{type(c).__name__ for c in ax.collections} for ax in (small, large)]
    assert kinds[0] - kinds[1] == {"Quiver"}
    assert small.texts
    assert not large.texts


def test_vertices_may_have_any_names(pyplot):
    graph = nx.Graph([("b", 1), (1, 2.5), (2.5, "a")])
    for one in (graph, LayeredGraph.from_networkx(graph)):
        display = LayeredGraphDisplay.from_graph(one, views="ring")
        assert set(named(display.ax_[0]).values()) == {"b", "1", "2.5", "a"}


@pytest.mark.parametrize("graph", [nx.empty_graph(1), nx.empty_graph(4)])
def test_a_graph_without_edges_can_be_drawn(pyplot, graph):
    display = LayeredGraphDisplay.from_graph(graph)
    display.figure_.canvas.draw()
    assert all(len(vertices_of(ax)) == len(graph) for ax in display.ax_)


def test_draws_into_axes_that_are_there(pyplot):
    figure, axes = pyplot.subplots(2, 2)
    display = LayeredGraphDisplay.from_prior(PRIOR, ax=axes[0], views=("dag", "layers"))
    assert display.figure_ is figure
    assert list(display.ax_) == list(axes[0])
    again = display.plot(axes[1, 0], views="ring")
    assert again is display
    assert list(display.ax_) == [axes[1, 0]]


def test_random_state_reaches_the_prior(pyplot):
    drawn = [
        LayeredGraphDisplay.from_prior(PRIOR, random_state=seed, views="ring").graph
        for seed in (1, 1, 2)
    ]
    assert drawn[0] == drawn[1] != drawn[2]


def test_an_unknown_view_is_refused():
    display = LayeredGraphDisplay(PRIOR.sample(), range(20))
    with pytest.raises(ValueError, match=r"views must be some of .* Got \('rings',\)"):
        display.plot(views="rings")


def test_too_few_axes_are_refused(pyplot):
    with pytest.raises(ValueError, match=r"ax must hold 3 axes.* Got 1"):
        LayeredGraphDisplay.from_prior(PRIOR, ax=pyplot.gca())


def test_from_estimator_draws_the_graph_of_a_network(pyplot):
    X, y = np.random.RandomState(0).rand(20, 3), np.arange(20) % 2
    net = SparseNetClassifier(PRIOR, max_epochs=1, device="cpu", random_state=0)
    with pytest.raises(NotFittedError, match="not fitted yet"):
        LayeredGraphDisplay.from_estimator(net)
    for estimator in (net.fit(X, y), clone(PRIOR).fit(X)):
        display = LayeredGraphDisplay.from_estimator(estimator, views=["dag"])
        assert display.graph == estimator.structure_
        assert display.ax_.shape == (1,)
    with pytest.raises(ValueError, match="DummyClassifier has no 'structure_'"):
        LayeredGraphDisplay.from_estimator(DummyClassifier().fit(X, y))
