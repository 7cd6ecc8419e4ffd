"""Where regions lie: intervals of segments, and polygons of planes."""

import itertools

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.exceptions import NotFittedError
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import nn

from robustkit._randomness import seeded_torch
from robustkit.attacks import MinimalDistanceAttack
from robustkit.bridge import as_module
from robustkit.classifiers import MLPNetClassifier
from robustkit.graphs import GraphPrior
from robustkit.networks import (
    ARCHITECTURES,
    SparseNetwork,
    ToImages,
    initialize,
    leaves,
)
from robustkit.regions import (
    PopulatedRegionScorer,
    _linear_pieces,
    regions_along,
    regions_in_plane,
    wall_distances,
)
from tests.strategies import seeds

# Narrower pieces may hold no other point than their ends.
WIDE = 1e-6


def drawn(make, seed):
    """Weights and biases that leave every unit active about half of the time."""
    with torch.no_grad(), seeded_torch(seed):
        module = make()
        for name, weight in module.named_parameters():
            is_bias = name.endswith("bias")
            fan_in = 4 if is_bias else max(1, weight[0].numel())
            weight.normal_(std=(2 / fan_in) ** 0.5)
    return module.eval()


def perceptron(seed):
    return drawn(
        lambda: nn.Sequential(
            *(nn.Linear(5, 9), nn.ReLU(), nn.Linear(9, 7), nn.ReLU(), nn.Linear(7, 4))
        ),
        seed,
    )


def sparse(seed):
    graph = GraphPrior(n_nodes=14, n_neighbors=3).sample(seed)
    network = initialize(SparseNetwork(graph, 5, 3), random_state=seed)
    with torch.no_grad(), seeded_torch(seed):
        network.bias.normal_(std=0.5)
    return network


