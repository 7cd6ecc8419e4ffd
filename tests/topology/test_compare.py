"""A distance of graphs: zero for the same, symmetric, and larger for larger changes."""

import sys
import warnings
from itertools import pairwise, permutations

import networkx as nx
import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import linprog
from scipy.sparse import csr_matrix
from sklearn.datasets import load_iris

from robustkit.topology import MapperGraph, compare_mappers, mapper_evolution
from robustkit.topology._compare import (
    _MeasuredGraph,
    _transport,
    count_confusions,
    match_nodes,
)
from tests.topology.strategies import seeds

pytest.importorskip("ot", reason="POT, an optional dependency, solves the transport")

X, Y = load_iris(return_X_y=True)


def fit(eps=0.6, n_intervals=8, filter="l2norm", X=X):
    return MapperGraph(filter, n_intervals=n_intervals, eps=eps).fit(X)


def shuffled(mapper, order):
    """The same graph with its nodes in another order."""
    copy = MapperGraph(**mapper.get_params())
    place = np.argsort(order)
    copy.__dict__.update(mapper.__dict__)
    copy.membership_ = mapper.membership_[:, order].tocsr()
    copy.edges_ = np.sort(place[mapper.edges_], axis=1)
    copy.graph_ = nx.relabel_nodes(mapper.graph_, dict(enumerate(place)))
    return copy


@st.composite
def measured_graphs(draw, n_nodes=None):
    """Up to four nodes of one weight, or of any, joined at random."""
    rng = np.random.RandomState(draw(seeds))
    size = n_nodes or draw(st.integers(1, 4))
    hops = rng.choice([1.0, 2.0, 3.0, np.inf], size=(size, size))
    distances = 1 - 1 / (1 + np.triu(hops, 1))
    distances = np.triu(distances, 1) + np.triu(distances, 1).T
    weights = rng.uniform(0.2, 1, size) if draw(st.booleans()) else np.ones(size)
    return _MeasuredGraph(csr_matrix((1, size)), weights / weights.sum(), distances)


def objective(a, b, costs, alpha, coupling):
    """The sum over all quadruples of nodes, as the definition writes it."""
    total = (1 - alpha) * np.sum(costs**2 * coupling)
    for i, k in np.ndindex(len(a.weights), len(a.weights)):
        for j, m in np.ndindex(len(b.weights), len(b.weights)):
            change = (a.distances[i, k] - b.distances[j, m]) ** 2
            total += alpha * change * coupling[i, j] * coupling[k, m]
    return total


def cheapest_plan(a, b, costs):
    """The linear problem, solved by another method."""
    n, m = costs.shape
    rows = np.kron(np.eye(n), np.ones(m)), np.kron(np.ones(n), np.eye(m))
    return linprog(
        costs.ravel(), A_eq=np.vstack(rows), b_eq=np.concatenate([a.weights, b.weights])
    ).fun


@given(measured_graphs(), measured_graphs(), seeds, st.sampled_from([0.0, 0.4, 1.0]))
def test_distance_is_what_its_coupling_costs(a, b, seed, alpha):
    shape = len(a.weights), len(b.weights)
    costs = np.random.RandomState(seed).uniform(size=shape)
    distance, coupling = _transport(a, b, costs, alpha)
    np.testing.assert_allclose(coupling.sum(axis=1), a.weights, atol=1e-12)
    np.testing.assert_allclose(coupling.sum(axis=0), b.weights, atol=1e-12)
    assert (coupling >= -1e-15).all()
    expected = objective(a, b, costs, alpha, coupling)
    assert distance**2 == pytest.approx(expected, abs=1e-12)
    # And no coupling does without the cheapest one of the features.
    least = (1 - alpha) * cheapest_plan(a, b, costs**2)
    assert distance**2 >= least - 1e-9
    if alpha == 0:
        assert distance**2 == pytest.approx(least, abs=1e-9)
    assert distance <= 1


@given(st.data(), st.integers(1, 5), seeds, st.sampled_from([0.3, 0.5, 1.0]))
def test_distance_is_not_above_any_permutation(data, n_nodes, seed, alpha):
    graphs = [data.draw(measured_graphs(n_nodes)) for _ in range(2)]
    a, b = (
        _MeasuredGraph(g.membership, np.full(n_nodes, 1 / n_nodes), g.distances)
        for g in graphs
    )
    costs = np.random.RandomState(seed).uniform(size=(n_nodes, n_nodes))
    distance, _ = _transport(a, b, costs, alpha)
    exhaustive = min(
        objective(a, b, costs, alpha, np.eye(n_nodes)[list(order)] / n_nodes)
        for order in permutations(range(n_nodes))
    )
    assert distance**2 <= exhaustive + 1e-9


