"""Each gradient attack does what its definition says."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from robustkit.attacks import (
    BIMAttack,
    FGSMAttack,
    GrowingEpsilonAttack,
    LeastLikelyAttack,
    PGDAttack,
)
from tests.attacks.victims import (
    aim,
    digits,
    digits_module,
    digits_pipeline,
    linear_net,
    torch_net,
)


def two_sides(seed, n_samples=8, n_features=6):
    """A linear model of two classes, and points that it gets right."""
    rng = np.random.default_rng(seed)
    w, b = rng.normal(size=n_features), rng.normal()
    X = rng.normal(size=(n_samples, n_features))
    model = linear_net([-w / 2, w / 2], [-b / 2, b / 2])
    # The logit margin of the second class is w @ x + b.
    margin = X.astype(np.float32).astype(np.float64) @ w + b
    return model, X.astype(np.float32), (margin > 0).astype(int), margin, w


@given(
    seed=st.integers(0, 10_000),
    norm=st.sampled_from(["linf", "l2"]),
    loss=st.sampled_from(["ce", "margin", "dlr", "rotate"]),
    share=st.sampled_from([0.3, 0.98, 1.02, 3.0]),
)
def test_linear_model_falls_at_its_margin_and_not_before(seed, norm, loss, share):
    """The best move is eps * sign(w), or eps * w / ||w||: margin eps * ||w||_dual."""
    model, X, y, margin, w = two_sides(seed)
    dual = np.abs(w).sum() if norm == "linf" else np.linalg.norm(w)
    distance = np.abs(margin) / dual
    for i in range(3):
        eps = share * distance[i]
        attack = PGDAttack(
            norm=norm,
            eps=eps,
            loss=loss,
            clip=None,
            max_iter=20,
            # On the sphere a random start nears the best point only in the limit.
            random_start=norm == "linf",
            random_state=0,
        )
        result = aim(attack, model, X, y).perturb(X[i : i + 1], y[i : i + 1])
        assert result.success[0] == (share > 1)
        if share < 1:
            left = result.X_adv[0].astype(np.float64) @ w + (margin - X @ w)[i]
            best = np.abs(margin[i]) - eps * dual
            assert np.abs(left) == pytest.approx(best, abs=2e-3 * np.abs(margin[i]))


@given(seed=st.integers(0, 10_000))
def test_fgsm_is_optimal_on_a_linear_model(seed):
    model, X, y, margin, w = two_sides(seed)
    result = aim(FGSMAttack(eps=0.2, clip=None), model, X, y).perturb(X, y)
    side = np.where(y == 1, -1, 1)[:, None]
    np.testing.assert_allclose(result.X_adv, X + 0.2 * side * np.sign(w), atol=1e-6)
    np.testing.assert_array_equal(
        result.success, np.abs(margin) < 0.2 * np.abs(w).sum()
    )


@given(seed=st.integers(0, 10_000))
def test_growing_eps_of_a_linear_model_is_margin_over_dual_norm(seed):
    model, X, y, margin, w = two_sides(seed)
    attack = GrowingEpsilonAttack(start=0, step=1e-3, stop=5, clip=None)
    result = aim(attack, model, X, y).perturb(X, y)
    distance = np.abs(margin) / np.abs(w).sum()
    assert result.success.all()
    # The first point of the grid that is not before the boundary.
    assert (result.eps >= distance - 1e-5).all()
    assert (result.eps <= distance + 1e-3 + 1e-5).all()


@pytest.mark.parametrize("model", [torch_net, digits_pipeline])
def test_growing_eps_agrees_with_fgsm_at_each_eps(model):
    X, y = digits(150)
    attack = GrowingEpsilonAttack(start=0.01, step=0.03, stop=0.09)
    result = aim(attack, model(), X, y).perturb(X, y)
    grid = 0.01 + 0.03 * np.arange(3)
    expected = np.full(len(X), np.nan)
    for eps in grid[::-1]:
        fgsm = aim(FGSMAttack(eps=eps), model(), X, y).perturb(X, y)
        expected[fgsm.success] = eps
        found = result.eps == eps
        np.testing.assert_allclose(result.X_adv[found], fgsm.X_adv[found], atol=1e-7)
    expected[result.clean_prediction != y] = 0
    assert np.isnan(expected).any()
    np.testing.assert_array_equal(result.eps, expected)
    never = np.isnan(expected)
    last = aim(FGSMAttack(eps=grid[-1]), model(), X, y).perturb(X, y)
    np.testing.assert_allclose(result.X_adv[never], last.X_adv[never], atol=1e-7)
    # One gradient, then one question an eps.
    tried = np.searchsorted(grid, result.eps[result.success]) + 1
    np.testing.assert_array_equal(result.n_queries[result.success], 1 + tried)


def test_growing_eps_does_not_bisect():
    """A model that errs only inside a thin slice, where a bisection would pass it."""

    class Slice(torch.nn.Module):
        def forward(self, x):
            inside = 0.1 - (x[:, 0] - 0.25).abs()
            return torch.stack([x[:, 0] * 0.01, 50 * inside], dim=1)

    from robustkit.classifiers import TorchClassifier

    model = TorchClassifier.from_module(Slice(), classes=[0, 1])
    X = np.array([[0.0]], dtype=np.float32)
    attack = GrowingEpsilonAttack(start=0.05, step=0.05, stop=1.0)
    result = aim(attack, model, X.repeat(2, 0), np.array([0, 1])).perturb(X, [0])
    assert 0.15 <= result.eps[0] <= 0.35


def test_fgsm_step_is_sign_of_gradient():
    X, y = digits(80)
    attack = aim(FGSMAttack(eps=0.07), torch_net(), X, y)
    x = torch.from_numpy(X).requires_grad_(True)
    loss = torch.nn.functional.cross_entropy(
        digits_module()(x), torch.from_numpy(y), reduction="sum"
    )
    (gradient,) = torch.autograd.grad(loss, x)
    expected = np.clip(X + np.float32(0.07) * gradient.sign().numpy(), 0, 1)
    result = attack.perturb(X, y)
    right = result.clean_prediction == y
    np.testing.assert_allclose(result.X_adv[right], expected[right], atol=1e-7)


@pytest.mark.parametrize("loss", ["ce", "margin", "dlr", "rotate"])
@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_larger_budget_is_never_worse(norm, loss):
    X, y = digits(150)
    eps = {"linf": 0.06, "l2": 0.5}[norm]

    def score(**params):
        params = {"step_size": eps / 4, "max_iter": 4, **params}
        attack = PGDAttack(norm=norm, eps=eps, loss=loss, random_state=0, **params)
        return aim(attack, torch_net(), X, y).score(X, y)

    steps = [score(max_iter=k) for k in (1, 2, 4, 8)]
    restarts = [score(n_restarts=k, max_iter=2) for k in (1, 2, 4)]
    assert steps == sorted(steps, reverse=True)
    assert restarts == sorted(restarts, reverse=True)
    assert steps[-1] < steps[0]


def test_rotating_losses_is_at_least_as_strong_as_cross_entropy():
    X, y = digits(200)
    params = {"eps": 0.05, "max_iter": 6, "random_state": 0}
    plain = aim(PGDAttack(**params), torch_net(), X, y).score(X, y)
    rotate = aim(PGDAttack(loss="rotate", **params), torch_net(), X, y).score(X, y)
    assert rotate <= plain


def test_pgd_returns_best_point_not_the_last():
    X, y = digits(100)
    # With such steps the climb jumps to and fro between the corners of the ball.
    attack = PGDAttack(eps=0.02, step_size=1.0, max_iter=9, random_start=False)
    result = aim(attack, torch_net(), X, y).perturb(X, y)
    margins = []
    for k in range(1, 10):
        part = aim(attack, torch_net(), X, y, max_iter=k).perturb(X, y)
        with torch.no_grad():
            z = digits_module()(torch.from_numpy(part.X_adv)).double().numpy()
        true = z[np.arange(len(y)), y]
        z[np.arange(len(y)), y] = -np.inf
        margins.append(true - z.max(axis=1))
    kept = ~result.success & (result.clean_prediction == y)
    assert kept.any()
    np.testing.assert_allclose(
        margins[-1][kept], np.min(margins, axis=0)[kept], atol=1e-5
    )


def test_pgd_default_step_sizes_follow_a_cosine():
    """Far from the ball's edge the points themselves show the steps."""
    X, y = digits(60)
    params = {"eps": 0.1, "max_iter": 4, "random_start": False, "norm": "l2"}
    expected = [0.1 * (1 + np.cos(np.pi * k / 4)) for k in range(4)]
    assert expected[0] == pytest.approx(0.2)
    x, labels = torch.from_numpy(X), torch.from_numpy(y)
    one = PGDAttack(**params).perturb_module(digits_module(), x, labels)
    points = x
    for length in expected:
        at = points.clone().requires_grad_(True)
        loss = torch.nn.functional.cross_entropy(
            digits_module()(at), labels, reduction="sum"
        )
        (gradient,) = torch.autograd.grad(loss, at)
        points = points + length * gradient / gradient.norm(dim=1, keepdim=True)
        move = points - x
        points = x + move * (0.1 / move.norm(dim=1, keepdim=True)).clamp(max=1)
        points = points.clamp(0, 1)
    torch.testing.assert_close(one, points, atol=1e-5, rtol=0)


