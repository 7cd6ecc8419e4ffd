"""The data sets by name."""

import numpy as np
import pytest

from robustkit.datasets import load_digits_images
from robustkit.datasets._catalogue import IMAGE_SETS, load_dataset, locate
from robustkit.datasets._cifar10 import BATCHES
from robustkit.datasets._mnist import FILES

DIGITS, MNIST, CIFAR10 = IMAGE_SETS


def touch(folder, names):
    folder.mkdir(parents=True)
    for name in names:
        (folder / name).touch()


def test_the_digits_are_always_there():
    assert locate(DIGITS) == "embedded in scikit-learn"


def test_missing_sets_would_be_downloaded(tmp_path):
    assert locate(MNIST, tmp_path) == (
        f"would be downloaded to {tmp_path / 'mnist'} (11.6 MB)"
    )
    assert locate(CIFAR10, tmp_path) == (
        f"would be downloaded to {tmp_path / 'cifar10'} (170.5 MB)"
    )


def test_files_that_are_there_are_found(tmp_path):
    touch(
        tmp_path / "mnist", [file.filename for pair in FILES.values() for file in pair]
    )
    assert locate(MNIST, tmp_path) == str(tmp_path / "mnist")
    batches = tmp_path / "cifar10" / "cifar-10-batches-py"
    touch(batches, BATCHES["train"])
    assert "would be downloaded" in locate(CIFAR10, tmp_path)
    (batches / "test_batch").touch()
    assert locate(CIFAR10, tmp_path) == str(batches)


def test_half_of_mnist_is_half_to_download(tmp_path):
    touch(tmp_path / "mnist", [file.filename for file in FILES["train"]])
    assert "(1.7 MB)" in locate(MNIST, tmp_path)


def test_digits_are_loaded_by_name():
    images = load_dataset("digits")
    test = load_digits_images(split="test")
    np.testing.assert_array_equal(images.X_test, test.data)
    np.testing.assert_array_equal(images.y_test, test.target)
    assert images.X_train.shape == (1437, 64)
    assert images.image_shape == (8, 8)


def test_a_file_is_loaded_by_its_path(tmp_path):
    path = tmp_path / "mine.npz"
    np.savez(path, X=np.eye(10), y=np.arange(10) % 2)
    assert load_dataset(str(path)).X_train.shape == (8, 10)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("minst", r"digits, mnist, cifar10 or .* Got 'minst' instead, did you mean"),
        ("imagenet-22k", r"Got 'imagenet-22k' instead\.$"),
    ],
)
def test_an_unknown_name_is_told(name, message):
    with pytest.raises(ValueError, match=message):
        load_dataset(name)


@pytest.mark.real_data
@pytest.mark.parametrize("name", ["mnist", "cifar10"])
def test_real_images_are_loaded_by_name(real_data_home, name):
    if name == "cifar10" and "downloaded" in locate(CIFAR10, real_data_home):
        pytest.skip(f"no CIFAR-10 in {real_data_home}")
    images = load_dataset(name, data_home=real_data_home, n_train=50, n_test=20)
    assert (len(images.X_train), len(images.X_test)) == (50, 20)
    assert images.X_train.shape[1] == np.prod(images.image_shape)