@given(measured_graphs(), measured_graphs(), seeds, st.sampled_from([0.0, 0.5, 1.0]))
def test_distance_is_symmetric_to_the_bit(a, b, seed, alpha):
    shape = len(a.weights), len(b.weights)
    costs = np.random.RandomState(seed).uniform(size=shape)
    there, coupling = _transport(a, b, costs, alpha)
    back, backwards = _transport(b, a, costs.T.copy(), alpha)
    assert there == back
    np.testing.assert_array_equal(coupling, backwards.T)


@given(seeds, st.sampled_from([0.0, 0.5, 1.0]))
def test_distance_to_a_relabelled_graph_is_zero(seed, alpha):
    mapper = fit()
    order = np.random.RandomState(seed).permutation(len(mapper.graph_))
    found = compare_mappers(mapper, shuffled(mapper, order), alpha=alpha)
    assert found.distance < 1e-6
    if alpha < 1:
        matches = found.matches
        assert matches["node_b"].tolist() == np.argsort(order).tolist()
        assert (matches["feature_distance"] == 0).all()
        assert matches["mass"].sum() == pytest.approx(1)


@pytest.mark.parametrize("alpha", [0.3, 0.5, 1.0])
@pytest.mark.parametrize(
    ("one", "other"),
    [(nx.path_graph(4), nx.star_graph(3)), (nx.cycle_graph(6), nx.path_graph(6))],
)
def test_graphs_of_another_shape_are_apart(one, other, alpha):
    def measured(graph):
        hops = nx.floyd_warshall_numpy(graph)
        n_nodes = len(graph)
        weights = np.full(n_nodes, 1 / n_nodes)
        return _MeasuredGraph(csr_matrix((1, n_nodes)), weights, 1 - 1 / (1 + hops))

    costs = np.zeros((len(one), len(other)))
    distance, _ = _transport(measured(one), measured(other), costs, alpha)
    assert distance > 0.03


def test_distance_is_symmetric():
    a, b = fit(0.5), fit(0.8, n_intervals=5)
    there, back = compare_mappers(a, b, Y), compare_mappers(b, a, Y)
    assert there.distance == back.distance > 0
    assert there.label_flows.equals(back.label_flows.T.rename_axis(
        index="label_a", columns="label_b"
    ))  # fmt: skip


def planted(n_moved):
    """Three blobs along a line; some samples of the first lie in the last instead."""
    rng = np.random.RandomState(0)
    blobs = np.repeat([0.0, 10.0, 20.0], 60)
    blobs[:n_moved] = 20.0
    cloud = np.column_stack([blobs, np.zeros(180)]) + rng.uniform(size=(180, 2))
    return MapperGraph(0, n_intervals=5, eps=1.0, min_samples=2).fit(cloud)


@pytest.mark.parametrize("alpha", [0.0, 0.5, 0.9])
def test_distance_grows_with_the_samples_that_move(alpha):
    distances = [
        compare_mappers(planted(0), planted(n), alpha=alpha).distance
        for n in (0, 5, 10, 20, 40)
    ]
    assert distances[0] < 1e-6
    assert (np.diff(distances) > 0.005).all()


def test_distance_grows_with_the_edges_that_are_cut():
    mapper = MapperGraph(0, n_intervals=10, eps=0.5)
    mapper.fit(np.column_stack([np.linspace(0, 10, 200), np.zeros(200)]))
    distances = []
    for n_cut in range(5):
        cut = shuffled(mapper, np.arange(len(mapper.graph_)))
        cut.edges_ = np.delete(mapper.edges_, np.arange(n_cut) * 2, axis=0)
        distances.append(compare_mappers(mapper, cut).distance)
    assert distances[0] < 1e-6
    assert (np.diff(distances) > 0).all()


