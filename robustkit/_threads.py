"""How many threads of BLAS compute: one, where several threads call it."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from threading import Lock

from robustkit._sklearn_private import _get_threadpool_controller

__all__ = ["one_blas_thread"]

# One entry for each call that has not ended; the first knows what there was before.
_LIMITS: list = []
_LIMITS_LOCK = Lock()


@contextmanager
def one_blas_thread() -> Iterator[None]:
    """Keep BLAS at one thread where several threads call it.

    The limit is one of the whole process. Of calls at the same time, the last to end
    lifts it: what the others found when they began may have been a limit already.
    """
    with _LIMITS_LOCK:
        _LIMITS.append(None if _LIMITS else _BlasLimit())
    try:
        yield
    finally:
        with _LIMITS_LOCK:
            last = _LIMITS.pop()
            if last is not None:
                last.lift()


class _BlasLimit:
    """A limit of one thread that any thread may lift.

    threadpoolctl lets a single thread limit BLAS, the first one that did, as long as it
    lives: what others ask for has no effect, and raises nothing. So threads that end at
    once set the limit and lift it, and no other is left without a say. Only within a
    limit of the caller's own it has to be the caller.
    """

    def __init__(self):
        controller = _get_threadpool_controller()
        limit = partial(controller.limit, limits=1, user_api="blas")
        self._limiter, self._of_caller = _in_passing(limit), None
        libraries = controller.select(user_api="blas").lib_controllers
        if any(library.num_threads not in (1, None) for library in libraries):
            self._of_caller = limit()

    def lift(self):
        """Let there be as many threads as before."""
        if self._of_caller is not None:
            self._of_caller.restore_original_limits()
        _in_passing(self._limiter.restore_original_limits)


def _in_passing(function):
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(function).result()
