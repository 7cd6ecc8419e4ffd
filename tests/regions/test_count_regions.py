"""Counting the different sign patterns of some rows."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.sparse import csr_matrix

from robustkit.regions import count_regions


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
def test_agrees_with_sorting_the_patterns(X):
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
def test_any_kind_of_number_will_do(kind):
    X = np.random.RandomState(0).randint(0, 2, size=(50, 5)).astype(kind)
    for found, expected in zip(count_regions(X), reference(X), strict=True):
        np.testing.assert_array_equal(found, expected)


def test_small_numbers_of_float16_stay_greater_than_zero():
    tiny = np.finfo(np.float16).smallest_subnormal
    assert len(count_regions(np.array([[tiny], [0]], dtype=np.float16))[1]) == 2


TORCH_KINDS = ["bfloat16", "float8_e5m2", "float16", "int8", "int64", "uint8", "bool"]


@pytest.mark.parametrize("kind", TORCH_KINDS)
def test_any_kind_of_tensor_will_do(kind):
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
def test_what_has_no_regions_is_refused(activations, error, message):
    with pytest.raises(error, match=message) as raised:
        count_regions(activations)
    assert "\n" not in str(raised.value)


def test_rows_may_lie_anywhere_in_memory():
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
