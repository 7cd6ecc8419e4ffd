"""Values at their edges, by hand: starts, projections, who leaves when, measures."""

import numpy as np
import pytest
import torch
from torch import nn

from robustkit.attacks import (
    AttackResult,
    BIMAttack,
    FGSMAttack,
    GrowingEpsilonAttack,
    LeastLikelyAttack,
    PGDAttack,
)
from robustkit.attacks._geometry import keep_inside, make_ball
from robustkit.attacks._losses import goals_of
from robustkit.attacks._result import measures, robust_accuracy
from robustkit.classifiers import TorchClassifier
from tests.attacks.victims import aim, digits, linear_net, torch_net


class Recorder(nn.Module):
    """Two logits, and a list of all points that were asked about."""

    def __init__(self, weight, bias):
        super().__init__()
        self.weight, self.bias = torch.tensor(weight), bias
        self.asked = []

    def forward(self, x):
        self.asked.append(x.detach().clone())
        score = x @ self.weight + self.bias
        return torch.stack([-score, score], dim=1)


def recorded(weight, bias):
    module = Recorder(weight, bias).eval()
    return module, TorchClassifier.from_module(module, classes=[0, 1])


@pytest.mark.parametrize("norm", ["linf", "l2"])
@pytest.mark.parametrize("loss", ["ce", "rotate"])
def test_pgd_restarts_start_at_different_points(norm, loss):
    """Of a model that nothing fools, all restarts can be seen."""
    module, model = recorded([0.01, 0.0, 0.0], 5.0)
    X = np.array([[0.1, 0.5, -0.2], [0.3, 0.1, 0.2]], dtype=np.float32)
    attack = PGDAttack(
        norm=norm, eps=0.4, loss=loss, max_iter=2, n_restarts=3, clip=None
    )
    attack = aim(attack, model, X, np.array([1, 1]), random_state=0)
    module.asked.clear()
    result = attack.perturb(X, [1, 1])
    assert not result.success.any()
    # A probe, the clean look and, for "rotate", the runners-up; then, at the end, the
    # model is asked again.
    # A climb has two steps and the point behind them.
    n_before = {"ce": 2, "rotate": 3}[loss]
    climbs = module.asked[n_before:-1]
    n_climbs = {"ce": 3, "rotate": 6}[loss]
    if loss == "rotate":
        # The first climb begins at the clean samples, whose look is kept.
        climbs = [torch.from_numpy(X), *climbs]
    assert len(climbs) == 3 * n_climbs
    np.testing.assert_array_equal(result.n_queries, 3 * n_climbs)
    starts = [start - torch.from_numpy(X) for start in climbs[::3]]
    if loss == "rotate":
        assert not starts.pop(0).any()
    order = {"linf": torch.inf, "l2": 2}[norm]
    for k, start in enumerate(starts):
        length = torch.linalg.vector_norm(start, ord=order, dim=1)
        assert (length <= 0.4 + 1e-6).all()
        assert (length > 0).all()
        for other in starts[:k]:
            assert not torch.isclose(start, other).any()
        # Nor do two samples start alike.
        assert not torch.isclose(start[0], start[1]).any()


@pytest.mark.parametrize("clip", [(-3.0, 7.0), (0.25, 0.5), (-2.0, -1.0), (5.0, 6.5)])
@pytest.mark.parametrize(
    ("cls", "norm"),
    [
        (FGSMAttack, "linf"),
        (BIMAttack, "linf"),
        (LeastLikelyAttack, "linf"),
        (PGDAttack, "linf"),
        (PGDAttack, "l2"),
    ],
)
def test_attack_reaches_faces_of_clip_range(cls, norm, clip):
    """One feature is pushed down, one up, and one down by little."""
    low, high = clip
    weight = [1.0, -1.0, 1e-3]
    _, model = recorded(weight, 1e3)
    X = np.full((1, 3), (low + high) / 2, dtype=np.float32)
    params = {"eps": 50.0, "clip": clip}
    if cls is PGDAttack:
        params |= {"norm": norm, "random_state": 0}
    result = aim(cls(), model, np.vstack([X, X]), np.array([0, 1]), **params)
    moved = result.perturb(X, [1]).X_adv[0]
    assert moved[0] == np.float32(low)
    assert moved[1] == np.float32(high)
    if norm == "linf":
        assert moved[2] == np.float32(low)


