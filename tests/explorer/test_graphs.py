"""The graphs are those of MapperGraph, found quickly, and forgotten in time."""

import threading
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from sklearn.cluster import AgglomerativeClustering

from robustkit.explorer import View
from robustkit.explorer import _graphs as module
from robustkit.explorer._graphs import GraphParameters, Graphs, SupersededError
from robustkit.explorer._run import make_run
from robustkit.topology import (
    BalancedCover,
    GMapperCover,
    MapperGraph,
    UniformCover,
    node_accuracy,
    node_purity,
    weighted_average_purity,
)
from robustkit.topology.neighbors import _dbscan as dbscan_module
from tests.explorer.conftest import samples_of

BASE = GraphParameters(0, "l2norm", "uniform", 8, 0.3, 2.0, 3)
COVERS = {
    "uniform": UniformCover,
    "balanced": BalancedCover,
    "kepler": lambda n, p: UniformCover(n, p, "kepler"),
}


def fitted(run, p):
    """The same graph, from scratch."""
    filter = int(p.filter.split()[1]) if " " in p.filter else p.filter
    cover = COVERS[p.cover](p.n_intervals, p.overlap)
    mapper = MapperGraph(filter, cover=cover, eps=p.eps, min_samples=p.min_samples)
    return mapper.fit(run.views[p.view].activations)


@pytest.fixture
def threads(monkeypatch):
    """Threads in which graphs are prepared, gathered instead of started."""
    gathered = []

    class Gathered(threading.Thread):
        def start(self):
            gathered.append(self)

    # Not those of anybody else.
    parts = {name: getattr(threading, name) for name in threading.__all__}
    mine = SimpleNamespace(**parts | {"Thread": Gathered})
    monkeypatch.setattr(module, "threading", mine)
    return gathered


@pytest.mark.parametrize(
    "changes",
    [{}, {"view": 1}, {"filter": "pca"}, {"filter": "column 5"}, {"cover": "balanced"},
     {"cover": "kepler"}, {"n_intervals": 30}, {"overlap": 0.6}, {"eps": 1.5},
     {"eps": 1.2}, {"eps": 9.0}, {"eps": 1.5, "filter": "pca"}, {"min_samples": 9},
     {"min_samples": 1}],
)  # fmt: skip
def test_a_graph_is_that_of_a_mapper_fitted_anew(run, graphs, changes):
    p = replace(BASE, **changes)
    graph, mapper = graphs.compute(p), fitted(run, p)
    membership = mapper.membership_
    for j in range(graph.n_nodes):
        expected = np.flatnonzero(membership[:, [j]].toarray())
        np.testing.assert_array_equal(samples_of(graph, [j]), expected)
    np.testing.assert_array_equal(graph.edges, mapper.edges_)
    shared = (membership.T @ membership).toarray()
    np.testing.assert_array_equal(graph.n_shared, shared[tuple(graph.edges.T)])
    labels, predicted = range(10), run.views[p.view].prediction
    np.testing.assert_allclose(
        graph.purity, node_purity(membership, run.y, labels=labels)
    )
    accuracy = node_accuracy(membership, run.y, predicted)
    np.testing.assert_allclose(graph.accuracy, accuracy)
    mean = weighted_average_purity(membership, run.y, labels=labels)
    assert graph.mean_purity == pytest.approx(mean)
    assert graphs.mean_purity(p) == pytest.approx(mean)
    assert graph.n_in_nodes == run.n_samples - mapper.n_noise_
    assert graph.eps == p.eps


def test_purity_is_that_of_the_mapper_where_few_classes_are_shown():
    rng = np.random.default_rng(0)
    activations, y = rng.normal(size=(80, 2)), rng.choice([3, 5], size=80)
    view = View("net", 0.0, activations, np.full(80, 7), classes=np.arange(10))
    run = make_run(y=y, views=[view], columns={})
    assert len(run.class_names) == 10
    p = replace(BASE, n_intervals=4, eps=1.0)
    graph, mapper = Graphs(run).compute(p), fitted(run, p)
    purity = mapper.describe(y)["purity"]
    assert purity.min() < 0.5
    np.testing.assert_allclose(graph.purity, purity)
    alone = make_run(y=np.full(80, 3), views=[view], columns={})
    np.testing.assert_array_equal(Graphs(alone).compute(p).purity, 1)


def test_the_automatic_distance_is_that_of_the_mapper_and_stays(run):
    graphs = Graphs(run)
    auto = replace(BASE, eps="auto", min_samples=5)
    assert graphs.compute(auto).eps == fitted(run, auto).eps_
    assert graphs.compute(replace(auto, min_samples=2)).eps == fitted(run, auto).eps_


