"""Distances to the nearest error on convolutional networks, against long runs of FMN.

A thousand steps for hundreds of images take hours, so that the points that both find
are kept beside the networks: ``nice python -m benchmarks.bench_distances`` computes
what is missing, a few images at a time, and goes on where it was stopped. Compared are
the images that both have finished. Times are of a few images, where both run.
"""

import hashlib
import sys
from functools import cache, partial
from pathlib import Path

import numpy as np
import torch

from benchmarks import peers
from benchmarks.cifar_setting import KEPT, images, network
from benchmarks.harness import Case
from robustkit.attacks import minimal
from robustkit.attacks.functional import minimal_distance

PEERS = ("adv_lib",)
ORDERS = {"linf": float("inf"), "l2": 2}
# Images whose distances are compared, and of each network how many are timed.
N_IMAGES = 500
N_TIMED = {"small ResNet": 8, "cnn6": 2}
_AT_ONCE = 20


def cases():
    """Each network and norm, recognized images only."""
    torch.set_num_threads(1)
    if peers.load("adv_lib") is None:
        return
    for name, n_timed in N_TIMED.items():
        for norm in ORDERS:
            yield _distances(name, norm, n_timed)


def _distances(name, norm, n_timed):
    module = network(name)
    # At least the first images, also where nothing has been computed before.
    n = max(_AT_ONCE, n_finished(name, norm))
    X, y = recognized(name, n)
    ours, theirs = (
        lengths(X, points(side, name, norm, n), norm) for side in (OURS, THEIRS)
    )
    few = slice(n_timed)
    return Case(
        name=f"nearest error, {norm}, {name} on CIFAR-10, {n_timed} images",
        peer=f"{peers.title('adv_lib')}, FMN, 1,000 steps",
        ours=partial(_our_attack, module, X[few], y[few], norm),
        theirs=partial(_their_attack, module, X[few], y[few], norm),
        same=lambda *_: bool(np.median(ours) <= np.median(theirs)),
        repeats=1,
        note=_comparison(ours, theirs),
    )


@cache
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


def points(side, name, norm, n):
    """Return what one side finds: computed once, a few images at a time."""
    parts = [_part(side, name, norm, start) for start in range(0, n, _AT_ONCE)]
    return torch.cat(parts)[:n]


def _part(side, name, norm, start):
    path = _path(side, name, norm, start)
    if not path.exists():
        rows = slice(start, start + _AT_ONCE)
        X, y = (part[rows] for part in recognized(name, N_IMAGES))
        # Convolutions of many images take a third less time in this layout.
        module = network(name).to(memory_format=torch.channels_last)
        found = side[1](module, X, y, norm)
        # Never half of one.
        torch.save(found, path.with_suffix(".new"))
        path.with_suffix(".new").replace(path)
    return torch.load(path)


def _path(side, name, norm, start):
    words = side[0], name.replace(" ", "_"), norm, start, start + _AT_ONCE
    return KEPT / f"{'_'.join(map(str, words))}.pt"


def n_finished(name, norm):
    """Count the images whose points are kept, from the first one on, of both sides."""
    n = 0
    while n < N_IMAGES:
        if not all(_path(side, name, norm, n).exists() for side in (OURS, THEIRS)):
            break
        n += _AT_ONCE
    return n


def _their_attack(module, X, y, norm):
    # Of a metric, and of a monitor.
    peers.stand_in("torchvision", "torchvision.models", "visdom")
    from adv_lib.attacks import fmn

    return fmn(module, X, y, norm=ORDERS[norm], steps=1000)


def _our_attack(module, X, y, norm):
    return minimal_distance(module, X, y, norm=norm, clip=(0, 1))


def _of_today():
    """Name what our attack is made of: what an older one found does not count."""
    folder = Path(minimal.__file__).parent
    text = b"".join(path.read_bytes() for path in sorted(folder.glob("*.py")))
    return hashlib.sha256(text).hexdigest()[:8]


OURS = f"ours_{_of_today()}", _our_attack
THEIRS = "fmn", _their_attack


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


def main():
    """Compute what is not kept yet; every part of both sides before the next part."""
    torch.set_num_threads(1)
    if peers.load("adv_lib") is None:
        sys.exit("adv-lib is not installed")
    for name in N_TIMED:
        for start in range(0, N_IMAGES, _AT_ONCE):
            for norm in ORDERS:
                for side in (THEIRS, OURS):
                    _part(side, name, norm, start)
            print(f"{name}: {start + _AT_ONCE} images", flush=True)


if __name__ == "__main__":
    main()
