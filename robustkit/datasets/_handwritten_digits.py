"""Handwritten digits: the small ones that come with scikit-learn, and MNIST."""

import gzip
import os
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike
from sklearn.datasets import load_digits
from sklearn.utils import Bunch

from robustkit._sklearn_private import StrOptions, validate_params
from robustkit.datasets._files import RemoteFile, data_folder, ensure, open_verified
from robustkit.datasets._image_set import (
    FETCHER_CONSTRAINTS,
    ImageSet,
    select_rows,
    stratified_rows,
)

DIGITS = ImageSet(
    name="digits",
    n_images=1797,
    image_shape=(8, 8),
    target_names=tuple("0123456789"),
    largest_pixel=16,
    description="""\
1,797 handwritten digits of 8 x 8 grey pixels, part of scikit-learn.

They are the test set of "Optical Recognition of Handwritten Digits" (E. Alpaydin and
C. Kaynak, 1998, UCI Machine Learning Repository, https://doi.org/10.24432/C50P49,
CC BY 4.0). Pixels were counts from 0 to 16 and are divided by 16. Of every class, a
fixed fifth (360 images in all) is the test set.
""",
)

_N_TEST = 360


@validate_params(
    {
        "return_X_y": ["boolean"],
        "as_frame": ["boolean"],
        "split": [StrOptions({"train", "test"}), None],
    },
    prefer_skip_nested_validation=True,
)
def load_digits_images(
    *,
    return_X_y: bool = False,
    as_frame: bool = False,
    split: Literal["train", "test"] | None = None,
) -> Bunch | tuple:
    """Load scikit-learn's digits as images with values in [0, 1].

    They are small (8 x 8), always there, and enough to try everything.

    Parameters
    ----------
    return_X_y : bool, default=False
        If True, return ``(data, target)`` instead of a Bunch.

    as_frame : bool, default=False
        If True, data is a DataFrame and target a Series.

    split : {"train", "test"}, default=None
        The 1,437 training images or the 360 test images, in the order of the file.
        The split never changes, and both parts have the classes in equal shares.
        None is all of them.

    Returns
    -------
    digits : Bunch
        With the entries:

        data : ndarray or DataFrame of shape (n_images, 64), dtype=float32
            One flat image a row.
        target : ndarray or Series of shape (n_images,), dtype=int64
            The digits.
        frame : DataFrame of shape (n_images, 65) or None
            Data and target together, if `as_frame`.
        feature_names : list of str
            ``"pixel_<row>_<column>"``.
        target_names : ndarray of str
            Names of the classes.
        image_shape : tuple of int
            ``(8, 8)``.
        DESCR : str
            Where the images come from.

    (data, target) : tuple
        If `return_X_y`.

    See Also
    --------
    fetch_mnist : Larger images of digits, and many more of them.
    sklearn.datasets.load_digits : The same digits, with values from 0 to 16.

    Examples
    --------
    >>> from robustkit.datasets import load_digits_images
    >>> digits = load_digits_images(split="train")
    >>> digits.data.shape, digits.image_shape
    ((1437, 64), (8, 8))
    >>> float(digits.data.min()), float(digits.data.max())
    (0.0, 1.0)
    """
    pixels, target = load_digits(return_X_y=True)
    if split is not None:
        is_test = np.zeros(len(target), dtype=bool)
        is_test[stratified_rows(target, _N_TEST)] = True
        rows = is_test if split == "test" else ~is_test
        pixels, target = pixels[rows], target[rows]
    return DIGITS.load(pixels, target, return_X_y=return_X_y, as_frame=as_frame)


MNIST = ImageSet(
    name="mnist",
    n_images=70_000,
    image_shape=(28, 28),
    target_names=tuple("0123456789"),
    largest_pixel=255,
    description="""\
70,000 handwritten digits of 28 x 28 grey pixels, 60,000 to train and 10,000 to test.

"The MNIST database of handwritten digits" of Y. LeCun, C. Cortes and C. J. C. Burges,
described in Y. LeCun, L. Bottou, Y. Bengio and P. Haffner, "Gradient-based learning
applied to document recognition", Proceedings of the IEEE 86 (1998),
https://doi.org/10.1109/5.726791. Usually given as CC BY-SA 3.0. Pixels were integers
from 0 to 255 and are divided by 255. Images are in the original order.
""",
)

