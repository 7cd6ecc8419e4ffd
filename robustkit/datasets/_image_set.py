"""What is known of a set of images before it is read, and its shape once it is."""

import os
from dataclasses import dataclass
from numbers import Integral, Real

import numpy as np
import pandas as pd
from sklearn.utils import Bunch

from robustkit._sklearn_private import Interval, StrOptions

__all__ = ["FETCHER_CONSTRAINTS", "ImageSet"]

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
    """A named set of labelled images.

    Parameters
    ----------
    name : str
        Its name on the command line, and of its folder.

    n_images : int
        Training and test images together.

    image_shape : tuple of int
        (height, width) or (channels, height, width).

    target_names : tuple of str
        Name of each class.

    largest_pixel : int
        The pixel value that becomes 1.

    description : str
        Text of `DESCR`.
    """

    name: str
    n_images: int
    image_shape: tuple
    target_names: tuple
    largest_pixel: int
    description: str

    def load(self, pixels, target, *, return_X_y=False, as_frame=False, **further):
        """Give images to the user in the form that was asked for.

        Parameters
        ----------
        pixels : ndarray of shape (n_images, n_features)
            Values from 0 to `largest_pixel`.

        target : ndarray of shape (n_images,)
            Classes as integers.

        return_X_y : bool, default=False
            Return only data and target.

        as_frame : bool, default=False
            Return pandas objects.

        **further : dict
            More entries of the Bunch.

        Returns
        -------
        bunch : Bunch or tuple
            As the loaders document it.
        """
        data = np.divide(pixels, np.float32(self.largest_pixel), dtype=np.float32)
        target = target.astype(np.int64, copy=False)
        feature_names = [
            "_".join(map(str, ("pixel", *place)))
            for place in np.ndindex(self.image_shape)
        ]
        frame = None
        if as_frame:
            data = pd.DataFrame(data, columns=feature_names, copy=False)
            target = pd.Series(target, name="target")
            if not return_X_y:
                frame = pd.concat([data, target], axis="columns")
        if return_X_y:
            return data, target
        return Bunch(
            data=data,
            target=target,
            frame=frame,
            feature_names=feature_names,
            target_names=np.array(self.target_names),
            image_shape=self.image_shape,
            DESCR=self.description,
            **further,
        )
