"""Attacks: the same model, images, budget and success, ours and the peers'."""

from functools import partial

import numpy as np
import torch
from sklearn.base import clone
from torch import nn
from torch.nn import functional

from benchmarks import peers
from benchmarks.attack_setting import (
    Image,
    Place,
    small_digits_on_a_canvas,
    smooth_digits,
)
from benchmarks.harness import Case, Growth
from robustkit._randomness import seeded_torch
from robustkit.attacks import (
    FGSMAttack,
    GrowingEpsilonAttack,
    OnePixelAttack,
    PGDAttack,
)
from robustkit.attacks import functional as functions

PEERS = ("torchattacks", "foolbox", "art", "autoattack")
GRID = 0.001 + 0.01 * np.arange(26)
# As many steps as one start of 40, towards twice as many classes: six.
ROTATE = {
    "eps": 0.1, "loss": "rotate", "n_restarts": 2, "max_iter": 20, "random_state": 0,
}  # fmt: skip
# Of which the success of random searches is compared.
N_SEEDS = 4


def cases(device="cpu"):
    """Each promise with the peer that it names, then more and more images."""
    torch.set_num_threads(1)
    here = Place(device)
    there = {module for module in PEERS if peers.load(module) is not None}
    yield _fgsm(here)
    if "torchattacks" in there:
        yield _fgsm_by_function(here)
        yield from _pgd(here)
    for module, limit in (("torchattacks", 1 / 5), ("foolbox", None)):
        if module in there:
            yield _growing(here, module, limit)
    if "torchattacks" in there:
        yield from _one_pixel(here)
    if "art" in there:
        yield _one_pixel_art(here)
    if "autoattack" in there:
        yield _rotate(here)
    for growth in GROWTHS:
        yield from growth(here, there)


def many(data, n):
    """So many test images, the same ones again if there are not enough."""
    _, _, X, y = data()
    return np.resize(X, (n, X.shape[1])), np.resize(y, n)


def _fgsm(here):
    X, y = many(smooth_digits, 10_000)
    module = here.module(smooth_digits)
    x, labels = here.tensor(X), here.tensor(y)
    attack = here.aim(FGSMAttack(eps=0.1), module, X, y)

    def forward_and_backward():
        # No copy: the gradient is all that is asked for.
        inputs = x.detach().requires_grad_(True)
        functional.cross_entropy(module(inputs), labels).backward()
        module.zero_grad()
        return inputs.grad

    return Case(
        name="FGSM, 10,000 images of 784 pixels, perceptron 100-50-20",
        peer="one forward and backward pass (torch)",
        ours=lambda: attack.perturb(X, y),
        theirs=forward_and_backward,
        limit=here.promise(1.5),
        repeats=15,
        clock=here.clock,
    )


def _fgsm_by_function(here):
    """Images alone, as the peer makes them: nobody asks what the model says of them."""
    ours, theirs, same = _images_alone(here, 250)
    return Case(
        name="fgsm as a function, 250 images, images alone",
        peer=peers.title("torchattacks"),
        ours=ours,
        theirs=theirs,
        limit=here.promise(1.2),
        same=same,
        repeats=15,
        clock=here.clock,
    )


def _images_alone(here, n):
    X, y = many(smooth_digits, n)
    module, x, labels = here.module(smooth_digits), here.images(X), here.tensor(y)
    ours = partial(functions.fgsm, Image(module), x, labels, eps=0.1, clip=(0, 1))
    theirs = _their_fgsm_torchattacks(here, module, X, y)
    return ours, theirs, partial(torch.allclose, rtol=0, atol=1e-6)


