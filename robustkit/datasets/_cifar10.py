"""CIFAR-10, in the files of its author or in a packed form.

A batch of its author is a pickle, which is a program: loading one calls whatever it
asks for. The only things a batch asks for are numpy's array, its type and the function
that joins the two. It gets stand-ins of this file instead, which accept plain bytes and
nothing else; any other name is refused.
"""

import os
import pickle
import tarfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import IO, Literal

import numpy as np
from numpy.typing import ArrayLike
from sklearn.utils import Bunch

from robustkit._sklearn_private import validate_params
from robustkit.datasets._files import RemoteFile, data_folder, ensure, open_verified
from robustkit.datasets._image_set import FETCHER_CONSTRAINTS, ImageSet, select_rows
from robustkit.exceptions import CorruptFileError


class _ByteType:
    """Stands for ``numpy.dtype``, and can only be uint8."""

    def __init__(self, code, *flags):
        if code != b"u1":
            raise pickle.UnpicklingError(f"an array of type {code!r} in place of bytes")

    def __setstate__(self, state):
        """Ignore the byte order: a byte has none."""


class _ByteArray:
    """Stands for ``numpy.ndarray``, and can only hold bytes."""

    def __init__(self, *kind_shape_type):
        self.array = None

    def __setstate__(self, state):
        _, shape, dtype, fortran_order, content = state
        if fortran_order or not (type(dtype) is _ByteType and type(content) is bytes):
            raise pickle.UnpicklingError("an array that is not plain bytes")
        self.array = np.frombuffer(content, dtype=np.uint8).reshape(shape)


class _BatchUnpickler(pickle.Unpickler):
    _STAND_INS = {
        ("numpy.core.multiarray", "_reconstruct"): _ByteArray,
        ("numpy", "ndarray"): _ByteArray,
        ("numpy", "dtype"): _ByteType,
    }

    def find_class(self, module, name):
        try:
            return self._STAND_INS[module, name]
        except KeyError:
            raise pickle.UnpicklingError(
                f"it asks for '{module}.{name}', and a batch needs nothing but arrays"
            ) from None


def read_batch(file: IO[bytes], name: str | Path) -> tuple[np.ndarray, np.ndarray]:
    """Read the pixels (n_images, 3072) and the labels of one CIFAR-10 batch.

    A row of pixels is red, green, blue; each row by row. `name` is what an error calls
    it.
    """
    try:
        # Written by Python 2, whose strings are bytes.
        batch = _BatchUnpickler(file, encoding="bytes").load()
        pixels = batch[b"data"].array
        labels = np.array(batch[b"labels"], dtype=np.int64)
        if pixels.shape != (len(labels), 3072):
            raise ValueError(f"{len(labels)} labels, but pixels of {pixels.shape}")
    except Exception as error:
        # A crafted pickle can fail in any way. Whichever it is, the file is refused.
        raise CorruptFileError(f"{name} is not a CIFAR-10 batch: {error}.") from error
    return pixels, labels


CIFAR10 = ImageSet(
    name="cifar10",
    n_images=60_000,
    image_shape=(3, 32, 32),
    target_names=(
        "airplane",
        "automobile",
        "bird",
        "cat",
        "deer",
        "dog",
        "frog",
        "horse",
        "ship",
        "truck",
    ),
    largest_pixel=255,
    description="""\
60,000 photographs of 32 x 32 pixels in red, green and blue, 50,000 to train and 10,000
to test, the same number of every class.

A. Krizhevsky, "Learning Multiple Layers of Features from Tiny Images", technical
report, University of Toronto, 2009, https://www.cs.toronto.edu/~kriz/cifar.html. No
licence is stated. Pixels were integers from 0 to 255 and are divided by 255. Images
are in the order of the files they were read from. In the packed form 98 images are
decoded JPEG; `lossy` marks them.
""",
)

