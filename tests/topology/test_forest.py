"""What is connected in a window does not depend on the windows before."""

import networkx as nx
import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from robustkit.topology import _forest as forest_module
from robustkit.topology._forest import SlidingForest
from tests.topology.brute_force import as_pairs, partition, partition_of
from tests.topology.strategies import windows

N = 12
EVERY = [(i, j) for i in range(N) for j in range(i + 1, N)]


@given(windows(N), st.sets(st.sampled_from(EVERY), max_size=25), st.data())
def test_components_of_every_window(windows, pairs, data):
    is_vertex = np.array(data.draw(st.lists(st.booleans(), min_size=N, max_size=N)))
    forest = SlidingForest(as_pairs(sorted(pairs), N), is_vertex)
    for start, stop in windows.slices:
        parents = forest.slide(start, stop)
        inside = [
            (i - start, j - start)
            for i, j in pairs
            if start <= i and j < stop and is_vertex[i] and is_vertex[j]
        ]
        assert partition_of(parents) == partition(stop - start, inside)
        # It is a forest, of pairs that were given, and its smaller positions descend.
        edges = [tuple(edge) for edge in forest.edges.T.tolist()]
        assert set(edges) <= pairs
        assert not edges or nx.is_forest(nx.Graph(edges))
        assert (np.diff(forest.edges[0]) <= 0).all()


def test_the_pair_that_leaves_first_is_left_out():
    triangle = as_pairs([(0, 1), (0, 2), (1, 2)], 3)
    forest = SlidingForest(triangle, np.ones(3, dtype=bool))
    forest.slide(0, 3)
    assert forest.edges[0].tolist() == [1, 0]
    assert partition_of(forest.slide(1, 3)) == [0, 0]


def test_compiled_loops_as_python(monkeypatch):
    for name in ("find", "join", "_slide"):
        function = getattr(forest_module, name).py_func
        monkeypatch.setattr(forest_module, name, function)
    assert not hasattr(forest_module._slide, "py_func")
    test_components_of_every_window()
