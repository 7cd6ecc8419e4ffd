"""`minimal_distance` against exact answers, exhaustive search and its own rules."""

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from robustkit._randomness import seeded_torch
from robustkit.attacks.functional import Trace, minimal_distance
from robustkit.attacks.minimal import _device_search, _distance
from tests.attacks.minimal.exact import (
    ORDER,
    distance_on_grid,
    distance_to_class,
    distance_to_half_space,
)
from tests.common.callers_things import WritingNet, expect_unchanged
from tests.strategies import seeds

NORMS = ("linf", "l2")
CLIPS = st.sampled_from([None, (0.0, 1.0), (-3.0, 7.0)])
DTYPES = st.sampled_from([torch.float32, torch.float64])


@pytest.fixture(autouse=True, params=["compiled", "on devices"])
def engine(request, monkeypatch):
    """What holds, holds whoever searches; here, both do so on the CPU."""
    if request.param == "on devices":
        monkeypatch.setattr(_distance, "_search_for", lambda _: _device_search)


def search(module, X, y, norm, clip=None, **params):
    """Points and distances, checked for what always holds."""
    trace = Trace()
    X_adv = minimal_distance(module, X, y, norm=norm, clip=clip, trace=trace, **params)
    assert X_adv.shape == X.shape
    assert X_adv.dtype == X.dtype
    distances = trace.eps.numpy()
    move = (X_adv - X).flatten(1).double().numpy()
    found = np.isfinite(distances)
    np.testing.assert_allclose(
        np.linalg.norm(move, ord=ORDER[norm], axis=1)[found],
        distances[found],
        rtol=1e-6,
        atol=0,
    )
    assert (move[~found] == 0).all()
    with torch.no_grad():
        clean, after = (module(points.clone()).argmax(dim=1) for points in (X, X_adv))
    target = params.get("target")
    attacked = (clean == y).numpy()
    if target is not None:
        attacked &= (y != target).numpy()
    assert (distances[~attacked] == 0).all()
    reached = (after != y if target is None else after == target).numpy()
    assert (reached == found)[attacked].all()
    if clip is not None:
        low, high = torch.tensor(clip, dtype=X.dtype)
        assert low <= X_adv.min()
        assert X_adv.max() <= high
    return X_adv, distances


def network(seed, sizes, activation=nn.ReLU, scale=2.0):
    """A small random network, in float64."""
    with seeded_torch(seed):
        layers = []
        for n_inputs, n_outputs in itertools.pairwise(sizes):
            layers += [nn.Linear(n_inputs, n_outputs), activation()]
        module = nn.Sequential(*layers[:-1]).double().eval()
    with torch.no_grad():
        for weight in module.parameters():
            weight.mul_(scale)
        # No class is far ahead everywhere.
        module[-1].bias.sub_(module(uniform(seed, 200, sizes[0])).mean(dim=0))
    return module


def uniform(seed, *shape, low=0.0, high=1.0, dtype=torch.float64):
    numbers = np.random.default_rng(seed).uniform(low, high, shape)
    return torch.from_numpy(numbers).to(dtype)


def own_labels(module, X):
    with torch.no_grad():
        return module(X.clone()).argmax(dim=1)


def linear_setting(seed, n_classes, n_features, clip, dtype):
    """A linear model, and samples in the clip range, some of them on its ends."""
    rng = np.random.default_rng(seed)
    low, high = clip or (-1.0, 1.0)
    weight = rng.normal(size=(n_classes, n_features))
    bias = (
        0.1 * rng.normal(size=n_classes) - weight @ np.full(n_features, low + high) / 2
    )
    X = rng.uniform(low, high, size=(6, n_features))
    X[0, 0], X[1, 0] = low, high
    module = nn.utils.skip_init(nn.Linear, n_features, n_classes).to(dtype)
    with torch.no_grad():
        module.weight.copy_(torch.from_numpy(weight))
        module.bias.copy_(torch.from_numpy(bias))
    weight, bias = (p.detach().double().numpy() for p in (module.weight, module.bias))
    X = torch.from_numpy(X).to(dtype).clamp(low, high)
    return module, weight, bias, X, own_labels(module, X)


def rounding(weight, bias, X, distances):
    """By how much rounding may move the distance at which logits are equal."""
    finest = torch.finfo(X.dtype).eps
    size = np.abs(weight).sum(axis=1).max() * float(X.abs().max()) + np.abs(bias).max()
    gap = min(
        np.abs(weight[i] - weight[j]).sum()
        for i in range(len(weight))
        for j in range(i)
    )
    return 100 * finest * size / gap * np.sqrt(X.shape[1]) + 1e-5 * distances


