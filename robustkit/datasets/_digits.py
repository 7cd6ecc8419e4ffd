"""The digits that come with scikit-learn."""

import numpy as np
from sklearn.datasets import load_digits

from robustkit._sklearn_private import StrOptions, validate_params
from robustkit.datasets._image_set import ImageSet
from robustkit.datasets._subset import stratified_rows

__all__ = ["DIGITS", "load_digits_images"]

DIGITS = ImageSet(
    name="digits",
    n_images=1797,
    image_shape=(8, 8),
    target_names=tuple("0123456789"),
    largest_pixel=16,
    description="""\
1,797 handwritten digits of 8 x 8 grey pixels, part of scikit-learn.

They are the test set of "Optical Recognition of Handwritten Digits" (E. Alpaydin and
C. Kaynak, 1998, UCI Machine Learning Repository, https://doi.org/10.24432/C50P49,
CC BY 4.0). Pixels were counts from 0 to 16 and are divided by 16. Of every class, a
fixed fifth (360 images in all) is the test set.
""",
)

_N_TEST = 360


@validate_params(
    {
        "return_X_y": ["boolean"],
        "as_frame": ["boolean"],
        "split": [StrOptions({"train", "test"}), None],
    },
    prefer_skip_nested_validation=True,
)
def load_digits_images(*, return_X_y=False, as_frame=False, split=None):
    """Load scikit-learn's digits as images with values in [0, 1].

    They are small (8 x 8), always there, and enough to try everything.

    Parameters
    ----------
    return_X_y : bool, default=False
        If True, return ``(data, target)`` instead of a Bunch.

    as_frame : bool, default=False
        If True, data is a DataFrame and target a Series.

    split : {"train", "test"}, default=None
        The 1,437 training images or the 360 test images, in the order of the file.
        The split never changes, and both parts have the classes in equal shares.
        None is all of them.

    Returns
    -------
    digits : Bunch
        With the entries:

        data : ndarray or DataFrame of shape (n_images, 64), dtype=float32
            One flat image a row.
        target : ndarray or Series of shape (n_images,), dtype=int64
            The digits.
        frame : DataFrame of shape (n_images, 65) or None
            Data and target together, if `as_frame`.
        feature_names : list of str
            ``"pixel_<row>_<column>"``.
        target_names : ndarray of str
            Names of the classes.
        image_shape : tuple of int
            ``(8, 8)``.
        DESCR : str
            Where the images come from.

    (data, target) : tuple
        If `return_X_y`.

    See Also
    --------
    fetch_mnist : Larger images of digits, and many more of them.
    sklearn.datasets.load_digits : The same digits, with values from 0 to 16.

    Examples
    --------
    >>> from robustkit.datasets import load_digits_images
    >>> digits = load_digits_images(split="train")
    >>> digits.data.shape, digits.image_shape
    ((1437, 64), (8, 8))
    >>> float(digits.data.min()), float(digits.data.max())
    (0.0, 1.0)
    """
    pixels, target = load_digits(return_X_y=True)
    if split is not None:
        is_test = np.zeros(len(target), dtype=bool)
        is_test[stratified_rows(target, _N_TEST)] = True
        rows = is_test if split == "test" else ~is_test
        pixels, target = pixels[rows], target[rows]
    return DIGITS.load(pixels, target, return_X_y=return_X_y, as_frame=as_frame)
