"""Counting sign patterns: one array, a table, and a stream by region and class."""

from collections import Counter

import joblib
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.sparse import csr_matrix

from robustkit.regions import _counting as module
from robustkit.regions import count_regions
from robustkit.regions._counting import RegionCounts, RegionTable, pack_signs


def reference(X):
    """Regions in order of first appearance, by sorting rows of booleans."""
    _, first, inverse, counts = np.unique(
        np.asarray(X) > 0,
        axis=0,
        return_index=True,
        return_inverse=True,
        return_counts=True,
    )
    order = np.argsort(first)
    rank = np.argsort(order)
    return rank[inverse.ravel()], counts[order]


@st.composite
def patterns(draw, max_samples=40, max_units=140):
    """Rows of few distinct patterns, at widths around the size of a machine word."""
    n_units = draw(st.sampled_from([1, 2, 63, 64, 65, 100, 127, 128, 129, max_units]))
    rng = np.random.RandomState(draw(st.integers(0, 2**32 - 1)))
    n_patterns = draw(st.integers(1, 12))
    values = rng.choice([-1.5, -0.0, 0.0, 2.5], size=(n_patterns, n_units))
    X = values[rng.randint(n_patterns, size=draw(st.integers(1, max_samples)))]
    return X.astype(draw(st.sampled_from([np.float32, np.float64, np.float16])))


@given(patterns())
def test_count_regions_agrees_with_sorting_the_patterns(X):
    ids, counts = count_regions(X)
    expected_ids, expected_counts = reference(X)
    np.testing.assert_array_equal(ids, expected_ids)
    np.testing.assert_array_equal(counts, expected_counts)
    assert ids.dtype == counts.dtype == np.int64


@given(patterns())
def test_one_unit_is_enough_to_tell_two_patterns_apart(X):
    n_units = X.shape[1]
    rows = np.where(np.eye(n_units), 1.0, -1.0)
    ids, counts = count_regions(np.vstack([rows, -np.ones((1, n_units)), rows]))
    assert len(counts) == n_units + 1
    np.testing.assert_array_equal(ids[:n_units], ids[n_units + 1 :])


@given(patterns(), st.integers(0, 2**32 - 1))
def test_order_of_samples_only_renames_regions(X, seed):
    order = np.random.RandomState(seed).permutation(len(X))
    ids, counts = count_regions(X)
    shuffled_ids, shuffled_counts = count_regions(X[order])
    np.testing.assert_array_equal(np.sort(shuffled_counts), np.sort(counts))
    np.testing.assert_array_equal(shuffled_counts[shuffled_ids], counts[ids[order]])


@given(patterns(), st.integers(0, 2**32 - 1))
def test_order_of_units_changes_nothing(X, seed):
    order = np.random.RandomState(seed).permutation(X.shape[1])
    for found, expected in zip(
        count_regions(X[:, order]), count_regions(X), strict=True
    ):
        np.testing.assert_array_equal(found, expected)


@given(patterns(), st.floats(1e-3, 1e3))
def test_a_positive_scale_changes_nothing(X, scale):
    X = X.astype(np.float64)
    for found, expected in zip(count_regions(scale * X), count_regions(X), strict=True):
        np.testing.assert_array_equal(found, expected)


@given(patterns())
def test_copies_of_samples_add_no_region(X):
    ids, counts = count_regions(np.vstack([X, X]))
    np.testing.assert_array_equal(counts, 2 * count_regions(X)[1])
    np.testing.assert_array_equal(ids[: len(X)], ids[len(X) :])


@given(patterns())
def test_a_relu_keeps_the_regions(X):
    np.testing.assert_array_equal(
        count_regions(np.maximum(X, 0))[0], count_regions(X)[0]
    )


@pytest.mark.parametrize("kind", [np.bool_, np.int8, np.int64, np.uint8, np.float16])
def test_count_regions_takes_any_number_type(kind):
    X = np.random.RandomState(0).randint(0, 2, size=(50, 5)).astype(kind)
    for found, expected in zip(count_regions(X), reference(X), strict=True):
        np.testing.assert_array_equal(found, expected)


def test_small_numbers_of_float16_stay_greater_than_zero():
    tiny = np.finfo(np.float16).smallest_subnormal
    assert len(count_regions(np.array([[tiny], [0]], dtype=np.float16))[1]) == 2


TORCH_KINDS = ["bfloat16", "float8_e5m2", "float16", "int8", "int64", "uint8", "bool"]


@pytest.mark.parametrize("kind", TORCH_KINDS)
def test_count_regions_takes_any_tensor_dtype(kind):
    X = torch.tensor([[0.5, 2.0], [0.0, 1.0], [2.0, 0.25], [0.0, 3.0]])
    X = X.to(getattr(torch, kind))
    expected = reference((X.to(torch.float64) > 0).numpy())
    for found, wanted in zip(count_regions(X), expected, strict=True):
        np.testing.assert_array_equal(found, wanted)