def test_random_state_decides_random_start():
    X, y = digits(60)

    def attack(seed):
        pgd = PGDAttack(eps=0.01, max_iter=1, random_state=seed)
        return aim(pgd, torch_net(), X, y).perturb(X, y).X_adv

    np.testing.assert_array_equal(attack(0), attack(0))
    assert (attack(0) != attack(1)).any()
    shared = np.random.RandomState(0)
    assert (attack(shared) != attack(shared)).any()


def test_bim_is_pgd_without_random_start():
    X, y = digits(60)
    pgd = PGDAttack(eps=0.1, max_iter=6, random_start=False)
    bim = BIMAttack(eps=0.1, max_iter=6)
    np.testing.assert_array_equal(
        aim(bim, torch_net(), X, y).perturb(X, y).X_adv,
        aim(pgd, torch_net(), X, y).perturb(X, y).X_adv,
    )


@pytest.mark.parametrize("loss", ["ce", "margin", "dlr", "rotate"])
def test_targeted_attack_leads_to_the_target(loss):
    X, y = digits(120)
    attack = PGDAttack(eps=0.4, targeted=True, loss=loss, max_iter=10, random_state=0)
    attack = aim(attack, torch_net(), X, y)
    result = attack.perturb(X, y, target=3)
    already = (y == 3) & (result.clean_prediction == 3)
    assert not result.success[already].any()
    np.testing.assert_array_equal(result.X_adv[already], X[already])
    assert result.success[(y != 3) & (result.clean_prediction == y)].mean() > 0.9
    assert (result.prediction[result.success] == 3).all()
    report = attack.report(X, y, target=3, diagnostics=False)
    right = result.clean_prediction == y
    assert report["target_rate"] == (result.prediction == 3)[right].mean()
    each = (y + 1) % 10
    np.testing.assert_array_equal(attack.perturb(X, y, target=each).target, each)


