"""Images with labels: digits, MNIST and CIFAR-10."""
# ruff: noqa: F401

# What is not in `__all__` is for other rooms, not for users.
from robustkit.datasets._by_name import (
    IMAGE_SETS,
    load_dataset,
    locate,
    read_arrays,
)
from robustkit.datasets._cifar10 import fetch_cifar10
from robustkit.datasets._handwritten_digits import fetch_mnist, load_digits_images

__all__ = ["load_digits_images", "fetch_mnist", "fetch_cifar10"]
