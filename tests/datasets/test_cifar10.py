"""CIFAR-10 in all its forms; a batch is a pickle, of which only arrays are let in."""

import hashlib
import io
import pickle
import tarfile

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from robustkit.datasets import _cifar10, fetch_cifar10
from robustkit.datasets._cifar10 import read_batch
from robustkit.datasets._files import RemoteFile
from robustkit.exceptions import CorruptFileError
from tests.datasets.loopback import whole
from tests.datasets.pickles import array, batch, batch_pickle, number, text

TWO_IMAGES = np.arange(2 * 3072, dtype=np.uint16).astype(np.uint8).reshape(2, 3072)
NO_LABELS = b"]"


class Touch:
    """Makes a file when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


def read(content):
    return read_batch(io.BytesIO(content), "the batch")


def test_a_batch_is_read_as_pickle_would_read_it():
    content = batch_pickle(TWO_IMAGES, [7, 3])
    pixels, labels = read(content)
    trusted = pickle.loads(content, encoding="bytes")
    np.testing.assert_array_equal(pixels, trusted[b"data"])
    np.testing.assert_array_equal(pixels, TWO_IMAGES)
    assert labels.tolist() == trusted[b"labels"] == [7, 3]


def test_a_malicious_pickle_does_nothing(tmp_path):
    goal = tmp_path / "touched"
    content = pickle.dumps({b"data": Touch(goal), b"labels": []})
    with pytest.raises(CorruptFileError, match=r"the batch is not .*'(_io|io)\.open'"):
        read(content)
    assert not goal.exists()
    # It is one: loaded unrestricted, it does its work.
    pickle.loads(content)[b"data"].close()
    assert goal.exists()


@pytest.mark.parametrize(
    "name",
    [
        "os\nsystem",
        "builtins\neval",
        "builtins\ngetattr",
        "numpy\nload",
        "numpy\ncore.multiarray._reconstruct",
        "numpy.core.multiarray\nscalar",
        "robustkit.datasets._cifar10\npickle.loads",
    ],
)
def test_cifar10_batch_may_name_arrays_only(name):
    with pytest.raises(CorruptFileError, match="needs nothing but arrays"):
        read(f"c{name}\n(tR.".encode())


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (array(b"\0" * 8, (1,), dtype=b"O"), "type b'O' in place of bytes"),
        (array(b"", (0, 3072)).replace(b"\x89", b"\x88"), "not plain bytes"),
        (array(b"\0" * 8, (9,)), "cannot reshape"),
        (array(b"\0" * 8, (1, 8)), r"0 labels, but pixels of \(1, 8\)"),
        (number(3), "no attribute 'array'"),
        # An array that never got its state, and names that are called or filled with
        # what they do not expect.
        (b"cnumpy\nndarray\n(tR", "no attribute 'shape'"),
        (b"cnumpy\nndarray\n" + text(b"x") + b"b", "argument"),
        (b"cnumpy\ndtype\n(tR", "argument"),
    ],
)
def test_cifar10_batch_with_other_content_is_refused(data, message):
    with pytest.raises(CorruptFileError, match=f"the batch is not.*{message}"):
        read(batch(data, NO_LABELS))


@pytest.mark.parametrize("n_bytes", [0, 10, 200, 6000])
def test_truncated_cifar10_batch_is_refused(n_bytes):
    with pytest.raises(CorruptFileError, match="the batch is not a CIFAR-10 batch"):
        read(batch_pickle(TWO_IMAGES, [7, 3])[:n_bytes])


NAMES = {
    "train": ["data_batch_1", "data_batch_2", "data_batch_3"],
    "test": ["test_batch"],
}
random_state = np.random.RandomState(0)
PIXELS = {
    name: random_state.randint(256, size=(4, 3072), dtype=np.uint8)
    for name in [*NAMES["train"], *NAMES["test"]]
}
LABELS = {name: random_state.randint(10, size=4) for name in PIXELS}
BATCHES = {name: batch_pickle(PIXELS[name], LABELS[name]) for name in PIXELS}


def archive():
    """The batches in an archive, in an order that is not theirs, with more beside."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        for name in ["readme.html", *sorted(BATCHES, reverse=True)]:
            content = BATCHES.get(name, b"<html>")
            member = tarfile.TarInfo(f"cifar-10-batches-py/{name}")
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


def packed(pixels, labels, lossy):
    """Pack images as the README of the packed form says, one value after the other."""
    images = pixels.reshape(-1, 3, 32, 32).astype(int)
    images[:, 0] -= images[:, 1]
    images[:, 2] -= images[:, 1]
    differences = np.diff(images, axis=-1, prepend=0) % 256
    buffer = io.BytesIO()
    np.savez_compressed(
        buffer, r=differences.astype(np.uint8), y=labels.astype(np.uint8), jpeg=lossy
    )
    return buffer.getvalue()


ARCHIVE = archive()
LOSSY = np.array([False, True, False, False])
PACKED = {f"{name}.npz": packed(PIXELS[name], LABELS[name], LOSSY) for name in BATCHES}


def checksums(algorithm, contents):
    return {
        split: {
            name + suffix: f"{algorithm}:"
            + hashlib.new(algorithm, contents[name + suffix]).hexdigest()
            for name in names
            for suffix in ["", ".npz"]
            if name + suffix in contents
        }
        for split, names in NAMES.items()
    }


