"""The picture shows the graph: places, pies, numbers and labels."""

import networkx as nx
import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.datasets import load_digits, load_iris
from sklearn.dummy import DummyClassifier
from sklearn.exceptions import NotFittedError
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression
from sklearn.neural_network import MLPClassifier

from robustkit.bridge import ActivationExtractor
from robustkit.plotting import MapperGraphDisplay
from robustkit.plotting._mapper_graph_display import class_colors, lay_out
from robustkit.topology import MapperGraph


@pytest.fixture(scope="module")
def iris():
    X, y = load_iris(return_X_y=True)
    names = np.array(["setosa", "versicolor", "virginica"])[y]
    return MapperGraph(n_intervals=8, eps=0.6).fit(X), names


def patches_of(display):
    return [c for c in display.ax_.collections if type(c).__name__ == "PatchCollection"]


def test_pies_hold_the_shares_of_the_labels(pyplot, iris):
    mapper, y = iris
    display = MapperGraphDisplay.from_mapper(mapper, y)
    slices, outlines = patches_of(display)
    counts = mapper.describe(y).filter(like="count_").to_numpy()
    assert len(slices.get_paths()) == (counts > 0).sum()
    assert len(outlines.get_paths()) == len(mapper.graph_)
    # The area of a slice is the share of its label.
    areas = [
        path.to_polygons()[0] if path.to_polygons() else []
        for path in slices.get_paths()
    ]
    areas = np.array([polygon_area(np.array(area)) for area in areas])
    node = np.repeat(np.arange(len(counts)), (counts > 0).sum(axis=1))
    whole = np.bincount(node, areas)
    shares = (counts / counts.sum(axis=1, keepdims=True))[counts > 0]
    np.testing.assert_allclose(areas / whole[node], shares, atol=0.02)


def polygon_area(points):
    x, y = points.T
    return abs(np.dot(x, np.roll(y, 1)) - np.dot(y, np.roll(x, 1))) / 2


def test_legend_names_the_labels_in_their_colors(pyplot, iris):
    mapper, y = iris
    legend = MapperGraphDisplay.from_mapper(mapper, y).ax_.get_legend()
    texts = [text.get_text() for text in legend.get_texts()]
    assert texts == ["setosa", "versicolor", "virginica"]


def test_majority_is_one_color_a_node(pyplot, iris):
    mapper, y = iris
    display = MapperGraphDisplay.from_mapper(mapper, y, color="majority")
    assert len(patches_of(display)[0].get_paths()) == len(mapper.graph_)


@pytest.mark.parametrize("color", ["purity", "accuracy", "size", "filter_mean"])
def test_numbers_are_those_of_the_nodes(pyplot, iris, color):
    mapper, y = iris
    y_pred = np.where(y == "setosa", "setosa", "virginica")
    display = MapperGraphDisplay.from_mapper(mapper, y, y_pred, color=color)
    (nodes,) = patches_of(display)
    np.testing.assert_allclose(nodes.get_array(), mapper.describe(y, y_pred)[color])
    if color in ("purity", "accuracy"):
        assert nodes.get_clim()[1] == 1


def test_auto_shows_the_most_that_is_known(pyplot, iris):
    mapper, y = iris
    figures = [
        MapperGraphDisplay.from_mapper(mapper).figure_,
        MapperGraphDisplay.from_mapper(mapper, y, y).figure_,
    ]
    labels = [figure.axes[-1].get_ylabel() for figure in figures]
    assert labels == ["filter mean", "accuracy"]


def test_edges_join_the_nodes(pyplot, iris):
    mapper, y = iris
    display = MapperGraphDisplay.from_mapper(mapper, y)
    segments = display.ax_.collections[0].get_segments()
    ends = [display.positions_[list(edge)] for edge in mapper.graph_.edges]
    np.testing.assert_allclose(segments, ends)


def test_layout_is_the_same_each_time(pyplot, iris):
    mapper, y = iris
    first, second = (MapperGraphDisplay.from_mapper(mapper, y) for _ in range(2))
    np.testing.assert_array_equal(first.positions_, second.positions_)
    # The same graph, listed in another order.
    shuffled = nx.Graph()
    shuffled.add_nodes_from(reversed(list(mapper.graph_)))
    shuffled.add_edges_from((j, i) for i, j in reversed(list(mapper.graph_.edges)))
    places = lay_out(shuffled, np.full(len(shuffled), 0.2))
    expected = lay_out(mapper.graph_, np.full(len(shuffled), 0.2))
    np.testing.assert_array_equal(places, expected)


def test_places_can_be_kept(pyplot, iris):
    mapper, y = iris
    places = np.random.RandomState(0).normal(size=(len(mapper.graph_), 2))
    display = MapperGraphDisplay.from_mapper(mapper, y, positions=places)
    np.testing.assert_array_equal(display.positions_, places)