def convolutional(seed):
    """Pooling after a rectifier, as in cnn6, and before one; odd sides."""
    return drawn(
        lambda: nn.Sequential(
            ToImages((1, 5, 5)),
            nn.Conv2d(1, 2, 3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(2, 3, 2, padding=1),
            nn.MaxPool2d(2),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(3, 3),
        ),
        seed,
    )


NETWORKS = {
    "perceptron": (perceptron, 5),
    "sparse": (sparse, 5),
    "convolutional": (convolutional, 25),
}
kinds = st.sampled_from(list(NETWORKS))


def in_double(module, X):
    """Logits and pattern of every sample, part after part."""
    values, bits = torch.from_numpy(X), []
    with torch.no_grad():
        for part in leaves(module.double()):
            if isinstance(part, SparseNetwork):
                bits.append(part.vertex_preactivations(values) > 0)
            elif isinstance(part, nn.ReLU):
                bits.append(values > 0)
            elif isinstance(part, nn.MaxPool2d):
                pool = nn.MaxPool2d(2, return_indices=True)
                bits.append(pool(values)[1])
            values = part(values)
    pattern = torch.cat([part.flatten(1).long() for part in bits], dim=1)
    module.float()
    return values.numpy(), pattern.numpy()


def points_of(regions, share, a, b):
    """A point of every region, and the logits that are said to be there."""
    t = regions.start + share * (regions.stop - regions.start)
    X = a[regions.segment] + t[:, None] * (b - a)[regions.segment]
    return X, regions.intercept + t[:, None] * regions.slope


@settings(deadline=None)
@given(kind=kinds, seed=seeds)
def test_regions_along_segments_are_those_of_dense_samples(kind, seed):
    make, n_features = NETWORKS[kind]
    module = make(seed % 1000)
    rng = np.random.default_rng(seed)
    a, b = rng.normal(size=(2, 3, n_features))
    regions = regions_along(module, a, b)
    for number in range(3):
        own = regions.segment == number
        start, stop = regions.start[own], regions.stop[own]
        assert start[0] == 0
        assert stop[-1] == 1
        assert (start < stop).all()
        np.testing.assert_array_equal(start[1:], stop[:-1])
    middle, logits = points_of(regions, 0.5, a, b)
    found, pattern = in_double(module, middle)
    np.testing.assert_allclose(logits, found, rtol=1e-9, atol=1e-9)
    # None is invented: next to each other they differ.
    follows = regions.segment[1:] == regions.segment[:-1]
    assert (pattern[1:] != pattern[:-1]).any(axis=1)[follows].all()
    # None is missed: everywhere in one of them the pattern is the same.
    t = np.linspace(0, 1, 1501)
    for number in range(3):
        own = np.flatnonzero(regions.segment == number)
        X = a[number] + t[:, None] * (b - a)[number]
        place = own[np.searchsorted(regions.stop[own], t).clip(max=len(own) - 1)]
        away = np.minimum(t - regions.start[place], regions.stop[place] - t) > 1e-9
        logits, there = in_double(module, X)
        np.testing.assert_array_equal(there[away], pattern[place][away])
        said = regions.intercept[place] + t[:, None] * regions.slope[place]
        np.testing.assert_allclose(said, logits, rtol=1e-9, atol=1e-9)


@given(seed=seeds)
def test_wide_regions_have_one_pattern_up_to_their_ends(seed):
    module = perceptron(seed % 1000)
    a, b = np.random.default_rng(seed).normal(size=(2, 20, 5))
    regions = regions_along(module, a, b)
    wide = regions.stop - regions.start > WIDE
    patterns = [
        in_double(module, points_of(regions, share, a, b)[0])[1][wide]
        for share in (0.001, 0.5, 0.999)
    ]
    np.testing.assert_array_equal(patterns[0], patterns[1])
    np.testing.assert_array_equal(patterns[2], patterns[1])


def test_regions_of_a_pool_are_those_of_its_winner():
    """Of pixels t, 1 - t, 0.7 and 0.6, the last never wins, nor is its place seen."""
    module = drawn(
        lambda: nn.Sequential(
            *(ToImages((1, 2, 2)), nn.Conv2d(1, 1, 1), nn.MaxPool2d(2), nn.Flatten()),
            nn.Linear(1, 2),
        ),
        0,
    )
    with torch.no_grad():
        module[1].weight.fill_(1.0)
    regions = regions_along(module, [0.0, 1.0, 0.7, 0.6], [1.0, 0.0, 0.7, 0.6])
    np.testing.assert_allclose(regions.start, [0, 0.3, 0.7])


def test_regions_of_cnn6_agree_with_its_logits():
    module = drawn(lambda: ARCHITECTURES["cnn6"](64, 3, image_shape=(1, 8, 8)), 0)
    rng = np.random.default_rng(0)
    a = rng.random((1, 64))
    b = a + 0.01 * rng.normal(size=(1, 64))
    regions = regions_along(module, a, b)
    X, logits = points_of(regions, 0.5, a, b)
    found, pattern = in_double(module, X)
    assert len(regions.start) > 20
    np.testing.assert_allclose(logits, found, rtol=1e-8)
    assert (pattern[1:] != pattern[:-1]).any(axis=1).all()


def test_of_functions_that_are_equal_the_steepest_goes_on():
    """So that nothing of no width lies between it and what came before."""
    # Constants, then slopes: at 0 the first two meet, at 1 the last three.
    f = np.array([[0.0, 0.0, -1.0, -2.0], [0.0, 1.0, 2.0, 3.0]])
    for order in itertools.permutations(range(4)):
        place = np.argsort(order)
        g = np.ascontiguousarray(f[:, order])
        assert _linear_pieces._first_winner(g, 0.0, 1e-12) == place[1]
        found = _linear_pieces._overtaken(g, place[1], 0.0, 5.0, 1e-12)
        assert found == (place[3], 1.0)


@pytest.mark.parametrize(("n_found", "n_more"), [(0, 5), (6, 12), (1000, 2000)])
def test_arrays_become_long_enough(n_found, n_more):
    cuts, parents = np.arange(2000.0), np.arange(2000)
    longer = _linear_pieces._longer(cuts, parents, n_found, n_more)
    for old, new in zip((cuts, parents), longer, strict=True):
        assert len(new) >= n_found + n_more
        np.testing.assert_array_equal(new[:n_found], old[:n_found])


def test_regions_of_a_plane_are_numbered_from_zero():
    a, u, v = np.random.default_rng(0).normal(size=(3, 25))
    region = regions_in_plane(convolutional(0), a, u, v, extent=(0, 0.2, 0, 0.2)).region
    np.testing.assert_array_equal(np.unique(region), np.arange(region.max() + 1))
    assert len(np.unique(region)) > 1


def test_pieces_do_not_depend_on_how_many_are_carried_on_at_once(monkeypatch):
    rng = np.random.default_rng(0)
    module = convolutional(0)
    a, b = rng.normal(size=(2, 3, 25))
    whole = regions_along(module, a, b)
    extent = (-0.3, 0.3, -0.3, 0.3)
    plane = regions_in_plane(module, a[0], b[0], b[1], extent=extent)
    monkeypatch.setattr(_linear_pieces, "_AT_ONCE", 700)
    for one, other in (
        (whole, regions_along(module, a, b)),
        (plane, regions_in_plane(module, a[0], b[0], b[1], extent=extent)),
    ):
        for name in one:
            np.testing.assert_allclose(one[name], other[name], rtol=1e-9, atol=1e-9)


def polygons(regions):
    return np.split(regions.vertices, regions.offsets[1:-1])


def area(polygon):
    x, y = polygon.T
    return (x * np.roll(y, -1) - y * np.roll(x, -1)).sum() / 2


def holds(polygon, points):
    """How far inside of all edges every point is; negative outside."""
    edge = np.roll(polygon, -1, axis=0) - polygon
    normal = np.stack([-edge[:, 1], edge[:, 0]], axis=1)
    normal /= np.linalg.norm(normal, axis=1, keepdims=True)
    return ((points[:, None] - polygon) * normal).sum(axis=2).min(axis=1)


@settings(deadline=None)
@given(kind=kinds, seed=seeds)
def test_regions_in_a_plane_are_those_of_random_points(kind, seed):
    make, n_features = NETWORKS[kind]
    module = make(seed % 1000)
    rng = np.random.default_rng(seed)
    origin, u, v = rng.normal(size=(3, n_features))
    left, bottom = rng.normal(size=2)
    width, height = rng.uniform(0.3, 1.5, size=2)
    extent = (left, left + width, bottom, bottom + height)
    regions = regions_in_plane(module, origin, u, v, extent=extent)
    parts = polygons(regions)
    areas = np.array([area(part) for part in parts])
    assert (areas > 0).all()
    assert areas.sum() == pytest.approx(width * height, rel=1e-6)

    points = np.stack([rng.uniform(*extent[:2], 400), rng.uniform(*extent[2:], 400)], 1)
    depth = np.stack([holds(part, points) for part in parts])
    place = depth.argmax(axis=0)
    assert (depth.max(axis=0) > -1e-7).all()
    assert ((depth > 1e-7).sum(axis=0) <= 1).all()

    logits, pattern = in_double(module, origin + points @ np.stack([u, v]))
    said = regions.intercept[place] + np.einsum(
        "na,nac->nc", points, regions.slope[place]
    )
    np.testing.assert_allclose(said, logits, rtol=1e-6, atol=1e-6)
    inside = depth.max(axis=0) > 1e-7
    np.testing.assert_array_equal(
        regions.prediction[place][inside], logits.argmax(axis=1)[inside]
    )
    centers = np.stack([part.mean(axis=0) for part in parts])
    at_centers = in_double(module, origin + centers @ np.stack([u, v]))[1]
    np.testing.assert_array_equal(at_centers[place][inside], pattern[inside])
    # Pieces of one region share a pattern, and no other region has it.
    large = areas > 1e-8
    _, numbers = np.unique(at_centers[large], axis=0, return_inverse=True)
    pairs = set(zip(numbers.ravel(), regions.region[large], strict=True))
    assert len(pairs) == len({n for n, _ in pairs}) == len({r for _, r in pairs})


@given(seed=seeds)
def test_regions_of_one_layer_are_an_arrangement_of_lines(seed):
    """One more than the lines that are met and their crossings inside."""
    module = drawn(
        lambda: nn.Sequential(nn.Linear(2, 12), nn.ReLU(), nn.Linear(12, 2)), seed
    )
    weight, bias = (t.detach().double().numpy() for t in module[0].parameters())
    corners = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]])
    at_corners = corners @ weight.T + bias
    n_met = ((at_corners.min(axis=0) < 0) & (at_corners.max(axis=0) > 0)).sum()
    n_crossings = 0
    for i in range(12):
        for j in range(i):
            x = np.linalg.solve(weight[[i, j]], -bias[[i, j]])
            n_crossings += (np.abs(x) < 1).all()
    regions = regions_in_plane(module, [0, 0], [1, 0], [0, 1])
    assert len(set(regions.region)) == 1 + n_met + n_crossings