def test_an_empty_graph_says_why(graphs):
    graph = graphs.compute(replace(BASE, eps=1e-6))
    assert (graph.n_nodes, graph.n_in_nodes, graph.mean_purity) == (0, 0, 0.0)
    assert graph.note.startswith("No cluster was found: every sample is noise. eps is")


def test_least_recently_used_graphs_are_dropped(run):
    graphs = Graphs(run, n_kept=2)
    first, second, third = (replace(BASE, n_intervals=n) for n in (2, 3, 4))
    kept = graphs.compute(first)
    graphs.compute(second)
    assert graphs.compute(first) is kept
    graphs.compute(third)
    assert graphs.find(first.key) is kept
    assert graphs.find(second.key) is None


def test_caches_are_bounded(run, monkeypatch):
    most = 3000
    monkeypatch.setattr(module, "_MOST_PAIRS", most)
    monkeypatch.setattr(module, "_N_PURITIES", 2)
    graphs = Graphs(run)
    n_computed = 0
    for view in range(len(run.views)):
        for filter in ("l2norm", "column 0"):
            graphs.compute(replace(BASE, view=view, filter=filter))
            graphs.mean_purity(replace(BASE, view=view, filter=filter))
            n_computed += 1
    assert len(graphs._purities) == 2
    kept = graphs._warm_mapper._cache._neighbors.values()
    assert 1 < len(kept) < n_computed
    assert 0 < sum(neighbors.n_pairs for neighbors in kept) <= most


def test_neighbours_are_searched_once_for_each_view_and_filter(run, monkeypatch):
    searches = []

    class Counted(dbscan_module.Neighbors):
        def __init__(self, *args, **kwargs):
            searches.append(kwargs)
            super().__init__(*args, **kwargs)

    monkeypatch.setattr(dbscan_module, "Neighbors", Counted)
    graphs = Graphs(run)
    start = replace(BASE, eps="auto")
    eps = graphs.compute(start).eps
    for changes in (
        {"n_intervals": 20}, {"overlap": 0.6}, {"min_samples": 9}, {"eps": eps / 2},
        {"eps": 3.9 * eps}, {"cover": "balanced"},
    ):  # fmt: skip
        graphs.compute(replace(start, **changes))
    assert len(searches) == 1
    graphs.compute(replace(start, filter="pca"))
    graphs.compute(replace(start, view=1))
    graphs.compute(start)
    assert len(searches) == 3


def same_graphs(a, b):
    names = ("indptr", "members", "interval", "edges", "n_shared", "counts", "purity")
    for name in names:
        np.testing.assert_array_equal(getattr(a, name), getattr(b, name))
    return a.eps == b.eps


@pytest.mark.parametrize(
    "changes",
    [{}, {"eps": "auto"}, {"cover": "balanced", "overlap": 0.5}, {"filter": "pca"}],
)
def test_a_graph_that_is_there_soon_is_the_same(run, changes):
    parameters = replace(BASE, **changes)
    assert same_graphs(
        Graphs(run).compute(parameters, soon=True), Graphs(run).compute(parameters)
    )


def test_after_a_graph_that_is_there_soon_neighbours_are_found_meanwhile(
    run, monkeypatch, threads
):
    graphs = Graphs(run)
    parameters = replace(BASE, eps="auto")
    graphs.compute(parameters, soon=True)
    assert len(graphs._warm_mapper._cache._neighbors) == 0
    graphs.look_ahead(parameters)
    graphs.look_ahead(replace(parameters, n_intervals=20))
    assert len(threads) == 1
    threads[0].run()
    searches = []
    monkeypatch.setattr(dbscan_module, "Neighbors", lambda *_, **__: searches.append(1))
    changed = graphs.compute(replace(parameters, n_intervals=20), soon=True)
    assert not searches
    monkeypatch.undo()
    assert same_graphs(changed, Graphs(run).compute(changed.parameters))


@pytest.mark.parametrize(
    "params", [{}, {"eps": 2.0}, {"clusterer": AgglomerativeClustering(2)}]
)
@pytest.mark.parametrize("opening", [(1,), (0, 1)])
def test_first_graphs_are_computed_before_they_are_asked_for(
    run, monkeypatch, threads, params, opening
):
    run, mapper = replace(run, opening=opening), MapperGraph(n_intervals=8, **params)
    graphs = Graphs(run, mapper)
    graphs.prepare()
    threads[0].run()
    monkeypatch.setattr(module._QuietMapper, "fit", None)
    for view in opening:
        parameters = GraphParameters(view, **graphs.defaults)
        graph = graphs.compute(parameters, soon=True)
        monkeypatch.undo()
        assert same_graphs(graph, Graphs(run, mapper).compute(parameters))
        monkeypatch.setattr(module._QuietMapper, "fit", None)


