"""Where several affine margins are positive at once, against linear programs."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from robustkit.attacks.minimal._corners import corners
from robustkit.attacks.minimal._paths import Box
from tests.attacks.minimal.exact import ORDER, distance_to_class
from tests.strategies import seeds

AHEAD = 1e-6


def corner(X, at, weight, bias, target, norm, low, high):
    """The corner of a linear model, linearized at some other point."""
    others = np.delete(np.arange(len(weight)), target)
    slopes = weight[target] - weight[others]
    margins = slopes @ at[0] + bias[target] - bias[others]
    out = np.empty_like(X)
    box = Box(X, low, high, norm == "l2")
    corners(box, np.array([0]), at, slopes[:, None], margins[:, None], AHEAD, out)
    return out[0], slopes @ out[0] + bias[target] - bias[others]


@given(
    seed=seeds,
    n_classes=st.integers(2, 7),
    n_features=st.integers(1, 9),
    norm=st.sampled_from(["linf", "l2"]),
    clip=st.sampled_from([(-np.inf, np.inf), (0.0, 1.0)]),
    kind=st.sampled_from(["any", "whole", "twins"]),
)
def test_corners_are_the_nearest_points(seed, n_classes, n_features, norm, clip, kind):
    """Also where weights are whole numbers, often zero, or two classes are the same."""
    rng = np.random.default_rng(seed)
    weight = rng.normal(size=(n_classes, n_features))
    if kind == "whole":
        weight = np.round(weight)
    bias = 0.1 * rng.normal(size=n_classes) - weight @ np.full(n_features, 0.5)
    if kind == "twins":
        weight[-1], bias[-1] = weight[-2], bias[-2]
    X, at = rng.uniform(size=(2, 1, n_features))
    target = int((X @ weight.T + bias)[0].argmin())
    exact = distance_to_class(weight, bias, X[0], target, *clip, norm)
    point, margins = corner(X, at, weight, bias, target, norm, *clip)
    distance = np.linalg.norm(point - X[0], ord=ORDER[norm])
    assert clip[0] <= point.min()
    assert point.max() <= clip[1]
    scale = np.abs(weight).max() + np.abs(bias).max()
    if np.isfinite(exact) and not (margins > 0).all():
        # It may be a single point of the box, which is not kept away from.
        assert margins.min() > -1e-5 * scale
    if np.isfinite(exact):
        np.testing.assert_allclose(distance, exact, rtol=1e-4, atol=1e-5)


def test_nothing_is_moved_that_is_ahead_already():
    weight, bias = np.array([[2.0, 0.0], [0.0, 1.0]]), np.zeros(2)
    X = np.array([[1.0, 0.5]])
    for norm in ORDER:
        point, _ = corner(X, X, weight, bias, 0, norm, 0.0, 1.0)
        np.testing.assert_array_equal(point, X[0])
