"""The algorithms do what their formulas say, to samples of any shape."""

import inspect

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from robustkit.attacks import functional
from robustkit.attacks._attacked_model import FirstLook
from robustkit.attacks._geometry import make_ball
from robustkit.attacks._losses import (
    LOSSES,
    Goal,
    dlr_loss,
    input_gradient,
    margin_loss,
)
from tests.attacks.victims import (
    GRADIENT_ATTACKS,
    aim,
    digits,
    digits_module,
    torch_net,
)


def reference(name, z, label, wanted):
    """One row, in float64, as one would write it on paper."""
    log_p = z - z.max() - np.log(np.exp(z - z.max()).sum())
    if name == "ce":
        return -log_p[label] if wanted is None else log_p[wanted]
    if wanted is None:
        difference = np.delete(z, label).max() - z[label]
    elif name == "margin":
        difference = z[wanted] - np.delete(z, wanted).max()
    else:
        difference = z[wanted] - z[label]
    if name == "margin":
        return difference
    if len(z) < (3 if wanted is None else 4):
        return reference("margin", z, label, wanted)
    first, _, third, *rest = np.sort(z)[::-1]
    spread = first - third if wanted is None else first - (third + rest[0]) / 2
    return difference / max(spread, 1e-12)


@given(
    name=st.sampled_from(sorted(LOSSES)),
    n_classes=st.integers(2, 6),
    targeted=st.booleans(),
    seed=st.integers(0, 10_000),
)
def test_loss_equals_formula(name, n_classes, targeted, seed):
    rng = np.random.default_rng(seed)
    z = rng.normal(scale=3, size=(5, n_classes))
    labels = rng.integers(n_classes, size=5)
    wanted = (labels + 1) % n_classes if targeted else None
    loss = LOSSES[name](
        torch.from_numpy(z),
        torch.from_numpy(labels),
        None if wanted is None else torch.from_numpy(wanted),
    )
    expected = [
        reference(name, z[i], labels[i], None if wanted is None else wanted[i])
        for i in range(5)
    ]
    np.testing.assert_allclose(loss.numpy(), expected, rtol=1e-9, atol=1e-12)


@given(n_classes=st.integers(2, 6), seed=st.integers(0, 10_000))
def test_margin_loss_is_positive_exactly_where_goal_is_reached(n_classes, seed):
    rng = np.random.default_rng(seed)
    z = torch.from_numpy(rng.normal(size=(8, n_classes)))
    labels = torch.from_numpy(rng.integers(n_classes, size=8))
    answer = z.argmax(dim=1)
    assert torch.equal(margin_loss(z, labels) > 0, answer != labels)
    assert torch.equal(margin_loss(z, labels, labels) > 0, answer == labels)


def test_dlr_loss_is_scale_invariant():
    z = torch.tensor([[3.0, 1.0, -2.0, 0.5]])
    y = torch.tensor([0])
    torch.testing.assert_close(dlr_loss(z, y), dlr_loss(1000 * z, y))


@pytest.mark.parametrize("loss", LOSSES.values())
def test_every_loss_has_a_gradient_where_cross_entropy_has_none(loss):
    z = torch.tensor([[1e4, 0.0, -5.0]], requires_grad=True)
    y = torch.tensor([0])
    dead = nn.functional.cross_entropy(z, y)
    assert not torch.autograd.grad(dead, z)[0].any()
    (alive,) = torch.autograd.grad(loss(z, y).sum(), z)
    assert alive.any()


def test_dlr_loss_of_equal_logits_is_finite():
    z = torch.zeros(2, 4)
    assert torch.isfinite(dlr_loss(z, torch.tensor([0, 3]))).all()


def setting(n_samples=120):
    X, y = digits()
    x, labels = torch.from_numpy(X[:n_samples]), torch.from_numpy(y[:n_samples])
    module = digits_module()
    with torch.no_grad():
        right = module(x).argmax(dim=1) == labels
    return module, x[right], labels[right]


def trajectory(module, x, goal, ball, step_size, max_iter):
    """Every point of every sample, one sample at a time as far as decisions go."""
    points = [x.clone()]
    for _ in range(max_iter):
        at = points[-1].clone().requires_grad_(True)
        loss = LOSSES[goal.loss](module(at), goal.y, goal.aim)
        (gradient,) = torch.autograd.grad(loss.sum(), at)
        points.append(ball.step(points[-1].clone(), gradient, step_size))
    return points


