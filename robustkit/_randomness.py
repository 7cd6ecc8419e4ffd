"""The one way from a scikit-learn `random_state` to numpy and torch.

Nothing here moves a stream that the caller owns, except numpy's global one when the
caller asks for it with ``random_state=None``, as scikit-learn defines.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from threading import RLock
from typing import TYPE_CHECKING

import numpy as np
from sklearn.utils import check_random_state

if TYPE_CHECKING:
    # Drawing seeds needs no torch.
    import torch

__all__ = ["draw_seed", "draw_seeds", "seeded_torch", "torch_generator"]

# Torch's global stream belongs to the process: blocks of several threads take turns.
_ONE_BLOCK = RLock()

_LARGEST_SEED = np.iinfo(np.int32).max


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
def seeded_torch(random_state: int | np.random.RandomState | None) -> Iterator[None]:
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
