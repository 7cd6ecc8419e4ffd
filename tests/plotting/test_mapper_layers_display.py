"""One picture for each layer, and the purity that the table has."""

import numpy as np
import pytest
from sklearn.datasets import load_iris
from sklearn.neural_network import MLPClassifier

from robustkit.plotting import MapperLayersDisplay
from robustkit.topology import MapperGraph, mapper_graphs

X, y = load_iris(return_X_y=True)
MAPPER = MapperGraph(n_intervals=6)


@pytest.fixture(scope="module")
def model():
    return MLPClassifier((8, 6), solver="lbfgs", random_state=0).fit(X, y)


def test_from_estimator_draws_every_layer(pyplot, model):
    display = MapperLayersDisplay.from_estimator(model, X, y, mapper=MAPPER)
    titles = [ax.get_title().split("\n")[0] for ax in display.axes_]
    assert titles == list(display.table.index) == list(display.mappers)
    for shown, mapper in zip(display.displays_, display.mappers.values(), strict=True):
        assert len(shown.positions_) == len(mapper.graph_)
    with_legend = [ax.get_legend() is not None for ax in display.axes_]
    assert with_legend == [False, False, True]
    drawn = {line.get_label(): line.get_ydata() for line in display.purity_ax_.lines}
    assert list(drawn) == ["purity", "pure nodes", "noise"]
    np.testing.assert_array_equal(drawn["purity"], display.table["purity"])
    np.testing.assert_array_equal(drawn["noise"], display.table["noise"])


def test_many_layers_take_several_rows(pyplot, model):
    layers = mapper_graphs(model, X, mapper=MAPPER)
    names = [f"{name}_{k}" for k in range(2) for name in layers.mappers]
    layers.mappers = dict(zip(names, [*layers.mappers.values()] * 2, strict=True))
    layers.table = layers.table.iloc[[0, 1, 2] * 2].set_axis(names)
    display = MapperLayersDisplay.from_graphs(layers)
    assert len(display.axes_) == 6
    assert display.purity_ax_ is None


def test_a_figure_may_be_given(pyplot, model):
    figure = pyplot.figure()
    graphs = mapper_graphs(model, X, y, mapper=MAPPER, layers=[0, "logits"])
    display = MapperLayersDisplay.from_graphs(graphs, y, figure=figure, color="purity")
    assert display.figure_ is figure
    assert len(display.axes_) == 2
