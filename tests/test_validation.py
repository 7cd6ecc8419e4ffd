"""Checks that scikit-learn's own validation cannot say."""

import pytest

from robustkit._validation import check_image_shape, did_you_mean


@pytest.mark.parametrize("shape", [(8, 8), (1, 8, 8), [4, 16]])
def test_a_shape_that_fits_is_given_back_as_a_tuple(shape):
    assert check_image_shape(shape, 64) == tuple(shape)


@pytest.mark.parametrize("shape", [8, (8,), (0, 64), "ab", (1, 1, 8, 8), None])
def test_something_else_than_a_shape_is_refused(shape):
    with pytest.raises(ValueError, match="The 'image_shape' parameter must be"):
        check_image_shape(shape, 64)


def test_a_shape_that_does_not_fit_says_both_numbers():
    with pytest.raises(ValueError, match="holds 56 values, but X has 64 features"):
        check_image_shape((7, 8), 64)


def test_a_typo_finds_its_word():
    assert did_you_mean("spaerman", ["spearman", "kendall"]) == (
        ", did you mean 'spearman'?"
    )


def test_something_strange_finds_nothing():
    assert did_you_mean("zzz", ["spearman", "kendall"]) == "."