def test_an_error_while_the_first_graph_is_prepared_is_raised_to_who_asks(
    run, monkeypatch, threads
):
    graphs = Graphs(run)

    def refuse(*args):
        raise ValueError("no distance")

    monkeypatch.setattr(module, "automatic_eps", refuse)
    graphs.prepare()
    threads[0].run()
    with pytest.raises(ValueError, match="no distance"):
        graphs.compute(GraphParameters(0, **graphs.defaults), soon=True)


def test_an_error_while_neighbours_are_looked_for_is_raised_to_who_needs_them(
    run, monkeypatch, threads
):
    graphs = Graphs(run)

    def refuse(*args):
        raise ValueError("no distance")

    monkeypatch.setattr(module, "automatic_eps", refuse)
    graphs.look_ahead(BASE)
    threads[0].run()
    with pytest.raises(ValueError, match="no distance"):
        graphs.compute(BASE)


@pytest.fixture
def held_fit(monkeypatch):
    """The first fit waits until it is let go; later ones do not."""
    fit, calls = module._QuietMapper.fit, []
    begun, let_go = threading.Event(), threading.Event()

    def hold(self, X):
        calls.append(1)
        if len(calls) == 1:
            begun.set()
            assert let_go.wait(60)
        return fit(self, X)

    monkeypatch.setattr(module._QuietMapper, "fit", hold)
    return begun, let_go, calls


def test_a_graph_that_is_being_computed_is_waited_for(run, held_fit):
    begun, let_go, calls = held_fit
    graphs = Graphs(run)
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(graphs.compute, BASE, soon=True)
        assert begun.wait(60)
        second = pool.submit(graphs.compute, BASE, soon=True)
        assert not wait([second], 0.2).done
        let_go.set()
        assert second.result(60) is first.result(60)
    assert len(calls) == 1


def test_who_waits_for_a_graph_can_be_cancelled(run, held_fit):
    begun, let_go, _ = held_fit
    graphs, cancelled = Graphs(run), threading.Event()
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(graphs.compute, BASE, soon=True)
        assert begun.wait(60)
        second = pool.submit(graphs.compute, BASE, cancelled, soon=True)
        cancelled.set()
        with pytest.raises(SupersededError, match="something newer"):
            second.result(60)
        let_go.set()
        assert first.result(60).n_nodes > 0


def test_a_graph_that_was_given_up_is_computed_by_who_waits_for_it(run, held_fit):
    begun, let_go, calls = held_fit
    graphs, cancelled = Graphs(run), threading.Event()
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(graphs.compute, BASE, cancelled, soon=True)
        assert begun.wait(60)
        second = pool.submit(graphs.compute, BASE, soon=True)
        cancelled.set()
        let_go.set()
        with pytest.raises(SupersededError, match="something newer"):
            first.result(60)
        graph = second.result(60)
    assert len(calls) == 2
    assert same_graphs(graph, Graphs(run).compute(BASE))


def test_without_a_fast_search_nothing_is_looked_for_ahead(run, threads):
    ward = AgglomerativeClustering(2)
    for params in ({"metric": "manhattan"}, {"clusterer": ward}):
        graphs = Graphs(run, MapperGraph(**params))
        graphs.look_ahead(BASE)
        graph = graphs.compute(BASE, soon=True)
        assert same_graphs(graph, Graphs(run, MapperGraph(**params)).compute(BASE))
    assert not threads


@pytest.mark.parametrize("step", [0, 1, 2])
def test_cancelled_computation_stops_at_its_next_step(run, monkeypatch, step):
    """Cancelled before it begins, after the search, after the fit."""
    cancelled, n_fits = threading.Event(), 0
    graphs = Graphs(run)
    graphs.compute(replace(BASE, n_intervals=5, filter="pca"))
    fit = module._QuietMapper.fit

    def fit_and_cancel(self, X):
        nonlocal n_fits
        n_fits += 1
        if n_fits == step:
            cancelled.set()
        return fit(self, X)

    monkeypatch.setattr(module._QuietMapper, "fit", fit_and_cancel)
    if step == 0:
        cancelled.set()
    with pytest.raises(SupersededError, match="something newer was asked for"):
        graphs.compute(BASE, cancelled)
    assert n_fits == step
    assert graphs.find(BASE.key) is None
    monkeypatch.undo()
    assert graphs.compute(BASE).n_nodes > 0


