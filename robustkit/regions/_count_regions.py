"""How many regions some activations lie in, and which."""

import numpy as np
import torch
from sklearn.utils import check_array

from robustkit._tensors import as_array
from robustkit.regions._region_table import RegionTable, pack_signs

__all__ = ["count_regions"]

# Rows packed at a time: their bits stay in the processor's cache.
_BLOCK = 4096


def count_regions(activations):
    """Find the region of every sample: which units are greater than zero.

    Two samples are in one region if and only if exactly the same units are. Every bit
    is compared, so that no two regions are ever taken for one.

    Read more in the :ref:`User Guide <guide_regions>`.

    Parameters
    ----------
    activations : array-like or torch.Tensor of shape (n_samples, n_units)
        Pre-activations of a layer, or what its ReLU made of them, which has the same
        regions; numbers of any kind, or booleans. Zero counts as not greater; NaN is
        refused.

    Returns
    -------
    ids : ndarray of shape (n_samples,), dtype=int64
        Region of each sample. Regions are numbered in the order in which they first
        appear, so that the numbers already given stay as they are when samples follow.

    counts : ndarray of shape (n_regions,), dtype=int64
        Samples in each region, at least one.

    See Also
    --------
    PopulatedRegionScorer : Does this for a layer of a model, in a stream too.
    numpy.unique : Sorts the patterns; the same counts, many times slower.

    Examples
    --------
    >>> from robustkit.regions import count_regions
    >>> ids, counts = count_regions([[0.5, -1.0], [-2.0, 3.0], [0.1, 0.0]])
    >>> ids
    array([0, 1, 0])
    >>> counts
    array([2, 1])
    """
    if torch.is_tensor(activations):
        activations = as_array(activations)
    # Only NaN has no sign, which `pack_signs` finds on its way; a check of its own
    # would read everything twice.
    activations = check_array(
        activations, dtype="numeric", ensure_all_finite=False, input_name="activations"
    )
    if activations.dtype.kind not in "bifu":
        raise ValueError(
            "The activations must be numbers. Got an array of dtype "
            f"{activations.dtype} instead."
        )
    table = RegionTable(-(-activations.shape[1] // 64))
    table.reserve(len(activations))
    ids = np.empty(len(activations), dtype=np.int64)
    for start in range(0, len(activations), _BLOCK):
        block = slice(start, start + _BLOCK)
        ids[block] = table.add(pack_signs(activations[block]))
    return ids, np.bincount(ids, minlength=table.n_regions)
