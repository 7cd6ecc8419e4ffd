"""The data sets by name: what there is, where it is, and one way to get any of them."""

from pathlib import Path

from sklearn.utils import Bunch

from robustkit._validation import did_you_mean
from robustkit.datasets import _cifar10, _mnist
from robustkit.datasets._archive import read_archive
from robustkit.datasets._cifar10 import CIFAR10, fetch_cifar10, find_cifar10
from robustkit.datasets._digits import DIGITS, load_digits_images
from robustkit.datasets._files import data_folder
from robustkit.datasets._mnist import MNIST, fetch_mnist

__all__ = ["IMAGE_SETS", "load_dataset", "locate"]

IMAGE_SETS = (DIGITS, MNIST, CIFAR10)


def locate(image_set, data_home=None):
    """Say in words where a data set is, or where it would be downloaded to.

    Parameters
    ----------
    image_set : ImageSet
        One of `IMAGE_SETS`.

    data_home : str or path-like, default=None
        As the loaders understand it.

    Returns
    -------
    where : str
        One line.
    """
    if image_set is DIGITS:
        return "embedded in scikit-learn"
    folder = data_folder(image_set.name, data_home)
    if image_set is MNIST:
        remotes = [remote for files in _mnist.FILES.values() for remote in files]
        missing = [file for file in remotes if not (folder / file.filename).exists()]
        where = folder
    else:
        found = [find_cifar10(folder, split)[0] for split in ("train", "test")]
        missing = [] if all(found) else [_cifar10.ARCHIVE]
        where = found[0]
    if not missing:
        return str(where)
    n_megabytes = sum(file.n_bytes for file in missing) / 1e6
    return f"would be downloaded to {folder} ({n_megabytes:.1f} MB)"


def load_dataset(dataset, *, data_home=None, n_train=None, n_test=None):
    """Load the training and the test images of a data set, by name or from a file.

    Parameters
    ----------
    dataset : str
        "digits", "mnist", "cifar10" or the path of an ``.npz`` file, which holds `X`
        and `y` and may hold `X_test` and `y_test`.

    data_home : str or path-like, default=None
        As the loaders understand it.

    n_train : int, default=None
        At most so many training images of MNIST or CIFAR-10. None is all.

    n_test : int, default=None
        At most so many test images of MNIST or CIFAR-10. None is all.

    Returns
    -------
    bunch : Bunch
        `X_train`, `y_train`, `X_test`, `y_test`, `image_shape` (None if a file does not
        tell it) and `name`.
    """
    if Path(dataset).suffix == ".npz":
        return read_archive(Path(dataset))
    fetchers = {MNIST.name: fetch_mnist, CIFAR10.name: fetch_cifar10}
    if dataset == DIGITS.name:
        train, test = (load_digits_images(split=split) for split in ("train", "test"))
    elif dataset in fetchers:
        train, test = (
            fetchers[dataset](split, data_home=data_home, subset=subset)
            for split, subset in (("train", n_train), ("test", n_test))
        )
    else:
        names = [image_set.name for image_set in IMAGE_SETS]
        raise ValueError(
            f"The data set must be one of {', '.join(names)} or the path of a .npz "
            f"file. Got {dataset!r} instead{did_you_mean(dataset, names)}"
        )
    return Bunch(
        name=dataset,
        X_train=train.data,
        y_train=train.target,
        X_test=test.data,
        y_test=test.target,
        image_shape=train.image_shape,
    )
