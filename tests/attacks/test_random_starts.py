"""A start depends on the seed and on the sample, and is uniform in the ball."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from robustkit.attacks._random_starts import random_start, sample_keys, uniform_noise


def samples(n_samples=50, n_features=7, seed=0):
    rng = np.random.default_rng(seed)
    return torch.from_numpy(rng.random((n_samples, n_features))).float()


@given(
    norm=st.sampled_from(["linf", "l2"]),
    order=st.permutations(range(12)),
    n_kept=st.integers(1, 12),
    seed=st.integers(0, 2**31 - 2),
)
def test_order_subset_and_neighbours_change_nothing(norm, order, n_kept, seed):
    x = samples(12)
    start = random_start(x, 0.1, norm, seed, stream=1)
    rows = torch.tensor(order[:n_kept])
    assert torch.equal(random_start(x[rows], 0.1, norm, seed, stream=1), start[rows])


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_seed_and_stream_change_it(norm):
    x = samples()
    starts = [
        random_start(x, 0.1, norm, seed, stream)
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
def test_start_is_uniform_in_the_euclidean_ball(n_features):
    x = samples(4000, n_features)
    move = (random_start(x, 0.5, "l2", 0, 0) - x).double().numpy()
    length = np.linalg.norm(move, axis=1)
    assert length.max() <= 0.5 + 1e-6
    # The share of the ball's volume inside a radius is its d-th power.
    assert stats.kstest((length / 0.5) ** n_features, "uniform").pvalue > 1e-4
    # Every direction alike: the mean move is zero, and no axis is preferred.
    direction = move / length[:, None]
    spread = 1 / np.sqrt(n_features)
    assert np.abs(direction.mean(axis=0)).max() < 5 * spread / np.sqrt(4000)
    np.testing.assert_allclose((direction**2).mean(axis=0), spread**2, rtol=0.25)


def test_start_is_uniform_in_the_cube():
    x = samples(500, 20)
    move = (random_start(x, 0.5, "linf", 0, 0) - x).numpy().ravel()
    assert stats.kstest(move, "uniform", (-0.5, 1)).pvalue > 1e-4


def test_images_keep_their_shape():
    x = samples(6, 12).view(6, 3, 2, 2)
    for norm in ("linf", "l2"):
        start = random_start(x, 0.1, norm, 0, 0)
        assert start.shape == x.shape
        flat = random_start(x.flatten(1), 0.1, norm, 0, 0)
        assert torch.equal(start.flatten(1), flat)


def test_radius_of_zero_is_the_sample():
    x = samples()
    assert torch.equal(random_start(x, 0.0, "linf", 0, 0), x)
    assert torch.equal(random_start(x, 0.0, "l2", 0, 0), x)