def best_of(module, points, goal, i):
    """Index of the point that a climb should return for sample i, and its queries."""
    best, key = 0, None
    for k, x in enumerate(points):
        with torch.no_grad():
            margin, fooled, reached = goal.judge(module(x), x, None, None)
        if bool(reached[i]):
            return k, k + 1
        candidate = (bool(fooled[i]), float(margin[i]))
        if key is None or candidate > key:
            best, key = k, candidate
    return best, len(points)


@pytest.mark.parametrize("norm", ["linf", "l2"])
@pytest.mark.parametrize("loss", sorted(LOSSES))
@pytest.mark.parametrize("targeted", [False, True])
def test_pgd_finds_what_the_plain_loop_finds(norm, loss, targeted):
    module, x, labels = setting()
    wanted = (labels + 1) % 10 if targeted else None
    goal = Goal(labels, loss, wanted, must_hit=targeted)
    eps, trace = {"linf": 0.12, "l2": 0.9}[norm], functional.Trace()
    found = functional.pgd(
        module,
        x,
        labels,
        eps=eps,
        norm=norm,
        step_size=eps / 4,
        max_iter=8,
        random_start=False,
        loss=loss,
        clip=(0, 1),
        target=wanted,
        trace=trace,
    )
    points = trajectory(
        module, x, goal, make_ball(x, eps, (0, 1), norm), eps / 4, max_iter=8
    )
    with torch.no_grad():
        answer = module(found).argmax(dim=1)
    reached = answer == wanted if targeted else answer != labels
    assert 0 < reached.float().mean() < 1
    for i in range(len(x)):
        k, n_queries = best_of(module, points, goal, i)
        # Another batch rounds otherwise, and a sign may turn where a slope is zero.
        torch.testing.assert_close(found[i], points[k][i], atol=1e-4, rtol=0)
        assert trace.n_queries[i] == n_queries


def test_pgd_without_early_stopping_returns_the_last_point():
    module, x, labels = setting()
    end = functional.bim(
        module,
        x,
        labels,
        eps=0.1,
        step_size=0.03,
        max_iter=5,
        clip=(0, 1),
        early_stopping=False,
    )
    ball = make_ball(x, 0.1, (0, 1), "linf")
    expected = trajectory(module, x, Goal(labels), ball, 0.03, 5)[-1]
    torch.testing.assert_close(end, expected)


def test_first_look_saves_a_pass_and_changes_nothing():
    module, x, labels = setting(40)
    goal = Goal(labels)
    logits, gradient = input_gradient(module, x, goal)
    leaf = x.clone().requires_grad_(True)
    look = FirstLook(leaf, module(leaf))
    again = input_gradient(None, x, goal, look)
    assert torch.equal(again[0], logits)
    assert torch.equal(again[1], gradient)
    rows = torch.tensor([3, 7, 11])
    leaf = x.clone().requires_grad_(True)
    part = FirstLook(leaf, module(leaf)).take(rows.numpy())
    torch.testing.assert_close(
        input_gradient(None, x[rows], goal.take(rows), part)[1], gradient[rows]
    )


def test_input_gradient_inside_no_grad():
    module, x, labels = setting(40)
    with torch.no_grad():
        _, inside = input_gradient(module, x, Goal(labels))
    _, outside = input_gradient(module, x, Goal(labels))
    assert torch.equal(inside, outside)


class Rooted(torch.nn.Module):
    """A model whose gradient is not a number where its first input is zero."""

    def forward(self, x):
        return torch.stack([x[:, 0].sqrt() * 0 + x[:, 1], 1 - x[:, 1]], dim=1)


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_pgd_survives_a_gradient_of_nan(norm):
    x = torch.tensor([[0.0, 0.8], [0.5, 0.6]])
    y = torch.zeros(2, dtype=torch.int64)
    points = functional.pgd(
        Rooted(),
        x,
        y,
        eps=0.2,
        norm=norm,
        step_size=0.1,
        max_iter=3,
        random_start=False,
        loss="margin",
        clip=(0, 1),
    )
    assert torch.isfinite(points).all()
    assert bool(Rooted()(points).argmax(dim=1)[1] == 1)


