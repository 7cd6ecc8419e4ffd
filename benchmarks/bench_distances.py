"""Distances to the nearest error on convolutional networks, against long runs of FMN.

A thousand steps for hundreds of images take an hour, so that the points that FMN finds
are kept beside the networks. Times are of a few images, where both run.
"""

from functools import partial

import numpy as np
import torch

from benchmarks import peers
from benchmarks.cifar_setting import KEPT, images, network
from benchmarks.harness import Case
from robustkit.attacks.functional import minimal_distance

PEERS = ("adv_lib",)
ORDERS = {"linf": float("inf"), "l2": 2}
# Images whose distances are compared, and those that are timed.
SIZES = {("small ResNet", "linf"): (400, 8), ("cnn6", "linf"): (40, 2)}
_AT_ONCE = 20


def cases():
    """Each network, recognized images only."""
    torch.set_num_threads(1)
    if peers.load("adv_lib") is None:
        return
    for (name, norm), sizes in SIZES.items():
        yield _distances(name, norm, *sizes)


def _distances(name, norm, n_compared, n_timed):
    module = network(name)
    X, y = recognized(name, n_compared)
    ours = lengths(X, minimal_distance(module, X, y, norm=norm, clip=(0, 1)), norm)
    theirs = lengths(X, their_points(name, norm, len(X)), norm)
    few = slice(n_timed)
    return Case(
        name=f"nearest error, {norm}, {name} on CIFAR-10, {n_timed} images",
        peer=f"{peers.title('adv_lib')}, FMN, 1,000 steps",
        ours=partial(minimal_distance, module, X[few], y[few], norm=norm, clip=(0, 1)),
        theirs=partial(_their_attack, module, X[few], y[few], norm),
        same=lambda *_: bool(np.median(ours) <= np.median(theirs)),
        repeats=1,
        note=_comparison(ours, theirs),
    )


def recognized(name, n):
    """Return the first test images that a network recognizes."""
    X, y = images("test")
    module = network(name)
    with torch.no_grad():
        found = torch.cat([module(x).argmax(1) for x in X[: 4 * n].split(100)])
    rows = (found == y[: 4 * n]).nonzero().squeeze(1)[:n]
    return X[rows], y[rows]


def lengths(X, X_adv, norm):
    """How far points are; infinity for those that have not moved."""
    sizes = (X_adv - X).flatten(1).double().norm(p=ORDERS[norm], dim=1).numpy()
    return np.where(sizes > 0, sizes, np.inf)


def their_points(name, norm, n):
    """Return what FMN finds: computed once, a few images at a time."""
    module, (X, y) = network(name), recognized(name, n)
    points = []
    for start in range(0, n, _AT_ONCE):
        few = slice(start, min(start + _AT_ONCE, n))
        path = KEPT / f"fmn_{name.replace(' ', '_')}_{norm}_{few.start}_{few.stop}.pt"
        if not path.exists():
            torch.save(_their_attack(module, X[few], y[few], norm), path)
        points.append(torch.load(path))
    return torch.cat(points)


def _their_attack(module, X, y, norm):
    from adv_lib.attacks import fmn

    return fmn(module, X, y, norm=ORDERS[norm], steps=1000)


def _comparison(ours, theirs):
    """Medians, and the difference of the pairs with what the bootstrap says of it."""
    draws = np.random.default_rng(0).integers(len(ours), size=(2000, len(ours)))
    medians = [np.median(sizes[draws], axis=1) for sizes in (ours, theirs)]
    low, high = np.quantile(medians[0] / medians[1] - 1, (0.025, 0.975))
    middle, their_middle = np.median(ours), np.median(theirs)
    return (
        f"{len(ours)} images: median {middle:.4g}, theirs {their_middle:.4g}, "
        f"{middle / their_middle - 1:+.2%} (95 %: {low:+.2%} to {high:+.2%}); median "
        f"of the ratios {np.median(ours / theirs):.4f}; at most 1 % farther than "
        f"theirs: {np.mean(ours <= 1.01 * theirs):.3f}; same result: no larger median"
    )
