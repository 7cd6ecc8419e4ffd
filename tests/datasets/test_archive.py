"""Images of the user's own."""

import io
import pickle
from pathlib import Path

import numpy as np
import pytest

from robustkit.datasets._archive import read_archive
from robustkit.exceptions import CorruptFileError

RANDOM = np.random.RandomState(0)
X = RANDOM.rand(40, 3, 4)
Y = np.arange(40) % 4


def write(folder, **arrays):
    path = folder / "mine.npz"
    np.savez(path, **arrays)
    return path


def test_a_fifth_of_every_class_is_held_out(tmp_path):
    images = read_archive(write(tmp_path, X=X, y=Y))
    assert images.X_train.shape == (32, 12)
    assert images.X_train.dtype == np.float32
    assert np.bincount(images.y_test).tolist() == [2, 2, 2, 2]
    assert images.image_shape == (3, 4)
    rows = {row.tobytes() for row in np.vstack([images.X_train, images.X_test])}
    assert rows == {row.tobytes() for row in X.reshape(40, 12).astype(np.float32)}


def test_a_test_set_in_the_file_is_used(tmp_path):
    path = write(tmp_path, X=X, y=Y, X_test=X[:6], y_test=Y[:6])
    images = read_archive(path)
    assert (len(images.X_train), len(images.X_test)) == (40, 6)


def test_bytes_become_numbers_up_to_one(tmp_path):
    pixels = RANDOM.randint(256, size=(10, 5), dtype=np.uint8)
    path = write(tmp_path, X=pixels, y=Y[:10], X_test=pixels, y_test=Y[:10])
    images = read_archive(path)
    np.testing.assert_array_equal(images.X_train, pixels / np.float32(255))
    assert images.image_shape is None


def test_labels_may_be_words(tmp_path):
    images = read_archive(write(tmp_path, X=X, y=np.array(list("abcd"))[Y]))
    assert sorted(set(images.y_test)) == list("abcd")


def test_a_missing_file_is_told(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"No such file .*none\.npz"):
        read_archive(tmp_path / "none.npz")


def corrupt_archive():
    """An archive whose stored bytes were changed."""
    buffer = io.BytesIO()
    np.savez(buffer, X=X, y=Y)
    content = bytearray(buffer.getvalue())
    content[1000] ^= 1
    return bytes(content)


@pytest.mark.parametrize(
    "content",
    [b"", b"no archive", b"PK\x03\x04", corrupt_archive(), corrupt_archive()[:-50]],
    ids=["empty", "text", "head only", "changed", "half"],
)
def test_a_corrupt_file_is_refused(tmp_path, content):
    path = tmp_path / "mine.npz"
    path.write_bytes(content)
    with pytest.raises(CorruptFileError, match=r"mine\.npz is corrupt or not"):
        read_archive(path)


class Touch:
    """Makes a file when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


@pytest.mark.parametrize("as_array", [True, False], ids=["in an array", "bare"])
def test_nothing_is_unpickled(tmp_path, as_array):
    goal = tmp_path / "touched"
    if as_array:
        path = write(tmp_path, X=np.array([Touch(goal)] * 40), y=Y)
    else:
        path = tmp_path / "mine.npz"
        path.write_bytes(pickle.dumps(Touch(goal)))
    with pytest.raises(
        CorruptFileError, match=r"plain arrays: .*(allow_pickle|pickled)"
    ):
        read_archive(path)
    assert not goal.exists()


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({}, "must hold 'X'. Got nothing"),
        ({"X": X, "labels": Y}, "must hold 'y'. Got X, labels"),
        ({"X": X, "y": Y, "X_test": X}, "must hold 'y_test'"),
        ({"X": X, "y": Y[:5]}, "X and y: Found input variables with inconsistent"),
        ({"X": X * np.nan, "y": Y}, "X and y: Input contains NaN"),
        ({"X": X, "y": np.eye(40)}, "X and y: y should be a 1d array"),
        ({"X": X[:4], "y": Y[:4]}, "minimum of 5 is required"),
        ({"X": np.float64(3), "y": Y}, "X and y: "),
        ({"X": X.astype(str), "y": Y}, None),
        ({"X": X, "y": Y, "X_test": X[:, 0], "y_test": Y}, "4 features, but X has 12"),
    ],
)
def test_unusable_content_is_told(tmp_path, arrays, message):
    if message is None:
        arrays, message = {"X": np.full((40, 2), "a"), "y": Y}, "X and y: .*'a'"
    with pytest.raises(ValueError, match=rf"mine\.npz.*{message}"):
        read_archive(write(tmp_path, **arrays))