def test_a_segment_of_a_plane_crosses_its_polygons():
    module = perceptron(3)
    origin, u, v = np.random.default_rng(0).normal(size=(3, 5))
    along = regions_along(module, origin - u, origin + u)
    plane = regions_in_plane(module, origin, u, v)
    s = along.start + along.stop - 1
    points = np.stack([s, np.zeros_like(s)], axis=1)
    depth = np.stack([holds(part, points) for part in polygons(plane)])
    assert len(set(plane.region[depth.argmax(axis=0)])) == len(s)
    np.testing.assert_allclose(
        plane.intercept[depth.argmax(axis=0)],
        along.intercept + 0.5 * along.slope,
        atol=1e-9,
    )


@pytest.mark.parametrize("n_hidden", [0, 40])
def test_classifiers_and_pipelines_are_taken(n_hidden):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(200, 4))
    y = np.where(X[:, 0] * X[:, 1] > 0, "same", "other")
    last = MLPNetClassifier((n_hidden,), max_epochs=5, random_state=0)
    model = make_pipeline(StandardScaler(), last if n_hidden else LogisticRegression())
    model.fit(X, y)
    regions = regions_along(model, X[:50], X[50:100])
    assert len(regions.start) > 50 if n_hidden else len(regions.start) == 50
    points, logits = points_of(regions, 0.5, X[:50], X[50:100])
    module = as_module(model)
    with torch.no_grad():
        expected = module(torch.from_numpy(points).to(torch.float32))
    np.testing.assert_allclose(logits, expected, rtol=1e-3, atol=1e-4)
    plane = regions_in_plane(model, X[0], X[1] - X[0], X[2] - X[0])
    assert set(plane.prediction) <= {"same", "other"}