@pytest.fixture(autouse=True)
def small_files(monkeypatch, server):
    remote = RemoteFile(
        "cifar-10-python.tar.gz",
        (server.url,),
        f"sha256:{hashlib.sha256(ARCHIVE).hexdigest()}",
        len(ARCHIVE),
    )
    monkeypatch.setattr(_cifar10, "ARCHIVE", remote)
    monkeypatch.setattr(_cifar10, "BATCHES", checksums("md5", BATCHES))
    monkeypatch.setattr(_cifar10, "PACKED", checksums("sha256", PACKED))
    server.answers = [whole(ARCHIVE)]


def write(folder, contents):
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in contents.items():
        (folder / name).write_bytes(content)


def put_batches(home):
    write(home / "cifar10" / "cifar-10-batches-py", BATCHES)


def put_archive(home):
    write(home / "cifar10", {"cifar-10-python.tar.gz": ARCHIVE})


def put_packed(home):
    write(home / "cifar10", PACKED)


@pytest.mark.parametrize("split", NAMES)
@pytest.mark.parametrize("put", [put_batches, put_archive, put_packed])
def test_every_form_gives_the_same_images(server, tmp_path, put, split):
    put(tmp_path)
    cifar = fetch_cifar10(split, data_home=tmp_path)
    assert server.n_requests == 0
    pixels = np.concatenate([PIXELS[name] for name in NAMES[split]])
    np.testing.assert_array_equal(cifar.data, pixels / np.float32(255))
    labels = np.concatenate([LABELS[name] for name in NAMES[split]])
    np.testing.assert_array_equal(cifar.target, labels)
    assert cifar.data.dtype == np.float32
    assert cifar.target.dtype == np.int64
    assert cifar.image_shape == (3, 32, 32)
    assert cifar.target_names[[0, 9]].tolist() == ["airplane", "truck"]
    lossy = np.tile(LOSSY, len(NAMES[split]))
    assert cifar.lossy.tolist() == (lossy & (put is put_packed)).tolist()


def test_the_archive_is_downloaded_where_nothing_is(server, tmp_path):
    # A form that is not complete is not there.
    write(tmp_path / "cifar10", {"data_batch_1.npz": PACKED["data_batch_1.npz"]})
    cifar = fetch_cifar10(data_home=tmp_path)
    assert cifar.data.shape == (12, 3072)
    fetch_cifar10("test", data_home=tmp_path)
    assert server.n_requests == 1


def test_missing_files_are_told(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"cifar-10-python.* does not exist"):
        fetch_cifar10(data_home=tmp_path, download_if_missing=False)


@pytest.mark.parametrize(
    ("put", "path"),
    [
        (put_batches, "cifar-10-batches-py/data_batch_2"),
        (put_archive, "cifar-10-python.tar.gz"),
        (put_packed, "data_batch_2.npz"),
    ],
)
def test_half_a_file_is_refused(server, tmp_path, put, path):
    put(tmp_path)
    path = tmp_path / "cifar10" / path
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(CorruptFileError, match=f"{path} is corrupt or incomplete"):
        fetch_cifar10(data_home=tmp_path)
    assert server.n_requests == 0


def test_a_subset_takes_rows_of_everything(tmp_path):
    put_packed(tmp_path)
    cifar = fetch_cifar10(data_home=tmp_path, subset=slice(4, 7), as_frame=True)
    assert cifar.frame.shape == (3, 3073)
    assert cifar.target.tolist() == LABELS["data_batch_2"][:3].tolist()
    assert cifar.lossy.tolist() == LOSSY[:3].tolist()
    assert cifar.feature_names[1024 + 33] == "pixel_1_1_1"


@given(arrays(np.uint8, (2, 3072), elements=st.integers(0, 255)))
def test_unpacking_undoes_packing(tmp_path_factory, pixels):
    folder = tmp_path_factory.mktemp("packed")
    content = packed(pixels, np.arange(2), np.zeros(2, dtype=bool))
    write(folder, {"test.npz": content})
    checksum = f"sha256:{hashlib.sha256(content).hexdigest()}"
    [(unpacked, _, _)] = _cifar10._read_packed(folder, {"test.npz": checksum})
    np.testing.assert_array_equal(unpacked, pixels)


@pytest.mark.real_data
def test_the_real_cifar10(monkeypatch, real_data_home):
    monkeypatch.undo()  # The real files again.
    cifar = fetch_cifar10("test", data_home=real_data_home, download_if_missing=False)
    assert cifar.data.shape == (10_000, 3072)
    assert np.bincount(cifar.target).tolist() == [1000] * 10
    pixels = np.round(cifar.data * 255).astype(np.uint8)
    assert (pixels / np.float32(255) == cifar.data).all()
    where, _ = _cifar10.find_cifar10(real_data_home / "cifar10", "test")
    if where == real_data_home / "cifar10":
        # The packed form has an order of its own.
        found = hashlib.sha256(pixels.tobytes()).hexdigest()
        expected = "221ff26b82132bc2931b8db3f86aef10375159b6741086719d5f2b983ed04778"
        assert found == expected
        assert cifar.lossy.sum() == 21
