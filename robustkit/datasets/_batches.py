"""Read a CIFAR batch, which is a pickle, without running anything that it names.

A pickle is a program: loading one calls whatever it asks for. The only things a batch
asks for are numpy's array, its type and the function that joins the two. It gets
stand-ins of this file instead, which accept plain bytes and nothing else; any other
name is refused.
"""

import pickle

import numpy as np

from robustkit.exceptions import CorruptFileError

__all__ = ["read_batch"]


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


def read_batch(file, name):
    """Read the images and labels of one CIFAR-10 batch.

    Parameters
    ----------
    file : binary file
        The batch.

    name : str or Path
        What to call it in an error.

    Returns
    -------
    pixels : ndarray of shape (n_images, 3072), dtype=uint8
        Red, green, blue; each row by row.

    labels : ndarray of shape (n_images,), dtype=int64
        The classes.
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
