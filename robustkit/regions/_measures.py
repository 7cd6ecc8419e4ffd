"""A network is run, and the regions of its samples are measured.

The first functions run a module on many samples, in batches, and count in which regions
they lie; the others measure how the PRS ratio depends on the layer and on the number of
samples.
"""

from collections.abc import Iterable, Sequence
from itertools import chain

import numpy as np
import pandas as pd
import torch
from numpy.typing import ArrayLike, NDArray
from scipy.special import entr, gammaln

from robustkit._tensors import as_array, map_batches
from robustkit.bridge import steady_layer_values
from robustkit.regions._counting import RegionCounts, RegionTable, pack_signs


def region_words(
    module: torch.nn.Module, X: torch.Tensor, names: Sequence[str], *, batch_size: int
) -> NDArray:
    """Pack the signs of some layers of a module in eval mode, side by side.

    Returns the packed patterns of `pack_signs`, one row per sample.
    """
    device = _device_of(module, X)

    def pack(batch):
        values = steady_layer_values(module, batch.to(device), names).values()
        words = pack_signs(_joined(value.pre_activation for value in values))
        # Not every operation of torch supports unsigned words; the bits are the same.
        return torch.from_numpy(words.view(np.int64))

    return as_array(map_batches(pack, X, batch_size=batch_size)).view(np.uint64)


def count_samples(
    counts: RegionCounts,
    module: torch.nn.Module,
    X: torch.Tensor,
    y: torch.Tensor,
    names: Sequence[str],
    *,
    batch_size: int,
) -> NDArray:
    """Run samples through a module in eval mode, and add them to the counts.

    `y` are the classes, and the units of the layers `names`, side by side, make the
    pattern. Returns the region of each sample.
    """
    device = _device_of(module, X)

    def count_batch(batch, labels):
        values = steady_layer_values(module, batch.to(device), names).values()
        pre_activations = _joined(value.pre_activation for value in values)
        features = as_array(_joined(value.activation for value in values))
        ids = counts.add(pre_activations, features, as_array(labels))
        return torch.from_numpy(ids)

    return as_array(map_batches(count_batch, X, y, batch_size=batch_size))


def complete_vectors(
    counts: RegionCounts,
    module: torch.nn.Module,
    X: torch.Tensor,
    y: torch.Tensor,
    ids: NDArray,
    names: Sequence[str],
    *,
    batch_size: int,
) -> NDArray:
    """Return the mean vectors of all major regions, also those not kept track of.

    The counts are of these samples and no others, and `ids` are their regions: what
    `count_samples` returned. Missing vectors are computed by running the samples again.
    """
    vectors = counts.major_vectors()
    majors = counts.major_regions()
    for label in np.flatnonzero(np.isnan(vectors).any(axis=1) & (majors >= 0)):
        is_there = (as_array(y) == label) & (ids == majors[label])
        there = torch.from_numpy(np.flatnonzero(is_there))
        of_region = RegionCounts(1)
        labels = torch.zeros(len(there), dtype=torch.int64)
        count_samples(of_region, module, X[there], labels, names, batch_size=batch_size)
        vectors[label] = of_region.major_vectors()[0]
    return vectors


def _joined(tensors: Iterable[torch.Tensor]) -> torch.Tensor:
    return torch.cat([tensor.detach().flatten(1) for tensor in tensors], dim=1)


def _device_of(module, X):
    """Find the device of a module; one without weights works where `X` is."""
    return next(chain(module.parameters(), module.buffers(), [X])).device