@pytest.mark.parametrize("norm", NORMS)
def test_features_without_a_say_stay_as_they_are(norm):
    """Also where several boundaries meet."""
    for seed in range(5):
        module, *_, X, _ = linear_setting(seed, 4, 6, (-1.0, 1.0), torch.float64)
        network = nn.Sequential(
            module, nn.ReLU(), *linear_setting(seed, 3, 4, None, torch.float64)[:1]
        )
        with torch.no_grad():
            module.weight[:, 2] = 0
        y = own_labels(network, X)
        points, distances = search(network, X, y, norm, (-1.0, 1.0))
        assert np.isfinite(distances).any()
        np.testing.assert_array_equal(points[:, 2], X[:, 2])


@given(
    seed=seeds,
    n_classes=st.integers(2, 4),
    n_features=st.integers(1, 6),
    clip=CLIPS,
    dtype=DTYPES,
    norm=st.sampled_from(NORMS),
)
def test_linear_models_have_their_exact_distance(
    seed, n_classes, n_features, clip, dtype, norm
):
    module, weight, bias, X, y = linear_setting(
        seed, n_classes, n_features, clip, dtype
    )
    _, distances = search(module, X, y, norm, clip)
    low, high = clip or (-np.inf, np.inf)
    exact = np.full(len(X), np.inf)
    for i, (x, t) in enumerate(zip(X.double().numpy(), y, strict=True)):
        for k in set(range(n_classes)) - {int(t)}:
            slope = weight[k] - weight[t]
            need = -(bias[k] - bias[t] + slope @ x)
            away = distance_to_half_space(slope, need, x, low, high, norm)
            exact[i] = min(exact[i], away)
    np.testing.assert_array_equal(np.isinf(distances), np.isinf(exact))
    found = np.isfinite(exact)
    error = (distances - exact)[found]
    slack = rounding(weight, bias, X, exact[found])
    assert (error >= -slack).all()
    assert (error <= slack).all()


# An exact answer takes as long as a search of many samples.
@settings(max_examples=10)
@given(
    seed=seeds,
    n_classes=st.integers(2, 4),
    n_features=st.integers(1, 4),
    clip=st.sampled_from([None, (0.0, 1.0)]),
    norm=st.sampled_from(NORMS),
)
def test_targets_of_linear_models(seed, n_classes, n_features, clip, norm):
    """Several other classes must be passed at once: at a corner, say."""
    module, weight, bias, X, y = linear_setting(
        seed, n_classes, n_features, clip, torch.float64
    )
    target = (y + 1) % n_classes
    _, distances = search(module, X, y, norm, clip, target=target)
    low, high = clip or (-np.inf, np.inf)
    exact = np.array(
        [
            distance_to_class(weight, bias, x, int(k), low, high, norm)
            for x, k in zip(X.numpy(), target, strict=True)
        ]
    )
    # Found where there is one, and as near as possible.
    np.testing.assert_array_equal(np.isfinite(distances), np.isfinite(exact))
    found = np.isfinite(exact)
    np.testing.assert_allclose(distances[found], exact[found], rtol=1e-4, atol=1e-8)


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_targets_among_ten_classes_are_as_near_as_possible(norm, dtype):
    """With as many classes as most data sets have, boundaries meet nearly always."""
    ratios = []
    for seed in range(3):
        module, weight, bias, X, y = linear_setting(seed, 10, 30, (0.0, 1.0), dtype)
        target = (y + 1) % 10
        _, distances = search(module, X, y, norm, (0.0, 1.0), target=target)
        exact = [
            distance_to_class(weight, bias, x, int(k), 0.0, 1.0, norm)
            for x, k in zip(X.double().numpy(), target, strict=True)
        ]
        assert np.isfinite(exact).all()
        ratios.extend(distances / exact)
    np.testing.assert_allclose(ratios, 1, rtol=1e-3)


class Kinks(nn.Module):
    """Errs where some features are large, and all others near values of their own.

    The nearest error in the maximum norm has the first at 1 and each other on a kink
    inside the cube: its distance is 1.
    """

    def __init__(self, n_large, values, weight):
        super().__init__()
        self.n_large, self.values, self.weight = n_large, values, weight

    def forward(self, x):
        large, others = x[:, : self.n_large], x[:, self.n_large :]
        away = (others - self.values).abs().sum(dim=1)
        lead = (large - 1).sum(dim=1) - self.weight * away
        return torch.stack([0 * lead, lead], dim=1)