# Every public search, as somebody with a batch would call it.
SEARCHES = {
    "fgsm": lambda *batch, **more: functional.fgsm(*batch, eps=0.1, **more),
    "bim": lambda *batch, **more: functional.bim(*batch, eps=0.1, max_iter=4, **more),
    "pgd": lambda *batch, **more: functional.pgd(*batch, eps=0.1, max_iter=4, **more),
    "pgd-l2": lambda *batch, **more: functional.pgd(
        *batch, eps=1.0, norm="l2", max_iter=3, loss="rotate", **more
    ),
    "least_likely": lambda *batch, **more: functional.least_likely(
        *batch, eps=0.1, max_iter=4, **more
    ),
    "grow_epsilon": lambda *batch, **more: functional.grow_epsilon(
        *batch, step=0.05, **more
    ),
}


@pytest.mark.parametrize("name", SEARCHES)
def test_images_are_attacked_as_flat_samples_are(name):
    module, x, labels = setting(60)
    flat = SEARCHES[name](module, x, labels, clip=(0, 1))
    images = nn.Sequential(nn.Flatten(), module)
    found = SEARCHES[name](images, x.view(-1, 1, 8, 8), labels, clip=(0, 1))
    torch.testing.assert_close(found.flatten(1), flat)
    assert found.min() >= 0
    assert found.max() <= 1
    with torch.no_grad():
        assert (module(flat).argmax(dim=1) != labels).any()


class Overwrites(nn.Module):
    """In training mode, and writes to its input."""

    def __init__(self):
        super().__init__()
        self.module = nn.Sequential(nn.Dropout(), digits_module()).train()

    def forward(self, x):
        x *= 2
        return self.module(x)


@pytest.mark.parametrize("name", SEARCHES)
@pytest.mark.parametrize(
    "mode", [torch.no_grad, torch.inference_mode, torch.enable_grad]
)
def test_search_leaves_samples_module_and_gradient_mode_alone(name, mode):
    _, x, labels = setting(40)
    module, before = Overwrites(), x.clone()
    expected = SEARCHES[name](module, x, labels)
    x.requires_grad_(True)
    with mode():
        was_enabled = torch.is_grad_enabled()
        found = SEARCHES[name](module, x, labels)
        assert torch.is_grad_enabled() == was_enabled
        # What was made in inference mode can be attacked too.
        again = SEARCHES[name](module, x.detach() * 1, labels)
    assert torch.equal(found, expected)
    assert torch.equal(again, expected)
    assert not found.requires_grad
    assert x.requires_grad
    assert x.grad is None
    assert torch.equal(x.detach(), before)
    assert module.training
    assert module.module.training
    assert module.module[0].training
    assert not list(module._forward_pre_hooks)
    assert all(weight.grad is None for weight in module.parameters())


@pytest.mark.parametrize("name", ["FGSM", "BIM", "LeastLikely", "PGD", "growing"])
def test_estimator_returns_what_its_function_returns(name):
    X, y = digits(60)
    attack = aim(GRADIENT_ATTACKS[name], torch_net(), X, y)
    result = attack.perturb(X, y)
    right = result.clean_prediction == y
    x, labels = torch.from_numpy(X[right]), torch.from_numpy(y[right])
    names = {"FGSM": "fgsm", "BIM": "bim", "LeastLikely": "least_likely"}
    names |= {"PGD": "pgd", "growing": "grow_epsilon"}
    params = {"clip": (0, 1), "trace": functional.Trace()}
    if name == "growing":
        params["step"] = attack.step
    else:
        params["eps"] = attack.eps
    if name == "PGD":
        params["seed"] = attack._plan().seed
    if name in ("BIM", "LeastLikely", "PGD"):
        params["max_iter"] = attack.max_iter
    found = getattr(functional, names[name])(digits_module(), x, labels, **params)
    np.testing.assert_allclose(found.numpy(), result.X_adv[right], atol=1e-6)
    np.testing.assert_array_equal(
        params["trace"].n_queries.numpy(), result.n_queries[right]
    )


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_pgd_with_eps_per_sample_equals_one_call_per_eps(norm):
    module, x, labels = setting(40)
    params = {"norm": norm, "max_iter": 5, "n_restarts": 2, "clip": (0, 1)}
    eps = torch.linspace(0, {"linf": 0.2, "l2": 1.5}[norm], 4).repeat(len(x))[: len(x)]
    found = functional.pgd(module, x, labels, eps=eps, **params)
    for size in eps.unique():
        rows = eps == size
        alone = functional.pgd(module, x[rows], labels[rows], eps=size, **params)
        torch.testing.assert_close(found[rows], alone, atol=1e-4, rtol=0)


