"""The choice of images."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from robustkit.datasets._image_set import select_rows, stratified_rows

label_arrays = arrays(np.int64, st.integers(1, 60), elements=st.integers(0, 4))
LABELS = np.arange(20) % 4


@st.composite
def choices(draw):
    """Labels and two numbers of rows, the first at most the second."""
    labels = draw(label_arrays)
    n_rows = sorted(draw(st.tuples(*[st.integers(1, len(labels))] * 2)))
    return labels, *n_rows


@given(choices())
def test_a_stratified_choice_is_exact_ascending_and_nested(choice):
    labels, few, many = choice
    rows = stratified_rows(labels, few)
    assert len(rows) == few
    assert (np.diff(rows) > 0).all()
    assert set(rows) <= set(stratified_rows(labels, many))


@given(choices())
def test_a_stratified_choice_keeps_the_share_of_every_class(choice):
    labels, n_rows, _ = choice
    n_all, n_chosen = (
        np.bincount(labels),
        np.bincount(labels[stratified_rows(labels, n_rows)]),
    )
    share = n_all / len(labels)
    n_chosen = np.pad(n_chosen, (0, len(n_all) - len(n_chosen)))
    # Every class is rounded, and together they must give n_rows.
    bound = 0.5 + share * np.count_nonzero(n_all) / 2
    assert (np.abs(n_chosen - share * n_rows) <= bound + 1e-9).all()


def test_a_stratified_choice_is_the_same_in_every_session():
    assert stratified_rows(LABELS, 6).tolist() == [1, 8, 10, 17, 18, 19]


@pytest.mark.parametrize(
    "subset",
    [slice(3, 9, 2), [5, 2, 2], np.array([-1]), LABELS == 1, slice(15, 100)],
    ids=["slice", "list", "negative", "mask", "slice over the end"],
)
def test_an_index_means_what_it_means_to_numpy(subset):
    rows = select_rows(subset, LABELS)
    assert np.array_equal(LABELS[rows], LABELS[subset])


def test_a_tuple_is_a_list_of_rows():
    """To numpy it would be a place in several dimensions."""
    for subset in ((5, 2, 2), (3,)):
        assert select_rows(subset, LABELS).tolist() == list(subset)


def test_all_images_may_be_counted():
    assert select_rows(20, LABELS).tolist() == list(range(20))
    (row,) = select_rows(1, LABELS)
    assert 0 <= row < 20


def test_a_choice_leaves_the_random_stream_alone():
    state = np.random.get_state()[1].copy()
    stratified_rows(LABELS, 7)
    np.testing.assert_array_equal(np.random.get_state()[1], state)


def test_none_is_all_without_a_copy():
    assert np.shares_memory(LABELS[select_rows(None, LABELS)], LABELS)


def test_an_int_is_a_stratified_choice():
    assert np.bincount(LABELS[select_rows(8, LABELS)]).tolist() == [2, 2, 2, 2]


@pytest.mark.parametrize(
    ("subset", "message"),
    [
        (21, "subset=21 is more than the 20 images here"),
        ([20], "'subset' parameter must be an int, a slice.*out of bounds"),
        ([0.5], "'subset' parameter must be an int, a slice"),
        ([True], "'subset' parameter must be .*boolean mask of that length"),
        ([[1, 2]], r"at least one\. Got the shape \(1, 2\)"),
        (True, r"at least one\. Got the shape \(1, 20\)"),
        ((), r"at least one\. Got the shape \(0,\)"),
        (slice(5, 5), r"at least one\. Got the shape \(0,\)"),
    ],
)
def test_a_subset_that_is_none_is_told(subset, message):
    with pytest.raises(ValueError, match=message):
        select_rows(subset, LABELS)
