"""The paper's convolutional network, trained at half precision.

Processors with instructions for bfloat16 train it three times as fast, so that all of
MNIST is within reach of a machine without a GPU. Weights, and everything that is
measured of the trained network, stay at single precision.
"""

from collections import OrderedDict

import torch
from torch import nn

from robustkit.networks._architectures import cnn6


class HalfPrecisionTraining(nn.Sequential):
    """Layers one after the other, whose products are of bfloat16 while they train."""

    def forward(self, X):
        """Return the logits, at single precision.

        Parameters
        ----------
        X : torch.Tensor of shape (n_samples, n_features)
            One batch.

        Returns
        -------
        logits : torch.Tensor of shape (n_samples, n_classes)
            What the last layer says.
        """
        with torch.autocast(X.device.type, torch.bfloat16, enabled=self.training):
            return super().forward(X).float()


def half_precision_cnn6(n_features, n_classes, *, image_shape):
    """Build the network, its channels side by side in memory.

    Parameters
    ----------
    n_features, n_classes : int
        Sizes of the input and of the output.

    image_shape : tuple of int
        (channels, height, width).

    Returns
    -------
    module : HalfPrecisionTraining
        The layers of :func:`~robustkit.networks.cnn6`.
    """
    layers = OrderedDict(
        cnn6(n_features, n_classes, image_shape=image_shape).named_children()
    )
    module = HalfPrecisionTraining(layers)
    return module.to(memory_format=torch.channels_last)