@pytest.mark.parametrize("kind", [torch.bfloat16, torch.float32, torch.float64])
def test_the_smallest_numbers_of_a_tensor_stay_greater_than_zero(kind):
    tiny = torch.finfo(kind).smallest_normal
    X = torch.tensor([[0.0, -0.0], [-1.0, tiny]], dtype=kind)
    assert count_regions(X)[0].tolist() == [0, 1]


def test_nan_of_bfloat16_is_refused():
    with pytest.raises(ValueError, match="The activations contain NaN"):
        count_regions(torch.tensor([[1.0, np.nan]], dtype=torch.bfloat16))


def test_the_smallest_number_of_a_long_double_stays_greater_than_zero():
    X = np.array([[np.finfo(np.longdouble).smallest_subnormal], [0]])
    assert count_regions(X)[0].tolist() == [0, 1]
    with pytest.raises(ValueError, match="The activations contain NaN"):
        count_regions(np.array([[np.nan]], dtype=np.longdouble))


def test_lazy_views_of_a_tensor_are_what_they_stand_for():
    X = torch.tensor([[1.0, -1.0], [-1.0, -2.0]])
    conjugate = torch.complex(X, X).conj().imag
    assert conjugate.is_neg()
    for found, wanted in zip(count_regions(conjugate), reference(-X), strict=True):
        np.testing.assert_array_equal(found, wanted)


ONES = np.ones((3, 2))


@pytest.mark.parametrize(
    ("activations", "error", "message"),
    [
        (ONES[:0], ValueError, "0 sample\\(s\\) .* a minimum of 1 is required"),
        (torch.ones(0, 2), ValueError, "0 sample\\(s\\) .* a minimum of 1 is required"),
        (ONES[:, :0], ValueError, "0 feature\\(s\\) .* a minimum of 1 is required"),
        (csr_matrix(ONES), TypeError, "Sparse data was passed for activations"),
        (torch.ones(3, 2).to_sparse(), TypeError, "a dense one is needed"),
        (ONES.astype("m8[s]"), ValueError, "must be numbers. Got .* timedelta64"),
        (ONES.astype("M8[s]"), ValueError, "must be numbers. Got .* datetime64"),
        (ONES.astype("U3"), ValueError, "not compatible with arrays of bytes/strings"),
    ],
)
def test_count_regions_refuses_what_has_no_regions(activations, error, message):
    with pytest.raises(error, match=message) as raised:
        count_regions(activations)
    assert "\n" not in str(raised.value)


def test_count_regions_of_any_memory_layout():
    X = np.random.RandomState(0).choice([-1.0, 1.0], size=(90, 12))
    expected = count_regions(X)
    for view in (np.asfortranarray(X), np.repeat(X, 2, axis=1)[:, ::2], X.tolist()):
        for found, wanted in zip(count_regions(view), expected, strict=True):
            np.testing.assert_array_equal(found, wanted)


def test_takes_a_tensor_with_a_gradient():
    X = torch.tensor([[1.0, -1.0], [1.0, -2.0]], requires_grad=True)
    assert count_regions(X)[1].tolist() == [2]


def test_many_regions_outgrow_the_first_table():
    X = np.random.RandomState(0).standard_normal((20_000, 40)).astype(np.float32)
    X = np.vstack([X, X[::-1]])
    for found, expected in zip(count_regions(X), reference(X), strict=True):
        np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("place", [(0, 0), (4, 63), (4, 64), (2, 99)])
@pytest.mark.parametrize("kind", [np.float32, np.float64])
def test_nan_is_refused_wherever_it_stands(place, kind):
    X = np.ones((5, 100), dtype=kind)
    X[place] = np.nan
    with pytest.raises(ValueError, match="The activations contain NaN"):
        count_regions(X)


def test_infinity_has_a_sign():
    assert count_regions([[np.inf, -np.inf], [1.0, -1.0]])[1].tolist() == [2]


def test_a_single_row_of_numbers_is_not_a_layer():
    with pytest.raises(ValueError, match="Expected 2D array"):
        count_regions(np.ones(3))


POOR_HASHES = {
    "all collide": lambda words: np.zeros(len(words), dtype=np.uint64),
    "two values": lambda words: words[:, 0] & np.uint64(1),
    # The walk over the slots starts at the last one and has to wrap around.
    "last slot": lambda words: np.full(len(words), 2**64 - 1, dtype=np.uint64),
}


@pytest.mark.parametrize("poor_hash", POOR_HASHES.values(), ids=POOR_HASHES)
def test_patterns_with_one_hash_stay_apart(monkeypatch, poor_hash):
    monkeypatch.setattr(module, "_hash_words", poor_hash)
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


def test_compiled_table_as_python():
    X = np.random.RandomState(0).choice([-1.0, 1.0], size=(9, 70)).astype(np.float32)
    X = np.vstack([X, X])
    words = np.empty((18, 2), dtype=np.uint64)
    assert not module._pack_signs.py_func(X, words)
    np.testing.assert_array_equal(words, pack_signs(X))
    with np.errstate(over="ignore"):
        hashes = module._hash_words.py_func(words)
    np.testing.assert_array_equal(hashes, module._hash_words(words))

    slots = np.zeros(64, dtype=np.uint32)
    known = np.empty((9, 2), dtype=np.uint64)
    ids = np.empty(18, dtype=np.int64)
    visit = module._visit.py_func
    assert visit(words, hashes, slots, known, 0, ids, True) == 9
    np.testing.assert_array_equal(ids, np.r_[np.arange(9), np.arange(9)])
    refilled = np.zeros_like(slots)
    module._place.py_func(hashes[:9], 0, refilled)
    np.testing.assert_array_equal(refilled, slots)
    X[0, 69] = np.nan
    assert module._pack_signs.py_func(X, words)