def test_attack_reaches_faces_of_linf_ball_exactly():
    _, model = recorded([1.0, -2.0], 1e3)
    X = np.array([[1.0, 2.0]], dtype=np.float32)
    y = np.array([1])
    for attack in (FGSMAttack(), BIMAttack(), PGDAttack(random_state=0)):
        both = np.vstack([X, X])
        result = aim(attack, model, both, [0, 1], eps=0.3, clip=(-3, 7)).perturb(X, y)
        expected = X + np.float32(0.3) * np.array([[-1, 1]], dtype=np.float32)
        np.testing.assert_array_equal(result.X_adv, expected)
        assert result.eps[0] == pytest.approx(0.3, abs=1e-7)
        assert result.eps[0] <= 0.3


def test_l2_ball_projects_before_clipping():
    """By hand: (3, 4) is halved to (1.5, 2), then cut at 1.75."""
    ball = make_ball(torch.zeros(1, 2), 2.5, (-1.0, 1.75), "l2")
    points = ball.project_(torch.tensor([[3.0, 4.0]]))
    assert torch.allclose(points, torch.tensor([[1.5, 1.75]]))
    inside = ball.project_(torch.tensor([[0.3, -0.4]]))
    assert torch.allclose(inside, torch.tensor([[0.3, -0.4]]))
    # A step of length 1 along (0, 5), from a point on the sphere.
    ball = make_ball(torch.zeros(1, 2), 1.0, None, "l2")
    points = ball.step(torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0, 5.0]]), 1.0)
    assert torch.allclose(points, torch.full((1, 2), 0.5**0.5))
    cube = make_ball(torch.tensor([[0.5, 0.9, -2.9]]), 0.25, (-3.0, 1.0), "linf")
    points = cube.project_(torch.tensor([[9.0, 9.0, -9.0]]))
    assert torch.equal(points, torch.tensor([[0.75, 1.0, -3.0]]))
    points = cube.step(
        torch.tensor([[0.5, 0.9, -2.9]]), torch.tensor([[-1e-9, 0.0, 3.0]]), 0.125
    )
    assert torch.allclose(points, torch.tensor([[0.375, 0.9, -2.775]]))


@pytest.mark.parametrize("norm", ["linf", "l2"])
@pytest.mark.parametrize("clip", [None, (-10.0, 2e8)])
def test_keep_inside_with_a_large_feature_bounds_the_others(norm, clip):
    """Next to 1e8 a float32 is rounded by 8; a feature at 0.5 is not."""
    center = np.array([[1e8, 0.5]], dtype=np.float32)
    points = np.array([[1e8, 5.5]], dtype=np.float32)
    out = np.empty_like(points)
    length = keep_inside(points, center, 0.1, norm, clip, out)
    np.testing.assert_allclose(out, [[1e8, 0.6]], rtol=1e-6)
    assert length[0] <= 0.1


def test_pgd_stops_sample_at_first_adversarial_point():
    """Steps of 0.1 from margins of 0.05, 0.15, ... : one step more for each."""
    module, model = recorded([1.0], 0.0)
    X = np.array([[-0.5], [0.05], [0.15], [0.25], [0.35], [2.0]], dtype=np.float32)
    y = (X[:, 0] > 0).astype(int)
    attack = PGDAttack(eps=0.4, step_size=0.1, max_iter=4, random_start=False)
    module.asked.clear()
    result = aim(attack, model, X, y, clip=None).perturb(X, y)
    np.testing.assert_array_equal(result.success, [0, 1, 1, 1, 1, 0])
    # Also the clean point counts, and the one behind the last step.
    np.testing.assert_array_equal(result.n_queries, [5, 2, 3, 4, 5, 5])
    np.testing.assert_allclose(
        result.X_adv[:, 0], [-0.1, -0.05, -0.05, -0.05, -0.05, 1.6], atol=1e-6
    )
    np.testing.assert_allclose(result.eps, [0.4, 0.1, 0.2, 0.3, 0.4, 0.4], atol=1e-6)
    # A batch shrinks once a fifth of it is done: 6, 6 - 1, ...
    sizes = [len(x) for x in module.asked]
    assert sizes[-1] == 6
    assert min(sizes[3:-1]) < 6


