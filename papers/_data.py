"""The images of an experiment: all of them, or what a machine without a GPU can do."""

from robustkit.datasets import load_dataset


def load(dataset, settings, data_home=None):
    """Load as many images as an experiment asks for, in the size that it asks for.

    Parameters
    ----------
    dataset : str
        As :func:`~robustkit.datasets.load_dataset` understands it.

    settings : dict
        `n_train` and `n_test`, how many images (None: all), and `side`, the number of
        rows that they are shrunk to (None: as they are).

    data_home : str, default=None
        Where the data sets are kept.

    Returns
    -------
    data : Bunch
        As `load_dataset` returns it.
    """
    data = load_dataset(
        dataset,
        data_home=data_home,
        n_train=settings["n_train"],
        n_test=settings["n_test"],
    )
    if settings["side"] is None:
        return data
    shape = data.image_shape
    for name in ("X_train", "X_test"):
        data[name] = shrunk(data[name], shape, settings["side"])
    data.image_shape = (*shape[:-2], settings["side"], settings["side"])
    return data


def shrunk(X, image_shape, side):
    """Average square blocks of pixels, so that each image has `side` rows."""
    block, rest = divmod(image_shape[-1], side)
    if rest:
        raise ValueError(
            f"side must divide the {image_shape[-1]} rows of the images. Got {side}."
        )
    blocks = X.reshape(len(X), -1, side, block, side, block)
    return blocks.mean(axis=(3, 5)).reshape(len(X), -1)
