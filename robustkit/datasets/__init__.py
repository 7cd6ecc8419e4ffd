"""Images in, labels out."""

from robustkit.datasets._cifar10 import fetch_cifar10
from robustkit.datasets._digits import load_digits_images
from robustkit.datasets._mnist import fetch_mnist

__all__ = ["load_digits_images", "fetch_mnist", "fetch_cifar10"]
