"""Images shrink by the means of their blocks, and labels stay."""

import numpy as np
import pytest

from papers import _data as data

ALL = {"n_train": None, "n_test": None}


def test_shrunk_images_are_means_of_blocks(global_random_seed):
    images = np.random.RandomState(global_random_seed).uniform(size=(5, 3, 6, 6))
    found = data.shrunk(images.reshape(5, -1), (3, 6, 6), 3).reshape(5, 3, 3, 3)
    for row, column in np.ndindex(3, 3):
        block = images[:, :, 2 * row : 2 * row + 2, 2 * column : 2 * column + 2]
        np.testing.assert_allclose(found[:, :, row, column], block.mean(axis=(2, 3)))


def test_side_must_divide_the_rows():
    with pytest.raises(ValueError, match=r"divide the 8 rows .* Got 3\."):
        data.load("digits", ALL | {"side": 3})


def test_images_are_left_as_they_are_unless_a_side_is_given():
    whole = data.load("digits", ALL | {"side": None})
    half = data.load("digits", ALL | {"side": 4})
    assert whole.image_shape == (8, 8)
    assert half.image_shape == (4, 4)
    assert half.X_train.shape == (len(whole.X_train), 16)
    np.testing.assert_array_equal(half.y_train, whole.y_train)
    np.testing.assert_allclose(half.X_test.mean(axis=1), whole.X_test.mean(axis=1))