def _pgd(here):
    X, y = many(smooth_digits, 1000)
    for eps, trained, limit in ((0.1, 0.0, 0.5), (0.02, 0.0, 0.95), (0.1, 0.1, 0.95)):
        module = here.module(smooth_digits, trained)
        attack = here.aim(PGDAttack(eps=eps, random_state=0), module, X, y)
        theirs = _their_pgd_torchattacks(here, module, X, y, eps)
        yield Case(
            name=f"PGD-40, 1,000 images, eps {eps}, "
            f"{'adversarially' if trained else 'plainly'} trained",
            peer=peers.title("torchattacks"),
            ours=partial(attack.perturb, X, y),
            theirs=theirs,
            limit=here.promise(limit),
            same=partial(_same_accuracy, here, module, y, tolerance=0.01),
            repeats=11,
            clock=here.clock,
            note=f"robust accuracy {attack.score(X, y):.3f}, "
            f"the peer's {here.accuracy(module, theirs(), y):.3f}",
        )


def _same_accuracy(here, module, y, ours, theirs, tolerance):
    """Images that fool as often."""
    shares = (here.accuracy(module, x, y) for x in (here.images(ours.X_adv), theirs))
    # Shares that differ by ten of 1,000 differ by a little more than 0.01.
    return abs(next(shares) - next(shares)) <= tolerance + 1e-9


def _as_strong(here, module, y, ours, theirs, tolerance):
    """Images that fool no less often."""
    mine = here.accuracy(module, here.images(ours.X_adv), y)
    return mine <= here.accuracy(module, theirs, y) + tolerance


def _their_pgd_torchattacks(here, module, X, y, eps=0.1):
    import torchattacks

    attack = torchattacks.PGD(Image(module), eps=eps, alpha=2.5 * eps / 40, steps=40)
    return _seeded(attack, here.images(X), here.tensor(y))


def _their_pgd_foolbox(here, module, X, y, eps=0.1):
    attack = peers.load("foolbox").attacks.LinfPGD(
        abs_stepsize=2.5 * eps / 40, steps=40
    )
    model, x, labels = _foolbox_model(here, module), here.images(X), here.tensor(y)
    return _seeded(lambda: attack(model, x, labels, epsilons=eps)[1])


def _their_pgd_art(here, module, X, y, eps=0.1):
    from art.attacks.evasion import ProjectedGradientDescent

    attack = ProjectedGradientDescent(
        _art_model(here, Image(module)),
        eps=eps,
        eps_step=2.5 * eps / 40,
        max_iter=40,
        num_random_init=1,
        batch_size=1000,
        verbose=False,
    )
    x, one_hot = X.reshape(-1, 1, 28, 28), np.eye(10)[y]
    return _seeded(lambda: torch.from_numpy(attack.generate(x, one_hot)))


def _their_fgsm_torchattacks(here, module, X, y, eps=0.1):
    import torchattacks

    attack = torchattacks.FGSM(Image(module), eps=eps)
    return partial(attack, here.images(X), here.tensor(y))


def _their_fgsm_judged(here, module, X, y, eps=0.1):
    """The peer, and one prediction of its images, which ours has made of them."""
    perturb, labels = _their_fgsm_torchattacks(here, module, X, y, eps), here.tensor(y)
    model = Image(module)

    def judged():
        points = perturb()
        with torch.no_grad():
            return points, model(points).argmax(1) == labels

    return judged


def _same_verdict(here, module, y, ours, theirs, tolerance):
    """Images that fool as often, and as many of them found to."""
    points, is_right = theirs
    share = float((ours.prediction == ours.y).mean())
    return (
        _same_accuracy(here, module, y, ours, points, tolerance)
        and abs(share - float(is_right.double().mean())) <= tolerance
    )


def _their_fgsm_foolbox(here, module, X, y, eps=0.1):
    attack = peers.load("foolbox").attacks.FGSM()
    model, x, labels = _foolbox_model(here, module), here.images(X), here.tensor(y)
    return lambda: attack(model, x, labels, epsilons=eps)[1]


def _their_fgsm_art(here, module, X, y, eps=0.1):
    from art.attacks.evasion import FastGradientMethod

    attack = FastGradientMethod(
        _art_model(here, Image(module)), eps=eps, batch_size=1000
    )
    x, one_hot = X.reshape(-1, 1, 28, 28), np.eye(10)[y]
    return lambda: torch.from_numpy(attack.generate(x, one_hot))