def test_default_parameters_are_those_of_the_mapper(run):
    mapper = MapperGraph(2, cover=BalancedCover(9, 0.4), eps=0.5, min_samples=2)
    assert Graphs(run, mapper).defaults == {
        "filter": "column 2", "cover": "balanced", "n_intervals": 9, "overlap": 0.4,
        "eps": 0.5, "min_samples": 2, "second_filter": "none", "second_intervals": 10,
    }  # fmt: skip
    kepler = MapperGraph("pca", cover=UniformCover(7, 0.2, "kepler"))
    defaults = Graphs(run, kepler).defaults
    assert (defaults["filter"], defaults["cover"]) == ("pca", "kepler")
    assert Graphs(run).defaults["eps"] == "auto"


def test_custom_filter_is_offered_as_given(run):
    def filter(X):
        return X[:, 0] ** 2

    graphs = Graphs(run, MapperGraph(filter))
    assert graphs.filters[:2] == ["given", "l2norm"]
    assert graphs.defaults["filter"] == "given"
    graph = graphs.compute(replace(BASE, filter="given"))
    mapper = MapperGraph(filter, n_intervals=8, eps=2.0, min_samples=3)
    mapper.fit(run.views[0].activations)
    np.testing.assert_array_equal(graph.edges, mapper.edges_)


def test_custom_clusterer_is_used(run):
    clusterer = AgglomerativeClustering(n_clusters=3)
    graph = Graphs(run, MapperGraph(clusterer=clusterer)).compute(BASE)
    assert graph.eps == np.inf
    assert graph.n_nodes == 3 * 8


def test_custom_metric_is_used(run):
    mapper = MapperGraph(metric="manhattan")
    graph = Graphs(run, mapper).compute(replace(BASE, eps=4.0))
    expected = MapperGraph(metric="manhattan", n_intervals=8, eps=4.0, min_samples=3)
    expected.fit(run.views[0].activations)
    np.testing.assert_array_equal(graph.edges, expected.edges_)


def test_columns_of_wide_activations_are_not_offered_as_filters():
    views = [View("M", 0, np.eye(40), np.zeros(40, int))]
    wide = make_run(y=np.zeros(40, int), views=views)
    assert Graphs(wide).filters == ["l2norm", "pca", "pc2"]


def test_two_filters_make_the_grid_of_the_mapper(run, monkeypatch):
    searches = []

    class Counted(dbscan_module.Neighbors):
        def __init__(self, *args, **kwargs):
            searches.append(args)
            super().__init__(*args, **kwargs)

    monkeypatch.setattr(dbscan_module, "Neighbors", Counted)
    graphs = Graphs(run)
    for second, n in (("column 1", 3), ("pca", 5), ("none", 5)):
        graph = graphs.compute(
            replace(BASE, second_filter=second, second_intervals=n)
        )  # fmt: skip
        mapper = MapperGraph("l2norm", n_intervals=8, eps=2.0, min_samples=3)
        if second != "none":
            mapper.set_params(
                filter=("l2norm", 1 if second == "column 1" else second),
                n_intervals=(8, n),
            )
        mapper.fit(run.views[0].activations)
        nodes = mapper.describe()
        np.testing.assert_array_equal(graph.edges, mapper.edges_)
        np.testing.assert_array_equal(graph.filter_mean, nodes["filter_mean"])
        if second == "none":
            assert graph.second_interval is None
            continue
        np.testing.assert_array_equal(graph.interval, nodes["first_interval"])
        np.testing.assert_array_equal(graph.second_interval, nodes["second_interval"])
        means = nodes["second_filter_mean"]
        np.testing.assert_array_equal(graph.second_filter_mean, means)
    # Those of the explorer, once, and one for each mapper here.
    assert len(searches) == 1 + 3


def test_a_mapper_of_two_filters_is_shown_with_them(run):
    mapper = MapperGraph(("pca", 1), n_intervals=(6, 4), eps=0.5)
    defaults = Graphs(run, mapper).defaults
    names = "filter", "n_intervals", "second_filter", "second_intervals"
    assert [defaults[name] for name in names] == ["pca", 6, "column 1", 4]
    free = Graphs(run, MapperGraph(("pca", 1))).defaults
    assert (free["n_intervals"], free["second_intervals"]) == (10, 10)
    X = run.views[0].activations
    chosen = MapperGraph(("pca", 1), cover="gmapper", eps=2.0).fit(X)
    defaults = Graphs(run, chosen).defaults
    first, second = (len(axis) for axis in chosen._mapper.axes)
    assert [defaults[name] for name in names] == ["pca", first, "column 1", second]


