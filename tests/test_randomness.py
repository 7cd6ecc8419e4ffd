"""One way from a `random_state` to numpy and torch."""

from concurrent.futures import ThreadPoolExecutor
from time import sleep

import numpy as np
import pytest
import torch

from robustkit import _randomness
from robustkit._randomness import (
    draw_seed,
    draw_seeds,
    hash_rows,
    seeded_torch,
    torch_generator,
)


def test_one_seed_draws_the_same_numbers(global_random_seed):
    assert draw_seed(global_random_seed) == draw_seed(global_random_seed)
    assert draw_seeds(global_random_seed, 5) == draw_seeds(global_random_seed, 5)
    first, again = (torch_generator(global_random_seed) for _ in range(2))
    assert torch.equal(torch.rand(3, generator=first), torch.rand(3, generator=again))


def test_many_seeds_differ(global_random_seed):
    assert len(set(draw_seeds(global_random_seed, 100))) == 100


def test_a_random_state_moves_on():
    rng = np.random.RandomState(0)
    assert draw_seed(rng) != draw_seed(rng)


def test_seeding_reaches_layers_and_gives_the_stream_back(global_random_seed):
    before = torch.get_rng_state()
    weights = []
    for _ in range(2):
        with seeded_torch(global_random_seed):
            weights.append(torch.nn.Linear(3, 3).weight)
    assert torch.equal(*weights)
    assert torch.equal(torch.get_rng_state(), before)


def test_the_stream_comes_back_after_an_error():
    before = torch.get_rng_state()

    def fail():
        with seeded_torch(0):
            torch.rand(1)
            raise KeyError("inside")

    with pytest.raises(KeyError, match="inside"):
        fail()
    assert torch.equal(torch.get_rng_state(), before)


def test_none_follows_numpys_global_stream_as_in_scikit_learn():
    state = np.random.get_state()
    try:
        draws = []
        for _ in range(2):
            np.random.seed(3)
            draws.append(draw_seed(None))
    finally:
        np.random.set_state(state)
    assert draws[0] == draws[1]


def test_threads_that_seed_torch_do_not_disturb_each_other():
    def draw(seed):
        with seeded_torch(seed):
            draws = [torch.rand(1).item()]
            # Give way, as a training step does.
            sleep(0.01)
            return [*draws, torch.rand(1).item()]

    before = torch.get_rng_state()
    alone = [draw(seed) for seed in range(8)]
    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(draw, range(8)))
    assert together == alone
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_hash_rows_is_a_sum_of_products_with_odd_numbers(dtype, monkeypatch):
    X = np.random.RandomState(0).normal(size=(50, 7)).astype(dtype)
    words = X.view(np.uint32)
    factors = np.random.RandomState(3).randint(2**63, size=words.shape[1], dtype="u8")
    expected = [
        sum(int(w) * (2 * int(f) + 1) for w, f in zip(row, factors, strict=True))
        for row in words
    ]
    hashes = hash_rows(X, 3)
    assert hashes.tolist() == [number % 2**64 for number in expected]
    assert len(set(hashes)) == 50
    assert (hashes != hash_rows(X)).all()
    monkeypatch.setattr(_randomness, "_CHUNK", 20)
    np.testing.assert_array_equal(hash_rows(X, 3), hashes)
    # Where a row lies in memory does not matter.
    np.testing.assert_array_equal(hash_rows(np.asfortranarray(X), 3), hashes)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_hash_rows_takes_the_two_zeros_for_equal(dtype):
    zeros = np.array([[0.0, 1.0], [-0.0, 1.0]], dtype=dtype)
    first, second = hash_rows(zeros)
    assert first == second