def _foolbox_model(here, module):
    foolbox = peers.load("foolbox")
    return foolbox.PyTorchModel(Image(module), (0, 1), device=here.device)


def _art_model(here, module, **options):
    from art.estimators.classification import PyTorchClassifier

    return PyTorchClassifier(
        module,
        loss=nn.CrossEntropyLoss(),
        input_shape=(1, 28, 28),
        nb_classes=10,
        device_type="cpu" if here.device == "cpu" else "gpu",
        **{"clip_values": (0, 1)} | options,
    )


def _seeded(function, *arguments, seed=0):
    """Draw the same numbers in every call, and leave numpy's and torch's streams."""

    def run():
        state = np.random.get_state()
        np.random.seed(seed)
        try:
            with seeded_torch(seed):
                return function(*arguments)
        finally:
            np.random.set_state(state)

    return run


def _rotate(here):
    X, y = many(smooth_digits, 1000)
    module = here.module(smooth_digits, 0.1)
    attack = here.aim(PGDAttack(**ROTATE), module, X, y)
    restarts = PGDAttack(eps=0.1, n_restarts=5, random_state=0)
    five = here.aim(restarts, module, X, y).score(X, y)
    return Case(
        name="PGD loss='rotate', 2 starts of 20 steps, 1,000 images, eps 0.1, "
        "adversarially trained",
        peer=f"{peers.title('autoattack')}, APGD-CE + APGD-T",
        ours=lambda: attack.perturb(X, y),
        theirs=_their_autoattack(here, module, X, y),
        limit=here.promise(0.1),
        same=partial(_as_strong, here, module, y, tolerance=0.005),
        repeats=3,
        seconds=0,
        clock=here.clock,
        note=f"robust accuracy {attack.score(X, y):.3f}; "
        f"five restarts of ce {five:.3f}",
    )


def _their_autoattack(here, module, X, y, eps=0.1):
    from autoattack import AutoAttack

    attack = AutoAttack(
        Image(module),
        norm="Linf",
        eps=eps,
        version="custom",
        device=here.device,
        verbose=False,
    )
    attack.attacks_to_run = ["apgd-ce", "apgd-t"]
    x, labels = here.images(X), here.tensor(y)
    return _seeded(lambda: attack.run_standard_evaluation(x, labels, bs=1000))


def _growing(here, peer, limit):
    X, y = many(smooth_digits, 1000)
    module = here.module(smooth_digits)
    attack = here.aim(GrowingEpsilonAttack(), module, X, y)
    return Case(
        name="smallest eps of 26, 1,000 images",
        peer=f"{peers.title(peer)}, {LADDERS[peer][0]}",
        ours=lambda: attack.perturb(X, y),
        theirs=LADDERS[peer][1](here, module, X, y),
        limit=here.promise(limit),
        same=_same_eps,
        clock=here.clock,
    )


def _their_growing_torchattacks(here, module, X, y):
    import torchattacks

    x, labels = here.images(X), here.tensor(y)

    def run():
        smallest = np.full(len(y), np.nan)
        for eps in GRID[::-1]:
            moved = torchattacks.FGSM(Image(module), eps=eps)(x, labels)
            with torch.no_grad():
                fooled = Image(module)(moved).argmax(1) != labels
            smallest[fooled.cpu().numpy()] = eps
        return smallest

    return run


def _their_growing_foolbox(here, module, X, y):
    attack = peers.load("foolbox").attacks.FGSM()
    model, x, labels = _foolbox_model(here, module), here.images(X), here.tensor(y)

    def run():
        fooled = attack(model, x, labels, epsilons=list(GRID))[2].cpu().numpy()
        return np.where(fooled.any(0), GRID[fooled.argmax(0)], np.nan)

    return run


LADDERS = {
    "torchattacks": ("a loop of FGSM", _their_growing_torchattacks),
    "foolbox": ("FGSM with a list of eps", _their_growing_foolbox),
}


def _same_eps(ours, theirs):
    correct = ours.clean_prediction == ours.y
    return np.array_equal(ours.eps[correct], theirs[correct], equal_nan=True)


