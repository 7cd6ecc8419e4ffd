"""What samples may be besides a table: images, tensors, and streams of batches.

Nothing here needs torch unless a tensor or a stream is passed. `places_of` says which
classes their labels are.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.utils import column_or_1d

__all__ = [
    "check_layout",
    "flat_samples",
    "is_read_once",
    "is_stream",
    "is_table",
    "places_of",
    "shaped_like",
    "stream_batches",
]


def flat_samples(
    X: Any, known: Sequence[int] | None = None
) -> tuple[Any, tuple[int, ...] | None]:
    """Turn images and tensors into rows, one per sample, as scikit-learn takes them.

    Arrays and tensors of three or more dimensions, such as (n, channels, height,
    width) or (n, height, width), are images: each becomes a row. Images of uint8 are
    pixels from 0 to 255, which become float32 from 0 to 1; all other numbers are left
    as they are, also those of a flat table of uint8. A tensor becomes an array that
    shares its memory where possible.

    Parameters
    ----------
    X : object
        An array or tensor of any number of dimensions. Anything else, such as a
        DataFrame or a list, is returned as it is; but a stream is refused.

    known : tuple of int, default=None
        The shape of the images that the samples must be like, if there is one. Images
        of another shape are refused, as their values would become rows in another
        order; only a missing channel does not matter.

    Returns
    -------
    rows : object
        An array of shape (n_samples, n_features), or X itself.

    image_shape : tuple of int or None
        Shape of one image; None where X was flat already.
    """
    if is_stream(X):
        raise TypeError(
            "X must be an array, a tensor or a table here. Got a "
            f"{type(X).__name__}: pass the samples of its batches."
        )
    if _is_tensor(X):
        from robustkit._tensors import as_array

        X = as_array(X)
    if not isinstance(X, np.ndarray) or X.ndim < 3:
        return X, None
    image_shape = X.shape[1:]
    check_layout(image_shape, known)
    X = X.reshape(len(X), prod(image_shape))
    if X.dtype == np.uint8:
        X = np.divide(X, 255, dtype=np.float32)
    return X, image_shape


def check_layout(
    image_shape: Sequence[int] | None, known: Sequence[int] | None
) -> None:
    """Refuse images whose values come in another order than those that are known.

    None are the rows of a table, of which nothing is known.
    """
    if image_shape is None or known is None:
        return
    got, wanted = (
        (1, *shape) if len(shape) == 2 else tuple(shape)
        for shape in (image_shape, known)
    )
    # Another number of values is refused where features are counted.
    if got != wanted and prod(got) == prod(wanted):
        raise ValueError(
            f"X must hold images of the shape {tuple(known)} that the model was fitted "
            f"on. Got images of shape {tuple(image_shape)}, whose values are in "
            "another order."
        )


def shaped_like(rows: NDArray, X: Any) -> Any:
    """Give back rows in the form of X: shape of the samples, array or tensor, device.

    The number of samples and their dtype are those of the rows.
    """
    if getattr(X, "ndim", 0) >= 3:
        rows = rows.reshape(len(rows), *X.shape[1:])
    if not _is_tensor(X):
        return rows
    from robustkit._tensors import as_tensor

    return as_tensor(rows, device=X.device, dtype=None)


def is_table(X: Any, n_features: int | None) -> bool:
    """Whether X is an array that scikit-learn takes, and returns, as it is.

    To ask it takes longer than a step of an attack on a few hundred samples.
    """
    return (
        type(X) is np.ndarray
        and X.dtype in (np.float32, np.float64)
        and X.flags.c_contiguous
        and X.ndim == 2
        and len(X) > 0
        and X.shape[1] == n_features
    )


def is_stream(X: Any) -> bool:
    """Whether X is a Dataset or DataLoader of torch, which gives samples by batches."""
    data = sys.modules.get("torch.utils.data")
    return data is not None and isinstance(X, data.Dataset | data.DataLoader)


def is_read_once(stream: Any) -> bool:
    """Whether a stream goes on where it was left, each time that it is read.

    So does one whose iterator is always the same object.
    """
    from torch.utils.data import DataLoader, IterableDataset

    dataset = stream
    if isinstance(stream, DataLoader):
        dataset = stream.dataset
        if any(isinstance(s, Iterator) for s in (stream.sampler, stream.batch_sampler)):
            return True
    return isinstance(dataset, IterableDataset) and iter(dataset) is iter(dataset)


def stream_batches(
    stream: Any, y: Any = None, *, batch_size: int, source: Any = None
) -> Iterator[tuple[Any, NDArray]]:
    """Yield the batches (X, y) of a Dataset or DataLoader, one at a time.

    A DataLoader keeps its own batch size and order; a Dataset is read in its order, in
    batches of `batch_size`. X is what the stream gives, mostly a tensor of any shape;
    y becomes an array of one label per sample. A stream brings its own labels: a `y`
    besides is refused. Errors name `source`, of which the stream was made.
    """
    source = stream if source is None else source
    if y is not None:
        raise ValueError(
            f"y must be None where X is a {type(source).__name__}, which gives the "
            f"labels with the samples. Got {type(y).__name__}."
        )
    is_empty = True
    for batch in _loader(stream, batch_size):
        samples, labels = _pair(batch, source)
        if len(labels):
            is_empty = False
            yield samples, labels
    if is_empty:
        raise ValueError(
            f"The {type(source).__name__} passed as X gave no sample. If it is read "
            "more than once, as in every epoch, it must give its samples each time."
        )


def _loader(stream, batch_size):
    import torch
    from torch.utils.data import DataLoader

    if isinstance(stream, DataLoader):
        return stream
    # A loader draws a seed for its workers, by default from the global stream.
    return DataLoader(stream, batch_size=batch_size, generator=torch.Generator())


def _pair(batch, stream):
    is_pair = not isinstance(batch, str | Mapping) and hasattr(batch, "__len__")
    if not is_pair or _is_tensor(batch) or len(batch) != 2:
        got = (
            f"{type(batch).__name__} of length {len(batch)}"
            if hasattr(batch, "__len__")
            else type(batch).__name__
        )
        raise ValueError(
            f"A {type(stream).__name__} must give pairs (X, y) of samples and labels. "
            f"Got a {got}."
        )
    samples, labels = batch
    if _is_tensor(labels):
        labels = labels.detach().cpu().numpy()
    labels = np.asarray(labels)
    if labels.ndim == 0 or len(labels) != len(samples):
        raise ValueError(
            f"A {type(stream).__name__} must give one label for each sample of a "
            f"batch. Got {labels.size} labels for {len(samples)} samples; a DataLoader "
            "needs its 'batch_size'."
        )
    return samples, column_or_1d(labels)


def _is_tensor(X):
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(X, torch.Tensor)


def places_of(labels: NDArray, classes: NDArray) -> NDArray:
    """Find the place of every label among some classes, in any order; -1 for none."""
    if labels.dtype == object:
        # Labels of several kinds, or None, cannot be sorted.
        places = {label: place for place, label in enumerate(classes.tolist())}
        return np.array([places.get(k, -1) for k in labels.tolist()], dtype=np.intp)
    order = np.argsort(classes)
    place = np.searchsorted(classes, labels, sorter=order)
    found = order[np.minimum(place, len(order) - 1)]
    return np.where(classes[found] == labels, found, -1)