def test_targeted_attack_skips_misclassified_and_reached_targets():
    weight = np.eye(3)
    model = linear_net(weight, np.zeros(3))
    X = np.array([[1.0, 0, 0], [1.0, 0, 0], [0, 1.0, 0], [0, 0, 1.0]], dtype=np.float32)
    y = np.array([0, 1, 1, 2])
    attack = PGDAttack(targeted=True, eps=0.75, random_start=False, max_iter=5)
    result = aim(attack, model, X, y).perturb(X, y, target=2)
    np.testing.assert_array_equal(result.clean_prediction, [0, 0, 1, 2])
    np.testing.assert_array_equal(result.prediction, [2, 0, 2, 2])
    np.testing.assert_array_equal(result.success, [1, 0, 1, 0])
    np.testing.assert_array_equal(result.n_queries > 0, [1, 0, 1, 0])
    np.testing.assert_array_equal(result.X_adv[[1, 3]], X[[1, 3]])


def test_growing_epsilon_grid():
    def lengths(**params):
        return GrowingEpsilonAttack(**params)._grid()

    np.testing.assert_allclose(lengths(), 0.001 + 0.01 * np.arange(26))
    assert lengths()[-1] == pytest.approx(0.251)
    # A grid that ends at `stop` contains it, and one step beyond is not tried.
    np.testing.assert_allclose(lengths(start=0.1, step=0.1, stop=0.3), [0.1, 0.2, 0.3])
    np.testing.assert_allclose(lengths(start=0.1, step=0.1, stop=0.29), [0.1, 0.2])
    np.testing.assert_allclose(lengths(start=0.2, step=0.1, stop=0.2), [0.2])
    np.testing.assert_allclose(lengths(start=0, step=0.5, stop=1), [0, 0.5, 1])


def test_growing_epsilon_by_hand():
    _, model = recorded([1.0], 0.0)
    X = np.array([[0.05], [0.15], [0.25], [0.9], [-0.12]], dtype=np.float32)
    y = np.array([1, 1, 1, 1, 1])
    attack = GrowingEpsilonAttack(start=0.1, step=0.1, stop=0.4)
    both = np.vstack([X, X])
    result = aim(attack, model, both, [0, 1] * 5, clip=None).perturb(X, y)
    np.testing.assert_allclose(result.eps, [0.1, 0.2, 0.3, np.nan, 0])
    # The gradient is one question; then one for each length.
    np.testing.assert_array_equal(result.n_queries, [2, 3, 4, 5, 0])
    np.testing.assert_allclose(
        result.X_adv[:, 0], [-0.05, -0.05, -0.05, 0.5, -0.12], atol=1e-6
    )
    np.testing.assert_array_equal(result.success, [1, 1, 1, 0, 0])


def result_by_hand(**more):
    """Eight samples: what is right, what is fooled and what is led to its target."""
    table = {
        "y": [0, 0, 0, 0, 1, 1, 1, 1],
        "clean_prediction": [0, 0, 0, 1, 1, 1, 0, 1],
        "prediction": [1, 0, 2, 1, 1, 0, 1, 2],
        "confidence": [0.5, 0.1, 0.7, 0.2, 0.3, 0.9, 0.4, 0.8],
        "eps": [0.1, 0.5, 0.2, 0.6, np.nan, 0.3, 0.7, 0.4],
        "n_queries": [1, 2, 3, 4, 5, 6, 7, 8],
        "success": [1, 0, 1, 0, 0, 1, 0, 1],
        **more,
    }
    table = {name: np.array(values) for name, values in table.items()}
    table["success"] = table["success"].astype(bool)
    return AttackResult(X_adv=np.zeros((8, 1)), **table)


def test_measures_of_a_table_by_hand():
    report = measures(result_by_hand())
    expected = {
        "n_samples": 8,
        "n_correct": 6,
        "n_success": 4,
        "n_queries": 36,
        "clean_accuracy": 6 / 8,
        "robust_accuracy": 2 / 8,
        "error_rate": 4 / 6,
        "average_confidence": (0.5 + 0.7 + 0.9 + 0.8) / 4,
        "average_eps": (0.1 + 0.2 + 0.3 + 0.4) / 4,
    }
    assert report.to_dict() == expected
    assert {type(report[name]) for name in report.index[:4]} == {int}
    full = measures(
        result_by_hand(
            target=[1, 1, 1, 1, 2, 2, 2, 2],
            certified=np.array([0, 1, 0, 1, 1, 0, 0, 0], dtype=bool),
        )
    )
    more = ["target_rate", "certified_accuracy", "n_undecided"]
    assert list(full.index) == [*expected, *more]
    # Of the six that were right, the first and the last say the target.
    assert full["target_rate"] == 2 / 6
    # The certified one that was wrong anyway does not count.
    assert full["certified_accuracy"] == 2 / 8
    # Both of the two that stood are certified.
    assert full["n_undecided"] == 0
    none = measures(result_by_hand(certified=np.zeros(8, dtype=bool)))
    assert none["n_undecided"] == 2
    weights = np.array([0, 1, 0, 0, 2, 0, 1, 4])
    assert robust_accuracy(result_by_hand(), weights) == 3 / 8


