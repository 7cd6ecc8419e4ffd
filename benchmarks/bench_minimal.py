"""Distances to the nearest error on MNIST, against adv-lib and foolbox.

The images compared were not used to choose any setting. Beside the attacks that are
timed, a reference says how near errors are: for every image the nearest of what all of
them find, of runs of 1,000 steps, of 200 steps towards each of the wrong classes, and,
where AutoAttack is there, of APGD with the DLR loss in balls halved by bisection. It
takes minutes, and is kept.
"""

import copy
from functools import partial

import numpy as np
import torch

from benchmarks import peers
from benchmarks.attack_setting import Image, Place, smooth_digits
from benchmarks.harness import Case, Growth
from benchmarks.mnist_setting import KEPT, NETWORKS, file_name, network, recognized
from robustkit._randomness import seeded_torch
from robustkit.attacks import MinimalDistanceAttack
from robustkit.attacks.functional import minimal_distance

PEERS = ("adv_lib", "foolbox")
FIRST, N_IMAGES = 6000, 1000
N_CLASSES = 10


def cases(device="cpu"):
    """Three networks, two norms and each peer; then more and more images."""
    torch.set_num_threads(1)
    here = Place(device)
    there = [module for module in PEERS if peers.load(module) is not None]
    for name in NETWORKS:
        for norm in ("linf", "l2"):
            for peer in there:
                yield _distances(here, peer, name, norm)
    for norm in ("linf", "l2"):
        for peer in there:
            yield Growth(
                name=f"nearest error, {norm}, digits, perceptron 100-50-20",
                peer=f"{peers.title(peer)}, {ATTACKS[peer, norm][0]}",
                along="images",
                sizes=(125, 500, 2000),
                sides=partial(_sides, here, peer, norm),
                repeats=1,
                clock=here.clock,
            )


def _distances(here, peer, name, norm):
    X, y = (part.to(here.device) for part in recognized(name, FIRST, N_IMAGES))
    module = copy.deepcopy(network(name)).to(here.device)
    ours = partial(minimal_distance, module, X, y, norm=norm, clip=(0, 1))
    words, theirs = ATTACKS[peer, norm]
    run = theirs(here, module, X, y)
    found = [lengths(module, X, y, points, norm) for points in (ours(), run())]
    medians = [np.median(far) for far in found]
    missed = [int(np.isinf(far).sum()) for far in found]
    note = "median {:.4g}, theirs {:.4g}; missed {}, theirs {}".format(
        *medians, *missed
    )
    if peer == "adv_lib":
        nearest = np.minimum(_reference(name, norm), np.minimum(*found))
        shares = [np.mean(far <= 1.01 * nearest) for far in found]
        note += "; within 1 % of the nearest known {:.3f}, theirs {:.3f}".format(
            *shares
        )
    return Case(
        name=f"nearest error, {norm}, {len(X)} images of MNIST, {name}",
        peer=f"{peers.title(peer)}, {words}",
        ours=ours,
        theirs=run,
        limit=here.promise(0.95 if peer == "adv_lib" else None),
        same=lambda *_: bool(not missed[0] and medians[0] <= medians[1]),
        repeats=5,
        clock=here.clock,
        note=f"{note}; same result: none missed, no larger median",
    )


def lengths(module, X, y, points, norm):
    """How far points are; infinity for those at which the module does not err."""
    with torch.no_grad():
        errs = module(points.flatten(1)).argmax(1) != y
    order = np.inf if norm == "linf" else 2
    far = (points.flatten(1) - X.flatten(1)).double().norm(p=order, dim=1)
    return torch.where(errs, far, np.inf).cpu().numpy()


