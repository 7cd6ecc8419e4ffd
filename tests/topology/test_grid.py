"""Two filters: a grid whose cells are clustered as the definition says."""

import warnings
from itertools import product

import networkx as nx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.base import clone
from sklearn.cluster import DBSCAN, AgglomerativeClustering
from sklearn.datasets import load_digits, load_iris
from sklearn.decomposition import PCA

from robustkit._randomness import draw_seeds
from robustkit.topology import (
    AdaptiveCover,
    BalancedCover,
    GMapperCover,
    MapperGraph,
    UniformCover,
    compare_mappers,
    count_loops,
    filled_triangles,
    fit_filter,
    mapper_persistence,
)
from robustkit.topology.neighbors import _dbscan
from tests.topology.brute_force import nodes_of
from tests.topology.shapes import n_components_and_loops, two_circles
from tests.topology.strategies import covers, point_clouds, seeds
from tests.topology.test_mapper_graph import is_the_graph_of


def fitted(mapper, X):
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "No cluster was found", UserWarning)
        return mapper.fit(X)


def clusters_of_cells(first, second, axes, cluster, drawn):
    """Cell by cell, the clusters of those of the samples that are drawn."""
    for (low, high), (left, right) in product(*axes):
        inside = [
            i for i in drawn
            if low <= first[i] <= high and left <= second[i] <= right
        ]  # fmt: skip
        labels = cluster(inside) if inside else []
        yield [
            {i for i, label in zip(inside, labels, strict=True) if label == k}
            for k in range(max(labels, default=-1) + 1)
        ]


def by_definition(X, values, covers, cluster):
    """Nodes, edges, and the cell of each node."""
    axes = [c.intervals(v) for c, v in zip(covers, values, strict=True)]
    nodes, home = [], []
    for k, found in enumerate(clusters_of_cells(*values, axes, cluster, range(len(X)))):
        nodes += found
        home += [k] * len(found)
    edges = [(i, j) for j in range(len(nodes)) for i in range(j) if nodes[i] & nodes[j]]
    return nodes, sorted(edges), home, axes


def second_value(X):
    return X[:, -1].astype(float) ** 2 + X[:, 0]


@given(
    point_clouds(max_samples=50),
    covers(max_intervals=4),
    covers(max_intervals=4),
    st.sampled_from([1.0, 2.0, 8.0]),
    st.integers(1, 4),
    st.sampled_from(["as it is", "warm", "too many pairs", "clusterer", "manhattan"]),
)
def test_a_grid_against_the_definition(X, first, second, eps, min_samples, way):
    metric = way if way == "manhattan" else "euclidean"
    dbscan = DBSCAN(eps=eps, min_samples=min_samples, metric=metric)
    mapper = MapperGraph(
        ("l2norm", second_value), cover=(first, second), eps=eps,
        min_samples=min_samples, warm_start=way == "warm", metric=metric,
        clusterer=dbscan if way == "clusterer" else None,
    )  # fmt: skip
    with pytest.MonkeyPatch.context() as patch:
        if way == "too many pairs":
            patch.setattr(_dbscan, "LARGEST_N_PAIRS", 5)
        fitted(mapper, X)
    values = np.linalg.norm(X.astype(float), axis=1), second_value(X)
    nodes, edges, home, axes = by_definition(
        X, values, (first, second), lambda inside: dbscan.fit_predict(X[inside])
    )
    assert is_the_graph_of(nodes, edges, mapper)
    assert mapper.describe()["interval"].tolist() == home
    expected = [(list(a), list(b)) for a, b in product(*axes)]
    assert [(list(a), list(b)) for a, b in mapper.intervals_] == expected
    assert set(mapper.noise_) == set(range(len(X))) - set().union(*nodes)
    assert (mapper.transform(X) != mapper.membership_).nnz == 0