def test_images_of_any_form_give_the_same_regions():
    module = convolutional(1)
    a, b = np.random.default_rng(0).random((2, 2, 25))
    expected = regions_along(module, a, b)
    bare = module[1:]
    for A, B in (
        [x.reshape(-1, 1, 5, 5) for x in (a, b)],
        [torch.from_numpy(x.reshape(-1, 1, 5, 5)) for x in (a, b)],
    ):
        found = regions_along(bare, A, B)
        np.testing.assert_allclose(found.start, expected.start, atol=1e-12)
    image, u, v = (x.reshape(1, 5, 5) for x in (a[0], a[1], b[0]))
    plane = regions_in_plane(bare, image, u, v)
    flat = regions_in_plane(module, a[0], a[1], b[0])
    np.testing.assert_allclose(plane.vertices, flat.vertices, atol=1e-12)


def test_segment_of_length_zero_is_refused():
    a = np.zeros((3, 5))
    b = np.ones((3, 5))
    b[1] = 0
    with pytest.raises(ValueError, match=r"must have a length\. .* equal in row 1\."):
        regions_along(perceptron(0), a, b)


def test_ends_of_other_shapes_are_refused():
    with pytest.raises(ValueError, match=r"one shape\. Got \(5,\) and \(4,\) instead"):
        regions_along(perceptron(0), np.zeros(5), np.ones(4))
    with pytest.raises(ValueError, match="'origin', 'u' and 'v' must have one shape"):
        regions_in_plane(perceptron(0), np.zeros(5), np.ones(4), np.ones(5))


