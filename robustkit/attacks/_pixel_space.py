"""What one pixel is: where it stands in a sample, and which values it may take."""

import numpy as np
import torch

from robustkit._validation import check_image_shape

__all__ = ["PixelSpace"]


class PixelSpace:
    """Positions and values of a single pixel.

    A value is written as a level: level 0 is the smallest value, ``levels - 1`` the
    largest, and every real number in between is a value too.

    Parameters
    ----------
    n_features : int
        Length of a sample.

    image_shape : tuple of int or None
        (height, width), or (channels, height, width), whose pixel has a value in every
        channel. None: every feature is a pixel.

    low, high : ndarray of shape (n_features,)
        Smallest and largest value of every feature.

    levels : int
        Number of grid values.
    """

    def __init__(self, n_features, image_shape, low, high, levels):
        if image_shape is None:
            self.grid, n_channels = (n_features,), 1
        else:
            shape = check_image_shape(image_shape, n_features)
            self.grid = shape[-2:]
            n_channels = shape[0] if len(shape) == 3 else 1
        self.n_pixels = n_features // n_channels
        self.n_channels, self.levels = n_channels, levels
        # Row p holds the features of pixel p, channel by channel.
        self.features = np.arange(n_features).reshape(n_channels, -1).T.copy()
        self.low, self.high = low.astype(np.float64), high.astype(np.float64)

    def values(self, pixel, level):
        """Values that levels stand for.

        Parameters
        ----------
        pixel : ndarray of shape (n,)
            Indices of pixels.

        level : ndarray of shape (n, n_channels)
            Between 0 and ``levels - 1``.

        Returns
        -------
        values : ndarray of shape (n, n_channels)
            In float64.
        """
        features = self.features[pixel]
        share = level / (self.levels - 1)
        # Both ends exactly: low + (high - low) need not be high after rounding.
        return self.low[features] * (1 - share) + self.high[features] * share

    def write(self, X, pixel, level, out):
        """Write one pixel of every sample.

        Parameters
        ----------
        X : ndarray of shape (n_samples, n_features)
            Clean samples.

        pixel : ndarray of shape (n_samples,)
            Which pixel; -1 for none.

        level : ndarray of shape (n_samples, n_channels)
            Its new value.

        out : ndarray of shape (n_samples, n_features)
            Becomes the samples with one pixel changed.
        """
        out[...] = X
        rows = np.flatnonzero(pixel >= 0)
        features = self.features[pixel[rows]]
        out[rows[:, None], features] = self.values(pixel[rows], level[rows])

    def to(self, device, dtype):
        """Give the same positions and ranges as tensors."""
        return _TensorSpace(self, device, dtype)


class _TensorSpace:
    """The features and values of pixels, on the device of a module."""

    def __init__(self, space, device, dtype):
        self.features = torch.from_numpy(space.features).to(device)
        self.low = torch.from_numpy(space.low).to(device, dtype)
        self.high = torch.from_numpy(space.high).to(device, dtype)
        self.levels = space.levels

    def features_and_values(self, pixel, level):
        """Features of pixels, and the values that levels stand for."""
        features = self.features[pixel]
        share = level.to(self.low.dtype) / (self.levels - 1)
        values = self.low[features] * (1 - share) + self.high[features] * share
        return features, values
