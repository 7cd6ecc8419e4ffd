"""A climb finds what a plain loop over all steps would find."""

import pytest
import torch

from robustkit.attacks._balls import make_ball
from robustkit.attacks._descent import (
    FirstLook,
    Goal,
    climb,
    climb_to_the_end,
    input_gradient,
)
from robustkit.attacks._losses import LOSSES
from tests.attacks.victims import digits, digits_module


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
        loss = LOSSES[goal.loss](module(at), goal.labels, goal.wanted)
        (gradient,) = torch.autograd.grad(loss.sum(), at)
        points.append(ball.step(points[-1].clone(), gradient, step_size))
    return points


def best_of(module, points, goal, i):
    """Index of the point that a climb should return for sample i, and its queries."""
    best, key = 0, None
    for k, x in enumerate(points):
        with torch.no_grad():
            margin, fooled, reached = goal.judge(module(x), x, None)
        if bool(reached[i]):
            return k, k + 1
        candidate = (bool(fooled[i]), float(margin[i]))
        if key is None or candidate > key:
            best, key = k, candidate
    return best, len(points)


@pytest.mark.parametrize("norm", ["linf", "l2"])
@pytest.mark.parametrize("loss", sorted(LOSSES))
@pytest.mark.parametrize("targeted", [False, True])
def test_finds_what_the_plain_loop_finds(norm, loss, targeted):
    module, x, labels = setting()
    wanted = (labels + 1) % 10 if targeted else None
    goal = Goal(labels, loss, wanted, must_hit=targeted)
    eps = {"linf": 0.12, "l2": 0.9}[norm]
    found = climb(
        module,
        x.clone(),
        goal,
        make_ball(x, eps, (0, 1), norm),
        [eps / 4] * 8,
    )
    points = trajectory(
        module, x, goal, make_ball(x, eps, (0, 1), norm), eps / 4, max_iter=8
    )
    assert 0 < found.reached.float().mean() < 1
    for i in range(len(x)):
        k, n_queries = best_of(module, points, goal, i)
        # Another batch rounds otherwise, and a sign may turn where a slope is zero.
        torch.testing.assert_close(found.points[i], points[k][i], atol=1e-4, rtol=0)
        assert found.n_queries[i] == n_queries


def test_end_of_the_climb_is_the_last_point():
    module, x, labels = setting()
    goal = Goal(labels)
    ball = make_ball(x, 0.1, (0, 1), "linf")
    end = climb_to_the_end(module, x.clone(), goal, ball, [0.03] * 5)
    expected = trajectory(module, x, goal, ball, 0.03, 5)[-1]
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


def test_works_where_the_caller_wants_no_gradient():
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
def test_gradient_that_is_not_a_number_spoils_nothing(norm):
    x = torch.tensor([[0.0, 0.8], [0.5, 0.6]])
    goal = Goal(torch.zeros(2, dtype=torch.int64), "margin")
    found = climb(
        Rooted(),
        x.clone(),
        goal,
        make_ball(x, 0.2, (0, 1), norm),
        [0.1] * 3,
    )
    assert torch.isfinite(found.points).all()
    assert bool(found.reached[1])
