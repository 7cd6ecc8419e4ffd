"""Counting regions, and finding where they lie.

Counts are compared with sorting and with reading the activations, exact regions with
dense samples and with relucent, which finds them by linear programs.
"""

from functools import partial
from itertools import pairwise

import numpy as np
import torch

from benchmarks import peers
from benchmarks.harness import Case, Growth
from robustkit._randomness import seeded_torch
from robustkit.datasets import fetch_mnist
from robustkit.regions import (
    count_regions,
    regions_along,
    regions_in_plane,
    wall_distances,
)

PEERS = ("relucent",)
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

    yield from _exact_cases()


def _exact_cases():
    wide = _network(784, 128, 64, 10)
    images = fetch_mnist("test", subset=2000, return_X_y=True)[0].astype(np.float64)
    a, b = images.reshape(2, 1000, 784)
    yield Case(
        name="regions along 1,000 segments between images of MNIST, 784-128-64-10",
        peer="logits at 100 points of each",
        ours=partial(regions_along, wide, a, b),
        theirs=partial(_sample, wide, a, b),
        note="in double precision on both sides",
    )
    deep = _network(784, 256, 256, 10)
    plane = a[0], 20 * (b[0] - a[0]), 20 * (b[1] - a[0])
    n_polygons = len(regions_in_plane(deep, *plane).region)
    yield Case(
        name=f"{n_polygons:,} regions in a plane, 784-256-256-10",
        peer="logits at 300 x 300 points",
        ours=partial(regions_in_plane, deep, *plane),
        theirs=partial(_sample_plane, deep, *plane),
        note="in double precision on both sides",
    )
    yield Case(
        name="distances of 100 images to their walls, 784-128-64-10",
        peer="autograd, unit by unit",
        ours=partial(_wall_distances, wide, a[:100]),
        theirs=partial(_by_gradients, wide, a[:100]),
        same=np.allclose,
        note="in both norms, in double precision on both sides",
    )
    if peers.load("relucent") is not None:
        small = _network(2, 10, 8, 2)
        yield Case(
            name="all regions of a plane, 2-10-8-2",
            peer=peers.title("relucent"),
            ours=partial(_in_large_square, small),
            theirs=partial(_of_relucent, small),
            same=lambda ours, theirs: ours == theirs,
            limit=0.1,
        )


def _network(*sizes):
    with seeded_torch(0):
        parts = []
        for n_inputs, n_outputs in pairwise(sizes):
            parts += [torch.nn.Linear(n_inputs, n_outputs), torch.nn.ReLU()]
        network = torch.nn.Sequential(*parts[:-1])
        with torch.no_grad():
            for weight in network.parameters():
                weight.normal_(
                    std=(2 / (weight[0].numel() if weight.ndim > 1 else 2)) ** 0.5
                )
    return network.eval()


def _sample(network, a, b):
    t = np.linspace(0, 1, 100)[:, np.newaxis]
    with torch.no_grad():
        network.double()
        for start, stop in zip(a, b, strict=True):
            network(torch.from_numpy(start + t * (stop - start)))
        network.float()


def _sample_plane(network, origin, u, v):
    steps = np.linspace(-1, 1, 300)[:, np.newaxis]
    with torch.no_grad():
        network.double()
        for s in steps:
            network(torch.from_numpy(origin + s * u + steps * v))
        network.float()


def _wall_distances(network, X):
    return wall_distances(network, X).to_numpy()


def _by_gradients(network, X):
    """The least distance to any unit's zero, of its linear piece."""
    network.double()
    inputs = torch.from_numpy(X).requires_grad_()
    signals, least = inputs, torch.full((len(X), 2), torch.inf, dtype=torch.float64)
    for layer in network:
        signals = layer(signals)
        if not isinstance(layer, torch.nn.Linear) or layer is network[-1]:
            continue
        for unit in signals.unbind(dim=1):
            (slope,) = torch.autograd.grad(unit.sum(), inputs, retain_graph=True)
            norms = torch.stack([slope.abs().sum(1), slope.norm(dim=1)], dim=1)
            distances = (unit.detach().abs()[:, None] / norms).nan_to_num(torch.inf)
            least = torch.minimum(least, distances)
    network.float()
    return least.numpy()


def _in_large_square(network):
    extent = (-1000, 1000, -1000, 1000)
    regions = regions_in_plane(network, [0, 0], [1, 0], [0, 1], extent=extent)
    return len(set(regions.region))


def _of_relucent(network):
    everywhere = peers.load("relucent").Complex(network)
    everywhere.bfs(verbose=0)
    return len(everywhere)


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