def test_all_ways_to_give_two_filters_are_the_same():
    X, _ = load_iris(return_X_y=True)
    ways = [
        (0, 2), [0, 2], X[:, [0, 2]], (X[:, 0], X[:, 2]), lambda X: X[:, [0, 2]],
        (0, lambda X: X[:, 2]),
    ]  # fmt: skip
    one, *others = (MapperGraph(way, n_intervals=5, eps=0.6).fit(X) for way in ways)
    assert len(one.graph_) > 10
    for other in others:
        assert (one.membership_ != other.membership_).nnz == 0


def test_pairs_of_parameters_are_one_for_each_filter():
    X, _ = load_iris(return_X_y=True)
    pairs = MapperGraph(
        (0, 2), cover=("uniform", "balanced"), n_intervals=[4, 6], overlap=(0.2, 0.5),
        eps=0.6,
    ).fit(X)  # fmt: skip
    cover = UniformCover(4, 0.2), BalancedCover(6, 0.5)
    alike = MapperGraph((0, 2), cover=cover, eps=0.6).fit(X)
    assert (pairs.membership_ != alike.membership_).nnz == 0
    np.testing.assert_array_equal(pairs.intervals_, alike.intervals_)


@pytest.mark.parametrize("cover", [
    GMapperCover(1.0, n_intervals=1, min_overlap=0, max_intervals=5),
    AdaptiveCover(n_intervals=2, min_overlap=0, max_intervals=4),
])  # fmt: skip
def test_each_filter_is_covered_as_if_it_were_alone(cover):
    X, _ = load_iris(return_X_y=True)
    both, *alone = (
        MapperGraph(filter, cover=cover, eps=0.7).fit(X) for filter in [(0, 2), 0, 2]
    )
    expected = list(product(*(mapper.intervals_.tolist() for mapper in alone)))
    assert len(expected) > 4
    assert [tuple(cell) for cell in both.intervals_.tolist()] == expected


def test_one_interval_of_the_second_filter_changes_nothing():
    X, y = load_iris(return_X_y=True)
    one = MapperGraph("l2norm", n_intervals=8, eps=0.6, n_bootstrap=4, random_state=0)
    grid = clone(one).set_params(filter=("l2norm", 1), n_intervals=(8, 1))
    one.fit(X)
    grid.fit(X)
    assert (one.membership_ != grid.membership_).nnz == 0
    np.testing.assert_array_equal(one.edges_, grid.edges_)
    assert one.score(X, y) == grid.score(X, y)
    for name in ("nodes", "edges", "instability"):
        np.testing.assert_array_equal(one.stability_[name], grid.stability_[name])
    for name in ("components", "loops"):
        assert one.stability_[name].equals(grid.stability_[name])
    bars = [
        mapper_persistence(mapper, X, eps=[0.3, 0.6, 1.2]) for mapper in (one, grid)
    ]
    assert bars[0].equals(bars[1])


def test_new_samples_lie_in_the_cells_of_both_values():
    """Cells [0, 6] and [4, 10] along either axis of a lattice."""
    X = np.array(list(product(np.arange(11.0), repeat=2)))
    mapper = MapperGraph((0, 1), n_intervals=2, overlap=1 / 3, eps=1.5).fit(X)
    assert len(mapper.graph_) == 4
    new = [[5.1, 5.1], [1.1, 1.1], [1.1, 9.1], [9.1, 5.1], [10.5, 5.0], [5.0, -0.5]]
    assert mapper.transform(new).toarray().tolist() == [
        [1, 1, 1, 1], [1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 1], [0] * 4, [0] * 4,
    ]  # fmt: skip