def test_confidence_is_the_softmax_of_the_largest_logit():
    X, y = digits(40)
    result = aim(FGSMAttack(), torch_net(), X, y).perturb(X, y)
    logits = torch_net().module_(torch.from_numpy(result.X_adv)).double()
    np.testing.assert_allclose(
        result.confidence, logits.softmax(dim=1).max(dim=1).values.detach(), rtol=1e-6
    )


def test_rotate_loss_of_ten_classes_has_four_climbs():
    """The cross-entropy, and the margin towards three runners-up."""
    X, y = digits(30)
    attack = PGDAttack(loss="rotate", eps=1e-3, max_iter=3, random_state=0)
    for n_restarts in (1, 2):
        attack = aim(attack, torch_net(), X, y, n_restarts=n_restarts)
        result = attack.perturb(X, y)
        stood = ~result.success & (result.clean_prediction == y)
        assert stood.any()
        assert (result.n_queries[stood] == n_restarts * 4 * (3 + 1)).all()
    two = linear_net(np.array([[-1.0, 0], [1.0, 0]]), np.zeros(2))
    points = np.array([[0.4, 0], [-0.4, 0]], dtype=np.float32)
    result = aim(attack, two, points, [1, 0], n_restarts=1).perturb(points)
    # Of two classes there is one runner-up.
    assert (result.n_queries == 2 * 4).all()


@pytest.mark.parametrize(("n_classes", "n_starts"), [(2, 1), (4, 1), (5, 2), (10, 3)])
def test_starts_of_rotate_climb_towards_all_wrong_classes(n_classes, n_starts):
    X = torch.from_numpy(np.random.RandomState(0).normal(size=(20, n_classes)))
    y = torch.arange(20) % n_classes
    # The logits are the features.
    goals = list(goals_of(torch.nn.Identity(), X, y, None, "rotate", n_starts, None))
    assert [goal.loss for goal in goals if goal.aim is None] == ["ce"] * n_starts
    aims = torch.stack([goal.aim for goal in goals if goal.aim is not None])
    likeliest = X.scatter(1, y[:, None], -torch.inf).argsort(dim=1, descending=True)
    for i in range(20):
        n_first = min(3, n_classes - 1)
        assert aims[:n_first, i].tolist() == likeliest[i, :n_first].tolist()
        assert set(aims[:, i].tolist()) == set(range(n_classes)) - {int(y[i])}


@pytest.mark.parametrize("scale", [1, 100])
def test_keep_inside_leaves_points_on_l2_sphere(scale):
    """In float32 half of all points on the sphere are a little too far away."""
    rng = np.random.default_rng(0)
    center = (scale * rng.uniform(-1, 1, size=(200, 6))).astype(np.float32)
    move = rng.normal(size=center.shape)
    move *= 0.3 / np.linalg.norm(move, axis=1, keepdims=True)
    points = (center + move).astype(np.float32)
    outside = np.linalg.norm(points - center.astype(np.float64), axis=1) > 0.3
    assert 0.2 < outside.mean() < 0.8
    out = np.empty_like(points)
    length = keep_inside(points.copy(), center, 0.3, "l2", None, out)
    np.testing.assert_array_equal(out, points)
    assert length.max() == 0.3
    # One that rounding does not explain is brought back.
    far = (center + (1 + 1e-5 * scale) * move).astype(np.float32)
    keep_inside(far.copy(), center, 0.3, "l2", None, out)
    assert (out != far).any(axis=1).all()
    np.testing.assert_allclose(out, points, atol=scale * 1e-6)
    # To a ball of radius zero everything is far.
    near = np.nextafter(center, np.float32(2 * scale))
    keep_inside(near, center, 0.0, "l2", None, out)
    np.testing.assert_array_equal(out, center)