def _recognized(here, n_samples):
    """A module, and images that it recognizes: those that one pixel may change."""
    module = here.module(small_digits_on_a_canvas)
    _, _, X, y = small_digits_on_a_canvas()
    with torch.no_grad():
        found = module(here.tensor(X)).argmax(1).cpu().numpy()
    rows = np.resize((found == y).nonzero()[0], n_samples)
    return module, X[rows], y[rows]


def _pixel_attack(here, module, X, y, **parameters):
    attack = OnePixelAttack(image_shape=(28, 28), random_state=0, **parameters)
    return here.aim(attack, module, X, y)


def _one_pixel(here):
    module, X, y = _recognized(here, 50)
    for method, pop_size, max_iter, limit, repeats in (
        ("differential_evolution", 100, 20, 1 / 30, 5),
        ("differential_evolution", 500, 20, 1 / 30, 3),
        ("certified", 500, 100, 1 / 300, 2),
    ):
        attack = _pixel_attack(
            here, module, X, y, method=method, pop_size=pop_size, max_iter=max_iter
        )
        yield Case(
            name=f"one pixel, 50 images, {method}",
            peer=f"{peers.title('torchattacks')}, {pop_size} x {max_iter}",
            ours=partial(attack.perturb, X, y),
            theirs=_their_pixel_torchattacks(here, module, X, y, pop_size, max_iter),
            limit=here.promise(limit),
            same=_as_often(here, module, X, y, attack, max_iter, tolerance=0.02),
            repeats=repeats,
            seconds=0.1,
            clock=here.clock,
            note=f"success {attack.perturb(X, y).success.mean():.2f}",
        )


def _as_often(here, module, X, y, attack, max_iter, tolerance):
    """Tell whether ours fools as often as the peer: on average over some seeds.

    One search in few generations finds an image of fifty more or less by chance.
    """

    def same(ours, theirs):
        shares = []
        for seed in range(N_SEEDS):
            search = clone(attack).set_params(random_state=seed).fit(X, y)
            peer = _their_pixel_torchattacks(
                here, module, X, y, attack.pop_size, max_iter, seed
            )
            moved = here.images(search.perturb(X, y).X_adv), peer()
            shares.append([here.accuracy(module, x, y) for x in moved])
        mine, others = np.mean(shares, axis=0)
        return mine <= others + tolerance

    # What decides ends the same way every time.
    strong = partial(_as_strong, here, module, y, tolerance=tolerance)
    return strong if attack.method == "certified" else same


def _their_pixel_torchattacks(here, module, X, y, pop_size, max_iter, seed=0):
    import torchattacks

    # `steps` generations follow the first one, as ours do.
    attack = torchattacks.OnePixel(
        Image(module), pixels=1, steps=max_iter, popsize=pop_size
    )
    return _seeded(attack, here.images(X), here.tensor(y), seed=seed)


def _one_pixel_art(here):
    from art.attacks.evasion import PixelAttack

    module, X, y = _recognized(here, 50)
    attack = _pixel_attack(here, module, X, y, pop_size=400, max_iter=20)
    # It minimizes what the model returns: probabilities serve it better than logits.
    theirs = _art_model(
        here,
        nn.Sequential(Image(module), nn.Softmax(dim=1)),
        clip_values=(0, 255),
        preprocessing=(0.0, 255.0),
    )
    attacker = PixelAttack(theirs, th=1, es=1, max_iter=20, verbose=False)
    x, one_hot = X.reshape(-1, 1, 28, 28) * 255, np.eye(10)[y]
    return Case(
        name="one pixel, 50 images, differential_evolution",
        peer=f"{peers.title('art')}, its fixed population of 400 x 20",
        ours=lambda: attack.perturb(X, y),
        theirs=_seeded(
            lambda: torch.from_numpy(attacker.generate(x, one_hot) / 255).float()
        ),
        limit=here.promise(1 / 50),
        same=partial(_as_strong, here, module, y, tolerance=0.0),
        repeats=3,
        clock=here.clock,
        note=f"success {attack.perturb(X, y).success.mean():.2f}",
    )


