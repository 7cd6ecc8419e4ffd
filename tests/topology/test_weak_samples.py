"""Weak samples: wrong ones of the least accurate nodes, in an order that is fixed."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from robustkit.topology import MapperGraph
from tests.topology.brute_force import nodes_of
from tests.topology.strategies import covers, point_clouds
from tests.topology.test_mapper_graph import empty_graphs_allowed, two_lines


def weak_by_the_definition(nodes, y, y_pred, n_wanted):
    """Nodes by accuracy; the wrong samples of each, until there are enough."""
    accuracy = [np.mean([y[i] == y_pred[i] for i in sorted(node)]) for node in nodes]
    taken = []
    for k in sorted(range(len(nodes)), key=lambda k: (accuracy[k], k)):
        for i in sorted(nodes[k]):
            if y[i] != y_pred[i] and i not in taken and len(taken) < n_wanted:
                taken.append(i)
    return taken


@given(
    point_clouds(), covers(), st.integers(0, 100), st.sampled_from([0.0, 0.2, 1.0, 7])
)
def test_weak_samples_against_the_definition(X, cover, seed, budget):
    mapper = MapperGraph(cover=cover, eps=2.0, min_samples=2)
    with empty_graphs_allowed():
        mapper.fit(X)
    y, y_pred = np.random.RandomState(seed).randint(3, size=(2, len(X)))
    n_wanted = budget if isinstance(budget, int) else int(budget * len(X) + 1e-9)
    expected = weak_by_the_definition(nodes_of(mapper.membership_), y, y_pred, n_wanted)
    assert mapper.weak_samples(y, y_pred, budget).tolist() == expected


def test_weak_samples_of_equal_nodes_come_in_their_order():
    mapper = MapperGraph(0, n_intervals=2, overlap=0.5, eps=2.0).fit(two_lines())
    y, y_pred = np.zeros(200), np.ones(200)
    first = mapper.weak_samples(y, y_pred, 5)
    np.testing.assert_array_equal(first, [0, 2, 4, 6, 8])
    np.testing.assert_array_equal(mapper.weak_samples(y, y_pred, 5), first)
    # Every sample once, also those of several nodes.
    assert sorted(mapper.weak_samples(y, y_pred, 1.0)) == list(range(200))


@pytest.mark.parametrize("budget", [-1, 1.5, -0.5, "all"])
def test_a_bad_budget_is_named(budget):
    mapper = MapperGraph(0, n_intervals=2, eps=2.0).fit(two_lines())
    with pytest.raises(ValueError, match="The 'budget' parameter of weak_samples"):
        mapper.weak_samples(np.zeros(200), np.ones(200), budget)