def test_matches_follow_the_samples():
    mapper = planted(0)
    found = compare_mappers(mapper, planted(20), np.repeat([0, 1, 2], 60))
    sizes = mapper.describe()["size"]
    assert len(sizes) == 3
    pairs = found.matches.set_index("node_a")
    # A third of the first blob has gone to the last one.
    assert pairs["node_b"].tolist() == [0, 1, 2]
    assert pairs["mass"].tolist() == pytest.approx([40 / 180, 60 / 180, 60 / 180])
    assert pairs["feature_distance"].tolist() == pytest.approx([1 / 3, 0, 1 / 4])
    flows = found.label_flows
    assert flows.loc[0, 2] == pytest.approx(20 / 180)
    assert flows.to_numpy().sum() == pytest.approx(1)
    assert found.coupling[0, 2] == pytest.approx(20 / 180)


@pytest.mark.parametrize("eps", [0.5, 0.9, 1e-6])
def test_nodes_are_matched_by_samples_alone_as_without_structure(eps):
    a, b = fit(), fit(eps, 9) if eps > 1e-3 else without_nodes()
    pd.testing.assert_frame_equal(
        match_nodes(a.membership_, b.membership_),
        compare_mappers(a, b, alpha=0).matches,
    )


def test_labels_compare_graphs_of_different_samples():
    a, b = fit(), fit(X=X[::2])
    with pytest.raises(ValueError, match="got 150 and 75 samples"):
        compare_mappers(a, b)
    found = compare_mappers(a, b, (Y, Y[::2]), features="labels")
    other = compare_mappers(a, b, (Y, (Y[::2] + 1) % 3), features="labels")
    assert 0 < found.distance < other.distance
    assert compare_mappers(a, a, Y, features="labels").distance < 1e-6


def test_a_graph_is_itself_where_features_do_not_tell_its_nodes_apart():
    """Two labels by chance: many nodes have the same shares of them."""
    rng = np.random.RandomState(2)
    points, y = rng.normal(size=(120, 2)), rng.randint(0, 2, 120)
    graph = MapperGraph(0, n_intervals=8, eps=0.25, min_samples=1).fit(points)
    for alpha in (0.5, 1.0):
        found = compare_mappers(graph, graph, y, features="labels", alpha=alpha)
        assert found.distance < 1e-6


def without_nodes():
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "No cluster was found", UserWarning)
        return fit(eps=1e-9)


@pytest.mark.parametrize("features", ["samples", "labels"])
def test_graphs_without_nodes(features):
    empty, mapper = without_nodes(), fit()
    assert compare_mappers(empty, empty, Y, features=features).distance == 0
    there = compare_mappers(empty, mapper, Y, features=features)
    assert there.distance == 1
    assert there.coupling.shape == (0, len(mapper.graph_))
    assert len(there.matches) == 0
    assert there.label_flows.shape == (3, 3)
    assert (there.label_flows == 0).all(axis=None)
    assert compare_mappers(mapper, empty, Y, features=features).distance == 1


def confusions_by_loops(y, predictions):
    """Counts, whether a confusion persists, and the share kept: one after the other."""
    table = {}
    for pair in {(t, p) for some in predictions for t, p in zip(y, some, strict=True)}:
        if pair[0] == pair[1]:
            continue
        samples = [
            {i for i in range(len(y)) if (y[i], some[i]) == pair}
            for some in predictions
        ]
        there = [bool(some) for some in samples]
        first = there.index(True)
        n_before = sum(map(len, samples[:-1]))
        n_kept = sum(len(now & then) for now, then in pairwise(samples))
        table[pair] = (
            [len(some) for some in samples], first, all(there[first:]),
            n_kept / n_before if n_before else None,
        )  # fmt: skip
    return table


@given(seeds, st.integers(1, 4), st.integers(1, 30))
def test_confusions_against_loops(seed, n_levels, n_samples):
    rng = np.random.RandomState(seed)
    names = np.array(["a", "b", "c"])
    y = names[rng.randint(3, size=n_samples)]
    predictions = [
        np.where(
            rng.uniform(size=n_samples) < 0.5, y, names[rng.randint(3, size=n_samples)]
        )
        for _ in range(n_levels)
    ]
    found = count_confusions(y, predictions, list(range(n_levels)))
    expected = confusions_by_loops(y, predictions)
    assert set(found.index) == set(expected)
    for pair, (counts, first, persists, kept) in expected.items():
        row = found.loc[pair]
        assert row[list(range(n_levels))].tolist() == counts
        assert (row["first"], row["persists"]) == (first, persists)
        assert row["kept"] == kept or (kept is None and np.isnan(row["kept"]))
    # Those that persist come first, and among them the most frequent.
    totals = found[list(range(n_levels))].sum(axis=1).to_numpy()
    keys = list(zip(~found["persists"], -totals, strict=True))
    assert keys == sorted(keys)


