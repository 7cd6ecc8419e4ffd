"""Values that lie exactly on an edge: interval ends, eps, min_samples, budgets."""

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.cluster import DBSCAN

from robustkit.topology import MapperGraph, UniformCover, node_purity
from tests.topology.brute_force import nodes_of
from tests.topology.test_mapper_graph import empty_graphs_allowed

# Two intervals of [0, 6]: with an overlap of a half each is 4 long, [0, 4] and [2, 6].
COVER = UniformCover(2, 0.5)
LINE = np.column_stack([np.arange(7.0), np.zeros(7)])


@pytest.mark.parametrize("clusterer", [None, DBSCAN(eps=1.0, min_samples=2)])
def test_a_sample_on_the_end_of_an_interval_lies_in_it(clusterer):
    params = {"eps": 1.0, "min_samples": 2, "clusterer": clusterer}
    mapper = MapperGraph(0, cover=COVER, **params).fit(LINE)
    np.testing.assert_array_equal(mapper.intervals_, [[0, 4], [2, 6]])
    assert nodes_of(mapper.membership_) == [{0, 1, 2, 3, 4}, {2, 3, 4, 5, 6}]
    assert mapper.edges_.tolist() == [[0, 1]]
    assert mapper.graph_.edges[0, 1]["weight"] == 3


@pytest.mark.parametrize("clusterer", [None, DBSCAN(eps=1.0, min_samples=2)])
def test_a_new_sample_on_the_end_of_an_interval_lies_in_it(clusterer):
    params = {"eps": 1.0, "min_samples": 2, "clusterer": clusterer}
    mapper = MapperGraph(0, cover=COVER, **params).fit(LINE)
    below, above = np.nextafter(2, 0), np.nextafter(4, 5)
    # None of them is a training sample.
    values = [0, below, 2, 4, above, 6, np.nextafter(0, -1), np.nextafter(6, 7)]
    found = mapper.transform(np.column_stack([values, np.full(8, 0.5)])).toarray()
    expected = [[1, 0], [1, 0], [1, 1], [1, 1], [0, 1], [0, 1], [0, 0], [0, 0]]
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("metric", ["euclidean", "manhattan", "chebyshev"])
def test_samples_exactly_eps_apart_are_neighbours(metric):
    params = {"n_intervals": 1, "min_samples": 2, "metric": metric}
    X = 0.25 * np.arange(9.0)[:, None]
    mapper = MapperGraph(0, eps=0.25, **params).fit(X)
    assert nodes_of(mapper.membership_) == [set(range(9))]
    with empty_graphs_allowed():
        apart = MapperGraph(0, eps=np.nextafter(0.25, 0), **params).fit(X)
    assert apart.n_noise_ == 9


def test_a_new_sample_exactly_eps_away_belongs_to_the_node():
    mapper = MapperGraph(0, n_intervals=1, eps=0.5, min_samples=1)
    mapper.fit([[0.0, 0.0], [8.0, 0.0]])
    far = np.nextafter(0.5, 1)
    found = mapper.transform([[0.0, 0.5], [0.0, far], [8.0, -0.5], [8.0, -far]])
    np.testing.assert_array_equal(found.toarray(), [[1, 0], [0, 0], [0, 1], [0, 0]])


@pytest.mark.parametrize("min_samples", range(1, 8))
def test_a_core_sample_has_min_samples_itself_included(min_samples):
    """Seven samples at one place: each has seven neighbours, itself included."""
    X = np.zeros((7, 2))
    for n_samples in range(1, 8):
        mapper = MapperGraph(eps=1.0, min_samples=min_samples)
        with empty_graphs_allowed():
            mapper.fit(X[:n_samples])
        is_cluster = n_samples >= min_samples
        assert len(mapper.graph_) == is_cluster
        assert mapper.n_noise_ == (0 if is_cluster else n_samples)


def test_neighbours_outside_the_interval_do_not_count():
    """The middle sample has five neighbours, but four in each interval."""
    X = np.array([[1.0], [1.5], [2.0], [2.5], [3.0]])
    cover = UniformCover(2, 0.75)
    mapper = MapperGraph(0, cover=cover, eps=1.0, min_samples=4).fit(X)
    np.testing.assert_allclose(mapper.intervals_, [[1, 2.6], [1.4, 3]])
    assert nodes_of(mapper.membership_) == [{0, 1, 2, 3}, {1, 2, 3, 4}]
    mapper.set_params(min_samples=5)
    with empty_graphs_allowed():
        assert mapper.fit(X).n_noise_ == 5
    assert len(mapper.set_params(cover=UniformCover(1)).fit(X).graph_) == 1


@pytest.mark.parametrize("share", np.arange(101) / 100)
def test_a_budget_that_is_a_whole_number_but_for_rounding(share):
    X = np.zeros((100, 1))
    mapper = MapperGraph(eps=1.0).fit(X)
    weak = mapper.weak_samples(np.zeros(100), np.ones(100), float(share))
    np.testing.assert_array_equal(weak, np.arange(round(100 * share)))


@pytest.mark.parametrize(
    ("budget", "n"),
    [(0, 0), (1, 1), (9, 9), (99, 10), (0.09, 0), (0.19, 1), (0.999, 9), (1.0, 10)],
)
def test_budgets_are_rounded_down(budget, n):
    mapper = MapperGraph(eps=1.0).fit(np.zeros((10, 1)))
    assert len(mapper.weak_samples(np.zeros(10), np.ones(10), budget)) == n


def test_purity_by_hand():
    """Three of four labels alike: 1 - (.75 log2 4/3 + .25 log2 4) / log2 2."""
    by_hand = 1 - (0.75 * np.log2(4 / 3) + 0.25 * 2)
    y = [0, 0, 0, 1]
    np.testing.assert_allclose(node_purity(np.ones((4, 1)), y), [by_hand])
    # Among four labels there could be twice as much entropy.
    half = node_purity(np.ones((4, 1)), y, labels=range(4))
    np.testing.assert_allclose(half, [(1 + by_hand) / 2])


def cloud():
    return np.random.RandomState(0).normal(size=(80, 3))


CHANGES = {
    "values": lambda X: np.copyto(X, X[::-1] * 2),
    "one value": lambda X: X.__setitem__((5, 1), 40.0),
    "order": lambda X: np.copyto(X, X[::-1].copy()),
}


@pytest.mark.parametrize("eps", ["auto", 1.0])
@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_data_changed_in_place_are_searched_anew(change, eps):
    X = cloud()
    warm = MapperGraph(0, n_intervals=3, eps=eps, min_samples=2, warm_start=True)
    warm.fit(X)
    change(X)
    warm.fit(X)
    cold = clone(warm).set_params(warm_start=False).fit(X)
    assert warm.eps_ == cold.eps_
    assert (warm.membership_ != cold.membership_).nnz == 0


@pytest.mark.parametrize("eps", ["auto", 1.0])
def test_another_metric_filter_or_type_is_not_mistaken_for_what_is_known(eps):
    X = cloud()
    warm = MapperGraph(n_intervals=3, eps=eps, warm_start=True).fit(X)
    for params in (
        {"metric": "manhattan"}, {"metric": "seuclidean"}, {"metric": "euclidean"},
        {"filter": 1}, {"filter": lambda X: X[:, 2]}, {"min_samples": 2},
    ):  # fmt: skip
        for data in (X, X.astype(np.float32)):
            warm.set_params(**params).fit(data)
            cold = clone(warm).set_params(warm_start=False)
            cold._cache = None
            cold.fit(data)
            assert warm.eps_ == cold.eps_
            assert (warm.membership_ != cold.membership_).nnz == 0