def test_pixels_with_eps_zero_stay_as_they_are():
    module, x, labels = setting(40)
    images = nn.Sequential(nn.Flatten(), module)
    eps = torch.full((1, 8, 8), 0.3)
    eps[:, :4] = 0
    for search in (functional.fgsm, functional.bim, functional.pgd):
        found = search(images, x.view(-1, 1, 8, 8), labels, eps=eps, clip=(0, 1))
        moved = (found - x.view(-1, 1, 8, 8)).abs().amax(dim=(0, 1))
        assert not moved[:4].any()
        assert 0 < moved[4:].max() <= 0.3 + 1e-6


def test_target_may_be_one_class_for_all():
    module, x, labels = setting(40)
    x, labels = x[labels != 3], labels[labels != 3]
    found = functional.pgd(module, x, labels, eps=0.4, target=3, clip=(0, 1))
    with torch.no_grad():
        assert (module(found).argmax(dim=1) == 3).float().mean() > 0.5
    all_threes = torch.full_like(labels, 3)
    again = functional.pgd(module, x, labels, eps=0.4, target=all_threes, clip=(0, 1))
    assert torch.equal(found, again)


def test_least_likely_goes_towards_the_smallest_logit():
    module, x, labels = setting(20)
    with torch.no_grad():
        smallest = module(x).argmin(dim=1)
    found = functional.least_likely(module, x, labels, eps=0.2)
    expected = functional.bim(module, x, labels, eps=0.2, target=smallest)
    assert torch.equal(found, expected)


@pytest.mark.parametrize("name", ["BIM", "LeastLikely", "PGD", "growing"])
def test_function_and_estimator_have_the_same_defaults(name):
    names = {"BIM": "bim", "LeastLikely": "least_likely", "PGD": "pgd"}
    function = getattr(functional, names.get(name, "grow_epsilon"))
    own = GRADIENT_ATTACKS[name].__class__().get_params()
    given = inspect.signature(function).parameters
    # The range of the data is known to an estimator, and a step may depend on eps.
    shared = {
        key
        for key in set(given) & set(own) - {"clip"}
        if given[key].default is not inspect.Parameter.empty
    }
    assert len(shared) > 1
    assert {key: given[key].default for key in shared} == {k: own[k] for k in shared}


def test_masked_search_with_growing_eps_finds_the_same():
    """On a GPU samples that are done are masked; every batch that is left is."""
    module, x, labels = setting(60)
    for stop in (0.03, 0.5):
        grid = {"start": 0.01, "step": 0.02, "stop": stop}
        trace = functional.Trace()
        expected = functional.grow_epsilon(
            module, x, labels, **grid, clip=(0, 1), trace=trace
        )
        lengths = functional.epsilon_grid(**grid)
        goal = Goal(labels, "ce")
        _, direction = input_gradient(module, x, goal)
        points, n_queries, eps = functional._grow_masked(
            module, x, goal, direction.sign(), lengths, (0, 1)
        )
        assert torch.equal(points, expected)
        assert torch.equal(n_queries, trace.n_queries)
        torch.testing.assert_close(eps, trace.eps, equal_nan=True)
    assert len(n_queries.unique()) > 2


def test_epsilon_grid_ends_at_stop():
    np.testing.assert_allclose(
        functional.epsilon_grid(0.001, 0.01, 0.26), 0.001 + 0.01 * np.arange(26)
    )
    with pytest.raises(ValueError, match="'start' must be at most 'stop'"):
        functional.grow_epsilon(None, None, None, start=2, stop=1)


def test_wrong_number_of_classes_is_refused():
    module, x, labels = setting(20)
    with pytest.raises(ValueError, match="'y' must have one class per sample"):
        functional.fgsm(module, x, labels[:3], eps=0.1)
    with pytest.raises(ValueError, match="'target' must have one class per sample"):
        functional.pgd(module, x, labels, eps=0.1, target=labels[:2])


def test_empty_batch_is_an_empty_result():
    module, x, labels = setting(20)
    for name, search in SEARCHES.items():
        found = search(module, x[:0], labels[:0])
        assert found.shape == (0, 64), name