def test_targeted_attack_needs_a_target_that_exists():
    X, y = digits(20)
    attack = aim(PGDAttack(targeted=True, random_state=0), torch_net(), X, y)
    with pytest.raises(ValueError, match=r"needs the 'target'.*Got None"):
        attack.perturb(X, y)
    with pytest.raises(ValueError, match=r"'target' must hold classes.*Got 12"):
        attack.perturb(X, y, target=12)
    with pytest.raises(ValueError, match="Got 2 labels for 20 samples"):
        attack.perturb(X, y, target=[1, 2])


def test_least_likely_class_is_wanted_and_the_true_one_never():
    X, y = digits(100)
    result = aim(LeastLikelyAttack(eps=0.4), torch_net(), X, y).perturb(X, y)
    with torch.no_grad():
        logits = digits_module()(torch.from_numpy(X)).numpy()
    logits[np.arange(len(y)), y] = np.inf
    np.testing.assert_array_equal(result.target, logits.argmin(axis=1))
    right = result.clean_prediction == y
    np.testing.assert_array_equal(result.success, right & (result.prediction != y))
    hit = result.prediction == result.target
    assert hit[right].mean() > 0.5


def test_two_classes_and_every_loss():
    model, X, y, margin, w = two_sides(3, n_samples=40)
    for loss in ("ce", "margin", "dlr", "rotate"):
        attack = PGDAttack(eps=0.3, clip=None, loss=loss, random_state=0)
        result = aim(attack, model, X, y).perturb(X, y)
        sure = np.abs(np.abs(margin) / np.abs(w).sum() - 0.3) > 1e-3
        fallen = np.abs(margin) < 0.3 * np.abs(w).sum()
        np.testing.assert_array_equal(result.success[sure], fallen[sure])


def test_start_above_stop_is_refused():
    X, y = digits(20)
    attack = aim(GrowingEpsilonAttack(start=0.5), torch_net(), X, y)
    with pytest.raises(
        ValueError, match=r"'start' parameter .* must be at most 'stop'"
    ):
        attack.perturb(X, y)
