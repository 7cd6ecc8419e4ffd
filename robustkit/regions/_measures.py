"""How the PRS ratio depends on the number of samples and on the layer."""

import numpy as np
import pandas as pd
import torch

from robustkit._tensors import as_array, map_batches
from robustkit.bridge import steady_layer_values
from robustkit.regions._region_table import RegionTable, pack_signs
from robustkit.regions._settling import device_of

__all__ = ["layer_table", "prs_curve"]


def prs_curve(counts, sizes=None):
    """Compute the PRS ratio that fewer of the samples would have had, on average.

    A ratio falls as samples are added, so two of them can only be compared at one
    number of samples. The mean over all subsets of a size needs no drawing: a region
    of k among N samples is missed by a subset of n with probability C(N - k, n) /
    C(N, n). Ecologists call it rarefaction.

    Parameters
    ----------
    counts : ndarray of shape (n_regions,)
        Samples in each region.

    sizes : array-like of int, default=None
        Numbers of samples, at most all of them. By default the powers of two, and all.

    Returns
    -------
    curve : pandas.Series
        Expected ratio, by number of samples.
    """
    n_samples = int(np.sum(counts))
    if sizes is None:
        sizes = 2 ** np.arange(n_samples.bit_length())
        sizes = np.union1d(sizes, n_samples)
    # Regions of one size are missed alike.
    sizes_of_regions, n_regions = np.unique(counts, return_counts=True)
    taken = n_samples - np.arange(sizes_of_regions[-1], dtype=np.float64)
    expected = []
    for size in sizes:
        # C(N - k, n) / C(N, n) = (1 - n / N) (1 - n / (N - 1)) ... with k factors.
        with np.errstate(divide="ignore"):
            log_missed = np.cumsum(np.log1p(-np.minimum(size / taken, 1.0)))
        found = -np.expm1(log_missed[sizes_of_regions - 1])
        expected.append(n_regions @ found / size)
    return pd.Series(
        expected, index=pd.Index(sizes, name="n_samples"), name="prs_ratio"
    )


def layer_table(module, X, names, *, batch_size):
    """Measure each layer by itself.

    Parameters
    ----------
    module : torch.nn.Module
        In eval mode.

    X : torch.Tensor of shape (n_samples, n_features)
        Samples, on any device.

    names : list of str
        Layers.

    batch_size : int
        Samples a forward pass.

    Returns
    -------
    table : pandas.DataFrame
        A row a layer: `n_units`; `alive_units`, those greater than zero for at least
        one sample; `active_units`, how many are so for one sample on average;
        `n_regions` and `prs_ratio`.
    """
    counters = {name: _LayerCounter() for name in names}

    device = device_of(module, X)

    def count(batch):
        for name, values in steady_layer_values(
            module, batch.to(device), names
        ).items():
            counters[name].add(as_array(values.pre_activation.flatten(1)))
        return torch.empty(len(batch), 0)

    map_batches(count, X, batch_size=batch_size)
    rows = [counter.measures(len(X)) for counter in counters.values()]
    return pd.DataFrame(rows, index=pd.Index(names, name="layer"))


class _LayerCounter:
    """Regions of one layer, and how often each of its units is active."""

    def __init__(self):
        self.table = None
        self.n_active = 0

    def add(self, pre_activations):
        words = pack_signs(pre_activations)
        if self.table is None:
            self.table = RegionTable(words.shape[1])
        self.table.add(words)
        self.n_active = self.n_active + np.count_nonzero(pre_activations > 0, axis=0)

    def measures(self, n_samples):
        return {
            "n_units": len(self.n_active),
            "alive_units": int(np.count_nonzero(self.n_active)),
            "active_units": float(self.n_active.sum() / n_samples),
            "n_regions": self.table.n_regions,
            "prs_ratio": self.table.n_regions / n_samples,
        }