def test_each_filter_of_a_grid_keeps_the_number_of_intervals_that_it_has(run):
    X = run.views[0].activations

    def numbers(filter, is_fitted=True, **params):
        mapper = MapperGraph(filter, eps=2.0, **params)
        if is_fitted:
            mapper.fit(X)
        defaults = Graphs(run, mapper).defaults
        came_to = [len(axis) for axis in mapper._mapper.axes] if is_fitted else None
        return [defaults["n_intervals"], defaults["second_intervals"]], came_to

    pair = "pca", 1
    assert numbers(pair, False, n_intervals=(6, "auto"))[0] == [6, 10]
    assert numbers(pair, False, n_intervals=("auto", 6))[0] == [10, 6]
    shown, came_to = numbers(pair, n_intervals=(6, "auto"))
    assert shown == came_to
    assert shown[0] == 6
    # A cover that splits intervals has a number of its own, to start from.
    cover = UniformCover(6), GMapperCover(n_intervals=3, threshold=0.5)
    shown, came_to = numbers(pair, cover=cover)
    assert shown == came_to
    assert shown[1] > 3
    # One function may give both values.
    shown, came_to = numbers(lambda X: X[:, :2], n_intervals=(6, "auto"))
    assert shown == came_to
    assert shown[0] == 6


def test_two_custom_filters_have_names_of_their_own(run):
    def square(X):
        return X[:, 0] ** 2

    def absolute(X):
        return np.abs(X[:, 1])

    graphs = Graphs(run, MapperGraph((square, absolute), n_intervals=4))
    assert graphs.filters[:3] == ["given", "given 2", "l2norm"]
    assert graphs.defaults["second_filter"] == "given 2"
    parameters = replace(BASE, filter="given", second_filter="given 2")
    graph = graphs.compute(parameters)
    mapper = MapperGraph(
        (square, absolute), n_intervals=(8, 10), eps=2.0, min_samples=3
    )
    mapper.fit(run.views[0].activations)
    np.testing.assert_array_equal(graph.edges, mapper.edges_)


def test_a_filter_of_two_columns_is_a_grid_by_itself(run):
    graphs = Graphs(run, MapperGraph(lambda X: X[:, :2], n_intervals=5))
    graph = graphs.compute(replace(BASE, filter="given", n_intervals=5))
    mapper = MapperGraph((0, 1), n_intervals=5, eps=2.0, min_samples=3)
    mapper.fit(run.views[0].activations)
    np.testing.assert_array_equal(graph.edges, mapper.edges_)
    with pytest.raises(ValueError, match="each filter of a pair one"):
        graphs.compute(replace(BASE, filter="given", second_filter="pca"))


def test_a_fitted_mapper_that_chose_its_cover_is_shown_with_what_it_chose(run):
    rng = np.random.default_rng(0)
    angle = rng.uniform(0, 2 * np.pi, 500)
    X = np.column_stack([np.cos(angle), np.sin(angle)])
    for cover in ("uniform", "gmapper"):
        mapper = MapperGraph(0, cover=cover)
        before = Graphs(run, mapper).defaults
        assert (before["cover"], before["n_intervals"]) == ("uniform", 40)
        assert before["eps"] == "auto"
        mapper.fit(X)
        after = Graphs(run, mapper).defaults
        assert after["n_intervals"] == len(mapper.intervals_) != 40
        assert (after["cover"], after["eps"]) == ("uniform", mapper.eps_)


def test_resamples_are_those_of_the_mapper(run):
    mapper = MapperGraph(n_bootstrap=3, eps=2.0, min_samples=3)
    graphs = Graphs(run, mapper)
    graph = graphs.compute(BASE)
    # A page that is loaded again shows the same, whatever the mapper draws.
    expected = fitted(run, BASE).set_params(n_bootstrap=3, random_state=0)
    expected.fit(run.views[0].activations)
    np.testing.assert_array_equal(graph.stability, expected.stability_.nodes)
    np.testing.assert_array_equal(graph.edge_stability, expected.stability_.edges)
    assert graphs.has_stability


def test_without_resamples_there_is_no_stability(graphs):
    graph = graphs.compute(BASE)
    assert graph.stability is None
    assert not graphs.has_stability