_MIRRORS = (
    "https://ossci-datasets.s3.amazonaws.com/mnist/",
    "https://storage.googleapis.com/cvdf-datasets/mnist/",
)


def _remote(filename: str, sha256: str, n_bytes: int) -> RemoteFile:
    urls = tuple(mirror + filename for mirror in _MIRRORS)
    return RemoteFile(filename, urls, f"sha256:{sha256}", n_bytes)


# Split -> its images and its labels. The first two are the files whose md5 is
# f68b3c2dcbeaaa9fbdd348bbdeb94873 and d53e105ee54ea40749a09fcbcd1e9432, the others
# 9fb629c4189551a2d022fa330f9573f3 and ec29112dd5afa0611ce80d1b7f02629c.
FILES = {
    "train": (
        _remote(
            "train-images-idx3-ubyte.gz",
            "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
            9_912_422,
        ),
        _remote(
            "train-labels-idx1-ubyte.gz",
            "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
            28_881,
        ),
    ),
    "test": (
        _remote(
            "t10k-images-idx3-ubyte.gz",
            "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
            1_648_877,
        ),
        _remote(
            "t10k-labels-idx1-ubyte.gz",
            "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
            4_542,
        ),
    ),
}


def _read_idx(path, checksum):
    """Read an IDX file: two zeros, the type, n_dims, the sides, then the values."""
    with open_verified(path, checksum) as file:
        content = gzip.decompress(file.read())
    n_dims = content[3]
    shape = np.frombuffer(content, dtype=">i4", count=n_dims, offset=4)
    return np.frombuffer(content, dtype=np.uint8, offset=4 + 4 * n_dims).reshape(shape)


@validate_params(FETCHER_CONSTRAINTS, prefer_skip_nested_validation=True)
def fetch_mnist(
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
    """Load MNIST, downloading its files (11.6 MB) where they are missing.

    Read more in the :ref:`User Guide <guide_datasets>`.

    Parameters
    ----------
    split : {"train", "test"}, default="train"
        The 60,000 training images or the 10,000 test images.

    data_home : str or path-like, default=None
        The folder whose subfolder ``mnist`` holds the files. None is the environment
        variable ``ROBUSTKIT_DATA``, and where that is not set ``~/robustkit_data``.

    subset : int, slice or array-like, default=None
        Which images. An int is how many: every class keeps its share, the choice is
        always the same, and a smaller one is part of a larger one. Else an index into
        the rows, as numpy understands it. None is all of them.

    download_if_missing : bool, default=True
        If False, a missing file is an error.

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
    mnist : Bunch
        With the entries:

        data : ndarray or DataFrame of shape (n_images, 784), dtype=float32
            One flat image a row, values in [0, 1].
        target : ndarray or Series of shape (n_images,), dtype=int64
            The digits.
        frame : DataFrame of shape (n_images, 785) or None
            Data and target together, if `as_frame`.
        feature_names : list of str
            ``"pixel_<row>_<column>"``.
        target_names : ndarray of str
            Names of the classes.
        image_shape : tuple of int
            ``(28, 28)``.
        DESCR : str
            Where the images come from.

    (data, target) : tuple
        If `return_X_y`.

    See Also
    --------
    load_digits_images : Small digits that need no download.
    fetch_cifar10 : Small colour photographs.

    Examples
    --------
    >>> from robustkit.datasets import fetch_mnist
    >>> X, y = fetch_mnist("test", subset=1000, return_X_y=True)  # doctest: +SKIP
    >>> X.shape  # doctest: +SKIP
    (1000, 784)
    """
    folder = data_folder(MNIST.name, data_home)
    paths = [
        ensure(
            remote,
            folder,
            download_if_missing=download_if_missing,
            n_retries=n_retries,
            delay=delay,
        )
        for remote in FILES[split]
    ]
    pixels, target = (
        _read_idx(path, remote.checksum)
        for path, remote in zip(paths, FILES[split], strict=True)
    )
    rows = select_rows(subset, target)
    return MNIST.load(
        pixels.reshape(len(target), -1)[rows],
        target[rows],
        return_X_y=return_X_y,
        as_frame=as_frame,
    )