def _reference(name, norm):
    """Return the nearest error of each image that long runs of peers find."""
    has_apgd = peers.load("autoattack") is not None
    path = KEPT / f"{file_name(name)}_{norm}{'_with_apgd' * has_apgd}.npy"
    if not path.exists():
        X, y = recognized(name, FIRST, N_IMAGES)
        module = network(name)
        theirs = ATTACKS["adv_lib", norm][1]
        cpu = Place("cpu")
        runs = [theirs(cpu, module, X, y, steps=1000)]
        runs += [
            theirs(cpu, module, X, (y + other) % N_CLASSES, targeted=True)
            for other in range(1, N_CLASSES)
        ]
        found = [lengths(module, X, y, run(), norm) for run in runs]
        if has_apgd:
            found.append(_bisected_apgd(module, X, y, np.min(found, axis=0), norm))
        np.save(path, np.min(found, axis=0))
    return np.load(path)


def _bisected_apgd(module, X, y, known, norm, *, steps=100, halvings=10):
    """Search with AutoAttack's APGD and DLR loss in ever tighter brackets.

    Each begins between half of the distance that is known and that distance.
    """
    peers.stand_in("torchvision", "torchvision.models")
    from autoattack.autopgd_base import APGDAttack

    nearest = np.full(len(X), np.inf)
    high = np.where(np.isfinite(known), known, known[np.isfinite(known)].max())
    low, x = high / 2, X.view(-1, 1, 28, 28)
    kind = "Linf" if norm == "linf" else "L2"
    for seed in range(halvings):
        eps = torch.as_tensor((low + high) / 2, dtype=X.dtype).view(-1, 1, 1, 1)
        attack = APGDAttack(Image(module), norm=kind, eps=eps, n_iter=steps, loss="dlr")
        attack.init_hyperparam(x)
        with seeded_torch(seed):
            points = attack.attack_single_run(x, y)[-1].detach()
        found = lengths(module, X, y, points, norm)
        nearest = np.minimum(nearest, found)
        is_found = np.isfinite(found)
        high = np.where(is_found, np.minimum(found, high), high)
        low = np.where(is_found, low, eps.flatten())
    return nearest


def _sides(here, peer, norm, n):
    _, _, X, y = smooth_digits()
    X, y = np.resize(X, (n, X.shape[1])), np.resize(y, n)
    module = here.module(smooth_digits)
    attack = here.aim(MinimalDistanceAttack(norm=norm), module, X, y)
    theirs = ATTACKS[peer, norm][1](here, module, here.tensor(X), here.tensor(y))
    return partial(attack.perturb, X, y), theirs


def _of_adv_lib(here, module, X, y, *, norm, steps=200, targeted=False):
    # Of a metric, and of a monitor.
    peers.stand_in("torchvision", "torchvision.models", "visdom")
    from adv_lib import attacks

    x, model = X.view(-1, 1, 28, 28), Image(module)
    how = {"steps": steps, "targeted": targeted}
    if norm == "linf":
        return lambda: attacks.fmn(model, x, y, norm=np.inf, **how)
    return lambda: attacks.ddn(model, x, y, levels=None, **how)


def _of_foolbox(here, module, X, y, *, norm):
    foolbox = peers.load("foolbox")
    attacks = foolbox.attacks
    kind = attacks.LInfFMNAttack if norm == "linf" else attacks.L2FMNAttack
    model = foolbox.PyTorchModel(Image(module), (0, 1), device=here.device)
    attack, x = kind(steps=200), X.view(-1, 1, 28, 28)

    def run():
        with seeded_torch(0):
            return attack(model, x, y, epsilons=None)[1]

    return run


ATTACKS = {
    ("adv_lib", "linf"): ("FMN, 200 steps", partial(_of_adv_lib, norm="linf")),
    ("adv_lib", "l2"): ("DDN, 200 steps", partial(_of_adv_lib, norm="l2")),
    ("foolbox", "linf"): ("FMN, 200 steps", partial(_of_foolbox, norm="linf")),
    ("foolbox", "l2"): ("FMN, 200 steps", partial(_of_foolbox, norm="l2")),
}
