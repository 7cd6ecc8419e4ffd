"""Threads of BLAS are limited while several threads call it, and then as before."""

from concurrent.futures import ThreadPoolExecutor

import pytest
from threadpoolctl import threadpool_info, threadpool_limits

from robustkit._threads import one_blas_thread
from robustkit.topology import MapperGraph
from robustkit.topology.neighbors import _search


def blas_threads():
    return {d["num_threads"] for d in threadpool_info() if d["user_api"] == "blas"}


def limited():
    with one_blas_thread():
        return blas_threads()


def in_passing(function):
    """Call it in a thread that ends at once."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(function).result()


@pytest.fixture
def other_thread():
    """A thread that goes on living, and what calls functions there."""
    with ThreadPoolExecutor(1) as pool:
        yield lambda function: pool.submit(function).result()


@pytest.fixture
def two_threads():
    """BLAS has two threads, and no thread that lives has set a limit."""
    limit = in_passing(lambda: threadpool_limits(2, user_api="blas"))
    try:
        if blas_threads() != {2}:
            pytest.skip("this BLAS cannot be told to use two threads")
        yield
    finally:
        in_passing(limit.restore_original_limits)


@pytest.mark.usefixtures("two_threads")
@pytest.mark.parametrize("is_main_first", [True, False])
def test_every_thread_limits_blas_after_others_have(other_thread, is_main_first):
    callers = [lambda function: function(), other_thread]
    for caller in callers if is_main_first else reversed(callers):
        assert caller(limited) == {1}
        assert blas_threads() == {2}


@pytest.mark.usefixtures("two_threads")
def test_who_has_limited_blas_leaves_it_to_others(other_thread):
    other_thread(limited)
    with threadpool_limits(1, user_api="blas"):
        assert blas_threads() == {1}
    assert blas_threads() == {2}


@pytest.mark.usefixtures("two_threads")
@pytest.mark.parametrize("is_main_last", [True, False])
def test_limits_of_two_threads_end_with_the_last(other_thread, is_main_last):
    here, there = one_blas_thread(), one_blas_thread()
    here.__enter__()
    other_thread(there.__enter__)
    ends = [lambda: here.__exit__(None, None, None)]
    ends.insert(is_main_last, lambda: other_thread(lambda: there.__exit__(*[None] * 3)))
    ends[0]()
    assert blas_threads() == {1}
    ends[1]()
    assert blas_threads() == {2}


@pytest.mark.usefixtures("two_threads")
def test_a_mapper_limits_blas_in_every_thread(other_thread, monkeypatch):
    seen, with_columns = set(), _search.Products.with_columns

    def note(self, *args):
        seen.update(blas_threads())
        return with_columns(self, *args)

    monkeypatch.setattr(_search.Products, "with_columns", note)
    X = [[float(i % 7), float(i % 11)] for i in range(3000)]
    mapper = MapperGraph(eps=0.5, n_jobs=2)
    for caller in (lambda function: function(), other_thread):
        caller(lambda: mapper.fit(X))
        assert seen == {1}
        seen.clear()


def test_within_a_limit_of_the_caller_blas_is_left_as_it_was():
    """Whichever of two ends first."""
    with threadpool_limits(2, user_api="blas"):
        before = blas_threads()
        for first in (0, 1):
            searches = one_blas_thread(), one_blas_thread()
            for search in searches:
                search.__enter__()
            searches[first].__exit__(None, None, None)
            assert blas_threads() <= {1}
            searches[1 - first].__exit__(None, None, None)
            assert blas_threads() == before


def test_an_error_leaves_the_threads_of_blas_as_they_were():
    with threadpool_limits(2, user_api="blas"):
        before = blas_threads()
        with pytest.raises(KeyboardInterrupt, match="now"), one_blas_thread():
            raise KeyboardInterrupt("now")
        assert blas_threads() == before