def test_nodes_are_described_by_both_filters():
    X, y = load_iris(return_X_y=True)
    mapper = MapperGraph((0, 2), n_intervals=(3, 5), eps=0.7).fit(X)
    nodes = mapper.describe(y)
    assert list(nodes.columns[:6]) == [
        "interval", "size", "first_interval", "second_interval", "filter_mean",
        "second_filter_mean",
    ]  # fmt: skip
    for node, row in nodes.iterrows():
        members = mapper.membership_[:, node].nonzero()[0]
        assert row["interval"] == 5 * row["first_interval"] + row["second_interval"]
        np.testing.assert_allclose(row["filter_mean"], X[members, 0].mean())
        np.testing.assert_allclose(row["second_filter_mean"], X[members, 2].mean())
        held = mapper.intervals_[int(row["interval"])]
        assert (held[:, 0] <= X[members][:, [0, 2]]).all()
        assert (X[members][:, [0, 2]] <= held[:, 1]).all()
    names = "interval", "first_interval", "second_interval"
    assert [
        tuple(data[name] for name in names) for _, data in mapper.graph_.nodes.items()
    ] == list(nodes[list(names)].itertuples(index=False, name=None))
    assert "<svg" in mapper._repr_html_()


@settings(max_examples=20)
@given(point_clouds(max_samples=25), st.sampled_from([1.0, 2.0]), st.booleans())
def test_resamples_are_clustered_in_the_same_cells(X, eps, too_many):
    values, cover = (X[:, 0].astype(float), second_value(X)), UniformCover(3, 0.4)
    dbscan = DBSCAN(eps=eps, min_samples=2)
    mapper = MapperGraph(
        (0, second_value), cover=cover, eps=eps, min_samples=2, n_bootstrap=2,
        random_state=0,
    )  # fmt: skip
    with pytest.MonkeyPatch.context() as patch:
        if too_many:
            patch.setattr(_dbscan, "LARGEST_N_PAIRS", 5)
        fitted(mapper, X)

    def cluster(inside):
        return dbscan.fit_predict(X[inside])

    nodes, _, home, axes = by_definition(X, values, (cover, cover), cluster)
    counts = np.zeros(len(nodes))
    for seed in draw_seeds(0, 2):
        order = np.random.RandomState(seed).permutation(len(X))
        drawn = sorted(order[: -(-4 * len(X) // 5)].tolist())
        theirs = list(clusters_of_cells(*values, axes, cluster, drawn))
        for k, node in enumerate(nodes):
            ours = node & set(drawn)
            counts[k] += any(
                2 * len(ours & other) > len(ours | other) for other in theirs[home[k]]
            )
    np.testing.assert_allclose(mapper.stability_.nodes, counts / 2)


@settings(max_examples=15)
@given(seeds)
def test_bars_count_the_components_and_loops_at_each_distance(seed):
    X = np.random.RandomState(seed).uniform(size=(60, 2))
    mapper = MapperGraph((0, 1), n_intervals=(3, 4), overlap=0.4, min_samples=1, eps=1)
    scales = [0.05, 0.1, 0.2, 0.4]
    bars = mapper_persistence(mapper, X, eps=scales)
    for scale in scales:
        # With min_samples=1, all samples are core samples.
        graph = clone(mapper).set_params(eps=scale).fit(X)
        alive = bars[(bars["birth"] <= scale) & (scale < bars["death"])]["dimension"]
        assert ((alive == 0).sum(), (alive == 1).sum()) == shape_of(graph)


def shape_of(mapper):
    n_nodes, triangles = len(mapper.graph_), filled_triangles(mapper.membership_)
    n_components = nx.number_connected_components(mapper.graph_)
    return n_components, count_loops(mapper.edges_, n_nodes, triangles)


def disc(n_samples, rng):
    return PCA(2).fit_transform(ball(n_samples, rng, 2))


def annulus(n_samples, rng):
    X = ball(4 * n_samples, rng, 2)
    return X[np.linalg.norm(X, axis=1) > 0.6][:n_samples]


def ball(n_samples, rng, n_features):
    X = rng.uniform(-1, 1, size=(4 * n_samples, n_features))
    return X[np.linalg.norm(X, axis=1) < 1][:n_samples]


def square(n_samples, rng):
    return rng.uniform(size=(n_samples, 2))


def sphere(n_samples, rng):
    X = rng.normal(size=(n_samples, 3))
    return X / np.linalg.norm(X, axis=1)[:, None]


@pytest.mark.parametrize("shape", [
    (disc, (1, 0)), (annulus, (1, 1)), (square, (1, 0)), (sphere, (1, 0)),
    (two_circles, (2, 2)),
], ids=lambda shape: shape[0].__name__)  # fmt: skip
def test_known_shapes_without_parameters(shape):
    """Three nodes with a common sample fill the triangle between them."""
    make, right = shape
    for seed in range(3):
        X = make(1000, np.random.RandomState(seed))
        assert shape_of(MapperGraph(("pca", "pc2")).fit(X)) == right


def test_a_torus_has_two_loops_which_one_filter_does_not_show():
    rng = np.random.RandomState(0)
    u, v = rng.uniform(0, 2 * np.pi, size=(2, 16000))
    # As likely as the surface there is large.
    is_kept = rng.uniform(size=len(u)) < (3 + np.cos(v)) / 4
    u, v = u[is_kept][:6000], v[is_kept][:6000]
    around = 3 + np.cos(v)
    X = np.column_stack([around * np.cos(u), around * np.sin(u), np.sin(v)])
    grid = MapperGraph((0, 2), n_intervals=(10, 3), eps=0.4).fit(X)
    assert shape_of(grid) == (1, 2)
    one = MapperGraph(0, n_intervals=10, eps=0.4).fit(X)
    assert n_components_and_loops(one.graph_) == (1, 1)


def test_sparse_samples_get_ten_intervals_of_each_filter():
    X = np.random.RandomState(0).normal(size=(60, 20))
    mapper = fitted(MapperGraph(("pca", "pc2")), X)
    assert mapper.intervals_.shape == (100, 2, 2)
    assert mapper.eps_ == fitted(MapperGraph("pca"), X).eps_


def test_cells_hold_samples_within_eps_of_each_other():
    X = square(1000, np.random.RandomState(0))
    mapper = MapperGraph((0, 1)).fit(X)
    n_cells = len(mapper.intervals_)
    assert 9 <= n_cells <= 100
    held = [
        ((low <= X[:, 0]) & (X[:, 0] <= high) & (left <= X[:, 1]) & (X[:, 1] <= right))
        for (low, high), (left, right) in mapper.intervals_
    ]
    distances = np.linalg.norm(X[:, None] - X, axis=2)
    together = np.zeros(distances.shape, dtype=bool)
    for cell in held:
        together |= np.outer(cell, cell)
    assert together[distances <= mapper.eps_].all()


def test_the_second_component_is_that_of_pca():
    for shape in ((40, 5), (5, 40)):
        X = np.random.RandomState(0).normal(size=shape) * np.arange(1, shape[1] + 1)
        function, is_lipschitz = fit_filter(("pca", "pc2"), X)
        assert is_lipschitz
        expected = PCA(2, svd_solver="full").fit_transform(X)
        np.testing.assert_allclose(np.abs(function(X)), np.abs(expected), atol=1e-8)


@pytest.mark.parametrize(("params", "message"), [
    ({"filter": ("pca", "umap")}, "The 'filter' parameter of MapperGraph must be"),
    ({"filter": ("pca", -1)}, "The 'filter' parameter of MapperGraph must be"),
    ({"filter": ("pca", 9)}, "filter=9 asks for a column, but X has 4 features"),
    ({"filter": ("pca", lambda X: X[:, :2])}, "each filter of a pair one"),
    ({"filter": lambda X: X[:, :3]}, "or two. Got an array of shape .150, 3."),
    ({"filter": ("pca", "pc2", 0)}, r"pair of filters, .* Got \('pca', 'pc2', 0\)"),
    ({"filter": ("pca", None)}, r"pair of filters, .* Got \('pca', None\) instead"),
    ({"filter": ("pca",)}, r"pair of filters, .* Got \('pca',\) instead"),
    ({"n_intervals": (3, 4)}, "needs two filters"),
    ({"filter": (0, 1), "n_intervals": (3, 4, 5)}, "must be one, or a pair"),
    ({"filter": (0, 1), "n_intervals": (3, 0)}, "The 'n_intervals' parameter of Map"),
    ({"filter": (0, 1), "overlap": (0.3, 1.0)}, "The 'overlap' parameter of Mapper"),
    ({"filter": (0, 1), "cover": ("uniform", 3)}, "The 'cover' parameter of Mapper"),
])  # fmt: skip
def test_bad_pairs_are_named(params, message):
    X, _ = load_iris(return_X_y=True)
    with pytest.raises(ValueError, match=message):
        MapperGraph(**params).fit(X)


def test_the_second_component_needs_two_features():
    with pytest.raises(ValueError, match="filter='pc2' needs X with two features"):
        MapperGraph("pc2").fit(np.arange(20.0)[:, None])


def test_grids_are_compared_with_each_other_and_with_intervals():
    pytest.importorskip("ot", reason="POT compares graphs")
    X, _ = load_iris(return_X_y=True)
    grid = MapperGraph((0, 2), n_intervals=4, eps=0.7).fit(X)
    one = MapperGraph(0, n_intervals=4, eps=0.7).fit(X)
    assert compare_mappers(grid, grid).distance < 1e-6
    assert 0.01 < compare_mappers(grid, one).distance < 1


def test_another_clusterer_may_find_cells_empty():
    X = two_circles(200, np.random.RandomState(0))
    clusterer = AgglomerativeClustering(None, distance_threshold=0.5)
    mapper = MapperGraph((0, 1), n_intervals=6, clusterer=clusterer).fit(X)
    cells = set(mapper.describe()["interval"])
    assert 0 < len(cells) < 36
    assert mapper.n_noise_ == 0


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("n_intervals", [4, 7])
def test_kepler_mapper_draws_the_same_grid(n_intervals):
    kmapper = pytest.importorskip("kmapper", reason="a peer")
    X = load_digits().data
    values, clusterer = PCA(2).fit_transform(X), DBSCAN(eps=22.0, min_samples=4)
    graph = kmapper.KeplerMapper(verbose=0).map(
        values, X, cover=kmapper.Cover(n_intervals, 0.3), clusterer=clusterer
    )
    cover = UniformCover(n_intervals, 0.3, "kepler")
    ours = MapperGraph(values, cover=cover, eps=22.0, min_samples=4).fit(X)
    nodes = nodes_of(ours.membership_)
    assert sorted(map(sorted, nodes)) == sorted(map(sorted, graph["nodes"].values()))
    edges = sorted(sorted([sorted(nodes[i]), sorted(nodes[j])]) for i, j in ours.edges_)
    assert edges == sorted(
        sorted([sorted(graph["nodes"][name]), sorted(graph["nodes"][other])])
        for name, others in graph["links"].items()
        for other in others
    )


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@given(seed=seeds, n_features=st.integers(2, 30), offset=st.sampled_from([0, 1, 100]))
def test_samples_on_a_line_have_no_second_component(dtype, seed, n_features, offset):
    rng = np.random.RandomState(seed)
    direction = rng.normal(size=n_features)
    line = np.outer(np.linspace(0, 1, 60), direction / np.linalg.norm(direction))
    X = (line + offset * rng.normal(size=n_features)).astype(dtype)
    params = {"n_intervals": 4, "eps": 0.1}
    grid = fitted(MapperGraph(("pca", "pc2"), **params), X)
    alone = fitted(MapperGraph("pca", **params), X)
    assert grid.intervals_[:, 1].tolist() == [[0.0, 0.0]] * 4
    assert np.array_equal(grid.membership_.toarray(), alone.membership_.toarray())
    # What can be told from rounding stays a component.
    X = X.astype(np.float64)
    X += 1e-9 * (1 + offset) * rng.normal(size=X.shape)
    function, _ = fit_filter("pc2", X)
    assert np.ptp(function(X)) > 1e-9