class LayerCounter:
    """Measures each layer of a module in eval mode by itself, piece by piece."""

    def __init__(self, names: Sequence[str]) -> None:
        self.counters = {name: _CountsOfLayer() for name in names}
        self.n_samples = self.n_looked_up = 0

    def add(self, module: torch.nn.Module, X: torch.Tensor, *, batch_size: int) -> None:
        """Run samples through a module, and count."""
        device = _device_of(module, X)

        def count(batch):
            values = steady_layer_values(module, batch.to(device), list(self.counters))
            for name, value in values.items():
                self.counters[name].add(as_array(value.pre_activation.flatten(1)))
            return torch.empty(len(batch), 0)

        map_batches(count, X, batch_size=batch_size)
        self.n_samples += len(X)

    def look_up(
        self, module: torch.nn.Module, X: torch.Tensor, *, batch_size: int
    ) -> None:
        """Run other samples through a module, and count those in known regions."""
        device = _device_of(module, X)

        def count(batch):
            values = steady_layer_values(module, batch.to(device), list(self.counters))
            for name, value in values.items():
                self.counters[name].look_up(as_array(value.pre_activation.flatten(1)))
            return torch.empty(len(batch), 0)

        map_batches(count, X, batch_size=batch_size)
        self.n_looked_up += len(X)

    def table(self) -> pd.DataFrame:
        """Return one row per layer.

        `n_units`; `alive_units`, those greater than zero for at least one sample;
        `active_units`, how many are greater than zero for one sample on average;
        `n_regions`, `prs_ratio` and `entropy`; and, if other samples were looked up,
        their `inclusion_ratio`.
        """
        counters = self.counters.values()
        rows = [counter.measures(self.n_samples) for counter in counters]
        table = pd.DataFrame(rows, index=pd.Index(list(self.counters), name="layer"))
        if self.n_looked_up:
            included = [counter.n_included for counter in counters]
            table["inclusion_ratio"] = np.array(included) / self.n_looked_up
        return table


class _CountsOfLayer:
    """Regions of one layer, and how often each of its units is active."""

    def __init__(self):
        self.table = None
        self.n_active = self.n_included = 0
        self.n_in_region = np.zeros(0, dtype=np.int64)

    def add(self, pre_activations):
        words = pack_signs(pre_activations)
        if self.table is None:
            self.table = RegionTable(words.shape[1])
        counts = np.bincount(self.table.add(words), minlength=self.table.n_regions)
        counts[: len(self.n_in_region)] += self.n_in_region
        self.n_in_region = counts
        self.n_active = self.n_active + np.count_nonzero(pre_activations > 0, axis=0)

    def look_up(self, pre_activations):
        found = self.table.look_up(pack_signs(pre_activations))
        self.n_included += np.count_nonzero(found >= 0)

    def measures(self, n_samples):
        return {
            "n_units": len(self.n_active),
            "alive_units": int(np.count_nonzero(self.n_active)),
            "active_units": float(self.n_active.sum() / n_samples),
            "n_regions": self.table.n_regions,
            "prs_ratio": self.table.n_regions / n_samples,
            "entropy": float(entr(self.n_in_region / n_samples).sum()),
        }