@pytest.mark.parametrize("n_features", [50, 100, 200])
def test_features_come_to_rest_on_kinks_inside_the_cube(n_features):
    """Half of them are on one, more than in most networks of convolutions."""
    found = []
    for seed in range(5):
        values = uniform(seed, n_features, low=-0.9, high=0.9)
        module = Kinks(n_features, values, 0.5)
        X = torch.zeros(1, 2 * n_features, dtype=torch.float64)
        found.extend(search(module, X, torch.zeros(1), "linf")[1])
    assert (np.array(found) >= 1).all()
    assert np.mean(found) < 1.012


@pytest.mark.parametrize("activation", [nn.ReLU, nn.Tanh, nn.GELU])
@pytest.mark.parametrize("norm", NORMS)
def test_small_networks_against_every_point_of_a_grid(norm, activation):
    """Nearly always as near as the nearest error on the grid, and none is missed."""
    found, known = [], []
    for seed in range(8):
        module = network(seed, (2, 12, 8, 3), activation)
        X = uniform(seed, 8, 2)
        y = own_labels(module, X)
        _, distances = search(module, X, y, norm, (0.0, 1.0))

        def predict(points, module=module):
            return own_labels(module, torch.from_numpy(points)).numpy()

        for x, t, distance in zip(X.numpy(), y, distances, strict=True):
            nearest = distance_on_grid(predict, x, int(t), 0, 1, norm)
            found.append(distance)
            known.append(nearest)
    found, nearest = np.array(found), np.array(known)
    there = np.isfinite(nearest)
    assert there.mean() > 0.5
    assert np.isfinite(found[there]).all()
    assert np.mean(found[there] <= 1.01 * nearest[there]) >= 0.9


class Steps(nn.Module):
    """A network of steps: its gradient is zero wherever there is one."""

    def __init__(self, module, levels=5):
        super().__init__()
        self.module, self.levels = module, levels

    def forward(self, x):
        return self.module((x * self.levels).round() / self.levels)


class Detached(Steps):
    """No gradient at all reaches the input."""

    def forward(self, x):
        return super().forward(x.detach())


@pytest.mark.parametrize("kind", [Steps, Detached])
@pytest.mark.parametrize("norm", NORMS)
def test_nothing_is_missed_without_a_gradient(kind, norm):
    n_errors = 0
    for seed in range(5):
        module = kind(network(seed, (6, 10, 3)))
        X, known = uniform(seed, 20, 6), uniform(seed + 100, 200, 6)
        y = own_labels(module, X)
        _, distances = search(module, X, y, norm, (0.0, 1.0), known=known)
        other = (own_labels(module, known)[None] != y[:, None]).numpy()
        away = (known[None] - X[:, None]).numpy()
        away = np.linalg.norm(away, ord=ORDER[norm], axis=2)
        # As near as the nearest of the known samples: the way to it is followed.
        nearest = np.where(other, away, np.inf).min(axis=1)
        assert (distances <= nearest * (1 + 1e-9)).all()
        n_errors += np.isfinite(distances).sum()
    assert n_errors > 50


def test_corners_are_tried_where_there_are_no_known_samples():
    module = Steps(network(0, (6, 10, 3)))
    X = uniform(0, 20, 6)
    y = own_labels(module, X)
    corners = torch.cartesian_prod(*[torch.tensor([0.0, 1.0]).double()] * 6)
    assert len(own_labels(module, corners).unique()) > 1
    for clip in ((0.0, 1.0), None):
        _, distances = search(module, X, y, "linf", clip)
        assert np.isfinite(distances).all()


class Quadrant(nn.Module):
    """Errs where one feature is large and another is small; there is no gradient."""

    def forward(self, x):
        errs = (x[:, :1] > 2) & (x[:, 1:2] < -2)
        return torch.cat([0.5 + 0 * x[:, :1], errs.to(x.dtype)], dim=1)


@pytest.mark.parametrize("norm", NORMS)
def test_features_may_have_to_move_in_opposite_directions(norm):
    X = uniform(0, 10, 2, low=-1.0)
    _, distances = search(Quadrant(), X, own_labels(Quadrant(), X), norm)
    assert np.isfinite(distances).all()


