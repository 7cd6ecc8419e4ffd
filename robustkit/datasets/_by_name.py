"""Any data set by its name, or from a `.npz` file of the user."""

import os
from math import prod
from pathlib import Path

import numpy as np
from sklearn.utils import Bunch, check_array, check_consistent_length, column_or_1d

from robustkit._validation import check_magnitude, did_you_mean
from robustkit.datasets import _cifar10, _handwritten_digits
from robustkit.datasets._cifar10 import CIFAR10, fetch_cifar10, find_cifar10
from robustkit.datasets._files import data_folder
from robustkit.datasets._handwritten_digits import (
    DIGITS,
    MNIST,
    fetch_mnist,
    load_digits_images,
)
from robustkit.datasets._image_set import ImageSet, stratified_rows
from robustkit.exceptions import CorruptFileError

IMAGE_SETS = (DIGITS, MNIST, CIFAR10)


def locate(image_set: ImageSet, data_home: str | os.PathLike | None = None) -> str:
    """Say in one line where a data set is, or where it would be downloaded to."""
    if image_set is DIGITS:
        return "embedded in scikit-learn"
    folder = data_folder(image_set.name, data_home)
    if image_set is MNIST:
        remotes = [
            remote for files in _handwritten_digits.FILES.values() for remote in files
        ]
        missing = [file for file in remotes if not (folder / file.filename).exists()]
        where = folder
    else:
        found = [find_cifar10(folder, split)[0] for split in ("train", "test")]
        missing = [] if all(found) else [_cifar10.ARCHIVE]
        where = found[0]
    if not missing:
        return str(where)
    n_megabytes = sum(file.n_bytes for file in missing) / 1e6
    return f"would be downloaded to {folder} ({n_megabytes:.1f} MB)"


def load_dataset(
    dataset: str | os.PathLike,
    *,
    data_home: str | os.PathLike | None = None,
    n_train: int | None = None,
    n_test: int | None = None,
) -> Bunch:
    """Load the training and the test images of a data set, by name or from a file.

    `dataset` is "digits", "mnist", "cifar10" or the path of an ``.npz`` file, which
    contains `X` and `y` and may contain `X_test` and `y_test`. `n_train` and `n_test`
    are the largest numbers of images of MNIST or CIFAR-10; None is all. Returns
    `X_train`, `y_train`, `X_test`, `y_test`, `image_shape` (None if a file does not
    tell it) and `name`.
    """
    if Path(dataset).suffix == ".npz":
        return read_archive(Path(dataset))
    fetchers = {MNIST.name: fetch_mnist, CIFAR10.name: fetch_cifar10}
    if dataset == DIGITS.name:
        train, test = (load_digits_images(split=split) for split in ("train", "test"))
    elif dataset in fetchers:
        train, test = (
            fetchers[dataset](split, data_home=data_home, subset=subset)
            for split, subset in (("train", n_train), ("test", n_test))
        )
    else:
        names = [image_set.name for image_set in IMAGE_SETS]
        raise ValueError(
            f"The data set must be one of {', '.join(names)} or the path of a .npz "
            f"file. Got {dataset!r} instead{did_you_mean(dataset, names)}"
        )
    return Bunch(
        name=dataset,
        X_train=train.data,
        y_train=train.target,
        X_test=test.data,
        y_test=test.target,
        image_shape=train.image_shape,
    )