def prs_curve(counts: NDArray, sizes: ArrayLike | None = None) -> pd.Series:
    """Compute the PRS ratio that fewer of the samples would have had, on average.

    A ratio falls as samples are added, so two of them can only be compared at one
    number of samples. The mean over all subsets of a size needs no drawing: a region
    of k among N samples is missed by a subset of n with probability C(N - k, n) /
    C(N, n). In ecology this is called rarefaction.

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
    sizes = _sizes(sizes, n_samples)
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


def _sizes(sizes: ArrayLike | None, n_samples: int) -> NDArray:
    """Fill in the powers of two, and all samples."""
    if sizes is None:
        sizes = 2 ** np.arange(n_samples.bit_length())
        sizes = np.union1d(sizes, n_samples)
    return np.asarray(sizes)


def sample_size_curve(counts: NDArray, sizes: ArrayLike | None = None) -> pd.DataFrame:
    """Estimate what fewer of the samples would have told of all regions.

    Regions are what species are to ecologists, and these are their estimates. They need
    the numbers of regions with one sample and with two, of which a subset of the
    samples has, on average, ``sum_i C(k_i, j) C(N - k_i, n - j) / C(N, n)`` with j = 1
    and j = 2.

    Parameters
    ----------
    counts : ndarray of shape (n_regions,)
        Samples in each region.

    sizes : array-like of int, default=None
        Numbers of samples, at most all of them. By default the powers of two, and all.

    Returns
    -------
    curve : pandas.DataFrame
        One row per number of samples: `n_regions` and `prs_ratio` on average;
        `coverage`, the probability that the next sample lies in a known region (Good
        and Turing); `chao1`, the number of regions of infinitely many samples, at the
        least, and its interval from `chao1_low` to `chao1_high`.
    """
    n_samples = int(np.sum(counts))
    sizes = _sizes(sizes, n_samples)
    ratio = prs_curve(counts, sizes)
    k, n_alike = np.unique(counts, return_counts=True)
    rows = []
    for size, n_regions in zip(sizes, ratio * sizes, strict=True):
        once, twice = (
            float(n_alike @ _chance_of(j, k, n_samples, size)) for j in (1, 2)
        )
        estimate, low, high = chao1(size, n_regions, once, twice)
        rows.append(
            {
                "n_regions": n_regions,
                "prs_ratio": n_regions / size,
                "coverage": 1 - once / size,
                "chao1": estimate,
                "chao1_low": low,
                "chao1_high": high,
            }
        )
    return pd.DataFrame(rows, index=ratio.index)


def _chance_of(j: int, k: NDArray, n_samples: int, size: int) -> NDArray:
    """Chance that a subset holds j of the samples of a region of k."""

    def log_choose(n, m):
        return gammaln(n + 1) - gammaln(m + 1) - gammaln(n - m + 1)

    possible = (k >= j) & (size >= j) & (n_samples - k >= size - j)
    chance = np.zeros(len(k))
    k = k[possible].astype(float)
    chance[possible] = np.exp(
        log_choose(k, j)
        + log_choose(n_samples - k, size - j)
        - log_choose(n_samples, size)
    )
    return chance


def chao1(
    n_samples: float, n_regions: float, once: float, twice: float
) -> tuple[float, float, float]:
    """Estimate how many regions there are at the least, with an interval of 95 %.

    Parameters
    ----------
    n_samples, n_regions : float
        Samples that were looked at, and regions that they lie in.

    once, twice : float
        Regions with one sample, and with two.

    Returns
    -------
    estimate, low, high : float
        Chao's bias-corrected estimate, and her interval, log-normal in the number of
        regions that were not met. One sample tells nothing: all are NaN.
    """
    if n_samples < 2:
        return np.nan, np.nan, np.nan
    share = (n_samples - 1) / n_samples
    missed = share * once * (once - 1) / (2 * (twice + 1))
    if missed <= 0:
        return _nothing_missed(n_samples, n_regions)
    estimate = n_regions + missed
    variance = (
        share * once * (once - 1) / (2 * (twice + 1))
        + share**2 * once * (2 * once - 1) ** 2 / (4 * (twice + 1) ** 2)
        + share**2 * once**2 * twice * (once - 1) ** 2 / (4 * (twice + 1) ** 4)
    )
    if twice == 0:
        variance = (
            share * once * (once - 1) / 2
            + share**2 * once * (2 * once - 1) ** 2 / 4
            - share**2 * once**4 / (4 * estimate)
        )
    factor = np.exp(1.96 * np.sqrt(np.log1p(max(variance, 0.0) / missed**2)))
    return estimate, n_regions + missed / factor, n_regions + missed * factor


def _nothing_missed(n_samples, n_regions):
    """Give the interval of a region that is met at the average rate, as EstimateS does.

    Chao's needs regions that were met only once.
    """
    chance = np.exp(-n_samples / n_regions)
    estimate = n_regions / (1 - chance)
    spread = 1.96 * np.sqrt(n_regions * chance / (1 - chance))
    return n_regions, max(n_regions, estimate - spread), estimate + spread