def test_components_do_not_overlap():
    graph = nx.disjoint_union_all(
        [nx.cycle_graph(9), nx.path_graph(4), *3 * [nx.Graph()]]
    )
    graph.add_nodes_from(range(13, 20))
    radii = np.full(20, 0.3)
    places = lay_out(graph, radii)
    boxes = [
        (places[list(c)].min(axis=0) - 0.3, places[list(c)].max(axis=0) + 0.3)
        for c in nx.connected_components(graph)
    ]
    for i, (low, high) in enumerate(boxes):
        for other_low, other_high in boxes[:i]:
            assert (low > other_high).any() or (other_low > high).any()


def test_neighbours_are_about_one_apart():
    places = lay_out(nx.path_graph(12), np.full(12, 0.3))
    steps = np.linalg.norm(np.diff(places, axis=0), axis=1)
    np.testing.assert_allclose(steps, 1, rtol=0.2)
    # A path lies from left to right.
    assert np.ptp(places[:, 0]) > 5 * np.ptp(places[:, 1])


def test_given_axes_are_used(pyplot, iris):
    _, ax = pyplot.subplots()
    display = MapperGraphDisplay.from_mapper(iris[0], iris[1], ax=ax)
    assert display.ax_ is ax
    assert display.figure_ is ax.figure
    assert display.plot(color="purity").ax_ is not ax


def test_an_empty_graph_is_an_empty_picture(pyplot):
    with pytest.warns(UserWarning, match="No cluster was found"):
        mapper = MapperGraph(eps=0.1).fit(np.arange(10.0)[:, None])
    for color in ("auto", "pie", "purity"):
        display = MapperGraphDisplay.from_mapper(mapper, np.arange(10) % 2, color=color)
        assert len(display.positions_) == 0
        display.figure_.canvas.draw()


@pytest.mark.parametrize("dark", [False, True])
def test_class_k_has_one_color_however_many_there_are(dark):
    colors = class_colors(30, dark=dark)
    assert len(set(colors)) == 30
    for n_classes in (0, 3, 10, 12):
        assert class_colors(n_classes, dark=dark) == colors[:n_classes]


def test_from_estimator_draws_the_activations_of_a_classifier(pyplot):
    X, y = load_iris(return_X_y=True)
    model = MLPClassifier((8,), solver="lbfgs", max_iter=2000, random_state=0).fit(X, y)
    mapper = MapperGraph(n_intervals=5, eps=2.0)
    display = MapperGraphDisplay.from_estimator(model, X, y, mapper=mapper)
    extractor = ActivationExtractor(FrozenEstimator(model)).fit(X, y)
    fitted = clone(mapper).fit(extractor.transform(X))
    pd.testing.assert_frame_equal(
        display.nodes, fitted.describe(y, model.predict(X)), check_exact=True
    )
    # Without labels there is no accuracy, and another layer is another graph.
    display = MapperGraphDisplay.from_estimator(
        model, X, layer="penultimate", mapper=mapper
    )
    extractor.set_params(layer="penultimate").fit(X, y)
    fitted = clone(mapper).fit(extractor.transform(X))
    assert sorted(display.graph.edges) == sorted(fitted.graph_.edges)
    assert "accuracy" not in display.nodes


def test_from_estimator_draws_a_mapper(pyplot, iris):
    mapper, y = iris
    display = MapperGraphDisplay.from_estimator(mapper, y=y, color="purity")
    pd.testing.assert_frame_equal(display.nodes, mapper.describe(y))
    with pytest.raises(ValueError, match="'X' and 'mapper' parameters go with a"):
        MapperGraphDisplay.from_estimator(mapper, np.ones((3, 4)))
    with pytest.raises(ValueError, match="'X' parameter must hold samples"):
        MapperGraphDisplay.from_estimator(DummyClassifier().fit([[1]], [1]))
    with pytest.raises(NotFittedError, match="not fitted yet"):
        MapperGraphDisplay.from_estimator(MapperGraph())


@pytest.mark.parametrize(
    ("color", "message"),
    [
        ("pies", "The 'color' parameter must be 'auto' or one of"),
        ("pie", "color='pie' needs 'y'"),
        ("purity", "color='purity' needs 'y'"),
        ("accuracy", "color='accuracy' needs 'y_pred'"),
    ],
)
def test_what_is_missing_is_named(pyplot, iris, color, message):
    with pytest.raises(ValueError, match=message):
        MapperGraphDisplay.from_mapper(iris[0], color=color)


def to_hex(color):
    return "#" + "".join(f"{round(255 * share):02X}" for share in color[:3])