def read_archive(path: Path) -> Bunch:
    """Read training and test images from a ``.npz`` file.

    Bytes are divided by 255. Without `X_test` and `y_test` the test set is a fifth of
    every class, always the same one. Returns what `load_dataset` returns.
    """
    arrays = read_arrays(path)
    X, y = _images_and_labels(arrays, "X", "y", path)
    _check_variety(X, y, path)
    if "X_test" in arrays or "y_test" in arrays:
        X_test, y_test = _images_and_labels(arrays, "X_test", "y_test", path)
        _check_same_shape(arrays["X"], arrays["X_test"], path)
        _check_classes(y, y_test, path)
    else:
        is_test = np.zeros(len(y), dtype=bool)
        is_test[stratified_rows(y, len(y) // 5)] = True
        X, X_test, y, y_test = X[~is_test], X[is_test], y[~is_test], y[is_test]
        if len(np.setdiff1d(y_test, y)):
            raise ValueError(
                f"{path}: every class needs two images at least, so that a fifth can "
                "be held out. Add X_test and y_test to the file, or more images."
            )
    sides = arrays["X"].shape[1:]
    return Bunch(
        name=path.name,
        X_train=X,
        y_train=y,
        X_test=X_test,
        y_test=y_test,
        image_shape=sides if len(sides) > 1 else None,
    )


def read_arrays(path: Path, *, may_be_compressed: bool = True) -> dict[str, np.ndarray]:
    """Read plain arrays by their names, and nothing that could be executed.

    Without `may_be_compressed`, a small file that could fill the memory is refused.
    """
    with path.open("rb") as file:
        try:
            arrays = np.load(file, allow_pickle=False)
            parts = arrays.zip.infolist()
            if not may_be_compressed and any(part.compress_type for part in parts):
                raise ValueError("it is compressed")
            return {name: arrays[name] for name in arrays.files}
        except Exception as error:
            # What is wrong with the file decides which of a dozen exceptions this is.
            # numpy goes on with advice to load what is not safe.
            reason = str(error).partition(".")[0]
            raise CorruptFileError(
                f"{path} is corrupt or not a .npz file of plain arrays: {reason}."
            ) from error


def _images_and_labels(arrays, X_name, y_name, path):
    for name in (X_name, y_name):
        if name not in arrays:
            raise ValueError(
                f"{path} must hold {name!r}. Got {', '.join(arrays) or 'nothing'}."
            )
    X, y = arrays[X_name], arrays[y_name]
    if X.dtype.kind not in "biuf":
        raise ValueError(
            f"{path}: {X_name} must hold real numbers. Got the dtype {X.dtype}."
        )
    if y.dtype.kind not in "biufU":
        raise ValueError(
            f"{path}: {y_name} must hold integers or words. Got the dtype {y.dtype}."
        )
    if X.size == 0:
        what = "features" if len(X) else "rows"
        raise ValueError(f"{path}: {X_name} has no {what}.")
    try:
        check_consistent_length(X, y)
        y = column_or_1d(y)
        flat = check_array(X.reshape(len(X), -1), dtype=None, ensure_min_samples=5)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{path}: {X_name} and {y_name}: {error}") from error
    _check_label_values(y, y_name, path)
    check_magnitude(flat, f"{path}: {X_name}")
    largest = 255 if X.dtype == np.uint8 else 1
    return flat.astype(np.float32) / np.float32(largest), y


def _check_label_values(y, name, path):
    if y.dtype.kind != "f":
        return
    if not np.isfinite(y).all():
        raise ValueError(f"{path}: {name} contains NaN or infinity.")
    odd = y[y != np.round(y)]
    if len(odd):
        raise ValueError(
            f"{path}: {name} holds {odd[0]}; a class must be an integer or a word."
        )


def _check_variety(X, y, path):
    """Nothing can be learned from one class, or attacked where all values are equal."""
    if (y == y[0]).all():
        (label, *_) = y.tolist()
        raise ValueError(
            f"{path}: y holds one class, {label!r}; at least 2 are needed."
        )
    if X.min() == X.max():
        raise ValueError(f"{path}: X holds nothing but {X[0, 0]}.")


def _check_same_shape(X, X_test, path):
    """Images may be flat in one of the two."""
    sides, test_sides = X.shape[1:], X_test.shape[1:]
    n_features, n_test_features = prod(sides), prod(test_sides)
    if n_features != n_test_features:
        raise ValueError(
            f"{path}: X_test has {n_test_features} features, but X has {n_features}."
        )
    if sides != test_sides and min(len(sides), len(test_sides)) > 1:
        raise ValueError(
            f"{path}: the images of X_test have the shape {test_sides}, but those of X "
            f"{sides}."
        )


def _check_classes(y, y_test, path):
    unknown = sorted({*y_test.tolist()} - {*y.tolist()})
    if unknown:
        raise ValueError(
            f"{path}: y_test holds {unknown[0]!r}, which y does not. Every class "
            "of the test images must be among the others."
        )