ARCHIVE = RemoteFile(
    "cifar-10-python.tar.gz",
    ("https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz",),
    "sha256:6d958be074577803d12ecdefd02955f39262c83c16fe9348329d7fe0b5c001ce",
    170_498_071,
)

# The folder that the archive unpacks to: split -> file -> the checksum widely known.
BATCHES_FOLDER = "cifar-10-batches-py"
BATCHES = {
    "train": {
        "data_batch_1": "md5:c99cafc152244af753f735de768cd75f",
        "data_batch_2": "md5:d4bba439e000b95fd0a9bffe97cbabec",
        "data_batch_3": "md5:54ebc095f3ab1f0389bbae665268c751",
        "data_batch_4": "md5:634d18415352ddfa80567beed471001a",
        "data_batch_5": "md5:482c414d41f54cd18b22e5b47cb7c3cb",
    },
    "test": {"test_batch": "md5:40351d587109b95175f43aff81a1287e"},
}

# A lossless packing without pickles: differences of neighbouring pixels, compressed.
PACKED = {
    "train": {
        "train_0.npz": "sha256:"
        "7ccae9c595020f75d362a52fdec82b00648c2a4fa443cdfa74d9f85210f9eef6",
        "train_1.npz": "sha256:"
        "6fe67f2e700bf648043ab1c0d85750c308d952e9dbcb6510a42b979850be86d5",
        "train_2.npz": "sha256:"
        "1e33bcae7b4c38f58ed19b6e0c807ae3fc21929bebfacfdc5df2a344c414a7c7",
        "train_3.npz": "sha256:"
        "8d4f6e0c148de4226cec9168e02b1042fc34335899e2c9a86d4966c5ad3266ee",
        "train_4.npz": "sha256:"
        "0bed2d1c619a67a28f3a6a87556115785600f56291fdac6661f6db7d1cc1bb4c",
    },
    "test": {
        "test.npz": "sha256:"
        "85a8efd2c188848c2e43c2d057bb784ca1715e803788b4edb4229ab1e63f79bd",
    },
}


def find_cifar10(
    folder: Path, split: str
) -> tuple[Path | None, Callable[[], list] | None]:
    """Find the form in which a split is there, and the function that reads it.

    A folder of batches, the archive or a folder of packed files, in this order of
    preference; None and None if no form is complete. The function returns a list of
    (pixels, labels, lossy), one for each file.
    """
    batches = folder / BATCHES_FOLDER
    if all((batches / name).exists() for name in BATCHES[split]):
        return batches, partial(_read_batches, batches, BATCHES[split])
    archive = folder / ARCHIVE.filename
    if archive.exists():
        return archive, partial(_read_archive, archive, BATCHES[split])
    if all((folder / name).exists() for name in PACKED[split]):
        return folder, partial(_read_packed, folder, PACKED[split])
    return None, None


def _read_batches(folder, checksums):
    parts = []
    for name, checksum in checksums.items():
        with open_verified(folder / name, checksum) as file:
            parts.append(_exact(*read_batch(file, folder / name)))
    return parts


def _read_archive(path, names):
    parts = {}
    with (
        open_verified(path, ARCHIVE.checksum) as file,
        # As a stream: going back would decompress everything anew.
        tarfile.open(fileobj=file, mode="r|gz") as archive,
    ):
        for member in archive:
            name = member.name.rpartition("/")[2]
            batch = archive.extractfile(member) if name in names else None
            if batch is not None:
                parts[name] = _exact(*read_batch(batch, f"{name} in {path}"))
            if len(parts) == len(names):
                break
    return [parts[name] for name in names]


def _exact(pixels, labels):
    return pixels, labels, np.zeros(len(labels), dtype=bool)


def _read_packed(folder, checksums):
    parts = []
    for name, checksum in checksums.items():
        with (
            open_verified(folder / name, checksum) as file,
            np.load(file, allow_pickle=False) as arrays,
        ):
            # Bytes wrap around, as they did in the differences.
            pixels = arrays["r"].cumsum(axis=-1, dtype=np.uint8)
            parts.append((pixels, arrays["y"], arrays["jpeg"]))
        # Red and blue were stored as differences from green.
        pixels[:, 0] += pixels[:, 1]
        pixels[:, 2] += pixels[:, 1]
    return [(pixels.reshape(len(y), -1), y, lossy) for pixels, y, lossy in parts]


