"""The one way from a scikit-learn `random_state` to numpy and torch.

Here is also the one hash of rows, from which come draws that depend on the content of a
sample and not on its place. Nothing here moves a stream that the caller owns, except
numpy's global one when the caller asks for it with ``random_state=None``, as
scikit-learn defines.
"""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from threading import RLock
from typing import TYPE_CHECKING

import numpy as np
from sklearn.utils import check_random_state

if TYPE_CHECKING:
    # Drawing seeds needs no torch.
    import torch

__all__ = ["draw_seed", "draw_seeds", "hash_rows", "seeded_torch", "torch_generator"]

# Torch's global stream belongs to the process: blocks of several threads take turns.
_ONE_BLOCK = RLock()

_LARGEST_SEED = np.iinfo(np.int32).max

# Words hashed at one time.
_CHUNK = 2**22


def draw_seed(random_state: int | np.random.RandomState | None) -> int:
    """Draw one integer in [0, 2**31 - 1) that can seed anything."""
    return int(check_random_state(random_state).randint(_LARGEST_SEED))


def draw_seeds(
    random_state: int | np.random.RandomState | None, n_seeds: int
) -> list[int]:
    """Draw independent integers, one for each of many tasks.

    They are drawn before the tasks are handed out, so that the result does not depend
    on who runs which task when.
    """
    return (
        check_random_state(random_state).randint(_LARGEST_SEED, size=n_seeds).tolist()
    )


def torch_generator(
    random_state: int | np.random.RandomState | None, device: str | torch.device = "cpu"
) -> torch.Generator:
    """Make a torch generator of its own, touching no global stream."""
    import torch

    return torch.Generator(device=device).manual_seed(draw_seed(random_state))


@contextmanager
def seeded_torch(
    random_state: int | np.random.RandomState | None,
) -> Generator[None, None, None]:
    """Seed torch for one block and restore the caller's own streams afterwards.

    Modules draw their first weights (and dropout its masks) from torch's global stream,
    so a generator passed by hand would not reach them. While a thread is in such a
    block, others wait before theirs.
    """
    import torch

    seed = draw_seed(random_state)
    devices = range(torch.cuda.device_count())
    with _ONE_BLOCK, torch.random.fork_rng(devices=devices):
        torch.manual_seed(seed)
        yield


def hash_rows(X: np.ndarray, seed: int = 0) -> np.ndarray:
    """Hash the content of every row: equal rows get equal numbers, others rarely.

    The bits of a row's numbers, in words of 32, are multiplied by random odd integers
    and added, modulo 2**64. The high bits are the well mixed ones.

    Parameters
    ----------
    X : ndarray of shape (n_samples, n_features), float32 or float64
        The rows. The two zeros are equal.

    seed : int, default=0
        Draws the odd integers.

    Returns
    -------
    hashes : ndarray of shape (n_samples,), dtype=uint64
        One per row.
    """
    n_words = X.shape[1] * X.itemsize // 4
    factors = np.random.RandomState(seed).randint(2**63, size=n_words, dtype=np.uint64)
    # Odd multipliers lose no bit.
    factors = 2 * factors + np.uint64(1)
    hashes = np.empty(len(X), dtype=np.uint64)
    step = max(1, _CHUNK // n_words)
    for start in range(0, len(X), step):
        # Adding zero turns -0.0 into 0.0, which has other bits.
        rows = np.ascontiguousarray(X[start : start + step] + X.dtype.type(0))
        hashes[start : start + step] = rows.view(np.uint32).astype(np.uint64) @ factors
    return hashes
