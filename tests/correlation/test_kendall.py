"""Counts of agreeing pairs, against looking at every pair."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import rankdata

from robustkit.correlation import _kendall as kendall_module
from robustkit.correlation._kendall import _count_bits, agreements


def by_pairs(x, y):
    signs_x, signs_y = (np.sign(z[:, None] - z) for z in (x, y))
    return (signs_x * signs_y).sum() // 2


@given(
    st.integers(2, 17) | st.sampled_from([63, 64, 65, 129]),
    st.sampled_from([1, 2, 5, 1000]),
    st.integers(0, 2**32 - 1),
)
def test_every_pair_of_rows_is_counted(n_rows, n_values, seed):
    """With few values there are ties in one column, in both, and nothing else."""
    rng = np.random.RandomState(seed)
    ranks = rng.randint(n_values, size=(2, n_rows, 2))
    X, Y = (rankdata(Z, "dense", axis=0) - 1 for Z in ranks)
    counts, untied_x, untied_y = agreements(X, Y)
    assert counts.tolist() == [[by_pairs(x, y) for y in Y.T] for x in X.T]
    for untied, Z in ((untied_x, X), (untied_y, Y)):
        assert untied.tolist() == [by_pairs(z, z) for z in Z.T]


@given(st.integers(0, 2**64 - 1))
def test_bits_are_counted(word):
    for count_bits in (_count_bits, _count_bits.py_func):
        with np.errstate(over="ignore"):
            assert count_bits(np.uint64(word)) == word.bit_count()


def test_orders_alike_and_unlike():
    x = np.arange(50)[:, None]
    n_pairs = 50 * 49 // 2
    assert agreements(x, x)[0] == n_pairs
    assert agreements(x, x[::-1])[0] == -n_pairs


def test_compiled_loops_as_python(monkeypatch):
    for name in ("_agreements", "_sort_ties", "_count_swaps"):
        function = getattr(kendall_module, name).py_func
        monkeypatch.setattr(kendall_module, name, function)
    assert not hasattr(kendall_module._agreements, "py_func")
    test_every_pair_of_rows_is_counted()
