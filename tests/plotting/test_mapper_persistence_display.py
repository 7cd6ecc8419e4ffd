"""Bars reach from birth to death, and curves count what the graphs have."""

import networkx as nx
import numpy as np
import pandas as pd
import pytest

from robustkit.plotting import MapperPersistenceDisplay
from robustkit.topology import MapperGraph, mapper_persistence
from tests.topology.shapes import n_components_and_loops, two_circles


@pytest.fixture(scope="module")
def circles():
    return two_circles(300, np.random.RandomState(0))


def test_every_bar_is_drawn(pyplot, circles):
    mapper = MapperGraph(0, n_intervals=8, eps=0.4)
    eps = [0.1, 0.2, 0.4, 0.8]
    display = MapperPersistenceDisplay.from_mapper(mapper, circles, eps=eps)
    bars = mapper_persistence(mapper, circles, eps=eps)
    pd.testing.assert_frame_equal(display.bars, bars)
    edge = display.ax_.get_xlim()[1]
    for dimension, lines in enumerate(display.ax_.collections):
        some = bars[bars["dimension"] == dimension].head(40)
        drawn = np.array([segment[:, 0] for segment in lines.get_segments()])
        np.testing.assert_allclose(drawn[:, 0], some["birth"])
        np.testing.assert_allclose(drawn[:, 1], some["death"].clip(upper=edge))
    assert display.ax_.lines[0].get_xdata()[0] == 0.4
    assert edge > 0.8


def test_curves_count_the_graphs(pyplot, circles):
    mapper = MapperGraph(0)
    display = MapperPersistenceDisplay.from_mapper(
        mapper, circles, n_intervals=[12, 3, 6]
    )
    eps = mapper.fit(circles).eps_
    for number, row in display.counts.iterrows():
        graph = MapperGraph(0, n_intervals=number, eps=eps).fit(circles).graph_
        assert tuple(row) == n_components_and_loops(graph)
    assert display.counts.index.tolist() == [3, 6, 12]
    components, loops, _ = display.ax_.lines
    np.testing.assert_array_equal(components.get_ydata(), display.counts["components"])
    np.testing.assert_array_equal(loops.get_ydata(), display.counts["loops"])


def test_curves_count_no_filled_triangles(pyplot):
    line = np.linspace(0, 1, 100)[:, None]
    display = MapperPersistenceDisplay.from_mapper(
        MapperGraph(0, overlap=0.7), line, n_intervals=[4, 6]
    )
    assert display.counts["loops"].tolist() == [0, 0]


def test_nothing_to_draw_is_drawn(pyplot):
    with pytest.warns(UserWarning, match="No cluster was found"):
        display = MapperPersistenceDisplay.from_mapper(MapperGraph(), np.zeros((2, 2)))
    assert len(display.bars) == 0
    with pytest.warns(UserWarning, match="No cluster was found"):
        display = MapperPersistenceDisplay.from_mapper(
            MapperGraph(), np.zeros((2, 2)), n_intervals=[2]
        )
    assert display.counts.to_numpy().tolist() == [[0, 0]]


def test_one_of_two_is_given(pyplot, circles):
    with pytest.raises(ValueError, match="Give one of the parameters 'eps' and"):
        MapperPersistenceDisplay.from_mapper(
            MapperGraph(), circles, eps=[1.0], n_intervals=[2]
        )
    with pytest.raises(ValueError, match="Give one of the parameters 'bars' and"):
        MapperPersistenceDisplay().plot()


def test_a_pair_of_covers_by_name_is_varied(pyplot, circles):
    mapper = MapperGraph((0, 1), cover=("uniform", "balanced"), eps=0.4)
    display = MapperPersistenceDisplay.from_mapper(mapper, circles, n_intervals=[2, 4])
    for number, counts in display.counts.iterrows():
        graph = mapper.set_params(n_intervals=number).fit(circles).graph_
        assert counts["components"] == nx.number_connected_components(graph)


def test_a_cover_of_its_own_number_is_refused(pyplot, circles):
    from robustkit.topology import UniformCover

    mapper = MapperGraph(0, cover=UniformCover(5))
    with pytest.raises(ValueError, match="'cover' by name"):
        MapperPersistenceDisplay.from_mapper(mapper, circles, n_intervals=[2])