def test_directions_that_span_no_plane_are_refused():
    u = np.arange(5.0)
    with pytest.raises(
        ValueError, match=r"must span a plane\. Got parallel directions"
    ):
        regions_in_plane(perceptron(0), np.zeros(5), u, -3 * u)
    with pytest.raises(ValueError, match="'v' must not be zero"):
        regions_in_plane(perceptron(0), np.zeros(5), u, np.zeros(5))


@pytest.mark.parametrize("extent", [(0, 0, -1, 1), (0, 1, 1), (0, 1, 0, np.inf), None])
def test_extent_without_an_inside_is_refused(extent):
    u, v = np.eye(5)[:2]
    with pytest.raises(ValueError, match="'extent' parameter must be"):
        regions_in_plane(perceptron(0), np.zeros(5), u, v, extent=extent)


def test_too_many_regions_are_refused():
    module = perceptron(0)
    a, b = np.random.default_rng(0).normal(size=(2, 20, 5))
    with pytest.raises(ValueError, match="more than max_regions=30 regions"):
        regions_along(module, a, b, max_regions=30)
    with pytest.raises(ValueError, match="more than max_regions=3 regions"):
        regions_in_plane(module, a[0], b[0], b[1], max_regions=3)
    with pytest.raises(ValueError, match=r"an int of at least 1\. Got 0 instead"):
        regions_along(module, a, b, max_regions=0)


def test_modules_that_cannot_be_taken_apart_are_refused_by_layer():
    module = nn.Sequential()
    module.add_module("curve", nn.Tanh())
    with pytest.raises(TypeError, match=r"Exact regions are .* a Tanh \(layer 'curve'"):
        regions_along(module, np.zeros(5), np.ones(5))


def test_models_that_are_not_fitted_are_refused():
    with pytest.raises(NotFittedError, match="not fitted yet"):
        regions_along(LogisticRegression(), np.zeros(5), np.ones(5))


def test_nan_is_refused():
    with pytest.raises(ValueError, match="b contains NaN"):
        regions_along(perceptron(0), np.zeros(5), np.full(5, np.nan))


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_number_of_regions_equals_that_of_relucent(seed):
    """Of the whole plane, of which a large part holds every region."""
    relucent = pytest.importorskip("relucent", reason="compares with relucent")
    module = drawn(
        lambda: nn.Sequential(
            *(nn.Linear(2, 6), nn.ReLU(), nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 2))
        ),
        seed,
    )
    everywhere = relucent.Complex(module)
    everywhere.bfs(verbose=0)
    extent = (-1000, 1000, -1000, 1000)
    regions = regions_in_plane(module, [0, 0], [1, 0], [0, 1], extent=extent)
    assert len(set(regions.region)) == len(everywhere)


def pre_activations(module, X):
    """Of every unit, before its rectifier; differentiable."""
    values, found = X, []
    for part in leaves(module):
        if isinstance(part, SparseNetwork):
            found.append(part.vertex_preactivations(values))
        elif isinstance(part, nn.ReLU):
            found.append(values)
        values = part(values)
    return torch.cat([part.flatten(1) for part in found], dim=1)


@given(kind=st.sampled_from(["perceptron", "sparse"]), seed=seeds)
def test_wall_distances_are_those_by_the_gradients_of_all_units(kind, seed):
    make, n_features = NETWORKS[kind]
    module = make(seed % 1000)
    X = np.random.default_rng(seed).normal(size=(4, n_features))
    found = wall_distances(module, X)
    module.double()
    for number, x in enumerate(torch.from_numpy(X)):
        one = x[None].requires_grad_()
        units = pre_activations(module, one)[0]
        linf = l2 = np.inf
        for unit in units:
            (gradient,) = torch.autograd.grad(unit, one, retain_graph=True)
            if gradient.abs().sum() > 0:
                linf = min(linf, float(unit.detach().abs() / gradient.abs().sum()))
                l2 = min(l2, float(unit.detach().abs() / gradient.norm()))
        assert found.loc[number, "linf"] == pytest.approx(linf, rel=1e-9)
        assert found.loc[number, "l2"] == pytest.approx(l2, rel=1e-9)


