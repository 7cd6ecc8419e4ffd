"""Any data set by its name, or from a file of the user."""

import io
import pickle
from pathlib import Path

import numpy as np
import pytest

from robustkit.datasets import load_digits_images
from robustkit.datasets._by_name import IMAGE_SETS, load_dataset, locate, read_archive
from robustkit.datasets._cifar10 import BATCHES
from robustkit.datasets._handwritten_digits import FILES
from robustkit.exceptions import CorruptFileError

DIGITS, MNIST, CIFAR10 = IMAGE_SETS


def touch(folder, names):
    folder.mkdir(parents=True)
    for name in names:
        (folder / name).touch()


def test_the_digits_are_always_there():
    assert locate(DIGITS) == "embedded in scikit-learn"


def test_missing_sets_would_be_downloaded(tmp_path):
    assert locate(MNIST, tmp_path) == (
        f"would be downloaded to {tmp_path / 'mnist'} (11.6 MB)"
    )
    assert locate(CIFAR10, tmp_path) == (
        f"would be downloaded to {tmp_path / 'cifar10'} (170.5 MB)"
    )


def test_files_that_are_there_are_found(tmp_path):
    touch(
        tmp_path / "mnist", [file.filename for pair in FILES.values() for file in pair]
    )
    assert locate(MNIST, tmp_path) == str(tmp_path / "mnist")
    batches = tmp_path / "cifar10" / "cifar-10-batches-py"
    touch(batches, BATCHES["train"])
    assert "would be downloaded" in locate(CIFAR10, tmp_path)
    (batches / "test_batch").touch()
    assert locate(CIFAR10, tmp_path) == str(batches)


def test_half_of_mnist_is_half_to_download(tmp_path):
    touch(tmp_path / "mnist", [file.filename for file in FILES["train"]])
    assert "(1.7 MB)" in locate(MNIST, tmp_path)


def test_digits_are_loaded_by_name():
    images = load_dataset("digits")
    test = load_digits_images(split="test")
    np.testing.assert_array_equal(images.X_test, test.data)
    np.testing.assert_array_equal(images.y_test, test.target)
    assert images.X_train.shape == (1437, 64)
    assert images.image_shape == (8, 8)


def test_a_file_is_loaded_by_its_path(tmp_path):
    path = tmp_path / "mine.npz"
    np.savez(path, X=np.eye(10), y=np.arange(10) % 2)
    assert load_dataset(str(path)).X_train.shape == (8, 10)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("minst", r"digits, mnist, cifar10 or .* Got 'minst' instead, did you mean"),
        ("imagenet-22k", r"Got 'imagenet-22k' instead\.$"),
    ],
)
def test_an_unknown_name_is_told(name, message):
    with pytest.raises(ValueError, match=message):
        load_dataset(name)