@pytest.mark.parametrize("factor", [2.0**-20, 2.0**20])
def test_euclidean_distances_do_not_depend_on_the_scale_of_the_logits(factor):
    module, scaled = (network(4, (6, 12, 12, 3)) for _ in range(2))
    with torch.no_grad():
        for weight in scaled[-1].parameters():
            weight.mul_(factor)
    X = uniform(1, 20, 6)
    y = own_labels(module, X)
    _, expected = search(module, X, y, "l2", (0.0, 1.0))
    _, distances = search(scaled, X, y, "l2", (0.0, 1.0))
    assert np.isfinite(expected).any()
    np.testing.assert_allclose(distances, expected, rtol=1e-6)


def test_dead_units_hide_no_error():
    """A network whose units are all off at the samples, but not elsewhere."""
    module = network(3, (8, 20, 4))
    with torch.no_grad():
        module[0].weight.abs_()
        module[0].bias.fill_(-2.0)
        module[2].weight.mul_(3)
    X = uniform(0, 30, 8, high=0.2)
    y = own_labels(module, X)
    points = X.clone().requires_grad_(True)
    assert (torch.autograd.grad(module(points).sum(), points)[0] == 0).all()
    corners = uniform(1, 500, 8).round()
    assert (own_labels(module, corners) != y[0]).any()
    _, distances = search(module, X, y, "l2", (0.0, 1.0))
    assert np.isfinite(distances).all()


@pytest.mark.parametrize("clip", [None, (0.0, 1.0)])
@pytest.mark.parametrize("norm", NORMS)
def test_a_constant_model_has_no_error(norm, clip):
    module = nn.utils.skip_init(nn.Linear, 4, 3)
    with torch.no_grad():
        module.weight.zero_()
        module.bias.copy_(torch.tensor([0.0, 1.0, 0.5]))
    X = uniform(0, 5, 4, dtype=torch.float32)
    X_adv, distances = search(module, X, own_labels(module, X), norm, clip)
    assert np.isinf(distances).all()
    assert torch.equal(X_adv, X)


def test_more_samples_than_are_searched_at_once():
    module = network(0, (10, 20, 3))
    X = uniform(0, 600, 10)
    y = own_labels(module, X)
    _, whole = search(module, X, y, "linf", (0.0, 1.0))
    _, end = search(module, X[590:], y[590:], "linf", (0.0, 1.0))
    np.testing.assert_allclose(end, whole[590:], rtol=1e-5)


def test_twice_the_same():
    module = network(0, (10, 20, 3))
    X = uniform(0, 30, 10)
    first, second = (
        minimal_distance(module, X, own_labels(module, X), clip=(0, 1)) for _ in "ab"
    )
    assert torch.equal(first, second)


def conv_net():
    with seeded_torch(0):
        module = nn.Sequential(
            nn.Conv2d(2, 6, 3, padding=1),
            nn.BatchNorm2d(6),
            nn.SiLU(),
            nn.AvgPool2d(2),
            nn.Flatten(),
            nn.Linear(6 * 9, 4),
        )
        nn.init.uniform_(module[1].running_mean, -0.1, 0.1)
    return module.train()


@pytest.mark.parametrize("norm", NORMS)
def test_images_of_any_shape(norm):
    """Batch normalization counts as in eval mode, and keeps its mode."""
    module = conv_net()
    X = uniform(0, 9, 2, 6, 6, dtype=torch.float32)
    module.eval()
    y = own_labels(module, X)
    _, expected = search(module, X, y, norm, (0.0, 1.0))
    module.train()
    trace = Trace()
    minimal_distance(module, X, y, norm=norm, clip=(0, 1), trace=trace)
    assert module.training
    np.testing.assert_array_equal(trace.eps, expected)
    assert np.isfinite(expected).all()


@pytest.mark.parametrize("norm", NORMS)
def test_nothing_of_the_caller_changes(norm):
    with seeded_torch(0):
        module = WritingNet(6, 3)
    X = uniform(0, 12, 6, dtype=torch.float32)
    y = torch.arange(12) % 3
    known = X + 0.1
    with expect_unchanged(X, y, known, module=module):
        minimal_distance(module, X, y, norm=norm, known=known)