def test_predictions_of_another_kind_are_no_confusions():
    of_one_kind = "of one kind. Got .*0.* and .*'0'"
    with pytest.raises(ValueError, match=of_one_kind):
        count_confusions(Y, [Y, Y.astype(str)], ["a", "b"])
    with pytest.raises(ValueError, match=of_one_kind):
        compare_mappers(fit(), fit(), (Y, Y.astype(str)), features="labels")
    assert count_confusions(Y.astype(object), [Y, Y.astype(float)], [0, 1]).empty


def test_missing_labels_are_none():
    some = [None, *Y[1:]]
    with pytest.raises(ValueError, match="'y' parameter contains None"):
        compare_mappers(fit(), fit(), some)
    with pytest.raises(ValueError, match="'y_pred' parameter contains None"):
        compare_mappers(fit(), fit(), Y, (Y, some))
    with pytest.raises(ValueError, match=r"'y_pred' .* tuple of two arrays.* Got 3"):
        compare_mappers(fit(), fit(), Y, (Y, Y, Y))


def test_evolution_compares_every_level_with_every_other():
    mappers = [fit(eps) for eps in (0.5, 0.6, 0.8)]
    predictions = [np.where(np.arange(150) < n, 2, Y) for n in (0, 4, 9)]
    found = mapper_evolution(mappers, Y, predictions, levels=["low", "mid", "high"])
    for i, j in ((0, 1), (0, 2), (1, 2)):
        distance = compare_mappers(mappers[i], mappers[j]).distance
        assert found.distances.iloc[i, j] == found.distances.iloc[j, i] == distance
    assert (np.diag(found.distances) == 0).all()
    assert found.distances.index.tolist() == found.levels == ["low", "mid", "high"]
    assert [step.distance for step in found.steps] == [
        found.distances.iloc[0, 1], found.distances.iloc[1, 2]
    ]  # fmt: skip
    assert found.steps[1].confusions.loc[(0, 2), ["a", "b"]].tolist() == [4, 9]
    row = found.confusions.loc[(0, 2)]
    assert row[["low", "mid", "high"]].tolist() == [0, 4, 9]
    assert (row["first"], row["persists"], row["kept"]) == ("mid", True, 1.0)


def test_evolution_of_one_level_and_without_labels():
    found = mapper_evolution([fit()])
    assert found.distances.equals(pd.DataFrame([[0.0]]))
    assert found.steps == []
    assert "confusions" not in found


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        ({"features": "size"}, "'features' parameter .* Got 'size' instead"),
        ({"alpha": 1.5}, "'alpha' parameter .* Got 1.5 instead"),
        ({"features": "labels"}, "features='labels' needs the labels 'y'"),
        ({"y": (Y, Y, Y)}, "'y' parameter must be .* Got a tuple of 3"),
        ({"y": Y[1:]}, "inconsistent numbers of samples"),
        ({"y_pred": (Y, Y)}, "'y_pred' parameter needs one array of labels 'y'"),
        ({"y": (Y, Y), "y_pred": (Y, Y)}, "'y_pred' parameter needs one array"),
    ],
)
def test_bad_arguments_of_compare_mappers(arguments, match):
    mapper = fit()
    with pytest.raises(ValueError, match=match):
        compare_mappers(mapper, mapper, **arguments)


def test_only_fitted_mappers_are_compared():
    with pytest.raises(TypeError, match="'b' parameter must be a fitted MapperGraph"):
        compare_mappers(fit(), nx.path_graph(3))
    with pytest.raises(ValueError, match="not fitted yet"):
        compare_mappers(fit(), MapperGraph())


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        ({"mappers": []}, "'mappers' parameter must hold a fitted MapperGraph"),
        ({"levels": [0, 1]}, "'levels' parameter must have one entry .* 1. Got 2"),
        ({"y": Y, "y_pred": [Y, Y]}, "'y_pred' parameter must have one entry .* Got 2"),
    ],
)
def test_bad_arguments_of_mapper_evolution(arguments, match):
    with pytest.raises(ValueError, match=match):
        mapper_evolution(**{"mappers": [fit()]} | arguments)


def test_without_pot_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "ot", None)
    with pytest.raises(ImportError, match=r"pip install 'robustkit\[transport\]'"):
        compare_mappers(fit(), fit())