@pytest.mark.real_data
@pytest.mark.parametrize("name", ["mnist", "cifar10"])
def test_real_images_are_loaded_by_name(real_data_home, name):
    if name == "cifar10" and "downloaded" in locate(CIFAR10, real_data_home):
        pytest.skip(f"no CIFAR-10 in {real_data_home}")
    images = load_dataset(name, data_home=real_data_home, n_train=50, n_test=20)
    assert (len(images.X_train), len(images.X_test)) == (50, 20)
    assert images.X_train.shape[1] == np.prod(images.image_shape)


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
        ({"X": X.astype(str), "y": Y}, "X must hold real numbers. Got the dtype <U"),
        ({"X": X + 1j, "y": Y}, "X must hold real numbers. Got the dtype complex128"),
        ({"X": X, "y": Y, "X_test": X[:, 0], "y_test": Y}, "4 features, but X has 12"),
        (
            {"X": X, "y": Y, "X_test": X.transpose(0, 2, 1), "y_test": Y},
            r"images of X_test have the shape \(4, 3\), but those of X \(3, 4\)",
        ),
        ({"X": X[:0], "y": Y[:0]}, "X has no rows"),
        ({"X": X[:, :, :0], "y": Y}, "X has no features"),
        ({"X": X, "y": Y, "X_test": X[:0], "y_test": Y[:0]}, "X_test has no rows"),
        ({"X": X, "y": Y, "y_test": Y}, "must hold 'X_test'. Got X, y, y_test"),
        ({"X": X * 1e30, "y": Y}, r"X holds 9\.\d+e\+29.*Scale them"),
        ({"X": -X * 1e300, "y": Y}, r"X holds -9\.\d+e\+299.*Scale them"),
        ({"X": X, "y": Y, "X_test": X * 1e30, "y_test": Y}, "X_test holds .*Scale"),
        ({"X": X * np.inf, "y": Y}, "X and y: Input contains (NaN|infinity)"),
        ({"X": X * 0 + 0.5, "y": Y}, r"X holds nothing but 0\.5"),
        ({"X": X * 1e-50, "y": Y}, r"X holds nothing but 0\.0"),
        ({"X": X, "y": Y * 0}, "y holds one class, 0; at least 2 are needed"),
        ({"X": X, "y": np.full(40, "cat")}, "y holds one class, 'cat'"),
        ({"X": X, "y": np.where(Y, np.nan, Y)}, "y contains NaN"),
        ({"X": X, "y": np.where(Y, np.inf, Y)}, "y contains NaN or infinity"),
        ({"X": X, "y": RANDOM.rand(40)}, r"y holds 0\.\d+; a class must be"),
        ({"X": X, "y": Y + 1j}, "y must hold integers or words. Got .* complex128"),
        ({"X": X, "y": Y.astype("S")}, r"y must hold integers or words. Got .* \|S"),
        ({"X": X, "y": Y.astype("M8[D]")}, "y must hold .* Got .* datetime64"),
        (
            {"X": X, "y": Y, "X_test": X, "y_test": Y + 2},
            r"y_test holds 4, which y does not",
        ),
        (
            {"X": X, "y": Y, "X_test": X, "y_test": Y.astype(str)},
            "y_test holds '0', which y does not",
        ),
        ({"X": X[:5], "y": np.arange(5)}, "every class needs two images"),
    ],
)
@pytest.mark.filterwarnings("error")
def test_unusable_content_is_told(tmp_path, arrays, message):
    with pytest.raises(ValueError, match=rf"mine\.npz.*{message}") as error:
        read_archive(write(tmp_path, **arrays))
    assert len(str(error.value).splitlines()) == 1
    assert len(str(error.value)) < 250


@pytest.mark.parametrize(
    "y",
    [Y == 0, Y - 5, Y.astype(np.uint64) + 2**63, Y.astype(float), Y[:, None]],
    ids=["booleans", "negative", "huge", "floats", "a column"],
)
def test_labels_may_be_of_any_kind_that_counts_or_names(tmp_path, y):
    images = read_archive(write(tmp_path, X=X, y=y))
    assert images.y_train.shape == (32,)
    assert set(images.y_train) == set(images.y_test) == set(y.ravel())


def test_numbers_may_be_of_any_kind(tmp_path):
    whole = RANDOM.randint(100, size=(40, 3))
    for dtype in (np.int16, np.uint32, np.float16, np.float64, np.longdouble):
        images = read_archive(write(tmp_path, X=whole.astype(dtype), y=Y))
        found = np.vstack([images.X_train, images.X_test])
        assert found.dtype == np.float32
        assert sorted(map(tuple, found)) == sorted(map(tuple, whole.astype(float)))
    images = read_archive(write(tmp_path, X=whole > 50, y=Y))
    assert set(images.X_train.ravel()) == {0.0, 1.0}


def test_numbers_nearly_too_large_are_taken(tmp_path):
    limit = np.sqrt(np.finfo(np.float32).max / 12)
    images = read_archive(write(tmp_path, X=X * 0.999 * limit, y=Y))
    assert np.isfinite((images.X_train**2).sum(axis=1)).all()
    with pytest.raises(ValueError, match="Scale them"):
        read_archive(write(tmp_path, X=X / X.max() * 1.001 * limit, y=Y))


def test_flat_test_images_are_taken(tmp_path):
    arrays = {"X": X, "y": Y, "X_test": X.reshape(40, 12), "y_test": Y}
    images = read_archive(write(tmp_path, **arrays))
    np.testing.assert_array_equal(images.X_train, images.X_test)
    assert images.image_shape == (3, 4)