@validate_params(FETCHER_CONSTRAINTS, prefer_skip_nested_validation=True)
def fetch_cifar10(
    split: Literal["train", "test"] = "train",
    *,
    data_home: str | os.PathLike | None = None,
    subset: int | slice | ArrayLike | None = None,
    download_if_missing: bool = True,
    return_X_y: bool = False,
    as_frame: bool = False,
    n_retries: int = 3,
    delay: float = 1.0,
) -> Bunch | tuple:
    """Load CIFAR-10, downloading its archive (170 MB) where it is missing.

    The batches in it are pickles. They are read without running anything they name.

    Read more in the :ref:`User Guide <guide_datasets>`.

    Parameters
    ----------
    split : {"train", "test"}, default="train"
        The 50,000 training images or the 10,000 test images.

    data_home : str or path-like, default=None
        The folder whose subfolder ``cifar10`` holds ``cifar-10-batches-py/``,
        ``cifar-10-python.tar.gz`` or the packed ``train_0.npz`` ... ``test.npz``. None
        is the environment variable ``ROBUSTKIT_DATA``, and where that is not set
        ``~/robustkit_data``.

    subset : int, slice or array-like, default=None
        Which images. An int is how many: every class keeps its share, the choice is
        always the same, and a smaller one is part of a larger one. Else an index into
        the rows, as numpy understands it. None is all of them.

    download_if_missing : bool, default=True
        If False, missing files are an error.

    return_X_y : bool, default=False
        If True, return ``(data, target)`` instead of a Bunch.

    as_frame : bool, default=False
        If True, data is a DataFrame and target a Series.

    n_retries : int, default=3
        How often to try a failed download again.

    delay : float, default=1.0
        Seconds before the first new try; each further wait is twice as long.

    Returns
    -------
    cifar10 : Bunch
        With the entries:

        data : ndarray or DataFrame of shape (n_images, 3072), dtype=float32
            One flat image a row, values in [0, 1]: red, then green, then blue.
        target : ndarray or Series of shape (n_images,), dtype=int64
            The classes.
        frame : DataFrame of shape (n_images, 3073) or None
            Data and target together, if `as_frame`.
        feature_names : list of str
            ``"pixel_<channel>_<row>_<column>"``.
        target_names : ndarray of str
            Names of the classes.
        image_shape : tuple of int
            ``(3, 32, 32)``.
        lossy : ndarray of shape (n_images,), dtype=bool
            True for the few images of the packed form that are decoded JPEG.
        DESCR : str
            Where the images come from.

    (data, target) : tuple
        If `return_X_y`.

    See Also
    --------
    load_digits_images : Small digits that need no download.
    fetch_mnist : Grey images of digits.

    Examples
    --------
    >>> from robustkit.datasets import fetch_cifar10
    >>> X, y = fetch_cifar10("test", subset=1000, return_X_y=True)  # doctest: +SKIP
    >>> X.shape  # doctest: +SKIP
    (1000, 3072)
    """
    folder = data_folder(CIFAR10.name, data_home)
    _, read = find_cifar10(folder, split)
    if read is None:
        ensure(
            ARCHIVE,
            folder,
            download_if_missing=download_if_missing,
            n_retries=n_retries,
            delay=delay,
        )
        _, read = find_cifar10(folder, split)
    assert read is not None, "the archive is there now"
    pixels, target, lossy = map(np.concatenate, zip(*read(), strict=True))
    rows = select_rows(subset, target)
    return CIFAR10.load(
        pixels[rows],
        target[rows],
        return_X_y=return_X_y,
        as_frame=as_frame,
        lossy=lossy[rows],
    )
