"""Images of the user's own, in a `.npz` file of plain arrays."""

import numpy as np
from sklearn.utils import Bunch, check_array, check_consistent_length, column_or_1d

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
    if "X_test" in arrays:
        X_test, y_test = _images_and_labels(arrays, "X_test", "y_test", path)
        if X_test.shape[1] != X.shape[1]:
            raise ValueError(
                f"{path}: X_test has {X_test.shape[1]} features, but X has "
                f"{X.shape[1]}."
            )
    else:
        is_test = np.zeros(len(y), dtype=bool)
        is_test[stratified_rows(y, len(y) // 5)] = True
        X, X_test, y, y_test = X[~is_test], X[is_test], y[~is_test], y[is_test]
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
    try:
        check_consistent_length(X, y)
        largest = 255 if X.dtype == np.uint8 else 1
        X = check_array(X.reshape(len(X), -1), dtype=np.float32, ensure_min_samples=5)
        return X / np.float32(largest), column_or_1d(y)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{path}: {X_name} and {y_name}: {error}") from error
