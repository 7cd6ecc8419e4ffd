"""A batch is a pickle, and a pickle is a program: only arrays of bytes are let in."""

import io
import pickle

import numpy as np
import pytest

from robustkit.datasets._batches import read_batch
from robustkit.exceptions import CorruptFileError
from tests.datasets.pickles import array, batch, batch_pickle, number, text

PIXELS = np.arange(2 * 3072, dtype=np.uint16).astype(np.uint8).reshape(2, 3072)
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
    content = batch_pickle(PIXELS, [7, 3])
    pixels, labels = read(content)
    trusted = pickle.loads(content, encoding="bytes")
    np.testing.assert_array_equal(pixels, trusted[b"data"])
    np.testing.assert_array_equal(pixels, PIXELS)
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
        "robustkit.datasets._batches\npickle.loads",
    ],
)
def test_no_other_name_is_found(name):
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
def test_any_other_content_is_refused(data, message):
    with pytest.raises(CorruptFileError, match=f"the batch is not.*{message}"):
        read(batch(data, NO_LABELS))


@pytest.mark.parametrize("n_bytes", [0, 10, 200, 6000])
def test_half_a_pickle_is_refused(n_bytes):
    with pytest.raises(CorruptFileError, match="the batch is not a CIFAR-10 batch"):
        read(batch_pickle(PIXELS, [7, 3])[:n_bytes])
