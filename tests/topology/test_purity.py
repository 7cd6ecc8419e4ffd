"""Purity is 1 for one label, 0 for an even mix, and does not care for the log base."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.sparse import csr_array, csr_matrix
from scipy.stats import entropy

from robustkit.topology import (
    MapperGraph,
    count_labels,
    node_accuracy,
    node_purity,
    purity_of_counts,
    weighted_average_purity,
)
from tests.topology.brute_force import nodes_of
from tests.topology.strategies import covers, point_clouds
from tests.topology.test_mapper_graph import empty_graphs_allowed, two_lines

memberships = st.tuples(
    st.integers(0, 1000), st.integers(1, 30), st.integers(1, 6)
).map(lambda t: np.random.RandomState(t[0]).randint(2, size=t[1:]))


@given(memberships, st.integers(1, 5), st.sampled_from([2, 10]))
def test_purity_is_its_definition(membership, n_labels, base):
    y = np.random.RandomState(0).randint(n_labels, size=len(membership))
    n_labels = len(np.unique(y))
    for node, purity in enumerate(node_purity(membership, y)):
        labels = y[membership[:, node] == 1]
        if len(labels) == 0:
            assert np.isnan(purity)
            continue
        shares = [np.mean(labels == label) for label in np.unique(y)]
        if n_labels == 1:
            assert purity == 1
            continue
        evenly = [1 / n_labels] * n_labels
        expected = 1 - entropy(shares, base=base) / entropy(evenly, base=base)
        np.testing.assert_allclose(purity, expected, atol=1e-12)
        assert 0 <= purity <= 1


def test_one_label_and_all_labels_alike():
    np.testing.assert_array_equal(purity_of_counts(np.array([[0, 7, 0]])), [1])
    np.testing.assert_allclose(purity_of_counts(np.full((1, 7), 3.0)), [0], atol=1e-15)


def test_labels_absent_from_the_data_can_be_counted_too():
    # Two labels of four, evenly: half the entropy there could be.
    assert node_purity([[1], [1]], ["a", "b"], labels=list("abcd")) == [0.5]
    assert node_purity([[1], [1]], ["a", "b"]) == [0]


def test_one_node_over_all_data_has_its_own_purity_on_average():
    y = [0, 0, 1, 2]
    whole = np.ones((4, 1))
    assert weighted_average_purity(whole, y) == node_purity(whole, y)[0]


@given(memberships)
def test_weights_are_the_sizes(membership):
    y = np.random.RandomState(1).randint(3, size=len(membership))
    sizes = membership.sum(axis=0)
    purity = np.nan_to_num(node_purity(membership, y))
    expected = (purity * sizes).sum() / sizes.sum() if sizes.any() else 0
    assert weighted_average_purity(membership, y) == pytest.approx(expected)


@given(memberships)
def test_accuracy_is_the_share_of_right_predictions(membership):
    rng = np.random.RandomState(2)
    y, y_pred = rng.randint(3, size=(2, len(membership)))
    for node, accuracy in enumerate(node_accuracy(membership, y, y_pred)):
        inside = membership[:, node] == 1
        if inside.any():
            assert accuracy == np.mean((y == y_pred)[inside])
        else:
            assert np.isnan(accuracy)


@pytest.mark.parametrize("container", [csr_matrix, csr_array, np.asarray])
def test_membership_of_any_kind(container):
    membership = container([[1, 0], [1, 1], [0, 1]])
    counts, labels = count_labels(membership, ["b", "a", "a"])
    np.testing.assert_array_equal(counts, [[1, 1], [2, 0]])
    np.testing.assert_array_equal(labels, ["a", "b"])


@pytest.mark.parametrize("container", [csr_matrix, np.asarray])
def test_purity_without_nodes(container):
    membership = container(np.zeros((3, 0)))
    assert node_purity(membership, [0, 1, 1]).shape == (0,)
    assert weighted_average_purity(membership, [0, 1, 1]) == 0
    assert node_accuracy(membership, [0, 1, 1], [0, 1, 1]).shape == (0,)


def test_purity_names_bad_input():
    with pytest.raises(ValueError, match="inconsistent numbers of samples: \\[2, 3\\]"):
        node_purity([[1], [1]], [0, 1, 2])
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        node_accuracy([[1], [1]], [0, 1], [0])
    with pytest.raises(ValueError, match="'labels' parameter must hold every label"):
        node_purity([[1], [1]], [0, 1], labels=[0, 2])


def test_purity_refuses_missing_labels():
    ones = np.ones((2, 1))
    for y in ([np.nan, 1.0], np.array(["a", np.nan], dtype=object)):
        with pytest.raises(ValueError, match="'y' parameter contains NaN"):
            node_purity(ones, y)
        with pytest.raises(ValueError, match="'y_pred' parameter contains NaN"):
            node_accuracy(ones, [0, 1], y)
    for y in ([None, 1], ["a", None], [None, None]):
        with pytest.raises(ValueError, match="'y' parameter contains None"):
            node_purity(ones, y)
        with pytest.raises(ValueError, match="'y_pred' parameter contains None"):
            node_accuracy(ones, [0, 1], y)
        with pytest.raises(ValueError, match="'labels' parameter contains None"):
            node_purity(ones, [0, 0], labels=[0, None])
    for membership in (csr_matrix([[np.nan], [1.0]]), [[np.nan], [1.0]]):
        with pytest.raises(ValueError, match=r"membership.* contains NaN"):
            weighted_average_purity(membership, [0, 1])


def test_labels_of_another_kind_are_no_wrong_predictions():
    with pytest.raises(ValueError, match=r"'y' and 'y_pred' .* of one kind. Got .*'0'"):
        node_accuracy(np.ones((2, 1)), ["0", "1"], [0, 1])
    # As pandas keeps strings.
    with pytest.raises(ValueError, match=r"'y' and 'y_pred' .* of one kind. Got '0'"):
        node_accuracy(np.ones((2, 1)), np.array(["0", "1"], object), [0, 1])
    np.testing.assert_array_equal(
        node_accuracy(np.ones((2, 1)), np.array(["a", "b"], object), ["a", "a"]), [0.5]
    )


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
