"""Which images of a data set are meant."""

import numbers

import numpy as np

__all__ = ["select_rows", "stratified_rows"]


def stratified_rows(labels, n_rows):
    """Choose rows so that every class keeps its share.

    The choice is drawn once and for all: it is the same in every session, and a smaller
    choice is part of every larger one.

    Parameters
    ----------
    labels : ndarray of shape (n,)
        The class of every row.

    n_rows : int
        How many, at most n.

    Returns
    -------
    rows : ndarray of shape (n_rows,)
        In ascending order.
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


def select_rows(subset, labels):
    """Turn the `subset` parameter of a loader into an index of rows.

    Parameters
    ----------
    subset : int, slice, array-like or None
        The parameter as the user gave it.

    labels : ndarray of shape (n,)
        The class of every row.

    Returns
    -------
    rows : slice or ndarray
        Indexes an array of n rows.
    """
    n_rows = len(labels)
    if subset is None:
        return slice(None)
    if isinstance(subset, numbers.Integral) and not isinstance(subset, bool):
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
