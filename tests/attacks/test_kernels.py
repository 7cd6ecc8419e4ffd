"""The compiled loops say what the array operations say, to the last bit."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from robustkit.attacks import _kernels

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


@both(_kernels.all_between)
@given(data=st.data(), dtype=DTYPES, shape=SHAPES)
def test_all_between(kernel, data, dtype, shape):
    values = data.draw(numbers(dtype, shape, wild=True))
    expected = bool(((values >= -1) & (values <= 2)).all())
    assert kernel(values, dtype(-1), dtype(2)) == expected
    most = np.finfo(dtype).max
    assert kernel(values, -most, most) == bool(np.isfinite(values).all())
    inside = np.clip(np.nan_to_num(values), -1, 2)
    assert kernel(inside, dtype(-1), dtype(2))


@both(_kernels.clip_and_measure)
@given(
    data=st.data(),
    dtype=DTYPES,
    shape=SHAPES,
    clip=st.sampled_from([(0.0, 1.0), (0.1, 0.3), (-np.inf, np.inf)]),
    radius=st.sampled_from([0.0, 0.1, 3.0, np.inf]),
)
def test_clip_and_measure(kernel, data, dtype, shape, clip, radius):
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


@both(_kernels.step_along_sign)
@given(data=st.data(), dtype=DTYPES, n=st.integers(0, 40), size=st.floats(0, 3))
def test_step_along_sign(kernel, data, dtype, n, size):
    points = data.draw(numbers(dtype, n))
    gradient = data.draw(numbers(dtype, n, wild=True))
    expected = points + dtype(size) * np.nan_to_num(np.sign(gradient))
    kernel(points, gradient, dtype(size))
    assert gradient.dtype == dtype
    np.testing.assert_array_equal(gradient, expected)
