"""Digits and MNIST: small files of the same form, from a server, and the real ones."""

import gzip
import hashlib
import struct

import numpy as np
import pytest
from sklearn.datasets import load_digits
from sklearn.utils._testing import assert_array_equal

from robustkit.datasets import _handwritten_digits, fetch_mnist, load_digits_images
from robustkit.datasets._files import RemoteFile
from robustkit.exceptions import CorruptFileError, DownloadError
from tests.datasets.loopback import error, whole


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
def test_digits_are_a_copy_for_every_caller(split):
    first, clean = load_digits_images(split=split), load_digits_images(split=split)
    first.data[:] = -1
    first.target[:] = -1
    first.target_names[:] = "x"
    first.feature_names.clear()
    again = load_digits_images(split=split)
    for name in ("data", "target", "target_names", "feature_names"):
        assert_array_equal(again[name], clean[name])


PIXELS = np.random.RandomState(0).randint(256, size=(30, 28, 28), dtype=np.uint8)
LABELS = np.arange(30, dtype=np.uint8) % 10


def idx(array):
    """The bytes of an IDX file, gzipped."""
    head = struct.pack(f">BBBB{array.ndim}i", 0, 0, 8, array.ndim, *array.shape)
    return gzip.compress(head + array.tobytes())


CONTENTS = {"images.gz": idx(PIXELS), "labels.gz": idx(LABELS)}


@pytest.fixture(autouse=True)
def small_files(monkeypatch, server):
    """Both splits are the same two small files, offered by the server."""
    files = tuple(
        RemoteFile(
            name,
            (server.url,),
            f"sha256:{hashlib.sha256(content).hexdigest()}",
            len(content),
        )
        for name, content in CONTENTS.items()
    )
    monkeypatch.setattr(_handwritten_digits, "FILES", {"train": files, "test": files})
    server.answers = [whole(content) for content in CONTENTS.values()]


@pytest.fixture
def data_home(tmp_path):
    (tmp_path / "mnist").mkdir()
    for name, content in CONTENTS.items():
        (tmp_path / "mnist" / name).write_bytes(content)
    return tmp_path


def test_files_that_are_there_are_read(server, data_home):
    mnist = fetch_mnist(data_home=data_home)
    assert server.n_requests == 0
    assert mnist.data.dtype == np.float32
    assert mnist.target.dtype == np.int64
    expected = [
        [pixel / 255 for row in image for pixel in row] for image in PIXELS.tolist()
    ]
    np.testing.assert_array_equal(mnist.data, np.array(expected, dtype=np.float32))
    np.testing.assert_array_equal(mnist.target, LABELS)
    assert mnist.image_shape == (28, 28)
    assert mnist.feature_names[29] == "pixel_1_1"


def test_the_variable_says_where_they_are(monkeypatch, data_home):
    monkeypatch.setenv("ROBUSTKIT_DATA", str(data_home))
    assert len(fetch_mnist("test", download_if_missing=False).data) == 30


def test_missing_files_are_downloaded_once(server, tmp_path):
    first = fetch_mnist(data_home=tmp_path, delay=0)
    second = fetch_mnist(data_home=tmp_path)
    assert server.n_requests == 2
    np.testing.assert_array_equal(first.data, second.data)


def test_the_number_of_new_tries_is_the_user_s(server, tmp_path):
    server.answers = [error(500)]
    with pytest.raises(DownloadError, match="tries: 2"):
        fetch_mnist(data_home=tmp_path, n_retries=1, delay=0)


def test_a_missing_file_is_told(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"mnist/images\.gz does not exist"):
        fetch_mnist(data_home=tmp_path, download_if_missing=False)


@pytest.mark.parametrize("name", CONTENTS)
def test_half_a_file_is_refused_and_kept(server, data_home, name):
    path = data_home / "mnist" / name
    path.write_bytes(CONTENTS[name][:-20])
    with pytest.raises(CorruptFileError, match=f"{name} is corrupt or incomplete"):
        fetch_mnist(data_home=data_home)
    assert server.n_requests == 0
    assert path.exists()


def test_a_subset_takes_rows_of_images_and_labels(data_home):
    X, y = fetch_mnist(data_home=data_home, subset=[7, 3], return_X_y=True)
    assert y.tolist() == [7, 3]
    np.testing.assert_array_equal(X[1], PIXELS[3].ravel() / np.float32(255))


@pytest.mark.parametrize("subset", [None, 10, slice(2, 8), [1, 2]])
def test_mnist_is_a_copy_for_every_caller(data_home, subset):
    first, clean = (fetch_mnist(data_home=data_home, subset=subset) for _ in range(2))
    first.data[:] = -1
    first.target[:] = -1
    again = fetch_mnist(data_home=data_home, subset=subset)
    np.testing.assert_array_equal(again.data, clean.data)
    np.testing.assert_array_equal(again.target, clean.target)


def test_as_many_images_as_there_are_and_no_more(data_home):
    everything = fetch_mnist(data_home=data_home)
    found = fetch_mnist(data_home=data_home, subset=30)
    np.testing.assert_array_equal(found.data, everything.data)
    with pytest.raises(ValueError, match="subset=31 is more than the 30 images here"):
        fetch_mnist(data_home=data_home, subset=31)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("split", "valid"),
        ("subset", 0),
        ("subset", "all"),
        ("data_home", 3),
        ("n_retries", -1),
        ("delay", "long"),
        ("as_frame", "yes"),
    ],
)
def test_a_wrong_parameter_is_told(name, value):
    with pytest.raises(ValueError, match=f"'{name}' parameter of fetch_mnist must be"):
        fetch_mnist(**{name: value})


@pytest.mark.real_data
@pytest.mark.parametrize(
    ("split", "counts"),
    [
        ("train", [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]),
        ("test", [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]),
    ],
)
def test_the_real_mnist(monkeypatch, real_data_home, split, counts):
    monkeypatch.undo()  # The real files again.
    X, y = fetch_mnist(
        split, data_home=real_data_home, download_if_missing=False, return_X_y=True
    )
    assert X.shape == (sum(counts), 784)
    assert (X.min(), X.max()) == (0, 1)
    assert np.bincount(y).tolist() == counts
    # The mean and the deviation that everyone normalises with.
    if split == "train":
        assert X.mean(dtype=np.float64) == pytest.approx(0.1307, abs=5e-5)
        assert X.std(dtype=np.float64) == pytest.approx(0.3081, abs=5e-5)


@pytest.mark.real_data
def test_a_subset_of_the_real_mnist(monkeypatch, real_data_home):
    monkeypatch.undo()
    _, y = fetch_mnist(subset=1000, data_home=real_data_home, return_X_y=True)
    assert (
        np.abs(np.bincount(y) - [99, 112, 99, 102, 97, 90, 99, 104, 98, 99]).max() <= 1
    )
