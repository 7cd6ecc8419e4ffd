"""The table that numbers sign patterns, above all when hashes collide."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from robustkit.regions import _region_table, count_regions
from robustkit.regions._region_table import RegionTable, pack_signs
from tests.regions.test_count_regions import patterns, reference

POOR_HASHES = {
    "all collide": lambda words: np.zeros(len(words), dtype=np.uint64),
    "two values": lambda words: words[:, 0] & np.uint64(1),
    # The walk over the slots starts at the last one and has to wrap around.
    "last slot": lambda words: np.full(len(words), 2**64 - 1, dtype=np.uint64),
}


@pytest.mark.parametrize("poor_hash", POOR_HASHES.values(), ids=POOR_HASHES)
def test_patterns_with_one_hash_stay_apart(monkeypatch, poor_hash):
    monkeypatch.setattr(_region_table, "_hash_rows", poor_hash)
    X = np.random.RandomState(0).choice([-1.0, 1.0], size=(300, 130))
    X = np.vstack([X, X[::-1]])
    for found, expected in zip(count_regions(X), reference(X), strict=True):
        np.testing.assert_array_equal(found, expected)
    table = RegionTable(3)
    table.add(pack_signs(X[:200]))
    known = np.r_[np.arange(200), np.full(200, -1), np.arange(200)[::-1]]
    np.testing.assert_array_equal(table.look_up(pack_signs(X)), known)


@given(patterns(), st.integers(0, 40))
def test_adding_in_two_pieces_equals_adding_at_once(X, cut):
    words = pack_signs(X)
    table = RegionTable(words.shape[1])
    ids = np.r_[table.add(words[:cut]), table.add(words[cut:])]
    np.testing.assert_array_equal(ids, reference(X)[0])
    assert table.n_regions == len(table.patterns) == len(reference(X)[1])
    np.testing.assert_array_equal(table.patterns[ids], words)


@given(patterns(), patterns())
def test_looking_up_finds_what_was_added_and_nothing_else(known, asked):
    n_units = min(known.shape[1], asked.shape[1])
    known, asked = known[:, :n_units] > 0, asked[:, :n_units] > 0
    words = pack_signs(known)
    table = RegionTable(words.shape[1])
    ids = table.add(words)
    found = table.look_up(pack_signs(asked))
    for row, region in zip(asked, found, strict=True):
        same = (known == row).all(axis=1)
        assert region == (ids[same][0] if same.any() else -1)
    assert table.n_regions == len(np.unique(ids))


@given(patterns())
def test_bits_are_those_of_numpy(X):
    packed = np.packbits(X > 0, axis=1, bitorder="little")
    found = pack_signs(X).astype("<u8").view(np.uint8)
    np.testing.assert_array_equal(found[:, : packed.shape[1]], packed)
    assert not found[:, packed.shape[1] :].any()


def test_compiled_code_is_the_code_that_is_read():
    X = np.random.RandomState(0).choice([-1.0, 1.0], size=(9, 70)).astype(np.float32)
    X = np.vstack([X, X])
    words = np.empty((18, 2), dtype=np.uint64)
    assert not _region_table._pack_signs.py_func(X, words)
    np.testing.assert_array_equal(words, pack_signs(X))
    with np.errstate(over="ignore"):
        hashes = _region_table._hash_rows.py_func(words)
    np.testing.assert_array_equal(hashes, _region_table._hash_rows(words))

    slots = np.zeros(64, dtype=np.uint32)
    known = np.empty((9, 2), dtype=np.uint64)
    ids = np.empty(18, dtype=np.int64)
    visit = _region_table._visit.py_func
    assert visit(words, hashes, slots, known, 0, ids, True) == 9
    np.testing.assert_array_equal(ids, np.r_[np.arange(9), np.arange(9)])
    refilled = np.zeros_like(slots)
    _region_table._place.py_func(hashes[:9], 0, refilled)
    np.testing.assert_array_equal(refilled, slots)
    X[0, 69] = np.nan
    assert _region_table._pack_signs.py_func(X, words)


def test_a_table_says_when_it_is_full():
    with pytest.raises(OverflowError, match="at most 2147483647 regions"):
        RegionTable(1).reserve(2**31)


@pytest.mark.parametrize("n_known", [2**k for k in range(13)])
def test_a_table_is_never_so_full_that_a_search_does_not_end(n_known):
    words = np.arange(2 * n_known, dtype=np.uint64)[:, None]
    table = RegionTable(1)
    table.reserve(n_known)
    np.testing.assert_array_equal(table.add(words[:n_known]), np.arange(n_known))
    found = table.look_up(words)
    assert (found[n_known:] == -1).all()
    np.testing.assert_array_equal(found[:n_known], np.arange(n_known))
