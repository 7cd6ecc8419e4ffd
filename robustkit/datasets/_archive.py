"""Images of the user's own, in a `.npz` file of plain arrays."""

from math import prod

import numpy as np
from sklearn.utils import Bunch, check_array, check_consistent_length, column_or_1d

from robustkit._validation import check_magnitude
from robustkit.datasets._subset import stratified_rows
from robustkit.exceptions import CorruptFileError

__all__ = ["read_archive", "read_arrays"]


def read_archive(path):
    """Read training and test images from a file.

    Parameters
    ----------
    path : Path
        A `.npz` file with `X` (n_images, ...) and `y` (n_images,). Bytes are divided by
        255. `X_test` and `y_test` are the test set; without them it is a fifth of
        every class, always the same one.

    Returns
    -------
    bunch : Bunch
        As `load_dataset` documents it.
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


def read_arrays(path, *, may_be_compressed=True):
    """Read plain arrays, and nothing that could be executed.

    Parameters
    ----------
    path : Path
        An ``.npz`` file.

    may_be_compressed : bool, default=True
        Whether to accept a small file that could fill the memory.

    Returns
    -------
    arrays : dict
        Name -> array.
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
