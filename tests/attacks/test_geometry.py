"""Points stay in balls and clip ranges; random starts depend on the sample alone."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from scipy import stats

from robustkit.attacks._geometry import (
    all_between,
    clip_and_measure,
    keep_inside,
    make_ball,
    radius_like,
    random_point,
    sample_keys,
    sign_step,
    step_along_sign,
    uniform_noise,
)

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
def test_keep_inside_projects_to_ball_and_clip_range(
    norm, radius, clip, dtype, shape, seed
):
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
def test_step_goes_uphill_and_stays_in_ball(norm, clip, size, scale, seed):
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
def test_step_along_zero_gradient_moves_nothing(norm):
    center = torch.full((2, 3), 0.5)
    gradient = torch.tensor([[0.0, 0.0, 0.0], [0.0, 1e-40, 0.0]])
    points = make_ball(center, 0.1, None, norm).step(center.clone(), gradient, 0.1)
    assert torch.equal(points[0], center[0])
    assert torch.isfinite(points).all()


@pytest.mark.parametrize("norm", NORMS)
def test_ball_take_keeps_some_samples(norm):
    center = torch.arange(12.0).view(4, 3)
    ball = make_ball(center, 0.5, None, norm)
    ball.take(torch.tensor([3, 1]))
    points = ball.project_(torch.full((2, 3), 100.0))
    expected = make_ball(center[[3, 1]], 0.5, None, norm).project_(
        torch.full((2, 3), 100.0)
    )
    assert torch.equal(points, expected)


DTYPES = st.sampled_from([np.float32, np.float64])
SHAPES = array_shapes(min_dims=2, max_dims=2, min_side=0, max_side=40)


def numbers(dtype, shape, *, wild=False):
    width = np.finfo(dtype).bits
    limits = {} if wild else {"min_value": -8, "max_value": 8}
    return arrays(
        dtype, shape, elements=st.floats(width=width, allow_nan=wild, **limits)
    )


def both(kernel):
    """Compiled, and as python."""
    return pytest.mark.parametrize(
        "kernel", [kernel, kernel.py_func], ids=["compiled", "python"]
    )


@both(all_between)
@given(data=st.data(), dtype=DTYPES, shape=SHAPES)
def test_all_between_equals_numpy(kernel, data, dtype, shape):
    values = data.draw(numbers(dtype, shape, wild=True))
    expected = bool(((values >= -1) & (values <= 2)).all())
    assert kernel(values, dtype(-1), dtype(2)) == expected
    most = np.finfo(dtype).max
    assert kernel(values, -most, most) == bool(np.isfinite(values).all())
    inside = np.clip(np.nan_to_num(values), -1, 2)
    assert kernel(inside, dtype(-1), dtype(2))


@both(clip_and_measure)
@given(
    data=st.data(),
    dtype=DTYPES,
    shape=SHAPES,
    clip=st.sampled_from([(0.0, 1.0), (0.1, 0.3), (-np.inf, np.inf)]),
    radius=st.sampled_from([0.0, 0.1, 3.0, np.inf]),
)
def test_clip_and_measure_equals_numpy(kernel, data, dtype, shape, clip, radius):
    points = data.draw(numbers(dtype, shape))
    center = data.draw(numbers(dtype, shape))
    given_points, out = points.copy(), np.empty_like(points)
    low, high = map(dtype, clip)
    center, radius = np.clip(center, low, high), dtype(radius)
    largest = kernel(points, center, radius, low, high, out)
    np.testing.assert_array_equal(points, given_points)
    least = np.maximum(center - radius, low)
    most = np.minimum(center + radius, high)
    np.testing.assert_array_equal(out, np.clip(points, least, most))
    expected = np.abs(out - center).max(axis=1, initial=0)
    assert largest.dtype == np.float64
    np.testing.assert_array_equal(largest, expected)


@both(step_along_sign)
@given(data=st.data(), dtype=DTYPES, n=st.integers(0, 40), size=st.floats(0, 3))
def test_step_along_sign_equals_numpy(kernel, data, dtype, n, size):
    points = data.draw(numbers(dtype, n))
    gradient = data.draw(numbers(dtype, n, wild=True))
    expected = points + dtype(size) * np.nan_to_num(np.sign(gradient))
    kernel(points, gradient, dtype(size))
    assert gradient.dtype == dtype
    np.testing.assert_array_equal(gradient, expected)


def samples(n_samples=50, n_features=7, seed=0):
    rng = np.random.default_rng(seed)
    return torch.from_numpy(rng.random((n_samples, n_features))).float()


@given(
    norm=st.sampled_from(["linf", "l2"]),
    order=st.permutations(range(12)),
    n_kept=st.integers(1, 12),
    seed=st.integers(0, 2**31 - 2),
)
def test_random_start_is_independent_of_order_and_batch(norm, order, n_kept, seed):
    x = samples(12)
    start = random_point(x, 0.1, norm, seed, stream=1)
    rows = torch.tensor(order[:n_kept])
    assert torch.equal(random_point(x[rows], 0.1, norm, seed, stream=1), start[rows])


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_seed_and_stream_change_random_start(norm):
    x = samples()
    starts = [
        random_point(x, 0.1, norm, seed, stream)
        for seed, stream in [(0, 0), (1, 0), (0, 1), (2**31 - 2, 0)]
    ]
    for i, one in enumerate(starts):
        for other in starts[:i]:
            assert not torch.isclose(one, other).all(dim=1).any()


def test_equal_samples_have_equal_keys_and_others_do_not():
    x = samples(1000, 3)
    x[1] = x[0]
    keys = sample_keys(x, seed=0)
    assert keys[0] == keys[1]
    assert len(keys.unique()) == 999
    zeros = torch.tensor([[0.0, 1.0], [-0.0, 1.0]])
    assert sample_keys(zeros, seed=0).unique().numel() == 1


@pytest.mark.parametrize("stream", [0, 1, 7])
def test_noise_is_uniform_and_uncorrelated(stream):
    noise = uniform_noise(sample_keys(samples(300), 3), 400, stream).numpy()
    assert np.abs(noise).max() <= 1
    assert stats.kstest(noise.ravel(), "uniform", (-1, 2)).pvalue > 1e-4
    for axis in (0, 1):
        left = np.take(noise, range(noise.shape[axis] - 1), axis).ravel()
        right = np.take(noise, range(1, noise.shape[axis]), axis).ravel()
        # One over the square root of 120,000 is the standard error.
        assert abs(np.corrcoef(left, right)[0, 1]) < 5 / np.sqrt(len(left))


def test_neighbouring_samples_have_unrelated_noise():
    x = samples(1)
    near = torch.cat([x, x + 1e-6])
    one, other = uniform_noise(sample_keys(near, 0), 20_000, 0).numpy()
    assert abs(np.corrcoef(one, other)[0, 1]) < 5 / np.sqrt(20_000)


@pytest.mark.parametrize("n_features", [1, 2, 5, 60])
def test_random_start_is_uniform_in_l2_ball(n_features):
    x = samples(4000, n_features)
    move = (random_point(x, 0.5, "l2", 0, 0) - x).double().numpy()
    length = np.linalg.norm(move, axis=1)
    assert length.max() <= 0.5 + 1e-6
    # The share of the ball's volume inside a radius is its d-th power.
    assert stats.kstest((length / 0.5) ** n_features, "uniform").pvalue > 1e-4
    # Every direction alike: the mean move is zero, and no axis is preferred.
    direction = move / length[:, None]
    spread = 1 / np.sqrt(n_features)
    assert np.abs(direction.mean(axis=0)).max() < 5 * spread / np.sqrt(4000)
    np.testing.assert_allclose((direction**2).mean(axis=0), spread**2, rtol=0.25)


def test_random_start_is_uniform_in_linf_ball():
    x = samples(500, 20)
    move = (random_point(x, 0.5, "linf", 0, 0) - x).numpy().ravel()
    assert stats.kstest(move, "uniform", (-0.5, 1)).pvalue > 1e-4


def test_random_start_keeps_shape_of_images():
    x = samples(6, 12).view(6, 3, 2, 2)
    for norm in ("linf", "l2"):
        start = random_point(x, 0.1, norm, 0, 0)
        assert start.shape == x.shape
        flat = random_point(x.flatten(1), 0.1, norm, 0, 0)
        assert torch.equal(start.flatten(1), flat)


def test_random_start_of_radius_zero_is_the_sample():
    x = samples()
    assert torch.equal(random_point(x, 0.0, "linf", 0, 0), x)
    assert torch.equal(random_point(x, 0.0, "l2", 0, 0), x)


@pytest.mark.parametrize("norm", NORMS)
def test_eps_per_sample_equals_one_call_per_eps(norm):
    x = samples(6).view(6, 1, 7)
    gradient = samples(6, seed=1).view(6, 1, 7) - 0.5
    eps = torch.tensor([0.0, 0.1, 0.2, 0.3, 0.1, 0.5])
    radius = radius_like(eps, x)
    ball = make_ball(x, radius, (0, 1), norm)
    start = ball.project_(random_point(x, radius, norm, 3, 1))
    moved = ball.step(start.clone(), gradient.clone(), radius * 0.7)
    for i, size in enumerate(eps.tolist()):
        one = slice(i, i + 1)
        alone = make_ball(x[one], size, (0, 1), norm)
        expected = alone.project_(random_point(x[one], size, norm, 3, 1))
        torch.testing.assert_close(start[one], expected)
        expected = alone.step(expected.clone(), gradient[one].clone(), size * 0.7)
        torch.testing.assert_close(moved[one], expected)
    rows = torch.tensor([5, 2])
    ball.take(rows)
    torch.testing.assert_close(ball.radius.flatten(), eps[rows])


def test_eps_per_feature_and_where_it_is_one_per_sample():
    x = samples(3, 3)
    eps = torch.tensor([0.1, 0.2, 0.3])
    assert radius_like(eps[:, None], x).shape == (3, 1)
    assert radius_like(eps[None], x).shape == (1, 3)
    message = r"per sample or per feature.*Pass it in the shape \(3, 1\) or \(1, 3\)"
    with pytest.raises(ValueError, match=message):
        radius_like(eps, x)
    assert radius_like(eps[:1], samples(1, 1)).shape == (1, 1)
    images = samples(3, 9).view(3, 3, 3)
    assert radius_like(eps, images).shape == (3, 1, 1)
    assert radius_like(eps, samples(5, 3)).shape == (1, 3)
    assert radius_like(np.float32(0.5), x) == 0.5
    assert radius_like(torch.tensor(0.5), x) == 0.5
    far = torch.full((5, 3), 9.0)
    ball = make_ball(samples(5, 3), radius_like(eps, samples(5, 3)), None, "linf")
    torch.testing.assert_close(ball.project_(far), samples(5, 3) + eps)


@pytest.mark.parametrize(
    ("eps", "norm", "message"),
    [
        (-0.1, "linf", "'eps' must be at least 0. Got -0.1"),
        (
            [0.1, 0.2],
            "linf",
            r"broadcast to the shape of X, \(5, 3\). Got shape \(2,\)",
        ),
        ([0.1, -0.2, 0.1], "linf", "numbers of at least 0"),
        ([0.1, 0.2, 0.1], "l2", "must be a number or one number per sample"),
        (0.1, "l1", "'norm' must be 'linf' or 'l2'. Got 'l1'"),
    ],
)
def test_impossible_eps_or_norm_is_refused(eps, norm, message):
    x = samples(5, 3)
    with pytest.raises(ValueError, match=message):
        make_ball(x, radius_like(eps, x), None, norm)
