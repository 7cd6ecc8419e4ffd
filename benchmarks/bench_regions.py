"""Counting regions: against sorting them, and against reading the activations."""

from functools import partial

import numpy as np

from benchmarks.harness import Case, Growth
from robustkit.regions import count_regions

SIZES = ((60_000, 512), (1_000_000, 128))
SORTED = "numpy.unique(axis=0) of the signs"
PACKED = "numpy.unique(axis=0) of the packed signs"


def cases():
    """Activations as they are: some regions with many samples, many with few."""
    for n_samples, n_units in SIZES:
        shape = f"{n_samples:,} x {n_units}"
        for kind, make in (("all different", _different), ("skewed", _skewed)):
            activations = make(n_samples, n_units)
            yield Case(
                name=f"count the regions of {shape} activations, {kind}",
                peer="read them once (numpy.sum)",
                ours=lambda X=activations: count_regions(X),
                theirs=activations.sum,
                limit=3,
            )
        yield Case(
            name=f"count the regions of {shape} activations, skewed",
            peer=PACKED,
            ours=lambda X=activations: count_regions(X),
            theirs=lambda X=activations: _sort_packed(X),
            same=_same_partition,
            limit=0.1,
            repeats=3,
        )
        yield Case(
            name=f"count the regions of {shape} activations, skewed",
            peer=SORTED,
            ours=lambda X=activations: count_regions(X),
            theirs=lambda X=activations: _sort_signs(X),
            same=_same_partition,
            limit=0.1,
            repeats=2,
            seconds=0,
        )
    for peer, theirs in ((PACKED, _sort_packed), (SORTED, _sort_signs)):
        for name, along, sizes, shape in (
            ("samples x 128", "samples", (15_000, 60_000, 240_000, 960_000), None),
            ("60,000 x units", "units", (32, 128, 512), 60_000),
        ):
            yield Growth(
                name=f"count the regions of {name} activations, skewed",
                peer=peer,
                along=along,
                sizes=sizes,
                sides=partial(_sides, theirs, n_samples=shape),
            )


def _sides(theirs, size, n_samples=None):
    """Of so many samples; or, for a number of samples, of so many units."""
    X = _skewed(size, 128) if n_samples is None else _skewed(n_samples, size)
    return partial(count_regions, X), partial(theirs, X), _same_partition


def _different(n_samples, n_units):
    rng = np.random.default_rng(0)
    return rng.standard_normal((n_samples, n_units), dtype=np.float32)


def _skewed(n_samples, n_units):
    different = _different(n_samples, n_units)
    places = np.random.default_rng(1).random(n_samples) ** 3
    return different[(n_samples * places).astype(int)]


def _sort_signs(X):
    return _sort(X > 0)


def _sort_packed(X):
    return _sort(np.packbits(X > 0, axis=1))


def _sort(patterns):
    _, inverse, counts = np.unique(
        patterns, axis=0, return_inverse=True, return_counts=True
    )
    return inverse.ravel(), counts


def _same_partition(ours, theirs):
    (ids, counts), (other_ids, other_counts) = ours, theirs
    renamed = np.empty_like(counts)
    renamed[ids] = other_ids
    return (
        np.array_equal(renamed[ids], other_ids)
        and len(counts) == len(other_counts)
        and np.array_equal(counts, other_counts[renamed])
    )