def legend_of(display):
    """The colour of each label in the legend."""
    legend = display.ax_.get_legend()
    return {
        text.get_text(): to_hex(patch.get_facecolor())
        for text, patch in zip(legend.get_texts(), legend.get_patches(), strict=True)
    }


def colors_of(places, labels):
    palette = class_colors(max(places) + 1)
    return {str(label): palette[k] for k, label in zip(places, labels, strict=True)}


@pytest.mark.parametrize("labels", [[3, 7], [7], list(range(10))])
def test_a_class_has_its_color_whichever_others_are_shown(pyplot, labels):
    X, y = load_digits(return_X_y=True)
    model = LogisticRegression(max_iter=1000).fit(X / 16, y)
    shown = np.flatnonzero(np.isin(y, labels))[:60]
    X, y = X[shown] / 16, y[shown]
    mapper = MapperGraph(n_intervals=3, eps=100.0)
    display = MapperGraphDisplay.from_estimator(model, X, y, mapper=mapper, color="pie")
    assert legend_of(display) == colors_of(labels, labels)
    faces = {to_hex(face) for face in patches_of(display)[0].get_facecolor()}
    assert faces <= set(colors_of(labels, labels).values())
    mapper.fit(X)
    for how in ({}, {"color": "majority"}):
        display = MapperGraphDisplay.from_mapper(mapper, y, classes=range(10), **how)
        assert legend_of(display) == colors_of(labels, labels)
        display = MapperGraphDisplay.from_estimator(mapper, y=y, classes=range(10))
        assert legend_of(display) == colors_of(labels, labels)


def test_predictions_are_classes_too(pyplot, iris):
    """As in the explorer, where a class nobody has may be predicted."""
    mapper, y = iris
    y_pred = np.where(y == "setosa", "iris", y)
    display = MapperGraphDisplay.from_mapper(mapper, y, y_pred, color="pie")
    assert legend_of(display) == colors_of([1, 2, 3], np.unique(y))


def test_labels_share_no_color_where_there_are_many_classes(pyplot, iris):
    mapper, _ = iris
    y = np.array([5, 15, 25, 105, 205])[np.arange(150) % 5]
    display = MapperGraphDisplay.from_mapper(mapper, y, classes=range(1000))
    assert legend_of(display) == colors_of(range(5), np.unique(y))


def test_labels_beside_the_classes_have_colors(pyplot, iris):
    mapper, y = iris
    display = MapperGraphDisplay.from_mapper(mapper, y, classes=["versicolor", "a"])
    assert legend_of(display) == colors_of([1, 2, 3], np.unique(y))
    # Without classes, the labels have the colours in the order in which they are given.
    labels = np.unique(y)[::-1]
    plain = MapperGraphDisplay(mapper.graph_, mapper.describe(y), labels).plot()
    assert legend_of(plain) == colors_of([0, 1, 2], labels)


@pytest.fixture(scope="module")
def doubted():
    X, y = load_iris(return_X_y=True)
    mapper = MapperGraph(n_intervals=8, eps=0.6, n_bootstrap=10, random_state=0)
    return mapper.fit(X), y


@pytest.mark.parametrize("color", ["pie", "size"])
def test_opacity_is_the_share_of_resamples(pyplot, doubted, color):
    mapper, y = doubted
    display = MapperGraphDisplay.from_mapper(mapper, y, color=color)
    stability = mapper.describe()["stability"].to_numpy()
    assert stability.min() < stability.max() == 1
    ground, nodes = patches_of(display)[:2]
    n_patches = 1
    if color == "pie":
        n_patches = (mapper.describe(y).filter(like="count_") > 0).sum(axis=1)
    np.testing.assert_allclose(
        nodes.get_alpha(), np.repeat(0.12 + 0.88 * stability, n_patches)
    )
    # Nothing shines through faint nodes but the ground.
    assert ground.get_alpha() is None
    assert ground.get_zorder() < nodes.get_zorder()
    lines = display.ax_.collections[0]
    expected = [s for *_, s in mapper.graph_.edges(data="stability")]
    np.testing.assert_allclose(lines.get_alpha(), 0.12 + 0.88 * np.array(expected))
    assert sorted(expected) == sorted(mapper.stability_.edges)
    display.figure_.canvas.draw()


def test_a_colour_of_stability_is_opaque(pyplot, doubted):
    display = MapperGraphDisplay.from_mapper(doubted[0], color="stability")
    (nodes,) = patches_of(display)
    assert nodes.get_alpha() is None
    assert nodes.get_clim() == (0, 1)
    stability = doubted[0].describe()["stability"]
    np.testing.assert_array_equal(nodes.get_array(), stability)


def test_colour_of_stability_needs_resamples(pyplot, iris):
    with pytest.raises(ValueError, match="'stability' needs 'n_bootstrap'"):
        MapperGraphDisplay.from_mapper(iris[0], color="stability")
