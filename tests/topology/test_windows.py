"""Windows, against the definition: a position lies between start and stop."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from robustkit.topology import _windows as windows_module
from robustkit.topology._windows import Windows
from tests.topology.brute_force import as_pairs
from tests.topology.strategies import windows

N = 12


def holds(windows, k, *positions):
    start, stop = windows.slices[k]
    return all(start <= p < stop for p in positions)


def numbers(windows):
    return range(len(windows.slices))


def any_pairs(data):
    every = [(i, j) for i in range(N) for j in range(i + 1, N)]
    return sorted(data.draw(st.sets(st.sampled_from(every), max_size=30)))


@given(windows(N))
def test_first_and_last_window(windows):
    for p in range(N):
        mine = [k for k in numbers(windows) if holds(windows, k, p)]
        assert mine == list(range(windows.first[p], windows.last[p] + 1))


@given(windows(N))
def test_ends(windows):
    for p in range(N):
        stops = [windows.slices[k, 1] for k in numbers(windows) if holds(windows, k, p)]
        assert windows.ends[p] == max(stops, default=p)
    assert (np.diff(windows.ends) >= 0).all()


@given(windows(N), st.data())
def test_neighbors_are_counted_window_by_window(windows, data):
    pairs = any_pairs(data)
    cut = data.draw(st.integers(0, len(pairs)))
    pieces = [as_pairs(pairs[:cut], N), as_pairs(pairs[cut:], N)]
    counts = windows.count_neighbors(pieces)
    for k in numbers(windows):
        inside = [p for p in range(N) if holds(windows, k, p)]
        expected = [
            1 + sum(p in pair and holds(windows, k, *pair) for pair in pairs)
            for p in inside
        ]
        assert windows.part(counts, k).tolist() == expected


@given(windows(N), st.data())
def test_flags_in_all_windows(windows, data):
    size = int(windows.offsets[-1])
    flags = data.draw(st.lists(st.booleans(), min_size=size, max_size=size))
    flags = np.array(flags, dtype=bool)
    in_all = windows.in_all(flags)
    for p in range(N):
        mine = [
            windows.part(flags, k)[p - windows.slices[k, 0]]
            for k in numbers(windows)
            if holds(windows, k, p)
        ]
        assert in_all[p] == all(mine)


def test_newest_starts():
    windows = Windows([[0, 5], [2, 6], [2, 7], [5, 9]], 9)
    assert windows.newest_starts(0).tolist() == [0, 2]
    assert windows.newest_starts(1).tolist() == [2, 5]
    assert windows.newest_starts(3).tolist() == [5]


def test_compiled_loops_as_python(monkeypatch):
    windows = Windows([[0, 5], [2, 6], [4, 9]], 9)
    pieces = [as_pairs([(0, 1), (0, 5), (2, 4), (2, 5), (5, 8)], 9)]
    expected = windows.count_neighbors(pieces)
    for name in ("_add_steps", "_sum_steps"):
        function = getattr(windows_module, name).py_func
        monkeypatch.setattr(windows_module, name, function)
    np.testing.assert_array_equal(windows.count_neighbors(pieces), expected)