@given(kind=kinds, seed=seeds)
def test_no_wall_is_nearer_than_the_distance(kind, seed):
    make, n_features = NETWORKS[kind]
    module = make(seed % 1000)
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(1, n_features))
    found = wall_distances(module, x)
    own = in_double(module, x)[1]
    signs = rng.choice([-1.0, 1.0], size=(300, n_features))
    inside = x + 0.999 * found["linf"].item() * signs
    assert (in_double(module, inside)[1] == own).all()
    directions = rng.normal(size=(300, n_features))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    inside = x + 0.999 * found["l2"].item() * directions
    assert (in_double(module, inside)[1] == own).all()
    # On the shortest way to the wall it is crossed, and on any other it may be.
    beyond = x + 1e9 * directions
    crossed = regions_along(module, np.repeat(x, 300, 0), beyond)
    first = crossed.stop[crossed.start == 0].min() * 1e9
    assert first >= found["l2"].item() * (1 - 1e-6)


def test_regions_to_other_points_are_those_that_are_crossed():
    module = convolutional(3)
    X, others = np.random.default_rng(0).random((2, 6, 25))
    others[2] = X[2]
    others[4] = X[4] + 0.5 * wall_distances(module, X)["linf"][4]
    table = wall_distances(module, X, others)
    assert table["n_regions"][2] == table["n_regions"][4] == 1
    for number in (0, 1, 3, 5):
        crossed = regions_along(module, X[number], others[number])
        assert table["n_regions"][number] == len(crossed.start) > 1
    images = [part.reshape(-1, 1, 5, 5) for part in (X, others)]
    assert wall_distances(module[1:], *images).equals(table)
    with pytest.raises(ValueError, match="'X_adv' must have the shape of 'X'"):
        wall_distances(module, X, others[:3])


def test_wall_distances_take_lists_and_keep_the_index_of_a_table():
    with seeded_torch(0):
        module = nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 2))
    rows = [[0.5, 1.0], [2.0, -1.0]]
    found = wall_distances(module, rows)
    table = wall_distances(module, pd.DataFrame(rows, index=["a", "b"]))
    assert list(table.index) == ["a", "b"]
    np.testing.assert_array_equal(table, found)


def test_report_says_on_which_side_of_the_wall_the_error_lies():
    rng = np.random.default_rng(0)
    X = rng.random((60, 4)).astype(np.float32)
    y = (X[:, 0] > X[:, 1]).astype(int)
    model = MLPNetClassifier((6, 5), max_epochs=30, lr=0.02, random_state=0).fit(X, y)
    scorer = PopulatedRegionScorer(FrozenEstimator(model)).fit(X, y)
    attack = MinimalDistanceAttack(FrozenEstimator(model)).fit(X, y)
    report = scorer.report(X, y, walls=attack)
    result = attack.perturb(X, y)
    table = wall_distances(model, X, result.X_adv)
    assert report["wall_linf"] == table["linf"].median()
    assert report["wall_l2"] == table["l2"].median()
    crossed = table["n_regions"][result.success]
    assert report["regions_to_error"] == crossed.median()
    assert report["error_in_own_region"] == (crossed == 1).mean()
    plain = scorer.report(X, y, walls=True)
    assert "regions_to_error" not in plain
    assert plain["wall_l2"] == report["wall_l2"]
    assert "wall_l2" not in scorer.report(X, y)
    with pytest.raises(TypeError, match="'walls' parameter must be a bool, or an att"):
        scorer.report(X, y, walls=3)