def test_region_table_raises_when_full():
    with pytest.raises(OverflowError, match="at most 2147483647 regions"):
        RegionTable(1).reserve(2**31)


@pytest.mark.parametrize("n_known", [2**k for k in range(13)])
def test_region_table_is_never_so_full_that_a_search_does_not_end(n_known):
    words = np.arange(2 * n_known, dtype=np.uint64)[:, None]
    table = RegionTable(1)
    table.reserve(n_known)
    np.testing.assert_array_equal(table.add(words[:n_known]), np.arange(n_known))
    found = table.look_up(words)
    assert (found[n_known:] == -1).all()
    np.testing.assert_array_equal(found[:n_known], np.arange(n_known))


@st.composite
def labelled(draw):
    """Activations of few patterns, features and labels of some samples."""
    rng = np.random.RandomState(draw(st.integers(0, 2**32 - 1)))
    n_samples, n_units = draw(st.integers(1, 60)), draw(st.sampled_from([1, 3, 64, 70]))
    patterns = rng.choice([-1.0, 0.0, 1.0], size=(draw(st.integers(1, 9)), n_units))
    activations = patterns[rng.randint(len(patterns), size=n_samples)]
    features = rng.standard_normal((n_samples, 4)).astype(np.float32)
    return activations, features, rng.randint(3, size=n_samples)


@given(labelled(), st.integers(1, 60))
def test_counts_by_region_and_class_against_dictionaries(data, size):
    activations, features, y = data
    counted = RegionCounts(4)
    ids = []
    for start in range(0, len(y), size):
        piece = slice(start, start + size)
        ids.extend(counted.add(activations[piece], features[piece], y[piece]))
    ids = np.array(ids)
    assert counted.n_samples == len(y)
    assert counted.n_regions == len(np.unique(activations > 0, axis=0))
    counts, majority, of_majority = counted.by_region()
    for region, members in enumerate(y[ids == i] for i in range(counted.n_regions)):
        assert counts[region] == len(members)
        assert of_majority[region] == max(Counter(members).values())
        assert Counter(members)[majority[region]] == of_majority[region]
    for label in range(4):
        of_class = Counter(ids[y == label].tolist())
        if not of_class:
            assert counted.major_regions()[label] == -1
            assert np.isnan(counted.major_shares()[label])
            assert np.isnan(counted.major_vectors()[label]).all()
            assert np.isnan(counted.major_signs()[label]).all()
            continue
        # A Counter keeps the order of first appearance among equals.
        major, n_major = of_class.most_common(1)[0]
        home = (ids == major) & (y == label)
        assert counted.major_regions()[label] == major
        assert counted.major_shares()[label] == n_major / sum(of_class.values())
        np.testing.assert_allclose(
            counted.major_vectors()[label],
            features[home].astype(np.float64).mean(axis=0),
            atol=1e-12,
        )
        np.testing.assert_array_equal(
            counted.major_signs()[label],
            np.where(activations[home][0] > 0, 1, -1),
        )


def test_nothing_is_counted_before_the_first_sample():
    counted = RegionCounts(3)
    assert (counted.n_regions, counted.n_samples) == (0, 0)


def test_many_regions_outgrow_the_first_counts():
    rng = np.random.RandomState(0)
    activations = rng.standard_normal((3000, 30))
    counted = RegionCounts(1)
    for piece in np.array_split(activations, 7):
        counted.add(piece, piece, np.zeros(len(piece), dtype=int))
    counts, _, _ = counted.by_region()
    np.testing.assert_array_equal(counts, 1)
    np.testing.assert_array_equal(counted.major_vectors()[0], activations[0])


def test_counts_go_on_after_they_were_mapped_from_a_file(tmp_path):
    activations = np.random.RandomState(0).standard_normal((200, 30))
    labels = np.zeros(200, dtype=int)
    counted = RegionCounts(1)
    counted.add(activations, activations, labels)
    joblib.dump(counted, tmp_path / "counted")
    mapped = joblib.load(tmp_path / "counted", mmap_mode="r")
    mapped.add(activations, activations, labels)
    np.testing.assert_array_equal(mapped.by_region()[0], 2)


def test_compiled_sums_as_python():
    rows = np.array([0, 1, 0, 2])
    features = np.arange(8.0).reshape(4, 2)
    counts, sums = np.zeros(3, dtype=np.int64), np.zeros((2, 2))
    module._count_and_sum.py_func(rows, features, counts, sums)
    np.testing.assert_array_equal(counts, [2, 1, 1])
    # There is no room for the third row's sum, which is left out.
    np.testing.assert_array_equal(sums, [[4, 6], [2, 3]])
