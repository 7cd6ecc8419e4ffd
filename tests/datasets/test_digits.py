"""The digits that are always there."""

import hashlib

import numpy as np
import pytest
from sklearn.datasets import load_digits
from sklearn.utils._testing import assert_array_equal

from robustkit.datasets import load_digits_images


def test_they_are_the_digits_of_sklearn():
    digits, original = load_digits_images(), load_digits()
    assert digits.data.dtype == np.float32
    assert_array_equal(digits.data, original.data / 16)
    assert_array_equal(digits.target, original.target)
    assert digits.feature_names == original.feature_names
    assert digits.image_shape == original.images.shape[1:]
    assert digits.target_names.tolist() == [str(digit) for digit in range(10)]
    assert "1,797" in digits.DESCR
    assert digits.frame is None


def test_the_splits_part_the_images():
    everything = load_digits_images().data
    train, test = (load_digits_images(split=split).data for split in ("train", "test"))
    assert (len(train), len(test)) == (1437, 360)
    rows = {row.tobytes() for row in everything}
    assert {row.tobytes() for row in train} | {row.tobytes() for row in test} == rows


def test_the_split_is_stratified():
    (_, y), (_, y_test) = (
        load_digits_images(split=split, return_X_y=True) for split in ("train", "test")
    )
    share = np.bincount(y_test) / (np.bincount(y) + np.bincount(y_test))
    assert np.abs(share - 0.2).max() < 0.005


def test_the_split_never_changes():
    X, y = load_digits_images(split="test", return_X_y=True)
    found = hashlib.sha256(X.tobytes() + y.tobytes()).hexdigest()
    assert found == "343d0592855317e4eb1d91f03f6108c26b5da04d48c6a800b70f2de4bc333789"


def test_as_frame_gives_pandas_objects():
    digits = load_digits_images(as_frame=True, split="test")
    assert digits.data.shape == (360, 64)
    assert digits.frame.columns.tolist() == [*digits.feature_names, "target"]
    assert digits.target.name == "target"
    X, y = load_digits_images(as_frame=True, return_X_y=True, split="test")
    assert X.equals(digits.data)
    assert y.equals(digits.target)


def test_an_unknown_split_is_told():
    with pytest.raises(ValueError, match=r"'split' parameter .* Got 'valid' instead"):
        load_digits_images(split="valid")


@pytest.mark.parametrize("split", [None, "train", "test"])
def test_what_a_caller_writes_is_not_seen_by_the_next(split):
    first, clean = load_digits_images(split=split), load_digits_images(split=split)
    first.data[:] = -1
    first.target[:] = -1
    first.target_names[:] = "x"
    first.feature_names.clear()
    again = load_digits_images(split=split)
    for name in ("data", "target", "target_names", "feature_names"):
        assert_array_equal(again[name], clean[name])
