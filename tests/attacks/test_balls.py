"""Whatever an attack does, its points stay in the ball and in the clip range."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from robustkit.attacks._balls import keep_inside, make_ball, sign_step

NORMS = {"linf": np.inf, "l2": 2}


def length_of(move, norm):
    return np.linalg.norm(move.astype(np.float64), ord=NORMS[norm], axis=1)


@given(
    norm=st.sampled_from(sorted(NORMS)),
    radius=st.sampled_from([0.0, 1e-6, 0.03, 0.5, 10.0]),
    clip=st.sampled_from([None, (0.0, 1.0), (-3.0, 3.0)]),
    dtype=st.sampled_from([np.float32, np.float64]),
    shape=st.tuples(st.integers(1, 4), st.integers(1, 9)),
    seed=st.integers(0, 10_000),
)
def test_keep_inside_brings_anything_back(norm, radius, clip, dtype, shape, seed):
    rng = np.random.default_rng(seed)
    low, high = clip or (-3.0, 3.0)
    center = rng.uniform(low, high, size=shape).astype(dtype)
    points = (center + rng.normal(scale=2 * radius + 0.1, size=shape)).astype(dtype)
    wild, out = points.copy(), np.empty_like(points)
    length = keep_inside(points, center, radius, norm, clip, out)
    slack = 4 * np.finfo(dtype).eps * 3 * np.sqrt(shape[1])
    assert (length_of(out - center, norm) <= radius + slack).all()
    np.testing.assert_allclose(
        length, length_of(out - center, norm), atol=slack, rtol=1e-5
    )
    if clip is not None:
        assert out.min() >= dtype(low)
        assert out.max() <= dtype(high)
    if radius == 0:
        np.testing.assert_array_equal(out, center)
    # What was inside stays where it was.
    clipped = wild if clip is None else np.clip(wild, low, high)
    inside = length_of(clipped - center, norm) <= radius * (1 - 1e-6)
    np.testing.assert_array_equal(out[inside], clipped[inside])


@given(
    norm=st.sampled_from(sorted(NORMS)),
    clip=st.sampled_from([None, (0.0, 1.0)]),
    size=st.sampled_from([1e-3, 0.1, 5.0]),
    scale=st.sampled_from([1e-30, 1e-6, 1.0, 1e20]),
    seed=st.integers(0, 10_000),
)
def test_a_step_goes_uphill_and_stays_inside(norm, clip, size, scale, seed):
    rng = np.random.default_rng(seed)
    center = torch.from_numpy(rng.uniform(0.2, 0.8, size=(3, 2, 3))).float()
    gradient = scale * torch.from_numpy(rng.normal(size=(3, 2, 3))).float()
    ball = make_ball(center, 0.1, clip, norm)
    points = ball.step(center.clone(), gradient.clone(), size)
    move = (points - center).flatten(1)
    assert (length_of(move.numpy(), norm) <= 0.1 + 1e-6).all()
    assert ((move * gradient.flatten(1).sign()).sum(dim=1) > 0).all()
    assert (length_of(move.numpy(), norm) >= min(size, 0.1) * 0.999 - 1e-6).all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
@pytest.mark.parametrize("turned", [False, True])
def test_step_along_the_sign_wherever_the_numbers_lie(dtype, turned):
    points = torch.arange(6.0).view(2, 3).to(dtype)
    gradient = torch.tensor([[1e-30, -2.0, 0.0], [torch.nan, torch.inf, -0.0]]).to(
        dtype
    )
    expected = points + 0.5 * torch.tensor([[1, -1, 0], [0, 1, 0]], dtype=dtype)
    if turned:
        # The same numbers, but not one after the other in memory.
        points, gradient = (part.t().contiguous().t() for part in (points, gradient))
    moved = sign_step(points, gradient, 0.5)
    assert moved is gradient
    assert torch.equal(moved, expected)
    assert torch.equal(points, torch.arange(6.0).view(2, 3).to(dtype))


@pytest.mark.parametrize("norm", NORMS)
def test_a_gradient_of_zero_moves_nothing(norm):
    center = torch.full((2, 3), 0.5)
    gradient = torch.tensor([[0.0, 0.0, 0.0], [0.0, 1e-40, 0.0]])
    points = make_ball(center, 0.1, None, norm).step(center.clone(), gradient, 0.1)
    assert torch.equal(points[0], center[0])
    assert torch.isfinite(points).all()


@pytest.mark.parametrize("norm", NORMS)
def test_take_keeps_the_balls_of_some_samples(norm):
    center = torch.arange(12.0).view(4, 3)
    ball = make_ball(center, 0.5, None, norm)
    ball.take(torch.tensor([3, 1]))
    points = ball.project_(torch.full((2, 3), 100.0))
    expected = make_ball(center[[3, 1]], 0.5, None, norm).project_(
        torch.full((2, 3), 100.0)
    )
    assert torch.equal(points, expected)