def test_the_model_has_the_last_word():
    """A model that errs later than its module: the points are pushed out."""
    module = network(1, (8, 16, 3))
    X = uniform(0, 20, 8)
    y = own_labels(module, X)

    def stubborn(points, rows):
        # Wrong only where the wrong class leads by some margin.
        with torch.no_grad():
            logits = module(points)
        own = logits.gather(1, y[rows][:, None]).squeeze(1)
        return torch.where(logits.amax(1) - own > 0.01, logits.argmax(1), y[rows])

    trace = Trace(ask=stubborn)
    X_adv = minimal_distance(module, X, y, clip=(0, 1), trace=trace)
    found = torch.isfinite(trace.eps)
    assert found.all()
    assert (stubborn(X_adv, torch.arange(20)) != y).all()
    own = Trace()
    minimal_distance(module, X, y, clip=(0, 1), trace=own)
    assert (trace.eps >= own.eps).all()
    assert (trace.eps / own.eps).median() < 1.3


def test_a_model_that_never_errs_is_believed():
    module = network(1, (8, 16, 3))
    X = uniform(0, 6, 8)
    y = own_labels(module, X)
    trace = Trace(ask=lambda points, rows: y[rows])
    X_adv = minimal_distance(module, X, y, clip=(0, 1), trace=trace)
    assert torch.isinf(trace.eps).all()
    assert torch.equal(X_adv, X)


def test_more_steps_find_nearer_points():
    module = network(5, (30, 40, 40, 6))
    X = uniform(0, 60, 30)
    y = own_labels(module, X)
    for norm in NORMS:
        few, many = (
            search(module, X, y, norm, (0.0, 1.0), max_iter=n)[1] for n in (10, 200)
        )
        assert np.median(many) <= np.median(few) * (1 + 1e-6)
        assert np.mean(many <= 1.01 * few) > 0.95


def test_queries_are_counted():
    module, asked = network(0, (5, 8, 3)), []
    X = uniform(0, 16, 5)
    y = own_labels(module, X)
    module.register_forward_hook(lambda _, given, out: asked.append(len(out)))
    trace = Trace()
    minimal_distance(module, X, y, clip=(0, 1), trace=trace)
    # Padding is not counted, nor a sample of a batch that another one needed.
    assert len(X) < trace.n_queries.sum() <= sum(asked)


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"norm": "l1"}, "'norm' must be 'linf' or 'l2'. Got 'l1'"),
        (
            {"clip": (0.5, 1.0)},
            r"X must lie in the clip range \[0.5, 1.0\]. Got values",
        ),
        ({"clip": (1.0, 0.0)}, r"'clip' parameter must be a pair \(low, high\)"),
        ({"max_iter": 0}, "'max_iter' must be at least 1. Got 0"),
        ({"target": torch.zeros(3)}, r"'target' must have one class per sample"),
    ],
)
def test_what_cannot_be_is_refused(params, message):
    module, X = nn.Identity(), uniform(0, 4, 3)
    with pytest.raises(ValueError, match=message):
        minimal_distance(module, X, torch.zeros(4), **params)


def test_no_samples_at_all():
    X = torch.zeros(0, 3)
    assert minimal_distance(nn.Identity(), X, torch.zeros(0)).shape == (0, 3)


def test_half_precision():
    module = network(0, (5, 8, 3)).to(torch.bfloat16)
    X = uniform(0, 8, 5, dtype=torch.bfloat16)
    y = own_labels(module, X)
    X_adv = minimal_distance(module, X, y, clip=(0, 1))
    assert X_adv.dtype == torch.bfloat16
    moved = (X_adv != X).any(dim=1)
    assert moved.float().mean() > 0.5
    assert (own_labels(module, X_adv)[moved] != y[moved]).all()


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_samples_on_the_end_of_a_range_that_their_numbers_round(dtype, norm):
    clip = (-0.1, 0.3)
    module, X = nn.Identity(), torch.linspace(-0.2, 0.5, 32)
    X = X.view(4, 8).T.to(dtype).clamp(*torch.tensor(clip, dtype=dtype))
    with torch.no_grad():
        y = module(X).argmax(dim=1)
    if dtype == torch.float32:
        assert X.max().item() > clip[1]
    _, distances = search(module, X, y, norm, clip)
    assert (distances > 0).all()
    assert np.isfinite(distances).all()
    few_digits = X.bfloat16().clamp(*torch.tensor(clip, dtype=torch.bfloat16))
    minimal_distance(module, few_digits, y, norm=norm, clip=clip)
    with pytest.raises(ValueError, match=r"must lie in the clip range \[-0\.1.*, 0\.2"):
        search(module, X, y, norm, (-0.1, 0.2))
    with pytest.raises(ValueError, match="'clip' parameter must be a pair"):
        search(module, X, y, norm, (0.2, 0.2))