def _more_images(here, name, peer, sizes, attack, theirs, trained=0.0, **options):
    module = here.module(smooth_digits, trained)
    same = options.pop("same", None)

    def sides(n):
        X, y = many(smooth_digits, n)
        ours = partial(here.aim(attack, module, X, y).perturb, X, y)
        return ours, theirs(here, module, X, y), same and partial(same, here, module, y)

    return Growth(name, peer, "images", sizes, sides, clock=here.clock, **options)


def _grow_fgsm(here, there):
    if "torchattacks" in there:
        yield Growth(
            "fgsm as a function, eps 0.1, images alone",
            peers.title("torchattacks"),
            "images",
            (250, 1000, 4000, 16_000),
            partial(_images_alone, here),
            clock=here.clock,
        )
        yield _more_images(
            here,
            "FGSM, eps 0.1, images and verdicts",
            f"{peers.title('torchattacks')}, and a prediction of its images",
            (250, 1000, 4000, 16_000),
            FGSMAttack(eps=0.1),
            _their_fgsm_judged,
            same=partial(_same_verdict, tolerance=0.001),
        )
    for module, theirs in (
        ("torchattacks", _their_fgsm_torchattacks),
        ("foolbox", _their_fgsm_foolbox),
        ("art", _their_fgsm_art),
    ):
        if module in there:
            yield _more_images(
                here,
                "FGSM, eps 0.1",
                peers.title(module),
                (250, 1000, 4000, 16_000),
                FGSMAttack(eps=0.1),
                theirs,
                same=partial(_same_accuracy, tolerance=0.001),
            )


def _grow_pgd(here, there):
    for module, theirs in (
        ("torchattacks", _their_pgd_torchattacks),
        ("foolbox", _their_pgd_foolbox),
        ("art", _their_pgd_art),
    ):
        if module in there:
            yield _more_images(
                here,
                "PGD-40, eps 0.1",
                peers.title(module),
                (125, 500, 2000, 8000),
                PGDAttack(eps=0.1, random_state=0),
                theirs,
                # The starts are drawn in other ways.
                same=partial(_same_accuracy, tolerance=0.02),
            )


def _grow_ladder(here, there):
    for module, (words, theirs) in LADDERS.items():
        if module in there:
            yield _more_images(
                here,
                "smallest eps of 26",
                f"{peers.title(module)}, {words}",
                (125, 500, 2000, 8000),
                GrowingEpsilonAttack(),
                theirs,
                same=lambda here, module, y, *both: _same_eps(*both),
            )


def _grow_rotate(here, there):
    if "autoattack" in there:
        yield _more_images(
            here,
            "PGD loss='rotate', eps 0.1, adversarially trained",
            f"{peers.title('autoattack')}, APGD-CE + APGD-T",
            (75, 300, 1200),
            PGDAttack(**ROTATE),
            _their_autoattack,
            trained=0.1,
            repeats=1,
            same=partial(_as_strong, tolerance=0.015),
        )


def _grow_pixel(here, there):
    if "torchattacks" not in there:
        return

    def sides(n):
        module, X, y = _recognized(here, n)
        attack = _pixel_attack(here, module, X, y, pop_size=100, max_iter=20)
        theirs = _their_pixel_torchattacks(here, module, X, y, 100, 20)
        same = _as_often(here, module, X, y, attack, 20, tolerance=1 / min(n, 50))
        return partial(attack.perturb, X, y), theirs, same

    yield Growth(
        name="one pixel, differential_evolution, 100 x 20",
        peer=peers.title("torchattacks"),
        along="images",
        sizes=(5, 20, 80, 320),
        sides=sides,
        clock=here.clock,
        note="same result: no lower success over four seeds, up to one image in fifty",
    )


GROWTHS = (
    _grow_fgsm,
    _grow_pgd,
    _grow_ladder,
    _grow_rotate,
    _grow_pixel,
)
