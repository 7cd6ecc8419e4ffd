"""What is known of a set of images before it is read, and how its rows are chosen."""

import numbers
import os
from dataclasses import dataclass
from numbers import Integral, Real
from typing import Any

import numpy as np
import pandas as pd
from sklearn.utils import Bunch

from robustkit._sklearn_private import Interval, StrOptions

# What the functions accept that read a set from files.
FETCHER_CONSTRAINTS = {
    "split": [StrOptions({"train", "test"})],
    "data_home": [str, os.PathLike, None],
    "subset": [Interval(Integral, 1, None, closed="left"), slice, "array-like", None],
    "download_if_missing": ["boolean"],
    "return_X_y": ["boolean"],
    "as_frame": ["boolean"],
    "n_retries": [Interval(Integral, 0, None, closed="left")],
    "delay": [Interval(Real, 0, None, closed="left")],
}


@dataclass(frozen=True)
class ImageSet:
    """A named set of labelled images."""

    name: str
    """Its name on the command line, and of its folder."""

    n_images: int
    """Training and test images together."""

    image_shape: tuple[int, ...]
    """(height, width) or (channels, height, width)."""

    target_names: tuple[str, ...]
    """Name of each class."""

    largest_pixel: int
    """The pixel value that becomes 1."""

    description: str
    """Text of `DESCR`."""

    def load(
        self,
        pixels: np.ndarray,
        target: np.ndarray,
        *,
        return_X_y: bool = False,
        as_frame: bool = False,
        **further: Any,
    ) -> Bunch | tuple:
        """Give images to the user in the form that was asked for.

        `pixels` are flat, from 0 to `largest_pixel`; `further` are more entries of the
        Bunch.
        """
        data: Any = np.divide(pixels, np.float32(self.largest_pixel), dtype=np.float32)
        classes: Any = target.astype(np.int64, copy=False)
        feature_names = [
            "_".join(map(str, ("pixel", *place)))
            for place in np.ndindex(self.image_shape)
        ]
        frame = None
        if as_frame:
            data = pd.DataFrame(data, columns=feature_names, copy=False)
            classes = pd.Series(classes, name="target")
            if not return_X_y:
                frame = pd.concat([data, classes], axis="columns")
        if return_X_y:
            return data, classes
        return Bunch(
            data=data,
            target=classes,
            frame=frame,
            feature_names=feature_names,
            target_names=np.array(self.target_names),
            image_shape=self.image_shape,
            DESCR=self.description,
            **further,
        )


def stratified_rows(labels: np.ndarray, n_rows: int) -> np.ndarray:
    """Choose `n_rows` rows, in ascending order, so that every class keeps its share.

    The choice is drawn once and for all: it is the same in every session, and a smaller
    choice is part of every larger one.
    """
    order = np.random.RandomState(0).permutation(len(labels))
    # Where a row stands in its class, between 0 and 1: any prefix of the rows sorted by
    # it takes the same share of every class.
    position = np.empty(len(labels))
    for label in np.unique(labels):
        members = order[labels[order] == label]
        position[members] = (np.arange(len(members)) + 0.5) / len(members)
    by_position = order[np.argsort(position[order], kind="stable")]
    return np.sort(by_position[:n_rows])


def select_rows(subset: Any, labels: np.ndarray) -> slice | np.ndarray:
    """Turn the `subset` parameter of a loader into an index of rows."""
    n_rows = len(labels)
    if subset is None:
        return slice(None)
    if isinstance(subset, numbers.Integral) and not isinstance(subset, bool):
        subset = int(subset)
        if subset > n_rows:
            raise ValueError(f"subset={subset} is more than the {n_rows} images here.")
        return stratified_rows(labels, subset)
    if isinstance(subset, tuple):
        subset = list(subset)
    try:
        rows = np.arange(n_rows)[subset]
    except IndexError as error:
        raise ValueError(
            "The 'subset' parameter must be an int, a slice, integers below "
            f"{n_rows} or a boolean mask of that length: {error}."
        ) from error
    if rows.ndim != 1 or not len(rows):
        raise ValueError(
            "The 'subset' parameter must choose a row of images, at least one. Got the "
            f"shape {rows.shape} instead."
        )
    return rows
